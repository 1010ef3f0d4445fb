"""Losses of the critic and estimates of the KL: every slip is named by its law, and the sound twins pass."""

import pytest

from gradvar.testing.kinds import check_kind

from ..seeds import SEEDS
from .critic_functions import SOUND, VIOLATORS


def _id(case):
    return "-".join([case[0].__name__, *map(str, case[1].values())]).replace(" ", "-")


@pytest.mark.parametrize("case", VIOLATORS, ids=_id)
@pytest.mark.usefixtures("unshrunk")
def test_a_slip_is_named_by_its_law(case):
    make, settings, law = case
    assert law in {r.name for r in check_kind(make(**settings), laws=[law]).failures}


@pytest.mark.parametrize("case", SOUND, ids=_id)
def test_the_sound_twin_passes(case):
    report = check_kind(case[0](**case[1]))
    assert report.ok, report.table()


@pytest.mark.slow
@pytest.mark.parametrize("case", SOUND, ids=_id)
def test_no_seed_raises_a_false_alarm(case):
    for seed in range(1, 1 + SEEDS):  # the twin above has passed with seed 0
        report = check_kind(case[0](**case[1]), random_seed=seed)
        assert report.ok, report.table()
