"""A small scene for the training tests: a policy that has learnt a little, on one-digit addition."""

from typing import NamedTuple

import jax
import pytest

from gradvar.policies import Transformer
from gradvar.tasks import ModularAddition
from gradvar.train.held_out import Training
from gradvar.train.plan import Plan
from gradvar.train.warm_start import warm_start


class Scene(NamedTuple):
    policy: Transformer
    task: Training
    params: dict
    examination: jax.Array

    def plan(self, arm, prompts=4, steps=6, **more):
        return Plan(arm, prompts, more.pop("learning_rate", 1e-3), steps, **more)


def make_scene(folder=None, dtype="float32", success=0.4):
    task = Training(ModularAddition(digits=1))
    small = {"layers": 1, "width": 16, "heads": 2, "kv_heads": 1, "hidden": 32}
    policy = Transformer.for_task(task.task, dtype=dtype, **small)
    quick = {"batch": 64, "check_every": 25, "num_prompts": 128, "group": 8, "learning_rate": 1e-2}
    warm = warm_start(
        policy, task, jax.random.key(0), success, folder=folder, cache=folder is not None, **quick
    )
    return Scene(policy, task, warm.params, task.examination(jax.random.key(1), 16))


@pytest.fixture(scope="session")
def scene():
    return make_scene()


@pytest.fixture(scope="session")
def exact_scene():
    return make_scene(dtype="float64")
