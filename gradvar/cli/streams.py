"""What the command line prints: no text of others gets to the terminal as a command to it.

Everything that is printed goes through ``harmless_streams``, but for the colours and lines of tables and bars, which a
``console`` draws and writes past it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

from gradvar.files.harmless import harmless

if TYPE_CHECKING:
    from rich.console import Console

    from gradvar.stats.sheet import Sheet


class HarmlessStream:
    """A text stream whose text is made harmless; all else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write text, as it may be shown."""
        self.stream.write(harmless(text))
        return len(text)

    def writelines(self, lines: Iterator[str]) -> None:
        """Write each of the lines."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def harmless_streams() -> Iterator[None]:
    """Make what is printed meanwhile harmless, on both streams."""
    output, errors = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = HarmlessStream(output), HarmlessStream(errors)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = output, errors


WIDTH = 120
"""Of tables where no terminal shows them, and the environment's ``COLUMNS`` says nothing."""


class Screen:
    """The standard output: tables that fit it, and sentences that are broken between words.

    ``wide``: tables are as wide as they are.
    """

    def __init__(self, *, wide: bool = False) -> None:
        import shutil

        known = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()
        self.width = max(20, shutil.get_terminal_size().columns if known else WIDTH)
        self.lines = self.width if known else None  # of sentences: in a file one is one line
        self._wide = wide

    def show(self, sheet: Sheet, more: str = "--wide shows them") -> None:
        """Print a table; ``more`` says how to see what it has no room for."""
        print(sheet.render(self.width, wide=self._wide, more=more))

    def say(self, text: str, indent: str = "") -> None:
        """Print text; ``indent`` begins the lines that continue one."""
        from gradvar.stats.sheet import wrapped

        print(wrapped(text, self.lines, indent))


def console(*, errors: bool = False, width: int | None = None) -> Console:
    """A console of Rich on the standard output, or on that for errors.

    ``width``: that of tables where no terminal shows them.
    """
    from rich.console import Console
    from rich.segment import Segment

    class HarmlessConsole(Console):
        """The text of tables is harmless; the colours are Rich's own."""

        def render(self, *args: Any, **named: Any) -> Iterator[Segment]:
            for text, style, control in super().render(*args, **named):
                yield Segment(text if control else harmless(text), style, control)

    stream = sys.stderr if errors else sys.stdout
    raw = stream.stream if isinstance(stream, HarmlessStream) else stream
    return HarmlessConsole(file=raw, width=None if raw.isatty() else width)
