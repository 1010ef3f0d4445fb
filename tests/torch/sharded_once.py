"""One process of ``torchrun``: a model cut by FSDP2, one by tensor parallelism; run by test_sharded."""

import sys

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

import gradvar.torch
from gradvar.gradients.sketch import Sketch, Whole
from tests.torch import models


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


if __name__ == "__main__":
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    model = models.Llama().float()
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    cut = parallel(models.Llama(tied=False).float(), mesh)
    cut_vectors = record(cut, Sketch("hashed", 16)).recording.scores.vectors
    placements = {str(p.placements) for p in cut.parameters() if isinstance(p, DTensor)}
    fully_shard(model, mesh=mesh)
    bank = record(model, Sketch("hashed", 16))
    try:
        record(model, Whole())
    except ValueError as error:
        refusal = str(error)
    np.savez(f"{sys.argv[1]}/{dist.get_rank()}.npz", vectors=bank.recording.scores.vectors, refusal=refusal,
             cut=cut_vectors, placements=sorted(placements))  # fmt: skip
    dist.destroy_process_group()
