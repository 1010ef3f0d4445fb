"""The parts of a reward apart: moments by step, added up file by file, and what they ask about.

For every pair of columns the count, the means and the centred sums of squares and products are kept, and merged by
Chan's formula, so that no rollout is held in memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations_with_replacement

import numpy as np

TOTAL, LENGTH = "the reward", "the length"
FIELDS = ("count", "avgx", "avgy", "sxx", "syy", "sxy")


def moments_sql(names: Sequence[str]) -> str:
    """The aggregates of every pair of these expressions: rows in which one is missing do not count for the pair."""
    terms = [f"min({x}) AS low_{i}, max({x}) AS high_{i}" for i, x in enumerate(names)]
    for i, j in combinations_with_replacement(range(len(names)), 2):
        terms += [f"regr_{field}({names[j]}, {names[i]}) AS {field}_{i}_{j}" for field in FIELDS]
    return ", ".join(terms)


@dataclass
class PartSums:
    """Moments by the names of columns and by step: ``pairs`` [step] of (count, mean x, mean y, sxx, syy, sxy)."""

    pairs: dict[tuple[str, str], dict[int, np.ndarray]] = field(default_factory=dict)
    ends: dict[str, tuple[float, float]] = field(default_factory=dict)

    def add(self, names: Sequence[str], columns: Mapping[str, np.ndarray]) -> None:
        """Add what ``parts.sql`` found for columns of these names."""
        table: dict[str, np.ndarray] = {
            name: np.ma.filled(np.ma.asarray(x, float), np.nan) for name, x in columns.items()
        }
        for i, name in enumerate(names):
            low, high = np.nanmin([np.inf, *table[f"low_{i}"]]), np.nanmax([-np.inf, *table[f"high_{i}"]])
            least, largest = self.ends.get(name, (np.inf, -np.inf))
            self.ends[name] = min(least, float(low)), max(largest, float(high))
        for i, j in combinations_with_replacement(range(len(names)), 2):
            by_step = self.pairs.setdefault((names[i], names[j]), {})
            rows = np.stack([table[f"{f}_{i}_{j}"] for f in FIELDS], axis=1)  # [step, field]
            for step, row in zip(np.asarray(columns["step"]).tolist(), np.nan_to_num(rows), strict=True):
                by_step[step] = merged(by_step[step], row) if step in by_step else row

    def over_steps(self, first: str, second: str) -> np.ndarray:
        """The moments of a pair over all steps."""
        rows = list(self.pairs[first, second].values())
        total = np.zeros(len(FIELDS))
        for row in rows:
            total = merged(total, row)
        return total


def merged(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The moments of two disjoint samples together (Chan, Golub and LeVeque 1979)."""
    n, m = first[0], second[0]
    if n == 0 or m == 0:
        return second if n == 0 else first
    apart = second[1:3] - first[1:3]
    weight = n * m / (n + m)
    mean = first[1:3] + apart * m / (n + m)
    squares = first[3:] + second[3:] + weight * np.array([apart[0] ** 2, apart[1] ** 2, apart[0] * apart[1]])
    return np.array([n + m, *mean, *squares])


@dataclass(frozen=True)
class PartFigures:
    """A part: ``mean`` and ``deviation`` over rollouts, its ends, its ``correlation`` with the reward, its ``share`` of
    the reward's variance (covariance over variance), and means in the first and the last quarter of the steps."""

    name: str
    count: int
    mean: float
    deviation: float
    low: float
    high: float
    correlation: float
    share: float
    early: float
    late: float


@dataclass(frozen=True)
class Parts:
    """Every part, correlations of parts with each other, and questions that the figures raise."""

    figures: tuple[PartFigures, ...] = ()
    correlations: tuple[tuple[str, str, float], ...] = ()
    questions: tuple[str, ...] = ()


def parts(sums: PartSums) -> Parts:
    """The figures of the parts, and what to ask about them; empty without parts."""
    names = [n for n in sums.ends if n not in (TOTAL, LENGTH)]
    if not names:
        return Parts()
    shown = [*names, *(n for n in (LENGTH,) if n in sums.ends)]
    figures = tuple(_figures(sums, name) for name in shown)
    correlations = tuple(
        (a, b, _correlation(sums.over_steps(a, b))) for (a, b) in sums.pairs if a != b and TOTAL not in (a, b)
    )
    known = tuple(c for c in correlations if np.isfinite(c[2]))
    return Parts(figures, known, tuple(_questions(sums, figures, known)))


def _correlation(row: np.ndarray) -> float:
    scale = (row[3] * row[4]) ** 0.5
    return float(row[5] / scale) if scale > 0 else np.nan


def _quarters(sums: PartSums, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The moments of a column in the first and in the last quarter of the steps, at least one each."""
    by_step = sums.pairs[name, name]
    steps = sorted(by_step)
    quarter = max(len(steps) // 4, 1)
    ends = []
    for chosen in (steps[:quarter], steps[-quarter:]):
        total = np.zeros(len(FIELDS))
        for step in chosen:
            total = merged(total, by_step[step])
        ends.append(total)
    return ends[0], ends[1]


def _figures(sums: PartSums, name: str) -> PartFigures:
    own, beside = sums.over_steps(name, name), sums.over_steps(TOTAL, name)
    early, late = _quarters(sums, name)
    spread = beside[3]
    return PartFigures(
        name,
        int(own[0]),
        float(own[1]),
        float((own[3] / max(own[0] - 1, 1)) ** 0.5),
        *sums.ends[name],
        _correlation(beside),
        float(beside[5] / spread) if spread > 0 else np.nan,
        float(early[1]),
        float(late[1]),
    )


def _questions(
    sums: PartSums, figures: Sequence[PartFigures], correlations: Sequence[tuple[str, str, float]]
) -> list[str]:
    questions = []
    several = len([f for f in figures if f.name != LENGTH]) > 1
    for f in figures:
        width = f.high - f.low
        if f.name == LENGTH:
            if abs(f.correlation) > 0.5:
                questions.append(
                    f"The reward goes with the length (correlation {f.correlation:.2f}): is it meant to?"
                )
            continue
        if width > 0 and (f.late - f.low) / width > 0.98:
            questions.append(
                f"'{f.name}' is at {f.late:.3g} of at most {f.high:.3g}: saturated; does it still teach?"
            )
        if width == 0:
            questions.append(f"'{f.name}' is {f.low:g} in every rollout: what is it for?")
        if several and f.share > 0.9:
            questions.append(
                f"'{f.name}' makes {100 * f.share:.0f} % of the reward's variance: is it meant to?"
            )
        if f.correlation < -0.2:
            questions.append(
                f"'{f.name}' falls where the reward rises (correlation {f.correlation:.2f}): is it traded?"
            )
        early, late = _quarters(sums, f.name)
        variances = [row[3] / max(row[0] - 1, 1) for row in (early, late)]
        if len(sums.pairs[f.name, f.name]) > 3 and variances[0] > 0 and variances[1] < 0.1 * variances[0]:
            questions.append(
                f"The variance of '{f.name}' falls to {100 * variances[1] / variances[0]:.0f} % of what it was: has it "
                "collapsed to one behaviour?"
            )
    for first, second, r in correlations:
        if abs(r) > 0.95 and LENGTH not in (first, second):
            questions.append(f"'{first}' and '{second}' have a correlation of {r:.2f}: are both needed?")
    return questions
