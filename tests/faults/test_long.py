"""Long recordings under faults: nothing is lost that was finished, and nothing wrong is reported."""

import ctypes
import os
import resource
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import gradvar as gv
from gradvar.files.atomic import Lock
from gradvar.measure.bank.disk import layout_of
from gradvar.measure.bank.recorder import Recorder, ShardPart
from tests.faults.scenes import POLICY, SHARDS, TASK, params, record, same, unsharded
from tests.processor import run_within

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    return folder, record(folder)


def shards(folder):
    return sorted(p.name for p in folder.glob("shard-*"))


@pytest.mark.slow
def test_shards_together_are_the_bank_that_was_not_cut(whole):
    folder, bank = whole
    assert same(bank, unsharded())
    assert not same(bank, unsharded(old_params=1.1 * params()))  # the planted violator
    assert bank.info["shards"] == {"there": SHARDS, "of": SHARDS}
    assert same(gv.ScoreBank.open(folder), bank)
    part = gv.ScoreBank.open(folder, prompts=slice(1, 5))
    assert np.array_equal(part.rollouts.completions, bank.rollouts.completions[1:5])
    assert np.array_equal(part.recording.scores.vectors, bank.recording.scores.vectors[1:5])


class Heard:
    """A monitor that keeps what it hears."""

    def __init__(self, heard):
        self.heard = heard

    def stage(self, name, total):
        self.heard.append((name, total))

    def advance(self, steps=1, note=""):
        self.heard.append(steps)


@pytest.mark.slow
def test_what_is_finished_is_not_done_again(whole):
    folder, bank = whole
    times = {p: p.stat().st_mtime_ns for p in folder.rglob("*.*")}
    heard = []
    assert same(record(folder, monitor=Heard(heard)), bank)
    assert not heard
    assert times == {p: p.stat().st_mtime_ns for p in folder.rglob("*.*")}


@pytest.mark.slow
def test_an_interrupt_leaves_a_smaller_bank(whole, tmp_path):
    heard = []
    made, calls = Recorder.record, []

    def make(self, *args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return made(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorder, "record", make)
        with pytest.raises(
            KeyboardInterrupt, match=r"2 of 4 shards are kept in .* which ScoreBank\.open opens"
        ):
            record(tmp_path, monitor=Heard(heard))
    assert heard[0] == ("prompts", len(whole[1].rollouts.rewards))
    assert sum(heard[1:]) == pytest.approx(4)
    with pytest.warns(UserWarning, match="holds 2 of 4 shards"):
        part = gv.ScoreBank.open(tmp_path)
    assert np.array_equal(part.rollouts.completions, whole[1].rollouts.completions[:4])
    assert same(record(tmp_path), whole[1])


@pytest.mark.parametrize("parts", [1, 3, 4, 5])
def test_parts_in_any_order_make_the_same_bank(whole, tmp_path, parts):
    """As jobs of an array record them, the last one first; a fifth has nothing to do.

    Three parts without a size of shards make shards of 7 // 3 = 2 prompts, where one part would make one shard.
    """
    size = {"shard": None} if parts == 3 else {}
    for number in reversed(range(1, parts + 1)):
        if (parts, number) == (5, 5):
            with pytest.raises(ValueError, match=r"shard: 5/5 has nothing to record, .* make 4 shards"):
                record(tmp_path, part=ShardPart(number, parts))
            continue
        record(tmp_path, part=ShardPart(number, parts), **size)
    assert same(gv.ScoreBank.open(tmp_path), whole[1])
    for number in range(SHARDS):
        name = f"shard-{number:05d}/scores.safetensors"
        assert (tmp_path / name).read_bytes() == (whole[0] / name).read_bytes()
    with Lock(tmp_path / f".part-1-of-{parts}"), pytest.raises(ValueError, match="another run is writing"):
        record(tmp_path, part=ShardPart(1, parts), **size)


@pytest.mark.parametrize("text", ["0/4", "5/4", "3", "a/b", "1/", "-1/4", "1/4/2", "9" * 20 + "/9"])
def test_a_part_is_i_of_n(text):
    with pytest.raises(ValueError, match=r"shard: .* give i/n with i from 1 to n"):
        ShardPart.parse(text)


def test_two_runs_in_one_folder_are_refused(tmp_path):
    with Lock(tmp_path), pytest.raises(ValueError, match="folder: another run is writing to"):
        record(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shard": 3}, "shard: 2 there, 3 asked for"),
        ({"cuts": (0.8,)}, "cuts"),
        ({"task": gv.tasks.Bandit([[1.0, 0.5]] * 3)}, "task"),
        ({"scores": gv.Sketch("hashed")}, "scores.kind: None there, hashed asked for"),
    ],
)
def test_a_folder_is_for_one_recording(whole, change, message):
    with pytest.raises(ValueError, match=f"holds a run of other settings .*{message}"):
        record(whole[0], **change)


def flip(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))


DAMAGES = {
    "flipped": lambda shard: flip(shard / "scores.safetensors"),
    "truncated": lambda shard: os.truncate(shard / "rollouts.safetensors", 50),
    "empty": lambda shard: (shard / "manifest.json").write_bytes(b""),
    "gone": lambda shard: (shard / "rows.safetensors").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_only_a_damaged_shard_is_recorded_again(whole, tmp_path, damage):
    record(tmp_path)
    DAMAGES[damage](tmp_path / "shard-00001")
    kept = {p: p.stat().st_mtime_ns for p in tmp_path.glob("shard-0000[023]/*")}
    with pytest.raises(ValueError, match=r"folder: .*shard-00001.*; record it again: the same call"):
        gv.ScoreBank.open(tmp_path)
    with pytest.warns(UserWarning, match=r"shard-00001.* this shard is recorded again"):
        assert same(record(tmp_path), whole[1])
    assert kept == {p: p.stat().st_mtime_ns for p in tmp_path.glob("shard-0000[023]/*")}


def test_a_shard_in_the_place_of_another_is_not_counted_twice(whole, tmp_path):
    record(tmp_path)
    lies = layout_of(tmp_path)
    lies.remove(2)
    subprocess.run(["cp", "-r", str(lies.path(1)), str(lies.path(2))], check=True)
    with pytest.raises(ValueError, match="shard-00002 holds a shard of another place or run"):
        gv.ScoreBank.open(tmp_path)
    with pytest.warns(UserWarning, match="this shard is recorded again"):
        assert same(record(tmp_path), whole[1])


def test_a_file_that_may_not_grow_ends_in_one_line(whole, tmp_path):
    """RLIMIT_FSIZE stops writing as a full disk does, and needs no administrator."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (700, hard))  # a bank's manifest is longer
        with pytest.raises(
            ValueError, match=r"folder: .* could not be written .*0 of 4 shards are kept"
        ) as caught:
            record(tmp_path / "run", chunk=8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert shards(tmp_path / "run") == []
    assert same(record(tmp_path / "run", chunk=8), whole[1])


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 40 kB; only an administrator can mount one."""
    libc = ctypes.CDLL(None, use_errno=True)
    at = tmp_path / "disk"
    at.mkdir()
    if libc.mount(b"tmpfs", str(at).encode(), b"tmpfs", 0, b"size=40k"):
        pytest.skip("mounting a small disk takes an administrator")
    yield at, lambda flags: libc.mount(b"tmpfs", str(at).encode(), b"tmpfs", flags | 32, b"")
    libc.umount(str(at).encode())


def test_a_full_disk_loses_only_the_shard_it_stopped(whole, small_disk):
    at, _ = small_disk
    filler = at / "filler"
    filler.write_bytes(b"x" * 4096 * 2)
    with pytest.raises(ValueError, match=r"could not be written .*[12] of 4 shards are kept"):
        record(at)
    kept = shards(at)
    assert 1 <= len(kept) < 4
    assert not list(at.glob("*.part"))
    with pytest.warns(UserWarning, match="of 4 shards"):
        assert np.array_equal(
            gv.ScoreBank.open(at).rollouts.completions, whole[1].rollouts.completions[: 2 * len(kept)]
        )


def test_a_disk_that_is_read_only_is_one_line_before_any_work(small_disk):
    at, remount = small_disk
    assert not remount(1)
    with pytest.raises(ValueError, match=r"folder: .* could not be written .Read-only file system"):
        record(at / "run")
    assert not remount(0)


class Broken(gv.policies.Bandit):
    """Log-probabilities that are not a number for prompts of number 4 and on."""

    def logprobs(self, params, prompts, completions):
        found = super().logprobs(params, prompts, completions)
        return found * jax.numpy.where(prompts == 2, jax.numpy.nan, 1.0)[:, None, None]


@pytest.mark.slow
def test_a_model_that_gives_no_number_is_refused(tmp_path):
    broken = Broken(2, num_prompts=3)
    message = r"logp: nan for prompt (\d), rollout 0; the model gives no finite number there"
    with pytest.raises(ValueError, match=message + r".* of 4 shards are kept") as caught:
        record(tmp_path, policy=broken)
    first = int(np.argmax(unsharded().rollouts.prompts == 2))
    assert f"prompt {first}," in str(caught.value)
    assert len(shards(tmp_path)) == first // 2  # what came before it is kept
    with pytest.raises(ValueError, match=message):
        gv.measure.record(broken, params(), TASK, jax.random.key(1), 7, 4)


@pytest.mark.slow
def test_a_gradient_that_is_no_number_is_refused():
    broken = Broken(2, num_prompts=3)
    with pytest.raises(ValueError, match="params: a gradient of rloo is not finite"):
        gv.measure.direct(
            gv.catalogue.get("rloo"), broken, params(), TASK, 4, key=jax.random.key(0), replicates=32
        )


@pytest.mark.slow
def test_a_score_that_is_no_number_is_refused():
    class Cusp(gv.policies.Bandit):
        """Finite values, of derivatives that are not: sqrt at zero."""

        def logprobs(self, params, prompts, completions):
            zero = jax.numpy.sqrt(0.0 * params.sum() ** 2)
            return super().logprobs(params, prompts, completions) + zero

    with pytest.raises(ValueError, match=r"params: the score of row 0 of .* is not finite"):
        gv.measure.record(Cusp(2, num_prompts=3), params(), TASK, jax.random.key(1), 7, 4, scores=gv.Whole())


@pytest.mark.slow
def test_killed_at_twenty_random_points(tmp_path):
    done = run_within(900, [sys.executable, "-m", "tests.faults.killed", str(tmp_path), "0", "20"], cwd=ROOT)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert sum(line[0] == "killed" for line in lines) >= 18
    assert len({line[1] for line in lines if line[0] == "killed"}) >= 3  # at different stages
    assert sum(line == ["finished", str(SHARDS)] for line in lines) >= 1
    assert POLICY.num_prompts == 3
