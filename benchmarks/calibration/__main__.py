"""Do the stated 95 % intervals cover where people measure? Twins of the engines against exact figures, over a grid.

    python -m benchmarks.calibration                  # goes on where it stopped
    python -m benchmarks.calibration --repeats 200 --out quick

The same through the engines themselves: ``enumerated`` and ``benchmarks.bank.coverage``.

Writes ``calibration.csv`` to --out, a row for every cell and figure as soon as it is known, then the table
``benchmarks/CALIBRATION.md`` and its figure. Rows say by which rule they were made; those of another one are run again.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from benchmarks.calibration import report
from benchmarks.calibration.cells import as_row, grid
from benchmarks.calibration.measure import coverage
from benchmarks.calibration.rule import INTERVALS, append, rows_of, rule_of
from gradvar.stats.effective import FEWEST

HERE = Path(__file__).resolve().parent.parent
_MEASURED = ("truth", "mean", "before", "after", "given", "width")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "calibration.csv"
    names = (*as_row(grid()[0]), "repeats")
    rule = rule_of(INTERVALS)
    done = {tuple(row[name] for name in names) for row in rows_of(path, rule)}
    for number, cell in enumerate(grid()):
        keys = as_row(cell)
        if (*keys.values(), str(options.repeats)) in done:
            continue
        started = time.process_time()
        shares = coverage(cell, options.repeats, options.seed + number)
        table = [
            keys
            | {"repeats": options.repeats, "figure": name}
            | {k: f"{x[k]:.6g}" for k in _MEASURED}
            | {"rule": rule}
            for name, x in shares.items()
        ]
        append(path, table)
        seconds = time.process_time() - started
        print(f"{number + 1} of {len(grid())}: {cell.engine} {cell.size}, {seconds:.1f} s of CPU", flush=True)
    document = HERE if options.out.resolve() == HERE / "results" else options.out
    report.write(path, document / "CALIBRATION.md", FEWEST)


if __name__ == "__main__":
    main()
