"""Every declared law of every catalogue entry: what is declared true holds, what is false has a witness."""

import numpy as np
import pytest

from gradvar import catalogue
from gradvar.testing.names import ADVANTAGE_LAWS, LAWS, LOSS_LAWS, STATISTICAL_LAWS

from . import lawbook, violators

WITH_KL = ("grpo", "grpo_sample_std", "dr_grpo", "reinforce_pp_baseline")
# Rectangular rewards without prompt ids cannot break the first two (see estimators/_laws.py); aggregations
# are checked token by token in test_token_weights.py.
ELSEWHERE = {"ragged_groups", "duplicate_prompts", "aggregation"}
QUICK = ("grpo", "opo")
NAMES = [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in catalogue.names()]


def declared(estimator, names):
    return {law: holds for law, holds in estimator.laws.items() if law in names}


@pytest.mark.parametrize("name", NAMES)
def test_advantage_laws(name):
    estimator = catalogue.get(name)
    laws = declared(estimator, ADVANTAGE_LAWS)
    if not estimator.parts:
        assert not laws, "a whole objective has no advantage piece"
        return
    f = lawbook.advantage_of(estimator)
    for law, holds in laws.items():
        found = all(lawbook.ADVANTAGE_CHECKS[law](f, case) for case in lawbook.CASES)
        assert found == holds, law


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_loss_laws(name):
    _check_loss_laws(catalogue.get(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_KL)
def test_loss_laws_with_a_kl_term(name):
    estimator = catalogue.get(name, beta=0.5)
    assert estimator.laws["kl_direction"]
    cases = lawbook.CASES[:1]
    for law in ("masked_inert", "order_invariant", "padding_invariant", "kl_direction"):
        assert all(lawbook.LOSS_CHECKS[law](estimator, case) for case in cases), law


def _check_loss_laws(estimator):
    for law, holds in declared(estimator, LOSS_LAWS).items():
        cases = [
            lawbook.CASES[0],
            lawbook.CASES[3],
        ]  # two reward levels: a third would have both roles in a pair
        if law == "on_policy_unclipped":
            free = lawbook.without_clip(estimator)
            found = all(lawbook.on_policy_unclipped(estimator, case, free) for case in cases)
        else:
            check = lawbook.LOSS_CHECKS[law]
            found = all(check(estimator, case, _advantages(estimator, case)) for case in cases)
        assert found == holds, law


def _advantages(estimator, case):
    return np.asarray(lawbook.advantage_of(estimator)(case)) if estimator.parts else None


def test_the_declarations_are_whole():
    """Every name is a law; every law that can be broken here is declared by someone, and checked."""
    checked = {*lawbook.ADVANTAGE_CHECKS, *lawbook.LOSS_CHECKS, "on_policy_unclipped", *STATISTICAL_LAWS}
    everyone = set()
    for name in catalogue.names():
        laws = catalogue.get(name).laws
        assert set(laws) <= set(LAWS), name
        assert "masked_inert" in laws, name
        everyone |= set(laws)
    # laws of functions as trainers write them (masks, counts, further kinds) are the kit's own, and declared by none
    assert everyone - ELSEWHERE <= checked
    assert checked <= everyone | {"kl_direction"}


@pytest.mark.parametrize("law", lawbook.ADVANTAGE_CHECKS)
def test_planted_advantages_are_rejected(law):
    planted = violators.ADVANTAGES[law]
    with np.errstate(all="ignore"):
        results = [lawbook.ADVANTAGE_CHECKS[law](planted, _fresh(case)) for case in lawbook.CASES]
    assert not all(results)


def test_an_advantage_that_writes_into_its_argument_is_rejected():
    for planted in violators.MORE_IMPURE:
        assert not lawbook.pure(planted, _fresh(lawbook.CASES[0]))


@pytest.mark.parametrize("law", lawbook.LOSS_CHECKS)
def test_planted_losses_are_rejected(law):
    assert not all(lawbook.LOSS_CHECKS[law](violators.LOSSES[law], case) for case in lawbook.CASES[:2])


def test_more_planted_losses_are_rejected():
    case = lawbook.CASES[0]
    assert not lawbook.kl_direction(violators.K1_AS_A_LOSS, case)
    assert not lawbook.on_policy_unclipped(violators.MISSES_ONE, case)


def _fresh(case):
    return {n: v.copy() for n, v in case.items()}
