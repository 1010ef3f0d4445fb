"""What is settled about a recording before a rollout is drawn, and the three steps that make it."""

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Bool, Float, PRNGKeyArray, PyTree

from gradvar.core.checks import at_least
from gradvar.core.devices import DeviceChoice, choose_devices
from gradvar.core.estimator import Estimator, Objective, as_estimator
from gradvar.core.progress import ProgressMonitor, Silent
from gradvar.core.protocols import FinitePolicy, FiniteTask
from gradvar.files.fingerprint import describe
from gradvar.gradients.factored_sketch import factored_bytes
from gradvar.gradients.sketch import PerToken, ScoreMap, describe_map
from gradvar.measure.bank.basis import find_basis
from gradvar.measure.bank.data import BasisRows, Recording, Rollouts
from gradvar.measure.bank.pace import Pace
from gradvar.measure.bank.sample import RolloutSampler, takes_numbers
from gradvar.measure.bank.score import assemble, choose_map, predict_memory, score_rows, score_tokens
from gradvar.measure.baselines import BaselineSource, baseline_needs, default_baselines
from gradvar.measure.direct_plan import PolicyOnTask
from gradvar.measure.exact.tables import ExactTables, tabulate

_SAMPLED = 1 << 28  # bytes of activations while rollouts are sampled


@dataclass(frozen=True)
class ShardPart:
    """One of several equal parts of a recording's shards: the ``number``-th of ``of``, from 1 on."""

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise ValueError(f"shard: {self.number}/{self.of}; give i/n with i from 1 to n, such as 3/8")

    @classmethod
    def parse(cls, text: str) -> "ShardPart":
        """Read ``i/n``.

        >>> ShardPart.parse("3/8")
        ShardPart(number=3, of=8)
        """
        number, slash, of = text.partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and len(text) < 16):
            raise ValueError(f"shard: '{text[:20]}'; give i/n with i from 1 to n, such as 3/8")
        return cls(int(number), int(of))

    def chosen(self, count: int) -> Bool[np.ndarray, " shard"]:
        """Which of ``count`` shards belong to this part."""
        return np.arange(count) % self.of == self.number - 1


@dataclass(frozen=True, eq=False, kw_only=True)
class RecordSettings:
    """What may be chosen about a recording besides what it is of.

    ``cuts``: ratios, such as (0.8, 1.2), at which the bank serves every token-level clip. ``tolerance``: the relative
    residual of token weights (default 1e-9 in float64, 2e-6 in float32). ``baselines``: supply critics and baselines in
    place of the exact ones, or of a pilot sample's. ``memory``: the most bytes that may be held; the need is predicted
    before anything is drawn. ``chunk``: rows per backward pass. ``devices``: who shares the
    prompts and the rows: "all" (of all processes, where ``jax.distributed`` runs; every process then gets the bank), a
    number, or a list. A prompt's random keys do not depend on them, nor do the numbers, to the last bit, where the
    policy multiplies no matrices; where it does, log-probabilities agree to rounding.

    With a folder: ``shard``, prompts of a shard, by default as many as make 64 MB of whole scores, or as are sampled
    together where scores are sketched, and with ``part`` so few that every part has a shard; ``part``: which shards
    this call records, where processes share a folder, all with the same number of parts; ``monitor`` hears of every
    scored row, and how long the rest will take.
    """

    cuts: Sequence[float] = ()
    tolerance: float | None = None
    baselines: BaselineSource | None = None
    memory: float = 4e9
    chunk: int | None = None
    devices: DeviceChoice = "all"
    shard: int | None = None
    part: ShardPart | None = None
    monitor: ProgressMonitor = field(default_factory=Silent)


@dataclass(frozen=True, eq=False)
class RecordPlan:
    """Whose token weights a recording serves, how it keeps scores, and what else was chosen."""

    estimators: Sequence[Estimator | Objective] = ()
    scores: ScoreMap | Literal["auto"] = "auto"
    settings: RecordSettings = RecordSettings()


@dataclass(frozen=True, eq=False)
class Recorder:
    """What is fixed over a recording, whichever prompts of it are recorded."""

    subject: PolicyOnTask
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

    def record(self, prompts: PyTree, first: int = 0, pace: Pace | None = None) -> Recording:
        """Record these prompts, of which ``first`` is the number of the first one: sample, find a basis, score.

        ``pace`` is told of every phase.
        """
        pace = pace or Pace(0)
        started = time.perf_counter()
        pace.begin()
        subject, settings, key = self.subject, self.plan.settings, jax.random.key(self.seed)
        rollouts = self.sampler(prompts, self.rollouts, first)
        if subject.old_params is None:
            rollouts = equal_policies(rollouts)
        sampled = time.perf_counter()
        pace.done("sampling", rollouts.shape[0])
        tolerance = settings.tolerance or default_tolerance(rollouts)
        devices, scores_map = self.sampler.devices, self.plan.scores
        if isinstance(scores_map, PerToken):
            rows, scores = score_tokens(subject, rollouts, scores_map, key, devices)
        else:
            rows = BasisRows.of(find_basis(rollouts, self.estimators, settings.cuts, tolerance / 4))
            score_bytes = params_bytes(subject.params)
            scores_map = choose_map(scores_map, rows, score_bytes, settings.memory)
            images = score_rows(subject, rollouts, rows, scores_map, key, settings.chunk, devices)
            images = pace.scoring(images, rows.count, rollouts.shape[0])
            params = score_bytes // rows.basis.dtype.itemsize
            pace.begin()
            scores = assemble(rows, images, scores_map, params, self.truth)
        seconds = {"sample": sampled - started, "scores": time.perf_counter() - sampled}
        info = self._info(rollouts, rows, scores_map, seconds)
        return Recording(rollouts, rows, scores, self.drawn, tolerance, info)

    def _info(
        self, rollouts: Rollouts, rows: BasisRows, scores: ScoreMap, seconds: dict[str, float]
    ) -> dict[str, Any]:
        return {
            **describe_map(scores),
            "seed": self.seed,
            "params": sum(x.size for x in jax.tree.leaves(self.subject.params)),
            "rows": rows.count,
            "basis": int(rows.basis.shape[2]),
            "on_policy": self.subject.old_params is None,
            "sampler": None if self.subject.engine is None else describe(self.subject.engine),
            "estimators": [e.name for e in self.estimators],
            "cuts": list(self.plan.settings.cuts),
            "policy": repr(self.subject.policy),
            "task": type(self.subject.task).__name__,
            "seconds": seconds,
            "way": self._way(rollouts, scores),
            "versions": {
                "jax": jax.__version__, "numpy": np.__version__, "python": platform.python_version()
            },
            "device": jax.devices()[0].device_kind,
            "devices": self.sampler.devices.size,
        }  # fmt: skip

    def _way(self, rollouts: Rollouts, scores: ScoreMap) -> str:
        """Name how the scores were formed."""
        if isinstance(scores, PerToken):
            return "forward mode"
        policy, params, time = self.subject.policy, self.subject.params, rollouts.shape[2]
        factors = factored_bytes(policy, params, rollouts.prompts, time, scores)
        return "vmap" if factors is None else "factors"


def prepare(
    subject: PolicyOnTask,
    key: PRNGKeyArray,
    prompts: int | PyTree,
    rollouts: int,
    plan: RecordPlan,
    held: int | None = None,
) -> Recorder:
    """Settle everything about a recording, before a rollout is drawn.

    Args:
        subject: Policy, task and parameters.
        key: Of everything that is random.
        prompts: How many to draw from the task, or the prompts themselves.
        rollouts: Of each prompt.
        plan: What is recorded, and how.
        held: Prompts that are in memory at a time (None: all).

    Raises:
        ValueError: There are too few rollouts, or the recording cannot fit the memory.
    """
    at_least("rollouts", rollouts, 4)  # two groups of two for each prompt
    key_prompts, key_draw, key_baselines, key_map = jax.random.split(key, 4)
    drawn = isinstance(prompts, int | np.integer)
    listed = subject.task.prompts(key_prompts, int(prompts)) if drawn else prompts
    estimators = tuple(as_estimator(e) for e in plan.estimators)
    size, score_bytes = len(jax.tree.leaves(listed)[0]), params_bytes(subject.params)
    predict_memory(plan.scores, (held or size) * rollouts, score_bytes, plan.settings.memory)
    at_once = rollouts_at_once(score_bytes)
    chunk = min(rollouts, at_once if takes_numbers(subject) else at_once // size + 1)
    step = held or max(1, at_once // chunk)
    sampled_rows = step if held is not None or step < size else None
    needs = baseline_needs(estimators)
    truth, tables = exact_truth(subject, listed, drawn)
    baselines = plan.settings.baselines or default_baselines(
        subject.policy, subject.old, subject.task, key_baselines, needs=needs, tables=tables
    )
    devices = choose_devices(plan.settings.devices)
    sampler = RolloutSampler(subject, key_draw, baselines, needs, chunk, devices, sampled_rows)
    seed = int(jax.random.bits(key_map, dtype=jnp.uint32))
    return Recorder(subject, sampler, listed, rollouts, drawn, plan, estimators, seed, truth)


def rollouts_at_once(score_bytes: int) -> int:
    """How many rollouts are sampled together: activations are taken to be of the order of a 64th of the parameters.

    >>> rollouts_at_once(4 * 135_000_000)  # parameters in float32
    31
    """
    return max(1, _SAMPLED // (1 + score_bytes // 64))


def params_bytes(params: PyTree) -> int:
    """Bytes of one score."""
    flat = jax.eval_shape(lambda p: ravel_pytree(p)[0], params)
    return int(flat.size * flat.dtype.itemsize)


def exact_truth(
    subject: PolicyOnTask, prompts: PyTree, drawn: bool
) -> tuple[Float[np.ndarray, " param"] | None, ExactTables | None]:
    """grad J exactly, and the tables, where policy and task can be listed; of these prompts unless they were drawn."""
    policy, task = subject.policy, subject.task
    if not (isinstance(policy, FinitePolicy) and isinstance(task, FiniteTask)):
        return None, None
    tables = tabulate(policy, subject.params, task, subject.old_params, subject.ref_params, subject.engine)
    if drawn:
        return np.asarray(tables.true_gradient, np.float64), tables
    listed = task.all_prompts()
    size, known = len(jax.tree.leaves(prompts)[0]), tables.probs.shape[0]
    places = [
        next((j for j in range(known) if _same_prompt(prompts, i, listed, j)), None) for i in range(size)
    ]
    rows = [j for j in places if j is not None]
    if len(rows) < size:
        return None, tables
    return np.asarray(tables.gradients, np.float64)[rows].mean(0), tables


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
