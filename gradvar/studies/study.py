"""A study: several estimators at several group sizes, on policies of known or learnt behaviour, as one tidy result.

Finite policies are enumerated where that is possible; everything else is direct Monte Carlo with error bars.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from gradvar import catalogue
from gradvar.core.estimator import Estimator
from gradvar.core.moments import Moments
from gradvar.core.progress import Monitor, Silent
from gradvar.core.protocols import Policy, Task
from gradvar.files.cache import MomentsCache, NullCache, versions
from gradvar.files.fingerprint import describe, digest
from gradvar.files.provenance import provenance
from gradvar.files.tables import write_csv, write_json, write_parquet
from gradvar.measure.baselines import BASELINE_FIELDS
from gradvar.measure.direct import Work, direct
from gradvar.measure.exact.enumerate import TooLarge, exact
from gradvar.measure.exact.tables import ExactTables, exact_tables
from gradvar.policies import Bandit
from gradvar.stats.figures import FIGURES
from gradvar.studies.config import MeasureConfig
from gradvar.studies.findings import findings
from gradvar.tasks import Bandit as RewardTable
from gradvar.train.drift import drift
from gradvar.train.problems import finite_scene, warm_transformer

SETTING = ("policy", "task", "staleness", "clip", "estimator", "group_size", "prompts", "rollouts")
PER_ROLLOUT = (*FIGURES, "snr_per_rollout")
SUPPLIED = (*BASELINE_FIELDS, "logp_ref", "logp_sampler")
DRIFT_RATE = {"bandit": 0.1, "tabular": 0.1, "transformer": 3e-4}


@dataclass(frozen=True)
class Result:
    """One measured setting."""

    policy: str
    task: str
    staleness: int
    clip: float | None
    route: str
    moments: Moments

    def row(self) -> dict[str, Any]:
        """The setting's columns."""
        m = self.moments
        return {
            "policy": self.policy, "task": self.task, "staleness": self.staleness, "clip": self.clip,
            "estimator": m.estimator, "group_size": m.group_size, "prompts": m.prompts, "rollouts": m.rollouts,
        }  # fmt: skip


@dataclass(frozen=True)
class Study:
    """What was measured, with where it came from."""

    config: MeasureConfig
    results: tuple[Result, ...]
    success: dict[str, float]
    """Mean reward of the sampling policy, by policy."""
    reused: int = 0
    """Settings that an earlier run had measured and kept."""

    def rows(self) -> list[dict[str, Any]]:
        """Tidy rows: one per setting and figure, with its standard error and 95 % interval."""
        rows = []
        for result in self.results:
            m = result.moments
            for figure in PER_ROLLOUT:
                low, high = m.interval(figure)
                rows.append(
                    {
                        **result.row(),
                        "route": result.route,
                        "replicates": m.replicates,
                        "figure": figure,
                        "value": float(getattr(m, figure)),
                        "se": _error(m, figure),
                        "low": low,
                        "high": high,
                    }
                )
        return rows

    def select(self, **where: Any) -> list[Result]:
        """The results whose columns have these values."""
        return [r for r in self.results if all(r.row()[k] == v for k, v in where.items())]

    def save(self, folder: Path) -> list[Path]:
        """Write the tidy table and the JSON with provenance to ``folder``, and return the files written."""
        rows, written = self.rows(), [folder / "measurements.csv", folder / "measurements.json"]
        write_csv(written[0], rows)
        write_json(written[1], self.as_json())
        write_parquet(folder / "measurements.parquet", rows)
        written.append(folder / "measurements.parquet")
        return written

    def as_json(self) -> dict[str, Any]:
        """Rows with full provenance, as plain values."""
        rows = self.rows()
        return {
            "kind": "measurement",
            "findings": findings(rows),
            "provenance": provenance(self.config.as_dict()),
            "success": self.success,
            "rows": rows,
        }


def study(
    config: MeasureConfig | None = None,
    monitor: Monitor | None = None,
    keep: Path | None = None,
    **settings: Any,
) -> Study:
    """Run the measurement that ``config`` (or keyword ``settings`` of ``MeasureConfig``) describes.

    ``keep``: a folder where every setting is kept as soon as it is measured, and from which it is taken where the same
    code measured it before, on the same parameters. One process at a time; ``ValueError`` for another.
    """
    config = dataclasses.replace(config or MeasureConfig(), **settings)
    config.check()
    estimators = variants(config)
    monitor = monitor or Silent()
    results: list[Result] = []
    success: dict[str, float] = {}
    with NullCache() if keep is None else MomentsCache(keep) as kept:
        for name in config.policies:
            scene = _scene(name, config, monitor)
            success[f"{name}, {scene.task_name}"] = scene.success
            results.extend(_measure(scene, estimators, config, monitor, kept))
    return Study(config, tuple(results), success, kept.reused)


def variants(config: MeasureConfig) -> list[tuple[float | None, Estimator]]:
    """Every estimator at every clip range (None: its own); those that do not clip appear once."""
    found: list[tuple[float | None, Estimator]] = []
    for name in config.estimators:
        unmet = [need for need in catalogue.get(name).needs if need not in SUPPLIED]
        if unmet:
            raise ValueError(
                f"estimators: '{name}' needs {', '.join(unmet)}, which no policy or task here supplies; leave it out"
            )
        settings = catalogue.describe(name).settings
        if not (config.clip and {"clip_low", "clip_high"} <= set(settings)):
            found.append((None, catalogue.get(name)))
            continue
        found.extend((c, catalogue.get(name, clip_low=c, clip_high=c)) for c in config.clip)
    for size in config.group_sizes:
        for _, estimator in found:
            if size < estimator.min_group:
                raise ValueError(
                    f"group_sizes: {size}; {estimator.name} needs at least {estimator.min_group} rollouts of a prompt"
                )
    return found


@dataclass(frozen=True)
class _Scene:
    """A policy on a task, with the parameters at every staleness; index 0 samples."""

    name: str
    task_name: str
    policy: Policy
    task: Task
    params: dict[int, PyTree]
    success: float
    made: dict[Any, Any] = dataclasses.field(default_factory=dict)

    def tables(self, steps: int) -> ExactTables:
        """Everything about a finite policy after ``steps``, listed once, when it is first asked for."""
        if ("tables", steps) not in self.made:
            now, old = self.params[steps], self.params[0]
            self.made["tables", steps] = exact_tables(self.policy, now, self.task, old)  # type: ignore[arg-type]
        return self.made["tables", steps]

    def digests(self, steps: int) -> str:
        """A hash of the parameters after ``steps``."""
        if ("digest", steps) not in self.made:
            self.made["digest", steps] = digest(self.params[steps])
        return self.made["digest", steps]


def _scene(name: str, config: MeasureConfig, monitor: Monitor) -> _Scene:
    key = jax.random.key(config.seed)
    task_name = config.task
    policy: Policy
    task: Task
    if name == "transformer":
        task_name = "addition" if task_name == "auto" else task_name
        monitor.stage(f"transformer: warm start on {task_name}", 1)
        note = f"to a success rate of {config.success:g}"
        warm = warm_transformer(task_name, config.seed, config.success, config.precision, monitor=monitor)
        monitor.advance(note=note)
        policy, task, params, success = warm.policy, warm.task, warm.params, warm.success
    else:
        task_name = "binary" if task_name == "auto" else task_name
        policy, task, params = finite_scene(name, task_name, config.seed)
        tables = exact_tables(policy, params, task)
        success = float((np.asarray(tables.probs) * np.asarray(tables.rewards)).sum(-1).mean())
    stale = sorted(set(config.staleness) - {0})
    versions = {0: params}
    if stale:
        monitor.stage(f"{name}: {stale[-1]} optimiser steps", len(stale))
        mover = catalogue.get("rloo")
        for before, after in zip([0, *stale], stale, strict=False):
            versions[after] = drift(
                policy, versions[before], task, jax.random.fold_in(key, after), after - before, mover,
                learning_rate=DRIFT_RATE[name], prompts_per_step=8, group=8,
            )  # fmt: skip
            monitor.advance()
    return _Scene(name, task_name, policy, task, versions, success)


def _measure(
    scene: _Scene,
    estimators: Sequence[tuple[float | None, Estimator]],
    config: MeasureConfig,
    monitor: Monitor,
    kept: NullCache,
) -> Iterator[Result]:
    monitor.stage(
        f"{scene.name}: measuring", len(config.staleness) * len(config.group_sizes) * len(estimators)
    )
    for steps in config.staleness:
        for size in config.group_sizes:
            prompts = config.rollouts // size if config.budget == "rollouts" else config.prompts
            setting = _Setting(scene, steps, size, prompts, config.replicates, config.seed)
            left = []
            for clip, estimator in estimators:
                moments = None if scene.name == "transformer" else setting.exact(estimator, kept)
                if moments is None:
                    left.append((clip, estimator))
                    continue
                monitor.advance(note=f"{estimator.name} G={size}")
                yield Result(scene.name, scene.task_name, steps, clip, "exact", moments)
            if left:
                sampled = setting.direct([e for _, e in left], kept, monitor)
                for (clip, _), moments in zip(left, sampled, strict=True):
                    monitor.advance(note=f"{moments.estimator} G={size}")
                    yield Result(scene.name, scene.task_name, steps, clip, "direct", moments)


@dataclass(frozen=True)
class _Setting:
    """A group size at a staleness of one scene: measured, or taken from what is kept."""

    scene: _Scene
    steps: int
    size: int
    prompts: int
    replicates: int
    seed: int

    def exact(self, estimator: Estimator, kept: NullCache) -> Moments | None:
        """By enumeration; None where that is too large."""
        identity = self._identity("exact", [estimator])
        found = kept.get(identity)
        if found is None:
            try:
                found = exact(
                    estimator,
                    tables=self.scene.tables(self.steps),
                    group_size=self.size,
                    prompts=self.prompts,
                )
            except TooLarge:
                return None
            kept.put(identity, found)
        return found

    def direct(self, estimators: Sequence[Estimator], kept: NullCache, monitor: Monitor) -> list[Moments]:
        """By Monte Carlo, all on the same rollouts."""
        identity = self._identity("direct", estimators)
        identity |= {"replicates": self.replicates, "seed": self.seed}
        found = [kept.get(identity | {"which": i}) for i in range(len(estimators))]
        if all(m is not None for m in found):
            return [m for m in found if m is not None]
        at = f"{', '.join(e.name for e in estimators)} G={self.size}"

        def tell(done: int, total: int) -> None:
            monitor.advance(0, note=f"{at}, batch {done} of {total}")

        scene = self.scene
        sampled = direct(
            estimators,
            scene.policy,
            scene.params[self.steps],
            scene.task,
            self.size,
            key=jax.random.fold_in(jax.random.key(self.seed), 1000 * self.steps + self.size),
            replicates=self.replicates,
            prompts=self.prompts,
            old_params=None if self.steps == 0 else scene.params[0],
            work=Work(on_progress=tell),
        )
        for i, moments in enumerate(sampled):
            kept.put(identity | {"which": i}, moments)
        return sampled

    def _identity(self, route: str, estimators: Sequence[Estimator]) -> dict[str, Any]:
        scene = self.scene
        return {
            "route": route, "policy": describe(scene.policy), "task": describe(scene.task), "steps": self.steps,
            "params": scene.digests(self.steps), "old": scene.digests(0), "group_size": self.size,
            "prompts": self.prompts, "estimators": [describe(e) for e in estimators],
            "versions": versions(), "precision": jnp.result_type(float).name,
        }  # fmt: skip


def bias_curve(
    estimators: Sequence[Estimator], group_size: int, success: Sequence[float] | np.ndarray
) -> dict[str, np.ndarray]:
    """The bias factor of one prompt with two answers, one right, at each success rate: {estimator: [rate]}. Exact."""
    rates = np.asarray(success, np.float64)
    policy = Bandit(2, num_prompts=len(rates))
    task = RewardTable(np.tile([1.0, 0.0], (len(rates), 1)))
    logits = np.stack([np.log(rates / (1 - rates)), np.zeros_like(rates)], -1)
    tables = exact_tables(policy, logits, task)
    own = np.asarray(tables.gradients).reshape(len(rates), len(rates), 2)
    truth = own[np.arange(len(rates)), np.arange(len(rates))]
    curves = {}
    for estimator in estimators:
        # Every prompt has logits of its own, so one enumeration over all of them holds every prompt's own mean.
        mean = exact(estimator, tables=tables, group_size=group_size).mean.reshape(-1, 2) * len(rates)
        curves[estimator.name] = (mean * truth).sum(-1) / (truth**2).sum(-1)
    return curves


def _error(moments: Moments, figure: str) -> float:
    if figure == "snr_per_rollout":
        return moments.se["snr"] / moments.rollouts
    return float(moments.se[figure])
