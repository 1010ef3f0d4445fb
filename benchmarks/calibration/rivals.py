"""Other intervals for the cells that miss the aim: studentised bootstrap and empirical likelihood, by coverage.

    python -m benchmarks.calibration.rivals                    # goes on where it stopped
    python -m benchmarks.calibration.rivals --repeats 300 --at-most 0.9 --out quick

Both take the jackknife's pseudo-values of a figure, of its logarithm for a variance, as a sample of its mean: the
bootstrap-t of Efron (Hall 1988, Annals of Statistics 16(3) 927-953), and jackknife empirical likelihood (Jing, Yuan and
Zhou 2009, Journal of the American Statistical Association 104(487) 1224-1232), with the quantile of F(1, B - 1) in
place of chi-squared (Owen 1988, Biometrika 75(2) 237-249). An interval is given where the package gives one, so that
coverages are of the same repeats.

Writes ``calibration_rivals.csv`` to --out, and prints it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.special import fdtri

from benchmarks.calibration import report, twin
from benchmarks.calibration.cells import Cell, as_row, grid
from benchmarks.calibration.rule import INTERVALS, append, rows, rows_of, rule_of
from gradvar.stats.effective import FEWEST
from gradvar.stats.figures import effective_blocks, figures, leave_one_out, pivots
from gradvar.stats.intervals import interval

METHODS = ("Student", "package", "bootstrap-t", "empirical likelihood")
_RESAMPLES = 499
_HALVINGS = 60
_RESULTS = Path(__file__).resolve().parent.parent / "results"


def coverage(cell: Cell, name: str, repeats: int, seed: int) -> tuple[dict[str, float], float]:
    """Of one figure of a cell: the coverage by every method, and how often there is an interval.

    Args:
        cell: The setting.
        name: Of the figure.
        repeats: How many measurements are simulated.
        seed: Of everything random.
    """
    scales, rng = twin.scale(cell), np.random.default_rng(seed)
    truth, held, given = twin.truth(cell, scales)[name], np.zeros(len(METHODS)), 0
    for _ in range(repeats):
        sums = twin.draw(rng, cell, scales, 1)[0]
        values, errors = figures(sums)
        value, parts = float(values[name][0]), leave_one_out(sums)[name][0]
        if effective_blocks(sums)[name][0] < FEWEST or not errors[name][0] > 0:
            continue
        given += 1
        ends = pivots(values, leave_one_out(sums), effective_blocks(sums))[name].bounds(values[name])
        plain = interval(value, errors[name][0], len(parts) - 1, logarithmic=name != "between")
        logarithmic = name in ("trace_cov", "within") and value > 0 and (parts > 0).all()
        numbers = np.array([value, *parts, truth])
        numbers = np.log(numbers) if logarithmic else numbers
        whole, without, target = numbers[0], numbers[1:-1], float(numbers[-1])
        pseudo = len(parts) * whole - (len(parts) - 1) * without
        held += [
            plain[0] <= truth <= plain[1],
            ends[0][0] <= truth <= ends[1][0],
            _bootstrap_holds(rng, pseudo, target),
            likelihood_ratio(pseudo, target) <= fdtri(1, len(pseudo) - 1, 0.95),
        ]
    return dict(zip(METHODS, held / max(given, 1), strict=True)), given / repeats


def _bootstrap_holds(rng: np.random.Generator, sample: np.ndarray, target: float) -> bool:
    """Whether the target lies between the ends of the bootstrap-t."""
    size = len(sample)
    drawn = sample[rng.integers(size, size=(_RESAMPLES, size))]
    error = drawn.std(1, ddof=1)
    quotient = (drawn.mean(1) - sample.mean())[error > 0] / error[error > 0]
    least, most = np.quantile(quotient, (0.025, 0.975))
    return bool(least <= (sample.mean() - target) / sample.std(ddof=1) <= most)


def likelihood_ratio(sample: np.ndarray, target: float) -> float:
    """-2 log of the empirical likelihood ratio of a mean (Owen 1988); infinite outside the sample's range.

    >>> round(likelihood_ratio(np.array([1.0, 2.0, 3.0]), 2.0), 6), likelihood_ratio(np.array([1.0, 2.0]), 3.0)
    (0.0, inf)
    """
    z = sample - target
    if not z.min() < 0 < z.max():
        return np.inf
    low, high = -1 / z.max(), -1 / z.min()  # of the multiplier: all 1 + multiplier z are positive between
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        slope = (z / (1 + middle * z)).sum()
        low, high = (middle, high) if slope > 0 else (low, middle)
    return float(2 * np.log1p((low + high) / 2 * z).sum())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--at-most", type=float, default=0.93, help="coverage of the cells that are tried")
    parser.add_argument("--figures", nargs="+", default=["trace_cov", "signal"])
    parser.add_argument("--out", type=Path, default=_RESULTS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path, rule = options.out / "calibration_rivals.csv", rule_of(INTERVALS)
    done = {(r["figure"], r["cell"]) for r in rows_of(path, rule) if r["repeats"] == str(options.repeats)}
    cells = {tuple(as_row(cell).values()): cell for cell in grid()}
    for row in rows(_RESULTS / "calibration.csv"):
        figure, words = row["figure"], report.in_words(row)
        if figure not in options.figures or float(row["given"]) < report.RARELY or (figure, words) in done:
            continue
        if float(row["after"]) > options.at_most:
            continue
        cell = cells[tuple(row[name] for name in as_row(grid()[0]))]
        with np.errstate(all="ignore"):  # figures without a signal are NaN
            shares, given = coverage(cell, figure, options.repeats, 5)
        keys = {"figure": figure, "cell": words, "repeats": str(options.repeats), "given": f"{given:.4g}"}
        append(path, [keys | {name: f"{x:.4g}" for name, x in shares.items()} | {"rule": rule}])
    print("\n".join(report.rivals(rows(path))))


if __name__ == "__main__":
    main()
