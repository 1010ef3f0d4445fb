"""The compiled programs of one plan: chunks of steps and evaluations, for all seeds, over all devices.

Seeds are a leading axis that is cut over the devices; on a device they run one after another by default
(``jax.lax.map``). Batched with ``jax.vmap`` instead, products of matrices could be summed in another order for
another number of seeds, so results would depend on the number of devices, if only by rounding; and on CPU it is no
faster. On an accelerator it is: ``vectorised=True``. Over the processes of ``jax.distributed`` the seeds are cut too;
every process then gets all states.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, PyTree

from gradvar.core.protocols import Policy, Task
from gradvar.train.evaluate import evaluate
from gradvar.train.plan import Plan
from gradvar.train.step import METRICS, Limits, State, Stepper, streams

CHUNK = 50
"""Steps of one call at most: what a progress bar and a limit of time can see."""


class Trainer:
    """Starts, advances and evaluates all seeds of one plan.

    ``states`` have a leading axis of seeds everywhere. The numbers of a seed depend on neither the other
    seeds, nor the devices, nor where chunks end. Raises ``ValueError`` where the plan's estimators ask for
    what training cannot give.
    """

    def __init__(
        self,
        policy: Policy,
        task: Task,
        plan: Plan,
        examination: Array,
        samples: int = 16,
        *,
        devices: Sequence[Any] | None = None,
        vectorised: bool = False,
        chunk: int = CHUNK,
        rule: optax.GradientTransformation | None = None,
    ) -> None:
        """``examination``: held-out prompts, with ``samples`` rollouts of each; ``devices``: all, by default."""
        self.stepper = Stepper(policy, task, plan, rule)
        self.plan, self.chunk_steps = plan, chunk
        self._devices = list(jax.devices() if devices is None else devices)
        self._vectorised = vectorised

        def examine(state: State, prompts: Array) -> dict[str, Array]:
            return evaluate(policy, task, state.params, streams(state.seed).evaluation, prompts, samples)

        self._examination = examination
        self._start = self._over_seeds(self.stepper.start)
        self._advance = self._over_seeds(self._chunk)
        self._examine = self._over_seeds(examine)

    def start(self, seeds: Sequence[int], params: PyTree) -> State:
        """The states before the first step."""
        return whole(self._start(self.place(np.asarray(seeds, np.int32)), _same(params)))

    def shapes(self, seeds: Sequence[int], params: PyTree) -> State:
        """What ``start`` gives, without computing it."""
        return jax.eval_shape(self._start, np.asarray(seeds, np.int32), params)

    def limits(self, elapsed: float = 0.0, until: float = 1.0, most: int = CHUNK) -> Limits:
        """The plan's limits, the share of the time that is over, where to pause, and steps of one call at most."""
        p = self.plan
        return Limits(
            learning_rate=jnp.float32(p.learning_rate),
            steps=jnp.int32(p.steps),
            rollouts=jnp.int32(p.rollouts),
            tokens=jnp.int32(p.tokens),
            elapsed=jnp.float32(elapsed),
            until=jnp.float32(until),
            most=jnp.int32(most),
        )

    def advance(self, states: State, limits: Limits) -> tuple[State, dict[str, np.ndarray]]:
        """Up to ``chunk`` steps of every seed; pauses each at ``limits.until``.

        Also gives the metrics [seed, step] and, for every seed, ``taken``, how many steps that were, ``paused``,
        whether it stands at the pause or at its end, and its ``progress``.
        """
        states, shown = self._advance(self.place(states), _same(limits))
        return whole(states), {name: np.asarray(value) for name, value in whole(shown).items()}

    def evaluate(self, states: State) -> dict[str, np.ndarray]:
        """Every figure of ``evaluate``, [seed]."""
        shown = self._examine(self.place(states), _same(self._examination))
        return {name: np.asarray(value) for name, value in whole(shown).items()}

    def place(self, states: PyTree) -> PyTree:
        """Arrays with a leading axis of seeds, cut over the devices."""
        cut = NamedSharding(self._mesh(len(jax.tree.leaves(states)[0])), _CUT)
        if jax.process_count() == 1:
            return jax.tree.map(lambda x: jax.device_put(x, cut), states)

        def own(x: Any) -> Array:
            host = np.asarray(x)
            return jax.make_array_from_callback(host.shape, cut, lambda index: host[index])

        return jax.tree.map(own, states)

    def _mesh(self, seeds: int) -> Mesh:
        # the most devices that share the seeds evenly
        count = max(n for n in range(1, len(self._devices) + 1) if seeds % n == 0)
        if jax.process_count() > 1 and count < len(self._devices):
            raise ValueError(
                f"seeds: {seeds} for {len(self._devices)} devices of {jax.process_count()} processes; give a multiple"
            )
        return Mesh(np.asarray(self._devices[:count]), ("seed",))

    def _chunk(self, state: State, limits: Limits) -> tuple[State, dict[str, Float[Array, "..."]]]:
        stepper = self.stepper

        def paused(state: State) -> Array:
            # the pause is a rounded fraction: a step that lands on it must not count as short of it
            return stepper.over(state, limits) | (stepper.progress(state, limits) >= limits.until - 1e-6)

        def going(carry: tuple) -> Array:
            taken, state, _ = carry
            return (taken < jnp.minimum(self.chunk_steps, limits.most)) & ~paused(state)

        def once(carry: tuple) -> tuple:
            taken, state, shown = carry
            state, now = stepper.step(state, limits)
            shown = {name: shown[name].at[taken].set(now[name]) for name in METRICS}
            return taken + 1, state, shown

        empty = {name: jnp.full((self.chunk_steps,), jnp.nan, jnp.float32) for name in METRICS}
        taken, state, shown = jax.lax.while_loop(going, once, (jnp.zeros((), jnp.int32), state, empty))
        return state, shown | {
            "taken": taken, "paused": paused(state), "progress": stepper.progress(state, limits)
        }  # fmt: skip

    def _over_seeds(self, function: Callable[..., Any]) -> Any:
        """A jitted function of arrays with a leading axis of seeds and of one that is the same for all."""

        def local(states: PyTree, shared: PyTree) -> PyTree:
            if self._vectorised:
                return jax.vmap(function, in_axes=(0, None))(states, shared)
            return jax.lax.map(lambda state: function(state, shared), states)

        @jax.jit
        def everywhere(states: PyTree, shared: PyTree) -> PyTree:
            mesh = self._mesh(len(jax.tree.leaves(states)[0]))
            cut = jax.shard_map(
                local, mesh=mesh, in_specs=(_CUT, PartitionSpec()), out_specs=_CUT, check_vma=False
            )
            return cut(states, shared)

        return everywhere


def whole(tree: PyTree) -> PyTree:
    """As it is in one process; in several, gathered into the memory of each."""
    if jax.process_count() == 1:
        return tree
    return jax.tree.map(lambda x: multihost_utils.process_allgather(x, tiled=True), tree)


def _same(tree: PyTree) -> PyTree:
    """What is the same for all seeds; in several processes from the host of each, where it is equal."""
    return tree if jax.process_count() == 1 else jax.tree.map(np.asarray, tree)


_CUT = PartitionSpec("seed")
