"""The experiment: several arms, the same start, prompts and budget, several seeds each; and what came of it."""

import contextlib
import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from gradvar.core.labelled import Labelled
from gradvar.core.progress import ProgressMonitor, Silent
from gradvar.files.atomic import Lock
from gradvar.files.provenance import provenance
from gradvar.files.tables import to_plain, write_csv, write_json
from gradvar.policies import Transformer
from gradvar.stats.bootstrap import PairedComparison, bootstrap, compare, interquartile_mean, profile
from gradvar.stats.intervals import Interval
from gradvar.stats.starts import by_start, holm, mean_of
from gradvar.tasks import (
    Countdown,
    FormLine,
    ModularAddition,
    PartialAddition,
    RunningTotal,
    Sorting,
    Verification,
)  # fmt: skip
from gradvar.train import arms as catalogue_of_arms
from gradvar.train.findings import findings
from gradvar.train.gradient_noise import Probe, rank_correlation
from gradvar.train.held_out import Part, Training
from gradvar.train.loop import BAR, Run, joined, train
from gradvar.train.pairs import informativeness
from gradvar.train.plan import TUNING_OFFSET, Arm, Plan, TrainConfig, plan
from gradvar.train.prediction import compared, predict, written
from gradvar.train.trainer import Trainer, check_arm
from gradvar.train.tuning import Tried, at_rate, best_rate, tune
from gradvar.train.warm_start import WarmStart, warm_start

TASKS: dict[str, Callable[[], Any]] = {
    "addition": lambda: ModularAddition(digits=2),
    "partial": lambda: PartialAddition(digits=2),
    "sorting": lambda: Sorting(length=8, values=10),
    "long_sorting": lambda: Sorting(length=16, values=10, shortest=8),
    "arithmetic": lambda: ModularAddition(digits=3),
    "countdown": lambda: Countdown(numbers=3),
    "running_total": lambda: RunningTotal(terms=5, digits=2),
    "verification": lambda: Verification(digits=2),
    "form": lambda: FormLine(digits=2),
}
_STARTS = 1 << 20  # keys of further warm starts, apart from those of the first
_BANK = 1 << 22  # key of the bank of predictions
_FORMAT = 1  # raise when training changes what the same settings give


@dataclass(frozen=True, eq=False)
class Experiment(Labelled):
    """Every arm's runs, with what they are compared with."""

    config: TrainConfig
    starts: tuple[WarmStart, ...]
    runs: tuple[Run, ...]
    tried: tuple[Tried, ...] = ()
    prediction: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Experiment({', '.join(self.config.arms)} on {self.config.task}, {self.config.seeds} seeds)"

    @property
    def start(self) -> WarmStart:
        """The first warm start."""
        return self.starts[0]

    @property
    def origin(self) -> Int[np.ndarray, " seed"]:
        """The number of every run's warm start."""
        return np.repeat(np.arange(len(self.starts)), len(self.runs[0].seeds) // len(self.starts))

    def run(self, arm: str) -> Run:
        """The runs of an arm, by name."""
        for run in self.runs:
            if run.plan.arm.name == arm:
                return run
        raise ValueError(f"arm: no '{arm}'; choose {', '.join(r.plan.arm.name for r in self.runs)}")

    def rates(self, arm: str) -> list[float]:
        """The learning rate of every warm start, of an arm."""
        rate = self.run(arm).plan.learning_rate
        if not math.isnan(rate):
            return [rate] * len(self.starts)
        tried = [[t for t in self.tried if (t.arm, t.start) == (arm, n)] for n in range(len(self.starts))]
        return [best_rate(of_start) for of_start in tried]

    def compare(self, arm: str) -> PairedComparison:
        """An arm against the reference arm."""
        run, reference = self.run(arm), self.run(self.config.reference)
        rewards = run.curves["reward"], reference.curves["reward"]
        return compare(rewards[0][0], rewards[0][-1], rewards[1][0], rewards[1][-1], self.origin)

    def rows(self) -> list[dict[str, Any]]:
        """A tidy row per arm: what it was given, what it used, where it ended, and what it retains."""
        rows = []
        comparisons = [self.compare(run.plan.arm.name) for run in self.runs]
        adjusted = holm(np.array([c.p_value for c in comparisons]))
        for run, comparison, p_adjusted in zip(self.runs, comparisons, adjusted, strict=True):
            plan, arm = run.plan, run.plan.arm
            updates, rates = run.steps * arm.epochs * arm.minibatches, self.rates(arm.name)
            row: dict[str, Any] = {
                "arm": arm.name, "group": arm.group, "prompts_per_step": plan.prompts,
                "learning_rate": plan.learning_rate, "lowest_rate": min(rates), "highest_rate": max(rates),
                "equal": self.config.equal, "rate": self.config.rate,
                "starts": len(self.starts), "seeds": len(run.seeds), "steps": _mean(run.steps),
                "updates": _mean(updates), "rollouts": _mean(run.rollouts),
                "tokens": _mean(run.tokens), "spent": _mean(run.spent), "seconds": run.seconds,
                "rollouts_per_second": float(run.rollouts[-1].sum() / run.seconds) if run.seconds else np.nan,
                "updates_per_second": (
                    float(updates[-1].sum() / run.seconds) if run.seconds else np.nan
                ),
            }  # fmt: skip
            for name, values in run.curves.items():
                row |= {f"start_{name}": float(values[0].mean()), f"final_{name}": float(values[-1].mean())}
            _add(row, "gain", mean_of(by_start(run.gain(), self.origin)))
            for name in ("gain", "final", "difference", "improvement"):
                column = f"retained_{name}" if name in ("final", "gain") else name
                _add(row, column, getattr(comparison, name))
            row |= {"difference_p": comparison.p_value, "difference_p_holm": float(p_adjusted)}
            _add(row, "final_iqm", bootstrap(interquartile_mean, by_start(run.final(), self.origin)))
            rows.append(row)
        return rows

    def curve_rows(self) -> list[dict[str, Any]]:
        """A tidy row per arm, seed and evaluation."""
        return [
            {"arm": run.plan.arm.name, "start": int(self.origin[s]), "seed": seed, "evaluation": point,
             "steps": int(run.steps[point, s]),
             "rollouts": int(run.rollouts[point, s]), "tokens": int(run.tokens[point, s])}
            | {name: float(values[point, s]) for name, values in run.curves.items()}
            for run in self.runs for s, seed in enumerate(run.seeds) for point in range(len(run.steps))
        ]  # fmt: skip

    def mechanism(self) -> dict[str, Interval]:
        """Does less noise predict more learning? Spearman's correlation over arms, with intervals over seeds.

        Of the gain in held-out reward with the signal-to-noise ratio of a step's gradient, ``at the start`` (where
        all arms have the same policy) and ``along the run`` (the mean over evaluations). Empty without noise.
        """
        measured = [
            run for run in self.runs if "snr" in run.curves and np.isfinite(run.curves["snr"][0]).all()
        ]
        if not measured:
            return {}
        gains = [run.gain() for run in measured]
        return {
            "at the start": rank_correlation([run.curves["snr"][0] for run in measured], gains),
            "along the run": rank_correlation([np.nanmean(run.curves["snr"], 0) for run in measured], gains),
        }

    def stored(self) -> list[dict[str, Any]]:
        """A tidy row per arm with stored groups: how informative they are, the mean over seeds."""
        rows = []
        for run in self.runs:
            phases = [phase for phase in run.plan.arm.all_phases() if phase.source == "stored"]
            if phases:
                figures = informativeness(np.asarray(run.states.store.rewards), phases[-1].difficulty)
                means = {name: float(values.mean()) for name, values in figures.items()}
                final = {"final_reward": float(run.final().mean())}
                rows.append({"arm": run.plan.arm.name, **means, **final})
        return rows

    def predicted(self) -> dict[str, Any]:
        """What was predicted before training, and what came of it; empty where nothing was."""
        if not self.prediction:
            return {}
        gains = {run.plan.arm.name: run.gain() for run in self.runs}
        return self.prediction | {"compared": to_plain(compared(self.prediction, gains))}

    def profiles(self, thresholds: Sequence[float] | None = None) -> dict[str, Any]:
        """Performance profiles of final rewards: the share of an arm's runs above each threshold."""
        levels = np.linspace(0, 1, 101) if thresholds is None else np.asarray(thresholds, np.float64)
        shares = {run.plan.arm.name: profile(run.final(), levels).tolist() for run in self.runs}
        return {"thresholds": levels.tolist(), "share_above": shares}

    def save(self, folder: Path) -> list[Path]:
        """Write the results as JSON, and the arms and their curves as CSV, to ``folder``; return the files."""
        files = [folder / name for name in ("results.json", "results.csv", "curves.csv")]
        write_json(files[0], self.as_json())
        write_csv(files[1], self.rows())
        write_csv(files[2], self.curve_rows())
        return files

    def as_json(self) -> dict[str, Any]:
        """Everything but the parameters, as plain values."""
        warm = self.start
        content = {
            "provenance": provenance(self.config.as_dict()),
            "config": self.config.as_dict(),
            "warm_start": {
                "success": warm.success_rate, "standard_error": warm.standard_error, "steps": warm.steps,
                "between_prompts": warm.between_prompts, "starts": [s.success_rate for s in self.starts],
            },
            "plans": [run.plan.as_dict() for run in self.runs],
            "tried": [dataclasses.asdict(t) for t in self.tried],
            "rows": self.rows(),
            "stored": self.stored(),
            "prediction": self.predicted(),
            "mechanism": {name: dataclasses.asdict(correlation) for name, correlation in self.mechanism().items()},
            "profiles": self.profiles(),
            "curves": self.curve_rows(),
        }  # fmt: skip
        return {"kind": "training", "findings": findings(content), **content}


def experiment(
    config: TrainConfig | None = None,
    monitor: ProgressMonitor | None = None,
    *,
    arms: Sequence[Arm] = (),
    keep: bool = True,
    **settings: Any,
) -> Experiment:
    """Run the experiment that a configuration describes.

    Args:
        config: None for the default.
        monitor: Shown every arm as a stage.
        arms: Further arms, besides the named ones.
        keep: False writes nothing; otherwise the folder ``config.out`` is used, and a run in it is continued.
        **settings: Fields of ``TrainConfig`` that replace those of ``config``.

    Raises:
        ValueError: On settings that cannot be met, before any work starts.
    """
    config = dataclasses.replace(config or TrainConfig(), **settings)
    chosen = [*arms, *(catalogue_of_arms.get(n) for n in config.arms if n not in {a.name for a in arms})]
    reference_name = config.reference
    if ":" in reference_name:
        reference_name = catalogue_of_arms.get(reference_name).name
    if (config.sampler, *config.corrections) != ("none", "none"):
        variants = {
            arm.name: catalogue_of_arms.with_engine(arm, config.sampler, config.corrections) for arm in chosen
        }
        chosen = [variant for named in variants.values() for variant in named]
        if reference_name in variants:  # it may have no variant without a correction
            reference_name = variants[reference_name][0].name
    config = dataclasses.replace(config, arms=tuple(arm.name for arm in chosen), reference=reference_name)
    config.check()
    if keep and jax.process_count() > 1:
        raise ValueError(
            f"out: {config.out} and {jax.process_count()} processes; give keep=False, and save the result"
        )
    task = Training(TASKS[config.task]())
    policy = Transformer.for_task(
        task.task, dtype=config.precision, width=config.width, hidden=3 * config.width
    )
    reference = next(arm for arm in chosen if arm.name == config.reference)
    plans = [plan(config, arm, reference) for arm in chosen]
    for arm_plan in plans:
        check_arm(task, arm_plan)
    if not keep:
        return _run(config, policy, task, plans, None, monitor or Silent())
    with Lock(config.out):
        return _run(config, policy, task, plans, config.out, monitor or Silent())


def _run(
    config: TrainConfig,
    policy: Transformer,
    task: Training,
    plans: list[Plan],
    folder: Path | None,
    monitor: ProgressMonitor,
) -> Experiment:
    key = jax.random.key(config.seed)
    warm = tuple(_start(config, policy, task, number, monitor) for number in range(config.starts))
    several, is_tuned = config.starts > 1, config.rate == "tuned"
    part: Part = "test" if is_tuned else "all"
    examination = task.examination(jax.random.fold_in(key, 1), config.eval_prompts, part)
    validation = examination
    if is_tuned:
        validation = task.examination(jax.random.fold_in(key, 2), config.eval_prompts, "validation")
    prediction = _prediction(config, policy, task, warm[0], plans, folder) if config.predict else {}
    runs: list[Run] = []
    tried: list[Tried] = []

    def trained(
        trainer: Trainer,
        label: str,
        place: Path | None,
        start: WarmStart,
        seeds: Sequence[int],
        probe: Probe | None = None,
    ) -> Run:
        monitor.stage(label, BAR)
        return train(
            trainer, start.params, seeds, evaluations=config.evaluations, folder=place,
            identity=_identity(config), monitor=monitor, probe=probe,
        )  # fmt: skip

    def tuning_run(trainer: Trainer, label: str, place: Path | None, start: WarmStart) -> Run:
        rate, first = f"{trainer.plan.learning_rate:.3g}", config.seed + TUNING_OFFSET
        subfolder = None if place is None else place / "tuning" / rate
        seeds = range(first, first + config.tuning_seeds)
        return trained(trainer, f"{label}: tuning, {rate}", subfolder, start, seeds)

    for arm_plan in plans:
        name = arm_plan.arm.name
        place = None if folder is None else folder / name
        trainer = Trainer(policy, task, arm_plan, examination, config.eval_rollouts)
        tuner = trainer.examined_on(validation)
        rates = [arm_plan.learning_rate * factor for factor in config.grid]
        parts = []
        for number, start in enumerate(warm):
            label = f"{name}: start {number + 1} of {config.starts}" if several else name
            subfolder = place / f"start-{number}" if several and place is not None else place
            if is_tuned and (number == 0 or config.tuning == "own"):
                run = partial(tuning_run, label=label, place=subfolder if number else place, start=start)
                results = tune(tuner, rates, run, number)
                tried += results
                trainer = at_rate(trainer, best_rate(results))
            if is_tuned and subfolder is not None:  # a wider grid may choose another rate
                subfolder /= f"rate-{trainer.plan.learning_rate:.3g}"
            probe = Probe(policy, task, trainer.plan, config.noise, start.params) if config.noise else None
            first = config.seed + number * config.seeds
            parts.append(trained(trainer, label, subfolder, start, range(first, first + config.seeds), probe))
        runs.append(joined(parts))
    return Experiment(config, warm, tuple(runs), tuple(tried), prediction)


def _prediction(
    config: TrainConfig,
    policy: Transformer,
    task: Training,
    start: WarmStart,
    plans: list[Plan],
    folder: Path | None,
) -> dict[str, Any]:
    key = jax.random.fold_in(jax.random.key(config.seed), _BANK)
    identity = _identity(config) | {
        "predict": config.predict, "plans": [p.as_dict() for p in plans], "reference": config.reference,
    }  # fmt: skip
    return written(
        folder, identity,
        lambda: predict(policy, task, start.params, key, config.predict, plans, config.reference),
    )  # fmt: skip


def _start(
    config: TrainConfig, policy: Transformer, task: Training, number: int, monitor: ProgressMonitor
) -> WarmStart:
    """One of the warm starts; the first has the experiment's own key."""
    which = f" {number + 1} of {config.starts}" if config.starts > 1 else ""
    monitor.stage(f"warm start{which} on {config.task}", 1)
    key = jax.random.key(config.seed)
    if number:
        key = jax.random.fold_in(key, _STARTS + number)
    warm = warm_start(policy, task, key, config.success, monitor=monitor)
    monitor.advance(note=f"to a success rate of {warm.success_rate:.2f}")
    return warm


def _identity(config: TrainConfig) -> dict[str, Any]:
    """Return what names an arm's runs besides its plan and its seeds."""
    names = (
        "task", "seed", "success", "evaluations", "eval_prompts", "eval_rollouts", "noise", "width", "precision",
    )  # fmt: skip
    parts = {"parts": "validation, test"} if config.rate == "tuned" else {}
    return {"format": _FORMAT} | parts | {name: getattr(config, name) for name in names}


def use_all_cores() -> None:
    """Let JAX see every CPU core as a device, so that seeds run side by side; too late once JAX has computed."""
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):  # the devices that are there stay; the numbers are the same
            jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))


def _mean(table: np.ndarray) -> float:
    return float(table[-1].mean())


def _add(row: dict[str, Any], name: str, estimate: Interval) -> None:
    row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
