"""Plain CSV (RFC 4180), which the database's fast reader and Python's exact one understand alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from gradvar.audit.database import file_literal

QUICK = 1 << 16  # bytes; to open a database for a smaller file takes longer than to read its records here
LONGEST_LINE = 1 << 24
BLOCK = 1 << 22  # bytes at once
UNUSED = b"\x01"  # no byte of a plain file
_BREAKS = np.frombuffer(b',\r\n"', np.uint8)
_OPTIONS = (
    "auto_detect = false, header = false, delim = ',', quote = '\"', escape = '\"', strict_mode = true, "
    f"null_padding = true, nullstr = '\x01', parallel = false, max_line_size = {LONGEST_LINE}"
)


def is_plain(stream: IO[bytes]) -> bool:
    """Return True if every quote opens or closes a whole field, and every line ends as the others may."""
    before, count = b"\n", 0  # the byte before the block; quotes so far
    block = stream.read(BLOCK)
    while block:
        following = stream.read(BLOCK)
        data = before + block + (following[:1] or b"\n")
        if UNUSED in data or data.count(b"\r", 1, -1) != data.count(b"\r\n", 1):
            return False
        if b'"' in block:
            codes = np.frombuffer(data, np.uint8)
            quotes = np.flatnonzero(codes[1:-1] == ord('"')) + 1
            opening, closing = quotes[count % 2 :: 2], quotes[1 - count % 2 :: 2]
            outside = np.concatenate([codes[opening - 1], codes[closing + 1]])
            if not np.isin(outside, _BREAKS).all():
                return False
            count += len(quotes)
        before, block = block[-1:], following
    return count % 2 == 0


def rows(path: Path, width: int, places: Mapping[str, int]) -> str:
    """Return the SQL for rows numbered from 1, without the header; it fails where a row has not ``width`` fields."""
    columns = ", ".join(f"f{i}: 'VARCHAR'" for i in range(width + 1))
    wanted = ", ".join(f"f{i} AS {name}" for name, i in places.items())
    # Fields that a row does not have are NULL, empty ones are not.
    has_all = f"f{width - 1} IS NOT NULL AND f{width} IS NULL"
    return (
        f"(SELECT {wanted}, CASE WHEN {has_all} THEN line - 1 ELSE error('wrong number of fields') END AS number "
        f"FROM (SELECT *, row_number() OVER () AS line FROM read_csv({file_literal(path)}, {_OPTIONS}, "
        f"columns = {{{columns}}})) WHERE line > 1)"
    )
