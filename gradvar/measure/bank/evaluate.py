"""What a score bank says about estimators: figures with honest errors, and paired comparisons on the same
rollouts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student

from gradvar.core.moments import LOGARITHMIC, Moments
from gradvar.stats.figures import FIGURES, jackknife_error
from gradvar.stats.intervals import interval

Setting = tuple[str, int]
POSITIVE = (*LOGARITHMIC, "variance_per_rollout")


@dataclass(frozen=True)
class Estimate:
    """A figure with its standard error and interval; ``dof`` for Student's t."""

    value: float
    se: float
    low: float
    high: float
    dof: float

    @property
    def excludes(self) -> bool:
        """Whether the interval of a ratio excludes 1."""
        return not self.low <= 1 <= self.high


@dataclass(frozen=True)
class Comparison:
    """Two settings on the same rollouts: ``difference`` a - b and ``ratio`` a / b of one figure, with their
    covariance accounted for. ``correlation`` is that of the two estimates: what pairing gains."""

    figure: str
    first: Setting
    second: Setting
    difference: Estimate
    ratio: Estimate
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

    ``parts``: for each setting and figure the values with every block left out. ``blocks`` names what the
    blocks are: "prompts" (a sample of the task's) or "rollouts" (these prompts are all there is).
    ``residual``: the largest relative error with which the basis reproduced any rollout's weights.
    ``sketch_error``: relative standard error that the linear map adds to ||ghat||^2, 0 when it is exact."""

    moments: Mapping[Setting, Moments]
    parts: Mapping[Setting, Mapping[str, np.ndarray]]
    blocks: str
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
        m = self[setting]
        if figure == "variance_per_rollout":
            return m.trace_cov * m.rollouts
        return float(getattr(m, figure))

    def estimate(self, setting: Setting, figure: str, level: float = 0.95) -> Estimate:
        """A figure with its interval: the same as ``Moments.interval``, on the log scale for variances and squared
        norms that are clear of zero, where it covers better."""
        value, parts = self.figure(setting, figure), self._parts(setting, figure)
        se, dof = float(jackknife_error(parts)), len(parts) - 1
        low, high = interval(value, se, dof, level, logarithmic=figure in POSITIVE)
        return Estimate(value, se, float(low), float(high), dof)

    def compare(
        self, first: Setting, second: Setting, figure: str = "variance_per_rollout", level: float = 0.95
    ) -> Comparison:
        """Difference and ratio of a figure between two settings, paired: the blocks are the same rollouts.

        The ratio's interval is made on the log scale, so that a / b and b / a say the same.
        """
        a, b = self.figure(first, figure), self.figure(second, figure)
        one, two = self._parts(first, figure), self._parts(second, figure)
        difference = estimate_of(a - b, one - two, level)
        with np.errstate(divide="ignore", invalid="ignore"):
            quotients = one / two
        if a / b > 0 and (quotients > 0).all():
            ratio = estimate_of(a / b, np.log(quotients), level, np.exp)
        else:
            ratio = estimate_of(a / b, quotients, level)
        spread = np.std(one) * np.std(two)
        both = float(np.mean((one - one.mean()) * (two - two.mean())) / spread) if spread > 0 else 1.0
        return Comparison(figure, first, second, difference, ratio, both)

    def quotient(
        self, setting: Setting, over: str, under: str, factor: float = 1.0, level: float = 0.95
    ) -> Estimate:
        """One figure over another of the same setting, times ``factor``; their covariance is accounted
        for."""
        value = factor * self.figure(setting, over) / self.figure(setting, under)
        with np.errstate(divide="ignore", invalid="ignore"):
            parts = factor * self._parts(setting, over) / self._parts(setting, under)
        if value > 0 and (parts > 0).all():
            return estimate_of(value, np.log(parts), level, np.exp)
        return estimate_of(value, parts, level)

    def rows(self) -> list[dict[str, Any]]:
        """Tidy rows: one per setting and figure, with standard error and 95 % interval."""
        rows = []
        for (name, group), moments in self.moments.items():
            for figure in (*FIGURES, "snr_per_rollout", "variance_per_rollout"):
                found = self.estimate((name, group), figure)
                rows.append(
                    {
                        "estimator": name,
                        "group_size": group,
                        "prompts": moments.prompts,
                        "figure": figure,
                        "value": found.value,
                        "se": found.se,
                        "low": found.low,
                        "high": found.high,
                    }
                )
        return rows

    def _parts(self, setting: Setting, figure: str) -> np.ndarray:
        parts, m = self.parts[setting], self[setting]
        if figure == "snr_per_rollout":
            return parts["snr"] / m.rollouts
        if figure == "variance_per_rollout":
            return parts["trace_cov"] * m.rollouts
        if figure not in parts:
            raise ValueError(
                f"figure: '{figure}'; choose one of {', '.join(parts)}, snr_per_rollout, variance_per_rollout"
            )
        return parts[figure]


def estimate_of(value: float, parts: np.ndarray, level: float, back: Any = None) -> Estimate:
    """From leave-one-out values, on the scale they are given in; ``back`` leads from that scale to the
    figure's."""
    if not 0 < level < 1:
        raise ValueError(f"level: {level}; give a number between 0 and 1, such as 0.95")
    dof = len(parts) - 1
    error = float(jackknife_error(parts))
    half = float(student.ppf(0.5 + level / 2, dof)) * error
    if back is None:
        return Estimate(value, error, value - half, value + half, dof)
    return Estimate(value, error * abs(value), value * float(back(-half)), value * float(back(half)), dof)


def _named(setting: Setting) -> str:
    return f"{setting[0]} G={setting[1]}"
