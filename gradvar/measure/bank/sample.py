"""The pool of rollouts that a score bank is made of: everything that an objective may look at, prompt by
prompt."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from gradvar.core.batch import PER_PROMPT, Batch
from gradvar.core.devices import SINGLE, Devices, from_first_process, padded
from gradvar.core.estimator import Estimator
from gradvar.core.protocols import Policy, Task
from gradvar.measure.baselines import BaselineSource
from gradvar.measure.separability import is_separable
from gradvar.tasks.verifier import Verifier


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
    return arrays["logp"], Batch.from_arrays(arrays, allow_empty=True)


def separable(estimators: Sequence[Estimator], pool: Pool, group_size: int, trials: int = 8) -> np.ndarray:
    """Return, for each estimator, if it ``is_separable`` on random pairs of prompts: [estimator].

    Args:
        estimators: what is asked about.
        pool: where the pairs and their rollouts are drawn from.
        group_size: rollouts of a prompt.
        trials: how many pairs.
    """
    size, rollouts, _ = pool.shape
    if size < 2:
        return np.ones(len(estimators), bool)
    rng = np.random.default_rng(group_size)
    rows = np.stack([rng.choice(size, 2, replace=False) for _ in range(trials)])  # [trial, 2]
    picks = np.stack([rng.choice(rollouts, group_size, replace=False) for _ in range(2 * trials)])
    picks = picks.reshape(trials, 2, group_size)
    fields = pool.objective_arrays().items()
    pairs = {name: x[rows] if x.ndim == 1 else x[rows[..., None], picks] for name, x in fields}
    return is_separable(tuple(estimators), pairs)


@dataclass(frozen=True, eq=False)
class Draw:
    """What is fixed about a pool, whichever prompts of it are drawn: who samples, who is differentiated, with what
    beside, and how many rollouts at a time. ``old`` None: the same as ``params``; ``ref`` None: the same as ``old``.
    """

    policy: Policy
    task: Task
    params: PyTree
    old: PyTree | None
    ref: PyTree | None
    key: PRNGKeyArray
    side: BaselineSource | None
    needs: tuple[str, ...]
    chunk: int
    devices: Devices = SINGLE

    def __call__(self, prompts: PyTree, rollouts: int, first: int = 0) -> Pool:
        """``rollouts`` completions for every prompt, with their rewards and log-probabilities.

        ``first``: the number of the first prompt, where these are a part of more; what is drawn for a prompt depends
        on the key and on its number only. ``chunk`` rollouts of all prompts at a time; the last chunk is drawn in full
        and cut, so that one trace serves all. Raises ``ValueError`` where the model or the task gives no number."""
        size = len(jax.tree.leaves(prompts)[0])
        numbered = _numbers_prompts(self.policy)
        if first and not numbered:
            raise ValueError(
                f"policy: {type(self.policy).__name__}.sample takes no first_prompt, so the prompts from {first} on "
                "cannot be drawn apart from the others; add it (see policies.common.rollout_keys)"
            )
        workers = self.devices.at_most(size) if numbered else SINGLE
        given = padded(prompts, workers.size)
        parts = []
        for start in range(0, rollouts, self.chunk):
            key = jax.random.fold_in(self.key, start)
            found = self._rollouts(workers, key, given, first, size)
            parts.append({name: np.asarray(x)[:size, : rollouts - start] for name, x in found.items()})
        whole = {name: np.concatenate([part[name] for part in parts], 1) for name in parts[0]}
        for name in PER_PROMPT:
            if name in whole:
                whole[name] = whole[name][:, 0]
        pool = Pool(prompts=jax.tree.map(np.asarray, prompts), **whole)
        _refuse_no_number(pool, first)
        return pool

    def _rollouts(
        self, workers: Devices, key: PRNGKeyArray, prompts: PyTree, first: int, size: int
    ) -> dict[str, Array]:
        """Small programs, each compiled once."""
        sampling = self.params if self.old is None else self.old
        # The keys of a row depend on its global number; one device that begins at prompt 0 numbers them itself.
        numbers = None
        if first or workers.size > 1:
            numbers = first + np.arange(len(jax.tree.leaves(prompts)[0]), dtype=np.int32)
        completions = workers.over(
            eqx.Partial(_sampled, self.policy, self.chunk), (sampling, key), (prompts, numbers)
        )

        def scored(params: PyTree) -> Array:
            return workers.over(eqx.Partial(_scored, self.policy), (params,), (prompts, completions))

        logp = scored(self.params)
        logp_old = logp if self.old is None else scored(self.old)
        found = self._judged(workers, prompts, completions, logp.dtype, size)
        found |= {
            "completions": completions,
            "logp": logp,
            "logp_old": logp_old,
            "logp_ref": logp_old if self.ref is None else scored(self.ref),
        }
        if self.side is not None and self.needs:
            beside = eqx.Partial(_besides, self.needs, logp.dtype)
            found |= workers.over(beside, (self.side,), (prompts, completions))
        return workers.gather(found)

    def _judged(
        self, workers: Devices, prompts: PyTree, completions: Array, dtype: np.dtype, size: int
    ) -> dict[str, Array]:
        """Rewards and masks; a verifier in Python sees the prompts that are asked about, and not what fills up."""
        task = self.task
        if not isinstance(task, Verifier):
            return workers.over(eqx.Partial(_judged, self.policy, task, dtype), (), (prompts, completions))
        tokens = np.asarray(workers.gather(completions))
        asked, answers = jax.tree.map(lambda x: np.asarray(x)[:size], prompts), tokens[:size]
        rewards = from_first_process(lambda: task.reward(asked, answers), np.zeros(answers.shape[:2]))
        mask = self.policy.mask(jnp.asarray(tokens))
        return {"rewards": padded(rewards.astype(dtype), len(tokens)), "mask": mask}


def _numbers_prompts(policy: Policy) -> bool:
    """Whether ``sample`` can be told the number of its first prompt."""
    return "first_prompt" in inspect.signature(policy.sample).parameters


def _refuse_no_number(pool: Pool, first: int) -> None:
    for name in ("rewards", "logp", "logp_old"):
        array = getattr(pool, name)
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            q, n = bad[0, :2]
            raise ValueError(
                f"{name}: {array[tuple(bad[0])]} for prompt {first + q}, rollout {n}; "
                f"{'the task' if name == 'rewards' else 'the model'} gives no finite number there, mend it first"
            )


def _sampled(
    policy: Policy,
    group: int,
    params: PyTree,
    key: Array,
    prompts: PyTree,
    numbers: Array | None,
) -> Array:
    return _sample(policy, params, key, prompts, group, None if numbers is None else jnp.asarray(numbers)[0])


def _scored(policy: Policy, params: PyTree, prompts: PyTree, completions: Array) -> Array:
    return _logprobs(policy, params, prompts, completions)


def _judged(
    policy: Policy, task: Task, dtype: np.dtype, prompts: PyTree, completions: Array
) -> dict[str, Array]:
    return _verify(policy, task, prompts, completions, dtype)


def _besides(
    needs: tuple[str, ...], dtype: np.dtype, side: BaselineSource, prompts: PyTree, completions: Array
) -> dict[str, Array]:
    return _beside(side, prompts, completions, needs, dtype)


@eqx.filter_jit
def _sample(
    policy: Policy, params: PyTree, key: PRNGKeyArray, prompts: PyTree, group: int, first: Array | None
) -> Array:
    if first is None:
        return policy.sample(params, key, prompts, group)
    numbered: Any = policy.sample  # of those policies that number their prompts
    return numbered(params, key, prompts, group, first_prompt=first)


@eqx.filter_jit
def _logprobs(policy: Policy, params: PyTree, prompts: PyTree, completions: Array) -> Array:
    return jnp.where(policy.mask(completions), policy.logprobs(params, prompts, completions), 0.0)


@eqx.filter_jit
def _verify(
    policy: Policy, task: Task, prompts: PyTree, completions: Array, dtype: np.dtype
) -> dict[str, Array]:
    try:
        rewards = task.reward(prompts, completions).astype(dtype)
    except (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError):
        raise ValueError(
            f"task: {type(task).__name__}.reward is not made of JAX operations; wrap it: gv.measure.Verifier(task)"
        ) from None
    return {"rewards": rewards, "mask": policy.mask(completions)}


@eqx.filter_jit
def _beside(
    side: BaselineSource, prompts: PyTree, completions: Array, needs: tuple[str, ...], dtype: np.dtype
) -> dict[str, Array]:
    size, group, _ = completions.shape
    repeated = jax.tree.map(lambda x: jnp.repeat(x, group, axis=0), prompts)
    flat = side(repeated, completions.reshape(-1, completions.shape[-1]), needs)
    return {n: x.reshape(size, group, *x.shape[1:]).astype(dtype) for n, x in flat.items()}
