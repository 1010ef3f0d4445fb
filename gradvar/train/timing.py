"""Where a step's time goes: sampling, scoring and the optimiser's steps, each as a program of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from gradvar.train.rollouts import draw, score
from gradvar.train.step import Limits, Stepper, streams


def shares(stepper: Stepper, params: PyTree, limits: Limits, repeats: int = 20) -> dict[str, float]:
    """Seconds of one seed's first step: ``sampling``, ``scoring``, ``update`` and the whole ``step``, compiled.

    The least of ``repeats`` runs each. The parts run apart, so their sum can pass the whole, in which the
    compiler may share work between them. For arms whose first phase draws fresh rollouts.
    """
    plan, estimator = stepper.plan, stepper.estimators[0]
    if stepper.phases[0].source != "fresh":
        raise ValueError(
            f"stepper: arm '{plan.arm.name}' does not begin with fresh rollouts; give one that does"
        )
    state = jax.jit(stepper.start)(jnp.int32(0), params)
    keys = streams(state.seed)

    def sampling(state: Any) -> Any:
        pair = (keys.prompts, jax.random.fold_in(keys.rollouts, state.step))
        return draw(
            stepper.policy, stepper.task, state.params, pair, state.step, plan.prompts, plan.arm.group
        )[0]

    def scoring(state: Any, rollouts: Any) -> Any:
        critic = state.critic[0] if state.critic else ()
        return score(
            stepper.policy, stepper.task, estimator, rollouts, sampler=state.params, reference=state.reference,
            critic=critic, baseline=state.baseline,
        )[0]  # fmt: skip

    def update(state: Any, rollouts: Any, batch: Any) -> Any:
        return stepper.improve(estimator, state, rollouts, batch, stepper.rate(state, limits))

    rollouts = jax.jit(sampling)(state)
    batch = jax.jit(scoring)(state, rollouts)
    return {
        "sampling": _least(jax.jit(sampling), repeats, state),
        "scoring": _least(jax.jit(scoring), repeats, state, rollouts),
        "update": _least(jax.jit(update), repeats, state, rollouts, batch),
        "step": _least(jax.jit(stepper.step), repeats, state, limits),
    }


def _least(function: Callable[..., Any], repeats: int, *arguments: Any) -> float:
    jax.block_until_ready(function(*arguments))
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        taken.append(time.perf_counter() - began)
    return min(taken)
