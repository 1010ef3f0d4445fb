"""A small training run shared by processes: ``FOLDER PROCESSES INDEX PORT``; prints a hash of all states and curves."""

import hashlib
import sys
from pathlib import Path

import jax

folder, (processes, index, port) = Path(sys.argv[1]), map(int, sys.argv[2:5])
jax.config.update("jax_num_cpu_devices", 1)
jax.config.update("jax_compilation_cache_dir", str(folder / f"compiled{index}"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
if processes > 1:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", processes, index)

import numpy as np  # noqa: E402

from gradvar.train import arms  # noqa: E402
from gradvar.train.loop import train  # noqa: E402
from gradvar.train.trainer import Trainer  # noqa: E402
from tests.train.conftest import make_scene  # noqa: E402

scene = make_scene(folder)  # the first run has made it; the others read it
plan = scene.plan(arms.get("grpo-2"), prompts=8, steps=7)
trainer = Trainer(scene.policy, scene.task, plan, scene.examination, 4, chunk=3)
run = train(trainer, scene.params, range(4), evaluations=2)
digest = hashlib.sha256()
for leaf in jax.tree.leaves((run.states, run.curves, run.steps)):
    digest.update(np.ascontiguousarray(leaf).tobytes())
for seeds, keep in (((0, 1, 2), None), (range(4), folder / "kept")):
    if processes > 1:
        try:
            train(trainer, scene.params, seeds, folder=keep)
        except ValueError as error:
            print(error)
print(jax.process_count(), digest.hexdigest())
