"""The declared laws as checks on arrays: ``check(function, case) -> bool``, true where the law holds there.

An estimator that declares a law true must pass on every case, one that declares it false must fail on at
least one. The same checks run on planted violators (``violators.py``). Advantages are functions of a case (a
dict of arrays); losses are objectives of (logp, batch) and are looked at through their token weights.
"""

import jax
import jax.numpy as jnp
import numpy as np

from gradvar import catalogue
from gradvar.core.batch import Batch
from gradvar.core.compose import compose, required
from gradvar.pieces import surrogate

ROW_FIELDS = ("rewards", "lengths", "mask", "logp", "logp_old", "logp_ref", "values", "reward_parts")
PROMPT_FIELDS = ("greedy_rewards", "baseline")
TOKEN_FIELDS = ("mask", "logp", "logp_old", "logp_ref", "values")


def make_case(seed, rewards, far=False):
    """Arrays for Q = G = 4, T = 5, rollouts of unequal length, slightly off policy."""
    rng = np.random.default_rng(seed)
    rewards = np.asarray(rewards, float)
    shape = (*rewards.shape, 5)
    lengths = rng.integers(1, 6, rewards.shape)
    lengths[0, 0], lengths[0, 1] = 1, 5
    old = -rng.exponential(size=shape)
    return {
        "rewards": rewards,
        "lengths": lengths.astype(float),
        "mask": np.arange(5) < lengths[..., None],
        "logp_old": old,
        "logp": old + 0.1 * rng.normal(size=shape),
        "logp_ref": old + (8.0 if far else 0.3) * rng.normal(size=shape),
        "values": rng.normal(size=shape),
        "greedy_rewards": rng.normal(size=len(rewards)),
        "baseline": rng.normal(size=len(rewards)),
        "reward_parts": rng.normal(size=(*rewards.shape, 2)),
    }


_RNG = np.random.default_rng(99)
BINARY = [[1, 0, 0, 1], [0, 0, 0, 1], [1, 1, 0, 1], [1, 1, 1, 1]]
CASES = [
    make_case(0, BINARY),
    make_case(1, np.round(_RNG.normal(size=(4, 4)), 2)),
    make_case(2, [[0, 0.25, 0.5, 2], [1, 0, 0.75, 0], [0, 0, 0, 3], [0.5, 0.5, 0, 1]]),
    make_case(3, [[0, 1, 1, 1], [0, 0, 1, 0], [0, 1, 0, 1], [0, 0, 0, 1]], far=True),
    # both signs with a mean next to zero, and a middle reward just above the mean of a skewed group
    make_case(4, [[2, -1.5, -0.25, -0.125], [0, 0, 0, 1], [0, 0.3, 0, 1], [0.26, 0, 0, 0.74]]),
]


def take(case, prompts=slice(None), rollouts=slice(None)):
    """The chosen prompts and rollouts of every array."""
    out = {n: case[n][prompts][:, rollouts] for n in ROW_FIELDS}
    return out | {n: case[n][prompts] for n in PROMPT_FIELDS}


def to_batch(case):
    """The case as a batch."""
    drop = ("rewards", "lengths", "logp", "logp_old", "mask")
    rest = {n: v for n, v in case.items() if n not in drop}
    return Batch(case["rewards"], case["logp_old"], case["mask"], allow_empty=True, **rest)


def advantage_of(estimator):
    """The estimator's advantage piece as a function of a case."""
    piece = estimator.parts["advantage"]
    names = required(piece)

    def function(case):
        to_batch(case)  # refuses what every estimator's batch refuses
        return piece(**{n: jnp.asarray(case[n]) for n in names})

    return function


def value_and_weights(objective, logp, case):
    value, weights = jax.value_and_grad(objective)(jnp.asarray(logp), to_batch(case))
    return float(value), np.asarray(weights)


def weights_of(objective, logp, case):
    return value_and_weights(objective, logp, case)[1]


def close(one, other, tol=1e-9):
    one, other = np.asarray(one, float), np.asarray(other, float)
    finite = np.abs(np.concatenate([one.ravel(), other.ravel()]))
    scale = max(1.0, np.max(finite[np.isfinite(finite)], initial=0.0))
    return bool(np.allclose(one, other, rtol=0, atol=tol * scale, equal_nan=True))


def with_rewards(case, rewards):
    return case | {"rewards": rewards}


# ---- advantages


def zero_on_equal_rewards(f, case):
    held = True
    for size, value, dtype in ((3, 0.1, float), (4, 0.7, np.float32), (3, -0.7, np.float32)):
        part = take(case, rollouts=list(range(size)))  # the mean of three equal floats need not be exact
        rewards = part["rewards"].astype(dtype)
        rewards[1] = value
        held &= not np.any(np.asarray(f(with_rewards(part, rewards)))[1])
    return held


def finite(f, case):
    return all(
        bool(np.all(np.isfinite(f(with_rewards(case, case["rewards"] * s))))) for s in (1, 1e-25, 1e25)
    )


def zero_sum(f, case):
    return close(np.asarray(f(case)).sum(1), 0.0)


def shift_invariant(f, case):
    return close(f(case), f(with_rewards(case, case["rewards"] + 3.25)))


def scale_equivariant(f, case):
    return close(4 * np.asarray(f(case)), f(with_rewards(case, 4 * case["rewards"])))


def scale_invariant(f, case):
    return close(f(case), f(with_rewards(case, 4 * case["rewards"])), tol=1e-4)


def permutation_equivariant(f, case):
    order = [2, 0, 3, 1]
    return close(np.asarray(f(case))[:, order], f(take(case, rollouts=order)))


def order_preserving(f, case):
    r, a = case["rewards"], np.asarray(f(case))
    above = r[:, :, None] > r[:, None, :]
    return not np.any(above & (a[:, :, None] < a[:, None, :] - 1e-9))


def sign_against_mean(f, case):
    away = case["rewards"] - case["rewards"].mean(1, keepdims=True)
    return not np.any((away * np.asarray(f(case)) < -1e-12) & (np.abs(away) > 1e-12))


def bounded(f, case):
    return bool(np.all(np.abs(f(case)) <= np.sqrt(case["rewards"].shape[1] - 1) + 1e-6))


def group_isolated(f, case):
    rewards = case["rewards"].copy()
    rewards[0] = [0.0, 0.0, 0.0, 0.0] if rewards[0].any() else [5.0, 0.0, 1.0, -2.0]
    return close(np.asarray(f(case))[1:], np.asarray(f(with_rewards(case, rewards)))[1:])


def layout_independent(f, case):
    order = [3, 1, 0, 2]
    return close(np.asarray(f(case))[order], f(take(case, prompts=order)))


def singleton_zero(f, case):
    try:
        return not np.any(f(take(case, rollouts=[3])))
    except ValueError:
        return True


def dtype_preserved(f, case):
    dtypes = (np.float64, np.float32, np.float16)
    return all(np.asarray(f(with_rewards(case, case["rewards"].astype(d)))).dtype == d for d in dtypes)


def integer_rewards(f, case):
    whole = np.round(case["rewards"])
    return close(f(with_rewards(case, whole)), f(with_rewards(case, whole.astype(int))))


def nan_contained(f, case):
    """Refused by the batch, or else kept from every sibling and every other group."""
    clean, held = np.asarray(f(case))[1:], True
    for bad in (np.nan, np.inf):
        rewards = case["rewards"].copy()
        rewards[0, 2] = bad
        try:
            found = np.asarray(f(with_rewards(case, rewards)))
        except ValueError:
            continue
        held &= close(clean, found[1:]) and not np.any(found[0])
    return held


def half_precision(f, case):
    rewards = case["rewards"].astype(np.float16)
    wanted = np.asarray(f(with_rewards(case, rewards.astype(np.float64))))
    return close(wanted, f(with_rewards(case, rewards)), tol=2e-3)


def antisymmetric_pair(f, case):
    pair = take(case, rollouts=[0, 1])
    one = np.asarray(f(pair))
    other = np.asarray(f(with_rewards(pair, pair["rewards"][:, ::-1])))
    return close(one[:, 0], -one[:, 1]) and close(one[:, ::-1], other)


def leave_one_out_factor(f, case):
    r = case["rewards"]
    return close(f(case), r.shape[1] / (r.shape[1] - 1) * (r - r.mean(1, keepdims=True)))


def pure(f, case):
    kept = {n: v.copy() for n, v in case.items()}
    one, other = np.asarray(f(case)), np.asarray(f(case))
    return np.array_equal(one, other) and all(np.array_equal(case[n], kept[n]) for n in case)


def no_amplification(f, case):
    at_one = np.full((4, 4), 0.7, np.float32)
    at_one[:, ::2] = np.nextafter(at_one[:, ::2], np.float32(1))
    at_zero = 1e-17 * np.array([[1.0, 0, 0, 0], [0, 3, 1, 0], [2, 2, 0, 1], [0, 0, 1, 1]])
    return all(np.max(np.abs(f(with_rewards(case, r)))) <= 0.5 for r in (at_one, at_zero))


ADVANTAGE_CHECKS = {
    f.__name__: f
    for f in (
        zero_on_equal_rewards, finite, zero_sum, shift_invariant, scale_equivariant, scale_invariant,
        permutation_equivariant, order_preserving, sign_against_mean, bounded, group_isolated,
        layout_independent, singleton_zero, dtype_preserved, integer_rewards, half_precision, nan_contained,
        antisymmetric_pair, leave_one_out_factor, pure, no_amplification,
    )
}  # fmt: skip


# ---- losses: ``f`` is an objective, ``a`` its advantages on the case (None: the reward less its mean)


def masked_inert(f, case, a=None):
    value, weights = value_and_weights(f, case["logp"], case)
    held = not np.any(weights[~case["mask"]])
    for garbage in (np.nan, -np.inf):
        dirty = case | {n: np.where(case["mask"], case[n], garbage) for n in TOKEN_FIELDS if n != "mask"}
        other, moved = value_and_weights(f, dirty["logp"], dirty)
        held &= close(value, other) and close(weights, moved)
    return held


def microbatch_invariant(f, case, a=None):
    whole = weights_of(f, case["logp"], case)
    halves = [take(case, prompts=p) for p in ([0, 1], [2, 3])]
    return close(whole, np.concatenate([weights_of(f, h["logp"], h) for h in halves]) / 2)


def order_invariant(f, case, a=None):
    weights = weights_of(f, case["logp"], case)
    held = True
    for prompts, rollouts in (([3, 1, 0, 2], [0, 1, 2, 3]), ([0, 1, 2, 3], [2, 0, 3, 1])):
        moved = take(case, prompts, rollouts)
        held &= close(weights[prompts][:, rollouts], weights_of(f, moved["logp"], moved))
    return held


def padding_invariant(f, case, a=None):
    def pad(x):
        return np.pad(x, ((0, 0), (0, 0), (0, 2)), constant_values=False if x.dtype == bool else -1.0)

    padded = case | {n: pad(case[n]) for n in TOKEN_FIELDS}
    return close(
        weights_of(f, case["logp"], case),
        weights_of(f, padded["logp"], padded)[..., : case["logp"].shape[-1]],
    )


def both_signs(f, case, a=None):
    a = _advantages(case, a)
    weights = weights_of(f, case["logp_old"], case)
    wrong = case["mask"] & (np.abs(a) > 1e-9) & (np.sign(weights) != np.sign(a))
    return not np.any(wrong)


def zero_beyond_clip(f, case, a=None):
    a = _advantages(case, a)
    move = np.where(a > 0, np.log(2.0), np.log(0.4))
    weights = weights_of(f, case["logp_old"] + move, case)
    return not np.any(weights[case["mask"] & (np.abs(a) > 1e-9)])


def recovers_beyond_clip(f, case, a=None):
    a = _advantages(case, a)
    move = np.where(a > 0, np.log(0.4), np.log(2.0))
    weights = weights_of(f, case["logp_old"] + move, case)
    return bool(np.all((np.sign(weights) == np.sign(a))[case["mask"] & (np.abs(a) > 1e-9)]))


def empty_rows_finite(f, case, a=None):
    mask = case["mask"].copy()
    mask[0, 1] = mask[2] = False
    empty = case | {"mask": mask, "lengths": mask.sum(-1).astype(float)}
    value, weights = value_and_weights(f, case["logp"], empty)
    return bool(np.isfinite(value) and np.all(np.isfinite(weights)) and not np.any(weights[~mask]))


def kl_direction(f, case, a=None):
    case = with_rewards(case, np.ones_like(case["rewards"]))
    weights = weights_of(f, case["logp_old"], case)
    away = np.sign(case["logp_old"] - case["logp_ref"])
    return bool(np.all((np.sign(weights) == -away)[case["mask"]]))


LOSS_CHECKS = {
    f.__name__: f
    for f in (
        masked_inert, microbatch_invariant, order_invariant, padding_invariant, both_signs, zero_beyond_clip,
        recovers_beyond_clip, empty_rows_finite, kl_direction,
    )
}  # fmt: skip


def on_policy_unclipped(estimator, case, unclipped=None):
    """On policy, the weights equal those of the same estimator with the clip removed."""
    free = unclipped or without_clip(estimator)
    return close(weights_of(estimator, case["logp_old"], case), weights_of(free, case["logp_old"], case))


def without_clip(estimator):
    """Composed: the same pieces around A logp. Whole objectives: clip settings too wide to bind."""
    if not estimator.parts:
        return catalogue.get(estimator.name, clip_low=1.0, clip_high=1e9)
    parts = {role: p for role, p in estimator.parts.items() if role != "surrogate"}
    return compose(surrogate=surrogate.likelihood, **parts)


def _advantages(case, a):
    if a is None:
        a = case["rewards"] - case["rewards"].mean(1, keepdims=True)
    a = np.asarray(a, float)
    return np.broadcast_to(a[..., None] if a.ndim == 2 else a, case["mask"].shape)
