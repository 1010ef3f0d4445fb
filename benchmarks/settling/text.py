"""The results as tables of a page: ``python -m benchmarks.settling.text``."""

import argparse
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.settling.figures import RESULTS, joined
from benchmarks.settling.settings import CLAIMED
from gradvar.stats.text import interval_texts


def words(figure: Mapping[str, Any] | None) -> str:
    """A figure with its interval; none without one, such as the share of a gain that is not told from zero."""
    if figure is None or figure["value"] is None or figure["low"] is None:
        return "-"
    ends = [math.nan if figure[name] is None else figure[name] for name in ("value", "low", "high")]
    value, low, high = interval_texts(*ends)
    return f"{value} [{low}, {high}]"


def retained(content: Mapping[str, Any]) -> Iterator[str]:
    """A line for every setting, budget and group size but the reference's."""
    yield "| setting | budget | rollouts a prompt | rate | reward | of sixteen's | of its gain | p of equivalence |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in content["rows"]:
        p_value = "-" if row["equivalence_p"] is None else f"{row['equivalence_p']:.3f}"
        rate = f"x{row['factor']:g}{' (edge)' if row['edge'] else ''}"
        yield (
            f"| {row['setting'].replace('_', ' ')} | {row['budget']} | {row['group']} | {rate} | "
            f"{words(row['reward'])} | {words(row['retained'])} | {words(row['retained_gain'])} | {p_value} |"
        )


def left_open(content: Mapping[str, Any]) -> list[str]:
    """Settings that need ``MORE_STARTS``, by the rule that stands there: an end of an interval that is not known holds
    all beyond it."""

    def holds(figure: Mapping[str, Any], value: float) -> bool:
        low, high = figure["low"], figure["high"]
        return (low is None or low <= value) and (high is None or value <= high)

    rows = {(row["setting"], row["budget"]): row for row in content["rows"] if row["group"] == 2}
    found = []
    for setting in content["settings"]:
        tokens, prompts = (rows[setting["name"], budget] for budget in ("tokens", "prompts"))
        undecided = holds(prompts["retained"], CLAIMED) and prompts["equivalence_p"] >= 0.05
        if holds(tokens["difference"], 0.0) or undecided:
            found.append(setting["name"])
    return found


def predictions(content: Mapping[str, Any]) -> Iterator[str]:
    """A line for every setting: what the bank said before training, and what came."""
    yield (
        "| setting | success, length | best group by the bank | variance per rollout, 2 over 16 | "
        "predicted best, measured best | correlation |"
    )
    yield "|---|---|---|---|---|---|"
    for setting in content["settings"]:
        prediction, outcome = setting["prediction"], setting["compared"]
        bank = prediction["bank"]
        (law,) = (arm["variance_ratio"] for arm in prediction["arms"] if arm["group"] == 2)
        best = ", ".join(outcome.get(f"{kind}_best", "-") for kind in ("predicted", "measured"))
        yield (
            f"| {setting['name'].replace('_', ' ')} | {bank['success']:.2f}, {bank['length']:.1f} | "
            f"{prediction['best_group']} | {words(law)} | {best} | "
            f"{words(outcome.get('correlation'))} |"
        )


def cells(content: Mapping[str, Any]) -> Iterator[str]:
    """A line for every cell of the map."""
    yield (
        "| task, tokens | success | prompts per step, 2 and 16 | sixteen's gain | the law's ratio | "
        "equal rollouts: reward, 2 over 16 | its gain | equal prompts: reward, 2 over 16 |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for row in content["rows"]:
        prompts = row["prompts_per_step"]
        yield (
            f"| {row['cell'].rsplit('-', 2)[0].replace('_', ' ')}, {row['length']:.1f} | {row['success']:.2f} | "
            f"{prompts['2']} and {prompts['16']} | {words(row['gain'])} | {words(row['law'])} | "
            f"{words(row['retained'])} | {words(row['retained_gain'])} | {words(row['at_prompts']['retained'])} |"
        )


def main() -> None:
    """Print the tables of results, and the map's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "files", type=Path, nargs="*", help="results; without any, the default's and the map's"
    )
    files = parser.parse_args().files
    content = joined(files or [RESULTS / "settling.json"])
    still = ", ".join(left_open(content)) or "none"
    lines = [*retained(content), "", f"Left open by these starts: {still}.", "", *predictions(content)]
    if not files:
        lines += ["", *cells(joined(sorted(RESULTS.glob("settling_map_*.json"))))]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
