"""Do intervals cover at the stop? Measurements in rounds (``stats.sequential``) on twins of ``direct``.

    python -m benchmarks.calibration.sequential                 # goes on where it stopped

Each repeat adds pairs of replicates until a figure's interval is as narrow as asked, by the rule of the package; the
table has the share of repeats whose interval holds the truth at the stop, beside that of a measurement of fixed size,
and beside looks at every size (sizes that grow by a tenth), which is the plain rule of Chow and Robbins. Writes
benchmarks/results/calibration_sequential.csv.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.calibration import twin
from benchmarks.calibration.cells import Cell
from benchmarks.calibration.rule import ROUNDS, append, rows_of, rule_of
from gradvar.core.until import FIRST
from gradvar.stats.effective import FEWEST
from gradvar.stats.figures import BlockSums, effective_blocks, figures, leave_one_out, pivots
from gradvar.stats.intervals import Interval
from gradvar.stats.sequential import next_size, relative_half_width

ASKED = {"trace_cov": (0.1, 0.2), "snr": (0.2,), "signal": (0.2,), "bias_factor": (0.1,)}
CAP = 8192  # pairs
_FINEST = 64  # pairs that a size is a multiple of
RESULTS = Path(__file__).resolve().parent.parent / "results" / "calibration_sequential.csv"


def cells() -> dict[str, Cell]:
    """What is measured, by name."""
    base = Cell("direct")
    return {
        "moderate p": base,
        "p 0.01 to 0.05": replace(base, success="0.01 to 0.05"),
        "p 0.97": replace(base, success="0.97"),
        "p U-shaped": replace(base, success="U-shaped"),
        "80 % dead prompts": replace(base, success="80 % dead"),
        "a rare reward of 50": replace(base, rewards="rare 50"),
        "normal rewards": replace(base, rewards="normal"),
        "rewards t3": replace(base, rewards="t3"),
        "grad J unknown, grpo G=8": replace(base, group_size=8, estimator="grpo", known=False),
        "stale and clipped": replace(base, staleness=0.3, clipped=True),
    }


class Pairs:
    """Pairs of one repeat, drawn as they are needed."""

    def __init__(self, rng: np.random.Generator, cell: Cell) -> None:
        self._rng, self._cell, self._scales = rng, cell, twin.scale(cell)
        self._parts: list[tuple[np.ndarray, ...]] = []
        self.number = 0

    def sums(self, number: int) -> BlockSums:
        """Block sums of the first ``number`` pairs, in 128 to 255 blocks."""
        while self.number < number:
            self._draw(max(256, number - self.number))
        columns = [np.concatenate(parts) for parts in zip(*self._parts, strict=True)]
        self._parts = [tuple(columns)]
        size = 1 << max(0, (number // 128).bit_length() - 1)
        blocks = number // size

        def into_blocks(x: np.ndarray) -> np.ndarray:
            return x[: blocks * size].reshape(blocks, size, *x.shape[1:]).sum(1)[None]

        total, squares, products, joint, *references = map(into_blocks, columns)
        count, of_pairs = np.full(blocks, 2.0 * size), (squares, products, joint)
        return twin.block_sums(self._cell, count, total, of_pairs, references[0] if references else None)

    def _draw(self, number: int) -> None:
        size = self._cell.group_size
        prompts = twin.Prompts(self._rng, self._cell, self._scales, (number,), 2 * size)
        order = np.arange(2 * size).reshape(2, size)
        g = prompts.gradients(self._cell, order)  # [pair, 2, param]
        each = (g**2).sum(2)  # [pair, 2]
        columns = [g.sum(1), each.sum(1), (g[:, 0] * g[:, 1]).sum(-1), each[:, 0] * each[:, 1]]
        if not self._cell.known:
            every = replace(self._cell, estimator="rloo", staleness=0.0)
            columns.append(prompts.gradients(every, order).sum(1))
        self._parts.append(tuple(columns))
        self.number += number


def estimates(sums: BlockSums) -> dict[str, Interval]:
    """Every figure of one repeat with its interval, as ``Moments.estimate`` gives it."""
    with np.errstate(all="ignore"):
        values = figures(sums).values
        effective = effective_blocks(sums)
        shapes = pivots(values, leave_one_out(sums), effective)
    made = {}
    for name in ASKED:
        low, high = shapes[name].bounds(values[name])
        blocks = float(np.ravel(effective[name])[0])
        made[name] = Interval(float(values[name][0]), float(low[0]), float(high[0]), effective=blocks)
        if blocks < FEWEST:
            made[name] = made[name].without("too few blocks")
    return made


def look_often(size: int, excess: float, rounds: int) -> int:
    """The plain rule: a size a tenth larger, until it is enough."""
    return size if excess <= 1 else math.ceil(1.1 * size)


def stop(
    known: dict[int, dict[str, Interval]],
    pairs: Pairs,
    asked: tuple[str, float],
    rule: Callable[[int, float, int], int],
) -> tuple[Interval | None, int]:
    """The interval at the stop and its size in pairs; None where ``CAP`` does not reach. ``known``: sizes done."""
    (name, share), size, rounds = asked, FIRST // 2, 0
    while size <= CAP:
        if size not in known:
            known[size] = estimates(pairs.sums(size))
        rounds += 1
        following = rule(size, relative_half_width(known[size][name]) / share, rounds)
        if following <= size:
            return known[size][name], size
        size = -(-following // _FINEST) * _FINEST
    return None, size


def coverage(cell: Cell, repeats: int, seed: int) -> list[dict[str, object]]:
    """By figure and share: coverage at the stop by both rules, of a fixed size, and the sizes.

    Args:
        cell: The setting.
        repeats: How many measurements are simulated.
        seed: Of everything random.
    """
    exact = twin.truth(cell, twin.scale(cell))
    rng = np.random.default_rng(seed)
    targets = [(name, share) for name, shares in ASKED.items() for share in shares]
    held: dict[tuple[str, float, str], list[float]] = {
        (*target, rule): [] for target in targets for rule in ("rounds", "often", "fixed", "pairs")
    }
    for _ in range(repeats):
        pairs = Pairs(rng, cell)
        known: dict[Any, Any] = {}
        for name, share in targets:
            truth = exact[name]
            for label, rule in (("rounds", next_size), ("often", look_often)):
                interval, size = stop(known, pairs, (name, share), rule)
                if interval is not None:
                    held[name, share, label].append(not interval.excludes(truth))
                    if label == "rounds":
                        held[name, share, "pairs"].append(size)
            fixed = known.setdefault(1024, estimates(pairs.sums(1024)))[name]
            if fixed.known:
                held[name, share, "fixed"].append(not fixed.excludes(truth))
    rows = []
    for name, share in targets:
        columns = {rule: held[name, share, rule] for rule in ("rounds", "often", "fixed", "pairs")}
        means = {rule: round(float(np.mean(x)), 4) if x else math.nan for rule, x in columns.items()}
        rows.append({"figure": name, "share": share, **means, "stopped": len(columns["rounds"]) / repeats})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rule, repeats = rule_of(ROUNDS), str(options.repeats)
    done = {row["setting"] for row in rows_of(options.out, rule) if row["repeats"] == repeats}
    for number, (name, cell) in enumerate(cells().items()):
        if name in done:
            continue
        measured = coverage(cell, options.repeats, options.seed + number)
        for row in measured:
            print(
                f"{name:<26}{row['figure']:<12} {row['share']:<5} rounds {row['rounds']:.3f}  often {row['often']:.3f}"
                f"  fixed {row['fixed']:.3f}  pairs {row['pairs']:.0f}  stopped {row['stopped']:.2f}",
                flush=True,
            )
        keys = {"setting": name, "repeats": repeats}
        append(options.out, [keys | {k: str(x) for k, x in row.items()} | {"rule": rule} for row in measured])


if __name__ == "__main__":
    main()
