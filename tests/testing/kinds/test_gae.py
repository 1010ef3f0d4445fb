"""Advantages from values: every slip is named by its law, and the sound twins pass."""

import pytest

from gradvar.testing.kinds import check_kind, kind_of

from ..seeds import SEEDS
from .gae_functions import SOUND, VIOLATORS


@pytest.mark.parametrize(
    ("make", "slip", "law"), VIOLATORS, ids=[f"{m.__name__}-{s}".replace(" ", "-") for m, s, _ in VIOLATORS]
)
@pytest.mark.usefixtures("unshrunk")
def test_a_slip_is_named_by_its_law(make, slip, law):
    report = check_kind(make(slip), laws=[law])
    assert not report.ok
    assert law in {r.name for r in report.failures}


@pytest.mark.parametrize("make", SOUND, ids=lambda m: m.__name__)
def test_the_sound_twin_passes(make):
    assert kind_of(make("")).name == "gae"
    report = check_kind(make(""))
    assert report.ok, report.table()


@pytest.mark.slow
@pytest.mark.parametrize("make", SOUND, ids=lambda m: m.__name__)
def test_no_seed_raises_a_false_alarm(make):
    for seed in range(1, 1 + SEEDS):  # the twin above has passed with seed 0
        report = check_kind(make(""), random_seed=seed)
        assert report.ok, report.table()
