"""Formulas that functions are compared with: values by hand, derivatives against differences, averages by loops."""

import itertools
import math

import numpy as np
import pytest

from gradvar.testing.arrays import library
from gradvar.testing.caller import Caller
from gradvar.testing.kinds import averages, matrix_forms, pair_forms, sequence_forms, value_loss
from gradvar.testing.losses import LossBatch, between_ends
from gradvar.testing.signatures import Signature
from gradvar.testing.targets import per_rollout, row_values

C, R = np.array([-2.0, 0.3, 1.5, 0.0]), np.array([0.4, -1.0, 1.2, -3.0])


def sigma(x):
    return 1 / (1 + math.exp(-x))


def log_sigma(x):
    return -math.log1p(math.exp(-x))


PAIRS = {  # by the published formulas, one pair at a time: x = beta c, y = beta r
    "dpo": lambda c, r, b, e: -(1 - e) * log_sigma(b * (c - r)) - e * log_sigma(b * (r - c)),
    "hinge": lambda c, r, b, e: max(0.0, 1 - b * (c - r)),
    "ipo": lambda c, r, b, e: (c - r - 1 / (2 * b)) ** 2,
    "exo_pair": lambda c, r, b, e: sigma(b * (c - r)) * (log_sigma(b * (c - r)) - math.log(1 - e))
    + sigma(b * (r - c)) * (log_sigma(b * (r - c)) - math.log(e)),
    "nca_pair": lambda c, r, b, e: -log_sigma(b * c) - 0.5 * log_sigma(-b * c) - 0.5 * log_sigma(-b * r),
    "robust": lambda c, r, b, e: (-(1 - e) * log_sigma(b * (c - r)) + e * log_sigma(b * (r - c))) / (1 - 2 * e),
    "sppo_hard": lambda c, r, b, e: (c - 0.5 / b) ** 2 + (r + 0.5 / b) ** 2,
    "apo_zero": lambda c, r, b, e: 1 - sigma(b * c) + sigma(b * r),
    "apo_down": lambda c, r, b, e: sigma(b * c) + 1 - sigma(b * (c - r)),
    "apo_down_separate": lambda c, r, b, e: sigma(b * c) + 1 - sigma(b * r),
}  # fmt: skip


@pytest.mark.parametrize("form", pair_forms.PAIR_FORMS, ids=lambda f: f"{f.name} {f.note}".strip())
def test_a_loss_of_pairs_is_its_formula_and_has_its_derivatives(form):
    for beta, e in ((0.1, 0.1), (2.0, 0.3)):
        loss, by_c, by_r = form.formula(C, R, beta, e)
        if form.name in PAIRS and form.note != "less 1":
            np.testing.assert_allclose(
                loss, [PAIRS[form.name](c, r, beta, e) for c, r in zip(C, R, strict=True)]
            )
        fixed = (
            form.name == "kto_pair" or form.note == "against the batch's mean"
        )  # a mean without a gradient
        for place, step in enumerate(np.eye(len(C)) * 1e-6) if not fixed else ():
            for slope, up, down in (
                (by_c, form.formula(C + step, R, beta, e), form.formula(C - step, R, beta, e)),
                (by_r, form.formula(C, R + step, beta, e), form.formula(C, R - step, beta, e)),
            ):
                assert slope[place] == pytest.approx((up[0] - down[0])[place] / 2e-6, abs=1e-7)


def test_losses_against_a_mean_that_has_no_gradient():
    forms = {(f.name, f.note): f.formula for f in pair_forms.PAIR_FORMS}
    for beta in (0.2, 1.0):
        shift = 0.5 * beta * (C.mean() + R.mean())
        for name, s in (("against the batch's mean", shift), ("against 0", 0.0)):
            loss, by_c, by_r = forms["bco_pair", name](C, R, beta, 0.0)
            for i, (c, r) in enumerate(zip(C, R, strict=True)):
                assert loss[i] == pytest.approx(-log_sigma(beta * c - s) - log_sigma(s - beta * r))
                assert (by_c[i], by_r[i]) == pytest.approx(
                    (-beta * sigma(s - beta * c), beta * sigma(beta * r - s))
                )
        for a, b in ((C, R), (C + 3, R + 4)):
            loss, by_c, by_r = forms["kto_pair", ""](a, b, beta, 0.0)
            x, y = beta * (a - max(b.mean(), 0)), beta * (b - max(a.mean(), 0))
            s, t = np.vectorize(sigma)(x), np.vectorize(sigma)(y)
            np.testing.assert_allclose(loss, 1 - s + t)
            np.testing.assert_allclose(by_c, -beta * s * (1 - s))
            np.testing.assert_allclose(by_r, beta * t * (1 - t))
    less = forms["apo_down", "less 1"](C, R, 0.5, 0.0)[0]
    np.testing.assert_allclose(less, forms["apo_down", ""](C, R, 0.5, 0.0)[0] - 1)
    loss, by_c, by_r = pair_forms.simpo(0.7, C, R, 2.0, 0.1)
    x = 2.0 * (C - R) - 0.7
    np.testing.assert_allclose(loss, [-0.9 * log_sigma(v) - 0.1 * log_sigma(-v) for v in x])
    np.testing.assert_allclose(by_c, [2 * (-0.9 * sigma(-v) + 0.1 * sigma(v)) for v in x])
    np.testing.assert_allclose(by_r, -by_c)


def test_sigmoids_neither_overflow_nor_lose_digits():
    with np.errstate(over="raise"):
        np.testing.assert_allclose(
            pair_forms.sigmoid([-800.0, 0.0, 2.0, 800.0]), [0, 0.5, sigma(2.0), 1], atol=1e-15
        )
        np.testing.assert_allclose(
            pair_forms.log_sigmoid([-800.0, 0.0, 2.0, 40.0]),
            [-800, -math.log(2), log_sigma(2), -math.exp(-40)],
        )


WAYS = averages.WAYS
MASK = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]], bool)
CELLS = np.array([[1.0, 2.0, np.nan], [4.0, 7.0, 8.0], [1.0, 1.0, 1.0]])
AVERAGED = {
    "a mean over tokens": 7 / 3, "a mean over rows of their token means": (1.5 + 4) / 3, "a sum over tokens": 7.0,
    "a mean over rows of their token sums": 7 / 3, "a sum over tokens, over the token count": 7 / 5,
    "for each token": [[1, 2, np.nan], [4, np.nan, np.nan], [np.nan] * 3], "a mean for each row": [1.5, 4, np.nan],
    "a sum for each row": [3, 4, 0], "a mean over all cells": 7 / 9,
    "a mean over rows that divides by the row's width": 7 / 9,
}  # fmt: skip


@pytest.mark.parametrize("way", AVERAGED)
def test_every_way_to_average_and_its_derivative(way):
    scene = {"mask": MASK, "token_count": 5.0, "logp": np.where(MASK, CELLS, 0.5)}
    assert set(AVERAGED) == {*averages.WAYS, *averages.MISTAKES}
    np.testing.assert_allclose(averages.averaged(CELLS, scene, way), AVERAGED[way])
    slope = averages.derivative(lambda s: s["logp"] ** 2, scene, "logp", way)
    rows = [[1 / 2], [1], [1]]  # over a row's own tokens
    shares = {"for each token": 1.0, "a mean for each row": rows, WAYS[1]: np.array(rows) / 3}
    share = shares.get(way)
    if share is None:  # alike for all tokens
        share = np.asarray(averages.averaged(np.ones((3, 3)), scene, way)).sum() / 3
    outside = np.nan if way == "for each token" else 0.0
    np.testing.assert_allclose(slope, np.where(MASK, 2 * scene["logp"] * share, outside), atol=1e-9)
    words = np.stack([scene["logp"], 0 * scene["logp"]], -1)  # [N, T, V]: the first word's cell
    by_word = averages.derivative(
        lambda s: s["logits"][..., 0] ** 2 + 3 * s["logits"][..., 1], scene | {"logits": words}, "logits", way
    )
    np.testing.assert_allclose(by_word[..., 0], slope, atol=1e-9)
    np.testing.assert_allclose(
        by_word[..., 1], np.where(MASK, 3 * np.broadcast_to(share, (3, 3)), outside), atol=1e-9
    )


def test_rewards_of_several_functions_by_loops():
    matrix = np.array([[1.0, 2.0], [3.0, np.nan], [0.0, 4.0], [1.0, 1.0]])
    scene = {"reward_matrix": matrix, "reward_weights": np.array([2.0, 0.5])}
    np.testing.assert_allclose(matrix_forms.weighted_sum(scene), [3, 6, 2, 2.5])
    np.testing.assert_allclose(matrix_forms.weighted_mean(scene), [3 / 2.5, 3, 2 / 2.5, 1])
    np.testing.assert_array_equal(matrix_forms.weights_of({"reward_matrix": matrix}), [1, 1])
    scene |= {"group_size": 2, "ids": np.array([0, 0, 1, 1])}
    columns = np.array([[1.0, 5.0], [3.0, 5.0], [0.0, 4.0], [4.0, 4.0005]])
    for ddof, eps in ((None, 0.0), (0, 0.1), (1, 0.02)):
        out = matrix_forms.standardised(columns, scene, ddof, eps)
        scale = (
            1.0 if ddof is None else np.array([np.std([1, 3], ddof=ddof), np.std([0, 4], ddof=ddof)]) + eps
        )
        np.testing.assert_allclose(out[:, 0], np.array([-1, 1, -2, 2]) / np.repeat(scale * np.ones(2), 2))
        np.testing.assert_allclose(out[:2, 1], 0)
        assert np.isnan(out[2:, 1]).all() == (ddof is not None)  # too small a spread: rounding


def test_divergences_of_rollouts_by_loops():
    gaps = np.array([[0.5, -1.0, 2.0], [0.1, 0.2, 9.0]])
    mask = np.array([[1, 1, 1], [1, 1, 0]], bool)
    by_hand = {"k1": lambda d: -d, "k2": lambda d: d * d / 2, "k3": lambda d: math.exp(d) - d - 1, "abs": abs}
    for name, how in itertools.product(by_hand, ("mean", "sum", "max")):
        cells = sequence_forms.DIVERGENCES[name](gaps)
        rows = [[by_hand[name](d) for d in row[: int(m.sum())]] for row, m in zip(gaps, mask, strict=True)]
        wanted = [{"mean": np.mean, "sum": np.sum, "max": np.max}[how](row) for row in rows]
        np.testing.assert_allclose(sequence_forms._over_rollout(cells, mask, how)[:, 0], wanted)


def test_what_a_batch_of_rollouts_hands_over():
    values = row_values([(1.0, 0.0), (2.0,)], lengths=[1, 3, 2], garbage=9.0, prompts=[7, 8])
    assert values["token_rewards"].tolist() == [[1, 9, 9], [0, 0, 0], [0, 2, 9]]
    assert (values["rewards"].tolist(), values["ids"].tolist(), values["prompts"].tolist()) == (
        [1, 0, 2],
        [0, 0, 1],
        [7, 7, 8],
    )
    assert (values["count"], values["row_count"], values["lengths"].tolist()) == (2, 3, [1, 3, 2])
    assert values["correct"].tolist() == [True, False, True]
    assert row_values([(1.0, 0.0)])["mask"].tolist() == [[True, True, False]] * 2
    placed = row_values([(1.0, 5.0)], mask=[[1, 0, 1], [0, 0, 0]], places=[1, 2], garbage=-1.0)
    assert placed["token_rewards"].tolist() == [[0, 1, 0], [-1, -1, 5]]
    tokens = np.array([[2.0, 4.0, 9.0], [1.0, 1.0, 1.0]])
    np.testing.assert_array_equal(per_rollout(tokens, np.array([[1, 1, 0], [0, 0, 0]], bool)), [3, 0])
    np.testing.assert_array_equal(per_rollout(tokens[0], MASK), tokens[0])
    assert between_ends(np.array([[0, 1, 0, 1, 0]], bool)).tolist() == [[False, True, True, True, False]]
    mask = np.array([[1, 1], [1, 0], [1, 1], [0, 0]], bool)
    logp, second = np.zeros((4, 2)), np.array([[1, 0]] * 4, bool)
    loss = LossBatch(logp, logp - 1, np.ones(4), mask, 2, second_mask=second)
    found = loss.values()
    assert (found["token_count"], found["ids"].tolist(), found["row_count"]) == (3.0, [0, 0, 1, 1], 4)
    assert found["sequence_ends"].tolist() == [0, 2, 4, 6, 8]
    assert found["labels"].tolist() == [[0, 1]] * 4
    assert (found["lengths"].tolist(), found["positions"].tolist()) == ([2, 1, 2, 0], [[0, 1]] * 4)
    assert found["sequence_ids"].tolist() == [[0, 0], [1, 1], [2, 2], [3, 3]]
    np.testing.assert_array_equal(found["ref_logp"], logp - 1)
    np.testing.assert_array_equal(found["sampler_logp"], logp - 1)
    assert (found["entropy"] == 0.5).all()
    assert loss.rows([3]).values()["token_count"] == 1.0
    assert loss.rows([1, 2]).mask.tolist() == mask[1:3].tolist()


def test_errors_of_values_plain_held_near_the_old_ones_and_linear_from_one_on():
    scene = {
        "values": [[0.1, 3.0], [-2.0, 0.5]],
        "old_values": [[0.0, 1.0], [-1.9, 2.0]],
        "returns": [[1.0, 2.5], [0.0, 0.5]],
    }
    plain, held = value_loss.squares(scene, 0.2)
    np.testing.assert_allclose(plain, [[0.81, 0.25], [4, 0]])
    np.testing.assert_allclose(held, [[0.81, 1.69], [4, 1.69]])
    np.testing.assert_allclose(value_loss.huber(scene), [[0.405, 0.125], [1.5, 0]])
    np.testing.assert_allclose(value_loss.huber({"values": [[1.0]], "returns": [[0.0]]}), 0.5)


def test_rows_of_unequal_length_end_with_their_last_token():
    signature = Signature("loss", {"logp": "logp", "mask": "mask"}, ragged=frozenset({"logp"}))
    caller = Caller(print, signature, library("numpy"), "planted", "", "", "float", [])
    mask = np.array([[0, 1, 0], [1, 1, 1], [0, 0, 0]], bool)
    rows = np.arange(9.0).reshape(3, 3)
    assert [list(row) for row in caller._ragged(rows, {"mask": mask}, "float64")[0]] == [
        [0, 1],
        [3, 4, 5],
        [],
    ]
    assert [list(row) for row in caller._ragged(rows, {}, "float64")[0]] == rows.tolist()
    assert [float(value) for value in caller._ragged(rows[0], {}, "float64")[0]] == [0, 1, 2]
