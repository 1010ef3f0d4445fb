"""Laws of policy-gradient losses, stated for their token weights.

A token weight is the derivative of the objective with respect to the token's log-probability.

Weights are those of the objective (minus the loss), so a positive one pushes a token up. Batches are small:
up to eight rollouts of up to four tokens. NumPy losses are differentiated by central differences, the
others by their framework.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gradvar.testing import strategies as gen
from gradvar.testing.laws.base import Law, Residue, expect, shown
from gradvar.testing.laws.clip import on_policy_unclipped, recovers_beyond_clip, zero_beyond_clip
from gradvar.testing.laws.loss_batches import make_batch, needs_roles, parallel, same, shapes, slack
from gradvar.testing.targets import LossTarget


def masked_inert(target: LossTarget, shape: dict[str, Any], garbage: float) -> None:
    """A token that is masked changes neither the value nor any weight, also when it holds NaN.

    Multiplying by a zero mask is not enough: 0 x NaN is NaN and 0 x inf too, and an exp of padding
    overflows on the way back. Broken, one padded row turns the whole step into NaN, or prompts and tool
    outputs are trained on. Report: NovaSky-AI/SkyRL#1635, OpenRLHF/OpenRLHF#1240.
    """
    batch = make_batch(shape)
    if batch.mask.all():
        return
    value, weights = target.weights(batch)
    hole = ~batch.mask
    logp, old = batch.logp.copy(), batch.old_logp.copy()
    ref = None if batch.ref_logp is None else batch.ref_logp.copy()
    for array in (logp, old, *([] if ref is None else [ref])):
        array[hole] = garbage
    dirty = replace(batch, logp=logp, old_logp=old, ref_logp=ref)
    other, moved = target.weights(dirty)
    expect(
        bool(np.all(np.abs(weights[hole]) <= slack(target))),
        f"masked tokens have weights {shown(weights[hole])}",
    )
    expect(
        same(target, value, other),
        f"{garbage:g} on masked tokens turns the value {value:.5g} into {other:.5g}",
    )
    expect(
        same(target, np.where(hole, 0, weights), np.where(hole, np.nan_to_num(moved, nan=1.0), moved)),
        f"{garbage:g} on masked tokens turns the weights {shown(weights)} into {shown(moved)}",
    )


def microbatch_invariant(target: LossTarget, shape: dict[str, Any]) -> None:
    """Cutting a batch into equal parts, for memory or devices, must not change the gradient.

    Broken by dividing by the part's own number of tokens: short parts count more, so the gradient depends
    on the number of devices. A token-mean breaks it unless it is told the whole batch's count. Report:
    huggingface/trl#3021, PrimeIntellect-ai/prime-rl#583, allenai/open-instruct#1161.
    """
    batch = make_batch(shape)
    rows = len(batch.advantages)
    prompts = rows // batch.group
    if prompts < 2 or prompts % 2:
        return
    half = rows // 2
    batch_weights = target.weights(batch)[1]
    parts = np.concatenate([target.weights(batch.rows(slice(s, s + half)))[1] for s in (0, half)]) / 2
    expect(
        same(target, batch_weights, parts),
        f"weights {shown(batch_weights)} of the whole, {shown(parts)} as the mean over two halves",
    )


def order_invariant(target: LossTarget, shape: dict[str, Any], seed: int) -> None:
    """Reordering prompts, or rollouts within one, reorders the weights likewise.

    Broken by advantages that were flattened in another order than the log-probabilities: rollouts are
    trained with each other's advantage. Report: huggingface/trl#5030.
    """
    batch = make_batch(shape)
    shuffle = np.random.default_rng(seed)
    blocks = np.arange(len(batch.advantages)).reshape(-1, batch.group)
    order = np.concatenate([shuffle.permutation(b) for b in blocks[shuffle.permutation(len(blocks))]])
    before, after = target.weights(batch)[1], target.weights(batch.rows(order))[1]
    expect(
        same(target, before[order], after), f"weights {shown(before[order])} expected, {shown(after)} found"
    )


def both_signs(target: LossTarget, shape: dict[str, Any]) -> None:
    """On policy, rollouts of positive advantage are pushed up and those of negative one down.

    Broken by a loss without its minus, which trains the policy to fail, or by an advantage that is cut at
    zero, which never unlearns. Report: fla-org/flash-linear-attention#1073 (negated twice),
    thu-ml/tianshou#433 (a dual clip that acts on positive advantages too).
    """
    batch = make_batch(shape, moved=False)
    still = target.weights(replace(batch, advantages=np.zeros_like(batch.advantages)))[1]
    advantage_weights = np.where(batch.mask, target.weights(batch)[1] - still, 0.0)
    push = advantage_weights.sum(-1) * np.sign(batch.advantages)
    expect(
        bool(np.all(push > slack(target))),
        f"advantages {shown(batch.advantages)}: pushes {shown(advantage_weights.sum(-1))}",
    )


def padding_invariant(target: LossTarget, shape: dict[str, Any], extra: int) -> None:
    """How far a batch happens to be padded changes nothing.

    Broken by a mean over the padded length: one long rollout shrinks the update of all others, and the
    learning rate depends on the batch. Report: verl-project/verl#3741 (a divisor that is the padded width).
    """
    batch = make_batch(shape)
    wide = ((0, 0), (0, extra))
    padded = replace(
        batch,
        logp=np.pad(batch.logp, wide, constant_values=-1.0),
        old_logp=np.pad(batch.old_logp, wide, constant_values=-1.0),
        mask=np.pad(batch.mask, wide),
        ref_logp=None if batch.ref_logp is None else np.pad(batch.ref_logp, wide, constant_values=-1.0),
    )
    before = target.weights(batch)[1]
    after = target.weights(padded)[1][:, : before.shape[1]]
    expect(
        same(target, before, after),
        f"weights {shown(before)}, with {extra} more columns of padding {shown(after)}",
    )


def kl_direction(target: LossTarget, shape: dict[str, Any], distance: float) -> None:
    """A penalty towards the reference pulls: tokens above it go down, tokens below it up.

    Broken by a sign, the policy is driven away from the reference; by k1 as a loss, every sampled token is
    pushed down wherever it is, and the expected gradient is zero (arXiv 2506.09477). Report:
    marin-community/marin#1708, NVIDIA-NeMo/RL#2506.
    """
    batch = make_batch(shape, moved=False)
    quiet = replace(batch, advantages=np.zeros_like(batch.advantages))
    away = replace(quiet, ref_logp=quiet.logp - distance)
    near = replace(quiet, ref_logp=quiet.logp)
    weights, still = target.weights(away)[1], target.weights(near)[1]
    if np.all(np.abs(weights - still) <= slack(target)) and np.all(np.abs(weights) <= slack(target)):
        raise Residue("the reference has no influence: its coefficient may be zero by default")
    pull = weights[batch.mask] * np.sign(distance)
    expect(
        bool(np.all(pull < slack(target))),
        f"log-ratio to the reference {distance:+g}: weights {shown(weights[batch.mask])} push away",
    )


def aggregation(target: LossTarget, shape: dict[str, Any]) -> None:
    """The weight of a token on policy says what the loss is a mean over; papers and code often differ here.

    Over all tokens of the batch, over each rollout's tokens and then rollouts, over rollouts of summed
    tokens. It decides whether long answers are favoured (arXiv 2503.20783, 2503.14476). With one declared
    it must be that one; else it must be one of them, up to a constant. Report: verl-project/verl#593 and
    verl-project/verl#957 (which mode is which paper's), huggingface/trl#6654 (weights that grow with the
    square of the length).
    """
    batch = make_batch(shape, moved=False)
    still = target.weights(replace(batch, advantages=np.zeros_like(batch.advantages)))[1]
    unit_weights = np.where(
        batch.mask, target.weights(replace(batch, advantages=np.ones_like(batch.advantages)))[1] - still, 0.0
    )
    mask = batch.mask.astype(float)
    known = {"sequence-mean": mask / mask.sum(-1, keepdims=True), "sequence-sum": mask, "token-mean": mask}
    fits = [name for name, w in known.items() if parallel(unit_weights, w)]
    if target.aggregation:
        wanted = known.get(target.aggregation)
        expect(
            wanted is not None, f"aggregation '{target.aggregation}' is unknown; one of {', '.join(known)}"
        )
        expect(
            target.aggregation in fits,
            f"weights {shown(unit_weights)} are not those of {target.aggregation}, {shown(wanted)}",
        )
        return
    expect(
        bool(fits),
        f"weights {shown(unit_weights)} at advantages of one, lengths {shown(mask.sum(-1))}: no aggregation fits",
    )


def empty_rows_finite(target: LossTarget, shape: dict[str, Any]) -> None:
    """A rollout with no token left counts for nothing; it does not divide by zero.

    Overlong filtering and masked tool calls leave such rows. Broken, one of them makes the batch NaN. Report:
    allenai/OLMo-core#452.
    """
    batch = make_batch(shape)
    mask = batch.mask.copy()
    mask[0] = False
    value, weights = target.weights(replace(batch, mask=mask))
    expect(
        np.isfinite(value) and bool(np.all(np.isfinite(weights))),
        f"one fully masked row: value {value:g}, weights {shown(weights)}",
    )
    expect(
        bool(np.all(np.abs(weights[0]) <= slack(target))),
        f"the fully masked row has weights {shown(weights[0])}",
    )


def pure(target: LossTarget, shape: dict[str, Any]) -> None:
    """The same batch gives the same value and the same weights, bit for bit.

    Broken by hidden state or dropout, the ratio is not one on the first step, so the clip acts on noise, and
    a resumed run is another run. Report: huggingface/trl#3234.
    """
    batch = make_batch(shape)
    first, second = target.weights(batch), target.weights(batch)
    same_bits = first[0] == second[0] and np.array_equal(first[1], second[1], equal_nan=True)
    expect(bool(same_bits), f"value {first[0]:.9g}, the second time {second[0]:.9g}")


def finite(target: LossTarget, shape: dict[str, Any], log_ratio: float) -> None:
    """Finite log-probabilities and advantages give a finite value and weights, at the clip's edges too.

    Broken, one stale rollout makes every weight of the model NaN. Report: PrimeIntellect-ai/prime-rl#2972 and
    verl-project/verl#6538 (exponentials of large log-ratios).
    """
    batch = make_batch(shape)
    value, weights = target.weights(replace(batch, logp=batch.old_logp + log_ratio))
    expect(
        np.isfinite(value) and bool(np.all(np.isfinite(weights))),
        f"log-ratio {log_ratio:.4g}: value {value:g}, weights {shown(weights)}",
    )


_SIGNS = st.sampled_from([1.0, -1.0])
_GARBAGE = st.sampled_from([-3.0, float("nan"), float("inf"), float("-inf")])
_DISTANCE = st.sampled_from([0.5, -0.5, 0.1, -0.1])

LAWS = (
    Law("finite", finite, lambda t: shapes(t, log_ratio=gen.log_ratios()), universal=True),
    Law("masked_inert", masked_inert, lambda t: shapes(t, garbage=_GARBAGE), needs_roles("mask"), universal=True),
    Law("pure", pure, lambda t: shapes(t), universal=True),
    Law("both_signs", both_signs, lambda t: shapes(t), universal=True),
    Law("order_invariant", order_invariant, lambda t: shapes(t, seed=st.integers(0, 20)), universal=True),
    Law("on_policy_unclipped", on_policy_unclipped, lambda t: shapes(t), needs_roles("old_logp")),
    Law("microbatch_invariant", microbatch_invariant, lambda t: shapes(t)),
    Law("zero_beyond_clip", zero_beyond_clip, lambda t: shapes(t, sign=_SIGNS), needs_roles("old_logp")),
    Law("recovers_beyond_clip", recovers_beyond_clip, lambda t: shapes(t, sign=_SIGNS), needs_roles("old_logp")),
    Law("padding_invariant", padding_invariant, lambda t: shapes(t, extra=st.just(1)), needs_roles("mask")),
    Law("kl_direction", kl_direction, lambda t: shapes(t, distance=_DISTANCE), needs_roles("ref_logp")),
    Law(
        "aggregation", aggregation, lambda t: shapes(t), needs_roles("mask"), asked=lambda t: bool(t.aggregation)
    ),
    Law("empty_rows_finite", empty_rows_finite, lambda t: shapes(t), needs_roles("mask")),
)  # fmt: skip
