"""What a training run carries from step to step, its random keys, and its limits.

Random numbers are counted, not carried: every key is the seed's, folded with its use and with the number of the step.
So a step's draws depend on seed and step only, and a resumed run is the run that was not stopped.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree


class Streams(NamedTuple):
    """The keys of one seed, one for each use."""

    prompts: PRNGKeyArray
    rollouts: PRNGKeyArray
    order: PRNGKeyArray
    store: PRNGKeyArray
    evaluation: PRNGKeyArray
    adapters: PRNGKeyArray


def streams(seed: Int[Array, ""]) -> Streams:
    """Return the keys of a seed."""
    key = jax.random.key(seed)
    return Streams(*(jax.random.fold_in(key, use) for use in range(len(Streams._fields))))


class Generated(NamedTuple):
    """Numbers of prompts, rollouts and tokens (int32)."""

    prompts: Int[Array, ""]
    rollouts: Int[Array, ""]
    tokens: Int[Array, ""]

    @classmethod
    def of(cls, prompts: int, rollouts: int | Int[Array, ""], tokens: int | Int[Array, ""]) -> Generated:
        """Return these numbers as int32."""
        return cls(*(jnp.asarray(number, jnp.int32) for number in (prompts, rollouts, tokens)))

    def plus(self, other: Generated) -> Generated:
        """Return the sums with another's numbers."""
        return Generated(*(a + b for a, b in zip(self, other, strict=True)))


class State(NamedTuple):
    """The state of one seed.

    ``critic``: the value function's parameters and its optimiser's memory, or (). ``reference``: parameters of the
    reference policy, or () where no estimator needs them. ``store``: rollouts of stored phases, or (). ``generated``:
    all that was drawn. ``spent``: that, and every use of stored rollouts. ``served``: parameters of the last steps, for
    an engine that is so many steps stale [steps, ...], or ().
    """

    seed: Int[Array, ""]
    step: Int[Array, ""]
    phase: Int[Array, ""]
    params: PyTree
    memory: PyTree
    reference: PyTree
    critic: PyTree
    store: PyTree
    baseline: Float[Array, ""]
    generated: Generated
    spent: Generated
    served: PyTree = ()


class Limits(NamedTuple):
    """Where a run ends and how far it may go now; traced, so that other numbers need no other program.

    ``elapsed``: the share of the allowed time that is over. ``until``: the progress at which to pause. ``call_steps``:
    the largest number of steps of one call.
    """

    learning_rate: Float[Array, ""]
    steps: Int[Array, ""]
    rollouts: Int[Array, ""]
    tokens: Int[Array, ""]
    elapsed: Float[Array, ""]
    until: Float[Array, ""]
    call_steps: Int[Array, ""]
