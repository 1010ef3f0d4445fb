"""Formats: each as its trainer writes it, found by its columns; and one dump in every format is one dump."""

import gzip
import json

import duckdb
import numpy as np
import pytest

from gradvar.audit import Columns, audit
from tests.audit import dumps

FIGURES = ("overall", "steps", "histogram", "prompts", "group_sizes")


def layout(found):
    (text,) = found.layouts
    return text


def test_the_same_rows_in_every_format_give_the_same_figures(tmp_path):
    rows = dumps.rows(1, levels=(0.0, 0.1, 1.0))
    wanted = audit([dumps.write(tmp_path / "a.jsonl", rows)])
    for name in ("a.csv", "a.parquet", "a.jsonl.gz"):
        found = audit([dumps.write(tmp_path / name, rows)])
        assert not found.faults.count
        for figure in FIGURES:
            assert found.as_json()[figure] == wanted.as_json()[figure], (name, figure)
        assert found.labels == wanted.labels


def test_verl(tmp_path):
    rows = dumps.rows(2)
    found = audit([dumps.write(tmp_path / "7.jsonl", dumps.verl(rows))])
    assert layout(found) == "verl: step 'step', prompt 'input', reward 'score'"
    assert found.overall == audit([dumps.write(tmp_path / "t.csv", rows)]).overall


def test_verl_without_a_step_takes_it_from_the_file_name(tmp_path):
    for step in (3, 12):
        rows = [{"input": "q", "output": "a", "score": float(i)} for i in range(2)]
        dumps.write(tmp_path / f"{step}.jsonl", rows)
    found = audit([tmp_path])
    assert [s.step for s in found.steps] == [3, 12]
    assert found.files == 2


def trl(rows, **more):
    return [
        {"step": r["step"], "prompt": r["prompt"], "completion": "c", **{k: f(r) for k, f in more.items()}}
        for r in rows
    ]


def test_trl_adds_its_rewards_up_with_their_weights(tmp_path):
    rows = dumps.rows(3)
    table = trl(
        rows,
        accuracy_reward=lambda r: r["reward"],
        format_reward=lambda r: 0.5,
        difficulty=lambda r: 3.0,
        advantage=lambda r: 0.0,
    )
    path = dumps.write(tmp_path / "completions_00005.parquet", table)
    found = audit([path], reward_weights=(2.0, 1.0, 0.0))
    assert "trl" in layout(found)
    assert "reward 'accuracy_reward' + 'format_reward' + 'difficulty'" in layout(found)
    assert any("3 columns are rewards and are added up" in note for note in found.notes)
    assert found.overall.mean_reward == pytest.approx(0.5 + 2 * np.mean([r["reward"] for r in rows]))
    with pytest.raises(
        ValueError,
        match="reward_weights: 1 of them for the columns accuracy_reward, format_reward, difficulty",
    ):
        audit([path], reward_weights=(2.0,))


def test_trl_counts_rewards_that_do_not_apply_as_nothing(tmp_path):
    table = {
        "step": [1] * 4, "prompt": ["a"] * 4, "completion": [""] * 4,
        "math_reward": [1.0, None, np.nan, None], "code_reward": [None, 0.25, 0.5, None],
    }  # fmt: skip
    dumps.parquet(tmp_path / "completions_00001.parquet", table)
    found = audit([tmp_path / "completions_00001.parquet"])
    assert found.rows == 3
    assert found.overall.mean_reward == pytest.approx((1 + 0.25 + 0.5) / 3)
    assert dict(found.faults.reasons) == {"every reward is missing": 1}


def test_trl_rewards_without_the_word_in_their_name(tmp_path):
    rows = dumps.rows(3)
    for name in ("a.csv", "a.parquet"):
        path = dumps.write(
            tmp_path / name, trl(rows, accuracy=lambda r: r["reward"], advantage=lambda r: 0.0)
        )
        found = audit([path])
        assert layout(found).endswith("reward 'accuracy'")
        assert found.overall.mean_reward == pytest.approx(np.mean([r["reward"] for r in rows]))


def test_openrlhf_scores(tmp_path):
    rows = [{"input": r["prompt"], "output": "o", "reward": r["reward"]} for r in dumps.rows(4)]
    found = audit([dumps.write(tmp_path / "scores.jsonl", rows)])
    assert layout(found) == "openrlhf: prompt 'input', reward 'reward'"
    assert len(found.steps) == 1


def test_columns_by_hand_and_a_forced_format(tmp_path):
    rows = [
        {"input": "other", "output": "o", "score": 5.0, "q": r["prompt"], "r": r["reward"]}
        for r in dumps.rows(5)
    ]
    path = dumps.write(tmp_path / "a.jsonl", rows)
    by_hand = audit([path], format="table", columns=Columns(prompt="q", reward=("r",)))
    assert layout(by_hand) == "table: prompt 'q', reward 'r'"
    assert by_hand.overall.prompts > 1
    assert audit([path]).overall.prompts == 1


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        (Columns(prompt="nowhere"), "no column for 'nowhere' among .*; name it with --prompt COLUMN"),
        (Columns(reward=("gone",)), "no column for 'gone' among .*; name it with --reward COLUMN"),
    ],
)
def test_a_column_that_is_not_there_is_named_with_its_flag(tmp_path, columns, says):
    path = dumps.write(tmp_path / "a.csv", dumps.rows(1))
    with pytest.raises(ValueError, match=says):
        audit([path], columns=columns)


def test_a_table_without_a_reward_says_which_columns_it_has(tmp_path):
    path = dumps.write(tmp_path / "a.csv", [{"prompt": "a", "points": 1.0}])
    with pytest.raises(
        ValueError, match="no column for reward among prompt, points; name it with --reward COLUMN"
    ):
        audit([path])


def test_one_prompt_is_one_prompt_whatever_its_type(tmp_path):
    """5, 5.0 and "5" of different files; and long prompts, prompts of messages, in any order of their keys."""
    long = "x" * 10_000
    chats = [[{"role": "user", "content": "hi"}], [{"content": "hi", "role": "user"}]]
    dumps.write(
        tmp_path / "a.jsonl", [{"prompt": p, "reward": 1, "step": 0} for p in (5, "5", long, chats[0])]
    )
    dumps.write(tmp_path / "b.csv", [{"prompt": p, "reward": 0, "step": 0} for p in ("5", long)])
    dumps.write(tmp_path / "c.parquet", [{"prompt": p, "reward": 0.0, "step": 0} for p in (5.0, 5.0)])
    dumps.write(tmp_path / "d.jsonl", [{"prompt": p, "reward": 0, "step": 0} for p in (chats[1], long + "!")])
    found = audit([tmp_path / name for name in ("a.jsonl", "b.csv", "c.parquet", "d.jsonl")])
    counts = dict(
        zip((found.labels[p] for p in found.table.prompt), found.table.rollouts.tolist(), strict=True)
    )
    assert sorted(counts.values()) == [1, 2, 2, 5]
    assert counts["5"] == 5
    assert [len(label) for label in counts if label.startswith("#")] == [33, 33]  # 128 bits


def test_chats_in_parquet(tmp_path):
    prompts = [[{"role": "user", "content": str(i // 4)}] for i in range(8)]
    dumps.parquet(tmp_path / "a.parquet", {"prompt": prompts, "reward": [0.0, 1.0] * 4})
    found = audit([tmp_path / "a.parquet"])
    assert (found.overall.prompts, found.overall.group_size) == (2, 4)


def test_dictionaries_in_parquet(tmp_path):
    table = {"prompt": ["a", "b", "a", None] * 100, "reward": [1.0, 0.0, 0.0, 1.0] * 100}
    dumps.parquet(tmp_path / "a.parquet", table)
    encodings = duckdb.execute(
        f"SELECT encodings FROM parquet_metadata('{tmp_path / 'a.parquet'}')"
    ).fetchall()
    assert "DICTIONARY" in encodings[0][0]
    found = audit([tmp_path / "a.parquet"])
    assert found.rows == 300
    assert found.overall.prompts == 2


def test_numbers_as_text_and_truth_values(tmp_path):
    dumps.write(
        tmp_path / "a.jsonl", [{"prompt": "a", "reward": r, "step": "3"} for r in (True, False, True)]
    )
    (tmp_path / "b.csv").write_text("prompt,reward,step\nb,True,3\nb, 1e0 ,3\nb,+0.5,3\nb,False,3\n")
    found = audit([tmp_path / "a.jsonl", tmp_path / "b.csv"])
    assert not found.faults.count
    assert [s.step for s in found.steps] == [3]
    assert found.overall.mean_reward == pytest.approx((2 + 2.5) / 7)


def test_csv_prompts_may_hold_commas_quotes_and_lines(tmp_path):
    prompts = ['a, "b"\nc', "a"]
    rows = [{"prompt": prompts[i % 2], "reward": float(i < 2), "step": 1} for i in range(6)]
    found = audit([dumps.write(tmp_path / "a.csv", rows)])
    assert set(found.labels) == set(prompts)


def test_a_byte_order_mark_and_windows_lines(tmp_path):
    lines = [json.dumps({"prompt": "a", "reward": i}) for i in range(3)]
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    found = audit([tmp_path / "a.jsonl"])
    assert (found.rows, found.faults.count) == (3, 0)


def test_a_file_with_another_ending_is_read_by_what_it_holds(tmp_path):
    rows = dumps.rows(1)
    wanted = audit([dumps.write(tmp_path / "a.parquet", rows)]).overall
    (tmp_path / "a.parquet").rename(tmp_path / "a.jsonl")
    assert audit([tmp_path / "a.jsonl"]).overall == wanted
    (tmp_path / "b.txt").write_bytes(gzip.compress(dumps.write(tmp_path / "b.csv", rows).read_bytes()))
    assert audit([tmp_path / "b.txt"]).overall == wanted


def test_a_csv_with_a_byte_order_mark(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfprompt,reward\na,1\na,0\n")
    assert audit([tmp_path / "a.csv"]).rows == 2


def test_a_file_given_twice_is_read_once(tmp_path):
    path = dumps.write(tmp_path / "a.csv", dumps.rows(1))
    found = audit([path, tmp_path, path])
    assert (found.files, found.suspicions) == (1, ())


def test_files_with_groups_and_files_without_are_not_mixed(tmp_path):
    one = dumps.write(tmp_path / "a.jsonl", dumps.rows(1, group="whole"))
    two = dumps.write(tmp_path / "b.jsonl", dumps.rows(1))
    with pytest.raises(ValueError, match="files: some have a column for the group and some have none"):
        audit([one, two])


def test_files_with_advantages_and_files_without_are_mixed(tmp_path):
    rows = dumps.with_advantages(dumps.rows(1), lambda rewards: [0.0] * len(rewards))
    one = dumps.write(tmp_path / "a.jsonl", rows)
    two = dumps.write(tmp_path / "b.csv", [{**r, "step": r["step"] + 9} for r in dumps.rows(2)])
    found = audit([two, one])
    assert found.rows == 2 * len(rows)
    assert found.written.rollouts < len(rows)
