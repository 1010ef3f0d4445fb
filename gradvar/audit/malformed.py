"""Rows that cannot be used: all counted, the first few named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

SHOWN = 5


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
    """``count`` rows could not be used, by ``reasons``; ``first`` are the first few. ``incomplete`` counts rows that
    were used but for a value that is optional, by column. ``unread`` are files, or the ends of files, whose rows nobody
    could count."""

    count: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first: list[Fault] = field(default_factory=list)
    incomplete: Counter[str] = field(default_factory=Counter)
    unread: list[Fault] = field(default_factory=list)

    def add(self, file: str, unit: str, numbers: Sequence[int], reason: str, detail: str = "") -> None:
        """Rows ``numbers`` of a file, counted from 1 in ``unit`` ("line" or "row"), for one reason. ``detail`` is shown
        but not counted by, so that ``reasons`` stays small."""
        self.count += len(numbers)
        self.reasons[reason] += len(numbers)
        shown = f"{reason} ({detail})" if detail else reason
        self.first += [Fault(file, f"{unit} {n}", shown, n) for n in numbers[: SHOWN - len(self.first)]]

    def stop(self, file: str, place: str, reason: str) -> None:
        """A file, or the rest of it, that cannot be read."""
        self.unread.append(Fault(file, place, reason))

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "count": self.count,
            "reasons": dict(self.reasons),
            "first": [vars(f) for f in self.first],
            "incomplete": dict(self.incomplete),
            "unread": [vars(f) for f in self.unread],
        }


def one_line(error: BaseException) -> str:
    """The first line of an error's text, of bounded length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}..."
