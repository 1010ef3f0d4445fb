"""Laws of policy-gradient losses, stated for their token weights.

A token weight is the derivative of the objective with respect to the token's log-probability.

Weights are those of the objective (minus the loss), so a positive one pushes a token up. Batches are small:
up to eight rollouts of up to four tokens. NumPy losses are differentiated by central differences, the
others by their framework.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gradvar.testing import strategies as gen
from gradvar.testing.digits import apart, exact, shown
from gradvar.testing.laws import arrays, clip_forms, kl_term, parts, rollouts
from gradvar.testing.laws.base import Law, Residue, expect, expect_pair
from gradvar.testing.laws.clip import on_policy_unclipped, recovers_beyond_clip, zero_beyond_clip
from gradvar.testing.laws.loss_batches import (
    make_batch,
    needs_roles,
    padded,
    parallel,
    same,
    shapes,
    shifted_to,
    slack,
)
from gradvar.testing.laws.rollouts import advantage_parts
from gradvar.testing.laws.traits import excused_by_normalising, normalises
from gradvar.testing.losses import LossBatch, LossTarget


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
    cause = f"{garbage:g} on masked tokens turns the"
    expect_pair(same(target, value, other), value, other, f"{cause} value {{}} into {{}}")
    expect_pair(
        same(target, np.where(hole, 0, weights), np.where(hole, np.nan_to_num(moved, nan=1.0), moved)),
        weights,
        moved,
        f"{cause} weights {{}} into {{}}",
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
    expect_pair(same(target, before[order], after), before[order], after, "weights {} expected, {} found")


def both_signs(target: LossTarget, shape: dict[str, Any]) -> None:
    """On policy, rollouts of positive advantage are pushed up and those of negative one down.

    Where the loss normalises the advantages itself, a rollout with more of it is never pushed down while one of
    its group with less is pushed up. Broken by a loss without its minus, which trains the policy to fail, or by
    an advantage that is cut at zero, which never unlearns. Report: fla-org/flash-linear-attention#1073 (negated
    twice), thu-ml/tianshou#433 (a dual clip that acts on positive advantages too).
    """
    batch = make_batch(shape, moved=False)
    if normalises(target):
        # a loss may centre by group or over the batch: one group is both
        batch = batch.rows(slice(0, batch.group))
    pushes = advantage_parts(target, batch).sum(-1)
    if normalises(target):
        above, below = np.meshgrid(np.arange(len(pushes)), np.arange(len(pushes)))
        a, small = batch.advantages, slack(target)
        wrong = (a[above] > a[below]) & (pushes[above] < -small) & (pushes[below] > small)
        holds = not wrong.any() and (np.ptp(a) == 0 or bool(np.any(np.abs(pushes) > small)))
    else:
        holds = bool(np.all(pushes * np.sign(batch.advantages) > slack(target)))
    expect(holds, f"advantages {exact(batch.advantages)}: pushes {shown(pushes)}")


def padding_invariant(target: LossTarget, shape: dict[str, Any], columns: tuple[int, int]) -> None:
    """How far a batch happens to be padded, and on which side, changes nothing.

    Broken by a mean over the padded length: one long rollout shrinks the update of all others, and the
    learning rate depends on the batch. Report: verl-project/verl#3741 (a divisor that is the padded width),
    allenai/open-instruct#535 (the KL term alone).
    """
    batch = make_batch(shape)
    value, before = target.weights(batch)
    other, after = _padded_weights(target, batch, columns)
    if same(target, before, after) and same(target, value, other):
        return
    where = ""
    if target.takes("ref_logp"):
        quiet = replace(batch, advantages=np.zeros_like(batch.advantages))
        through = not same(target, target.weights(quiet)[1], _padded_weights(target, quiet, columns)[1])
        where = "; so does the KL term by itself" if through else ""
    first, second = apart(value, other)
    text = f"value {first} and weights {{}}, with {sum(columns)} more columns of padding {second} and {{}}{where}"
    expect_pair(False, before, after, text)


def _padded_weights(
    target: LossTarget, batch: LossBatch, columns: tuple[int, int]
) -> tuple[float, np.ndarray]:
    value, weights = target.weights(padded(batch, columns))
    return value, weights[:, columns[0] : columns[0] + batch.mask.shape[1]]


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


def pure(target: LossTarget, shape: dict[str, Any]) -> None:
    """The same batch gives the same value and the same weights, bit for bit.

    Broken by hidden state or dropout, the ratio is not one on the first step, so the clip acts on noise, and
    a resumed run is another run. Report: huggingface/trl#3234.
    """
    batch = make_batch(shape)
    first, second = target.weights(batch), target.weights(batch)
    same_bits = first[0] == second[0] and np.array_equal(first[1], second[1], equal_nan=True)
    one, two = apart(first[0], second[0])
    text = f"value {one}, the second time {two}; weights {{}} and {{}}"
    expect_pair(bool(same_bits), first[1], second[1], text)


def finite(target: LossTarget, shape: dict[str, Any], far: tuple[float, bool]) -> None:
    """Finite log-probabilities and advantages give a finite value and weights, far off policy too.

    Broken, one stale rollout makes every weight of the model NaN. Report: PrimeIntellect-ai/prime-rl#2972 and
    verl-project/verl#6538 (exponentials of large log-ratios).
    """
    batch = make_batch(shape)
    log_ratio, everywhere = far
    row = slice(None) if everywhere else 0
    value, weights = target.weights(shifted_to(batch, row, log_ratio))
    expect(
        np.isfinite(value) and bool(np.all(np.isfinite(weights))),
        f"log-ratio {log_ratio:.4g}: value {value:g}, weights {shown(weights)}",
    )


_SIGNS = st.sampled_from([1.0, -1.0])
_GARBAGE = st.sampled_from([-3.0, float("nan"), float("inf"), float("-inf")])
_DISTANCE = st.sampled_from([0.5, -0.5, 0.1, -0.1])
_COLUMNS = st.sampled_from([(0, 1), (1, 0), (2, 3)])
_EXTREME = st.one_of(gen.log_ratios(), st.sampled_from([0.0, 5.0, -5.0, 20.0, -20.0]))
_OLD, _MASK, _REF = needs_roles("old_logp"), needs_roles("mask"), needs_roles("ref_logp")


def _law(name: str, check: Callable[..., None], *condition: Any, **more: Any) -> Law:
    """A law of losses: the values that it draws beside the batch, and its other settings."""
    settings = {k: more.pop(k) for k in ("universal", "asked", "excused") if k in more}
    return Law(name, check, lambda t: shapes(t, **more), *condition, **settings)


def _drawn(**values: Any) -> Callable[[LossTarget], st.SearchStrategy[dict[str, Any]]]:
    drawn = st.fixed_dictionaries({k: st.sampled_from(v) for k, v in values.items()})
    return lambda target: drawn


LAWS = (
    _law("finite", finite, far=st.tuples(_EXTREME, st.booleans()), universal=True),
    _law("masked_inert", masked_inert, _MASK, garbage=_GARBAGE, universal=True),
    _law("pure", pure, universal=True),
    _law("both_signs", both_signs, universal=True),
    _law("advantages_as_given", rollouts.advantages_as_given, universal=True),
    _law("every_token_weighs", rollouts.every_token_weighs, _MASK, universal=True),
    _law("order_invariant", order_invariant, seed=st.integers(0, 20), universal=True),
    _law("rows_isolated", rollouts.rows_isolated, move=st.sampled_from([0.1, -0.1, 1.0]), universal=True),
    Law("arrays_matter", arrays.arrays_matter, arrays.drawn, arrays.needs_arrays, universal=True),
    Law(
        "entropy_raises",
        arrays.entropy_raises,
        lambda t: st.just({}),
        needs_roles("entropy"),
        universal=True,
        exact=True,
    ),
    Law(
        "sampler_corrects",
        arrays.sampler_corrects,
        _drawn(row=(0, 1, 2)),
        needs_roles("old_logp", "sampler_logp"),
        universal=True,
    ),
    Law(
        "second_mask_counts",
        arrays.second_mask_counts,
        _drawn(layout=("right", "left")),
        needs_roles("mask", "second_mask"),
        universal=True,
    ),
    Law("clip_form", clip_forms.clip_form, _drawn(tokens=(1, 2, 4)), _OLD, universal=True),
    Law("kl_term", kl_term.kl_term, _drawn(layout=("right", "holes")), _REF, universal=True),
    _law("padding_invariant", padding_invariant, _MASK, columns=_COLUMNS, universal=True),
    _law("empty_rows_finite", rollouts.empty_rows_finite, _MASK, universal=True),
    _law(
        "empty_rows_silent",
        rollouts.empty_rows_silent,
        _MASK,
        advantage=st.sampled_from([5.0, -3.0]),
        universal=True,
    ),
    _law(
        "empty_batch_finite",
        rollouts.empty_batch_finite,
        _MASK,
        universal=True,
        excused=excused_by_normalising,
    ),
    _law(
        "token_count_divides",
        parts.token_count_divides,
        needs_roles("token_count"),
        factor=st.sampled_from([2.0, 3.0]),
        universal=True,
    ),
    _law("on_policy_unclipped", on_policy_unclipped, _OLD),
    _law("microbatch_invariant", parts.microbatch_invariant),
    _law("zero_beyond_clip", zero_beyond_clip, _OLD, sign=_SIGNS),
    _law("recovers_beyond_clip", recovers_beyond_clip, _OLD, sign=_SIGNS),
    _law("kl_direction", kl_direction, _REF, distance=_DISTANCE),
    _law("aggregation", aggregation, _MASK, asked=lambda t: bool(t.aggregation)),
)
