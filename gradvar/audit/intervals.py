"""Intervals for shares and means over prompts: rollouts and groups of one prompt are not independent of each other, so
prompts are the unit that counts.

A ratio R = sum_q y_q / sum_q x_q over prompts q has the linearised variance

    Q/(Q-1) sum_q (y_q - R x_q)^2 / (sum_q x_q)^2

(Cochran, Sampling Techniques, 3rd ed., section 6.3). For a share, the interval is Wilson's with the sample size that
gives this variance, n* = R(1-R)/var (Korn and Graubard 1998 for the idea); with no spread, n* is the number of prompts.
It is never empty at 0 or at 1, where the symmetric one is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.special import betaincinv, ndtri, stdtrit

LEVEL = 0.95


@dataclass(frozen=True)
class Share:
    """A share or a mean with its 95 % interval, over ``prompts`` prompts. NaN where there is nothing to take it of."""

    value: float
    low: float
    high: float
    prompts: int

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} % (95 % interval {100 * self.low:.1f} to {100 * self.high:.1f})"

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return dict(vars(self))


def shares(
    y: Float[np.ndarray, " item"],
    x: Float[np.ndarray, " item"],
    prompt: Int[np.ndarray, " item"],
    by: Int[np.ndarray, " item"],
    count: int,
) -> list[Share]:
    """The share sum y / sum x, 0 <= y <= x, for each of ``count`` parts that ``by`` numbers; clustered by prompt."""
    total, value, variance, prompts = _ratio(y, x, prompt, by, count)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.where(variance > 0, value * (1 - value) / variance, prompts)
    low, high = wilson(value, np.maximum(size, 1.0))
    return [
        Share(float(v), float(a), float(b), int(q)) if t > 0 else Share(np.nan, np.nan, np.nan, 0)
        for v, a, b, q, t in zip(value, low, high, prompts, total, strict=True)
    ]


def share(
    y: Float[np.ndarray, " item"], x: Float[np.ndarray, " item"], prompt: Int[np.ndarray, " item"]
) -> Share:
    """``shares`` with one part."""
    return shares(y, x, prompt, np.zeros(len(y), np.int64), 1)[0]


def mean(
    y: Float[np.ndarray, " item"], x: Float[np.ndarray, " item"], prompt: Int[np.ndarray, " item"]
) -> Share:
    """The ratio sum y / sum x of any numbers, with Student's interval; clustered by prompt."""
    total, value, variance, prompts = _ratio(y, x, prompt, np.zeros(len(y), np.int64), 1)
    if not total[0] > 0:
        return Share(np.nan, np.nan, np.nan, 0)
    free = int(prompts[0]) - 1
    half = float(stdtrit(free, 0.5 + LEVEL / 2) * np.sqrt(variance[0])) if free else np.nan
    return Share(float(value[0]), float(value[0]) - half, float(value[0]) + half, int(prompts[0]))


def _ratio(
    y: np.ndarray, x: np.ndarray, prompt: np.ndarray, by: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(sum x, ratio, its variance, prompts) of every part."""
    key = by.astype(np.int64) * (int(prompt.max(initial=0)) + 1) + prompt
    clusters, place = np.unique(key, return_inverse=True)
    part = clusters // (int(prompt.max(initial=0)) + 1)
    ys, xs = np.bincount(place, y, len(clusters)), np.bincount(place, x, len(clusters))
    part, ys, xs = part[xs > 0], ys[xs > 0], xs[xs > 0]
    total = np.bincount(part, xs, count)
    prompts = np.bincount(part, minlength=count)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.bincount(part, ys, count) / total
        squares = np.bincount(part, (ys - value[part] * xs) ** 2, count)
        variance = prompts / (prompts - 1) * squares / total**2
    return total, value, np.where(prompts > 1, variance, 0.0), prompts


def wilson(
    value: Float[np.ndarray, "*n"], size: Float[np.ndarray, "*n"]
) -> tuple[Float[np.ndarray, "*n"], Float[np.ndarray, "*n"]]:
    """Wilson's interval (1927) for a share observed among ``size`` independent ones."""
    z = float(ndtri(0.5 + LEVEL / 2))
    centre = (value + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z / (1 + z**2 / size) * np.sqrt(np.maximum(value * (1 - value), 0) / size + z**2 / (4 * size**2))
    return np.clip(centre - half, 0, value), np.clip(centre + half, value, 1)


def jeffreys(
    successes: Int[np.ndarray, "*n"], trials: Int[np.ndarray, "*n"]
) -> tuple[Float[np.ndarray, "*n"], Float[np.ndarray, "*n"]]:
    """Jeffreys' interval for a prompt's success rate: quantiles of Beta(k + 1/2, n - k + 1/2), with 0 and 1 as ends
    where all or none succeeded (Brown, Cai and DasGupta 2001)."""
    a, b, tail = successes + 0.5, trials - successes + 0.5, (1 - LEVEL) / 2
    low = np.where(successes == 0, 0.0, betaincinv(a, b, tail))
    high = np.where(successes == trials, 1.0, betaincinv(a, b, 1 - tail))
    return low, high
