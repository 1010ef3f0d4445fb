"""Mappings and memory over thousands of calls, each with an objective that nobody has seen before.

    python -m benchmarks.programs exact --calls 3000
    python -m benchmarks.programs direct --calls 3000
    python -m benchmarks.programs bank --calls 3000

Each prints a row for every eighth of the calls, and fails where the second half adds more than 60 mappings or 60 MB.

Run on 2026-11-29 with Python 3.11.7, jax 0.10.2, two cores that others used as well:

    engine  calls  mappings after 375, after 3,000  MB after 375, after 3,000
    exact   3,000  975, 976                         396, 404
    direct  3,000  1,319, 1,319                     439, 442
    bank    3,000  1,274, 1,274                     449, 452  (on 2026-11-30; once stopped and continued)

Before, each call took three mappings more, of which the system gives a process 65,530, and 1.5 MB.
"""

import argparse
import resource
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

import gradvar as gv

POLICY = gv.policies.Bandit(2, num_prompts=3)
TASK = gv.tasks.Bandit([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
MOST_MAPPINGS, MOST_MEGABYTES = 60, 60


def mappings() -> int:
    """Memory mappings of this process."""
    return Path("/proc/self/maps").read_bytes().count(b"\n")


def megabytes() -> int:
    """Memory of this process that is in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() >> 20


def objective(factor: float) -> Callable[..., Any]:
    """A new function, the same up to a factor."""
    return lambda logp, batch: factor * (logp * batch.rewards[..., None]).sum()


def engine(name: str) -> Callable[[Callable[..., Any]], object]:
    """What measures an objective."""
    params, key = POLICY.init(jax.random.key(0)), jax.random.key(1)
    if name == "exact":
        return lambda function: gv.measure.exact(function, POLICY, params, TASK, 2)
    if name == "direct":
        return lambda function: gv.measure.direct(function, POLICY, params, TASK, 2, key=key, replicates=16)
    bank = gv.measure.record(POLICY, params, TASK, key, 7, 4, scores=gv.Whole())
    return lambda function: bank.evaluate([function], [2])


def main() -> None:
    """Run the calls and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=("exact", "direct", "bank"))
    parser.add_argument("--calls", type=int, default=3000)
    config = parser.parse_args()
    warnings.simplefilter("ignore")  # too few rollouts for errors
    measure = engine(config.engine)
    rows = []
    print("calls  mappings  MB")
    for i in range(config.calls):
        measure(objective(1.0 + i))
        if (i + 1) % max(1, config.calls // 8) == 0:
            rows.append((mappings(), megabytes()))
            print(f"{i + 1:>5}  {rows[-1][0]:>8}  {rows[-1][1]:>5}", flush=True)
    (first, memory), (last, memory_last) = rows[len(rows) // 2], rows[-1]
    if last - first > MOST_MAPPINGS or memory_last - memory > MOST_MEGABYTES:
        raise SystemExit(
            f"{config.engine}: programs are kept: {last - first} mappings, {memory_last - memory} MB"
        )


if __name__ == "__main__":
    main()
