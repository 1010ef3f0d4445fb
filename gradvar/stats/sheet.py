"""Tables as text that fit a width and cut no number: narrower headings, folded words, fewer columns, or stacked."""

import textwrap
from dataclasses import dataclass, replace

_GAP = 2
_LEAST_WORDS = 14  # a folded column of words is at least as wide
_HELD = "\0"  # a space at which a line is not broken


@dataclass(frozen=True)
class Column:
    """A column of a sheet.

    ``words``: its cells are text, set to the left and broken between words where room is short; others are numbers, set
    to the right and never broken. ``rank``: 0 for what is always shown; the higher is left out the sooner. ``grouped``:
    a cell equal to the one above is left blank.
    """

    name: str
    words: bool = False
    rank: int = 0
    grouped: bool = False


@dataclass(frozen=True)
class Sheet:
    """A table: columns, rows of cells, a title above it and notes below."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    notes: tuple[str, ...] = ()

    def render(self, width: int | None = None, *, wide: bool = False, more: str = "--wide shows them") -> str:
        """Return the table as lines of at most ``width`` characters.

        Args:
            width: Of a line; None for as wide as the table is.
            wide: As wide as the table is, whatever ``width``.
            more: How the columns that were left out can be seen.

        >>> sheet = Sheet((Column("G"), Column("bias factor"), Column("prompts", rank=1)), (("2", "1.63", "32"),))
        >>> print(sheet.render(12, more="widen"))
                bias
        G     factor
        ────────────
        2       1.63
        (left out
          for width:
          prompts;
          widen)
        """
        limit = None if wide else width
        omitted: list[str] = []
        kept = self
        while True:
            widths = kept._widths(limit)
            if widths is not None:
                body = kept._lines(widths)
                break
            rank = max(column.rank for column in kept.columns)
            if rank == 0:
                body, omitted = self._stacked(limit or 0), []
                break
            last = max(i for i, column in enumerate(kept.columns) if column.rank == rank)
            omitted.insert(0, kept.columns[last].name)
            kept = kept._without(last)
        notes = list(self.notes)
        if omitted:
            notes.append(f"(left out for width: {', '.join(omitted)}; {more})")
        above = wrapped(self.title, limit).splitlines() if self.title else []
        below = [line for note in notes for line in wrapped(note, limit).splitlines()]
        return "\n".join([*above, *body, *below])

    def _without(self, place: int) -> "Sheet":
        columns = (*self.columns[:place], *self.columns[place + 1 :])
        return replace(
            self, columns=columns, rows=tuple((*row[:place], *row[place + 1 :]) for row in self.rows)
        )

    def _widths(self, limit: int | None) -> list[int] | None:
        """The columns' widths, or None where they do not fit: headings on one line, on several, then folded words."""
        cells = [
            max([len(line) for row in self.rows for line in row[i].splitlines()], default=0)
            for i in range(len(self.columns))
        ]
        room = None if limit is None else limit - _GAP * (len(self.columns) - 1)
        whole = [max(size, len(c.name)) for size, c in zip(cells, self.columns, strict=True)]
        if room is None or sum(whole) <= room:
            return whole
        narrow = [max([size, *_lengths(c.name)]) for size, c in zip(cells, self.columns, strict=True)]
        if sum(narrow) <= room:
            return _shared(room, narrow, whole)
        least = [
            min(size, max(_LEAST_WORDS, *self._longest_words(i))) if c.words else size
            for i, (size, c) in enumerate(zip(narrow, self.columns, strict=True))
        ]
        return None if sum(least) > room else _shared(room, least, narrow)

    def _longest_words(self, place: int) -> list[int]:
        texts = [self.columns[place].name, *(row[place] for row in self.rows)]
        return [max(_lengths(text), default=0) for text in texts]

    def _lines(self, widths: list[int]) -> list[str]:
        heading = [_broken(_held(c.name), w) or [""] for c, w in zip(self.columns, widths, strict=True)]
        height = max(map(len, heading))
        lines = self._row([[""] * (height - len(cell)) + cell for cell in heading], widths)
        rule = "─" * (sum(widths) + _GAP * (len(widths) - 1))
        lines.append(rule)
        above: tuple[str, ...] | None = None
        for row in self.rows:
            cells = [*row]
            for i, column in enumerate(self.columns):
                if not column.grouped or above is None or above[i] != row[i]:
                    break
                cells[i] = ""
            lines += self._row(
                [
                    [part for line in cell.splitlines() for part in _broken(line, w)] or [""]
                    for cell, w in zip(cells, widths, strict=True)
                ],
                widths,
            )
            above = row
        return lines

    def _row(self, cells: list[list[str]], widths: list[int]) -> list[str]:
        height = max(map(len, cells))
        lines = []
        for level in range(height):
            parts = [cell[level] if level < len(cell) else "" for cell in cells]
            parts = [
                part.ljust(w) if column.words else part.rjust(w)
                for part, w, column in zip(parts, widths, self.columns, strict=True)
            ]
            lines.append((" " * _GAP).join(parts).rstrip())
        return lines

    def _stacked(self, width: int) -> list[str]:
        """Every row as a paragraph: the first column's cell, a second one's words, the others with their headings."""
        lines: list[str] = []
        headings = [column.name + ":" * column.words for column in self.columns[1:]]
        if headings and self.columns[1].words:
            headings[0] = ""
        for row in self.rows:
            named = [
                " ".join((*([heading] if heading else []), *cell.split()))
                for heading, cell in zip(headings, row[1:], strict=True)
                if cell.strip()
            ]
            held = [item.replace(" ", _HELD) if len(item) < width - _GAP else item for item in named]
            lines += _broken(f"{row[0]}: {'; '.join(held)}", width, "", " " * _GAP)
        return lines


def _lengths(text: str) -> list[int]:
    return [len(word) for word in _held(text).split()]


def _held(text: str) -> str:
    """The text with a quantity and its unit as one word."""
    return text.replace(" ±", f"{_HELD}±").replace(" %", f"{_HELD}%")


def _shared(room: int, least: list[int], most: list[int]) -> list[int]:
    """Widths between two bounds that use what room there is."""
    rest, wanted = room - sum(least), sum(most) - sum(least)
    return [low + rest * (high - low) // wanted for low, high in zip(least, most, strict=True)]


def _broken(text: str, width: int, first: str = "", further: str = "") -> list[str]:
    parts = textwrap.wrap(
        text,
        max(width, 1),  # a column without a heading in a table without rows has none
        initial_indent=first,
        subsequent_indent=further,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [part.replace(_HELD, " ") for part in parts]


def wrapped(text: str, width: int | None, indent: str = "  ") -> str:
    """Break the lines of a text between words; a quantity keeps its unit, and an interval its ends.

    Args:
        text: Lines of text.
        width: The most characters of a line, None for no limit.
        indent: What continued lines begin with, beyond the line's own indentation.

    >>> print(wrapped("tr Cov is 0.0123 ±0.004 in all", 20))
    tr Cov is
      0.0123 ±0.004 in
      all
    """
    if width is None:
        return text
    lines = []
    for line in text.splitlines():
        if len(line) <= width or line.lstrip().startswith("$ "):  # a command is copied as it is
            lines.append(line)
            continue
        own = line[: len(line) - len(line.lstrip())]
        held = _held(line.lstrip())
        lines += _broken(held, width, own, own + indent)
    return "\n".join(lines)
