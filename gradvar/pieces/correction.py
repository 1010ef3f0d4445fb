"""Corrections: weights for rollouts that an engine drew with other probabilities than the trainer computes.

Write w = exp(logp_old - logp_sampler) for a token's ratio of trainer to engine, and W for its product over a rollout's
tokens. A correction returns a weight per token, [prompt, group, time]; the surrogate is multiplied with it, and no
gradient flows through it. ``compose(correction=...)`` and ``gradvar.core.compose.corrected`` take one.

Token weights are the right ones for the next token alone: only ``sequence_ratio`` makes rollouts of the engine
unbiased for the trainer's policy. A weight of zero leaves a token out, and the denominators of the aggregation still
count it. The rules that reject, and what normalises weights, are in ``correction_reject``.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gradvar.pieces.correction_reject import (
    batch_normalised,
    chained,
    off_policy_sequence_mask,
    outlier_mask,
    probability_mask,
    rejection,
    second_moment_mask,
)

__all__ = [
    "batch_normalised",
    "chained",
    "geometric_mask",
    "geometric_ratio",
    "off_policy_sequence_mask",
    "outlier_mask",
    "probability_mask",
    "rejection",
    "second_moment_mask",
    "sequence_mask",
    "sequence_ratio",
    "sequence_truncation",
    "token_band",
    "token_ratio",
    "token_truncation",
]

PerToken = Float[Array, "prompt group time"]
Mask = Bool[Array, "prompt group time"]


def token_ratio(logp_old: PerToken, logp_sampler: PerToken) -> PerToken:
    """w: with a clipped surrogate this is decoupled PPO, arXiv 2110.00641, equation (3).

    There the engine is the behaviour policy, and ``logp_old`` belongs to the proximal policy that the clip is around.

    >>> logp_old, logp_sampler = jnp.log(jnp.array([[[0.5, 0.5]]])), jnp.log(jnp.array([[[0.5, 0.25]]]))
    >>> token_ratio(logp_old, logp_sampler).round(6).tolist()
    [[[1.0, 2.0]]]
    """
    return jnp.exp(logp_old - logp_sampler)


def token_truncation(
    logp_old: PerToken, logp_sampler: PerToken, *, cap: float = 2.0, floor: float = 0.0
) -> PerToken:
    """min(w, cap): truncated importance sampling by token. "Your efficient RL framework secretly brings you off-policy
    RL training", F. Yao et al. (2025).

    Args:
        logp_old: Log-probabilities of the trainer's proximal policy.
        logp_sampler: Log-probabilities that the engine reports.
        cap: Largest weight.
        floor: Smallest one, which TRL has, too; zero leaves that side open.

    >>> logp_old, logp_sampler = jnp.log(jnp.array([[[0.5, 0.5]]])), jnp.log(jnp.array([[[0.5, 0.125]]]))
    >>> token_truncation(logp_old, logp_sampler, cap=2.0).round(6).tolist()
    [[[1.0, 2.0]]]
    """
    return _within(token_ratio(logp_old, logp_sampler), floor, cap)


def token_band(
    logp_old: PerToken, logp_sampler: PerToken, *, low: float = 0.5, high: float = 5.0
) -> PerToken:
    """w inside [low, high], zero outside: IcePop, arXiv 2510.18855; with other bounds, masked importance sampling.

    Args:
        logp_old: Log-probabilities of the trainer's proximal policy.
        logp_sampler: Log-probabilities that the engine reports.
        low: Smallest weight that is not dropped.
        high: Largest one.

    >>> logp_old, logp_sampler = jnp.log(jnp.array([[[0.5, 0.5]]])), jnp.log(jnp.array([[[0.25, 0.0625]]]))
    >>> token_band(logp_old, logp_sampler).round(6).tolist()
    [[[2.0, 0.0]]]
    """
    weight = token_ratio(logp_old, logp_sampler)
    return jnp.where((weight >= low) & (weight <= high), weight, 0.0)


def sequence_ratio(logp_old: PerToken, logp_sampler: PerToken, mask: Mask) -> PerToken:
    """W on every token: the weight that makes the engine's rollouts unbiased, at the largest variance.

    >>> logp_old, logp_sampler = jnp.log(jnp.array([[[0.5, 0.5]]])), jnp.log(jnp.array([[[0.25, 0.125]]]))
    >>> sequence_ratio(logp_old, logp_sampler, jnp.ones((1, 1, 2), bool)).round(6).tolist()
    [[[8.0, 8.0]]]
    """
    total = jnp.sum(jnp.where(mask, logp_old - logp_sampler, 0.0), axis=-1, keepdims=True)
    return jnp.broadcast_to(jnp.exp(total), mask.shape)


def sequence_truncation(
    logp_old: PerToken, logp_sampler: PerToken, mask: Mask, *, cap: float = 2.0, floor: float = 0.0
) -> PerToken:
    """min(W, cap) on every token. W is unbiased; what the cap takes away is not given to other rollouts.

    Args:
        logp_old: Log-probabilities of the trainer's proximal policy.
        logp_sampler: Log-probabilities that the engine reports.
        mask: True for the tokens that count.
        cap: Largest weight.
        floor: Smallest one.

    >>> logp_old, logp_sampler = jnp.log(jnp.array([[[0.5, 0.5]]])), jnp.log(jnp.array([[[0.25, 0.125]]]))
    >>> sequence_truncation(logp_old, logp_sampler, jnp.ones((1, 1, 2), bool), cap=4.0).round(6).tolist()
    [[[4.0, 4.0]]]
    """
    return _within(sequence_ratio(logp_old, logp_sampler, mask), floor, cap)


def sequence_mask(
    logp_old: PerToken, logp_sampler: PerToken, mask: Mask, *, cap: float = 3.0, floor: float = 0.0
) -> PerToken:
    """W on every token, or zero where W > cap: what TRL does unless it is told otherwise.

    Args:
        logp_old: Log-probabilities of the trainer's proximal policy.
        logp_sampler: Log-probabilities that the engine reports.
        mask: True for the tokens that count.
        cap: Largest weight that is not dropped.
        floor: Smallest one; with it this is the sequence's band of verl.

    >>> logp_old, logp_sampler = jnp.log(jnp.array([[[0.5, 0.5]]])), jnp.log(jnp.array([[[0.25, 0.5]]]))
    >>> mask = jnp.ones((1, 1, 2), bool)
    >>> sequence_mask(logp_old, logp_sampler, mask).round(6).tolist()
    [[[2.0, 2.0]]]
    >>> sequence_mask(logp_old, logp_sampler, mask, cap=1.5).tolist()
    [[[0.0, 0.0]]]
    """
    weight = sequence_ratio(logp_old, logp_sampler, mask)
    close = weight <= cap
    return jnp.where(close & (weight >= floor) if floor else close, weight, 0.0)


def geometric_mask(
    logp_old: PerToken, logp_sampler: PerToken, mask: Mask, *, low: float = 0.999, high: float = 1.002
) -> PerToken:
    """w on every token of a rollout whose geometric mean of w lies in [low, high], zero on the others.

    "Sequence-masked truncated importance sampling" in NeMo-RL and OpenRLHF: the mean decides, and the token weights
    are not truncated. The mean of log w says how far apart the two policies are in nats per token, whatever the length.

    Args:
        logp_old: Log-probabilities of the trainer's proximal policy.
        logp_sampler: Log-probabilities that the engine reports.
        mask: True for the tokens that count.
        low: Smallest geometric mean that is not dropped.
        high: Largest one.

    >>> logp_old, logp_sampler = jnp.log(jnp.array([[[0.5, 0.5]]])), jnp.log(jnp.array([[[0.25, 1.0]]]))
    >>> mask = jnp.ones((1, 1, 2), bool)
    >>> geometric_mask(logp_old, logp_sampler, mask).round(6).tolist()
    [[[2.0, 0.5]]]
    >>> geometric_mask(logp_old, 2 * logp_sampler, mask).round(6).tolist()
    [[[0.0, 0.0]]]
    """
    mean = _geometric_mean(logp_old, logp_sampler, mask)
    return jnp.where((mean >= low) & (mean <= high), token_ratio(logp_old, logp_sampler), 0.0)


def geometric_ratio(
    logp_old: PerToken, logp_sampler: PerToken, mask: Mask, *, cap: float = 2.0, floor: float = 0.0
) -> PerToken:
    """The rollout's geometric mean of w on every token, W to the power 1 / length, between ``floor`` and ``cap``.

    The sequence weight of AReaL and the geometric one of ROLL. It hardly depends on the length, and is no importance
    weight: rollouts of the engine that it weighs are those of neither policy.

    Args:
        logp_old: Log-probabilities of the trainer's proximal policy.
        logp_sampler: Log-probabilities that the engine reports.
        mask: True for the tokens that count.
        cap: Largest weight.
        floor: Smallest one.

    >>> logp_old, logp_sampler = jnp.log(jnp.array([[[0.5, 0.5]]])), jnp.log(jnp.array([[[0.25, 0.0625]]]))
    >>> mask = jnp.ones((1, 1, 2), bool)
    >>> geometric_ratio(logp_old, logp_sampler, mask, cap=9.0).round(6).tolist()
    [[[4.0, 4.0]]]
    """
    mean = _geometric_mean(logp_old, logp_sampler, mask)
    return jnp.broadcast_to(_within(mean, floor, cap), mask.shape)


def _within(weight: Array, floor: float, cap: float) -> Array:
    weight = jnp.minimum(weight, cap)
    return jnp.maximum(weight, floor) if floor else weight


def _geometric_mean(logp_old: PerToken, logp_sampler: PerToken, mask: Mask) -> Float[Array, "prompt group 1"]:
    total = jnp.sum(jnp.where(mask, logp_old - logp_sampler, 0.0), axis=-1, keepdims=True)
    return jnp.exp(total / jnp.maximum(jnp.sum(mask, axis=-1, keepdims=True), 1))
