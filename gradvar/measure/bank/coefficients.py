"""The second step of evaluating: every batch's gradient as a combination of the recording's rows.

The token weights of all estimators on all batches of a deal are one compiled program, and their coefficients in the
basis another. Neither knows how many parameters the policy has.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gradvar.core.batch import PER_PROMPT
from gradvar.core.estimator import Estimator, Objective, token_weights
from gradvar.core.program_cache import Programs
from gradvar.measure.bank.data import Recording, batch_of
from gradvar.measure.bank.partition import Partition

Coefficients = Float[np.ndarray, "estimator deal prompt row"]


def row_coefficients(
    recording: Recording, named: Mapping[str, Estimator], partition: Partition
) -> tuple[Coefficients, Float[np.ndarray, " estimator"]]:
    """Every row's coefficient in every deal, and for each estimator the largest relative residual of any rollout.

    Weights are those of the whole batch's objective: a batch of several prompts is one call.

    Raises:
        ValueError: The basis does not span an estimator's weights.
    """
    dealt, rows = partition.dealt_prompts, recording.rows
    arrays = {n: x[:dealt] for n, x in recording.rollouts.objective_arrays().items()}
    basis = jnp.asarray(rows.basis[:dealt])
    row_fields = tuple(jnp.asarray(x[:dealt]) for x in (rows.rollout, rows.basis_index, rows.is_used))
    estimators = tuple(named.values())
    coefficients, residuals = [], []
    for order in partition.orders:  # one program for every deal, and one projection for every group size
        weights = deal_weights(estimators, arrays, order, partition.group_size, partition.prompts)
        projected, residual = _project(weights, basis, order, row_fields)
        coefficients.append(projected)
        residuals.append(residual)
    residual = np.max([np.asarray(x) for x in residuals], axis=0)  # [estimator]
    for name, left in zip(named, residual, strict=True):
        if left > recording.tolerance:
            raise ValueError(
                f"estimators: the bank's basis leaves {left:.1e} of the token weights of '{name}' "
                f"unexplained (allowed: {recording.tolerance:.1e}); record with estimators=[...] that include "
                "it, or extend the bank"
            )
    return np.stack([np.asarray(x) for x in coefficients], 1), residual


def deal_weights(
    estimators: tuple[Estimator, ...],
    arrays: dict[str, Array],
    order: Int[Array, "prompt place"],
    group_size: int,
    prompts: int,
) -> Float[Array, "estimator prompt place time"]:
    """Token weights of every estimator on all batches of one deal.

    Args:
        estimators: Whose weights.
        arrays: The rollouts' ``objective_arrays``.
        order: Rollout numbers of every prompt, in the order in which they are dealt, which is that of the result.
        group_size: Rollouts of each prompt in a batch.
        prompts: Prompts in a batch.
    """
    objectives = tuple(estimator.objective for estimator in estimators)
    program = _PROGRAMS.get(objectives=objectives, group_size=group_size, prompts=prompts)
    weights: Array = program(arrays, order)
    return weights


def _deal_weights(
    arrays: dict[str, Array],
    order: Int[Array, "prompt place"],
    *,
    objectives: tuple[Objective, ...],
    group_size: int,
    prompts: int,
) -> Float[Array, "estimator prompt place time"]:
    sets, batches = order.shape[0] // prompts, order.shape[1] // group_size
    prompt_index = jnp.arange(order.shape[0])[:, None]

    def deal(name: str, x: Array) -> Array:
        """Return [set * batch, prompt, group, ...], or [set * batch, prompt] for a field of prompts."""
        if name in PER_PROMPT:
            x = jnp.broadcast_to(x[:, None], (x.shape[0], batches))
            return jnp.swapaxes(x.reshape(sets, prompts, batches), 1, 2).reshape(-1, prompts)
        x = x[prompt_index, order].reshape(sets, prompts, batches, group_size, *x.shape[2:])
        return jnp.swapaxes(x, 1, 2).reshape(-1, prompts, group_size, *x.shape[4:])

    def weigh(batch: dict[str, Array]) -> list[Float[Array, "prompt group time"]]:
        return [token_weights(objective, *batch_of(batch)) for objective in objectives]

    weights = jnp.stack(jax.vmap(weigh)({name: deal(name, x) for name, x in arrays.items()}))
    weights = weights.reshape(len(objectives), sets, batches, prompts, group_size, -1)
    return jnp.swapaxes(weights, 2, 3).reshape(len(objectives), sets * prompts, batches * group_size, -1)


_PROGRAMS = Programs(_deal_weights)


@jax.jit
def _project(
    weights: Float[Array, "estimator prompt place time"],
    basis: Float[Array, "prompt rollout basis time"],
    order: Int[Array, "prompt place"],
    row_fields: tuple[Array, Array, Array],
) -> tuple[Float[Array, "estimator prompt row"], Float[Array, " estimator"]]:
    """Coefficients of the rows, and the largest relative residual; rows that were not dealt get zero."""
    prompt_index = jnp.arange(basis.shape[0])[:, None]
    dealt = basis[prompt_index, order]  # [prompt, place, basis, time]
    along = jnp.einsum("equt,qubt->equb", weights, dealt)  # [estimator, prompt, place, basis]
    left = weights - jnp.einsum("equb,qubt->equt", along, dealt)
    size = jnp.max(jnp.abs(weights), axis=-1)
    residual = jnp.max(jnp.abs(left), axis=-1) / jnp.where(size > 0, size, 1.0)
    rollout, basis_index, is_used = row_fields
    # [prompt, rollout]: where a rollout was dealt to, -1 where it was left over
    place = jnp.full(basis.shape[:2], -1).at[prompt_index, order].set(jnp.arange(order.shape[1]))
    place = place[prompt_index, rollout]  # [prompt, row]
    rows = along[:, prompt_index, place, basis_index]
    return jnp.where(is_used & (place >= 0), rows, 0.0), jnp.max(residual, axis=(1, 2))
