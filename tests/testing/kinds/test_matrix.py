"""Rewards of several functions: every slip is named by its law, and the sound twins pass."""

import pytest

from gradvar.testing.kinds import check_kind, kind_of

from ..seeds import SEEDS
from .matrix_functions import SOUND, VIOLATORS, combined, decoupled, summed_then_centred


@pytest.mark.parametrize(
    ("make", "slip", "law"), VIOLATORS, ids=[f"{m.__name__}-{s}".replace(" ", "-") for m, s, _ in VIOLATORS]
)
@pytest.mark.usefixtures("unshrunk")
def test_a_slip_is_named_by_its_law(make, slip, law):
    report = check_kind(make(slip), laws=[law], examples=10)
    assert law in {r.name for r in report.failures}, report.table()


@pytest.mark.parametrize("make", SOUND, ids=lambda m: m.__name__)
def test_the_sound_twin_passes(make):
    assert kind_of(make("")).name == "reward matrix"
    report = check_kind(make(""), examples=8)
    assert report.ok, report.table()


def test_the_known_forms_are_named():
    assert "weighted_sum" in check_kind(combined(""), laws=["known_form"]).note
    assert "gdpo (ddof 0, eps 0.0001)" in check_kind(decoupled(""), laws=["known_form"]).note
    assert not check_kind(summed_then_centred(""), intended="gdpo", laws=["known_form"], examples=5).ok


def test_a_missing_rollout_that_votes_as_zero_is_told_apart_and_does_not_decide():
    report = check_kind(summed_then_centred(""), laws=["matrix_missing_silent"], examples=5)
    assert [r.name for r in report.failures] == ["matrix_missing_silent"]


@pytest.mark.slow
@pytest.mark.parametrize("make", SOUND, ids=lambda m: m.__name__)
def test_no_seed_raises_a_false_alarm(make):
    for seed in range(SEEDS):
        report = check_kind(make(""), random_seed=seed)
        assert report.ok, report.table()
