"""Dumps in every shape that writers use are one dump: the same figures as rollouts one a line, and as NumPy's."""

import gzip
import json
import pickle
import zipfile
from itertools import groupby

import duckdb
import numpy as np
import pytest

from gradvar.audit import Columns, audit, reward_groups
from tests.audit import dumps

ROWS = sorted(
    dumps.rows(11, steps=1, prompts=8, size=4), key=lambda r: r["prompt"]
)  # 8 prompts, 4 rollouts of each
GROUPS = [(p, [r["reward"] for r in rows]) for p, rows in groupby(ROWS, key=lambda r: r["prompt"])]


def text_of(value):
    return "".join(json.dumps(row) + "\n" for row in value)


def columns_of(rows):
    return {name: [row[name] for row in rows] for name in rows[0]}


def torch_file(path, value):
    """As torch.save lays it out: a zip archive with a pickle inside."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(value))


LISTS = [{"problem": p, "generations": ["x"] * 4, "correctness": [bool(r) for r in rs]} for p, rs in GROUPS]
SHAPES = {
    "lines.jsonl": text_of(ROWS),
    "array.json": json.dumps(ROWS),
    "array_a_row_a_line.json": "[\n" + ",\n".join(map(json.dumps, ROWS)) + "\n]\n",
    "array_indented.json": json.dumps(ROWS, indent=2),
    "object.json": json.dumps({"rows": ROWS}, indent=1),
    "wandb.table.json": json.dumps({"columns": list(ROWS[0]), "data": [list(r.values()) for r in ROWS]}),
    "step_of_lists.jsonl": text_of([columns_of(ROWS[:16]), columns_of(ROWS[16:])]),
    "samples.jsonl": text_of({"prompt": p, "rewards": rs} for p, rs in GROUPS),
    "verdicts.jsonl": text_of(LISTS),
    "fractions.jsonl": text_of({"prompt": p, "difficulty": f"{int(sum(rs))}/4"} for p, rs in GROUPS),
    "counts.jsonl": text_of({"question": p, "num_correct": int(sum(rs)), "n": 4} for p, rs in GROUPS),
    "counts.csv": "question,num_correct,n\n" + "".join(f"{p},{sum(rs):.0f},4\n" for p, rs in GROUPS),
    "rates.jsonl": text_of({"question": p, "pass_rate": sum(rs) / 4, "n": 4} for p, rs in GROUPS),
    "tokens.jsonl": text_of(
        {"prompt": r["prompt"], "response": "a b c", "score": [0.0, 0.0, r["reward"]]} for r in ROWS
    ),
    "lm_eval.jsonl": text_of(
        {"doc_id": i, "doc": {"q": p}, "resps": [["x"] * 4], "filtered_resps": [["x"] * 4], "metrics": ["em"],
         "em": sum(rs) / 4}
        for i, (p, rs) in enumerate(GROUPS)
    ),
    "inspect.json": json.dumps(
        {"eval": {}, "samples": [
            {"id": r["prompt"], "input": "?", "scores": {"match": {"value": "CI"[r["reward"] == 0]}}} for r in ROWS
        ]}
    ),
    "prime_rl.jsonl": text_of(
        {"env": {}, "task": {"key": r["prompt"]}, "traces": [
            {"rewards": {"right": {"score": r["reward"] / 2, "weight": 2.0}, "none": {"score": 1.0, "weight": 0.0}}}
        ]}
        for r in ROWS
    ),
    "train_data_step9.jsonl": text_of(
        {"content": [[r["prompt"], "answer"]], "rewards": [r["reward"]], "idx": i, "token_loss_mask": [[0, 1, 1]],
         "generation_logprobs": [[0.0, -1.0, -2.0]], "prev_logprobs": [[0.0, -1.0, -2.5]]}
        for i, r in enumerate(ROWS)
    ),
    "tinker.jsonl": text_of(
        {"iteration": 3, "group_idx": int(r["prompt"][7:]), "traj_idx": 0, "total_reward": r["reward"],
         "steps": [{"ac_len": 2, "reward": 0}, {"ac_len": 3, "reward": 0}], "tags": ["math"]}
        for r in ROWS
    ),
    "objects.jsonl": text_of(
        {"item": {"question": p}, "answers": [{"text": "x", "reward": r} for r in rs]} for p, rs in GROUPS
    ),
    "cells.csv": "problem,scores\n" + "".join(f'{p},"{json.dumps(rs)}"\n' for p, rs in GROUPS),
    "columns.json": json.dumps(columns_of(ROWS), indent=1),
    "nested.jsonl": text_of({"prompt": r["prompt"], "out": {"reward": r["reward"]}} for r in ROWS),
}  # fmt: skip
WANTED = np.array([rs for _, rs in GROUPS])


def check(found):
    """The figures of the rows, by plain NumPy."""
    equal = (WANTED[:, :1] == WANTED).all(1)
    assert found.rows == WANTED.size
    assert not found.faults.count
    assert found.overall.groups == len(WANTED)
    assert found.overall.group_size == 4
    assert found.overall.mean_reward == pytest.approx(WANTED.mean())
    assert found.overall.equal.value == pytest.approx(equal.mean())
    assert sorted(found.table.successes.tolist()) == sorted(WANTED.sum(1).tolist())


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_has_the_same_figures(tmp_path, name):
    path = tmp_path / name
    path.write_text(SHAPES[name])
    columns = Columns(reward=("out.reward",)) if name == "nested.jsonl" else None
    found = audit([path], columns=columns)
    check(found)
    assert found.evidence
    if name == "train_data_step9.jsonl":
        assert found.overall.length == 2
        assert [s.step for s in found.steps] == [9]
        assert found.mismatch.divergence == pytest.approx(0.25)
    if name == "tinker.jsonl":
        assert found.overall.length == 5
        assert all(label.startswith("3/") for label in found.labels)


def test_parquet_lists_and_packed_files(tmp_path):
    dumps.parquet(tmp_path / "a.parquet", columns_of(LISTS))
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(SHAPES["array.json"].encode()))
    for name in ("a.parquet", "a.json.gz"):
        check(audit([tmp_path / name]))
    zst = tmp_path / "a.jsonl.zst"
    (tmp_path / "flat.jsonl").write_text(SHAPES["lines.jsonl"])
    duckdb.execute(
        f"COPY (FROM read_csv('{tmp_path}/flat.jsonl', delim='\x01', quote='', escape='', header=false, "
        f"columns={{line: 'VARCHAR'}})) TO '{zst}' (FORMAT csv, DELIMITER '\x01', QUOTE '', ESCAPE '', HEADER false, "
        "COMPRESSION zstd)"
    )
    assert zst.read_bytes()[:4] == b"\x28\xb5\x2f\xfd"
    check(audit([zst]))
    table, note = reward_groups([zst])
    np.testing.assert_array_equal(sorted(table.sum(1)), sorted(WANTED.sum(1)))
    assert "8 groups of 4" in note


def test_torch_files_are_read_and_never_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "harm"), "w"))

    samples = [{"prompt": r["prompt"], "reward": r["reward"], "tensor": Evil()} for r in ROWS]
    torch_file(tmp_path / "rollout_0.pt", {"rollout_id": 7, "samples": samples})
    found = audit([tmp_path / "rollout_0.pt"])
    check(found)
    assert not (tmp_path / "harm").exists()
    assert [s.step for s in found.steps] == [7]
    torch_file(tmp_path / "bad.pt", Evil())
    with pytest.raises(ValueError, match=r"bad.pt: a file of torch.save that holds no dictionary"):
        audit([tmp_path / "bad.pt"])


def doubled(times):
    """A list that takes little room in a file and holds 2^times values."""
    value = ["x"]
    for _ in range(times):
        value = [value, value]
    return value


def within_itself():
    value = []
    value.append({"a": (value,)})
    return value


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "said"),
    [(doubled(40), "more than 50,000,000 values"), (within_itself(), "200 deep"), (nested(400), "200 deep")],
    ids=["doubled", "within itself", "deep"],
)
def test_torch_files_whose_lists_hold_each_other_are_refused(tmp_path, value, said):
    samples = [{"prompt": value, "reward": 1.0}] * 4
    torch_file(tmp_path / "rollout_0.pt", {"rollout_id": 7, "samples": samples})
    with pytest.raises(ValueError, match=f"rollout_0.pt: a pickle .*{said}; write JSON lines"):
        audit([tmp_path / "rollout_0.pt"])


def test_one_bad_record_of_a_shape_is_one_record_less(tmp_path):
    bad = [{"prompt": "q", "rewards": 1.0}, {"prompt": "q"}, [1], {"prompt": "q", "rewards": ["a"]}]
    good = [{"prompt": p, "rewards": rs} for p, rs in GROUPS]
    path = tmp_path / "a.jsonl"
    path.write_text(text_of([*good[:3], *bad, *good[3:]]))
    found = audit([path])
    assert found.rows == WANTED.size
    assert found.faults.count == 4
    assert [f.place for f in found.faults.first] == [f"line {i}" for i in (4, 5, 6, 7)]
    path.write_text(json.dumps(good)[:-20])
    found = audit([path])
    assert found.rows == WANTED.size - 4
    assert found.suspicions[0].kind == "unread"
    assert "from element 8 on" in found.suspicions[0].sentence
