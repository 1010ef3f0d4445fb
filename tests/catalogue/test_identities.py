"""Identities between estimators, and the expectations of the adaptive advantages by enumeration."""

import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest

from gradvar import catalogue
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate

from .lawbook import close, take, value_and_weights
from .test_token_weights import BINARY, GRADED, NEAR


def weights(name, case, **settings):
    return value_and_weights(catalogue.get(name, **settings), case["logp"], case)[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{}, {"eps": 1e-2}, {"ddof": 1}, {"clip_low": 0.1, "clip_high": 0.5}, {"standardise": False}]
)
def test_the_pairwise_form_is_grpo_at_two_rollouts(settings):
    """Token for token, with clipping and length normalisation, for any rewards."""
    pair = take(GRADED, rollouts=[0, 1])
    if "standardise" in settings:
        grpo = compose(
            advantage=advantage.group_mean,
            surrogate=surrogate.ppo_clip,
            aggregate=aggregate.sequence_token_mean,
        )
        wanted = value_and_weights(grpo, pair["logp"], pair)
    else:
        wanted = value_and_weights(catalogue.get("grpo", **{"eps": 0.0, **settings}), pair["logp"], pair)
    found = value_and_weights(catalogue.get("grpo_pair", **settings), pair["logp"], pair)
    assert close(found[1], wanted[1])
    assert close(found[0], wanted[0])
    assert np.any(wanted[1])


@pytest.mark.slow
def test_the_pairwise_form_is_clipped_rloo_on_binary_rewards():
    rloo = compose(
        advantage=advantage.leave_one_out,
        surrogate=surrogate.ppo_clip,
        aggregate=aggregate.sequence_token_mean,
    )
    assert close(weights("grpo_pair", BINARY), value_and_weights(rloo, BINARY["logp"], BINARY)[1])
    assert not close(weights("grpo_pair", GRADED), value_and_weights(rloo, GRADED["logp"], GRADED)[1])


@pytest.mark.slow
@pytest.mark.parametrize("levels", [(0.0, 1.0), (-1.0, 1.0), (2.0, 5.0)])
def test_the_contrastive_form_is_grpo_on_two_reward_levels(levels):
    case = BINARY | {"rewards": np.where(BINARY["rewards"] > 0, levels[1], levels[0])}
    grpo = value_and_weights(catalogue.get("grpo", eps=0.0), case["logp"], case)
    contrast = value_and_weights(catalogue.get("grpo_contrastive"), case["logp"], case)
    assert close(grpo[0], contrast[0])
    assert close(grpo[1], contrast[1])


@pytest.mark.slow
def test_the_contrastive_form_is_not_grpo_on_three_levels():
    assert not close(weights("grpo_contrastive", GRADED), weights("grpo", GRADED, eps=0.0), tol=1e-3)


def test_leave_one_out_is_the_group_mean_stretched():
    on_policy = GRADED | {"logp": GRADED["logp_old"]}
    assert close(weights("rloo", on_policy), 4 / 3 * weights("dr_grpo", on_policy))


def test_cispo_keeps_every_token_and_dapo_does_not():
    keeps = weights("cispo", BINARY)
    drops = weights("dapo", BINARY)
    alive = BINARY["mask"] & (BINARY["rewards"].std(1) > 0)[:, None, None]
    assert np.all(keeps[alive] != 0)
    assert np.any(drops[alive] == 0)


def test_gspo_and_its_token_form_have_one_gradient():
    for case in (BINARY, GRADED, NEAR):
        assert close(weights("gspo", case), weights("gspo_token", case))


def test_reverse_lpo_is_the_standardised_policy_gradient_on_policy():
    case = GRADED | {"logp": GRADED["logp_old"]}
    gradient = compose(
        advantage=advantage.standardised,
        surrogate=surrogate.likelihood,
        aggregate=aggregate.sequence_token_sum,
    )
    wanted = value_and_weights(gradient, case["logp"], case)[1]
    assert close(weights("lpo_reverse", case), wanted, tol=1e-5)
    for name, setting, divisor in (
        ("lpo_reverse", 0.5, 0.5),
        ("lpo_reverse", "mean", GRADED["rewards"].mean(1)[:, None, None]),
    ):
        a = (GRADED["rewards"] - GRADED["rewards"].mean(1, keepdims=True))[..., None] / divisor
        assert close(weights(name, case, temperature=setting), np.where(case["mask"], a / 16, 0.0))


def test_lpo_weights_are_bounded_and_sum_to_zero():
    for name in ("lpo_forward", "lpo_reverse"):
        coefficients = 4 * weights(name, GRADED)[..., 0]  # one weight per rollout, on each of its tokens
        assert np.allclose(coefficients.sum(1), 0, atol=1e-12)
        if name == "lpo_forward":
            assert np.all(np.abs(coefficients) <= 1)


def test_dpo_at_the_reference_is_the_scaled_pairwise_gradient():
    at_reference = BINARY | {"logp": BINARY["logp_old"], "logp_ref": BINARY["logp_old"]}
    rloo = weights("rloo", at_reference)
    assert close(weights("dpo", at_reference, beta=0.4), 0.4 * rloo)


def test_discount_and_decay_reach_the_advantage():
    assert not close(weights("ppo", NEAR, decay=0.5), weights("ppo", NEAR))


# ---- expectations: a categorical policy over answers, every group listed

POLICY = np.array([0.15, 0.25, 0.35, 0.25])


def expected(piece, rewards, group):
    """E (1/G) sum A_i s_i with respect to the logits, by listing all groups."""
    answers = np.array(list(itertools.product(range(4), repeat=group)))
    probability = POLICY[answers].prod(1)
    a = np.asarray(piece(jnp.asarray(np.asarray(rewards, float)[answers])))
    scores = np.eye(4)[answers] - POLICY
    return np.einsum("n,ng,ngk->k", probability, a, scores) / group


def gradient(rewards):
    r = np.asarray(rewards, float)
    return POLICY * (r - POLICY @ r)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_pass_at_k_is_unbiased_for_the_expected_maximum(k):
    for rewards in ([1, 0, 0, 0], [0.0, 1.0, 0.25, 2.5], [1, 1, 0, 1]):

        def best(logits, rewards=rewards):
            p = softmax(logits)
            sets = itertools.product(range(4), repeat=k)
            return sum(np.prod(p[list(y)]) * max(np.take(rewards, y)) for y in sets)

        found = expected(lambda r: advantage.pass_at_k(r, k=k), rewards, 4)
        np.testing.assert_allclose(found, numerical(best), atol=1e-8)


def test_pass_at_k_weighs_prompts_as_the_power_law():
    for k, rewards in itertools.product((2, 3), ([1, 0, 0, 0], [1, 1, 1, 0])):
        p = POLICY @ np.asarray(rewards)
        found = expected(lambda r, k=k: advantage.pass_at_k(r, k=k), rewards, 4)
        np.testing.assert_allclose(found, k * (1 - p) ** (k - 1) * gradient(rewards), atol=1e-12)


@pytest.mark.slow
def test_maxrl_targets_the_truncation_of_order_one_less_than_the_group():
    """sum_{j < G} (1-p)^(j-1) grad p: one term fewer than G, since the group without a success gets zero."""
    for group, rewards in itertools.product((2, 3, 4), ([1, 0, 0, 0], [1, 0, 1, 0])):
        p = POLICY @ np.asarray(rewards)
        weight = sum((1 - p) ** (j - 1) for j in range(1, group))
        found = expected(advantage.over_mean, rewards, group)
        np.testing.assert_allclose(found, weight * gradient(rewards), atol=1e-12)


def test_softmax_weighs_prompts_as_its_paper_says():
    c = math.exp(1 / 0.3)
    for group, rewards in itertools.product((2, 4), ([1, 0, 0, 0], [1, 0, 1, 0])):
        p = POLICY @ np.asarray(rewards)
        weight = 0.0
        for s in range(group):
            gap = group * (c / (group + (s + 1) * (c - 1)) - 1 / (group + s * (c - 1)))
            weight += math.comb(group - 1, s) * p**s * (1 - p) ** (group - 1 - s) * gap
        found = expected(advantage.softmax, rewards, group)
        np.testing.assert_allclose(found, weight * gradient(rewards), atol=1e-12)


def test_leave_one_out_is_unbiased_and_the_group_mean_shrinks_by_one_over_g():
    for group, rewards in itertools.product((2, 3, 4), ([1, 0, 0, 0], [0.5, -1.0, 2.0, 0.25])):
        np.testing.assert_allclose(
            expected(advantage.leave_one_out, rewards, group), gradient(rewards), atol=1e-12
        )
        np.testing.assert_allclose(
            expected(advantage.group_mean, rewards, group), (1 - 1 / group) * gradient(rewards), atol=1e-12
        )


def test_the_standardised_direction_is_biased_on_three_levels():
    found = expected(advantage.standardised, [0.0, 0.5, 2.0, 0.5], 4)
    wanted = gradient([0.0, 0.5, 2.0, 0.5])
    cosine = found @ wanted / np.linalg.norm(found) / np.linalg.norm(wanted)
    assert cosine < 0.9999


def softmax(x):
    e = np.exp(x - np.max(x))
    return e / e.sum()


def numerical(function, step=1e-5):
    logits = np.log(POLICY)
    basis = step * np.eye(4)
    return np.array([(function(logits + e) - function(logits - e)) / (2 * step) for e in basis])
