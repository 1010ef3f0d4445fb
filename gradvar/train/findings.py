"""The findings of an experiment, in sentences that keep to its intervals."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gradvar.stats.text import interval_texts, number_text

Row = Mapping[str, Any]
_LISTED = 3  # arms that get a sentence each; of more only the best and the worst


def findings(content: Mapping[str, Any]) -> list[str]:
    """Return the sentences on an experiment's plain values: what arms retain, why, and where they start."""
    config = content.get("config", {})
    rows = content["rows"]
    reference = str(config.get("reference", "")) or str(rows[0]["arm"])
    return [*_retention(rows, reference, config), *_mechanism(content), *_start(content)]


def _retention(rows: Sequence[Row], reference: str, config: Mapping[str, Any]) -> Iterator[str]:
    others = [r for r in rows if r["arm"] != reference]
    above = [r for r in others if _number(r.get("difference_low")) > 0]
    below = [r for r in others if _number(r.get("difference_high")) < 0]
    chosen = others
    if len(others) > _LISTED:
        budget = str(config.get("equal", "")).replace("_", " ")
        yield (
            f"Of {len(others)} arms, {len(above)} end above {reference} and {len(below)} below it (95 % intervals of "
            f"the difference exclude 0); {len(others) - len(above) - len(below)} are not told apart from it"
            + (f", at equal {budget}." if budget else ".")
        )
        best = max(others, key=lambda r: _number(r.get("retained_final")))
        worst = min(others, key=lambda r: _number(r.get("retained_final")))
        chosen = [best] if best is worst else [best, worst]
    for row in chosen:
        ends = [_number(row.get(f"retained_final{end}")) for end in ("", "_low", "_high")]
        value, low, high = interval_texts(*ends)
        verdict = "above" if row in above else "below" if row in below else "not told apart from"
        interval = "" if math.isnan(ends[1]) else f" (95 % interval {low} to {high})"
        start, final = (number_text(_number(row.get(f"{when}_reward"))) for when in ("start", "final"))
        yield (
            f"{row['arm']} ends {verdict} {reference}: it retains {value} of its held-out reward{interval}; its own "
            f"goes from {start} to {final}."
        )


def _mechanism(content: Mapping[str, Any]) -> Iterator[str]:
    for when, correlation in (content.get("mechanism") or {}).items():
        value, low, high = interval_texts(*(_number(correlation.get(k)) for k in ("value", "low", "high")))
        yield (
            f"Rank correlation over arms of the gain with the gradient's signal-to-noise ratio {when}: "
            f"{value} (95 % interval {low} to {high})."
        )


def _start(content: Mapping[str, Any]) -> Iterator[str]:
    warm = content.get("warm_start") or {}
    if "success" in warm:
        error = _number(warm.get("standard_error"))
        interval = "" if math.isnan(error) else f" ± {error:.3f} (standard error)"
        rate = _number(warm["success"])
        yield f"All arms start from the same weights, with a success rate of {rate:.3f}{interval}."


def _number(value: Any) -> float:
    """A number as a float; NaN for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
