"""What the whole experiment costs, in CPU time: ``python -m benchmarks.settling.cost``.

Wall time depends on what else the machine does; the seconds that a process computes depend on it little. Of every
setting: a warm start, the bank, an evaluation; of every group size: compiling, and a step. Times the steps, evaluations
and runs of the default, that is the whole. How many rates the tuning tries, and how many of them the runs that count
take, is read from the results that there are; a group size that was never run is taken to need as many as the others
of its setting do on average.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.settling.figures import RESULTS, joined, kept
from benchmarks.settling.runs import Runs
from benchmarks.settling.settings import SETTINGS, Size
from gradvar.files.provenance import provenance
from gradvar.files.tables import write_json
from gradvar.train.trainer import CHUNK
from gradvar.train.warm_start import warm_start

ROUNDS = 2
"""Calls that are timed after the one that compiles; the least counts."""


def seconds_of(call: Callable[[], Any]) -> float:
    """CPU seconds of this process, all its threads, while ``call()`` runs."""
    began = time.process_time()
    call()
    return time.process_time() - began


def measure(runs: Runs, row: dict[str, Any], keep: Callable[[], None]) -> None:
    """Put into a setting's row what is not in it yet: CPU seconds of its parts, by the programs that its runs use."""

    def learn(number: int) -> None:
        warm_start(runs.policy, runs.task, runs.start_key(number), runs.setting.success, cache=False)

    if "warm_start" not in row:
        first, second = (seconds_of(partial(learn, number)) for number in range(2))  # the first one compiles
        row |= {"warm_start_first": first, "warm_start": second}
        keep()
    start = runs.start(0)  # kept on disk: the bank is timed without it
    if "bank" not in row:
        row["bank"] = seconds_of(runs.prediction)
        keep()
    groups = row.setdefault("groups", {})
    for group in runs.size.groups:
        if str(group) in groups:
            continue
        trainer = runs.trainer(group, "test")
        states = trainer.start((0,), start.params)
        evaluate, advance = partial(trainer.evaluate, states), partial(trainer.advance, states)
        compiling = seconds_of(partial(advance, trainer.limits(until=0.0)))
        if "evaluation" not in row:  # one program for all group sizes
            first, *others = (seconds_of(evaluate) for _ in range(1 + ROUNDS))
            row |= {"evaluation": min(others), "evaluation_first": first}
        steps = [seconds_of(partial(advance, trainer.limits())) / CHUNK for _ in range(ROUNDS)]
        groups[str(group)] = {"compiling": compiling, "step": min(steps)}
        keep()


def counts(
    setting: Mapping[str, Any] | None, groups: Sequence[int], runs: int
) -> dict[int, tuple[float, float]]:
    """Of every group size: runs that tune, and ``runs`` that count for every rate that was chosen."""
    if setting is None:
        raise ValueError("results: a setting has none; run it first")
    tried = {
        int(group): (
            float(sum(c["kind"] == "tuning" and c["group"] == int(group) for c in setting["curves"])),
            float(runs * len({choice["factor"] for choice in by_budget.values()})),
        )
        for group, by_budget in setting["tuned"].items()
    }
    tuning, counting = np.mean(list(tried.values()), axis=0)
    return {group: tried.get(group, (float(tuning), float(counting))) for group in groups}


def at_group(measured: Mapping[str, Mapping[str, float]], group: int) -> dict[str, float]:
    """What is measured of a group size, or what its neighbours say, beyond them the nearest one."""
    known = sorted(int(size) for size in measured)
    return {
        name: float(np.interp(np.log2(group), np.log2(known), [measured[str(size)][name] for size in known]))
        for name in ("compiling", "step")
    }


def whole(
    costs: Mapping[str, Any], numbers: Mapping[int, tuple[float, float]], size: Size
) -> dict[str, float]:
    """CPU seconds of a setting at this size, by the stages of ``Runs.stages``."""
    groups = {group: at_group(costs["groups"], group) for group in numbers}
    run = {
        g: size.steps * cost["step"] + (size.points + 1) * costs["evaluation"] for g, cost in groups.items()
    }
    return {
        "warm starts": costs["warm_start_first"] + (size.starts - 1) * costs["warm_start"],
        "bank": costs["bank"],
        "tuning": sum(run[g] * numbers[g][0] + groups[g]["compiling"] for g in run)
        + costs["evaluation_first"],
        "runs": sum(run[g] * numbers[g][1] for g in run),
    }


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def table(rows: Sequence[Mapping[str, Any]], groups: Sequence[int]) -> list[str]:
    """The measurements as lines of a page."""
    head = [
        "setting",
        *(f"step of {g}, ms" for g in groups),
        "evaluation",
        "compiling",
        "warm start",
        "CPU minutes",
    ]
    lines = [_line(head), _line(["---"] * len(head))]
    for row in rows:
        compiling = sum(at_group(row["groups"], g)["compiling"] for g in groups) + row["evaluation_first"]
        steps = [row["groups"].get(str(g)) for g in groups]
        lines.append(
            _line([
                row["setting"].replace("_", " "),
                *("-" if step is None else f"{1000 * step['step']:.1f}" for step in steps),
                f"{row['evaluation']:.2f} s", f"{compiling:.0f} s", f"{row['warm_start']:.1f} s",
                f"{sum(row['whole'].values()) / 60:.1f}",
            ])
        )  # fmt: skip
    return lines


def main() -> None:
    """Measure the settings that are not in the file yet; print the table and the sums."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--settings", nargs="+", default=[s.name for s in SETTINGS], help="that are measured")
    parser.add_argument("--groups", type=int, nargs="+", default=Size.groups, help="that are measured")
    parser.add_argument("--out", type=Path, default=RESULTS / "settling_cost.json")
    options = parser.parse_args()
    size = Size()
    content = json.loads(options.out.read_text()) if options.out.exists() else {"rows": []}
    rows = {row["setting"]: row for row in content["rows"]}
    results = {setting["name"]: setting for setting in joined(kept(RESULTS))["settings"]}

    def keep() -> None:
        content = {"kind": "settling cost", "provenance": provenance({}), "rows": list(rows.values())}
        write_json(options.out, content)

    for setting in SETTINGS:
        if setting.name not in options.settings:
            continue
        row = rows.setdefault(setting.name, {"setting": setting.name})
        with tempfile.TemporaryDirectory() as folder:
            measure(Runs(setting, replace(size, groups=tuple(options.groups)), Path(folder)), row, keep)
        numbers = counts(results.get(setting.name), size.groups, size.runs)
        row |= {"counts": numbers, "whole": whole(row, numbers, size)}
        keep()
    rows = {name: row for name, row in rows.items() if "whole" in row}
    print("\n".join(table(list(rows.values()), size.groups)))
    stages = {
        name: sum(row["whole"][name] for row in rows.values()) / 60
        for name in next(iter(rows.values()))["whole"]
    }
    print(f"CPU minutes: {', '.join(f'{name} {minutes:.1f}' for name, minutes in stages.items())}")


if __name__ == "__main__":
    main()
