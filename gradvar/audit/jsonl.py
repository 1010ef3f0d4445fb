"""JSON lines: whole blocks by Arrow's parser, and line by line where a block has a line that is not as expected.

Arrow's parser is some twenty times as fast as ``json.loads`` but fails by the block, does not say at which line, and
takes several objects on a line, or one over several lines, as they come (and a first line "null" crashes it). So a
block goes to it only if every line begins with a brace, and what comes back counts only if it has one row for every
line. Anything else is cut into smaller blocks and, in the end, into lines.
"""

from __future__ import annotations

import io
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.json

from gradvar.audit.blocks import Block, Unreadable, flat
from gradvar.audit.columns import Layout
from gradvar.audit.malformed import Faults, one_line

BLOCK = 1 << 22
LONGEST = 1 << 26  # a longer line is named, not read
SMALL = 1 << 15
SAMPLE = 64

_TYPES = {"text": pa.string(), "whole": pa.int64(), "number": pa.float64(), "truth": pa.bool_()}


def read(
    stream: IO[bytes], layout: Layout, kinds: Mapping[str, str], faults: Faults, file: str,
    done: Callable[[], float],
) -> Iterator[Block]:  # fmt: skip
    """Every row of a JSONL file. ``kinds`` is what ``kinds_of`` found at its beginning."""
    numeric = {*layout.rewards, *(layout.columns.get(r, "") for r in ("advantage", "length", "logp"))}
    types = {}
    for name in layout.wanted:
        kind = kinds.get(name, "other")
        types[name] = _TYPES.get("number" if name in numeric and kind == "whole" else kind)
    # A field of objects or lists goes line by line: Arrow would leave out the keys that the sample does not have.
    schema = None if None in types.values() else pa.schema(list(types.items()))
    first = 1
    for block in _blocks(stream, faults, file):
        if block.data:
            for columns, numbers in _parse(block.data, first, schema, layout, faults, file):
                yield Block(columns, numbers, "line", done())
        first += block.lines


class _Lines:
    """Whole lines: their bytes (none where a line was too long), and how many they are."""

    def __init__(self, data: bytes, lines: int) -> None:
        self.data = data
        self.lines = lines


def _blocks(stream: IO[bytes], faults: Faults, file: str) -> Iterator[_Lines]:
    held, line = b"", 1
    while True:
        more = _more(stream, line)
        end = more.rfind(b"\n") + 1
        if not more or end:
            whole, held = held + (more[:end] if more else b""), more[end:]
            if not whole and not more:
                return
            lines = whole.count(b"\n") + (not whole.endswith(b"\n"))
            yield _Lines(whole, lines)
            line += lines
            if not more:
                return
        elif len(held) + len(more) <= LONGEST:
            held += more
        else:
            faults.add(file, "line", [line], f"a line longer than {LONGEST >> 20} MB")
            held = _after_the_line(stream, line)
            yield _Lines(b"", 1)
            line += 1


def _after_the_line(stream: IO[bytes], line: int) -> bytes:
    while more := _more(stream, line):
        end = more.find(b"\n") + 1
        if end:
            return more[end:]
    return b""


def _more(stream: IO[bytes], line: int) -> bytes:
    try:
        return stream.read(BLOCK)
    except (OSError, EOFError, zlib.error) as error:  # a damaged .gz
        raise Unreadable(f"from line {line} on", one_line(error)) from None


def _parse(
    data: bytes, first: int, schema: pa.Schema | None, layout: Layout, faults: Faults, file: str
) -> Iterator[tuple[dict[str, pa.Array], np.ndarray]]:
    table = None if schema is None else _fast(data, schema)
    if table is not None:
        columns = {name: flat(table[name]) for name in layout.wanted}
        yield columns, np.arange(first, first + table.num_rows)
    elif schema is None or len(data) <= SMALL or len(pieces := list(_cut(data, len(data) // 16))) == 1:
        yield _slowly(data, first, layout, faults, file)
    else:
        for piece in pieces:
            yield from _parse(piece, first, schema, layout, faults, file)
            first += piece.count(b"\n")


def _fast(data: bytes, schema: pa.Schema) -> pa.Table | None:
    """The block by Arrow, or None where it is not one object on each line."""
    characters = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(characters == ord("\n"))
    begins = np.append(0, ends + 1 if ends.size and ends[-1] + 1 < len(data) else ends[:-1] + 1)
    if not (characters[begins] == ord("{")).all():
        return None
    options = pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    how = pa.json.ReadOptions(use_threads=False, block_size=len(data) + 1)
    try:
        table = pa.json.read_json(io.BytesIO(data), how, options)
        table.validate(full=True)  # the parser lets bytes through that are not UTF-8
    except pa.ArrowException:
        return None
    return table if table.num_rows == len(begins) else None


def _cut(data: bytes, size: int) -> Iterator[bytes]:
    begin = 0
    while begin < len(data):
        end = data.find(b"\n", begin + size) + 1 or len(data)
        yield data[begin:end]
        begin = end


def _slowly(
    data: bytes, first: int, layout: Layout, faults: Faults, file: str
) -> tuple[dict[str, pa.Array], np.ndarray]:
    texts = {layout.columns["prompt"], layout.columns.get("group", "")}
    needed = {*layout.rewards, layout.columns.get("step", "")}
    rows: dict[str, list[Any]] = {name: [] for name in layout.wanted}
    numbers = []
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, first):
        if not line.strip():
            continue  # an empty line is no row
        try:
            found = json.loads(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
            if not isinstance(found, dict):
                raise ValueError(f"a {type(found).__name__} is not an object")
            values = {n: _text(found.get(n)) if n in texts else found.get(n) for n in layout.wanted}
        except (ValueError, RecursionError) as error:
            faults.add(file, "line", [number], "no JSON object", one_line(error))
            continue
        for name in layout.wanted:
            if name not in texts:
                try:
                    values[name] = _number(values[name])
                except (ValueError, TypeError, OverflowError):
                    if name in needed:
                        faults.add(file, "line", [number], f"'{name}' is no number", repr(values[name])[:40])
                        break
                    values[name] = None
        else:
            for name, value in values.items():
                rows[name].append(value)
            numbers.append(number)
    columns = {n: pa.array(v, pa.binary() if n in texts else pa.float64()) for n, v in rows.items()}
    return columns, np.array(numbers, np.int64)


def _text(value: Any) -> bytes | None:
    """A prompt's or a group's key in one form, whatever JSON type it has."""
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text.encode("utf-8", "surrogatepass")


def _number(value: Any) -> float | None:
    """A number; a truth value or the text of a number as one."""
    if value is None:
        return None
    if isinstance(value, list | dict):
        raise TypeError("no number")
    return float(value)


def kinds_of(stream: IO[bytes]) -> dict[str, str]:
    """The most frequent kind of every field among the first objects: whole, number, truth, text or other."""
    kinds: dict[str, Counter[str]] = {}
    for _ in range(SAMPLE):
        try:
            line = stream.readline(LONGEST)
        except (OSError, EOFError, zlib.error):  # reading will come to it, and say where
            break
        if not line:
            break
        try:
            found = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
        except (ValueError, RecursionError):
            continue
        for name, value in found.items() if isinstance(found, dict) else ():
            kinds.setdefault(name, Counter())[_kind(value)] += 1
    return {name: _usual(count) for name, count in kinds.items()}


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int):
        return "whole" if abs(value) < 2**63 else "number"
    if isinstance(value, float):
        return "number"
    return "null" if value is None else "text" if isinstance(value, str) else "other"


def _usual(count: Counter[str]) -> str:
    if count["number"]:  # whole numbers among others are written without a point
        count["number"] += count.pop("whole", 0)
    count.pop("null", 0)
    return count.most_common(1)[0][0] if count else "number"
