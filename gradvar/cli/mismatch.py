"""``gradvar mismatch``: what every correction costs with every engine, in one table and one figure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gradvar.cli.progress import Bars
from gradvar.cli.results import keep_compiled_programs, save
from gradvar.cli.streams import Screen
from gradvar.stats.sheet import Column, Sheet
from gradvar.studies.mismatch_config import MismatchConfig

if TYPE_CHECKING:
    from gradvar.studies.mismatch import Mismatch


def run(config: MismatchConfig) -> int:
    """Run the study that ``config`` describes: a table to the terminal, files to its folder. Returns the exit code."""
    config.check()
    started = time.perf_counter()
    keep_compiled_programs()
    import jax

    from gradvar.plot.mismatch import save_figure
    from gradvar.studies.mismatch import mismatch

    screen = Screen(wide=config.wide)
    with Bars(config.quiet) as bars, jax.enable_x64(config.precision == "float64"):
        results = mismatch(config, bars)
    for sentence in results.findings():
        screen.say(sentence)
    print()
    screen.show(table(results))
    screen.say(
        "loss: the least of E‖c g - ∇J‖² / ‖∇J‖² over numbers c; it is bias (an endless batch keeps it) plus variance."
    )
    files = save(results, config.out, config.json, save_figure)
    screen.say(
        f"{time.perf_counter() - started:.0f} s. Written to {config.out}: {', '.join(p.name for p in files)}"
    )
    return 0


def table(results: Mismatch) -> Sheet:
    """The table of a mismatch: a row for each engine and correction."""
    from gradvar.stats.text import estimate_text

    config = results.config
    columns = (
        Column("engine", words=True, grouped=True),
        Column("nats per token", rank=1, grouped=True),
        Column("effective", rank=2, grouped=True),
        Column("correction", words=True),
        *map(Column, ("bias", "variance", "loss")),
    )
    rows = []
    for sampler in config.samplers:
        size = results.sizes[sampler]
        place = (sampler, estimate_text(size.divergence), f"{100 * size.effective:.0f} %")
        for cost in results.at(sampler):
            rows.append((*place, cost.correction, *map(estimate_text, (cost.bias, cost.variance, cost.loss))))
    title = (
        f"{config.estimator_name} on the {config.policy} policy, {config.prompts} prompts x {config.group_size} "
        f"rollouts, {'by enumeration' if results.route == 'exact' else f'{config.replicates} batches'}"
    )
    return Sheet(columns, tuple(rows), title)
