"""What is settled about a recording before a rollout is drawn, and the three steps that make it."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float, PRNGKeyArray, PyTree

from gradvar.core.devices import DeviceChoice, choose_devices
from gradvar.core.estimator import Estimator, Objective, as_estimator
from gradvar.core.progress import Monitor, Silent
from gradvar.core.protocols import FinitePolicy, FiniteTask, Policy, Task
from gradvar.gradients.sketch import PerToken, ScoreMap, describe_map
from gradvar.measure.bank.basis import find_basis
from gradvar.measure.bank.data import BasisRows, Recording, Rollouts
from gradvar.measure.bank.sample import RolloutSampler
from gradvar.measure.bank.score import (
    CHUNK,
    assemble,
    choose_map,
    predict_memory,
    score_rows,
    score_tokens,
)
from gradvar.measure.baselines import BaselineSource, baseline_needs, default_baselines
from gradvar.measure.exact.tables import ExactTables, tabulate


@dataclass(frozen=True, eq=False)
class RolloutSource:
    """Where rollouts come from: a policy, a task, and the parameters of the three policies.

    ``params`` are differentiated, ``old_params`` sample (None: ``params`` do), ``ref_params`` are the reference
    policy's (None: the ones that sample).
    """

    policy: Policy
    params: PyTree
    task: Task
    old_params: PyTree | None = None
    ref_params: PyTree | None = None

    @property
    def old(self) -> PyTree:
        """The parameters that sample."""
        return self.params if self.old_params is None else self.old_params

    @property
    def ref(self) -> PyTree:
        """The parameters of the reference policy."""
        return self.old if self.ref_params is None else self.ref_params

    @property
    def params_bytes(self) -> int:
        """Bytes of one score."""
        flat = jax.eval_shape(lambda p: ravel_pytree(p)[0], self.params)
        return int(flat.size * flat.dtype.itemsize)

    def exact_truth(
        self, prompts: PyTree, drawn: bool
    ) -> tuple[Float[np.ndarray, " param"] | None, ExactTables | None]:
        """grad J exactly, and the tables, where policy and task can be listed; else None."""
        if not (isinstance(self.policy, FinitePolicy) and isinstance(self.task, FiniteTask)):
            return None, None
        tables = tabulate(self.policy, self.params, self.task, self.old, self.ref)
        if drawn:
            return np.asarray(tables.true_gradient, np.float64), tables
        listed = self.task.all_prompts()
        size, known = len(jax.tree.leaves(prompts)[0]), tables.probs.shape[0]
        places = [
            next((j for j in range(known) if _same_prompt(prompts, i, listed, j)), None) for i in range(size)
        ]
        rows = [j for j in places if j is not None]
        if len(rows) < size:
            return None, tables
        return np.asarray(tables.gradients, np.float64)[rows].mean(0), tables

    def sampler(
        self,
        key: PRNGKeyArray,
        baselines: BaselineSource | None,
        needs: tuple[str, ...],
        chunk: int,
        devices: DeviceChoice,
    ) -> RolloutSampler:
        """The sampler of these rollouts.

        Args:
            key: Of the rollouts.
            baselines: Critics and baselines.
            needs: The fields of a batch that they supply.
            chunk: Rollouts at a time.
            devices: They share the prompts.
        """
        # what is the same object is scored once: the same pass need not be run and compiled again
        old = None if self.old is self.params else self.old
        ref = None if self.ref is self.old else self.ref
        return RolloutSampler(
            self.policy,
            self.task,
            self.params,
            old,
            ref,
            key,
            baselines,
            needs,
            chunk,
            choose_devices(devices),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class RecordSettings:
    """What may be chosen about a recording besides what it is of.

    ``cuts``: ratios, such as (0.8, 1.2), at which the bank serves every token-level clip. ``tolerance``: the relative
    residual of token weights (default 1e-9 in float64, 2e-6 in float32). ``baselines``: supply critics and baselines in
    place of the exact ones, or of a pilot sample's. ``chunk``: rows per backward pass. ``devices``: who shares the
    prompts and the rows: "all" (of all processes, where ``jax.distributed`` runs; every process then gets the bank), a
    number, or a list. A prompt's random keys do not depend on them, nor do the numbers, to the last bit, where the
    policy multiplies no matrices; where it does, log-probabilities agree to rounding.

    With a folder: ``shard``, prompts of a shard, by default as many as make 64 MB of whole scores; ``monitor`` hears of
    every finished shard.
    """

    cuts: Sequence[float] = ()
    tolerance: float | None = None
    baselines: BaselineSource | None = None
    chunk: int | None = None
    devices: DeviceChoice = "all"
    shard: int | None = None
    monitor: Monitor = field(default_factory=Silent)


@dataclass(frozen=True, eq=False)
class RecordPlan:
    """Whose token weights a recording serves, how it keeps scores, and in how many bytes of memory."""

    estimators: Sequence[Estimator | Objective] = ()
    scores: ScoreMap | Literal["auto"] = "auto"
    memory: float = 4e9
    settings: RecordSettings = RecordSettings()


@dataclass(frozen=True, eq=False)
class Recorder:
    """What is fixed over a recording, whichever prompts of it are recorded."""

    source: RolloutSource
    sampler: RolloutSampler
    prompts: PyTree
    rollouts: int
    drawn: bool
    plan: RecordPlan
    estimators: tuple[Estimator, ...]
    seed: int
    truth: Float[np.ndarray, " param"] | None

    @property
    def size(self) -> int:
        """Q, of all prompts."""
        return len(jax.tree.leaves(self.prompts)[0])

    def record(self, prompts: PyTree, first: int = 0) -> Recording:
        """Record these prompts, of which ``first`` is the number of the first one: sample, find a basis, score."""
        started = time.perf_counter()
        source, settings, key = self.source, self.plan.settings, jax.random.key(self.seed)
        rollouts = self.sampler(prompts, self.rollouts, first)
        if source.old_params is None:
            rollouts = equal_policies(rollouts)
        sampled = time.perf_counter()
        tolerance = settings.tolerance or default_tolerance(rollouts)
        devices, scores_map = self.sampler.devices, self.plan.scores
        if isinstance(scores_map, PerToken):
            rows, scores = score_tokens(source.policy, source.params, rollouts, scores_map, key, devices)
        else:
            rows = BasisRows.of(find_basis(rollouts, self.estimators, settings.cuts, tolerance / 4))
            scores_map = choose_map(scores_map, rows, source.params_bytes, self.plan.memory)
            images = score_rows(
                source.policy, source.params, rollouts, rows, scores_map, key, settings.chunk, devices
            )
            params = source.params_bytes // rows.basis.dtype.itemsize
            scores = assemble(rows, images, scores_map, params, self.truth)
        seconds = {"sample": sampled - started, "scores": time.perf_counter() - sampled}
        info = self._info(rows, scores_map, seconds)
        return Recording(rollouts, rows, scores, self.drawn, tolerance, info)

    def _info(self, rows: BasisRows, scores: ScoreMap, seconds: dict[str, float]) -> dict[str, Any]:
        return {
            **describe_map(scores),
            "seed": self.seed,
            "params": sum(x.size for x in jax.tree.leaves(self.source.params)),
            "rows": rows.count,
            "basis": int(rows.basis.shape[2]),
            "on_policy": self.source.old_params is None,
            "estimators": [e.name for e in self.estimators],
            "cuts": list(self.plan.settings.cuts),
            "policy": repr(self.source.policy),
            "task": type(self.source.task).__name__,
            "seconds": seconds,
            "way": "forward mode" if isinstance(scores, PerToken) else "vmap",
            "versions": {
                "jax": jax.__version__, "numpy": np.__version__, "python": platform.python_version()
            },
            "device": jax.devices()[0].device_kind,
            "devices": self.sampler.devices.size,
        }  # fmt: skip


def prepare(
    source: RolloutSource,
    key: PRNGKeyArray,
    prompts: int | PyTree,
    rollouts: int,
    plan: RecordPlan,
    held: int | None = None,
) -> Recorder:
    """Settle everything about a recording, before a rollout is drawn.

    Args:
        source: Policy, task and parameters.
        key: Of everything that is random.
        prompts: How many to draw from the task, or the prompts themselves.
        rollouts: Of each prompt.
        plan: What is recorded, and how.
        held: Prompts that are in memory at a time (None: all).

    Raises:
        ValueError: There are too few rollouts, or the recording cannot fit the memory.
    """
    if rollouts < 4:
        raise ValueError(f"rollouts: {rollouts}; a bank needs at least 4 of each prompt, two groups of two")
    key_prompts, key_draw, key_baselines, key_map = jax.random.split(key, 4)
    drawn = isinstance(prompts, int | np.integer)
    listed = source.task.prompts(key_prompts, int(prompts)) if drawn else prompts
    estimators = tuple(as_estimator(e) for e in plan.estimators)
    size, params_bytes = len(jax.tree.leaves(listed)[0]), source.params_bytes
    predict_memory(plan.scores, (held or size) * rollouts, params_bytes, plan.memory)
    # sampling holds activations, which are taken to be of the order of a 64th of the parameters
    chunk = int(max(1, min(rollouts, CHUNK // (1 + params_bytes // 64) // size + 1)))
    needs = baseline_needs(estimators)
    truth, tables = source.exact_truth(listed, drawn)
    baselines = plan.settings.baselines or default_baselines(
        source.policy, source.old, source.task, key_baselines, needs=needs, tables=tables
    )
    sampler = source.sampler(key_draw, baselines, needs, chunk, plan.settings.devices)
    seed = int(jax.random.bits(key_map, dtype=jnp.uint32))
    return Recorder(source, sampler, listed, rollouts, drawn, plan, estimators, seed, truth)


def equal_policies(rollouts: Rollouts) -> Rollouts:
    """The same parameters sample and are differentiated: equal to the last bit, whatever the compiler did."""
    return replace(rollouts, logp_old=rollouts.logp)


def default_tolerance(rollouts: Rollouts) -> float:
    """The relative residual of token weights that a basis may leave, by precision."""
    return 1e-9 if rollouts.logp.dtype == np.float64 else 2e-6


def _same_prompt(first: PyTree, i: int, second: PyTree, j: int) -> bool:
    """Return True if prompt i of one list is prompt j of another."""
    leaves = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return all(np.array_equal(np.asarray(x)[i], np.asarray(y)[j]) for x, y in leaves)
