"""The findings of a measurement, in sentences that keep to its intervals."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gradvar import catalogue
from gradvar.pieces.select import mixed_groups
from gradvar.stats.intervals import Interval
from gradvar.stats.text import estimate_text, interval_texts, number_text
from gradvar.studies.choices import Shares, largest
from gradvar.studies.rows import has_interval, number, panels, series, tidy

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


def findings(source: Any, shares: Shares | None = None) -> list[str]:
    """Return the sentences on a study, an evaluation of a score bank, or their rows.

    Args:
        source: Whatever ``tidy`` takes.
        shares: Leave-one-out values of the SNR per rollout, for paired comparisons (``choices.largest``).
    """
    rows = tidy(source)
    places = panels(rows)
    return [
        *(
            sentence
            for place, group in places.items()
            for sentence in at_one_place(group, f"{place}: " if len(places) > 1 else "", shares)
        ),
        *_staleness(rows),
        *_cautions(rows),
        *(
            redrawing_note(name)
            for name in dict.fromkeys(str(r["estimator"]) for r in rows)
            if drops_groups(name)
        ),
    ]


def at_one_place(rows: Rows, place: str = "", shares: Shares | None = None) -> Iterator[str]:
    """On one policy, task and staleness: what buys the most signal, and who is biased.

    Args:
        rows: Rows of every figure.
        place: What the sentences begin with.
        shares: Leave-one-out values of the SNR per rollout.
    """
    signal = [r for r in of_figure(rows, "snr_per_rollout") if math.isfinite(r["value"])]
    if signal:
        yield _capital(f"{place}{_most_signal(signal, shares)}.")
        if len({r["group_size"] for r in signal}) > 1:
            best = {name: _best_size(group, shares) for name, group in series(signal).items()}
            yield _capital(f"{place}group size with the highest SNR per rollout: {_by_value(best)}.")
    scale = of_figure(rows, "bias_factor")
    if scale:
        yield _capital(f"{place}bias factor along ∇J: {_by_value(_ranges(scale))}.")
    cosines = [r for r in of_figure(rows, "cosine") if has_interval([r]).all()]
    bent = [r for r in cosines if math.isfinite(r["value"]) and not _is_straight(r)]
    if bent:
        straight = [name for name, group in series(cosines).items() if all(map(_is_straight, group))]
        rest = f"; along it: {listed(straight)}" if straight else ""
        # all of them: a wide interval may reach below the lowest one
        finite = [r for r in cosines if math.isfinite(r["value"])]
        choice = largest([{**r, "value": -r["value"], "low": -r["high"], "high": -r["low"]} for r in finite])
        worst = finite[choice.best]
        names = listed([_setting(finite[i]) for i in choice.alike])
        if choice.certain:
            sentence = f"{place}furthest from the direction of ∇J: {names}, cosine {_estimate(worst)}{rest}."
        else:
            sentence = (
                f"{place}which setting is furthest from the direction of ∇J cannot be told: the lowest estimate is "
                f"that of {names}, cosine {_estimate(worst)}{rest}."
            )
        yield _capital(sentence)


def _most_signal(rows: Rows, shares: Shares | None) -> str:
    """The setting with the highest SNR and its rival, or that it cannot be told which has it."""
    choice = largest(rows, shares)
    best = rows[choice.best]
    alike = listed([_setting(rows[i]) for i in choice.alike])
    if choice.rival is None or choice.gap is None:
        return f"signal per rollout: {alike}, SNR {_estimate(best)}"
    rival, gap = rows[choice.rival], choice.gap
    if not choice.certain:
        less = ""
        if gap.known:
            less = ": its estimate less by {} (95 % interval {} to {})".format(
                *interval_texts(gap.value, gap.low, gap.high)
            )
        return (
            f"which setting buys the most signal per rollout cannot be told: the largest estimate is that of {alike}, "
            f"SNR {_estimate(best)}, and {_setting(rival)} may have as much{less}"
        )
    more = ""
    if gap.known and gap.high > gap.low:
        value, low, high = interval_texts(gap.value, gap.low, gap.high)
        more = f", less by {value} (95 % interval {low} to {high}, corrected for choosing among {len(rows)})"
    return (
        f"most signal per rollout from {alike}, SNR {_estimate(best)}; next is {_setting(rival)}, "
        f"{_estimate(rival)}{more}"
    )


def _best_size(rows: Rows, shares: Shares | None) -> str:
    """The group size with the highest SNR of one estimator, or that it cannot be told."""
    if len(rows) == 1:
        return f"G = {rows[0]['group_size']} alone was measured"
    choice = largest(rows, shares)
    if not choice.certain:
        return "cannot be told"
    return "G = " + listed([rows[i]["group_size"] for i in choice.alike])


def drops_groups(name: str) -> bool:
    """Return True for an estimator of the catalogue that drops the groups of equal rewards."""
    name = name.partition("+")[0]  # without its correction
    if name not in catalogue.names():
        return False
    return catalogue.get(name).parts.get("select") is mixed_groups


def redrawing_note(name: str) -> str:
    """Say which of two forms of such an estimator was measured, and what the other would do."""
    return (
        f"{name} without redrawing was measured: groups of equal rewards are dropped, no others sampled. {name} with "
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
    cosines = [r for r in of_figure(rows, "cosine") if has_interval([r]).all()]
    steps = sorted({r["staleness"] for r in cosines if r.get("staleness") is not None})
    if len(steps) < 2:
        return
    for place, group in panels([{**r, "age": r["staleness"], "staleness": None} for r in cosines]).items():
        last = {_identity(r): r for r in group if r["age"] == steps[-1]}
        pairs = [(r, last[_identity(r)]) for r in group if r["age"] == steps[0] and _identity(r) in last]
        pairs = [(fresh, stale) for fresh, stale in pairs if math.isfinite(fresh["value"] - stale["value"])]
        if not pairs:
            continue
        lost = [
            (fresh, stale)
            for fresh, stale in pairs
            if fresh["value"] - stale["value"] > _LOSS and _differ(fresh, stale)
        ]
        if lost:
            fresh, stale = max(lost, key=lambda pair: pair[0]["value"] - pair[1]["value"])
            yield (
                f"{_capital(place)}: staleness by {steps[-1]} optimiser steps costs {len(lost)} of {len(pairs)} "
                f"settings direction, {_setting(fresh)} among them: its cosine with ∇J goes from {_estimate(fresh)} to "
                f"{_estimate(stale)}."
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


def _ranges(rows: Rows) -> dict[str, str]:
    """Each estimator's figure at the smallest and the largest group size; one, if it lies in all intervals."""
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
            ends = [estimate_text(Interval(row["value"], row["low"], row["high"])) for row in (first, last)]
            ranges[name] = ends[0]
            if ends[0] != ends[1]:
                joined = "to" if _differ(first, last) else "and"
                ranges[name] += (
                    f" at G = {first['group_size']} {joined} {ends[1]} at G = {last['group_size']}"
                )
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
