"""A proof that is killed: its processes end with it, and what the kernel had closed is not given to it again."""

import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from gradvar.symbolic.kernel.compiler import Compiler
from gradvar.symbolic.kernel.development import read_source
from gradvar.symbolic.kernel.steps import ClosedGoals, closed_goals

ROOT = Path(__file__).resolve().parents[2]
HANGING = 300  # seconds; only what waits for ever comes near

POOL = """
import multiprocessing, os, signal, time
from concurrent.futures import ProcessPoolExecutor
from gradvar.core.processes import end_with_parent

if __name__ == "__main__":
    pool = ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), end_with_parent)
    pids = [pool.submit(os.getpid).result(), pool.submit(time.sleep, {rest})]
    print(pids[0], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_processes_of_a_pool_end_with_it(tmp_path):
    """They hold its output: who reads that hears of its end only once all of them have ended."""
    script = tmp_path / "pool.py"
    script.write_text(POOL.format(rest=2 * HANGING))
    ended = subprocess.run([sys.executable, script], stdout=subprocess.PIPE, timeout=HANGING)
    assert ended.returncode == -9
    assert int(ended.stdout) > 0


# Closes what is not "1 = 2", and tells which goals it was given.
COMPILER = """#!/bin/sh
[ "$1" = --version ] && { echo 9.9; exit; }
for last; do :; done
: > "${last%.v}.vo"
sed -n 's/^Definition \\(c[0-9]*\\) : checked (\\(.*\\))\\.$/\\1 \\2/p' "$last" | while read -r name goal; do
  echo "$goal" >> "$(dirname "$0")/given"
  case "$goal" in "1 = 2"*) echo "gradvar certificate $name false";; *) echo "gradvar certificate $name true";; esac
done
sed -n 's/.*idtac "\\(gradvar theorem [a-z_]*\\)".*/\\1/p' "$last" | while read -r line; do
  echo "$line"
  echo "Closed under the global context"
done
"""

KILLED = """
import os, signal, sys
from pathlib import Path
from tests.faults.test_killed_proofs import compiler_in, GOALS
from gradvar.symbolic.kernel.steps import closed_goals

def done(compiled):
    if compiled.closed:
        os.kill(os.getpid(), signal.SIGKILL)

folder = Path(sys.argv[1])
closed_goals(GOALS, folder, compiler_in(folder), done, 2)
"""
GOALS = {
    "T1": [f"{i} = {i}" for i in range(150)],
    "T2": [f"{i} = {i}" for i in range(100, 240)] + [f"1 = 2 + {i}" for i in range(10)],
}


def compiler_in(folder):
    program = folder / "coqc"
    if not program.exists():
        program.write_text(COMPILER)
        program.chmod(0o755)
        (folder / "ladder.v").write_text("(* the tactics *)\n")
    return Compiler((str(program),), folder / "cache")


def test_steps_that_are_killed_go_on(tmp_path):
    """Three files of goals, two at a time; the kernel has been killed with the first of them kept."""
    compiler_in(tmp_path)
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path], cwd=ROOT, timeout=HANGING)
    assert killed.returncode == -9
    (record,) = (tmp_path / "cache").glob("closed_*.txt")
    kept = len(record.read_text().split())
    assert 50 <= kept <= 100
    closed = closed_goals(GOALS, tmp_path, compiler_in(tmp_path), jobs=2)
    assert closed == {claim: {g for g in goals if g[:5] != "1 = 2"} for claim, goals in GOALS.items()}
    given = Counter((tmp_path / "given").read_text().splitlines())
    assert given.keys() == {goal for goals in GOALS.values() for goal in goals}
    assert sum(times == 1 for times in given.values()) >= kept
    given.update(
        given.keys() - closed["T1"] - closed["T2"]
    )  # what stayed open is tried again, and nothing else
    closed_goals(GOALS, tmp_path, compiler_in(tmp_path))
    assert Counter((tmp_path / "given").read_text().splitlines()) == given


@pytest.mark.parametrize("damage", [b"\xff\xfe\x00", b"not a name\n", b""])
def test_two_runs_keep_what_the_other_has_closed(tmp_path, damage):
    """Each knows at its end what the other has closed; a damaged record is one of nothing."""
    compiler, ladder = compiler_in(tmp_path), read_source("ladder", "(* the tactics *)\n")
    ClosedGoals.of(compiler, ladder).add([])
    (path,) = (tmp_path / "cache").glob("closed_*.txt")
    path.write_bytes(damage)
    runs = [ClosedGoals.of(compiler, ladder) for _ in range(2)]

    def add(run, first):
        for i in range(first, first + 5):
            run.add([f"{i} = {i}"])

    threads = [threading.Thread(target=add, args=(run, 5 * n)) for n, run in enumerate(runs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    record = ClosedGoals.of(compiler, ladder)
    assert [f"{i} = {i}" in record for i in range(11)] == [True] * 10 + [False]
