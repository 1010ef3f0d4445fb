"""Banks whose rollouts an engine drew: figures against enumeration, shards, files, and what is refused."""

import dataclasses

import jax
import numpy as np
import pytest

from gradvar import catalogue
from gradvar.core.compose import corrected
from gradvar.measure import ScoreBank, exact, record
from gradvar.pieces import corrections as c
from gradvar.policies import noise
from tests.measure import scenes

ENGINE = noise(0.4, seed=3)


@pytest.fixture(scope="module")
def scene():
    policy, params, task = scenes.tabular(1, binary=True)
    old = scenes.moved(policy, params, 2, 0.3)
    estimators = [catalogue.get("rloo"), corrected(catalogue.get("grpo"), c.sequence_mask)]
    return policy, params, task, old, estimators


@pytest.fixture(scope="module")
def bank(scene):
    policy, params, task, old, estimators = scene
    return record(
        policy, params, task, jax.random.key(0), 256, 12, estimators=estimators, old_params=old, sampler=ENGINE
    )  # fmt: skip


@pytest.mark.slow
def test_three_policies_are_recorded(scene, bank):
    policy, _, _, old, _ = scene
    kept = bank.rollouts
    reported = ENGINE.logprobs(policy, old, kept.prompts, kept.completions)
    np.testing.assert_allclose(kept.logp_sampler[kept.mask], np.asarray(reported)[kept.mask], rtol=1e-5)
    assert not np.allclose(kept.logp_sampler, kept.logp_old)
    assert not kept.on_policy
    with pytest.raises(ValueError, match="sampler: the bank was sampled by another"):
        bank.extend(policy, *scene[1:3], jax.random.key(1), rollouts=4, old_params=old)


@pytest.mark.slow
def test_figures_agree_with_enumeration(scene, bank):
    """Within 4.5 standard errors, at a number of rollouts that was fixed beforehand."""
    policy, params, task, old, estimators = scene
    measured = bank.evaluate(estimators, [3])
    for estimator in estimators:
        known = exact(estimator, policy, params, task, 3, old_params=old, sampler=ENGINE)
        moments = measured[estimator.name, 3]
        for figure in ("trace_cov", "bias_factor", "signal"):
            error = abs(getattr(moments, figure) - getattr(known, figure))
            assert error < 4.5 * moments.se[figure]
        assert abs(known.bias_factor - exact(estimator, policy, params, task, 3).bias_factor) > 1e-2


@pytest.mark.slow
def test_shards_are_drawn_as_the_whole_is_and_come_back(scene, tmp_path):
    from gradvar.measure.bank.recorder import RecordSettings

    policy, params, task, old, estimators = scene
    asked = {"estimators": estimators, "old_params": old, "sampler": ENGINE}
    whole = record(policy, params, task, jax.random.key(0), 20, 8, **asked)
    folder, settings = tmp_path / "shards", RecordSettings(shard=12)
    record(policy, params, task, jax.random.key(0), 20, 8, folder=folder, settings=settings, **asked)
    opened = ScoreBank.open(folder)
    for name in ("logp_sampler", "completions", "logp_old"):
        kept, again = (getattr(x.rollouts, name) for x in (whole, opened))
        np.testing.assert_allclose(kept, again, rtol=1e-5)
    assert opened.info["sampler"] == whole.info["sampler"]
    more = whole.extend(policy, params, task, jax.random.key(1), rollouts=4, **asked)
    assert more.rollouts.logp_sampler.shape[1] == 12


@pytest.mark.slow
def test_bias_is_to_the_gradient_of_the_current_policy_where_it_is_estimated(scene, bank):
    """As where grad J is known: the reference weighs what the engine drew, and takes it for nothing else."""
    policy, params, task, old, estimators = scene
    recording = bank.recording
    scores = dataclasses.replace(recording.scores, truth=None, true_gradient=None)
    blind = ScoreBank(dataclasses.replace(recording, scores=scores))
    for estimator in estimators:
        known = exact(estimator, policy, params, task, 3, old_params=old, sampler=ENGINE)
        moments = blind.evaluate([estimator], [3])[estimator.name, 3]
        for figure in ("bias_factor", "true_signal"):
            error = abs(getattr(moments, figure) - getattr(known, figure))
            assert error < 4.5 * moments.se[figure]
