"""Records in a child that is killed, again and again: ``killed.py FOLDER SEED KILLS``.

Each child is forked before JAX has started anything, and ends itself with SIGKILL just before a random one of its
operations on files (or, every fourth, after a random time); what is finished is compared with a recording that was
never killed, and begun again. Prints a line a child: how it ended, and how many shards are there.
"""

import os
import shutil
import signal
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path

import jax
import numpy as np

from gradvar.files.atomic import file_digest, read_json
from tests.faults.scenes import SHARDS, arrays, record

folder, seed, kills = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_compilation_cache_dir", str(folder / "compiled"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
warnings.filterwarnings("ignore", message=r"os\.fork\(\)")
EVENTS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir")
KEPT = folder / "kept"


def end():
    os.kill(os.getpid(), signal.SIGKILL)


def kill_before(operation):
    """Ends the process before its ``operation``-th touch of a file in the folder."""
    left = [operation]

    def heard(event, args):
        if event in EVENTS and args and str(KEPT) in str(args[0]):
            left[0] -= 1
            if not left[0]:
                end()

    sys.addaudithook(heard)


def child(work):
    number = os.fork()
    if not number:
        code = 1
        try:
            work()
            code = 0
        except Exception:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def operations():
    """How many touches of files a whole recording takes."""
    heard = []
    sys.addaudithook(
        lambda event, args: heard.append(1) if event in EVENTS and args and "alone" in str(args[0]) else None
    )
    bank = record(folder / "alone")
    np.savez(folder / "alone.npz", **arrays(bank))
    (folder / "operations").write_text(str(len(heard)))


def whole_shards():
    """The shards that are there, each with the sum of its manifest; fails where one is not whole."""
    found = {}
    for path in sorted(KEPT.glob("shard-?????")):
        manifest = read_json(path / "manifest.json", "folder", "")
        for name, sha in manifest["sha256"].items():
            assert file_digest(path / f"{name}.safetensors") == sha, path
        found[path.name] = file_digest(path / "manifest.json")
    return found


def finish():
    """Goes on to the end, and compares."""
    found, alone = arrays(record(KEPT)), np.load(folder / "alone.npz")
    assert set(found) == set(alone)
    for name in found:
        np.testing.assert_array_equal(found[name], alone[name])


assert child(operations) == 0
most = int((folder / "operations").read_text())
rng = np.random.default_rng(seed)
before = {}
for number in range(kills):
    at, seconds = int(rng.integers(1, most // 2)), float(rng.uniform(0.0, 1.0))

    def work(number=number, at=at, seconds=seconds):
        if number % 4 == 3:
            threading.Thread(target=lambda: (time.sleep(seconds), end()), daemon=True).start()
        else:
            kill_before(at)
        record(KEPT)

    code, after = child(work), whole_shards()
    assert before.items() <= after.items(), "a shard was lost, or recorded twice"
    print("killed" if code == -signal.SIGKILL else f"ended {code}", len(after), flush=True)
    before = after
    if len(after) == SHARDS:
        assert child(finish) == 0
        print("finished", len(whole_shards()), flush=True)
        shutil.rmtree(KEPT)
        before = {}
assert child(finish) == 0
print("finished", len(whole_shards()), flush=True)
