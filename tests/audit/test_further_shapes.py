"""Counts under any name, steps with words, results by task, numbered columns, verdicts: NumPy's figures of each."""

import json
import pickle
import struct
import sys
from types import ModuleType

import numpy as np
import pytest

from gradvar.audit import Columns, audit

REWARDS = np.array(
    [[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 1]]
)  # [prompt, rollout]
WON = REWARDS.sum(1).tolist()
EACH = [(q, i, int(r)) for q, row in enumerate(REWARDS) for i, r in enumerate(row)]
STATUS = {1: "pass", 0: "fail"}


def text_of(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def counts(won, other, of=lambda k: 4 - k):
    return text_of({"problem": f"p{q}", won: k, other: of(k)} for q, k in enumerate(WON))


def each(**fields):
    return text_of(
        {"prompt": f"p{q}"}
        | {name: field(q, i, r) if callable(field) else field for name, field in fields.items()}
        for q, i, r in EACH
    )


def groups(value):
    return text_of({"prompt": f"p{q}", **value(row.tolist())} for q, row in enumerate(REWARDS))


def tasks(value):
    return {f"Task/{q}": value(row.tolist()) for q, row in enumerate(REWARDS)}


def sample(r):
    return {"solution": "s", "base_status": "pass", "plus_status": STATUS[r], "base_fail_tests": []}


NUMBERED = [
    {"prompt": f"p{q}"} | {f"score_{i}": int(r) for i, r in enumerate(row)} for q, row in enumerate(REWARDS)
]
SHAPES = {
    "correct_incorrect.jsonl": counts("correct", "incorrect"),
    "num_correct_num_wrong.jsonl": counts("num_correct", "num_wrong"),
    "passes_attempts.jsonl": counts("passes", "attempts", lambda k: 4),
    "n_correct_total.jsonl": counts("n_correct", "total", lambda k: 4),
    "solved_tries.jsonl": counts("solved", "tries", lambda k: 4),
    "passed_failed.csv": "task_id,passed,failed\n" + "".join(f"t{q},{k},{4 - k}\n" for q, k in enumerate(WON)),
    "correct_of_responses.jsonl": groups(lambda rs: {"correct": sum(rs), "responses": ["x"] * 4}),
    "k_of_n.jsonl": groups(lambda rs: {"score": f"{sum(rs)} of 4"}),
    "generations_score_correct.jsonl": groups(
        lambda rs: {"generations": [{"text": "x", "score": {"correct": bool(r)}} for r in rs]}
    ),
    "samples_result_passed.jsonl": groups(lambda rs: {"samples": [{"result": {"passed": bool(r)}} for r in rs]}),
    "samples_by_number.jsonl": groups(lambda rs: {"samples": {str(i): {"reward": r} for i, r in enumerate(rs)}}),
    "responses_grade.jsonl": groups(lambda rs: {"responses": [{"grade": "correct" if r else "wrong"} for r in rs]}),
    "results.jsonl": groups(lambda rs: {"results": [bool(r) for r in rs]}),
    "trajectories.jsonl": text_of(
        {"trajectories": [
            {"messages_and_choices": [{"role": "user", "content": f"p{q}"}, {"role": "assistant", "content": "x"}],
             "reward": int(r)} for r in row
        ]}
        for q, row in enumerate(REWARDS)
    ),
    "label.jsonl": each(response="x", label=lambda q, i, r: r),
    "labels.jsonl": groups(lambda rs: {"completions": ["x"] * 4, "labels": [bool(r) for r in rs]}),
    "label.csv": "prompt,completion,label\n" + "".join(f"p{q},x,{'correct' if r else 'wrong'}\n" for q, _, r in EACH),
    "reward_object.jsonl": each(response="x", reward=lambda q, i, r: {"score": r, "answer": "4"}),
    "id.jsonl": text_of({"id": q, "sample": i, "correct": bool(r)} for q, i, r in EACH),
    "numbered.jsonl": text_of(NUMBERED),
    "numbered.csv": "question,answer1,correct1,answer2,correct2,answer3,correct3,answer4,correct4\n"
    + "".join(f"p{q}," + ",".join(f"x,{bool(r)}" for r in row) + "\n" for q, row in enumerate(REWARDS)),
    "runs.csv": "problem,run1,run2,run3,run4\n"
    + "".join(f"p{q}," + ",".join(map(str, row)) + "\n" for q, row in enumerate(REWARDS)),
    "matrix.json": json.dumps({"prompts": [f"p{q}" for q in range(6)], "rewards": REWARDS.tolist()}),
    "matrix.jsonl": text_of([
        {"prompts": [f"p{q}" for q in range(6)], "responses": [["x"] * 4] * 6, "rewards": REWARDS.tolist()}
    ]),
    "eval_results.json": json.dumps(
        {"date": "d", "hash": "h", "eval": tasks(lambda rs: [{"task_id": "t", **sample(r)} for r in rs])}
    ),
    "older_eval_results.json": json.dumps({"date": "d", "hash": "h", "eval": tasks(
        lambda rs: {"nfiles": 4, "base": [["pass", [True]]] * 4, "plus": [[STATUS[r], [r]] for r in rs]}
    )}),
    "base_only_eval_results.json": json.dumps({"date": "d", "hash": "h", "eval": tasks(
        lambda rs: {"nfiles": 4, "base": [[STATUS[r], [r]] for r in rs], "plus": []}
    )}),
    "pairs.json": json.dumps(tasks(lambda rs: [[STATUS[r], "pass"] for r in rs])),
    "numbered_results.json": json.dumps(tasks(lambda rs: [[i, {"passed": bool(r)}] for i, r in enumerate(rs)])),
    "groups_of_samples.json": json.dumps({"rollout_id": 3, "samples": [
        [{"prompt": f"p{q}", "reward": int(r)} for r in row] for q, row in enumerate(REWARDS)
    ]}),
}  # fmt: skip


def check(found):
    assert found.rows == REWARDS.size
    assert not found.faults.count
    assert (found.overall.groups, found.overall.group_size) == REWARDS.shape
    assert found.overall.mean_reward == pytest.approx(REWARDS.mean())
    assert found.overall.equal.value == pytest.approx((REWARDS[:, :1] == REWARDS).all(1).mean())
    assert sorted(found.table.successes.tolist()) == sorted(WON)


@pytest.mark.parametrize("name", SHAPES)
def test_figures_are_those_of_numpy(tmp_path, name):
    (tmp_path / name).write_text(SHAPES[name])
    check(audit([tmp_path / name]))


@pytest.mark.parametrize(
    ("value", "steps"),
    [("global_step_{}", [10, 20]), ("step {}", [10, 20]), ("iter_{:07d}", [10, 20]), ("{}", [10, 20])],
)
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_steps_with_words(tmp_path, value, steps, kind):
    rows = [{"step": value.format(10 + 10 * (q > 2)), "prompt": f"p{q}", "reward": r} for q, _, r in EACH]
    path = tmp_path / f"a.{kind}"
    lines = ["step,prompt,reward", *(",".join(map(str, row.values())) for row in rows)]
    path.write_text(text_of(rows) if kind == "jsonl" else "\n".join(lines))
    found = audit([path])
    check(found)
    assert [s.step for s in found.steps] == steps
    for step, part in zip(found.steps, (REWARDS[:3], REWARDS[3:]), strict=True):
        assert step.mean_reward == pytest.approx(part.mean())


def test_a_number_after_other_words_is_no_step(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(each(reward=lambda q, i, r: r, step=lambda q, i, r: f"{'train' if i else 'test'}_{q}"))
    with pytest.raises(ValueError, match=r"several words before its numbers \('test_', 'train_'\)"):
        audit([path])
    path.write_text(each(reward=lambda q, i, r: r, checkpoint="/models/step10/final"))
    found = audit([path])
    check(found)
    assert [s.step for s in found.steps] == [0]


def test_what_may_mean_something_else(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(each(response="x", label=lambda q, i, r: q % 2))  # the same for all rollouts of a prompt
    with pytest.raises(ValueError, match=r"may be the answer that was wanted; .* say --reward label"):
        audit([path])
    path.write_text(each(response="x", label=lambda q, i, r: q + 1))
    with pytest.raises(ValueError, match="no column for reward among prompt, response, label"):
        audit([path])
    # Tests that a rollout passed are no rollouts that succeeded.
    path.write_text(each(response="x", passed=lambda q, i, r: 2 * r, total=3))
    found = audit([path])
    assert (found.rows, found.overall.groups) == (REWARDS.size, len(REWARDS))
    assert found.overall.mean_reward == pytest.approx(2 * REWARDS.mean())
    # Numbered rewards of one rollout each are parts of it, and are added up.
    path.write_text(each(completion="x", reward_1=lambda q, i, r: r, reward_2=0.5))
    assert audit([path]).overall.mean_reward == pytest.approx(REWARDS.mean() + 0.5)
    path.write_text(text_of(NUMBERED))
    one = audit([path], columns=Columns(reward=("score_1",)))
    assert (one.rows, one.overall.mean_reward) == (6, pytest.approx(REWARDS[:, 1].mean()))
    (tmp_path / "a.txt.jsonl").write_text(
        "".join(f"{{'prompt': 'p{q}', 'reward': {r}}}\n" for q, _, r in EACH)
    )
    with pytest.raises(
        ValueError, match=r"no JSON object among the first lines; write one on every line, with json"
    ):
        audit([tmp_path / "a.txt.jsonl"])


def test_parts_beside_a_nested_score_are_named(tmp_path):
    path = tmp_path / "a.jsonl"
    scores = lambda r: {"correct": r, "brevity": 0.5}  # noqa: E731
    path.write_text(groups(lambda rs: {"generations": [{"score": scores(r)} for r in rs]}))
    found = audit([path])
    check(found)
    assert "not added to it: 'generations.*.score.brevity'" in found.notes[0]


class Numbers:
    """What ``old_file`` writes as a tensor."""

    def __init__(self, values):
        self.values = np.asarray(values, np.float32)


def old_file(path, value, monkeypatch):
    """As torch.save wrote it before version 1.6: pickles, and after them the bytes of the tensors."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch", "__qualname__": "FloatStorage"})

    def _rebuild_tensor_v2():
        """Is named in the file, and never called."""

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    storages = {}

    class Storage:
        def __init__(self, values):
            self.key = str(len(storages))
            storages[self.key] = values

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            if isinstance(obj, Storage):
                return ("storage", torch.FloatStorage, obj.key, "cpu", storages[obj.key].size, None)
            return None

        def reducer_override(self, obj):
            if not isinstance(obj, Numbers):
                return NotImplemented
            strides = tuple(s // 4 for s in obj.values.strides)
            return _rebuild_tensor_v2, (Storage(obj.values), 0, obj.values.shape, strides, False, {})

    with path.open("wb") as file:
        for head in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(head, file, protocol=2)
        Pickler(file, protocol=2).dump(value)
        pickle.dump(list(storages), file, protocol=2)
        for values in storages.values():
            file.write(struct.pack("<q", values.size) + values.tobytes())


def test_tensors_of_old_torch_files(tmp_path, monkeypatch):
    path = tmp_path / "rollout_4.pt"
    samples = [{"prompt": f"p{q}", "reward": Numbers(r), "tokens": Numbers([[1, 2]])} for q, _, r in EACH]
    old_file(path, {"rollout_id": 4, "samples": samples}, monkeypatch)
    found = audit([path])
    check(found)
    assert [s.step for s in found.steps] == [4]
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"damaged \(the file ends early\); save it again with PyTorch 1.6"):
        audit([path])
