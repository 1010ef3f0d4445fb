"""Recording that outlives its process: a score bank in shards, which goes on where it was after any end."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

from gradvar.core.devices import from_first_process
from gradvar.core.protocols import Policy, Task
from gradvar.files.atomic import Lock, claim, remove_parts, writing
from gradvar.files.fingerprint import describe, digest, fingerprint
from gradvar.measure.bank.bank import ScoreBank
from gradvar.measure.bank.disk import load
from gradvar.measure.bank.record import Job, Map, Settings, prepare
from gradvar.measure.bank.shards import Layout

_SHARD = 1 << 26  # bytes of whole scores in a shard
_CHUNK = 1 << 27


def record_long(
    folder: str | Path,
    policy: Policy,
    params: PyTree,
    task: Task,
    key: PRNGKeyArray,
    prompts: int | PyTree,
    rollouts: int,
    *,
    shard: int | None = None,
    on_shard: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> ScoreBank:
    """``record``, in shards of ``shard`` prompts that are kept in ``folder`` as they are finished.

    The same call goes on where an earlier one ended, however it ended: shards that are whole are kept, one that is
    damaged is recorded again (a warning names it), and the numbers are those of a call that was never interrupted. A
    prompt has the rollouts that ``record`` gives it with the same key, and estimators the same figures up to rounding;
    each shard finds a basis of its own.
    ``ScoreBank.open(folder)`` opens what is there at any time, as a bank of those prompts. Ctrl-C ends the call and
    says what is kept.

    ``shard``: by default as many prompts as make 64 MB of whole scores. ``on_shard(done, total)`` is called after
    each. ``settings``: all that ``record`` takes by name, with its defaults; but ``map="auto"`` is identity where whole
    scores fit ``memory``, else hashed, and "gram" needs ``cross=False``: products across shards would need every score
    again. In several processes (``jax.distributed``), which need to see the same folder, the first one writes.

    Raises ``ValueError`` where another process writes to the folder, where it holds a run of other settings, where the
    disk is full, and as ``record`` does; what was finished before is kept. Raises ``TypeError`` for a setting that
    ``record`` does not have.
    """
    given, place = _settings(settings), Path(folder)
    if shard is not None and shard < 1:
        raise ValueError(f"shard: {shard} prompts; give 1 or more")
    count = prompts if isinstance(prompts, int | np.integer) else len(jax.tree.leaves(prompts)[0])
    row = sum(x.nbytes for x in jax.tree.leaves(params))
    each = int(min(count, shard or max(1, _SHARD // (rollouts * row))))
    kept = _map(given, int(count) * rollouts * row)
    pieces = given.chunk or max(1, min(each * rollouts, _CHUNK // row))  # the same for all shards: one trace
    resolved = replace(given, map=kept, chunk=pieces)
    job = prepare(policy, params, task, key, prompts, rollouts, resolved, at_once=each)
    run = identity(job, key, each) | {"chunk": given.chunk}
    lies = Layout(place, int(count), each, fingerprint(run))
    held: list[Lock] = []
    try:
        missing = from_first_process(lambda: _enter(lies, run, held), np.zeros(lies.count, bool))
        for done, number in enumerate(np.flatnonzero(missing).tolist(), int((~missing).sum())):
            with _telling(lies, done):
                _shard(job, lies, number)
            if on_shard is not None:
                on_shard(done + 1, lies.count)
        return load(place)
    finally:
        for lock in held:
            lock.release()


def _shard(job: Job, lies: Layout, number: int) -> None:
    first, end = lies.range(number)
    bank = job.make(jax.tree.map(lambda x: x[first:end], job.listed), first)

    def keep() -> np.ndarray:
        with writing(lies.folder, "folder"):
            lies.keep(number, bank)
        return np.zeros(())

    from_first_process(keep, np.zeros(()))


def _enter(lies: Layout, run: Mapping[str, Any], held: list[Lock]) -> np.ndarray:
    """Take the folder, and find the shards that are missing; the damaged ones are removed."""
    held.append(Lock(lies.folder, "folder"))
    claim(lies.folder, run, "folder")
    remove_parts(lies.folder)
    missing = np.ones(lies.count, bool)
    for number in lies.there():
        try:
            lies.read(number)
        except ValueError as error:
            warnings.warn(f"{str(error).rsplit(';', 1)[0]}; this shard is recorded again", stacklevel=4)
            lies.remove(number)
        else:
            missing[number] = False
    return missing


@contextlib.contextmanager
def _telling(lies: Layout, done: int) -> Iterator[None]:
    """What ends a recording says what is kept of it."""
    kept = (
        f"{done} of {lies.count} shards are kept in {lies.folder}, which ScoreBank.open opens, and the same call "
        "records the others"
    )
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(kept) from None
    except ValueError as error:
        raise ValueError(f"{error}; {kept}") from error


def _settings(given: Mapping[str, Any]) -> Settings:
    known = [f.name for f in fields(Settings)]
    for name in given:
        if name not in known:
            raise TypeError(f"{name}: no setting of record_long; give shard, on_shard, {', '.join(known)}")
    return Settings(**given)


def _map(settings: Settings, whole: int) -> Map:
    if settings.map == "gram" and settings.cross:
        raise ValueError(
            "map: 'gram' across shards would need every score again; give cross=False, map='identity' or 'hashed'"
        )
    if settings.map != "auto":
        return settings.map
    return "identity" if whole <= settings.memory else "hashed"


def identity(job: Job, key: PRNGKeyArray, shard: int) -> dict[str, Any]:
    """What a recording is, as plain values: all that its numbers depend on, as far as that can be told apart."""
    draw, settings = job.draw, job.settings
    return {
        "prompts": job.size, "shard": shard, "rollouts": job.rollouts, "drawn": job.drawn,
        "listed": digest(job.listed), "key": np.asarray(jax.random.key_data(key)).ravel().tolist(),
        "params": digest(draw.params), "old": digest(draw.old), "ref": digest(draw.ref),
        "policy": describe(draw.policy), "task": describe(draw.task), "side": describe(draw.side),
        "estimators": [describe(e) for e in job.served],
        "cuts": [float(x) for x in settings.cuts], "map": settings.map, "width": settings.width,
        "cross": settings.cross, "way": settings.way, "tolerance": settings.tolerance,
        "precision": jnp.result_type(float).name,
        "versions": {"jax": jax.__version__, "numpy": np.__version__},
    }  # fmt: skip
