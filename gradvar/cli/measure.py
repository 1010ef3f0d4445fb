"""``gradvar measure``: run the study, show it, save it."""

import dataclasses
import gc
import sys
import time

from gradvar.cli.progress import Bars
from gradvar.cli.results import keep_compiled_programs, save
from gradvar.cli.streams import Screen
from gradvar.studies.config import MeasureConfig


def run(config: MeasureConfig) -> int:
    """Run the study that ``config`` describes: tables to the terminal, files to its folder. Returns the exit code.

    Every setting is kept in the folder ``measured`` there as soon as it is done; a stopped run continues there.
    """
    config.check()
    started = time.perf_counter()
    keep_compiled_programs()
    import jax

    from gradvar.report.terminal import tables
    from gradvar.studies.findings import at_one_place
    from gradvar.studies.study import join, study_parts, variants

    gc.freeze()  # what was imported stays: the collector need not look at it again while programs are traced
    variants(config)
    measured = config.out / "measured"
    screen, parts = Screen(wide=config.wide), []
    try:
        with Bars(config.quiet) as bars, jax.enable_x64(config.dtype == "float64"):
            for part in study_parts(config, bars, measured):
                parts.append(part)
                with bars.hidden():  # each table as soon as it is there
                    (table,) = tables(part)
                    screen.say(table.title)
                    stale = [policy.sentence() for policy in part.stale]
                    for sentence in [*at_one_place(part.rows(), shares=part.shares()), *stale]:
                        screen.say(f"- {sentence}", "  ")
                    screen.show(dataclasses.replace(table, title=""))
                    print(flush=True)
    except KeyboardInterrupt:
        if settings := len(list(measured.glob("*.safetensors"))):
            print(
                f"gradvar: {settings} settings are kept in {measured}; the same command continues there",
                file=sys.stderr,
            )
        raise
    results = join(config, parts)
    screen.say(
        "± is half a 95 % interval. Cosine and bias factor are against grad J."
        + (
            ""
            if config.raw
            else " Relative tr Cov is tr Cov / ‖E g‖², "
            "which does not depend on an estimator's scale; --raw shows tr Cov itself."
        )
    )
    if results.reused:
        screen.say(
            f"{results.reused} of {len(results.results)} settings had been measured before, in {measured}."
        )
    if not config.quiet and sys.stderr.isatty():
        print("gradvar: making the plots", file=sys.stderr)
    from gradvar.plot.panels import save_figures  # a second of imports, after the tables

    files = save(results, config.out, config.json, save_figures)
    screen.say(
        f"{time.perf_counter() - started:.0f} s. Written to {config.out}: {', '.join(p.name for p in files)}"
    )
    return 0
