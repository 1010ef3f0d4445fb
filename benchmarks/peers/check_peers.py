"""The kit on the installed trainers: writes peers.csv, one row per library, estimator and law.

Run it with the peers' interpreter (see README.md): ``python check_peers.py``, or ``--only verl`` for one
library."""

from __future__ import annotations

import argparse
import csv
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import adapters  # noqa: E402

from gradvar.testing import check_advantage, check_loss  # noqa: E402
from gradvar.testing.verdicts import CheckReport  # noqa: E402

FIELDS = ("library", "version", "kind", "estimator", "law", "universal", "verdict", "example", "why")


def examine(case: adapters.Case, examples: int) -> CheckReport:
    """The report on one adapter."""
    library, _, kind, arrays, function, settings = case
    if kind == "loss":
        return check_loss(function, library_name=arrays, examples=examples, **settings)
    layout = "token-level" if library == "verl" else "num-generations"
    dtypes = (
        ("float64", "float32") if arrays == "torch" else ("float32",)
    )  # what these trainers make of rewards
    return check_advantage(
        function, signature=layout, library_name=arrays, dtypes=dtypes, examples=examples, **settings
    )


def rows(case: adapters.Case, report: CheckReport) -> list[dict[str, Any]]:
    """The report as rows of the table."""
    library, name, kind, *_ = case
    return [
        {
            "library": library,
            "version": version(library),
            "kind": kind,
            "estimator": name,
            "law": result.name,
            "universal": "yes" if result.universal else "",
            "verdict": result.status,
            "example": "" if result.example is None else _compact(result.example),
            "why": " ".join(result.why.split()),
        }
        for result in report.results
    ]


def _compact(example: Any) -> str:
    return "; ".join(f"{key}={value}" for key, value in example.items())


def main() -> int:
    """Check every adapter and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="one library")
    parser.add_argument("--examples", type=int, default=25)
    parser.add_argument("--out", type=Path, default=HERE / "peers.csv")
    options = parser.parse_args()
    table: list[dict[str, Any]] = []
    for case in adapters.cases():
        if options.only in ("", case[0]):
            start = time.perf_counter()
            report = examine(case, options.examples)
            table += rows(case, report)
            failed = [r.name for r in report.results if r.status == "fails" and r.universal]
            print(
                f"{case[0]:<13} {case[1]:<42} {time.perf_counter() - start:5.1f} s  {', '.join(failed)}",
                flush=True,
            )
    with options.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
