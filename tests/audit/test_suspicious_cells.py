"""What is suspicious is counted, and the parts of a reward ask what they should: on cells and columns by hand."""

import numpy as np
import pytest

from gradvar.audit.findings import suspicions
from gradvar.audit.malformed import Faults
from gradvar.audit.reward_parts import LENGTH, TOTAL, PartSums, merged, parts
from tests.audit.rollouts import cells_of


def test_what_is_suspicious_is_counted():
    def count(groups, grouped=False):
        found = suspicions(cells_of(groups, grouped), Faults(), None, None)
        return {s.kind: s.count for s in found}

    def group(step, number, rewards, prompt=None):
        return step, number, [prompt or number] * len(rewards), rewards, None

    sound = [group(0, g, [0.0, 1.0]) for g in range(5)]
    assert count(sound) == {}
    assert count([*sound, group(0, 9, [0.0, 1.0, 0.0])]) == {"unequal sizes": 1}
    (unequal,) = suspicions(cells_of([*sound, group(0, 9, [0.0, 1.0] * 2 + [1.0])]), Faults(), None, None)
    assert "1 of 6 groups do not have 2 rollouts (sizes 2 to 5)" in unequal.sentence
    assert count([*sound, group(0, 9, [0.0, 1.0] * 2)]) == {"prompts repeated": 1}
    assert count([*sound, group(0, 9, [0.0, 1.0] * 2)], True) == {"several times the size": 1}
    assert count([group(0, g, [1.0]) for g in range(3)]) == {"groups of one": 3, "no signal": 1}
    assert count([*sound, group(1, 7, [1.0, 1.0]), group(1, 8, [0.0, 0.0])]) == {"no signal": 1}
    assert count([*sound, group(0, 9, [1.0, 1.0 + 0.9e-6])]) == {"rounding": 1}
    assert count([*sound, group(0, 9, [1.0, 1.0 + 1.1e-6])]) == {}
    assert count([*sound, group(0, 9, [-1.0, -1.0 + 0.9e-6])]) == {"rounding": 1}
    mixed = [*sound, (0, 9, [1, 8], [0.0, 1.0], None)]
    assert count(mixed, True) == {"groups of several prompts": 1, "prompts in several groups": 1}
    assert count([*sound, *(group(0, g, [0.0, 1.0], prompt=4) for g in (7, 8))], True) == {
        "prompts in several groups": 1
    }
    again = [group(s, g, [0.0, 1.0]) for s in (0, 1, 2) for g in range(4)]
    assert count(again) == {"steps repeated": 2}
    assert count(again[:8]) == {"steps repeated": 1}
    few = [group(s, g, [0.0, 1.0]) for s in (0, 1) for g in range(3)]
    assert count(few) == {}
    changed = [*again[:8], *(group(2, g, [0.0, 1.0 + (g == 3)]) for g in range(4))]
    assert count(changed) == {"steps repeated": 1}


def moments(x, y):
    dx, dy = x - x.mean(), y - y.mean()
    return np.array([len(x), x.mean(), y.mean(), dx @ dx, dy @ dy, dx @ dy])


def test_moments_merge_to_those_of_the_whole():
    rng = np.random.default_rng(0)
    x, y = rng.normal(2, 1, 13), rng.normal(-1, 2, 13)
    for cut in (1, 5, 12):
        np.testing.assert_allclose(
            merged(moments(x[:cut], y[:cut]), moments(x[cut:], y[cut:])), moments(x, y)
        )
    np.testing.assert_array_equal(merged(np.zeros(6), moments(x, y)), moments(x, y))
    np.testing.assert_array_equal(merged(moments(x, y), np.zeros(6)), moments(x, y))


def part_figures(columns, step):
    """What ``parts`` makes of columns by name, added step by step."""
    sums, names = PartSums(), list(columns)
    for s in np.unique(step):
        own = {name: values[step == s] for name, values in columns.items()}
        table = {"step": np.array([s])}
        for i, a in enumerate(names):
            table |= {f"low_{i}": np.array([own[a].min()]), f"high_{i}": np.array([own[a].max()])}
            for j, b in list(enumerate(names))[i:]:
                row = moments(own[a], own[b])
                fields = ("count", "avgx", "avgy", "sxx", "syy", "sxy")
                table |= {f"{f}_{i}_{j}": row[k : k + 1] for k, f in enumerate(fields)}
        sums.add(names, table)
    return parts(sums)


def test_parts_of_a_reward_and_what_they_ask():
    rng = np.random.default_rng(0)
    step = np.repeat(np.arange(8), 40)
    right, form, twin = rng.integers(0, 2, 320) * 1.0, rng.random(320), rng.normal(size=320)
    form[step >= 6] = 0.4 + 0.2 * form[step >= 6]
    total = right - 0.5 * form
    columns = {
        TOTAL: total,
        "right": right,
        "form": form,
        "twin": twin,
        "again": 2 * twin,
        "flat": 0 * twin + 3,
        LENGTH: 50 * total + 5,
    }
    found = part_figures(columns, step)
    for figures in found.figures:
        own = columns[figures.name]
        assert (figures.count, figures.low, figures.high) == (320, own.min(), own.max())
        assert (figures.mean, figures.deviation) == pytest.approx((own.mean(), own.std(ddof=1)))
        assert (figures.early, figures.late) == pytest.approx((own[step < 2].mean(), own[step >= 6].mean()))
        assert figures.share == pytest.approx(np.cov(own, total)[0, 1] / total.var(ddof=1))
        if own.std():
            assert figures.correlation == pytest.approx(np.corrcoef(own, total)[0, 1])
    assert {pair[:2]: pair[2] for pair in found.correlations}["twin", "again"] == pytest.approx(1)
    questions = " ".join(found.questions)
    share = 100 * np.cov(right, total)[0, 1] / total.var(ddof=1)
    left = 100 * form[step >= 6].var() / form[step < 2].var()
    for asked in ("goes with the length (correlation 1.00)", "'flat' is 3 in every rollout",
                  f"'right' makes {share:.0f} %", f"variance of 'form' falls to {left:.0f} %",
                  "'form' falls where the reward rises", "'twin' and 'again' have a correlation of 1.00"):  # fmt: skip
        assert asked in questions, asked
    assert len(found.questions) == 6
    assert parts(PartSums()).figures == ()
