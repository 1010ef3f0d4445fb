"""Rules of allocation against brute force: all splits, all sequences of rewards, all groups."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from gradvar import catalogue, tasks
from gradvar.measure import exact
from gradvar.measure.advise.allocation import _correlation, prompt_numbers, within_variance
from gradvar.measure.advise.rules import (
    RULES,
    exact_numbers,
    mixed_chance,
    resampling,
    rule_sizes,
    spend,
    until_both,
    with_probes,
)
from gradvar.measure.exact.tables import exact_tables
from gradvar.policies import Bandit

LOGITS = jnp.asarray([[0.3, -0.5, 1.0], [-2.0, 1.0, 0.5], [2.5, 0.0, -1.0]])
TASK = tasks.Bandit([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 1.0]])
POLICY = Bandit(3, 3)


@pytest.fixture(scope="module")
def numbers():
    return exact_numbers(exact_tables(POLICY, LOGITS, TASK))


def splits(prompts, total, least=2):
    for sizes in itertools.product(range(least, total + 1), repeat=prompts):
        if sum(sizes) == total:
            yield np.array(sizes)


def test_the_law_of_variances_is_that_of_all_groups(numbers):
    """Each prompt alone: the variance of leave-one-out over all groups of 2 and 3, by enumeration."""
    for group in (2, 3):
        for q in range(3):
            moments = exact(catalogue.get("rloo"), POLICY, LOGITS, TASK, group, prompts=np.array([q]))
            expected = within_variance(numbers, np.full(3, float(group)))[q]
            assert moments.trace_cov == pytest.approx(expected, rel=1e-9)


def test_no_split_beats_the_optimum_and_rules_spend_all(numbers):
    total = 14
    best = min(within_variance(numbers, s.astype(float)).sum() for s in splits(3, total)) / 9
    results = spend(numbers, total)
    assert results["optimal"].variance == pytest.approx(best, rel=1e-12)
    for rule in RULES:
        assert results[rule].sizes.sum() == total
        assert results[rule].sizes.min() >= 2
        assert results[rule].ratio >= 1 - 1e-12
    assert results["even"].sizes.tolist() == [5, 5, 4]
    assert max(r.ratio for r in results.values()) > 1.05  # the rules do differ


def test_knapsack_maximises_its_value(numbers):
    def value(sizes, p=numbers["p"]):
        return (p * (1 - p) ** 2 * (1 - p**sizes - (1 - p) ** sizes)).sum()

    for total in (6, 9, 17):
        best = max(value(sizes) for sizes in splits(3, total))
        taken = value(rule_sizes("knapsack", numbers, total))
        assert taken == pytest.approx(best, rel=1e-12)
    sizes = rule_sizes("knapsack", {"p": np.array([0.0, 1.0, 0.5])}, 384)
    assert sizes.tolist() == [128, 128, 128]


def test_reinforce_ada_gives_the_hard_ones_more():
    # 1/p is 10, 2 and 5/4: of 53 beyond two each 40, 8 and 5
    assert rule_sizes("ada", {"p": np.array([0.1, 0.5, 0.8])}, 59).tolist() == [42, 10, 7]


def test_probes_are_paid_for(numbers):
    """Against draws of the probes; the even split loses exactly the variance of the rollouts that it does without."""
    rng = np.random.default_rng(0)
    even = within_variance(numbers, np.full(3, 10.0)).sum()
    lost = within_variance(numbers, np.full(3, 7.0)).sum() / even
    assert with_probes("even", numbers, 10, 3) == pytest.approx(lost, rel=1e-12)
    for rule in ("vip", "knapsack", "gvm"):
        drawn = []
        for successes in rng.binomial(3, numbers["p"], (400, 3)):
            rates = successes / 3 if rule == "gvm" else (successes + 1) / 5
            sizes = rule_sizes(rule, numbers | {"p": rates}, 21)
            drawn.append(within_variance(numbers, sizes.astype(float)).sum() / even)
        error = np.std(drawn) / 20
        assert error > 1e-6
        assert abs(np.mean(drawn) - with_probes(rule, numbers, 10, 3)) < 4 * error
    with pytest.raises(ValueError, match="rule: 'optimal'"):
        with_probes("optimal", numbers, 10, 3)
    with pytest.raises(ValueError, match="group: 3"):
        with_probes("vip", numbers, 3, 2)


def test_resampling_is_conditioning_on_mixed_groups():
    """All groups of three of every prompt: the mean of leave-one-out's sums over the mixed ones, times its chance."""
    p = np.array([0.2, 0.6, 0.95])
    law = resampling(p, 3)
    chances, weights = np.zeros(3), np.zeros(3)
    for q, rate in enumerate(p):
        for rewards in itertools.product((0, 1), repeat=3):
            chance = np.prod([rate if r else 1 - rate for r in rewards])
            if 0 < sum(rewards) < 3:
                chances[q] += chance
                # (1/G) sum_i (r_i - mean of the others) d log p(r_i) / dp
                scores = [1 / rate if r else -1 / (1 - rate) for r in rewards]
                others = [(sum(rewards) - r) / 2 for r in rewards]
                weights[q] += (
                    chance * sum((r - o) * s for r, o, s in zip(rewards, others, scores, strict=True)) / 3
                )
    np.testing.assert_allclose(law.share, chances / chances.sum())
    assert law.cost == pytest.approx(3 / chances.sum())
    kept = law.share * weights / chances  # the expected gradient of a kept group, by prompt
    np.testing.assert_allclose(kept / (weights / 3), law.factor)
    np.testing.assert_allclose(weights, 1)  # grad p without resampling: unbiased


def test_stopping_with_both_kinds_by_all_sequences():
    rate, least, most = 0.3, 2, 7
    law = np.zeros(most + 1)
    for rewards in itertools.product((0, 1), repeat=most):
        right = np.cumsum(rewards)
        done = (right >= least) & (np.arange(1, most + 1) - right >= least)
        drawn = int(done.argmax()) + 1 if done.any() else most
        law[drawn] += np.prod([rate if r else 1 - rate for r in rewards])
    np.testing.assert_allclose(until_both(rate, least, most), law, atol=1e-12)


def test_what_cannot_be_met_is_one_line(numbers):
    with pytest.raises(ValueError, match="rule: 'best'"):
        rule_sizes("best", numbers, 12)
    with pytest.raises(ValueError, match="total: 5"):
        rule_sizes("even", numbers, 5)
    with pytest.raises(ValueError, match="no group is ever mixed"):
        resampling(np.array([0.0, 1.0]), 4)
    with pytest.raises(ValueError, match="rewards other than 0 and 1"):
        exact_numbers(exact_tables(Bandit(2), jnp.zeros((1, 2)), tasks.Bandit([0.5, 0.0])))
    assert mixed_chance(np.array([0.5]), 3).tolist() == [0.75]


def test_reliability_is_the_correlation_of_two_halves():
    rng = np.random.default_rng(0)
    x, noise = rng.random(40), rng.random(40)
    assert _correlation(x, x + noise) == pytest.approx(np.corrcoef(x, x + noise)[0, 1])
    assert _correlation(x, -x) == 0
    assert _correlation(x, np.ones(40)) == 0
    assert _correlation(x, 3 * x) == pytest.approx(1)


def test_numbers_of_a_prompt_are_those_of_the_law():
    """Var = 4 zeta1 / G + (2 zeta2 - 4 zeta1) / (G (G - 1)): (4 (G - 2) zeta1 + 2 zeta2) / (G (G - 1))."""
    numbers = prompt_numbers(
        {"zeta1": np.array([0.3]), "zeta2": np.array([0.7]), "p": np.ones(1), "v1": np.ones(1)}
    )
    for size in (2.0, 3.0, 8.0):
        expected = (4 * (size - 2) * 0.3 + 2 * 0.7) / (size * (size - 1))
        assert within_variance(numbers, np.array([size])) == pytest.approx(expected)


@pytest.mark.parametrize(
    "p", [[0.5, 0.5, 0.5, 0.5], [0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0], [-0.1, 1.2, 1.0, 0.0]]
)
def test_prompts_that_are_alike_share_evenly(p):
    """Also where all weights are zero: the first ones get what is left over, as in the even split."""
    numbers = {"p": np.array(p), "v1": np.ones(4), "rollout": np.full(4, 2.0), "pair": np.full(4, 3.0)}
    for total in (8, 16, 18, 23):
        for rule in ("vip", "optimal", "gvm" if len(set(p)) == 1 else "vip"):
            assert rule_sizes(rule, numbers, total).tolist() == rule_sizes("even", numbers, total).tolist()


def test_gvm_gives_by_the_root_of_the_norm_over_the_rate():
    """sqrt(v1 / (p + 0.001 / p)), none for a prompt without success: rates so small that the penalty decides."""
    p, v1 = np.array([0.02, 0.1, 0.5, 0.0]), np.array([1.0, 4.0, 2.0, np.nan])
    weights = [(v / (x + 0.001 / x)) ** 0.5 for x, v in zip(p[:3], v1[:3], strict=True)]
    total = 1000
    found = rule_sizes("gvm", {"p": p, "v1": v1}, total)
    assert (found.sum(), found[3]) == (total, 2)
    np.testing.assert_allclose(found[:3], [total * w / sum(weights) for w in weights], atol=2.0)


def test_variances_that_are_estimated_below_zero_count_as_zero():
    """Such a prompt gains nothing from a third rollout, however far below."""
    rng = np.random.default_rng(0)
    numbers = {"p": np.full(4, 0.5), "rollout": rng.normal(0.5, 1.0, 4), "pair": rng.normal(0.5, 1.0, 4)}
    numbers["rollout"][:2], numbers["pair"][1:3] = -0.4, -0.6
    clipped = numbers | {name: np.maximum(numbers[name], 0) for name in ("rollout", "pair")}
    for total in (11, 30):
        found = rule_sizes("optimal", numbers, total)
        assert found.tolist() == rule_sizes("optimal", clipped, total).tolist()
        assert found[1] == 2
