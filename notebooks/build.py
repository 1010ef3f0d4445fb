"""Execute the notebooks' text sources and write them as .ipynb, outputs included; an error in a cell is fatal.

python notebooks/build.py               # all
python notebooks/build.py 01 03         # those
python notebooks/build.py --check       # execute, write nothing
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import time
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jupytext
import nbformat
import numpy as np
from nbclient import NotebookClient
from PIL import Image

HERE = Path(__file__).parent
WIDGET = "application/vnd.jupyter.widget-view+json"
PICTURE = "image/png"
STILL = "GRADVAR_NOTEBOOKS_STILL"  # read by kit.explore
SHADES = 48  # colours of a picture: lines and text with their smoothed edges need no more
EXACT = 16  # of them, the most frequent ones, as they are: ground, grid, lines
LONGEST = 8  # lines of code that stay open above the picture they make
FOLDED = "hide-input"  # the tag of Jupyter Book; docs/pages/notebooks.py folds by it, too
COLAB = """\
# On Google Colab: the library, and the notebooks' two helpers.
import sys

if "google.colab" in sys.modules:
    !pip install -q "gradvar[prove,check] @ git+{address}"
    !git clone -q --depth 1 {address} repository
    sys.path.append("repository/notebooks")"""


def executed(source: Path) -> Any:
    """The notebook of a text source, with its outputs as they are committed."""
    notebook = with_colab(jupytext.read(source), source.stem, repository())
    os.environ[STILL] = "1"  # the kernel inherits it: nobody is there to move a slider
    # Pictures, whatever the shell says.
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    where = {"metadata": {"path": str(source.parent)}}
    # What a cell prints is one output, however the kernel happened to send it.
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources=where, coalesce_streams=True
    ).execute()
    return still(notebook)


def repository() -> str | None:
    """The public address of the repository, if ``pyproject.toml`` names one."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
    return project.get("urls", {}).get("Repository")


def with_colab(notebook: Any, name: str, address: str | None) -> Any:
    """With a badge that opens the notebook in Colab and a cell that installs there; as it was without an address."""
    if address is None:
        return notebook
    place = (
        f"https://colab.research.google.com/github{urlsplit(address).path}/blob/main/notebooks/{name}.ipynb"
    )
    badge = f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({place})"
    notebook.cells[0].source += f"\n\n{badge}"
    notebook.cells.insert(1, nbformat.v4.new_code_cell(COLAB.format(address=address)))
    return notebook


def still(notebook: Any) -> Any:
    """For a page: small pictures, their long code folded; no slider without a kernel, no time of a cell's run."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        cell.outputs = [o for o in cell.outputs if WIDGET not in o.get("data", {})]
        pictures = [o.data for o in cell.outputs if PICTURE in o.get("data", {})]
        for data in pictures:
            data[PICTURE] = small(data[PICTURE])
        if pictures and len(cell.source.splitlines()) > LONGEST:
            cell.metadata["tags"] = [FOLDED]
            cell.metadata["jupyter"] = {"source_hidden": True}  # JupyterLab
            cell.metadata["cellView"] = "form"  # Colab
    return notebook


def small(picture: str) -> str:
    """A PNG, in base64, of the same pixels in few colours: the frequent ones exactly, the others to the nearest."""
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB"))
    colours, index, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True, return_counts=True)
    frequent, rare = np.split(colours[np.argsort(-counts)], [EXACT])
    palette = frequent
    if len(rare):  # each counts once: a rare line's edges as much as those of text
        few = Image.fromarray(rare[None]).quantize(SHADES - EXACT, Image.Quantize.MEDIANCUT)
        others = np.reshape(few.getpalette() or [], (-1, 3))[: SHADES - EXACT]
        palette = np.concatenate([frequent, others])
    gaps = ((colours[:, None].astype(int) - palette) ** 2).sum(-1)  # [colour, entry of the palette]
    entries = gaps.argmin(1).astype(np.uint8)[index].reshape(pixels.shape[:2])
    image = Image.fromarray(entries)
    image.putpalette(palette.astype(np.uint8).tobytes())
    written = io.BytesIO()
    image.save(written, "PNG", optimize=True)
    return base64.b64encode(written.getvalue()).decode()


def main() -> None:
    """Build the notebooks asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("numbers", nargs="*", help="two digits each; all by default")
    parser.add_argument("--check", action="store_true", help="write nothing")
    asked = parser.parse_args()
    for source in sorted(HERE.glob("[0-9][0-9]_*.py")):
        if asked.numbers and source.name[:2] not in asked.numbers:
            continue
        started = time.perf_counter()
        notebook = executed(source)
        if not asked.check:
            jupytext.write(notebook, source.with_suffix(".ipynb"))
        print(f"{source.name}: {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
