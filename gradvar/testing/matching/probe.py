"""A function under test on a batch of rollouts: its advantages or its weights, in NumPy, whatever its layout."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from gradvar.testing.caller import CallResult
from gradvar.testing.calls import BadOutput
from gradvar.testing.losses import LossBatch, LossTarget
from gradvar.testing.oracle import RolloutRows
from gradvar.testing.targets import RECTANGULAR, AdvantageTarget, candidate_outputs
from gradvar.testing.targets import per_rollout as per_rollout

Target = AdvantageTarget | LossTarget
NARROW = ("float32", "bfloat16", "float16")


def advantages(target: AdvantageTarget, batch: RolloutRows, dtype: str = "") -> np.ndarray:
    """Return the advantages of a batch of rewards, [N], or [N, T] where the function has one for each token.

    Raises:
        Raised: The function raised an error.
        BadOutput: It returned no array of a shape that fits.
    """
    return called(target, batch, dtype)[0]


def called(target: AdvantageTarget, batch: RolloutRows, dtype: str = "") -> tuple[np.ndarray, str]:
    """Return the advantages and the dtype in which they came."""
    rewards, mask, groups = batch.array("rewards"), batch.mask, batch.groups
    dtype = dtype or target.library.wide
    if target.kind == "group":
        out, kind = np.zeros(len(rewards)), ""
        for rows in groups.rows():
            result = target.caller(_values(batch.rows(rows)), dtype)
            out[rows], kind = _shaped(target, result, (len(rows),), mask[rows])
        return out, kind
    if target.kind in RECTANGULAR and len(set(groups.sizes)) > 1:
        raise BadOutput("groups of unequal size")
    if target.kind == "grouped":
        order = np.concatenate(groups.rows())
        shape = (groups.count, int(groups.sizes[0]))
        values = {"rewards": rewards[order].reshape(shape)}
        out, kind = _shaped(target, target.caller(values, dtype), shape, mask[order])
        restored = np.empty(len(rewards))
        restored[order] = out.reshape(-1)
        return restored, kind
    return _shaped(target, target.caller(_values(batch), dtype), rewards.shape, mask)


def _values(batch: RolloutRows) -> dict[str, Any]:
    """The batch by role: token rewards have the reward on the rollout's last token, or on its first place."""
    rewards, mask = batch.array("rewards"), batch.mask
    steps = np.arange(mask.shape[1])
    last = np.where(mask, steps, -1).max(-1)
    tokens = np.where(steps == np.maximum(last, 0)[:, None], rewards[:, None], 0.0)
    return {
        "rewards": rewards,
        "token_rewards": tokens,
        "ids": batch.groups.index,
        "prompts": batch.groups.index,
        "count": int(batch.groups.sizes[0]),
        "mask": mask,
        "second_mask": mask,
        "lengths": mask.sum(-1),
        "correct": rewards > 0,
    }


def _shaped(
    target: AdvantageTarget, result: CallResult, shape: tuple[int, ...], mask: np.ndarray
) -> tuple[np.ndarray, str]:
    """The advantages among the outputs, in the rewards' shape or [N, T]; and their dtype."""
    tokens = mask.shape if target.by_token else shape
    name = target.output or next(iter(candidate_outputs(result, shape, tokens)), next(iter(result.outputs)))
    out = result.outputs.get(name)
    if out is None:
        raise BadOutput(f"returned {', '.join(result.outputs)}, no '{name}'")
    if out.shape == (*shape, 1):
        out = out.reshape(shape)
    if out.shape not in (shape, tokens):
        raise BadOutput(f"returned shape {out.shape} for rewards of shape {shape}")
    return out, result.dtypes[name]


def weights(target: LossTarget, batch: RolloutRows, group: int = 2) -> tuple[float, np.ndarray]:
    """Return the objective's value and token weights [N, T] of a loss, as ``LossTarget.weights`` does."""
    return target.weights(loss_batch(batch, group))


def loss_batch(batch: RolloutRows, group: int = 2) -> LossBatch:
    """The same rows as the laws of losses have them."""
    logp, old = batch.array("logp"), batch.array("old_logp")
    ref = None if batch.ref_logp is None else batch.array("ref_logp")
    return LossBatch(logp, old, batch.array("advantages"), batch.mask, group, ref)


def resolution(target: Target) -> float:
    """The relative error of the function's arithmetic: 1e-9 in double precision, 1e-5 in single.

    A function may compute in single precision whatever it is given; advantages say so by their dtype, and they and
    the value of a loss by what a change far below single precision does to them.
    """
    if target.library.wide in NARROW:
        return 1e-5
    if isinstance(target, AdvantageTarget):
        return _resolution_of_advantages(target)
    old = np.full((2, 2), -1.0)
    still = RolloutRows(
        np.ones((2, 2), bool), logp=old + 0.01, old_logp=old, advantages=np.array([1.0, -0.5])
    )
    moved = replace(still, logp=still.array("logp") + np.array([[1e-9, 0.0], [0.0, 0.0]]))
    before, slope = weights(target, still)
    expected = float(slope[0, 0]) * 1e-9
    seen = weights(target, moved)[0] - before
    return 1e-9 if abs(seen - expected) <= 0.1 * abs(expected) + 1e-15 else 1e-5


def _resolution_of_advantages(target: AdvantageTarget) -> float:
    rewards = np.array([0.1, 0.75, 0.4, 0.9])

    def moved(step: float) -> tuple[np.ndarray, str]:
        there = rewards + np.array([0.0, step, 0.0, 0.0])
        return called(target, RolloutRows(np.ones((4, 2), bool), there, np.zeros(4)))

    start, kind = moved(0.0)
    if kind in NARROW:
        return 1e-5
    expected, seen = (moved(1e-5)[0] - start) * 1e-4, moved(1e-9)[0] - start
    if not np.all(np.isfinite(expected)):
        return 1e-9
    largest = float(np.abs(expected).max())
    # a mean in single precision does not move at all
    return 1e-9 if bool(np.all(np.abs(seen - expected) <= 0.1 * largest + 1e-15)) else 1e-5
