"""Memory of a large bank: how much more than its arrays each step takes at its peak.

    python -m benchmarks.bank.memory --prompts 1562 --rollouts 8      # 12,500 rollouts
    python -m benchmarks.bank.memory --prompts 6250 --rollouts 8      # 50,000 rollouts

Prints for recording in shards, opening, evaluating and the summary the largest memory in use above what was in use
before the first of them, beside the bytes of the bank's arrays and, for the summary, of its products of prompts.

Run on 2026-11-30 with Python 3.11.7, jax 0.10.2, two cores that others used as well: MB, and seconds to evaluate
three estimators at two group sizes. Before, evaluating formed the products of all prompts:

    rollouts  arrays  record  evaluate  before       summary  before
    20,000        78     183  446, 3 s    831, 5 s       392     369
    50,000       196     418  759, 6 s  3,557, 25 s      777   1,062

The summary keeps the products of all prompts (298 MB of 6,250 prompts): advice weighs them.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

import gradvar as gv

ACTIONS = 64
ESTIMATORS = [gv.catalogue.get(name) for name in ("rloo", "grpo", "dr_grpo")]


def peak() -> int:
    """The largest memory in use since ``forget_peak``, in bytes."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) << 10


def in_use() -> int:
    """Memory in use now, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def forget_peak() -> None:
    """Let the peak begin again at what is in use."""
    Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    """Record, open, evaluate and summarise; print a row for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", type=int, default=6250)
    parser.add_argument("--rollouts", type=int, default=8)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    policy = gv.policies.Bandit(ACTIONS, num_prompts=16)
    rewards = jax.random.bernoulli(jax.random.key(2), 0.3, (16, ACTIONS)).astype(float)
    task, params = gv.tasks.Bandit(rewards.tolist()), policy.init(jax.random.key(0))

    def record(prompts: int, folder: Path) -> gv.ScoreBank:
        settings = gv.RecordSettings(shard=256)
        return gv.measure.record(
            policy, params, task, jax.random.key(1), prompts, options.rollouts, scores=gv.Whole(), folder=folder,
            settings=settings,
        )  # fmt: skip

    with tempfile.TemporaryDirectory() as name:
        small = record(512, Path(name) / "small")  # everything is imported and compiled
        small.evaluate(ESTIMATORS, [2, 4])
        small.summary()
        forget_peak()
        start = in_use()
        kept: dict[str, Any] = {}
        steps: dict[str, Callable[[], Any]] = {
            "record": lambda: record(options.prompts, Path(name) / "bank"),
            "open": lambda: gv.ScoreBank.open(Path(name) / "bank"),
            "evaluate": lambda: kept["open"].evaluate(ESTIMATORS, [2, 4]),
            "summary": lambda: kept["open"].summary(),
        }
        print(f"{options.prompts * options.rollouts} rollouts of {ACTIONS * 16} parameters")
        print("step      seconds  peak, MB  in use after, MB")
        for step, run in steps.items():
            forget_peak()
            began = time.process_time()
            result = run()
            seconds = time.process_time() - began
            if step != "record":
                kept[step] = result
            del result
            print(
                f"{step:<9} {seconds:7.1f}  {(peak() - start) >> 20:>8}  {(in_use() - start) >> 20:>8}",
                flush=True,
            )
        recording = kept["open"].recording
        arrays = {**recording.rollouts.arrays(), **recording.scores.arrays(), "basis": recording.rows.basis}
        total = sum(leaf.nbytes for x in arrays.values() for leaf in jax.tree.leaves(x))
        print(
            f"arrays of the bank {total >> 20} MB, products of prompts {kept['summary'].gradients.nbytes >> 20} MB"
        )


if __name__ == "__main__":
    main()
