"""``gradvar train``: run the experiment, or go on with it; show it, save it."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from rich.table import Table

from gradvar.cli.progress import Bars
from gradvar.cli.results import keep_compiled_programs, save
from gradvar.cli.streams import console
from gradvar.train.plan import TrainConfig

if TYPE_CHECKING:
    from gradvar.train.experiment import Experiment


def run(config: TrainConfig) -> int:
    """Run the experiment that ``config`` describes: a table to the terminal, files to its folder."""
    screen = console(width=150)
    if config.list:
        screen.print(_arms())
        return 0
    if config.reference not in config.arms:  # an unknown name is the more helpful error
        from gradvar.train.arms import get

        for name in config.arms:
            get(name)
    config.check()
    started = time.perf_counter()
    keep_compiled_programs()
    import jax

    from gradvar.train.experiment import experiment, use_all_cores

    use_all_cores()
    with Bars(config.quiet) as bars, jax.enable_x64(config.precision == "float64"):
        results = experiment(config, bars)
    screen.print(table(results))
    screen.print(_footnote(results))
    files = save(results, config.out, config.json)
    screen.print(
        f"{time.perf_counter() - started:.0f} s. Written to {config.out}: {', '.join(p.name for p in files)}",
        markup=False,
    )
    return 0


def table(experiment: Experiment) -> Table:
    """Return the table of an experiment: retention, rollouts and wall time, a row per arm."""
    config = experiment.config
    shown = Table(
        title=f"{config.task}, {config.seeds} paired seeds, equal {config.equal.replace('_', ' ')}, "
        f"learning rate {config.rate}; warm start {experiment.start.success_rate:.2f}",
        title_justify="left",
        pad_edge=False,
    )
    shown.add_column("arm")
    for name in (
        "rate", "held out before", "after", "retained", "of the gain", "better than reference", "rollouts", "tokens",
        "s",
    ):  # fmt: skip
        shown.add_column(name, justify="right")
    measured = bool(config.noise)
    if measured:
        shown.add_column("signal to noise", justify="right")
    for row in experiment.rows():
        shown.add_row(
            row["arm"],
            f"{row['learning_rate']:.2g}",
            f"{row['start_reward']:.3f}",
            f"{row['final_reward']:.3f}",
            _estimate(row, "retained_final"),
            _estimate(row, "retained_gain"),
            _estimate(row, "improvement"),
            f"{row['rollouts']:,.0f}",
            f"{row['tokens']:,.0f}",
            f"{row['seconds']:.1f}",
            *([f"{row['start_snr']:.3g} to {row['final_snr']:.3g}"] if measured else []),
        )
    return shown


def _estimate(row: dict[str, Any], name: str) -> str:
    value, low, high = (row[name + end] for end in ("", "_low", "_high"))
    if math.isnan(value):
        return "n/a"
    return f"{value:.2f}" if math.isnan(low) else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _footnote(experiment: Experiment) -> str:
    config = experiment.config
    lines = [
        f"Retained: mean held-out reward over that of {config.reference}, at the end and as a gain over the warm "
        "start; brackets are 95 % bootstrap intervals over paired seeds. Rollouts and tokens are per seed, seconds "
        "for all seeds, without compiling and evaluating."
    ]
    lines += [
        f"Rank correlation over arms of the gain with the gradient's signal-to-noise ratio {when}: "
        f"{correlation.value:.2f} [{correlation.low:.2f}, {correlation.high:.2f}]."
        for when, correlation in experiment.mechanism().items()
    ]
    lines += [f"{t.arm}: tried {t.learning_rate:.2g}, reward {t.reward:.3f}" for t in experiment.tried]
    return "\n".join(lines)


def _arms() -> Table:
    from gradvar.train.arms import ARMS

    shown = Table(title=f"{len(ARMS)} arms", title_justify="left", pad_edge=False)
    for name in ("arm", "what it is", "group", "inner steps", "objective"):
        shown.add_column(name, overflow="fold")
    for arm in ARMS:
        objectives = ", ".join(
            dict.fromkeys(str(getattr(p.estimator, "name", p.estimator)) for p in arm.all_phases())
        )
        shown.add_row(arm.name, arm.summary, str(arm.group), f"{arm.epochs} x {arm.minibatches}", objectives)
    return shown
