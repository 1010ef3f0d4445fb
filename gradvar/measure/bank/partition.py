"""Contracting token weights with a score bank: the only places where estimators and scores meet.

A *partition* deals every prompt's N rollouts out into n = N // G disjoint groups. All its batches are
independent given the prompts, so products of different batches are unbiased for products of expectations;
averaging over several partitions brings the estimate near the complete U-statistic without touching its
expectation. Two jitted stages: the token weights of all estimators in the basis of the bank, then quadratic
forms with the Gram matrices. Neither knows how many parameters the policy has."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gradvar.core.batch import PER_PROMPT
from gradvar.core.estimator import Estimator, token_weights
from gradvar.measure.bank.sample import Pool, batch_of

if TYPE_CHECKING:
    from gradvar.measure.bank.bank import Rows

_GATHER = 600  # multiplications in whose time one number is cut out of a Gram matrix, on the CPUs at hand


@dataclass(frozen=True, eq=False)
class Design:
    """How a pool is cut into batches of ``prompts`` prompts and ``group_size`` rollouts of each.

    ``orders`` [m, Q, n G]: for each partition and prompt, rollout numbers, group after group. The first (Q
    // prompts) * prompts prompts of the pool are used. ``slices``: how many independent slices of rollouts
    there are; groups never straddle two of them (1: prompts are what is independent)."""

    group_size: int
    prompts: int
    orders: Int[np.ndarray, "partition prompt rollout"]
    slices: int = 1

    @property
    def batches(self) -> int:
        """Disjoint batches of the same prompts in one partition."""
        return self.orders.shape[2] // self.group_size

    @property
    def prompt_sets(self) -> int:
        """Disjoint sets of prompts."""
        return self.orders.shape[1] // self.prompts

    @property
    def replicates(self) -> int:
        """Batches in all partitions."""
        return self.orders.shape[0] * self.batches * self.prompt_sets

    def groups(self, rollouts: int) -> Int[np.ndarray, "partition prompt rollout"]:
        """Each rollout's group number, -1 for those that are left over."""
        found = np.full((*self.orders.shape[:2], rollouts), -1, np.int32)
        number = np.broadcast_to(np.arange(self.orders.shape[2]) // self.group_size, self.orders.shape)
        np.put_along_axis(found, self.orders, number.astype(np.int32), axis=2)
        return found


def design(
    rng: np.random.Generator, pool: Pool, group_size: int, prompts: int, replicates: int, slices: int = 1
) -> Design:
    """Random partitions, as many as give ``replicates`` batches.

    Raises ``ValueError`` where the pool has fewer than two groups per prompt, or fewer prompts than one
    batch."""
    size, rollouts, _ = pool.shape
    if prompts > size:
        raise ValueError(
            f"prompts: {prompts} in a batch, and the bank has {size}; record more, or take smaller batches"
        )
    per_slice = rollouts // slices // group_size
    if per_slice * slices < 2 or per_slice < 1:
        raise ValueError(
            f"group_sizes: {group_size} needs at least {2 * group_size} rollouts per prompt "
            f"and the bank has {rollouts}; record more rollouts, or take smaller groups"
        )
    sets = size // prompts
    partitions = max(1, math.ceil(replicates / (sets * per_slice * slices)))
    width = rollouts // slices
    shape = (partitions, sets * prompts, slices, width)
    orders = rng.permuted(np.broadcast_to(np.arange(width, dtype=np.int32), shape), axis=-1)
    orders = orders[..., : per_slice * group_size] + (width * np.arange(slices, dtype=np.int32))[:, None]
    return Design(group_size, prompts, orders.reshape(partitions, sets * prompts, -1), slices)


def coefficients(
    estimators: tuple[Estimator, ...], pool: Pool, rows: Rows, plan: Design
) -> tuple[Float[np.ndarray, "estimator partition prompt row"], Float[np.ndarray, " estimator"]]:
    """Every row's coefficient in every partition, and for each estimator the largest relative residual of any
    rollout.

    Weights are those of the whole batch's objective: a batch of several prompts is one call.
    """
    used = plan.orders.shape[1]
    arrays = {n: x[:used] for n, x in pool.objective_arrays().items()}
    basis = jnp.asarray(rows.basis[:used])
    picks = tuple(jnp.asarray(x[:used]) for x in (rows.rollout, rows.slot, rows.real))
    found, left = [], []
    for order in plan.orders:  # one program for every partition, and one projection for every group size
        weights = partition_weights(estimators, arrays, order, plan.group_size, plan.prompts)
        rows_, residual = _project(weights, basis, order, picks)
        found.append(rows_)
        left.append(residual)
    return np.stack([np.asarray(x) for x in found], 1), np.max([np.asarray(x) for x in left], axis=0)


@jax.jit
def _project(
    weights: Float[Array, "estimator prompt used time"],
    basis: Float[Array, "prompt rollout basis time"],
    order: Int[Array, "prompt used"],
    picks: tuple[Array, Array, Array],
) -> tuple[Float[Array, "estimator prompt row"], Float[Array, " estimator"]]:
    here = jnp.arange(basis.shape[0])[:, None]
    dealt = basis[here, order]
    found = jnp.einsum("equt,qubt->equb", weights, dealt)
    left = weights - jnp.einsum("equb,qubt->equt", found, dealt)
    size = jnp.max(jnp.abs(weights), axis=-1)
    residual = jnp.max(jnp.abs(left), axis=-1) / jnp.where(size > 0, size, 1.0)
    rollout, slot, real = picks
    place = jnp.full(basis.shape[:2], -1).at[here, order].set(jnp.arange(order.shape[1]))
    place = place[here, rollout]  # where a row's rollout was dealt to, -1 where it was left over
    rows = found[:, here, place, slot]
    return jnp.where(real & (place >= 0), rows, 0.0), jnp.max(residual, axis=(1, 2))


@partial(jax.jit, static_argnames=("estimators", "group_size", "prompts"))
def partition_weights(
    estimators: tuple[Estimator, ...],
    arrays: dict[str, Array],
    order: Int[Array, "prompt used"],
    group_size: int,
    prompts: int,
) -> Float[Array, "estimator prompt used time"]:
    """Token weights of every estimator on all batches of one partition, in the order in which its rollouts are
    dealt; ``arrays`` are a pool's ``objective_arrays``."""
    sets, batches = order.shape[0] // prompts, order.shape[1] // group_size
    rows = jnp.arange(order.shape[0])[:, None]

    def dealt(name: str, x: Array) -> Array:
        """A leading axis of sets times batches."""
        if name in PER_PROMPT:
            x = jnp.broadcast_to(x[:, None], (x.shape[0], batches))
            return jnp.swapaxes(x.reshape(sets, prompts, batches), 1, 2).reshape(-1, prompts)
        x = x[rows, order].reshape(sets, prompts, batches, group_size, *x.shape[2:])
        return jnp.swapaxes(x, 1, 2).reshape(-1, prompts, group_size, *x.shape[4:])

    def weigh(batch: dict[str, Array]) -> list[Float[Array, "prompt group time"]]:
        return [token_weights(e, *batch_of(batch)) for e in estimators]

    weights = jnp.stack(jax.vmap(weigh)({name: dealt(name, x) for name, x in arrays.items()}))
    weights = weights.reshape(len(estimators), sets, batches, prompts, group_size, -1)
    return jnp.swapaxes(weights, 2, 3).reshape(len(estimators), sets * prompts, batches * group_size, -1)


@jax.jit
def quadratics(
    coefs: Float[Array, "estimator partition set row"],
    groups: Int[Array, "partition set row"],
    gram: Float[Array, "set row row"],
    numbers: Int[Array, " batch"],
) -> tuple[Float[Array, "estimator partition set batch"], Float[Array, "estimator partition set"]]:
    """||ghat||^2 of every batch, and ||sum of all ghat of a partition||^2, for every set of prompts.

    ``groups`` says to which batch each row belongs, ``numbers`` is arange(n).
    """
    member = groups[:, :, None, :] == numbers[:, None]

    def one(c: Float[Array, "partition set row"]) -> tuple[Array, Array]:
        spread = jnp.where(member, c[:, :, None, :], 0.0)
        along = jnp.einsum("manx,axy->many", spread, gram)
        squares = jnp.sum(along * spread, axis=-1)
        # Everything in a partition is the sum of its batches, so its Gram row is the sum of theirs.
        return squares, jnp.sum(along.sum(2) * spread.sum(2), axis=-1)

    return jax.lax.map(one, coefs)


def large_quadratics(
    coefs: Float[np.ndarray, "estimator partition set row"],
    groups: Int[np.ndarray, "partition set row"],
    gram: Float[np.ndarray, "set row row"],
    batches: int,
    together: bool = True,
) -> tuple[Float[np.ndarray, "estimator partition set batch"], Float[np.ndarray, "estimator partition set"]]:
    """``quadratics`` where sets have thousands of rows: each batch meets only its own rows' part of the Gram matrix.

    A set's rows are shared out among n batches, so this takes n times fewer multiplications, and the part that is cut
    out serves all estimators; where there are few batches, cutting out takes longer than multiplying with zeros.
    ``together=False`` leaves the second result at zero.
    """
    squares = np.zeros((*coefs.shape[:3], batches))
    whole = np.zeros(coefs.shape[:3])
    used = np.any(coefs != 0, axis=0)
    dense = len(coefs) * batches**2 <= _GATHER
    for at in np.ndindex(coefs.shape[1:3]):
        mine, products = coefs[:, at[0], at[1]], gram[at[1]]
        if dense:
            spread = np.concatenate([np.where(groups[at] == batch, mine, 0.0) for batch in range(batches)])
            found = np.einsum("er,er->e", spread @ products, spread)
            squares[:, *at] = found.reshape(batches, -1).T
        for batch in range(0 if dense else batches):
            rows = np.flatnonzero((groups[at] == batch) & used[at])
            part = mine[:, rows]
            squares[:, *at, batch] = np.einsum("er,er->e", part @ products[np.ix_(rows, rows)], part)
        if together:
            rows = np.flatnonzero((groups[at] >= 0) & used[at])
            part = mine[:, rows]
            whole[:, *at] = np.einsum("er,er->e", part @ products[np.ix_(rows, rows)], part)
    return squares, whole
