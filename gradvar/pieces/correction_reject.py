"""Corrections that drop tokens or rollouts, and what joins and normalises corrections.

k1 = -log w, k2 = (log w)^2 / 2 and k3 = w - 1 - log w are the estimates of the Kullback-Leibler divergence of engine
from trainer, with w the ratio of trainer to engine: nonnegative but for k1, and zero where the two agree.
"""

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gradvar.core.checks import one_of
from gradvar.core.compose import Piece, required
from gradvar.pieces.piece import wrapping

PerToken = Float[Array, "prompt group time"]
Mask = Bool[Array, "prompt group time"]
Divergence = Literal["k1", "k2", "k3"]
Level = Literal["token", "sum", "mean", "max"]


def rejection(
    logp_old: PerToken,
    logp_sampler: PerToken,
    mask: Mask,
    *,
    divergence: Divergence = "k3",
    level: Level = "token",
    low: float = 0.5,
    high: float = 2.0,
) -> PerToken:
    """1 where trainer and engine are close enough, 0 elsewhere: verl's rejection rules.

    k2 and k3 are at most ``high``; k1 lies between log(low) and log(high), so that ``low`` and ``high`` bound
    1/w. ``level`` says of what: each token, or the sum, mean or largest over a rollout, which then decides for all of
    its tokens. verl takes what is rejected out of the mask; here it has weight zero and is still counted, which is the
    same up to the denominators.

    Args:
        logp_old: Log-probabilities of the trainer's proximal policy.
        logp_sampler: Log-probabilities that the engine reports.
        mask: True for the tokens that count.
        divergence: k1, k2 or k3.
        level: ``token``, or ``sum``, ``mean`` or ``max`` over the rollout.
        low: For k1 alone.
        high: The largest that is not rejected.

    >>> logp_old, logp_sampler = jnp.log(jnp.array([[[0.5, 0.5]]])), jnp.log(jnp.array([[[0.5, 0.125]]]))
    >>> mask = jnp.ones((1, 1, 2), bool)
    >>> rejection(logp_old, logp_sampler, mask, divergence="k3", level="token", high=1.0).tolist()
    [[[1.0, 0.0]]]
    >>> rejection(logp_old, logp_sampler, mask, divergence="k3", level="mean", high=1.0).tolist()
    [[[1.0, 1.0]]]
    """
    change = jnp.where(mask, logp_old - logp_sampler, 0.0)  # log w; 0 where masked, as all three are then
    estimates = {"k1": -change, "k2": 0.5 * change**2, "k3": jnp.exp(change) - 1.0 - change}
    if divergence not in estimates or level not in ("token", "sum", "mean", "max"):
        raise ValueError(
            f"rejection: {divergence!r} by {level!r}; give k1, k2 or k3 by token, sum, mean or max"
        )
    estimate = estimates[divergence]
    if level == "max":
        estimate = jnp.max(estimate, axis=-1, keepdims=True, where=mask, initial=-jnp.inf)
    elif level != "token":
        estimate = jnp.sum(estimate, axis=-1, keepdims=True)
        if level == "mean":
            estimate = estimate / jnp.maximum(jnp.sum(mask, axis=-1, keepdims=True), 1)
    above, limit = (estimate >= jnp.log(low), jnp.log(high)) if divergence == "k1" else (True, high)
    close = above & (estimate <= limit)
    return jnp.broadcast_to(jnp.where(close, 1.0, 0.0).astype(logp_old.dtype), mask.shape)


def second_moment_mask(
    logp_old: PerToken, logp_sampler: PerToken, mask: Mask, *, threshold: float = 0.04
) -> PerToken:
    """0 on the tokens of the largest (log w)^2, so many that the mean of the others is below ``threshold``; 1 on those.

    M2PO, arXiv 2510.01161, which has the threshold 0.04. The tokens of the whole batch are ranked together: what is
    dropped depends on how a batch is cut into parts. One token at least is left, as in AReaL, even where its own square
    is above the threshold; of equal squares the first in the batch stay.

    Args:
        logp_old: Log-probabilities of the trainer's proximal policy.
        logp_sampler: Log-probabilities that the engine reports.
        mask: True for the tokens that count.
        threshold: In squared nats.

    >>> logp_old, logp_sampler = jnp.zeros((1, 1, 3)), jnp.array([[[0.1, 1.0, 0.2]]])
    >>> second_moment_mask(logp_old, logp_sampler, jnp.ones((1, 1, 3), bool)).tolist()
    [[[1.0, 0.0, 1.0]]]
    """
    squares = jnp.where(mask, (logp_old - logp_sampler) ** 2, jnp.inf).ravel()  # [token of the batch]
    ordered = jnp.sort(squares)
    count = jnp.arange(1, squares.size + 1)
    means = jnp.cumsum(jnp.where(jnp.isinf(ordered), 0.0, ordered)) / count  # they only grow with the count
    is_left = (means < threshold) & jnp.isfinite(ordered)
    number = jnp.maximum(jnp.sum(is_left), 1)
    ranks = jnp.argsort(jnp.argsort(squares, stable=True), stable=True)
    return jnp.where(ranks < number, 1.0, 0.0).astype(logp_old.dtype).reshape(mask.shape) * mask


def outlier_mask(
    logp_old: PerToken, logp_sampler: PerToken, mask: Mask, *, low: float = 1e-4, high: float = 100.0
) -> PerToken:
    """0 on a rollout with one token whose w lies outside [low, high], 1 elsewhere: SkyRL's mask for outlier tokens.

    A single token that trainer and engine see quite differently is taken for a fault, and its whole rollout goes.

    Args:
        logp_old: Log-probabilities of the trainer's proximal policy.
        logp_sampler: Log-probabilities that the engine reports.
        mask: True for the tokens that count.
        low: Smallest ratio that is no outlier.
        high: Largest one.

    >>> logp_old, logp_sampler = jnp.zeros((1, 2, 2)), -jnp.log(jnp.array([[[1.0, 2.0], [1.0, 5.0]]]))
    >>> outlier_mask(logp_old, logp_sampler, jnp.ones((1, 2, 2), bool), low=0.5, high=3.0).tolist()
    [[[1.0, 1.0], [0.0, 0.0]]]
    """
    ratio = jnp.exp(logp_old - logp_sampler)
    sound = jnp.all(~mask | ((ratio >= low) & (ratio <= high)), axis=-1, keepdims=True)
    return jnp.broadcast_to(jnp.where(sound, 1.0, 0.0).astype(logp_old.dtype), mask.shape)


def probability_mask(
    logp_old: PerToken, logp_sampler: PerToken, *, low: float = 0.2, high: float = 0.2
) -> PerToken:
    """1 where -low <= p - p' <= high for a token's probabilities p of trainer and p' of engine, 0 elsewhere.

    ROLL filters so, and prime-rl's loss "ipo" (not that of arXiv 2310.12036), whose trainer is the current policy. A
    rare token passes whatever its ratio.

    Args:
        logp_old: Log-probabilities of the trainer's proximal policy.
        logp_sampler: Log-probabilities that the engine reports.
        low: How far the trainer's probability may be below the engine's.
        high: How far above.

    >>> logp_old, logp_sampler = jnp.log(jnp.array([[[0.5, 0.02]]])), jnp.log(jnp.array([[[0.25, 0.001]]]))
    >>> probability_mask(logp_old, logp_sampler).tolist()
    [[[0.0, 1.0]]]
    """
    change = jnp.exp(logp_old) - jnp.exp(logp_sampler)
    return jnp.where((change >= -low) & (change <= high), 1.0, 0.0).astype(logp_old.dtype)


def off_policy_sequence_mask(
    logp: PerToken, logp_sampler: PerToken, advantages: PerToken, mask: Mask, *, threshold: float = 0.5
) -> PerToken:
    """0 on a rollout of negative advantage whose mean of logp_sampler - logp is above ``threshold``, 1 elsewhere.

    Off-policy sequence masking of DeepSeek-V3.2, arXiv 2512.02556: what the current policy would not write any more
    need not be unlearnt.

    Args:
        logp: Log-probabilities of the current policy.
        logp_sampler: Log-probabilities that the engine reports.
        advantages: A, of every token.
        mask: True for the tokens that count.
        threshold: In nats per token.

    >>> logp, logp_sampler = jnp.array([[[-2.0], [-2.0]]]), jnp.array([[[-1.0], [-1.0]]])
    >>> advantages, mask = jnp.array([[[1.0], [-1.0]]]), jnp.ones((1, 2, 1), bool)
    >>> off_policy_sequence_mask(logp, logp_sampler, advantages, mask).tolist()
    [[[1.0], [0.0]]]
    """
    total = jnp.sum(jnp.where(mask, logp_sampler - logp, 0.0), axis=-1, keepdims=True)
    mean = total / jnp.maximum(jnp.sum(mask, axis=-1, keepdims=True), 1)
    return jnp.where((advantages >= 0) | (mean <= threshold), 1.0, 0.0).astype(logp.dtype)


def batch_normalised(correction: Piece, *, level: Literal["token", "sequence"] = "token") -> Piece:
    """A correction's weights over their mean in the batch: verl's ``rollout_is_batch_normalize``.

    The mean is over the tokens of the batch, or over its rollouts, each with the mean of its tokens. It makes every
    rollout's weight depend on the others', and on how the batch is cut: a ratio of means, biased at every batch size
    and less with larger ones.

    Raises:
        ValueError: For another ``level``.

    >>> logs = {"logp_old": jnp.zeros((1, 2, 1)), "logp_sampler": -jnp.log(jnp.array([[[1.0], [3.0]]]))}
    >>> from gradvar.pieces.correction import token_ratio
    >>> batch_normalised(token_ratio)(**logs, mask=jnp.ones((1, 2, 1), bool)).round(6).tolist()
    [[[0.5], [1.5]]]
    """
    by_token = one_of("level", level, ("token", "sequence")) == "token"

    def call(arrays: dict[str, Array], inner: Callable[..., Array]) -> Array:
        weight, mask = inner(), arrays["mask"]
        counted = jnp.where(mask, weight, 0.0)
        if by_token:
            mean = jnp.sum(counted) / jnp.maximum(jnp.sum(mask), 1)
        else:
            of_rollout = jnp.sum(counted, axis=-1) / jnp.maximum(jnp.sum(mask, axis=-1), 1)
            mean = jnp.sum(of_rollout) / jnp.maximum(jnp.sum(jnp.any(mask, axis=-1)), 1)
        return weight / jnp.where(mean > 0, mean, 1.0)

    return wrapping(correction, ("mask",), call, f"batch_normalised({level})")


def chained(first: Piece, second: Piece) -> Piece:
    """The product of two corrections, such as truncated weights and a rule that rejects.

    >>> from gradvar.pieces.correction import token_truncation
    >>> logs = {"logp_old": jnp.zeros((1, 1, 2)), "logp_sampler": -jnp.log(jnp.array([[[1.5, 8.0]]]))}
    >>> mask = jnp.ones((1, 1, 2), bool)
    >>> chained(token_truncation, rejection)(**logs, mask=mask).round(6).tolist()
    [[[1.5, 0.0]]]
    """
    names = required(second)

    def call(arrays: dict[str, Array], inner: Callable[..., Array]) -> Array:
        return inner() * second(**{name: arrays[name] for name in names})

    return wrapping(first, names, call, "chained()")
