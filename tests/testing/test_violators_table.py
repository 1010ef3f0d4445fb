"""The table of planted faults: each is caught by the law that names it, and each twin passes all universal laws."""

import pytest

from gradvar.testing import check_advantage, check_loss

from . import violators_advantages, violators_losses

LOSSES, ADVANTAGES = list(violators_losses.cases()), list(violators_advantages.cases())
QUICK = 7  # every seventh is checked in the quick suite, and all in the slow one


def _params(cases):
    return [
        pytest.param(*case[1:], id=case[0], marks=() if place % QUICK == 0 else pytest.mark.slow)
        for place, case in enumerate(cases)
    ]


@pytest.mark.parametrize(("function", "law"), _params(LOSSES))
def test_a_faulty_loss_fails_by_its_law(function, law):
    result = check_loss(function, laws=[law])[law]
    assert result.status == "fails", result.why


@pytest.mark.parametrize(("function", "law"), _params(ADVANTAGES))
def test_a_faulty_advantage_fails_by_its_law(function, law):
    result = check_advantage(function, laws=[law])[law]
    assert result.status == "fails", result.why


@pytest.mark.slow
@pytest.mark.parametrize("seed", [None, *range(20)])
@pytest.mark.parametrize("function", [pytest.param(f, id=name) for name, f in violators_losses.twins()])
def test_a_sound_loss_passes(function, seed):
    report = check_loss(function, examples=20, random_seed=seed)
    assert report.ok, report.table()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [None, *range(20)])
@pytest.mark.parametrize("function", [pytest.param(f, id=name) for name, f in violators_advantages.twins()])
def test_a_sound_advantage_passes(function, seed):
    report = check_advantage(function, examples=30, random_seed=seed)
    assert report.ok, report.table()


def test_the_table_is_long():
    assert len(LOSSES) + len(ADVANTAGES) >= 80
    laws = {law for _, _, law in (*LOSSES, *ADVANTAGES)}
    assert len(laws) >= 18
