"""The weight of a token over its log-ratio, and the surrogates that have such a curve.

With one token per rollout, ratios of tokens, sequences and geometric means are the same. Divided by what it is on
policy, a weight is r for an unclipped ratio, 1 for a likelihood, zero beyond a clip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from gradvar.testing.identification.epsilon import nice
from gradvar.testing.identification.weights import LossProbe, Unit

GRID = np.array([-20.0, -6, -3, -2, -1.2, -0.7, -0.4, -0.3, -0.15, -0.05, -0.01, -1e-3, -2e-4])
ZERO = 1e-9
CLOSE = 1e-3


class WeightCurve:
    """The relative weights of tokens of positive and of negative advantage, each at a log-ratio."""

    def __init__(self, probe: LossProbe, unit: Unit) -> None:
        self.probe, self.unit = probe, unit
        base = probe.batch()
        mask = np.zeros_like(base.mask)
        mask[:, 0] = True
        mask = mask if probe.target.takes("mask") else base.mask
        self.base = replace(base, mask=mask, advantages=np.array([1.0, -1.0, 1.0, -1.0]))
        self.free = probe.target.takes("old_logp")
        self.points = np.concatenate([GRID, [0.0], -GRID[::-1]])
        self.plus, self.minus = np.array([self.at(x, x) for x in self.points]).T
        self.why = self._words()

    def at(self, plus: float, minus: float) -> tuple[float, float]:
        """The relative weights at a log-ratio for A > 0 and at one for A < 0."""
        moves = np.array([plus, minus, plus, minus])[:, None]
        batch = replace(self.base, logp=self.base.old_logp + np.where(self.base.mask, moves, 0.0))
        batch = replace(batch, ref_logp=batch.logp)
        unit = self.unit.coefficients(batch) * self.unit.advantages(batch)
        weights = self.probe.policy(batch)
        first = self.base.mask.argmax(1)
        return tuple(float(weights[i, first[i]] / unit[i, first[i]]) for i in (0, 1))  # type: ignore[return-value]

    def side(self, positive: bool) -> np.ndarray:
        """The curve of one sign of the advantage."""
        return self.plus if positive else self.minus

    def edge(self, positive: bool, upwards: bool) -> float | None:
        """The log-ratio beyond which the weight is zero on one side, or None; found by bisection."""
        values = self.side(positive)
        order = range(len(GRID), len(self.points)) if upwards else range(len(GRID), -1, -1)
        inside = None
        for i in order:
            if abs(values[i]) <= ZERO * max(1.0, np.exp(self.points[i])):
                return None if inside is None else self._bisect(positive, inside, float(self.points[i]))
            inside = float(self.points[i])
        return None

    def _bisect(self, positive: bool, inside: float, outside: float) -> float:
        for _ in range(34):
            middle = 0.5 * (inside + outside)
            value = self.at(middle, 0.0)[0] if positive else self.at(0.0, middle)[1]
            if abs(value) <= ZERO * max(1.0, np.exp(middle)):
                outside = middle
            else:
                inside = middle
        return 0.5 * (inside + outside)

    def fits(
        self, positive: bool, form: Callable[[np.ndarray], np.ndarray], where: np.ndarray | None = None
    ) -> bool:
        """Return True if the curve of one sign is this function of the log-ratio, within a thousandth."""
        where = np.ones(len(self.points), bool) if where is None else where
        wanted, seen = form(self.points[where]), self.side(positive)[where]
        return bool(np.all(np.abs(seen - wanted) <= CLOSE * np.maximum(np.abs(wanted), 1e-6)))

    def _words(self) -> str:
        parts = []
        for positive in (True, False):
            low, high = self.edge(positive, False), self.edge(positive, True)
            bounds = [f"below {np.exp(low):.4g}"] if low is not None else []
            bounds += [f"above {np.exp(high):.4g}"] if high is not None else []
            if bounds:
                parts.append(f"A {'>' if positive else '<'} 0 has no weight at a ratio {' or '.join(bounds)}")
        if not parts:
            values = [float(np.interp(x, self.points, self.plus)) for x in (-0.7, 0.7)]
            parts.append(
                f"the weight at ratios 0.5 and 2 is {values[0]:.4g} and {values[1]:.4g} of that at 1"
            )
        return "; ".join(parts)


def surrogates(curve: WeightCurve) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and settings of the surrogates that a curve may be, the plainest first."""
    ones = np.ones_like
    both = (True, False)
    if not curve.free or all(curve.fits(s, ones) for s in both):
        yield "likelihood", {}
        return
    if all(curve.fits(s, np.exp) for s in both):
        yield "importance", {}
    yield from _clipped(curve)
    yield from _bounded_weight(curve)
    yield from _gate(curve)


def _clipped(curve: WeightCurve) -> Iterator[tuple[str, dict[str, Any]]]:
    high, low, dual = curve.edge(True, True), curve.edge(False, False), curve.edge(False, True)
    if high is None or low is None:
        return
    # central differences see a kink one step to either side of it
    slack = 2e-6 if curve.probe.target.library.name == "numpy" else 1e-8
    bounds = {"clip_low": nice(1 - np.exp(low), slack), "clip_high": nice(np.exp(high) - 1, slack)}
    more = {}
    if dual is not None:
        # a bound on the log-ratio, such as 10, is round before the exponential and not after it
        more["dual"] = float(np.exp(nice(dual, slack))) if dual > 5 else nice(np.exp(dual), 5 * slack)
    yield "ppo", {**bounds, **more}
    yield "gspo", {**bounds, **more}
    if not more:
        yield "gmpo", {"clip_low": nice(-low, slack), "clip_high": nice(high, slack)}


def _bounded_weight(curve: WeightCurve) -> Iterator[tuple[str, dict[str, Any]]]:
    """CISPO: the weight is the ratio between two bounds; a bound that the ratio never reaches is left open."""
    lowest, highest = float(curve.plus.min()), float(curve.plus.max())
    low = 1.0 if lowest < 1e-8 else nice(1 - lowest)
    if highest <= 0 or highest > 1e6:
        return
    if all(
        curve.fits(s, lambda x: np.clip(np.exp(x), 1 - low, highest), curve.points > -15)
        for s in (True, False)
    ):
        yield "cispo", {"clip_low": low, "clip_high": nice(highest - 1)}


def _gate(curve: WeightCurve) -> Iterator[tuple[str, dict[str, Any]]]:
    """SAPO: with u = tau (r - 1), the weight over r is 1 / cosh^2(u/2)."""
    taus = []
    x = 0.4
    for value in curve.at(x, x):
        r = np.exp(x)
        if not 0 < value < r:
            return
        taus.append(nice(2 * np.arccosh(np.sqrt(r / value)) / (r - 1)))
    yield "sapo", {"tau_positive": taus[0], "tau_negative": taus[1]}
