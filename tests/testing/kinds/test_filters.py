"""Filters of groups: every slip is named by its law, and the sound twins pass."""

import numpy as np
import pytest

from gradvar.testing.kinds import check_kind, kind_of

from ..seeds import SEEDS
from .filter_functions import SOUND, VIOLATORS, rows


@pytest.mark.parametrize(
    ("make", "slip", "law"), VIOLATORS, ids=[f"{m.__name__}-{s}".replace(" ", "-") for m, s, _ in VIOLATORS]
)
@pytest.mark.usefixtures("unshrunk")
def test_a_slip_is_named_by_its_law(make, slip, law):
    report = check_kind(make(slip), laws=[law], examples=30)
    assert law in {r.name for r in report.failures}, report.table()


@pytest.mark.parametrize("make", SOUND, ids=lambda m: m.__name__)
def test_the_sound_twin_passes(make):
    assert kind_of(make("")).name == "filter"
    report = check_kind(make(""), examples=10)
    assert report.ok, report.table()


def test_a_function_of_numbers_is_no_filter():
    def centred(rewards, uid):
        return rewards - rewards.mean()

    assert kind_of(centred) is None
    assert kind_of(lambda rewards: np.zeros_like(rewards)) is None


def test_a_last_digit_that_is_kept_is_told_apart_and_does_not_decide():
    def exact(rewards, uid):
        return np.array([len(set(rewards[uid == u].tolist())) > 1 for u in uid])

    report = check_kind(exact, laws=["filter_noise"], examples=20)
    assert [r.name for r in report.failures] == ["filter_noise"]
    assert check_kind(exact, examples=5).ok
    assert check_kind(rows(""), laws=["filter_noise"], examples=5).ok


@pytest.mark.slow
@pytest.mark.parametrize("make", SOUND, ids=lambda m: m.__name__)
def test_no_seed_raises_a_false_alarm(make):
    for seed in range(SEEDS):
        report = check_kind(make(""), random_seed=seed, examples=30)
        assert report.ok, report.table()
