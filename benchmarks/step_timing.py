"""Where a step's time goes: sampling, scoring and the optimiser's steps, each as its own program."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from gradvar.core.batch import Batch
from gradvar.train.improve import Learner, Minibatch
from gradvar.train.rollouts import TrainingRollouts, batch_of
from gradvar.train.state import Limits, State, streams
from gradvar.train.step import TrainingStep, parameters_of


def seconds_by_part(
    training: TrainingStep, params: PyTree, limits: Limits, repeats: int = 20
) -> dict[str, float]:
    """Measure one seed's first step and its parts: ``sampling``, ``scoring``, ``update`` and the whole ``step``.

    The parts run apart, so their sum can pass the whole, in which the compiler may share work between them.

    Args:
        training: The step; its arm's first phase draws fresh rollouts.
        params: Parameters of the policy.
        limits: Of the run.
        repeats: Number of runs of each program, compiled.

    Returns:
        The least seconds of each.
    """
    if training.phases[0].source != "fresh":
        raise ValueError(
            f"training: arm '{training.plan.arm.name}' does not begin with fresh rollouts; give one that does"
        )
    state = jax.jit(training.start)(jnp.int32(0), params)

    def sampling(state: State) -> TrainingRollouts:
        return training.draw(0, state, limits)[1]

    def scoring(state: State, rollouts: TrainingRollouts) -> Batch:
        parameters = parameters_of(state, state.params)
        return batch_of(training.policy, training.task, training.estimators[0], rollouts, parameters)[0]

    def update(state: State, rollouts: TrainingRollouts, batch: Batch) -> Any:
        learner = Learner(state.params, state.memory, state.critic)
        minibatch = Minibatch(rollouts.prompts, rollouts.completions, batch)
        return training.improvement(0)(
            learner, minibatch, streams(state.seed).order, training.rate(state, limits)
        )

    rollouts = jax.jit(sampling)(state)
    batch = jax.jit(scoring)(state, rollouts)
    return {
        "sampling": _least(jax.jit(sampling), repeats, state),
        "scoring": _least(jax.jit(scoring), repeats, state, rollouts),
        "update": _least(jax.jit(update), repeats, state, rollouts, batch),
        "step": _least(jax.jit(training.step), repeats, state, limits),
    }


def _least(program: Callable[..., Any], repeats: int, *arguments: Any) -> float:
    jax.block_until_ready(program(*arguments))
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        jax.block_until_ready(program(*arguments))
        seconds.append(time.perf_counter() - started)
    return min(seconds)
