"""All unordered pairs of a group, for the objectives that are written on pairs."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from gradvar.core.batch import Batch

PairValues = Float[Array, "prompt group group"]


def gaps(x: Float[Array, "prompt group"]) -> PairValues:
    """x_i - x_j for every ordered pair (i, j)."""
    return x[:, :, None] - x[:, None, :]


def mean_over_pairs(values: PairValues) -> Float[Array, ""]:
    """Mean over prompts of the mean over unordered pairs, for values that are symmetric with a zero diagonal.

    A group of one has no pair and counts as zero.
    """
    prompts, group, _ = values.shape
    return jnp.sum(values) / (prompts * max(group * (group - 1), 1))


def sequence_log_ratio(
    logp: Float[Array, "prompt group time"], reference: Float[Array, "prompt group time"], batch: Batch
) -> Float[Array, "prompt group"]:
    """log pi(o) - log pi_ref(o) of whole rollouts; masked tokens reach neither value nor gradient."""
    return jnp.sum(jnp.where(batch.mask, logp, 0.0) - reference, axis=-1)
