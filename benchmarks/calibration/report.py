"""The document and the figure of a calibration, from its rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.calibration.cells import Cell, grid
from benchmarks.calibration.rule import ADVICE, INTERVALS, ROUNDS, rows, rule_of

FIGURES = {
    "trace_cov": "tr Cov", "within": "within", "between": "between", "signal": "signal", "snr": "SNR",
    "bias_factor": "bias factor", "ratio": "paired ratio of tr Cov",
}  # fmt: skip
BAND, LEAST = (0.93, 0.97), 0.9
RARELY = 0.05  # share of repeats with an interval under which a coverage says nothing
TEMPLATE = Path(__file__).with_name("document.md")
_WORST = 5


def in_words(row: dict[str, str]) -> str:
    """A cell in words: its size, and what differs from the base."""
    base = Cell(row["engine"])
    amount = f"bank, {row['prompts']} prompts x {row['rollouts']}"
    if row["engine"] == "direct":
        amount = f"direct, {row['replicates']} replicates"
    words = [amount, f"p {row['success']}" if row["rewards"] not in ("normal", "t3") else ""]
    words.append("" if row["rewards"] == base.rewards else f"rewards {row['rewards']}")
    words.append(f"{row['estimator']} G={row['group_size']}")
    words.append("lengths 1 to 3,000" if row["long"] == "True" else "")
    ratios = {"0.0": "", "0.3": "mildly stale", "1.5": "violently stale"}[row["staleness"]]
    words.append(f"{ratios} and clipped" if row["clipped"] == "True" else ratios)
    words.append("" if row["snr"] == str(base.snr) else f"SNR {row['snr']}")
    words.append("grad J unknown" if row["known"] == "False" else "")
    return ", ".join(word for word in words if word)


def well(covered: np.ndarray, number: np.ndarray) -> tuple[float, float]:
    """Shares of cells between 93 and 97 %, and of at least 90 %, two binomial standard errors allowed for."""
    low, high, floor = (2 * np.sqrt(edge * (1 - edge) / number) for edge in (*BAND, LEAST))
    inside = (covered >= BAND[0] - low) & (covered <= BAND[1] + high)
    return float(inside.mean()), float((covered >= LEAST - floor).mean())


def write(path: Path, document: Path, fewest: int) -> None:
    """Write the document and its figure.

    Args:
        path: Of the rows.
        document: Where the document goes.
        fewest: Effective blocks below which there is no interval.
    """
    measured = rows(path)
    repeats = int(measured[0]["repeats"])
    heads = ("figure", "cells", "93 to 97 %, before", "after", "at least 90 %, before", "after")
    summary = [_line(*heads, "lowest, before", "after", "given"), "|---" * 9 + "|"]
    worst = [_line("figure", "cell", "before", "after", "given"), "|---" * 5 + "|"]
    panels = {}
    for name, label in FIGURES.items():
        chosen = [row for row in measured if row["figure"] == name and float(row["given"]) >= RARELY]
        before, after, given = (np.array([float(r[k]) for r in chosen]) for k in ("before", "after", "given"))
        panels[label] = before, after
        shares = zip(well(before, np.full(len(before), repeats)), well(after, given * repeats), strict=True)
        columns = [f"{100 * x:.0f} %" for pair in (*shares, (before.min(), after.min())) for x in pair]
        often = np.mean([float(row["given"]) for row in measured if row["figure"] == name])
        summary.append(_line(label, str(len(chosen)), *columns, f"{100 * often:.0f} %"))
        for row in sorted(chosen, key=lambda r: float(r["after"]))[:_WORST]:
            percent = (f"{100 * float(row[k]):.1f} %" for k in ("before", "after", "given"))
            worst.append(_line(label, in_words(row), *percent))
    by_cell: dict[str, dict[str, dict[str, str]]] = {}
    for row in measured:
        by_cell.setdefault(in_words(row), {})[row["figure"]] = row
    table = [_line("cell", *FIGURES.values()), "|---" * (len(FIGURES) + 1) + "|"]
    table += [_line(cell, *(_entry(x.get(name)) for name in FIGURES)) for cell, x in by_cell.items()]
    in_rounds = rows(path.with_name("calibration_sequential.csv"))
    text = TEMPLATE.read_text().format(
        cells=_number_of_cells(len(by_cell)), repeats=f"{repeats:,}", fewest=fewest,
        error=f"{100 * np.sqrt(0.05 * 0.95 / repeats):.1f}",
        figures="\n".join(summary), worst="\n".join(worst), table="\n".join(table),
        engines="\n".join(_engines(rows(path.with_name("calibration_engines.csv")))),
        advice="\n".join(_advice(rows(path.with_name("calibration_advice.csv")))),
        rivals="\n".join(rivals(rows(path.with_name("calibration_rivals.csv")))), rules=_rules(path),
        moderate="\n".join(moderate(path.with_name("calibration.json"), path.with_name("bank_coverage.json"))),
        rounds="\n".join(rounds(in_rounds)), stops=", ".join(dict.fromkeys(r["repeats"] for r in in_rounds)),
    )  # fmt: skip
    document.write_text(text)
    _draw(panels, path.with_suffix(".svg"))


def _engines(measured: list[dict[str, str]]) -> list[str]:
    """The table of the engines themselves beside their twins, cell by cell."""
    names = {**FIGURES, "optimum": "optimum of advise", "regret": "regret of advise"}
    shown = [name for name in names if any(row["figure"] == name for row in measured)]
    by_cell: dict[str, dict[str, str]] = {}
    for row in measured:
        shares = [100 * float(row[k]) for k in ("covered", "given", "twin covered", "twin given")]
        pairs = [f"{x:.0f} ({y:.0f})" if y else "none" for x, y in (shares[:2], shares[2:]) if y == y]
        by_cell.setdefault(row["cell"], {})[row["figure"]] = " / ".join(pairs)
    lines = [_line("cell", *(names[name] for name in shown)), "|---" * (len(shown) + 1) + "|"]
    return lines + [_line(cell, *(x.get(name, "") for name in shown)) for cell, x in by_cell.items()]


def _advice(measured: list[dict[str, str]]) -> list[str]:
    """The table of advice: a row for each policy and cost of a prompt."""
    names = ("policy", "banks", "a prompt costs", "G*", "best size", "G* covered (given)", "regret covered (given)",
             "V(G) covered (given), lowest", "cost of the size named: mean, most", "cost of G=32",
             "informative shares covered")  # fmt: skip
    lines = [_line(*names), "|---" * len(names) + "|"]
    for row in measured:
        x = {key: float(value or "nan") for key, value in row.items() if key not in ("policy", "rule")}
        pairs = [
            _share(x[f"{what} covered"], x[f"{what} given"]) for what in ("optimum", "regret", "variance")
        ]
        lost, largest = f"{x['lost']:.3f}, {x['lost most']:.2f}", f"{x['largest']:.2f}"
        shares = f"{100 * x['informative covered']:.0f}"
        lines.append(
            _line(
                row["policy"],
                row["repeats"],
                row["cost"],
                f"{x['G*']:.1f}",
                f"{x['best']:.0f}",
                *pairs,
                lost,
                largest,
                shares,
            )
        )
    return lines


def rivals(measured: list[dict[str, str]]) -> list[str]:
    """The table of other intervals: a row for each figure of a cell."""
    names = ("Student", "package", "bootstrap-t", "empirical likelihood")
    lines = [_line("figure", "cell", "given", *names), "|---" * (3 + len(names)) + "|"]
    for row in measured:
        shares = (f"{100 * float(row[name]):.1f}" for name in names)
        lines.append(
            _line(FIGURES[row["figure"]], row["cell"], f"{100 * float(row['given']):.0f} %", *shares)
        )
    return lines


def moderate(direct: Path, bank: Path) -> list[str]:
    """The table of coverage against enumeration: by figure, over the settings of ``direct`` and of the bank."""
    lines = [_line("engine", "figure", "settings", "mean", "lowest", "highest"), "|---" * 6 + "|"]
    shares: dict[tuple[str, str], list[float]] = {}
    for row in _json_rows(direct):
        for name in (*FIGURES, "cosine"):
            if name in row:
                shares.setdefault(("direct", name), []).append(row[name])
    for row in _json_rows(bank):
        shares.setdefault(("bank", row["figure"]), []).append(row["coverage"])
    for (engine, name), covered in shares.items():
        label = FIGURES.get(name, name if name == "cosine" else FIGURES["ratio"])
        numbers = (f"{100 * x:.1f} %" for x in (np.mean(covered), min(covered), max(covered)))
        lines.append(_line(engine, label, str(len(covered)), *numbers))
    return lines


def rounds(measured: list[dict[str, str]]) -> list[str]:
    """The table of coverage at a stop: a row for each setting, a column for each figure and precision."""
    by_setting: dict[str, dict[str, str]] = {}
    for row in measured:
        stopped, fixed, often = (100 * float(row[name]) for name in ("rounds", "fixed", "stopped"))
        text = f"{stopped:.0f} / {fixed:.0f} ({often:.0f})" if often else "none (0)"
        column = f"{FIGURES[row['figure']]} within {100 * float(row['share']):.0f} %"
        by_setting.setdefault(row["setting"], {})[column] = text
    columns = list(next(iter(by_setting.values()), {}))
    lines = [_line("setting", *columns), "|---" * (1 + len(columns)) + "|"]
    return lines + [_line(name, *(x.get(c, "") for c in columns)) for name, x in by_setting.items()]


def _json_rows(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text())["rows"] if path.exists() else []


def _number_of_cells(measured: int) -> str:
    """How many cells were measured, and of how many, where some are missing."""
    whole = len(grid())
    return f"{measured} cells" if measured == whole else f"{measured} of the grid's {whole} cells"


def _rules(path: Path) -> str:
    """By which rule the rows of every file were made, and how many by another one than today's."""
    rules = {
        "calibration.csv": INTERVALS, "calibration_rivals.csv": INTERVALS, "calibration.json": INTERVALS,
        "bank_coverage.json": INTERVALS, "calibration_sequential.csv": ROUNDS, "calibration_engines.csv": ADVICE,
        "calibration_advice.csv": ADVICE,
    }  # fmt: skip
    words = []
    for name, files in rules.items():
        today, file = rule_of(files), path.with_name(name)
        made = [row.get("rule") for row in rows(file)]
        if file.suffix == ".json":
            made = [json.loads(file.read_text()).get("rule")] if file.exists() else []
        older = len(made) - made.count(today)
        words.append(f"`{name}` {today}" + (f" (**{older} of {len(made)} by another**)" if older else ""))
    return ", ".join(words)


def _share(covered: float, given: float) -> str:
    if given != given:
        return "not counted"
    return f"{100 * covered:.0f} ({100 * given:.0f})" if given else "none"


def _line(*columns: str) -> str:
    return "| " + " | ".join(columns) + " |"


def _entry(row: dict[str, str] | None) -> str:
    if row is None:
        return ""
    before, after, given = (100 * float(row[k]) for k in ("before", "after", "given"))
    return f"{before:.1f} → " + ("none" if given < 100 * RARELY else f"{after:.1f} ({given:.0f})")


def _draw(panels: dict[str, tuple[np.ndarray, np.ndarray]], path: Path) -> None:
    """Each figure's cells in the order of their coverage, before and after."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "calibration"
    mpl.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(panels), figsize=(13, 3), sharey=True, layout="constrained")
    for axis, (label, (before, after)) in zip(axes, panels.items(), strict=True):
        axis.axhspan(100 * BAND[0], 100 * BAND[1], color="0.88", lw=0)
        share = np.linspace(0, 100, len(before))
        axis.plot(share, 100 * np.sort(before), color="#b2182b", label="before")
        axis.plot(share, 100 * np.sort(after), color="#2166ac", label="after")
        axis.set(ylim=(40, 100.5), xlabel="cells, %")
        axis.set_title(label, fontsize=9)
    axes[0].set_ylabel("covered, %")
    axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
