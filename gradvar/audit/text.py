"""The audit as text, and the list of prompts as a file."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gradvar.audit.cell_sums import KEPT_KEY
from gradvar.audit.estimators import RATES
from gradvar.audit.file_content import PROMPT_COLUMNS
from gradvar.audit.more_text import best_of_lines, larger_lines, mismatch_lines, part_lines, source_lines
from gradvar.audit.result import NOTHING_SUSPICIOUS, AuditFigures
from gradvar.audit.statistics import Step
from gradvar.files.harmless import harmless_cell, one_line
from gradvar.stats.intervals import Interval
from gradvar.stats.sheet import Column, Sheet, wrapped
from gradvar.stats.text import short_text

SHOWN_STEPS = 12
_HASH = re.compile("#[0-9a-f]{32}")


def text(audit: AuditFigures, width: int | None = None, *, wide: bool = False) -> str:
    """Return the whole report, findings before tables.

    Args:
        audit: What was found.
        width: Of a line; None for no limit.
        wide: Tables as wide as they are, whatever ``width``.
    """
    parts = [
        _read(audit),
        _findings(audit),
        _advice(audit),
        _steps(audit),
        _histogram(audit),
        _sizes(audit),
        larger_lines(audit),
        best_of_lines(audit),
        source_lines(audit),
        part_lines(audit),
        mismatch_lines(audit),
        _estimators(audit),
        _written(audit),
    ]
    blocks = []
    for part in parts:
        lines = [
            # names of columns and files are others' text
            line.render(width, wide=wide) if isinstance(line, Sheet) else wrapped(one_line(line), width)
            for line in part
        ]
        if lines:
            blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _read(audit: AuditFigures) -> Iterator[str]:
    o = audit.overall
    yield (
        f"{audit.rows:,} rollouts, {o.groups:,} groups of {o.group_size}, {o.prompts:,} prompts, "
        f"{len(audit.steps):,} step{'s' * (len(audit.steps) > 1)}; {audit.files} file{'s' * (audit.files > 1)}"
    )
    for layout, count in audit.layouts.items():
        yield f"read as {layout}{f' ({count} files)' if count > 1 else ''}"
    if audit.evidence:
        yield f"because: {'; '.join(audit.evidence)}"
    yield from audit.notes
    yield f"success: {audit.rule.note}"
    yield f"estimator: {audit.estimator} ({audit.source})"
    for name, count in audit.faults.incomplete.items():
        yield f"{count:,} rows have no usable '{name}'; their other figures count"
    if audit.faults.count:
        yield f"{audit.faults.count:,} malformed rows, left out; the first:"
        yield from (f"  {fault}" for fault in sorted(audit.faults.first, key=lambda f: (f.file, f.number)))


def _steps(audit: AuditFigures) -> Iterator[Sheet | str]:
    shown = audit.steps
    if len(shown) > SHOWN_STEPS:
        places = np.unique(np.linspace(0, len(shown) - 1, SHOWN_STEPS).astype(int))
        shown = tuple(shown[i] for i in places)
    rows = [*map(_step, shown if len(audit.steps) > 1 else ()), _step(audit.overall)]
    columns = (
        Column("step"), Column("groups", rank=3), Column("equal groups, % [95 %]"), Column("solved", rank=2),
        Column("no success", rank=1), Column("success rate, % [95 %]"), Column("mean reward", rank=4),
    )  # fmt: skip
    yield Sheet(columns, tuple(rows))
    cut = (
        f"{len(shown)} of {len(audit.steps):,} steps shown, --json has all. "
        if len(shown) < len(audit.steps)
        else ""
    )
    why = "rollouts and groups of one prompt are not independent"
    yield f"({cut}shares in %; 95 % intervals, clustered by prompt: {why}.)"


def _step(step: Step) -> tuple[str, ...]:
    return (
        "all" if step.step is None else str(step.step),
        f"{step.groups:,}",
        _percent(step.equal),
        f"{100 * step.solved.value:.1f}",
        f"{100 * step.hopeless.value:.1f}",
        _percent(step.success),
        short_text(step.mean_reward),
    )


def _percent(share: Interval) -> str:
    return f"{100 * share.value:.1f} [{100 * share.low:.1f}, {100 * share.high:.1f}]"


def _histogram(audit: AuditFigures) -> Iterator[Sheet]:
    rows = [
        (
            b.name,
            f"{b.groups:,}",
            _percent(b.share),
            f"{b.pull:.2f}" if np.isfinite(b.pull) else "-",
            "#" * round(20 * b.share.value),
        )
        for b in audit.bins
    ]
    pull = one_line(f"{audit.estimator}'s pull (rloo has 1)")
    columns = (
        Column("success rate", words=True), Column("groups"), Column("share of groups, % [95 %]"),
        Column(pull, rank=1), Column("", words=True, rank=2),
    )  # fmt: skip
    yield Sheet(columns, tuple(rows))


def _sizes(audit: AuditFigures) -> Iterator[Sheet]:
    if len(audit.sizes) < 2:
        return
    rows = []
    for s in audit.sizes:
        share = _percent(s.informative) if np.isfinite(s.informative.value) else "- (more than recorded)"
        mark = "*" if s.group_size == audit.overall.group_size else ""
        rows.append((f"{mark}{s.group_size}", share, f"{s.relative_cost:.2f}"))
    names = (
        "G", "groups with different rewards, % [95 %]", "rollouts for equal variance within prompts (rloo)",
    )  # fmt: skip
    yield Sheet(tuple(map(Column, names)), tuple(rows))


def _estimators(audit: AuditFigures) -> Iterator[Sheet | str]:
    size, rates = audit.overall.group_size, (0.05, 0.5, 0.95)
    if size < 2:
        return
    rows = []
    for e in audit.estimators:
        cells = [f"{e.weights[RATES.index(r)]:.2f}" for r in rates] if e.weights else ["-"] * len(rates)
        rows.append(
            (e.name, *cells, f"{e.largest:.3g}", f"{e.agreement:.3f}" if np.isfinite(e.agreement) else "-")
        )
    columns = (
        Column("estimator", words=True), *(Column(f"p={r:g}") for r in rates), Column("largest |A|", rank=1),
        Column(one_line(f"agreement with {audit.estimator}"), rank=2),
    )  # fmt: skip
    rule = "" if audit.rule.binary else " (rewards have no two levels)"
    yield Sheet(columns, tuple(rows), f"w_G(p), the weight on a prompt, at G={size}{rule}")
    a = audit.advantages
    middle, high = a.quantiles[0], a.quantiles[2]
    yield f"{a.estimator}: |A| is {middle:.3g} at the median, {high:.3g} at 99 %, {a.largest:.3g} at most"
    if a.beyond_three:
        for x in a.outliers[:3]:
            yield (
                f"  step {x.step}, prompt {x.prompt!r}: reward {x.reward:g} in a group of {x.group_size} gets "
                f"{x.advantage:.3g}"
            )


def _written(audit: AuditFigures) -> Iterator[Sheet | str]:
    wrote = audit.written
    if wrote is None or not wrote.fits:
        return
    if wrote.formula:
        explained = f"{100 * wrote.fits[0].explained:.2f} % of rollouts"
        yield f"The advantages in the dump are those of '{wrote.formula}' ({explained})."
    rows = [
        (f.formula, f"{100 * f.explained:.1f} %", f"{f.error:.2g}", f"{f.factor:.3f}", f"{f.correlation:.4f}")
        for f in wrote.fits[:4]
    ]
    names = ("explains", "rms error", "factor", "correlation")
    yield Sheet((Column("formula", words=True), *map(Column, names)), tuple(rows))


def _findings(audit: AuditFigures) -> Iterator[str]:
    if audit.suspicions:
        yield "Suspicious:"
        yield from (f"- {f.sentence}" for f in audit.suspicions)
    else:
        yield NOTHING_SUSPICIOUS


def _advice(audit: AuditFigures) -> Iterator[str]:
    yield from audit.advice


def write_prompts(audit: AuditFigures, path: Path, between: tuple[float, float] = (0.0, 1.0)) -> None:
    """Every prompt with a success rate between two as a CSV, so that a person finds it again.

    Columns: prompt (its identity, or the beginning of a long one), rollouts, successes, rate with Jeffreys' interval,
    class, and the file, the place in it and the beginning of the text where it stands first. Text that a spreadsheet
    would compute has an apostrophe before it.
    """
    table = audit.table
    rates = table.successes / table.rollouts
    rows = zip(
        table.prompt.tolist(),
        table.rollouts.tolist(),
        table.successes.tolist(),
        table.low.tolist(),
        table.high.tolist(),
        table.kinds.tolist(),
        ((rates >= between[0]) & (rates <= between[1])).tolist(),
        strict=True,
    )
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(PROMPT_COLUMNS)
        for prompt, n, won, low, high, kind, wanted in rows:
            if not wanted:
                continue
            origin = audit.origins[prompt]
            label = audit.labels[prompt]
            name = origin.text if len(label) > KEPT_KEY or _HASH.fullmatch(label) else label
            origin_cells = map(harmless_cell, (origin.source, origin.file, origin.place, origin.text))
            figures = (n, won, f"{won / n:.6g}", f"{low:.6g}", f"{high:.6g}", kind)
            writer.writerow((harmless_cell(name), *figures, *origin_cells))
