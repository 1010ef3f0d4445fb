"""Laws of what one rollout of a loss owes to another, and to its own tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from gradvar.testing.digits import apart, exact, shown
from gradvar.testing.laws.base import expect, expect_pair
from gradvar.testing.laws.loss_batches import make_batch, same, shifted_to, slack
from gradvar.testing.laws.traits import normalises
from gradvar.testing.losses import LossBatch, LossTarget


def advantage_parts(target: LossTarget, batch: LossBatch) -> np.ndarray:
    """The weights [N, T] that are due to the advantages, on real tokens."""
    still = target.weights(replace(batch, advantages=np.zeros_like(batch.advantages)))[1]
    return np.where(batch.mask, target.weights(batch)[1] - still, 0.0)


def advantages_as_given(target: LossTarget, shape: dict[str, Any]) -> None:
    """On policy a rollout's push is its own advantage times a factor of its sign, or all are normalised together.

    Broken where one branch of the loss sees normalised advantages and the other raw ones, where the product with
    the advantage is clamped, or where rows are trained with each other's. Report: pytorch/rl#1033,
    alexis-jacq/Pytorch-DPPO#3, huggingface/trl#5030.
    """
    if normalises(target):
        return
    batch = make_batch(shape, moved=False)
    pushes = advantage_parts(target, batch)
    for sign in (1.0, -1.0):
        rows = np.sign(batch.advantages) == sign
        if not rows.any():
            continue
        unit = sign * advantage_parts(target, replace(batch, advantages=np.full(len(rows), sign)))[rows]
        wanted = batch.advantages[rows, None] * unit
        expect_pair(
            same(target, pushes[rows], wanted),
            pushes[rows],
            wanted,
            f"advantages {exact(batch.advantages)}: weights {{}} where the advantage is "
            f"{'positive' if sign > 0 else 'negative'}; those at one say {{}}",
        )


def every_token_weighs(target: LossTarget, shape: dict[str, Any]) -> None:
    """On policy every token that the policy wrote gets a weight, the last one of each rollout too.

    Broken by a mask that is shifted by one against the log-probabilities: the end-of-sequence token is never
    trained, and lengths drift. Report: verl-project/verl#3287.
    """
    batch = make_batch(shape, moved=False)
    weights = np.abs(advantage_parts(target, batch))
    rows = weights.max(axis=1) > slack(target) if normalises(target) else np.ones(len(weights), bool)
    lost = batch.mask & (weights <= slack(target)) & rows[:, None]
    last = batch.mask & (np.cumsum(batch.mask[:, ::-1], axis=1)[:, ::-1] == 1)
    first = batch.mask & (np.cumsum(batch.mask, axis=1) == 1)
    which = (
        "the last token of each rollout: a mask that is shifted by one"
        if lost[rows].any() and np.array_equal(lost, last & rows[:, None])
        else "the first token of each rollout: a mask that is shifted by one"
        if lost[rows].any() and np.array_equal(lost, first & rows[:, None])
        else "some tokens"
    )
    expect(not lost.any(), f"mask {shown(batch.mask)}: weights {shown(weights)}; none for {which}")


def rows_isolated(target: LossTarget, shape: dict[str, Any], move: float) -> None:
    """The log-probabilities of one rollout leave the weights of another alone.

    Broken by a ratio that is centred or normalised over the batch: every rollout's weight then depends on which
    others came along. Weights that are normalised to a mean of one break it on purpose, and say so with an
    exception. Report: MakazhanAlpamys/Soup#723, hiyouga/EasyR1#596.
    """
    batch = make_batch(shape)
    moved = shifted_to(batch, 0, move)
    # only the first row has moved: shifted_to keeps the others as they were
    before, after = target.weights(batch)[1], target.weights(moved)[1]
    text = f"the first rollout at a log-ratio of {move:+g} turns the others' weights {{}} into {{}}"
    expect_pair(same(target, before[1:], after[1:]), before[1:], after[1:], text)


def emptied(batch: LossBatch, row: int = 0) -> LossBatch:
    """The batch with a fully masked row."""
    mask = batch.mask.copy()
    mask[row] = False
    return replace(batch, mask=mask)


def empty_rows_finite(target: LossTarget, shape: dict[str, Any]) -> None:
    """A rollout with no token left counts for nothing; it does not divide by zero.

    Overlong filtering and masked tool calls leave such rows. Broken, one of them makes the batch NaN. Report:
    allenai/OLMo-core#452, NousResearch/atropos#236.
    """
    value, weights = target.weights(emptied(make_batch(shape)))
    expect(
        np.isfinite(value) and bool(np.all(np.isfinite(weights))),
        f"one fully masked row: value {value:g}, weights {shown(weights)}",
    )
    expect(
        bool(np.all(np.abs(weights[0]) <= slack(target))),
        f"the fully masked row has weights {shown(weights[0])}",
    )


def empty_rows_silent(target: LossTarget, shape: dict[str, Any], advantage: float) -> None:
    """What a fully masked rollout holds, its advantage too, changes neither the value nor any weight.

    Broken by a mean or a std over rows that are no longer there: a rejected rollout still pushes the others.
    Report: verl-project/verl#6452, NVIDIA-NeMo/RL#4160.
    """
    batch = emptied(make_batch(shape))
    if not batch.mask.any():
        return
    advantages, logp = batch.advantages.copy(), batch.logp.copy()
    advantages[0], logp[0] = advantage, -3.0
    before, after = target.weights(batch), target.weights(replace(batch, advantages=advantages, logp=logp))
    first, second = apart(before[0], after[0])
    expect_pair(
        same(target, before[1], after[1]) and same(target, before[0], after[0]),
        before[1][1:],
        after[1][1:],
        f"an advantage of {advantage:g} on a fully masked row turns the weights {{}} into {{}}, "
        f"the value {first} into {second}",
    )


def empty_batch_finite(target: LossTarget, shape: dict[str, Any]) -> None:
    """A micro-batch without any token left to train on gives zero, not 0/0.

    Broken by a mean over the tokens without a guard: on the rank whose rollouts were all filtered the loss is NaN,
    and after the all-reduce everywhere. Report: NousResearch/atropos#236, allenai/OLMo-core#452.
    """
    batch = make_batch(shape)
    # the other ranks have tokens, where the loss is told how many
    empty = replace(batch, mask=np.zeros_like(batch.mask), token_count=float(batch.mask.sum()))
    value, weights = target.weights(empty)
    expect(
        np.isfinite(value) and bool(np.all(np.isfinite(weights))),
        f"no token left in the batch: value {value:g}, weights {shown(weights)}",
    )
