"""Files of any format into the cells of a dump, and what is wrong with them."""

import codecs
import gzip
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Protocol

import duckdb

from gradvar.audit import plain_text
from gradvar.audit.cell_sums import CellSums
from gradvar.audit.columns import ColumnLayout, Columns, detect
from gradvar.audit.csv_records import CsvRecords
from gradvar.audit.database import QUICK, Database, FilePart, Reject, readable
from gradvar.audit.json_lines import JsonLines
from gradvar.audit.malformed import Faults, UnreadableFile, one_line
from gradvar.audit.parquet import ParquetFile

SUFFIXES = (".jsonl", ".ndjson", ".csv", ".parquet", ".jsonl.gz", ".ndjson.gz", ".csv.gz")


class FileReader(Protocol):
    """One file: the kinds of its columns, those that are ``rare``, and its rows, which are counted in ``unit``."""

    unit: str
    kinds: dict[str, str]
    rare: frozenset[str]

    def parts(self, layout: ColumnLayout, weights: Sequence[float], reject: Reject) -> Iterator[FilePart]:
        """Make rows ready for the database, some at a time.

        Args:
            layout: Which columns hold what.
            weights: A weight for each column of rewards.
            reject: Takes rows that never get to the database.
        """
        ...


@dataclass(frozen=True)
class ReadSettings:
    """How files are read: a ``format`` or auto, ``columns`` and ``reward_weights`` that were given by hand."""

    format: str = "auto"
    columns: Columns | None = None
    reward_weights: Sequence[float] | None = None

    def weights(self, layout: ColumnLayout) -> Sequence[float]:
        """Return a weight for each reward; ``ValueError`` if another number of them was given."""
        weights, names = self.reward_weights, layout.rewards
        if weights is not None and len(weights) != len(names):
            raise ValueError(
                f"reward_weights: {len(weights)} of them for the columns {', '.join(names)}; give one for each"
            )
        return [1.0] * len(names) if weights is None else weights


def read_file(
    path: Path,
    settings: ReadSettings,
    database: Database,
    cells: CellSums,
    faults: Faults,
    progress: Callable[[float], object],
) -> ColumnLayout | None:
    """Add the rows of a file, as far as it can be read.

    Args:
        path: The file.
        settings: How it is read.
        database: What reads it.
        cells: Where its rows are added up.
        faults: Where rows that cannot be used are counted, and a file that cannot be read is named.
        progress: Called with the share that has been read.

    Returns:
        Where its figures stand; None if that cannot be found.

    Raises:
        ValueError: The number of weights is not that of the columns of rewards.
    """
    file, layout = str(path), None
    try:
        with (
            path.open("rb") as stream,
            readable(path) if is_parquet(path) else nullcontext(path.resolve()) as copy,
        ):
            try:
                reader = _reader(stream, path, copy, database)
                layout = detect(reader.kinds, path, settings.format, settings.columns, reader.rare)
            except (ValueError, EOFError, zlib.error) as error:
                raise UnreadableFile("", one_line(error)) from None
            reject = partial(faults.add, file, reader.unit)
            parts = reader.parts(layout, settings.weights(layout), reject)
            while part := next(parts, None):
                try:
                    columns = database.add_up(part, progress)
                except (duckdb.Error, UnicodeDecodeError) as error:
                    if not part.instead:
                        raise UnreadableFile(f"from {reader.unit} {part.first} on", one_line(error)) from None
                    parts = part.instead()
                    continue
                for role, missing in cells.add(columns, reject).items():
                    if role in layout.columns and missing:
                        faults.incomplete[layout.columns[role]] += missing
    except UnreadableFile as stop:
        faults.stop(file, stop.place, stop.reason)
    except OSError as error:
        faults.stop(file, "", one_line(error))
    progress(1.0)
    return layout


def _reader(stream: IO[bytes], path: Path, copy: Path, database: Database) -> FileReader:
    """The reader of a file, of which the database may read the ``copy``; which one, its first bytes say."""
    if is_parquet(path):
        return ParquetFile(copy, database)
    size = max(path.stat().st_size, 1)

    def open_again() -> IO[bytes]:
        stream.seek(0)
        packed = stream.read(2) == b"\x1f\x8b"
        stream.seek(0)
        return gzip.open(stream) if packed else stream  # type: ignore[return-value]

    def done() -> float:
        return min(stream.tell() / size, 1.0)

    is_json = _is_json(open_again(), path)
    is_plain = plain_text.are_plain_lines if is_json else plain_text.is_plain_csv
    quick = size >= QUICK and (text := open_again()) is stream and is_plain(text)
    return (JsonLines if is_json else CsvRecords)(open_again, done, copy if quick else None)


def is_parquet(path: Path) -> bool:
    """Return True if the file begins as a Parquet file does; False too where it cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(4) == b"PAR1"
    except OSError:
        return False


def _is_json(stream: IO[bytes], path: Path) -> bool:
    """Return True if a line at the beginning of the file begins with a brace; ``ValueError`` for an array."""
    head = b""
    try:
        while len(head) < 1 << 16 and (more := stream.read(1 << 12)):
            head += more
    except (EOFError, zlib.error):  # broken off early, but not before its first lines
        if not head:
            raise
    starts = [line.lstrip()[:1] for line in head.removeprefix(codecs.BOM_UTF8).splitlines() if line.strip()]
    named_csv = path.name.lower().removesuffix(".gz").endswith(".csv")
    if starts[:1] == [b"["] and b"{" not in starts[1:2]:
        raise ValueError("a JSON array; write one object per line (JSONL)")
    return starts[:1] == [b"{"] or (b"{" in starts and not named_csv)


def expand(files: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Files as they are, and of folders the dumps in them, each once; ``ValueError`` where there is none."""
    paths: list[Path] = []
    for path in map(Path, files):
        if path.is_dir():
            try:
                dumps = sorted(p for p in path.iterdir() if p.name.lower().endswith(SUFFIXES) and p.is_file())
            except OSError as error:
                raise ValueError(
                    f"files: the folder {path} cannot be listed ({error.strerror}); give its files"
                ) from None
            if not dumps:
                raise ValueError(f"files: no {', '.join(SUFFIXES[:4])} in the folder {path}")
            paths += dumps
        elif path.is_file():
            paths.append(path)
        else:
            raise ValueError(f"files: no file {path}")
    if not paths:
        raise ValueError("files: none; give files or folders of rollout dumps")
    # Twice the same file would double its groups.
    return list({path.resolve(): path for path in reversed(paths)}.values())[::-1]
