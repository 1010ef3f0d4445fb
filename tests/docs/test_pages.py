"""The pages are true: their Python runs from top to bottom, their commands parse, their links lead somewhere."""

import re
import shlex
import typing
from itertools import pairwise
from pathlib import Path

import jax
import pytest

from gradvar.cli import main as cli

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
RUN = [DOCS / "tutorial.md", *sorted((DOCS / "howto").glob("*.md"))]


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.S)


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_the_code_runs_and_prints_what_is_shown(page, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    parts = re.findall(r"```(python|sh|text)\n(.*?)```", page.read_text(), re.S)
    assert any(language == "python" for language, _ in parts)
    names = {"__name__": "page"}
    for (language, code), (after, shown) in pairwise([*parts, ("", "")]):
        if language == "python":
            with jax.enable_x64(False):  # as a reader has it
                exec(compile(code, page.name, "exec"), names)
            printed = capsys.readouterr().out
            assert after != "text" or printed == shown
        elif language == "sh" and after == "text":
            assert cli.run(shlex.split(code)[1:]) == 0
            assert shown in capsys.readouterr().out


def options(configuration):
    """The options of a command: its fields' names, and the names that stand in their annotations."""
    hints = typing.get_type_hints(configuration, include_extras=True)
    named = {
        part.name
        for hint in hints.values()
        for part in getattr(hint, "__metadata__", ())
        if isinstance(getattr(part, "name", None), str)
    }
    return named | {name.replace("_", "-") for name in hints}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_are_commands_and_links_lead_somewhere(page):
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    said = re.findall(r"`(gradvar [a-z]+ [^`]*)`", page.read_text())
    known = cli.COMMANDS
    for line in [*(x for x in lines if x.startswith("gradvar")), *said]:
        words = shlex.split(line)
        assert words[1] in known, line
        fields = options(cli.configuration(words[1]))
        assert all(w[2:].split("=")[0] in fields for w in words if w.startswith("--")), line
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        assert link.startswith("https://") or (page.parent / link).exists(), link


def test_every_page_is_in_the_index():
    index = (DOCS / "index.md").read_text()
    for page in PAGES:
        assert page.name == "index.md" or str(page.relative_to(DOCS)) in index, page
