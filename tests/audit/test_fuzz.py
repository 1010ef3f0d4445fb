"""Damaged files: an audit, or one clear line; no crash, no unbounded memory, and no row lost without a word."""

import json
import math
import resource
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradvar.audit import Audit, audit, json_lines
from tests.audit import dumps
from tests.processor import run_within

KINDS = ("a.jsonl", "a.csv", "a.parquet", "a.jsonl.gz", "a.csv.gz")
TOKENS = (
    b"\n",
    b'"',
    b"{",
    b"}",
    b"[",
    b",",
    b"null",
    b"NaN",
    b"1e999",
    b"\x00",
    b"\xff\xfe",
    b"\\u0000",
    b"\\ud800",
    b"-0",
)


def valid(folder, name, seed):
    rows = dumps.rows(seed, steps=2, size=3, levels=(0.0, 0.5, 1.0))
    for i, row in enumerate(rows):
        row |= {"advantage": i / 7, "length": float(i)}
    if name == "a.csv.gz":
        import gzip

        path = folder / name
        path.write_bytes(gzip.compress(dumps.write(folder / "plain.csv", rows).read_bytes()))
        return path.read_bytes()
    return dumps.write(folder / name, rows).read_bytes()


def mutated(data, rng):
    """The bytes with some flipped, cut out, doubled, or put in; or the file cut off."""
    data = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        at, length = int(rng.integers(len(data) + 1)), int(rng.integers(1, 40))
        kind = rng.integers(6)
        if kind == 0 and at < len(data):
            data[at] = int(rng.integers(256))
        elif kind == 1:
            del data[at : at + length]
        elif kind == 2:
            data[at:at] = data[at : at + length] * int(rng.integers(1, 4))
        elif kind == 3:
            data[at:at] = TOKENS[int(rng.integers(len(TOKENS)))]
        elif kind == 4:
            data[at : at + length] = rng.bytes(length)
        elif rng.random() < 0.2:
            del data[at:]
    return bytes(data)


def survives(path):
    """The audit, or None after one clear line."""
    try:
        found = audit([path])
    except ValueError as error:
        said = str(error)
    else:
        return complete(found)
    assert "\n" not in said
    assert said.startswith(("files: ", "rows: "))
    return None


def complete(found):
    """An audit that can be shown and written."""
    assert isinstance(found, Audit)
    assert found.rows > 0
    assert str(found)
    json.dumps(found.as_json(), allow_nan=True)
    return found


def fuzz(folder, name, seeds):
    data = valid(folder, name, 0)
    read = 0
    for seed in seeds:
        path = folder / name
        path.write_bytes(mutated(data, np.random.default_rng([seed, 1])))
        read += survives(path) is not None
    return read


@pytest.mark.parametrize("name", KINDS)
def test_damaged_files_are_audited_or_refused_in_one_line(tmp_path, name):
    assert survives_whole(tmp_path, name)
    fuzz(tmp_path, name, range(40))


def survives_whole(folder, name):
    (folder / name).write_bytes(valid(folder, name, 0))
    return survives(folder / name)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_very_many_damaged_files(tmp_path, name):
    """In a process of its own, with its memory bounded: what brings it down brings down that process."""
    script = (
        "import pathlib; from tests.audit import test_fuzz as t; "
        f"print(t.bounded(pathlib.Path({str(tmp_path)!r}), {name!r}, 1500))"
    )
    done = run_within(900, [sys.executable, "-c", script])
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-2000:]}"
    grown, read = map(int, done.stdout.split())
    assert grown < 600  # MB; a block, its columns and the parser's own
    assert read > 15


def bounded(folder, name, many):
    """Fuzz under a limit of 6 GB of address space: (MB by which the resident set grew, files that could be read)."""
    survives_whole(folder, name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    read = fuzz(folder, name, range(many))
    return f"{(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10} {read}"


def test_the_mutations_do_reach_the_readers(tmp_path):
    """Of the damaged JSONL files some are read in part and some rows are malformed; a fuzzer that only makes rubbish
    would find nothing."""
    data = valid(tmp_path, "a.jsonl", 0)
    outcomes = set()
    for seed in range(30):
        path = tmp_path / "a.jsonl"
        path.write_bytes(mutated(data, np.random.default_rng([seed, 1])))
        found = survives(path)
        outcomes.add("refused" if found is None else "whole" if not found.faults.count else "in part")
    assert "in part" in outcomes


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.just("0.5"),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)  # fmt: skip
LINES = st.one_of(
    st.fixed_dictionaries(
        {"prompt": st.sampled_from(["a", "b"]), "reward": st.sampled_from([0.0, 1.0])},
        optional={"step": st.integers(0, 2)},
    ),
    st.dictionaries(st.sampled_from(["prompt", "reward", "step", "advantage", "x"]), VALUES),
)


def sound(row, keys):
    """Whether a row is one that can be used, as the documentation says."""

    def number(value):
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                return None
        return value if isinstance(value, int | float) else None

    reward, step = number(row.get("reward")), number(row.get("step"))
    try:
        fine = reward is not None and abs(float(reward)) <= 1e100  # not for NaN
    except OverflowError:
        return False
    if "step" in keys:
        fine = fine and step is not None and math.isfinite(step) and step % 1 == 0 and abs(step) < 2**53
    return fine and row.get("prompt") is not None


@pytest.mark.slow
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(st.lists(LINES, min_size=1, max_size=12))
def test_every_line_is_used_or_counted(tmp_path, lines):
    head = {"prompt": "a", "reward": 1.0, "step": 0}
    path = tmp_path / "a.jsonl"
    many = 1 + len(lines)  # a field is a column if half of the lines have it
    path.write_text("".join(json.dumps(row) + "\n" for row in [*[head] * many, *lines]))
    found = audit([path])
    assert found.rows + found.faults.count == many + len(lines)
    assert found.rows == many + sum(sound(row, {"step"}) for row in lines)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(st.binary(max_size=300))
def test_any_bytes_at_all(tmp_path, data):
    for name in ("a.jsonl", "a.csv", "a.parquet"):
        (tmp_path / name).write_bytes(data)
        survives(tmp_path / name)
    (tmp_path / "b.parquet").write_bytes(b"PAR1" + data + b"PAR1")
    survives(tmp_path / "b.parquet")
    (tmp_path / "b.jsonl.gz").write_bytes(b"\x1f\x8b" + data)
    survives(tmp_path / "b.jsonl.gz")


@pytest.mark.slow
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(
    st.lists(LINES, min_size=1, max_size=12),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=9),
    st.integers(1, 200),
)
def test_the_block_a_line_is_in_does_not_change_what_it_means(tmp_path, lines, floats, block):
    head = {"prompt": "a", "reward": 1.0, "step": 0}
    more = [{"prompt": f"p{i // 2}", "reward": x, "step": 0} for i, x in enumerate(floats)]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [head, *more, *lines]))
    whole = audit([path])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_lines, "BLOCK", block)
        cut = audit([path])
    assert repr(whole.as_json()["overall"]) == repr(cut.as_json()["overall"])
    assert whole.labels == cut.labels
    assert whole.faults.reasons == cut.faults.reasons
    assert [f.number for f in whole.faults.first] == [f.number for f in cut.faults.first]


def test_nothing_in_a_dump_is_run(tmp_path):
    """Text that would be code is text, and a pickle is no dump."""
    import pickle

    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "bang"), "w"))

    evil = "__import__('pathlib').Path('bang').touch()"
    path = dumps.write(
        tmp_path / "a.jsonl", [{"prompt": evil, "reward": 1.0}, {"prompt": evil, "reward": evil}]
    )
    assert audit([path]).faults.count == 1
    (tmp_path / "a.parquet").write_bytes(pickle.dumps(Bomb()))
    assert survives(tmp_path / "a.parquet") is None
    assert not (tmp_path / "bang").exists()
