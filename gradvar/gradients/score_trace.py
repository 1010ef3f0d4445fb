"""``score_trace``: tr Cov of per-rollout scores, without forming a score or feeding a token after a rollout's last one.

Norms come from factors (``ghost_norms``), the mean from one product over all rows of a chunk. Rollouts are taken in the
order of their lengths, so that a chunk ends where its longest one does: with lengths distributed evenly between a
quarter and the full length, that saves a fifth of the work.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from gradvar.core.checks import at_least
from gradvar.core.protocols import Policy
from gradvar.gradients import ghost_norms as ghost
from gradvar.gradients.factors import Tapped

_TOKENS = 1024  # of a chunk: what it writes and reads again stays near the processor
_LENGTHS = 4  # different lengths of chunks at most: each is compiled


@dataclass(frozen=True, eq=False)
class ScoreTrace:
    """The scatter of per-rollout gradients.

    ``norms`` [row]: every row's squared norm. ``mean``: the mean gradient, shaped as the parameters.
    ``trace_cov``: the unbiased estimate of tr Cov, and ``se`` its standard error, by the jackknife over rows
    (NaN where it was not asked for). ``plan``: how each parameter array was treated, and the counts behind that.
    """

    norms: Float[np.ndarray, " row"]
    mean: PyTree
    trace_cov: float
    se: float
    plan: tuple[ghost.LeafPlan, ...]

    def __str__(self) -> str:
        figures = f"tr Cov {self.trace_cov:.4g} +- {self.se:.2g} over {len(self.norms)} rollouts"
        return f"{figures}\n{ghost.describe(self.plan)}"


def score_trace(
    policy: Policy,
    params: PyTree,
    prompts: PyTree,
    completions: Int[Array, "row time"],
    weights: Float[Array, "row time"] | None = None,
    *,
    way: ghost.Choice = "auto",
    chunk: int | None = None,
    error: bool = True,
) -> ScoreTrace:
    """Estimate tr Cov of the gradients of sum_t weights[i, t] log pi(token t of row i), over independent rows i.

    Args:
        policy: whose log-probabilities are differentiated. One with a true ``causal`` attribute (token
            log-probabilities depend on nothing that comes later) gets completions that are cut off after the last
            weight.
        params: its parameters.
        prompts: one for every row, along the leading axis.
        completions: the tokens of every row.
        weights: one (up to the stop token) by default, which makes the gradients scores; advantages, for the gradients
            of REINFORCE.
        way: "ghost" (norms from products of factors, arXiv 1510.01799), "formed" (each row's gradient, one parameter
            array at a time), or "auto", the one with fewer operations for each array.
        chunk: rows of a pass.
        error: if the standard error is wanted, which takes a forward-mode pass (a third of the time).

    Raises:
        ValueError: for shapes that do not fit.
    """
    tokens = np.asarray(completions)
    token_weights = np.asarray(policy.mask(completions) if weights is None else weights)
    token_weights = token_weights.astype(jnp.result_type(*jax.tree.leaves(params)))
    _check(prompts, tokens, token_weights, chunk)
    _run_policy_checks(policy, params, prompts, tokens)
    rows, time = tokens.shape
    width = chunk or max(1, min(rows, _TOKENS // time))  # rows of a chunk
    ends = _ends(token_weights) if getattr(policy, "causal", False) else np.full(rows, time)
    order, parts = _parts(ends, width, time)
    data = _chunked((prompts, tokens, token_weights), order, width)
    lengths, bounds = tuple(length for length, _, _ in parts), jnp.array([part[1:] for part in parts])
    tapped = tuple(_tapped(policy, params, prompts, length) for length in lengths)
    plans = [ghost.plan_of(program, params, way) for program in tapped]
    ways = tuple(tuple(p.way for p in plan) for plan in plans)
    squares, total = _norms(tapped, params, data, bounds, lengths, ways)
    norms = np.zeros(rows)
    norms[order] = np.asarray(squares).reshape(-1)[:rows]
    sums = jax.tree.unflatten(jax.tree.structure(params), total)
    square = float(sum(np.sum(np.asarray(x, np.float64) ** 2) for x in total))
    se = float("nan")
    if error:
        along = np.zeros(rows)
        along[order] = np.asarray(_along(policy, params, data, bounds, lengths, sums)).reshape(-1)[:rows]
        se = _jackknife(norms, along, square)
    mean = jax.tree.map(lambda x: np.asarray(x) / rows, sums)
    return ScoreTrace(norms, mean, (float(norms.sum()) - square / rows) / (rows - 1), se, plans[0])


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
    if chunk is not None:
        at_least("chunk", chunk, 1)


def _run_policy_checks(policy: Policy, params: PyTree, prompts: PyTree, tokens: np.ndarray) -> None:
    """Let the policy check tokens, which it can outside a trace only, on the rows that hold the largest ones."""
    tables = [np.asarray(x).reshape(len(tokens), -1) for x in (tokens, *jax.tree.leaves(prompts))]
    rows = np.unique([int(np.argmax(table.max(1))) for table in tables if table.size])
    policy.logprobs(params, jax.tree.map(lambda x: x[rows], prompts), tokens[rows][:, None])


def _ends(weights: Float[np.ndarray, "row time"]) -> Int[np.ndarray, " row"]:
    """One more than where each row's last weight is; 1 where there is none."""
    last = weights.shape[1] - np.argmax(weights[:, ::-1] != 0, 1)
    return np.where(weights.any(1), last, 1)


def _parts(ends: np.ndarray, width: int, time: int) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """Rows by falling length, and the chunks of ``width`` that need as much of the time axis, rounded up:
    (length, first chunk, end).
    """
    order = np.argsort(-ends, kind="stable")
    step = -(-time // _LENGTHS)
    needed = np.minimum(time, -(-ends[order[::width]] // step) * step)
    parts = []
    for length in sorted(set(needed.tolist()), reverse=True):
        chunks = np.flatnonzero(needed == length)
        parts.append((length, int(chunks[0]), int(chunks[-1]) + 1))
    return order, parts


def _chunked(data: tuple, order: np.ndarray, width: int) -> tuple:
    """Prompts, completions and weights in ``order``, [chunk, row, ...], filled up with rows of no weight."""
    filled = np.concatenate([order, np.full(-len(order) % width, order[-1])])
    prompts, completions, weights = jax.tree.map(lambda x: jnp.asarray(x[filled]), data)
    weights = weights.at[len(order) :].set(0)
    return jax.tree.map(lambda x: x.reshape(-1, width, *x.shape[1:]), (prompts, completions, weights))


def _tapped(policy: Policy, params: PyTree, prompts: PyTree, length: int) -> Tapped:
    """The traced policy, the same object for equal policies and shapes, so that nothing is compiled twice."""

    def shapes(tree: PyTree) -> tuple:
        leaves, structure = jax.tree.flatten(tree)
        return structure, tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in leaves)

    precise = jnp.result_type(float) == jnp.float64
    key: Any = policy  # hashable, as all compiled code needs policies to be
    return _traced(key, shapes(params), shapes(prompts), length, precise)


@lru_cache(maxsize=64)
def _traced(policy: Any, params: tuple, prompts: tuple, length: int, precise: bool) -> Tapped:
    # ``precise`` only keeps apart what was traced with and without 64 bits
    return ghost.trace_policy(policy, jax.tree.unflatten(*params), jax.tree.unflatten(*prompts), length)


@eqx.filter_jit
def _norms(
    tapped: tuple[Tapped, ...],
    params: PyTree,
    data: tuple,
    bounds: Int[Array, "length 2"],
    lengths: tuple[int, ...],
    ways: tuple[tuple[str, ...], ...],
) -> tuple[Float[Array, "chunk row"], list[Array]]:
    """Every row's squared norm, and the sum of all; one program, so that all chunks use the same memory."""
    all_norms = jnp.zeros(data[2].shape[:2], data[2].dtype)  # [chunk, row]
    total = [jnp.zeros(x.shape, x.dtype) for x in jax.tree.leaves(params)]

    def add_chunk(number: Array, state: tuple, part: int) -> tuple:
        rows = _chunk(data, number, lengths[part])
        norms, sums = ghost.norms_and_sum(tapped[part], params, *rows, ways[part])
        return state[0].at[number].set(norms), [a + b for a, b in zip(state[1], sums, strict=True)]

    for part in range(len(lengths)):
        all_norms, total = _loop(bounds[part], partial(add_chunk, part=part), (all_norms, total))
    return all_norms, total


@eqx.filter_jit
def _along(
    policy: Policy, params: PyTree, data: tuple, bounds: Array, lengths: tuple[int, ...], direction: PyTree
) -> Float[Array, "chunk row"]:
    """Every row's gradient times ``direction``, in forward mode."""

    def product(prompt: PyTree, completion: Array, weight: Array) -> Array:
        tangent = jax.jvp(lambda p: ghost.logprobs(policy, p, prompt, completion), (params,), (direction,))[1]
        return jnp.sum(tangent * weight)

    def fill_chunk(number: Array, products: Array, length: int) -> Array:
        return products.at[number].set(jax.vmap(product)(*_chunk(data, number, length)))

    products = jnp.zeros(data[2].shape[:2], data[2].dtype)  # [chunk, row]
    for part, length in enumerate(lengths):
        products = _loop(bounds[part], partial(fill_chunk, length=length), products)
    return products


def _loop(bounds: Int[Array, " 2"], body: Callable[[Array, Any], Any], state: Any) -> Any:
    loop: Any = jax.lax.fori_loop  # its annotations allow only whole numbers as bounds
    return loop(bounds[0], bounds[1], body, state)


def _chunk(data: tuple, number: Array, length: int) -> tuple[PyTree, Array, Array]:
    prompts, completions, weights = jax.tree.map(lambda x: x[number], data)
    return prompts, completions[:, :length], weights[:, :length]


def _jackknife(norms: np.ndarray, along: np.ndarray, square: float) -> float:
    """The standard error of tr Cov, from ||s_i||^2, s_i . S and ||S||^2, where S is the sum of the rows' s_i."""
    n = len(norms)
    without = (norms.sum() - norms - (square - 2 * along + norms) / (n - 1)) / (n - 2)
    return float(np.sqrt((n - 1) / n * np.sum((without - without.mean()) ** 2)))
