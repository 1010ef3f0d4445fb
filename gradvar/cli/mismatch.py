"""``gradvar mismatch``: what every correction costs with every engine, in one table and one figure."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from gradvar.cli.progress import Bars
from gradvar.cli.results import keep_compiled_programs, save
from gradvar.studies.mismatch_config import MismatchConfig

if TYPE_CHECKING:
    from rich.table import Table

    from gradvar.stats.intervals import Interval
    from gradvar.studies.mismatch import Mismatch


def run(config: MismatchConfig) -> int:
    """Run the study that ``config`` describes: a table to the terminal, files to its folder. Returns the exit code."""
    config.check()
    started = time.perf_counter()
    keep_compiled_programs()
    import jax
    from rich.console import Console

    from gradvar.plot.mismatch import save_figure
    from gradvar.studies.mismatch import mismatch

    console = Console(width=None if sys.stdout.isatty() else 120)
    with Bars(config.quiet) as bars, jax.enable_x64(config.precision == "float64"):
        results = mismatch(config, bars)
    console.print(table(results))
    console.print(
        "loss: the least of E‖c g - ∇J‖² / ‖∇J‖² over numbers c; it is bias (an endless batch keeps it) plus variance."
    )
    for sentence in results.findings():
        console.print(sentence)
    files = save(results, config.out, config.json, save_figure)
    console.print(
        f"{time.perf_counter() - started:.0f} s. Written to {config.out}: {', '.join(p.name for p in files)}"
    )
    return 0


def table(results: Mismatch) -> Table:
    """The table of a mismatch: a row for each engine and correction."""
    from rich.table import Table

    config = results.config
    shown = Table(
        title=f"{config.estimator} on the {config.policy} policy, {config.prompts} prompts x {config.group_size} "
        f"rollouts, {'by enumeration' if results.route == 'exact' else f'{config.replicates} batches'}",
        title_justify="left",
        pad_edge=False,
    )
    shown.add_column("engine")
    for name in ("nats per token", "effective", "correction", "bias", "variance", "loss"):
        shown.add_column(name, justify="left" if name == "correction" else "right")
    for sampler in config.samplers:
        size = results.sizes[sampler]
        place = (sampler, _cell(size.divergence), f"{100 * size.effective:.0f} %")
        for index, cost in enumerate(results.at(sampler)):
            first = place if index == 0 else ("", "", "")
            shown.add_row(*first, cost.correction, *(_cell(x) for x in (cost.bias, cost.variance, cost.loss)))
        shown.add_section()
    return shown


def _cell(x: Interval) -> str:
    """A figure with half its 95 % interval, "±?" where there is none."""
    from gradvar.stats.text import interval_texts

    if not x.known:
        return f"{x.value:.3g} ±?"
    half = (x.high - x.low) / 2
    if half <= 1e-9 * abs(x.value):
        return "0" if abs(x.value) < 1e-12 else f"{x.value:.4g}"
    return f"{interval_texts(x.value, x.low, x.high)[0]} ±{half:.1g}"
