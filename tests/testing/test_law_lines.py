"""Where each law draws its line: a fault a little smaller passes, one a little larger is found.

Each fault has a size, and the lines are those of the laws' docstrings, worked out by hand for one example. Rounding
may cause 1e-6 in double precision (1e-3 in single), relative to the largest advantage if that exceeds one.
"""

from dataclasses import replace

import numpy as np
import pytest

from gradvar.testing.arrays import library
from gradvar.testing.laws import Broken, Residue
from gradvar.testing.laws.base import close

from .one_example import LAWS, UNIT, grouped, outcome, tokens


def centred(r):
    return r - r.mean(-1, keepdims=True)


def ramp(r):
    return np.arange(r.shape[-1]) * np.ones_like(r)


def rounded_half(r):
    return r.astype(float) if r.dtype == np.float16 else 0 * r.astype(float)


PAIR, WIDE = ((0.0, 1.0),), ((0.0, 8.0),)
ORDER = (1, 0)
# law, the advantages by rewards [Q, G] and size, the example, the size at which the line lies, the target's settings
LINES = [
    ("zero_sum", lambda r, e: centred(r) + e, {"groups": PAIR}, UNIT, {}),
    ("zero_sum", lambda r, e: centred(r) + e, {"groups": WIDE}, 4 * UNIT, {}),
    ("zero_sum", lambda r, e: -(r - r.mean(-1, keepdims=True)) - e, {"groups": ((0.0, 0.0, 3.0),)}, 2 * UNIT, {}),
    ("shift_invariant", lambda r, e: centred(r) + e * r.mean(), {"groups": PAIR, "shift": 4.0}, UNIT / 4, {}),
    ("shift_invariant", lambda r, e: centred(r) - e * r.mean(), {"groups": WIDE, "shift": -2.0}, 2 * UNIT, {}),
    ("scale_equivariant", lambda r, e: centred(r) + e, {"groups": PAIR, "scale": 2.0}, UNIT, {}),
    ("scale_equivariant", lambda r, e: centred(r) + e, {"groups": ((0.0, 2.0),), "scale": 8.0}, 8 / 7 * UNIT, {}),
    (
        "scale_invariant",
        lambda r, e: centred(r) / r.std() * (1 + e * (r.std() < 0.1)),
        {"groups": PAIR, "scale": 1 / 64},
        3e-4 / (1 / 128 + 1e-4) + 1e-5,
        {},
    ),
    (
        "scale_invariant",
        lambda r, e: centred(r) / r.std() * (1 + e * (r.std() > 1)),
        {"groups": PAIR, "scale": 4.0},
        3e-2 / (0.5 + 1e-2) + 1e-5,
        {"epsilon": 1e-2},
    ),
    (
        "scale_invariant",
        lambda r, e: 1e-6 * centred(r) * 0 + e * (r.std() > 1),
        {"groups": PAIR, "scale": 4.0},
        1e-3 * (3e-4 / (0.5 + 1e-4) + 1e-5),
        {},
    ),
    (
        "scale_invariant",
        lambda r, e: 4 * np.sign(centred(r)) + e * (r.std() > 1),
        {"groups": PAIR, "scale": 4.0},
        4e-5,
        {"epsilon": 0.0},
    ),
    ("permutation_equivariant", lambda r, e: centred(r) + e * ramp(r), {"groups": PAIR, "order": (2, 1, 0)}, UNIT, {}),
    ("order_preserving", lambda r, e: -e * r, {"groups": PAIR}, UNIT, {}),
    ("order_preserving", lambda r, e: 4 * np.sign(r) - e * r * (r > 1), {"groups": ((0.0, 1.0, 2.0),)}, 2 * UNIT, {}),
    ("sign_against_mean", lambda r, e: -e * np.sign(centred(r)), {"groups": PAIR}, UNIT, {}),
    (
        "sign_against_mean",
        lambda r, e: np.where(r == 1, -e, 5.0 * np.sign(centred(r))),
        {"groups": ((0.0, 0.0, 1.0),)},
        5 * UNIT,
        {},
    ),
    ("bounded", lambda r, e: np.sign(centred(r)) * e, {"groups": PAIR}, 1.001 + UNIT, {}),
    ("bounded", lambda r, e: -np.sign(centred(r)) * e, {"groups": ((1.0, 0.0, 0.0, 0.0, 0.0),)}, 2.002 + UNIT, {}),
    (
        "group_isolated",
        lambda r, e: centred(r) + e * r[-1].sum(),
        {"groups": (*PAIR, (0.0, 0.0)), "other": (2.0, 2.0)},
        UNIT / 4,
        {},
    ),
    (
        "layout_independent",
        lambda r, e: centred(r) + e * np.arange(len(r))[:, None],
        {"groups": (*PAIR, (0.0, 0.5)), "seed": 3},
        UNIT,
        {},
    ),
    ("antisymmetric_pair", lambda r, e: centred(r) + e, {"pair": PAIR[0], "beside": ()}, UNIT / 2, {}),
    ("antisymmetric_pair", lambda r, e: centred(r) + e * (r == 0), {"pair": PAIR[0], "beside": ()}, UNIT, {}),
    ("leave_one_out_factor", lambda r, e: 1.5 * centred(r) + e, {"groups": ((0.0, 0.0, 1.0),)}, UNIT, {}),
    ("leave_one_out_factor", lambda r, e: (1 + e) * 2 * centred(r), {"groups": WIDE}, UNIT, {}),
    ("unequal_rewards_differ", lambda r, e: 0.5 - (UNIT - e) * (r == 1), {"group": (1.0, 0.0, 0.0)}, 0.0, {}),
    ("zero_on_equal_rewards", lambda r, e: 0 * r + e, {"group": (1, 1), "dtype": "float64", "beside": ()}, 0.25, {}),
    ("zero_on_equal_rewards", lambda r, e: 0 * r - e, {"group": (1, 1), "dtype": "float32", "beside": ()}, 0.25, {}),
    ("singleton_zero", lambda r, e: 0 * r - e, {"reward": 1.0, "beside": ()}, 1e-3, {}),
    ("no_amplification", lambda r, e: 0 * r - e, {"group": (1.0, 1.0), "dtype": "float64", "near": True}, 0.5, {}),
    ("no_amplification", lambda r, e: 0 * r + e, {"group": (1.0, 0.0), "dtype": "float64", "near": False}, 2.02, {}),
    ("no_amplification", lambda r, e: 0 * r + e, {"group": (1.0, 5.0), "dtype": "float64", "near": False}, 5.05, {}),
    ("no_amplification", lambda r, e: 0 * r + e, {"group": (-3.0, 5.0), "dtype": "float64", "near": False}, 8.08, {}),
    ("no_amplification", lambda r, e: 0 * r + e, {"group": (-3.0, -1.0), "dtype": "float64", "near": False}, 3.03, {}),
    ("half_precision", lambda r, e: e * rounded_half(r), {"group": (1.0, 1.0), "dtype": "float16"}, 2**-7, {}),
    ("half_precision", lambda r, e: 4 + e * rounded_half(r), {"group": (1.0, 1.0), "dtype": "float16"}, 2**-5, {}),
    ("integer_rewards", lambda r, e: centred(r) + e * (r.dtype.kind == "i"), {"groups": PAIR}, 1e-3, {}),
    ("integer_rewards", lambda r, e: centred(r) + e * (r.dtype.kind == "i"), {"groups": WIDE}, 4e-3, {}),
    (
        "nan_contained",
        lambda r, e: np.where(np.isnan(r).any(1, keepdims=True), 0, centred(r) + e * np.isnan(r).any()),
        {"poisoned": ((0.0, 1.0), 1, np.nan), "beside": PAIR},
        UNIT,
        {},
    ),
    (
        "nan_contained",
        lambda r, e: np.where(np.isnan(r), 0, (r - np.nanmean(r)) + e * np.isnan(r).any()),
        {"poisoned": ((0.0, 1.0, 3.0), 1, np.nan), "beside": ()},
        1.5 * UNIT,
        {},
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "function", "example", "line", "settings"),
    LINES,
    ids=[f"{i}-{row[0]}" for i, row in enumerate(LINES)],
)
def test_a_fault_is_found_from_its_line_on(name, function, example, line, settings):
    def at(size):
        return outcome(LAWS[name], grouped(lambda rewards: function(rewards, size), **settings), **example)

    step = abs(line) * 1e-2 or 1e-8
    assert at(line - step) is not Broken
    assert at(line + step) is Broken


def test_closeness_is_relative_beyond_one_and_takes_no_infinity_for_a_scale():
    target = grouped(centred)
    assert close(target, [1.0], [1.0 + 0.99e-6])
    assert not close(target, [1.0], [1.0 + 1.01e-6])
    assert close(target, [100.0, 0.0], [100.0, 0.99e-4])
    assert not close(target, [100.0, 0.0], [100.0, 1.02e-4])
    assert close(target, [0.0, -100.0], [0.99e-4, -100.0])
    assert not close(target, [np.inf, 0.0], [np.inf, 1.1e-6])
    assert close(target, [np.nan], [np.nan])
    assert not close(target, [np.nan], [0.0])
    assert close(target, [0.0], [0.99e-3], slack=1e3)
    assert not close(target, [0.0], [1.01e-3], slack=1e3)
    single = replace(target, library=replace(target.library, wide="float32"))
    assert close(single, [0.0], [0.99e-3])
    assert not close(single, [0.0], [1.01e-3])


def test_what_a_law_only_remarks():
    """Residues: the largest is told, and a law that holds with one has not failed."""
    half = {"group": (1.0, 1.0), "dtype": "float64", "beside": ()}
    assert (
        outcome(LAWS["zero_on_equal_rewards"], grouped(lambda rewards: 0 * rewards + 1e-12), **half)
        is Residue
    )
    assert outcome(LAWS["zero_on_equal_rewards"], grouped(centred), **half) is None
    with pytest.raises(Residue) as caught:
        LAWS["zero_on_equal_rewards"].check(grouped(lambda rewards: 0 * rewards - 0.125), **half)
    assert caught.value.size == 0.125
    bad = {"poisoned": ((0.0, 1.0, 3.0), 1, np.nan), "beside": ()}

    def row_stays(rewards):
        return rewards - np.nanmean(rewards, -1, keepdims=True)

    def trained(rewards):
        return np.where(np.isnan(rewards), 1.0, row_stays(rewards))

    assert outcome(LAWS["nan_contained"], grouped(row_stays), **bad) is Residue
    assert outcome(LAWS["nan_contained"], grouped(trained), **bad) is Broken
    assert outcome(LAWS["nan_contained"], grouped(lambda rewards: np.nan_to_num(0 * rewards)), **bad) is None
    assert outcome(LAWS["nan_contained"], grouped(centred), **bad) is Broken
    kept = grouped(lambda rewards: np.where(rewards == rewards.max(), rewards, centred(rewards)))
    assert outcome(LAWS["one_baseline"], kept, group=(0.0, 1.0, 3.0), shift=1.0) is Broken
    for sound in (centred, lambda rewards: 1.0 * rewards, lambda rewards: rewards - 0.5):
        assert outcome(LAWS["one_baseline"], grouped(sound), group=(0.0, 1.0, 3.0), shift=1.0) is None


def by_token(rewards, mask, fault=0.0, hidden=0.0):
    """Group means of the summed rewards on the tokens of each rollout; ``hidden`` stands on masked tokens."""
    scores = np.where(mask, rewards, 0).sum(-1)
    return np.where(mask, (scores - scores.mean())[:, None] + fault, hidden)


TOKEN_LINES = [
    ("masked_tokens_zero", lambda r, m, e: by_token(r, m, hidden=e), {"lengths": (2, 4, 3)}, UNIT),
    ("masked_tokens_zero", lambda r, m, e: by_token(r, m, hidden=-1 / 3 - e), {"lengths": (1, 12, 12)}, UNIT),
    ("length_free", lambda r, m, e: by_token(r, m, e * m.sum(-1)[:, None]), {"lengths": (1, 1, 3)}, UNIT / 2),
    ("hole_reward_counts", lambda r, m, e: by_token(r, np.ones_like(m), e * (r[:, 1:2] != 0).any()), {}, UNIT),
    ("hole_ends_nothing", lambda r, m, e: (UNIT - e) * m * (r.sum(-1, keepdims=True) > 0), {}, 0.0),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "function", "example", "line"), TOKEN_LINES, ids=[r[0] for r in TOKEN_LINES]
)
def test_a_fault_of_tokens_is_found_from_its_line_on(name, function, example, line):
    more = {"layout": "right"} if name == "masked_tokens_zero" else {}

    def at(size):
        target = tokens(lambda token_rewards, mask, ids: function(token_rewards, mask.astype(bool), size))
        return outcome(LAWS[name], target, group=(0.0, 0.0, 1.0), **example, **more)

    step = abs(line) * 1e-2 or 1e-8
    assert at(line - step) is None
    assert at(line + step) is Broken


def test_a_rejected_rollout_may_move_a_baseline_and_no_scale():
    def make(scaled, everyone):
        def advantages(token_rewards, mask, ids):
            scores, rows = token_rewards.sum(-1), mask.any(-1) | bool(everyone)
            out = scores - scores[rows].mean()
            return (out / scores[rows].std() if scaled else out)[:, None] * np.ones_like(mask, float)

        return tokens(advantages)

    example = {"group": (0.0, 1.0, 3.0), "lengths": (2, 1, 3), "low": 0.0}
    verdicts = {
        (s, e): outcome(LAWS["rejected_rows_silent"], make(s, e), **example) for s in (0, 1) for e in (0, 1)
    }
    assert verdicts == {(0, 0): None, (1, 0): None, (0, 1): Residue, (1, 1): Broken}


def test_half_precision_fills_a_group_that_is_too_small():
    def picky(rewards):
        assert rewards.shape[1] >= 5
        return centred(rewards)

    example = {"group": (0.0, 1.0), "dtype": "float16"}
    assert outcome(LAWS["half_precision"], grouped(picky, min_group=5), **example) is None


@pytest.mark.parametrize(("dtype", "line"), [("bfloat16", 2**-4), ("float16", 2**-7)])
def test_half_precision_of_each_kind_has_its_line(dtype, line):
    """Sixteen steps of its rounding; NumPy has no bfloat16."""

    def off(size):
        return replace(
            grouped(lambda rewards: size * (rewards.dtype.itemsize == 2) + 0 * rewards),
            library=library("jax"),
        )

    for size, found in ((0.9 * line, None), (1.1 * line, Broken)):
        assert outcome(LAWS["half_precision"], off(size), group=(1.0, 1.0), dtype=dtype) is found


def test_siblings_of_a_bad_row_are_told_once_or_apart():
    def off(by):
        def function(rewards):
            centre = rewards - np.nanmean(rewards, -1, keepdims=True)
            return np.where(np.isnan(rewards), 0, centre + by * np.isnan(rewards).any())

        return grouped(function)

    bad = {"poisoned": ((0.0, 1.0, 3.0), 2, np.nan), "beside": ()}
    for by, told in (
        (1.0, r"its siblings should get \[-0.5, 0.5\]"),
        (1e-5, r"its siblings get \[-0.49999, 0.50001\], and"),
    ):
        with pytest.raises(Broken, match=told):
            LAWS["nan_contained"].check(off(by), **bad)
