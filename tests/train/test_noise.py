"""Gradient noise along a run: what the bank says is what drawing gradients says; and its rank correlation."""

import jax
import numpy as np
import pytest
from scipy import stats

from gradvar.measure import direct
from gradvar.tasks import ModularAddition
from gradvar.train import arms
from gradvar.train import experiment as experiments
from gradvar.train.experiment import experiment
from gradvar.train.gradient_noise import FIGURES, Probe, rank_correlation
from gradvar.train.plan import TrainConfig
from gradvar.train.step import estimator_of
from gradvar.train.trainer import Trainer


def states_of(scene, plan, seeds=(0, 1)):
    trainer = Trainer(scene.policy, scene.task, plan, scene.examination, 4)
    return jax.tree.map(np.asarray, trainer.start(list(seeds), scene.params))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rloo-2", "grpo-4"])
def test_equal_to_drawing_gradients(scene, name):
    plan = scene.plan(arms.get(name), prompts=8)
    states = states_of(scene, plan, range(8))
    found = Probe(scene.policy, scene.task, plan, 48, scene.params)(states)
    drawn = direct(
        estimator_of(plan.arm), scene.policy, scene.params, scene.task, plan.arm.group,
        key=jax.random.key(5), replicates=2048, prompts=8,
    )  # fmt: skip
    assert len(set(found["noise"])) == 8  # every seed has rollouts of its own
    np.testing.assert_allclose(found["snr"], found["signal"] / found["noise"])

    def distance(noise):
        """From what was drawn, in standard errors: of eight banks' mean, and of the drawing."""
        return abs(noise.mean() - drawn.trace_cov) / np.hypot(
            noise.std(ddof=1) / 8**0.5, drawn.se["trace_cov"]
        )

    assert distance(found["noise"]) < 4
    other = Probe(scene.policy, scene.task, scene.plan(arms.get(name), prompts=32), 48, scene.params)
    assert (
        distance(other(states)["noise"]) > 4
    )  # the planted violator: the noise of another number of prompts


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dpo-offline", "baseline-optimal"])
def test_an_arm_whose_noise_no_bank_holds_has_none(scene, name):
    plan = scene.plan(arms.get(name))
    found = Probe(scene.policy, scene.task, plan, 8, scene.params)(
        states_of(scene, scene.plan(arms.get("rloo-2")))
    )
    assert set(found) == set(FIGURES)
    assert all(np.isnan(values).all() for values in found.values())


def test_rank_correlation():
    rng = np.random.default_rng(0)
    first = [k + rng.normal(size=8) for k in (3.0, 1.0, 2.0, 5.0, 4.0)]
    second = [np.exp(x) + rng.normal(size=8) * 0.01 for x in first]
    found = rank_correlation(first, second)
    expected = stats.spearmanr([x.mean() for x in first], [x.mean() for x in second])[0]
    assert found.value == pytest.approx(expected)
    assert found.low <= found.value <= found.high
    assert rank_correlation(first, [-x for x in first]).value == pytest.approx(-1)
    assert np.isnan(rank_correlation(first[:2], second[:2]).value)


@pytest.mark.slow
def test_the_mechanism_is_in_the_results(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(experiments.TASKS, "addition", lambda: ModularAddition(digits=1))  # soon warm
    result = experiment(
        TrainConfig(arms=("grpo-2", "grpo-4", "rloo-2"), reference="grpo-4"), seeds=2, steps=8, noise=48,
        learning_rate=3e-3, rollouts_per_step=8, evaluations=1, eval_prompts=32, eval_rollouts=8,
        success=0.2, width=16, keep=False,
    )  # fmt: skip
    row = result.rows()[0]
    assert row["start_noise"] > 0
    starts = {r.plan.arm.name: r.curves["noise"][0] for r in result.runs}
    assert (starts["grpo-2"] != starts["grpo-4"]).all()
    assert set(result.as_json()["mechanism"]) == {"at the start", "along the run"}
    assert -1 <= result.mechanism()["at the start"].value <= 1
