"""Logits, entropies and losses by token: every slip is named by its law, and the sound twins pass."""

import pytest

from gradvar.testing import check_advantage
from gradvar.testing.kinds import check_kind, kind_of

from ..seeds import SEEDS
from .token_functions import KINDS, SOUND, VIOLATORS, entries

# where the law compares with a form, the search for the smallest example takes seconds
_CASES = [
    pytest.param(m, s, law, id=f"{m.__name__}-{s}".replace(" ", "-"), marks=pytest.mark.slow if long else ())
    for m, s, law in VIOLATORS
    for long in [law in ("known_form", "selection_ordered")]
]


@pytest.mark.parametrize(("make", "slip", "law"), _CASES)
@pytest.mark.usefixtures("unshrunk")
def test_a_slip_is_named_by_its_law(make, slip, law):
    report = check_kind(make(slip), laws=[law], examples=15)
    assert law in {r.name for r in report.failures}, report.table()


@pytest.mark.parametrize("make", SOUND, ids=lambda m: m.__name__)
def test_the_sound_twin_passes(make):
    assert kind_of(make("")).name == KINDS[make]
    report = check_kind(make(""), examples=10)
    assert report.ok, report.table()


def test_a_list_of_dicts_is_read_by_what_the_helper_of_the_function_asks_for():
    assert check_advantage(entries(""), laws=["sign_against_mean"], examples=10).ok
    report = check_advantage(entries("the first alone"), laws=["permutation_equivariant"], examples=10)
    assert not report.ok


@pytest.mark.slow
@pytest.mark.parametrize("make", SOUND, ids=lambda m: m.__name__)
def test_no_seed_raises_a_false_alarm(make):
    for seed in range(SEEDS):
        report = check_kind(make(""), random_seed=seed, examples=10)
        assert report.ok, report.table()
