"""The answer of an evaluation: moments for every setting, and paired comparisons on the same rollouts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradvar.core.moments import LOGARITHMIC, Moments
from gradvar.stats.figures import FIGURES, jackknife_error, jackknife_interval
from gradvar.stats.intervals import Interval, interval

Setting = tuple[str, int]
"""An estimator's label, and a group size."""

POSITIVE = (*LOGARITHMIC, "variance_per_rollout")


@dataclass(frozen=True)
class Comparison:
    """Two settings on the same rollouts: ``difference`` a - b and ``ratio`` a / b of one figure.

    Their covariance is accounted for. ``correlation`` is that of the two estimates: it is what pairing gains.
    """

    figure: str
    first: Setting
    second: Setting
    difference: Interval
    ratio: Interval
    correlation: float

    def __str__(self) -> str:
        r = self.ratio
        return (
            f"{self.figure}: {_named(self.first)} is {r.value:.3g} times {_named(self.second)} "
            f"(95 % interval {r.low:.3g} to {r.high:.3g})"
        )


@dataclass(frozen=True, eq=False)
class Evaluation(Mapping[Setting, Moments]):
    """Moments for each (estimator, group size), with what is needed to compare them.

    ``parts``: for each setting and figure the values with every block left out. ``independent``: what the blocks are,
    "prompts" (a sample of the task's) or "rollouts" (these prompts are all there is). ``residual``: the largest
    relative error with which the basis reproduced any rollout's weights. ``sketch_error``: relative standard error that
    the linear map adds to ||ghat||^2, 0 when it is exact.
    """

    moments: Mapping[Setting, Moments]
    parts: Mapping[Setting, Mapping[str, np.ndarray]]
    independent: str
    residual: Mapping[Setting, float]
    sketch_error: Mapping[Setting, float]

    def __getitem__(self, setting: Setting) -> Moments:
        if setting not in self.moments:
            known = ", ".join(_named(s) for s in self.moments)
            raise KeyError(f"setting: {setting} was not evaluated; choose from {known}")
        return self.moments[setting]

    def __iter__(self) -> Iterator[Setting]:
        return iter(self.moments)

    def __len__(self) -> int:
        return len(self.moments)

    def figure(self, setting: Setting, figure: str) -> float:
        """A figure's value; also ``snr_per_rollout`` and ``variance_per_rollout`` (tr Cov times rollouts)."""
        moments = self[setting]
        if figure == "variance_per_rollout":
            return moments.trace_cov * moments.rollouts
        return float(getattr(moments, figure))

    def estimate(self, setting: Setting, figure: str, level: float = 0.95) -> Interval:
        """A figure with its interval, the same as ``Moments.interval``.

        It is on the log scale for variances and squared norms that are clear of zero, where it covers better.
        """
        value, parts = self.figure(setting, figure), self._parts(setting, figure)
        se, dof = float(jackknife_error(parts)), len(parts) - 1
        low, high = interval(value, se, dof, level, logarithmic=figure in POSITIVE)
        return Interval(value, float(low), float(high), se, dof)

    def compare(
        self, first: Setting, second: Setting, figure: str = "variance_per_rollout", level: float = 0.95
    ) -> Comparison:
        """Difference and ratio of a figure between two settings, paired: the blocks are the same rollouts.

        The ratio's interval is made on the log scale, so that a / b and b / a agree.

        Args:
            first: The setting a.
            second: The setting b.
            figure: Name of the figure.
            level: Of the intervals.
        """
        a, b = self.figure(first, figure), self.figure(second, figure)
        parts_a, parts_b = self._parts(first, figure), self._parts(second, figure)
        difference = jackknife_interval(a - b, parts_a - parts_b, level)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = _ratio(a / b, parts_a / parts_b, level)
        scale = np.std(parts_a) * np.std(parts_b)
        covariance = np.mean((parts_a - parts_a.mean()) * (parts_b - parts_b.mean()))
        correlation = float(covariance / scale) if scale > 0 else 1.0
        return Comparison(figure, first, second, difference, ratio, correlation)

    def quotient(
        self, setting: Setting, numerator: str, denominator: str, factor: float = 1.0, level: float = 0.95
    ) -> Interval:
        """One figure over another of the same setting; their covariance is accounted for.

        Args:
            setting: Estimator and group size.
            numerator: Name of a figure.
            denominator: Name of a figure.
            factor: The quotient is multiplied with it.
            level: Of the interval.
        """
        value = factor * self.figure(setting, numerator) / self.figure(setting, denominator)
        with np.errstate(divide="ignore", invalid="ignore"):
            parts = factor * self._parts(setting, numerator) / self._parts(setting, denominator)
        return _ratio(value, parts, level)

    def rows(self) -> list[dict[str, Any]]:
        """Tidy rows: one per setting and figure, with standard error and 95 % interval."""
        rows = []
        for (name, group), moments in self.moments.items():
            keys = {"estimator": name, "group_size": group, "prompts": moments.prompts}
            for figure in (*FIGURES, "snr_per_rollout", "variance_per_rollout"):
                x = self.estimate((name, group), figure)
                values = {"value": x.value, "se": x.se, "low": x.low, "high": x.high}
                rows.append({**keys, "figure": figure, **values})
        return rows

    def _parts(self, setting: Setting, figure: str) -> np.ndarray:
        parts, rollouts = self.parts[setting], self[setting].rollouts
        if figure == "snr_per_rollout":
            return parts["snr"] / rollouts
        if figure == "variance_per_rollout":
            return parts["trace_cov"] * rollouts
        if figure not in parts:
            raise ValueError(
                f"figure: '{figure}'; choose one of {', '.join(parts)}, snr_per_rollout, variance_per_rollout"
            )
        return parts[figure]


def _ratio(value: float, parts: np.ndarray, level: float) -> Interval:
    """A quotient's interval, on the log scale where that is defined: ratios are closer to normal there."""
    if value > 0 and (parts > 0).all():
        return jackknife_interval(value, np.log(parts), level, np.exp)
    return jackknife_interval(value, parts, level)


def _named(setting: Setting) -> str:
    return f"{setting[0]} G={setting[1]}"
