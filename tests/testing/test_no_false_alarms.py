"""Correct estimators pass: once with the default examples, and with twenty seeds in the slow suite."""

import pytest

from gradvar.testing import check_advantage, check_loss

from .sound import LOSSES, NUMPY, jax_dr_grpo_loss, jax_grpo, torch_sound

UNIVERSAL = [
    "zero_on_equal_rewards", "finite", "singleton_zero", "integer_rewards", "nan_contained", "pure",
    "no_amplification",
    "permutation_equivariant", "order_preserving", "group_isolated", "masked_inert",
]  # fmt: skip


def _passes(check, function, **settings):
    report = check(function, **settings)
    assert report.ok, report.table()


QUICK = ("grpo_grouped", "rloo_flat", "grpo_tokens")
NUMPY_CASES = [
    pytest.param(f, marks=() if f.__name__ in QUICK else pytest.mark.slow, id=f.__name__) for f in NUMPY
]


@pytest.mark.parametrize("function", NUMPY_CASES)
def test_numpy_estimators_pass(function):
    _passes(check_advantage, function, laws=UNIVERSAL, examples=20)


@pytest.mark.parametrize("function", LOSSES, ids=lambda f: f.__name__)
def test_numpy_losses_pass(function):
    _passes(check_loss, function, examples=15)


def test_a_jax_estimator_and_a_jax_loss_pass():
    _passes(check_advantage, jax_grpo, laws=["nan_contained", "order_preserving"], examples=20)
    _passes(check_loss, jax_dr_grpo_loss, laws=["masked_inert", "kl_direction"], examples=15)


def test_pytorch_estimators_pass():
    pytest.importorskip("torch")
    advantages, losses = torch_sound()
    for function in advantages:
        _passes(check_advantage, function)
    for function in losses:
        _passes(check_loss, function)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_no_false_alarm_over_twenty_seeds(seed):
    for function in NUMPY:
        _passes(check_advantage, function, laws=UNIVERSAL, random_seed=seed, examples=60)
    for function in LOSSES:
        _passes(check_loss, function, random_seed=seed, examples=30)
    _passes(check_advantage, jax_grpo, laws=UNIVERSAL, random_seed=seed, examples=30)
    _passes(check_loss, jax_dr_grpo_loss, random_seed=seed, examples=20)
    advantages, losses = torch_sound()
    for function in advantages:
        _passes(check_advantage, function, random_seed=seed, examples=60)
    for function in losses:
        _passes(check_loss, function, random_seed=seed, examples=30)
