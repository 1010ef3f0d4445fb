"""One setting of a study: a group size at a staleness of a problem, measured or taken from a cache."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from gradvar.core.devices import imap_threads
from gradvar.core.estimator import Estimator
from gradvar.core.moments import Moments
from gradvar.core.progress import ProgressMonitor
from gradvar.core.protocols import FinitePolicy
from gradvar.core.until import Until
from gradvar.files.cache import NullCache, versions
from gradvar.files.fingerprint import describe
from gradvar.measure.direct import direct, rehearse
from gradvar.measure.direct_sums import Work
from gradvar.measure.exact.enumerate import TooLarge, exact
from gradvar.studies.problems import Problem

_SHORT = 1024  # replicates


@dataclass(frozen=True)
class Setting:
    """A batch's shape and how it is measured; the trainer's proximal policy is ``staleness`` optimiser steps old."""

    problem: Problem
    staleness: int
    group_size: int
    prompts: int
    replicates: int | Until
    seed: int

    @property
    def amount(self) -> dict[str, Any]:
        """How many replicates, or until when, as ``direct`` takes it."""
        return {"until" if isinstance(self.replicates, Until) else "replicates": self.replicates}

    def identity(self, route: str, estimators: Sequence[Estimator]) -> dict[str, Any]:
        """All that the setting's figures depend on, as plain values."""
        problem = self.problem
        return {
            "route": route,
            "policy": describe(problem.policy),
            "task": describe(problem.task),
            "steps": self.staleness,
            "params": problem.digest(self.staleness),
            "old": problem.digest(0),
            **({} if problem.sampler is None else {"sampler": describe(problem.sampler)}),
            "group_size": self.group_size,
            "prompts": self.prompts,
            "estimators": [describe(e) for e in estimators],
            "versions": versions(),
            "precision": jnp.result_type(float).name,
        }


def measure_all(
    settings: Sequence[Setting], estimators: Sequence[Estimator], cache: NullCache, monitor: ProgressMonitor
) -> Generator[list[tuple[int, str, Moments]], None, None]:
    """What ``measure`` yields for every setting of a problem, a list each.

    Settings are measured in a few threads, ahead of being asked for; while the parameters of a policy that cannot be
    enumerated are learnt, its programs are compiled.

    Args:
        settings: Settings of one problem.
        estimators: The estimators.
        cache: Where moments are kept, and taken from.
        monitor: Receives a step for every estimator.
    """
    first, problem = settings[0], settings[0].problem
    is_finite = isinstance(problem.policy, FinitePolicy)
    if not (is_finite or problem.start.done()):
        amount, size = first.amount, first.group_size
        rehearse(estimators, problem.policy, problem.task, size, **amount, prompts=first.prompts)
    # An interrupt waits for what threads have begun: of a finite policy, nothing that may take minutes.
    is_short = isinstance(first.replicates, int) and first.replicates <= _SHORT
    # one process: several draw the same batches together, one setting after another
    run = imap_threads if jax.process_count() == 1 and (is_short or not is_finite) else map
    yield from run(lambda setting: list(measure(setting, estimators, cache, monitor)), settings)


def measure(
    setting: Setting, estimators: Sequence[Estimator], cache: NullCache, monitor: ProgressMonitor
) -> Iterator[tuple[int, str, Moments]]:
    """Moments of every estimator: exact where that can be enumerated, the others by Monte Carlo on the same rollouts.

    Args:
        setting: The problem and the batch.
        estimators: The estimators, in the order of the results' numbers.
        cache: Where moments are kept, and taken from.
        monitor: Receives a step for every estimator.

    Yields:
        The estimator's number, the route ("exact" or "direct") and its moments; exact ones first.
    """
    sampled: list[int] = []
    for number, estimator in enumerate(estimators):
        is_finite = isinstance(setting.problem.policy, FinitePolicy)
        moments = _enumerated(setting, estimator, cache) if is_finite else None
        if moments is None:
            sampled.append(number)
            continue
        monitor.advance(note=f"{estimator.name} G={setting.group_size}")
        yield number, "exact", moments
    if sampled:
        all_moments = _sampled(setting, [estimators[n] for n in sampled], cache, monitor)
        for number, moments in zip(sampled, all_moments, strict=True):
            monitor.advance(note=f"{moments.estimator} G={setting.group_size}")
            yield number, "direct", moments


def _enumerated(setting: Setting, estimator: Estimator, cache: NullCache) -> Moments | None:
    """By enumeration; None where there are too many batches."""
    identity = setting.identity("exact", [estimator])
    moments = cache.get(identity)
    if moments is None:
        tables = setting.problem.tables(setting.staleness)
        try:
            moments = exact(estimator, tables=tables, group_size=setting.group_size, prompts=setting.prompts)
        except TooLarge:
            return None
        cache.put(identity, moments)
    return moments


def _sampled(
    setting: Setting, estimators: Sequence[Estimator], cache: NullCache, monitor: ProgressMonitor
) -> list[Moments]:
    """By Monte Carlo, all on the same rollouts."""
    identity = setting.identity("direct", estimators)
    until = setting.replicates.as_dict() if isinstance(setting.replicates, Until) else None
    identity |= {"seed": setting.seed} | ({"until": until} if until else {"replicates": setting.replicates})
    cached = [cache.get(identity | {"which": number}) for number in range(len(estimators))]
    if all(moments is not None for moments in cached):
        return [moments for moments in cached if moments is not None]
    names = f"{', '.join(e.name for e in estimators)} G={setting.group_size}"

    def report(done: int, total: int) -> None:
        monitor.advance(0, note=f"{names}, batch {done} of {total}")

    problem, steps = setting.problem, setting.staleness
    sampled = direct(
        estimators,
        problem.policy,
        problem.params(steps),
        problem.task,
        setting.group_size,
        key=jax.random.fold_in(jax.random.key(setting.seed), 1000 * steps + setting.group_size),
        **setting.amount,
        prompts=setting.prompts,
        old_params=None if steps == 0 else problem.params(0),
        sampler=problem.sampler,
        work=Work(on_progress=report),
    )
    for number, moments in enumerate(sampled):
        cache.put(identity | {"which": number}, moments)
    return sampled
