"""``gradvar record`` on a folder made by hand: one command from a model to advice, and what it refuses."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from gradvar.cli.main import run
from gradvar.measure import ScoreBank

from . import folders
from .test_tokenizer import write as write_tokenizer

NUMBERS = ["two", "and", "is", "four"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders.write(tmp_path / "model", "qwen2", vocab_size=10)
    write_tokenizer(tmp_path / "model")
    lines = [{"prompt": f"{a} {b}", "answer": b} for a in NUMBERS for b in NUMBERS[:2]]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "r.py").write_text("def long(prompt, text):\n    return float(len(text) % 2)\n"
                                   "def fail(prompt, text):\n    return 1 / 0\n")  # fmt: skip
    return tmp_path


# A seed at which eight prompts tell group sizes apart.
COMMON = ["record", "model", "q.jsonl", "--completion-length", "3", "--rollouts", "6", "--temperature", "3",
          "--seed", "1"]  # fmt: skip


def shards_of_an_array(jobs):
    """The ``--shard`` of every job, as the page's scripts for SLURM and SkyPilot say it when a shell runs them."""
    page = (Path(__file__).parent.parent.parent / "docs" / "howto" / "record_at_scale.md").read_text()
    slurm = re.search(r"```sh\n(#!/bin/bash\n#SBATCH --array=1-16 .*?)```", page, re.S)[1]
    skypilot = re.search(r"```yaml\n.*?num_nodes: 16\nrun: \|\n(.*?)```", page, re.S)[1]
    shards = []
    for job in range(jobs):
        ranks = {
            slurm.replace("/16", f"/{jobs}"): {"SLURM_ARRAY_TASK_ID": str(job + 1)},
            skypilot: {"SKYPILOT_NODE_RANK": str(job), "SKYPILOT_NUM_NODES": str(jobs)},
        }
        said = []
        for script, environment in ranks.items():
            shell = ["bash", "-euc", "gradvar() { printf '%s\\n' \"$@\"; }\n" + script]
            found = subprocess.run(shell, env=environment, capture_output=True, text=True, check=True)
            *command, folder, option, shard = found.stdout.splitlines()
            assert command == ["record", "MODEL", "prompts.jsonl", "--out"]
            assert folder.endswith("bank")
            said.append([option, shard])
        assert said[0] == said[1]
        shards.append(said[0])
    return shards


@pytest.mark.slow
def test_from_a_folder_to_advice(place, capsys):
    assert run([*COMMON, "--reward", "r.py:long", "--out", "bank", "--json", "a.json"]) == 0
    said = capsys.readouterr()
    assert "8 prompts, 6 completions of each; scores of all" in said.err
    assert "tr Cov of one group" in said.out
    assert "* the smallest estimate" in said.out
    assert json.loads((place / "a.json").read_text())["curve"]
    bank = ScoreBank.open("bank")
    words = np.asarray(bank.rollouts.completions)  # the rewards once more, from the tokens
    for q, n in np.ndindex(*bank.rollouts.rewards.shape):
        text = ""
        for token in words[q, n]:
            if token == 2:
                break
            text += ["<unk>", "", "", "", "", "two", "and", "is", "four", "."][token]
        assert bank.rollouts.rewards[q, n] == len(text) % 2
    for shard in reversed(shards_of_an_array(2)):  # the last job ends first
        assert run([*COMMON, "--scores", "lora:1", "--out", "small", "--extract", "(two|and)", *shard]) == 0
    assert "adapters of rank 1 on query, value" in capsys.readouterr().err
    small = ScoreBank.open("small")
    assert small.info["shards"] == {"there": 2, "of": 2}
    assert (
        run([*COMMON, "--reward", "r.py:long", "--out", "small"]) == 2
    )  # another run's folder is left alone
    assert "small" in capsys.readouterr().err
    assert run([*COMMON, "--reward", "r.py:fail", "--out", "bank"]) == 2
    assert (
        run([*COMMON, "--reward", "r.py:long", "--out", "bank"]) == 0
    )  # all is there: nothing is sampled again
    assert small.info["params"] < bank.info["params"] / 4
    np.testing.assert_array_equal(small.rollouts.completions, bank.rollouts.completions)


def test_an_interrupt_says_what_is_kept(place, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("gradvar.measure.bank.record.record", interrupted)
    assert run([*COMMON, "--out", "half"]) == 130
    *_, kept, last = capsys.readouterr().err.strip().splitlines()
    assert kept == "stopped: finished shards are kept in half; the same command continues from there"
    assert last == "gradvar: interrupted"


@pytest.mark.parametrize(("more", "message"), [
    (["--rollouts", "3"], "rollouts: 3"),
    (["--scores", "first:2"], "scores: 'first:2'"),
    (["--scores", "last:3"], "layers: 3; give 1 to 2"),
    (["--limit", "2"], "limit: 2 prompts"),
    (["--reward", "r.py:gone"], "has no 'gone'"),
    (["--reward", "r.py:long", "--extract", "x"], "extract: 'x'"),
    (["--chat"], "no chat template"),
    (["--estimators", "nothing"], "nothing"),
    (["--completion-length", "100"], "100"),
    pytest.param(["--reward", "r.py:fail"], "ZeroDivisionError", marks=pytest.mark.slow),
])  # fmt: skip
def test_bad_input_is_one_clear_line(place, capsys, more, message):
    assert run([*COMMON, *more]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("gradvar: error:")
    assert message in last
