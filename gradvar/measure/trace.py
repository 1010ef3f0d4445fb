"""tr Cov of per-rollout scores, the cheapest way: no score is formed, and no token after a rollout's last one is fed.

Norms come from factors (see ``ghost``), the mean from one product over all rows of a chunk. Rollouts are taken in the
order of their lengths, so that a chunk ends where its longest one does: where lengths are spread evenly between a
quarter and the whole, that leaves a third of the work out.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from gradvar.measure.ghost import Choice, LeafPlan, describe, logprobs, norms_and_sum, plan_of, trace_policy
from gradvar.measure.tapped import Tapped
from gradvar.types import Policy

_TOKENS = 512  # of a chunk: what it writes and reads again stays near the processor
_LENGTHS = 8  # different lengths of chunks at most, each a program to compile


@dataclass(frozen=True, eq=False)
class ScoreTrace:
    """How much per-rollout gradients scatter.

    ``norms`` [row]: every row's squared norm. ``mean``: the mean gradient, shaped as the parameters.
    ``trace_cov``: the unbiased estimate of tr Cov, and ``se`` its standard error, by the jackknife over rows
    (NaN where it was not asked for). ``plan``: how each parameter array was treated, and the counts behind that.
    """

    norms: Float[np.ndarray, " row"]
    mean: PyTree
    trace_cov: float
    se: float
    plan: tuple[LeafPlan, ...]

    def __str__(self) -> str:
        return f"tr Cov {self.trace_cov:.4g} +- {self.se:.2g} over {len(self.norms)} rollouts\n{describe(self.plan)}"


def score_trace(
    policy: Policy,
    params: PyTree,
    prompts: PyTree,
    completions: Int[Array, "row time"],
    weights: Float[Array, "row time"] | None = None,
    *,
    way: Choice = "auto",
    chunk: int | None = None,
    error: bool = True,
) -> ScoreTrace:
    """tr Cov of the gradients of sum_t weights[i, t] log pi(token t of row i), over independent rows i.

    ``prompts``: one for every row, along the leading axis. ``weights``: one (up to the stop token) by default, which
    makes the gradients scores; advantages, for the gradients of REINFORCE. ``way``: "ghost" (norms from products of
    factors, arXiv 1510.01799), "formed" (each row's gradient, one parameter array at a time), or "auto", the one with
    fewer operations for each array. ``chunk``: rows of a pass. ``error=False`` saves the forward-mode pass (a third
    of the time) that the standard error takes.

    A policy with a true ``causal`` attribute (token log-probabilities depend on nothing that comes later) is given
    completions that are cut off after the last weight. Raises ``ValueError`` for shapes that do not fit.
    """
    completions = np.asarray(completions)
    weights = np.asarray(policy.mask(completions) if weights is None else weights)
    weights = weights.astype(jnp.result_type(*jax.tree.leaves(params)))
    _check(prompts, completions, weights, chunk)
    rows, time = completions.shape
    ends = np.where(weights.any(1), time - np.argmax(weights[:, ::-1] != 0, 1), 1)
    ends = ends if getattr(policy, "causal", False) else np.full(rows, time)
    few = chunk or max(1, min(rows, _TOKENS // time))
    chunks = list(_chunks(ends, few, time))
    total: Any = [jnp.zeros(x.shape, x.dtype) for x in jax.tree.leaves(params)]
    norms = np.zeros(rows)
    given = (prompts, completions, weights)
    found = []
    for at, length in chunks:
        tapped, ways = _program(policy, params, prompts, length, way)
        squares, total = _add((tapped, params, *_cut(given, at, few, length), ways), total)
        found.append(squares)
    for (at, _), squares in zip(chunks, found, strict=True):
        norms[at] = squares[: len(at)]
    sums = jax.tree.unflatten(jax.tree.structure(params), total)
    square = float(sum(np.sum(np.asarray(x, np.float64) ** 2) for x in total))
    se = float("nan")
    if error:
        along = np.zeros(rows)
        for at, length in chunks:
            along[at] = _along((policy, params, *_cut(given, at, few, length)), sums)[: len(at)]
        se = _jackknife(norms, along, square)
    plan = plan_of(_tapped(policy, params, prompts, max(length for _, length in chunks)), params, way)
    mean = jax.tree.map(lambda x: np.asarray(x) / rows, sums)
    return ScoreTrace(norms, mean, (float(norms.sum()) - square / rows) / (rows - 1), se, plan)


def _check(prompts: PyTree, completions: np.ndarray, weights: np.ndarray, chunk: int | None) -> None:
    if completions.ndim != 2 or completions.shape[0] < 3:
        raise ValueError(f"completions: shape {completions.shape}; give [row, time] with 3 rows at least")
    if not np.issubdtype(completions.dtype, np.integer) or completions.min() < 0:
        least = completions.min()
        raise ValueError(
            f"completions: {completions.dtype}, {least} the least; give integer tokens from 0 on"
        )
    if weights.shape != completions.shape:
        raise ValueError(
            f"weights: shape {weights.shape} for completions {completions.shape}; give one per token"
        )
    if not np.isfinite(weights).all():
        row = int(np.argmin(np.isfinite(weights).all(1)))
        raise ValueError(
            f"weights: row {row} holds {weights[row][~np.isfinite(weights[row])][0]}; give finite numbers"
        )
    for leaf in jax.tree.leaves(prompts):
        if not leaf.ndim or len(leaf) != len(completions):
            raise ValueError(
                f"prompts: shape {leaf.shape} for {len(completions)} rows; give one prompt per row"
            )
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk: {chunk} rows per pass; give 1 or more")


def _chunks(ends: np.ndarray, few: int, time: int) -> Iterator[tuple[np.ndarray, int]]:
    """Rows by falling length, ``few`` at a time, and how much of the time axis they need, rounded up."""
    step = -(-time // _LENGTHS)
    order = np.argsort(-ends, kind="stable")
    for start in range(0, len(ends), few):
        at = order[start : start + few]
        yield at, min(time, -(-int(ends[at[0]]) // step) * step)


def _cut(given: tuple[PyTree, np.ndarray, np.ndarray], at: np.ndarray, few: int, length: int) -> tuple:
    """The rows at ``at``, filled up to ``few`` with rows of no weight, and the first ``length`` tokens."""
    prompts, completions, weights = given
    filled = np.concatenate([at, np.full(few - len(at), at[0])])
    kept = weights[filled, :length] * (np.arange(few) < len(at))[:, None]
    return (
        jax.tree.map(lambda x: x[filled], prompts),
        completions[filled, :length],
        kept.astype(weights.dtype),
    )


def _program(
    policy: Policy, params: PyTree, prompts: PyTree, length: int, way: Choice
) -> tuple[Tapped, tuple]:
    tapped = _tapped(policy, params, prompts, length)
    return tapped, tuple(p.way for p in plan_of(tapped, params, way))


def _tapped(policy: Policy, params: PyTree, prompts: PyTree, length: int) -> Tapped:
    """The traced policy, the same object for equal policies and shapes, so that nothing is compiled twice."""

    def shapes(tree: PyTree) -> tuple:
        leaves, structure = jax.tree.flatten(tree)
        return structure, tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in leaves)

    precise = jnp.result_type(float) == jnp.float64
    traced = _traced if isinstance(policy, Hashable) else _traced.__wrapped__
    return traced(policy, shapes(params), shapes(prompts), length, precise)


@lru_cache(maxsize=64)
def _traced(policy: Policy, params: tuple, prompts: tuple, length: int, precise: bool) -> Tapped:
    return trace_policy(policy, *(jax.tree.unflatten(*tree) for tree in (params, prompts)), length)


@partial(eqx.filter_jit, donate="all-except-first")
def _add(fixed: tuple, total: list[Array]) -> tuple[Float[Array, " row"], list[Array]]:
    norms, sums = norms_and_sum(*fixed)
    return norms, [a + b for a, b in zip(total, sums, strict=True)]


@eqx.filter_jit
def _along(fixed: tuple, direction: PyTree) -> Float[Array, " row"]:
    """Every row's gradient times ``direction``, in forward mode."""
    policy, params, prompts, completions, weights = fixed

    def one(prompt: PyTree, completion: Array, weight: Array) -> Array:
        moved = jax.jvp(lambda p: logprobs(policy, p, prompt, completion), (params,), (direction,))[1]
        return jnp.sum(moved * weight)

    return jax.vmap(one)(prompts, completions, weights)


def _jackknife(norms: np.ndarray, along: np.ndarray, square: float) -> float:
    """Of tr Cov, from ||s_i||^2, s_i . S and ||S||^2, where S is the sum of the rows' s_i."""
    n = len(norms)
    without = (norms.sum() - norms - (square - 2 * along + norms) / (n - 1)) / (n - 2)
    return float(np.sqrt((n - 1) / n * np.sum((without - without.mean()) ** 2)))
