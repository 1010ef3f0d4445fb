"""Files that the database reads by itself have the figures that the other readers find, damaged ones too."""

import csv
import json

import numpy as np
import pytest

from gradvar.audit import audit, database, plain_text, read, run

TOKENS = (
    b'"', b'""', b",", b",,", b"\n", b"\r\n", b"\r", b"\n\n", b" ", b"\t", b"\\", b"#", b"'", b"\x00", b"\x01", b"\xff",
    b'a"b', b'"x"y', b'"a,b"', b'"a\nb"', b'" ', b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\x0c", b"NULL", b"nan", b"1_0",
)  # fmt: skip


def damaged_records(seed):
    """A small CSV with up to three tokens put in, or some bytes cut out."""
    rng = np.random.default_rng(seed)
    end = (b"\n", b"\r\n")[rng.integers(2)]
    texts = (b"plain", b'"quoted"', b'"a, ""b""\nc"', b"")
    rows = [
        b"q%d,%d,%s" % (i // 2, rng.integers(2), texts[rng.integers(4)]) for i in range(rng.integers(1, 6))
    ]
    head = (b"", b"\xef\xbb\xbf")[rng.integers(2)] + b"prompt,reward,completion"
    data = bytearray(end.join([head, *rows]) + end * int(rng.integers(2)))
    for _ in range(rng.integers(4)):
        place = int(rng.integers(25, len(data) + 1))
        if rng.random() < 0.3:
            del data[place : place + int(rng.integers(1, 4))]
        else:
            data[place:place] = TOKENS[rng.integers(len(TOKENS))]
    return bytes(data)


LINE_TOKENS = (
    b"\n", b"\n\n", b"\r\n", b"\r", b" \n", b"\x00", b"\x01", b"\xff", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\x0c", b"{",
    b"}", b'"', b"[", b"\\u0000", b"\\ud800", b"null", b"NaN",
)  # fmt: skip


def damaged_lines(seed):
    """A few JSON lines with up to three tokens put in, or some bytes cut out; the first line stays."""
    rng = np.random.default_rng(seed)
    rows = [
        {"prompt": f"q{i // 2}", "reward": int(rng.integers(2)), "step": 0} for i in range(rng.integers(2, 7))
    ]
    data = bytearray("\n".join(map(json.dumps, rows)).encode() + b"\n" * int(rng.integers(3)))
    begin = data.index(b"\n")
    for _ in range(rng.integers(4)):
        place = int(rng.integers(begin, len(data) + 1))
        if rng.random() < 0.3:
            del data[place : place + int(rng.integers(1, 4))]
        else:
            data[place:place] = LINE_TOKENS[rng.integers(len(LINE_TOKENS))]
    return bytes(data)


def outcome(path, quick, monkeypatch):
    """(figures, or the error's text; if the database has read the file)."""
    sources = []
    add_up = database.Database.add_up

    def noted(self, part, progress):
        columns = add_up(self, part, progress)
        sources.append("read_csv" in part.query["fields"])
        return columns

    with monkeypatch.context() as patch:
        for module in (database, read, run):
            patch.setattr(module, "QUICK", 0 if quick else 1 << 40)
        patch.setattr(database.Database, "add_up", noted)
        try:
            result = audit([path])
        except ValueError as error:
            return str(error), False
    return repr((result.as_json(), result.labels)), any(sources)


@pytest.mark.parametrize(("name", "damaged"), [("a.csv", damaged_records), ("a.jsonl", damaged_lines)])
@pytest.mark.parametrize("begin", [0, pytest.param(30, marks=pytest.mark.slow)])
def test_damaged_files_mean_the_same_in_both_readers(tmp_path, monkeypatch, begin, name, damaged):
    path = tmp_path / name
    by_database = 0
    for seed in range(begin, begin + 30):
        path.write_bytes(damaged(seed))
        monkeypatch.setattr(plain_text, "BLOCK", 1 + seed)
        figures, quick = outcome(path, True, monkeypatch)
        assert outcome(path, False, monkeypatch) == (figures, False), path.read_bytes()
        by_database += quick
    assert by_database > 5


def test_a_plain_file_is_read_by_the_database(tmp_path, monkeypatch):
    path = tmp_path / "a*b.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["prompt", "reward", "completion"])
        writer.writerows([f"q{i // 8}", i % 3 % 2, f'line {i}\n\nand "another",'] for i in range(5000))
    figures, quick = outcome(path, True, monkeypatch)
    assert quick
    assert outcome(path, False, monkeypatch) == (figures, False)


def test_plain_lines_are_read_by_the_database(tmp_path, monkeypatch):
    path = tmp_path / "a*b.jsonl"
    lines = [json.dumps({"prompt": f"q{i // 8}", "reward": i % 3 % 2, "x": '"a", \n'}) for i in range(5000)]
    lines[7], lines[4000], lines[4001] = "oops", "", '{"prompt": 1, "reward": null}'
    path.write_text("\n".join(lines))
    figures, quick = outcome(path, True, monkeypatch)
    assert quick
    assert "line 4002" in figures
    assert outcome(path, False, monkeypatch) == (figures, False)


def test_a_line_that_is_no_text_is_named_in_a_large_file(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"prompt": "a", "reward": 1}\n' * 4000 + b'{"prompt": "\xff", "reward": 1}\n')
    figures, quick = outcome(path, True, monkeypatch)
    assert not quick
    assert "line 4001" in figures


@pytest.mark.parametrize(
    "row", [b'"q,1,x\n', b"q,1\n", b"q,1,x,\n", b"q,1,x,y,z\n", b"q\xff,1,x\n", b"q,1,\r x\n"]
)
@pytest.mark.parametrize("place", [1, 1000])
def test_a_bad_row_of_a_large_file_is_named(tmp_path, monkeypatch, row, place):
    rows = [b"prompt,reward,text\n", *(b"q%d,%d,x\n" % (i // 8, i % 3) for i in range(1000))]
    path = tmp_path / "a.csv"
    path.write_bytes(b"".join([*rows[:place], row, *rows[place:]]))
    figures, quick = outcome(path, True, monkeypatch)
    assert not quick
    assert outcome(path, False, monkeypatch) == (figures, False)
