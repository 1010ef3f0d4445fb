"""Does the interval of what an arm retains cover? By simulation, for 3 to 10 warm starts of 8 seeds each.

    python -m benchmarks.calibration.retention                 # half a minute

Starts scatter, and the seeds of a start scatter about it; the true ratio is known. Beside the package's interval
(``stats.starts.ratio_of``: starts as units, Student's t, the delta method): a logarithmic scale, Fieller's interval, a
percentile bootstrap of the starts, and seeds as units, as if each were a start of its own. Writes
benchmarks/results/calibration_retention.csv.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import stats

from gradvar.stats.starts import ratio_of

SEEDS, RESAMPLES = 8, 400
STARTS = (3, 5, 8, 10)
# true ratio; mean of the reference, its spread over starts; spread of the arm over starts beside the ratio's part
SCENES = {
    "final reward": (0.8, 0.45, 0.03, 0.04),
    "gain": (0.3, 0.15, 0.03, 0.02),
    "gain that scatters": (0.3, 0.15, 0.06, 0.03),
}
RESULTS = Path(__file__).resolve().parent.parent / "results" / "calibration_retention.csv"


def draw(
    rng: np.random.Generator, scene: tuple[float, float, float, float], starts: int, skewed: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the arm and of the reference [start, seed]."""
    ratio, mean, spread, beside = scene

    def scatter() -> np.ndarray:
        return (rng.gamma(4, size=starts) - 4) / 2 if skewed else rng.standard_normal(starts)

    reference = mean + spread * scatter()
    arm = ratio * reference + beside * scatter()
    noise = 0.02 * rng.standard_normal((2, starts, SEEDS))
    return arm[:, None] + noise[0], reference[:, None] + noise[1]


def intervals(
    rng: np.random.Generator, arm: np.ndarray, reference: np.ndarray
) -> Iterator[tuple[str, float, float]]:
    """Every kind of interval: its name and ends; NaN where there is none."""
    a, b = arm.mean(1), reference.mean(1)
    delta = ratio_of(a, b)
    yield "starts, t and delta", delta.low, delta.high
    with np.errstate(all="ignore"):
        factor = np.exp((delta.high - delta.value) / delta.value) if delta.value > 0 else np.nan
    yield "the same, logarithmic", delta.value / factor, delta.value * factor
    t = stats.t.ppf(0.975, len(a) - 1)
    covariance = np.cov(a, b) / len(a)
    # the numbers r with (mean a - r mean b)^2 <= t^2 var(a - r b): between the roots of a parabola
    high = b.mean() ** 2 - t**2 * covariance[1, 1]
    middle = a.mean() * b.mean() - t**2 * covariance[0, 1]
    root = np.sqrt(max(middle**2 - high * (a.mean() ** 2 - t**2 * covariance[0, 0]), 0.0))
    bounded = high > 0
    low, top = (float((middle + sign * root) / high) if bounded else np.nan for sign in (-1, 1))
    yield "Fieller", low, top
    draws = rng.integers(0, len(a), (RESAMPLES, len(a)))
    low, top = np.quantile(a[draws].mean(1) / b[draws].mean(1), [0.025, 0.975])
    yield "bootstrap of starts", float(low), float(top)
    seeds = ratio_of(arm.ravel(), reference.ravel())
    yield "seeds as units", seeds.low, seeds.high


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rng, rows = np.random.default_rng(options.seed), []
    for name, scene in SCENES.items():
        for skewed in (False, True):
            for starts in STARTS:
                held: dict[str, list[bool]] = {}
                for _ in range(options.repeats):
                    for kind, low, high in intervals(rng, *draw(rng, scene, starts, skewed)):
                        if low <= high:
                            held.setdefault(kind, []).append(bool(low <= scene[0] <= high))
                row = {"scene": name, "starts": starts, "skewed": skewed}
                row |= {kind: round(float(np.mean(x)), 4) for kind, x in held.items()}
                rows.append(row | {"given": len(held["starts, t and delta"]) / options.repeats})
                print(rows[-1], flush=True)
    with options.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
