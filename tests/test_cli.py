"""The command line's edge: what starts at once, what is unknown, and a reader that stops early, as `head` does."""

import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import gradvar
from gradvar.cli import main as cli
from gradvar.cli.lists import POSITIONAL, separated

HELPERS = {
    "__init__",
    "kernel",
    "lists",
    "main",
    "progress",
    "results",
    "settings_file",
    "streams",
}  # files that are no command


@pytest.mark.parametrize("arguments", [["cite", "grpo"], ["list"]])
def test_a_closed_pipe_is_no_crash(arguments):
    command = [sys.executable, "-c", "from gradvar.cli.main import main; main()", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 141
    assert not said


def test_every_file_is_a_command_with_its_settings():
    files = {path.stem for path in Path(cli.__file__).parent.glob("*.py")} - HELPERS
    assert {cli.command(name).__name__.rpartition(".")[2] for name in cli.COMMANDS} == files
    for name in cli.COMMANDS:
        assert cli.configuration(name).__dataclass_fields__, name


def test_the_version_is_the_packages(capsys):
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"gradvar {gradvar.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_the_help_names_every_command(arguments, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # a narrow terminal breaks the longest between words
    assert cli.run(arguments) == 0
    printed = capsys.readouterr().out
    for name, summary in cli.COMMANDS.items():
        assert f"  {name} " in printed
        assert summary in printed


@pytest.mark.parametrize("name", ["check", "measure"])
def test_the_help_of_an_option_is_one_paragraph(name, capsys, monkeypatch):
    """Broken where the terminal ends, not where the source does."""
    monkeypatch.setenv("COLUMNS", "2000")
    with pytest.raises(SystemExit):
        cli.run([name, "--help"])
    lines = capsys.readouterr().out.splitlines()
    whole = {
        "check": "f(rewards[N], prompt_ids), f(rewards[N], num_generations)",
        "measure": "min_p:P, noise:SIZE",
    }
    assert any(whole[name] in line for line in lines)


def test_a_help_fits_a_narrow_terminal_and_shows_no_empty_default(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    for name in ("check", "report"):  # two have paragraphs of prose and options that may be left out
        with pytest.raises(SystemExit):
            cli.run([name, "--help"])
        printed = capsys.readouterr().out
        assert max(map(len, printed.splitlines()[1:])) <= 60  # the parser's own first line says how to use it
        assert not re.search(r"None|\(default: (False|'')?\)", printed)
    assert cli.run([]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= len(
        "The toolkit for the theory of group-relative policy gradients."
    )


def test_an_unknown_command_is_one_line_with_the_nearest(capsys):
    assert cli.run(["mesure"]) == 2
    error = capsys.readouterr().err
    assert error == "gradvar: error: no command 'mesure'; did you mean measure?; see gradvar --help\n"


@pytest.mark.parametrize("place", ["_parse", "command"])
def test_an_interrupt_is_one_line_wherever_it_arrives(place, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, place, interrupt)
    assert cli.run(["list"]) == 130
    assert capsys.readouterr().err == "gradvar: interrupted\n"


@pytest.mark.parametrize("error", [MemoryError(), OSError(28, "No space left on device", "x" * 5000)])
def test_what_the_system_refuses_is_one_line(error, capsys, monkeypatch):
    def refuse(*_):
        raise error

    monkeypatch.setattr(cli, "command", refuse)
    assert cli.run(["list"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("gradvar: error: ")
    assert said.count("\n") == 1
    assert len(said) < 400


WRITTEN = {  # as people write lists: the words that are read
    "measure --group-sizes 2,16 --estimators RLOO,Dr.GRPO --out a,b --clip 0.1,0.3": (
        "--group-sizes 2 16 --estimators RLOO Dr.GRPO --out a,b --clip 0.1 0.3"
    ),
    "measure --group-sizes=2;16 --estimators=rloo,grpo": "--group-sizes 2 16 --estimators rloo grpo",
    "audit dump.jsonl --between [0.1,0.9] --reward a,b": "dump.jsonl --between 0.1 0.9 --reward a,b",
    "check f.py:g --setting ddof=0,eps=1 --shape rewards=B,1 --because a,b": (
        "f.py:g --setting ddof=0 eps=1 --shape rewards=B,1 --because a,b"
    ),
    "peers verl,trl --quiet": "verl trl --quiet",
}


@pytest.mark.parametrize("written", WRITTEN)
def test_lists_are_read_as_people_write_them(written):
    command, *arguments = written.split()
    assert separated(arguments, cli.configuration(command)) == WRITTEN[written].split()


def test_every_option_that_takes_several_words_takes_commas():
    texts = {"because", "excepting", "files", "reward", "setting", "shape"}  # of which a comma may be a part
    for command in cli.COMMANDS:
        hints = typing.get_type_hints(cli.configuration(command))
        lists = {name for name, hint in hints.items() if typing.get_origin(hint) is tuple} - texts
        for name in lists - set(POSITIONAL):
            option = f"--{name.replace('_', '-')}"
            assert separated([option, "1,2"], cli.configuration(command)) == [option, "1", "2"], command


def test_a_value_that_is_no_number_is_named(capsys):
    words = {
        "--group-sizes 2,x": "--group-sizes: 'x' is no whole number; give numbers with spaces or commas",
        "--policies bandti": "--policies: 'bandti' is none of bandit, tabular, transformer; did you mean bandit?; see",
        "--rollouts=many": "--rollouts: 'many' is no whole number; see gradvar measure --help",
    }
    for written, complaint in words.items():
        with pytest.raises(SystemExit):
            cli.run(["measure", *written.split()])
        assert complaint in capsys.readouterr().err


def test_names_are_read_as_people_write_them(capsys):
    assert cli.run(["cite", "Dr. GRPO", "REINFORCE++"]) == 0
    printed = capsys.readouterr().out
    assert "2503.20783" in printed
    assert "2501.03262" in printed


def test_an_unknown_option_or_name_says_the_nearest(capsys):
    with pytest.raises(SystemExit):
        cli.run(["measure", "--gruop-sizes", "2"])
    assert "did you mean --group-sizes?; see gradvar measure --help" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.run(["measure", "--zzz"])
    assert "did you mean" not in capsys.readouterr().err
    assert cli.run(["cite", "grppo"]) == 2
    assert "names: no 'grppo'; nearest: grpo" in capsys.readouterr().err
