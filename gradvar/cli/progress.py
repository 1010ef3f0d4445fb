"""Progress bars on the standard error: the only file that knows of rich's."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Iterator
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_LINE_SECONDS = 30.0  # between two lines where no terminal reads


class Bars:
    """A ``ProgressMonitor`` that shows a bar for each stage; it shows none where ``quiet``, or where no terminal reads.

    ``transient`` bars are removed at the end. ``lines``: where no terminal reads, the first note and one each half
    minute are printed as lines, so that the log of a long run says how far it is.
    """

    def __init__(self, quiet: bool, *, transient: bool = False, lines: bool = False) -> None:
        self._silent = quiet or not sys.stderr.isatty()
        self._lines = lines and self._silent and not quiet
        self._done, self._total, self._name, self._printed = 0.0, 0, "", -math.inf
        self._transient = transient
        self._progress: Progress | None = None
        # each thread advances the bar of its newest stage, or of the thread that it works for
        self._newest: ContextVar[TaskID | None] = ContextVar("_newest", default=None)

    def __enter__(self) -> Bars:
        if self._silent:
            return self
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        from gradvar.cli.streams import console

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.4g}/{task.total:.10g}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[note]}"),
            console=console(errors=True),
            transient=self._transient,
        )
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def stage(self, name: str, total: int) -> None:
        """Show a new bar below the others."""
        self._done, self._total, self._name = 0.0, total, name
        if self._progress is not None:
            self._newest.set(self._progress.add_task(name, total=total, note=""))

    def advance(self, steps: float = 1, note: str = "") -> None:
        """Move the newest bar, and show a note beside it."""
        self._done += steps
        if self._lines and note and time.monotonic() - self._printed > _LINE_SECONDS:
            self._printed = time.monotonic()
            print(f"{self._done:.1f} of {self._total} {self._name}: {note}", file=sys.stderr, flush=True)
        task = self._newest.get()
        if self._progress is not None and task is not None:
            self._progress.update(task, advance=steps, note=note)

    @contextlib.contextmanager
    def hidden(self) -> Iterator[None]:
        """Take the bars off the terminal while something else is printed."""
        if self._progress is None:
            yield
            return
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()
