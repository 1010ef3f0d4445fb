"""Rows of a model that FSDP2 cuts over processes: each process sketches the parameters that it holds.

``fully_shard`` keeps every parameter as a ``DTensor`` that is cut along its first axis. All processes go through the
same rows, so the mean over processes that FSDP2 takes of their gradients is each row's gradient; a sketch is linear, so
the sum of the sketches of the pieces is the sketch of the whole. What travels besides FSDP2's own traffic is that sum:
K numbers a row.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, Shard

from gradvar.gradients.sketch import Sketch
from gradvar.torch.arrays import TorchRollouts
from gradvar.torch.model import caller, cut, device_of, of_tokens


@dataclass(frozen=True)
class _Piece:
    """What this process holds of a parameter: its numbers from ``start`` on, in the order of all parameters."""

    parameter: torch.nn.Parameter
    start: int
    counts: bool  # false where another process counts the same numbers


def is_sharded(parameters: Mapping[str, torch.Tensor]) -> bool:
    """True if a parameter is cut over processes."""
    return any(isinstance(p, DTensor) for p in parameters.values())


def sharded_images(
    model: torch.nn.Module,
    names: list[str],
    rollouts: TorchRollouts,
    rows: tuple[Int[np.ndarray, " row"], Float[np.ndarray, "row time"]],
    sketch: Sketch,
    *,
    seed: int,
    temperature: float,
) -> Iterator[Float[np.ndarray, "1 image"]]:
    """Yield the sketch of every row's gradient, the same in all processes; all of them call this alike.

    Args:
        model: With ``fully_shard`` applied over one axis of devices.
        names: Of the parameters, in their order.
        rollouts: The rollouts.
        rows: Number of each row's rollout, and its token weights.
        sketch: What is kept.
        seed: What it is drawn from.
        temperature: The logits are divided by it.
    """
    for module in model.modules():  # after a forward pass the outermost one keeps its parameters whole
        if isinstance(module, FSDPModule):
            module.reshard()
    pieces, key = _pieces(model, names), jax.random.key(seed)
    own_gradients = [(p, p.grad) for p in model.parameters()]
    ends = rollouts.ends()
    try:
        for number, weights in zip(*rows, strict=True):
            data = cut(rollouts, np.asarray([number]), int(ends[number]))
            tokens, lengths, written = (x.to(device_of(model)) for x in data)
            for parameter, _ in own_gradients:
                parameter.grad = None
            with torch.enable_grad():
                logp = of_tokens(caller(model), tokens, lengths, written, temperature)
                cotangent = torch.as_tensor(weights[None, : logp.shape[1]]).to(logp)
                torch.sum(logp * cotangent).backward()
            image = torch.from_numpy(_image(pieces, sketch, key)).to(device_of(model))
            dist.all_reduce(image)
            yield image.cpu().numpy()
    finally:
        for parameter, gradient in own_gradients:
            parameter.grad = gradient


def _pieces(model: torch.nn.Module, names: list[str]) -> list[_Piece]:
    """What this process holds; ``ValueError`` for parameters that are cut in another way."""
    parameters, first, pieces = dict(model.named_parameters()), 0, []
    for name in names:
        parameter, start, counts = parameters[name], first, dist.get_rank() == 0
        if not parameter.requires_grad:
            raise ValueError(f"only: {name} requires no gradient; call requires_grad_() before fully_shard")
        if isinstance(parameter, DTensor):
            mesh, placements = parameter.device_mesh, parameter.placements
            if placements != (Shard(0),) or mesh.size() != dist.get_world_size():
                raise ValueError(
                    f"model: {name} is laid out as {placements}; give one that fully_shard cuts over all processes"
                )
            step = -(-parameter.shape[0] // mesh.size())  # as torch.chunk cuts
            start += min(mesh.get_local_rank() * step, parameter.shape[0]) * parameter[0].numel()
            counts = True
        pieces.append(_Piece(parameter, start, counts))
        first += parameter.numel()
    return pieces


def _image(pieces: list[_Piece], sketch: Sketch, key: jax.Array) -> Float[np.ndarray, "1 image"]:
    """The sketch of this process's part of the gradient."""
    total = np.zeros((1, sketch.width), np.float32)
    for piece in pieces:
        gradient = piece.parameter.grad
        if gradient is None or not piece.counts:
            continue
        local = gradient.to_local() if isinstance(gradient, DTensor) else gradient
        if local.numel():
            flat = (
                local.detach()
                .reshape(1, -1)
                .to(torch.promote_types(local.dtype, torch.float32))
                .cpu()
                .numpy()
            )
            total = total + np.asarray(sketch.image(jnp.asarray(flat), key, piece.start))
    return total
