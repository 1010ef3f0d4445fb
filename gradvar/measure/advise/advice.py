"""What ``advise`` answers from recorded scores: a curve over group sizes, the optimum, a split, and sentences."""

from dataclasses import asdict, dataclass
from typing import Any

from gradvar.measure.advise.allocation import Split
from gradvar.stats.intervals import Interval
from gradvar.stats.sheet import Column, Sheet
from gradvar.stats.text import short_text


@dataclass(frozen=True)
class Point:
    """One group size.

    ``cost``: of reaching the variance that the best group size reaches at cost 1, with its interval, which holds for
    all pairs of sizes at once; ``per_rollout``, ``per_token``, ``per_cost``: signal / (tr Cov
    times that many of them), what one of them buys; ``informative``: the share of groups with different rewards.
    """

    group_size: int
    variance: Interval
    cost: Interval
    per_rollout: float
    per_token: float
    per_cost: float
    informative: float


@dataclass(frozen=True)
class Advice:
    """Advice from recorded scores.

    ``best``: the best of the group sizes asked for, None where nothing can be said; ``optimum``: G* over all, with its
    interval (its upper end is infinite where no spread between prompts can be distinguished from zero). ``regret``: the
    most that the best may cost, as a multiple of another of these sizes, at the level asked for. ``sentences``: the
    same in words.
    """

    best: int | None
    optimum: Interval
    curve: tuple[Point, ...]
    splits: tuple[Split, ...]
    on_policy: bool
    prompts: int
    rollouts: int
    regret: float
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    def sheet(self) -> Sheet:
        """Return the curve as a table: what every group size costs for equal variance."""
        rows = []
        for point in self.curve if self.best is not None else ():
            cost, informative = point.cost, point.informative
            share = f"{100 * informative:.0f} %" if informative == informative else "-"
            ends = (
                f"{cost.value:.2f} [{cost.low:.2f}, {cost.high:.2f}]"
                if cost.known
                else f"{short_text(cost.value)} ±?"
            )
            smallest = point.group_size == self.best
            rows.append((f"{'*' * smallest}{point.group_size}", "1" if smallest else ends, share))
        names = ("G", "cost of equal variance", "informative groups")
        note = ("* the smallest estimate",) * bool(rows)
        return Sheet(tuple(map(Column, names)), tuple(rows), notes=note)

    def as_json(self) -> dict[str, Any]:
        """Return the findings and figures as plain values, for a file."""
        figures = asdict(self)
        for split in figures["splits"]:
            split["sizes"] = split["sizes"].tolist()
        return {"kind": "advice", "findings": list(figures.pop("sentences")), **figures}
