"""The answer of an evaluation: moments for every setting, and paired comparisons on the same rollouts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradvar.core.labelled import Labelled
from gradvar.core.moments import LOGARITHMIC, Moments
from gradvar.stats.figures import FIGURES, jackknife_interval, ratio_interval, varies
from gradvar.stats.intervals import Interval
from gradvar.stats.power import prompts_for_ratio, prompts_words

Setting = tuple[str, int]
"""An estimator's label, and a group size."""

POSITIVE = (*LOGARITHMIC, "variance_per_rollout")


@dataclass(frozen=True)
class Comparison:
    """Two settings on the same rollouts: ``difference`` a - b and ``ratio`` a / b of one figure.

    Their covariance is accounted for. ``correlation`` is that of the two estimates: it is what pairing gains.
    ``enough``: where the interval of the ratio includes 1, about so many prompts would exclude it with power 0.8, if
    the two differ as estimated (``stats.power``); NaN where that is not the question, or prompts were not drawn.
    """

    figure: str
    first: Setting
    second: Setting
    difference: Interval
    ratio: Interval
    correlation: float
    enough: float = np.nan

    def __str__(self) -> str:
        r = self.ratio
        if not np.isfinite(r.value):
            return f"{self.figure}: {_named(self.first)} and {_named(self.second)} cannot be compared: {r.reason}"
        needed = prompts_words(self.enough)
        return (
            f"{self.figure}: {_named(self.first)} is {r.value:.3g} times {_named(self.second)} ({r.words('.3g')})"
            + (f"; {needed}" if needed else "")
        )


@dataclass(frozen=True, eq=False)
class Evaluation(Labelled, Mapping[Setting, Moments]):
    """Moments for each (estimator, group size), with what is needed to compare them.

    ``parts``: for each setting and figure the values with every block left out. ``independent``: what the blocks are,
    "prompts" (a sample of the task's) or "rollouts" (these prompts are all there is). ``residual``: the largest
    relative error with which the basis reproduced any rollout's weights. ``sketch_error``: relative standard error that
    the linear map adds to ||ghat||^2, 0 when it is exact. ``prompts``: how many were recorded.
    """

    moments: Mapping[Setting, Moments]
    parts: Mapping[Setting, Mapping[str, np.ndarray]]
    independent: str
    residual: Mapping[Setting, float]
    sketch_error: Mapping[Setting, float]
    prompts: int = 0

    def __repr__(self) -> str:
        return f"Evaluation({', '.join(map(_named, self.moments))}; independent {self.independent})"

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
        if figure != "variance_per_rollout":
            self._parts(setting, figure)  # the figure's name is checked
            return self[setting].estimate(figure, level)
        x, size = self[setting].estimate("trace_cov", level), self[setting].rollouts
        return replace(x, value=x.value * size, low=x.low * size, high=x.high * size, se=x.se * size)

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
        effective = min(self._effective(first, figure), self._effective(second, figure))
        if len(parts_a) != len(parts_b):
            reason = f"their blocks differ, {len(parts_a)} and {len(parts_b)}; give the same slices to both"
            nothing = Interval(np.nan, np.nan, np.nan, effective=effective, reason=reason)
            return Comparison(figure, first, second, replace(nothing, value=a - b), nothing, np.nan)
        tied = first == second or np.isinf(effective) or varies(parts_a)
        difference = jackknife_interval(
            a - b, parts_a - parts_b, level, effective=effective, by_identity=tied
        )
        ratio = _ratio((a, b), (parts_a, parts_b), figure in POSITIVE, level, effective)
        scale = np.std(parts_a) * np.std(parts_b)
        covariance = np.mean((parts_a - parts_a.mean()) * (parts_b - parts_b.mean()))
        correlation = float(covariance / scale) if scale > 0 else np.nan
        enough = np.nan
        if self.independent == "prompts" and figure in POSITIVE:
            enough = prompts_for_ratio(ratio, self.prompts, level)
        return Comparison(figure, first, second, difference, ratio, correlation, enough)

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
        values = factor * self.figure(setting, numerator), self.figure(setting, denominator)
        parts = factor * self._parts(setting, numerator), self._parts(setting, denominator)
        effective = min(self._effective(setting, name) for name in (numerator, denominator))
        positive = numerator in POSITIVE and denominator in POSITIVE
        return _ratio(values, parts, positive, level, effective)

    def rows(self) -> list[dict[str, Any]]:
        """Tidy rows: one per setting and figure, with standard error and 95 % interval.

        ``effective`` is the effective number of blocks, and ``note`` what has to be said of the interval.
        """
        rows = []
        for (name, group), moments in self.moments.items():
            keys = {"estimator": name, "group_size": group, "prompts": moments.prompts}
            for figure in (*FIGURES, "snr_per_rollout", "variance_per_rollout"):
                x = self.estimate((name, group), figure)
                values = {
                    "value": x.value,
                    "se": x.se,
                    "low": x.low,
                    "high": x.high,
                    "effective": x.effective,
                }
                rows.append({**keys, "figure": figure, **values, "note": x.note})
        return rows

    def _effective(self, setting: Setting, figure: str) -> float:
        base = {"variance_per_rollout": "trace_cov", "snr_per_rollout": "snr"}.get(figure, figure)
        return self[setting].effective.get(base, np.nan)

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


def _ratio(
    values: tuple[float, float],
    parts: tuple[np.ndarray, np.ndarray],
    positive: bool,
    level: float,
    effective: float,
) -> Interval:
    """A quotient's interval, on the log scale where that is defined: ratios are closer to normal there.

    A quotient of two ``positive`` figures is positive or not known.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        value, quotients = float(np.divide(*values)), np.divide(*parts)
    both = min(values) > 0 and all((x > 0).all() for x in parts)
    tied = bool(np.isinf(effective)) or varies(parts[0])
    if both or positive:
        return ratio_interval(value if both else np.nan, quotients, level, effective, tied)
    return jackknife_interval(value, quotients, level, effective=effective, by_identity=tied)


def _named(setting: Setting) -> str:
    return f"{setting[0]} G={setting[1]}"
