"""A score bank of a PyTorch model's rollouts: the same arrays as ``gradvar.measure.record`` makes of a JAX policy."""

import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jaxtyping import Float

from gradvar.core.estimator import Estimator, Objective, as_estimator
from gradvar.files.fingerprint import describe, digest
from gradvar.gradients.sketch import Gram, PerToken, Sketch, Whole, describe_map
from gradvar.measure.bank.bank import ScoreBank
from gradvar.measure.bank.basis import find_basis
from gradvar.measure.bank.data import BasisRows, Recording, Rollouts
from gradvar.measure.bank.recorder import ShardPart, default_tolerance
from gradvar.measure.bank.score import CHUNK, WHOLE, assemble
from gradvar.torch import sharded
from gradvar.torch.arrays import TorchRollouts, arrays_of
from gradvar.torch.gradients import RowGradients, Way
from gradvar.torch.model import (
    Only,
    check_model,
    check_temperature,
    chosen,
    evaluating,
    row_logprobs,
    rows_of_pass,
)
from gradvar.torch.parts import check_parts, map_of_parts, range_of, record_part, weights_of


@dataclass(frozen=True, kw_only=True)
class TorchSettings:
    """What may be chosen about a recording besides what it is of.

    ``temperature``: the logits are divided by it. ``drawn``: true if the prompts are a sample of all there are, false
    if they are all there is. ``cuts``: ratios at which the bank serves every token-level clip. ``memory``: the most
    bytes that may be held. ``chunk``: rows of a pass. ``way``: how per-row gradients are formed, see
    ``gradvar.torch.gradients``. ``tolerance``: the relative residual of token weights (default 1e-9 in float64, 2e-6 in
    float32). ``seed``: of a sketch. ``part`` with a ``folder``: record only this part of the prompts, as a shard of the
    folder, which processes that know nothing of each other may share; the bank is of what is there by then. Processes
    that hold a model together record a part together, and the first one writes it.
    """

    temperature: float = 1.0
    drawn: bool = True
    cuts: Sequence[float] = ()
    memory: float = 4e9
    chunk: int | None = None
    way: Way = "auto"
    tolerance: float | None = None
    seed: int = 0
    folder: str | Path | None = None
    part: ShardPart | None = None


def record(
    model: torch.nn.Module,
    rollouts: TorchRollouts,
    rewards: Any,
    fields: Mapping[str, Any] | None = None,
    *,
    only: Only = None,
    estimators: Sequence[Estimator | Objective] = (),
    scores: Whole | Gram | Sketch | Literal["auto"] = "auto",
    settings: TorchSettings | None = None,
) -> ScoreBank:
    """Record the scores of given rollouts at the model's present weights, as a bank to evaluate estimators on.

    Gradients are in the precision of the weights: for figures that are meant to be exact give ``model.float()`` or
    ``model.double()``, not half precision. The model is run in evaluation mode and left as it was.

    Args:
        model: Any causal module that takes token ids [row, token] and gives logits [row, token, vocab], as such or as
            ``.logits``; Hugging Face's do.
        rollouts: What ``as_rollouts`` made of prompts and completions; 4 independent ones of each prompt at least.
        rewards: [prompt, rollout], or by row.
        fields: Optional fields of ``Batch``, by name. ``logp_old`` and ``logp_ref`` [prompt, rollout, time] are those
            of the policy that sampled (by default the present one: on policy) and of the reference (by default the old
            one), at the same temperature; ``logp_sampler`` are those that the sampling engine reported, for
            corrections (``gv.pieces.corrections``); ``values``, ``greedy_rewards`` and ``baseline`` serve estimators
            that need them.
        only: Which parameters are differentiated, by a pattern found in the name (``"lora_"``,
            ``r"layers\\.(22|23)\\."``) or a function of name and parameter; by default those that require a gradient.
            Every figure of the bank is then about those parameters, and ``print(bank)`` says so.
        estimators: Whose token weights the bank must serve.
        scores: What is kept of scores, as in ``gradvar.measure.record``.
        settings: Temperature, memory, and how gradients are formed.

    Raises:
        ValueError: In one line, on what does not fit, before gradients are taken where possible.
    """
    started, settings = time.perf_counter(), settings or TorchSettings()
    if isinstance(scores, PerToken):
        raise ValueError(
            f"scores: {scores} is not made from PyTorch models; give Whole(), Gram() or Sketch()"
        )
    check_temperature(settings.temperature)
    if rollouts.shape[1] < 4:
        raise ValueError(
            f"completions: {rollouts.shape[1]} rollouts of each prompt; a bank needs at least 4, two groups of two"
        )
    sharded.reshard(model)
    parameters = chosen(model, only)
    size = sum(p.numel() for p in parameters.values())
    if settings.folder is not None:
        by_prompt = arrays_of(rollouts, rewards, fields or {})
        return _record_part(model, parameters, rollouts, by_prompt, (only, estimators, scores, settings))
    served = tuple(as_estimator(e) for e in estimators)
    with evaluating(model):
        pass_rows = settings.chunk or rows_of_pass(rollouts, check_model(model, rollouts))
        logp = _logprobs(model, rollouts, settings.temperature, pass_rows)
        recorded = _recorded(rollouts, rewards, fields or {}, logp)
        sampled = time.perf_counter()
        tolerance = settings.tolerance or default_tolerance(recorded)
        rows = BasisRows.of(find_basis(recorded, served, settings.cuts, tolerance / 4))
        if sharded.is_sharded(parameters) and scores == "auto":
            scores = Sketch()
        scores = _choose_map(scores, rows, size, settings.memory)
        gradients = RowGradients(model, parameters, settings.temperature, settings.way)
        chunk = settings.chunk or max(1, min(pass_rows, CHUNK // (size * rows.basis.dtype.itemsize)))
        if sharded.is_sharded(parameters):
            images = _sharded_images(model, list(parameters), rollouts, rows, scores, settings)
            gradients.way = "loop"
        else:
            images = _images(gradients, rollouts, rows, scores, settings.seed, chunk)
        held = assemble(rows, images, scores, size)
    arrays = len(list(model.parameters()))
    info = {
        **describe_map(scores),
        "seed": settings.seed,
        "params": size,
        "rows": rows.count,
        "basis": int(rows.basis.shape[2]),
        "on_policy": all((fields or {}).get(name) is None for name in ("logp_old", "logp_sampler")),
        "estimators": [e.name for e in served],
        "cuts": list(settings.cuts),
        "policy": type(model).__name__,
        "task": "given rollouts",
        "only": _name_of(only),
        "parameters": list(parameters),
        "seconds": {"log-probabilities": sampled - started, "scores": time.perf_counter() - sampled},
        "way": f"torch {gradients.way} on {len(parameters)} of {arrays} parameter arrays"
        + (f" (only={_name_of(only)})" if only is not None else ""),
        "passed_over": gradients.passed_over,
        "versions": {
            "torch": torch.__version__, "jax": jax.__version__, "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "device": str(next(iter(parameters.values())).device),
    }  # fmt: skip
    return ScoreBank(Recording(recorded, rows, held, settings.drawn, tolerance, info))


def _record_part(
    model: torch.nn.Module,
    parameters: Mapping[str, torch.Tensor],
    rollouts: TorchRollouts,
    arrays: Mapping[str, np.ndarray],
    plan: tuple[
        Only, Sequence[Estimator | Objective], Whole | Gram | Sketch | Literal["auto"], TorchSettings
    ],
) -> ScoreBank:
    """Record the part of the prompts that the settings name, into their folder; ``arrays``: rewards and fields."""
    only, estimators, scores, settings = plan
    check_parts(parameters, scores)
    alone, (prompts, count, _) = replace(settings, folder=None, part=None), rollouts.shape
    map_ = map_of_parts(scores, 4 * prompts * count * sum(p.numel() for p in parameters.values()), parameters)
    facts = {
        "tokens": digest([rollouts.tokens, rollouts.completions, rollouts.mask]),
        "arrays": digest(dict(arrays)),
        "weights": weights_of(parameters),
        "estimators": [describe(as_estimator(e)) for e in estimators],
        "scores": describe_map(map_),
        **{
            name: describe(getattr(alone, name))
            for name in ("temperature", "drawn", "cuts", "tolerance", "seed")
        },
    }

    def recorded(range_: slice) -> Recording:
        fields = range_of(arrays, range_)
        rewards = fields.pop("rewards")
        bank = record(
            model,
            rollouts.of(range_),
            rewards,
            fields,
            only=only,
            estimators=estimators,
            scores=map_,
            settings=alone,
        )
        return bank.recording

    part = settings.part or ShardPart(1, 1)
    together = sharded.is_sharded(parameters)
    return ScoreBank(record_part(Path(str(settings.folder)), part, facts, prompts, recorded, together))


def _logprobs(
    model: torch.nn.Module, rollouts: TorchRollouts, temperature: float, chunk: int
) -> Float[np.ndarray, "prompt rollout time"]:
    """Log-probabilities, in double precision where model and JAX have it."""
    with torch.no_grad():
        parts = [x.cpu() for x in row_logprobs(model, rollouts, temperature, chunk)]
    logp = torch.cat(parts).numpy().reshape(rollouts.shape)
    is_double = logp.dtype == np.float64 and jnp.result_type(float) == jnp.float64
    return logp.astype(np.float64 if is_double else np.float32)


def _recorded(
    rollouts: TorchRollouts,
    rewards: Any,
    fields: Mapping[str, Any],
    logp: Float[np.ndarray, "prompt rollout time"],
) -> Rollouts:
    """Everything that objectives look at, in one precision."""
    arrays = {name: array.astype(logp.dtype) for name, array in arrays_of(rollouts, rewards, fields).items()}
    arrays = {"logp_old": logp} | arrays
    arrays = {"logp_ref": arrays["logp_old"]} | arrays
    return Rollouts(
        prompts=rollouts.prompts, completions=rollouts.completions, mask=rollouts.mask, logp=logp, **arrays
    )


def _choose_map(
    scores: Whole | Gram | Sketch | Literal["auto"], rows: BasisRows, size: int, memory: float
) -> Whole | Gram | Sketch:
    """Resolve "auto"; raise ``ValueError``, before gradients are taken, for what would not fit."""
    item, (prompts, width) = rows.basis.dtype.itemsize, rows.shape
    vectors = (rows.count + prompts * width) * size * item  # as they come, and laid out by prompt
    gram = rows.count * size * item + (prompts * width) ** 2 * item
    if scores == "auto":
        scores = Whole() if vectors <= min(WHOLE, memory) else Gram() if gram <= memory else Sketch()
    if isinstance(scores, Sketch):
        need = 2 * rows.count * scores.width * item
    else:
        need = gram if isinstance(scores, Gram) else vectors
    if need > memory:
        raise ValueError(
            f"memory: {need / 1e9:.2f} GB for {rows.count} rows of {size} parameters with scores={scores}, and "
            f"{memory / 1e9:.2f} GB are allowed; give scores=Sketch('hashed'), fewer rollouts or parameters "
            "(only=...), or more"
        )
    return scores


def _images(
    gradients: RowGradients,
    rollouts: TorchRollouts,
    rows: BasisRows,
    scores: Whole | Gram | Sketch,
    seed: int,
    chunk: int,
) -> Iterator[Float[np.ndarray, "chunk image"]]:
    """Yield the image of each used row's score, a chunk at a time."""
    prompt, row = rows.places()
    rollout, basis_index = rows.rollout[prompt, row], rows.basis_index[prompt, row]
    numbers = prompt * rollouts.shape[1] + rollout
    image: Callable[[np.ndarray], np.ndarray] = np.asarray
    if isinstance(scores, Sketch):
        sketch, key = scores, jax.random.key(seed)
        image = lambda x: np.asarray(sketch.image(jnp.asarray(x), key))  # noqa: E731
    for part in gradients.rows(rollouts, numbers, rows.basis[prompt, rollout, basis_index], chunk):
        yield image(part.astype(rows.basis.dtype, copy=False))


def _sharded_images(
    model: torch.nn.Module,
    names: list[str],
    rollouts: TorchRollouts,
    rows: BasisRows,
    scores: Whole | Gram | Sketch,
    settings: TorchSettings,
) -> Iterator[Float[np.ndarray, "1 image"]]:
    """Yield the image of each used row's score, where processes hold a part of the parameters each."""
    if not isinstance(scores, Sketch):
        raise ValueError(
            f"scores: {scores} with parameters that are cut over processes; give scores=Sketch('hashed')"
        )
    prompt, row = rows.places()
    rollout, basis_index = rows.rollout[prompt, row], rows.basis_index[prompt, row]
    listed = prompt * rollouts.shape[1] + rollout, rows.basis[prompt, rollout, basis_index]
    seed, temperature = settings.seed, settings.temperature
    return sharded.sharded_images(model, names, rollouts, listed, scores, seed=seed, temperature=temperature)


def _name_of(only: Only) -> str | None:
    return only if only is None or isinstance(only, str) else getattr(only, "__qualname__", repr(only))
