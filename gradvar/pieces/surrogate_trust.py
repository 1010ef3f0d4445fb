"""Surrogates that say in probabilities, or by whole rollouts, how far a policy may go from the one that drew.

All but ``kl_cov`` are sg[weight] A logp: the gradient is the definition, and the value means nothing. ``logp_sampler``
is the engine's.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

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
    log_ratio, fixed = logp - logp_old, jax.lax.stop_gradient(logp)
    count = jnp.maximum(jnp.sum(mask), 1)

    def centred(values: PerToken) -> PerToken:
        return values - jnp.sum(jnp.where(mask, values, 0.0)) / count

    covariance = jnp.where(mask, centred(advantages) * centred(fixed), -jnp.inf)
    rank = jnp.argsort(jnp.argsort(-covariance.ravel())).reshape(mask.shape)  # 0 for the largest
    chosen = mask & (rank < jnp.maximum(1, jnp.floor(count * share)))
    # |log r|, but flat at zero, where the derivative of JAX's own abs is one
    distance = log_ratio * jnp.sign(jax.lax.stop_gradient(log_ratio))
    penalty = jnp.where(chosen, coefficient * distance, 0.0)
    return advantages * jnp.exp(log_ratio) - penalty


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

    By token, as ROLL has it. What was good is imitated whatever its ratio; what was bad is forgotten as it fades.

    >>> logp, logp_sampler = jnp.log(jnp.array([[[0.5], [0.5]]])), jnp.log(jnp.array([[[0.25], [1.0]]]))
    >>> advantages = jnp.array([[[1.0], [-1.0]]])
    >>> jax.grad(lambda x: topr(x, logp_sampler, advantages).sum())(logp).round(6).tolist()
    [[[1.0], [-0.5]]]
    """
    weight = jnp.where(advantages >= 0, 1.0, jnp.minimum(jnp.exp(logp - logp_sampler), 1.0))
    return jax.lax.stop_gradient(weight) * advantages * logp
