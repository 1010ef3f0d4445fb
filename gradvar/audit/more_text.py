"""The sections of the report that only some dumps have: best of k, larger groups, sources, parts, the engine."""

from collections.abc import Iterator, Sequence

import numpy as np

from gradvar.audit.result import AuditFigures
from gradvar.audit.reward_parts import LENGTH
from gradvar.files.harmless import one_line
from gradvar.stats.intervals import Interval
from gradvar.stats.sheet import Column, Sheet

MOST = 12  # lines of a table


def _sheet(names: Sequence[str], rows: Sequence[tuple[str, ...]], *, named: bool = False) -> Sheet:
    columns = [Column(name) for name in names]
    if named:
        columns[0] = Column(names[0], words=True)
    # names of columns and data sources are others' text
    return Sheet(tuple(columns), tuple((one_line(row[0], 60), *row[1:]) for row in rows))


def _percent(share: Interval) -> str:
    if not share.known:
        return f"{100 * share.value:.1f} (no interval)"
    return f"{100 * share.value:.1f} [{100 * share.low:.1f}, {100 * share.high:.1f}]"


def best_of_lines(audit: AuditFigures) -> Iterator[Sheet]:
    """pass@k, and max@k where rewards have more than two levels."""
    if len(audit.best_of) < 2:
        return
    names: tuple[str, ...] = ("k", "pass@k, % [95 %]")
    rows: list[tuple[str, ...]] = []
    for point in audit.best_of:
        x = point.largest
        ends = f"[{x.low:.4g}, {x.high:.4g}]" if x.known else "(no interval)"
        rows.append((str(point.k), _percent(point.passing), f"{x.value:.4g} {ends}"))
    if audit.rule.binary:
        rows = [row[:2] for row in rows]
    else:
        names = (*names, "max@k [95 %]")
    yield _sheet(names, rows)


def larger_lines(audit: AuditFigures) -> Iterator[str]:
    """Informative groups at sizes that were not recorded."""
    for size, share in audit.larger:
        if share.known:
            ends = f"{100 * share.low:.1f} to {100 * share.high:.1f} %"
            yield (
                f"In groups of {size}: {ends} with different rewards, whatever the success rates of prompts are "
                f"(95 %); {100 * share.value:.1f} % if they follow a Beta distribution."
            )


def source_lines(audit: AuditFigures) -> Iterator[Sheet | str]:
    """The figures of every data source, those of most groups first."""
    if not audit.sources:
        return
    order = sorted(audit.sources.items(), key=lambda pair: -pair[1].groups)
    rows = [
        (name or "(none)", f"{x.groups:,}", _percent(x.equal), _percent(x.success), f"{x.mean_reward:.4g}")
        for name, x in order[:MOST]
    ]
    names = ("source", "groups", "equal groups, % [95 %]", "success rate, % [95 %]", "mean reward")
    yield _sheet(names, rows, named=True)
    if len(order) > MOST:
        yield f"({MOST} of {len(order)} sources shown; --json has all)"


def part_lines(audit: AuditFigures) -> Iterator[Sheet | str]:
    """The parts of the reward, how they go together, and what to ask."""
    if not audit.parts.figures:
        return
    rows = []
    for f in audit.parts.figures:
        correlation = f"{f.correlation:.2f}" if np.isfinite(f.correlation) else "-"
        share = f"{100 * f.share:.0f}" if np.isfinite(f.share) and f.name != LENGTH else "-"
        figures = [f"{x:.4g}" for x in (f.mean, f.deviation, f.low, f.high)]
        rows.append((f.name, *figures, correlation, share, f"{f.early:.3g}", f"{f.late:.3g}"))
    names = (
        "part of the reward", "mean", "deviation", "least", "greatest", "correlation", "% of variance", "first steps",
        "last steps",
    )  # fmt: skip
    yield _sheet(names, rows, named=True)
    pairs = sorted(audit.parts.correlations, key=lambda c: -abs(c[2]))[:MOST]
    if pairs:
        yield "correlations: " + "; ".join(f"{a} and {b} {r:.2f}" for a, b, r in pairs)
    yield from (f"? {question}" for question in audit.parts.questions)


def mismatch_lines(audit: AuditFigures) -> Iterator[Sheet | str]:
    """The engine against the trainer, and what each correction would do to these rollouts."""
    m = audit.mismatch
    if m is None:
        return
    yield (
        f"engine against trainer: {m.divergence:.3g} nats per token (standard error {m.se:.2g}), at most "
        f"{m.largest:.3g} at one token; {m.rollouts:,} rollouts, {m.tokens:,} tokens"
    )
    rows = [
        (c.name, f"{100 * c.effective:.1f}", f"{100 * c.changed:.2f}", f"{c.mean:.4f}") for c in m.corrections
    ]
    yield _sheet(("correction", "effective, %", "changed, %", "mean weight"), rows, named=True)
    if m.unlike:
        yield f"{m.unlike:,} rollouts have no two lists of one length and are left out here"
