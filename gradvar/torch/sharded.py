"""Rows of a model that FSDP2 or tensor parallelism cuts over processes: each sketches the parameters that it holds.

``fully_shard`` keeps every parameter as a ``DTensor`` that is cut along its first axis. All processes go through the
same rows, so the mean over processes that FSDP2 takes of their gradients is each row's gradient; a sketch is linear, so
the sum of the sketches of the pieces is the sketch of the whole. What travels besides FSDP2's own traffic is that sum:
K numbers a row. ``parallelize_module`` cuts matrices along their first or second axis, and its gradients are those of
the whole; a piece of the second axis is sketched among zeros.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, Replicate, Shard

from gradvar.gradients.sketch import Sketch
from gradvar.torch.arrays import TorchRollouts
from gradvar.torch.model import caller, cut, device_of, of_tokens

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class _Piece:
    """What this process holds of a parameter: its numbers from ``start`` on, in the order of all parameters."""

    parameter: torch.nn.Parameter
    start: int
    counts: bool  # false where another process counts the same numbers
    within: tuple[int, int] | None = (
        None  # the axis along which it is cut, but for the first one, and where it begins
    )

    def flat(self, gradient: torch.Tensor) -> torch.Tensor:
        """The local gradient as numbers from ``start`` on, zero where another process holds them."""
        local = gradient.to_local() if isinstance(gradient, DTensor) else gradient
        if self.within is not None:
            axis, begin = self.within
            matrix = torch.zeros(self.parameter.shape, dtype=local.dtype, device=local.device)
            matrix.narrow(axis, begin, local.shape[axis]).copy_(local)
            local = matrix
        return local.detach().reshape(1, -1).to(torch.promote_types(local.dtype, torch.float32))


def is_sharded(parameters: Mapping[str, torch.Tensor]) -> bool:
    """True if a parameter is cut over processes."""
    return any(isinstance(p, DTensor) for p in parameters.values())


def reshard(model: torch.nn.Module) -> None:
    """Cut the parameters again that FSDP2's outermost module keeps whole after a forward pass."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def whole_parameter(parameter: torch.Tensor) -> torch.Tensor:
    """The parameter in one piece; where it is cut, all processes have to ask for it."""
    return parameter.full_tensor() if isinstance(parameter, DTensor) else parameter


def agreed(answer: Callable[[], Answer]) -> Answer:
    """What ``answer`` returns in the first process, or the ``ValueError`` that it raises there, in all processes."""
    outcome: list[Answer | ValueError | None] = [None]
    if dist.get_rank() == 0:
        try:
            outcome[0] = answer()
        except ValueError as error:
            outcome[0] = error
    dist.broadcast_object_list(outcome)
    if isinstance(outcome[0], ValueError):
        raise outcome[0]
    return cast(Answer, outcome[0])


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
    reshard(model)
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
        within: tuple[int, int] | None = None
        if not parameter.requires_grad:
            raise ValueError(f"only: {name} requires no gradient; call requires_grad_() before fully_shard")
        if isinstance(parameter, DTensor):
            mesh, placements = parameter.device_mesh, parameter.placements
            is_cut = len(placements) == 1 and isinstance(placements[0], Shard)
            if mesh.size() != dist.get_world_size() or not (is_cut or placements == (Replicate(),)):
                raise ValueError(
                    f"model: {name} is laid out as {placements}; give one that fully_shard or parallelize_module cuts "
                    "over all processes, along one axis"
                )
            if is_cut:
                counts, axis = True, placements[0].dim
                step = -(-parameter.shape[axis] // mesh.size())  # as torch.chunk cuts
                begin = min(mesh.get_local_rank() * step, parameter.shape[axis])
                if axis == 0:
                    start += begin * parameter[0].numel()
                else:  # not one piece in the order of the parameters
                    within = (axis, begin)
        pieces.append(_Piece(parameter, start, counts, within))
        first += parameter.numel()
    return pieces


def _image(pieces: list[_Piece], sketch: Sketch, key: jax.Array) -> Float[np.ndarray, "1 image"]:
    """The sketch of this process's part of the gradient."""
    total = np.zeros((1, sketch.width), np.float32)
    for piece in pieces:
        gradient = piece.parameter.grad
        if gradient is None or not piece.counts:
            continue
        flat = piece.flat(gradient)
        if flat.numel():
            total = total + np.asarray(sketch.image(jnp.asarray(flat.cpu().numpy()), key, piece.start))
    return total
