"""A function under test on a batch of rollouts: its advantages or its weights, in NumPy, whatever its layout."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from gradvar.testing.caller import Caller, CallResult
from gradvar.testing.calls import BadOutput
from gradvar.testing.oracle import RolloutRows
from gradvar.testing.targets import RECTANGULAR, AdvantageTarget, LossBatch, LossTarget

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
    caller = _caller(target)
    rewards, mask, groups = batch.array("rewards"), batch.mask, batch.groups
    dtype = dtype or target.library.wide
    if target.kind == "group":
        out, kind = np.zeros(len(rewards)), ""
        for rows in groups.rows():
            result = caller(_values(target, batch.rows(rows)), dtype)
            out[rows], kind = _shaped(result, (len(rows),), mask[rows])
        return out, kind
    if target.kind in RECTANGULAR and len(set(groups.sizes)) > 1:
        raise BadOutput("groups of unequal size")
    values = _values(target, batch)
    if target.kind == "grouped":
        order = np.concatenate(groups.rows())
        shape = (groups.count, int(groups.sizes[0]))
        values = {"rewards": rewards[order].reshape(shape)}
        out, kind = _shaped(caller(values, dtype), shape, mask[order])
        restored = np.empty(len(rewards))
        restored[order] = out.reshape(-1)
        return restored, kind
    return _shaped(caller(values, dtype), rewards.shape, mask)


def _caller(target: AdvantageTarget) -> Caller:
    fields = (target.function, target.signature, target.library, target.name, target.origin)
    return Caller(*fields, labels_as=target.ids_as, mask_as=target.mask_as, calls=target.calls)


def _values(target: AdvantageTarget, batch: RolloutRows) -> dict[str, Any]:
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
        "lengths": mask.sum(-1),
    }


def _shaped(result: CallResult, shape: tuple[int, ...], mask: np.ndarray) -> tuple[np.ndarray, str]:
    """The advantages among the outputs, in the rewards' shape or [N, T]; and their dtype."""
    named = [n for n in ("advantages", "advantage", "adv") if n in result.outputs]
    name = named[0] if named else next(iter(result.outputs))
    out = result.outputs[name]
    if out.shape == (*shape, 1):
        out = out.reshape(shape)
    if out.shape not in (shape, mask.shape):
        raise BadOutput(f"returned shape {out.shape} for rewards of shape {shape}")
    return out, result.dtypes[name]


def per_rollout(out: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Advantages [N] of advantages [N] or [N, T]: the mean over a rollout's tokens, zero where it has none."""
    if out.ndim == 1:
        return out
    return np.sum(np.where(mask, out, 0.0), -1) / np.maximum(mask.sum(-1), 1)


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

    A function may compute in single precision whatever it is given; advantages say so by their dtype, and the value
    of a loss by what a change far below single precision does to it.
    """
    if target.library.wide in NARROW:
        return 1e-5
    if isinstance(target, AdvantageTarget):
        _, kind = called(
            target, RolloutRows(np.ones((4, 2), bool), np.array([0.0, 1.0, 3.0, 4.0]), np.zeros(4))
        )
        return 1e-5 if kind in NARROW else 1e-9
    old = np.full((2, 2), -1.0)
    still = RolloutRows(
        np.ones((2, 2), bool), logp=old + 0.01, old_logp=old, advantages=np.array([1.0, -0.5])
    )
    moved = replace(still, logp=still.array("logp") + np.array([[1e-9, 0.0], [0.0, 0.0]]))
    before, slope = weights(target, still)
    expected = float(slope[0, 0]) * 1e-9
    seen = weights(target, moved)[0] - before
    return 1e-9 if abs(seen - expected) <= 0.1 * abs(expected) + 1e-15 else 1e-5
