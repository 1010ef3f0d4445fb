"""Which rollouts take part: ``(rewards, ...)`` to a Boolean [prompt, group].

A dropped rollout's tokens are masked before the aggregation, so the aggregation decides whether it still
counts in a denominator (see ``aggregate``). Drawing new prompts for dropped ones is the training loop's
business, not an objective's.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gradvar.pieces.piece import Rewards


def mixed_groups(rewards: Rewards) -> Bool[Array, "prompt group"]:
    """Keep the groups whose rewards differ: dynamic sampling, DAPO, arXiv 2503.14476.

    >>> mixed_groups(jnp.array([[1.0, 0.0], [1.0, 1.0]])).tolist()
    [[True, True], [False, False]]
    """
    mixed = jnp.max(rewards, axis=1, keepdims=True) > jnp.min(rewards, axis=1, keepdims=True)
    return jnp.broadcast_to(mixed, rewards.shape)


def within_length(
    rewards: Rewards, lengths: Float[Array, "prompt group"], *, limit: float = float("inf")
) -> Bool[Array, "prompt group"]:
    """Keep the rollouts shorter than ``limit``: overlong filtering, DAPO, arXiv 2503.14476.

    >>> within_length(jnp.array([[1.0, 0.0]]), lengths=jnp.array([[3.0, 9.0]]), limit=8.0).tolist()
    [[True, False]]
    """
    return jnp.broadcast_to(lengths < limit, rewards.shape)
