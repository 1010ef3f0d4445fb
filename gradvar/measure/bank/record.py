"""Recording a score bank: sample once, find a basis for the token weights, run one backward pass per basis
vector."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float, PRNGKeyArray, PyTree

from gradvar.core.devices import SINGLE, DeviceChoice, Devices, choose_devices, map_threads
from gradvar.core.estimator import Estimator, Objective, as_estimator
from gradvar.core.protocols import FinitePolicy, FiniteTask, Policy, Task
from gradvar.gradients.per_rollout import FASTEST, MapName, Sketch, Way, row_images, token_images
from gradvar.measure.bank.bank import Rows, ScoreBank, Scores
from gradvar.measure.bank.basis import regions, span
from gradvar.measure.bank.partition import design, partition_weights
from gradvar.measure.bank.sample import Draw, Pool
from gradvar.measure.baselines import BASELINE_FIELDS, BaselineSource, exact_baselines, sample_baselines
from gradvar.measure.exact.tables import tabulate

Map = Literal["auto", "identity", "gram", "rademacher", "gaussian", "hashed", "tokens"]

_PILOT_GROUPS = (2, 8)
_IDENTITY = 1 << 28  # bytes of whole scores below which they are simply kept
_CHUNK = 1 << 27  # bytes of scores made at a time


def record(
    policy: Policy,
    params: PyTree,
    task: Task,
    key: PRNGKeyArray,
    prompts: int | PyTree,
    rollouts: int,
    *,
    old_params: PyTree | None = None,
    ref_params: PyTree | None = None,
    estimators: Sequence[Estimator | Objective] = (),
    cuts: Sequence[float] = (),
    map: Map = "auto",
    width: int = 1024,
    cross: bool = True,
    side: BaselineSource | None = None,
    memory: float = 4e9,
    chunk: int | None = None,
    way: Way = "auto",
    tolerance: float | None = None,
    devices: DeviceChoice = "all",
) -> ScoreBank:
    """Sample ``rollouts`` completions of each prompt from ``old_params`` and keep their scores at ``params``.

    ``prompts``: how many to draw from the task, or the prompts themselves (then they are all there is).
    ``old_params`` default to ``params`` (on policy), ``ref_params`` to ``old_params``. ``estimators`` say
    whose token weights the bank must serve; with ``cuts``, ratios such as (0.8, 1.2), it serves every
    token-level clip at them. Every bank serves sequence weights (REINFORCE, RLOO, GRPO on policy).

    ``map``: what is kept of a row's P numbers. "identity": all; "gram": inner products with other rows,
    exact; "rademacher", "gaussian", "hashed": a sketch of ``width`` numbers, unbiased; "tokens": a
    Rademacher sketch of every single token's score by forward mode, which serves any objective without a
    basis, and is cheaper than backward passes where a rollout's basis would have more than about ``width``
    vectors (a penalty per token, say) or where the basis is not known yet; "auto": identity where it is small,
    else gram where it fits ``memory``, else hashed.
    ``cross=False`` keeps no products across prompts with "gram": enough for tr Cov within prompts, and not
    for signals or for batches that couple prompts.

    ``memory``: the most bytes that may be held; the need is predicted before anything is drawn and a
    ``ValueError`` says what to change. ``chunk``: rows per backward pass. ``way``: how scores are formed,
    "vmap" of the gradient or "factors" (activations and cotangents, see ``ghost``); "auto" chooses by
    measured cost; ``print(bank)`` says what was chosen. ``tolerance``: the relative residual of token weights
    (default 1e-9 in float64, 2e-6 in float32).

    ``devices``: who shares the prompts and the rows: "all" (of all processes, where ``jax.distributed`` runs; every
    process then gets the bank), a number, or a list. A prompt's random keys do not depend on them, nor do the numbers,
    to the last bit, where the policy multiplies no matrices; where it does, log-probabilities agree to rounding.

    Raises ``ValueError`` where the model or the task gives a number that is not finite. For long work,
    ``record_long`` keeps shards on disk."""
    settings = Settings(
        old_params=old_params, ref_params=ref_params, estimators=estimators, cuts=cuts, map=map, width=width,
        cross=cross, side=side, memory=memory, chunk=chunk, way=way, tolerance=tolerance, devices=devices,
    )  # fmt: skip
    job = prepare(policy, params, task, key, prompts, rollouts, settings)
    return job.make(job.listed)


@dataclass(frozen=True, eq=False, kw_only=True)
class Settings:
    """What may be chosen about a recording, in one piece or in shards; ``record`` says what each setting means."""

    old_params: PyTree | None = None
    ref_params: PyTree | None = None
    estimators: Sequence[Estimator | Objective] = ()
    cuts: Sequence[float] = ()
    map: Map = "auto"
    width: int = 1024
    cross: bool = True
    side: BaselineSource | None = None
    memory: float = 4e9
    chunk: int | None = None
    way: Way = "auto"
    tolerance: float | None = None
    devices: DeviceChoice = "all"


@dataclass(frozen=True, eq=False)
class Job:
    """What is fixed over a recording, whichever prompts of it are recorded."""

    draw: Draw
    listed: PyTree
    rollouts: int
    drawn: bool
    settings: Settings
    served: tuple[Estimator, ...]
    seed: int
    truth: Float[np.ndarray, " param"] | None

    @property
    def size(self) -> int:
        """Q, of all prompts."""
        return len(jax.tree.leaves(self.listed)[0])

    @property
    def params_bytes(self) -> int:
        """Of one score."""
        flat = jax.eval_shape(lambda p: ravel_pytree(p)[0], self.draw.params)
        return int(flat.size * flat.dtype.itemsize)

    @property
    def on_policy(self) -> bool:
        """Whether the same parameters sample and are differentiated."""
        return self.settings.old_params is None

    def make(self, prompts: PyTree, first: int = 0) -> ScoreBank:
        """The bank of these prompts, of which ``first`` is the number of the first one."""
        started = time.perf_counter()
        policy, params, workers, s = self.draw.policy, self.draw.params, self.draw.devices, self.settings
        pool = self.draw(prompts, self.rollouts, first)
        if self.on_policy:
            pool = on_policy(pool)
        sampled = time.perf_counter()
        tolerance = s.tolerance or (1e-9 if pool.logp.dtype == np.float64 else 2e-6)
        if s.map == "tokens":
            sketch = Sketch("rademacher", s.width, self.seed)
            rows, scores, kept = _by_tokens(policy, params, pool, sketch, workers)
        else:
            basis = find_basis(pool, self.served, s.cuts, tolerance / 4)
            rows = Rows.of(basis)
            kept = _resolve(s.map, rows, self.params_bytes, s.width, s.memory, s.cross)
            scores = score_rows(
                policy, params, pool, rows, kept, s.width, self.seed, s.cross, s.memory, s.chunk, self.truth, s.way,
                workers,
            )  # fmt: skip
        if self.truth is not None:
            scores = with_truth(scores, self.truth, kept)
        seconds = {"sample": sampled - started, "scores": time.perf_counter() - sampled}
        return ScoreBank(pool, rows, scores, self.drawn, tolerance, self._info(rows, kept, seconds))

    def _info(self, rows: Rows, kept: str, seconds: dict[str, float]) -> dict[str, Any]:
        s, devices = self.settings, self.draw.devices.size
        return {
            "map": kept, "width": s.width, "seed": self.seed,
            "params": sum(x.size for x in jax.tree.leaves(self.draw.params)), "rows": rows.count,
            "basis": int(rows.basis.shape[2]), "cross": s.cross, "on_policy": self.on_policy,
            "estimators": [e.name for e in self.served], "cuts": list(s.cuts),
            "policy": repr(self.draw.policy), "task": type(self.draw.task).__name__, "seconds": seconds,
            "way": "forward mode" if s.map == "tokens" else FASTEST if s.way == "auto" else s.way,
            "versions": {"jax": jax.__version__, "numpy": np.__version__, "python": platform.python_version()},
            "device": jax.devices()[0].device_kind, "devices": devices,
        }  # fmt: skip


def prepare(
    policy: Policy,
    params: PyTree,
    task: Task,
    key: PRNGKeyArray,
    prompts: int | PyTree,
    rollouts: int,
    settings: Settings,
    at_once: int | None = None,
) -> Job:
    """Everything about ``record`` that is settled before a rollout is drawn; ``at_once``: prompts that are held at a
    time (None: all)."""
    if rollouts < 4:
        raise ValueError(f"rollouts: {rollouts}; a bank needs at least 4 of each prompt, two groups of two")
    who = choose_devices(settings.devices)
    key_prompts, key_draw, key_side, key_map = jax.random.split(key, 4)
    drawn = isinstance(prompts, int | np.integer)
    listed = task.prompts(key_prompts, int(prompts)) if drawn else prompts
    old = params if settings.old_params is None else settings.old_params
    ref = old if settings.ref_params is None else settings.ref_params
    served = tuple(as_estimator(e) for e in settings.estimators)
    size = len(jax.tree.leaves(listed)[0])
    flat = jax.eval_shape(lambda p: ravel_pytree(p)[0], params)
    params_bytes = flat.size * flat.dtype.itemsize
    predict((at_once or size) * rollouts, params_bytes, settings.map, settings.width, settings.memory)
    group = int(max(1, min(rollouts, _CHUNK // (1 + params_bytes // 64) // size + 1)))
    needs = tuple(n for n in BASELINE_FIELDS if any(n in e.needs for e in served))
    truth, tables = exact_truth(policy, params, task, old, ref, listed, drawn)
    side = settings.side or side_for(policy, task, old, tables, needs, key_side)
    # what is the same object is scored once: the same pass need not be run and compiled again
    draw = Draw(
        policy, task, params, None if old is params else old, None if ref is old else ref, key_draw, side, needs, group,
        who,
    )  # fmt: skip
    seed = int(jax.random.bits(key_map, dtype=jnp.uint32))
    return Job(draw, listed, rollouts, drawn, settings, served, seed, truth)


def find_basis(
    pool: Pool,
    estimators: Sequence[Estimator],
    cuts: Sequence[float],
    tolerance: float,
    replicates: int = 12,
    known: Float[np.ndarray, "prompt rollout basis time"] | None = None,
) -> Float[np.ndarray, "prompt rollout basis time"]:
    """An orthonormal basis, rollout by rollout, for sequence weights, clips at ``cuts`` and ``estimators``'
    token weights.

    The estimators' weights are taken on batches of small and of larger groups, with companions of every
    reward. A vector that they miss is not lost silently: evaluation measures what the basis leaves
    unexplained and refuses."""
    size, rollouts, time_ = pool.shape
    fixed = [pool.mask[:, :, None].astype(np.float64)]
    if len(cuts):
        fixed.append(regions(np.float64(pool.logp) - pool.logp_old, pool.mask, cuts))
    rng = np.random.default_rng(0)
    arrays, here = pool.objective_arrays(), np.arange(size)[:, None]
    groups = sorted({min(g, rollouts // 2) for g in _PILOT_GROUPS})
    designs = [(g, [design(rng, pool, g, size, 1).orders[0] for _ in range(replicates)]) for g in groups]
    pilots = [(g, np.stack(o), *_pilot_rewards(pool, np.stack(o), rng)) for g, o in designs]

    def take(pilot: tuple[int, np.ndarray, np.ndarray, np.ndarray]) -> list[np.ndarray]:
        fitting, found = tuple(e for e in estimators if e.min_group <= pilot[0]), []
        # All prompts in a batch, as when prompts are all there is: that evaluation needs no new program.
        for order, rewards, keep in zip(*pilot[1:], strict=True) if fitting else ():
            dealt = arrays | {"rewards": jnp.asarray(rewards)}
            weights = np.zeros((len(fitting), *pool.shape), pool.logp.dtype)
            weights[:, here, order] = partition_weights(fitting, dealt, order, pilot[0], size)
            found.append(np.where(keep[:, :, None], weights, 0.0))
        return found

    taken = [weights for found in map_threads(take, pilots) for weights in found]
    bases = []
    for q in range(size):
        stacks = [x[q] for x in fixed] + [np.moveaxis(x[:, q], 0, 1) for x in taken]
        bases.append(span(np.concatenate(stacks, 1), tolerance, known=None if known is None else known[q]))
    basis = np.zeros((size, rollouts, max(x.shape[1] for x in bases), time_), pool.logp.dtype)
    for q, found in enumerate(bases):
        basis[q, :, : found.shape[1]] = found
    return basis


def _pilot_rewards(
    pool: Pool, orders: np.ndarray, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "partition prompt rollout"], np.ndarray]:
    """Rewards under which every rollout meets companions of each kind, and which rollouts kept their own.

    Most groups of a prompt that is nearly always solved have equal rewards and so no weight at all; the few
    that do not must find their weights in the basis too. So every other place of a group is given another
    reward, the same one in turn for all of a partition, then random ones; only rollouts with their own
    reward count."""
    partitions, size, used = orders.shape
    values = np.unique(pool.rewards)
    values = values[np.linspace(0, len(values) - 1, min(len(values), 8)).astype(int)]
    given = values[np.arange(partitions)[:, None, None] // 2 % len(values)] * np.ones((1, size, used))
    late = np.arange(partitions) >= 2 * len(values)
    given[late] = rng.choice(values, size=given[late].shape)
    other = (np.arange(used) + np.arange(partitions)[:, None]) % 2 == 1
    other = np.broadcast_to(other[:, None], orders.shape)
    rewards = np.broadcast_to(pool.rewards, (partitions, *pool.rewards.shape)).copy()
    own = np.take_along_axis(rewards, orders, 2)
    np.put_along_axis(rewards, orders, np.where(other, given, own).astype(rewards.dtype), 2)
    keep = np.zeros(rewards.shape, bool)
    np.put_along_axis(keep, orders, ~other, 2)
    return rewards, keep


def score_rows(
    policy: Policy,
    params: PyTree,
    pool: Pool,
    rows: Rows,
    kept: str,
    width: int,
    seed: int,
    cross: bool,
    memory: float,
    chunk: int | None,
    truth: Float[np.ndarray, " param"] | None,
    way: Way = "auto",
    devices: Devices = SINGLE,
) -> Scores:
    """One backward pass per row, and the image ``kept`` of each."""
    names: dict[str, MapName] = {"identity": "identity", "gram": "identity"}
    sketch = Sketch(names.get(kept, kept.removeprefix("sketch ")), width, seed)  # type: ignore[arg-type]
    params_bytes = ravel_pytree(params)[0].nbytes
    if chunk is None:  # equal chunks: the last one is filled up, and what fills it is computed too
        chunks = -(-rows.count * params_bytes // _CHUNK)
        chunk = max(1, -(-rows.count // max(1, chunks)))
    size, most = rows.rollout.shape
    at_prompt, at_row = np.nonzero(rows.real)
    at_rollout, at_slot = rows.rollout[at_prompt, at_row], rows.slot[at_prompt, at_row]
    images = row_images(
        policy,
        params,
        jax.tree.map(lambda x: x[at_prompt], pool.prompts),
        pool.completions[at_prompt, at_rollout],
        rows.basis[at_prompt, at_rollout, at_slot],
        sketch,
        chunk,
        way,
        devices,
    )
    if kept == "gram" and cross:
        found, along = _gram(list(images), truth)
        whole = np.zeros((size * most, size * most), found.dtype)
        at = at_prompt * most + at_row
        whole[np.ix_(at, at)] = found
        if along is not None:
            padded = np.zeros((size, most), along.dtype)
            padded[at_prompt, at_row] = along
            along = padded
        return Scores(cross=whole.reshape(size, most, size, most), truth=along)
    columns = params_bytes // rows.basis.dtype.itemsize if sketch.name == "identity" else sketch.width
    vectors = np.zeros((size, most, columns), rows.basis.dtype)
    done = 0
    for image in images:
        at = slice(done, done + len(image))
        vectors[at_prompt[at], at_row[at]] = image
        done += len(image)
    if kept != "gram":
        return Scores(vectors=vectors)
    products = None if truth is None else vectors @ truth.astype(vectors.dtype)
    return Scores(gram=np.matmul(vectors, np.swapaxes(vectors, 1, 2)), truth=products)


def _gram(
    images: list[Float[np.ndarray, "chunk param"]], truth: Float[np.ndarray, " param"] | None
) -> tuple[Float[np.ndarray, "row row"], Float[np.ndarray, " row"] | None]:
    """Inner products of all rows, chunk by chunk (the first touch of a second copy would cost as much as half of
    the backward passes), and their products with grad J."""
    edges = np.cumsum([0, *(len(x) for x in images)])
    found = np.empty((edges[-1], edges[-1]), images[0].dtype)
    for i, one in enumerate(images):
        here = slice(edges[i], edges[i + 1])
        for j, two in enumerate(images[: i + 1]):
            there = slice(edges[j], edges[j + 1])
            found[here, there] = one @ two.T
            found[there, here] = found[here, there].T
    along = None if truth is None else np.concatenate([x @ truth.astype(x.dtype) for x in images])
    return found, along


def with_truth(scores: Scores, truth: Float[np.ndarray, " param"], kept: str) -> Scores:
    """The scores with their products with the exact grad J, where whole scores or products were kept."""
    products = scores.truth
    if kept == "identity":
        assert scores.vectors is not None
        products = scores.vectors @ truth
    if products is None:
        return scores
    return Scores(scores.vectors, scores.gram, scores.cross, products, truth)


def _by_tokens(
    policy: Policy, params: PyTree, pool: Pool, sketch: Sketch, devices: Devices
) -> tuple[Rows, Scores, str]:
    """Every token is its own basis vector."""
    size, _, time_ = pool.shape
    basis = np.eye(time_, dtype=pool.logp.dtype) * pool.mask[..., None, :]
    rows = Rows.of(basis)
    prompts = jax.tree.map(jnp.asarray, pool.prompts)
    images = token_images(policy, params, prompts, pool.completions, sketch, devices)
    picked = images[np.arange(size)[:, None], rows.rollout, rows.slot] * rows.real[..., None]
    return rows, Scores(vectors=picked), "sketch tokens"


def _resolve(kind: Map, rows: Rows, params_bytes: int, width: int, memory: float, cross: bool) -> str:
    """The map that is used, and the memory that it needs now that the number of rows is known."""
    size, most = rows.rollout.shape
    item = rows.basis.dtype.itemsize
    gram_bytes = (size * most) ** 2 * item if cross else size * most**2 * item
    needs = {"identity": size * most * params_bytes, "gram": size * most * params_bytes + gram_bytes}
    if kind == "auto":
        kind = "identity" if needs["identity"] <= min(_IDENTITY, memory) else "gram"
        if needs["gram"] > memory:
            kind = "hashed"
    need = needs.get(kind, size * most * width * item)
    if need > memory:
        raise ValueError(
            f"memory: {need / 1e9:.2f} GB for {rows.count} rows with map='{kind}', and "
            f"{memory / 1e9:.2f} GB are allowed; give map='hashed', fewer rollouts, or more memory"
        )
    return kind if kind in ("identity", "gram") else f"sketch {kind}"


def predict(rollouts: int, params_bytes: int, kind: Map, width: int, memory: float) -> None:
    """Refuse, before anything is drawn, what cannot fit even with one row per rollout."""
    need = {"identity": rollouts * params_bytes, "gram": rollouts * params_bytes}.get(
        kind, rollouts * width * 4
    )
    if need > memory:
        raise ValueError(
            f"memory: at least {need / 1e9:.2f} GB for {rollouts} rollouts with map='{kind}', "
            f"and {memory / 1e9:.2f} GB are allowed; give map='hashed', a smaller width, fewer rollouts, or more memory"
        )


def exact_truth(
    policy: Policy, params: PyTree, task: Task, old: PyTree, ref: PyTree, listed: PyTree, drawn: bool
) -> tuple[Float[np.ndarray, " param"] | None, Any]:
    """grad J exactly, and the tables, where policy and task can be listed; of the given prompts where they
    are given."""
    if not (isinstance(policy, FinitePolicy) and isinstance(task, FiniteTask)):
        return None, None
    tables = tabulate(policy, params, task, old, ref)
    if drawn:
        return np.asarray(tables.true_gradient, np.float64), tables
    everything = task.all_prompts()
    size, known = len(jax.tree.leaves(listed)[0]), tables.probs.shape[0]
    place = [next((j for j in range(known) if _same(listed, i, everything, j)), None) for i in range(size)]
    found = [j for j in place if j is not None]
    if len(found) < size:
        return None, tables
    return np.asarray(tables.gradients, np.float64)[found].mean(0), tables


def side_for(
    policy: Policy, task: Task, old: PyTree, tables: Any, needs: tuple[str, ...], key: PRNGKeyArray
) -> BaselineSource | None:
    """Critics and baselines: exact where tables are there, from a pilot sample elsewhere, none where none is
    needed."""
    if not needs:
        return None
    if tables is None:
        return sample_baselines(policy, old, task, key, needs=needs)
    assert isinstance(policy, FinitePolicy)
    assert isinstance(task, FiniteTask)
    return exact_baselines(policy, task, tables)


def _same(one: PyTree, i: int, two: PyTree, j: int) -> bool:
    """Whether prompt i of one list is prompt j of another."""
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True)
    return all(np.array_equal(np.asarray(x)[i], np.asarray(y)[j]) for x, y in leaves)


def on_policy(pool: Pool) -> Pool:
    """The same parameters sample and are differentiated: equal to the last bit, whatever the compiler did."""
    arrays = pool.arrays()
    return Pool(**{**arrays, "logp_old": pool.logp})
