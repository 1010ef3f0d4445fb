"""A small training run in a process of its own: ``run_once.py FOLDER DEVICES [KILL]``; prints a hash of all states.

KILL: ``write`` ends the process, as kill -9 does, when Orbax has begun to write the second checkpoint; a number ends it
that many chunks into the run, in the middle of a step.
"""

import hashlib
import os
import signal
import sys
import threading
import time
from pathlib import Path

import jax

folder, devices, kill = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else ""
jax.config.update("jax_num_cpu_devices", devices)
jax.config.update("jax_compilation_cache_dir", str(folder.parent / "compiled"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

from gradvar.core.progress import Silent  # noqa: E402
from gradvar.train import arms  # noqa: E402
from gradvar.train.checkpoint import Checkpoints  # noqa: E402
from gradvar.train.loop import train  # noqa: E402
from gradvar.train.trainer import Trainer  # noqa: E402
from tests.train.conftest import make_scene  # noqa: E402

scene = make_scene(folder.parent)
trainer = Trainer(
    scene.policy,
    scene.task,
    scene.plan(arms.get("grpo-2"), prompts=8, steps=24),
    scene.examination,
    4,
    chunk=3,
)


def end():
    os.kill(os.getpid(), signal.SIGKILL)


def watch():
    """Ends the process as soon as a second checkpoint is being written."""
    place = folder / "checkpoints"
    while True:
        # looked at in this order, the one that is begun cannot be the one that is whole
        whole = [p for p in place.glob("*") if p.name.isdigit()] if place.exists() else []
        begun = [p for p in place.glob("*") if "tmp" in p.name] if place.exists() else []
        if begun and whole:
            end()


if kill == "write":
    threading.Thread(target=watch, daemon=True).start()


class Chunks(Silent):
    """Ends the process a moment after the chunk that was asked for."""

    chunks = 0

    def advance(self, steps=1, note=""):
        self.chunks += note.startswith("reward")
        if kill.isdigit() and self.chunks == int(kill):
            # the next chunk is under way when the process ends
            threading.Thread(target=lambda: (time.sleep(0.002), end()), daemon=True).start()


class Telling(Checkpoints):
    def save(self, number, states, facts):
        super().save(number, states, facts)
        print("saved", facts["step"], flush=True)


import gradvar.train.loop  # noqa: E402

gradvar.train.loop.Checkpoints = Telling
run = train(trainer, scene.params, [0, 1, 2, 3], evaluations=4, folder=folder, monitor=Chunks())
digest = hashlib.sha256()
for leaf in jax.tree.leaves(run.states):
    digest.update(jax.device_get(leaf).tobytes())
moved = float(abs(jax.device_get(run.states.params["embed"]) - scene.params["embed"]).max())
print("devices", len(run.states.step.sharding.device_set), "moved", moved > 0)
print("hash", digest.hexdigest(), flush=True)
