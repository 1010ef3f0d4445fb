"""What the kit compares functions with, for targets of which only the roles are given: entries, words and points."""

import inspect
from types import SimpleNamespace

import numpy as np
import pytest

from gradvar.testing import signatures
from gradvar.testing.identification.loss import identify_loss
from gradvar.testing.kinds import aggregate, correction, kl, pair_forms, pairs, shaping, value_loss
from gradvar.testing.matching import loss


def taking(*roles):
    return SimpleNamespace(takes=lambda *asked: set(asked) <= set(roles), intended="")


@pytest.mark.parametrize(
    ("note", "weights"),
    [
        ("over max length, a mean over rows", [[0.05, 0.05, 0], [0.05, 0.05, 0.05]]),
        ("over max length", [[0.1, 0.1, 0], [0.1, 0.1, 0.1]]),
        ("over row count, a mean over rows", [[1 / 8, 1 / 8, 0], [1 / 12, 1 / 12, 1 / 12]]),
        ("over row count", [[0.25, 0.25, 0], [0.25, 0.25, 0.25]]),
    ],
)
def test_an_average_over_a_given_number(note, weights):
    losses = np.array([[1.0, 2.0, 9.0], [3.0, 4.0, 5.0]])
    scene = {"mask": np.array([[1, 1, 0], [1, 1, 1]]), "token_loss": losses, "max_length": 10, "row_count": 4}
    (form,) = (f for f in aggregate.forms(taking("max_length", "row_count")) if f.note == note)
    answer = form.answer(scene)
    np.testing.assert_allclose(answer["gradient of token_loss"], weights)
    assert answer["value"] == pytest.approx((losses * weights).sum())


def test_old_values_are_clipped_about_and_without_them_nothing_is():
    usual = [f.note for f in value_loss.forms(taking())]
    assert not [note for note in usual if "clip" in note]
    with_old = [f.note for f in value_loss.forms(taking("old_values"))]
    assert [n for n in with_old if "mean over tokens" in n][:3] == [
        f"clipped at {clip}, a mean over tokens" for clip in (0.2, 0.5, 0.1)
    ]
    assert set(usual) < set(with_old)


def test_a_penalty_is_weighted_by_its_coefficient():
    cell = kl._weighted(lambda scene: np.array([2.0, -3.0]))
    assert cell({"kl_coef": 0.5}).tolist() == [1.0, -1.5]
    assert cell({"beta": 2.0}).tolist() == [4.0, -6.0]
    assert cell({}).tolist() == [2.0, -3.0]


@pytest.mark.parametrize(
    ("roles", "fits"),
    [
        ({"lengths", "max_length"}, True),
        ({"mask", "max_length"}, True),
        ({"max_length"}, False),
        ({"lengths", "mask", "max_length"}, False),
    ],
)
def test_shaping_takes_lengths_or_a_mask(roles, fits):
    assert shaping._fits(frozenset(roles)) is fits


def test_both_sides_of_every_bound_are_tried():
    oracle = SimpleNamespace(
        settings={"clip_low": 0.2, "clip_high": 0.3, "dual": 3.0}, form=SimpleNamespace(surrogate="clipped")
    )
    tried = np.exp(loss.log_ratios(oracle))
    for bound in (0.8, 1.3, 3.0):
        near = tried[np.abs(tried - bound) < 0.04 * bound]
        assert set(np.sign(near - bound)) == {-1, 1}, bound
    assert not np.isin(tried, [0.8, 1.3, 3.0]).any()


def test_a_smoothing_is_named_where_there_is_one():
    forms = {f.name: f for f in pair_forms.PAIR_FORMS if f.name in ("dpo", "robust") and not f.note}
    notes = {
        name: [f.note for f in pairs._settings(taking(*pairs.SEQUENCES), form)]
        for name, form in forms.items()
    }
    assert not any("smoothing" in note for note in notes["dpo"])
    assert all("label smoothing 0." in note for note in notes["robust"])


def test_the_first_argument_is_the_rewards_where_every_one_has_a_default():
    def target(scores=None, other=1):
        """No name of a role."""

    parameters = list(inspect.signature(target).parameters.values())
    assert signatures._advantage_roles(parameters, {}, [], None) == {"scores": "rewards"}
    assert signatures._advantage_roles(parameters, {}, parameters[1:], None) == {"other": "rewards"}


def test_a_loss_is_called_by_where_it_is_from_or_else_by_its_name():
    for origin, label in (("mine.py:f", "mine.py:f"), ("", "f")):
        target = SimpleNamespace(origin=origin, name="f", flaw="it takes no advantages")
        assert identify_loss(target).target == label


def test_a_list_of_rows_has_nothing_after_the_last_token_and_no_hole_before():
    mask = np.array([[1, 0, 1, 0], [0, 0, 0, 0]])
    weights = np.array([[1.0, np.nan, 1.0, np.nan], [np.nan, 0.0, np.nan, np.nan]])
    cut = [[False, False, False, True], [True, False, True, True]]
    assert correction._cut(weights, mask).tolist() == cut
