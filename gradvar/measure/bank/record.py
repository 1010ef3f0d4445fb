"""``record``: sample rollouts once and keep their scores, in memory or in shards on disk."""

import contextlib
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, PRNGKeyArray, PyTree

from gradvar.core.checks import at_least
from gradvar.core.devices import from_first_process
from gradvar.core.estimator import Estimator, Objective
from gradvar.core.protocols import Policy, Sampler, Task
from gradvar.files.atomic import Lock, claim, remove_parts, writing
from gradvar.files.fingerprint import describe, digest, fingerprint
from gradvar.gradients.factored_sketch import LEAST
from gradvar.gradients.sketch import Gram, ScoreMap, Sketch, Whole, describe_map
from gradvar.measure.bank.bank import ScoreBank
from gradvar.measure.bank.disk import ShardLayout, load
from gradvar.measure.bank.pace import Pace
from gradvar.measure.bank.recorder import (
    Recorder,
    RecordPlan,
    RecordSettings,
    ShardPart,
    prepare,
    rollouts_at_once,
)
from gradvar.measure.bank.score import CHUNK
from gradvar.measure.direct_plan import PolicyOnTask
from gradvar.policies.sampler_weights import as_sampler

_SHARD = 1 << 26  # bytes of whole scores in a shard
_WAIT = 60.0  # seconds in which another part's process has written what is recorded


def record(
    policy: Policy,
    params: PyTree,
    task: Task,
    key: PRNGKeyArray,
    prompts: int | PyTree,
    rollouts: int,
    *,
    estimators: Sequence[Estimator | Objective] = (),
    old_params: PyTree | None = None,
    ref_params: PyTree | None = None,
    sampler: Sampler | PyTree | None = None,
    scores: ScoreMap | Literal["auto"] = "auto",
    folder: str | Path | None = None,
    settings: RecordSettings | None = None,
) -> ScoreBank:
    """Sample ``rollouts`` completions of each prompt and keep their scores at ``params``.

    With a ``folder``, shards of prompts are kept there as they are finished. The same call continues where an earlier
    one ended, however it ended: whole shards are kept, a damaged one is recorded again (a warning names it),
    and the numbers are those of a call that was never interrupted. A prompt has the same rollouts with and without a
    folder, and estimators the same figures up to rounding; each shard finds a basis of its own. ``ScoreBank.open``
    opens what is finished at any time, as a bank of those prompts. Ctrl-C ends the call with a list of what is kept. In
    several processes (``jax.distributed``), which need to see the same folder, the first one writes. Processes that
    know nothing of each other share a folder by ``settings.part``: each records its shards, with the same numbers.

    Args:
        policy: Samples, and gives the log-probabilities.
        params: The parameters that are differentiated.
        task: Gives prompts and rewards.
        key: Of everything that is random.
        prompts: How many to draw from the task, or the prompts themselves (then they are all there is).
        rollouts: Completions of each prompt, 4 or more.
        estimators: Whose token weights the bank must serve. Every bank serves sequence weights (REINFORCE, RLOO, GRPO
            on policy).
        old_params: The trainer's proximal policy, of the ratios; by default ``params`` (on policy).
        ref_params: Of the reference policy, by default ``old_params``.
        sampler: What draws: a ``Sampler``, such as ``gv.policies.top_p(0.95)``, or parameters; by default
            ``old_params``. Its log-probabilities are kept as ``logp_sampler``. Where grad J is not known, it is then
            estimated from these rollouts, each weighed by its ratio of ``params`` to what drew it.
        scores: What is kept of a row's P numbers: ``Whole()``, ``Gram()``, ``Sketch(kind, width)``, or
            ``PerToken(width)``, which serves any objective without a basis. "auto": whole where that is small, else
            Gram where it fits the memory, else a hashed sketch; with a folder whole where that fits, else hashed.
        folder: Where shards are kept, or None. ``Gram`` then needs ``cross=False``: products across shards would need
            every score again.
        settings: Ratios to serve, baselines, memory, devices, and the size and progress of shards.

    Raises:
        ValueError: The memory is too small, the model or the task gives a number that is not finite, another process
            writes to the folder, it holds a run of other settings, or the disk is full; what was finished is kept.
    """
    subject = PolicyOnTask(policy, task, params, old_params, ref_params, as_sampler(sampler))
    plan = RecordPlan(estimators, scores, settings or RecordSettings())
    if folder is not None:
        return ScoreBank(_record_shards(Path(folder), subject, key, prompts, rollouts, plan))
    recorder = prepare(subject, key, prompts, rollouts, plan)
    return ScoreBank(recorder.record(recorder.prompts))


def _record_shards(
    folder: Path,
    subject: PolicyOnTask,
    key: PRNGKeyArray,
    prompts: int | PyTree,
    rollouts: int,
    plan: RecordPlan,
) -> Any:
    settings = plan.settings
    if settings.shard is not None:
        at_least("shard", settings.shard, 1)
    count = prompts if isinstance(prompts, int | np.integer) else len(jax.tree.leaves(prompts)[0])
    row = sum(x.nbytes for x in jax.tree.leaves(subject.params))  # bytes of one score
    scores = _shard_map(plan, int(count) * rollouts * row)
    shard = int(min(count, settings.shard or max(1, _SHARD // (rollouts * row))))
    if settings.shard is None and isinstance(
        scores, Sketch
    ):  # no whole scores are held: what is sampled together
        shard = int(min(count, max(shard, rollouts_at_once(row) // rollouts)))
    part = settings.part
    if part is not None and settings.shard is None:  # a shard for every part
        shard = max(1, min(shard, int(count) // part.of))
    chunk = settings.chunk
    if chunk is None and not (isinstance(scores, Sketch) and row >= LEAST):  # one program for all shards
        chunk = max(1, min(shard * rollouts, CHUNK // row))
    resolved = replace(plan, scores=scores, settings=replace(settings, chunk=chunk))
    recorder = prepare(subject, key, prompts, rollouts, resolved, held=shard)
    run = run_facts(recorder, key, shard) | {"chunk": settings.chunk}
    layout = ShardLayout(folder, int(count), shard, fingerprint(run))
    if part is not None and part.number > layout.count:
        raise ValueError(
            f"shard: {part.number}/{part.of} has nothing to record, {count} prompts make {layout.count} shards; give "
            f"{layout.count} parts at most"
        )
    locks: list[Lock] = []
    try:
        enter = lambda: _enter(layout, run, locks, part)  # noqa: E731
        missing = from_first_process(enter, np.zeros(layout.count, bool))
        finished = len(layout.written())
        sizes = [end - first for first, end in map(layout.range, range(layout.count))]
        pace = Pace(int(np.sum(sizes, where=missing)), settings.monitor)
        if missing.any():
            settings.monitor.stage("prompts", pace.left_prompts)
        for done, number in enumerate(np.flatnonzero(missing).tolist(), finished):
            with _kept_shards(layout, done):
                _record_shard(recorder, layout, number, pace)
        with warnings.catch_warnings():
            if part is not None:  # what the other parts have not written yet is no surprise
                warnings.filterwarnings("ignore", f"folder: {re.escape(str(folder))} holds", UserWarning)
            return load(folder)
    finally:
        for lock in locks:
            lock.release()


def _record_shard(recorder: Recorder, layout: ShardLayout, number: int, pace: Pace) -> None:
    first, end = layout.range(number)
    recording = recorder.record(jax.tree.map(lambda x: x[first:end], recorder.prompts), first, pace)
    pace.begin()

    def write() -> np.ndarray:
        with writing(layout.folder, "folder"):
            layout.write(number, recording)
        return np.zeros(())

    from_first_process(write, np.zeros(()))
    pace.written(end - first)


def _enter(
    layout: ShardLayout, run: Mapping[str, Any], locks: list[Lock], part: ShardPart | None
) -> Bool[np.ndarray, " shard"]:
    """Take the folder, or a part of it, and return which shards are missing; damaged ones are removed.

    Processes that record parts hold the folder only while they write what is recorded there, and then their part.
    """
    if part is None:
        locks.append(Lock(layout.folder, "folder"))
        claim(layout.folder, run, "folder")
        remove_parts(layout.folder)
    else:
        with Lock(layout.folder, "folder", wait=_WAIT):
            claim(layout.folder, run, "folder")
        locks.append(Lock(layout.folder / f".part-{part.number}-of-{part.of}", "folder"))
    chosen = np.ones(layout.count, bool) if part is None else part.chosen(layout.count)
    missing = chosen.copy()
    for number in [n for n in layout.written() if chosen[n]]:
        try:
            layout.read(number)
        except ValueError as error:
            warnings.warn(f"{str(error).rsplit(';', 1)[0]}; this shard is recorded again", stacklevel=5)
            layout.remove(number)
        else:
            missing[number] = False
    return missing


@contextlib.contextmanager
def _kept_shards(layout: ShardLayout, done: int) -> Iterator[None]:
    """An error that ends a recording says how many shards are kept."""
    finished = (
        f"{done} of {layout.count} shards are kept in {layout.folder}, which ScoreBank.open opens, and the same call "
        "records the others"
    )
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(finished) from None
    except ValueError as error:
        raise ValueError(f"{error}; {finished}") from error


def _shard_map(plan: RecordPlan, whole_bytes: int) -> ScoreMap:
    if isinstance(plan.scores, Gram) and plan.scores.cross:
        raise ValueError(
            "scores: Gram across shards would need every score again; give Gram(cross=False), Whole() or Sketch()"
        )
    if plan.scores != "auto":
        return plan.scores
    return Whole() if whole_bytes <= plan.settings.memory else Sketch()


def run_facts(recorder: Recorder, key: PRNGKeyArray, shard: int) -> dict[str, Any]:
    """Describe a recording in plain values: all that its numbers depend on, as far as it can be distinguished."""
    subject, settings = recorder.subject, recorder.plan.settings
    assert recorder.plan.scores != "auto"
    return {
        "prompts": recorder.size,
        "shard": shard,
        "rollouts": recorder.rollouts,
        "drawn": recorder.drawn,
        "listed": digest(recorder.prompts),
        "key": np.asarray(jax.random.key_data(key)).ravel().tolist(),
        "params": digest(subject.params),
        "old": digest(subject.old if subject.off_policy else None),
        **({} if subject.engine is None else {"sampler": describe(subject.engine)}),
        "ref": digest(None if subject.reference is subject.old else subject.reference),
        "policy": describe(subject.policy),
        "task": describe(subject.task),
        "baselines": describe(recorder.sampler.baselines),
        "estimators": [describe(e) for e in recorder.estimators],
        "cuts": [float(x) for x in settings.cuts],
        "scores": describe_map(recorder.plan.scores),
        "tolerance": settings.tolerance,
        "precision": jnp.result_type(float).name,
        "versions": {"jax": jax.__version__, "numpy": np.__version__},
    }
