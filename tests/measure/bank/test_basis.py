"""The basis of token weights: what it spans, how many vectors that takes, and the weights from which it is found."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from gradvar.measure.bank import basis as module
from gradvar.measure.bank import coefficients
from gradvar.measure.bank.basis import _pilot_rewards, clip_regions, find_basis, span
from gradvar.measure.bank.coefficients import _project
from gradvar.measure.bank.data import BasisRows, Rollouts

RNG = np.random.default_rng(0)
TIME = 6
# Of three rollouts: rank two, rank one with very different norms, and nothing at all.
PLANE = RNG.normal(size=(4, 2)) @ RNG.normal(size=(2, TIME))
LINE = np.outer([1e-8, 3.0, 0.0, -1e6], RNG.normal(size=TIME))
STACKED = np.stack([PLANE, LINE, np.zeros((4, TIME))])


def left(stacked, basis):
    """The relative residual of every weight vector that is not zero."""
    norms = np.linalg.norm(stacked, axis=-1)
    residual = stacked - np.einsum("imt,ibt,ibs->ims", stacked, basis, basis)
    return (np.linalg.norm(residual, axis=-1) / np.where(norms > 0, norms, 1.0)).max()


@pytest.mark.parametrize("block", [1 << 20, 1, 2 * (8 * 4 * TIME + 1)])
def test_a_basis_is_orthonormal_and_has_no_vector_too_many(monkeypatch, block):
    """Whether all rollouts are factorised together, or one or two at a time."""
    monkeypatch.setattr(module, "_BLOCK", block)
    seen = []
    one = module._span
    monkeypatch.setattr(
        module, "_span", lambda stacked, *rest: seen.append(len(stacked)) or one(stacked, *rest)
    )
    basis = span(STACKED, 1e-9)
    assert seen == {1 << 20: [3], 1: [1, 1, 1], 386: [2, 1]}[block]
    assert basis.shape == (3, 2, TIME)
    for vectors, rank in zip(basis, (2, 1, 0), strict=True):
        np.testing.assert_allclose(
            vectors @ vectors.T, np.diag([1.0] * rank + [0.0] * (2 - rank)), atol=1e-12
        )
    assert left(STACKED, basis) < 1e-9


def test_what_a_known_basis_explains_needs_no_new_vector():
    known = np.zeros((3, 1, TIME))
    known[0, 0] = PLANE[0] / np.linalg.norm(PLANE[0])
    known[1, 0] = LINE[1] / np.linalg.norm(LINE[1])
    basis = span(STACKED, 1e-9, known)
    assert basis.shape == (3, 1, TIME)
    assert not basis[1:].any()
    assert np.linalg.norm(basis[0, 0]) == pytest.approx(1.0)
    assert basis[0, 0] @ known[0, 0] == pytest.approx(0.0, abs=1e-12)
    assert left(STACKED, np.concatenate([known, basis], 1)) < 1e-9
    assert span(np.zeros((0, 4, TIME)), 1e-9).shape == (0, 0, TIME)


def test_the_tolerance_is_of_each_vector_by_its_own_size():
    """Two vectors an angle of 0.01 apart, one of them tiny: two vectors, unless that may be left unexplained."""
    pair = np.zeros((1, 2, 3))
    pair[0, 0, 0], pair[0, 1] = 1e-6, 1e6 * np.array([np.cos(0.01), np.sin(0.01), 0.0])
    assert [span(pair, tolerance).shape[1] for tolerance in (1e-3, 0.0099, 0.0101)] == [2, 2, 1]
    with pytest.raises(ValueError, match=r"tolerance: 1\.0e-30, and rounding leaves \d\.\de-1\d; give more"):
        span(RNG.normal(size=(1, 8, TIME)), 1e-30)


def test_regions_of_clips_by_loops():
    log_ratio = np.log([[0.5, 0.8, 1.0, 1.1, 1.2, 7.0]])
    mask = np.array([[True, True, True, False, True, True]])
    for cuts in ((1.2, 0.8), (0.8, 1.2, 1.2), (1.0,)):
        edges = sorted(set(cuts))
        found = clip_regions(log_ratio, mask, cuts)
        bounds = [0.0, *edges, np.inf]
        expected = [mask[0].astype(float)]
        inside = [
            [
                float(m and low < np.exp(x) * (1 - 1e-12) <= high)
                for x, m in zip(log_ratio[0], mask[0], strict=True)
            ]
            for low, high in pairwise(bounds)
        ]
        expected += [list(np.exp(log_ratio[0]) * np.array(x)) for x in inside] + inside
        np.testing.assert_allclose(found[0], np.array(expected))
    for wrong in ((0.8, 0.0), (0.8, -1.0), (np.inf,), (np.nan, 1.0)):
        with pytest.raises(ValueError, match=r"^cuts: \(.*\); give ratios above 0, such as"):
            clip_regions(log_ratio, mask, wrong)


def test_every_rollout_meets_companions_of_each_reward():
    """Of every other place the reward is replaced: by each value for two deals, then by random ones."""
    size, count, deals, places = 3, 7, 12, 6
    rewards = np.random.default_rng(1).integers(0, 3, (size, count)).astype(np.float32)
    orders = np.array(
        [[np.random.default_rng(d).permutation(count)[:places] for _ in range(size)] for d in range(deals)]
    )
    found, real = _pilot_rewards(SimpleNamespace(rewards=rewards), orders, np.random.default_rng(2))
    assert (found.shape, found.dtype, real.shape) == ((deals, size, count), np.float32, (deals, size, count))
    random = set()
    for deal, q in np.ndindex(deals, size):
        for place, rollout in enumerate(orders[deal, q]):
            kept = (place + deal) % 2 == 0
            assert real[deal, q, rollout] == kept
            if kept:
                assert found[deal, q, rollout] == rewards[q, rollout]
            elif deal < 6:
                assert found[deal, q, rollout] == deal // 2
            else:
                random.add(float(found[deal, q, rollout]))
        (out,) = set(range(count)) - set(orders[deal, q].tolist())
        assert not real[deal, q, out]
        assert found[deal, q, out] == rewards[q, out]
    assert random == {0.0, 1.0, 2.0}


def test_of_many_different_rewards_eight_are_met():
    """The least and the largest among them; sixteen deals until they are random."""
    rewards = np.arange(22.0)[None]
    orders = np.tile(np.arange(22), (20, 1, 1))
    found, real = _pilot_rewards(SimpleNamespace(rewards=rewards), orders, np.random.default_rng(0))
    met = [sorted(set(found[deal, 0][~real[deal, 0]].tolist())) for deal in range(20)]
    assert [x[0] for x in met[:16:2]] == [0.0, 3.0, 6.0, 9.0, 12.0, 15.0, 18.0, 21.0]
    assert met[:16:2] == met[1:16:2]
    assert all(len(x) == 1 for x in met[:16])
    assert all(len(x) > 1 for x in met[16:])


@pytest.mark.parametrize("cuts", [(), (1.0,)])
def test_ratios_are_spanned_where_they_are_asked_for(cuts):
    """With no estimator: every token alike, and the four tokens' ratios on either side of a cut."""
    shape = (1, 4, 4)
    logp = np.log(np.broadcast_to([0.5, 0.8, 1.25, 2.0], shape))
    rewards = np.array([[0.0, 1.0, 0.0, 1.0]])
    rollouts = Rollouts(
        None, np.zeros(shape, int), rewards, np.ones(shape, bool), logp, np.zeros(shape), logp
    )
    basis = find_basis(rollouts, (), cuts, 1e-9)
    assert basis.shape == (1, 4, 4 if cuts else 1, 4)  # of two regions: where, and the ratio there
    np.testing.assert_allclose(basis[0, 0] @ basis[0, 0].T, np.eye(basis.shape[2]), atol=1e-12)
    assert np.linalg.norm(basis[0, 0] @ np.full(4, 0.5)) == pytest.approx(1.0)  # every token alike is spanned


def test_every_rollout_is_seen_beside_each_reward_in_groups_that_are_large_enough(monkeypatch):
    """Of 44 rollouts with three rewards: what each estimator is asked for, and which weights count."""
    count, mins = 44, (1, 2, 8, 9, 20, 23)
    rewards = np.arange(count)[None] % 3.0
    shape = (1, count, 1)
    rollouts = Rollouts(None, np.zeros(shape, int), rewards, np.ones(shape, bool), *[np.zeros(shape)] * 3)
    asked, kept = {}, {}

    def deal_weights(fitting, arrays, order, group, prompts):
        asked[group] = [e.min_group for e in fitting]
        kept.setdefault(group, []).append((np.asarray(arrays["rewards"])[0], order[0]))
        return np.zeros((len(fitting), *order.shape, 1))

    monkeypatch.setattr(module, "deal_weights", deal_weights)
    find_basis(rollouts, [SimpleNamespace(min_group=x) for x in mins], (), 1e-9)
    # what needs more than half of the rollouts cannot be evaluated, for there is no second group
    assert asked == {2: [1, 2], 8: [1, 2, 8], 9: [1, 2, 8, 9], 20: list(mins[:-1]), 22: list(mins[:-1])}
    for group in (2, 22):  # of which 44 are a multiple
        seen = set()
        for dealt, order in kept[group]:
            changed = dealt[order] != rewards[0, order]
            for first in range(0, count, group):
                places = range(first, first + group)
                for parity in (0, 1):  # of the places that keep their reward
                    others = [dealt[order[k]] for k in places if k % 2 != parity]
                    if len(set(others)) == 1 and not any(changed[k] for k in places if k % 2 == parity):
                        seen |= {(int(order[k]), others[0]) for k in places if k % 2 == parity}
        assert seen == {(n, reward) for n in range(count) for reward in (0.0, 1.0, 2.0)}


def test_coefficients_and_what_they_leave_unexplained(monkeypatch):
    """Of each weight vector by its own size, however small it is; of rollouts that were not dealt there is none."""
    rng = np.random.default_rng(3)
    vectors = np.linalg.qr(rng.normal(size=(2, 3, 4, 4)))[0][..., :2, :]  # [prompt, rollout, basis, time]
    order = np.array([[2, 0], [1, 2]])
    rows = BasisRows.of(vectors)
    weights = rng.normal(size=(2, 2, 2, 4)) * np.array([1e-4, 100.0])[:, None, None, None]
    weights[:, 0, 1] = 0.0
    fields = (rows.rollout, rows.basis_index, rows.is_used)
    found, residual = map(np.asarray, _project(weights, vectors, order, fields))
    left = np.zeros((2, 2, 2))
    for e, q, m in np.ndindex(found.shape):
        rollout, b = rows.rollout[q, m], rows.basis_index[q, m]
        places = np.flatnonzero(order[q] == rollout)
        expected = weights[e, q, places[0]] @ vectors[q, rollout, b] if len(places) else 0.0
        assert found[e, q, m] == pytest.approx(expected)
    for e, q, place in np.ndindex(left.shape):
        w, phi = weights[e, q, place], vectors[q, order[q, place]]
        left[e, q, place] = np.abs(w - w @ phi.T @ phi).max() / (np.abs(w).max() or 1.0)
    np.testing.assert_allclose(residual, left.max((1, 2)))
    monkeypatch.setattr(coefficients, "deal_weights", lambda *_: weights)
    rollouts = SimpleNamespace(objective_arrays=lambda: {})
    plan = SimpleNamespace(dealt_prompts=2, orders=order[None], group_size=2, prompts=1)
    estimators = {name: SimpleNamespace(objective=None) for name in ("a", "b")}
    most = residual.max()
    made, told = coefficients.row_coefficients(
        SimpleNamespace(rollouts=rollouts, rows=rows, tolerance=most), estimators, plan
    )
    np.testing.assert_array_equal(made, found[:, None])
    np.testing.assert_array_equal(told, residual)
    worse = "ab"[int(residual.argmax())]
    with pytest.raises(ValueError, match=rf"leaves {most:.1e} of the token weights of '{worse}' unexplained"):
        coefficients.row_coefficients(
            SimpleNamespace(rollouts=rollouts, rows=rows, tolerance=0.999 * most), estimators, plan
        )
