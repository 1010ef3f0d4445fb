"""The findings of an experiment, in sentences that keep to its intervals."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gradvar.stats.starts import HEADLINE
from gradvar.stats.text import interval_texts, number_text
from gradvar.train.prediction import sentences

Row = Mapping[str, Any]
_LEVEL = 0.05
_UPDATES = 0.05  # of the reference's; less is not worth a sentence
_LISTED = 3  # arms that get a sentence each; of more only the best and the worst


def findings(content: Mapping[str, Any]) -> list[str]:
    """Return the sentences on an experiment's plain values: what arms retain, why, and where they start."""
    config = content.get("config", {})
    rows = content["rows"]
    reference = str(config.get("reference", "")) or str(rows[0]["arm"])
    predicted = sentences(content["prediction"], reference) if content.get("prediction") else ()
    return [
        *_retention(rows, reference, config), *predicted, *cautions(content), *_mechanism(content), *_start(content),
    ]  # fmt: skip


def cautions(content: Mapping[str, Any]) -> list[str]:
    """Return what keeps the figures from being a headline: few warm starts, rates not tuned, unequal updates."""
    config, rows = content.get("config", {}), content["rows"]
    reference = str(config.get("reference", "")) or str(rows[0]["arm"])
    return [*_starts(rows, config), *_tuning(content), *_updates(rows, reference, config)]


def _retention(rows: Sequence[Row], reference: str, config: Mapping[str, Any]) -> Iterator[str]:
    others = [r for r in rows if r["arm"] != reference]
    above = [r for r in others if _apart(r) and _number(r.get("difference")) > 0]
    below = [r for r in others if _apart(r) and _number(r.get("difference")) < 0]
    chosen = others
    if len(others) > _LISTED:
        budget = str(config.get("equal", "")).replace("_", " ")
        yield (
            f"Of {len(others)} arms, {len(above)} end above {reference} and {len(below)} below it (5 %, "
            f"{_rule(others)}); {len(others) - len(above) - len(below)} are not told apart from it"
            + (f", at equal {budget}." if budget else ".")
        )
        best = max(others, key=lambda r: _number(r.get("final_reward")))
        worst = min(others, key=lambda r: _number(r.get("final_reward")))
        chosen = [best] if best is worst else [best, worst]
    for row in chosen:
        verdict = "above" if row in above else "below" if row in below else "not told apart from"
        start, final = (number_text(_number(row.get(f"{when}_reward"))) for when in ("start", "final"))
        yield (
            f"{row['arm']} ends {verdict} {reference}: its gain over the warm start is {_share(row, 'retained_gain')} "
            f"of {reference}'s; its held-out reward goes from {start} to {final}, "
            f"{_share(row, 'retained_final')} of {reference}'s at the end."
        )


def _apart(row: Row) -> bool:
    """Whether an arm is told apart from the reference: by Holm's p values, in older files by the interval."""
    adjusted = _number(row.get("difference_p_holm"))
    if not math.isnan(adjusted):
        return adjusted <= _LEVEL
    return _number(row.get("difference_low")) > 0 or _number(row.get("difference_high")) < 0


def _rule(rows: Sequence[Row]) -> str:
    if any("difference_p_holm" in r for r in rows):
        return "Holm's correction for so many arms"
    return "each interval by itself, not corrected for so many arms"


def _share(row: Row, name: str) -> str:
    """A share of the reference's figure, with its interval."""
    ends = [_number(row.get(f"{name}{end}")) for end in ("", "_low", "_high")]
    value, low, high = interval_texts(*ends)
    if math.isnan(ends[0]):
        return "an unknown share"
    return value if math.isnan(ends[1]) else f"{value} (95 % interval {low} to {high})"


def _starts(rows: Sequence[Row], config: Mapping[str, Any]) -> Iterator[str]:
    """Of what the intervals are, where that is less than a headline needs."""
    starts = int(_number(config.get("starts", 1)))
    seeds = config.get("seeds", "?")
    if starts >= HEADLINE or len(rows) < 2:
        return
    if starts == 1:
        yield (
            f"No headline: all of this is of one warm start, and its intervals are over the {seeds} seeds of that "
            f"start; another start may lie outside them. A headline needs {HEADLINE} (--starts {HEADLINE})."
        )
    else:
        yield (
            f"No headline yet: the intervals are over {starts} warm starts with {seeds} seeds each, and a headline "
            f"needs {HEADLINE} (--starts {HEADLINE})."
        )


def _tuning(content: Mapping[str, Any]) -> Iterator[str]:
    """Refuse to call a learning rate tuned that lies at an end of its grid, for every start that has its own."""
    config = content.get("config", {})
    grid, starts = [float(f) for f in config.get("grid", [])], int(_number(config.get("starts", 1)))
    refused: dict[tuple[str, str], list[Row]] = {}
    for tried in content.get("tried") or []:
        if tried.get("edge") and len(grid) >= 2:
            refused.setdefault((str(tried["arm"]), str(tried["edge"])), []).append(tried)
    for (arm, edge), rows in refused.items():
        rate = number_text(_number(rows[0].get("learning_rate")))
        further = max(grid) * 2 if edge == "highest" else min(grid) / 2
        wider = " ".join(f"{f:g}" for f in sorted([*grid, further]))
        which = ""
        if config.get("tuning") == "own" and starts > 1:
            numbers = ", ".join(f"{int(_number(row.get('start'))) + 1}" for row in rows)
            which = f" on {len(rows)} of {starts} warm starts ({numbers})"
        yield (
            f"{arm} is not tuned{which}: its best learning rate{' there' * bool(which)}, {rate}, is the {edge} of the "
            f"grid. Give --grid {wider}; what was run is kept."
        )


def _updates(rows: Sequence[Row], reference: str, config: Mapping[str, Any]) -> Iterator[str]:
    """Say so where arms differ in their optimiser updates too."""
    budget = str(config.get("equal", "")).replace("_", " ")
    (own,) = [r for r in rows if r["arm"] == reference] or [{}]
    updates = _number(own.get("updates"))
    differ = [r for r in rows if abs(_number(r.get("updates")) - updates) > _UPDATES * updates]
    if differ:
        numbers = ", ".join(f"{r['arm']} {_number(r['updates']):,.0f}" for r in differ[:_LISTED])
        yield (
            f"At equal {budget} the arms differ in their optimiser updates too: {reference} took {updates:,.0f}, "
            f"{numbers}{', and others' * (len(differ) > _LISTED)}. --equal updates holds those equal."
        )


def _mechanism(content: Mapping[str, Any]) -> Iterator[str]:
    for when, correlation in (content.get("mechanism") or {}).items():
        ends = [_number(correlation.get(k)) for k in ("value", "low", "high")]
        if math.isnan(ends[0]):
            continue
        value, low, high = interval_texts(*ends)
        interval = "no interval" if math.isnan(ends[1]) else f"95 % interval {low} to {high}"
        yield (
            f"Rank correlation over arms of the gain with the gradient's signal-to-noise ratio {when}: "
            f"{value} ({interval})."
        )


def _start(content: Mapping[str, Any]) -> Iterator[str]:
    warm = content.get("warm_start") or {}
    if "success" in warm:
        error = _number(warm.get("standard_error"))
        interval = "" if math.isnan(error) else f" ± {error:.3f} (standard error)"
        rate = _number(warm["success"])
        rates = [_number(x) for x in warm.get("starts") or []]
        if len(rates) > 1:
            yield (
                f"All arms start from the same {len(rates)} warm starts, with success rates of {min(rates):.3f} to "
                f"{max(rates):.3f}."
            )
        else:
            yield f"All arms start from the same weights, with a success rate of {rate:.3f}{interval}."


def _number(value: Any) -> float:
    """A number as a float; NaN for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
