"""Laws of policy-gradient losses, stated for their token weights: the objective's derivative by every log-
probability.

Weights are those of the objective (minus the loss), so a positive one pushes a token up. Batches are small:
up to eight rollouts of up to four tokens. NumPy losses are differentiated by central differences, the
others by their framework.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from gradvar.testing import strategies as gen
from gradvar.testing.laws.base import Example, Law, Residue, expect, shown
from gradvar.testing.targets import LossBatch, LossTarget

FAR_ABOVE, FAR_BELOW = (
    float(np.log(2.0)),
    float(np.log(0.4)),
)  # beyond every clip in use, inside the dual clip's 3


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
    dirty = LossBatch(logp, old, batch.advantages, batch.mask, batch.group, ref)
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
    whole = target.weights(batch)[1]
    parts = np.concatenate([target.weights(batch.rows(slice(s, s + half)))[1] for s in (0, half)]) / 2
    expect(
        same(target, whole, parts),
        f"weights {shown(whole)} of the whole, {shown(parts)} as the mean over two halves",
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


def on_policy_unclipped(target: LossTarget, shape: dict[str, Any]) -> None:
    """The first step after sampling has all ratios at one: there the clip must be invisible.

    Checked as linearity: each weight is its advantage times what an advantage of one would give. Broken by
    a clip whose bounds miss one, or by clipping advantages: one sign trains at another rate than the other.
    arXiv 1707.06347. Report: alexis-jacq/Pytorch-DPPO#3 (ratio times advantage was clamped to 1 +- 0.2).
    """
    batch = make_batch(shape, moved=False)
    still = target.weights(_with(batch, np.zeros_like(batch.advantages)))[1]
    one = target.weights(_with(batch, np.ones_like(batch.advantages)))[1] - still
    expect(bool(np.any(np.abs(one) > slack(target))), "with advantages of one no token has a weight")
    found = target.weights(batch)[1] - still
    wanted = batch.advantages[:, None] * one
    expect(
        same(target, found, wanted),
        f"advantages {shown(batch.advantages)}: weights {shown(found)}, unclipped {shown(wanted)}",
    )


def zero_beyond_clip(target: LossTarget, shape: dict[str, Any], sign: float) -> None:
    """A rollout that has already moved past the clip in the direction of its advantage gets no further push.

    False by design for CISPO and other clipped weights, and for no clip at all. Broken by a clip without a
    minimum, or one that is never reached: updates run away on reused batches. arXiv 1707.06347. Report:
    rllm-org/rllm#81 (the clipped loss was computed, and the unclipped one averaged).
    """
    weights, own = _beyond(target, shape, sign, outward=True)
    expect(
        bool(np.all(np.abs(own) <= slack(target))),
        f"advantage {sign:+g}, ratio {_ratio(sign, True):.2g}: weights {shown(weights)}, expected zero",
    )


def recovers_beyond_clip(target: LossTarget, shape: dict[str, Any], sign: float) -> None:
    """A rollout past the clip on the wrong side, against its advantage, keeps the weight that brings it back.

    It is what the minimum in PPO's objective is for. Broken by clipping the ratio alone: a token that was
    pushed the wrong way stays there for the rest of the batch. Report: callsys/GMPO#4 and ray-
    project/ray#37334 argue about it.
    """
    weights, own = _beyond(target, shape, sign, outward=False)
    expect(
        bool(np.all(own * sign > slack(target))),
        f"advantage {sign:+g}, ratio {_ratio(sign, False):.2g}: weights {shown(weights)}, expected its sign",
    )


def both_signs(target: LossTarget, shape: dict[str, Any]) -> None:
    """On policy, rollouts of positive advantage are pushed up and those of negative one down.

    Broken by a loss without its minus, which trains the policy to fail, or by an advantage that is cut at
    zero, which never unlearns. Report: fla-org/flash-linear-attention#1073 (negated twice),
    thu-ml/tianshou#433 (a dual clip that acts on positive advantages too).
    """
    batch = make_batch(shape, moved=False)
    still = target.weights(_with(batch, np.zeros_like(batch.advantages)))[1]
    found = np.where(batch.mask, target.weights(batch)[1] - still, 0.0)
    push = found.sum(-1) * np.sign(batch.advantages)
    expect(
        bool(np.all(push > slack(target))),
        f"advantages {shown(batch.advantages)}: pushes {shown(found.sum(-1))}",
    )


def padding_invariant(target: LossTarget, shape: dict[str, Any], extra: int) -> None:
    """How far a batch happens to be padded changes nothing.

    Broken by a mean over the padded length: one long rollout shrinks the update of all others, and the
    learning rate depends on the batch. Report: verl-project/verl#3741 (a divisor that is the padded width).
    """
    batch = make_batch(shape)
    wide = ((0, 0), (0, extra))
    padded = LossBatch(
        np.pad(batch.logp, wide, constant_values=-1.0),
        np.pad(batch.old_logp, wide, constant_values=-1.0),
        batch.advantages,
        np.pad(batch.mask, wide),
        batch.group,
        None if batch.ref_logp is None else np.pad(batch.ref_logp, wide, constant_values=-1.0),
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
    pushed down wherever it is, and the expected gradient is zero (arXiv 2506.09477). Report: marin-
    community/marin#1708, NVIDIA-NeMo/RL#2506.
    """
    batch = make_batch(shape, moved=False)
    quiet = _with(batch, np.zeros_like(batch.advantages))
    away = LossBatch(
        quiet.logp, quiet.old_logp, quiet.advantages, quiet.mask, quiet.group, quiet.logp - distance
    )
    near = LossBatch(quiet.logp, quiet.old_logp, quiet.advantages, quiet.mask, quiet.group, quiet.logp)
    found, still = target.weights(away)[1], target.weights(near)[1]
    if np.all(np.abs(found - still) <= slack(target)) and np.all(np.abs(found) <= slack(target)):
        raise Residue("the reference has no influence: its coefficient may be zero by default")
    pull = found[batch.mask] * np.sign(distance)
    expect(
        bool(np.all(pull < slack(target))),
        f"log-ratio to the reference {distance:+g}: weights {shown(found[batch.mask])} push away",
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
    still = target.weights(_with(batch, np.zeros_like(batch.advantages)))[1]
    one = np.where(batch.mask, target.weights(_with(batch, np.ones_like(batch.advantages)))[1] - still, 0.0)
    mask = batch.mask.astype(float)
    known = {"sequence-mean": mask / mask.sum(-1, keepdims=True), "sequence-sum": mask, "token-mean": mask}
    fits = [name for name, w in known.items() if parallel(one, w)]
    if target.aggregation:
        wanted = known.get(target.aggregation)
        expect(
            wanted is not None, f"aggregation '{target.aggregation}' is unknown; one of {', '.join(known)}"
        )
        expect(
            target.aggregation in fits,
            f"weights {shown(one)} are not those of {target.aggregation}, {shown(wanted)}",
        )
        return
    expect(
        bool(fits),
        f"weights {shown(one)} at advantages of one, lengths {shown(mask.sum(-1))}: no aggregation fits",
    )


def empty_rows_finite(target: LossTarget, shape: dict[str, Any]) -> None:
    """A rollout with no token left counts for nothing; it does not divide by zero.

    Overlong filtering and masked tool calls leave such rows. Broken, one of them makes the batch NaN. Report:
    allenai/OLMo-core#452.
    """
    batch = make_batch(shape)
    mask = batch.mask.copy()
    mask[0] = False
    empty = LossBatch(batch.logp, batch.old_logp, batch.advantages, mask, batch.group, batch.ref_logp)
    value, weights = target.weights(empty)
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
    one, other = target.weights(batch), target.weights(batch)
    same_bits = one[0] == other[0] and np.array_equal(one[1], other[1], equal_nan=True)
    expect(bool(same_bits), f"value {one[0]:.9g}, the second time {other[0]:.9g}")


def finite(target: LossTarget, shape: dict[str, Any], log_ratio: float) -> None:
    """Finite log-probabilities and advantages give a finite value and finite weights, at the clip's edges
    too.

    Broken, one stale rollout makes every weight of the model NaN. Report: PrimeIntellect-ai/prime-rl#2972 and
    verl-project/verl#6538 (exponentials of large log-ratios).
    """
    batch = make_batch(shape)
    moved = LossBatch(
        batch.old_logp + log_ratio, batch.old_logp, batch.advantages, batch.mask, batch.group, batch.ref_logp
    )
    value, weights = target.weights(moved)
    expect(
        np.isfinite(value) and bool(np.all(np.isfinite(weights))),
        f"log-ratio {log_ratio:.4g}: value {value:g}, weights {shown(weights)}",
    )


def make_batch(shape: dict[str, Any], moved: bool = True) -> LossBatch:
    """The batch that the plain numbers of ``strategies.loss_shapes`` stand for."""
    count = np.asarray(shape["lengths"])
    rows, steps = len(count), shape["steps"]
    cells = np.arange(rows * steps).reshape(rows, steps)
    old = np.asarray(shape["logps"])[cells % 3] - 0.01 * (cells % 7)
    move = np.asarray(shape["moves"])[cells % 2] if moved else 0.0
    mask = np.arange(steps)[None, :] < count[:, None]
    # the reference stands a little off, so that a KL term takes part
    return LossBatch(old + move, old, np.asarray(shape["advantages"]), mask, shape["group"], old - 0.1)


def parallel(one: np.ndarray, other: np.ndarray, rtol: float = 1e-4) -> bool:
    """Whether one is a positive multiple of the other."""
    norms = float(np.linalg.norm(one) * np.linalg.norm(other))
    return norms > 0 and float(np.sum(one * other)) >= norms * (1 - rtol**2 / 2) - 1e-12


def slack(target: LossTarget) -> float:
    """What a weight may miss by: rounding of the framework's widest dtype, or of central differences."""
    return 1e-6 if target.library.wide == "float64" else 1e-5


def same(target: LossTarget, one: Any, other: Any) -> bool:
    """Equal up to ``slack`` relative to the larger of one and the biggest entry."""
    one, other = np.asarray(one, float), np.asarray(other, float)
    scale = max(1.0, float(np.max(np.abs(one), initial=0.0)))
    return bool(np.allclose(one, other, rtol=0, atol=3 * slack(target) * scale, equal_nan=True))


def _with(batch: LossBatch, advantages: np.ndarray) -> LossBatch:
    return LossBatch(batch.logp, batch.old_logp, advantages, batch.mask, batch.group, batch.ref_logp)


def _ratio(sign: float, outward: bool) -> float:
    return float(np.exp(FAR_ABOVE if (sign > 0) == outward else FAR_BELOW))


def _beyond(
    target: LossTarget, shape: dict[str, Any], sign: float, outward: bool
) -> tuple[np.ndarray, np.ndarray]:
    """All weights, and the first row's share that its advantage brings, with that row's ratio beyond the
    clip."""
    batch = make_batch(shape, moved=False)
    logp = batch.old_logp.copy()
    logp[0] += np.log(_ratio(sign, outward))
    advantages = batch.advantages.copy()
    advantages[0] = sign
    away = LossBatch(logp, batch.old_logp, advantages, batch.mask, batch.group, batch.ref_logp)
    advantages = advantages.copy()
    advantages[0] = 0.0
    still = target.weights(_with(away, advantages))[1]
    weights = target.weights(away)[1]
    return weights[0], (weights - still)[0][batch.mask[0]]


def _shapes(target: LossTarget, **more: st.SearchStrategy[Any]) -> st.SearchStrategy[Example]:
    return st.fixed_dictionaries({"shape": gen.loss_shapes(target.library.name == "jax"), **more})


def _needs(*roles: str) -> Any:
    words = {"mask": "a mask", "old_logp": "old log-probabilities", "ref_logp": "reference log-probabilities"}

    def applies(target: LossTarget) -> str:
        return next(
            (f"the loss takes no {words[r].removeprefix('a ')}" for r in roles if not target.has(r)), ""
        )

    return applies


_SIGNS = st.sampled_from([1.0, -1.0])
_GARBAGE = st.sampled_from([-3.0, float("nan"), float("inf"), float("-inf")])
_DISTANCE = st.sampled_from([0.5, -0.5, 0.1, -0.1])

LAWS = (
    Law("finite", finite, lambda t: _shapes(t, log_ratio=gen.log_ratios()), universal=True),
    Law("masked_inert", masked_inert, lambda t: _shapes(t, garbage=_GARBAGE), _needs("mask"), universal=True),
    Law("pure", pure, lambda t: _shapes(t), universal=True),
    Law("both_signs", both_signs, lambda t: _shapes(t), universal=True),
    Law("order_invariant", order_invariant, lambda t: _shapes(t, seed=st.integers(0, 20)), universal=True),
    Law("on_policy_unclipped", on_policy_unclipped, lambda t: _shapes(t), _needs("old_logp")),
    Law("microbatch_invariant", microbatch_invariant, lambda t: _shapes(t)),
    Law("zero_beyond_clip", zero_beyond_clip, lambda t: _shapes(t, sign=_SIGNS), _needs("old_logp")),
    Law("recovers_beyond_clip", recovers_beyond_clip, lambda t: _shapes(t, sign=_SIGNS), _needs("old_logp")),
    Law("padding_invariant", padding_invariant, lambda t: _shapes(t, extra=st.just(1)), _needs("mask")),
    Law("kl_direction", kl_direction, lambda t: _shapes(t, distance=_DISTANCE), _needs("ref_logp")),
    Law(
        "aggregation", aggregation, lambda t: _shapes(t), _needs("mask"), asked=lambda t: bool(t.aggregation)
    ),
    Law("empty_rows_finite", empty_rows_finite, lambda t: _shapes(t), _needs("mask")),
)  # fmt: skip
