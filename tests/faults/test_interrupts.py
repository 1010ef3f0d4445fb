"""An interrupt ends every command with one line and 130, whatever it interrupts and whatever that makes of it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from gradvar.audit import database
from gradvar.cli import main as cli
from gradvar.policies.transformer import config_file

LINE = "gradvar: interrupted\n"


@pytest.fixture(autouse=True)
def interrupts_are_heard():
    """A shell that starts the tests in the background has interrupts ignored, and so has what it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def rows(path, count, prompt=lambda i: f"p{i // 8}"):
    text = "".join(json.dumps({"prompt": prompt(i), "reward": i % 3, "step": 1}) + "\n" for i in range(count))
    path.write_text(text)
    return path


def swallow(*_):
    """Raise the signal and go on, as a library does that catches everything."""
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        return 0


def rename(*_):
    """Raise the signal and make another error of it."""
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        raise RuntimeError("no more") from None


@pytest.mark.parametrize("how", [signal.raise_signal, swallow, rename])
@pytest.mark.parametrize("place", ["_parse", "command"])
def test_whatever_a_library_makes_of_it(place, how, capsys, monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(cli, place, lambda *_: how(signal.SIGINT))
    try:
        code = cli.run(["list"])
    except AttributeError:  # what goes on is no command
        code = None
    assert (code, capsys.readouterr().err) == (130, LINE)
    assert signal.getsignal(signal.SIGINT) is before


def test_inside_a_function_that_the_database_calls(tmp_path, capsys, monkeypatch):
    """The database makes a broken query of it, and that once made a file that cannot be read."""
    path = rows(tmp_path / "a.jsonl", 16, prompt=lambda i: [i // 8])
    fresh = database.Database()
    fresh.connection.remove_function("canonical_json")
    fresh.connection.create_function(
        "canonical_json", lambda text: signal.raise_signal(signal.SIGINT) or text, ["VARCHAR"], "VARCHAR"
    )
    monkeypatch.setattr("gradvar.audit.run.shared", lambda: fresh)
    assert cli.run(["audit", str(path)]) == 130
    printed = capsys.readouterr()
    assert printed.err == LINE
    assert not printed.out


def test_inside_a_query():
    fresh = database.Database()
    stop = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    stop.start()
    with pytest.raises(KeyboardInterrupt):
        fresh.rows("SELECT count(*) FROM range(1000000000000) t(i) WHERE i % 7 = 3")
    stop.join()
    assert fresh.rows("SELECT 1") == [(1,)]


def test_a_second_interrupt_says_nothing_more(capsys, monkeypatch):
    def twice(*_):
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)  # while files are closed

    monkeypatch.setattr(cli, "command", twice)
    assert cli.run(["list"]) == 130
    assert capsys.readouterr().err == LINE


def test_inside_a_model_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(config_file, "read_json", lambda *_: signal.raise_signal(signal.SIGINT))
    (tmp_path / "config.json").write_text("{}")
    prompts = tmp_path / "p.jsonl"
    prompts.write_text('{"prompt": "a", "answer": "b"}\n')
    assert cli.run(["record", str(tmp_path), str(prompts), "--out", str(tmp_path / "out")]) == 130
    assert capsys.readouterr().err == LINE


@pytest.mark.slow
def test_at_any_time_of_an_audit(tmp_path):
    path = rows(tmp_path / "a.jsonl", 100_000, prompt=lambda i: [i // 8, "x"])
    # ready once ``main`` has begun: before it, an interrupt is the interpreter's
    script = (
        "import gradvar.cli.main as m; run = m.run; "
        "m.run = lambda argv: print('ready', flush=True) or run(argv); m.main()"
    )
    for wait in (0.0, 0.05, 0.1, 0.2, 0.4, 0.6):
        command = [sys.executable, "-c", script, "audit", str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            process.stdout.readline()
            time.sleep(wait)
            process.send_signal(signal.SIGINT)
            out, error = process.communicate()
        finished = process.returncode in (0, 1)  # on a quick machine
        assert finished or (process.returncode, out, error) == (130, "", LINE)


@pytest.mark.parametrize(
    "place",
    [
        "import gradvar.cli; sys.modules['gradvar.cli.main'] = Interrupt('main')",  # while the commands are imported
        "import gradvar.cli.main as m; m.run = lambda argv: exec('raise KeyboardInterrupt')",  # as in a dataclass
        "import gradvar.cli.main as m; m.run = lambda argv: 130",
    ],
)
def test_the_exit_code_is_never_that_of_a_signal(place):
    program = f"""
import sys, types
class Interrupt(types.ModuleType):
    def __getattr__(self, name):
        raise KeyboardInterrupt
{place}
from gradvar.__main__ import main
main()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == 130
    assert ended.stderr == ("" if "argv: 130" in place else LINE)
