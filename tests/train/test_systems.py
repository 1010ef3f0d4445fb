"""The objectives of SPS, LPO's ablation and G2D against closed forms in NumPy, token by token."""

import dataclasses
import itertools

import jax.numpy as jnp
import numpy as np
import pytest

import gradvar as gv
from gradvar.core.batch import Batch
from gradvar.train import arms, systems
from gradvar.train.pairs import informativeness
from gradvar.train.rollouts import is_served
from gradvar.train.step import estimator_of

RNG = np.random.default_rng(3)
REWARDS = np.array([[1.0, 0, 0, 1], [0, 1, 0, 0], [1, 1, 1, 1]])
MASK = np.arange(3) < np.array([[3, 1, 2, 2], [1, 3, 3, 2], [2, 2, 1, 3]])[..., None]  # [prompt, group, time]
OLD = -RNG.uniform(0.2, 2, MASK.shape) * MASK
NOW = OLD + 0.3 * RNG.normal(size=MASK.shape) * MASK  # off policy: s is not zero
REF = OLD + 0.3 * RNG.normal(size=MASK.shape) * MASK
S = (NOW - OLD).sum(-1)


def softmax(x):
    exponentials = np.exp(x - x.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def target(start=0.0):
    """softmax(r / std + s_t), the group's population standard deviation, uniform where rewards are equal."""
    std = REWARDS.std(1, keepdims=True)
    return softmax((REWARDS - REWARDS.mean(1, keepdims=True)) / np.where(std > 0, std, 1) + start)


def reverse(start):
    """-P_k (d_k - mean_P d), d = s - r/tau - s_t."""
    shares, d = softmax(S), np.log(softmax(S)) - np.log(target(start))
    return -shares * (d - (shares * d).sum(1, keepdims=True))


def one_pair(beta=0.1):
    """beta sigmoid(-beta m) on the first best and minus that on the first worst."""
    ratio, weights = (NOW - REF).sum(-1), np.zeros(REWARDS.shape)
    for q, rewards in enumerate(REWARDS):
        best, worst = rewards.argmax(), rewards.argmin()
        if rewards[best] > rewards[worst]:
            pull = beta / (1 + np.exp(beta * (ratio[q, best] - ratio[q, worst])))
            weights[q, best], weights[q, worst] = pull, -pull
    return weights


FORMS = {
    "lpo-pointwise": lambda: target(),
    "lpo-forward": lambda: target() - softmax(S),
    "lpo-forward-moving": lambda: target(S) - softmax(S),
    "lpo-reverse": lambda: reverse(0.0),
    "lpo-reverse-moving": lambda: reverse(S),
    "sps-printed": lambda: -np.full(REWARDS.shape, 1 / 4),
    "sps-intended": lambda: np.full(REWARDS.shape, 1 / 4),
    "g2d-one": one_pair,
}


@pytest.mark.parametrize("name", FORMS)
def test_token_weights_are_the_closed_forms(name):
    estimator = estimator_of(arms.get(name).all_phases()[-1])
    with np.errstate(all="raise"):
        expected = FORMS[name]()[..., None] * MASK / len(REWARDS)
    batch = Batch(REWARDS, OLD, MASK, logp_ref=REF)
    taken = np.asarray(gv.token_weights(estimator, jnp.asarray(NOW), batch))
    tolerance = 2e-6 * np.abs(expected).max()
    np.testing.assert_allclose(taken, expected, atol=tolerance)
    wrong = expected * (1 + 0.01 * (REWARDS == 1)[..., None])  # the planted violator: 1 % on the correct ones
    assert np.abs(taken - wrong).max() > 100 * tolerance


def test_a_moving_target_is_another_one_off_policy_only():
    batch = Batch(REWARDS, OLD, MASK)
    for form in ("forward", "reverse"):
        pair = [estimator_of(arms.get(f"lpo-{form}{end}")) for end in ("", "-moving")]
        on, off = ([gv.token_weights(e, jnp.asarray(x), batch) for e in pair] for x in (OLD, NOW))
        np.testing.assert_allclose(*on, atol=1e-7)
        assert np.abs(np.asarray(off[0]) - np.asarray(off[1])).max() > 1e-3


def test_informativeness_counts_pairs():
    """Every pair of rollouts of every prompt, one by one."""
    rewards = (RNG.uniform(size=(3, 7, 4)) < RNG.uniform(size=(3, 7, 1))).astype(
        float
    )  # [seed, prompt, group]
    figures = informativeness(rewards, (0.5, 1))
    for seed, table in enumerate(rewards):
        differ = [[a != b for a, b in itertools.combinations(row, 2)] for row in table]
        assert figures["pairs"][seed] == sum(map(sum, differ))
        assert figures["mixed"][seed] == pytest.approx(np.mean([any(row) for row in differ]))
        assert figures["contrast"][seed] == pytest.approx(2 * np.mean(differ))
        within = [any(d) and row.mean() >= 0.5 for d, row in zip(differ, table, strict=True)]
        assert figures["within"][seed] == pytest.approx(np.mean(within))


def test_what_a_stored_phase_serves():
    rewards = jnp.asarray([[1.0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]])
    assert is_served(rewards, (0, 1)).tolist() == [True, True, True, False, False]
    assert is_served(rewards, (0.25, 0.5)).tolist() == [True, True, False, False, False]
    arm = arms.get("g2d-calibrated")
    assert arm.phases[1].difficulty == (0.25, 0.75)
    wrong = dataclasses.replace(arm.phases[1], difficulty=(0.8, 0.2))
    with pytest.raises(ValueError, match=r"difficulty: \(0.8, 0.2\); give the lowest"):
        dataclasses.replace(arm, phases=(arm.phases[0], wrong)).check()
    with pytest.raises(ValueError, match="direction"):
        systems.own_rollouts(2)
    shares = [arms.get(f"g2d{end}").phases[0].share for end in ("-10", "-25", "", "-75", "-90")]
    assert shares == [0.1, 0.25, 0.5, 0.75, 0.9]
