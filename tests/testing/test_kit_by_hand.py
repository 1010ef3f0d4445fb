"""Parts of the kit on plain numbers: which rows a loss moves, how arguments are read, what examples hold."""

from dataclasses import fields
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import Phase, find, settings
from hypothesis.errors import NoSuchExample

from gradvar.testing.arrays import library
from gradvar.testing.caller import Caller
from gradvar.testing.calls import BadOutput
from gradvar.testing.identification.epsilon import Ladder
from gradvar.testing.identification.loss import identify_loss
from gradvar.testing.kinds.base import Kind
from gradvar.testing.kinds.calling import KindCaller
from gradvar.testing.kinds.check import _note
from gradvar.testing.kinds.filter_reading import _chosen
from gradvar.testing.kinds.kl_reward import kl_coef_scales
from gradvar.testing.kinds.selection import selection_ordered
from gradvar.testing.kinds.value_loss import readings
from gradvar.testing.laws.base import Broken
from gradvar.testing.oracle import named
from gradvar.testing.peers.confirm import confirm
from gradvar.testing.recognise import _moved_rows, _note_precision
from gradvar.testing.signatures import Signature
from gradvar.testing.strategies import INEXACT, loss_shapes, scaled_groups
from gradvar.testing.targets import AdvantageTarget

from .one_example import grouped, outcome, planted, surrogate


def test_the_rows_that_an_advantage_moves():
    def weights(of_advantages):
        return planted(lambda b: (0.0, of_advantages(b.advantages)[:, None] * b.mask))

    assert _moved_rows(planted(surrogate)) == {1}
    assert _moved_rows(weights(lambda a: a - a.mean())) == {0, 1, 2, 3}
    assert _moved_rows(weights(lambda a: a.sum() + 0 * a)) == {0, 2, 3}
    assert _moved_rows(weights(lambda a: 0 * a)) == set()
    assert _moved_rows(weights(lambda a: np.roll(a, 1))) == {2}


@pytest.mark.parametrize(("least", "size"), [(2, 3), (3, 3), (5, 5), (7, 7)])
def test_precision_is_seen_on_the_smallest_group(least, size):
    sizes = []

    def on_lists(rewards):
        sizes.append(len(rewards))
        mean = sum(rewards) / len(rewards)
        return [r - mean for r in rewards]

    signature = Signature("group", {"rewards": "rewards"}, ("rewards",))
    _note_precision(AdvantageTarget(on_lists, signature, library("list"), "planted", min_group=least))
    assert set(sizes) == {size}


def test_old_values_are_those_that_are_not_predicted():
    plain = {"values": "values", "returns": "returns"}
    assert readings(plain) == [plain]
    told = plain | {"old": "old_values", "v": ""}
    assert readings(told) == [told]
    assert readings(plain | {"values_before": ""}) == [plain | {"values_before": "old_values"}]
    for name in ("vpred", "new_values"):
        assert readings(plain | {name: ""}) == [
            {"values": "old_values", "returns": "returns", name: "values"}
        ]


def test_a_mask_may_have_a_dtype_of_its_own():
    roles = {"rewards": "rewards", "mask": "mask", "ids": "ids"}
    values = {"rewards": np.ones(2), "mask": np.ones((2, 3)), "ids": np.arange(2)}
    for mask_as, dtype in (("float", "float32"), ("int64", "int64"), ("bool", "bool")):
        caller = Caller(print, Signature("flat", roles), library("numpy"), "planted", "", "", mask_as, [])
        native, _ = caller.converted(values, "float32")
        assert {role: str(array.dtype) for role, array in native.items()} == {
            "rewards": "float32",
            "mask": dtype,
            "ids": "int64",
        }


def test_the_selected_lie_on_one_side_of_a_line():
    scene = {"entropy": np.array([[0.1, 0.9, 0.5, 7.0]]), "mask": np.array([[1, 1, 1, 0]])}

    def selecting(*places):
        chosen = np.isin(np.arange(4), places)[None, :].astype(float)
        return SimpleNamespace(observe=lambda scene: {"selected": chosen})

    for places in ((), (0, 1, 2), (1,), (1, 2), (0,), (0, 2), (1, 3), (0, 3)):
        selection_ordered(selecting(*places), scene)
    for places, told in (
        ((2,), "entropy 0.5 is selected and 0.9 is not"),
        ((0, 1), "entropy 0.1 .* 0.5 is not"),
    ):
        with pytest.raises(Broken, match=told):
            selection_ordered(selecting(*places), scene)


def test_batches_of_losses_are_small_and_whole():
    few = settings(max_examples=15, database=None, phases=[Phase.generate])

    def is_odd(shape):
        rows = len(shape["advantages"])
        return (
            rows != len(shape["lengths"]) or rows % shape["group"] or rows > 6 or max(shape["lengths"]) > 12
        )

    for compact in (True, False):
        with pytest.raises(NoSuchExample):
            find(loss_shapes(compact), is_odd, settings=few)


def test_the_forms_of_an_unknown_clip_are_named():
    """Clipped as PPO clips, by weights that go two per cent to either side of the ratio."""

    def unknown(b):
        move = np.where(b.mask, b.logp - b.old_logp, 0)
        inside = np.where(b.advantages[:, None] > 0, np.exp(move) < 1.2, np.exp(move) > 0.8)
        weights = np.exp(move) * (1 + 0.02 * np.sin(9 * move)) * inside
        return 0.0, np.where(b.mask, b.advantages[:, None] * weights, 0)

    found = identify_loss(planted(unknown))
    assert not found.ok
    assert {candidate.name for candidate in found.candidates} == {"ppo", "gmpo", "gspo"}


@pytest.mark.parametrize(
    ("times", "factor"), [(0.5, 0.5), (2.0, 2.0), (1.004, 1.0), (0.996, 1.0), (-1.0, 1.0)]
)
def test_a_factor_is_read_unless_it_is_all_but_one(times, factor):
    def signs(rewards):
        return times * np.sign(rewards - rewards.mean(-1, keepdims=True))

    form = SimpleNamespace(advantages_of=lambda batch: np.array([-1.0, -1.0, 1.0, 1.0]))
    assert Ladder(grouped(signs))._factor(form) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("factor", "told"), [(1.0, ""), (1.0005, ""), (2.0, ", times 2"), (0.25, ", times 0.25")]
)
def test_a_report_says_how_many_times_a_form_a_function_is(factor, told):
    target = SimpleNamespace(
        kind=SimpleNamespace(name="kl", sentence=""),
        remark="",
        form=SimpleNamespace(title="k3"),
        factor=factor,
    )
    assert _note(target) == f"read as kl: k3{told}"


def test_indices_are_of_rows_where_groups_are_too_few():
    assert _chosen(np.array([0, 1]), 4, 2, False).tolist() == [1, 1]
    assert _chosen(np.array([0, 2]), 4, 2, False).tolist() == [1, 0, 1, 0]
    assert _chosen(np.array([3]), 4, 2, False).tolist() == [0, 0, 0, 1]
    assert _chosen(np.array([1]), 4, 2, True).tolist() == [0, 1, 0, 0]
    for wrong in ([4], [-1], [1, 1]):
        with pytest.raises(BadOutput, match="returned the indices"):
            _chosen(np.array(wrong), 4, 2, False)


@pytest.mark.parametrize("score", [1.0, 1000.0])
def test_a_coefficient_of_a_penalty_counts_once_up_to_rounding(score):
    """Of a score of a thousand, rounding may be off by a thousand times as much."""
    scene = {"kl": np.array([[0.5, -0.25]]), "kl_coef": 0.1}

    def outcome_of(penalty, off=0.0):
        def observe(scene):
            return {
                "rewards": score - penalty(scene["kl_coef"]) * scene["kl"] + off * (scene["kl_coef"] == 0)
            }

        target = SimpleNamespace(observe=observe, tolerance=1e-6, takes=lambda role: role == "kl_coef")
        return outcome(SimpleNamespace(check=kl_coef_scales), target, scene=scene, factor=2.0)

    assert outcome_of(lambda c: c) is None
    assert outcome_of(lambda c: c, 0.9e-6 * score) is None
    assert outcome_of(lambda c: c, 3e-6 * score) is Broken
    assert outcome_of(lambda c: c + 0.1) is Broken


def test_a_loss_is_confirmed_on_an_input_that_is_printed():
    """To the resolution of what is differentiated by differences."""

    def importance(fault):
        return planted(lambda b: (0.0, surrogate(b)[1] / b.mask.sum() * (1 + fault)))

    oracle = named("importance")
    for fault, equal in ((0.0, True), (1e-4, True), (1e-3, False)):
        found = confirm(importance(fault), oracle)
        assert found.equal is equal
    assert confirm(importance(0.0), None).oracle == ""


def test_examples_reach_far_and_have_what_is_not_exact():
    few = settings(max_examples=60, database=None, phases=[Phase.generate])
    for far in (lambda g: 0 < max(map(abs, g)) < 1e-6, lambda g: max(map(abs, g)) > 1e6):
        assert find(scaled_groups(), far, settings=few)
    assert all(Fraction(value).denominator > 2**20 for value in INEXACT)
    sizes = next(f.default for f in fields(Kind) if f.name == "sizes")
    assert min(size["N"] for size in sizes) == 1  # a batch of one row is tried


def test_a_list_of_rows_is_packed_and_one_of_matrices_is_not():
    caller = KindCaller(print, Signature("flat", {}), library("numpy"), "planted", "", "", "float", [])
    assert caller._array([np.ones(2), np.ones(3)]).tolist() == [1.0] * 5
    assert caller._array([np.ones((2, 3))] * 4).shape == (4, 2, 3)
    assert caller._array([1.0, 2.0]).tolist() == [1.0, 2.0]
