"""A score bank of a PyTorch model's rollouts: the same arrays as ``gradvar.measure.record`` makes of a JAX policy."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jaxtyping import Float

from gradvar.core.estimator import Estimator, Objective, as_estimator
from gradvar.gradients.per_rollout import Sketch
from gradvar.measure.bank.bank import Rows, ScoreBank, Scores
from gradvar.measure.bank.record import find_basis
from gradvar.measure.bank.sample import Pool
from gradvar.torch import gradients as passes
from gradvar.torch.arrays import Given, arrange, by_rollout
from gradvar.torch.gradients import Way
from gradvar.torch.model import (
    Only,
    check_model,
    check_temperature,
    chosen,
    evaluating,
    few_rows,
    row_logprobs,
)

Map = Literal["auto", "identity", "gram", "rademacher", "gaussian", "hashed"]
_MAPS = ("auto", "identity", "gram", "rademacher", "gaussian", "hashed")
_IDENTITY = 1 << 28  # bytes of whole scores below which they are simply kept
_CHUNK = 1 << 27  # bytes of scores made at a time


def record(
    model: torch.nn.Module,
    prompts: Any,
    completions: Any,
    rewards: Any,
    *,
    prompt_mask: Any = None,
    mask: Any = None,
    stop: int | None = None,
    group: int | None = None,
    logp_old: Any = None,
    logp_ref: Any = None,
    values: Any = None,
    greedy_rewards: Any = None,
    baseline: Any = None,
    temperature: float = 1.0,
    only: Only = None,
    estimators: Sequence[Estimator | Objective] = (),
    cuts: Sequence[float] = (),
    drawn: bool = True,
    map: Map = "auto",
    width: int = 1024,
    cross: bool = True,
    memory: float = 4e9,
    chunk: int | None = None,
    way: Way = "auto",
    tolerance: float | None = None,
    seed: int = 0,
) -> ScoreBank:
    """The scores of given rollouts at the model's present weights, as a bank to evaluate estimators on.

    ``model``: any causal module that takes token ids [row, token] and gives logits [row, token, vocab], as such or as
    ``.logits``; Hugging Face's do. ``prompts`` [prompt, past] and ``completions`` [prompt, rollout, time] are token
    ids (tensors or arrays), at least 4 independent rollouts of each prompt; or both by row, as trainers keep them,
    with ``group`` rows of each prompt in turn. ``prompt_mask`` is false where prompts are padded, on the left; ``mask``
    is true where a completion's token counts (without one: up to and including the first ``stop``). ``rewards``
    [prompt, rollout]. ``logp_old`` and ``logp_ref`` [prompt, rollout, time] are those of the policy that sampled (by
    default the present one: on policy) and of the reference (by default the old one), at the same ``temperature``.
    ``values``, ``greedy_rewards``, ``baseline``: as in ``Batch``, for estimators that need them. ``drawn``: whether
    the prompts are a sample of all there are, or all there is.

    ``only``: which parameters are differentiated, by a pattern found in the name (``"lora_"``,
    ``r"layers\\.(22|23)\\."``) or a function of name and parameter; by default those that require a gradient. Every
    figure of the bank is then about those parameters, and ``print(bank)`` says so.

    ``estimators``, ``cuts``, ``map``, ``width``, ``cross``, ``memory`` (bytes), ``tolerance``: as in
    ``gradvar.measure.record``. ``chunk``: rows of a pass. ``way``: how per-row gradients are formed, see
    ``gradvar.torch.gradients``. Gradients are in the precision of the weights: for figures that are meant to be exact
    give ``model.float()`` or ``model.double()``, not half precision. The model is run in evaluation mode and left as
    it was. Raises ``ValueError``, in one line, on what does not fit, before gradients are taken where possible.
    """
    started = time.perf_counter()
    if map not in _MAPS:
        raise ValueError(f"map: '{map}' is not made from PyTorch models; choose one of {', '.join(_MAPS)}")
    check_temperature(temperature)
    given = arrange(prompts, completions, prompt_mask, mask, stop, group)
    if given.shape[1] < 4:
        raise ValueError(
            f"completions: {given.shape[1]} rollouts of each prompt; a bank needs at least 4, two groups of two"
        )
    parameters = chosen(model, only)
    served = tuple(as_estimator(e) for e in estimators)
    with evaluating(model):
        few = chunk or few_rows(given, check_model(model, given))
        extras = {"values": values, "greedy_rewards": greedy_rewards, "baseline": baseline}
        pool = _pool(model, given, rewards, logp_old, logp_ref, extras, temperature, few)
        sampled = time.perf_counter()
        tolerance = tolerance or (1e-9 if pool.logp.dtype == np.float64 else 2e-6)
        rows = Rows.of(find_basis(pool, served, cuts, tolerance / 4))
        size = sum(p.numel() for p in parameters.values())
        kept = _resolve(map, rows, size, width, memory, cross)
        scores = passes.Scores(model, parameters, temperature, way)
        few = chunk or max(1, min(few, _CHUNK // (size * rows.basis.dtype.itemsize)))
        held = _scores(scores, given, rows, kept, size, width, seed, cross, few)
    info = {
        "map": kept, "width": width, "seed": seed, "params": size, "rows": rows.count,
        "basis": int(rows.basis.shape[2]), "cross": cross, "on_policy": logp_old is None,
        "estimators": [e.name for e in served], "cuts": list(cuts), "policy": type(model).__name__,
        "task": "given rollouts", "only": _named(only), "parameters": list(parameters),
        "seconds": {"log-probabilities": sampled - started, "scores": time.perf_counter() - sampled},
        "way": f"torch {scores.way} on {len(parameters)} of {len(list(model.parameters()))} parameter arrays"
        + (f" (only={_named(only)})" if only is not None else ""),
        "passed_over": scores.passed_over,
        "versions": {
            "torch": torch.__version__, "jax": jax.__version__, "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "device": str(next(iter(parameters.values())).device),
    }  # fmt: skip
    return ScoreBank(pool, rows, held, drawn, tolerance, info)


def _pool(
    model: torch.nn.Module, given: Given, rewards: Any, logp_old: Any, logp_ref: Any, extras: dict[str, Any],
    temperature: float, few: int,
) -> Pool:  # fmt: skip
    """Everything that objectives look at; log-probabilities in double precision where model and JAX have it."""
    shape, (size, rollouts, _) = given.shape, given.shape
    arrays = {"rewards": by_rollout("rewards", rewards, (size, rollouts))}
    for name, array in (("logp_old", logp_old), ("logp_ref", logp_ref)):
        if array is not None:
            arrays[name] = np.where(given.mask, by_rollout(name, array, shape), 0.0)
    for name, array in extras.items():
        if array is not None:
            arrays[name] = by_rollout(name, array, shape if name == "values" else (size,))
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            where = ", ".join(map(str, np.argwhere(~np.isfinite(array))[0]))
            raise ValueError(f"{name}: {array[~np.isfinite(array)][0]} at [{where}]; give finite numbers")
    with torch.no_grad():
        found = torch.cat([x.cpu() for x in row_logprobs(model, given, temperature, few)])
    logp = found.numpy().reshape(shape)
    logp = logp.astype(
        np.float64 if logp.dtype == np.float64 and jnp.result_type(float) == jnp.float64 else np.float32
    )
    arrays = {name: array.astype(logp.dtype) for name, array in arrays.items()}
    arrays = {"logp_old": logp} | arrays
    arrays = {"logp_ref": arrays["logp_old"]} | arrays
    return Pool(prompts=given.prompts, completions=given.completions, mask=given.mask, logp=logp, **arrays)


def _resolve(kind: str, rows: Rows, size: int, width: int, memory: float, cross: bool) -> str:
    """The map that is used; refuses, before gradients are taken, what would not fit."""
    item = rows.basis.dtype.itemsize
    prompts, most = rows.rollout.shape
    whole = (rows.count + prompts * most) * size * item  # as they come, and laid out by prompt
    needs = {"identity": whole, "gram": rows.count * size * item + (prompts * most) ** 2 * item}
    if kind == "auto":
        kind = "identity" if whole <= min(_IDENTITY, memory) else "gram"
        kind = kind if needs[kind] <= memory else "hashed"
    need = needs.get(kind, 2 * rows.count * width * item)
    if need > memory:
        raise ValueError(
            f"memory: {need / 1e9:.2f} GB for {rows.count} rows of {size} parameters with map='{kind}', and "
            f"{memory / 1e9:.2f} GB are allowed; give map='hashed', fewer rollouts or parameters (only=...), or more"
        )
    return kind if kind in ("identity", "gram") else f"sketch {kind}"


def _scores(
    scores: passes.Scores, given: Given, rows: Rows, kept: str, size: int, width: int, seed: int, cross: bool,
    few: int,
) -> Scores:  # fmt: skip
    """Images of all rows, laid out by prompt."""
    dtype = rows.basis.dtype
    at_prompt, at_row = np.nonzero(rows.real)
    at_rollout, at_slot = rows.rollout[at_prompt, at_row], rows.slot[at_prompt, at_row]
    numbers = at_prompt * given.shape[1] + at_rollout
    image: Callable[[np.ndarray], np.ndarray] = np.asarray
    if kept.startswith("sketch"):
        sketch = Sketch(kept.removeprefix("sketch "), width, seed)  # type: ignore[arg-type]
        image = lambda x: np.asarray(sketch(jnp.asarray(x)))  # noqa: E731
    columns = width if kept.startswith("sketch") else size
    found = np.empty((rows.count, columns), dtype)
    done = 0
    for part in scores.rows(given, numbers, rows.basis[at_prompt, at_rollout, at_slot], few):
        found[done : done + len(part)] = image(part.astype(dtype, copy=False))
        done += len(part)
    shape = rows.rollout.shape
    if kept != "gram":
        vectors = np.zeros((*shape, columns), dtype)
        vectors[at_prompt, at_row] = found
        return Scores(vectors=vectors)
    if cross:
        at = at_prompt * shape[1] + at_row
        whole = np.zeros((shape[0] * shape[1],) * 2, dtype)
        whole[np.ix_(at, at)] = found @ found.T
        return Scores(cross=whole.reshape(*shape, *shape))
    gram = np.zeros((*shape, shape[1]), dtype)
    for q, here in _by_prompt(at_prompt):
        gram[q][np.ix_(at_row[here], at_row[here])] = found[here] @ found[here].T
    return Scores(gram=gram)


def _by_prompt(at_prompt: np.ndarray) -> Iterator[tuple[int, Float[np.ndarray, " row"]]]:
    for q in np.unique(at_prompt):
        yield int(q), np.flatnonzero(at_prompt == q)


def _named(only: Only) -> str | None:
    return only if only is None or isinstance(only, str) else getattr(only, "__qualname__", repr(only))
