"""The audit as text, and the list of prompts as a file."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gradvar.audit.estimators import RATES
from gradvar.audit.result import NOTHING_SUSPICIOUS, AuditFigures
from gradvar.audit.statistics import Step
from gradvar.files.harmless import harmless_cell, one_line
from gradvar.stats.intervals import Interval

SHOWN_STEPS = 12


def text(audit: AuditFigures) -> str:
    """Return the whole report, as it is printed."""
    parts = [
        _read(audit),
        _steps(audit),
        _histogram(audit),
        _sizes(audit),
        _estimators(audit),
        _written(audit),
        _findings(audit),
        _advice(audit),
    ]
    # Names of columns and files are others' text.
    return "\n\n".join("\n".join(map(one_line, lines)) for lines in map(list, parts) if lines)


def _read(audit: AuditFigures) -> Iterator[str]:
    o = audit.overall
    yield (
        f"{audit.rows:,} rollouts, {o.groups:,} groups of {o.group_size}, {o.prompts:,} prompts, "
        f"{len(audit.steps):,} step{'s' * (len(audit.steps) > 1)}; {audit.files} file{'s' * (audit.files > 1)}"
    )
    for layout, count in audit.layouts.items():
        yield f"read as {layout}{f' ({count} files)' if count > 1 else ''}"
    yield from audit.notes
    yield f"success: {audit.rule.note}"
    yield f"estimator: {audit.estimator} ({audit.source})"
    for name, count in audit.faults.incomplete.items():
        yield f"{count:,} rows have no usable '{name}'; their other figures count"
    if audit.faults.count:
        yield f"{audit.faults.count:,} malformed rows, left out; the first:"
        yield from (f"  {fault}" for fault in sorted(audit.faults.first, key=lambda f: (f.file, f.number)))


def _steps(audit: AuditFigures) -> Iterator[str]:
    yield "   step  groups      equal groups [95 %]    solved  no success   success rate [95 %]   mean reward"
    shown = audit.steps
    if len(shown) > SHOWN_STEPS:
        places = np.unique(np.linspace(0, len(shown) - 1, SHOWN_STEPS).astype(int))
        shown = tuple(shown[i] for i in places)
    if len(audit.steps) > 1:
        yield from map(_step, shown)
    yield _step(audit.overall)
    cut = (
        f"{len(shown)} of {len(audit.steps):,} steps shown, --json has all. "
        if len(shown) < len(audit.steps)
        else ""
    )
    yield f"({cut}95 % intervals, clustered by prompt: rollouts and groups of one prompt are not independent.)"


def _step(step: Step) -> str:
    name = "all" if step.step is None else str(step.step)
    return (
        f"{name:>7} {step.groups:>7,} {_percent(step.equal):>25} {100 * step.solved.value:>8.1f} "
        f"{100 * step.hopeless.value:>11.1f} {_percent(step.success):>21} {step.mean_reward:>13.4g}"
    )


def _percent(share: Interval) -> str:
    return f"{100 * share.value:.1f} [{100 * share.low:.1f}, {100 * share.high:.1f}]"


def _histogram(audit: AuditFigures) -> Iterator[str]:
    yield f"success rate        groups   share of groups       {audit.estimator}'s pull (rloo has 1)"
    for b in audit.bins:
        pull = f"{b.pull:.2f}" if np.isfinite(b.pull) else "-"
        bar = "#" * round(20 * b.share.value)
        yield f"{b.name:<17} {b.groups:>8,}   {_percent(b.share):<20}  {pull:>5}  {bar}".rstrip()


def _sizes(audit: AuditFigures) -> Iterator[str]:
    if len(audit.sizes) < 2:
        return
    yield "    G   groups with different rewards [95 %]   rollouts for equal variance within prompts (rloo)"
    for s in audit.sizes:
        share = _percent(s.informative) if np.isfinite(s.informative.value) else "- (more than recorded)"
        mark = "*" if s.group_size == audit.overall.group_size else " "
        yield f"{mark}{s.group_size:>4}   {share:>36}   {s.relative_cost:.2f}"


def _estimators(audit: AuditFigures) -> Iterator[str]:
    size, rates = audit.overall.group_size, (0.05, 0.5, 0.95)
    if size < 2:
        return
    heads = (
        "  ".join(f"p={r:g}".rjust(7) for r in rates) if audit.rule.binary else "(rewards have no two levels)"
    )
    yield f"estimator         w_G(p) at G={size}: {heads}   largest |A|   agreement with {audit.estimator}"
    for e in audit.estimators:
        weights = e.weights
        cells = (
            "  ".join(f"{weights[RATES.index(r)]:7.2f}" for r in rates) if weights else "-".rjust(len(heads))
        )
        yield f"{e.name:<17} {'':>{len(f'w_G(p) at G={size}:')}} {cells}   {e.largest:>11.3g}   {e.agreement:.3f}"
    a = audit.advantages
    middle, high = a.quantiles[0], a.quantiles[2]
    yield f"{a.estimator}: |A| is {middle:.3g} at the median, {high:.3g} at 99 %, {a.largest:.3g} at most"
    if a.beyond_three:
        for x in a.outliers[:3]:
            yield (
                f"  step {x.step}, prompt {x.prompt!r}: reward {x.reward:g} in a group of {x.group_size} gets "
                f"{x.advantage:.3g}"
            )


def _written(audit: AuditFigures) -> Iterator[str]:
    wrote = audit.written
    if wrote is None or not wrote.fits:
        return
    if wrote.formula:
        explained = f"{100 * wrote.fits[0].explained:.2f} % of rollouts"
        yield f"The advantages in the dump are those of '{wrote.formula}' ({explained})."
    yield "formula                      explains   rms error   factor   correlation"
    for f in wrote.fits[:4]:
        yield f"{f.formula:<27} {100 * f.explained:>8.1f} % {f.error:>10.2g} {f.factor:>9.3f} {f.correlation:>13.4f}"


def _findings(audit: AuditFigures) -> Iterator[str]:
    if audit.suspicions:
        yield "Suspicious:"
        yield from (f"- {f.sentence}" for f in audit.suspicions)
    else:
        yield NOTHING_SUSPICIOUS


def _advice(audit: AuditFigures) -> Iterator[str]:
    yield from audit.advice


def write_prompts(audit: AuditFigures, path: Path) -> None:
    """Every prompt as a CSV: prompt (or # and its hash), rollouts, successes, rate with Jeffreys' interval, class.

    A prompt that a spreadsheet would compute has an apostrophe before it.
    """
    table = audit.table
    rows = zip(
        table.prompt.tolist(),
        table.rollouts.tolist(),
        table.successes.tolist(),
        table.low.tolist(),
        table.high.tolist(),
        table.kinds.tolist(),
        strict=True,
    )
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("prompt", "rollouts", "successes", "rate", "low", "high", "class"))
        for prompt, n, won, low, high, kind in rows:
            label = harmless_cell(audit.labels[prompt])
            writer.writerow((label, n, won, f"{won / n:.6g}", f"{low:.6g}", f"{high:.6g}", kind))
