"""Plain text files: JSON lines and CSV (RFC 4180) that the database's fast reader and Python's exact one read alike."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from gradvar.audit.database import file_literal

LONGEST_LINE = 1 << 24
BLOCK = 1 << 22  # bytes at once
UNUSED = b"\x01"  # no byte of a plain file
_BREAKS = np.frombuffer(b',\r\n"', np.uint8)
_OPTIONS = f"auto_detect = false, header = false, parallel = false, max_line_size = {LONGEST_LINE}"
_CSV = "delim = ',', quote = '\"', escape = '\"', strict_mode = true, null_padding = true, nullstr = '\x01'"
_LINES = "delim = '\x01', quote = '', escape = '', new_line = '\\n', columns = {line: 'VARCHAR'}"


def are_plain_lines(stream: IO[bytes]) -> bool:
    """Return True if only line feeds end lines."""
    return not any(UNUSED in block or b"\r" in block for block in iter(lambda: stream.read(BLOCK), b""))


def is_plain_csv(stream: IO[bytes]) -> bool:
    """Return True if every quote opens or closes a whole field, and every line ends as the others may."""
    count = 0  # quotes so far
    for data in _overlapping(stream):
        if UNUSED in data or data.count(b"\r", 1, -1) != data.count(b"\r\n", 1):
            return False
        if data.find(b'"', 1, -1) >= 0:
            codes = np.frombuffer(data, np.uint8)
            quotes = np.flatnonzero(codes[1:-1] == ord('"')) + 1
            opening, closing = quotes[count % 2 :: 2], quotes[1 - count % 2 :: 2]
            outside = np.concatenate([codes[opening - 1], codes[closing + 1]])
            if not np.isin(outside, _BREAKS).all():
                return False
            count += len(quotes)
    return count % 2 == 0


def _overlapping(stream: IO[bytes]) -> Iterator[bytes]:
    """The file block by block, each with the byte before and the byte after it; beyond the ends there are line ends."""
    before, block = b"\n", stream.read(BLOCK)
    while block:
        following = stream.read(BLOCK)
        yield before + block + (following[:1] or b"\n")
        before, block = block[-1:], following


def lines(path: Path) -> str:
    """Return the SQL for lines numbered from 1."""
    return (
        "(SELECT line, row_number() OVER () AS number "
        f"FROM read_csv({file_literal(path)}, {_OPTIONS}, {_LINES}))"
    )


def records(path: Path, width: int, places: Sequence[int]) -> str:
    """Return the SQL for records numbered from 1, without the header; it fails where one has not ``width`` fields."""
    columns = ", ".join(f"f{i}: 'VARCHAR'" for i in range(width + 1))
    wanted = ", ".join(f"f{i}" for i in places)
    # Fields that a row does not have are NULL, empty ones are not.
    has_all = f"f{width - 1} IS NOT NULL AND f{width} IS NULL"
    return (
        f"(SELECT [{wanted}] AS fields, CASE WHEN {has_all} THEN line - 1 ELSE error('wrong number of fields') END "
        f"AS number FROM (SELECT *, row_number() OVER () AS line FROM read_csv({file_literal(path)}, {_OPTIONS}, "
        f"{_CSV}, columns = {{{columns}}})) WHERE line > 1)"
    )
