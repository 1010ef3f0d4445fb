"""Surrogates of tokens with their derivatives: what is maximised before it is averaged.

Each takes a point, all of it [N, T], and gives the value of every token and ``pull``: from a derivative with respect
to those values to the derivative with respect to the log-probabilities.
What a paper puts under a stop-gradient is a constant there. r = exp(logp - old), A the advantage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TokenPoint:
    """Where a surrogate is taken: log-probabilities, those of the policy that sampled, advantages, mask; [N, T]."""

    logp: np.ndarray
    old: np.ndarray
    a: np.ndarray
    mask: np.ndarray

    @property
    def log_ratio(self) -> np.ndarray:
        """log pi - log pi_old, [N, T]."""
        return self.logp - self.old

    @property
    def ratio(self) -> np.ndarray:
        """pi / pi_old, [N, T]."""
        return np.exp(self.logp - self.old)

    @property
    def count(self) -> np.ndarray:
        """Tokens of each rollout, at least 1, [N, 1]."""
        return np.maximum(self.mask.sum(-1, keepdims=True), 1)

    def mean(self, x: np.ndarray) -> np.ndarray:
        """The mean over each rollout's tokens, [N, 1]."""
        return np.sum(np.where(self.mask, x, 0.0), axis=-1, keepdims=True) / self.count

    @property
    def sequence_ratio(self) -> np.ndarray:
        """exp of the mean log-ratio of the rollout, at every token [N, T]."""
        return np.exp(self.mean(self.log_ratio)) * np.ones(self.logp.shape)


@dataclass(frozen=True)
class TokenValues:
    """The value of every token [N, T], and the way back to log-probabilities."""

    values: np.ndarray
    pull: Callable[[np.ndarray], np.ndarray]


def by_token(values: np.ndarray, slope: np.ndarray) -> TokenValues:
    """Values of which each depends on its token's log-probability only."""
    return TokenValues(values, lambda cotangent: cotangent * slope)


def likelihood(point: TokenPoint) -> TokenValues:
    """A logp, the plain policy gradient."""
    return by_token(point.a * point.logp, point.a)


def importance(point: TokenPoint) -> TokenValues:
    """A r, without a clip."""
    return by_token(point.a * point.ratio, point.a * point.ratio)


def ppo_clip(
    point: TokenPoint,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual: float | None = None,
) -> TokenValues:
    """min(r A, clip(r) A) (arXiv 1707.06347), for A < 0 not below dual A (arXiv 1912.09729).

    Args:
        point: Where the surrogate is taken.
        clip_low: The lowest ratio is 1 - clip_low.
        clip_high: The highest ratio is 1 + clip_high.
        dual: The highest ratio where A < 0; None for none.
    """
    a, r = point.a, point.ratio
    bounded, inside = bound(r, a, 1 - clip_low, 1 + clip_high, dual)
    return by_token(a * bounded, a * r * inside)


def bound(
    r: np.ndarray, a: np.ndarray, lowest: float, highest: float, dual: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The ratio within the bound that binds for the sign of A, and where it does not bind.

    Args:
        r: Ratios, or log-ratios.
        a: Advantages of the same shape.
        lowest: Binds where A < 0.
        highest: Binds where A >= 0.
        dual: Binds from above where A < 0.
    """
    negative = np.maximum(r, lowest) if dual is None else np.minimum(np.maximum(r, lowest), dual)
    bounded = np.where(a >= 0, np.minimum(r, highest), negative)
    return bounded, bounded == r


def sequence_clip(
    point: TokenPoint,
    *,
    clip_low: float = 3e-4,
    clip_high: float = 4e-4,
    dual: float | None = None,
) -> TokenValues:
    """PPO's clip on s = exp(mean over the rollout of logp - old) (arXiv 2507.18071); every token has its value.

    Args:
        point: Where the surrogate is taken.
        clip_low: The lowest ratio is 1 - clip_low.
        clip_high: The highest ratio is 1 + clip_high.
        dual: The highest ratio where A < 0; None for none.
    """
    a, s = point.a, point.sequence_ratio
    bounded, inside = bound(s, a, 1 - clip_low, 1 + clip_high, dual)

    def pull(cotangent: np.ndarray) -> np.ndarray:
        row = np.sum(cotangent * a * s * inside, axis=-1, keepdims=True)
        return np.where(point.mask, row / point.count, 0.0)

    return TokenValues(a * bounded, pull)


def sequence_clip_by_token(
    point: TokenPoint,
    *,
    clip_low: float = 3e-4,
    clip_high: float = 4e-4,
    dual: float | None = None,
) -> TokenValues:
    """The same value with the gradient of the token: s_it = sg[s_i] p_it / sg[p_it] (arXiv 2507.18071, (13)).

    Args:
        point: Where the surrogate is taken.
        clip_low: The lowest ratio is 1 - clip_low.
        clip_high: The highest ratio is 1 + clip_high.
        dual: The highest ratio where A < 0; None for none.
    """
    a, s = point.a, point.sequence_ratio
    bounded, inside = bound(s, a, 1 - clip_low, 1 + clip_high, dual)
    return by_token(a * bounded, a * s * inside)


def geometric_clip(
    point: TokenPoint,
    *,
    clip_low: float = 0.4,
    clip_high: float = 0.4,
) -> TokenValues:
    """A exp(mean of the clipped log-ratios) (arXiv 2507.20673); the clip bounds the log-ratio, one-sided.

    Args:
        point: Where the surrogate is taken.
        clip_low: The lowest log-ratio is -clip_low.
        clip_high: The highest log-ratio.
    """
    bounded, inside = bound(point.log_ratio, point.a, -clip_low, clip_high)
    values = point.a * np.exp(point.mean(bounded))

    def pull(cotangent: np.ndarray) -> np.ndarray:
        row = np.sum(cotangent * values, axis=-1, keepdims=True)
        return np.where(point.mask & inside, row / point.count, 0.0)

    return TokenValues(values, pull)


def clipped_weight(
    point: TokenPoint,
    *,
    clip_low: float = 1.0,
    clip_high: float = 4.0,
) -> TokenValues:
    """sg[clip(r, 1 - clip_low, 1 + clip_high)] A logp (arXiv 2506.13585).

    Args:
        point: Where the surrogate is taken.
        clip_low: The lowest weight is 1 - clip_low.
        clip_high: The highest weight is 1 + clip_high.
    """
    weight = np.clip(point.ratio, 1 - clip_low, 1 + clip_high)
    return by_token(weight * point.a * point.logp, weight * point.a)


def soft_gate(
    point: TokenPoint,
    *,
    tau_positive: float = 1.0,
    tau_negative: float = 1.05,
) -> TokenValues:
    """A (4/tau) sigmoid(tau (r - 1)) (arXiv 2511.20347), tau by the sign of A.

    Args:
        point: Where the surrogate is taken.
        tau_positive: Temperature where A > 0.
        tau_negative: Temperature elsewhere.
    """
    a, r = point.a, point.ratio
    tau = np.where(a > 0, tau_positive, tau_negative)
    gate = sigmoid(tau * (r - 1))
    return by_token(a * 4 / tau * gate, a * 4 * gate * sigmoid(-tau * (r - 1)) * r)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    return np.exp(-np.logaddexp(0.0, -x))
