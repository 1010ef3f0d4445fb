"""The findings of a measurement, in sentences that keep to its intervals."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gradvar import catalogue
from gradvar.pieces.select import mixed_groups
from gradvar.stats.text import interval_texts, number_text
from gradvar.studies.rows import number, panels, series, tidy

Row = Mapping[str, Any]
Rows = Sequence[dict[str, Any]]
_ROUNDING = 1e-6  # relative
_STRAIGHT = 0.9995  # a cosine that is printed as one
_CAUTIONED = {
    "trace_cov": "tr Cov", "between": "the part between prompts", "snr_per_rollout": "SNR per rollout",
    "bias_factor": "the bias factor", "cosine": "the cosine",
}  # fmt: skip
_MOST_PLACES = 4
_LOSS = 0.01  # of the cosine; less is not worth a sentence


def findings(source: Any) -> list[str]:
    """Return the sentences on a study, an evaluation of a score bank, or their rows."""
    rows = tidy(source)
    places = panels(rows)
    return [
        *(
            sentence
            for place, group in places.items()
            for sentence in _at_one_place(group, f"{place}: " if len(places) > 1 else "")
        ),
        *_staleness(rows),
        *_cautions(rows),
        *(
            redrawing_note(name)
            for name in dict.fromkeys(str(r["estimator"]) for r in rows)
            if drops_groups(name)
        ),
    ]


def _at_one_place(rows: Rows, place: str) -> Iterator[str]:
    """On one policy, task and staleness: what buys the most signal, and who is biased."""
    signal = [r for r in of_figure(rows, "snr_per_rollout") if math.isfinite(r["value"])]
    if signal:
        yield _capital(f"{place}{_most_signal(signal)}.")
        if len({r["group_size"] for r in signal}) > 1:
            best = {name: _largest(group) for name, group in series(signal).items()}
            sizes = _by_value({name: f"G = {row['group_size']}" for name, row in best.items()})
            yield _capital(f"{place}group size with the highest SNR per rollout: {sizes}.")
    scale = of_figure(rows, "bias_factor")
    if scale:
        yield _capital(f"{place}bias factor along ∇J: {_by_value(_ranges(scale))}.")
    cosines = of_figure(rows, "cosine")
    bent = [r for r in cosines if math.isfinite(r["value"]) and not _is_straight(r)]
    if bent:
        worst = min(bent, key=lambda r: r["value"])
        straight = [name for name, group in series(cosines).items() if all(map(_is_straight, group))]
        rest = f"; along it: {listed(straight)}" if straight else ""
        yield _capital(
            f"{place}furthest from the direction of ∇J: {_setting(worst)}, cosine {_estimate(worst)}{rest}."
        )


def _most_signal(rows: Rows) -> str:
    """The setting with the highest SNR, and the best setting of another estimator."""
    best = _largest(rows)
    (winner,) = series([best])
    sentence = f"most signal per rollout from {_setting(best)}, SNR {_estimate(best)}"
    rivals = [_largest(group) for name, group in series(rows).items() if name != winner]
    if not rivals:
        return sentence
    rival = _largest(rivals)
    order = "" if _differ(best, rival) else "; their 95 % intervals overlap"
    if math.isnan(best["low"] + rival["low"]):
        order = "; without intervals their order is not known"
    return f"{sentence}; next is {_setting(rival)}, {_estimate(rival)}{order}"


def drops_groups(name: str) -> bool:
    """Return True for an estimator of the catalogue that drops the groups of equal rewards."""
    name = name.partition("+")[0]  # without its correction
    if name not in catalogue.names():
        return False
    return catalogue.get(name).parts.get("select") is mixed_groups


def redrawing_note(name: str) -> str:
    """Say which of two forms of such an estimator was measured, and what the other would do."""
    return (
        f"{name} without redrawing was measured: groups of equal rewards are dropped and no others drawn. {name} with "
        "redrawing, until the batch is full, takes 1/u times the rollouts, u the share of groups with different "
        "rewards; per rollout that multiplies the SNR of one prompt's group with 1 / (1 - SNR (1 - u) / u)."
    )


def _cautions(rows: Rows) -> Iterator[str]:
    """Say which figures have no interval, and which intervals rest on few blocks."""
    noted = [r for r in rows if r.get("note") and r["figure"] in _CAUTIONED and math.isfinite(r["value"])]
    without = [r for r in noted if math.isnan(r["low"])]
    for note in dict.fromkeys(r["note"] for r in without):
        yield f"No interval for {_places([r for r in without if r['note'] == note])}: {note}."
    narrow = [r for r in noted if not math.isnan(r["low"])]
    if narrow:
        least = min(number(r.get("effective")) for r in narrow)
        yield (
            f"Few effective blocks, {least:.0f} at the least, carry {_places(narrow)}: their intervals may be too "
            "narrow."
        )


def _places(rows: Rows) -> str:
    """Figures with their settings, the first few of them."""
    places = list(dict.fromkeys(f"{_CAUTIONED[r['figure']]} of {_setting(r)}" for r in rows))
    rest = len(places) - _MOST_PLACES
    return listed([*places[:_MOST_PLACES], f"{rest} more"] if rest > 0 else places)


def _staleness(rows: Rows) -> Iterator[str]:
    """Say what staleness costs most, for each policy and task on which it was varied."""
    cosines = of_figure(rows, "cosine")
    steps = sorted({r["staleness"] for r in cosines if r.get("staleness") is not None})
    if len(steps) < 2:
        return
    for place, group in panels([{**r, "age": r["staleness"], "staleness": None} for r in cosines]).items():
        last = {_identity(r): r for r in group if r["age"] == steps[-1]}
        pairs = [(r, last[_identity(r)]) for r in group if r["age"] == steps[0] and _identity(r) in last]
        pairs = [(fresh, stale) for fresh, stale in pairs if math.isfinite(fresh["value"] - stale["value"])]
        if not pairs:
            continue
        fresh, stale = max(pairs, key=lambda pair: pair[0]["value"] - pair[1]["value"])
        if fresh["value"] - stale["value"] > _LOSS and _differ(fresh, stale):
            yield (
                f"{_capital(place)}: {steps[-1]} optimiser steps of staleness cost {_setting(fresh)} the most "
                f"direction: its cosine with ∇J goes from {_estimate(fresh)} to {_estimate(stale)}."
            )


def of_figure(rows: Rows, figure: str) -> list[dict[str, Any]]:
    """Return the rows of one figure."""
    return [r for r in rows if r["figure"] == figure]


def listed(values: Sequence[Any]) -> str:
    """Write values as a list in words.

    >>> listed([2, 4, 16])
    '2, 4 and 16'
    """
    words = [str(v) for v in values]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _identity(row: Row) -> tuple[Any, ...]:
    return tuple(row.get(k) for k in ("policy", "task", "clip", "estimator", "group_size"))


def _largest(rows: Rows) -> dict[str, Any]:
    return max(rows, key=lambda r: r["value"])


def _ranges(rows: Rows) -> dict[str, str]:
    """Each estimator's figure over group sizes: one, if it lies in all intervals, or else the range."""
    ranges = {}
    for name, group in series(rows).items():
        finite = [r for r in group if math.isfinite(r["value"])]
        if not finite:
            ranges[name] = "not known"
        elif all(map(_is_one, finite)):
            ranges[name] = "1 (unbiased)" if all(map(_is_exact, finite)) else "1 within its interval"
        else:
            ordered = sorted(finite, key=lambda r: number(r["group_size"]))
            first, last = ordered[0], ordered[-1]
            ends = [number_text(row["value"]) for row in (first, last)]
            ranges[name] = ends[0]
            if ends[0] != ends[1]:
                ranges[name] += f" at G = {first['group_size']} to {ends[1]} at G = {last['group_size']}"
    return ranges


def _by_value(values: Mapping[str, str]) -> str:
    """Names that share a value, put together: ``1 for rloo and maxrl; 0.5 for dr_grpo``."""
    groups: dict[str, list[str]] = {}
    for name, value in values.items():
        groups.setdefault(value, []).append(name)
    return "; ".join(f"{value} for {listed(names)}" for value, names in groups.items())


def _is_one(row: Row) -> bool:
    return abs(row["value"] - 1) <= _ROUNDING or row["low"] <= 1 <= row["high"]


def _is_straight(row: Row) -> bool:
    """Return True for a cosine that is one, within its interval or as it would be printed."""
    return _is_one(row) or row["value"] > _STRAIGHT


def _is_exact(row: Row) -> bool:
    return row["high"] - row["low"] <= 1e-9 * abs(row["value"])  # false without an interval


def _differ(first: Row, second: Row) -> bool:
    """Return True if two intervals, or exact values, do not meet."""
    high, low = (first, second) if first["value"] >= second["value"] else (second, first)
    exact = _is_exact(high) and _is_exact(low)
    return bool(high["low"] > low["high"]) or (
        exact and high["value"] - low["value"] > _ROUNDING * abs(high["value"])
    )


def _setting(row: Row) -> str:
    (name,) = series([dict(row)])
    return f"{name} at G = {row['group_size']}"


def _estimate(row: Row) -> str:
    if math.isnan(row["low"]):
        return f"{number_text(row['value'])} (no interval)"
    if _is_exact(row):
        return number_text(row["value"])
    return "{} (95 % interval {} to {})".format(*interval_texts(row["value"], row["low"], row["high"]))


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
