"""A measurement as a section of the report: its findings, a figure for each quantity, and the table of settings."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gradvar import catalogue, plot
from gradvar.report.html import Picture, Table
from gradvar.report.page import Section, provenance_texts, stated_findings
from gradvar.report.svg import drawn
from gradvar.stats.intervals import Interval
from gradvar.studies.findings import findings, listed
from gradvar.studies.rows import has_interval, number, panels, tidy

Rows = Sequence[dict[str, Any]]
FIGURES: Mapping[str, str] = {
    "bias_factor": "bias factor",
    "cosine": "cosine with ∇J",
    "trace_cov": "tr Cov",
    "between": "between prompts",
    "within": "within groups",
    "snr_per_rollout": "SNR per rollout",
}
_LARGEST_WEIGHTED_GROUP = 32  # beyond, the exact weight of a prompt takes too long for a page
_MOST_CURVES = 6


def measurement(content: Mapping[str, Any]) -> Section:
    """Set the result of ``gradvar measure``, or rows of a score bank's evaluation, which come without findings."""
    rows = tidy(content)
    places = panels(rows)
    names = list(dict.fromkeys(str(r["estimator"]) for r in rows))
    sizes = sorted({int(r["group_size"]) for r in rows})
    return Section(
        title=f"{len(names)} estimator{'s' * (len(names) > 1)} at group size{'s' * (len(sizes) > 1)} "
        f"{listed(sizes)}, measured",
        kind="Measurement",
        findings=stated_findings(content) or findings(rows),
        figures=[
            *(picture for place, group in places.items() for picture in _measured(group, place)),
            *_prompt_weights(names, sizes[-1]),
        ],
        tables=[_settings_table(places)],
        provenance=provenance_texts(content.get("provenance") or {}),
        estimators=names,
    )


def _measured(rows: Rows, place: str) -> list[Picture]:
    """The figures of one policy, task and staleness."""
    drawings = {
        "trace_cov": (plot.variance, "Variance of the batch gradient against group size"),
        "snr_per_rollout": (plot.snr, "What one rollout buys against group size"),
        "bias_factor": (plot.bias, "Bias factor against group size"),
        "between": (plot.split, "How the variance splits between prompts and within groups"),
    }
    measured = {r["figure"] for r in rows}
    exact = all(r["high"] == r["low"] for r in rows)
    unknown = "" if has_interval(rows).all() else "; hollow points have no interval"
    note = f"{place}; exact, so there are no intervals." if exact else f"{place}{unknown}."
    if len({r["group_size"] for r in rows}) > 1:
        return [
            drawn(draw, rows, caption=f"{words}, {note}")
            for name, (draw, words) in drawings.items()
            if name in measured
        ]
    return [
        drawn(plot.compare, rows, name, caption=f"{FIGURES[name]}, {note}")
        for name in drawings
        if name in measured and name != "between"
    ]


def _prompt_weights(names: Sequence[str], size: int) -> list[Picture]:
    """The weight on prompts of the catalogue's estimators: nothing of the file's, but what its names mean."""
    entries = [catalogue.describe(name) for name in names if name in catalogue.names()]
    chosen = [entry.name for entry in entries if not entry.needs and entry.min_group <= size]
    if not chosen or size > _LARGEST_WEIGHTED_GROUP:
        return []
    words = (
        f"Weight that a prompt gets by its success rate, at G = {size}; exact, of one prompt, on policy, with the "
        "estimators' own settings."
    )
    return [drawn(plot.prompt_weight, chosen[:_MOST_CURVES], size, caption=words)]


def _estimate(row: Mapping[str, Any]) -> Interval:
    """A row's figure with its interval, or with the reason why it has none."""
    figure = Interval(row["value"], row["low"], row["high"], effective=number(row.get("effective")))
    return figure if figure.known else figure.without(str(row.get("note") or "none was given"))


def _is_narrow(cells: Iterable[Mapping[str, Interval]]) -> bool:
    """Return True if some interval rests on few effective blocks."""
    return any(cell.known and cell.note for row in cells for cell in row.values())


def _settings_table(places: Mapping[str, Rows]) -> Table:
    """One row for each setting, its figures side by side."""
    figures = {name: words for name, words in FIGURES.items() if any(
        r["figure"] == name for rows in places.values() for r in rows
    )}  # fmt: skip
    settings: dict[tuple[Any, ...], dict[str, Interval]] = {}
    for place, rows in places.items():
        for r in rows:
            setting = (
                place if len(places) > 1 else "",
                str(r["estimator"]),
                r.get("clip"),
                int(r["group_size"]),
                r.get("prompts"),
                r.get("route"),
            )
            settings.setdefault(setting, {})[r["figure"]] = _estimate(r)
    return Table(
        "All settings; brackets are 95 % intervals, figures without one are exact"
        + (
            "; * few effective blocks carry it, so it may be too narrow"
            if _is_narrow(settings.values())
            else ""
        ),
        ["measured on", "estimator", "clip", "G", "prompts", "by", *figures.values()],
        [[*setting, *map(cells.get, figures)] for setting, cells in settings.items()],
    )
