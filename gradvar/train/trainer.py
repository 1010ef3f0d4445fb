"""The compiled programs of one plan: chunks of steps and evaluations, for all seeds, over all devices.

Seeds are a leading axis that is cut over the devices; on a device they run one after another by default
(``jax.lax.map``). Batched with ``jax.vmap`` instead, products of matrices could be summed in another order for
another number of seeds, so results would depend on the number of devices, if only by rounding; and on CPU it is no
faster. On an accelerator it is: ``vectorised=True``. Over the processes of ``jax.distributed`` the seeds are cut too;
every process then gets all states.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree

from gradvar.core.devices import DeviceMesh
from gradvar.core.protocols import Policy, Task
from gradvar.train.dual import DualStep, check_game
from gradvar.train.evaluate import evaluate
from gradvar.train.plan import Arm, Plan
from gradvar.train.ragged import AllocatedStep
from gradvar.train.state import Limits, State, streams
from gradvar.train.step import TrainingStep, check_plan

CHUNK = 50
"""Steps of one call at most: the resolution of a progress bar and of a limit of time."""


def step_of(arm: Arm) -> type[TrainingStep]:
    """Return what takes an arm's steps."""
    if arm.allocation is not None:
        return AllocatedStep
    return TrainingStep if arm.game is None else DualStep


def check_arm(task: Task, plan: Plan) -> None:
    """Raise ``ValueError`` where the plan's arm asks for what training, or the task, cannot give."""
    if plan.arm.game is None:
        check_plan(plan)
    else:
        check_game(task, plan)


class Trainer:
    """Starts, advances and evaluates all seeds of one plan.

    ``states`` have a leading axis of seeds everywhere. The numbers of a seed depend on neither the other seeds, nor the
    devices, nor where chunks end.
    """

    def __init__(
        self,
        policy: Policy,
        task: Task,
        plan: Plan,
        examination: Int[Array, "prompt past"],
        samples: int = 16,
        *,
        devices: Sequence[jax.Device] | None = None,
        vectorised: bool = False,
        chunk: int = CHUNK,
        rule: optax.GradientTransformation | None = None,
    ) -> None:
        """Prepare the programs; each is compiled when it is first called.

        Args:
            policy: What is trained.
            task: What gives prompts and rewards.
            plan: Sizes, learning rate and limits of an arm.
            examination: Held-out prompts.
            samples: Rollouts of each of these.
            devices: What shares the seeds; None: all that JAX sees.
            vectorised: Batch the seeds of a device.
            chunk: Steps of one call at most.
            rule: Replaces the arm's optimiser.

        Raises:
            ValueError: Where the plan's estimators ask for what training cannot give.
        """
        self.training = step_of(plan.arm)(policy, task, plan, rule)
        self.plan = plan
        self._chunk_steps = chunk
        self._devices = list(jax.devices() if devices is None else devices)
        self._examination = examination
        # each is one object, for programs are found again by the function that they were made of
        self._start = _OverSeeds(lambda params, seed: self.training.start(seed, params), vectorised)
        self._advance = _OverSeeds(self._chunk, vectorised)
        self._evaluate = _OverSeeds(_Evaluation(self.training.examined[0], task, samples), vectorised)

    def examined_on(self, examination: Int[Array, "prompt past"]) -> Trainer:
        """Return a trainer with the same compiled programs that is evaluated on these prompts, as many as before."""
        other = copy.copy(self)
        other._examination = examination
        return other

    def start(self, seeds: Sequence[int], params: PyTree) -> State:
        """Return the states before the first step."""
        return self._call(self._start, params, np.asarray(seeds, np.int32))

    def shapes(self, seeds: Sequence[int], params: PyTree) -> State:
        """Return the shapes of what ``start`` gives, without computing it."""
        return jax.eval_shape(self._start, params, np.asarray(seeds, np.int32))

    def limits(self, elapsed: float = 0.0, until: float = 1.0, call_steps: int = CHUNK) -> Limits:
        """Return the plan's limits, the share of the time that is over, where to pause, and the steps of a call."""
        return Limits(
            learning_rate=jnp.float32(self.plan.learning_rate),
            steps=jnp.int32(self.plan.steps),
            rollouts=jnp.int32(self.plan.rollouts),
            tokens=jnp.int32(self.plan.tokens),
            elapsed=jnp.float32(elapsed),
            until=jnp.float32(until),
            call_steps=jnp.int32(call_steps),
        )

    def advance(self, states: State, limits: Limits) -> tuple[State, dict[str, np.ndarray]]:
        """Take up to ``chunk`` steps of every seed, and pause each at ``limits.until``.

        Also returns the metrics [seed, step] and, for every seed, ``taken``, how many steps that were; ``paused``, true
        at the pause or at its end; and its ``progress``.
        """
        states, metrics = self._call(self._advance, limits, states)
        return states, {name: np.asarray(value) for name, value in metrics.items()}

    def evaluate(self, states: State) -> dict[str, np.ndarray]:
        """Return every figure of ``evaluate``, [seed]."""
        params = self.training.examined[1](states)
        figures = self._call(self._evaluate, self._examination, (states.seed, params))
        return {name: np.asarray(value) for name, value in figures.items()}

    def _call(self, function: _OverSeeds, shared: PyTree, rows: PyTree) -> Any:
        """Call a function with each device's seeds; in several processes each gets all results."""
        mesh = self._mesh(len(jax.tree.leaves(rows)[0]))
        results = mesh.over(function, (shared,), (rows,))
        return results if jax.process_count() == 1 else mesh.gather(results)

    def _mesh(self, seeds: int) -> DeviceMesh:
        # the most devices that share the seeds evenly
        count = max(n for n in range(1, len(self._devices) + 1) if seeds % n == 0)
        if jax.process_count() > 1 and count < len(self._devices):
            raise ValueError(
                f"seeds: {seeds} for {len(self._devices)} devices of {jax.process_count()} processes; give a multiple"
            )
        return DeviceMesh(self._devices[:count])

    def _chunk(self, limits: Limits, state: State) -> tuple[State, dict[str, Float[Array, "..."]]]:
        training = self.training

        def is_paused(state: State) -> Bool[Array, ""]:
            # the pause is a rounded fraction: a step that lands on it must not count as short of it
            return training.is_over(state, limits) | (training.progress(state, limits) >= limits.until - 1e-6)

        def unfinished(carry: tuple) -> Bool[Array, ""]:
            taken, state, _ = carry
            return (taken < jnp.minimum(self._chunk_steps, limits.call_steps)) & ~is_paused(state)

        def one_step(carry: tuple) -> tuple:
            taken, state, metrics = carry
            state, latest = training.step(state, limits)
            metrics = {name: metrics[name].at[taken].set(latest[name]) for name in training.metrics}
            return taken + 1, state, metrics

        empty = {name: jnp.full((self._chunk_steps,), jnp.nan, jnp.float32) for name in training.metrics}
        carry = (jnp.zeros((), jnp.int32), state, empty)
        taken, state, metrics = jax.lax.while_loop(unfinished, one_step, carry)
        progress = training.progress(state, limits)
        return state, metrics | {"taken": taken, "paused": is_paused(state), "progress": progress}


@dataclass(frozen=True)
class _OverSeeds:
    """A function of what all seeds share and of one seed's arrays, called for a leading axis of seeds."""

    function: Callable[[Any, Any], Any]
    vectorised: bool

    def __call__(self, shared: PyTree, rows: PyTree) -> PyTree:
        if self.vectorised:
            return jax.vmap(self.function, in_axes=(None, 0))(shared, rows)
        return jax.lax.map(lambda row: self.function(shared, row), rows)


@dataclass(frozen=True)
class _Evaluation:
    """``evaluate`` for one seed; equal for all arms, so that they share one compiled program."""

    policy: Policy
    task: Task
    samples: int

    def __call__(self, prompts: Array, row: tuple[Array, PyTree]) -> dict[str, Array]:
        seed, params = row
        return evaluate(self.policy, self.task, params, streams(seed).evaluation, prompts, self.samples)
