"""``gradvar train``: run the experiment, or go on with it; show it, save it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gradvar.cli.progress import Bars
from gradvar.cli.results import keep_compiled_programs, save
from gradvar.cli.streams import Screen
from gradvar.stats.sheet import Column, Sheet
from gradvar.stats.text import short_text
from gradvar.train.plan import TrainConfig

if TYPE_CHECKING:
    from gradvar.train.experiment import Experiment


def run(config: TrainConfig) -> int:
    """Run the experiment that ``config`` describes: a table to the terminal, files to its folder."""
    screen = Screen(wide=config.wide)
    if config.list:
        screen.show(_arms())
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
    screen.show(table(results.rows(), title(results)))
    screen.say(_footnote(results))
    files = save(results, config.out, config.json)
    screen.say(
        f"{time.perf_counter() - started:.0f} s. Written to {config.out}: {', '.join(p.name for p in files)}"
    )
    return 0


def title(experiment: Experiment) -> str:
    """Return what was trained, at which budget."""
    config = experiment.config
    of_each = f" of each of {config.starts} warm starts" if config.starts > 1 else ""
    on_each = " on each" if config.tuning == "own" and of_each else ""
    return (
        f"{config.task}, {config.seeds} paired seeds{of_each}, equal {config.equal.replace('_', ' ')}, "
        f"learning rate {config.rate}{on_each}; warm start {experiment.start.success_rate:.2f}"
    )


COLUMNS = (
    Column("arm", words=True),
    Column("rate", rank=2),
    Column("held out before", rank=1),
    Column("after"),
    Column("gain retained"),
    Column("final retained"),
    Column("better than reference", rank=3),
    Column("rollouts", rank=5),
    Column("tokens", rank=4),
    Column("s", rank=6),
)


def table(rows: Sequence[Mapping[str, Any]], title: str = "") -> Sheet:
    """Return the table of an experiment's rows: retention, rollouts and wall time, a row per arm."""
    measured = any("start_snr" in row for row in rows)
    columns = (*COLUMNS, Column("signal to noise", rank=1)) if measured else COLUMNS
    cells = []
    for row in rows:
        snr = [f"{short_text(row['start_snr'])} to {short_text(row['final_snr'])}"] if measured else []
        cells.append((
            row["arm"],
            _rate(row),
            f"{row['start_reward']:.3f}",
            f"{row['final_reward']:.3f}",
            *(_estimate(row, name) for name in ("retained_gain", "retained_final", "improvement")),
            f"{row['rollouts']:,.0f}",
            f"{row['tokens']:,.0f}",
            f"{row['seconds']:.1f}",
            *snr,
        ))  # fmt: skip
    return Sheet(columns, tuple(cells), title)


def _rate(row: Mapping[str, Any]) -> str:
    """The learning rate, or the range of those of the warm starts."""
    rate = row["learning_rate"]
    return f"{row['lowest_rate']:.2g} to {row['highest_rate']:.2g}" if math.isnan(rate) else f"{rate:.2g}"


def _estimate(row: Mapping[str, Any], name: str) -> str:
    value, low, high = (row[name + end] for end in ("", "_low", "_high"))
    if math.isnan(value):
        return "n/a"
    return f"{value:.2f}" if math.isnan(low) else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _footnote(experiment: Experiment) -> str:
    from gradvar.train.findings import cautions
    from gradvar.train.prediction import sentences

    config = experiment.config
    unit = "warm starts" if config.starts > 1 else "the paired seeds of one warm start"
    lines = [
        f"Retained: the gain in mean held-out reward over the warm start, over that of {config.reference}, and the "
        f"reward at the end over its; brackets are 95 % intervals by Student's t over {unit}. Rollouts and tokens are "
        "per seed, seconds for all seeds, without compiling and evaluating."
    ]
    content = {
        "rows": experiment.rows(),
        "config": config.as_dict(),
        "tried": [vars(t) for t in experiment.tried],
    }
    if experiment.prediction:
        lines += sentences(experiment.predicted(), config.reference)
    lines += cautions(content)
    lines += [
        f"Rank correlation over arms of the gain with the gradient's signal-to-noise ratio {when}: "
        f"{correlation.value:.2f} [{correlation.low:.2f}, {correlation.high:.2f}]."
        for when, correlation in experiment.mechanism().items()
    ]
    if config.tuning == "own":
        for arm in config.arms:
            rates = ", ".join(f"{rate:.2g}" for rate in experiment.rates(arm))
            lines.append(f"{arm}: rates of the starts {rates}")
    else:
        lines += [f"{t.arm}: tried {t.learning_rate:.2g}, reward {t.reward:.3f}" for t in experiment.tried]
    return "\n".join(lines)


def _arms() -> Sheet:
    from gradvar.train.arms import ARMS

    rows = []
    for arm in ARMS:
        objectives = dict.fromkeys(str(getattr(p.estimator, "name", p.estimator)) for p in arm.all_phases())
        steps = f"{arm.epochs} x {arm.minibatches}"
        rows.append((arm.name, arm.summary, str(arm.group), steps, ", ".join(objectives)))
    columns = (
        Column("arm", words=True),
        Column("what it is", words=True),
        Column("group"),
        Column("inner steps", rank=1),
        Column("objective", words=True, rank=2),
    )
    return Sheet(columns, tuple(rows), f"{len(ARMS)} arms")
