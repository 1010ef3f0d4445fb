"""CSV and Parquet, by Arrow's readers, in batches."""

from __future__ import annotations

import codecs
import io
import zlib
from collections.abc import Callable, Iterator
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from gradvar.audit.blocks import Block, Unreadable, flat
from gradvar.audit.columns import Layout
from gradvar.audit.malformed import Faults, one_line

BATCH = 1 << 16  # rows at once, at most
_BYTES = 1 << 24  # of a batch, about
BLOCK = 1 << 22  # a CSV record longer than this ends the reading
_LIMIT = 100_000_000  # bytes or entries that the metadata of a Parquet file may ask for at once


def _spell_out(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "?" * (error.end - error.start), error.end


codecs.register_error("gradvar-question-mark", _spell_out)


class _Text(io.RawIOBase):
    """A stream of bytes with a question mark for each that is not UTF-8.

    Arrow's CSV reader hands rows of another length to Python as text, and loses those that are none.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("gradvar-question-mark")

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes; empty at the end only."""
        while True:
            # Up to 3 bytes may have been held back, and no more than was asked for may be handed on.
            data = self._stream.read(max(size - 3, 1) if size > 0 else size)
            text = self._decoder.decode(data, final=not data).encode()
            if text or not data:
                return text


def csv_columns(stream: IO[bytes], path: str) -> dict[str, str]:
    """The names in the header. A CSV has no types, so every column may hold numbers."""
    try:
        with pa.csv.open_csv(_Text(stream), _csv_read(), _csv_parse(None)) as reader:
            return dict.fromkeys(reader.schema.names, "number")
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise ValueError(f"{path}: no CSV table ({one_line(error)}); a header and rows are needed") from None


def read_csv(
    stream: IO[bytes], layout: Layout, faults: Faults, file: str, done: Callable[[], float]
) -> Iterator[Block]:
    """Every row of a CSV file; rows of another number of fields than the header are counted and named.

    Values stay bytes: what is no number is found by the row, where a conversion by Arrow would fail by the file.
    """
    skipped: list[int] = []

    def skip(row: pa.csv.InvalidRow) -> str:
        # The header counts as a row of the reader's.
        number = (row.number or 1) - 1
        skipped.append(number)
        faults.add(
            file,
            "row",
            [number],
            "wrong number of fields",
            f"{row.actual_columns}, not {row.expected_columns}",
        )
        return "skip"

    columns = dict.fromkeys(layout.wanted, pa.binary())
    convert = pa.csv.ConvertOptions(
        check_utf8=False, include_columns=list(columns), column_types=columns, strings_can_be_null=True,
        null_values=[""], quoted_strings_can_be_null=False,
    )  # fmt: skip
    seen = 0
    try:
        with pa.csv.open_csv(_Text(stream), _csv_read(), _csv_parse(skip), convert) as reader:
            for batch in reader:
                numbers, seen = _around(batch.num_rows, skipped, seen)
                found = {name: batch.column(i) for i, name in enumerate(batch.schema.names)}
                yield Block(found, numbers, "row", done())
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise Unreadable(f"from row {seen + 1} on", one_line(error)) from None


def _csv_read() -> pa.csv.ReadOptions:
    return pa.csv.ReadOptions(use_threads=False, block_size=BLOCK)


def _csv_parse(skip: Callable[[pa.csv.InvalidRow], str] | None) -> pa.csv.ParseOptions:
    return pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip or (lambda row: "skip"))


def _around(rows: int, skipped: list[int], seen: int) -> tuple[np.ndarray, int]:
    """The numbers of the next rows after ``seen``, passing over ``skipped`` ones, which are taken off the list; and the
    last number."""
    end, gone = seen + rows, 0
    while gone < len(skipped) and skipped[gone] <= end:
        gone, end = gone + 1, end + 1
    numbers = np.setdiff1d(np.arange(seen + 1, end + 1), skipped[:gone], assume_unique=True)
    del skipped[:gone]
    return numbers, end


def open_parquet(stream: IO[bytes], path: str) -> pa.parquet.ParquetFile:
    """A Parquet file, or ``ValueError`` where it is none."""
    try:
        return pa.parquet.ParquetFile(
            stream, thrift_string_size_limit=_LIMIT, thrift_container_size_limit=_LIMIT, pre_buffer=False
        )
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{path}: no Parquet file ({one_line(error)})") from None


def parquet_columns(file: pa.parquet.ParquetFile) -> dict[str, str]:
    """The kinds of the columns: number, text or other."""
    return {field.name: _kind(field.type) for field in file.schema_arrow}


def _kind(kind: pa.DataType) -> str:
    types = pa.types
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind):
        return "number"
    return (
        "text" if types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) else "other"
    )


def read_parquet(file: pa.parquet.ParquetFile, layout: Layout) -> Iterator[Block]:
    """Every row of a Parquet file."""
    seen, total = 0, max(file.metadata.num_rows, 1)
    try:
        size = _rows_at_once(file, layout)
        for batch in file.iter_batches(size, columns=list(layout.wanted), use_threads=False):
            found = {name: flat(batch.column(name)) for name in layout.wanted}
            for column in found.values():
                column.validate(full=True)  # a damaged file may hold offsets that point anywhere
            numbers = np.arange(seen + 1, seen + batch.num_rows + 1)
            seen += batch.num_rows
            yield Block(found, numbers, "row", seen / total)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise Unreadable(f"from row {seen + 1} on", one_line(error)) from None


def _rows_at_once(file: pa.parquet.ParquetFile, layout: Layout) -> int:
    """Rows of a batch of some 16 MB, by the first few: 65,536 prompts of 50,000 characters would take 3 GB."""
    for batch in file.iter_batches(256, columns=list(layout.wanted), use_threads=False):
        return int(min(max(_BYTES * batch.num_rows // max(batch.nbytes, 1), 64), BATCH))
    return BATCH
