"""KL estimators by exact enumeration: what the value estimates, and where the gradient pulls.

One token: a softmax over five answers. Two tokens: a tree of three times three, so that a token changes which
state comes next. On policy, every expectation below is a finite sum.
"""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradvar.core.compose import required
from gradvar.pieces import advantage, penalty

LOGITS = jnp.asarray([0.3, -0.7, 1.1, 0.0, -0.2])
REF = jax.nn.log_softmax(jnp.asarray([-0.5, 0.4, 0.2, 1.0, -1.0]))


def reverse_kl(theta):
    p = jax.nn.log_softmax(theta)
    return jnp.sum(jnp.exp(p) * (p - REF))


def forward_kl(theta):
    return jnp.sum(jnp.exp(REF) * (REF - jax.nn.log_softmax(theta)))


def expected(piece, theta=LOGITS, sampler=None):
    """E over the sampler of the penalty's value, and of its gradient, the sampler held fixed."""
    old = jax.nn.log_softmax(theta if sampler is None else sampler)
    weight = jax.lax.stop_gradient(jnp.exp(old))

    def value(x):
        logp = jax.nn.log_softmax(x)
        arrays = {"logp": logp, "logp_ref": REF, "logp_old": jax.lax.stop_gradient(old)}
        names = required(piece)
        return jnp.sum(weight * piece(**{n: arrays[n] for n in names}))

    return jax.jit(jax.value_and_grad(value))(theta)


REVERSE, FORWARD = jax.grad(reverse_kl)(LOGITS), jax.grad(forward_kl)(LOGITS)
PULLS = {
    "k1": (penalty.k1, reverse_kl(LOGITS), 0 * REVERSE),
    "k2": (penalty.k2, None, REVERSE),
    "k3": (penalty.k3, reverse_kl(LOGITS), FORWARD),
    "k1 straight through": (penalty.straight_through(penalty.k1), reverse_kl(LOGITS), REVERSE),
    "k3 straight through": (penalty.straight_through(penalty.k3), reverse_kl(LOGITS), REVERSE),
    "k1 weighted": (penalty.importance_weighted(penalty.k1), reverse_kl(LOGITS), REVERSE),
    "k3 weighted": (penalty.importance_weighted(penalty.k3), reverse_kl(LOGITS), REVERSE),
}


@pytest.mark.parametrize("name", PULLS)
def test_value_and_gradient_on_policy(name):
    piece, value, gradient = PULLS[name]
    found, pull = expected(piece)
    if value is not None:
        np.testing.assert_allclose(found, value, atol=1e-12)
    np.testing.assert_allclose(pull, gradient, atol=1e-12)


def test_the_two_directions_differ_and_k2_is_not_the_kl():
    assert np.linalg.norm(REVERSE - FORWARD) > 0.05
    assert abs(float(expected(penalty.k2)[0] - reverse_kl(LOGITS))) > 0.003


@pytest.mark.parametrize("inner", [penalty.k1, penalty.k3])
def test_importance_weighting_holds_off_policy(inner):
    sampler = LOGITS + jnp.asarray([0.5, -0.3, 0.1, 0.4, -0.6])
    found, pull = expected(penalty.importance_weighted(inner), sampler=sampler)
    np.testing.assert_allclose(found, reverse_kl(LOGITS), atol=1e-12)
    np.testing.assert_allclose(pull, REVERSE, atol=1e-12)
    assert np.linalg.norm(expected(inner, sampler=sampler)[1] - REVERSE) > 0.01


def test_importance_weighted_k2_is_no_kl_gradient():
    assert np.linalg.norm(expected(penalty.importance_weighted(penalty.k2))[1] - REVERSE) > 0.01


def test_beta_scales():
    for piece in (penalty.k1, penalty.k2, penalty.k3):
        one, scaled = expected(piece), expected(partial(piece, beta=0.3))
        np.testing.assert_allclose(scaled[0], 0.3 * one[0])
        np.testing.assert_allclose(scaled[1], 0.3 * one[1], atol=1e-15)


def tree(theta):
    """Log-probabilities of the nine two-token sequences of theta [4, 3]: the root's row, then one a token."""
    rows = jax.nn.log_softmax(theta, axis=-1)
    first, second = np.array(list(itertools.product(range(3), repeat=2))).T
    return jnp.stack([rows[0, first], rows[1 + first, second]], axis=1)


@pytest.mark.slow
def test_kl_in_the_reward_pulls_with_the_gradient_of_the_sequence_kl():
    rng = np.random.default_rng(5)
    theta, ref = jnp.asarray(rng.normal(size=(4, 3))), tree(jnp.asarray(rng.normal(size=(4, 3))))
    rewards, beta = jnp.asarray(rng.normal(size=9)), 0.4
    old = tree(theta)
    probability = jnp.exp(old.sum(-1))

    def objective(x):
        logp = tree(x)
        return jnp.sum(jnp.exp(logp.sum(-1)) * (rewards - beta * (logp - ref).sum(-1)))

    arrays = {
        "rewards": rewards[None],
        "logp_old": old[None],
        "logp_ref": ref[None],
        "mask": jnp.ones((1, 9, 2), bool),
    }
    for wrapper in (penalty.kl_in_reward, penalty.kl_to_go):
        piece = wrapper(advantage.raw, beta=beta)
        a = piece(**arrays)[0]
        a = a[:, None] if a.ndim == 1 else a
        pull = jax.jit(jax.grad(lambda x, a=a: jnp.sum(probability[:, None] * a * tree(x))))(theta)
        np.testing.assert_allclose(pull, jax.jit(jax.grad(objective))(theta), atol=1e-12)
    # The same KL as a loss, token by token, misses that the first token decides which state comes next.
    loss = jax.jit(jax.grad(lambda x: jnp.sum(probability[:, None] * penalty.k2(tree(x), ref))))(theta)
    sequence = jax.jit(jax.grad(lambda x: jnp.sum(jnp.exp(tree(x).sum(-1)) * (tree(x) - ref).sum(-1))))(theta)
    assert np.linalg.norm(loss - sequence) > 0.01


def test_kl_wrappers_leave_masked_tokens_out():
    mask = jnp.asarray([[[True, True, False]]])
    old = jnp.asarray([[[-1.0, -2.0, jnp.nan]]])
    ref = jnp.asarray([[[-1.5, -1.8, 7.0]]])
    arrays = {"rewards": jnp.asarray([[2.0]]), "logp_old": old, "logp_ref": ref, "mask": mask}
    np.testing.assert_allclose(penalty.kl_in_reward(advantage.raw, beta=0.5)(**arrays), [[2 - 0.5 * 0.3]])
    to_go = penalty.kl_to_go(advantage.raw, beta=0.5)(**arrays)
    np.testing.assert_allclose(to_go[0, 0, :2], [2 - 0.5 * 0.3, 2 + 0.5 * 0.2])
