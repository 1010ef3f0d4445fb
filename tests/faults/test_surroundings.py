"""What changes around a run: its folder goes, the clock jumps, another fills the same file, a process is killed."""

import os
import shutil
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import jax.numpy as jnp
import numpy as np
import pytest

from gradvar.cli import main as cli
from gradvar.files.cache import read_tree, write_tree
from gradvar.measure.bank.recorder import Recorder
from gradvar.symbolic.claims import run
from gradvar.symbolic.kernel.compiler import Compiler
from gradvar.symbolic.kernel.development import read_source
from tests.faults.scenes import SHARDS, record, same, unsharded
from tests.symbolic.test_prove_command import GOOD as CLAIM


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


@pytest.mark.slow
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


COMPILER = """#!/bin/sh
[ "$1" = --version ] && { echo 9.9; exit; }
echo run >> "$(dirname "$0")/runs"
for last; do :; done
: > "${last%.v}.vo"
sleep 0.05
echo "gradvar theorem t"
echo "Closed under the global context"
echo whole > "${last%.v}.vo"
"""


@pytest.fixture
def kernel(tmp_path):
    """A compiler that writes half a file first; and a file for it."""
    program = tmp_path / "coqc"
    program.write_text(COMPILER)
    program.chmod(0o755)
    source = read_source("s", "(* B1 *)\nTheorem t : 1 = 1.\nProof. by []. Qed.\n")
    return lambda: Compiler((str(program),), tmp_path / "cache").compile_all([source])[0], tmp_path


def test_two_fillers_of_the_cache_of_the_kernel(kernel):
    """One compiles, the other waits for it: nobody reads half a file."""
    compiled, folder = kernel
    results = []
    threads = [threading.Thread(target=lambda: results.append(compiled())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.reused for result in results) == [False, True]
    assert {result.error for result in results} == {""}
    assert (folder / "runs").read_text().split() == ["run"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"seconds": 1, "assumptions": {"t": 5}}', "\x00"])
def test_what_is_damaged_in_the_cache_of_the_kernel_is_made_again(kernel, text):
    compiled, folder = kernel
    assert not compiled().reused
    (report,) = folder.glob("cache/*/result.json")
    report.write_text(text)
    assert not compiled().reused
    assert compiled().reused
    assert compiled().assumptions == {"t": ()}
    (report.parent / "s.vo").unlink()
    assert not compiled().reused


def test_a_process_of_a_proof_that_is_killed_is_one_line(monkeypatch, tmp_path, capsys):
    class Pool(ThreadPoolExecutor):
        """Its second job ends the process that runs it."""

        def __init__(self, jobs, mp_context, initializer):
            super().__init__(1)
            self.jobs = 0

        def submit(self, call, *arguments):
            self.jobs += 1
            return super().submit(call if self.jobs == 1 else killed, *arguments)

    def killed(*_):
        raise BrokenProcessPool("A process in the process pool was terminated abruptly")

    for number in range(3):
        text = CLAIM.replace('"T1"', f'"T{number}"')
        (tmp_path / f"t{number}.py").write_text(text)
    monkeypatch.setattr(run, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(run, "_WORTH_A_PROCESS", 2)
    assert cli.run(["prove", str(tmp_path), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("gradvar: error: jobs: one of 2 processes was killed")
    assert "2 claims were to be run (T1, T2" in error
    assert error.count("\n") == 1
