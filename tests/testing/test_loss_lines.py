"""Where each law of losses draws its line: a fault a little smaller passes, one a little larger is found.

The losses are planted: their value and weights are given by a formula, so that a fault has a size, and the lines are
worked out by hand.
"""

from dataclasses import replace

import numpy as np
import pytest

from gradvar.testing.laws import Broken, Residue
from gradvar.testing.laws.loss_batches import (
    make_batch,
    padded,
    parallel,
    plain_batch,
    same,
    shifted_to,
    token_mask,
)

from .one_example import LOSS_LAWS, UNIT, outcome, planted, surrogate

SHAPE = {
    "group": 2, "steps": 3, "lengths": (1, 3, 2, 3), "advantages": (1.0, -1.0, 0.5, -0.5), "logps": (-1.0, -1.5, -2.0),
    "moves": (0.05, -0.05),
}  # fmt: skip
# Weights and values may be off by three rounding errors, relative to the largest if that exceeds one.
WEIGHT, VALUE = 3 * UNIT * np.exp(0.05), 3 * UNIT * abs(surrogate(make_batch(SHAPE))[0])


def averaged(b, count, fault):
    return 0.0, surrogate(b)[1] / count + fault * b.mask


THREE_ROWS = 3 * UNIT * abs(surrogate(make_batch(SHAPE).rows(slice(1, 4)))[0])


def weighing(b, weights, rows=slice(None)):
    """These weights on the tokens of some rows, beside the sum's own value."""
    chosen = np.zeros(b.mask.shape, bool)
    chosen[rows] = True
    value, usual = surrogate(b)
    return value, np.where(b.mask & chosen, weights, usual)


LOSS_LINES = [
    ("masked_inert", lambda b, e: surrogate(b, e * ~b.mask), {"garbage": -3.0}, UNIT),
    ("masked_inert", lambda b, e: surrogate(b, value=e * (b.logp == -3).any()), {"garbage": -3.0}, VALUE),
    ("masked_inert", lambda b, e: surrogate(b, e * b.mask * (b.logp == -3).any()), {"garbage": -3.0}, WEIGHT),
    ("order_invariant", lambda b, e: surrogate(b, e * (np.arange(4) == 0)[:, None] * b.mask), {"seed": 2}, WEIGHT),
    ("padding_invariant", lambda b, e: surrogate(b, value=e * b.mask.shape[1]), {"columns": (1, 2)}, VALUE / 3),
    ("padding_invariant", lambda b, e: surrogate(b, e * b.mask.shape[1] * b.mask), {"columns": (0, 1)}, WEIGHT),
    ("rows_isolated", lambda b, e: surrogate(b, e * b.mask * (b.old_logp[0, 0] < -1)), {"move": 1.0}, WEIGHT),
    ("empty_rows_finite", lambda b, e: surrogate(b, e * ~b.mask.any(1)[:, None]), {}, UNIT),
    ("empty_rows_silent", lambda b, e: surrogate(b, value=e * b.advantages[0]), {"advantage": 5.0}, THREE_ROWS / 4),
    ("kl_direction", lambda b, e: weighing(b, [-1, e, -1] * np.sign(b.logp - b.ref_logp)), {"distance": 0.5}, UNIT),
    ("zero_beyond_clip", lambda b, e: weighing(b, e * b.advantages[0]), {"sign": 1.0}, UNIT),
    ("zero_beyond_clip", lambda b, e: weighing(b, e * b.advantages[0]), {"sign": -1.0}, UNIT),
    (
        "recovers_beyond_clip",
        lambda b, e: weighing(b, (UNIT - e) * b.advantages[0]),
        {"sign": -1.0},
        0.0,
    ),
    ("on_policy_unclipped", lambda b, e: surrogate(b, e * b.mask * (b.advantages == 1).all()), {}, 3 * UNIT),
    ("advantages_as_given", lambda b, e: surrogate(b, e * b.mask * (b.advantages == 1).all()), {}, 3 * UNIT),
    ("both_signs", lambda b, e: weighing(b, UNIT - e, b.advantages == 1), {}, 0.0),
    (
        "every_token_weighs",
        lambda b, e: weighing(b, (2 * UNIT - e) * b.advantages[:, None], np.s_[:, 1]),
        {},
        0.0,
    ),
    ("microbatch_invariant", lambda b, e: averaged(b, len(b.mask), e * (len(b.mask) == 2)), {}, 6 * UNIT),
    ("token_count_divides", lambda b, e: averaged(b, b.values()["token_count"], e), {"factor": 2.0}, 3 * UNIT),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "function", "example", "line"),
    LOSS_LINES,
    ids=[f"{i}-{row[0]}" for i, row in enumerate(LOSS_LINES)],
)
def test_a_fault_of_a_loss_is_found_from_its_line_on(name, function, example, line):
    def at(size):
        target = planted(lambda batch: function(batch, size), "ref_logp")
        return outcome(LOSS_LAWS[name], target, shape=SHAPE, **example)

    step = abs(line) * 1e-2 or 1e-8
    assert at(line - step) is None
    assert at(line + step) is Broken


def test_batches_are_the_numbers_that_describe_them():
    batch = make_batch(SHAPE)
    cells = np.arange(12).reshape(4, 3)
    np.testing.assert_allclose(batch.old_logp, np.array([-1, -1.5, -2])[cells % 3] - 0.01 * (cells % 7))
    np.testing.assert_allclose(batch.logp - batch.old_logp, np.where(cells % 2, -0.05, 0.05))
    np.testing.assert_allclose(batch.ref_logp, batch.old_logp - 0.1)
    np.testing.assert_array_equal(make_batch(SHAPE, moved=False).logp, batch.old_logp)
    assert batch.mask.sum(-1).tolist() == [1, 3, 2, 3]
    plain = plain_batch()
    assert (plain.mask.shape, plain.group, plain.advantages.tolist()) == ((4, 4), 2, [1, -1, 0.5, -0.5])
    assert plain.mask.sum(-1).tolist() == [3] * 4
    assert token_mask((1, 3), 4, "left").tolist() == [[False, False, False, True], [False, True, True, True]]
    assert token_mask((2, 4), 4).tolist() == [[True, True, False, False], [True] * 4]
    assert token_mask((2, 1), 4, "holes").tolist() == [
        [False, True, False, True],
        [False, False, False, True],
    ]
    wide = padded(batch, (1, 2))
    assert wide.logp.shape == (4, 6)
    assert not wide.mask[:, [0, 4, 5]].any()
    np.testing.assert_array_equal(wide.ref_logp[:, 1:4], batch.ref_logp)
    assert (wide.old_logp[:, [0, 4, 5]] == -1).all()
    for ratio in (0.5, -0.5):
        away = shifted_to(batch, 1, ratio)
        np.testing.assert_allclose((away.logp - away.old_logp)[1], ratio)
        np.testing.assert_array_equal(away.logp[[0, 2, 3]], batch.logp[[0, 2, 3]])
        assert (away.logp < 0).all()
        assert (away.old_logp < 0).all()


def test_parallel_and_equal_up_to_their_lines():
    one, turned = np.array([1.0, 0.0]), lambda angle: 3 * np.array([np.cos(angle), np.sin(angle)])
    assert parallel(one, turned(0.99e-2), 1e-2)
    assert not parallel(one, turned(1.02e-2), 1e-2)
    assert not parallel(one, -one)
    assert not parallel(one, 0 * one)
    assert not parallel(0 * one, 0 * one)
    target = planted(surrogate)
    assert same(target, [1.0, 0.5], [1.0, 0.5 + 2.9e-6])
    assert not same(target, [1.0, 0.5], [1.0, 0.5 + 3.1e-6])
    assert same(target, [-10.0, 0.5], [-10.0, 0.5 + 2.9e-5])
    assert not same(target, [-10.0, 0.5], [-10.0, 0.5 + 3.1e-5])
    single = replace(target, library=replace(target.library, wide="float32"))
    assert same(single, 0.0, 2.9e-5)
    assert not same(single, 0.0, 3.1e-5)
    assert same(target, [np.nan, 1.0], [np.nan, 1.0])
    assert not same(target, [np.nan, 1.0], [0.0, 1.0])


@pytest.mark.parametrize(("dtype", "unit"), [("bfloat16", 2.0**-8), ("float16", 2.0**-11)])
@pytest.mark.parametrize("where", ["weights", "value"])
def test_half_precision_may_lose_sixteen_rounding_steps(dtype, unit, where):
    def at(size):
        class Half(type(planted(surrogate))):
            def weights(self, batch, dtype=None):
                fault = size * (dtype is not None)
                value, weights = surrogate(batch)
                if where == "value":
                    return value + fault, weights
                return value, weights + fault * (np.indices(weights.shape).sum(0) == 0)

        target = Half(
            **{f: getattr(planted(surrogate), f) for f in ("function", "signature", "library", "name")}
        )
        return outcome(
            LOSS_LAWS["half_precision_weights"], target, dtype=dtype, move=0.0, layout="right", size=2
        )

    weights = surrogate(plain_batch(moved=False, lengths=(3, 0, 4, 3)))[1]
    terms = {"weights": np.abs(weights).max(), "value": 2 * np.abs(weights).sum()}[where]
    line = 16 * unit * terms
    assert at(0.99 * line) is None
    assert at(1.01 * line) is Broken


def test_a_second_mask_and_an_entropy_have_their_lines_too():
    def tools(size):
        weights = lambda b: 4.0 * (b.mask & b.second_mask) + size * b.mask[:, 1].any()  # noqa: E731
        return outcome(
            LOSS_LAWS["second_mask_counts"],
            planted(lambda b: (0.0, weights(b)), "second_mask"),
            layout="right",
        )

    line = 10 * UNIT * 4 + 1e-4 * 4  # rounding, and a share of the weights
    assert tools(0.99 * line) is None
    assert tools(1.01 * line) is Broken

    def bonus(size):
        return outcome(
            LOSS_LAWS["entropy_raises"], planted(lambda b: (-size * b.entropy.sum(), 0.0), "entropy")
        )

    assert bonus(0.99 * UNIT / 8) is None  # sixteen cells, half a nat more in each
    assert bonus(1.01 * UNIT / 8) is Broken
    assert bonus(-1.0) is None

    def corrected(power):
        weigh = lambda b: np.exp(power * (b.old_logp - b.sampler_logp)) * b.mask  # noqa: E731
        return outcome(
            LOSS_LAWS["sampler_corrects"], planted(lambda b: (0.0, weigh(b)), "sampler_logp"), row=0
        )

    assert corrected(-0.099) is None  # two gaps of 0.05, and one hundredth that is allowed
    assert corrected(-0.102) is Broken
    assert corrected(1.0) is None
    assert (
        outcome(LOSS_LAWS["sampler_corrects"], planted(lambda b: (0.0, 0.0), "sampler_logp"), row=0)
        is Residue
    )

    def told(b):  # a bonus for entropies above 0.75 alone
        return -np.maximum(b.values()["entropy"] - 0.75, 0).sum(), 0.0

    with pytest.raises(Broken, match=r"entropies of 0.5 give the objective 0, of 1 -4"):
        LOSS_LAWS["entropy_raises"].check(planted(told, "entropy"))


def test_a_pull_that_is_there_on_the_reference_alone_is_an_influence():
    law, example = LOSS_LAWS["kl_direction"], {"shape": SHAPE, "distance": 0.1}
    assert outcome(law, planted(lambda b: (0.0, 0.0 + (b.logp == b.ref_logp)), "ref_logp"), **example) is None
    assert outcome(law, planted(lambda b: (0.0, 0.0), "ref_logp"), **example) is Residue
    assert outcome(law, planted(lambda b: (0.0, -1.0), "ref_logp"), **example) is None
