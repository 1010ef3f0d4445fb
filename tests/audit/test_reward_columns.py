"""Which columns are the reward, whose rollouts are together, and what is said where a file is none of a kind."""

import csv
import json

import numpy as np
import pytest

from gradvar.audit import Columns, audit, write_prompts
from gradvar.cli import main as cli
from tests.audit import dumps

RNG = np.random.default_rng(3)
PARTS = RNG.integers(0, 2, (24, 2)).astype(float)  # correct, format


def rows_with(**columns):
    return [
        {
            "prompt": f"q{i // 4}",
            "completion": "c",
            **{name: float(values[i]) for name, values in columns.items()},
        }
        for i in range(24)
    ]


def read(tmp_path, rows, name="a.jsonl", **settings):
    return audit([dumps.write(tmp_path / name, rows)], **settings)


@pytest.mark.parametrize("total", ["reward", "total", "sum of it all"])
def test_a_total_is_never_summed_with_its_parts(tmp_path, total):
    right, form = PARTS.T
    rows = rows_with(correct_reward=right, format_reward=form, **{total: right + form})
    for name in ("a.jsonl", "a.csv", "a.parquet"):
        found = read(tmp_path, rows, name)
        assert found.overall.mean_reward == pytest.approx((right + form).mean())
        (note,) = [n for n in found.notes if "alone" in n]
        assert "'correct_reward', 'format_reward'" in note
    names = Columns(reward=("correct_reward", "format_reward", total))
    with pytest.raises(ValueError, match=f"'{total}' is the sum of correct_reward, format_reward"):
        read(tmp_path, rows, columns=names)


def test_no_reward_is_dropped_without_a_word(tmp_path):
    right, form = PARTS.T
    found = read(tmp_path, rows_with(accuracy_reward=right, length_penalty=-form))
    assert found.overall.mean_reward == pytest.approx((right - form).mean())
    assert "2 columns are rewards" in found.notes[0]
    found = read(tmp_path, rows_with(reward=right, style_score=form))
    assert found.overall.mean_reward == pytest.approx(right.mean())
    assert "not added to it: 'style_score'" in found.notes[0]


def test_an_identity_with_several_texts_is_suspicious(tmp_path):
    rows = [
        {"step": step, "prompt_id": i // 2, "prompt": f"text {i // 2} of step {step}", "reward": float(i % 2)}
        for step in (1, 2)
        for i in range(8)
    ]
    found = read(tmp_path, rows)
    suspicion = found.suspicions[0]
    assert (suspicion.kind, suspicion.count) == ("one identity, several texts", 4)
    assert "--prompt" in suspicion.sentence
    (both,) = [s for s in read(tmp_path, rows, "a.csv").suspicions if s.kind == suspicion.kind]
    assert both == suspicion
    for row in rows:
        row["prompt"] = f"text {row['prompt_id']}"
    assert "one identity, several texts" not in {s.kind for s in read(tmp_path, rows).suspicions}


def test_an_index_within_a_step_is_no_identity(tmp_path):
    rows = [
        {"step": step, "prompt_idx": i // 2, "prompt_tokens": [step, i // 2], "response_tokens": [1, 2, 3],
         "reward": float(i % 2), "logprobs": [-0.1]}
        for step in (1, 2)
        for i in range(8)
    ]  # fmt: skip
    found = read(tmp_path, rows)
    assert found.overall.prompts == 8
    assert found.overall.length == 3
    assert not found.suspicions


def test_prompts_can_be_found_again(tmp_path):
    long = "What is " + "very " * 30 + "long?"
    chat = [{"role": "system", "content": "s"}, {"role": "user", "content": 'say "hi"'}]
    rows = [{"prompt": p, "reward": float(i)} for p in (long, "short", chat) for i in range(2)]
    path = dumps.write(tmp_path / "a.jsonl", rows)
    write_prompts(audit([path]), tmp_path / "p.csv")
    with (tmp_path / "p.csv").open(newline="") as file:
        table = {row["place"]: row for row in csv.DictReader(file)}
    assert set(table) == {"line 1", "line 3", "line 5"}
    assert table["line 1"]["text"] == table["line 1"]["prompt"] == long[:80] + "..."
    assert table["line 3"]["prompt"] == "short"
    assert table["line 5"]["text"] == 'say "hi"'
    assert {row["file"] for row in table.values()} == {str(path)}
    write_prompts(audit([path]), tmp_path / "p.csv", between=(0.6, 1.0))
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 1


def test_a_refusal_keeps_its_mend(tmp_path, capsys):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"x" * 300 + str(i): i for i in range(20)}) + "\n")
    assert cli.run(["audit", str(path)]) == 2
    assert capsys.readouterr().err.rstrip().endswith("name it with --prompt COLUMN")
    path.write_text(json.dumps({"question": "q", "model_pass_rate": 0.5}) + "\n")
    assert cli.run(["audit", str(path)]) == 2
    assert "--attempts N" in capsys.readouterr().err
    assert cli.run(["audit", str(path), "--attempts", "4", "--quiet"]) == 0


def test_rewards_in_an_object(tmp_path):
    right, form = PARTS.T
    rows = [
        {"prompt": f"q{i // 4}", "response": "x", "rewards": {"right": right[i], "form": form[i]}}
        for i in range(24)
    ]
    found = read(tmp_path, rows)
    assert found.overall.mean_reward == pytest.approx((right + form).mean())
    assert "2 columns are rewards" in found.notes[0]
    for i, row in enumerate(rows):
        row["total_reward"] = right[i]
    assert read(tmp_path, rows).overall.mean_reward == pytest.approx(right.mean())
    for i, row in enumerate(rows):
        del row["total_reward"]
        row["rewards"]["total"] = right[i] + 2 * form[i]
    found = read(tmp_path, rows)
    assert found.overall.mean_reward == pytest.approx((right + 2 * form).mean())
    assert "'rewards.total' alone" in found.notes[0]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x93NUMPY\x01\x00v\x00{'descr'", "a NumPy array, which is not read; write Parquet or"),
        (b"PK\x03\x04rest", "a zip archive"),
        (bytes(range(256)), "binary data"),
        ("prompt,reward\na,1\n".encode("utf-16"), "text in UTF-16; save it in UTF-8"),
        (b"\x80\x04\x95", "a pickle"),
    ],
)
def test_binary_is_no_csv(tmp_path, data, says):
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(ValueError, match=says):
        audit([tmp_path / "a.csv"])


def test_nested_folders_are_searched(tmp_path):
    for step in (0, 3):
        for task in range(2):
            folder = tmp_path / "rollout" / str(step)
            folder.mkdir(parents=True, exist_ok=True)
            rows = [
                {"task_id": task, "sample_idx": i, "tail_version": step, "head_version": 0, "prompt": f"q{task}",
                 "completion": "c", "reward": float(i)}
                for i in range(2)
            ]  # fmt: skip
            dumps.write(folder / f"{task}.jsonl", rows)
    (tmp_path / ".hidden").mkdir()
    dumps.write(tmp_path / ".hidden" / "a.jsonl", [{"prompt": "x", "reward": 1.0}])
    (tmp_path / "rollout" / "config.json").write_text("{}")
    found = audit([tmp_path])
    assert found.files == 4
    assert [(s.step, s.groups, s.rollouts) for s in found.steps] == [(0, 2, 4), (3, 2, 4)]


def test_a_format_of_the_users_own(tmp_path):
    rows = [{"who": {"name": f"q{i // 2}"}, "judged": {"mark": "good" if i % 2 else "bad"}} for i in range(8)]
    path = dumps.write(tmp_path / "a.jsonl", rows)
    mine = tmp_path / "my.toml"
    mine.write_text(
        '[mine]\ncolumns = ["who"]\nprompt = ["who.name"]\nreward = ["judged.mark"]\nvalues = { good = 1, bad = 0 }\n'
    )
    found = audit([path], format=str(mine))
    assert (found.rows, found.overall.groups, found.overall.mean_reward) == (8, 4, 0.5)
    for text, says in {
        "[mine]\nprompt = 3": r"my.toml: \[mine\] prompt: 3; give a list of names",
        "[mine]\nprompts = []": "prompts: no such entry; give some of",
        "prompt = ": "no TOML",
        '[mine]\nshape = "odd"': "shape: 'odd'; give rollouts, columns",
        "": "no table",
    }.items():
        mine.write_text(text)
        with pytest.raises(ValueError, match=says):
            audit([path], format=str(mine))
    with pytest.raises(ValueError, match=r"format: no file .*gone.toml"):
        audit([path], format="gone.toml")


def test_advice_from_a_dump(tmp_path, capsys):
    path = dumps.write(
        tmp_path / "a.jsonl", [{"prompt": f"q{i // 4}", "reward": float(i % 3 == 0)} for i in range(24)]
    )
    assert cli.run(["advise", "--rewards", str(path)]) == 0
    assert "6 groups of 4" in capsys.readouterr().out
    path.write_text('{"x": 1}\n')
    assert cli.run(["advise", "--rewards", str(path)]) == 2
    assert "--prompt COLUMN" in capsys.readouterr().err
