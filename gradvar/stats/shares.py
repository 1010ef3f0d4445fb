"""Intervals for shares over prompts: rollouts and groups of one prompt are not independent of each other, so
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
from scipy.special import betaincinv, ndtri

LEVEL = 0.95


@dataclass(frozen=True)
class Share:
    """A share with its 95 % interval, over ``prompts`` prompts. NaN where there is nothing to take it of."""

    value: float
    low: float
    high: float
    prompts: int

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} % (95 % interval {100 * self.low:.1f} to {100 * self.high:.1f})"

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return dict(vars(self))


class Clusters:
    """Items (groups, or prompts) by their prompt, within each of ``count`` parts (steps) that ``by`` numbers."""

    def __init__(
        self, prompt: Int[np.ndarray, " item"], by: Int[np.ndarray, " item"] | None = None, count: int = 1
    ) -> None:
        parts = np.zeros(len(prompt), np.int64) if by is None else by.astype(np.int64)
        most = int(prompt.max(initial=0)) + 1
        keys, self._place = np.unique(parts * most + prompt, return_inverse=True)
        self._part = keys // most
        self.count = count

    def ratio(
        self, y: Float[np.ndarray, " item"], x: Float[np.ndarray, " item"]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(sum x, sum y / sum x, its variance, prompts with x > 0) of every part: [part] each."""
        ys = np.bincount(self._place, y, len(self._part))
        xs = np.bincount(self._place, x, len(self._part))
        total = np.bincount(self._part, xs, self.count)
        prompts = np.bincount(self._part, xs > 0, self.count)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.bincount(self._part, ys, self.count) / total
            squares = np.bincount(
                self._part, np.where(xs > 0, ys - value[self._part] * xs, 0.0) ** 2, self.count
            )
            variance = prompts / (prompts - 1) * squares / total**2
        return total, value, np.where(prompts > 1, variance, 0.0), prompts

    def shares(self, y: Float[np.ndarray, " item"], x: Float[np.ndarray, " item"]) -> list[Share]:
        """The share sum y / sum x, 0 <= y <= x, of every part."""
        total, value, variance, prompts = self.ratio(y, x)
        with np.errstate(divide="ignore", invalid="ignore"):
            size = np.where(variance > 0, value * (1 - value) / variance, prompts)
        low, high = wilson(value, np.maximum(size, 1.0))
        return [
            Share(float(v), float(a), float(b), int(q)) if t > 0 else NOTHING
            for v, a, b, q, t in zip(value, low, high, prompts, total, strict=True)
        ]

    def share(self, y: Float[np.ndarray, " item"], x: Float[np.ndarray, " item"] | None = None) -> Share:
        """The share where there is one part; of the items themselves without ``x``."""
        return self.shares(y, np.ones(len(y)) if x is None else x)[0]


NOTHING = Share(np.nan, np.nan, np.nan, 0)


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
