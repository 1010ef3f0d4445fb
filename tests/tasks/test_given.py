"""Tasks with rewards from a table."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradvar.core.protocols import FiniteTask
from gradvar.policies import Tabular
from gradvar.tasks import Bandit, Lookup

REWARDS = [[0.0, -1.5, 2.0], [1.0, 1.0, 0.25]]


@pytest.mark.slow
def test_bandit_reward_solution_and_prompts():
    task = Bandit(REWARDS)
    assert isinstance(task, FiniteTask)
    rewards = task.reward(jnp.array([1, 0, 0]), jnp.array([[[0], [2]], [[1], [2]], [[0], [0]]]))
    np.testing.assert_array_equal(rewards, [[1.0, 0.25], [-1.5, 2.0], [0.0, 0.0]])
    np.testing.assert_array_equal(task.solution(jnp.array([0, 1]))[:, 0, 0], [2, 0])
    np.testing.assert_array_equal(task.all_prompts(), [0, 1])
    drawn = np.asarray(task.prompts(jax.random.key(0), 4000))
    assert abs(drawn.mean() - 0.5) < 4 * 0.5 / np.sqrt(4000)
    assert Bandit([0.0, 1.0]).num_prompts == 1


def test_lookup_gives_every_completion_its_own_reward():
    policy = Tabular(4, 3, num_prompts=2, stop=2)
    support = policy.support()
    rewards = np.random.default_rng(0).normal(size=(2, len(support)))
    task = Lookup(rewards, support, otherwise=-7.0)
    completions = jnp.broadcast_to(support, (2, *support.shape))
    np.testing.assert_allclose(task.reward(jnp.arange(2), completions), rewards)
    shuffled = np.random.default_rng(1).permutation(len(support))
    np.testing.assert_allclose(
        jax.jit(task.reward)(jnp.arange(2), completions[:, shuffled]), rewards[:, shuffled]
    )
    astray = jnp.array([[[2, 0, 0], [5, 1, 1], [-1, 0, 1], [0, 2, 1]]])  # text after the stop, no such token
    np.testing.assert_array_equal(task.reward(jnp.array([0]), astray), -7.0)
    best = task.solution(jnp.arange(2))
    np.testing.assert_allclose(task.reward(jnp.arange(2), best)[:, 0], rewards.max(-1))


def test_lookup_of_single_tokens_and_of_long_rows():
    assert Lookup([1.0, 2.0], [[3], [0]]).reward(jnp.array([0]), jnp.array([[[0], [3], [1]]])).tolist() == [
        [2, 1, 0]
    ]
    long = np.random.default_rng(2).integers(0, 1000, (5, 40))  # 1000^40 does not fit in any integer
    task = Lookup(np.arange(5.0), long, otherwise=-1.0)
    np.testing.assert_array_equal(
        task.reward(jnp.array([0]), jnp.asarray(long)[None, ::-1]), [[4, 3, 2, 1, 0]]
    )


@pytest.mark.parametrize(
    "task", [Bandit(REWARDS), Lookup(REWARDS, [[0], [1], [2]])], ids=["bandit", "lookup"]
)
def test_tasks_can_be_hashed_compared_and_written_down(task):
    again = type(task)(**dataclasses.asdict(task))
    assert again == task
    assert hash(again) == hash(task)
    assert task.name in ("bandit", "lookup")
    assert dataclasses.replace(task) == task


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Bandit([0.0, float("nan")]), "rewards: nan for prompt 0, answer 1; give finite rewards"),
        (lambda: Bandit([[0.0, 1.0], [float("inf"), 0.0]]), "rewards: inf for prompt 1, answer 0"),
        (lambda: Bandit([1.0]), "rewards: shape"),
        (lambda: Bandit(np.zeros((2, 2, 2))), "rewards: shape"),
        (lambda: Lookup([0.0, 1.0], [[0], [1], [2]]), "support: shape"),
        (lambda: Lookup([0.0, 1.0], [[0], [0]]), "support: a completion is listed twice"),
        (
            lambda: Lookup([0.0, 1.0], [[0], [1]], otherwise=float("nan")),
            "otherwise: nan; give a finite number",
        ),
    ],
)
def test_bad_tables_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_bad_arrays_are_refused():
    task = Bandit([0.0, 1.0])
    with pytest.raises(ValueError, match=r"prompts: index 1; the task has 0\.\.0"):
        task.reward(jnp.array([1]), jnp.zeros((1, 1, 1), int))
    with pytest.raises(ValueError, match="completions: shape"):
        task.reward(jnp.array([0]), jnp.zeros((2, 1, 1), int))
    with pytest.raises(ValueError, match="prompts: shape"):
        task.reward(jnp.zeros((1, 2), int), jnp.zeros((1, 1, 1), int))
