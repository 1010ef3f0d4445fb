"""Intervals that know their tails: ends from the error, the skewness and the kurtosis of what the blocks contribute.

Student's t presumes contributions that are normal. Where they are skewed, mean and standard error are correlated: a
sample that misses the tail has both too small. Three things are done about that, chosen figure by figure by measured
coverage (``benchmarks/CALIBRATION.md``):

- The skewness of the contributions moves both ends (Willink 2005, Communications in Statistics 34(4) 753-766; the
  transformation is Hall's of 1992): t is replaced by G(t) = [(1 + 6 a (t - a))^(1/3) - 1] / (2 a), with a = skewness /
  (6 sqrt B) of B blocks.
- The degrees of freedom are those of the standard error itself, 2 B / (kurtosis - 1), which is B - 1 and a little for
  normal contributions (Satterthwaite 1946: the chi-squared law with the variance that the squares have).
- Variances, and quotients of them, are jackknifed on the logarithmic scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import stdtrit

from gradvar.stats.intervals import Bounds, check_level

Scale = Literal["linear", "log", "quotient"]
"""Where an interval is made: ``log`` from the leave-one-out values' logarithms, ``quotient`` on a logarithmic scale for
a figure whose denominator is the variance."""

_CLEAR = {"log": 2.0, "quotient": 3.0}  # standard errors above zero from which on the scale is logarithmic


@dataclass(frozen=True, eq=False)
class Pivot:
    """What an interval is made of at any level, of one figure or of an array of them.

    ``error``: the standard error on the interval's scale; ``asymmetry``: a of the module's docstring; ``dof``: degrees
    of freedom of the error; ``logarithmic``: the scale.
    """

    error: Float[np.ndarray, "*n"]
    asymmetry: Float[np.ndarray, "*n"]
    dof: Float[np.ndarray, "*n"]
    logarithmic: Bool[np.ndarray, "*n"]

    @classmethod
    def from_parts(
        cls, value: Float[np.ndarray, "*n"], parts: Float[np.ndarray, "*n block"], scale: Scale = "linear"
    ) -> Pivot:
        """Make it from a figure and its values with each block left out.

        Args:
            value: The figures.
            parts: Their leave-one-out values.
            scale: Of the interval; it is linear where a figure is not clear of zero.

        >>> pivot = Pivot.from_parts(np.array(2.0), np.array([1.0, 2.0, 3.0]))
        >>> [round(float(end), 3) for end in pivot.bounds(np.array(2.0))]
        [-2.968, 6.968]
        """
        with np.errstate(all="ignore"):  # a figure that is not known, or the same in every block
            value = np.asarray(value, np.float64)
            error, asymmetry, dof = _moments(parts)
            if scale == "linear":
                return cls(error, asymmetry, dof, np.zeros(value.shape, bool))
            clear = (value > _CLEAR[scale] * error) & np.isfinite(value)
            if scale == "quotient":
                relative = error / np.where(clear, value, 1.0)
                # by the skewness of the denominator, which sinks when the figure rises
                asymmetry = np.where(clear, asymmetry - relative / 2, asymmetry)
                return cls(np.where(clear, relative, error), asymmetry, dof, clear)
            clear &= (parts > 0).all(-1)
            logs = _moments(np.log(np.where(clear[..., None], parts, 1.0)))
            chosen = [np.where(clear, x, y) for x, y in zip(logs, (error, asymmetry, dof), strict=True)]
            return cls(chosen[0], chosen[1], chosen[2], clear)

    def bounds(self, value: Float[np.ndarray, "*n"], level: float = 0.95) -> Bounds:
        """The lower and the upper ends around a figure."""
        t = stdtrit(self.dof, 0.5 + check_level(level) / 2)
        low, high = (-self.error * skewed_quantile(sign * t, self.asymmetry) for sign in (1, -1))
        with np.errstate(over="ignore", invalid="ignore"):
            return (
                np.where(self.logarithmic, value * np.exp(np.where(self.logarithmic, low, 0.0)), value + low),
                np.where(
                    self.logarithmic, value * np.exp(np.where(self.logarithmic, high, 0.0)), value + high
                ),
            )

    def __getitem__(self, index: int) -> Pivot:
        """One figure of an array of them."""
        return Pivot(self.error[index], self.asymmetry[index], self.dof[index], self.logarithmic[index])

    def scaled(self, factor: float) -> Pivot:
        """The pivot of the figure times a positive factor."""
        return replace(self, error=np.where(self.logarithmic, self.error, self.error * factor))

    def numbers(self) -> list[float]:
        """Error, asymmetry, degrees of freedom and scale of one figure as plain numbers, for files."""
        return [float(x) for x in (self.error, self.asymmetry, self.dof, self.logarithmic)]

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Pivot:
        """Make one of its ``numbers``."""
        error, asymmetry, dof, logarithmic = (np.asarray(x, np.float64) for x in numbers)
        return cls(error, asymmetry, dof, logarithmic > 0)


def skewed_quantile(
    t: Float[np.ndarray, "*n"], asymmetry: Float[np.ndarray, "*n"]
) -> Float[np.ndarray, "*n"]:
    """Willink's G(t): by how many standard errors an end lies off, for a quantile t of Student's law.

    >>> [round(float(skewed_quantile(t, 0.05)), 2) for t in (-2.0, 0.0, 2.0)]
    [-2.73, -0.05, 1.66]
    """
    a = np.where(np.abs(asymmetry) < 1e-6, 1e-6, asymmetry)
    return (np.cbrt(1 + 6 * a * (t - a)) - 1) / (2 * a)


def _moments(parts: Float[np.ndarray, "*n block"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The jackknife's standard error, a, and the degrees of freedom, from leave-one-out values."""
    blocks = parts.shape[-1]
    deviations = parts.mean(-1, keepdims=True) - parts  # what a block adds, over B - 1
    squares = deviations**2
    second = squares.sum(-1)
    error = np.sqrt((blocks - 1) / blocks * second)
    known = second > 0
    unit = np.where(known, second, 1.0)
    asymmetry = np.zeros_like(error)
    if blocks > 2:  # skewness with the unbiased third moment and variance, over 6 sqrt(B)
        third = (squares * deviations).sum(-1) / unit**1.5
        asymmetry = (
            np.sqrt(blocks * (blocks - 1.0)) * np.sqrt(blocks) / (blocks - 2) * third / (6 * np.sqrt(blocks))
        )
    kurtosis = blocks * (squares**2).sum(-1) / unit**2
    dof = np.minimum(blocks - 1.0, 2 * blocks / np.maximum(kurtosis - 1, 0.5))
    return error, np.where(known, asymmetry, 0.0), np.where(known, np.maximum(dof, 1.0), blocks - 1.0)
