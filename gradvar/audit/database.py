"""The database that reads dumps and adds them up: DuckDB in memory, without the network, extensions or other files.

Rollouts are added up by (step, group, prompt, reward) part by part, so memory grows with the number of distinct such
cells (two for a group of binary rewards, whatever its size), not with the text that the dump holds.
"""

from __future__ import annotations

import functools
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import duckdb
import numpy as np

from gradvar.audit.malformed import SHOWN
from gradvar.audit.reward_counts import Cells

Database = duckdb.DuckDBPyConnection
Reject = Callable[[str, int, Sequence[tuple[int, str | None]]], None]
"""Takes a reason, how many rows it is that of, and the first of them: numbers, and the text at fault."""

KEEP = 1 << 19  # cells that may wait before they are added up
MEMORY = "1GB"
KEPT_KEY = 64  # bytes of a key that is kept whole, as in macros.sql
LABEL = 33  # characters that are shown of a longer key: # and 128 bits of its hash


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


def connect(files: Sequence[Path] = ()) -> Database:
    """Open a database that may read ``files`` and no other, and whose settings cannot be changed.

    One thread: sums are taken in the order of the rows, so that they are the same on every machine.
    """
    settings: dict[str, Any] = {
        "threads": 1,
        "memory_limit": MEMORY,
        "temp_directory": tempfile.mkdtemp(dir=_spill_folder().name),
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
    database.execute("SET enable_external_access = false; SET lock_configuration = true").fetchall()
    return database


@functools.cache
def _without_files() -> Database:
    """One database for all that is handed over in memory: opening it takes longer than reading a small dump."""
    return connect()


@functools.cache
def _spill_folder() -> tempfile.TemporaryDirectory[str]:
    """Where cells go that memory does not hold; removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="gradvar-")


def canonical_json(text: str) -> str:
    """Return the same JSON with its keys in order."""
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except (ValueError, RecursionError):
        return text


@dataclass(frozen=True)
class FilePart:
    """Rows that are ready: the ``query`` for them, the ``first`` one's number, and how much of the file is ``done``.

    ``instead`` yields the same rows by a slower way that takes more of them, where the query may fail.
    """

    query: Mapping[str, str]
    first: int
    done: float
    instead: Callable[[], Iterator[FilePart]] | None = None


class CellDatabase:
    """Rollouts, added up as they come; ``files`` are those that the database reads by itself."""

    def __init__(self, files: Sequence[Path] = ()) -> None:
        self.database = connect(files) if files else _without_files().cursor()
        self.rows = 0
        self._limit = KEEP
        self._file = -1
        self._part = Template(statement("part"))
        self._run(statement("cells"))

    def _run(self, sql: str) -> list[tuple[Any, ...]]:
        return self.database.execute(sql).fetchall()  # to the end: nothing else can run before it

    def begin_file(self) -> None:
        """Begin another file: keys are numbered in the order of the files, and of their rows."""
        self._file += 1

    def add(self, query: Mapping[str, str], reject: Reject, incomplete: Counter[str]) -> None:
        """Add rows to the cells.

        ``query`` has what ``part.sql`` leaves open. Rows that cannot be used go to ``reject``; ``incomplete`` counts,
        by column, those that are used but for a value that is optional.
        """
        self._run(self._part.substitute(query, examples=SHOWN))
        malformed = "SELECT reason, n, examples FROM part WHERE reason IS NOT NULL ORDER BY first"
        for reason, count, examples in self._run(malformed):
            reject(reason, count, [(e["number"], e["shown"]) for e in examples])
        sound = "FROM part WHERE reason IS NULL"
        counts = "sum(n), sum(advantage_n), sum(length_n), sum(logp_n)"
        ((rows, *usable),) = self._run(f"SELECT {counts} {sound}")
        if rows is None:
            return
        self.rows += int(rows)
        for role, count in zip(("advantage", "length", "logp"), usable, strict=True):
            if role in query and rows > count:
                incomplete[query[role]] += int(rows - count)
        offset = self._file << 40
        self._run(
            f"INSERT INTO cells SELECT * EXCLUDE (reason, examples) REPLACE (first + {offset} AS first) {sound}"
        )
        self._compact()

    def _compact(self) -> None:
        """Add cells up when there are twice as many as after the last time."""
        if self._count("*") > self._limit:
            self._run(f"CREATE OR REPLACE TEMP TABLE cells AS {statement('add_up')}")
            self._limit = max(KEEP, 2 * self._count("*"))

    def _count(self, column: str) -> int:
        return int(self._run(f"SELECT count({column}) FROM cells")[0][0])

    def cells(self) -> tuple[Cells, tuple[str, ...]]:
        """All that was added, and the label of every prompt; ``ValueError`` if files differ in having groups."""
        grouped = self._count("grp")
        if grouped not in (0, self._count("*")):
            raise ValueError(
                "files: some have a column for the group and some have none; audit them apart, or name one with --group"
            )
        self._run(f"CREATE OR REPLACE TEMP TABLE cells AS {statement('add_up')}")
        keys = self._run("SELECT prompt FROM cells GROUP BY prompt ORDER BY min(first), prompt")
        arrays = self.database.execute(statement("sorted")).fetchnumpy()
        self.database.close()
        # A sum over no rollouts is zero; the least and the largest of none are no numbers.
        missing = {name: np.nan if name in ("low", "high") else 0 for name in arrays}
        cells = {name: np.ma.filled(array, missing[name]) for name, array in arrays.items()}
        cells["reward"] = cells["reward"] + 0.0  # -0.0 becomes 0.0, as it is shown
        labels = tuple(key if len(key.encode()) <= KEPT_KEY else key[:LABEL] for (key,) in keys)
        return Cells(**cells, grouped=bool(grouped)), labels
