"""A study: several estimators at several group sizes, on policies of known or learnt behaviour, as one tidy result.

Finite policies are enumerated where that is possible; everything else is direct Monte Carlo with error bars.
"""

import contextlib
import dataclasses
import itertools
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gradvar import catalogue
from gradvar.core.estimator import Estimator
from gradvar.core.labelled import Labelled
from gradvar.core.moments import Moments
from gradvar.core.progress import ProgressMonitor, Silent
from gradvar.files.cache import MomentsCache, NullCache
from gradvar.files.provenance import provenance
from gradvar.files.tables import write_csv, write_json, write_parquet
from gradvar.measure.baselines import BASELINE_FIELDS
from gradvar.measure.exact.enumerate import exact
from gradvar.measure.exact.tables import exact_tables
from gradvar.measure.spelled import corrected_by
from gradvar.policies import Bandit
from gradvar.stats.figures import FIGURES
from gradvar.studies.choices import identity
from gradvar.studies.config import MeasureConfig
from gradvar.studies.findings import findings
from gradvar.studies.problems import Problem, problems
from gradvar.studies.rows import panel
from gradvar.studies.settings import Setting, measure_all
from gradvar.studies.stale_tokens import StaleTokens, stale_tokens
from gradvar.tasks import Bandit as RewardTable

SETTING = ("policy", "task", "sampler", "staleness", "clip", "estimator", "group_size", "prompts", "rollouts")
PER_ROLLOUT = (*FIGURES, "snr_per_rollout")
SUPPLIED = (*BASELINE_FIELDS, "logp_ref", "logp_sampler")


@dataclass(frozen=True)
class Measurement:
    """The moments of one estimator in one setting, and how they were computed."""

    policy: str
    task: str
    staleness: int
    clip: float | None
    route: str
    moments: Moments
    sampler: str = "none"

    def row(self) -> dict[str, Any]:
        """Return the columns that name the setting."""
        m = self.moments
        return {
            "policy": self.policy, "task": self.task, "sampler": self.sampler, "staleness": self.staleness,
            "clip": self.clip,
            "estimator": m.estimator, "group_size": m.group_size, "prompts": m.prompts, "rollouts": m.rollouts,
        }  # fmt: skip


@dataclass(frozen=True)
class Study(Labelled):
    """What was measured, with where it came from."""

    config: MeasureConfig
    results: tuple[Measurement, ...]
    success: dict[str, float]
    """Mean reward of the sampling policy, by policy."""
    reused: int = 0
    """Settings that an earlier run had measured and kept."""
    stale: tuple[StaleTokens, ...] = ()
    """Of each stale policy: how many ratios are far from one, and how many tokens estimators drop."""

    def rows(self) -> list[dict[str, Any]]:
        """Tidy rows: one per setting and figure, with its standard error and 95 % interval.

        ``effective`` is the effective number of blocks, and ``note`` what has to be said of the interval.
        """
        rows = []
        for result in self.results:
            m = result.moments
            for figure in PER_ROLLOUT:
                estimate = m.estimate(figure)
                rows.append(
                    {
                        **result.row(),
                        "route": result.route,
                        "replicates": m.replicates,
                        "figure": figure,
                        "value": float(getattr(m, figure)),
                        "se": _error(m, figure),
                        "low": estimate.low,
                        "high": estimate.high,
                        "effective": estimate.effective,
                        "note": estimate.note,
                    }
                )
        return rows

    def shortfalls(self) -> list[str]:
        """Return a sentence for each setting that did not reach the precision that was asked for."""
        asked = self.config.asked
        if asked is None:
            return []
        lines = [(result, asked.shortfall(result.moments)) for result in self.results]
        return [
            f"{panel({'policy': r.policy, 'sampler': r.sampler, 'staleness': r.staleness})}, {line}."
            for r, line in lines if line
        ]  # fmt: skip

    def shares(self) -> dict[tuple[Any, ...], np.ndarray]:
        """The SNR per rollout with each block left out, of every setting that was sampled, by ``choices.identity``."""
        return {
            identity(result.row()): np.asarray(result.moments.without["snr"]) / result.moments.rollouts
            for result in self.results
            if result.moments.without
        }

    def findings(self) -> list[str]:
        """What was found, in sentences; best is said only where an interval that counts the choice says so."""
        return [*findings(self.rows(), self.shares()), *self._staleness()]

    def _staleness(self) -> list[str]:
        """Why figures of stale policies are what they are: one sentence for each policy and staleness."""
        named = len(self.config.policies) > 1
        return [f"{s.place}: {s.sentence()}" if named else s.sentence() for s in self.stale]

    def __repr__(self) -> str:
        names = dict.fromkeys(r.moments.estimator for r in self.results)
        return f"Study({len(self.results)} settings of {', '.join(names)} on {', '.join(self.success)})"

    def select(self, **where: Any) -> list[Measurement]:
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
            "findings": [*self.shortfalls(), *self.findings()],
            "provenance": provenance(self.config.as_dict()),
            "success": self.success,
            "rows": rows,
        }


def study(
    config: MeasureConfig | None = None,
    monitor: ProgressMonitor | None = None,
    keep: Path | None = None,
    **settings: Any,
) -> Study:
    """Run the measurement that ``config`` (or keyword ``settings`` of ``MeasureConfig``) describes.

    Args:
        config: What is measured; the default study where there is none.
        monitor: Receives the progress.
        keep: A folder where every setting is kept as soon as it is measured, and from which it is taken where the same
            code measured it before, on the same parameters. One process at a time.
        **settings: Settings of ``MeasureConfig`` that differ from ``config``.

    Raises:
        ValueError: On settings that cannot be met, and where another process uses the folder ``keep``.
    """
    config = dataclasses.replace(config or MeasureConfig(), **settings)
    return join(config, list(study_parts(config, monitor, keep)))


def study_parts(
    config: MeasureConfig, monitor: ProgressMonitor | None = None, keep: Path | None = None
) -> Iterator[Study]:
    """The parts of a study, one for each policy and staleness, each as soon as it is measured.

    The arguments and errors are those of ``study``; ``join`` makes one study of the parts.
    """
    config.check()
    estimators = variants(config)
    chosen = [estimator for _, estimator in estimators]
    monitor = monitor or Silent()
    moments_cache, first_table = NullCache() if keep is None else MomentsCache(keep), threading.Event()
    with moments_cache as cache, contextlib.closing(problems(config, monitor, first_table)) as prepared:
        for problem in prepared:
            cells = itertools.product(config.staleness, config.group_sizes)
            settings = [_setting(problem, steps, size, config) for steps, size in cells]
            monitor.stage(f"{problem.name}: measuring", len(settings) * len(estimators))
            measured = measure_all(settings, chosen, cache, monitor)
            with contextlib.closing(measured):
                for steps in config.staleness:
                    reused = cache.reused
                    results = tuple(
                        Measurement(
                            problem.name,
                            problem.task_name,
                            steps,
                            estimators[number][0],
                            route,
                            moments,
                            config.sampler,
                        )
                        for results_of_setting in itertools.islice(measured, len(config.group_sizes))
                        for number, route, moments in results_of_setting
                    )
                    first_table.set()
                    part = dataclasses.replace(config, policies=(problem.name,), staleness=(steps,))
                    stale = (stale_tokens(problem, steps, chosen, config.seed),) if steps else ()
                    yield Study(part, results, {problem.title: problem.success}, cache.reused - reused, stale)


def join(config: MeasureConfig, parts: Sequence[Study]) -> Study:
    """One study of ``config`` from its parts."""
    results = tuple(result for part in parts for result in part.results)
    success = {title: rate for part in parts for title, rate in part.success.items()}
    stale = tuple(policy for part in parts for policy in part.stale)
    return Study(config, results, success, sum(part.reused for part in parts), stale)


def _setting(problem: Problem, steps: int, group_size: int, config: MeasureConfig) -> Setting:
    """One group size on one problem, ``steps`` optimiser steps stale."""
    prompts = config.rollouts // group_size if config.budget == "rollouts" else config.prompts
    return Setting(problem, steps, group_size, prompts, config.asked or config.batches, config.seed)


def variants(config: MeasureConfig) -> list[tuple[float | None, Estimator]]:
    """Every estimator at every clip range (None: its own) with every correction; those that do not clip appear once."""
    chosen: list[tuple[float | None, Estimator]] = []
    for asked in config.estimators:
        estimator = catalogue.resolve(asked)
        unmet = [need for need in estimator.needs if need not in SUPPLIED]
        if unmet:
            raise ValueError(
                f"estimators: '{estimator.name}' needs {', '.join(unmet)}, which no policy or task here supplies; "
                "leave it out"
            )
        is_swept = not catalogue.is_own(asked) and {"clip_low", "clip_high"} <= set(
            catalogue.describe(str(asked)).settings
        )
        if config.clip and is_swept:
            chosen.extend((c, catalogue.get(str(asked), clip_low=c, clip_high=c)) for c in config.clip)
        else:
            chosen.append((None, estimator))
    names = [estimator.name for clip, estimator in chosen if clip is None]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"estimators: two are called '{name}'; give one of them another name")
    chosen = [
        (clip, corrected_by(estimator, text)) for clip, estimator in chosen for text in config.corrections
    ]
    for size in config.group_sizes:
        for _, estimator in chosen:
            if size < estimator.min_group:
                raise ValueError(
                    f"group_sizes: {size}; {estimator.name} needs at least {estimator.min_group} rollouts of a prompt"
                )
    return chosen


def bias_curve(
    estimators: Sequence[Estimator], group_size: int, success: Sequence[float] | np.ndarray
) -> dict[str, np.ndarray]:
    """The bias factor of one prompt with two answers, one right, at each success rate: {estimator: [rate]}. Exact."""
    rates = np.asarray(success, np.float64)
    policy = Bandit(2, num_prompts=len(rates))
    task = RewardTable(np.tile([1.0, 0.0], (len(rates), 1)))
    logits = np.stack([np.log(rates / (1 - rates)), np.zeros_like(rates)], -1)
    tables = exact_tables(policy, logits, task)
    # [prompt, prompt, answer]: each prompt has logits of its own, so only the diagonal is not zero
    gradients = np.asarray(tables.gradients).reshape(len(rates), len(rates), 2)
    truth = gradients[np.arange(len(rates)), np.arange(len(rates))]
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
