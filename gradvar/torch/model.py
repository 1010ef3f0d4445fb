"""A PyTorch model as a function: log-probabilities of rows of tokens, and the parameters that are differentiated."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch.func import functional_call

from gradvar.torch.arrays import Given, arrange

Only = str | Callable[[str, torch.Tensor], bool] | None
State = Mapping[str, torch.Tensor]
_ROWS = 16  # of one pass at most, unless said otherwise
_LOGITS = 1 << 27  # numbers that one pass may make of them, where that is more than one row


def logprobs(
    model: torch.nn.Module,
    prompts: Any,
    completions: Any,
    *,
    prompt_mask: Any = None,
    mask: Any = None,
    stop: int | None = None,
    group: int | None = None,
    temperature: float = 1.0,
    chunk: int | None = None,
) -> Float[torch.Tensor, "prompt rollout time"]:
    """Every completion token's log-probability (nats), [prompt, rollout, time]; zero where the mask is false.

    The arguments are those of ``record``. Computed in evaluation mode, without a gradient, in at least float32, with
    the logits divided by ``temperature``; ``chunk`` rows a pass, by default as their logits allow. The model may be
    any module that takes token ids [row, token] and gives logits [row, token, vocab], as such or as ``.logits``.
    """
    given = arrange(prompts, completions, prompt_mask, mask, stop, group)
    check_temperature(temperature)
    with evaluating(model), torch.no_grad():
        vocab = check_model(model, given)
        few = chunk or few_rows(given, vocab)
        found = [x.cpu() for x in row_logprobs(model, given, temperature, few)]
    return torch.cat(found).reshape(given.shape)


def row_logprobs(
    model: torch.nn.Module, given: Given, temperature: float, chunk: int
) -> Iterator[torch.Tensor]:
    """Log-probabilities [chunk, time] of all rows in order, masked ones zero."""
    where, time = device_of(model), given.shape[2]
    counted = torch.as_tensor(given.mask.reshape(-1, time))
    ends = given.ends()
    for start in range(0, len(given.tokens), chunk):
        at = slice(start, start + chunk)
        rows = cut(given, at, int(ends[at].max()))
        tokens, lengths, written = (x.to(where) for x in rows)
        found = of_tokens(caller(model), tokens, lengths, written, temperature)
        found = torch.nn.functional.pad(found, (0, time - found.shape[1]))
        yield torch.where(counted[at].to(where), found, 0.0)


def cut(given: Given, rows: Any, time: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens, prompt lengths and ``time`` completion tokens of some rows; no token is fed that predicts nothing."""
    lengths = given.lengths[rows]
    tokens = given.tokens[rows][:, : int(lengths.max()) + time - 1]
    written = given.completions.reshape(len(given.tokens), -1)[rows][:, :time]
    tokens, lengths, written = (np.ascontiguousarray(x) for x in (tokens, lengths, written))
    return torch.from_numpy(tokens), torch.from_numpy(lengths), torch.from_numpy(written)


def of_tokens(
    call: Callable[[torch.Tensor], torch.Tensor],
    tokens: torch.Tensor,
    lengths: torch.Tensor,
    completions: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """Log-probabilities [row, time] of completions, from the logits after every token; also under ``vmap``."""
    logits = call(tokens).to(tokens.device)  # a model may end on another device than it begins
    place = lengths[:, None] - 1 + torch.arange(completions.shape[1], device=tokens.device)
    after = torch.take_along_dim(logits, place[..., None], dim=1)
    after = after.to(torch.promote_types(after.dtype, torch.float32)) / temperature
    return torch.take_along_dim(torch.log_softmax(after, -1), completions[..., None], dim=-1)[..., 0]


def caller(model: torch.nn.Module, state: State | None = None) -> Callable[[torch.Tensor], torch.Tensor]:
    """tokens -> logits, with parameters ``state`` in place of the module's own, and no cache of keys and values."""
    found = inspect.signature(model.forward).parameters
    open_ended = (
        any(p.kind is p.VAR_KEYWORD for p in found.values()) and getattr(model, "config", None) is not None
    )
    settings = {"use_cache": False} if "use_cache" in found or open_ended else {}

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


def check_temperature(temperature: float) -> None:
    """Refuses what logits cannot be divided by."""
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature: {temperature}; give a finite number above 0")


def few_rows(given: Given, vocab: int) -> int:
    """Rows of a pass whose logits are not too many."""
    return max(1, min(_ROWS, _LOGITS // (given.tokens.shape[1] * vocab)))


def check_model(model: torch.nn.Module, given: Given) -> int:
    """The size of the vocabulary; raises ``ValueError``, in one line, unless a probe finds logits of a causal model."""
    row = int(np.argmax(given.lengths))
    shown = (
        given.tokens[row : row + 1, : max(2, int(given.lengths[row]) + 1)] % 2
    )  # tokens of every vocabulary
    tokens = torch.as_tensor(shown).repeat(2, 1).to(device_of(model))
    tokens[1, -1] = 1 - tokens[1, -1]
    with torch.no_grad():
        logits = caller(model)(tokens)
    shape = getattr(logits, "shape", None)
    if shape is None or shape[:-1] != tokens.shape or not logits.is_floating_point():
        what = type(logits).__name__ if shape is None else f"{logits.dtype} of shape {tuple(shape)}"
        raise ValueError(
            f"model: {what} for token ids {tuple(tokens.shape)}; give logits [row, token, vocab]"
        )
    most = max(int(given.tokens.max()), int(given.completions.max()))
    if most >= shape[-1]:
        raise ValueError(f"completions, prompts: token {most} is not among 0..{shape[-1] - 1}; give those")
    if torch.isnan(logits).any():
        raise ValueError("model: its logits are NaN on the first prompt; give weights that are finite")
    gap = float((logits[0, :-1] - logits[1, :-1]).abs().nan_to_num(0.0).max())
    if gap > 16 * torch.finfo(logits.dtype).eps * max(
        1.0, float(logits.abs().nan_to_num(0.0, 0.0, 0.0).max())
    ):
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
