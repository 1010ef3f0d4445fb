"""Any file with one bad line more has the same report, less one row; and no row is lost without a word."""

import csv
import gzip
import io
import json

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gradvar.audit import audit, csv_records, database, json_lines, read, run
from tests.audit import dumps

FEW = settings(
    max_examples=6, deadline=None, derandomize=True, database=None, phases=(Phase.generate,),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
BIG = 2**53
IDS = st.one_of(
    st.integers(BIG - 2, BIG + 4), st.integers(2**64, 2**64 + 3), st.integers(0, 3), st.sampled_from([0.5, 1.0, 1e30]),
    st.sampled_from(["a", "1_0", "٣", "true", "null", "1e3"]), st.booleans(),
)  # fmt: skip
REWARDS = st.sampled_from([0, 1, True, False, 0.5, "1", "0.5", "true", "False", " 1 "])
STEPS = st.sampled_from([0, 1, 2.0, "1", "2"])
COMMON = st.fixed_dictionaries(
    {"prompt": IDS, "reward": REWARDS, "step": STEPS, "advantage": st.floats(-2, 2)}
)
NO_NUMBER = st.sampled_from(["1_0", "٣", "0x10", "good", "1,5", "", "1e", "--1", [], {}, "¹", "1d"])
ODD_FIELDS = st.dictionaries(
    st.sampled_from(["prompt_id", "group_id", "global_step", "uid", "input", "output", "score", "completion", "length",
                     "rewards", "logp", "advantages", "x", ""]),
    st.sampled_from([1, "b", None, 2.5, [1], True]), max_size=4,
)  # fmt: skip
BAD = st.one_of(
    st.sampled_from(
        ["", "oops", "[1]", "{", "null", "3", '"x"', '{"prompt": "a"', "\x00", '{"prompt": "a"}', "{}"]
    ),
    st.builds(lambda row, bad: json.dumps({**row, "reward": bad}), COMMON, NO_NUMBER),
    st.builds(lambda row, bad: json.dumps({**row, "step": bad}), COMMON, NO_NUMBER),
    st.builds(lambda row: json.dumps({**row, "prompt": None}), COMMON),
    st.builds(lambda odd: json.dumps({**odd, "reward": None}), ODD_FIELDS),
    st.builds(json.dumps, ODD_FIELDS),
)


def report(path):
    """All that a report says but for what is malformed, and the count of malformed rows."""
    found = audit([path])
    content = found.as_json()
    spoiled = ("malformed", "findings", "suspicions", "advice")
    return repr(({k: v for k, v in content.items() if k not in spoiled}, found.labels)), found.faults


@pytest.mark.parametrize("reader", ["database", "blocks"])
@FEW
@given(rows=st.lists(COMMON, min_size=3, max_size=14), bad=BAD, place=st.integers(0, 14))
def test_one_bad_json_line(tmp_path, reader, rows, bad, place):
    with pytest.MonkeyPatch.context() as patch:
        for module in (database, read, run):
            patch.setattr(module, "QUICK", 0 if reader == "database" else 1 << 40)
        patch.setattr(json_lines, "BLOCK", 400)
        lines = list(map(json.dumps, rows))
        path = tmp_path / "a.jsonl"
        path.write_text("\n".join(lines) + "\n")
        wanted, faults = report(path)
        assert not faults.count
        place = min(place, len(lines))
        path.write_text("\n".join([*lines[:place], bad, *lines[place:]]) + "\n")
        got, faults = report(path)
    assert faults.count == int(bool(bad))
    assert got == wanted


CSV_BAD = st.sampled_from([
    '0,"a,1,x', '"0,a,1,x', '0,a,1,"x', '0,a,1', "0,a,1,x,y", "0,a,1_0,x", "1_0,a,1,x", "0,a,٣,x", "0,,1,x", '0,"a"b,',
    '"', '"""', "oops", '0,a,good,"x y"', '0,"a""b,1,x', "0,a,,x", '0,a,nan,""', '"0""', '0,a,"1,x""',
])  # fmt: skip
TEXTS = st.sampled_from(["", "plain", 'a "quoted" word', "two\nlines", "a, b\nc, d", "1,2,3\n4,5,6"])


@pytest.mark.parametrize("reader", ["database", "blocks"])
@FEW
@given(
    rows=st.lists(st.tuples(STEPS, st.sampled_from(["a", "5", str(BIG + 1)]), st.sampled_from([0, 1, "true"]), TEXTS),
                  min_size=3, max_size=14),
    bad=CSV_BAD, place=st.integers(0, 14), end=st.sampled_from(["\n", "\r\n"]),
)  # fmt: skip
def test_one_bad_csv_line(tmp_path, reader, rows, bad, place, end):
    def text(row):
        out = io.StringIO()
        csv.writer(out, lineterminator=end).writerow(row)
        return out.getvalue()

    with pytest.MonkeyPatch.context() as patch:
        for module in (database, read, run):
            patch.setattr(module, "QUICK", 0 if reader == "database" else 1 << 40)
        patch.setattr(csv_records, "BLOCK", 400)
        lines = [text(row) for row in rows]
        head = text(("step", "prompt", "reward", "text"))
        path = tmp_path / "a.csv"
        path.write_bytes("".join([head, *lines]).encode())
        wanted, faults = report(path)
        assert not faults.count
        place = min(place, len(lines))
        path.write_bytes("".join([head, *lines[:place], bad + end, *lines[place:]]).encode())
        got, faults = report(path)
    assert not faults.unread
    following = "".join(lines[place:])
    if '"' not in following:  # else two quotes may pair up, and some rows are named instead of one
        assert faults.count == 1
        assert got == wanted
    assert faults.count >= 1


def test_one_float_among_whole_ids_merges_none(tmp_path):
    for name in ("a.jsonl", "a.csv"):
        rows = [{"prompt": BIG + i // 2, "reward": i % 2} for i in range(8)]
        rows += [{"prompt": f"{BIG + 1}.0" if "csv" in name else 1.5, "reward": i} for i in range(2)]
        found = audit([dumps.write(tmp_path / name, rows)])
        assert found.overall.equal.value == 0
        assert str(BIG + 1) in found.labels


@pytest.mark.parametrize("place", [1, 3, 200, 400])
@pytest.mark.parametrize("row", ['q0,1,"x', '"q0,1,x', 'q0,"1,x', 'q0,1,x"', '"q"0,1,"x'])
def test_a_stray_quote_costs_one_row_and_says_so(tmp_path, place, row):
    rows = [f"q{i // 4},{i % 2},x" for i in range(400)]
    rows.insert(place - 1, row)
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["prompt,reward,text", *rows]) + "\n")
    found = audit([path])
    assert found.rows + found.faults.count == 401
    assert found.rows >= 400


def test_two_stray_quotes_cost_two_rows(tmp_path):
    rows = [f"q{i // 4},{i % 2},x" for i in range(400)]
    rows[3] = rows[200] = '"q0,1,x'
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["prompt,reward,text", *rows]) + "\n")
    found = audit([path])
    assert (found.rows, found.faults.count) == (398, 2)
    assert [f.number for f in found.faults.first] == [4, 201]


def test_stray_quotes_in_every_row_take_no_quadratic_time(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_records, "AGAIN", 1 << 18)
    path = tmp_path / "a.csv"
    path.write_text("prompt,reward,text\n" + "a,1,x\n" * 10 + 'x"y,"z,1\n' * 20_000)
    found = audit([path])
    assert found.rows == 10
    assert found.faults.unread or found.faults.count == 20_000


def test_two_columns_of_one_name_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("prompt,reward,reward\na,1,0\na,0,1\n")
    with pytest.raises(ValueError, match="2 columns are called 'reward'"):
        audit([tmp_path / "a.csv"])
    (tmp_path / "b.csv").write_text("prompt,reward,text,text\na,1,0,1\na,0,1,0\n")
    assert audit([tmp_path / "b.csv"]).rows == 2


@pytest.mark.parametrize("ending", [".jsonl.gz", ".csv.gz"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.999])
def test_a_cut_gz_gives_every_row_before_the_cut(tmp_path, ending, share):
    rows = [{"prompt": f"p{i // 4}", "reward": i % 2, "x": str(i * i % 9973)} for i in range(20_000)]
    plain = dumps.write(tmp_path / f"a{ending.removesuffix('.gz')}", rows).read_bytes()
    packed = gzip.compress(plain)
    (tmp_path / "cut").with_suffix(ending).write_bytes(packed[: int(len(packed) * share)])
    found = audit([(tmp_path / "cut").with_suffix(ending)])
    assert abs(found.rows - share * 20_000) < 0.1 * 20_000
    (stop,) = found.faults.unread
    assert f" {found.rows + 1} on" in stop.place
