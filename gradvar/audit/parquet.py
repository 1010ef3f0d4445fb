"""Parquet, by the database's reader."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from gradvar.audit.columns import ColumnLayout
from gradvar.audit.database import Database, FilePart, Reject, file_literal, identifier
from gradvar.audit.malformed import UnreadableFile, one_line
from gradvar.audit.query import LONGEST_KEY, Query

SAMPLE = 64  # rows by which the shape is known
CUT_LIST, CUT_TEXT = 1 << 12, 64  # entries and characters of a value in the sample
SMALL_PART = 1 << 12  # rows at once as JSON
PART = 1 << 17  # rows at once at least, but for the last


class ParquetFile:
    """A Parquet file: the kinds of its columns, and its rows part by part; ``ValueError`` where it is none."""

    unit = "row"
    format = ""
    rare: frozenset[str] = frozenset()

    def __init__(self, path: Path, database: Database) -> None:
        name = file_literal(path)
        # Folders named key=value are no columns.
        self._rows = f"read_parquet({name}, file_row_number = true, hive_partitioning = false)"
        groups = (
            f"SELECT DISTINCT row_group_id, row_group_num_rows FROM parquet_metadata({name}) ORDER BY ALL"
        )
        try:
            described = database.rows(f"DESCRIBE FROM {self._rows}")
            self._groups = [int(rows) for _, rows in database.rows(groups)]
        except (duckdb.Error, UnicodeDecodeError) as error:
            raise ValueError(f"no Parquet file ({one_line(error)})") from None
        self._database = database
        self._types = {name: str(kind) for name, kind, *_ in described if name != "file_row_number"}
        self.kinds = {name: _kind(kind) for name, kind in self._types.items()}
        self.sample = self._first()

    def parts(self, layout: ColumnLayout, weights: Sequence[float], reject: Reject) -> Iterator[FilePart]:
        """Point to the rows, some row groups at a time.

        Args:
            layout: Which columns hold what.
            weights: A weight for each column of rewards.
            reject: Takes rows that never get to the database.
        """
        query = Query(layout, weights, self._number, self._key)
        total, begin = max(sum(self._groups), 1), 0
        for end in self._ends(PART):
            rows = f"(SELECT *, file_row_number + 1 AS number FROM {self._rows} "
            rows += f"WHERE file_row_number >= {begin} AND file_row_number < {end})"
            yield FilePart(query.of(rows), begin + 1, end / total)
            begin = end

    def _first(self) -> list[dict[str, Any]]:
        """The first rows, of which long texts and lists are cut; none where they cannot be had as JSON."""

        def cut(name: str) -> str:
            column, kind = identifier(name), self._types[name]
            if kind.endswith("]"):
                part = f"{column}[:{CUT_LIST}]"
                return (
                    f"list_transform({part}, lambda x: left(x, {CUT_TEXT}))" if kind == "VARCHAR[]" else part
                )
            return f"left({column}, {CUT_TEXT})" if kind == "VARCHAR" else column

        names = {n: cut(n) for n, k in self._types.items() if k != "BLOB"}
        try:
            return [row for _, row in self._read(names, f"file_row_number < {SAMPLE}")] if names else []
        except (duckdb.Error, ValueError, RecursionError):
            return []

    def records(self) -> Iterator[tuple[int, Any]]:
        """Every row's number and values."""
        begin = 0
        for end in self._ends(SMALL_PART):
            try:
                within = f"file_row_number >= {begin} AND file_row_number < {end}"
                yield from self._read({n: self._bounded(n) for n in self._types}, within)
            except (duckdb.Error, ValueError, RecursionError) as error:
                raise UnreadableFile(f"from row {begin + 1} on", one_line(error)) from None
            begin = end

    def _read(self, values_by_name: Mapping[str, str], where: str) -> Iterator[tuple[int, Any]]:
        """Rows by their numbers, with these values of SQL by name."""
        fields = ", ".join(f"{identifier(n)} := {value}" for n, value in values_by_name.items())
        values = f"CAST(to_json(struct_pack({fields})) AS VARCHAR)"
        rows = self._database.rows(f"SELECT file_row_number + 1, {values} FROM {self._rows} WHERE {where}")
        return ((int(number), json.loads(text)) for number, text in rows)

    def _bounded(self, name: str) -> str:
        """A column, without lists of more than ``LONGEST_KEY`` entries."""
        column, kind = identifier(name), self._types[name]
        if kind == "BLOB":
            return f"TRY(decode({column}))"
        return f"CASE WHEN len({column}) <= {LONGEST_KEY} THEN {column} END" if kind.endswith("]") else column

    def _ends(self, size: int) -> Iterator[int]:
        """Where parts end: row groups, small ones together."""
        begin = end = 0
        for rows in self._groups:
            end += rows
            if end - begin >= size:
                yield end
                begin = end
        if end > begin:
            yield end

    def _number(self, name: str) -> str:
        kind, column = self._types[name], identifier(name)
        if kind == "BLOB":
            return f"text_number(TRY(decode({column})))"
        if kind == "VARCHAR" or kind.startswith("DECIMAL"):
            return f"text_number(CAST({column} AS VARCHAR))"
        return f"{'plain' if _kind(kind) == 'number' else 'no'}_number({column})"

    def _key(self, name: str) -> str:
        kind, column = self._types[name], identifier(name)
        if kind == "BLOB":
            return f"coalesce(TRY(decode({column})), hex({column}))"
        if kind in ("DOUBLE", "FLOAT"):
            return f"number_key(CAST({column} AS DOUBLE))"
        if kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION")):
            text = f"canonical_json(CAST(to_json({column}) AS VARCHAR))"
            is_list = kind.endswith("]") or kind.startswith("MAP")
            # Every element takes two bytes of text at least; the text of a list that is too long is never made.
            counted = f"map_keys({column})" if kind.startswith("MAP") else column
            too_long = f"WHEN len({counted}) > {LONGEST_KEY // 2} THEN repeat(' ', {LONGEST_KEY + 1})"
            return f"CASE {too_long} ELSE {text} END" if is_list else text
        return f"CAST({column} AS VARCHAR)"


def _kind(kind: str) -> str:
    if kind in ("VARCHAR", "BLOB"):
        return "text"
    numbers = ("BOOLEAN", "FLOAT", "DOUBLE", "DECIMAL")
    is_whole = kind.removeprefix("U").removesuffix("INT") in ("TINY", "SMALL", "", "BIG", "HUGE", "INTEGER")
    return "number" if (is_whole or kind.startswith(numbers)) and not kind.endswith("]") else "other"
