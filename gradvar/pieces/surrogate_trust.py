"""Surrogates that say in probabilities, or by whole rollouts, how far a policy may go from the one that drew.

Each is sg[weight] A logp: the gradient is the definition, and the value means nothing. ``logp_sampler`` is the
engine's.
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
