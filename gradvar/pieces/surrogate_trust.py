"""Surrogates that say in probabilities, or by whole rollouts, how far a policy may go from the one that drew.

All but ``kl_cov`` and ``clip_cov`` are sg[weight] A logp: the gradient is the definition, and the value means nothing.
``logp_sampler`` is the engine's.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gradvar.core.compose import Piece
from gradvar.pieces.piece import wrapping

PerToken = Float[Array, "prompt group time"]
Mask = Bool[Array, "prompt group time"]


def dppo_tv(
    logp: PerToken,
    logp_sampler: PerToken,
    advantages: PerToken,
    *,
    low: float = 0.2,
    high: float = 0.2,
    cap: float = 10.0,
) -> PerToken:
    """DPPO with the two-point total variation, arXiv 2602.04879: a mask on pi - mu, not on pi / mu.

    The weight is min(pi / mu, cap), zero where A > 0 and pi - mu > high, and where A < 0 and mu - pi > low, with mu the
    engine's probability of the token. A rare token may so change by any factor, a likely one by little.

    Args:
        logp: Log-probabilities of the tokens, [prompt, group, time], in nats.
        logp_sampler: The same, as the engine reports them.
        advantages: A, of every token.
        low: How far the probability may fall where A < 0.
        high: How far it may rise where A > 0.
        cap: Largest weight.

    >>> logp, logp_sampler = jnp.log(jnp.array([[[0.5, 0.02]]])), jnp.log(jnp.array([[[0.25, 0.01]]]))
    >>> jax.grad(lambda x: dppo_tv(x, logp_sampler, jnp.ones((1, 1, 2))).sum())(logp).round(6).tolist()
    [[[0.0, 2.0]]]
    """
    change = jnp.exp(logp) - jnp.exp(logp_sampler)
    beyond = jnp.where(advantages >= 0, change > high, change < -low)
    weight = jnp.where(beyond, 0.0, jnp.minimum(jnp.exp(logp - logp_sampler), cap))
    return jax.lax.stop_gradient(weight) * advantages * logp


def dppo_kl(
    logp: PerToken,
    logp_sampler: PerToken,
    advantages: PerToken,
    *,
    threshold: float = 0.05,
    cap: float = 10.0,
) -> PerToken:
    """DPPO with the two-point divergence, arXiv 2602.04879: a mask on KL(mu || pi) of taking this token or another.

    D = mu log(mu / pi) + (1 - mu) log((1 - mu) / (1 - pi)). The weight is min(pi / mu, cap), zero where D > threshold
    and the token has already moved along its advantage: pi > mu where A > 0, pi < mu where A < 0.

    Args:
        logp: Log-probabilities of the tokens, [prompt, group, time], in nats.
        logp_sampler: The same, as the engine reports them.
        advantages: A, of every token.
        threshold: Largest divergence that is not masked, in nats.
        cap: Largest weight.

    >>> logp, logp_sampler = jnp.log(jnp.array([[[0.5, 0.02]]])), jnp.log(jnp.array([[[0.25, 0.01]]]))
    >>> jax.grad(lambda x: dppo_kl(x, logp_sampler, jnp.ones((1, 1, 2))).sum())(logp).round(6).tolist()
    [[[0.0, 2.0]]]
    """
    engine, other, log_ratio = jnp.exp(logp_sampler), -jnp.expm1(logp_sampler), logp - logp_sampler
    # a token of chance 1 has no other: its second term is zero for the engine, and infinite for the policy alone
    gap = jnp.log(jnp.where(other > 0, other, 1.0)) - jnp.log(-jnp.expm1(logp))
    divergence = -engine * log_ratio + jnp.where(other > 0, other * gap, 0.0)
    moved = jnp.where(advantages >= 0, log_ratio > 0, log_ratio < 0)
    weight = jnp.where((divergence > threshold) & moved, 0.0, jnp.minimum(jnp.exp(log_ratio), cap))
    return jax.lax.stop_gradient(weight) * advantages * logp


def kl_cov(
    logp: PerToken,
    logp_old: PerToken,
    advantages: PerToken,
    mask: Mask,
    *,
    share: float = 0.0002,
    coefficient: float = 1.0,
) -> PerToken:
    """KL-Cov, arXiv 2505.22617: r A, less c |log r| on the tokens of the largest (A - mean A)(logp - mean logp).

    The share of the batch's tokens, one at the least, is taken from what is computed at once: it depends on the
    micro-batch. Where pi = pi_old the penalty has no gradient: |log r| has its least value there, and its derivative is
    taken as zero, as in PyTorch.

    Args:
        logp: Log-probabilities of the tokens, [prompt, group, time], in nats.
        logp_old: The same for the trainer's proximal policy.
        advantages: A, of every token.
        mask: True for the tokens that count.
        share: Of the tokens, that are penalised.
        coefficient: c.

    >>> logp, ones = jnp.log(jnp.array([[[0.5, 0.9, 0.9]]])), jnp.ones((1, 1, 3))
    >>> old, advantages = logp - jnp.log(2.0), jnp.array([[[-1.0, 1.0, 1.0]]])
    >>> jax.grad(lambda x: kl_cov(x, old, advantages, ones > 0).sum())(logp).round(6).tolist()
    [[[-3.0, 2.0, 2.0]]]
    >>> jax.grad(lambda x: kl_cov(x, logp, advantages, ones > 0).sum())(logp).round(6).tolist()
    [[[-1.0, 1.0, 1.0]]]
    """
    log_ratio = logp - logp_old
    covariance = jnp.where(mask, _covariances(logp, advantages, mask), -jnp.inf)
    rank = jnp.argsort(jnp.argsort(-covariance.ravel())).reshape(mask.shape)  # 0 for the largest
    chosen = mask & (rank < _number(mask, share))
    # |log r|, but flat at zero, where the derivative of JAX's own abs is one
    distance = log_ratio * jnp.sign(jax.lax.stop_gradient(log_ratio))
    penalty = jnp.where(chosen, coefficient * distance, 0.0)
    return advantages * jnp.exp(log_ratio) - penalty


def clip_cov(
    logp: PerToken,
    logp_old: PerToken,
    advantages: PerToken,
    mask: Mask,
    *,
    share: float = 0.0002,
    bounds: tuple[float, float] = (1.0, 5.0),
    clip: tuple[float, float] = (0.2, 0.2),
    seed: int | None = None,
) -> PerToken:
    """Clip-Cov, arXiv 2505.22617: PPO's clip, and no gradient for a random few tokens of large covariance.

    Of the n tokens whose (A - mean A)(logp - mean logp) lies strictly within ``bounds`` and that the clip leaves, k are
    dropped at random: k is the share of the batch's tokens, one at the least, and n at most. Without a seed every one
    of the n has the weight 1 - k/n, the mean over the choices: its gradient is the rule's mean, and its variance leaves
    the choice out. With a seed one choice is made, from the seed and the numbers of the batch. Means, n and k are of
    what is computed at once: the rule depends on the micro-batch.

    Args:
        logp: Log-probabilities of the tokens, [prompt, group, time], in nats.
        logp_old: The same for the trainer's proximal policy.
        advantages: A, of every token.
        mask: True for the tokens that count.
        share: Of the tokens, that are dropped.
        bounds: Of the covariance, in nats times the advantage's unit.
        clip: How far the ratio may go below and above 1.
        seed: Of the choice; None for the mean over all choices.

    >>> logp, advantages = jnp.log(jnp.array([[[0.1, 0.1, 0.9, 0.9]]])), jnp.array([[[-2.0, -2.0, 2.0, 2.0]]])
    >>> mask = jnp.ones((1, 1, 4), bool)  # every covariance is 2.2
    >>> jax.grad(lambda x: clip_cov(x, logp, advantages, mask).sum())(logp).round(6).tolist()
    [[[-1.5, -1.5, 1.5, 1.5]]]
    >>> one = jax.grad(lambda x: clip_cov(x, logp, advantages, mask, seed=0).sum())(logp)
    >>> int((one == 0).sum()), round(float(jnp.abs(one).sum()), 5)
    (1, 6.0)
    """
    ratio = jnp.exp(logp - logp_old)
    clipped = jnp.where(advantages >= 0, jnp.minimum(ratio, 1 + clip[1]), jnp.maximum(ratio, 1 - clip[0]))
    covariance = _covariances(logp, advantages, mask)
    able = mask & (clipped == ratio) & (covariance > bounds[0]) & (covariance < bounds[1])
    number = jnp.minimum(_number(mask, share), jnp.sum(able))
    if seed is None:
        stays = 1.0 - number / jnp.maximum(jnp.sum(able), 1)
    else:
        order = jnp.where(able, _uniform(seed, logp, advantages, mask), jnp.inf).ravel()
        stays = jnp.where(jnp.argsort(jnp.argsort(order)).reshape(mask.shape) < number, 0.0, 1.0)
    return jax.lax.stop_gradient(jnp.where(able, stays, 1.0).astype(logp.dtype)) * advantages * clipped


def _covariances(logp: PerToken, advantages: PerToken, mask: Mask) -> PerToken:
    """(A - mean A)(logp - mean logp) of every token, with the means of the batch's tokens; no gradient."""
    count = jnp.maximum(jnp.sum(mask), 1)

    def centred(values: PerToken) -> PerToken:
        return values - jnp.sum(jnp.where(mask, values, 0.0)) / count

    return centred(advantages) * centred(jax.lax.stop_gradient(logp))


def _number(mask: Mask, share: float) -> Float[Array, ""]:
    """How many tokens the share is: rounded down, and one at the least."""
    return jnp.maximum(1.0, jnp.floor(jnp.sum(mask) * share))


def _uniform(seed: int, logp: PerToken, advantages: PerToken, mask: Mask) -> PerToken:
    """Numbers between 0 and 1 from the seed and the bits of the batch: another batch gets others."""
    bits = [
        jax.lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)
        for x in (jax.lax.stop_gradient(logp), advantages)
    ]
    total = jnp.sum(jnp.where(mask, bits[0] ^ (bits[1] << 1), jnp.uint32(0)), dtype=jnp.uint32)
    return jax.random.uniform(jax.random.fold_in(jax.random.key(seed), total), mask.shape)


def log_linear_proximal(piece: Piece, *, share: float = 0.5) -> Piece:
    """A piece with log mu + share (log pi - log mu) for the proximal policy's log-probabilities: no pass computes them.

    What AReaL calls "loglinear", for decoupled PPO: with the policy at version v, the proximal one at v - 1 and the
    token drawn at version u, the share is (v - 1 - u) / (v - u), and 0 where v = u. 0 takes the engine for the proximal
    policy, 1 the current one. No gradient flows through it. A surrogate and the correction beside it both have to be
    wrapped: ``corrections.token_ratio`` is then the ratio of this policy to the engine.

    >>> logs = {"logp": jnp.log(jnp.array([[[0.4]]])), "logp_sampler": jnp.log(jnp.array([[[0.1]]]))}
    >>> from gradvar.pieces.surrogate import importance_ratio
    >>> ratio = log_linear_proximal(importance_ratio)(**logs, advantages=jnp.ones((1, 1, 1)))  # over sqrt(0.4 x 0.1)
    >>> ratio.round(6).tolist()
    [[[2.0]]]
    """

    def call(arrays: dict[str, Array], inner: Callable[..., Array]) -> Array:
        engine = arrays["logp_sampler"]
        return inner(logp_old=jax.lax.stop_gradient(engine + share * (arrays["logp"] - engine)))

    return wrapping(piece, ("logp", "logp_sampler"), call, f"log_linear_proximal({share})")


def vespo(
    logp: PerToken,
    logp_sampler: PerToken,
    advantages: PerToken,
    mask: Mask,
    *,
    positive: tuple[float, float] = (2.0, 3.0),
    negative: tuple[float, float] = (3.0, 2.0),
) -> PerToken:
    """VESPO, arXiv 2602.10693: the weight e^l W^k e^(-l W) on every token, W the rollout's ratio of policy to engine.

    It is 1 at W = 1, largest at W = k / l and falls to zero on both sides: a rollout that became likelier than that
    counts less, not more. Trainers bound log W by -18.4 and 20; here it is as it comes.

    Args:
        logp: Log-probabilities of the tokens, [prompt, group, time], in nats.
        logp_sampler: The same, as the engine reports them.
        advantages: A, of every token.
        mask: True for the tokens that count.
        positive: k and l where A >= 0.
        negative: k and l where A < 0.

    >>> logp, logp_sampler = jnp.zeros((1, 1, 1)), -jnp.log(jnp.array([[[2.0]]]))  # W = 2: 4 e^(-3)
    >>> mask, ones = jnp.ones((1, 1, 1), bool), jnp.ones((1, 1, 1))
    >>> jax.grad(lambda x: vespo(x, logp_sampler, ones, mask).sum())(logp).round(4).tolist()
    [[[0.1991]]]
    """
    total = jnp.sum(jnp.where(mask, logp - logp_sampler, 0.0), axis=-1, keepdims=True)  # log W
    power = jnp.where(advantages >= 0, positive[0], negative[0])
    rate = jnp.where(advantages >= 0, positive[1], negative[1])
    weight = jnp.exp(power * total + rate * (1.0 - jnp.exp(total)))
    return jax.lax.stop_gradient(weight) * advantages * logp


def topr(logp: PerToken, logp_sampler: PerToken, advantages: PerToken) -> PerToken:
    """Tapered off-policy REINFORCE, arXiv 2503.14286: weight 1 where A >= 0, min(pi / mu, 1) where A < 0.

    By token, as ROLL has it. What was good is imitated whatever its ratio; the push away from what was bad fades.

    >>> logp, logp_sampler = jnp.log(jnp.array([[[0.5], [0.5]]])), jnp.log(jnp.array([[[0.25], [1.0]]]))
    >>> advantages = jnp.array([[[1.0], [-1.0]]])
    >>> jax.grad(lambda x: topr(x, logp_sampler, advantages).sum())(logp).round(6).tolist()
    [[[1.0], [-0.5]]]
    """
    weight = jnp.where(advantages >= 0, 1.0, jnp.minimum(jnp.exp(logp - logp_sampler), 1.0))
    return jax.lax.stop_gradient(weight) * advantages * logp
