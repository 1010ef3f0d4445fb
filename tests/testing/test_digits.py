"""Witness numbers are printed to the digit that differs: values, weights and gradients, by every law that compares."""

import re

import numpy as np
import pytest

from gradvar.testing import check_advantage
from gradvar.testing.digits import apart, exact, shown, sides
from gradvar.testing.kinds.base import KnownForm, difference
from gradvar.testing.laws.base import Broken
from gradvar.testing.laws.loss import pure
from gradvar.testing.recognise import loss_target

NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")


@pytest.mark.parametrize("gap", [1e-3, 1e-7, 1e-12, 2.0**-52])
def test_two_numbers_are_told_apart_in_as_few_digits_as_do(gap):
    one, two = apart(1 / 3, (1 / 3) * (1 + gap))
    assert one != two
    assert len(one) <= 2 + 17
    wide = int(np.ceil(-np.log10(gap)))
    assert max(len(one), len(two)) <= 2 + max(6, min(wide + 2, 17))
    assert apart(1.0, 1.0) == ("1", "1")
    assert apart(float("nan"), 0.5) == ("nan", "0.5")


def test_only_the_entries_that_differ_get_more_digits():
    one, two = sides([1 / 3, 0.25, 1 / 7], [1 / 3 + 1e-9, 0.25, 1 / 7 + 1e-12])
    assert one == "[0.3333333333, 0.25, 0.1429]"
    assert two == "[0.3333333343, 0.25, 0.1429]"
    assert sides([1.0], [1.0, 2.0]) == ("[1]", "[1, 2]")
    assert sides([np.nan, 0.5], [np.nan, 1.5]) == ("[nan, 0.5]", "[nan, 1.5]")
    assert shown([1 / 3]) == "[0.3333]"
    assert exact([0.015625, np.float32(0.1)]) == "[0.015625, 0.100000001]"


class Drifting:
    """Sound functions whose answer grows by one part in ten million with every call."""

    def __init__(self):
        self.factor = 1.0

    def drift(self):
        self.factor *= 1 + 1e-7
        return self.factor

    def advantage(self, rewards):
        return self.drift() * (np.asarray(rewards, float) - np.mean(rewards))

    def loss(self, logp, old_logp, advantages, mask):
        ratio = np.exp(np.where(mask > 0, logp - old_logp, 0.0)) * (mask > 0)
        return -self.drift() * float((ratio * advantages).sum())


def numbers(text):
    return [[float(n) for n in NUMBER.findall(part)] for part in re.findall(r"\[([^\[\]]*)\]", text)]


def drifted(before, after):
    before, after = np.array(before), np.array(after)
    return np.any(before != after) and np.allclose(before, after, rtol=1e-5)


def test_an_advantage_that_is_off_by_one_in_ten_million_shows_it():
    result = check_advantage(Drifting().advantage, laws=["pure"], examples=3)["pure"]
    assert result.status == "fails"
    _, before, after = numbers(result.why)
    assert drifted(before, after), result.why


def test_a_value_and_weights_that_are_off_by_as_little_show_it():
    shape = {"group": 2, "steps": 2, "lengths": (2, 1), "advantages": (1.0, -0.5), "logps": (-1.0,) * 3}
    with pytest.raises(Broken) as failure:
        pure(loss_target(Drifting().loss), {**shape, "moves": (0.05, -0.05)})
    text = str(failure.value)
    value, again = (float(n) for n in re.match(r"value (\S+), the second time (\S+);", text).groups())
    assert drifted([value], [again]), text
    assert drifted(*numbers(text)), text


def test_a_known_form_and_an_answer_beside_it_are_told_apart():
    form = KnownForm("third", lambda scene: {"value": np.array([1 / 3])})
    text = difference({"value": np.array([1 / 3 + 1e-9])}, form, {}, 1.0, 1e-12)
    assert text == "value[0] is 0.3333333343, third gives 0.3333333333"
