"""One planted violator per check of the lawbook: a plausible mistake that the check must reject."""

import itertools

import jax.numpy as jnp
import numpy as np

from gradvar.core.compose import batch_arrays, compose
from gradvar.pieces import advantage, aggregate, penalty, surrogate


def rewards_of(case):
    return np.asarray(case["rewards"])


def centred(case):
    r = rewards_of(case)
    return r - r.mean(1, keepdims=True)


def naive_standardised(case):
    """r - mean(r), summed one by one in the rewards' own precision, over a std without epsilon."""
    r = rewards_of(case)
    total = np.add.accumulate(r, axis=1, dtype=r.dtype)[:, -1:]
    d = r - total / np.asarray(r.shape[1], r.dtype)
    with np.errstate(all="ignore"):
        return np.nan_to_num(d / np.sqrt((d * d).mean(1, keepdims=True)))


def over_nothing(case):
    """Divided by a standard deviation with its guard on the wrong side."""
    return centred(case) / (rewards_of(case).std(1, keepdims=True) * 0)


def in_half_precision(case):
    """The mean in half precision, as coarse as eight bits leave it."""
    r = rewards_of(case)
    mean = r.mean(1, keepdims=True)
    return r - (np.round(mean * 8) / 8 if r.dtype == np.float16 else mean)


def first_is_baseline(case):
    return rewards_of(case) - rewards_of(case)[:, :1]


def absolute(case):
    return np.abs(centred(case))


def batch_mean(case):
    r = rewards_of(case)
    return r - r.mean()


def strided_groups(case):
    """Groups taken in strides over the prompts: neighbours share a baseline."""
    r = rewards_of(case)
    return r - r.T.reshape(r.shape).mean(1, keepdims=True)


def like_the_input(case):
    r = rewards_of(case)
    out = np.empty_like(r)
    out[...] = centred(case)
    return out


def overwriting(case):
    case["rewards"] -= rewards_of(case).mean(1, keepdims=True)
    return case["rewards"].copy()


_COUNTER = itertools.count()

ADVANTAGES = {
    "zero_on_equal_rewards": naive_standardised,
    "finite": over_nothing,
    "zero_sum": lambda case: centred(case) + 0.01,
    "shift_invariant": rewards_of,
    "scale_equivariant": lambda case: np.sign(centred(case)),
    "scale_invariant": centred,
    "permutation_equivariant": first_is_baseline,
    "order_preserving": absolute,
    "sign_against_mean": batch_mean,
    "bounded": lambda case: 4 * centred(case) / (centred(case).std(1, keepdims=True) + 1e-6),
    "group_isolated": batch_mean,
    "layout_independent": strided_groups,
    "singleton_zero": rewards_of,
    "dtype_preserved": lambda case: centred(case).astype(np.float64),
    "integer_rewards": like_the_input,
    "nan_contained": batch_mean,
    "half_precision": in_half_precision,
    "antisymmetric_pair": batch_mean,
    "leave_one_out_factor": centred,
    "pure": lambda case: centred(case) + next(_COUNTER),
    "no_amplification": naive_standardised,
}
MORE_IMPURE = (overwriting,)


def leaky_mask(logp, batch):
    """0 x NaN: the mask is multiplied in, after the ratio."""
    a = advantage.group_mean(batch.rewards)[..., None]
    return jnp.sum(a * jnp.exp(logp - batch.logp_old) * batch.mask) / batch.mask.size


def mean_over_padding(logp, batch):
    a = advantage.group_mean(batch.rewards)[..., None]
    return jnp.mean(jnp.where(batch.mask, a * logp, 0.0))


def own_advantage_shifted(logp, batch):
    """Rollouts trained with their neighbour's advantage."""
    a = jnp.roll(advantage.group_mean(batch.rewards), 1, axis=1)[..., None] * jnp.arange(4)[:, None]
    return jnp.mean(jnp.sum(jnp.where(batch.mask, a * logp, 0.0), -1))


def positives_only(logp, batch):
    a = jnp.maximum(advantage.group_mean(batch.rewards), 0.0)[..., None]
    return jnp.mean(jnp.sum(jnp.where(batch.mask, a * logp, 0.0), -1))


def ratio_without_clip(logp, batch):
    arrays = batch_arrays(batch)
    a = advantage.group_mean(batch.rewards)[..., None]
    ratio = jnp.exp(jnp.where(batch.mask, logp, 0.0) - arrays["logp_old"])
    return jnp.mean(jnp.sum(jnp.where(batch.mask, a * ratio, 0.0), -1))


def clipped_both_ways(logp, batch):
    """A bare clip: a token that went the wrong way past it has no way back."""
    arrays = batch_arrays(batch)
    a = advantage.group_mean(batch.rewards)[..., None]
    ratio = jnp.exp(jnp.where(batch.mask, logp, 0.0) - arrays["logp_old"])
    return jnp.mean(jnp.sum(jnp.where(batch.mask, a * jnp.clip(ratio, 0.8, 1.2), 0.0), -1))


def mean_of_nothing(logp, batch):
    """A mean over a rollout's tokens that divides by their number, zero included."""
    a = advantage.group_mean(batch.rewards)[..., None]
    rows = jnp.sum(jnp.where(batch.mask, a * logp, 0.0), -1) / jnp.sum(batch.mask, -1)
    return jnp.mean(rows)


def pushed_from_the_reference(logp, batch):
    arrays = batch_arrays(batch, ("logp_ref",))
    distance = jnp.where(batch.mask, logp, 0.0) - arrays["logp_ref"]
    return jnp.mean(jnp.sum(jnp.where(batch.mask, 0.5 * distance**2, 0.0), -1))


LOSSES = {
    "masked_inert": leaky_mask,
    "microbatch_invariant": compose(
        advantage=advantage.group_mean, surrogate=surrogate.likelihood, aggregate=aggregate.token_mean
    ),
    "order_invariant": own_advantage_shifted,
    "padding_invariant": mean_over_padding,
    "both_signs": positives_only,
    "zero_beyond_clip": ratio_without_clip,
    "recovers_beyond_clip": clipped_both_ways,
    "empty_rows_finite": mean_of_nothing,
    "kl_direction": pushed_from_the_reference,
}
K1_AS_A_LOSS = compose(
    advantage=advantage.group_mean,
    surrogate=surrogate.likelihood,
    aggregate=aggregate.sequence_token_sum,
    penalty=penalty.k1,
)
MISSES_ONE = compose(
    advantage=advantage.group_mean,
    surrogate=lambda logp, logp_old, advantages: surrogate.ppo_clip(
        logp, logp_old, advantages, low=-0.1, high=0.3
    ),
    aggregate=aggregate.sequence_token_sum,
)
