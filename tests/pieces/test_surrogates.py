"""Token weights of every surrogate against hand-derived ones, region by region, and the wrappers."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradvar.core.compose import required
from gradvar.pieces import surrogate

RATIOS = np.array([0.3, 0.7, 0.79, 0.81, 1.0, 1.19, 1.21, 1.27, 1.29, 2.5, 3.5, 4.9, 5.1])


def weights(piece, ratio, advantage, **arrays):
    """d(sum of values)/d logp for a row of tokens with these ratios and one advantage."""
    old = jnp.asarray(np.linspace(-3.0, -1.0, len(ratio)))[None, None]
    logp = old + jnp.log(jnp.asarray(ratio))[None, None]
    full = jnp.full(old.shape, float(advantage))
    given = {"logp_old": old, "advantages": full, "mask": jnp.ones(old.shape, bool), **arrays}
    names = [n for n in required(piece) if n != "logp"]
    grad = jax.jit(jax.grad(lambda x, rest: jnp.sum(piece(**{**{n: rest[n] for n in names}, "logp": x}))))
    return np.asarray(grad(logp, given))[0, 0]


@pytest.mark.parametrize("advantage", [1.7, -0.6, 0.0])
def test_plain_and_ratio(advantage):
    np.testing.assert_allclose(weights(surrogate.likelihood, RATIOS, advantage), advantage)
    np.testing.assert_allclose(weights(surrogate.importance_ratio, RATIOS, advantage), advantage * RATIOS)


@pytest.mark.parametrize(("low", "high"), [(0.2, 0.2), (0.2, 0.28), (0.5, 4.0)])
@pytest.mark.parametrize("advantage", [1.7, -0.6, 0.0])
def test_ppo_clip_by_region(low, high, advantage):
    found = weights(partial(surrogate.ppo_clip, low=low, high=high), RATIOS, advantage)
    for ratio, weight in zip(RATIOS, found, strict=True):
        if (advantage > 0 and ratio > 1 + high) or (advantage < 0 and ratio < 1 - low):
            assert weight == 0
        else:
            np.testing.assert_allclose(weight, advantage * ratio, rtol=1e-12)


@pytest.mark.parametrize("advantage", [2.0, -2.0])
def test_ppo_clip_is_the_minimum_of_the_paper(advantage):
    logp, old = jnp.log(RATIOS)[None, None], jnp.zeros((1, 1, len(RATIOS)))
    found = surrogate.ppo_clip(logp, old, jnp.full(old.shape, advantage), low=0.2, high=0.28)
    wanted = np.minimum(RATIOS * advantage, np.clip(RATIOS, 0.8, 1.28) * advantage)
    np.testing.assert_allclose(found[0, 0], wanted, rtol=1e-12)


@pytest.mark.parametrize("advantage", [1.7, -0.6])
def test_dual_clip_by_region(advantage):
    piece = partial(surrogate.dual_clip, low=0.2, high=0.2, cap=3.0)
    for ratio, weight in zip(RATIOS, weights(piece, RATIOS, advantage), strict=True):
        beyond = ratio > 1.2 if advantage > 0 else ratio < 0.8 or ratio > 3.0
        np.testing.assert_allclose(weight, 0.0 if beyond else advantage * ratio, rtol=1e-12)
    logp, old = jnp.log(RATIOS)[None, None], jnp.zeros((1, 1, len(RATIOS)))
    value = surrogate.dual_clip(logp, old, jnp.full(old.shape, advantage))
    ppo = np.minimum(RATIOS * advantage, np.clip(RATIOS, 0.8, 1.2) * advantage)
    wanted = ppo if advantage > 0 else np.maximum(ppo, 3.0 * advantage)
    np.testing.assert_allclose(value[0, 0], wanted, rtol=1e-12)


@pytest.mark.parametrize("advantage", [1.7, -0.6])
@pytest.mark.parametrize("piece", [surrogate.sequence_clip, surrogate.sequence_clip_per_token])
def test_sequence_clip_by_region(piece, advantage):
    for ratio in ([1.1, 0.9, 1.0], [1.5, 1.2, 1.4], [0.5, 0.9, 0.8], [3.0, 0.5, 0.7]):
        s = np.exp(np.mean(np.log(ratio)))
        clipped = (advantage > 0 and s > 1.2) or (advantage < 0 and s < 0.8)
        found = weights(partial(piece, low=0.2, high=0.2), np.array(ratio), advantage)
        # Each of the three tokens carries the value: their sum over three is the rollout's.
        np.testing.assert_allclose(found, 0.0 if clipped else advantage * s, rtol=1e-12)


def test_sequence_ratio_leaves_masked_tokens_out():
    ratio = np.array([1.1, 0.9, 7.0])
    mask = jnp.asarray([[[True, True, False]]])
    found = weights(partial(surrogate.sequence_clip, low=0.9, high=9.0), ratio, 1.0, mask=mask)
    s = np.sqrt(1.1 * 0.9)
    np.testing.assert_allclose(found, [3 * s / 2, 3 * s / 2, 0.0])


@pytest.mark.parametrize("advantage", [1.7, -0.6])
def test_clipped_weight_keeps_every_token(advantage):
    found = weights(partial(surrogate.clipped_weight, low=0.2, high=0.28), RATIOS, advantage)
    np.testing.assert_allclose(found, advantage * np.clip(RATIOS, 0.8, 1.28))
    assert np.all(found != 0)
    dropped = weights(partial(surrogate.ppo_clip, low=0.2, high=0.28), RATIOS, advantage)
    assert np.any(dropped == 0)


@pytest.mark.parametrize("advantage", [1.7, -0.6])
def test_geometric_clip_by_region(advantage):
    ratio = np.array([0.5, 0.9, 1.3, 2.0])
    change = np.log(ratio)
    clipped = np.minimum(change, 0.4) if advantage > 0 else np.maximum(change, -0.4)
    beyond = change > 0.4 if advantage > 0 else change < -0.4
    mean = np.exp(clipped.mean())
    found = weights(surrogate.geometric_clip, ratio, advantage)
    np.testing.assert_allclose(found, np.where(beyond, 0.0, advantage * mean), rtol=1e-12)


@pytest.mark.parametrize(("advantage", "tau"), [(1.7, 1.0), (-0.6, 1.05)])
def test_soft_gate(advantage, tau):
    s = 1 / (1 + np.exp(-tau * (RATIOS - 1)))
    found = weights(surrogate.soft_gate, RATIOS, advantage)
    np.testing.assert_allclose(found, advantage * RATIOS * 4 * s * (1 - s), rtol=1e-12)
    np.testing.assert_allclose(found[RATIOS == 1.0], advantage)


def test_importance_wrappers():
    sampler_ratio = np.array([0.1, 0.6, 1.0, 1.8, 2.5, 6.0])
    ratio = np.array([1.1, 0.9, 1.05, 1.0, 0.95, 1.15])
    old = jnp.asarray(np.linspace(-3.0, -1.0, 6))[None, None]
    sampler = old - jnp.log(sampler_ratio)[None, None]
    for wrapped, wanted in (
        (surrogate.truncated_importance(surrogate.ppo_clip, cap=2.0), np.minimum(sampler_ratio, 2.0)),
        (
            surrogate.masked_importance(surrogate.ppo_clip, low=0.5, high=2.0),
            np.where((sampler_ratio >= 0.5) & (sampler_ratio <= 2.0), sampler_ratio, 0.0),
        ),
    ):
        found = weights(wrapped, ratio, 1.5, logp_sampler=sampler)
        np.testing.assert_allclose(found, 1.5 * ratio * wanted, rtol=1e-12)


@pytest.mark.parametrize("advantage", [1.5, -0.5])
def test_trust_in_probabilities_and_rollouts(advantage):
    """Engine and current policy apart on both sides; the old policy does not matter to any of the three."""
    engine = np.array([0.1, 0.4, 0.5, 0.7, 0.02])
    new = np.array([0.35, 0.1, 0.9, 0.2, 0.3])
    old = np.exp(np.linspace(-3.0, -1.0, 5))
    logs = {"logp_sampler": jnp.log(jnp.asarray(engine))[None, None]}

    def found(piece):
        return weights(piece, new / old, advantage, **logs)

    ratio, change = new / engine, new - engine
    beyond = change > 0.28 if advantage > 0 else change < -0.2
    np.testing.assert_allclose(
        found(partial(surrogate.dppo_tv, high=0.28)),
        np.where(beyond, 0.0, advantage * np.minimum(ratio, 10)),
        rtol=1e-12,
    )
    divergence = engine * np.log(engine / new) + (1 - engine) * np.log((1 - engine) / (1 - new))
    beyond = (divergence > 0.4) & ((ratio - 1) * advantage > 0)
    assert 0 < beyond.sum() < ((ratio - 1) * advantage > 0).sum()  # some moved along and stay
    np.testing.assert_allclose(
        found(partial(surrogate.dppo_kl, threshold=0.4)),
        np.where(beyond, 0.0, advantage * np.minimum(ratio, 10)),
        rtol=1e-12,
    )
    k, rate = (2, 3) if advantage > 0 else (3, 2)
    whole = np.prod(ratio)
    wanted = advantage * np.exp(rate) * whole**k * np.exp(-rate * whole)
    np.testing.assert_allclose(found(surrogate.vespo), np.full(5, wanted), rtol=1e-10)
    wanted = np.ones(5) if advantage > 0 else np.minimum(ratio, 1)
    np.testing.assert_allclose(found(surrogate.topr), advantage * wanted, rtol=1e-12)


def test_kl_cov_against_loops():
    """The largest share of the covariances is penalised, whatever lies behind the mask."""
    rng = np.random.default_rng(0)
    new, old, advantages = (rng.normal(size=(2, 3, 4)) for _ in range(3))
    mask = np.arange(4) < np.array([[4, 3, 1], [2, 4, 4]])[..., None]
    places = [tuple(place) for place in np.argwhere(mask)]
    mean_a, mean_l = (np.mean([x[p] for p in places]) for x in (advantages, new))
    order = sorted(places, key=lambda p: -(advantages[p] - mean_a) * (new[p] - mean_l))
    wanted = advantages * np.exp(new - old)
    for p in order[: int(0.3 * len(places))]:
        wanted[p] -= 0.7 * np.sign(new[p] - old[p])

    def total(logp):
        values = surrogate.kl_cov(
            logp, jnp.asarray(old), jnp.asarray(advantages), jnp.asarray(mask), share=0.3, coefficient=0.7
        )
        return jnp.where(mask, values, 0.0).sum()

    found = np.asarray(jax.grad(total)(jnp.asarray(new)))
    np.testing.assert_allclose(found[mask], wanted[mask], rtol=1e-10)
    # on the first step there is no penalty: |log r| is flat at zero
    flat = np.asarray(jax.grad(total)(jnp.asarray(old)))
    np.testing.assert_allclose(flat[mask], advantages[mask], rtol=1e-10)


@pytest.mark.slow
def test_clip_cov_draws_what_its_mean_says():
    """Each seed drops the same number of able tokens, each of them equally often, and another batch draws anew."""
    rng = np.random.default_rng(1)
    new, advantages = jnp.asarray(rng.normal(size=(2, 3, 4))), jnp.asarray(rng.normal(size=(2, 3, 4)))
    mask = jnp.ones((2, 3, 4), bool)
    rule = partial(surrogate.clip_cov, share=0.15, bounds=(0.1, 3.0))

    @partial(jax.jit, static_argnums=1)
    def dropped(logp, seed):
        given = jax.grad(lambda x: rule(x, logp, advantages, mask, seed=seed).sum())(logp)
        return 1.0 - given / advantages

    able = np.asarray(dropped(new, None)) > 1e-9
    number, size = int(0.15 * 24), able.sum()
    np.testing.assert_allclose(dropped(new, None), able * number / size, atol=1e-12)
    seeded = jax.jit(jax.vmap(lambda logp: rule_seeded(rule, logp, advantages, mask)))
    batches = new + 1e-5 * jnp.asarray(rng.normal(size=(2000, 1, 1, 1)))  # other bits, the same covariances
    drawn = np.asarray(seeded(batches))
    assert (drawn.sum((1, 2, 3)) == number).all()
    assert (drawn[:, ~able] == 0).all()
    share = number / size
    assert np.abs(drawn.mean(0)[able] - share).max() < 4.5 * np.sqrt(share * (1 - share) / 2000)
    np.testing.assert_array_equal(seeded(batches[:3]), drawn[:3])


def rule_seeded(rule, logp, advantages, mask):
    """1 on the tokens that seed 7 drops on the first step."""
    given = jax.grad(lambda x: rule(x, logp, advantages, mask, seed=7).sum())(logp)
    return jnp.where(given == 0, 1.0, 0.0)
