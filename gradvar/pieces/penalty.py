"""KL penalties: a value per token [prompt, group, time] that the objective subtracts.

What an estimator's *value* estimates and where its *gradient* pulls are different questions (arXiv
2506.09477, 2512.21852). Write k = logp - logp_ref for one token, pi for the policy (the sampler: all
statements are on policy), and s for the token's score. Per state, with the token drawn from pi:

    loss   value              E[value]           gradient on policy    E[gradient]
    k1     k                  KL(pi || ref)      s                     0: no pull at all
    k2     k^2 / 2            not the KL         k s                   grad KL(pi || ref)
    k3     exp(-k) - 1 + k    KL(pi || ref)      (1 - exp(-k)) s       grad KL(ref || pi), the other direction

As losses, all three act token by token: they leave out that a token also changes which states come after it.
The gradient of the KL between whole sequences is what the KL in the *reward* gives (``kl_in_reward``,
``kl_to_go``).

``straight_through(value, gradient)`` takes the value of one estimator and the gradient of another.
``importance_weighted`` multiplies by the ratio to the sampling policy and differentiates the product: then
E[gradient] is the gradient of E[value] also for k1 and k3, namely grad KL(pi || ref) per state, on policy and
off.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gradvar.core.compose import Piece
from gradvar.pieces.piece import wrapping

PerToken = Float[Array, "prompt group time"]


def k1(logp: PerToken, logp_ref: PerToken, *, beta: float = 1.0) -> PerToken:
    """beta (logp - logp_ref). Value: the reverse KL, unbiased. Gradient on policy: zero in expectation.

    >>> k1(jnp.array([[[-1.0]]]), jnp.array([[[-1.5]]])).tolist()
    [[[0.5]]]
    """
    return beta * (logp - logp_ref)


def k2(logp: PerToken, logp_ref: PerToken, *, beta: float = 1.0) -> PerToken:
    """beta (logp - logp_ref)^2 / 2. Value: biased for the KL. Gradient on policy: that of the reverse KL.

    >>> k2(jnp.array([[[-1.0]]]), jnp.array([[[-1.5]]])).tolist()
    [[[0.125]]]
    """
    return (0.5 * beta) * (logp - logp_ref) ** 2


def k3(logp: PerToken, logp_ref: PerToken, *, beta: float = 1.0) -> PerToken:
    """beta (exp(-k) - 1 + k), k = logp - logp_ref: GRPO's penalty, arXiv 2402.03300, equation (4).

    Value: the reverse KL, unbiased and never negative. Gradient on policy: that of the forward KL, KL(ref ||
    pi).

    >>> k3(jnp.zeros((1, 1, 1)), jnp.log(jnp.array([[[2.0]]]))).round(4).tolist()
    [[[0.3069]]]
    """
    k = logp - logp_ref
    return beta * (jnp.expm1(-k) + k)


def straight_through(value: Piece, gradient: Piece = k2) -> Piece:
    """The value of one penalty with the gradient of another.

    The default gradient is k2's: that of the reverse KL.

    >>> straight_through(k1)(jnp.array([[[-1.0]]]), jnp.array([[[-1.5]]])).tolist()
    [[[0.5]]]
    """

    def combined(logp: PerToken, logp_ref: PerToken) -> PerToken:
        slope = gradient(logp=logp, logp_ref=logp_ref)
        return jax.lax.stop_gradient(value(logp=logp, logp_ref=logp_ref) - slope) + slope

    return combined


def importance_weighted(penalty: Piece) -> Piece:
    """The penalty times exp(logp - logp_old), differentiated as a product.

    Value: on and off policy, the expectation under the current policy's token distribution. Gradient: that of
    this expectation, so k1 and k3 pull with the reverse KL's gradient.

    >>> importance_weighted(k1)(jnp.array([[[-1.0]]]), jnp.array([[[-1.0]]]), jnp.array([[[-1.5]]])).tolist()
    [[[0.5]]]
    """

    def weighted(logp: PerToken, logp_old: PerToken, logp_ref: PerToken) -> PerToken:
        return jnp.exp(logp - logp_old) * penalty(logp=logp, logp_ref=logp_ref)

    return weighted


def kl_in_reward(advantage: Piece, *, beta: float, estimator: Callable[..., Array] = k1) -> Piece:
    """An advantage piece computed from rewards less beta times the rollout's summed KL estimate.

    The KL is measured between the policy that sampled (``logp_old``) and the reference; it is a number,
    nothing is differentiated through it. With k1 and an advantage that is unbiased for grad E[r], the
    expected gradient on policy is the gradient of E[r] - beta KL(pi || ref) between whole sequences.

    >>> from gradvar.pieces.advantage import raw
    >>> batch = {"rewards": jnp.array([[1.0]]), "mask": jnp.ones((1, 1, 2), bool)}
    >>> logp = {"logp_old": jnp.full((1, 1, 2), -1.0), "logp_ref": jnp.full((1, 1, 2), -1.5)}
    >>> kl_in_reward(raw, beta=0.5)(**batch, **logp).tolist()
    [[0.5]]
    """

    def call(arrays: dict[str, Array], inner: Callable[..., Array]) -> Array:
        per_token = jnp.where(
            arrays["mask"], estimator(logp=arrays["logp_old"], logp_ref=arrays["logp_ref"]), 0.0
        )
        return inner(rewards=arrays["rewards"] - beta * jnp.sum(per_token, axis=-1))

    return wrapping(advantage, ("rewards", "logp_old", "logp_ref", "mask"), call, f"kl_in_reward({beta})")


def kl_to_go(advantage: Piece, *, beta: float, estimator: Callable[..., Array] = k1) -> Piece:
    """An advantage piece per token: the advantage less beta times the KL estimates from this token on.

    The same expected gradient as ``kl_in_reward`` around ``raw``, since a token's score is uncorrelated with
    the KL of the tokens before it; less noise.

    >>> from gradvar.pieces.advantage import raw
    >>> batch = {"rewards": jnp.array([[1.0]]), "mask": jnp.ones((1, 1, 2), bool)}
    >>> logp = {"logp_old": jnp.full((1, 1, 2), -1.0), "logp_ref": jnp.full((1, 1, 2), -1.5)}
    >>> kl_to_go(raw, beta=0.5)(**batch, **logp).tolist()
    [[[0.5, 0.75]]]
    """

    def call(arrays: dict[str, Array], inner: Callable[..., Array]) -> Array:
        per_token = jnp.where(
            arrays["mask"], estimator(logp=arrays["logp_old"], logp_ref=arrays["logp_ref"]), 0.0
        )
        to_go = jnp.cumsum(per_token[..., ::-1], axis=-1)[..., ::-1]
        return inner()[..., None] - beta * to_go

    return wrapping(advantage, ("logp_old", "logp_ref", "mask"), call, f"kl_to_go({beta})")
