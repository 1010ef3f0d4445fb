"""One stated input, the function's answer and the oracle's: what a verdict of the table rests on, for the eye.

The inputs are the same for all functions, so that functions of one name can be compared with each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gradvar.testing.digits import shown, sides
from gradvar.testing.losses import LossBatch, LossTarget
from gradvar.testing.matching.probe import advantages, per_rollout, resolution
from gradvar.testing.oracle import Oracle, RolloutRows
from gradvar.testing.targets import AdvantageTarget

REWARDS = np.array([1.0, 0.25, 0.0, 0.5, 0.0, 0.0, 1.0, 0.0])
MOVES = np.array([[0.05, 0.3, -0.4], [-0.3, 0.5, 0.05], [2.0, 0.05, 0.0], [-0.9, 0.0, 0.0]])
LENGTHS = (3, 3, 2, 1)
GAINS = np.array([1.0, -0.5, 0.75, -1.0])


@dataclass(frozen=True)
class Confirmation:
    """An input in words, the function's answer, the oracle's, and True if they are equal up to rounding."""

    given: str
    answer: str
    oracle: str = ""
    equal: bool = False


def confirm(target: AdvantageTarget | LossTarget, oracle: Oracle | None) -> Confirmation:
    """Call a function and an estimator's definition on the stated input; raises what the function raises."""
    seen, wanted, given = (
        _loss(target, oracle) if isinstance(target, LossTarget) else _advantage(target, oracle)
    )
    target.calls.clear()
    if wanted is None:
        return Confirmation(given, shown(seen))
    slack = 1e-6 if resolution(target) < 1e-6 else 3e-4
    scale = float(np.abs(wanted).max(initial=1e-9))
    equal = bool(np.allclose(seen, wanted, rtol=slack, atol=slack * scale))
    answers = (shown(seen), shown(wanted)) if equal else sides(seen, wanted)
    return Confirmation(given, *answers, equal)


def _advantage(target: AdvantageTarget, oracle: Oracle | None) -> tuple[np.ndarray, np.ndarray | None, str]:
    batch = RolloutRows(
        np.arange(3) < np.array([3, 2, 1, 2, 3, 2, 1, 2])[:, None], REWARDS, np.repeat([0, 1], 4)
    )
    seen = per_rollout(advantages(target, batch), batch.mask)
    wanted = None if oracle is None else per_rollout(oracle.advantages_of(batch), batch.mask)
    given = (
        f"two groups with rewards {shown(REWARDS[:4])} and {shown(REWARDS[4:])}, lengths 3, 2, 1, 2 in each"
    )
    return seen, wanted, given


def _loss(target: LossTarget, oracle: Oracle | None) -> tuple[np.ndarray, np.ndarray | None, str]:
    mask = np.arange(3) < np.array(LENGTHS)[:, None]
    old = np.full(MOVES.shape, -3.0)  # no move makes a probability above one
    batch = LossBatch(old + np.where(mask, MOVES, 0.0), old, GAINS, mask, 2, old - 0.1)
    seen = target.weights(batch)[1][mask]
    wanted = None if oracle is None else oracle.loss(batch)[1][mask]
    rows = ", ".join(shown(row[keep]) for row, keep in zip(MOVES, mask, strict=True))
    return seen, wanted, f"advantages {shown(GAINS)}, log-ratios {rows}, old log-probabilities -3"
