"""Small files that hold much: what is too long is named and not read, and the other rows count."""

import gzip
import json
import os
import resource

import duckdb
import pytest

from gradvar.audit import audit, json_lines, parquet, query
from gradvar.cli import main as cli

MANY = 1 << 20
VALUES = {
    "text": f"repeat('a', {MANY})",
    "list": f"list_resize([1], {MANY}, 1)",
    "struct of a text": f"{{'a': repeat('a', {MANY})}}",
}


@pytest.mark.parametrize("kind", VALUES)
def test_prompts_that_grow_out_of_a_small_file(tmp_path, kind, monkeypatch):
    for module in (query, parquet):
        monkeypatch.setattr(module, "LONGEST_KEY", MANY >> 1)
    path = tmp_path / "a.parquet"
    duckdb.execute(
        f"COPY (SELECT {VALUES[kind]} AS prompt, i % 2 AS reward FROM range(4) t(i)) TO '{path}' "
        "(FORMAT parquet, COMPRESSION zstd)"
    )
    assert path.stat().st_size < 1 << 20
    good = tmp_path / "good.jsonl"
    good.write_text('{"prompt": "a", "reward": 1}\n{"prompt": "a", "reward": 0}\n')
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = audit([path, good])
    assert found.rows == 2
    assert found.faults.count == 4
    assert all(reason.startswith("'prompt' is longer than") for reason in found.faults.reasons)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # kilobytes


def test_many_long_lines_of_a_gz(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "BLOCK", 1 << 16)
    monkeypatch.setattr(json_lines, "LONGEST", 1 << 20)
    line = json.dumps({"prompt": "a", "reward": 1, "x": " " * (1 << 21)}) + "\n"
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress((line * 8 + '{"prompt": "a", "reward": 1}\n').encode()))
    assert path.stat().st_size < 1 << 17
    found = audit([path])
    assert (found.rows, found.faults.count) == (1, 8)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_never_ends_is_not_read(tmp_path, kind, capsys):
    path = tmp_path / "a.jsonl"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    rewards = tmp_path / "a.csv"
    rewards.symlink_to(path)
    commands = [
        ["audit", str(path)], ["report", str(path)], ["record", str(tmp_path), str(path), "--out", str(tmp_path / "o")],
        ["advise", "--rewards", str(rewards)], ["check", f"{path}:f"], ["prove", f"{path}:f"],
    ]  # fmt: skip
    for arguments in commands:
        assert cli.run(arguments) == 2, arguments
        error = capsys.readouterr().err
        assert error.splitlines()[-1].startswith("gradvar")
        assert len(error) < 1000
