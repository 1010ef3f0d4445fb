"""Losses on pairs: every slip is named by its law, the sound twins pass under their names."""

import pytest

from gradvar.testing.kinds import check_kind, kind_of, kind_target

from ..seeds import SEEDS
from .pair_functions import SOUND, VIOLATORS, ratios, sequences, tokens

WORDS = {
    "exchanged": (sequences, "", "the chosen and the rejected responses are exchanged"),
    "reference added": (sequences, "", "the reference enters with the policy's sign"),
    "ipo on sums": (tokens, "", "on sums of log-probabilities, not on means per token"),
    "dpo": (tokens, "ipo", "it is not ipo: it is dpo"),
    "apo_down": (ratios, "apo_down_separate", "it is not apo_down_separate: it is apo_down"),
}
QUICK = 5
FAST = {"reference added", "ipo on sums", "robust without its scale", "margin reversed", "simpo"}


def _id(case):
    return "-".join(str(getattr(part, "__name__", part)) for part in case).replace(" ", "-")


def _cases(cases):
    """Those of one layout and one of each other are quick."""
    return [
        pytest.param(c, id=_id(c), marks=() if c[0] is ratios or c[1] in FAST else pytest.mark.slow)
        for c in cases
    ]


@pytest.mark.parametrize("case", _cases(VIOLATORS))
@pytest.mark.usefixtures("unshrunk")
def test_a_slip_is_named_by_its_law(case):
    make, slip, law = case
    report = check_kind(make(slip), laws=[law], examples=QUICK)
    assert law in {r.name for r in report.failures}, report.table()


@pytest.mark.parametrize("case", _cases(SOUND))
def test_the_sound_twin_has_its_form(case):
    make, name = case
    assert kind_of(make(name)).name == "pair-loss"
    target = kind_target(make(name), kind_of(make(name)))
    assert target.form is not None
    assert target.form.name == name
    report = check_kind(target, examples=QUICK)
    assert report.ok, report.table()


@pytest.mark.parametrize("slip", WORDS)
def test_a_usual_mistake_is_called_by_its_name(slip):
    make, intended, words = WORDS[slip]
    report = check_kind(make(slip), laws=["known_form"], intended=intended, examples=QUICK)
    assert words in report.table()


def test_the_other_reading_of_apo_down_counts_where_it_is_asked_for():
    assert not check_kind(ratios("apo_down of two"), examples=QUICK).ok
    assert not check_kind(ratios("apo_down of two"), intended="apo_down", examples=QUICK).ok
    assert check_kind(ratios("apo_down of two"), intended="apo_down_separate", examples=QUICK).ok


@pytest.mark.slow
@pytest.mark.parametrize("case", SOUND, ids=_id)
def test_no_seed_raises_a_false_alarm(case):
    make, name = case
    for seed in range(SEEDS):
        report = check_kind(make(name), random_seed=seed)
        assert report.ok, report.table()
