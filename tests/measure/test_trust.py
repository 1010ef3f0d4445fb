"""Three policies, and every surrogate with its own trust region, against loops in NumPy that share no code."""

from functools import partial

import numpy as np
import pytest

from gradvar.core.compose import compose, no_correction
from gradvar.measure import exact
from gradvar.pieces import advantages, aggregates, surrogates
from gradvar.pieces import corrections as c
from tests.measure import scenes
from tests.measure.test_corrections import brute_tokens, scene
from tests.pieces import numpy_surrogates as loops

SURROGATES = {
    "dppo_tv": (
        partial(surrogates.dppo_tv, low=0.02, high=0.03, cap=1.3), loops.dppo_tv(0.02, 0.03, 1.3), no_correction
    ),
    "dppo_kl": (
        partial(surrogates.dppo_kl, threshold=0.002, cap=1.3), loops.dppo_kl(0.002, 1.3), no_correction
    ),
    "vespo": (surrogates.vespo, loops.rows(loops.vespo), no_correction),
    "topr": (surrogates.topr, loops.rows(loops.topr), no_correction),
    "clip_cov": (
        partial(surrogates.clip_cov, share=0.4, bounds=(0.01, 0.3)), loops.clip_cov(0.4, 0.01, 0.3), no_correction
    ),
    "kl_cov": (
        partial(surrogates.kl_cov, share=0.4, coefficient=0.1), loops.kl_cov(0.4, 0.1), no_correction
    ),
    "log_linear": (
        surrogates.log_linear_proximal(partial(surrogates.ppo_clip, low=0.02, high=0.02), share=0.75),
        loops.log_linear(0.75, 1.05),
        surrogates.log_linear_proximal(partial(c.token_truncation, cap=1.05), share=0.75),
    ),
}  # fmt: skip


def estimator(surrogate, correction):
    return compose(
        advantage=advantages.group_mean,
        surrogate=surrogate,
        aggregate=aggregates.sequence_token_sum,
        correction=correction,
    )


@pytest.mark.parametrize(
    ("name", "off_policy"),
    [
        pytest.param(n, o, marks=() if o and n == "clip_cov" else pytest.mark.slow)
        for n in SURROGATES
        for o in (True, False)
    ],
)
def test_every_surrogate_against_loops(name, off_policy):
    """Engine, trainer and current policy are three (two, where the trainer's is the current one)."""
    surrogate, weights, correction = SURROGATES[name]
    policy, params, task, rewards = scene()
    old = scenes.moved(policy, params, 5, 0.2) if off_policy else params
    engine = scenes.moved(policy, old, 6, 0.25)
    got = exact(estimator(surrogate, correction), policy, params, task, 2, old_params=old, sampler=engine)
    mean, trace_cov, truth = brute_tokens(weights, params, old, engine, rewards, lambda row: row)
    np.testing.assert_allclose(got.mean, mean, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(got.trace_cov, trace_cov, rtol=1e-10)
    np.testing.assert_allclose(got.true_gradient, truth, rtol=1e-10, atol=1e-12)
    plain, _, _ = brute_tokens(
        loops.rows(lambda a, x, _, y: a * np.exp(x - y)), params, old, engine, rewards, lambda row: row
    )
    assert np.abs(got.mean - plain).max() > 1e-4  # the rule is no plain ratio here
