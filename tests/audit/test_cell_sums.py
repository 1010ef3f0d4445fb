"""Cells in order, labels of prompts and sizes that are tried, without a file."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import norm

from gradvar.audit import larger_groups
from gradvar.audit.best_of import best_of
from gradvar.audit.cell_sums import CellSums, _sorted
from gradvar.audit.findings import _advantages
from gradvar.audit.group_sizes import curve
from gradvar.audit.larger_groups import _bounds
from gradvar.audit.reward_parts import FIELDS, TOTAL, PartSums, parts
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


@pytest.mark.parametrize("size", [2, 4])
def test_bounds_hold_for_all_numbers_of_successes_together(size, monkeypatch):
    levels = []
    bounds = larger_groups._bounds
    monkeypatch.setattr(larger_groups, "_bounds", lambda *given: levels.append(given[2]) or bounds(*given))
    cells = cells_of([(0, g, [g] * size, [1.0] * (g % 3) + [0.0] * (size - g % 3), None) for g in range(12)])
    assert [n for n, _ in larger_groups.larger_groups(cells, success(cells, None))] == [
        2 * size,
        4 * size,
        8 * size,
    ]
    assert levels == [pytest.approx(1 - 0.05 / (size + 1))]


def test_advantages_of_another_estimator_are_told():
    def told(wrote, used):
        written = SimpleNamespace(
            torn=0,
            formula=wrote,
            in_equal=0,
            largest_in_equal=0.0,
            rollouts=8,
            fits=(),
            others=0,
            estimator=wrote,
        )
        return [s.kind for s in _advantages(written, used) if "are those of" in s.sentence]

    for one, other in (("grpo", "rloo"), ("rloo", "grpo")):
        assert len(told(one, other)) == 1
        assert told(one, one) == []


def test_a_share_of_the_variance_is_asked_about_among_several_parts():
    """Whatever they are called; and a part is saturated above 98 %, not at it."""
    names = (TOTAL, "zebra", "zulu")
    zebra, zulu = np.repeat([0.0, 1.0], [26, 174]), np.tile([0.0, 0.1], 100)
    columns = dict(zip(names, (zebra + zulu, zebra, zulu), strict=True))
    sums = PartSums()
    for step in range(4):  # of the last step's zebras one of fifty is zero
        rows = (
            np.roll(zebra, -1)[50 * step : 50 * (step + 1)]
            if step == 3
            else zebra[50 * step : 50 * (step + 1)]
        )
        own = {n: (rows if n == "zebra" else c[50 * step : 50 * (step + 1)]) for n, c in columns.items()}
        own[TOTAL] = own["zebra"] + own["zulu"]
        table = {"step": np.array([step])}
        for i, a in enumerate(names):
            table |= {f"low_{i}": own[a].min(keepdims=True), f"high_{i}": own[a].max(keepdims=True)}
            for j, b in list(enumerate(names))[i:]:
                x, y = own[a], own[b]
                row = (50.0, x.mean(), y.mean(), 50 * x.var(), 50 * y.var(), 50 * np.cov(x, y, ddof=0)[0, 1])
                table |= {f"{f}_{i}_{j}": np.array([v]) for f, v in zip(FIELDS, row, strict=True)}
        sums.add(names, table)
    asked = " ".join(parts(sums).questions)
    assert "'zebra' makes" in asked
    assert {f.name: f.late for f in parts(sums).figures}["zebra"] == 0.98
    assert "saturated" not in asked
