"""Intervals that know their tails: ends from the error, the skewness and the kurtosis of what the blocks contribute.

Student's t presumes contributions that are normal. Where they are skewed, mean and standard error are correlated: a
sample that misses the tail has both too small. Three things are done about that, chosen figure by figure by measured
coverage (``benchmarks/CALIBRATION.md``):

- The skewness of the contributions moves both ends (Willink 2005, Communications in Statistics 34(4) 753-766; the
  transformation is Hall's of 1992): t is replaced by G(t) = [(1 + 6 a (t - a))^(1/3) - 1] / (2 a), with a = skewness /
  (6 sqrt B) of B blocks.
- The degrees of freedom are those of the standard error itself, 2 B / (kurtosis - 1), which is B - 1 and a little for
  normal contributions (Satterthwaite 1946: the chi-squared law with the variance that the squares have).
- Variances, and quotients of them, are jackknifed on the logarithmic scale, a squared norm on that of its square root
  where it is above zero with each block left out.
- The next block may be as large as the largest one: the upper end reaches further by a share of what the block of the
  largest influence adds to the figure.
- Of few blocks a squared norm that is not above zero with each one left out reaches as far as an interval of signed
  square roots does at 95 %, if that is further.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import stdtrit

from gradvar.stats.intervals import Bounds, check_level

Scale = Literal["linear", "log", "quotient", "root"]
"""Where an interval is made: ``log`` and ``root`` from the leave-one-out values' logarithms and square roots,
``quotient`` on a logarithmic scale for a figure whose denominator is the variance."""

# standard errors above zero from which on the scale is not linear
_CLEAR = {"log": 2.0, "quotient": 3.0, "root": 0.0}
_LINEAR, _LOG, _ROOT = 0, 1, 2
_Moments = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Pivot:
    """What an interval is made of at any level, of one figure or of an array of them.

    ``error``: the standard error on the interval's scale; ``asymmetry``: a of the module's docstring; ``dof``: degrees
    of freedom of the error; ``scale``: 0 linear, 1 logarithmic, 2 square roots; ``reach``: by how much the upper end
    lies further, on that scale.
    """

    error: Float[np.ndarray, "*n"]
    asymmetry: Float[np.ndarray, "*n"]
    dof: Float[np.ndarray, "*n"]
    scale: Int[np.ndarray, "*n"]
    reach: Float[np.ndarray, "*n"]

    @classmethod
    def from_parts(
        cls,
        value: Float[np.ndarray, "*n"],
        parts: Float[np.ndarray, "*n block"],
        scale: Scale = "linear",
        reach: float = 0.0,
        few: Bool[np.ndarray, "*n"] | bool = False,
    ) -> Pivot:
        """Make it from a figure and its values with each block left out.

        Args:
            value: The figures.
            parts: Their leave-one-out values.
            scale: Of the interval; it is linear where a figure is not clear of zero.
            reach: The share of the largest influence of a block by which the upper end lies further.
            few: True where few blocks carry the figure.

        >>> pivot = Pivot.from_parts(np.array(2.0), np.array([1.0, 2.0, 3.0]))
        >>> [round(float(end), 3) for end in pivot.bounds(np.array(2.0))]
        [-2.968, 6.968]
        """
        with np.errstate(all="ignore"):  # a figure that is not known, or the same in every block
            value = np.asarray(value, np.float64)
            linear = _moments(parts)
            if scale == "linear":
                return cls._of(linear, reach, np.full(value.shape, _LINEAR))
            clear = (value > _CLEAR[scale] * linear[0]) & np.isfinite(value)
            if scale == "quotient":
                error, asymmetry, dof, largest = linear
                unit = np.where(clear, value, 1.0)
                # by the skewness of the denominator, which sinks when the figure rises
                relative = (error / unit, asymmetry - error / unit / 2, dof, largest / unit)
                return cls._of(_chosen(clear, relative, linear), reach, np.where(clear, _LOG, _LINEAR))
            clear &= (parts > 0).all(-1)
            positive = np.where(clear[..., None], parts, 1.0)
            bent, number = (np.sqrt(positive), _ROOT) if scale == "root" else (np.log(positive), _LOG)
            made = cls._of(_chosen(clear, _moments(bent), linear), reach, np.where(clear, number, _LINEAR))
            if scale == "log" or not np.any(few & ~clear):
                return made
            roots = cls._of(_moments(signed_root(parts)), 0.0, np.full(value.shape, _LINEAR))
            _, further = roots.bounds(signed_root(value))
            gap = further * np.abs(further) - made.bounds(value)[1]
            return replace(made, reach=made.reach + np.where(few & ~clear & (gap > 0), gap, 0.0))

    @classmethod
    def _of(cls, moments: _Moments, reach: float, scale: Int[np.ndarray, "*n"]) -> Pivot:
        error, asymmetry, dof, largest = moments
        return cls(error, asymmetry, dof, scale, reach * largest)

    def bounds(self, value: Float[np.ndarray, "*n"], level: float = 0.95) -> Bounds:
        """The lower and the upper ends around a figure."""
        t = stdtrit(self.dof, 0.5 + check_level(level) / 2)
        low = -self.error * skewed_quantile(t, self.asymmetry)
        high = -self.error * skewed_quantile(-t, self.asymmetry) + self.reach
        with np.errstate(over="ignore", invalid="ignore"):
            return self._moved(value, low), self._moved(value, high)

    def _moved(self, value: Float[np.ndarray, "*n"], by: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        """A figure moved on the interval's scale."""
        root = np.sqrt(np.maximum(value, 0.0)) + by
        factor = np.exp(np.where(self.scale == _LOG, by, 0.0))
        return np.select(
            [self.scale == _LOG, self.scale == _ROOT], [value * factor, root * np.abs(root)], value + by
        )

    def __getitem__(self, index: int) -> Pivot:
        """One figure of an array of them."""
        return Pivot(*(x[index] for x in (self.error, self.asymmetry, self.dof, self.scale, self.reach)))

    def scaled(self, factor: float) -> Pivot:
        """The pivot of the figure times a positive factor."""
        by = np.select([self.scale == _LOG, self.scale == _ROOT], [1.0, np.sqrt(factor)], factor)
        return replace(self, error=self.error * by, reach=self.reach * by)

    def numbers(self) -> list[float]:
        """Error, asymmetry, degrees of freedom, scale and reach of one figure as plain numbers, for files."""
        return [float(x) for x in (self.error, self.asymmetry, self.dof, self.scale, self.reach)]

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Pivot:
        """Make one of its ``numbers``."""
        error, asymmetry, dof, scale, reach = (np.asarray(x, np.float64) for x in numbers)
        return cls(error, asymmetry, dof, scale.astype(int), reach)


def skewed_quantile(
    t: Float[np.ndarray, "*n"], asymmetry: Float[np.ndarray, "*n"]
) -> Float[np.ndarray, "*n"]:
    """Willink's G(t): by how many standard errors an end lies off, for a quantile t of Student's law.

    >>> [round(float(skewed_quantile(t, 0.05)), 2) for t in (-2.0, 0.0, 2.0)]
    [-2.73, -0.05, 1.66]
    """
    a = np.where(np.abs(asymmetry) < 1e-6, 1e-6, asymmetry)
    return (np.cbrt(1 + 6 * a * (t - a)) - 1) / (2 * a)


def signed_root(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """The square root of the size, with the sign.

    >>> signed_root(np.array([-4.0, 9.0])).tolist()
    [-2.0, 3.0]
    """
    return np.sign(x) * np.sqrt(np.abs(x))


def _chosen(clear: Bool[np.ndarray, "*n"], bent: _Moments, linear: _Moments) -> _Moments:
    """The moments on a scale that is not linear where a figure is clear of zero, the others elsewhere."""
    error, asymmetry, dof, largest = (np.where(clear, x, y) for x, y in zip(bent, linear, strict=True))
    return error, asymmetry, dof, largest


def _moments(parts: Float[np.ndarray, "*n block"]) -> _Moments:
    """The jackknife's standard error, a, degrees of freedom and the largest influence, from leave-one-out values."""
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
    dof = np.where(known, np.maximum(dof, 1.0), blocks - 1.0)
    return error, np.where(known, asymmetry, 0.0), dof, deviations.max(-1)
