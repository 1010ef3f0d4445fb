"""The study in the terminal: one table for each policy and staleness."""

import math
from collections.abc import Iterator

from rich.table import Table

from gradvar.core.moments import Moments
from gradvar.stats.effective import ENOUGH
from gradvar.studies.findings import drops_groups
from gradvar.studies.rows import panel
from gradvar.studies.study import Measurement, Study

COLUMNS = {
    "bias_factor": "bias factor",
    "cosine": "cosine",
    "trace_cov": "tr Cov",
    "between": "between prompts",
    "snr_per_rollout": "SNR per rollout",
}


def tables(study: Study) -> Iterator[Table]:
    """Rich tables; a figure that was sampled has its standard error behind it."""
    for policy in study.config.policies:
        for steps in study.config.staleness:
            results = study.select(policy=policy, staleness=steps)
            yield _table(study, policy, steps, results)


def _table(study: Study, policy: str, steps: int, results: list[Measurement]) -> Table:
    age = panel({"sampler": study.config.sampler, "staleness": steps})
    rate = study.success[f"{policy}, {results[0].task}"]
    table = Table(
        title=f"{policy} on {results[0].task} (mean reward {rate:.2f}), {age}",
        title_justify="left",
        caption=_caution(results),
        caption_justify="left",
        pad_edge=False,
    )
    table.add_column("estimator")
    if any(r.clip is not None for r in results):
        table.add_column("clip", justify="right")
    for name in ("G", "prompts", *COLUMNS.values(), "by"):
        table.add_column(name, justify="right")
    for name in dict.fromkeys(r.moments.estimator for r in results):
        for clip in dict.fromkeys(r.clip for r in results if r.moments.estimator == name):
            for index, result in enumerate(
                r for r in results if (r.moments.estimator, r.clip) == (name, clip)
            ):
                table.add_row(*_cells(result, len(table.columns) > 9, index == 0))
        table.add_section()
    return table


def _cells(result: Measurement, with_clip: bool, first: bool) -> list[str]:
    m = result.moments
    clip = ["" if result.clip is None or not first else f"{result.clip:g}"] if with_clip else []
    shown = [_figure(m, name) for name in COLUMNS]
    return [m.estimator if first else "", *clip, str(m.group_size), str(m.prompts), *shown, result.route]


def _figure(moments: Moments, name: str) -> str:
    value = float(getattr(moments, name))
    if math.isnan(value):
        return "n/a"
    estimate = moments.estimate(name)
    if not estimate.known:
        return f"{value:.4g} ±?"
    low, high = estimate.low, estimate.high
    # a cosine's interval ends at one, and the longer side says how well it is known
    half = max(value - low, high - value) if name == "cosine" else (high - low) / 2
    if half <= 1e-6 * abs(value):  # exact, or equal to the reference but for rounding
        return f"{value:.4g}"
    mark = "*" if estimate.note else ""
    places = max(0, 1 - math.floor(math.log10(half)))
    if places > 6 or abs(value) >= 1e5:
        return f"{value:.2e} ±{half:.0e}{mark}"
    return f"{value:.{places}f} ±{half:.{places}f}{mark}"


def _caution(results: list[Measurement]) -> str | None:
    """What the marks of a table mean, where it has any."""
    estimates = [r.moments.estimate(name) for r in results for name in COLUMNS]
    estimates = [e for e in estimates if e.note and not math.isnan(e.value)]
    lines = []
    if any(e.known for e in estimates):
        lines.append(
            f"* fewer than {ENOUGH} effective blocks carry the figure: its interval may be too narrow"
        )
    reasons = dict.fromkeys(e.reason for e in estimates if not e.known)
    if reasons:
        lines.append(f"±? no interval: {'; '.join(list(reasons)[:3])}")
    names = dict.fromkeys(r.moments.estimator for r in results)
    lines += [
        f"{name}: groups of equal rewards dropped, no others drawn" for name in names if drops_groups(name)
    ]
    return "\n".join(lines) or None
