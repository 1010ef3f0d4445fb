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


def measured(runs: Runs) -> dict[str, Any]:
    """CPU seconds of a setting's parts, by the programs that its runs use."""

    def learn(number: int) -> None:
        warm_start(runs.policy, runs.task, runs.start_key(number), runs.setting.success, cache=False)

    costs: dict[str, Any] = {"setting": runs.setting.name}
    costs |= {
        f"warm_start{end}": seconds_of(partial(learn, number)) for number, end in enumerate(("_first", ""))
    }
    start = runs.start(0)  # kept on disk: the bank is timed without it
    costs |= {"bank": seconds_of(runs.prediction), "groups": {}}
    for group in runs.size.groups:
        trainer = runs.trainer(group, "test")
        states = trainer.start((0,), start.params)
        evaluate, advance = partial(trainer.evaluate, states), partial(trainer.advance, states)
        compiling = seconds_of(partial(advance, trainer.limits(until=0.0)))
        evaluations = [seconds_of(evaluate) for _ in range(1 + ROUNDS)]
        if "evaluation" not in costs:  # one program for all group sizes
            costs |= {"evaluation": min(evaluations[1:]), "evaluation_first": evaluations[0]}
        steps = [seconds_of(partial(advance, trainer.limits())) / CHUNK for _ in range(ROUNDS)]
        costs["groups"][group] = {"compiling": compiling, "step": min(steps)}
    return costs


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


def whole(
    costs: Mapping[str, Any], numbers: Mapping[int, tuple[float, float]], size: Size
) -> dict[str, float]:
    """CPU seconds of a setting at this size, by the stages of ``Runs.stages``."""
    groups = {int(group): cost for group, cost in costs["groups"].items()}
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
        by_group = {int(g): cost for g, cost in row["groups"].items()}
        compiling = sum(cost["compiling"] for cost in by_group.values()) + row["evaluation_first"]
        lines.append(
            _line([
                row["setting"].replace("_", " "), *(f"{1000 * by_group[g]['step']:.1f}" for g in groups),
                f"{row['evaluation']:.2f} s", f"{compiling:.0f} s", f"{row['warm_start']:.1f} s",
                f"{sum(row['whole'].values()) / 60:.1f}",
            ])
        )  # fmt: skip
    return lines


def main() -> None:
    """Measure the settings that are not in the file yet; print the table and the sums."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--settings", nargs="+", default=[s.name for s in SETTINGS], help="that are measured")
    parser.add_argument("--out", type=Path, default=RESULTS / "settling_cost.json")
    options = parser.parse_args()
    size = Size()
    rows = (
        {row["setting"]: row for row in json.loads(options.out.read_text())["rows"]}
        if options.out.exists()
        else {}
    )
    results = {setting["name"]: setting for setting in joined(kept(RESULTS))["settings"]}
    for setting in SETTINGS:
        if setting.name in options.settings and setting.name not in rows:
            with tempfile.TemporaryDirectory() as folder:
                costs = measured(Runs(setting, replace(size, starts=2), Path(folder)))
            numbers = counts(results.get(setting.name), size.groups, size.runs)
            rows[setting.name] = costs | {"counts": numbers, "whole": whole(costs, numbers, size)}
            write_json(
                options.out,
                {"kind": "settling cost", "provenance": provenance({}), "rows": list(rows.values())},
            )
    print("\n".join(table(list(rows.values()), size.groups)))
    stages = {
        name: sum(row["whole"][name] for row in rows.values()) / 60
        for name in next(iter(rows.values()))["whole"]
    }
    print(f"CPU minutes: {', '.join(f'{name} {minutes:.1f}' for name, minutes in stages.items())}")


if __name__ == "__main__":
    main()
