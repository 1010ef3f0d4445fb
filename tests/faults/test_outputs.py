"""An output path may be a link, a pipe or a device: what stands there is never replaced by a plain file."""

import json
import os
import stat
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from gradvar.cli import main as cli
from gradvar.files import atomic, tables
from gradvar.files.paths import check_file
from tests.audit import dumps

TEXT = b'{"a": 1}\n'
ROWS = [{"a": 1, "b": "x"}]
WRITERS = {
    "bytes": lambda path: atomic.write_file(path, TEXT),
    "a function": lambda path: atomic.write_file(path, lambda part: part.write_bytes(TEXT)),
    "JSON": lambda path: tables.write_json(path, {"a": 1}),
    "CSV": lambda path: tables.write_csv(path, ROWS),
    "Parquet": lambda path: tables.write_parquet(path, ROWS),
}


@pytest.fixture(scope="module")
def dump(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dump")
    (folder / "r.csv").write_text("0,1,1\n1,0,0\n0,0,1\n1,1,0\n")
    cli.run(["audit", str(dumps.write(folder / "a.jsonl", dumps.rows(0, steps=3, size=8))), "--quiet",
             "--json", str(folder / "audit.json")])  # fmt: skip
    return folder


COMMANDS = {
    "audit --json": lambda dump, path: ["audit", str(dump / "a.jsonl"), "--quiet", "--json", path],
    "audit --prompts": lambda dump, path: ["audit", str(dump / "a.jsonl"), "--quiet", "--prompts", path],
    "list --json": lambda dump, path: ["list", "--json", path],
    "cite --json": lambda dump, path: ["cite", "grpo", "--json", path],
    "advise --json": lambda dump, path: ["advise", "--rewards", str(dump / "r.csv"), "--json", path],
    "report --out": lambda dump, path: ["report", str(dump / "audit.json"), "--out", path],
    "report --json": lambda dump, path: [
        "report", str(dump / "audit.json"), "--out", str(dump / "r.html"), "--json", path,
    ],
}  # fmt: skip


def device(path):
    """A device like /dev/null, but one that nobody else needs."""
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        path.write_bytes(b"")
    except OSError:
        pytest.skip("devices can be made, and used in this folder, by root only")
    return path


def through_a_pipe(path, write):
    """The bytes that arrive at the other end."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    arrived = []

    def read():
        while block := os.read(reader, 1 << 16):
            arrived.append(block)

    # A writer must be there before the reader looks, or it sees an end at once.
    hold = os.open(path, os.O_WRONLY)
    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        write(path)
    finally:
        os.close(hold)
        thread.join(10)
        os.close(reader)
    assert stat.S_ISFIFO(path.stat().st_mode)
    return b"".join(arrived)


@pytest.mark.parametrize("writer", WRITERS)
def test_every_writer_goes_through_links_pipes_and_devices(tmp_path, writer):
    write = WRITERS[writer]
    write(tmp_path / "plain")
    content = (tmp_path / "plain").read_bytes()
    assert through_a_pipe(tmp_path / "pipe", write) == content
    (tmp_path / "deep").mkdir()
    target = tmp_path / "deep" / "target"
    target.write_text("old")
    target.chmod(0o600)
    (tmp_path / "link").symlink_to(tmp_path / "second")
    (tmp_path / "second").symlink_to("deep/target")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "second").is_symlink()
    assert target.read_bytes() == content
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    (tmp_path / "dangling").symlink_to("new/there")
    write(tmp_path / "dangling")
    assert (tmp_path / "new" / "there").read_bytes() == content
    (tmp_path / "device link").symlink_to(device(tmp_path / "null"))
    for path in (tmp_path / "null", tmp_path / "device link"):
        write(path)
    assert stat.S_ISCHR((tmp_path / "null").stat().st_mode)
    assert not [*tmp_path.rglob("*.part")]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_goes_through_links_and_pipes(tmp_path, dump, command, capsys):
    def run(path):
        assert cli.run(COMMANDS[command](dump, str(path))) in (0, 1)

    target = tmp_path / "target"
    target.write_text("old")
    target.chmod(0o640)
    (tmp_path / "link").symlink_to(target)
    run(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert target.read_text() != "old"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    piped = through_a_pipe(tmp_path / "pipe", run)
    assert len(piped) > 0.9 * target.stat().st_size  # the report has the time in it


@pytest.mark.parametrize("command", COMMANDS)
def test_what_cannot_be_written_is_refused_in_one_line(tmp_path, dump, command, capsys):
    os.mkfifo(tmp_path / "unread")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "folder").mkdir()
    bad = [tmp_path / name for name in ("unread", "loop", "folder", "x" * 300, "/".join(["y" * 200] * 25))]
    with suppress(OSError):  # root only; nothing has these numbers, so that nothing can be harmed
        os.mknod(tmp_path / "disk", 0o600 | stat.S_IFBLK, os.makedev(240, 250))
        bad.append(tmp_path / "disk")
    for path in bad:
        assert cli.run(COMMANDS[command](dump, str(path))) == 2, path
        error = capsys.readouterr().err
        assert error.startswith("gradvar: error: ")
        assert error.count("\n") == 1
        assert len(error) < 600
    assert stat.S_ISFIFO((tmp_path / "unread").stat().st_mode)


def test_a_full_disk_is_one_line(dump, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    for command in COMMANDS.values():
        with monkeypatch.context() as patch:
            patch.setattr(atomic.os, "fsync", full)
            assert cli.run(command(dump, str(tmp_path / "out"))) == 2
        error = capsys.readouterr().err
        assert "No space left" in error
        assert error.count("\n") == 1
    assert not [*tmp_path.iterdir()]


def test_a_file_that_may_only_be_read_stays(tmp_path):
    path = tmp_path / "kept"
    path.write_text("old")
    path.chmod(0o444)
    if os.access(path, os.W_OK):
        pytest.skip("root may write every file")
    with pytest.raises(OSError, match="Permission"):
        atomic.write_file(path, TEXT)
    assert path.read_text() == "old"


def test_standard_output_as_a_file_comes_after_what_was_printed(tmp_path, dump):
    """Redirected to a file, /dev/stdout is that file; it is neither replaced nor cut to nothing."""
    out, link = tmp_path / "out", tmp_path / "stdout"
    link.symlink_to("/proc/self/fd/1")  # as /dev/stdout is
    script = "print('first'); from pathlib import Path; from gradvar.files.tables import write_json as w; "
    script += f"w(Path({str(link)!r}), {{'a': 1}}); print('last')"
    with out.open("wb") as file:
        subprocess.run([sys.executable, "-c", script], stdout=file, check=True)
    assert out.read_text().split() == ["first", "{", '"a":', "1", "}", "last"]
    piped = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True)
    assert piped.stdout.decode().split()[-1] == "last"


def test_paths_are_checked_before_anything_is_computed(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    check_file(tmp_path / "pipe", "json")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for bad in ("loop", "x" * 300):
        with pytest.raises(ValueError, match="json: "):
            check_file(tmp_path / bad, "json")


def test_the_owner_and_the_default_mode(tmp_path):
    if os.geteuid():
        pytest.skip("only root may give files away")
    path = tmp_path / "theirs"
    path.write_text("old")
    os.chown(path, 1234, 4321)
    atomic.write_file(path, TEXT)
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 4321)
    umask = os.umask(0o027)
    try:
        atomic.write_file(tmp_path / "new", TEXT)
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    assert json.loads(path.read_text()) == {"a": 1}
