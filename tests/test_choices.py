"""Which setting is best: at an error that counts the choice, paired where rollouts are shared."""

import numpy as np
import pytest

from gradvar.studies.choices import identity, largest
from gradvar.studies.findings import findings


def settings(draws, spread=0.3):
    """Rows and leave-one-out values of means of ``draws`` [setting, block]; their sizes are 2, 2, 4, 4."""
    blocks = draws.shape[1]
    rows, shares = [], {}
    for index, row in enumerate(draws):
        error = row.std(ddof=1) / np.sqrt(blocks)
        rows.append({
            "estimator": f"e{index}", "group_size": 2 + 2 * (index // 2), "figure": "snr_per_rollout",
            "value": row.mean(), "low": row.mean() - 2.13 * error, "high": row.mean() + 2.13 * error,
            "effective": float(blocks),
        })  # fmt: skip
        shares[identity(rows[-1])] = (row.sum() - row) / (blocks - 1)
    return rows, shares


@pytest.mark.parametrize("paired", [True, False])
def test_of_equals_one_is_called_the_best_in_less_than_one_run_of_twenty(paired):
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(400):
        draws = 1 + 0.3 * rng.standard_normal((4, 16))
        draws[1] = (
            0.9 * (draws[0] - 1) + 0.4 * (draws[1] - 1) + 1
        )  # settings of one size share their rollouts
        rows, shares = settings(draws)
        wrong += largest(rows, shares if paired else None).certain
    assert wrong <= 0.05 * 400 + 2 * np.sqrt(400 * 0.05 * 0.95)


def test_pairs_tell_apart_what_intervals_cannot():
    rng = np.random.default_rng(1)
    common = rng.standard_normal(16)
    draws = 2 + np.stack([common, common + 0.5 + 0.05 * rng.standard_normal(16)])
    rows, shares = settings(draws)
    assert rows[0]["high"] > rows[1]["low"]
    choice = largest(rows, shares)
    assert (choice.best, choice.certain) == (1, True)
    assert choice.gap.low <= 0.5 <= choice.gap.high
    assert not largest(rows).certain
    assert "cannot be told" in findings(rows)[0]
    assert findings(rows, shares)[0].startswith("Most signal per rollout from e1 at G = 2")


def test_independent_settings_are_compared_by_both_errors():
    """Of one setting of each size the error of the difference is the root of the sum of squares."""
    rng = np.random.default_rng(2)
    draws = 1 + 0.3 * rng.standard_normal((4, 16))
    rows, shares = settings(draws)
    pair = [rows[0], rows[2]]
    gap = largest(pair, shares).gap
    expected = np.sqrt((draws[[0, 2]].var(1, ddof=1) / 16).sum())
    assert gap.se == pytest.approx(expected, rel=0.05)


def test_a_figure_without_an_interval_wins_nothing():
    row = {
        "estimator": "a",
        "group_size": 2,
        "figure": "snr_per_rollout",
        "value": 9.0,
        "low": np.nan,
        "high": np.nan,
    }
    known = {**row, "estimator": "b", "value": 1.0, "low": 0.9, "high": 1.1}
    assert not largest([row, known]).certain
    assert not largest([known, {**row, "value": 0.1}]).certain
    assert largest([known, {**known, "estimator": "c", "value": 0.1, "low": 0.05, "high": 0.2}]).certain


def sampled(name, size, figure, value, half):
    ends = {"low": value - half, "high": min(1.0, value + half)} if half else {"low": value, "high": value}
    return {
        "estimator": name,
        "group_size": size,
        "figure": figure,
        "value": value,
        **ends,
        "effective": 40.0,
    }


def test_a_cosine_that_may_be_lower_forbids_the_furthest():
    rows = [sampled("a", 2, "cosine", 0.9, 0.02), sampled("b", 2, "cosine", 0.99, 0.01)]
    assert "Furthest from the direction of ∇J: a at G = 2" in " ".join(findings(rows))
    wide = [*rows, sampled("c", 2, "cosine", 0.95, 0.2)]  # its interval includes one
    assert "cannot be told: the lowest estimate is that of a at G = 2" in " ".join(findings(wide))


def test_of_a_cosine_without_an_interval_nothing_is_said():
    unknown = {**sampled("b", 2, "cosine", 1.0, 0.1), "low": np.nan, "high": np.nan}
    rows = [sampled("a", 2, "cosine", 0.9, 0.02), unknown]
    assert "Furthest from the direction of ∇J: a at G = 2" in (text := " ".join(findings(rows)))
    assert "along it" not in text


def test_a_range_over_group_sizes_has_its_intervals():
    rows = [sampled("a", size, "bias_factor", value, 0.1) for size, value in ((2, 0.5), (16, 0.55))]
    assert "0.50 ±0.10 at G = 2 and 0.55 ±0.10 at G = 16 for a" in " ".join(findings(rows))
    rows[1] = sampled("a", 16, "bias_factor", 0.8, 0.1)
    assert "0.50 ±0.10 at G = 2 to 0.80 ±0.10 at G = 16 for a" in " ".join(findings(rows))
