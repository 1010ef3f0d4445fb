"""Folders as runs leave them, with what stands beside the rollouts, and forms that gave plausible wrong figures."""

import gzip
import json

import duckdb
import numpy as np
import pytest

from gradvar.audit import Columns, audit, reward_groups
from gradvar.cli import main as cli

REWARDS = np.array([[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 1]])
EACH = [(q, i, float(r)) for q, row in enumerate(REWARDS) for i, r in enumerate(row)]
STEPS = [
    (s, q, float(r)) for s in (1, 2) for q, row in enumerate(REWARDS) for r in np.roll(row, s) * (q != s)
]


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def episode(q, r):
    rewards = {"right": {"score": r, "weight": 1.0}, "format": {"score": 1.0, "weight": 0.0}}
    return {"env": {"id": "e"}, "task": {"key": f"k{q}", "data": {}}, "traces": [{"rewards": rewards}]}


def asked(q, system=True):
    return [{"role": "system", "content": "s"}] * system + [{"role": "user", "content": f"p{q}"}]


def answered(q, i):
    return [*asked(q), {"role": "assistant", "content": f"a{i}"}]


def task(q, i):
    return {"responses_create_params": {"input": asked(q)}, "_ng_task_index": q, "_ng_rollout_index": i}


def document(q):
    return {
        "doc_id": q,
        "doc": {"q": q},
        "resps": [["x"] * 4],
        "filtered_resps": [["x"] * 4],
        "metrics": ["em"],
    }


PROFILE = {"mean/reward": 0.5, "max/reward": 1.0, "std/reward": 0.5, "reward_profile_completion_pct": 100.0}
PLAIN = lines({"prompt": f"p{q}", "reward": r} for q, _, r in EACH)
TAUGHT = [q for q, row in enumerate(REWARDS) if len(set(row)) > 1]
FOLDERS = {
    "prime-rl": {
        "step_1/train/all/traces.jsonl": lines(episode(q, r) for q, _, r in EACH),
        "step_1/train/effective/traces.jsonl": lines(episode(q, r) for q, _, r in EACH if q in TAUGHT),
    },
    "nemo-gym": {
        "rollouts.jsonl": lines(task(q, i) | {"response": {}, "reward": r} for q, i, r in EACH),
        "rollouts_materialized_inputs.jsonl": lines(task(q, i) | {"score": 3} for q, i, _ in EACH),
        "rollouts_reward_profiling.jsonl": lines(task(q, 0) | PROFILE for q in range(6)),
    },
    "open-instruct": {
        "a_rollouts_000000.jsonl": lines(
            {"prompt_tokens": [q, 1], "response_tokens": [i], "reward": r, "prompt_idx": q % 2} for q, i, r in EACH
        ),
        "a_metadata.jsonl": lines([{"run_name": "a", "git_commit": "b"}]),
    },
    "lm-eval": {
        "samples_a_2026-01-05T15-23-34.jsonl": lines(
            document(q) | {"em": float(row.mean())} for q, row in enumerate(REWARDS)
        ),
        "results_2026-01-05T15-23-34.json": json.dumps({"results": {"a": {"em,none": 0.5}}}),
    },
    "system prompts, texts": {
        "train_data_step1.jsonl": lines(
            {"content": [["s", f"p{q}", f"a{i}"]], "rewards": [r], "idx": n} for n, (q, i, r) in enumerate(EACH)
        )
    },
    "system prompts, messages": {
        "val_data_step1.jsonl": lines(
            {"content": [answered(q, i)], "rewards": [r], "idx": n} for n, (q, i, r) in enumerate(EACH)
        )
    },
    "system prompts, in a path": {
        "a.jsonl": lines(
            {"eid": {"batch": 1, "task": q}, "prompt_length": 1, "response_length": 2, "reward": r,
             "messages": answered(q, i)}
            for q, i, r in EACH
        )
    },
    "a rate and its number": {
        "a.jsonl": lines(
            {"problem": f"p{q}", "pass@1": float(row.mean()), "num_generations": 4} for q, row in enumerate(REWARDS)
        )
    },
    "points of one rollout": {
        "a.jsonl": lines(
            {"prompt": f"p{q}", "response": f"a{i}", "score": f"{int(4 * r)}/4"} for q, i, r in EACH
        )
    },
    "rollouts of several prompts in a line": {
        "a.jsonl": lines(
            [{"loss": 0.5, "data": [{"prompt": f"p{q}", "reward": r} for q, _, r in EACH if q % 2 == half]}
             for half in (0, 1)]
        )
    },
    "chats of several prompts in a line": {
        "a.jsonl": lines(
            [{"trajectories": [{"messages": answered(q, i), "reward": r} for q, i, r in EACH]}]
        )
    },
    "numbers of prompts in a column": {
        "a.json": json.dumps({"prompt_id": [q for q, _, _ in EACH], "reward": [r for _, _, r in EACH]})
    },
    "a uid of every rollout": {
        "a.jsonl": lines(
            {"uid": f"{q}-{i}", "prompt": f"p{q}", "response": "a", "reward": r} for q, i, r in EACH
        )
    },
    "rates as text": {
        "a.jsonl": lines(
            {"problem": f"p{q}", "pass_rate_72b_tir": str(row.mean()), "n": 4} for q, row in enumerate(REWARDS)
        )
    },
}  # fmt: skip


def check(found):
    assert (found.rows, found.overall.groups, found.overall.prompts) == (REWARDS.size, *(len(REWARDS),) * 2)
    assert found.overall.mean_reward == pytest.approx(REWARDS.mean())
    assert found.overall.equal.value == pytest.approx(1 - len(TAUGHT) / len(REWARDS))
    assert sorted(found.table.successes.tolist()) == sorted(REWARDS.sum(1).tolist())
    assert not found.faults.unread


def write(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize("name", FOLDERS)
def test_a_run_has_its_rollouts_once(tmp_path, name):
    write(tmp_path, FOLDERS[name])
    check(audit([tmp_path]))


def test_what_an_audit_wrote_into_the_folder_is_no_dump(tmp_path, capsys):
    write(tmp_path, {"a.jsonl": PLAIN})
    out = {name: tmp_path / name for name in ("audit.json", "prompts.csv")}
    command = ["audit", tmp_path, "--quiet", "--json", out["audit.json"], "--prompts", out["prompts.csv"]]
    assert [cli.run(list(map(str, command))) for _ in range(2)] == [0, 0]
    assert json.loads(out["audit.json"].read_text())["rows"] == REWARDS.size
    check(audit([tmp_path]))
    for path in out.values():
        assert cli.run(["audit", str(path)]) == 2
        assert "a result of gradvar; give the dumps that it was made of" in capsys.readouterr().err


def test_an_answer_is_no_prompt_where_all_prompts_are_the_same(tmp_path):
    path = tmp_path / "train_data_step1.jsonl"
    rows = [{"content": [["p", f"a{i}"]], "rewards": [r], "idx": n} for n, (_, i, r) in enumerate(EACH)]
    path.write_text(lines(rows))
    assert audit([path]).overall.groups == 1


def test_figures_of_a_group_between_completion_and_advantage_are_no_rewards(tmp_path):
    """In a table of TRL's form every other number between the two is a reward."""
    path = tmp_path / "a.jsonl"
    rows = [
        {"prompt": f"p{q}", "completion": "a", "acc": r, "reward_std": 0.5, "reward_mean": 0.2}
        for q, _, r in EACH
    ]
    path.write_text(lines(rows))
    check(audit([path]))


def test_what_a_folder_holds_alone_is_read(tmp_path):
    write(tmp_path, {"effective/traces.jsonl": FOLDERS["prime-rl"]["step_1/train/all/traces.jsonl"]})
    check(audit([tmp_path]))


@pytest.mark.parametrize("shape", ["columns", "rows"])
def test_generation_steps_are_steps(tmp_path, shape):
    """Prompts return in a later step: their groups are not those of the first."""
    rows = [
        {"gen_step": s, "prompt": f"p{q}", "completion": "a", "acc": r, "advantages": 0.1}
        for s, q, r in STEPS
    ]
    if shape == "columns":
        parts = [[row for row in rows if row["gen_step"] == s] for s in (1, 2)]
        rows = [{name: [row[name] for row in part] for name in part[0]} for part in parts]
    (tmp_path / "completions.jsonl").write_text(lines(rows))
    found = audit([tmp_path / "completions.jsonl"])
    assert [s.step for s in found.steps] == [1, 2]
    assert (found.rows, found.overall.groups) == (2 * REWARDS.size, 2 * len(REWARDS))
    assert found.overall.mean_reward == pytest.approx(np.mean([r for *_, r in STEPS]))


def test_the_step_is_in_the_name_as_other_writers_have_it(tmp_path):
    path = tmp_path / "val_step40.json"
    path.write_text(json.dumps([{"input": f"p{q}", "output": "o", "score": r} for q, _, r in EACH]))
    assert [s.step for s in audit([path]).steps] == [40]


def test_files_with_the_same_rollouts_are_suspicious(tmp_path):
    write(tmp_path, {"a.jsonl": PLAIN, "copy of a.jsonl.gz": gzip.compress(PLAIN.encode())})
    kinds = {s.kind: s.sentence for s in audit([tmp_path]).suspicions}
    assert "copy of a.jsonl.gz. Give one of them alone" in kinds["files repeated"]
    other = lines({"prompt": f"p{q}", "reward": 1 - r} for q, _, r in EACH)
    write(tmp_path, {"copy of a.jsonl.gz": gzip.compress(other.encode())})
    assert "files repeated" not in {s.kind for s in audit([tmp_path]).suspicions}


@pytest.mark.parametrize("ends", [(r"\r\n",), (r"\r\n", r"\n")])
def test_lines_of_zstd_end_as_they_like(tmp_path, ends):
    """As csv.writer ends them, some within quotes otherwise."""
    path = tmp_path / "a.csv.zst"
    rows = ["prompt,reward", *(f'"p{q}",{int(r)}' for q, _, r in EACH)]
    joined = "".join(row + ends[i % len(ends)] for i, row in enumerate(rows))
    options = "FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x01', COMPRESSION zstd"
    text = joined.replace("\\r", "\r").replace("\\n", "\n").removesuffix("\n")
    duckdb.execute(f"COPY (SELECT $1::VARCHAR) TO '{path}' ({options})", [text])
    check(audit([path]))


def test_of_two_sizes_that_are_as_frequent_everything_takes_the_larger(tmp_path):
    rows = [{"prompt": f"p{q}", "reward": r} for q, i, r in EACH if i < 3 + q % 2]
    (tmp_path / "a.jsonl").write_text(lines(rows))
    found = audit([tmp_path / "a.jsonl"])
    assert found.overall.group_size == 4
    assert reward_groups([tmp_path / "a.jsonl"])[0].shape == (3, 4)
    assert "3 of 6 groups do not have 4 rollouts" in found.suspicions[0].sentence


def test_zstd_that_is_cut_is_not_taken_for_its_beginning(tmp_path):
    path = tmp_path / "a.jsonl.zst"
    options = "FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x01', COMPRESSION zstd"
    duckdb.execute(f"COPY (SELECT unnest($1::VARCHAR[])) TO '{path}' ({options})", [PLAIN.splitlines()])
    packed = path.read_bytes()
    skipped = b"\x50\x2a\x4d\x18\x03\0\0\0abc"  # a frame that readers skip
    path.write_bytes(skipped + packed)
    check(audit([path]))
    for size in (len(packed) - 1, len(packed) // 2, 12, 4):
        path.write_bytes(packed[:size])
        with pytest.raises(ValueError, match="zstd that ends early, so that rows are missing; copy it again"):
            audit([path])


@pytest.mark.parametrize(("name", "head"), [("a.jsonl", PLAIN), ("a.csv", "prompt,reward\np0,1\np0,0\n")])
def test_blank_lines_without_end_are_not_read_to_theirs(tmp_path, monkeypatch, name, head):
    """A packed file of a few kilobytes may hold a billion of them."""
    monkeypatch.setattr("gradvar.audit.json_lines.BLANK", 1 << 10)
    monkeypatch.setattr("gradvar.audit.json_lines.BLOCK", 1 << 11)
    monkeypatch.setattr("gradvar.audit.csv_records.BLANK", 1 << 10)
    path = tmp_path / f"{name}.gz"
    path.write_bytes(gzip.compress((head + " \n" * (1 << 12)).encode()))
    found = audit([path])
    assert found.rows == head.count("\n") - (name == "a.csv")
    assert "blank lines" in str(found.faults.unread[0])


def test_refusals_say_what_to_do(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    scores = [{"match": {"value": {"right": r, "short": 0.2}}} for *_, r in EACH]
    samples = [
        {"id": q, "epoch": i, "input": "?", "scores": s} for (q, i, _), s in zip(EACH, scores, strict=True)
    ]
    path.write_text(json.dumps({"eval": {}, "samples": samples}))
    with pytest.raises(
        ValueError, match=r"holds several numbers .*; name one with --reward scores.\?.value.right"
    ):
        audit([path])
    check(audit([path], columns=Columns(reward=("scores.?.value.right",))))
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(
        ValueError, match="a pointer of Git LFS, not the file; get the file with `git lfs pull`"
    ):
        audit([path])
    turns = [
        {"task": f"t{q}", "episode_id": f"{q}-{i}", "turn": t, "reward": r * t}
        for q, i, r in EACH
        for t in (0, 1)
    ]
    path.write_text(lines({"task_id": row.pop("task"), **row} for row in turns))
    with pytest.raises(
        ValueError, match=r"a row is a turn: 'episode_id' stands in several rows.* one row for each"
    ):
        audit([path])
    assert audit([path], columns=Columns(reward=("reward",))).rows == 2 * REWARDS.size
    monkeypatch.setattr("gradvar.audit.csv_records.LONGEST", 1 << 12)
    (tmp_path / "a.csv").write_text("x" * (1 << 13))
    with pytest.raises(ValueError, match="a record longer than 0 MB; a quote may never close"):
        audit([tmp_path / "a.csv"])
    path.write_text(lines([{"question": "q", "text": "t"} | PROFILE]))
    with pytest.raises(ValueError, match="no column for reward among"):
        audit([path])
