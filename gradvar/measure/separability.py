"""Which estimators couple the prompts of a batch, and so need batches of the size that is asked about."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gradvar.core.estimator import Estimator, token_weights
from gradvar.measure.bank.sample import Pool, batch_of


def separable(estimators: Sequence[Estimator], pool: Pool, group_size: int, trials: int = 8) -> np.ndarray:
    """For each estimator, whether a batch's objective is the mean of its prompts' own, on random pairs of
    prompts."""
    size, rollouts, _ = pool.shape
    if size < 2:
        return np.ones(len(estimators), bool)
    rng = np.random.default_rng(group_size)
    rows = np.stack([rng.choice(size, 2, replace=False) for _ in range(trials)])
    picks = np.stack([rng.choice(rollouts, group_size, replace=False) for _ in range(2 * trials)])
    picks = picks.reshape(trials, 2, group_size)
    arrays = {
        n: x[rows] if x.ndim == 1 else x[rows[..., None], picks] for n, x in pool.objective_arrays().items()
    }
    joint, alone = (np.asarray(x, np.float64) for x in _joint_and_alone(tuple(estimators), arrays))
    largest = np.abs(alone).max(axis=(0, 2, 3, 4), keepdims=True)
    return (np.abs(joint - alone) <= 1e-5 * np.abs(alone) + 1e-6 * largest).all(axis=(0, 2, 3, 4))


@partial(jax.jit, static_argnames=("estimators",))
def _joint_and_alone(estimators: tuple[Estimator, ...], arrays: dict[str, Array]) -> tuple[Array, Array]:
    def weigh(batch: dict[str, Array]) -> Float[Array, "estimator prompt group time"]:
        return jnp.stack([token_weights(e, *batch_of(batch)) for e in estimators])

    each = jax.tree.map(lambda x: x.reshape(-1, 1, *x.shape[2:]), arrays)
    joint = jax.vmap(weigh)(arrays)
    alone = jnp.swapaxes(
        jax.vmap(weigh)(each)[:, :, 0].reshape(joint.shape[0], 2, *joint.shape[1:2], *joint.shape[3:]), 1, 2
    )
    return joint, alone / 2
