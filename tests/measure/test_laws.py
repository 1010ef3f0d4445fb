"""Theory against enumeration on random finite policies: 200 of them, in float64, to 1e-10."""

from functools import partial

import numpy as np
import pytest

from gradvar import catalogue
from gradvar.measure import (
    exact,
    exact_tables,
    four_number_law,
    four_numbers,
    ustatistic_law,
    ustatistic_numbers,
)
from gradvar.pieces import advantage
from tests.measure import scenes

POLICIES = range(200)
CLOSE = {"rtol": 1e-10, "atol": 1e-10}


def listed(seed, *, binary):
    """Tables of one prompt, and (probs, rewards, sequence scores) for the laws."""
    tables = exact_tables(*scenes.bandit(seed, binary=binary))
    return tables, (
        np.asarray(tables.probs[0]),
        np.asarray(tables.rewards[0]),
        np.asarray(tables.scores[0].sum(1)),
    )


def both_routes(name, tables, group_size, **settings):
    estimator = catalogue.get(name, **settings)
    return [
        exact(estimator, tables=tables, group_size=group_size, route=route)
        for route in ("groups", "multisets")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("seed", POLICIES)
def test_leave_one_out_is_unbiased_and_the_group_mean_is_one_minus_one_over_g_of_it(seed):
    tables, _ = listed(seed, binary=False)
    group_size = 2 + seed % 3
    for route in ("groups", "multisets"):
        loo = exact(catalogue.get("rloo"), tables=tables, group_size=group_size, route=route)
        mean = exact(catalogue.get("dr_grpo"), tables=tables, group_size=group_size, route=route)
        np.testing.assert_allclose(loo.mean, loo.true_gradient, **CLOSE)
        np.testing.assert_allclose(mean.mean, (1 - 1 / group_size) * loo.mean, **CLOSE)
        np.testing.assert_allclose(mean.trace_cov, (1 - 1 / group_size) ** 2 * loo.trace_cov, **CLOSE)


@pytest.mark.parametrize("seed", POLICIES)
def test_u_statistic_law_equals_both_enumerations(seed):
    tables, distribution = listed(seed, binary=False)
    group_size = 2 + seed % 3
    law = ustatistic_law(ustatistic_numbers(*distribution), group_size)
    for moments in both_routes("rloo", tables, group_size):
        np.testing.assert_allclose(moments.trace_cov, law.trace_cov, **CLOSE)


@pytest.mark.parametrize("seed", POLICIES)
def test_four_number_law_equals_both_enumerations(seed):
    tables, distribution = listed(seed, binary=True)
    group_size = 2 + seed % 3
    numbers = four_numbers(*distribution)
    # Sequence-sum estimators that differ in their advantages only; tokens are one each, so GRPO's 1/|o| is 1.
    advantages = {
        "rloo": advantage.leave_one_out,
        "dr_grpo": advantage.group_mean,
        "grpo": partial(advantage.standardised, ddof=0, eps=1e-6),
        "grpo_sample_std": partial(advantage.standardised, ddof=1, eps=1e-6),
    }
    name = list(advantages)[seed % len(advantages)]
    law = four_number_law(numbers, group_size, advantages[name])
    for moments in both_routes(name, tables, group_size):
        np.testing.assert_allclose(moments.bias_factor, law.bias_factor, **CLOSE)
        np.testing.assert_allclose(moments.cosine, 1.0, **CLOSE)
        np.testing.assert_allclose(moments.trace_cov, law.trace_cov, **CLOSE)
        np.testing.assert_allclose(moments.snr, law.snr(numbers), **CLOSE)


def test_the_laws_are_not_vacuous():
    """A law for another group size, or with one number perturbed, is rejected."""
    tables, distribution = listed(3, binary=True)
    truth = exact(catalogue.get("rloo"), tables=tables, group_size=3)
    numbers = four_numbers(*distribution)
    wrong = [
        ustatistic_law(ustatistic_numbers(*distribution), 4),
        four_number_law(numbers, 4, advantage.leave_one_out),
        four_number_law(numbers._replace(v1=numbers.v1 * 1.001), 3, advantage.leave_one_out),
        four_number_law(numbers, 3, advantage.group_mean),
    ]
    for law in wrong:
        assert abs(law.trace_cov - truth.trace_cov) > 1e-6


def test_four_numbers_refuse_what_the_law_is_not_about():
    _, (probs, rewards, scores) = listed(0, binary=False)
    with pytest.raises(ValueError, match="rewards: not all 0 or 1"):
        four_numbers(probs, rewards, scores)
    with pytest.raises(ValueError, match="success probability 1"):
        four_numbers(probs, np.ones_like(rewards), scores)
    with pytest.raises(ValueError, match="group_size: 1"):
        ustatistic_law(ustatistic_numbers(probs, rewards, scores), 1)


def test_four_number_law_refuses_an_advantage_that_treats_equals_unequally():
    _, distribution = listed(0, binary=True)
    with pytest.raises(ValueError, match="advantage: equal rewards got unequal"):
        four_number_law(four_numbers(*distribution), 3, lambda r: r * np.arange(1, 4))
