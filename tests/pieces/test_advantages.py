"""Every advantage piece against a formula written independently in NumPy, and at its edges."""

import itertools
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradvar.pieces.advantage as adv
from gradvar.pieces import tracker

from .numpy_formulas import (
    bnpo_scipy,
    ebpo_loop,
    kalman_loop,
    loo_loop,
    opo_loop,
    pass_at_k_loop,
    pass_at_k_training_loop,
)

RNG = np.random.default_rng(20261123)
REAL = RNG.normal(size=(5, 6))
BINARY = RNG.integers(0, 2, (6, 5)).astype(float)
LENGTHS = RNG.integers(1, 9, (5, 6)).astype(float)


FIVE = np.arange(5.0)
CENTRED_REAL = REAL - REAL.mean(1, keepdims=True)
CENTRED_BINARY = BINARY - BINARY.mean(1, keepdims=True)
MIXED = 6 / np.sum(BINARY.std(1) > 0)
TRACKED = REAL - FIVE[:, None]

# name: (the piece on real rewards r, binary ones b and lengths n; what NumPy makes of them)
CASES = {
    "raw": (lambda r, b, n: adv.raw(r), REAL),
    "given": (lambda r, b, n: adv.given(r, jnp.arange(5.0)), TRACKED),
    "greedy": (lambda r, b, n: adv.greedy(r, jnp.arange(5.0)), TRACKED),
    "group_mean": (lambda r, b, n: adv.group_mean(r), CENTRED_REAL),
    "leave_one_out": (lambda r, b, n: adv.leave_one_out(r), loo_loop(REAL)),
    "standardised": (
        lambda r, b, n: adv.standardised(r),
        CENTRED_REAL / (REAL.std(1, keepdims=True) + 1e-6),
    ),
    "standardised sample": (
        lambda r, b, n: adv.standardised(r, ddof=1, eps=1e-4),
        CENTRED_REAL / (REAL.std(1, ddof=1, keepdims=True) + 1e-4),
    ),
    "standardised clamped": (
        lambda r, b, n: adv.standardised(r, eps=1.0, clamp=True),
        CENTRED_REAL / np.maximum(REAL.std(1, keepdims=True), 1.0),
    ),
    "batch_standardised": (
        lambda r, b, n: adv.batch_standardised(r, ddof=1),
        (REAL - REAL.mean()) / (REAL.std(ddof=1) + 1e-8),
    ),
    "batch_standardised centred": (
        lambda r, b, n: adv.batch_standardised(r, group_centred=True),
        CENTRED_REAL / (CENTRED_REAL.std() + 1e-8),
    ),
    "length_weighted": (lambda r, b, n: adv.length_weighted(r, n), opo_loop(REAL, LENGTHS, True)),
    "length_weighted others": (
        lambda r, b, n: adv.length_weighted(r, n, include_self=False),
        opo_loop(REAL, LENGTHS, False),
    ),
    "score_weighted": (lambda r, b, n: adv.score_weighted(r, n), opo_loop(REAL, LENGTHS, False)),
    "score_weighted own": (
        lambda r, b, n: adv.score_weighted(r, n, include_self=True),
        opo_loop(REAL, LENGTHS, True),
    ),
    "mixed_rescaled": (lambda r, b, n: adv.mixed_rescaled(b), CENTRED_BINARY * MIXED),
    "mixed_rescaled std": (
        lambda r, b, n: adv.mixed_rescaled(b, f_norm="std"),
        CENTRED_BINARY / (BINARY.std(1, ddof=1, keepdims=True) + 1e-6) * MIXED,
    ),
    "softmax": (
        lambda r, b, n: adv.softmax(r, temperature=0.7),
        6 * np.exp(REAL / 0.7) / np.exp(REAL / 0.7).sum(1, keepdims=True) - 1,
    ),
    "pass_at_k 2": (lambda r, b, n: adv.pass_at_k(r, k=2), pass_at_k_loop(REAL, 2)),
    "pass_at_k 3": (lambda r, b, n: adv.pass_at_k(jnp.round(r), k=3), pass_at_k_loop(np.round(REAL), 3)),
    "pass_at_k G": (lambda r, b, n: adv.pass_at_k(r, k=6), pass_at_k_loop(REAL, 6)),
    "pass_at_k binary": (lambda r, b, n: adv.pass_at_k(b, k=4), pass_at_k_loop(BINARY, 4)),
    "pass_at_k_standardised": (
        lambda r, b, n: adv.pass_at_k_standardised(b, k=3),
        pass_at_k_training_loop(BINARY, 3),
    ),
    "pass_at_k_standardised 1": (
        lambda r, b, n: adv.pass_at_k_standardised(b, k=1),
        pass_at_k_training_loop(BINARY, 1),
    ),
    "beta_normalised": (lambda r, b, n: adv.beta_normalised(b), bnpo_scipy(BINARY)),
    "kalman": (lambda r, b, n: adv.kalman(r), kalman_loop(REAL)),
    "kalman started elsewhere": (
        lambda r, b, n: adv.kalman(r, mean=0.5, variance=2.0),
        kalman_loop(REAL, mean=0.5, variance=2.0),
    ),
    "shrunk": (lambda r, b, n: adv.shrunk(r), ebpo_loop(REAL)),
    "given_batch_standardised": (
        lambda r, b, n: adv.given_batch_standardised(r, jnp.arange(5.0)),
        (TRACKED - TRACKED.mean()) / (TRACKED.std(ddof=1) + 1e-8),
    ),
}


@pytest.fixture(scope="module")
def found():
    """All cases in one compilation."""
    return jax.jit(lambda *a: {case: piece(*a) for case, (piece, _) in CASES.items()})(REAL, BINARY, LENGTHS)


@pytest.mark.parametrize("case", CASES)
def test_equals_the_formula(case, found):
    np.testing.assert_allclose(found[case], CASES[case][1], rtol=1e-9, atol=1e-9)


def test_every_public_piece_has_a_case():
    elsewhere = {"gae", "over_tokens", "over_mean", "decoupled", "token_baseline"}
    assert {case.split()[0] for case in CASES} | elsewhere == set(adv.__all__)


def test_over_mean_by_hand():
    groups = [[1.0, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0], [2, 2, 2, 2], [-1, 0, 0, -1]]
    found = adv.over_mean(np.array(groups))
    wanted = [[3, -1, -1, -1], [1 / 3, 1 / 3, 1 / 3, -1], [0] * 4, [0] * 4, [0] * 4]
    np.testing.assert_allclose(found, wanted, atol=1e-15)
    np.testing.assert_allclose(adv.over_mean(np.array([[1.0, 0.0]]), eps=0.5), [[0.5, -0.5]])


def test_softmax_tends_to_maxrl_and_to_the_centred_reward():
    cold = adv.softmax(BINARY, temperature=0.01)
    successes = BINARY.sum(1, keepdims=True)
    maxrl = np.where(successes > 0, BINARY * 5 / np.maximum(successes, 1) - 1, 0.0)
    np.testing.assert_allclose(cold, np.where(BINARY.std(1, keepdims=True) > 0, maxrl, 0), atol=1e-12)
    hot = adv.softmax(REAL, temperature=1e6) * 1e6
    np.testing.assert_allclose(hot, REAL - REAL.mean(1, keepdims=True), atol=1e-4)


def test_pass_at_one_is_the_reward():
    np.testing.assert_array_equal(adv.pass_at_k(REAL, k=1), REAL)


@pytest.mark.parametrize("group", [2, 5, pytest.param(16, marks=pytest.mark.slow)])
def test_analytic_pass_at_k_advantages_are_bounded(group):
    rewards = np.array([[1.0] * c + [0.0] * (group - c) for c in range(group + 1)])
    for k in sorted({1, 2, group // 2, group - 1, group}):
        a = np.asarray(jax.jit(partial(adv.pass_at_k_standardised, k=k, eps=0.0))(rewards))
        assert np.abs(a).max() <= math.sqrt(group - 1) + 1e-12
        np.testing.assert_allclose(a.sum(1), 0.0, atol=1e-9)


def test_gae_is_reward_less_value_at_discount_and_decay_one():
    values, mask = _values_and_mask()
    found = adv.gae(REAL[:, :3], values, mask)
    wanted = np.where(mask, REAL[:, :3, None] - np.where(mask, values, 0), 0)
    np.testing.assert_allclose(found, wanted)


@pytest.mark.parametrize(("discount", "decay"), [(0.9, 0.8), (1.0, 0.95), (0.5, 0.0), (1.0, 1.0)])
def test_gae_equals_the_double_loop(discount, decay):
    values, mask = _values_and_mask()
    wanted = np.zeros(mask.shape)
    for q, g in np.ndindex(mask.shape[:2]):
        at = np.flatnonzero(mask[q, g])
        v = np.append(values[q, g, at], 0.0)
        r = np.zeros(len(at))
        r[-1] = REAL[q, g]
        delta = r + discount * v[1:] - v[:-1]
        for i, t in enumerate(at):
            wanted[q, g, t] = sum((discount * decay) ** (j - i) * delta[j] for j in range(i, len(at)))
    found = adv.gae(REAL[:, :3], values, mask, discount=discount, decay=decay)
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def _values_and_mask():
    rng = np.random.default_rng(3)
    mask = rng.random((5, 3, 7)) < 0.6  # holes too: tool outputs between the policy's own tokens
    mask[..., 0] = True
    return np.where(mask, rng.normal(size=mask.shape), np.nan), mask


def test_over_tokens_whitens_over_tokens():
    mask = RNG.random((5, 6, 4)) < 0.7
    mask[..., 0] = True
    found = adv.over_tokens(adv.group_mean, ddof=1)(rewards=jnp.asarray(REAL), mask=jnp.asarray(mask))
    tokens = np.broadcast_to((REAL - REAL.mean(1, keepdims=True))[..., None], mask.shape)[mask]
    wanted = (tokens - tokens.mean()) / (tokens.std(ddof=1) + 1e-8)
    np.testing.assert_allclose(np.asarray(found)[mask], wanted, atol=1e-12)
    assert not np.any(np.asarray(found)[~mask])


def test_decoupled_normalises_each_reward():
    parts = RNG.normal(size=(4, 5, 3)) * np.array([1.0, 10.0, 0.1])
    z = (parts - parts.mean(1, keepdims=True)) / (parts.std(1, keepdims=True) + 1e-6)
    for weights in (None, (1.0, 0.5, 2.0)):
        summed = (z * (weights or (1.0, 1.0, 1.0))).sum(-1)
        np.testing.assert_allclose(
            adv.decoupled(parts, weights=weights), summed / (summed.std() + 1e-6), atol=1e-9
        )
    with pytest.raises(ValueError, match="weights: 2 of them for 3 rewards"):
        adv.decoupled(parts, weights=(1.0, 1.0))


def test_token_baseline_weighs_by_accumulated_energy():
    rewards = np.array([[1.0, 0.0, 2.0]])
    mask = np.array([[[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]], bool)
    energy = np.array([[[0.5, 0.1, np.nan, 9], [0.2, 0.2, 0.2, 9], [0.1, 0.4, 0.3, 0.7]]])
    w = np.cumsum(np.where(mask, energy, 0), -1) * mask
    baseline = (w * rewards[..., None]).sum(1) / w.sum(1)
    wanted = np.where(mask, rewards[..., None] - baseline[:, None], 0)
    np.testing.assert_allclose(adv.token_baseline(rewards, energy, mask, tail=False), wanted, atol=1e-12)
    wanted[0, 2, 3] = 2.0  # alone at the last position
    np.testing.assert_allclose(adv.token_baseline(rewards, energy, mask), wanted, atol=1e-12)


CENTRED = {
    "group_mean": adv.group_mean,
    "leave_one_out": adv.leave_one_out,
    "standardised": adv.standardised,
    "standardised eps 0": lambda r: adv.standardised(r, eps=0.0),
    "batch_standardised centred": lambda r: adv.batch_standardised(r, group_centred=True),
    "length_weighted": lambda r: adv.length_weighted(r, 1.0 + jnp.arange(r.shape[1]) * jnp.ones(r.shape)),
    "length_weighted others": lambda r: adv.length_weighted(r, jnp.ones(r.shape), include_self=False),
    "mixed_rescaled": adv.mixed_rescaled,
    "over_mean": adv.over_mean,
    "softmax": adv.softmax,
    "pass_at_k": lambda r: adv.pass_at_k(r, k=min(2, r.shape[1])) * (r.shape[1] > 1),
    "pass_at_k_standardised": lambda r: adv.pass_at_k_standardised(r, k=min(2, r.shape[1])),
    "beta_normalised": adv.beta_normalised,
}


@jax.jit
def centred(rewards):
    """All of them in one compilation."""
    return {name: piece(rewards) for name, piece in CENTRED.items()}


@pytest.mark.parametrize(
    ("dtype", "size"), [pytest.param("float64", 49, marks=pytest.mark.slow), ("float32", 7), ("bfloat16", 8)]
)
def test_equal_rewards_give_exactly_zero(dtype, size):
    values = [[v] * size for v in (0.1, 0.7, 1 / 3, 0.0, -0.35)] + [[0.0] * (size - 1) + [1.0]]
    for name, found in centred(jnp.asarray(np.array(values), dtype)).items():
        assert found.dtype == dtype, name
        assert not np.any(np.asarray(found[:-1], float)), name
        assert np.any(np.asarray(found[-1], float)), name


def test_the_naive_mean_fails_where_the_pieces_do_not():
    rewards = jnp.full((1, 8), 0.1, jnp.bfloat16)
    naive = rewards - jnp.mean(rewards.astype(jnp.float32), axis=1, keepdims=True).astype(jnp.bfloat16)
    size49 = jnp.full((1, 49), 0.7, jnp.float64)
    naive49 = size49 - jnp.sum(size49, axis=1, keepdims=True) / 49
    assert np.any(np.asarray(naive, float)) or np.any(np.asarray(naive49))


def test_a_group_of_one_gets_zero():
    for name, found in centred(jnp.asarray([[3.7], [1.0]])).items():
        assert not np.any(found), name


def test_decoupled_rewards_of_a_pair_with_a_sample_s_deviation():
    """A half over sqrt(1/2) + 1, and that over itself + 1."""
    part = 0.5 / (0.5**0.5 + 1)
    found = adv.decoupled(jnp.array([[[1.0], [0.0]]]), ddof=1, eps=1.0)
    np.testing.assert_allclose(found, [[part / (part + 1), -part / (part + 1)]], rtol=1e-6)


def test_pass_at_k_refuses_groups_that_are_too_small():
    for piece, wrong in itertools.product((adv.pass_at_k, adv.pass_at_k_standardised), (3, 0, 1.5)):
        with pytest.raises(ValueError, match=f"k: {wrong}; give a whole number from 1 to the group size, 2"):
            piece(np.ones((1, 2)), k=wrong)


def test_a_nan_or_an_infinity_costs_its_own_group_and_no_other():
    rewards = np.tile([[0.0, 1.0, 1.0, 0.25]], (3, 1))
    clean = centred(jnp.asarray(rewards))
    for bad in (np.nan, np.inf, -np.inf):
        rewards[1, 2] = bad
        for name, found in centred(jnp.asarray(rewards)).items():
            assert not np.any(found[1]), name
            assert np.all(np.isfinite(found)), name
            # these share a scale over the batch, by design
            if name not in ("batch_standardised centred", "beta_normalised", "mixed_rescaled"):
                np.testing.assert_allclose(found[np.array([0, 2])], clean[name][np.array([0, 2])])


def test_integers_and_booleans_are_the_same_floats():
    ints = np.array([[1, 0, 0, 1], [1, 1, 0, 1], [0, 0, 0, 1]])
    wanted = centred(jnp.asarray(ints, float))
    for name, found in centred(jnp.asarray(ints)).items():
        np.testing.assert_array_equal(found, wanted[name])
    np.testing.assert_array_equal(adv.group_mean(ints.astype(bool)), wanted["group_mean"])


def test_half_precision_is_computed_in_single():
    rewards = jnp.asarray(np.linspace(0.0, 3.0, 8)[None], jnp.bfloat16)
    wanted = adv.standardised(rewards.astype(jnp.float32)).astype(jnp.bfloat16)
    np.testing.assert_array_equal(adv.standardised(rewards), wanted)


def test_numpy_input_is_welcome_and_not_written():
    rewards = np.array([[1.0, 0.0]])
    kept = rewards.copy()
    adv.standardised(rewards)
    np.testing.assert_array_equal(rewards, kept)
    with pytest.raises(ValueError, match=r"rewards: shape \(2,\); give two axes"):
        adv.group_mean(np.array([1.0, 0.0]))


@pytest.mark.slow
def test_gradients_through_the_rewards_are_finite():
    """At groups without spread too; except through a standard deviation, which has no derivative at zero.

    Objectives stop gradients at the advantage, so this matters to those who differentiate rewards.
    """
    smooth = [n for n in CENTRED if not n.startswith(("standardised", "batch"))]

    def slope_of(name, rewards):
        return jax.grad(lambda x: jnp.sum(CENTRED[name](x) ** 2))(rewards)

    slopes = jax.jit(lambda r: {n: slope_of(n, r) for n in smooth})
    for name, slope in slopes(jnp.asarray([[0.5, 0.5, 0.5], [0.0, 1.0, 1.0]])).items():
        assert np.all(np.isfinite(slope)), name


def test_the_tracker_is_the_released_recursion():
    state = tracker.start(jnp.asarray([0.25, 1.0]), trials=8.0, low=0.875)
    np.testing.assert_allclose(tracker.value(state), [2.5 / 9, 8.5 / 9])
    np.testing.assert_allclose(state.successes + state.failures, 8.0)
    keep = tracker.forgetting(jnp.asarray([0.0, 0.06, 0.006]))
    np.testing.assert_allclose(keep, [0.96, 0.875, 2**-0.1])
    after = tracker.update(state, jnp.asarray([[1.0], [0.0]]), 0.9)
    np.testing.assert_allclose(after.successes, 0.9 * np.asarray(state.successes) + [1, 0])
    np.testing.assert_allclose(after.failures, 0.9 * np.asarray(state.failures) + [0, 1])


def test_running_statistics_in_parts_equal_those_of_the_whole():
    state, means = tracker.empty(), tracker.empty()
    for part in np.split(REAL, 5):
        state, means = tracker.add(state, jnp.asarray(part)), tracker.add(means, jnp.asarray(part.mean(1)))
    np.testing.assert_allclose(state.mean, REAL.mean())
    np.testing.assert_allclose(state.squares / state.seen, REAL.var())
    v, t = REAL.var() / 6, REAL.mean(1).var()
    np.testing.assert_allclose(tracker.shrinkage(state, means, 6), v / (v + t))
