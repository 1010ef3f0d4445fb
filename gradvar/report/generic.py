"""Findings and tables of any other file: an audit, or whatever lists sentences and rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gradvar.report.html import Estimate, Table, figure_text
from gradvar.report.page import Section

_SENTENCES = ("findings", "sentences", "warnings", "advice", "notes")
_MOST_ROWS = 2000


def section(content: Any, kind: str = "Results") -> Section | None:
    """The file's sentences, and a table for each list of rows in it, at any of its two upper levels; None where it
    has neither. The title is empty where the file gives none."""
    content = {"rows": content} if isinstance(content, list) else content
    findings = [sentence(f) for name in _SENTENCES for f in _listed(content.get(name))]
    tables = []
    for name, value in content.items():
        if name not in (*_SENTENCES, "provenance"):
            tables += _tables(str(name), value)
    if not findings and not tables:
        return None
    return Section(
        title=str(content.get("title") or content.get("target") or content.get("file") or ""),
        kind=kind,
        findings=findings,
        tables=tables,
        provenance=content["provenance"] if isinstance(content.get("provenance"), Mapping) else {},
    )


def _tables(name: str, value: Any) -> list[Table]:
    if isinstance(value, Mapping):
        if _is_table(value.get("rows")):
            return [_table(str(value.get("title") or value.get("caption") or name), value["rows"])]
        inner = [(str(k), v) for k, v in value.items() if _is_table(v)]
        return [_table(f"{name}: {k}", v) for k, v in inner]
    if _is_table(value):
        return [_table(name, value)]
    if isinstance(value, list):  # a list of tables, each with its rows
        named = [v for v in value if isinstance(v, Mapping) and _is_table(v.get("rows"))]
        return [t for k, v in enumerate(named, 1) for t in _tables(f"{name} {k}", v)]
    return []


def _is_table(value: Any) -> bool:
    """Rows are mappings to plain values or estimates."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(row, Mapping) and row and all(map(_is_cell, row.values())) for row in value)
    )


def _is_cell(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "value" in value and isinstance(value["value"], int | float | None)
    return not isinstance(value, list) or all(isinstance(x, str | int | float) for x in value)


def _table(name: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    heads = list(dict.fromkeys(k for row in rows for k in row))
    # An interval in columns of its own belongs to the figure beside it.
    ends = {h for h in heads for end in ("_low", "_high") if h.endswith(end) and h.removesuffix(end) in heads}
    shown = [h for h in heads if h not in ends]
    body = [[_cell(row, h) for h in shown] for row in rows[:_MOST_ROWS]]
    cut = f" (the first {_MOST_ROWS} of {len(rows)} rows)" if len(rows) > _MOST_ROWS else ""
    return Table(f"{_words(name)}{cut}", [_words(h) for h in shown], body)


def _cell(row: Mapping[str, Any], name: str) -> Any:
    value = row.get(name)
    if isinstance(value, Mapping):
        return Estimate(*(_number(value.get(k)) for k in ("value", "low", "high")))
    if isinstance(value, list):
        return ", ".join(figure_text(x) if isinstance(x, float) else str(x) for x in value)
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    return (
        Estimate(_number(value), _number(low), _number(high))
        if low is not None and high is not None
        else value
    )


def sentence(finding: Any) -> str:
    """One finding in words: a text, or a mapping that holds one with its severity."""
    if not isinstance(finding, Mapping):
        return str(finding)
    words = next(
        (finding[k] for k in ("text", "sentence", "message", "finding", "title") if finding.get(k)), None
    )
    if words is None:
        return ", ".join(f"{k}: {v}" for k, v in finding.items())
    level = finding.get("severity") or finding.get("level")
    return f"{level}: {words}" if level else str(words)


def _listed(value: Any) -> list[Any]:
    return [value] if isinstance(value, str) else value if isinstance(value, list) else []


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _words(name: str) -> str:
    return name.replace("_", " ")
