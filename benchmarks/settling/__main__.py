"""Run it, or go on with it: ``python -m benchmarks.settling [--quick] [--minutes 5]``; results when all is there.

With ``--restore benchmarks/results/settling.json`` the runs in this file are not made again: more warm starts or group
sizes are added to them.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from benchmarks.settling.reading import results
from benchmarks.settling.runs import Runs
from benchmarks.settling.settings import LARGER, QUICK, QUICK_COMPILER, QUICK_SETTINGS, SETTINGS, Size
from gradvar.cli.results import keep_compiled_programs
from gradvar.core.devices import map_threads
from gradvar.files.provenance import provenance
from gradvar.files.tables import write_json


def main() -> None:
    """Read the arguments, run what is left within the minutes, and write the results of what is whole."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="two settings, sizes and warm starts, a quarter of the steps"
    )
    parser.add_argument(
        "--settings",
        nargs="+",
        choices=[s.name for s in (*SETTINGS, *LARGER)],
        default=[],
        help="in place of the default's",
    )
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many; go on later")
    parser.add_argument("--runs", type=int, default=0, help="runs of an arm in place of the default's")
    parser.add_argument("--starts", type=int, default=0, help="warm starts in place of the default's")
    parser.add_argument("--steps", type=int, default=0, help="steps of a run in place of the default's")
    parser.add_argument(
        "--groups", type=int, nargs="*", default=[], help="group sizes in place of the default's"
    )
    parser.add_argument(
        "--lowest-rate",
        type=float,
        default=Size.lowest_rate,
        help="factor on the learning rate down to which grids are widened",
    )
    parser.add_argument("--folder", type=Path, default=Path("gradvar-settling"), help="where runs are kept")
    parser.add_argument(
        "--restore", type=Path, nargs="*", default=[], help="results whose runs are put there first"
    )
    parser.add_argument("--out", type=Path, default=None, help="file of the results")
    options = parser.parse_args()
    if options.quick:  # JAX has not computed yet: it reads them with its first program
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {QUICK_COMPILER}".strip()
    size = QUICK if options.quick else Size()
    names = options.settings or (QUICK_SETTINGS if options.quick else [s.name for s in SETTINGS])
    size = replace(
        size, runs=options.runs or size.runs, starts=options.starts or size.starts, steps=options.steps or size.steps,
        groups=tuple(options.groups) or size.groups, lowest_rate=options.lowest_rate,
    )  # fmt: skip
    folder = options.folder / f"{'quick-' if options.quick else ''}{size.steps}-steps"
    keep_compiled_programs()
    began = time.monotonic()
    whole = []

    def work(name: str, parts: Iterator[str]) -> bool:
        """Work off parts until time is up; true where none is left."""
        while time.monotonic() - began < 60 * options.minutes:
            done = next(parts, None)
            if done is None:
                return True
            print(f"{time.monotonic() - began:6.0f} s  {name}: {done}", flush=True)
        return False

    files = [json.loads(place.read_text()) for place in options.restore]
    earlier = {setting["name"]: setting for content in files for setting in content["settings"]}
    for setting in (*SETTINGS, *LARGER):
        if setting.name not in names:
            continue
        runs = Runs(setting, size, folder)
        if setting.name in earlier:
            runs.restore(earlier[setting.name])
        if not all(all(map_threads(partial(work, setting.name), stage)) for stage in runs.stages()):
            break
        whole.append(runs)
    if options.out is not None and whole:
        write_json(
            options.out,
            {"kind": "settling", "provenance": provenance({"size": asdict(size)}), **results(whole)},
        )
        print(f"written to {options.out}")


if __name__ == "__main__":
    main()
