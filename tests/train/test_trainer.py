"""The compiled programs: none is compiled twice, seeds do not see each other, and budgets are equal as planned."""

import dataclasses
import itertools
import os
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from benchmarks import step_timing
from benchmarks.step_timing import seconds_by_part
from gradvar.train import arms, loop
from gradvar.train.loop import train
from gradvar.train.plan import Arm, TrainConfig, plan
from gradvar.train.trainer import Trainer
from gradvar.train.tuning import at_rate
from tests.compilations import compilations

MOST = 2**31 - 1
PROGRAM = "_sharded_call"  # what the trainer's compiled functions are called


@pytest.fixture(scope="module")
def trainer(scene):
    return Trainer(scene.policy, scene.task, scene.plan(arms.get("grpo-2"), steps=9), scene.examination, 4)


def leaves(states):
    return [np.asarray(x) for x in jax.tree.leaves(states)]


def equal(first, second):
    return all(np.array_equal(a, b) for a, b in zip(leaves(first), leaves(second), strict=True))


def seed_of(states, seed):
    return jax.tree.map(lambda x: x[seed : seed + 1], states)


def finish(trainer, seeds, params):
    states = trainer.start(seeds, params)
    return trainer.advance(states, trainer.limits())[0]


@pytest.mark.slow
def test_nothing_is_compiled_after_the_first_chunk(trainer, scene):
    jax.clear_caches()  # another test of this process may have had the same plan
    with compilations() as names:
        states = trainer.start([0, 1], scene.params)
        states, _ = trainer.advance(states, trainer.limits(until=0.4))
        trainer.evaluate(states)
        assert names.count(PROGRAM) == 3
        for until in (0.5, 1.0):
            states, _ = trainer.advance(states, trainer.limits(until=until))
            trainer.evaluate(states)
        other = at_rate(trainer, 5e-3)
        other.advance(jax.tree.map(np.asarray, states), other.limits(elapsed=0.5))
        assert names.count(PROGRAM) == 3
        trainer.start(
            [0, 1, 2], scene.params
        )  # the planted violator: another number of seeds, another program
        assert names.count(PROGRAM) == 4


@pytest.mark.slow
def test_pauses_change_nothing(trainer, scene):
    whole = finish(trainer, [0, 1], scene.params)
    states, steps = trainer.start([0, 1], scene.params), []
    for until in (0.3, 0.31, 0.7, 1.0):
        states, shown = trainer.advance(states, trainer.limits(until=until))
        steps.append(shown["taken"].tolist())
    assert steps == [[3, 3], [0, 0], [4, 4], [2, 2]]
    assert equal(states, whole)
    assert not equal(states.params, trainer.start([0, 1], scene.params).params)


@pytest.mark.slow
@pytest.mark.skipif(
    "optimization_level=0" in os.environ.get("XLA_FLAGS", ""),
    reason="equal to the last bit as users compile, which CI does for this file: XLA_FLAGS= pytest -m slow",
)
def test_seeds_do_not_see_each_other(trainer, scene):
    together = finish(trainer, [4, 5, 6], scene.params)
    alone = finish(trainer, [5], scene.params)
    assert equal(seed_of(together, 1), alone)
    assert not equal(seed_of(together, 0).params, alone.params)


@pytest.mark.slow
def test_batched_seeds_differ_by_rounding_only(trainer, scene):
    mapped = finish(trainer, [0, 1], scene.params)
    other = Trainer(
        scene.policy, scene.task, trainer.plan, scene.examination, 4, vectorised=True
    )  # fmt: skip
    batched = finish(other, [0, 1], scene.params)
    for a, b in zip(leaves(mapped.params), leaves(batched.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def plans(names, **settings):
    config = TrainConfig(arms=tuple(names), **settings)
    chosen = [arms.get(name) for name in names]
    return [plan(config, arm, arms.get("grpo-16")) for arm in chosen]


def test_budgets_and_rates_as_planned():
    names = ("grpo-2", "grpo-4", "grpo-16")
    given = plans(names)
    assert [(p.prompts, p.rollouts_per_step, p.steps) for p in given] == [
        (32, 64, 200),
        (16, 64, 200),
        (4, 64, 200),
    ]
    given = plans(names, equal="prompts_per_step", prompts_per_step=8)
    assert [(p.prompts, p.rollouts_per_step, p.steps) for p in given] == [
        (8, 16, 200),
        (8, 32, 200),
        (8, 128, 200),
    ]
    given = plans(names, equal="prompts", rate="linear", learning_rate=1e-3)
    assert [(p.prompts, p.steps, p.prompts * p.steps) for p in given] == [
        (32, 25, 800), (16, 50, 800), (4, 200, 800)
    ]  # fmt: skip
    assert [p.learning_rate for p in given] == pytest.approx([8e-3, 4e-3, 1e-3])
    given = plans(names, equal="rollouts", total=5000)
    assert [(p.prompts, p.steps, p.rollouts, p.tokens) for p in given] == [(8, MOST, 5000, MOST)] * 3
    assert [p.tokens for p in plans(names, equal="tokens", total=700)] == [700] * 3
    assert [p.seconds for p in plans(names, equal="seconds", total=1.5)] == [1.5] * 3
    for rate, factors in (("fixed", (1, 1, 1)), ("linear", (8, 4, 1)), ("sqrt", (8**0.5, 2, 1))):
        made = plans(names, rate=rate, learning_rate=1e-3)
        assert [p.learning_rate for p in made] == pytest.approx([1e-3 * f for f in factors])
    with pytest.raises(ValueError, match="no multiple of the group of 'grpo-16'"):
        plans(names, rollouts_per_step=40)
    with pytest.raises(ValueError, match="minibatches: 2 in arm 'grpo-16'"):
        plans(names, rollouts_per_step=16)


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "total"), [("rollouts", 300), ("tokens", 600)])
def test_totals_are_met_and_not_passed(scene, limit, total):
    ends = {}
    for group in (2, 8):
        arm = Arm(f"grpo-{group}", "grpo", group=group)
        made = scene.plan(arm, prompts=4, steps=MOST, **{limit: total})
        states = finish(Trainer(scene.policy, scene.task, made, scene.examination, 4), [0, 1], scene.params)
        count, step = np.asarray(getattr(states.generated, limit)), np.asarray(states.step)
        per_step = 4 * group * (scene.task.task.completion_length if limit == "tokens" else 1)
        if limit == "rollouts":
            assert (count <= total).all()
            assert (count + per_step > total).all()  # no further step would fit
        else:
            assert (count >= total).all()
            assert (count - per_step < total).all()  # the last step passed it, and none before
        ends[group] = step
    assert (ends[2] > 2 * ends[8]).all()


@pytest.mark.slow
def test_no_time_left_ends_a_run(scene):
    made = dataclasses.replace(scene.plan(arms.get("grpo-2"), steps=MOST), seconds=1.0)
    trainer = Trainer(scene.policy, scene.task, made, scene.examination, 4, chunk=3)
    states = trainer.start([0], scene.params)
    states, shown = trainer.advance(states, trainer.limits(elapsed=0.5))
    assert shown["taken"].tolist() == [3]
    assert not shown["paused"].any()
    states, shown = trainer.advance(states, trainer.limits(elapsed=1.0))
    assert shown["taken"].tolist() == [0]
    assert shown["paused"].all()


@pytest.mark.slow
def test_a_limit_of_time_is_kept_to_a_step(scene, monkeypatch):
    """By a clock of the test, on which every chunk takes 0.03 s, however busy the machine is."""
    ticks = itertools.count()
    clock = SimpleNamespace(perf_counter=lambda: 0.03 * next(ticks), monotonic=lambda: 0.0)
    monkeypatch.setattr(loop, "time", clock)
    made = dataclasses.replace(scene.plan(arms.get("grpo-2"), steps=MOST), seconds=0.5)
    trainer = Trainer(scene.policy, scene.task, made, scene.examination, 4)
    run = train(trainer, scene.params, [0], evaluations=2)
    assert 0.5 <= run.seconds <= 0.5 + 2 * 0.03  # a chunk to the limit, and the one that finds it reached
    assert run.steps[:, 0].tolist() == sorted(run.steps[:, 0].tolist())
    assert run.steps[-1, 0] > 5


@pytest.mark.slow
def test_the_parts_of_a_step_take_time(trainer, scene, monkeypatch):
    taken = seconds_by_part(trainer.training, scene.params, trainer.limits(), repeats=3)
    assert set(taken) == {"sampling", "scoring", "update", "step"}
    assert all(0 < seconds < 60 for seconds in taken.values()), taken
    # what is timed: a busy machine cannot exchange lines of a program, as it can seconds
    monkeypatch.setattr(step_timing, "_least", lambda program, _, *arguments: lines_of(program, arguments))
    lines = seconds_by_part(trainer.training, scene.params, trainer.limits())
    assert lines["step"] > max(lines["sampling"], lines["scoring"], lines["update"])
    assert len(set(lines.values())) == 4


def lines_of(program, arguments):
    return program.lower(*arguments).as_text().count("\n")
