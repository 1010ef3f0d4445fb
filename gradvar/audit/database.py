"""The database that reads dumps: DuckDB in memory, without the network, extensions or files that were not given."""

from __future__ import annotations

import functools
import itertools
import json
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import duckdb
import numpy as np

from gradvar.audit.malformed import SHOWN, UnreadableFile

Reject = Callable[[str, int, Sequence[tuple[int, str | None]]], None]
"""Takes a reason, how many rows it is that of, and the first of them: numbers, and the text at fault."""

MEMORY = "1GB"
QUICK = 1 << 16  # bytes; to open a database for a smaller file takes longer than to read it without
BEGINNING = 240  # characters of a prompt that are kept to be shown
PLANS = 64  # queries whose plans are kept
_LAST_SETTINGS = (
    "enable_progress_bar = true",  # it is asked for, never shown
    "enable_progress_bar_print = false",
    "progress_bar_time = 0",
    "enable_external_access = false",
    "lock_configuration = true",
)


def literal(text: str) -> str:
    """Return text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def file_literal(path: Path) -> str:
    """Return a file's path as SQL writes it where a pattern may stand."""
    return literal("".join(f"[{c}]" if c in "*?[" else c for c in str(path)))


def identifier(name: str) -> str:
    """Return a column's name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


@functools.cache
def statement(name: str) -> str:
    """Return the text of a file in ``sql``."""
    return (resources.files("gradvar.audit") / "sql" / f"{name}.sql").read_text("utf-8")


def connect(files: Sequence[Path] = ()) -> duckdb.DuckDBPyConnection:
    """Open a database that may read ``files`` and small copies, no other file, and whose settings cannot be changed.

    One thread: sums are taken in the order of the rows, so that they are the same on every machine.
    """
    settings: dict[str, Any] = {
        "threads": 1,
        "memory_limit": MEMORY,
        "temp_directory": tempfile.mkdtemp(dir=_temporary_folder().name),
        "python_enable_replacements": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    database = duckdb.connect(config=settings)
    database.create_function(
        "canonical_json", functools.lru_cache(4096)(canonical_json), ["VARCHAR"], "VARCHAR"
    )
    database.execute(statement("macros")).fetchall()
    allowed = [text for file in files for text in (literal(str(file)), file_literal(file))]
    database.execute(f"SET allowed_paths = [{', '.join(allowed)}]").fetchall()
    database.execute(f"SET allowed_directories = [{literal(str(_copies()))}]").fetchall()
    for setting in _LAST_SETTINGS:
        database.execute(f"SET {setting}").fetchall()
    return database


@functools.cache
def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Where groups go that memory does not hold, and copies; removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="gradvar-")


@functools.cache
def _copies() -> Path:
    folder = Path(_temporary_folder().name).resolve() / "copies"
    folder.mkdir()
    return folder


@contextmanager
def readable(path: Path) -> Iterator[Path]:
    """A file that every database may read: the file itself, or of a small one a copy that is removed afterwards."""
    if path.stat().st_size >= QUICK:
        yield path.resolve()
        return
    with tempfile.TemporaryDirectory(dir=_copies()) as folder:
        copy = Path(shutil.copy(path, Path(folder) / "copy"))
        try:
            yield copy
        except UnreadableFile as error:
            raise UnreadableFile(error.place, error.reason.replace(str(copy), str(path))) from None


def canonical_json(text: str) -> str:
    """Return the same JSON with its keys in order."""
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except (ValueError, RecursionError):
        return text


@dataclass(frozen=True)
class Block:
    """Rows in memory, each a line or its fields, and their numbers."""

    numbers: Sequence[int]
    rows: Sequence[str] | Sequence[Sequence[str]]


NO_ROWS = Block((), ())
LINES = "(SELECT unnest(block_numbers()) AS number, unnest(block_lines()) AS line)"
FIELDS = "(SELECT unnest(block_numbers()) AS number, unnest(block_fields()) AS fields)"


@dataclass(frozen=True)
class FilePart:
    """Rows that are ready: the ``query`` for them, the ``first`` one's number, and how much of the file is ``done``.

    ``query`` has what ``part.sql`` leaves open; it may take its rows from a ``block``. ``instead`` yields the same rows
    by a slower way that takes more of them, where the query may fail.
    """

    query: Mapping[str, str]
    first: int
    done: float
    block: Block | None = None
    instead: Callable[[], Iterator[FilePart]] | None = None


@dataclass(frozen=True)
class AddedRows:
    """Rows added up: the columns of ``part.sql``; or of ``cells.sql``, with the places of their ``prompts`` in the
    columns of ``prompts.sql``, and those of ``faults.sql`` where there are any."""

    cells: dict[str, np.ndarray]
    prompts: dict[str, np.ndarray] | None = None
    faults: dict[str, np.ndarray] | None = None


class Database:
    """A connection, with the rows in memory that a query may ask for, and the plans of such queries.

    To plan a query takes ten times as long as to run it on a small block.
    """

    def __init__(self, files: Sequence[Path] = ()) -> None:
        self.connection = connect(files)
        self._lock = threading.Lock()
        self._block = NO_ROWS
        self._plans: dict[str, str] = {}
        self._names = (f"plan_{i}" for i in itertools.count())
        self._moments = Template(statement("moments"))
        self._of_rows = {
            name: Template(statement("rows") + statement(name)) for name in ("part", "cells", "faults")
        }
        for name, values, kind in (
            ("block_numbers", lambda: self._block.numbers, "BIGINT[]"),
            ("block_lines", lambda: self._block.rows, "VARCHAR[]"),
            ("block_fields", lambda: self._block.rows, "VARCHAR[][]"),
        ):
            # With side effects: it is called whenever a plan runs.
            self.connection.create_function(name, values, [], kind, side_effects=True)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self._lock, _interrupts():
            return self.connection.execute(sql).fetchall()

    def add_up(self, part: FilePart, progress: Callable[[float], object]) -> AddedRows:
        """Add up the rows of a part; ``progress`` is called with the share of the file that has been read."""
        sql = {
            name: query.substitute(part.query, examples=SHOWN, shown=BEGINNING)
            for name, query in self._of_rows.items()
        }
        with self._lock:
            if part.block:
                self._block = part.block
                sums = AddedRows(self._columns(f"EXECUTE {self._plan(sql['part'])}"))
                self._block = NO_ROWS
            else:
                sums = self._many(sql, progress if part.instead else None)
        progress(part.done)
        return sums

    def _many(self, sql: Mapping[str, str], progress: Callable[[float], object] | None) -> AddedRows:
        """Add up many rows: their prompts are numbered here, so that no cell brings its prompt's text along."""
        create = f"CREATE OR REPLACE TEMP TABLE cells AS {sql['cells']}"
        try:
            if progress:
                self._watched(create, progress)
            else:
                self._columns(create)
            self._columns(f"CREATE OR REPLACE TEMP TABLE prompts AS {statement('prompts')}")
            prompts = self._columns("SELECT * FROM prompts ORDER BY place")
            unused = "prompt, beginning, source, least_text, greatest_text, reason"
            cells = self._columns(
                f"SELECT cells.* EXCLUDE ({unused}), place AS prompt FROM cells JOIN prompts USING (prompt) "
                "WHERE reason IS NULL"
            )
            is_faulty = self.connection.execute("SELECT any_value(reason) FROM cells").fetchall() != [(None,)]
            return AddedRows(cells, prompts, self._columns(sql["faults"]) if is_faulty else None)
        finally:
            self.connection.execute("DROP TABLE IF EXISTS cells").fetchall()
            self.connection.execute("DROP TABLE IF EXISTS prompts").fetchall()

    def moments(self, part: FilePart) -> dict[str, np.ndarray]:
        """Return the columns of ``moments.sql``: the moments of reward, parts and length, by step."""
        sql = self._moments.substitute(part.query)
        with self._lock:
            if not part.block:
                return self._columns(sql)
            self._block = part.block
            columns = self._columns(f"EXECUTE {self._plan(sql)}")
            self._block = NO_ROWS
        return columns

    def _columns(self, sql: str) -> dict[str, np.ndarray]:
        with _interrupts():
            columns: dict[str, np.ndarray] = self.connection.execute(sql).fetchnumpy()
        return columns

    def _watched(self, sql: str, progress: Callable[[float], object]) -> dict[str, np.ndarray]:
        """Run a query in a thread; the thread that asked for it reports how far it is."""
        with ThreadPoolExecutor(1) as pool:
            query = pool.submit(self._columns, sql)
            try:
                while wait([query], timeout=0.2).not_done:
                    progress(max(self.connection.query_progress(), 0.0) / 100)
            except BaseException:
                self.connection.interrupt()
                raise
            return query.result()

    def _plan(self, sql: str) -> str:
        """The name of a plan for a query, the oldest of which make room."""
        if sql not in self._plans:
            if len(self._plans) >= PLANS:
                self.connection.execute(f"DEALLOCATE {self._plans.pop(next(iter(self._plans)))}").fetchall()
            name = next(self._names)
            self.connection.execute(f"PREPARE {name} AS {sql}").fetchall()
            self._plans[sql] = name
        return self._plans[sql]


@contextmanager
def _interrupts() -> Iterator[None]:
    """Turn what the database makes of an interrupt, an error of the query, into the interrupt that it was."""
    try:
        yield
    except (duckdb.Error, RuntimeError) as error:
        text = str(error)
        if "KeyboardInterrupt" in text or (
            text == "Query interrupted" and not isinstance(error, duckdb.Error)
        ):
            raise KeyboardInterrupt from None
        raise


@functools.cache
def shared() -> Database:
    """Return the one database for all that is small: opening one takes longer than reading a small dump."""
    return Database()
