"""Figures as tidy rows, whatever they come from: a study, an evaluation of a bank, moments, or a file of them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gradvar.core.moments import Moments

Row = Mapping[str, Any]
Series = dict[str, list[dict[str, Any]]]
PANEL = ("policy", "task", "staleness")


def tidy(source: Any) -> list[dict[str, Any]]:
    """Return rows with ``estimator``, ``group_size``, ``figure``, ``value``, ``low`` and ``high``.

    ``source`` is a ``Study``, an ``Evaluation``, one or several ``Moments``, rows, or a mapping that holds ``rows``. A
    missing value is NaN.
    """
    if isinstance(source, Moments):
        source = [source]
    if hasattr(source, "rows"):
        source = source.rows()
    elif isinstance(source, Mapping):
        source = source.get("rows", ())
    if not isinstance(source, Iterable) or isinstance(source, str):
        raise TypeError(
            f"source: {type(source).__name__}; give a study, an evaluation, moments or rows of them"
        )
    collected: list[dict[str, Any]] = []
    for item in source:
        if isinstance(item, Moments):
            collected.extend(_moment_rows(item))
        elif isinstance(item, Mapping) and {"estimator", "group_size", "figure", "value"} <= set(item):
            collected.append({**item, **{k: number(item.get(k)) for k in ("value", "low", "high")}})
        else:
            raise TypeError(
                "source: a row without estimator, group_size, figure and value; give a study, an evaluation, "
                "moments or rows of them"
            )
    return collected


def number(value: Any) -> float:
    """Return a number as a float; NaN for anything else, such as null in a file.

    >>> number(2), number(None), number(True)
    (2.0, nan, nan)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return math.nan
    return float(value)


def choose(
    source: Any, figure: str, where: Mapping[str, Any], free: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Select the rows of one figure on one policy, task and staleness.

    Args:
        source: Whatever ``tidy`` takes.
        figure: The figure of ``Moments``.
        where: Values of columns.
        free: Columns that may vary.

    Returns:
        The rows.

    Raises:
        ValueError: If no row is left, or a column has several values and is not free.
    """
    rows = tidy(source)
    figures = list(dict.fromkeys(r["figure"] for r in rows))
    rows = [r for r in rows if r["figure"] == figure and all(r.get(k) == v for k, v in where.items())]
    if not rows:
        asked = "".join(f", {k}={v!r}" for k, v in where.items())
        raise ValueError(
            f"figure: '{figure}'{asked} is not among what was measured; there are {', '.join(map(str, figures))}"
        )
    for column in PANEL:
        values = list(dict.fromkeys(r[column] for r in rows if column in r))
        if len(values) > 1 and column not in free:
            listed = ", ".join(map(repr, values))
            raise ValueError(f"{column}: measured at {listed}; choose one, such as {column}={values[0]!r}")
    return rows


def series(rows: Iterable[dict[str, Any]]) -> Series:
    """Group rows by estimator, and by clip range if several were measured."""
    collected: Series = {}
    for row in rows:
        clip = row.get("clip")
        label = str(row["estimator"]) + ("" if clip is None else f", clip {clip:g}" if _real(clip) else "")
        collected.setdefault(label, []).append(row)
    return collected


def panels(rows: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Group rows by policy, task and staleness, in words."""
    collected: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        collected.setdefault(panel(row), []).append(row)
    return collected


def panel(row: Row) -> str:
    """Return the policy, task and staleness of a row in words."""
    steps = row.get("staleness")
    age = (
        ""
        if steps is None
        else "on policy"
        if steps == 0
        else f"{steps} optimiser step{'s' * (steps != 1)} stale"
    )
    place = " on ".join(str(row[k]) for k in ("policy", "task") if row.get(k) is not None)
    engine = row.get("sampler")
    if engine not in (None, "none"):
        age = f"sampled by {engine}" + (f", {age}" if steps else "")
    return ", ".join(part for part in (place, age) if part) or "as measured"


def column(rows: Sequence[Row], name: str) -> np.ndarray:
    """Return one column as floats [row]."""
    return np.array([number(r.get(name)) for r in rows])


def has_interval(rows: Sequence[Row]) -> np.ndarray:
    """Return False for each row whose interval is not known [row]; that of an exact figure is, without a width."""
    return np.isfinite(column(rows, "low")) | np.isfinite(column(rows, "high"))


def _real(value: Any) -> bool:
    return not math.isnan(number(value))


def _moment_rows(m: Moments) -> list[dict[str, Any]]:
    collected = []
    for figure in (*m.se, "snr_per_rollout"):
        estimate = m.estimate(figure)
        collected.append(
            {
                "estimator": m.estimator, "group_size": m.group_size, "prompts": m.prompts, "rollouts": m.rollouts,
                "figure": figure, "value": float(getattr(m, figure)), "low": estimate.low, "high": estimate.high,
                "effective": estimate.effective, "note": estimate.note,
            }
        )  # fmt: skip
    return collected
