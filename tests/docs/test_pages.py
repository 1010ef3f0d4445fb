"""The pages are true: their Python runs from top to bottom, their commands parse, their links lead somewhere."""

import re
import shlex
from pathlib import Path

import jax
import pytest

from gradvar import cli

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
HOWTO = sorted((DOCS / "howto").glob("*.md"))


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.S)


@pytest.mark.slow
@pytest.mark.parametrize("page", HOWTO, ids=lambda page: page.stem)
def test_the_python_runs(page, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code = "\n".join(blocks(page, "python"))
    assert code
    with jax.enable_x64(False):  # as a reader has it
        exec(compile(code, page.name, "exec"), {"__name__": "page"})
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_are_commands_and_links_lead_somewhere(page):
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    said = re.findall(r"`(gradvar [a-z]+ [^`]*)`", page.read_text())
    known = cli._commands()
    for line in [*(x for x in lines if x.startswith("gradvar")), *said]:
        words = shlex.split(line)
        assert words[1] in known, line
        fields = {name.replace("_", "-") for name in known[words[1]][0].__dataclass_fields__}
        assert all(w[2:].split("=")[0] in fields for w in words if w.startswith("--")), line
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        assert link.startswith("https://") or (page.parent / link).exists(), link


def test_every_page_is_in_the_index():
    index = (DOCS / "index.md").read_text()
    for page in PAGES:
        assert page.name == "index.md" or str(page.relative_to(DOCS)) in index, page
