"""The database: it reads the files given and nothing else, and one bad line does not change what others mean."""

import json

import duckdb
import pytest

from gradvar.audit import audit, database
from tests.audit import dumps


@pytest.mark.parametrize(
    "statement",
    [
        "FROM read_csv('{other}')",
        "FROM read_text('/etc/hostname')",
        "FROM read_parquet('http://localhost:9/a.parquet')",
        "INSTALL httpfs",
        "LOAD httpfs",
        "COPY (SELECT 1) TO '{other}.copy'",
        "ATTACH '{other}.db'",
        "SET enable_external_access = true",
        "SET threads = 2",
    ],
)
def test_nothing_but_the_files_given_can_be_reached(tmp_path, statement):
    given = dumps.write(tmp_path / "a.parquet", dumps.rows(0))
    other = dumps.write(tmp_path / "b.csv", dumps.rows(0))
    reader = database.connect([given])
    assert reader.execute(f"SELECT count(*) FROM read_parquet('{given}')").fetchall() == [(5 * 8 * 6,)]
    with pytest.raises(duckdb.Error):
        reader.execute(statement.format(other=other)).fetchall()
    assert {p.name for p in tmp_path.iterdir()} == {"a.parquet", "b.csv"}


def test_a_file_whose_name_is_a_pattern_is_that_file(tmp_path):
    rows = dumps.rows(0)
    folder = tmp_path / "reward=1"
    folder.mkdir()
    wanted = audit([dumps.write(folder / "plain.parquet", rows)]).overall
    for name in ("p*n.parquet", "[a-z]?{x,y}'s.parquet"):
        (folder / "plain.parquet").rename(folder / "now.parquet")
        (folder / "now.parquet").rename(folder / name)
        dumps.write(folder / "plain.parquet", dumps.rows(1))
        assert audit([folder / name]).overall == wanted
        (folder / name).rename(folder / "plain.parquet")


@pytest.mark.slow
def test_cells_that_memory_does_not_hold_are_spilled(tmp_path, monkeypatch):
    path = tmp_path / "a.parquet"
    duckdb.execute(f"COPY (SELECT i // 4 AS prompt, random() AS reward FROM range(400000) t(i)) TO '{path}'")
    wanted = audit([path])
    monkeypatch.setattr(database, "MEMORY", "60MB")
    assert repr(audit([path]).overall) == repr(wanted.overall)


BAD = [
    "",
    "oops",
    "[1]",
    '{"prompt": "a", "reward": "1_0", "step": 0}',
    '{"prompt": "a", "reward": 1, "step": "1_0"}',
    '{"prompt": "a", "reward": [], "step": 0}',
    '{"prompt": {"b": 1}, "reward": null}',
    '{"prompt": 1.5}',
]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("place", [0, 7, 16])
def test_one_bad_line_changes_nothing_but_the_count_of_bad_lines(tmp_path, bad, place):
    big = 2**53
    lines = [
        json.dumps({"prompt": prompt, "reward": reward, "step": step})
        for prompt, step in ((big + 1, 0), (big + 2, "1"), (2.5, 0), ("٣", 1))
        for reward in (True, "0.5", "false", 1e-3)
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines) + "\n")
    wanted = audit([path])
    assert (wanted.rows, wanted.faults.count) == (16, 0)
    assert str(big + 1) in wanted.labels
    path.write_text("\n".join([*lines[:place], bad, *lines[place:]]) + "\n")
    result = audit([path])
    assert (result.rows, result.faults.count) == (16, int(bool(bad)))
    assert repr(result.overall) == repr(wanted.overall)
    assert result.labels == wanted.labels
