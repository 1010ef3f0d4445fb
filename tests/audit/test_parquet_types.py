"""Columns of every type that Parquet has, as prompts, rewards and steps: no file ends the audit of the others."""

import duckdb
import pytest

from gradvar.audit import audit

PAIRS = {
    "date": "DATE '1970-01-01', DATE '2020-02-02'",
    "date beyond": "DATE '1970-01-01', 'infinity'::DATE",
    "date before": "DATE '1970-01-01', DATE '0001-01-01 (BC)'",
    "timestamp": "TIMESTAMP '1970-01-01', TIMESTAMP '2020-02-02 01:02:03.456789'",
    "timestamp beyond": "TIMESTAMP '1970-01-01', 'infinity'::TIMESTAMP",
    "timestamp of a zone": "TIMESTAMPTZ '1970-01-01', TIMESTAMPTZ '294246-01-01'",
    "odd nanoseconds": "make_timestamp_ns(1), make_timestamp_ns(1234567891234567891)",
    "milliseconds": "'1970-01-01'::TIMESTAMP_MS, '2020-02-02'::TIMESTAMP_MS",
    "time": "TIME '00:00:00', TIME '23:59:59.999999'",
    "interval": "INTERVAL 1 DAY, INTERVAL 1 MONTH",
    "uuid": "'00000000-0000-0000-0000-000000000001'::UUID, '00000000-0000-0000-0000-000000000002'::UUID",
    "huge whole numbers": "1::HUGEINT, 2::HUGEINT",
    "decimal": "1::DECIMAL(38, 0), 2::DECIMAL(38, 0)",
    "bytes": "'\\xFF'::BLOB, 'a'::BLOB",
    "enum": "'a'::ENUM ('a', 'b'), 'b'::ENUM ('a', 'b')",
    "list of dates": "['infinity'::DATE], [DATE '1970-01-01']",
    "struct": "{'a': 1}, {'a': 2}",
    "map": "MAP {'a': 1}, MAP {'b': 2}",
    "nothing": "NULL, NULL",
}
NUMBERS = ("huge whole numbers", "decimal")
ARROW = ("string_view", "duration", "date out of range", "time out of range")


def good(tmp_path):
    path = tmp_path / "good.jsonl"
    path.write_text(
        '{"prompt": "good", "reward": 1, "step": 1}\n{"prompt": "good", "reward": 0, "step": 1}\n'
    )
    return path


def files(tmp_path, columns):
    """A file of eight rows for each type, with a column of it that has two values."""
    for kind, values in PAIRS.items():
        path = tmp_path / f"{kind}.parquet"
        value = f"[{values}][1 + i % 2]"
        duckdb.execute(
            f"COPY (SELECT {columns.format(value)} FROM range(8) t(i)) TO '{path}' (FORMAT parquet)"
        )
        yield kind, path


@pytest.mark.slow
def test_prompts_of_every_type(tmp_path):
    paths = dict(files(tmp_path, "{} AS prompt, i // 2 % 2 AS reward"))
    rows = 2
    for kind, path in paths.items():
        found = audit([path, good(tmp_path)])
        assert found.rows == (2 if kind == "nothing" else 10), kind
        assert len(found.labels) == (1 if kind == "nothing" else 3), kind  # two prompts stay two
        rows += found.rows - 2
    assert audit([good(tmp_path), *paths.values()]).rows == rows


@pytest.mark.parametrize(
    ("columns", "read"),
    [
        ("{} AS reward, 'a' AS prompt", (*NUMBERS, "struct")),  # the numbers of an object are added up
        ("{} AS step, 'a' AS prompt, 1 AS reward", NUMBERS),
    ],
)
def test_rewards_and_steps_of_every_type(tmp_path, columns, read):
    paths = dict(files(tmp_path, columns))
    found = audit([good(tmp_path), *paths.values()])
    assert found.rows == 2 + 8 * len(read)
    assert found.faults.count + 8 * len(found.faults.unread) + found.rows == 2 + 8 * len(paths)


@pytest.mark.parametrize("kind", ARROW)
def test_types_that_only_arrow_writes(tmp_path, kind):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    column = {
        "string_view": lambda: arrow.array(["a", "b"] * 4, arrow.string_view()),
        "duration": lambda: arrow.array([0, 2**62] * 4, arrow.duration("us")),
        "date out of range": lambda: arrow.array([0, 2**31 - 5] * 4, arrow.date32()),
        "time out of range": lambda: arrow.array([0, 2**62] * 4, arrow.time64("us")),
    }[kind]()
    path = tmp_path / "a.parquet"
    parquet.write_table(arrow.table({"prompt": column, "reward": [0.0, 1.0] * 4}), path)
    found = audit([good(tmp_path), path])
    assert found.rows == (2 if kind == "time out of range" else 10)
    assert found.rows == 10 or found.faults.unread
