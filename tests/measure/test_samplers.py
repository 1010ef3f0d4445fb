"""Engines as the third policy: exact against loops, Monte Carlo against exact, and what must not change."""

import jax
import numpy as np
import pytest

from gradvar import catalogue
from gradvar.core.compose import corrected
from gradvar.measure import direct, exact
from gradvar.measure.exact.tables import exact_tables
from gradvar.measure.spelled import corrected_by
from gradvar.pieces import corrections as c
from gradvar.policies import fp8_weights, int8_weights, min_p, noise, stale, temperature, top_k, top_p
from gradvar.policies.sampler_weights import Rounding
from tests.measure import scenes
from tests.measure.test_corrections import CORRECTIONS, brute, log_softmax, ratio_estimator, scene


def nucleus(row, mass=0.7):
    """Take tokens from the likeliest on until their mass is reached."""
    taken, total = [], 0.0
    for token in np.argsort(-row):
        if total < mass:
            taken.append(token)
            total += np.exp(row[token])
    return log_softmax(np.where(np.isin(np.arange(len(row)), taken), row, -np.inf))


@pytest.mark.parametrize("renormalised", [True, False])
@pytest.mark.parametrize(
    ("sampler", "change"),
    [
        pytest.param(temperature, lambda row: log_softmax(row / 0.7), marks=pytest.mark.slow),
        (top_p, nucleus),
        pytest.param(
            min_p,
            lambda row: log_softmax(np.where(np.exp(row - row.max()) >= 0.7, row, -np.inf)),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_changed_tokens_against_loops(sampler, change, renormalised):
    """Without renormalisation the engine reports the model's own numbers, and the correction is another one."""
    policy, params, task, rewards = scene()
    old = scenes.moved(policy, params, 5, 0.2)
    piece, weights = CORRECTIONS["sequence_truncation"]
    engine = sampler(0.7, renormalised=renormalised)
    got = exact(ratio_estimator(piece), policy, params, task, 2, old_params=old, sampler=engine)
    reported = change if renormalised else lambda row: row
    with np.errstate(invalid="ignore"):
        mean, trace_cov, _ = brute(weights, params, old, old, rewards, change, reported)
    np.testing.assert_allclose(got.mean, mean, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(got.trace_cov, trace_cov, rtol=1e-9, atol=1e-13)


def test_parameters_as_sampler_are_a_stale_engine():
    policy, params, task = scenes.bandit(1, binary=True, prompts=2)
    engine = scenes.moved(policy, params, 2, 0.5)
    estimator = corrected(catalogue.get("rloo"), c.sequence_ratio)
    a = exact(estimator, policy, params, task, 3, sampler=engine)
    b = exact(estimator, policy, params, task, 3, sampler=stale(engine))
    assert a.trace_cov == b.trace_cov
    assert a.estimator == "rloo+corrected"
    tables = exact_tables(policy, params, task, sampler=engine)
    np.testing.assert_allclose(np.exp(tables.logp_sampler).sum(1), 1.0)
    with pytest.raises(ValueError, match="sampler to exact_tables"):
        exact(estimator, tables=tables, group_size=3, sampler=engine)


def test_the_proximal_policy_as_its_own_engine_changes_nothing():
    policy, params, task = scenes.tabular(1, binary=True)
    old = scenes.moved(policy, params, 2, 0.3)
    for name in ("grpo", "ppo"):
        plain = exact(catalogue.get(name), policy, params, task, 2, old_params=old)
        by_engine = exact(catalogue.get(name), policy, params, task, 2, old_params=old, sampler=old)
        assert plain.trace_cov == by_engine.trace_cov
        np.testing.assert_array_equal(plain.mean, by_engine.mean)


@pytest.mark.parametrize(
    "engine",
    [
        noise(0.4, seed=3),
        *(pytest.param(e, marks=pytest.mark.slow) for e in (top_p(0.7, renormalised=False), fp8_weights())),
    ],
)
@pytest.mark.slow
def test_monte_carlo_agrees_with_enumeration(engine):
    """Within 4.5 standard errors at a budget that was fixed beforehand."""
    policy, params, task = scenes.tabular(1, binary=True)
    old = scenes.moved(policy, params, 2, 0.3)
    estimators = [corrected(catalogue.get("grpo"), piece) for piece in (c.token_truncation, c.sequence_mask)]
    estimators.append(corrected_by(catalogue.get("grpo"), "loglinear:0.5+outlier:0.5:2"))
    sampled = direct(
        estimators, policy, params, task, 3,
        key=jax.random.key(0), replicates=2048, old_params=old, sampler=engine,
    )  # fmt: skip
    for estimator, moments in zip(estimators, sampled, strict=True):
        known = exact(estimator, policy, params, task, 3, old_params=old, sampler=engine)
        assert abs(moments.trace_cov - known.trace_cov) < 4.5 * moments.se["trace_cov"]
        assert (abs(moments.mean - known.mean) < 4.5 * moments.mean_se + 1e-7).all()


def test_rounded_weights_are_numbers_of_their_format():
    weights = np.linspace(-3, 5, 41).reshape(1, 41)
    for sampler, steps in ((int8_weights(), 127), (int8_weights(per_channel=True), 127)):
        units = np.asarray(sampler.weights(weights)) / (5 / steps)
        np.testing.assert_allclose(units, np.round(weights / (5 / steps)), atol=1e-4)
    units = np.abs(np.asarray(Rounding("fp8")(weights)) / (5 / 448))
    mantissa, _ = np.frexp(units[units > 2**-6])
    np.testing.assert_allclose(
        mantissa * 16, np.round(mantissa * 16), atol=1e-4
    )  # one bit before and three after it


def test_top_k_of_one_is_greedy():
    policy, params, task = scenes.bandit(3, binary=True)
    tables = exact_tables(policy, params, task, sampler=top_k(1))
    assert np.argmax(tables.probs[0]) == np.argmax(params[0])
    assert float(tables.probs.max()) == 1.0


def test_samplers_of_tokens_refuse_what_they_cannot_list():
    with pytest.raises(ValueError, match="sampler: TopP needs completions that can be listed"):
        top_p(0.9).logprobs(object(), None, None, None)
