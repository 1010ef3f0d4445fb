"""Cells in order, labels of prompts and sizes that are tried, without a file."""

import numpy as np
import pytest
from scipy.stats import norm

from gradvar.audit.best_of import best_of
from gradvar.audit.cell_sums import CellSums, _sorted
from gradvar.audit.group_sizes import curve
from gradvar.audit.larger_groups import _bounds
from gradvar.audit.statistics import success
from gradvar.stats.intervals import Interval
from tests.audit.rollouts import cells_of, rewards_of


@pytest.mark.parametrize("spread", [1, 2**20, 2**40])
def test_cells_are_ordered_however_far_apart_their_numbers_are(spread):
    """By step, group, reward and prompt: in one whole number each, or beyond 2^62 by the four."""
    rng = np.random.default_rng(0)
    columns = {name: rng.integers(-2, 3, 200) * spread for name in ("step", "group", "prompt")}
    columns |= {"reward": rng.choice([-1.0, 0.0, 0.5], 200), "n": np.ones(200, int)}
    keys = list(zip(*(columns[name].tolist() for name in ("step", "group", "reward", "prompt")), strict=True))
    order, fresh = _sorted(columns)
    ordered = [keys[i] for i in order]
    assert ordered == sorted(keys)
    assert fresh.tolist() == [i == 0 or ordered[i] != ordered[i - 1] for i in range(200)]


def test_a_label_is_the_whole_key_unless_that_is_long():
    keys = ["short", "k" * 40, "k" * 64, "#" + "h" * 64]
    sums = CellSums()
    numbers = sums._prompts.of(np.array(keys))
    column = np.zeros(4, np.int64)
    sums._waiting.append(
        {"step": column, "group": numbers, "prompt": numbers, "reward": column * 1.0, "n": column + 1}
    )
    cells, labels = sums.cells()
    assert labels == ("short", "k" * 40, "k" * 64, "#" + "h" * 32)
    assert cells.prompt.tolist() == [0, 1, 2, 3]
    assert np.isnan([cells.low, cells.high]).all()


def test_sizes_that_are_tried():
    cells = cells_of([(0, g, [g] * 300, [1.0] * (100 + g) + [0.0] * (200 - g), None) for g in range(3)])
    assert [p.k for p in best_of(cells, success(cells, None))] == [2**i for i in range(9)] + [300]
    sizes = [s.group_size for s in curve(rewards_of(cells), cells.groups.prompt, 40)]
    assert sizes == [2, 3, 4, 6, 8, 12, 16, 24, 32, 40, 64]


def test_bounds_of_shares_at_the_sample_size_of_their_variance():
    """Of a share of none or all the variance is zero, and every prompt counts once; no share counts less than once."""
    value = np.array([0.0, 0.5, 0.5, 1.0])
    shares = [Interval(v, 0.0, 1.0, se, 9) for v, se in zip(value, (0.0, 0.05, 0.6, 0.0), strict=True)]
    low, high = _bounds(shares, value, 0.99)
    z = norm.ppf(0.995)
    for place, (v, n) in enumerate(zip(value, (10, 100, 1, 10), strict=True)):
        middle, half = v + z**2 / (2 * n), z * np.sqrt(v * (1 - v) / n + z**2 / (4 * n**2))
        assert low[place] == pytest.approx((middle - half) / (1 + z**2 / n), abs=1e-12)
        assert high[place] == pytest.approx((middle + half) / (1 + z**2 / n), abs=1e-12)
