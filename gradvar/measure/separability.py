"""``is_separable``: which objectives are the mean of their prompts' objectives, so that one prompt at a time will do.

An estimator that couples the prompts of a batch (a batch-wide standard deviation, a token mean over the batch) has to
be measured on batches of the size that is asked about. ``batch_weights``: the token weights that decide it.
"""

from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from gradvar.core.batch import Batch
from gradvar.core.estimator import Estimator, token_weights
from gradvar.core.program_cache import Programs
from gradvar.core.programs import quick_jit

Fields = Mapping[str, Array | np.ndarray]
"""``logp`` and the fields of ``Batch`` by name, of many batches: [batch, prompt, group, time], or fewer axes."""

_TOLERANCES = {"float64": (1e-9, 1e-12), "float32": (1e-5, 1e-6)}
"""By precision: how far two weights may differ, relative to the weight and to the estimator's largest one."""


def batch_weights(
    estimators: tuple[Estimator, ...], fields: Fields
) -> Float[Array, "batch estimator prompt group time"]:
    """Compute the token weights of every estimator on many batches."""
    weights: Array = _PROGRAMS.get(estimators=estimators)(
        {name: jnp.asarray(x) for name, x in fields.items()}
    )
    return weights


def _batch_weights(
    fields: dict[str, Array], *, estimators: tuple[Estimator, ...]
) -> Float[Array, "batch estimator prompt group time"]:
    def weigh(arrays: dict[str, Array]) -> Float[Array, "estimator prompt group time"]:
        batch = Batch.from_arrays(arrays, allow_empty=True)
        return jnp.stack([token_weights(e, arrays["logp"], batch) for e in estimators])

    return jax.vmap(weigh)(fields)


_PROGRAMS = Programs(_batch_weights, jit=partial(quick_jit, jit=jax.jit))


def is_separable(
    estimators: tuple[Estimator, ...],
    fields: Fields,
    weigh: Callable[[tuple[Estimator, ...], Fields], Array | np.ndarray] = batch_weights,
) -> Bool[np.ndarray, " estimator"]:
    """Return, for each estimator, if its weights on these batches are the mean of those on their prompts alone.

    ``weigh`` computes the weights: ``batch_weights``, or a caller's version of it that reuses a compiled program.
    """
    joint = np.asarray(weigh(estimators, fields))  # [batch, estimator, prompt, group, time]
    batches, _, prompts = joint.shape[:3]
    # [batch, prompt, ...] -> [batch * prompt, 1, ...]: every prompt is a batch
    single = {name: x.reshape(-1, 1, *x.shape[2:]) for name, x in fields.items()}
    alone = np.asarray(weigh(estimators, single))
    alone = np.moveaxis(alone.reshape(batches, prompts, *alone.shape[1:])[:, :, :, 0], 1, 2) / prompts
    return close(joint, alone, estimator_axis=1)


def close(
    first: Float[np.ndarray, "..."], second: Float[np.ndarray, "..."], estimator_axis: int
) -> Bool[np.ndarray, " estimator"]:
    """Return, for each estimator, if two arrays of its weights are equal up to rounding."""
    relative, absolute = _TOLERANCES[np.result_type(first).name]
    first, second = (np.asarray(x, np.float64) for x in (first, second))
    others = tuple(axis for axis in range(second.ndim) if axis != estimator_axis)
    largest = np.abs(second).max(axis=others, keepdims=True, initial=0)
    return (np.abs(first - second) <= relative * np.abs(second) + absolute * largest).all(axis=others)
