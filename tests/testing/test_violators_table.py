"""The table of planted faults: each is caught by the law that names it, and each twin passes all universal laws."""

import pytest

from gradvar.testing import check_advantage, check_loss

from . import violators_advantages, violators_losses
from .seeds import SEEDS

LOSSES, ADVANTAGES = list(violators_losses.cases()), list(violators_advantages.cases())
QUICK = 7  # every seventh is checked in the quick suite, and all in the slow one


def _params(cases):
    return [
        pytest.param(*case[1:], id=case[0], marks=() if place % QUICK == 0 else pytest.mark.slow)
        for place, case in enumerate(cases)
    ]


@pytest.mark.parametrize(("function", "law"), _params(LOSSES))
@pytest.mark.usefixtures("unshrunk")
def test_a_faulty_loss_fails_by_its_law(function, law):
    result = check_loss(function, laws=[law])[law]
    assert result.status == "fails", result.why


@pytest.mark.parametrize(("function", "law"), _params(ADVANTAGES))
@pytest.mark.usefixtures("unshrunk")
def test_a_faulty_advantage_fails_by_its_law(function, law):
    result = check_advantage(function, laws=[law])[law]
    assert result.status == "fails", result.why


def _twins(twins):
    return [
        pytest.param(function, seed, id=f"{name}, seed {seed}")
        for place, (name, function) in enumerate(twins)
        for seed in ((place + step) % 20 for step in range(SEEDS))
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("function", "seed"), _twins(violators_losses.twins()))
@pytest.mark.usefixtures("unshrunk")
def test_a_sound_loss_passes(function, seed):
    report = check_loss(function, examples=20, random_seed=seed)
    assert report.ok, report.table()


@pytest.mark.slow
@pytest.mark.parametrize(("function", "seed"), _twins(violators_advantages.twins()))
@pytest.mark.usefixtures("unshrunk")
def test_a_sound_advantage_passes(function, seed):
    report = check_advantage(function, examples=30, random_seed=seed)
    assert report.ok, report.table()


def test_the_table_is_long():
    assert len(LOSSES) + len(ADVANTAGES) >= 80
    laws = {law for _, _, law in (*LOSSES, *ADVANTAGES)}
    assert len(laws) >= 18
