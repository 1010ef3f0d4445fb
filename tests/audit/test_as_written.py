"""Small dumps with the fields and the nesting of their trainers' writers, texts replaced: NumPy's figures of each."""

import json
from collections import defaultdict
from pathlib import Path

import duckdb
import numpy as np
import pytest

from gradvar.audit import audit

FOLDER = Path(__file__).parent / "as_written"


def records(name):
    path = FOLDER / name
    if path.suffix == ".parquet":
        table = duckdb.execute(f"SELECT * FROM read_parquet('{path}')")
        names = [column[0] for column in table.description]
        return [dict(zip(names, row, strict=True)) for row in table.fetchall()]
    text = path.read_text()
    return json.loads(text) if path.suffix == ".json" else [json.loads(x) for x in text.splitlines()]


def each(prompt, reward, step=None):
    """Every record is a rollout; functions of it."""
    return lambda rows: [(step(r) if step else 0, str(prompt(r)), float(reward(r))) for r in rows]


def columns(prompt, reward, step):
    """Every record is a step, of lists."""
    return lambda rows: [
        (step(r, i), r[prompt][i], float(reward(r, i))) for r in rows for i in range(len(r[prompt]))
    ]


def successes(prompt, counts):
    """Every record is a prompt, (k, n) of it."""
    return lambda rows: [
        (0, str(prompt(r)), float(i < k)) for r in rows for k, n in [counts(r)] for i in range(n)
    ]


FILES = {
    "verl_1.jsonl": each(lambda r: r["input"], lambda r: r["score"], lambda r: r["step"]),
    "verifiers_results.jsonl": each(lambda r: r["example_id"], lambda r: r["reward"]),
    "trl_two_completions_00001.parquet": each(
        lambda r: r["prompt"], lambda r: r["accuracy_reward"] + r["length_penalty"], lambda r: int(r["step"])
    ),
    "open_instruct_rollouts.jsonl": each(
        lambda r: r["prompt_tokens"], lambda r: r["reward"], lambda r: r["step"]
    ),
    "openr1.parquet": successes(
        lambda r: r["problem"], lambda r: (sum(r["correctness_math_verify"]), len(r["generations"]))
    ),
    "lm_eval_samples.jsonl": successes(
        lambda r: r["doc_id"], lambda r: (round(r["exact_match"] * len(r["resps"][0])), len(r["resps"][0]))
    ),
    "roll_step0.jsonl": columns("prompt", lambda r, i: r["scores"][i], lambda r, i: r["global_step"][i]),
    "ms_swift_completions.jsonl": columns(
        "prompt", lambda r, i: r["Accuracy"][i] + r["Format"][i], lambda r, i: int(r["step"][i])
    ),
    "skyrl_eval_token_rewards.jsonl": each(lambda r: r["input_prompt"], lambda r: sum(r["score"])),
    "polaris.jsonl": successes(lambda r: r["problem"], lambda r: tuple(map(int, r["difficulty"].split("/")))),
    "json_array_one_row_a_line.json": each(lambda r: r["prompt"], lambda r: r["reward"]),
    "areal_v0_task3.jsonl": each(lambda r: r["task_id"], lambda r: r["reward"], lambda r: r["tail_version"]),
}


def test_every_file_is_looked_at():
    assert {path.name for path in FOLDER.iterdir()} == FILES.keys()


@pytest.mark.parametrize("name", FILES)
def test_figures_are_those_of_numpy(name):
    groups = defaultdict(list)
    for step, prompt, reward in FILES[name](records(name)):
        groups[step, prompt].append(reward)
    rewards = np.concatenate(list(groups.values()))
    found = audit([FOLDER / name])
    assert not found.faults.count
    assert found.rows == len(rewards)
    assert found.overall.groups == len(groups)
    assert found.overall.prompts == len({prompt for _, prompt in groups})
    assert found.overall.mean_reward == pytest.approx(rewards.mean())
    assert found.overall.equal.value == pytest.approx(np.mean([len(set(r)) == 1 for r in groups.values()]))
    assert [s.step for s in found.steps] == sorted({step for step, _ in groups})
    if name == "verifiers_results.jsonl":
        assert (found.overall.groups, round(found.overall.mean_reward, 4)) == (16, 0.2344)
        assert "not added to it: 'correct_answer_reward_func', 'length_reward_func'" in found.notes[0]
