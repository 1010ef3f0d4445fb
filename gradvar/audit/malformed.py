"""Rows that cannot be used: all counted, the first few named."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

SHOWN = 5
NO_TEXT = "bytes that are not UTF-8"
NO_OBJECT = "no JSON object"


@dataclass(frozen=True)
class Fault:
    """One row that cannot be used: ``place`` is "line 7", "row 7" or "from row 7 on"; "" for a whole file."""

    file: str
    place: str
    reason: str
    number: int = 0

    def __str__(self) -> str:
        return f"{self.file}{', ' if self.place else ''}{self.place}: {self.reason}"


@dataclass
class Faults:
    """Rows that could not be used.

    ``count`` of them, by ``reasons``; ``first`` are the first few. ``incomplete`` counts rows that were used but for a
    value that is optional, by column. ``unread`` are files, or the ends of files, whose rows nobody could count.
    """

    count: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first: list[Fault] = field(default_factory=list)
    incomplete: Counter[str] = field(default_factory=Counter)
    unread: list[Fault] = field(default_factory=list)

    def add(
        self, file: str, unit: str, reason: str, count: int, examples: Sequence[tuple[int, str | None]]
    ) -> None:
        """Count rows that cannot be used for one reason.

        Args:
            file: The file's name.
            unit: What its rows are counted in: line or row.
            reason: The reason, of few words, so that ``reasons`` stays small.
            count: How many rows.
            examples: The numbers of the first of them, from 1, and the text that is at fault, if it can be shown.
        """
        self.count += count
        self.reasons[reason] += count
        earlier = [f for f in self.first if f.file != file]
        faults = [f for f in self.first if f.file == file]
        for number, text in examples:
            detail = "" if text is None else f" ({_detail(text, reason)})"
            faults.append(Fault(file, f"{unit} {number}", f"{reason}{detail}", number))
        self.first = (earlier + sorted(faults, key=lambda f: f.number))[:SHOWN]

    def stop(self, file: str, place: str, reason: str) -> None:
        """Name a file, or the rest of it, that cannot be read."""
        self.unread.append(Fault(file, place, reason))


class UnreadableFile(Exception):
    """A file, or its rest, that cannot be read: ``place`` ("" for the whole file) and reason."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(reason)
        self.place = place
        self.reason = reason


def one_line(error: BaseException) -> str:
    """Return an error's text in one line of bounded length, without the query that the database repeats."""
    text = " ".join(str(error).partition("\n\nLINE ")[0].split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}..."


def full_line(error: BaseException) -> str:
    """Return an error's text in one line, uncut: what to do stands at its end."""
    return " ".join(str(error).split()) or type(error).__name__


def _detail(text: str, reason: str) -> str:
    """Explain JSON that is at fault; other text is shown as it is."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return text[:40] if text == NO_TEXT or reason != NO_OBJECT else one_line(error)
    if reason != NO_OBJECT:
        return repr(value)[:40]
    return (
        "an escape that is no character"
        if isinstance(value, dict)
        else f"a {type(value).__name__} is not an object"
    )
