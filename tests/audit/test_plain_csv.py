"""CSV files that the database reads by itself have the figures that the reader of records finds, damaged ones too."""

import csv

import numpy as np
import pytest

from gradvar.audit import audit, database, plain_csv

TOKENS = (
    b'"', b'""', b",", b",,", b"\n", b"\r\n", b"\r", b"\n\n", b" ", b"\t", b"\\", b"#", b"'", b"\x00", b"\x01", b"\xff",
    b'a"b', b'"x"y', b'"a,b"', b'"a\nb"', b'" ', b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\x0c", b"NULL", b"nan", b"1_0",
)  # fmt: skip


def damaged(seed):
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


def outcome(path, quick, monkeypatch):
    """(figures, or the error's text; if the database has read the file)."""
    sources = []
    add = database.CellDatabase.add

    def noted(self, query, *arguments):
        add(self, query, *arguments)
        sources.append("read_csv" in query["fields"])

    with monkeypatch.context() as patch:
        patch.setattr(plain_csv, "QUICK", 0 if quick else 1 << 40)
        patch.setattr(database.CellDatabase, "add", noted)
        try:
            result = audit([path])
        except ValueError as error:
            return str(error), False
    return repr((result.as_json(), result.labels)), any(sources)


@pytest.mark.parametrize("begin", [0, 30])
def test_damaged_files_mean_the_same_in_both_readers(tmp_path, monkeypatch, begin):
    path = tmp_path / "a.csv"
    by_database = 0
    for seed in range(begin, begin + 30):
        path.write_bytes(damaged(seed))
        monkeypatch.setattr(plain_csv, "BLOCK", 1 + seed)
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
