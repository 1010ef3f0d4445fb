"""Training with an engine that draws: what it draws, what it reports, and the gradient with a correction, by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradvar import catalogue
from gradvar.cli import main as cli
from gradvar.core.batch import Batch
from gradvar.core.compose import corrected
from gradvar.pieces import corrections
from gradvar.policies import top_p
from gradvar.train import arms
from gradvar.train.plan import Arm
from gradvar.train.state import streams
from gradvar.train.step import TrainingStep
from tests.train.test_step import PROMPTS, SEED, flat, limits, single

RATE = 0.125  # exact in float32; steps that keep the policy from settling on one answer


def stepped(scene, arm, steps, rate=1.0):
    """The states before and after so many steps of plain gradient ascent, and the figures of the last."""
    training = TrainingStep(scene.policy, scene.task, scene.plan(arm, prompts=PROMPTS), rule=optax.identity())
    step = jax.jit(training.step)
    states, shown = [training.start(jnp.int32(SEED), scene.params)], {}
    for _ in range(steps):
        state, shown = step(states[-1], limits(steps=8, learning_rate=rate))
        states.append(state)
    return states, shown


def prompts_of(scene, number):
    """The prompts of a step, one at a time."""
    key = streams(jnp.int32(SEED)).prompts
    keys = [jax.random.fold_in(key, number * PROMPTS + i) for i in range(PROMPTS)]
    return jnp.concatenate([scene.task.prompts(key, 1) for key in keys])


def expected_gradient(scene, estimator, params, drawn, reported):
    """Of the objective at the batch's start, with the log-probabilities that the engine reports."""
    prompts, completions = drawn
    rewards, mask = scene.task.reward(prompts, completions), scene.policy.mask(completions)
    old = scene.policy.logprobs(params, prompts, completions)
    batch = Batch(rewards, old, mask, logp_sampler=reported)
    gradient = jax.grad(lambda p: estimator(scene.policy.logprobs(p, prompts, completions), batch))(params)
    return flat(gradient), float(jnp.sum(jnp.where(mask, reported - old, 0)) / mask.sum())


@pytest.mark.slow
def test_a_nucleus_and_its_truncated_ratios(exact_scene):
    scene, engine = exact_scene, top_p(0.8)
    arm = single(arms.get("grpo-4"), sampler="top_p:0.8", correction="seq_tis:0.9")
    states, shown = stepped(scene, arm, 1)
    prompts, key = prompts_of(scene, 0), jax.random.fold_in(streams(jnp.int32(SEED)).rollouts, 0)
    completions = engine.sample(scene.policy, scene.params, key, prompts, 4)
    reported = engine.logprobs(scene.policy, scene.params, prompts, completions)
    drawn = prompts, completions
    grpo = catalogue.get("grpo")
    cut = corrected(grpo, lambda logp_old, logp_sampler, mask: corrections.sequence_truncation(
        logp_old, logp_sampler, mask, cap=0.9
    ))  # fmt: skip
    expected, mismatch = expected_gradient(scene, cut, scene.params, drawn, reported)
    taken = flat(states[1].params) - flat(scene.params)
    assert np.abs(expected).max() > 1e-4
    np.testing.assert_allclose(taken, expected, atol=1e-9)
    assert float(shown["mismatch"]) == pytest.approx(mismatch, rel=1e-5)
    assert mismatch > 0.01  # of the trainer's mass a part is never drawn, so the engine's chances are larger
    uncorrected, _ = expected_gradient(scene, grpo, scene.params, drawn, reported)  # the planted violator
    assert np.abs(taken - uncorrected).max() > 1e-5


@pytest.mark.slow
def test_an_engine_two_steps_stale(exact_scene):
    scene = exact_scene
    arm = single(arms.get("rloo-2"), sampler="stale:2", correction="ratio", group=4)
    states, shown = stepped(scene, arm, 4, RATE)
    estimator = corrected(catalogue.get("rloo"), corrections.token_ratio)
    key = jax.random.fold_in(streams(jnp.int32(SEED)).rollouts, 3)
    prompts, params = prompts_of(scene, 3), states[3].params
    for age in (2, 0):  # two steps ago, and the planted violator: the policy itself
        served = states[3 - age].params
        completions = scene.policy.sample(served, key, prompts, 4)
        reported = scene.policy.logprobs(served, prompts, completions)
        expected, mismatch = expected_gradient(scene, estimator, params, (prompts, completions), reported)
        gap = np.abs((flat(states[4].params) - flat(params)) / RATE - expected).max()
        if age:
            assert np.abs(expected).max() > 1e-4
            assert gap < 1e-9
            assert float(shown["mismatch"]) == pytest.approx(mismatch, abs=1e-6)
            assert mismatch != 0
        else:
            assert gap > 1e-6
    one = dataclasses.replace(arm, sampler="stale:1")
    served = TrainingStep(scene.policy, scene.task, scene.plan(one, prompts=PROMPTS)).engine(states[0]._replace(
        served=jax.tree.map(lambda x: x[None], scene.params)
    ))  # fmt: skip
    np.testing.assert_array_equal(flat(served.params), flat(scene.params))


def test_bad_engines_are_one_line():
    with pytest.raises(ValueError, match=r"^sampler of arm 'a': no 'top-q'; did you mean"):
        Arm("a", "grpo", sampler="top-q:0.9").check()
    with pytest.raises(ValueError, match=r"^corrections: no 'tsi'; did you mean tis"):
        Arm("a", "grpo", correction="tsi:2").check()
    with pytest.raises(
        ValueError, match="and the arm has phases or a game; give none, or an arm of one objective"
    ):
        dataclasses.replace(arms.get("g2d"), sampler="fp8").check()


def test_bad_settings_of_the_command_are_one_line(capsys, tmp_path):
    def refused(*arguments):
        assert cli.run(["train", "--out", str(tmp_path / "out"), "--arms", "grpo-4", *arguments]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        return line

    plain = ("--reference", "grpo-4")
    assert "sampler: no 'top-q'; did you mean top_p or top_k?" in refused(*plain, "--sampler", "top-q:0.9")
    assert "noise: 16 with the sampler fp8; give 0" in refused(*plain, "--sampler", "fp8", "--noise", "16")
    assert "corrections: tis, tis; name at least one, and each once" in refused(
        *plain, "--corrections", "tis", "tis"
    )
    whole = ("--arms", "grpo-4", "dpo-online", "--sampler", "fp8", "--corrections", "tis")
    assert "estimator: dpo is one whole objective" in refused(*plain, *whole)


def test_every_arm_is_trained_with_every_correction():
    made = arms.with_engine(arms.get("grpo-4"), "Top-P:0.9", ["none", "tis:2+k3_mean:0.1"])
    assert [arm.name for arm in made] == ["grpo-4", "grpo-4+tis_2+k3_mean_0.1"]
    for arm in made:
        arm.check()
        assert dataclasses.replace(arm, name="grpo-4", sampler="none", correction="none") == arms.get(
            "grpo-4"
        )
