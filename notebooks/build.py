"""Execute the notebooks' text sources and write them as .ipynb, outputs included; an error in a cell is fatal.

python notebooks/build.py               # all
python notebooks/build.py 01 03         # those
python notebooks/build.py --check       # execute, write nothing
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import jupytext
from nbclient import NotebookClient

HERE = Path(__file__).parent


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
        notebook = jupytext.read(source)
        NotebookClient(
            notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(HERE)}}
        ).execute()
        for cell in notebook.cells:  # when it ran is no part of what it says
            cell.metadata.pop("execution", None)
        if not asked.check:
            jupytext.write(notebook, source.with_suffix(".ipynb"))
        print(f"{source.name}: {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
