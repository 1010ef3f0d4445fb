"""The epsilon of a division, its size and place, read off groups of ever smaller spread."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradvar.testing.calls import BadOutput, Raised
from gradvar.testing.matching.probe import advantages
from gradvar.testing.oracle import Oracle, RolloutRows
from gradvar.testing.targets import AdvantageTarget, per_rollout

SPREADS = (1.0, 0.5, *(10.0**-k for k in range(1, 13)))
LOOSE = 3e-3
LARGEST = 0.3
"""An epsilon above this is none: it is not there to keep a division from failing."""


def nice(value: float, slack: float = 0.0) -> float:
    """The value, rounded to the fewest digits (up to six) that change it by less than a thousandth of a per cent.

    ``slack`` is how far it may be off: then it may also change by as much.
    """
    for digits in range(1, 7):
        rounded = float(f"{value:.{digits - 1}e}")
        if abs(rounded - value) <= 1e-5 * abs(value) + slack:
            return rounded
    return float(f"{value:.5e}")


@dataclass
class Ladder:
    """A function's answers to groups (0, 0, s, s) of smaller and smaller s, each asked once."""

    target: AdvantageTarget
    answers: dict[float, tuple[RolloutRows, float] | None] = field(default_factory=dict)

    def at(self, spread: float) -> tuple[RolloutRows, float] | None:
        """The batch, and the advantage of its last rollout; None where the function raises or gives no number."""
        if spread not in self.answers:
            rows = 4
            batch = RolloutRows(
                np.ones((rows, 3), bool), np.array([0.0, 0.0, spread, spread]), np.zeros(rows, int)
            )
            try:
                out = per_rollout(advantages(self.target, batch), batch.mask)[-1]
            except (Raised, BadOutput):
                out = np.nan
            self.answers[spread] = (batch, float(out)) if np.isfinite(out) else None
        return self.answers[spread]

    def temperature(self) -> float | None:
        """The temperature of a softmax: A = tanh(s / (2 tau)) on these groups."""
        for spread in SPREADS:
            answer = self.at(spread)
            if answer and 0.02 < answer[1] < 0.9:
                return nice(spread / (2 * np.arctanh(answer[1])))
        return None

    def epsilon(self, oracle: Oracle) -> list[dict[str, Any]]:
        """Settings ``eps``, ``eps_at`` and ``guard`` that explain the answers, the best explanation first.

        ``oracle`` has no epsilon. With A its advantage, and A' that with an epsilon of one added, the divisor is
        d = A' / (A - A'), and the function's divisor is d A / F.
        """
        points, silent, factor = [], 0.0, self._factor(oracle)
        added = oracle.with_settings(eps=1.0)
        for spread in SPREADS:
            answer = self.at(spread)
            if answer is None:
                continue
            batch, value = answer
            plain, other = (
                float(per_rollout(o.advantages_of(batch), batch.mask)[-1]) for o in (oracle, added)
            )
            if plain == other or plain == 0:
                continue
            divisor = other / (plain - other)
            if value == 0:
                silent = max(silent, divisor)
            else:
                points.append((divisor, divisor * plain / (value / factor)))
        points = [p for p in points if p[0] > silent]
        if len(points) < 2:
            return []
        guard = {"guard": self._threshold(oracle, silent)} if silent > 2e-13 else {}
        std, seen = np.array(points).T
        places = ("added", "clamped", "variance") if "eps_at" in oracle.settings else ("added",)
        fits = [(self._misfit(std, seen, 0.0, "none"), {"eps": 0.0, **guard})]
        for place in places:
            last = {"added": seen - std, "clamped": seen, "variance": seen**2 - std**2}[place]
            eps = nice(float(np.abs(last[-1])))
            if eps > LARGEST:
                continue
            plainly: dict[str, Any] = {} if place == "added" else {"eps_at": place}
            fits.append((self._misfit(std, seen, eps, place), {"eps": eps, **plainly, **guard}))
        fits.sort(key=lambda f: f[0])
        return [settings for misfit, settings in fits if misfit < LOOSE] or [fits[0][1]]

    def _factor(self, oracle: Oracle) -> float:
        """The function over the form where the spread is far above any epsilon; 1 where that is all but 1."""
        answer = self.at(1024.0)
        if answer is None or answer[1] == 0:
            return 1.0
        plain = float(per_rollout(oracle.advantages_of(answer[0]), answer[0].mask)[-1])
        ratio = answer[1] / plain if plain else 1.0
        return ratio if ratio > 0.0 and abs(ratio - 1) > 0.01 else 1.0

    @staticmethod
    def _misfit(std: np.ndarray, seen: np.ndarray, eps: float, place: str) -> float:
        divisor = {
            "none": std,
            "added": std + eps,
            "clamped": np.maximum(std, eps),
            "variance": np.sqrt(std**2 + eps),
        }[place]
        return float(np.max(np.abs(seen / divisor - 1)))

    def _threshold(self, oracle: Oracle, silent: float) -> float:
        """The standard deviation up to which groups get zero, by bisection between two spreads."""
        batch = RolloutRows(np.ones((4, 3), bool), np.array([0.0, 0.0, 1.0, 1.0]), np.zeros(4, int))
        unit = silent / max(s for s in SPREADS if (a := self.at(s)) and a[1] == 0.0)
        low, high = silent / unit, min(s for s in SPREADS if (a := self.at(s)) and a[1] != 0.0)
        for _ in range(24):
            middle = float(np.sqrt(low * high))
            answer = self.at(middle)
            low, high = (middle, high) if answer and answer[1] == 0.0 else (low, middle)
        ddof = oracle.settings.get("ddof", 0)
        centred = batch.groups.deviations(batch.array("rewards"))
        std = float(np.sqrt(np.sum(centred**2) / (4 - ddof)))
        return nice(float(f"{high * std:.3e}"))
