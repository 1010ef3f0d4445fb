"""Processes of torchrun's agent, one of which is killed: a model cut by FSDP2, one by tensor parallelism."""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.fsdp import fully_shard
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

import gradvar.torch
from gradvar.gradients.sketch import Sketch, Whole
from gradvar.measure.bank.recorder import ShardPart
from tests.torch import models

SKETCH = Sketch("hashed", 16)


def scene():
    """Rollouts of two prompts, and rewards."""
    rng = np.random.default_rng(0)
    rollouts = gradvar.torch.as_rollouts(rng.integers(0, 7, (2, 3)), rng.integers(0, 7, (2, 4, 3)))
    return rollouts, rng.random((2, 4)).round(1)


def record(model, scores):
    settings = gradvar.torch.TorchSettings(seed=3)
    return gradvar.torch.record(model, *scene(), scores=scores, settings=settings)


def parallel(model, mesh):
    """Matrices cut along both axes, one of them unevenly (7 rows over two processes)."""
    plan = {f"*.mlp.{name}_proj": ColwiseParallel() for name in ("gate", "up")}
    plan |= {"*.mlp.down_proj": RowwiseParallel(), "lm_head": ColwiseParallel(output_layouts=Replicate())}
    plan = {name.replace("*", "model.layers.*"): style for name, style in plan.items()}
    return parallelize_module(model, mesh, plan)


def parts(model, folder, is_killed):
    """The bank of both parts of a folder, a prompt each, one after the other."""
    for number in (1, 2):
        settings = gradvar.torch.TorchSettings(seed=3, folder=folder, part=ShardPart(number, 2))
        if number == 2 and is_killed:
            kill_in_the_middle(model, folder.parent / "killed")
        bank = gradvar.torch.record(model, *scene(), scores=SKETCH, settings=settings)
    return bank


def kill_in_the_middle(model, witness):
    """Kill this process at its fifth pass from now on: scores are being taken then."""
    passes = iter(range(4))
    model.register_forward_pre_hook(lambda *_: None if next(passes, None) is not None else kill(witness))


def kill(witness):
    """The agent names whichever process it finds dead first, and others die of the missing one: a file says who was."""
    witness.write_text(str(dist.get_rank()))
    os.kill(os.getpid(), signal.SIGKILL)


def worker(folder, killed):
    """What every process does; the one of rank ``killed`` does not get to its end."""
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    rank, mesh = dist.get_rank(), init_device_mesh("cpu", (dist.get_world_size(),))
    model = models.Llama().float()
    fully_shard(model, mesh=mesh)
    there = {str(file): file.stat().st_mtime_ns for file in sorted(folder.glob("bank/shard-*/*"))}
    facts = {"vectors": parts(model, folder / "bank", rank == killed).recording.scores.vectors}
    facts["there"] = sorted({Path(file).parent.name for file in there})
    facts["kept"] = [Path(file).stat().st_mtime_ns == time for file, time in there.items()]
    np.savez(folder / f"{rank}.npz", **facts, **other_ways(model, mesh))
    dist.destroy_process_group()


def other_ways(model, mesh):
    """A model that is cut in another way, and scores that are refused."""
    cut = parallel(models.Llama(tied=False).float(), mesh)
    vectors = record(cut, SKETCH).recording.scores.vectors
    placements = sorted({str(p.placements) for p in cut.parameters() if isinstance(p, DTensor)})
    try:
        record(model, Whole())
    except ValueError as error:
        refusal = str(error)
    return {"cut": vectors, "placements": placements, "refusal": refusal}


def launch(folder, processes, killed=None):
    """Run the workers by torchrun's agent, as forks of this process, which has imported everything already."""
    config = LaunchConfig(1, 1, processes, rdzv_backend="c10d", rdzv_endpoint="localhost:0", start_method="fork",
                          run_id=f"{processes} {killed}", max_restarts=0)  # fmt: skip
    elastic_launch(config, worker)(folder, killed)


if __name__ == "__main__":
    out = Path(sys.argv[1])
    try:
        launch(out, 4, killed=1)
    except ChildFailedError:
        print("stopped")
    launch(out, 2)  # the same again, with as many processes as are left
