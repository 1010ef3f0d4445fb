"""``compare_estimators``: the progress that advantages buy at every group size, by the four-number law.

A step along ghat on a smooth objective gains, at the best step size, (grad J . E ghat)^2 / (2 L E||ghat||^2). Where
noise dominates that is proportional to the number of batches times

    useful signal = (grad J . E ghat)^2 / (||grad J||^2 tr Cov ghat) = snr cosine^2,

so a scheme that weights prompts unevenly is credited with its variance and charged for the direction it loses.
Everything comes from the numbers of each prompt (``Summary``), under the law's hypotheses: binary rewards, on policy,
no clipping in force, token sums per rollout. All settings are evaluated on the same prompts, so comparisons between
them are paired. The best of them is chosen by the same numbers, so intervals hold for all pairs of settings at once, as
in ``advise``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from gradvar.core.checks import at_least
from gradvar.measure.advise.costs import Costs, level_of_pairs
from gradvar.measure.bank.summary import Summary, across, mean_over
from gradvar.measure.exact.closed_forms import Advantage
from gradvar.stats.effective import effective_number, warning
from gradvar.stats.figures import jackknife_interval, ratio_interval, varies
from gradvar.stats.intervals import Interval
from gradvar.stats.power import prompts_for_ratio, prompts_words
from gradvar.stats.sheet import Column, Sheet

if TYPE_CHECKING:
    from gradvar.measure.bank.bank import ScoreBank

_NO_PROGRESS = "none climbs grad J by more than the noise of these prompts"


@dataclass(frozen=True)
class RankedEstimator:
    """One scheme at one group size.

    ``weights``: the least and the largest factor that it puts on the gradient of a prompt with a mixed record,
    relative to their mean over such prompts (1 and 1: none is favoured). ``cosine``: of its expected update with
    grad J. ``cost``: of the useful signal that the best setting buys at cost 1.
    """

    scheme: str
    group_size: int
    weights: tuple[float, float]
    cosine: Interval
    cost: Interval


@dataclass(frozen=True)
class EstimatorRanking:
    """Every setting that was asked for, the cheapest first.

    ``prompts``: how many there were; ``level``: of the costs' intervals, one by one.
    """

    settings: tuple[RankedEstimator, ...]
    prompts: int = 0
    level: float = 0.95

    @property
    def best(self) -> RankedEstimator:
        """The setting that buys the most useful signal for its cost."""
        return self.settings[0]

    def of(self, scheme: str) -> RankedEstimator:
        """The scheme at its best group size."""
        return next(c for c in self.settings if c.scheme == scheme)

    def __str__(self) -> str:
        return "\n".join([*self.findings(), "", self.sheet().render()])

    def sheet(self) -> Sheet:
        """Return the table: each scheme at its best group size, the cheapest first."""
        rows = []
        for name in dict.fromkeys(c.scheme for c in self.settings):
            c = self.of(name)
            cost = "1" if c is self.best else f"{c.cost.value:.2f} [{c.cost.low:.2f}, {c.cost.high:.2f}]"
            if not c.cost.known:
                cost = f"{c.cost.value:.2f} ±?" if np.isfinite(c.cost.value) else "n/a"
            weights = "{:.2f} to {:.2f}".format(*c.weights) if np.isfinite(c.weights).all() else "n/a"
            cosine = f"{c.cosine.value:.3f}" if np.isfinite(c.cosine.value) else "n/a"
            rows.append((name, f"{c.group_size}", weights, cosine, cost))
        reasons = dict.fromkeys(c.cost.reason for c in self.settings if not c.cost.known)
        names = ("best G", "weight on prompts", "cosine", "cost of equal progress")
        columns = (Column("estimator", words=True), *map(Column, names))
        return Sheet(
            columns, tuple(rows), notes=tuple(f"±? no interval: {reason}" for reason in reasons if reason)
        )

    def findings(self) -> list[str]:
        """Return which setting buys the most progress for its cost, or that this cannot be told, in sentences."""
        if not np.isfinite(self.best.cost.value):
            return [f"Which estimator makes the most progress for its cost cannot be told: {_NO_PROGRESS}."]
        # A scheme that differs by a constant factor only, as the group mean from leave-one-out, is no rival.
        rivals = [
            c
            for c in self.settings
            if c.scheme != self.best.scheme and not c.cost.se <= 1e-9 and np.isfinite(c.cost.value)
        ]
        if not rivals:
            return []
        rival, best = rivals[0], f"{self.best.scheme} at G={self.best.group_size}"
        interval = rival.cost.words()
        if rival.cost.known:
            low, high = rival.cost.low, rival.cost.high
            interval = f"95 % interval {low:.2f} to {high:.2f} for all pairs of settings at once"
        needs = f"{rival.scheme} at its best (G={rival.group_size}) needs {rival.cost.value:.2f}x as much ({interval})"
        if all(c.cost.known and c.cost.low > 1 for c in rivals):
            sentences = [f"Most progress for its cost: {best}. {needs}."]
        else:
            enough = prompts_words(prompts_for_ratio(rival.cost, self.prompts, self.level))
            sentences = [
                f"Which estimator makes the most progress for its cost cannot be told; {best} has the lowest estimate, "
                f"and {needs}{'; ' * bool(enough)}{enough}."
            ]
        if caution := warning(self.best.cosine.effective):
            sentences.append(f"Of these intervals: {caution}.")
        return sentences

    def as_json(self) -> list[dict[str, Any]]:
        """Return the settings and their figures as plain values, in the order of the ranking."""
        return [asdict(c) for c in self.settings]


def compare_estimators(
    source: ScoreBank | Summary,
    schemes: Mapping[str, Advantage],
    group_sizes: Sequence[int],
    cost_per_prompt: float = 0.0,
    cost_per_rollout: float = 1.0,
    *,
    cost_per_update: float = 0.0,
    least: Mapping[str, int] | None = None,
    level: float = 0.95,
) -> EstimatorRanking:
    """Compare schemes of advantages at several group sizes on recorded prompts, at costs in any one unit.

    Prompts without a success, or without a failure, among their recorded rollouts are taken at p = 0 or 1.

    Args:
        source: a bank on policy, or its summary.
        schemes: advantages by name: rewards [1, G] to advantages [1, G], equal for equal rewards of a group.
        group_sizes: the sizes at which they are compared.
        cost_per_prompt: of a prompt (prefill).
        cost_per_rollout: of a rollout (generation).
        cost_per_update: of a rollout's update (backward pass).
        least: the smallest group of a scheme that needs more than 2.
        level: share of intervals that shall hold the true value.

    Raises:
        ValueError: where rewards are not binary, fewer than 4 prompts were recorded, or no scheme fits any size.
    """
    summary = source if isinstance(source, Summary) else source.summary()
    at_least("prompts", len(summary.p), 4)
    costs = Costs(cost_per_prompt, cost_per_rollout, cost_per_update)
    mixed = (summary.p > 0) & (summary.p < 1)
    if not mixed.any():
        raise ValueError("rewards: every prompt's are all equal; no group estimator has a gradient here")
    rows = []
    for name, scheme in schemes.items():
        for size in sorted({int(g) for g in group_sizes}):
            if size < (least or {}).get(name, 2):
                continue
            law = summary.forecast(by_successes(scheme), size)
            cosine, useful = _progress(law.weight, law.spread, summary.gradients)
            scale = law.weight[mixed].mean() or np.nan  # a scheme may put no weight on any
            bounds = float((law.weight[mixed] / scale).min()), float((law.weight[mixed] / scale).max())
            carried = float(effective_number(law.weight**2 * np.diag(summary.gradients) + law.spread))
            rows.append((name, size, bounds, cosine, (useful / costs.group(size), carried)))
    if not rows:
        raise ValueError(
            f"group_sizes: {tuple(group_sizes)} are below the least of every estimator; give larger ones"
        )
    # A setting that does not climb grad J at all comes last.
    rows.sort(key=lambda row: -row[4][0][0] if np.isfinite(row[4][0][0]) else np.inf)
    best, together = rows[0][4], level_of_pairs(level, len(rows))
    tied = varies(summary.p)  # with one success rate all schemes look alike, which is luck and not algebra
    return EstimatorRanking(
        tuple(
            RankedEstimator(
                name,
                size,
                weights,
                jackknife_interval(float(cosine[0]), cosine[1:], level, effective=gain[1], by_identity=tied),
                _ratio(best, gain, together, tied),
            )
            for name, size, weights, cosine, gain in rows
        ),
        len(summary.p),
        together,
    )


def by_successes(scheme: Advantage) -> Advantage:
    """Return a scheme that is called once for each number of successes, whatever the number of prompts."""
    known: dict[int, np.ndarray] = {}

    def remembered(rewards: np.ndarray) -> np.ndarray:
        successes = int(rewards.sum())
        if successes not in known:
            known[successes] = np.asarray(scheme(rewards), float)
        return known[successes]

    return remembered


def _progress(
    weight: Float[np.ndarray, " prompt"],
    within: Float[np.ndarray, " prompt"],
    gradients: Float[np.ndarray, "prompt prompt"],
) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and useful signal, [1 + Q] each: over all prompts, then with each prompt left out."""
    signal, truth, aligned = across(gradients, weight, weight), across(gradients), across(gradients, weight)
    variance = mean_over(weight**2 * np.diag(gradients)) - signal + mean_over(within)
    with np.errstate(divide="ignore", invalid="ignore"):
        return aligned / np.sqrt(signal * truth), np.maximum(aligned, 0) ** 2 / (truth * variance)


def _ratio(
    best: tuple[np.ndarray, float], other: tuple[np.ndarray, float], level: float, tied: bool
) -> Interval:
    """Cost of one setting over another's, paired, on the log scale; each comes with its effective prompts."""
    if not best[0][0] > 0:
        return Interval(np.nan, np.nan, np.nan, effective=other[1], reason=_NO_PROGRESS)
    if other is best:
        return Interval(1.0, 1.0, 1.0, 0.0, len(best[0]) - 2, best[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = best[0] / other[0]
    return ratio_interval(float(ratio[0]), ratio[1:], level, min(best[1], other[1]), tied)
