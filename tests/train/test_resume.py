"""A run that was stopped, however it was stopped, and one that was not: the same numbers. So on four devices."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from gradvar.core.progress import Silent
from gradvar.files.atomic import Lock, claim, differing
from gradvar.train import arms
from gradvar.train.checkpoint import Checkpoints
from gradvar.train.loop import train
from gradvar.train.trainer import Trainer

ROOT = Path(__file__).parent.parent.parent
SEEDS = [0, 1, 2]


@pytest.fixture(scope="module")
def trainer(scene):
    return Trainer(
        scene.policy, scene.task, scene.plan(arms.get("grpo-2"), prompts=8, steps=12), scene.examination, 4, chunk=2
    )  # fmt: skip


class Chunks(Silent):
    """Calls a function after every chunk, with its note."""

    def __init__(self, call):
        self.call = call

    def advance(self, steps=1, note=""):
        if note.startswith("reward"):
            self.call(note)


def run(trainer, scene, folder, on_chunk=None):
    monitor = Chunks(on_chunk) if on_chunk else None
    return train(trainer, scene.params, SEEDS, evaluations=3, folder=folder, monitor=monitor)


@pytest.fixture(scope="module")
def whole(trainer, scene, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return run(trainer, scene, folder), folder


def equal_states(first, second):
    return all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (first, second)), strict=True))


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


class Stopped(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("chunks", [1, 3, 5])
def test_a_stopped_run_goes_on_as_if_it_had_not_been(trainer, scene, whole, tmp_path, chunks):
    left = [chunks]

    def stop(note):
        left[0] -= 1
        if not left[0]:
            raise Stopped

    with pytest.raises(Stopped):
        run(trainer, scene, tmp_path, stop)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"chunk": 1, "seed"')  # a line that the crash cut off
    resumed = run(trainer, scene, tmp_path)
    assert equal_states(resumed.states, whole[0].states)
    assert not equal_states(resumed.states.params, trainer.start(SEEDS, scene.params).params)
    for name, values in whole[0].curves.items():
        np.testing.assert_array_equal(resumed.curves[name], values)
    assert lines(tmp_path) == lines(whole[1])


@pytest.mark.slow
def test_the_metrics_are_whole(whole):
    rows = lines(whole[1])
    steps = [(row["seed"], row["step"]) for row in rows if "grad_norm" in row]
    assert sorted(steps) == [(seed, step) for seed in SEEDS for step in range(1, 13)]
    points = [(row["seed"], row["step"]) for row in rows if "held_out/reward" in row]
    assert sorted(points) == [(seed, step) for seed in SEEDS for step in (0, 4, 8, 12)]


@pytest.mark.slow
def test_a_finished_run_is_read_not_repeated(trainer, scene, whole):
    heard = []
    again = run(trainer, scene, whole[1], heard.append)
    assert not heard
    assert equal_states(again.states, whole[0].states)


@pytest.mark.slow
def test_a_folder_that_is_removed_under_the_run(trainer, scene, whole, tmp_path):
    folder, chunks = tmp_path / "run", []

    def remove(note):
        chunks.append(note)
        if len(chunks) == 3:
            shutil.rmtree(folder)

    with pytest.raises(ValueError, match=r"out: .*run was removed or replaced") as caught:
        run(trainer, scene, folder, remove)
    assert "\n" not in str(caught.value)
    assert equal_states(run(trainer, scene, folder).states, whole[0].states)  # the same call mends it


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0, 4_102_444_800])
def test_a_clock_that_jumps_makes_no_checkpoint_old_or_new(trainer, scene, whole, tmp_path, seconds):
    shutil.copytree(whole[1], tmp_path / "run")
    for number, path in enumerate(sorted((tmp_path / "run").rglob("*"), reverse=True)):
        os.utime(path, (seconds + number, seconds + number))
    heard = []
    assert equal_states(run(trainer, scene, tmp_path / "run", heard.append).states, whole[0].states)
    assert not heard


def test_a_folder_is_for_one_run_at_a_time(tmp_path):
    with Lock(tmp_path), pytest.raises(ValueError, match="another run is writing to"):
        Lock(tmp_path)
    with Lock(tmp_path):
        pass


def test_a_folder_is_for_one_configuration(tmp_path):
    claim(tmp_path, {"steps": 40, "arm": {"name": "a", "group": 2}})
    claim(tmp_path, {"steps": 40, "arm": {"name": "a", "group": 2}})
    with pytest.raises(ValueError, match=r"other settings \(arm.group: 2 there, 4 asked for\)"):
        claim(tmp_path, {"steps": 40, "arm": {"name": "a", "group": 4}})
    assert differing({"a": 1}, {"a": 1}) == ""


def test_a_half_written_checkpoint_is_none(tmp_path):
    keep = Checkpoints(tmp_path)
    state = {"a": np.arange(3.0)}
    keep.save(1, state, {"step": 1})
    keep.close()
    made = tmp_path / "checkpoints"
    shutil.copytree(made / "1", made / "2.orbax-checkpoint-tmp-5")
    keep = Checkpoints(tmp_path)
    found, facts = keep.restore(state)
    keep.close()
    assert facts == {"step": 1}
    np.testing.assert_array_equal(found["a"], state["a"])


def test_a_damaged_checkpoint_is_named(tmp_path):
    keep = Checkpoints(tmp_path)
    state = {"a": np.arange(4096.0)}
    keep.save(1, state, {"step": 1})
    keep.save(2, state, {"step": 2})
    keep.close()
    for path in (tmp_path / "checkpoints" / "2").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    keep = Checkpoints(tmp_path)
    with pytest.raises(
        ValueError, match=r"out: checkpoint .*/2 cannot be read .* remove it to go on from the one"
    ):
        keep.restore(state)
    keep.close()
    shutil.rmtree(tmp_path / "checkpoints" / "2")  # as the message says
    keep = Checkpoints(tmp_path)
    assert keep.restore(state)[1] == {"step": 1}
    keep.close()


def test_what_is_missing_is_said(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(
        ValueError, match=r"orbax-checkpoint is not installed; pip install orbax-checkpoint tensorboardX"
    ):
        Checkpoints(tmp_path)


def process(folder, devices, kill=""):
    command = [sys.executable, "-m", "tests.train.run_once", str(folder), str(devices), kill]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def printed(done, word):
    return [line.split()[1:] for line in done.stdout.splitlines() if line.startswith(word)]


@pytest.fixture(scope="module")
def not_killed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes") / "whole"
    done = process(folder, 1)
    assert done.returncode == 0, done.stderr
    assert printed(done, "devices") == [["1", "moved", "True"]]
    return folder, printed(done, "hash")


@pytest.mark.slow
def test_one_device_and_four_give_the_same_numbers(not_killed):
    folder, expected = not_killed
    done = process(folder.parent / "four", 4)
    assert done.returncode == 0, done.stderr
    assert printed(done, "devices") == [["4", "moved", "True"]]
    assert printed(done, "hash") == expected
    assert lines(folder.parent / "four") == lines(folder)


@pytest.mark.slow
@pytest.mark.parametrize("kill", ["2", "5", "write"])
def test_killed_and_resumed_is_not_killed(not_killed, kill):
    whole, expected = not_killed
    folder = whole.parent / f"killed-{kill}"
    killed = process(folder, 1, kill)
    assert killed.returncode == -9, killed.stderr
    saved = [int(step) for (step,) in printed(killed, "saved")]
    resumed = process(folder, 1)
    assert resumed.returncode == 0, resumed.stderr
    assert printed(resumed, "hash") == expected
    assert lines(folder) == lines(whole)
    # nothing that was reported as saved was done again
    assert min(int(step) for (step,) in printed(resumed, "saved")) > max(saved)
