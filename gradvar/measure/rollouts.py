"""The pool of rollouts that a score bank is made of: everything that an objective may look at, prompt by
prompt."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from gradvar.measure.side import Side
from gradvar.types import Batch, Policy, Task

PER_PROMPT = ("greedy_rewards", "baseline")


@dataclass(frozen=True, eq=False)
class Pool:
    """Q prompts, N independent rollouts of each, T tokens; arrays of NumPy, as ``Batch`` names them."""

    prompts: Any
    completions: Int[np.ndarray, "prompt rollout time"]
    rewards: Float[np.ndarray, "prompt rollout"]
    mask: Bool[np.ndarray, "prompt rollout time"]
    logp: Float[np.ndarray, "prompt rollout time"]
    logp_old: Float[np.ndarray, "prompt rollout time"]
    logp_ref: Float[np.ndarray, "prompt rollout time"]
    values: Float[np.ndarray, "prompt rollout time"] | None = None
    greedy_rewards: Float[np.ndarray, " prompt"] | None = None
    baseline: Float[np.ndarray, " prompt"] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Q, N, T)."""
        return self.logp.shape

    @property
    def lengths(self) -> Int[np.ndarray, "prompt rollout"]:
        """Tokens of every rollout."""
        return self.mask.sum(-1)

    @property
    def on_policy(self) -> bool:
        """Whether the rollouts were drawn from the parameters that are differentiated."""
        return bool(np.array_equal(self.logp[self.mask], self.logp_old[self.mask]))

    def arrays(self) -> dict[str, Any]:
        """The arrays that are there, by name."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: value for name, value in fields.items() if value is not None}

    def objective_arrays(self) -> dict[str, Array]:
        """What objectives see, on the device; masked log-probabilities are zero."""
        found = {n: x for n, x in self.arrays().items() if n not in ("prompts", "completions")}
        for name in ("logp", "logp_old", "logp_ref"):
            found[name] = np.where(self.mask, found[name], 0.0).astype(self.logp.dtype)
        return {name: jnp.asarray(x) for name, x in found.items()}

    def take(self, prompts: Any = slice(None), rollouts: Any = slice(None)) -> Pool:
        """The pool of some prompts and some rollouts of each."""
        found = {}
        for name, value in self.arrays().items():
            found[name] = jax.tree.map(lambda x: x[prompts], value)
            if name not in ("prompts", *PER_PROMPT):
                found[name] = found[name][:, rollouts]
        return Pool(**found)

    def join(self, other: Pool, axis: int) -> Pool:
        """Two pools side by side: ``axis`` 0 adds prompts, 1 adds rollouts to the same prompts."""
        mine, theirs = self.arrays(), other.arrays()
        if set(mine) != set(theirs):
            raise ValueError(
                f"pool: arrays {sorted(set(mine) ^ set(theirs))} are in one pool only; record both alike"
            )
        found = {}
        for name in mine:
            if axis and name in ("prompts", *PER_PROMPT):
                same = all(map(np.array_equal, jax.tree.leaves(mine[name]), jax.tree.leaves(theirs[name])))
                if name == "prompts" and not same:
                    raise ValueError(
                        "prompts: rollouts can only be added to the same prompts, in the same order"
                    )
                found[name] = mine[name]
            else:
                found[name] = jax.tree.map(
                    lambda x, y: np.concatenate([x, y], axis), mine[name], theirs[name]
                )
        return Pool(**found)


def batch_of(arrays: dict[str, Array]) -> tuple[Float[Array, "prompt group time"], Batch]:
    """``(logp, batch)`` from arrays that already have the batch's shape."""
    return arrays["logp"], Batch(
        arrays["rewards"],
        arrays["logp_old"],
        arrays["mask"],
        logp_ref=arrays["logp_ref"],
        logp_sampler=arrays["logp_old"],
        values=arrays.get("values"),
        greedy_rewards=arrays.get("greedy_rewards"),
        baseline=arrays.get("baseline"),
        allow_empty=True,
    )


def draw_pool(
    policy: Policy,
    params: PyTree,
    task: Task,
    key: PRNGKeyArray,
    prompts: PyTree,
    rollouts: int,
    old_params: PyTree,
    ref_params: PyTree,
    side: Side | None,
    needs: tuple[str, ...],
    chunk: int,
) -> Pool:
    """``rollouts`` completions for every prompt from ``old_params``, with their rewards and
    log-probabilities.

    ``chunk`` rollouts of all prompts at a time; the last chunk is drawn in full and cut, so that one trace
    serves all."""
    old = None if old_params is params else old_params  # the same pass need not be run and compiled again
    ref = None if ref_params is old_params else ref_params
    parts = []
    for start in range(0, rollouts, chunk):
        key_chunk = jax.random.fold_in(key, start)
        found = _draw(policy, task, params, old, ref, prompts, key_chunk, chunk, side, needs)
        parts.append({name: np.asarray(x)[:, : rollouts - start] for name, x in found.items()})
    whole = {name: np.concatenate([part[name] for part in parts], 1) for name in parts[0]}
    for name in PER_PROMPT:
        if name in whole:
            whole[name] = whole[name][:, 0]
    return Pool(prompts=jax.tree.map(np.asarray, prompts), **whole)


def _draw(
    policy: Policy,
    task: Task,
    params: PyTree,
    old: PyTree | None,
    ref: PyTree | None,
    prompts: PyTree,
    key: PRNGKeyArray,
    group: int,
    side: Side | None,
    needs: tuple[str, ...],
) -> dict[str, Array]:
    """``old`` None: the same as ``params``; ``ref`` None: the same as ``old``. Small programs, each compiled once."""
    completions = _sample(policy, params if old is None else old, key, prompts, group)
    logp = _logprobs(policy, params, prompts, completions)
    logp_old = logp if old is None else _logprobs(policy, old, prompts, completions)
    found = _verify(policy, task, prompts, completions, logp.dtype)
    found |= {
        "completions": completions,
        "logp": logp,
        "logp_old": logp_old,
        "logp_ref": logp_old if ref is None else _logprobs(policy, ref, prompts, completions),
    }
    if side is not None and needs:
        found |= _beside(side, prompts, completions, needs, logp.dtype)
    return found


@eqx.filter_jit
def _sample(policy: Policy, params: PyTree, key: PRNGKeyArray, prompts: PyTree, group: int) -> Array:
    return policy.sample(params, key, prompts, group)


@eqx.filter_jit
def _logprobs(policy: Policy, params: PyTree, prompts: PyTree, completions: Array) -> Array:
    return jnp.where(policy.mask(completions), policy.logprobs(params, prompts, completions), 0.0)


@eqx.filter_jit
def _verify(
    policy: Policy, task: Task, prompts: PyTree, completions: Array, dtype: np.dtype
) -> dict[str, Array]:
    rewards = task.reward(prompts, completions).astype(dtype)
    return {"rewards": rewards, "mask": policy.mask(completions)}


@eqx.filter_jit
def _beside(
    side: Side, prompts: PyTree, completions: Array, needs: tuple[str, ...], dtype: np.dtype
) -> dict[str, Array]:
    size, group, _ = completions.shape
    repeated = jax.tree.map(lambda x: jnp.repeat(x, group, axis=0), prompts)
    flat = side(repeated, completions.reshape(-1, completions.shape[-1]), needs)
    return {n: x.reshape(size, group, *x.shape[1:]).astype(dtype) for n, x in flat.items()}
