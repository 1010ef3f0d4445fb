"""Parquet, by the database's reader."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb

from gradvar.audit.columns import ColumnLayout
from gradvar.audit.database import Database, FilePart, Reject, file_literal, identifier
from gradvar.audit.malformed import one_line
from gradvar.audit.query import LONGEST_KEY, Query

PART = 1 << 17  # rows at once at least, but for the last


class ParquetFile:
    """A Parquet file: the kinds of its columns, and its rows part by part; ``ValueError`` where it is none."""

    unit = "row"
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
        self._types = {name: str(kind) for name, kind, *_ in described if name != "file_row_number"}
        self.kinds = {name: _kind(kind) for name, kind in self._types.items()}

    def parts(self, layout: ColumnLayout, weights: Sequence[float], reject: Reject) -> Iterator[FilePart]:
        """Point to the rows, some row groups at a time.

        Args:
            layout: Which columns hold what.
            weights: A weight for each column of rewards.
            reject: Takes rows that never get to the database.
        """
        query = Query(layout, weights, self._number, self._key)
        total, begin = max(sum(self._groups), 1), 0
        for end in self._ends():
            rows = f"(SELECT *, file_row_number + 1 AS number FROM {self._rows} "
            rows += f"WHERE file_row_number >= {begin} AND file_row_number < {end})"
            yield FilePart(query.of(rows), begin + 1, end / total)
            begin = end

    def _ends(self) -> Iterator[int]:
        """Where parts end: row groups, small ones together."""
        begin = end = 0
        for rows in self._groups:
            end += rows
            if end - begin >= PART:
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
