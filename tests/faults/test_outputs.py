"""An output path may be a link, a pipe or a device: what stands there is never replaced by a plain file."""

import importlib
import json
import os
import re
import stat
import subprocess
import sys
import threading
import typing
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from matplotlib.figure import Figure

from gradvar.cli import advise
from gradvar.cli import main as cli
from gradvar.files import atomic, tables
from gradvar.files.paths import check_file
from gradvar.policies import Transformer
from gradvar.stats.sheet import Column, Sheet
from gradvar.studies.demo import RATES
from gradvar.testing.peers import Loaded
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


OVERWRITTEN = {
    "a dump by figures": ["audit", "DUMP", "--json", "DUMP"],
    "a dump by prompts": ["audit", "DUMP", "--prompts", "DUMP"],
    "a dump of a folder, by way of a link": ["audit", ".", "--json", "link"],
    "figures by prompts": ["audit", "DUMP", "--json", "new", "--prompts", "./new"],
    "rewards": ["advise", "--rewards", "DUMP", "--json", "DUMP"],
    "a result": ["report", "DUMP", "--out", "o.html", "--json", "DUMP"],
    "a page": ["report", "DUMP", "--out", "DUMP"],
    "a function checked": ["check", "DUMP:f", "--json", "DUMP"],
    "a function named": ["identify", "DUMP:f", "--json", "DUMP"],
}


@pytest.mark.parametrize("name", OVERWRITTEN)
def test_what_is_read_is_not_written_over(name, dump, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_bytes((dump / "a.jsonl").read_bytes())
    (tmp_path / "link").symlink_to("a.jsonl")
    before = (tmp_path / "a.jsonl").read_bytes()
    assert cli.run([word.replace("DUMP", "a.jsonl") for word in OVERWRITTEN[name]]) == 2
    assert re.search(
        r"(is read|is what --json writes), and would be lost; give another file$", capsys.readouterr().err
    )
    assert (tmp_path / "a.jsonl").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"a.jsonl", "link"}


@pytest.fixture
def quick(monkeypatch, dump):
    """What commands compute is not at issue here, only where they write it: stand-ins answer at once."""
    monkeypatch.chdir(dump)
    monkeypatch.setattr(Transformer, "from_pretrained", computed)
    for place, value in STAND_INS.items():
        module, _, name = place.rpartition(".")
        monkeypatch.setattr(importlib.import_module(module), name, value)


# Each option that names a file, of each command, with the rest of the command line; no other option is needed.
COMMANDS = {
    "audit --json": ["a.jsonl", "--quiet"],
    "audit --prompts": ["a.jsonl", "--quiet"],
    "list --json": [],
    "cite --json": ["grpo"],
    "advise --json": ["--rewards", "r.csv"],
    "report --out": ["audit.json"],
    "report --json": ["audit.json", "--out", "r.html"],
    "demo --out": [],
    "demo --json": [],
    "measure --json": ["--quiet", "--out", "results"],
    "mismatch --json": ["--quiet", "--out", "results"],
    "train --json": ["--quiet", "--out", "results"],
    "record --json": ["model", "questions", "--quiet", "--out", "bank"],
    "check --json": ["m:f"],
    "identify --json": ["m:f"],
    "peers --html": ["tunix"],
    "peers --csv": ["tunix"],
    "peers --markdown": ["tunix"],
    "prove --json": ["--quiet"],
    "prove --html": ["--quiet"],
}
FOLDERS = ("measure --out", "mismatch --out", "train --out", "record --out")
NAMES = {"json", "html", "csv", "markdown", "out", "prompts"}


def command_line(option, path):
    name, flag = option.split()
    return [name, *COMMANDS[option], flag, str(path)]


class Computed:
    """Results of any command: a finding, a table and JSON."""

    ok, results, reused = True, (), 0
    weights: ClassVar = {size: np.ones(len(RATES)) for size in (2, 16)}

    def findings(self):
        return ["All is well."]

    def as_json(self):
        return {"kind": "study", "findings": self.findings()}

    def save(self, folder):
        tables.write_json(folder / "results.json", self.as_json())
        return [folder / "results.json"]

    def rows(self):
        return []

    def table(self):
        return "a table"

    def to_json(self):
        return json.dumps(self.as_json())


COMPUTED = []


def computed(*_, **__):
    COMPUTED.append(Computed())
    return COMPUTED[-1]


def advised(config, _):
    """``record`` hands its --json to ``advise``, which is run on a table of rewards in the bank's place."""
    return advise.run(advise.Advise(rewards=Path("r.csv"), json=config.json))


STAND_INS = {
    "gradvar.studies.demo.demo": computed,
    "gradvar.plot.prompt_weight": lambda *_: Figure().subplots(),
    "gradvar.studies.study.variants": lambda config: None,
    "gradvar.studies.study.study_parts": lambda *_: (),
    "gradvar.studies.study.join": computed,
    "gradvar.plot.panels.save_figures": lambda results, folder: [],
    "gradvar.studies.mismatch.mismatch": computed,
    "gradvar.plot.mismatch.save_figure": lambda results, folder: [],
    "gradvar.cli.mismatch.table": lambda _: Sheet((Column("a"),), (("1",),)),
    "gradvar.train.experiment.experiment": computed,
    "gradvar.train.experiment.use_all_cores": lambda: None,
    "gradvar.cli.train.table": lambda *_: Sheet((Column("a"),), (("1",),)),
    "gradvar.cli.train.title": lambda _: "",
    "gradvar.cli.train._footnote": lambda _: "",
    "gradvar.tasks.questions.read_questions": lambda _: (["?"] * 4, ["!"] * 4),
    "gradvar.cli.record._questions": lambda *_: SimpleNamespace(texts=["?"] * 4, tokens=[[1]] * 4),
    "gradvar.cli.record._scored": lambda *_: (None, None),
    "gradvar.cli.record._scores_line": lambda _: "no scores",
    "gradvar.measure.bank.record.record": computed,
    "gradvar.cli.record._show": lambda *_: None,
    "gradvar.cli.record._advise": advised,
    "gradvar.cli.check.examine": computed,
    "gradvar.cli.identify.examine": computed,
    "gradvar.testing.peers.load": lambda peer, _: Loaded(peer, "9.9"),
    "gradvar.testing.peers.survey": lambda *_, **__: [],
    "gradvar.symbolic.claims.ledger.load": lambda _: [],
}


def device(path):
    """A device like /dev/null, but one that nobody else needs."""
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        path.write_bytes(b"")
    except OSError:
        pytest.skip("devices can be made, and used in this folder, by root only")
    return path


def test_every_option_that_names_an_output_is_tried():
    """A new one has to be added to the table above."""
    options = set()
    for name in cli.COMMANDS:
        hints = typing.get_type_hints(cli.configuration(name))
        paths = {option for option, hint in hints.items() if re.search("Path|str", str(hint))}
        options |= {
            f"{name} --{option}" for option in paths & NAMES if (name, option) != ("record", "prompts")
        }
    assert options == {*COMMANDS, *FOLDERS}


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
        thread.join()
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


@pytest.mark.parametrize("option", COMMANDS)
def test_every_command_goes_through_links_pipes_and_devices(tmp_path, quick, option, capsys):
    def run(path):
        assert cli.run(command_line(option, path)) in (0, 1), capsys.readouterr().err

    target = tmp_path / "target.svg"
    target.write_text("old")
    target.chmod(0o640)
    (tmp_path / "link.svg").symlink_to(target)
    run(tmp_path / "link.svg")
    assert (tmp_path / "link.svg").is_symlink()
    assert target.read_text() != "old"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    piped = through_a_pipe(tmp_path / "pipe.svg", run)
    assert len(piped) > 0.9 * target.stat().st_size  # the report has the time in it
    run(device(tmp_path / "null.svg"))
    assert stat.S_ISCHR((tmp_path / "null.svg").stat().st_mode)


@pytest.mark.parametrize("option", COMMANDS)
def test_what_cannot_be_written_is_refused_in_one_line(tmp_path, quick, option, capsys):
    os.mkfifo(tmp_path / "unread.svg")
    (tmp_path / "loop.svg").symlink_to(tmp_path / "loop.svg")
    (tmp_path / "folder.svg").mkdir()
    names = ("unread.svg", "loop.svg", "folder.svg", "x" * 300 + ".svg", "/".join(["y" * 200] * 25) + ".svg")
    bad = [tmp_path / name for name in names]
    with suppress(OSError):  # root only; nothing has these numbers, so that nothing can be harmed
        os.mknod(tmp_path / "disk.svg", 0o600 | stat.S_IFBLK, os.makedev(240, 250))
        bad.append(tmp_path / "disk.svg")
    for path in bad:
        COMPUTED.clear()
        assert cli.run(command_line(option, path)) == 2, path
        error = capsys.readouterr().err.removeprefix("4 prompts, 12 completions of each; no scores\n")
        assert re.match("gradvar: error: |gradvar (check|identify): ", error)
        assert error.count("\n") == 1
        assert len(error) < 600
        assert not COMPUTED or path == bad[0]  # whether somebody will read a pipe is not known before
    assert stat.S_ISFIFO((tmp_path / "unread.svg").stat().st_mode)


@pytest.mark.parametrize("option", FOLDERS)
def test_a_folder_may_be_a_link_and_never_replaces_a_device(tmp_path, quick, option, capsys):
    name, flag = option.split()
    rest = [part for part in COMMANDS[f"{name} --json"] if part not in ("--out", "results", "bank")]
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    assert cli.run([name, *rest, flag, str(tmp_path / "link")]) == 0, capsys.readouterr().err
    assert (tmp_path / "link").is_symlink()
    made = tmp_path / "there" / "results.json"
    if made.exists():  # a file in it may be a link or a device as well
        made.rename(tmp_path / "elsewhere")
        made.symlink_to(tmp_path / "elsewhere")
        (tmp_path / "elsewhere").write_text("old")
        assert cli.run([name, *rest, flag, str(tmp_path / "there")]) == 0
        assert made.is_symlink()
        assert (tmp_path / "elsewhere").read_text() != "old"
    capsys.readouterr()
    for path in (device(tmp_path / "null"), tmp_path / "null" / "below"):
        assert cli.run([name, *rest, flag, str(path)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("gradvar: error: out: ")
        assert error.count("\n") == 1
    assert stat.S_ISCHR((tmp_path / "null").stat().st_mode)


def test_a_full_disk_is_one_line(quick, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
    for option in COMMANDS:
        assert cli.run(command_line(option, tmp_path / "out.svg")) == 2
        *_, error = capsys.readouterr().err.splitlines()
        assert "No space left" in error
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
