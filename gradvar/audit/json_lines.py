"""JSON lines: lines are cut here, in bounded memory, and what is in them is read by the database.

So a damaged line takes no other with it, and is named by its number.
"""

import codecs
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

from gradvar.audit import plain_text
from gradvar.audit.columns import ColumnLayout
from gradvar.audit.database import LINES, Block, FilePart, Reject, literal
from gradvar.audit.malformed import NO_TEXT, UnreadableFile, one_line
from gradvar.audit.query import Query
from gradvar.audit.record_values import kind

BLOCK = 1 << 23  # bytes at once, about
BLANK = 1 << 22  # bytes of blank lines; a few bytes of a packed file may be a billion
LONGEST = 1 << 26  # a longer line is named, not read
SAMPLE = 64  # lines by which the kinds of JSON columns are known
DAMAGED = (OSError, EOFError, zlib.error)
_BLANK = "E' \\t\\r\\x0b\\x0c'"


class JsonLines:
    """Lines of JSON objects; ``done`` is the share of the file that has been read.

    ``plain``: the file, if the database may read it by itself.
    """

    unit = "line"
    format = ""

    def __init__(
        self, open_again: Callable[[], IO[bytes]], done: Callable[[], float], plain: Path | None = None
    ) -> None:
        self._open = open_again
        self._done = done
        self._plain = plain
        self.sample = _first_objects(open_again())
        self.kinds, self.rare = json_kinds(self.sample)

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

    def records(self) -> Iterator[tuple[int, Any]]:
        """Every line's number and value; a line that is no JSON is its text."""
        first = 1
        for data, lines in _blocks(self._open()):
            texts = (
                [NO_TEXT]
                if data is None
                else _texts(data.removeprefix(codecs.BOM_UTF8) if first == 1 else data)
            )
            for number, text in enumerate(texts, first):
                if text.strip():
                    yield number, _parsed(text)
            first += lines

    def _lines(self, query: Mapping[str, str], reject: Reject) -> Iterator[FilePart]:
        first = 1
        for data, lines in _blocks(self._open()):
            if data is None:
                reject(f"a line longer than {LONGEST >> 20} MB", 1, [(first, None)])
            else:
                texts = _texts(data.removeprefix(codecs.BOM_UTF8) if first == 1 else data)
                yield FilePart(query, first, self._done(), Block(list(range(first, first + lines)), texts))
            first += lines


def _first_objects(stream: IO[bytes]) -> list[dict[str, Any]]:
    """The objects among the first lines."""
    objects = []
    for _ in range(SAMPLE):
        try:
            value = json.loads(stream.readline(LONGEST).removeprefix(codecs.BOM_UTF8))
        except (ValueError, RecursionError):
            continue
        except DAMAGED:  # reading will come to it, and say where
            break
        if isinstance(value, dict):
            objects.append(value)
    return objects


def json_kinds(objects: Sequence[Mapping[str, Any]]) -> tuple[dict[str, str], frozenset[str]]:
    """The most frequent kind of every field of some objects, and the fields that less than half of them have.

    Kinds are number, text or other. Rare fields matter: a damaged line must not give the others another meaning.
    """
    kinds: dict[str, Counter[str]] = {}
    for value in objects:
        for name, field in value.items():
            kinds.setdefault(name, Counter())[kind(field)] += 1
    rare = frozenset(name for name, count in kinds.items() if 2 * count.total() < len(objects))
    for count in kinds.values():
        count.pop("null", 0)
    return {name: count.most_common(1)[0][0] if count else "number" for name, count in kinds.items()}, rare


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


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
    rest, lines_before, damage = b"", 0, None
    while not damage:
        more, damage = _more(stream)
        if not more:
            break
        end = more.rfind(b"\n") + 1
        if end:
            block, rest = rest + more[:end], more[end:]
            if len(block) > BLANK and block.isspace():
                raise UnreadableFile(f"from line {lines_before + 1} on", "megabytes of blank lines")
            lines = block.count(b"\n")
            yield block, lines
            lines_before += lines
        elif len(rest) + len(more) <= LONGEST:
            rest += more
        else:
            yield None, 1
            lines_before += 1
            rest, damage = _after_the_line(stream, damage)
    if damage:  # what is left is a part of a line
        raise UnreadableFile(f"from line {lines_before + 1} on", one_line(damage))
    if rest:
        yield rest, rest.count(b"\n") + (not rest.endswith(b"\n"))


def _after_the_line(stream: IO[bytes], damage: Exception | None) -> tuple[bytes, Exception | None]:
    while not damage:
        more, damage = _more(stream)
        end = more.find(b"\n") + 1
        if end or not more:
            return more[end:], damage
    return b"", damage


def _more(stream: IO[bytes]) -> tuple[bytes, Exception | None]:
    """A block, and the error that ended it early: what stands before the damage of a .gz is still there to be read."""
    parts, size = [], 0
    try:
        while size < BLOCK and (part := stream.read1(BLOCK - size)):  # type: ignore[attr-defined]
            parts.append(part)
            size += len(part)
    except DAMAGED as error:
        return b"".join(parts), error
    return b"".join(parts), None
