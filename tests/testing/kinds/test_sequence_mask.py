"""Masks of whole rollouts: every slip is named by its law, and the sound twins pass under their names."""

import pytest

from gradvar.testing.kinds import check_kind, kind_of, kind_target

from ..seeds import SEEDS
from .correction_functions import SOUND as CORRECTIONS
from .sequence_functions import SOUND, VIOLATORS

CASES = [
    pytest.param(
        *case,
        id=f"{case[0].__name__}-{case[1]}".replace(" ", "-"),
        marks=pytest.mark.slow if number % 4 else (),
    )
    for number, case in enumerate(VIOLATORS)
]


@pytest.mark.parametrize(("make", "slip", "law"), CASES)
@pytest.mark.usefixtures("unshrunk")
def test_a_slip_is_named_by_its_law(make, slip, law):
    report = check_kind(make(slip), laws=[law], examples=20)
    assert law in {r.name for r in report.failures}, report.table()


@pytest.mark.parametrize("make", SOUND, ids=lambda m: m.__name__)
def test_the_sound_twin_has_its_form(make):
    assert kind_of(make("")).name == "sequence-mask"
    target = kind_target(make(""), kind_of(make("")))
    assert target.form.name == SOUND[make]
    report = check_kind(target, examples=8)
    assert report.ok, report.table()


@pytest.mark.slow
@pytest.mark.parametrize("make", SOUND, ids=lambda m: m.__name__)
def test_no_seed_raises_a_false_alarm(make):
    for seed in range(SEEDS):
        report = check_kind(make(""), random_seed=seed, examples=20)
        assert report.ok, report.table()


def test_weights_for_the_sampler_are_no_masks():
    assert {kind_of(make("")).name for make in CORRECTIONS} == {"correction"}


def test_losses_of_the_same_arguments_are_no_masks():
    def loss(logp, old_logp, advantages, mask):
        return -((logp - old_logp) * advantages * mask).sum()

    assert kind_of(loss) is None
