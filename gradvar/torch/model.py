"""A PyTorch model as a function: log-probabilities of rows of tokens, and the parameters that are differentiated."""

import contextlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch.func import functional_call

from gradvar.core.checks import finite, positive
from gradvar.torch.arrays import TorchRollouts

Only = str | Callable[[str, torch.Tensor], bool] | None
State = Mapping[str, torch.Tensor]
_ROWS = 16  # of one pass at most, unless said otherwise
_LOGITS = 1 << 27  # numbers that one pass may make of them, where that is more than one row


def logprobs(
    model: torch.nn.Module,
    rollouts: TorchRollouts,
    *,
    temperature: float = 1.0,
    chunk: int | None = None,
) -> Float[torch.Tensor, "prompt rollout time"]:
    """Every completion token's log-probability (nats), [prompt, rollout, time]; zero where the mask is false.

    It is computed in evaluation mode, without a gradient, in at least float32.

    Args:
        model: Any module that takes token ids [row, token] and gives logits [row, token, vocab], as such or as
            ``.logits``.
        rollouts: What ``as_rollouts`` made of prompts and completions.
        temperature: The logits are divided by it.
        chunk: Rows of a pass, by default as their logits allow.
    """
    check_temperature(temperature)
    with evaluating(model), torch.no_grad():
        rows = chunk or rows_of_pass(rollouts, check_model(model, rollouts))
        parts = [x.cpu() for x in row_logprobs(model, rollouts, temperature, rows)]
    return torch.cat(parts).reshape(rollouts.shape)


def row_logprobs(
    model: torch.nn.Module, rollouts: TorchRollouts, temperature: float, chunk: int
) -> Iterator[torch.Tensor]:
    """Yield log-probabilities [chunk, time] of all rows in order, masked ones zero.

    Args:
        model: Token ids to logits.
        rollouts: The rows.
        temperature: The logits are divided by it.
        chunk: Rows at a time.
    """
    device, time = device_of(model), rollouts.shape[2]
    counted = torch.as_tensor(rollouts.mask.reshape(-1, time))
    ends = rollouts.ends()
    for start in range(0, len(rollouts.tokens), chunk):
        rows = slice(start, start + chunk)
        tokens, lengths, written = (x.to(device) for x in cut(rollouts, rows, int(ends[rows].max())))
        logp = of_tokens(caller(model), tokens, lengths, written, temperature)
        logp = torch.nn.functional.pad(logp, (0, time - logp.shape[1]))
        yield torch.where(counted[rows].to(device), logp, 0.0)


def cut(rollouts: TorchRollouts, rows: Any, time: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens, prompt lengths and ``time`` completion tokens of some rows; no token is fed that predicts nothing."""
    lengths = rollouts.lengths[rows]
    tokens = rollouts.tokens[rows][:, : int(lengths.max()) + time - 1]
    written = rollouts.completions.reshape(len(rollouts.tokens), -1)[rows][:, :time]
    tokens, lengths, written = (np.ascontiguousarray(x) for x in (tokens, lengths, written))
    return torch.from_numpy(tokens), torch.from_numpy(lengths), torch.from_numpy(written)


def of_tokens(
    call: Callable[[torch.Tensor], torch.Tensor],
    tokens: torch.Tensor,
    lengths: torch.Tensor,
    completions: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """Log-probabilities [row, time] of completions, from the logits after every token; also under ``vmap``.

    Args:
        call: Tokens to logits.
        tokens: [row, token], prompts with their completions.
        lengths: Of the prompts.
        completions: [row, time].
        temperature: The logits are divided by it.
    """
    logits = call(tokens).to(tokens.device)  # a model may end on another device than it begins
    place = lengths[:, None] - 1 + torch.arange(completions.shape[1], device=tokens.device)
    after = torch.take_along_dim(logits, place[..., None], dim=1)
    after = after.to(torch.promote_types(after.dtype, torch.float32)) / temperature
    return torch.take_along_dim(torch.log_softmax(after, -1), completions[..., None], dim=-1)[..., 0]


def caller(model: torch.nn.Module, state: State | None = None) -> Callable[[torch.Tensor], torch.Tensor]:
    """A function from tokens to logits, with parameters ``state`` in place of the module's, and no cache of keys."""
    accepted = inspect.signature(model.forward).parameters
    open_ended = (
        any(p.kind is p.VAR_KEYWORD for p in accepted.values()) and getattr(model, "config", None) is not None
    )
    settings = {"use_cache": False} if "use_cache" in accepted or open_ended else {}

    def call(tokens: torch.Tensor) -> torch.Tensor:
        output = (
            model(tokens, **settings) if state is None else functional_call(model, state, (tokens,), settings)
        )
        logits = getattr(output, "logits", output)
        return logits[0] if isinstance(logits, tuple) else logits

    return call


def chosen(model: torch.nn.Module, only: Only) -> dict[str, torch.Tensor]:
    """The parameters that are differentiated, by name, without a history and without a copy.

    All that require a gradient, or those that ``only`` picks: a pattern found in the name, or a function of name and
    parameter.
    """
    if only is None:
        picked = {n: p for n, p in model.named_parameters() if p.requires_grad}
    elif isinstance(only, str):
        picked = {n: p for n, p in model.named_parameters() if re.search(only, n)}
    else:
        picked = {n: p for n, p in model.named_parameters() if only(n, p)}
    picked = {n: p.detach() for n, p in picked.items() if p.is_floating_point()}
    if not picked:
        names = [n for n, _ in model.named_parameters()]
        raise ValueError(
            f"only: {only!r} picks none of {len(names)} parameters; their names are like '{names[0]}'"
            if names
            else "model: it has no parameters; give one that has"
        )
    return picked


def check_temperature(temperature: float) -> float:
    """Return what logits can be divided by; ``ValueError`` for anything else."""
    return positive("temperature", finite("temperature", temperature))


def rows_of_pass(rollouts: TorchRollouts, vocab: int) -> int:
    """The number of rows of a pass whose logits are not too many."""
    return max(1, min(_ROWS, _LOGITS // (rollouts.tokens.shape[1] * vocab)))


def check_model(model: torch.nn.Module, rollouts: TorchRollouts) -> int:
    """The size of the vocabulary; ``ValueError``, in one line, unless a probe finds logits of a causal model."""
    row = int(np.argmax(rollouts.lengths))
    prompt = rollouts.tokens[row : row + 1, : max(2, int(rollouts.lengths[row]) + 1)]
    tokens = torch.as_tensor(prompt % 2).repeat(2, 1).to(device_of(model))  # 0 and 1 are in every vocabulary
    tokens[1, -1] = 1 - tokens[1, -1]
    with torch.no_grad():
        logits = caller(model)(tokens)
    shape = getattr(logits, "shape", None)
    if shape is None or shape[:-1] != tokens.shape or not logits.is_floating_point():
        output = type(logits).__name__ if shape is None else f"{logits.dtype} of shape {tuple(shape)}"
        raise ValueError(
            f"model: {output} for token ids {tuple(tokens.shape)}; give logits [row, token, vocab]"
        )
    largest = max(int(rollouts.tokens.max()), int(rollouts.completions.max()))
    if largest >= shape[-1]:
        raise ValueError(f"completions, prompts: token {largest} is not among 0..{shape[-1] - 1}; give those")
    if torch.isnan(logits).any():
        raise ValueError("model: its logits are NaN on the first prompt; give weights that are finite")
    gap = float((logits[0, :-1] - logits[1, :-1]).abs().nan_to_num(0.0).max())
    size = max(1.0, float(logits.abs().nan_to_num(0.0, 0.0, 0.0).max()))
    if gap > 16 * torch.finfo(logits.dtype).eps * size:
        raise ValueError(
            f"model: earlier logits move by {gap:.1e} when the last token is exchanged; give a causal model"
        )
    return int(shape[-1])


def device_of(model: torch.nn.Module) -> torch.device:
    """Where the model's first parameter is, and tokens go."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


@contextlib.contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode (no dropout), and every module's own mode again afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
