"""Corrections for the sampler: every slip is named by its law, and the sound twins pass."""

import pytest

from gradvar.testing.kinds import check_kind, form_names, kind_of, kind_target

from ..seeds import SEEDS
from .correction_functions import SOUND, VIOLATORS, icepop, sequence_masked, token_truncated

QUICK = {law: place for place, (_, _, law) in reversed(list(enumerate(VIOLATORS)))}
CASES = [
    pytest.param(
        *case,
        id=f"{case[0].__name__}-{case[1]}".replace(" ", "-"),
        marks=() if place in QUICK.values() else pytest.mark.slow,
    )
    for place, case in enumerate(VIOLATORS)
]
"""The first violator of each law is in the quick suite."""


@pytest.mark.parametrize(("make", "slip", "law"), CASES)
@pytest.mark.usefixtures("unshrunk")
def test_a_slip_is_named_by_its_law(make, slip, law):
    report = check_kind(make(slip), laws=[law])
    assert law in {r.name for r in report.failures}


@pytest.mark.parametrize(
    "make",
    [pytest.param(m, id=m.__name__, marks=pytest.mark.slow if i % 3 else ()) for i, m in enumerate(SOUND)],
)
def test_the_sound_twin_passes(make):
    assert kind_of(make("")).name == "correction"
    report = check_kind(make(""), examples=8)
    assert report.ok, report.table()


@pytest.mark.slow
@pytest.mark.parametrize("make", SOUND, ids=lambda m: m.__name__)
def test_no_seed_raises_a_false_alarm(make):
    for seed in range(SEEDS):
        report = check_kind(make(""), examples=20, random_seed=seed)
        assert report.ok, report.table()


@pytest.mark.parametrize(
    ("make", "form"),
    [
        (token_truncated, "token_truncate"),
        pytest.param(sequence_masked, "sequence_mask", marks=pytest.mark.slow),
        pytest.param(icepop, "token_band", marks=pytest.mark.slow),
    ],
    ids=["token", "sequence", "band"],
)
def test_a_form_is_found_and_another_one_refused(make, form):
    target = kind_target(make(""), kind_of(make("")))
    assert target.form.name == form
    others = [name for name in form_names(target.kind, target) if name != form]
    report = check_kind(make(""), intended=others[0])
    assert "known_form" in {r.name for r in report.failures}
