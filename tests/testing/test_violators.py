"""Every law rejects its planted violators with default settings, and reproducibly."""

import numpy as np
import pytest

from gradvar.testing import check_advantage, check_loss
from gradvar.testing.laws import ADVANTAGE, LOSS

from .framework_violators import JAX_ADVANTAGES, JAX_LOSSES, torch_violators
from .loss_violators import LOSSES
from .loss_violators import correct as correct_loss
from .violators import ADVANTAGES


def _ids(cases):
    return [f"{law}-{f.__name__}" for f, law, _ in cases]


def _caught(check, function, law, settings):
    result = check(function, laws=[law], **settings)[law]
    assert result.status == "fails", f"{function.__name__} passes {law}"
    assert result.example is not None
    assert result.why
    return result


@pytest.mark.parametrize(("function", "law", "settings"), ADVANTAGES, ids=_ids(ADVANTAGES))
@pytest.mark.usefixtures("unshrunk")
def test_an_advantage_violator_is_caught(function, law, settings):
    _caught(check_advantage, function, law, settings)


@pytest.mark.slow
@pytest.mark.parametrize(("function", "law", "settings"), LOSSES, ids=_ids(LOSSES))
@pytest.mark.usefixtures("unshrunk")
def test_a_loss_violator_is_caught(function, law, settings):
    _caught(check_loss, function, law, settings)


@pytest.mark.slow
@pytest.mark.parametrize(("function", "law", "settings"), JAX_ADVANTAGES, ids=_ids(JAX_ADVANTAGES))
@pytest.mark.usefixtures("unshrunk")
def test_a_jax_advantage_violator_is_caught(function, law, settings):
    _caught(check_advantage, function, law, settings)


@pytest.mark.parametrize(("function", "law", "settings"), JAX_LOSSES, ids=_ids(JAX_LOSSES))
@pytest.mark.usefixtures("unshrunk")
def test_a_jax_loss_violator_is_caught(function, law, settings):
    _caught(check_loss, function, law, settings)


def test_pytorch_violators_are_caught():
    for function, law, kind in torch_violators():
        _caught(check_advantage if kind == "advantage" else check_loss, function, law, {})


def test_at_least_forty_violators_are_planted():
    functions = {f for f, _, _ in (*ADVANTAGES, *LOSSES, *JAX_ADVANTAGES, *JAX_LOSSES)} - {correct_loss}
    assert len(functions) >= 40


@pytest.mark.parametrize(
    ("laws", "cases"), [(ADVANTAGE, ADVANTAGES), (LOSS, (*LOSSES, *JAX_LOSSES))], ids=["advantage", "loss"]
)
def test_every_law_has_a_violator(laws, cases):
    assert {law.name for law in laws} == {law for _, law, _ in cases}


def test_the_smallest_failing_group_is_reported():
    flipped = next(f for f, law, _ in ADVANTAGES if f.__name__ == "sign_flipped")
    groups = check_advantage(flipped, laws=["order_preserving"])["order_preserving"].example["groups"]
    assert len(groups) == 1
    assert len(groups[0]) == 2
    assert sorted(np.abs(groups[0])) in ([0.0, 0.125], [0.0, 1.0])


def test_runs_are_deterministic_and_a_seed_draws_others():
    std = next(f for f, law, _ in ADVANTAGES if f.__name__ == "std_over_the_batch")
    one, two = (check_advantage(std, laws=["group_isolated"])["group_isolated"] for _ in range(2))
    assert one == two
    for seed in range(2):
        assert (
            check_advantage(std, laws=["group_isolated"], random_seed=seed)["group_isolated"].status
            == "fails"
        )
