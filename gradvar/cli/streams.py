"""What the command line prints: no text of others gets to the terminal as a command to it.

Everything that is printed goes through ``harmless_streams``, but for the colours and lines of tables and bars, which a
``console`` draws and writes past it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

from gradvar.files.harmless import harmless

if TYPE_CHECKING:
    from rich.console import Console


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
