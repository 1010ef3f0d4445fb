"""Every declared format, on records with the names and the nesting of its writer: found, and read as meant."""

import json

import numpy as np
import pytest

from gradvar.audit import FORMATS, audit
from tests.audit import dumps

REWARDS = np.array([[0, 1, 1, 0], [0, 0, 0, 0], [1, 1, 0, 1]], float)  # [prompt, rollout]
EACH = [(q, g, float(r)) for q, row in enumerate(REWARDS) for g, r in enumerate(row)]


def flat(**names):
    """Rollouts of these fields, each a function of prompt, rollout and reward."""
    return [{name.replace("__", "."): field(q, g, r) for name, field in names.items()} for q, g, r in EACH]


def chat(q, g, r):
    return [{"role": "user", "content": f"q{q}"}]


RECORDS = {
    "verl": flat(input=lambda q, g, r: f"q{q}", output=lambda *_: "o", score=lambda q, g, r: r, step=lambda *_: 1),
    "trl": flat(prompt=chat, completion=lambda *_: "c", right=lambda q, g, r: r, advantage=lambda q, g, r: 0.0),
    "openrlhf": flat(input=lambda q, g, r: f"q{q}", output=lambda *_: "o", reward=lambda q, g, r: r),
    "verifiers": flat(
        example_id=lambda q, g, r: q, prompt=chat, completion=lambda *_: [{"role": "assistant"}] * 2,
        reward=lambda q, g, r: r, metrics=lambda q, g, r: {"x": r},
    ),
    "skyrl": flat(
        input_prompt=lambda q, g, r: f"q{q}", output_response=lambda *_: "o", score=lambda q, g, r: [0.0, r],
        data_source=lambda *_: "gsm8k",
    ),
    "nemo_gym": flat(
        _ng_task_index=lambda q, g, r: q, _ng_rollout_index=lambda q, g, r: g, reward=lambda q, g, r: r,
        responses_create_params=lambda q, g, r: {"input": chat(q, g, r)},
        response=lambda *_: {"usage": {"output_tokens": 9}},
    ),
    "tinker_eval": flat(
        benchmark=lambda *_: "b", example_id=lambda q, g, r: f"e{q}", reward=lambda q, g, r: r,
        turns=lambda q, g, r: [{"role": "user", "content": f"q{q}"}],
    ),
    "trinity": flat(
        eid=lambda q, g, r: {"batch": 4, "task": q, "run": g}, prompt_length=lambda *_: 3,
        response_length=lambda *_: 5, prompt_text=lambda q, g, r: f"q{q}", reward=lambda q, g, r: r,
    ),
    "roll": [{
        "global_step": [4] * 12, "id": ["0"] * 12, "prompt": [f"q{q}" for q, _, _ in EACH], "responses": ["o"] * 12,
        "scores": [r for _, _, r in EACH], "domain": ["math"] * 12,
    }],
    "ms_swift": [{
        "gen_step": [0] * 12, "step": [1] * 12, "prompt": [f"q{q}" for q, _, _ in EACH], "completion": ["o"] * 12,
        "Accuracy": [r for _, _, r in EACH], "advantages": [0.0] * 12,
    }],
    "openr1": [
        {"problem": f"q{q}", "generations": ["x"] * 4, "correctness_math_verify": row.astype(bool).tolist(),
         "correctness_count": int(row.sum())}
        for q, row in enumerate(REWARDS)
    ],
    "livecodebench": [
        {"question_id": f"q{q}", "question_content": "?", "graded_list": row.astype(bool).tolist(),
         "pass@1": row.mean(), "difficulty": "hard"}
        for q, row in enumerate(REWARDS)
    ],
    "lighteval": [
        {"doc": {"query": f"q{q}"}, "model_response": {"text": ["x"] * 4}, "metric": {"pass@k:k=1": row.mean()}}
        for q, row in enumerate(REWARDS)
    ],
    "lighteval_details": [
        {"full_prompt": f"q{q}", "predictions": ["x"] * 4, "metrics": {"extractive_match": row.mean()}, "gold": ["1"]}
        for q, row in enumerate(REWARDS)
    ],
    "slime": [{"rollout_id": 6, "samples": flat(
        group_index=lambda q, g, r: q, prompt=lambda q, g, r: f"q{q}", reward=lambda q, g, r: {"score": r},
        response_length=lambda *_: 7,
    )}],
}  # fmt: skip
RECORDS["inspect_samples"] = flat(
    id=lambda q, g, r: q, epoch=lambda q, g, r: g + 1, input=lambda q, g, r: f"q{q}",
    scores=lambda q, g, r: {"match": {"value": "C" if r else "I"}},
)  # fmt: skip
ELSEWHERE = {
    "open_instruct",
    "areal",
    "nemo_rl",
    "tinker",
    "lm_eval",
    "prime_rl",
    "inspect",
    "evalplus",
    "table",
}


def test_every_format_is_read_somewhere():
    assert {*RECORDS, *ELSEWHERE} == set(FORMATS)


@pytest.mark.parametrize("name", RECORDS)
def test_a_declared_format(tmp_path, name):
    records = RECORDS[name]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    found = audit([path])
    (layout,) = found.layouts
    assert layout.startswith(f"{name}: ")
    assert not found.faults.count
    assert (found.rows, found.overall.groups, found.overall.group_size) == (12, 3, 4)
    assert found.overall.mean_reward == pytest.approx(REWARDS.mean())
    assert found.overall.equal.value == pytest.approx(1 / 3)
    step = {"verl": 1, "trinity": 4, "roll": 4, "ms_swift": 1, "slime": 6}.get(name, 0)
    assert [s.step for s in found.steps] == [step]


def test_nested_columns_of_parquet(tmp_path):
    records = RECORDS["lighteval"]
    path = tmp_path / "details_a.parquet"
    dumps.parquet(path, {name: [r[name] for r in records] for name in records[0]})
    found = audit([path])
    assert next(iter(found.layouts)).startswith("lighteval")
    assert (found.rows, found.overall.mean_reward) == (12, pytest.approx(REWARDS.mean()))
