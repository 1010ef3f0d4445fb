"""Surrogates: from log-probabilities and advantages to a value per token, to be maximised.

All arrays are [prompt, group, time]. Write r = exp(logp - logp_old) for a token's ratio, A for its advantage.
Clip ranges are given as distances from 1: ``low`` below, ``high`` above. On policy (r = 1) every surrogate
here has the derivative A with respect to a token's log-probability, up to the aggregation; they differ in
what happens away from it.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gradvar.core.compose import Piece
from gradvar.pieces import correction
from gradvar.pieces.piece import wrapping
from gradvar.pieces.surrogate_trust import clip_cov as clip_cov
from gradvar.pieces.surrogate_trust import dppo_kl as dppo_kl
from gradvar.pieces.surrogate_trust import dppo_tv as dppo_tv
from gradvar.pieces.surrogate_trust import kl_cov as kl_cov
from gradvar.pieces.surrogate_trust import log_linear_proximal as log_linear_proximal
from gradvar.pieces.surrogate_trust import topr as topr
from gradvar.pieces.surrogate_trust import vespo as vespo

PerToken = Float[Array, "prompt group time"]
Mask = Bool[Array, "prompt group time"]


def likelihood(logp: PerToken, advantages: PerToken) -> PerToken:
    """A logp: the plain policy gradient. Weight A, whatever the ratio.

    >>> likelihood(jnp.array([[[-1.0, -1.0]]]), jnp.array([[[1.0, 1.0]]])).tolist()
    [[[-1.0, -1.0]]]
    """
    return advantages * logp


def importance_ratio(logp: PerToken, logp_old: PerToken, advantages: PerToken) -> PerToken:
    """A r, no clip. Weight A r.

    >>> logp, logp_old = jnp.log(jnp.array([[[0.5, 0.5]]])), jnp.log(jnp.array([[[0.5, 0.25]]]))
    >>> importance_ratio(logp, logp_old, jnp.array([[[1.0, 1.0]]])).round(6).tolist()
    [[[1.0, 2.0]]]
    """
    return advantages * jnp.exp(logp - logp_old)


def ppo_clip(
    logp: PerToken, logp_old: PerToken, advantages: PerToken, *, low: float = 0.2, high: float = 0.2
) -> PerToken:
    """min(r A, clip(r, 1 - low, 1 + high) A): PPO, arXiv 1707.06347, equation (7).

    Weight r A, except zero where A > 0 and r > 1 + high, or A < 0 and r < 1 - low. Written by the sign of A:
    for A >= 0 only the upper bound can bind, for A < 0 only the lower one.

    Args:
        logp: Log-probabilities of the tokens, [prompt, group, time], in nats.
        logp_old: The same in the policy that drew the rollouts.
        advantages: A, of every token.
        low: Lowest ratio is 1 - low.
        high: Highest ratio is 1 + high; ``high > low`` is DAPO's clip-higher.

    >>> logp, logp_old = jnp.log(jnp.array([[[0.5, 0.5]]])), jnp.log(jnp.array([[[0.5, 0.25]]]))
    >>> ppo_clip(logp, logp_old, jnp.array([[[1.0, 1.0]]]), low=0.25, high=0.25).round(6).tolist()
    [[[1.0, 1.25]]]
    """
    ratio = jnp.exp(logp - logp_old)
    return advantages * jnp.where(advantages >= 0, jnp.minimum(ratio, 1 + high), jnp.maximum(ratio, 1 - low))


def dual_clip(
    logp: PerToken,
    logp_old: PerToken,
    advantages: PerToken,
    *,
    low: float = 0.2,
    high: float = 0.2,
    cap: float = 3.0,
) -> PerToken:
    """PPO's clip, and for A < 0 also bounded below by cap A: arXiv 1912.09729.

    The weight is also zero where A < 0 and r > cap.

    Args:
        logp: Log-probabilities of the tokens, [prompt, group, time], in nats.
        logp_old: The same in the policy that drew the rollouts.
        advantages: A, of every token.
        low: Lowest ratio is 1 - low.
        high: Highest ratio is 1 + high.
        cap: Largest ratio where A < 0; above 1.

    >>> logp, logp_old = jnp.log(jnp.array([[[0.5, 0.5]]])), jnp.log(jnp.array([[[0.5, 0.25]]]))
    >>> dual_clip(logp, logp_old, jnp.array([[[1.0, 1.0]]]), low=0.25, high=0.25).round(6).tolist()
    [[[1.0, 1.25]]]
    """
    ratio = jnp.exp(logp - logp_old)
    negative = jnp.minimum(jnp.maximum(ratio, 1 - low), cap)
    return advantages * jnp.where(advantages >= 0, jnp.minimum(ratio, 1 + high), negative)


def sequence_clip(
    logp: PerToken,
    logp_old: PerToken,
    advantages: PerToken,
    mask: Mask,
    *,
    low: float = 3e-4,
    high: float = 4e-4,
) -> PerToken:
    """PPO's clip on the length-normalised sequence ratio: GSPO, arXiv 2507.18071, equations (5) and (7).

    The ratio is exp of the mean over the rollout's tokens of logp - logp_old; every token carries its clipped
    value, so that a sequence-mean of token-means is the paper's objective. All tokens of a rollout are
    clipped together.

    Args:
        logp: Log-probabilities of the tokens, [prompt, group, time], in nats.
        logp_old: The same in the policy that drew the rollouts.
        advantages: A, of every token.
        mask: True for the tokens that count, [prompt, group, time].
        low: Lowest sequence ratio is 1 - low.
        high: Highest sequence ratio is 1 + high.

    >>> logp, logp_old = jnp.log(jnp.array([[[0.5, 0.5]]])), jnp.log(jnp.array([[[0.5, 0.25]]]))
    >>> advantages, mask = jnp.ones((1, 1, 2)), jnp.ones((1, 1, 2), bool)
    >>> sequence_clip(logp, logp_old, advantages, mask, low=0.25, high=0.25).round(6).tolist()
    [[[1.25, 1.25]]]
    """
    ratio = jnp.broadcast_to(jnp.exp(_mean_log_ratio(logp, logp_old, mask))[..., None], logp.shape)
    return advantages * jnp.where(advantages >= 0, jnp.minimum(ratio, 1 + high), jnp.maximum(ratio, 1 - low))


def sequence_clip_per_token(
    logp: PerToken,
    logp_old: PerToken,
    advantages: PerToken,
    mask: Mask,
    *,
    low: float = 3e-4,
    high: float = 4e-4,
) -> PerToken:
    """The token form of GSPO: arXiv 2507.18071, equations (13) and (14).

    The value of the ratio is the sequence's, its gradient is the token's: s = sg[sequence ratio] p / sg[p].
    With one advantage for the whole rollout it has the gradient of ``sequence_clip``; the advantage may
    differ by token.

    Args:
        logp: Log-probabilities of the tokens, [prompt, group, time], in nats.
        logp_old: The same in the policy that drew the rollouts.
        advantages: A, of every token.
        mask: True for the tokens that count, [prompt, group, time].
        low: Lowest ratio is 1 - low.
        high: Highest ratio is 1 + high.

    >>> logp, logp_old = jnp.log(jnp.array([[[0.5, 0.5]]])), jnp.log(jnp.array([[[0.5, 0.25]]]))
    >>> advantages, mask = jnp.ones((1, 1, 2)), jnp.ones((1, 1, 2), bool)
    >>> sequence_clip_per_token(logp, logp_old, advantages, mask, low=0.25, high=0.25).round(6).tolist()
    [[[1.25, 1.25]]]
    """
    ratio = jax.lax.stop_gradient(jnp.exp(_mean_log_ratio(logp, logp_old, mask)))[..., None]
    ratio = ratio * jnp.exp(logp - jax.lax.stop_gradient(logp))
    return advantages * jnp.where(advantages >= 0, jnp.minimum(ratio, 1 + high), jnp.maximum(ratio, 1 - low))


def clipped_weight(
    logp: PerToken, logp_old: PerToken, advantages: PerToken, *, low: float = 1.0, high: float = 4.0
) -> PerToken:
    """sg[clip(r, 1 - low, 1 + high)] A logp: CISPO, arXiv 2506.13585, equation (4).

    Weight clip(r) A: no token loses its gradient. The value means nothing (its ratio is a constant); the
    gradient is the definition.

    Args:
        logp: Log-probabilities of the tokens, [prompt, group, time], in nats.
        logp_old: The same in the policy that drew the rollouts.
        advantages: A, of every token.
        low: Lowest weight is 1 - low; the paper leaves this side open, which is 1.
        high: Highest weight is 1 + high; the paper tunes it without printing it.

    >>> logp, logp_old = jnp.log(jnp.array([[[0.5, 0.5]]])), jnp.log(jnp.array([[[0.5, 0.25]]]))
    >>> clipped_weight(logp, logp_old, jnp.array([[[1.0, 1.0]]])).round(6).tolist()
    [[[-0.693147, -1.386294]]]
    """
    ratio = jnp.clip(jnp.exp(logp - logp_old), 1 - low, 1 + high)
    return jax.lax.stop_gradient(ratio) * advantages * logp


def geometric_clip(
    logp: PerToken,
    logp_old: PerToken,
    advantages: PerToken,
    mask: Mask,
    *,
    low: float = 0.4,
    high: float = 0.4,
) -> PerToken:
    """A times the geometric mean of a rollout's clipped ratios: GMPO, arXiv 2507.20673.

    The clip is on the *log*-ratio, one-sided as PPO's: above for A >= 0, below for A < 0. A token beyond the
    clip has weight zero, every other one A times the geometric mean over the length. Every token carries the
    rollout's value, so that a sequence-mean of token-means is the objective.

    Args:
        logp: Log-probabilities of the tokens, [prompt, group, time], in nats.
        logp_old: The same in the policy that drew the rollouts.
        advantages: A, of every token.
        mask: True for the tokens that count, [prompt, group, time].
        low: Lowest log-ratio is -low.
        high: Highest log-ratio; the paper's range of ratios is (e^-0.4, e^0.4).

    >>> logp, logp_old = jnp.log(jnp.array([[[0.5, 0.5]]])), jnp.log(jnp.array([[[0.5, 0.25]]]))
    >>> advantages, mask = jnp.ones((1, 1, 2)), jnp.ones((1, 1, 2), bool)
    >>> geometric_clip(logp, logp_old, advantages, mask, high=0.0).round(6).tolist()
    [[[1.0, 1.0]]]
    """
    change = logp - logp_old  # log-ratios, [prompt, group, time]
    clipped = jnp.where(advantages >= 0, jnp.minimum(change, high), jnp.maximum(change, -low))
    mean = jnp.sum(jnp.where(mask, clipped, 0.0), axis=-1) / jnp.maximum(jnp.sum(mask, axis=-1), 1)
    return advantages * jnp.exp(mean)[..., None]


def soft_gate(
    logp: PerToken, logp_old: PerToken, advantages: PerToken, *, positive: float = 1.0, negative: float = 1.05
) -> PerToken:
    """A (4/tau) sigmoid(tau (r - 1)): SAPO, arXiv 2511.20347.

    A smooth gate instead of a clip: the weight is A r times 4 sigmoid (1 - sigmoid), which is 1 at r = 1 and
    falls off on both sides, faster with a larger tau.

    Args:
        logp: Log-probabilities of the tokens, [prompt, group, time], in nats.
        logp_old: The same in the policy that drew the rollouts.
        advantages: A, of every token.
        positive: tau where A > 0.
        negative: tau elsewhere.

    >>> soft_gate(jnp.array([[[-1.0]]]), jnp.array([[[-1.0]]]), jnp.array([[[1.0]]])).tolist()
    [[[2.0]]]
    """
    ratio = jnp.exp(logp - logp_old)
    tau = jnp.where(advantages > 0, positive, negative)
    return advantages * (4.0 / tau) * jax.nn.sigmoid(tau * (ratio - 1))


def _mean_log_ratio(logp: PerToken, logp_old: PerToken, mask: Mask) -> Float[Array, "prompt group"]:
    total = jnp.sum(jnp.where(mask, logp - logp_old, 0.0), axis=-1)
    return total / jnp.maximum(jnp.sum(mask, axis=-1), 1)


def truncated_importance(surrogate: Piece, *, cap: float = 2.0) -> Piece:
    """A surrogate times sg[min(pi_old / pi_sampler, cap)] per token: truncated importance sampling.

    Corrects for an inference engine whose log-probabilities (``logp_sampler``) differ from the trainer's
    (``logp_old``). Weights are bounded by ``cap``, at the price of a bias where it binds.

    >>> logs = {"logp": jnp.zeros((1, 1, 2)), "logp_old": jnp.zeros((1, 1, 2))}
    >>> weights = jnp.log(jnp.array([[[1.0, 8.0]]]))  # pi_old / pi_sampler
    >>> corrected = truncated_importance(importance_ratio, cap=2.0)
    >>> corrected(**logs, logp_sampler=-weights, advantages=jnp.ones((1, 1, 2))).round(6).tolist()
    [[[1.0, 2.0]]]
    """

    def call(arrays: dict[str, Array], inner: Callable[..., Array]) -> Array:
        weight = correction.token_truncation(arrays["logp_old"], arrays["logp_sampler"], cap=cap)
        return jax.lax.stop_gradient(weight) * inner()

    return wrapping(surrogate, ("logp_old", "logp_sampler"), call, f"truncated_importance({cap})")


def masked_importance(surrogate: Piece, *, low: float = 0.5, high: float = 5.0) -> Piece:
    """A surrogate times the weight pi_old / pi_sampler inside [low, high], and times zero outside.

    Masking instead of truncating: a token on which trainer and sampler disagree too much is left out. The
    denominators of the aggregation still count it. ``low`` and ``high`` are bounds of the weight itself.

    >>> logs = {"logp": jnp.zeros((1, 1, 2)), "logp_old": jnp.zeros((1, 1, 2))}
    >>> weights = jnp.log(jnp.array([[[1.0, 8.0]]]))  # pi_old / pi_sampler
    >>> corrected = masked_importance(importance_ratio, low=0.5, high=2.0)
    >>> corrected(**logs, logp_sampler=-weights, advantages=jnp.ones((1, 1, 2))).round(6).tolist()
    [[[1.0, 0.0]]]
    """

    def call(arrays: dict[str, Array], inner: Callable[..., Array]) -> Array:
        weight = correction.token_band(arrays["logp_old"], arrays["logp_sampler"], low=low, high=high)
        return jax.lax.stop_gradient(weight) * inner()

    return wrapping(surrogate, ("logp_old", "logp_sampler"), call, f"masked_importance({low}, {high})")
