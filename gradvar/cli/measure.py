"""``gradvar measure``: run the study, show it, save it."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from gradvar.studies.config import MeasureConfig


class Bars:
    """Progress bars on standard error, one per stage."""

    def __init__(self, quiet: bool) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self._progress = Progress(*columns, console=Console(stderr=True), disable=quiet)
        self._task: TaskID | None = None

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def stage(self, name: str, total: int) -> None:
        """A stage begins; its bar is shown below the others."""
        self._task = self._progress.add_task(name, total=total, note="")

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Move the current bar."""
        if self._task is not None:
            self._progress.update(self._task, advance=steps, note=note)


def run(config: MeasureConfig) -> int:
    """Run the study that ``config`` describes: tables to the terminal, files to its folder. Returns the exit code.

    Every setting is kept in the folder ``measured`` there as soon as it is done; a run that was stopped goes on.
    """
    config.check()
    started = time.perf_counter()
    _keep_compiled_programs()
    import jax

    from gradvar.files.tables import write_json
    from gradvar.report.table import tables
    from gradvar.studies.study import measure_study, variants

    variants(config)
    bars = Bars(config.quiet or not sys.stderr.isatty())
    kept = config.out / "measured"
    try:
        with bars, jax.enable_x64(config.precision == "float64"):
            study = measure_study(config, bars, kept)
    except KeyboardInterrupt:
        if number := len(list(kept.glob("*.safetensors"))):
            print(
                f"gradvar: {number} settings are kept in {kept}; the same command goes on there",
                file=sys.stderr,
            )
        raise
    console = Console(width=None if sys.stdout.isatty() else 120)
    for table in tables(study):
        console.print(table)
        console.print()
    console.print(
        "± is half a 95 % interval; 'exact' is by enumeration. Cosine and bias factor are against grad J."
    )
    if study.reused:
        console.print(f"{study.reused} of {len(study.results)} settings had been measured before, in {kept}.")
    try:
        written = study.save(config.out)
        if config.json is not None:
            write_json(config.json, study.as_json())
            written.append(config.json)
    except OSError as error:  # a disk that filled up meanwhile; the tables above are not lost
        raise ValueError(
            f"out: {config.out} could not be written ({error.strerror or error}); give another folder"
        ) from None
    console.print(
        f"{time.perf_counter() - started:.0f} s. Written to {config.out}: {', '.join(p.name for p in written)}"
    )
    return 0


def _keep_compiled_programs() -> None:
    import jax

    from gradvar.train.store import cache_folder

    jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
