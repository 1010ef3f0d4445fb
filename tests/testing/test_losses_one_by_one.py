"""Each law of losses on one example by itself: penalties, normalisations, parts, what a message names."""

from dataclasses import replace

import numpy as np
import pytest

from gradvar.testing.calls import BadOutput, Raised
from gradvar.testing.laws import Broken, Residue
from gradvar.testing.laws.arrays import switched_off
from gradvar.testing.laws.clip_forms import clip_setting

from .one_example import LOSS_LAWS, outcome, planted, surrogate
from .test_laws_one_by_one import LOSS_BREAKERS, told_beyond, whitened
from .test_loss_lines import SHAPE


def test_a_coefficient_may_be_zero_by_default_or_in_an_object():
    class Trainer:
        def loss(self, logp, beta=0.1):
            return logp

        def __call__(self, logp, beta=0.1):
            return logp

    def loss(logp, scale=0, *, beta=0.1, kl_coef=0.1):
        return logp

    def off(function, **fixed):
        target = planted(function)
        return switched_off(replace(target, signature=replace(target.signature, fixed=fixed)))

    assert not off(loss)
    assert off(loss, kl_coef=0.0)
    assert off(lambda logp, kl_coef=0.0: logp, scale=1.0)
    assert not off(lambda logp, kl_coef=0.0: logp, kl_coef=0.1)
    assert all(off(function) for function in (max, Trainer(), Trainer().loss))


def test_a_clip_is_looked_for_where_the_loss_takes_one():
    def setting(function):
        return clip_setting(planted(function))

    assert setting(lambda logp, clip_low=0.2: logp) == "clip_low"
    assert setting(lambda logp, *, clip_eps=0.2: logp) == "clip_eps"
    assert [setting(lambda logp, clip_eps=e: logp) for e in (0, 1, 3.0, True, "0.2", None)] == [""] * 6
    assert setting(max) == ""


def shifted(value=7.0, pull=0.3):
    """A sum of ratio times advantage with a penalty: a value and weights that are there without any advantage."""
    return planted(lambda b: surrogate(b, -pull * b.mask, value), "ref_logp")


WIDE_SHAPE = SHAPE | {"lengths": (1, 3, 2, 3, 3, 3, 3, 3), "advantages": (1.0, -1.0, 0.5, -0.5) * 2}


def test_a_penalty_beside_the_advantages_is_none_of_their_business():
    for name in ("on_policy_unclipped", "advantages_as_given", "both_signs", "every_token_weighs"):
        assert outcome(LOSS_LAWS[name], shifted(), shape=SHAPE) is None, name
    for aggregation in ("", "sequence-sum"):
        target = replace(shifted(), aggregation=aggregation)
        assert outcome(LOSS_LAWS["aggregation"], target, shape=SHAPE) is None
    for sign in (1.0, -1.0):
        assert outcome(LOSS_LAWS["recovers_beyond_clip"], shifted(), shape=SHAPE, sign=sign) is None
        clipped = planted(lambda b: (7.0, told_beyond(b, True)[1] - 0.3 * b.mask))
        assert outcome(LOSS_LAWS["zero_beyond_clip"], clipped, shape=SHAPE, sign=sign) is None
    assert outcome(LOSS_LAWS["unbiased_up_to_constant"], shifted(0.0, 0.0)) is None


def normalising(b, rows=slice(None)):
    weights = np.zeros(b.mask.shape)
    weights[rows] = (whitened(b.advantages)[:, None] * b.mask)[rows]
    return 0.0, weights


def test_a_loss_that_normalises_is_asked_what_it_can_answer():
    for name in ("both_signs", "advantages_as_given", "every_token_weighs"):
        assert outcome(LOSS_LAWS[name], planted(normalising), shape=SHAPE) is None, name
    # two rollouts of one prompt are too few for this one: it pushes neither, and normalises four
    lazy = planted(lambda b: normalising(b, slice(None) if len(b.mask) > 2 else slice(0, 0)))
    assert outcome(LOSS_LAWS["both_signs"], lazy, shape=SHAPE) is Broken
    assert outcome(LOSS_LAWS["both_signs"], lazy, shape=SHAPE | {"advantages": (0.5,) * 4}) is None
    cut = planted(lambda b: (0.0, normalising(b)[1] * (np.arange(3 if b.mask.shape[1] == 3 else 4) != 1)))
    assert outcome(LOSS_LAWS["every_token_weighs"], cut, shape=SHAPE) is Broken


def test_tokens_without_a_weight_are_named():
    first = planted(lambda b: (0.0, surrogate(b)[1] * (np.arange(b.mask.shape[1]) > 0)))
    last = planted(lambda b: (0.0, surrogate(b)[1] * np.pad(b.mask, ((0, 0), (0, 1)))[:, 1:]))
    some = planted(lambda b: (0.0, surrogate(b)[1] * (np.arange(len(b.mask)) != 1)[:, None]))
    for target, told in (
        (first, "the first token of each"),
        (last, "the last token of each"),
        (some, "some tokens"),
    ):
        with pytest.raises(Broken, match=told):
            LOSS_LAWS["every_token_weighs"].check(target, shape=SHAPE | {"lengths": (2, 3, 2, 3)})


def test_the_side_that_is_not_as_given_is_named():
    for sign, told in ((1.0, "positive"), (-1.0, "negative")):
        cut = planted(
            lambda b, s=sign: (
                0.0,
                surrogate(b)[1]
                + (np.abs(b.advantages) < 1)[:, None] * b.mask * (np.sign(b.advantages) == s)[:, None],
            )
        )
        with pytest.raises(Broken, match=f"where the advantage is {told}; those at one say"):
            LOSS_LAWS["advantages_as_given"].check(cut, shape=SHAPE)


def test_parts_of_a_batch_keep_their_groups():
    by_group = lambda b: b.mask.reshape(-1, b.group, b.mask.shape[1])  # noqa: E731
    told = planted(
        lambda b: (0.0, by_group(b).reshape(b.mask.shape) / b.values()["token_count"]), "token_count"
    )
    assert outcome(LOSS_LAWS["token_count_divides"], told, shape=SHAPE, factor=2.0) is None
    assert outcome(LOSS_LAWS["microbatch_invariant"], told, shape=SHAPE) is None
    own = planted(LOSS_BREAKERS["microbatch_invariant"][0])
    assert outcome(LOSS_LAWS["microbatch_invariant"], own, shape=WIDE_SHAPE) is Broken
    three = {k: v[:6] if k in ("lengths", "advantages") else v for k, v in WIDE_SHAPE.items()}
    assert outcome(LOSS_LAWS["microbatch_invariant"], own, shape=three) is None  # three prompts have no half


def test_a_refusal_is_no_sum_of_tokens():
    excused = LOSS_LAWS["unbiased_up_to_constant"].excused
    assert excused(shifted()) == ""

    def refuses(error):
        def loss(b):
            if b.mask.sum() == 10:  # lengths of 4, 2, 3, 1
                raise error
            return surrogate(b)

        return planted(loss)

    for error in (Raised("a refusal"), BadOutput("no number"), TypeError(), ValueError()):
        assert excused(refuses(error)) == "tokens weigh by the lengths in the batch"
    assert excused(planted(normalising)) == "advantages are standardised inside the loss"


def test_half_precision_is_judged_apart_from_its_mask():
    def off(fault, **settings):
        class Off(type(shifted())):
            def weights(self, batch, dtype=None):
                value, weights = surrogate(batch)
                by_mask = 9 * (self.mask_as == "float")
                at = np.indices(weights.shape).sum(0) == 3  # tokens [0, 3], [1, 2] ...
                return value, weights + (fault * at + by_mask) * (dtype is not None)

        return Off(
            **{f: getattr(shifted(), f) for f in ("function", "signature", "library", "name")}, **settings
        )

    law = LOSS_LAWS["half_precision_weights"]
    example = {"dtype": "float16", "move": 0.0, "layout": "right", "size": 1}
    with pytest.raises(Residue, match="with a mask of that dtype goes right with another"):
        law.check(off(0.0), **example)
    for fault in (1.0, -1.0):
        with pytest.raises(Broken, match=r"the weight of token \[0, 3\] is"):
            law.check(off(fault, mask_as="int64"), **example)


ROLES = ("old_logp", "mask", "ref_logp", "sampler_logp", "second_mask", "entropy", "advantages")


@pytest.mark.parametrize("role", ROLES)
def test_an_array_matters_by_a_value_or_by_one_weight(role):
    def told(b):
        numbers = np.broadcast_to(np.asarray(b.values()[role], float).reshape(len(b.mask), -1), b.mask.shape)
        return numbers * (1 + np.arange(b.mask.size).reshape(b.mask.shape))

    sound = (
        lambda b: (told(b).sum(), 1.0),
        lambda b: (0.0, told(b)),
        lambda b: (0.0, told(b) * (np.arange(4) == 1)),
    )
    for function in sound[: 2 if role == "mask" else 3]:
        assert outcome(LOSS_LAWS["arrays_matter"], planted(function, role), role=role) is None
    with pytest.raises(Broken, match=f"'{role}' is taken and ignored"):
        LOSS_LAWS["arrays_matter"].check(planted(lambda b: (1.0, 1.0), role), role=role)
