"""Rows that cannot be used: all are counted, the first are named by file, line and reason, and the rest is audited."""

import gzip
import json

import duckdb
import pytest

from gradvar.audit import audit, csv_records, database, json_lines, parquet
from gradvar.audit import malformed as faults
from tests.audit import dumps

GOOD = {"prompt": "a", "reward": 1.0, "step": 1}
BAD_LINES = {
    "not json": "no JSON object (Expecting value",
    "[1, 2]": "no JSON object (a list is not an object)",
    "null": "no JSON object (a NoneType is not an object)",
    '{"prompt": "a", "reward": NaN, "step": 1}': "'reward' is not finite",
    '{"prompt": "a", "reward": -Infinity, "step": 1}': "'reward' is not finite",
    '{"prompt": "a", "reward": 1e101, "step": 1}': "the reward is beyond 1e+100",
    '{"prompt": "a", "reward": null, "step": 1}': "'reward' is missing",
    '{"prompt": "a", "step": 1}': "'reward' is missing",
    '{"prompt": "a", "reward": "good", "step": 1}': "'reward' is no number ('good')",
    '{"prompt": "a", "reward": [1], "step": 1}': "'reward' is no number ([1])",
    '{"prompt": "a", "reward": 1' + "0" * 400 + ', "step": 1}': "'reward' is not finite",
    '{"reward": 1, "step": 1}': "'prompt' is missing",
    '{"prompt": "a", "reward": 1}': "'step' is missing",
    '{"prompt": "a", "reward": 1, "step": 1.5}': "'step' is no whole number",
    '{"prompt": "a", "reward": 1, "step": 1': "no JSON object",
    '{"prompt": "a", "reward": 1, "step": 1} {"prompt": "b", "reward": 1, "step": 1}': "no JSON object (Extra data",
    '{"prompt": "a", "x": ' + "[" * 100_000 + ', "reward": 1, "step": 1}': "no JSON object",
}


def write(path, lines):
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("bad", BAD_LINES, ids=lambda text: text[:45])
@pytest.mark.parametrize("place", [0, 3, 5])
def test_a_bad_line_is_named_and_the_others_count(tmp_path, bad, place):
    lines = [json.dumps(GOOD)] * 5
    lines.insert(place, bad)
    found = audit([write(tmp_path / "a.jsonl", lines)])
    assert found.rows == 5
    assert found.faults.count == 1
    (fault,) = found.faults.first
    assert str(fault).startswith(f"{tmp_path / 'a.jsonl'}, line {place + 1}: {BAD_LINES[bad]}")
    assert sum(found.faults.reasons.values()) == 1
    assert [f.kind for f in found.suspicions] == ["malformed"]


def test_bad_lines_deep_in_a_large_file_are_named_by_their_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "BLOCK", 1 << 14)
    lines = [json.dumps({**GOOD, "prompt": f"p{i % 50}", "reward": i % 3}) for i in range(5000)]
    bad = {7: "{", 1234: '{"prompt": 1', 1235: "[]", 4999: '{"prompt": "a", "reward": NaN, "step": 1}'}
    for place, text in bad.items():
        lines[place] = text
    found = audit([write(tmp_path / "a.jsonl", lines)])
    assert found.rows == 4996
    assert sorted(f.number for f in found.faults.first) == [p + 1 for p in bad]


def test_empty_lines_are_no_rows_and_keep_the_count_of_lines(tmp_path):
    found = audit([write(tmp_path / "a.jsonl", ["", json.dumps(GOOD), "", "oops", ""])])
    assert (found.rows, found.faults.count, found.faults.first[0].place) == (1, 1, "line 4")


def test_an_object_over_two_lines_is_no_row_and_takes_no_other_with_it(tmp_path):
    found = audit(
        [write(tmp_path / "a.jsonl", [json.dumps(GOOD), '{"prompt": "a",', '"reward": 1}', json.dumps(GOOD)])]
    )
    assert (found.rows, found.faults.count) == (2, 2)


def test_bytes_that_are_no_text_are_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b'\n{"prompt": "\xff\xfe", "reward": 1, "step": 1}\n')
    found = audit([path])
    assert (found.rows, found.faults.first[0].place) == (1, "line 2")


def test_a_line_that_is_too_long_is_named_and_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "BLOCK", 1 << 10)
    monkeypatch.setattr(json_lines, "LONGEST", 1 << 12)
    lines = [json.dumps(GOOD), json.dumps({**GOOD, "x": "y" * 20_000}), json.dumps(GOOD), "oops"]
    found = audit([write(tmp_path / "a.jsonl", lines)])
    assert found.rows == 2
    assert [f.place for f in found.faults.first] == ["line 2", "line 4"]


def test_only_the_first_few_are_kept_and_all_are_counted(tmp_path):
    lines = [json.dumps(GOOD)] + [f"bad {i}" for i in range(1000)]
    found = audit([write(tmp_path / "a.jsonl", lines)])
    assert found.faults.count == 1000
    assert len(found.faults.first) == 5
    assert len(found.faults.reasons) == 1


def test_bad_rows_of_a_csv(tmp_path):
    text = "step,prompt,reward\n1,a,1\n1,a\n1,a,good\n,a,1\n1,,1\n1,a,nan\n1,a,0\n1,a,1,1\nx,a,1\n"
    (tmp_path / "a.csv").write_text(text)
    found = audit([tmp_path / "a.csv"])
    assert found.rows == 2
    assert found.faults.count == 7
    wanted = {
        2: "wrong number of fields", 3: "'reward' is no number", 4: "'step' is missing", 5: "'prompt' is missing",
        6: "'reward' is not finite", 8: "wrong number of fields", 9: "'step' is no whole number",
    }  # fmt: skip
    for fault in found.faults.first:
        assert fault.reason.startswith(wanted[fault.number])
    assert dict(found.faults.reasons) == {
        "wrong number of fields": 2, "'reward' is no number": 1, "'step' is missing": 1, "'prompt' is missing": 1,
        "'reward' is not finite": 1, "'step' is no whole number": 1,
    }  # fmt: skip


def test_bad_rows_of_a_parquet(tmp_path):
    table = {
        "step": [1, 1, None, 1],
        "prompt": ["a", None, "a", "a"],
        "reward": [1.0, 1.0, 1.0, float("nan")],
    }
    dumps.parquet(tmp_path / "a.parquet", table)
    found = audit([tmp_path / "a.parquet"])
    assert found.rows == 1
    assert sorted((f.number, f.reason) for f in found.faults.first) == [
        (2, "'prompt' is missing"), (3, "'step' is missing"), (4, "'reward' is not finite"),
    ]  # fmt: skip


def test_a_file_that_breaks_off_says_from_where_on_and_the_others_are_read(tmp_path):
    good = dumps.write(tmp_path / "good.jsonl", dumps.rows(1))
    whole = gzip.compress("".join(json.dumps({**GOOD, "x": str(i)}) + "\n" for i in range(50_000)).encode())
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and nothing more")
    (tmp_path / "empty.jsonl").write_text("")
    found = audit([good, *(tmp_path / n for n in ("cut.jsonl.gz", "cut.parquet", "empty.jsonl"))])
    assert found.rows > 200
    assert {f.file.rsplit("/", 1)[-1] for f in found.faults.unread} == {
        "cut.jsonl.gz",
        "cut.parquet",
        "empty.jsonl",
    }
    (unread,) = [f for f in found.suspicions if f.kind == "unread"]
    assert unread.count == 3


def test_rows_of_a_csv_are_numbered_around_those_skipped_over_many_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_records, "BLOCK", 1 << 12)
    lines = ["step,prompt,reward", *(f"1,p{i},{i % 2}" for i in range(4000))]
    wrong = {3: "1,a", 4: "1,a", 1500: "1,a,1,1", 3999: "1"}
    bad = {5: "1,a,no", 1501: "1,a,no", 4000: ",a,1"}
    for number, text in (wrong | bad).items():
        lines[number] = text
    named = []

    def add(self, file, unit, reason, count, examples):
        assert count == len(examples)
        named.extend(number for number, _ in examples)

    monkeypatch.setattr(faults.Faults, "add", add)
    found = audit([write(tmp_path / "a.csv", lines)])
    assert sorted(named) == sorted({**wrong, **bad})
    assert found.rows == 4000 - 7


def test_a_csv_whose_quote_never_closes_loses_that_line_only(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_records, "BLOCK", 1 << 12)
    lines = ["step,prompt,reward", *["1,a,1"] * 2000, '1,"a,1', *["1,a,1"] * 4000]
    found = audit([write(tmp_path / "a.csv", lines)])
    assert found.rows == 6000
    assert not found.faults.unread
    assert [str(f).split(", ", 1)[1] for f in found.faults.first] == ["row 2001: a quote never closes"]


def test_a_file_that_the_system_does_not_let_read_is_one_line(tmp_path, monkeypatch):
    path = write(tmp_path / "a.jsonl", [json.dumps(GOOD)])
    truly = type(path).open

    def refuse(self, *args, **kwargs):
        if self == path:
            raise PermissionError(13, "Permission denied")
        return truly(self, *args, **kwargs)

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(ValueError, match="Permission denied"):
        audit([path])


def test_a_long_line_at_the_end_of_a_damaged_gz(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "BLOCK", 1 << 10)
    monkeypatch.setattr(json_lines, "LONGEST", 1 << 12)
    text = json.dumps(GOOD) + "\n" + json.dumps({**GOOD, "x": [i * i for i in range(20_000)]}) + "\n"
    whole = gzip.compress(text.encode())
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: len(whole) - 1000])
    found = audit([tmp_path / "a.jsonl.gz"])
    assert (found.rows, found.faults.count, len(found.faults.unread)) == (1, 1, 1)


@pytest.mark.slow
def test_long_prompts_of_a_parquet_are_read_in_little_memory_and_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "MEMORY", "100MB")
    monkeypatch.setattr(parquet, "PART", 1 << 11)
    path = tmp_path / "a.parquet"
    texts = "(i // 8) || repeat(md5('' || i // 8), 1600)"  # 51 kB each, 3.3 GB in all
    duckdb.execute(
        f"COPY (SELECT 1 AS step, {texts} AS prompt, (i % 3 = 0)::DOUBLE AS reward FROM range(65536) t(i)) "
        f"TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 2048)"
    )
    heard = []
    found = audit([path], progress=lambda file, share: heard.append(share))
    assert found.overall.groups == 8192
    assert len(heard) > 20


def test_where_no_row_is_left_one_line_says_why(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"prompt": "a", "reward": null}\n')
    with pytest.raises(
        ValueError, match=r"files: no row can be used; .*a.jsonl, line 1: 'reward' is missing"
    ):
        audit([tmp_path / "a.jsonl"])
    (tmp_path / "b.jsonl").write_text("[1, 2]\n")
    with pytest.raises(ValueError, match=r"a JSON array without objects; .*one object per line"):
        audit([tmp_path / "b.jsonl"])
    with pytest.raises(ValueError, match=r"files: no file .*nowhere"):
        audit([tmp_path / "nowhere"])
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match=r"files: no .jsonl, .* in the folder"):
        audit([tmp_path / "folder"])
    with pytest.raises(ValueError, match="files: none"):
        audit([])
