"""The page about the house names what exists: files, names in them, public names, and the floors in their order."""

import ast
import importlib
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / "architecture.md", ROOT / "docs" / "glossary.md"]
FOLDERS = "gradvar|proofs|tests|docs|benchmarks|notebooks|examples"
IS_PATH = re.compile(rf"(?:{FOLDERS})/[\w./]*|\w+\.(?:md|toml|yml)")
IS_PUBLIC = re.compile(r"(?:gv|gradvar)(?:\.\w+)+")
IS_NAME = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*(?:\(\.\.\.\))?")


def names_in(body):
    """Names that a module's or a class's body binds, with those of classes inside: ``Class.member``."""
    names = set()
    for node in body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names |= {node.name, *(f"{node.name}.{name}" for name in names_in(node.body))}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


@cache
def names_of_file(path):
    return names_in(ast.parse((ROOT / path).read_text()).body)


def exists_publicly(name):
    """True if a dotted name that begins with gv or gradvar can be had."""
    _, *parts = name.split(".")
    value, address = importlib.import_module("gradvar"), "gradvar"
    for part in parts:
        address += f".{part}"
        try:
            value = getattr(value, part)
        except AttributeError:
            try:
                value = importlib.import_module(address)
            except ModuleNotFoundError:
                return False
    return True


def missing(text):
    """What a page names that does not exist. A name after a Python file of the same item is a name in that file."""
    faults = []
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    for item in re.split(r"\n(?=\s*(?:[-|]|\d+\.)\s)|\n\n|(?<=\.)\s", prose):
        file = None
        for code in re.findall(r"`([^`]+)`", item):
            if IS_PUBLIC.fullmatch(code):
                faults += [] if exists_publicly(code) else [code]
            elif IS_PATH.fullmatch(code):
                faults += [] if (ROOT / code).exists() else [code]
                file = code if code.endswith(".py") and (ROOT / code).is_file() else None
            elif file and IS_NAME.fullmatch(code):
                name = code.removesuffix("(...)")
                faults += [] if name in names_of_file(file) else [f"{file}: {name}"]
    return faults


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_name_exists(page):
    assert missing(page.read_text()) == []


def test_planted_names_are_seen():
    planted = """
- `gradvar/core/batch.py`: `Batch.from_arrays` exists, `Batch.from_lists` does not, and `gradvar/core/butch.py` neither.
- `gv.Batch` exists, `gv.Botch` does not; nor does `gradvar.measure.bank.ledger`.

| file | what |
|---|---|
| `gradvar/catalogue.py` | a line in `ENTRIES`, none in `EXITS` |
"""
    expected = ["gradvar/core/batch.py: Batch.from_lists", "gradvar/core/butch.py", "gv.Botch"]
    expected += ["gradvar.measure.bank.ledger", "gradvar/catalogue.py: EXITS"]
    assert missing(planted) == expected


def floors_of_the_picture(text):
    """Rooms from top to bottom, with those of one floor together: the first word of each cell."""
    picture = re.search(r"```text\n(┌.*?)```", text, re.S)
    assert picture is not None
    lines, floors, is_new = picture.group(1).splitlines(), [], True
    assert len(set(map(len, lines))) == 1, "a ragged wall"
    for line in lines:
        if line.startswith("│") and is_new:
            floors.append({cell.split()[0] for cell in line.strip("│").split("│")})
        is_new = not line.startswith("│")
    return floors


def test_the_picture_shows_the_floors():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = [c["layers"] for c in settings["contracts"] if c["type"] == "layers"]
    expected = [set(layer.split(" | ")) for layer in layers if layer != "__main__"]
    text = PAGES[0].read_text()
    assert floors_of_the_picture(text) == expected
    assert floors_of_the_picture(text.replace("│ plot  ", "│ plots ")) != expected  # a planted room
