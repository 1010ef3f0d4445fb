"""The README is true: its Python runs, its commands parse and the quick ones run, its tree is the tree."""

import json
import re
import shlex
import tomllib
from collections import Counter
from pathlib import Path

import jax
import pytest

from gradvar.cli import main as cli
from gradvar.measure import ScoreBank
from gradvar.testing import check_advantage
from tests.claims import CLAIMS
from tests.policies import folders
from tests.policies.test_tokenizer import write as write_tokenizer

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.S)
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S) for line in block.splitlines()]
SHOWN = {  # what the page shows below a command
    command.split()[1]: text.splitlines()
    for command, text in re.findall(r"```sh\n(gradvar [^\n]*)\n```\n\n```text\n(.*?)```", TEXT, re.S)
}


def assert_shown(command, printed):
    """Every line that the page shows below the command was printed, in that order; columns may be wider."""
    words, place = " ".join(printed.split()), 0
    for line in (" ".join(line.split()) for line in SHOWN[command]):
        assert line in words[place:], line
        place = words.index(line, place) + len(line)


def run(code):
    with jax.enable_x64(False):  # as a reader has it
        exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("code", PYTHON, ids=lambda c: c.splitlines()[-1][:40])
@pytest.mark.slow
def test_the_python_runs(code, capsys):
    run(code)
    assert capsys.readouterr().out.strip()


def test_there_are_exactly_two_set_up_commands():
    set_up = [c for c in COMMANDS if "pip install" in c]
    assert len(set_up) == 2
    assert all(c.startswith("python3 -m venv .venv && .venv/bin/pip install ") for c in set_up)
    assert set_up[0].endswith("gradvar measure")
    assert set_up[1].endswith("pytest")


def test_the_test_command_installs_what_ci_runs():
    assert '-e ".[dev]"' in (ROOT / ".ci" / "run").read_text()
    assert '-e ".[dev]"' in TEXT


def test_the_measure_command_runs(tmp_path, monkeypatch, capsys):
    (command,) = [c for c in COMMANDS if c.startswith("gradvar measure")]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cli.run([*shlex.split(command)[1:], "--quiet", "--json", "all.json"]) == 0
    assert json.loads((tmp_path / "all.json").read_text())["rows"]
    files = {p.name for p in (tmp_path / "results").iterdir()}
    assert {
        "measurements.csv",
        "measurements.json",
        "variance.svg",
        "bias.svg",
        "snr.svg",
        "split.svg",
    } <= files
    weights = (tmp_path / "results" / "bias.svg").read_text()  # at G = 2 both have one curve, at G = 4 two
    assert ">rloo; grpo<" in weights
    assert ">grpo<" in weights
    printed = capsys.readouterr().out
    assert "Written to results" in printed
    assert_shown("measure", printed)


@pytest.mark.slow
def test_the_train_command_runs(tmp_path, monkeypatch, capsys):
    (command,) = [c for c in COMMANDS if c.startswith("gradvar train")]
    monkeypatch.chdir(tmp_path)  # the warm start may be one that another test has made
    small = ["--seeds", "2", "--steps", "4", "--evaluations", "2", "--quiet"]
    assert cli.run([*shlex.split(command)[1:], *small]) == 0
    printed = capsys.readouterr().out
    assert all(arm in printed for arm in ("grpo-2", "grpo-16"))
    assert {"results.json", "results.csv", "curves.csv"} <= {
        p.name for p in (tmp_path / "gradvar-training").iterdir()
    }


@pytest.mark.slow
def test_the_prove_command_runs(capsys):
    (command,) = [c for c in COMMANDS if c.startswith("gradvar prove")]
    assert cli.run(shlex.split(command)[1:]) == 0
    assert_shown("prove", capsys.readouterr().out)


def test_the_number_of_claims_is_right():
    counts = Counter(claim.verdict for claim in CLAIMS)
    named = sum(claim.verdict == "refuted" and claim.source.named for claim in CLAIMS)
    assert f"{len(CLAIMS)} claims of the literature" in TEXT
    assert ", ".join(f"{counts[v]} {v}" for v in ("proved", "conditional", "refuted")) in TEXT
    assert f"of the refuted ones {named} are stated or implied" in TEXT


def test_the_check_command_finds_what_is_shown(monkeypatch, capsys):
    alone, compared = [c for c in COMMANDS if c.startswith("gradvar check")]
    monkeypatch.chdir(ROOT)
    assert cli.run(shlex.split(alone)[1:]) == 1
    assert_shown("check", capsys.readouterr().out)
    assert cli.run(shlex.split(compared)[1:]) == 1
    assert "* matches_oracle" in capsys.readouterr().out


def test_the_identify_command_says_what_is_written(monkeypatch, capsys):
    (command,) = [c for c in COMMANDS if c.startswith("gradvar identify")]
    monkeypatch.chdir(ROOT)
    cli.run(shlex.split(command)[1:])
    sentence = " ".join(capsys.readouterr().out.split())  # it is broken to fit the terminal
    for words in ("GRPO, population std, no epsilon", "groups of one (NaN)", "[nan, nan]"):
        assert words in sentence


@pytest.mark.slow
def test_the_record_command_runs(tmp_path, monkeypatch, capsys):
    (command,) = [c for c in COMMANDS if c.startswith("gradvar record")]
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "path" / "to" / "model"
    folders.write(folder, "qwen2", vocab_size=10)
    write_tokenizer(folder)
    lines = [{"prompt": text, "answer": "is"} for text in ("two", "and", "is", "four")]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert cli.run([*shlex.split(command)[1:], "--completion-length", "2", "--rollouts", "6"]) == 0
    assert "tr Cov of one group" in capsys.readouterr().out
    assert ScoreBank.open(tmp_path / "bank").rollouts.rewards.shape == (4, 6)
    (advise,) = [c for c in COMMANDS if c.startswith("gradvar advise")]
    assert cli.run(shlex.split(advise)[1:]) == 0


def test_the_audit_command_says_what_is_shown(monkeypatch, capsys):
    (command,) = [c for c in COMMANDS if c.startswith("gradvar audit")]
    monkeypatch.chdir(ROOT)
    assert cli.run(shlex.split(command)[1:]) == 0
    assert_shown("audit", capsys.readouterr().out)


@pytest.mark.slow
def test_the_report_and_cite_commands_run(tmp_path, monkeypatch, capsys):
    report, cite = (
        next(c for c in COMMANDS if c.startswith(f"gradvar {name}")) for name in ("report", "cite")
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    result = check_advantage(lambda rewards: rewards - rewards.mean(1, keepdims=True), examples=2).as_json()
    (tmp_path / "results" / "check.json").write_text(json.dumps(result))
    assert cli.run(shlex.split(report)[1:]) == 0
    assert "<html" in (tmp_path / "results" / "report.html").read_text()
    capsys.readouterr()
    assert cli.run(shlex.split(cite)[1:]) == 0
    assert "2402.03300" in capsys.readouterr().out


def test_every_command_is_shown_and_every_link_leads_somewhere():
    for name in cli.COMMANDS:
        assert f"gradvar {name}" in TEXT, name
    for link in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert link.startswith("https://") or (ROOT / link).exists(), link


def test_a_package_index_shows_no_broken_picture_and_no_broken_link():
    text = TEXT
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for each in settings["tool"]["hatch"]["metadata"]["hooks"]["custom"]["replace"]:
        text, number = re.subn(each["pattern"], each["replacement"], text, flags=re.DOTALL)
        assert number, each["pattern"]
    assert not re.findall(r"<(?:img|source)|\]\((?!https?:)", text)
    assert len(text) > 0.8 * len(TEXT)
    assert "pip install gradvar && .venv/bin/gradvar measure" in text
    assert "pip install 'gradvar[check]'" in text


# What building, measuring (README's first command) and installing leave in a checkout.
MADE = {"build", "dist", "site", "results", "outputs", "gradvar.egg-info", "gradvar-results"}


def test_the_tree_is_the_tree():
    tree = re.search(r"```\n(gradvar/\n.*?)```", TEXT, re.S)
    assert tree is not None
    folder, told = ROOT, {"gradvar": set(), "": set()}
    for line in tree.group(1).splitlines():
        name, words = line.split(maxsplit=1) if line != "gradvar/" else (line, "the package")
        folder = ROOT / "gradvar" if line.startswith("  ") else ROOT
        assert (folder / name).exists(), name
        assert words
        told["gradvar" if line.startswith("  ") else ""].add(name.strip("/"))
    known = {"__init__.py", "__main__.py", "__pycache__", "py.typed"}
    assert {path.name for path in (ROOT / "gradvar").iterdir()} - known == told["gradvar"]
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith((".", "_"))}
    assert folders & told[""] == folders - MADE
