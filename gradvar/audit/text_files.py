"""JSON lines and CSV: lines and records are cut here, in bounded memory, and what is in them is read by the database.

So a damaged line takes no other with it, and is named by its number.
"""

import codecs
import csv
import io
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

from gradvar.audit import plain_text
from gradvar.audit.columns import ColumnLayout
from gradvar.audit.database import FIELDS, LINES, Block, FilePart, Reject, literal
from gradvar.audit.malformed import NO_TEXT, UnreadableFile, one_line
from gradvar.audit.query import Query

BLOCK = 1 << 23  # bytes at once, about
LONGEST = 1 << 26  # a longer line is named, not read; a longer record ends the reading of a CSV
SAMPLE = 64  # lines by which the kinds of JSON columns are known
DAMAGED = (OSError, EOFError, zlib.error)
_BLANK = "E' \\t\\r\\x0b\\x0c'"


class JsonLines:
    """Lines of JSON objects; ``done`` is the share of the file that has been read.

    ``plain``: the file, if the database may read it by itself.
    """

    unit = "line"

    def __init__(
        self, open_again: Callable[[], IO[bytes]], done: Callable[[], float], plain: Path | None = None
    ) -> None:
        self._open = open_again
        self._done = done
        self._plain = plain
        self.kinds = _json_kinds(open_again())

    def parts(self, layout: ColumnLayout, weights: Sequence[float], reject: Reject) -> Iterator[FilePart]:
        """Hand over the lines: all at once if the database can read them, else block by block.

        Args:
            layout: Which columns hold what.
            weights: A weight for each column of rewards.
            reject: Takes rows that never get to the database.
        """
        pointers = [literal("/" + n.replace("~", "~0").replace("/", "~1")) for n in layout.wanted]
        place = {name: f"fields[{i}]" for i, name in enumerate(layout.wanted, 1)}
        is_object = f"(starts_with(line, '{{') OR starts_with(ltrim(line, {_BLANK}), '{{'))"
        broken = f"CASE WHEN fields IS NULL OR NOT {is_object} THEN line END"
        query = Query(
            layout, weights, lambda n: f"json_number({place[n]})", lambda n: f"json_key({place[n]})", broken
        )

        def of(lines: str) -> dict[str, str]:
            return query.of(
                f"(SELECT *, TRY(json_extract(line, [{', '.join(pointers)}]))::VARCHAR[] AS fields FROM {lines} "
                f"WHERE starts_with(line, '{{') OR trim(line, {_BLANK}) <> '')"  # to trim takes longer than to parse
            )

        blocks = partial(self._lines, of(LINES), reject)
        if self._plain:
            yield FilePart(of(plain_text.lines(self._plain)), 1, 1.0, instead=blocks)
        else:
            yield from blocks()

    def _lines(self, query: Mapping[str, str], reject: Reject) -> Iterator[FilePart]:
        first = 1
        for data, lines in _blocks(self._open()):
            if data is None:
                reject(f"a line longer than {LONGEST >> 20} MB", 1, [(first, None)])
            else:
                texts = _texts(data.removeprefix(codecs.BOM_UTF8) if first == 1 else data)
                yield FilePart(query, first, self._done(), Block(list(range(first, first + lines)), texts))
            first += lines


def _json_kinds(stream: IO[bytes]) -> dict[str, str]:
    """The most frequent kind of every field among the first objects: number, text or other."""
    kinds: dict[str, Counter[str]] = {}
    for _ in range(SAMPLE):
        try:
            value = json.loads(stream.readline(LONGEST).removeprefix(codecs.BOM_UTF8))
        except (ValueError, RecursionError):
            continue
        except DAMAGED:  # reading will come to it, and say where
            break
        for name, field in value.items() if isinstance(value, dict) else ():
            kinds.setdefault(name, Counter())[_json_kind(field)] += 1
    for count in kinds.values():
        count.pop("null", 0)
    return {name: count.most_common(1)[0][0] if count else "number" for name, count in kinds.items()}


def _json_kind(value: Any) -> str:
    if isinstance(value, int | float):  # truth values are numbers too
        return "number"
    return "null" if value is None else "text" if isinstance(value, str) else "other"


def _texts(data: bytes) -> list[str]:
    """The lines; in place of one that is no text, a sentence that says so."""

    def text(line: bytes) -> str:
        try:
            return line.decode()
        except UnicodeDecodeError:
            return NO_TEXT

    data = data.removesuffix(b"\n")
    try:
        return data.decode().split("\n")
    except UnicodeDecodeError:
        return [text(line) for line in data.split(b"\n")]


def _blocks(stream: IO[bytes]) -> Iterator[tuple[bytes | None, int]]:
    """Whole lines, and how many they are; None for a line that is too long."""
    rest, lines_before = b"", 0
    while more := _more(stream, lines_before):
        end = more.rfind(b"\n") + 1
        if end:
            block, rest = rest + more[:end], more[end:]
            lines = block.count(b"\n")
            yield block, lines
            lines_before += lines
        elif len(rest) + len(more) <= LONGEST:
            rest += more
        else:
            yield None, 1
            lines_before += 1
            rest = _after_the_line(stream, lines_before)
    if rest:
        yield rest, rest.count(b"\n") + (not rest.endswith(b"\n"))


def _after_the_line(stream: IO[bytes], lines_before: int) -> bytes:
    while more := _more(stream, lines_before):
        end = more.find(b"\n") + 1
        if end:
            return more[end:]
    return b""


def _more(stream: IO[bytes], lines_before: int) -> bytes:
    try:
        return stream.read(BLOCK)
    except DAMAGED as error:  # a damaged .gz
        raise UnreadableFile(f"from line {lines_before + 1} on", one_line(error)) from None


class CsvRecords:
    """Records of a CSV file, of which the first one is the header; ``done`` as for ``JsonLines``.

    ``plain``: the file, if the database may read it by itself.
    """

    unit = "row"

    def __init__(
        self, open_again: Callable[[], IO[bytes]], done: Callable[[], float], plain: Path | None = None
    ) -> None:
        self._open = open_again
        self._done = done
        self._plain = plain
        try:
            # A CSV has no types, so every column may hold numbers.
            self._header = next(iter(_Records(open_again())))
        except StopIteration:
            raise ValueError("no CSV table (it is empty); a header and rows are needed") from None
        self.kinds = dict.fromkeys(self._header, "number")

    def parts(self, layout: ColumnLayout, weights: Sequence[float], reject: Reject) -> Iterator[FilePart]:
        """Hand over the rows: all at once if the database can read them, else block by block.

        Rows of another number of fields than the header are rejected.

        Args:
            layout: Which columns hold what.
            weights: A weight for each column of rewards.
            reject: Takes rows that never get to the database.
        """
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
        records = _Records(self._open())
        numbered = enumerate(records)
        next(numbered)  # the header
        rows: dict[int, list[str]] = {}
        first, begin, error = 1, records.size, None

        def part() -> FilePart:
            return FilePart(query, first, self._done(), Block(list(rows), list(rows.values())))

        number = 0
        try:
            for number, row in numbered:
                if len(row) == len(self._header):
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


class _Records:
    """The records of a CSV, a blank line being none; ``ValueError`` where a quote does not close."""

    def __init__(self, stream: IO[bytes]) -> None:
        # Bytes that are no text become U+FFFD, so that a row of such is a row.
        text = io.TextIOWrapper(stream, "utf-8-sig", errors="replace", newline="")
        self._text = text
        self._lines = iter(partial(text.readline, LONGEST), "")
        self._reader = csv.reader(self._cut())
        self._record_size = 0
        self._ended = False
        self.size = 0  # characters so far

    def _cut(self) -> Iterator[str]:
        for line in self._lines:
            self.size += len(line)
            self._record_size += len(line)
            if self._record_size >= LONGEST:
                raise ValueError(f"a record longer than {LONGEST >> 20} MB; a quote may never close")
            yield line
        self._ended = True

    def __iter__(self) -> Iterator[list[str]]:
        previous = csv.field_size_limit(LONGEST)  # of the process, not of a reader
        try:
            for record in self._reader:
                if self._ended:  # the reader looks for more lines only while a quote is open
                    raise ValueError("a quote never closes")
                self._record_size = 0
                if record:
                    yield record
        except csv.Error as error:
            raise ValueError(one_line(error)) from None
        finally:
            csv.field_size_limit(previous)
            self._text.detach()  # the stream stays open
