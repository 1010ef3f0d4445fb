"""The notebooks as pages: as committed, outputs included, their formulas set as MathML so that no script has to run."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat

from gradvar.symbolic.claims.formula import to_mathml

ROOT = Path(__file__).resolve().parents[2]
_KEPT = ROOT / ".cache" / "docs"
_NO_SLIDERS = (
    "\n\n*Sliders move where a kernel runs, and are pictures here; "
    "[the page to play with](../explore/index.html) needs no kernel.*"
)
_BADGE = re.compile(r"\[!\[[^\]]*\]\([^)]*\)\]\(([^)]*)\)")  # its picture is on another host
_LONG_CODE = re.compile(
    r'(celltag_hide-input[^>]*>\s*)(<div class="jp-Cell-inputWrapper".*?)(?=<div class="jp-Cell-outputWrapper")',
    re.DOTALL,
)
_FORMULA = re.compile(r"(\$\$?)([^$\n]+)\1")


def sources() -> list[Path]:
    """The committed notebooks in their order."""
    return sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def navigation() -> list[dict[str, str]]:
    """Their titles, which are their first headings, and addresses."""
    return [{_title(path): f"notebooks/{path.name}"} for path in sources()]


def copies() -> Path:
    """A folder that holds ``notebooks/`` with the formulas as MathML."""
    folder = _KEPT / "notebooks"
    folder.mkdir(parents=True, exist_ok=True)
    for path in sources():
        notebook = nbformat.read(path, as_version=4)
        notebook.cells[0].source = _BADGE.sub(r"[Open in Colab](\1)", notebook.cells[0].source)
        if any("slider" in cell.source for cell in notebook.cells if cell.cell_type == "markdown"):
            notebook.cells[0].source += _NO_SLIDERS
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = _FORMULA.sub(lambda m: to_mathml(m[2], block=m[1] == "$$"), cell.source)
        nbformat.write(notebook, folder / path.name)
    return _KEPT


def folded(html: str) -> str:
    """The page with each cell's code under "Code of the picture" where ``notebooks/build.py`` tagged it so."""
    return _LONG_CODE.sub(r'\1<details class="code"><summary>Code of the picture</summary>\2</details>', html)


def _title(path: Path) -> str:
    first = nbformat.read(path, as_version=4).cells[0].source
    return first.split("\n")[0].removeprefix("# ")
