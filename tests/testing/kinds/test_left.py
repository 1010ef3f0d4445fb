"""Filters that return what is left, matrices with a row for each function, None for missing rewards."""

import numpy as np
import pytest

from gradvar.testing import check_advantage
from gradvar.testing.kinds import check_kind, kind_of
from gradvar.testing.recognise import advantage_target

from ..seeds import SEEDS
from .left_functions import LEFT, SOUND, VIOLATORS, by_function, none_for_missing


@pytest.mark.parametrize(
    ("make", "slip", "law"), VIOLATORS, ids=[f"{m.__name__}-{s}".replace(" ", "-") for m, s, _ in VIOLATORS]
)
@pytest.mark.usefixtures("unshrunk")
def test_a_slip_is_named_by_its_law(make, slip, law):
    report = check_kind(make(slip), laws=[law], examples=10)
    assert law in {r.name for r in report.failures}, report.table()


@pytest.mark.parametrize("make", SOUND, ids=lambda m: m.__name__)
def test_the_sound_twin_passes(make):
    assert kind_of(make("")).name == ("filter" if make in LEFT else "reward matrix")
    report = check_kind(make(""), examples=6)
    assert report.ok, report.table()


@pytest.mark.slow
@pytest.mark.parametrize("make", SOUND, ids=lambda m: m.__name__)
def test_no_seed_raises_a_false_alarm(make):
    for seed in range(SEEDS):
        report = check_kind(make(""), random_seed=seed, examples=20)
        assert report.ok, report.table()


def test_how_it_was_read_is_said():
    laws = ["known_form"]
    note = check_kind(by_function(""), laws=laws, examples=3).note
    assert note == "read as reward matrix (each row of the matrix holds one function's rewards): weighted_sum"
    assert (
        "a missing reward is passed as None" in check_kind(none_for_missing(""), laws=laws, examples=3).note
    )


def centred_list(slip):
    def advantages(rewards: list[float | None]) -> list[float]:
        scored = [r for r in rewards if r is not None]
        if len(scored) < 2 or not all(np.isfinite(r) for r in scored):
            return [0.0 for _ in rewards]
        mean = sum(scored) / (len(rewards) if slip else len(scored))
        return [0.0 if r is None else r - mean for r in rewards]

    return advantages


def test_a_list_with_none_for_a_missing_reward():
    assert advantage_target(centred_list(False)).library.missing_as == "none"
    sound = check_advantage(centred_list(False), examples=10)
    assert sound.ok, sound.table()
    assert "a missing reward is passed as None" in sound.note
    slip = check_advantage(centred_list(True), laws=["nan_contained"], examples=60)["nan_contained"]
    assert slip.status == "fails"


def test_what_is_not_understood_is_named():
    def keeps(rewards, uid, xyz):
        return np.asarray(rewards)[:1]

    with pytest.raises(ValueError, match="'xyz'") as failure:
        advantage_target(keeps)
    assert "\n" not in str(failure.value)
