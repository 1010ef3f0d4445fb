"""Execute the notebooks' text sources and write them as .ipynb, outputs included; an error in a cell is fatal.

python notebooks/build.py               # all
python notebooks/build.py 01 03         # those
python notebooks/build.py --check       # execute, write nothing
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import jupytext
from nbclient import NotebookClient

HERE = Path(__file__).parent
WIDGET = "application/vnd.jupyter.widget-view+json"
STILL = "GRADVAR_NOTEBOOKS_STILL"  # read by kit.explore


def executed(source: Path) -> Any:
    """The notebook of a text source, with its outputs as they are committed."""
    notebook = jupytext.read(source)
    os.environ[STILL] = "1"  # the kernel inherits it: nobody is there to move a slider
    where = {"metadata": {"path": str(source.parent)}}
    # What a cell prints is one output, however the kernel happened to send it.
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources=where, coalesce_streams=True
    ).execute()
    return still(notebook)


def still(notebook: Any) -> Any:
    """Without what a page cannot use: sliders that no kernel answers, and when each cell ran."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if WIDGET not in o.get("data", {})]
    return notebook


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
