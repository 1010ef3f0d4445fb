"""A measurement (``gradvar measure``, or rows of a score bank's evaluation) as a section of the report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gradvar import catalogue, plot
from gradvar.plot.rows import number, panels, series, tidy
from gradvar.report.html import Estimate, Picture, Table, figure_text, figures
from gradvar.report.page import Section
from gradvar.report.svg import drawn

Rows = list[dict[str, Any]]
COLUMNS: Mapping[str, str] = {
    "bias_factor": "bias factor",
    "cosine": "cosine with ∇J",
    "trace_cov": "tr Cov",
    "between": "between prompts",
    "within": "within groups",
    "snr_per_rollout": "SNR per rollout",
}
_ALIKE = 1e-6  # relative; beyond rounding


def section(content: Any) -> Section:
    """Findings, figures and the table of a measurement's rows."""
    rows = tidy(content)
    provenance = content.get("provenance", {}) if isinstance(content, Mapping) else {}
    every = panels(rows)
    names = list(dict.fromkeys(str(r["estimator"]) for r in rows))
    sizes = sorted({int(r["group_size"]) for r in rows})
    many = len(every) > 1
    findings = [f for place, own in every.items() for f in _findings(own, f"{place}: " if many else "")]
    return Section(
        title=f"{len(names)} estimator{'s' * (len(names) > 1)} at group size{'s' * (len(sizes) > 1)} "
        f"{_listed(sizes)}, measured",
        kind="Measurement",
        findings=findings + _ageing(rows),
        figures=[
            *(p for place, own in every.items() for p in _pictures(own, place)),
            *_weights(names, sizes),
        ],
        tables=[_table(rows, many)],
        provenance=provenance,
        estimators=names,
    )


def _findings(rows: Rows, place: str) -> list[str]:
    """What buys the most signal, and who is biased, in sentences that keep to the intervals."""
    found = []
    buys = [r for r in _of(rows, "snr_per_rollout") if math.isfinite(r["value"])]
    if buys:
        best = max(buys, key=lambda r: r["value"])
        told = f"{place}most signal per rollout from {_setting(best)}, SNR {_estimate(best)}"
        others = [
            max(g, key=lambda r: r["value"]) for n, g in series(buys).items() if n not in series([best])
        ]
        if others:
            rival = max(others, key=lambda r: r["value"])
            apart = "" if _apart(best, rival) else "; their 95 % intervals overlap"
            told += f"; next is {_setting(rival)}, {_estimate(rival)}{apart}"
        found.append(f"{_capital(told)}.")
        if len({r["group_size"] for r in buys}) > 1:
            tops = {name: max(g, key=lambda r: r["value"]) for name, g in series(buys).items()}
            picks = _grouped({name: f"G = {r['group_size']}" for name, r in tops.items()})
            found.append(_capital(f"{place}group size with the highest SNR per rollout: {picks}."))
    scale = _of(rows, "bias_factor")
    if scale:
        found.append(_capital(f"{place}bias factor along ∇J: {_grouped(_ranges(scale))}."))
    bent = [r for r in _of(rows, "cosine") if math.isfinite(r["value"]) and not _is_straight(r)]
    if bent:
        worst = min(bent, key=lambda r: r["value"])
        straight = [n for n, g in series(_of(rows, "cosine")).items() if all(_is_straight(r) for r in g)]
        tail = f"; along it: {_listed(straight)}" if straight else ""
        found.append(
            _capital(
                f"{place}furthest from the direction of ∇J: {_setting(worst)}, cosine {_estimate(worst)}{tail}."
            )
        )
    return found


def _ageing(rows: Rows) -> list[str]:
    """What staleness costs most, where it was varied."""
    found = []
    cosines = _of(rows, "cosine")
    for place, own in panels([{**r, "staleness": None} for r in cosines]).items():
        steps = sorted({r["staleness"] for r in cosines if r.get("staleness") is not None})
        if len(steps) < 2:
            continue
        pairs = []
        for r in cosines:
            if r["staleness"] == steps[0] and panels([{**r, "staleness": None}]).keys() == {place}:
                late = [x for x in cosines if x["staleness"] == steps[-1] and _same(x, r)]
                pairs += [(r, x) for x in late]
        pairs = [p for p in pairs if math.isfinite(p[0]["value"] - p[1]["value"])]
        if pairs and own:
            first, last = max(pairs, key=lambda p: p[0]["value"] - p[1]["value"])
            if first["value"] - last["value"] > 0.01 and _apart(first, last):
                found.append(
                    f"{_capital(place)}: {steps[-1]} optimiser steps of staleness cost {_setting(first)} the most "
                    f"direction: its cosine with ∇J goes from {_estimate(first)} to {_estimate(last)}."
                )
    return found


def _pictures(rows: Rows, place: str) -> list[Picture]:
    there = {r["figure"] for r in rows}
    several = len({r["group_size"] for r in rows}) > 1
    wanted = [
        ("trace_cov", plot.variance, "Variance of the batch gradient against group size"),
        ("snr_per_rollout", plot.snr, "What one rollout buys against group size"),
        ("bias_factor", plot.bias, "Bias factor against group size"),
        ("between", plot.split, "How the variance splits between prompts and within groups"),
    ]
    note = "" if any(r["high"] > r["low"] for r in rows) else "; exact, so there are no intervals"
    if not several:
        return [
            drawn(plot.compare, rows, name, caption=f"{COLUMNS.get(name, name)}, {place}{note}.")
            for name, _, _ in wanted[:3]
            if name in there
        ]
    return [
        drawn(draw, rows, caption=f"{words}, {place}{note}.") for name, draw, words in wanted if name in there
    ]


def _weights(names: Sequence[str], sizes: Sequence[int]) -> list[Picture]:
    """The weight on prompts of the catalogue's estimators: nothing of the file's, but what its names mean."""
    there = set(catalogue.names())
    chosen = [n for n in names if n in there and not catalogue.describe(n).needs]
    size = sizes[-1]
    chosen = [n for n in chosen if catalogue.describe(n).min_group <= size][:6]
    if not chosen or size > 32:
        return []
    words = f"Weight that a prompt gets by its success rate, at G = {size}; exact, of one prompt, on policy"
    return [drawn(plot.prompt_weight, chosen, size, caption=f"{words}, with the estimators' own settings.")]


def _table(rows: Rows, many: bool) -> Table:
    """One row for each setting, its figures side by side."""
    shown = {k: v for k, v in COLUMNS.items() if any(r["figure"] == k for r in rows)}
    clips = any(r.get("clip") is not None for r in rows)
    cells: dict[tuple[Any, ...], dict[str, Any]] = {}
    for place, own in panels(rows).items():
        for r in own:
            key = (
                place,
                str(r["estimator"]),
                r.get("clip"),
                int(r["group_size"]),
                r.get("prompts"),
                r.get("route"),
            )
            cells.setdefault(key, {})[r["figure"]] = Estimate(r["value"], r["low"], r["high"])
    keep = [many, True, clips, True, True, any(k[5] for k in cells)]

    def kept(values: Iterable[Any]) -> list[Any]:
        return [v for v, k in zip(values, keep, strict=True) if k]

    return Table(
        "All settings; brackets are 95 % intervals, figures without one are exact",
        [*kept(("measured on", "estimator", "clip", "G", "prompts", "by")), *shown.values()],
        [[*kept(key), *(found.get(name) for name in shown)] for key, found in cells.items()],
    )


def _of(rows: Rows, figure: str) -> Rows:
    return [r for r in rows if r["figure"] == figure]


def _same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return all(a.get(k) == b.get(k) for k in ("policy", "task", "clip", "estimator", "group_size"))


def _ranges(rows: Rows) -> dict[str, str]:
    """Each estimator's figure over group sizes: one, where all intervals hold it, or the range."""
    found = {}
    for name, group in series(rows).items():
        group = [r for r in group if math.isfinite(r["value"])]
        if not group:
            found[name] = "not known"
        elif all(_is_one(r) for r in group):
            found[name] = "1 (unbiased)" if all(_exact(r) for r in group) else "1 within its interval"
        else:
            ordered = sorted(group, key=lambda r: number(r["group_size"]))
            first, last = ordered[0], ordered[-1]
            found[name] = figure_text(first["value"]) + (
                f" at G = {first['group_size']} to {figure_text(last['value'])} at G = {last['group_size']}"
                if first is not last and figure_text(first["value"]) != figure_text(last["value"]) else ""
            )  # fmt: skip
    return found


def _grouped(values: Mapping[str, str]) -> str:
    """Names that share a value, put together: ``1 for rloo and maxrl; 0.5 for dr_grpo``."""
    groups: dict[str, list[str]] = {}
    for name, value in values.items():
        groups.setdefault(value, []).append(name)
    return "; ".join(f"{value} for {_listed(names)}" for value, names in groups.items())


def _is_one(row: Mapping[str, Any]) -> bool:
    return abs(row["value"] - 1) <= _ALIKE or row["low"] <= 1 <= row["high"]


def _is_straight(row: Mapping[str, Any]) -> bool:
    """A cosine that is one, within its interval or as it would be printed."""
    return _is_one(row) or row["value"] > 0.9995


def _exact(row: Mapping[str, Any]) -> bool:
    return not row["high"] - row["low"] > 1e-9 * abs(row["value"])


def _apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two intervals, or exact values, do not meet."""
    high, low = (one, other) if one["value"] >= other["value"] else (other, one)
    return bool(high["low"] > low["high"]) or (
        _exact(high) and _exact(low) and high["value"] - low["value"] > _ALIKE * abs(high["value"])
    )


def _setting(row: Mapping[str, Any]) -> str:
    (name,) = series([dict(row)])
    return f"{name} at G = {row['group_size']}"


def _estimate(row: Mapping[str, Any]) -> str:
    if _exact(row) or math.isnan(row["low"]):
        return figure_text(row["value"])
    return "{} (95 % interval {} to {})".format(*figures(row["value"], row["low"], row["high"]))


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _listed(values: Sequence[Any]) -> str:
    words = [str(v) for v in values]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
