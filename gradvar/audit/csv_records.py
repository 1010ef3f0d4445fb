"""CSV: records are cut here, in bounded memory, and what is in them is read by the database.

A quote that never closes would take every row behind it with it: then its line is named, and reading goes on with the
next one.
"""

from __future__ import annotations

import csv
import io
import json
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

from gradvar.audit import plain_text
from gradvar.audit.columns import ColumnLayout
from gradvar.audit.database import FIELDS, Block, FilePart, Reject
from gradvar.audit.malformed import UnreadableFile, one_line
from gradvar.audit.query import Query

BLOCK = 1 << 23  # characters at once, about
LONGEST = 1 << 26  # of a record; reading ends where it is longer
AGAIN = 1 << 27  # characters that may be read more than once, after quotes that never close
BLANK = 1 << 20  # blank lines one after another; a few bytes of a packed file may be a billion
SAMPLE = 64  # records by which the shape is known
DAMAGED = (OSError, EOFError, zlib.error)


class CsvRecords:
    """Records of a CSV file, of which the first one is the header; ``done`` as for ``JsonLines``.

    ``plain``: the file, if the database may read it by itself.
    """

    unit = "row"
    format = ""
    rare: frozenset[str] = frozenset()

    def __init__(
        self, open_again: Callable[[], IO[bytes]], done: Callable[[], float], plain: Path | None = None
    ) -> None:
        self._open = open_again
        self._done = done
        self._delimiter = _delimiter(open_again())
        self._plain = plain if self._delimiter == "," else None
        try:
            records = iter(self._cut())
            header = next(records)
        except StopIteration:
            raise ValueError("no CSV table (it is empty); a header and rows are needed") from None
        assert isinstance(header, list)
        self._header = header
        # A CSV has no types, so every column may hold numbers.
        self.kinds = dict.fromkeys(self._header, "number")
        self.sample = self._first(records)

    def _cut(self) -> _Records:
        return _Records(self._open(), self._delimiter)

    def _first(self, records: Iterator[list[str] | _StrayQuote]) -> list[dict[str, Any]]:
        """The first records, with the numbers that are in them; none where the file is damaged so early."""
        try:
            rows = [
                row
                for row in islice(records, SAMPLE)
                if isinstance(row, list) and len(row) == len(self._header)
            ]
        except (ValueError, *DAMAGED):
            return []
        return [dict(zip(self._header, map(_value, row), strict=True)) for row in rows]

    def records(self) -> Iterator[tuple[int, Any]]:
        """Every record's number and fields; a damaged one is its reason."""
        records = iter(self._cut())
        next(records)  # the header
        for number, row in enumerate(records, 1):
            if isinstance(row, _StrayQuote):
                yield number, row.reason
            elif len(row) != len(self._header):
                yield number, f"wrong number of fields ({len(row)}, not {len(self._header)})"
            else:
                yield number, dict(zip(self._header, map(_value, row), strict=True))

    def parts(self, layout: ColumnLayout, weights: Sequence[float], reject: Reject) -> Iterator[FilePart]:
        """Hand over the rows: all at once if the database can read them, else block by block.

        Rows of another number of fields than the header are rejected.

        Args:
            layout: Which columns hold what.
            weights: A weight for each column of rewards.
            reject: Takes rows that never get to the database.
        """
        for name in layout.wanted:
            if self._header.count(name) > 1:
                raise UnreadableFile(
                    "", f"{self._header.count(name)} columns are called '{name}'; rename them"
                )
        value = {name: f"nullif(fields[{i}], '')" for i, name in enumerate(layout.wanted, 1)}
        query = Query(layout, weights, lambda n: f"text_number({value[n]})", lambda n: value[n])
        places = [self._header.index(name) for name in layout.wanted]
        records = partial(self._records, query.of(FIELDS), places, reject)
        if self._plain:
            source = plain_text.records(self._plain, len(self._header), places)
            yield FilePart(query.of(source), 1, 1.0, instead=records)
        else:
            yield from records()

    def _records(self, query: Mapping[str, str], places: Sequence[int], reject: Reject) -> Iterator[FilePart]:
        records = self._cut()
        numbered = enumerate(records)
        next(numbered)  # the header
        rows: dict[int, list[str]] = {}
        first, begin, error = 1, records.size, None

        def part() -> FilePart:
            return FilePart(query, first, self._done(), Block(list(rows), list(rows.values())))

        number = 0
        try:
            for number, row in numbered:
                if isinstance(row, _StrayQuote):
                    reject(row.reason, 1, [(number, None)])
                elif len(row) == len(self._header):
                    rows[number] = [row[place] for place in places]
                else:
                    reject("wrong number of fields", 1, [(number, f"{len(row)}, not {len(self._header)}")])
                if records.size - begin > BLOCK and rows:
                    yield part()
                    rows.clear()
                    first, begin = number + 1, records.size
        except (ValueError, *DAMAGED) as damage:
            error = UnreadableFile(f"from row {number + 1} on", one_line(damage))
        if rows:
            yield part()
        if error:
            raise error


def _delimiter(stream: IO[bytes]) -> str:
    """What stands between the fields of the header: a comma, or a tab or semicolon where there is no comma."""
    header = stream.readline(LONGEST)
    others = [mark for mark in (b"\t", b";") if mark in header and b"," not in header]
    return others[0].decode() if others else ","


def _value(text: str) -> Any:
    """A field as JSON would have it: a number, a list or an object where it is one, None where it is empty."""
    if not text:
        return None
    if text[0] in "[{-0123456789" or text in ("true", "false"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


@dataclass(frozen=True)
class _StrayQuote:
    """A line whose quote took other rows with it; they have been given back."""

    reason: str


class _Records:
    """The records of a CSV, a blank line being none, and the lines whose quotes do not close."""

    def __init__(self, stream: IO[bytes], delimiter: str) -> None:
        # Bytes that are no text become U+FFFD, so that a row of such is a row.
        text = io.TextIOWrapper(stream, "utf-8-sig", errors="replace", newline="")
        self._text = text
        self._delimiter = delimiter
        self._lines = iter(partial(text.readline, LONGEST), "")
        self._returned: deque[str] = deque()  # lines that are to be read again
        self._record: list[str] = []  # the lines of the record that is being read
        self._width = 0
        self._again = 0
        self.size = 0  # characters so far

    def _cut(self) -> Iterator[str]:
        size = blank = 0
        while line := self._returned.popleft() if self._returned else next(self._lines, ""):
            blank = blank + 1 if line.isspace() else 0
            if blank > BLANK:
                raise ValueError("a million blank lines")
            size = size + len(line) if self._record else len(line)
            self.size += len(line)
            if size >= LONGEST:
                raise csv.Error(f"a record longer than {LONGEST >> 20} MB; a quote may never close")
            self._record.append(line)
            yield line
        if self._record:  # the reader looks for more lines only while a quote is open
            raise csv.Error("a quote never closes")

    def __iter__(self) -> Iterator[list[str] | _StrayQuote]:
        previous = csv.field_size_limit(LONGEST)  # of the process, not of a reader
        try:
            while True:
                try:
                    for record in csv.reader(self._cut(), delimiter=self._delimiter):
                        if self._is_stray(record):
                            break
                        self._record.clear()
                        self._width = self._width or len(record)
                        if record:
                            yield record
                    else:
                        return
                    yield self._give_back("a quote that does not belong")
                except csv.Error as error:
                    yield self._give_back(one_line(error))
        finally:
            csv.field_size_limit(previous)
            self._text.detach()  # the stream stays open

    def _is_stray(self, record: list[str]) -> bool:
        """Return True for a row over several lines that is damaged, and whose second line is a row by itself."""
        if len(self._record) < 2 or not self._width:
            return False
        is_damaged = len(record) != self._width or not _is_strict(self._record, self._delimiter)
        second = next(csv.reader([self._record[1]], delimiter=self._delimiter), [])
        return is_damaged and len(second) == self._width

    def _give_back(self, reason: str) -> _StrayQuote:
        """Read all but the first line of this record again; ``ValueError`` where that would go on for too long."""
        if not self._record:
            raise ValueError(reason)
        first, *rest = self._record
        self._record.clear()
        size = sum(map(len, rest))
        self._again += size
        if not self._width or self._again > AGAIN or len(first) >= LONGEST:
            raise ValueError(reason)
        self.size -= size
        self._returned.extendleft(reversed(rest))
        return _StrayQuote(reason)


def _is_strict(lines: list[str], delimiter: str) -> bool:
    """Return True if every quote opens or closes a whole field."""
    try:
        next(csv.reader(lines, delimiter=delimiter, strict=True), None)
    except csv.Error:
        return False
    return True
