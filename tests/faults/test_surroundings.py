"""What changes around a run: its folder goes, the clock jumps, another process fills the same file."""

import os
import shutil
import threading
import warnings

import jax.numpy as jnp
import numpy as np
import pytest

from gradvar.files.cache import read_tree, write_tree
from gradvar.measure.bank.recorder import Recorder
from tests.faults.scenes import SHARDS, record, same, unsharded


@pytest.mark.slow
def test_a_folder_that_is_removed_under_the_run(tmp_path, monkeypatch):
    folder, made, calls = tmp_path / "run", Recorder.record, []

    def remove(self, *args):
        calls.append(args)
        if len(calls) == 3:
            shutil.rmtree(folder)
        return made(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "record", remove)
        with pytest.raises(ValueError, match="folder: ") as caught:
            record(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(calls) == SHARDS
    assert same(record(folder), unsharded())  # the same command mends it


@pytest.mark.parametrize("seconds", [0, 4_102_444_800])
def test_a_clock_that_jumps_makes_nothing_old_or_new(tmp_path, seconds, monkeypatch):
    first = record(tmp_path)
    for path in tmp_path.rglob("*"):
        os.utime(path, (seconds, seconds))
    monkeypatch.setattr(Recorder, "record", None)  # nothing is recorded again
    assert same(record(tmp_path), first)


def test_two_fillers_of_one_file(tmp_path):
    """Each reader sees what one of them wrote, whole; neither hears of the other."""
    path, like = tmp_path / "start.safetensors", {"a": jnp.zeros(4096), "b": jnp.zeros(3)}
    trees = [{name: x + number for name, x in like.items()} for number in (1.0, 2.0)]
    stop = threading.Event()

    def fill(number):
        while not stop.is_set():
            write_tree(path, trees[number], {"number": number})

    write_tree(path, trees[0], {"number": 0})
    threads = [threading.Thread(target=fill, args=(number,)) for number in (0, 1)]
    with warnings.catch_warnings(action="error"):
        for thread in threads:
            thread.start()
        try:
            seen = [read_tree(path, like) for _ in range(60)]
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    for tree, facts in seen:
        np.testing.assert_array_equal(tree["a"], np.full(4096, 1.0 + facts["number"]))
        np.testing.assert_array_equal(tree["b"], np.full(3, 1.0 + facts["number"]))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]  # no part is left
