"""Dumps as their writers name and nest them, beside test_shapes: the figures of each are NumPy's of one table.

Names were looked up: verl ray_trainer.py and tracking.py (wide tables of W&B), Qwen2.5-Math math_eval.py, lm-eval
evaluator.py (a row for every filter), Inspect's .eval, slime types.py, tinker-cookbook rollout_logging.py, prime-rl.
"""

import io
import json
import pickle
import zipfile

import numpy as np
import pytest

from gradvar.audit import audit

RIGHT = np.random.default_rng(5).random((8, 4)) < np.linspace(0, 1, 8)[:, None]  # [prompt, rollout]
EACH = [(q, g, float(r)) for q, row in enumerate(RIGHT) for g, r in enumerate(row)]
WON, SIZE = RIGHT.sum(1).tolist(), RIGHT.shape[1]
FLAT = [{"prompt": f"q {q}", "response": "x", "reward": r} for q, _, r in EACH]
BY_PROMPT = [FLAT[SIZE * q : SIZE * (q + 1)] for q in range(len(RIGHT))]


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def chat(q, answer=None):
    asked = [{"role": "system", "content": "s"}, {"role": "user", "content": f"question {q}"}]
    return asked if answer is None else [*asked, {"role": "assistant", "content": answer}]


def graded(q, grader, value):
    return {"doc_id": q, "doc": {"q": q}, "resps": [["a"]], "filtered_resps": ["a"], "filter": grader,
            "metrics": ["exact_match"], "exact_match": value}  # fmt: skip


INSPECT = [
    {"id": q, "epoch": g, "input": f"q {q}", "scores": {"match": {"value": "C" if r else "I"}}}
    for q, g, r in EACH
]
WIDE = [value for q, _, r in EACH for value in (f"q {q}", "o", r)]
NAMES = [f"{name}_{i}" for i in range(len(EACH)) for name in ("input", "output", "score")]
DUMPS = {
    "test_qwen25-math-cot.jsonl": lines(
        {"idx": q, "question": f"q {q}", "gt": "3", "code": ["a"] * 4, "pred": ["3"] * 4, "report": [None] * 4,
         "score": row.tolist()}
        for q, row in enumerate(RIGHT)
    ),
    "generations_20_ab.table.json": json.dumps({"columns": ["step", *NAMES], "data": [[20, *WIDE]]}),
    "samples_gsm8k.jsonl": lines(
        graded(q, grader, r if grader == "strict-match" else 1.0)
        for q, _, r in EACH
        for grader in ("strict-match", "flexible-extract")
    ),
    "samples_arc.jsonl": lines(
        graded(q, "none", r) | {"resps": [[["-1.0", "False"]]] * 4, "filtered_resps": [["-1.0", "False"]] * 4}
        for q, _, r in EACH
    ),
    "correct_of_total.jsonl": lines({"problem": f"q {q}", "correct": k, "total": SIZE} for q, k in enumerate(WON)),
    "success_count.jsonl": lines(
        {"prompt": f"q {q}", "success_count": k, "attempt_count": SIZE} for q, k in enumerate(WON)
    ),
    "percent.jsonl": lines(
        {"prompt": f"q {q}", "pass_rate": 100 * k / SIZE, "num_rollouts": SIZE} for q, k in enumerate(WON)
    ),
    "fractions.csv": "problem,pass\n" + "".join(f"q {q},{k}/{SIZE}\n" for q, k in enumerate(WON)),
    "tabs.tsv": "prompt\treward\n" + "".join(f"q {q}\t{r}\n" for q, _, r in EACH),
    "semicolons.csv": 'prompt;reward\n' + "".join(f'"q; {q}";{r}\n' for q, _, r in EACH),
    "array_of_groups.json": json.dumps(BY_PROMPT),
    "an_array_a_line.jsonl": "".join(json.dumps(group) + "\n" for group in BY_PROMPT),
    "one_object_after_another.json": "".join(json.dumps(row, indent=1) + "\n" for row in FLAT),
    "by_key.json": json.dumps({f"id{q}": {"text": "t", "scores": row.tolist()} for q, row in enumerate(RIGHT)}),
    "map.json": json.dumps({f"q {q}": row.astype(int).tolist() for q, row in enumerate(RIGHT)}),
    "pandas_columns.json": json.dumps({k: {str(i): row[k] for i, row in enumerate(FLAT)} for k in FLAT[0]}),
    "pandas_index.json": json.dumps({str(i): row for i, row in enumerate(FLAT)}),
    "objects_of_rewards.jsonl": lines(
        {"prompt": f"q {q}", "responses": ["x"] * 4, "rewards": [{"total": float(r), "format": 1.0} for r in row]}
        for q, row in enumerate(RIGHT)
    ),
    "words.jsonl": lines({"prompt": f"q {q}", "response": "x", "correct": "Yes" if r else "no"} for q, _, r in EACH),
    "passed.jsonl": lines({"task_id": f"HumanEval/{q}", "completion": "x", "passed": bool(r)} for q, _, r in EACH),
    "with_answers.jsonl": lines({"messages": chat(q, f"answer {g}"), "reward": r} for q, g, r in EACH),
    "of_steps.jsonl": lines(
        {"task_id": f"t{q}", "steps": [{"action": "a", "reward": 0.0}, {"action": "b", "reward": r}]}
        for q, _, r in EACH
    ),
    "ids_of_rollouts.jsonl": lines({"prompt_id": f"{q}-{g}", "prompt": f"q {q}", "reward": r} for q, g, r in EACH),
    "lists_in_an_object.jsonl": lines(
        {"prompt": f"q {q}", "completions": ["a"] * 4, "rewards": {"right": row.tolist(), "none": [0.0] * 4}}
        for q, row in enumerate(RIGHT.astype(float))
    ),
    "objects_as_trl_has_columns.jsonl": lines(
        {"prompt": f"q {q}", "completion": "a", "rewards": {"right": r}} for q, _, r in EACH
    ),
    "avg_at_4.jsonl": lines({"problem": f"q {q}", "avg@4": k / SIZE, "n": SIZE} for q, k in enumerate(WON)),
    "train_rollout_summaries.jsonl": lines(
        {"split": split, "iteration": 3, "group_idx": q % 4, "traj_idx": g, "tags": ["x"], "total_reward": r}
        for q, g, r in EACH
        for split in [["train", "eval"][q // 4]]
    ),
}  # fmt: skip


def check(found):
    """The figures of the table, by NumPy."""
    assert (found.rows, found.overall.groups, found.overall.group_size) == (RIGHT.size, *RIGHT.shape)
    assert not found.faults.count
    assert not found.faults.unread
    assert found.overall.mean_reward == pytest.approx(RIGHT.mean())
    assert found.overall.equal.value == pytest.approx((RIGHT.all(1) | ~RIGHT.any(1)).mean())
    assert sorted(found.table.successes.tolist()) == sorted(WON)


@pytest.mark.parametrize("name", DUMPS)
def test_a_dump_of_this_form_is_the_table(tmp_path, name):
    path = tmp_path / name
    path.write_text(DUMPS[name])
    found = audit([path])
    check(found)
    steps = {"generations_20_ab.table.json": 20, "train_rollout_summaries.jsonl": 3}
    assert [s.step for s in found.steps] == [steps.get(name, 0)]
    if name == "samples_gsm8k.jsonl":
        assert (
            "only the records whose 'filter' is 'strict-match' are read, not 'flexible-extract'"
            in found.notes[0]
        )


def test_figures_of_a_group_are_no_rewards(tmp_path):
    rows = [{"prompt": f"q {q}", "reward_mean": k / SIZE, "reward_std": 0.5} for q, k in enumerate(WON)]
    (tmp_path / "a.jsonl").write_text(lines(rows))
    with pytest.raises(ValueError, match="no column for reward among prompt, reward_mean, reward_std"):
        audit([tmp_path / "a.jsonl"])


def test_a_log_of_inspect_as_it_is_packed(tmp_path):
    path = tmp_path / "2026-01-01_gsm8k.eval"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_journal/start.json", json.dumps({"eval": {}}))
        for sample in INSPECT:
            archive.writestr(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", json.dumps(sample))
        archive.writestr("header.json", "{}")
    check(audit([tmp_path]))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "x")
    with pytest.raises(ValueError, match="a zip archive, which is not read; unpack it"):
        audit([path])


def test_a_run_with_what_stands_beside_its_dumps(tmp_path):
    """The step is in the path, and files of settings and of averages are no dumps."""
    for step, half in ((2, EACH[:16]), (3, EACH[16:])):
        folder = tmp_path / f"global_step_{step}_evals"
        folder.mkdir()
        rows = [{"input_prompt": f"q {q}", "output_response": "o", "score": [0.0, r]} for q, _, r in half]
        (folder / "aime.jsonl").write_text(lines(rows))
    for name in ("wandb-summary.json", "dataset_info.json", "run_config.json", "metrics.jsonl"):
        (tmp_path / name).write_text(json.dumps({"reward": 0.5, "step": 3}))
    found = audit([tmp_path])
    check(found)
    assert [s.step for s in found.steps] == [2, 3]
    assert found.files == 2


class Tensor:
    """As torch.save pickles a tensor: a call with a storage that is kept apart."""

    def __init__(self, key, size, stride=(1,)):
        self.key, self.size, self.stride = key, size, stride


class Scalar:
    """As pickle writes a NumPy scalar at protocol 2: bytes by a codec."""

    def __init__(self, value):
        self.value = value

    def __reduce__(self):
        return np.float64(self.value).__reduce__()


def torch_file(path, value, storages):
    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            return ("storage", FloatStorage, obj.name, "cpu", 1) if isinstance(obj, Place) else None

        def reducer_override(self, obj):
            if isinstance(obj, Tensor):
                return rebuild, (Place(obj.key), 0, obj.size, obj.stride, False, {})
            return NotImplemented

    buffer = io.BytesIO()
    Pickler(buffer, 2).dump(value)
    data = buffer.getvalue().replace(f"c{__name__}\nFloatStorage\n".encode(), b"ctorch\nFloatStorage\n")
    data = data.replace(f"c{__name__}\nrebuild\n".encode(), b"ctorch._utils\n_rebuild_tensor_v2\n")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", data)
        for key, numbers in storages.items():
            archive.writestr(f"a/data/{key}", np.asarray(numbers, "<f4").tobytes())


class Place:
    def __init__(self, name):
        self.name = name


class FloatStorage:
    pass


def rebuild(*_):
    raise AssertionError("nothing in a file is called")


def test_tensors_and_numpy_scalars_of_torch_files(tmp_path):
    rewards = Tensor("0", (len(EACH),))
    columns = {"prompts": [f"q {q}" for q, _, _ in EACH], "rewards": rewards}
    torch_file(tmp_path / "batch.pt", columns, {"0": [r for *_, r in EACH]})
    check(audit([tmp_path / "batch.pt"]))
    samples = [{"prompt": f"q {q}", "reward": Scalar(r), "tokens": Tensor("0", (2,))} for q, _, r in EACH]
    torch_file(tmp_path / "samples.pt", {"rollout_id": 4, "samples": samples}, {"0": [1, 2]})
    check(audit([tmp_path / "samples.pt"]))


@pytest.mark.parametrize(
    ("size", "stride"), [((1 << 40,), (0,)), ((9,), (1,)), ((2,), (-1,)), ((2, 2), (1,))]
)
def test_tensors_beyond_their_bytes_are_none(tmp_path, size, stride):
    samples = [{"prompt": "q", "reward": Tensor("0", size, stride)}]
    torch_file(tmp_path / "bad.pt", {"rollout_id": 4, "samples": samples}, {"0": [1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match="no row can be used"):
        audit([tmp_path / "bad.pt"])
