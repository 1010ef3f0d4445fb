"""Figures of cells, without files: each against loops over the rollouts that the cells stand for."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import beta, t

from gradvar.audit.best_of import best_of
from gradvar.audit.estimators import RATES, advantages, compare
from gradvar.audit.group_sizes import curve
from gradvar.audit.larger_groups import larger_groups
from gradvar.audit.schemes import COMPARED, binary_groups, scheme
from gradvar.audit.statistics import by_source, histogram, prompt_table, prompts, steps, success
from tests.audit import reference
from tests.audit.rollouts import cells_of, drawn, rewards_of


@pytest.mark.parametrize("levels", [(0.0, 1.0), (-1.0, 0.5, 2.0)])
def test_best_of_k_with_its_interval(levels):
    groups = drawn(1, levels, sizes=(5, 6))
    cells = cells_of(groups)
    above = success(cells, None).above
    found = best_of(cells, success(cells, None))
    assert [p.k for p in found] == sorted({1, 2, 4, int(np.median([len(g[3]) for g in groups]))})
    for point in found:
        enough = [
            (g[2][0], [max(s) for s in combinations(g[3], point.k)]) for g in groups if len(g[3]) >= point.k
        ]
        value, variance, count, effective = reference.ratio([(q, np.mean(best), 1.0) for q, best in enough])
        half = t.ppf(0.975, count - 1) * variance**0.5
        largest = point.largest
        assert (largest.value, largest.se, largest.dof, largest.effective) == pytest.approx(
            (value, variance**0.5, count - 1, effective)
        )
        assert (largest.low, largest.high) == pytest.approx((value - half, value + half))
        passing = [(q, np.mean(np.array(best) > above), 1.0) for q, best in enough]
        assert (point.passing.value, point.passing.low, point.passing.high) == pytest.approx(
            reference.share(passing)
        )


def test_best_of_k_says_why_it_has_no_interval():
    two = [(0, g, [g % 2] * 3, [0.0, 1.0, float(g)], None) for g in range(4)]
    cells = cells_of(two)
    (first, *_) = best_of(cells, success(cells, None))
    assert (first.largest.reason, first.largest.dof, first.largest.known) == (
        "fewer than three prompts",
        1,
        False,
    )
    value, variance, *_ = reference.ratio([(g % 2, (1 + g) / 3, 1.0) for g in range(4)])
    assert (first.largest.value, first.largest.se) == pytest.approx((value, variance**0.5))
    alike = cells_of([(0, g, [g] * 3, [0.0, 1.0, 1.0], None) for g in range(3)])
    point = best_of(alike, success(alike, None))[0]
    assert (point.largest.reason, point.largest.dof, point.largest.se) == (
        "every prompt gives the same number",
        2,
        0,
    )
    three = cells_of([(0, g, [g] * 3, [0.0, 1.0, float(g)], None) for g in range(3)])
    assert best_of(three, success(three, None))[0].largest.known


def test_weights_cosines_and_largest_advantages_of_estimators():
    groups = drawn(2, sizes=(4, 4, 4, 3))
    cells = cells_of(groups)
    rule = success(cells, None)
    found = {e.name: e for e in compare(cells, rewards_of(cells), rule, "rloo", 4)}
    assert list(found) == ["rloo", *(name for name in COMPARED if name != "rloo")]
    used = np.concatenate([reference.advantages("rloo", g[3]) for g in groups])
    for name, figures in found.items():
        own = np.concatenate([reference.advantages(name, g[3]) for g in groups])
        assert figures.largest == pytest.approx(np.abs(own).max())
        assert figures.agreement == pytest.approx(used @ own / np.sqrt((used @ used) * (own @ own)))
        for p, weight in zip(RATES, figures.weights, strict=True):
            assert weight == pytest.approx(prompt_weight(name, 4, p))
    assert len(RATES) == 7
    assert all(0 < rate < 1 for rate in RATES)
    assert sorted(RATES) == list(RATES)
    alone = compare(cells, rewards_of(cells), rule, "grpo", 1)
    assert all(e.weights is None for e in alone)
    graded = cells_of(drawn(2, (0.0, 0.5, 1.0)))
    assert all(
        e.weights is None for e in compare(graded, rewards_of(graded), success(graded, None), "grpo", 4)
    )
    flat = cells_of([(0, 0, [0] * 4, [1.0] * 4, None)])
    assert all(np.isnan(e.agreement) for e in compare(flat, rewards_of(flat), success(flat, None), "rloo", 4))


def prompt_weight(name, size, p):
    """w(p) by listing every group: E[mean A s] over the derivative of p, with scores r - p."""
    total = 0.0
    for won in range(size + 1):
        rewards = [1.0] * won + [0.0] * (size - won)
        chance = len(list(combinations(range(size), won))) * p**won * (1 - p) ** (size - won)
        found = reference.advantages(name, rewards)
        total += chance * sum(a * (r - p) for a, r in zip(found, rewards, strict=True)) / size
    return total / (p * (1 - p))


def test_quantiles_and_outliers_of_advantages():
    groups = [(s, g, [g] * 40, [1.0] * (g + 1) + [0.0] * (39 - g), None) for g, s in enumerate((0, 0, 1))]
    cells = cells_of(groups)
    values = scheme("grpo")(rewards_of(cells))
    found = advantages(cells, values, "grpo", ["a", "b", "c"], shown=4)
    every = np.sort(np.abs(np.concatenate([reference.advantages("grpo", g[3]) for g in groups])))
    ranks = [int(np.ceil(q * len(every))) - 1 for q in (0.5, 0.9, 0.99, 0.999)]
    assert found.quantiles == pytest.approx([every[i] for i in ranks])
    assert found.largest == pytest.approx(every.max())
    assert found.beyond_three == pytest.approx((every > 3).mean())
    assert [(o.step, o.prompt, o.rollouts, o.reward, o.group_size) for o in found.outliers] == [
        (0, "a", 1, 1.0, 40), (0, "b", 2, 1.0, 40), (1, "c", 3, 1.0, 40), (1, "c", 37, 0.0, 40)
    ]  # fmt: skip
    assert [o.advantage for o in found.outliers][:3] == pytest.approx([every[-1], every[-2], every[-4]])
    quiet = cells_of([(0, 0, [0] * 4, [1.0] * 4, None)])
    assert advantages(quiet, np.zeros(1), "rloo", ["a"]).outliers == ()
    assert len(advantages(cells, values, "grpo", ["a", "b", "c"]).outliers) == 5


def test_shares_at_larger_sizes_are_those_of_the_likeliest_beta_within_what_the_counts_allow():
    rng = np.random.default_rng(0)
    rates = rng.beta(0.8, 1.5, 400)
    groups = [(0, g, [g] * 4, (rng.random(4) < rates[g]).astype(float).tolist(), None) for g in range(400)]
    cells = cells_of(groups)
    found = larger_groups(cells, success(cells, None))
    assert [size for size, _ in found] == [8, 16, 32]
    won = Counter(int(sum(g[3])) for g in groups)
    grid = np.linspace(5e-4, 1 - 5e-4, 1000)

    def chance(a, b):
        density = beta.pdf(grid, a, b)
        return [((grid**k * (1 - grid) ** (4 - k)) * density).sum() / density.sum() for k in range(5)]

    a, b = max(
        ((a, b) for a in np.arange(0.6, 1.3, 0.1) for b in np.arange(0.9, 2.3, 0.1)),
        key=lambda ab: sum(won[k] * np.log(x) for k, x in enumerate(chance(*ab))),
    )
    for size, share in found:
        true = (1 - rates**size - (1 - rates) ** size).mean()
        assert share.low <= true <= share.high
        assert share.high - share.low < 0.4
        density = beta.pdf(grid, a, b)
        fitted = ((1 - grid**size - (1 - grid) ** size) * density).sum() / density.sum()
        assert share.value == pytest.approx(fitted, abs=0.02)
    eight = cells_of(groups[:8])
    assert larger_groups(eight, success(cells, None))
    assert larger_groups(cells_of(groups[:7]), success(cells, None)) == ()
    graded = cells_of(drawn(2, (0.0, 0.5, 1.0)))
    assert larger_groups(graded, success(graded, None)) == ()
    ones = cells_of([(0, g, [g], [float(g % 2)], None) for g in range(20)])
    assert larger_groups(ones, success(ones, None)) == ()


def test_other_sizes_by_subsets_and_their_cost():
    groups = drawn(3, sizes=(4, 6, 6, 6), count=18)
    cells = cells_of(groups)
    found = curve(rewards_of(cells), cells.groups.prompt, 6)
    assert [s.group_size for s in found] == [2, 3, 4, 6, 8, 12]
    for size in found:
        known = [
            (g[2][0], reference.informative(g[3], size.group_size), 1.0)
            for g in groups
            if len(g[3]) >= size.group_size
        ]
        if len(known) > len(groups) / 2:
            value, low, high = reference.share(known)
            assert (size.informative.value, size.informative.low, size.informative.high) == pytest.approx(
                (value, low, high)
            )
        else:
            assert np.isnan(size.informative.value)
        # leave-one-out: G/(G-1) in variance at one mean gradient
        assert size.relative_cost == pytest.approx(size.group_size / (size.group_size - 1) * 5 / 6)
    assert all(np.isnan(s.relative_cost) for s in curve(rewards_of(cells), cells.groups.prompt, 1))


def test_lengths_surprise_and_refills():
    groups = drawn(4, count=10)
    cells = cells_of(groups)
    found = steps(cells, success(cells, None))
    assert [s.step for s in found] == [0, 1]
    for step in found:
        own = [g for g in groups if g[0] == step.step]
        tokens = [x for g in own for x in g[4]]
        assert step.length == pytest.approx(np.mean(tokens))
        lost = sum(sum(g[4]) for g in own if len(set(g[3])) == 1)
        assert step.lost_tokens == pytest.approx(lost / sum(tokens))
        assert step.surprise == pytest.approx(2.0)
        assert step.refill == pytest.approx(
            [1 / (1 - x) for x in (step.equal.value, step.equal.low, step.equal.high)]
        )
    bare = cells_of([(0, 0, [0, 0], [1.0, 1.0], None)])
    (only,) = steps(bare, success(bare, None), overall=True)
    assert (only.length, only.lost_tokens, only.step, only.refill[0]) == (None, None, None, np.inf)


def test_success_is_the_higher_reward_or_above_the_middle():
    of = lambda *rewards, above=None: success(cells_of([(0, 0, [0] * len(rewards), rewards, None)]), above)  # noqa: E731
    assert (of(-1.0, 3.0).above, of(-1.0, 3.0).levels, of(-1.0, 3.0).binary) == (1.0, (-1.0, 3.0), True)
    assert (of(0.0, 0.2, 3.0).above, of(0.0, 0.2, 3.0).levels) == (1.5, ())
    assert (of(2.0, 2.0).above, of(2.0, 2.0).levels, of(2.0, 2.0).binary) == (0.0, (2.0,), False)
    assert (of(0.0, 1.0, above=0.25).above, of(0.0, 1.0, above=0.25).binary) == (0.25, True)


def test_the_pull_on_every_bin():
    groups = [(0, g, [g] * 10, [1.0] * g + [0.0] * (10 - g), None) for g in range(11)]
    cells = cells_of(groups)
    rewards = rewards_of(cells)
    bins = histogram(cells, success(cells, None), 3 * rewards.centred * (rewards.sizes / 9), rewards.centred)
    assert [b.groups for b in bins] == [1, 1, 2, 2, 2, 2, 1]
    assert [b.pull for b in bins][1:-1] == pytest.approx([3.0] * 5)
    assert np.isnan([bins[0].pull, bins[-1].pull]).all()
    assert [b.share.value for b in bins] == pytest.approx([b.groups / 11 for b in bins])


def test_prompts_that_teach_and_groups_to_recover():
    groups = [(0, 0, [0] * 2, [1.0, 1.0], None), (0, 1, [1] * 2, [0.0, 0.0], None), (1, 0, [0] * 2, [1.0, 1.0], None),
              (1, 2, [2] * 2, [0.0, 0.0], None), (2, 2, [2] * 2, [0.0, 1.0], None),
              (2, 3, [3] * 2, [1.0, 0.0], None)]  # fmt: skip
    cells = cells_of(groups)
    rule = success(cells, None)
    table = prompt_table(cells, rule)
    assert (table.prompt.tolist(), table.rollouts.tolist(), table.successes.tolist()) == (
        [0, 1, 2, 3], [4, 2, 4, 2], [4, 0, 1, 1]
    )  # fmt: skip
    assert table.kinds.tolist() == ["always", "never", "mixed", "mixed"]
    assert table.low[2] == pytest.approx(beta.ppf(0.025, 1.5, 3.5))
    assert table.high[2] == pytest.approx(beta.ppf(0.975, 1.5, 3.5))
    found = prompts(cells, table)
    assert (found.count, found.rollouts) == (4, 3)
    assert [s.value for s in (found.always, found.never, found.mixed)] == [0.25, 0.25, 0.5]
    assert found.recovered.value == 0.25  # of four equal groups, one of prompt 2
    assert found.never_bound == pytest.approx(beta.ppf(0.975, 0.5, 3.5))
    assert by_source(cells, rule, ["a"] * 4) == {}
    halves = by_source(cells, rule, ["a", "b", "b", "a"])
    assert [(name, s.groups, s.mean_reward) for name, s in halves.items()] == [
        ("a", 3, 5 / 6),
        ("b", 3, 1 / 6),
    ]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_binary_groups_are_every_number_of_successes(size):
    groups = binary_groups(size, -1.0, 2.0)
    assert groups.size.tolist() == [size] * (size + 1)
    won = [int((groups.n * (groups.reward == 2.0))[groups.of_cell == k].sum()) for k in range(size + 1)]
    assert won == list(range(size + 1))
    assert np.all(groups.n > 0)
