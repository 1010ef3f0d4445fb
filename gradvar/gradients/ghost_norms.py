"""``norms_and_sum``: norms of per-rollout gradients from their factors, each layer in its cheaper way.

Write a leaf's gradient for one rollout as L^T R, with L [r, a] and R [r, b] over r = prompt and completion
tokens. Its squared norm is sum over token pairs of (L L^T) * (R R^T): r^2 (a + b) multiplications ("ghost"),
against r a b for forming the a x b gradient ("formed"), which also has to be written and read. The choice is
made leaf by leaf from these counts, can be forced, and is reported by ``plan_of``.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from gradvar.core.protocols import Policy
from gradvar.gradients.factors import Factored, Tapped, Use, tap
from gradvar.gradients.squares import pairs

Way = Literal["ghost", "formed"]
Choice = Literal["auto", "ghost", "formed"]

_WRITE = 8.0
"""Multiplications that take as long as to write and read one number of a formed gradient, on two CPUs measured."""


@dataclass(frozen=True)
class LeafPlan:
    """How one parameter array is treated, and why: multiplications per rollout by either way, and numbers ``held``."""

    leaf: int
    shape: tuple[int, ...]
    tokens: int
    way: Literal["ghost", "formed", "direct"]
    ghost_cost: float
    formed_cost: float
    held: int


def trace_policy(policy: Policy, params: PyTree, prompts: PyTree, time: int) -> Tapped:
    """Tap the log-probabilities of one rollout.

    Args:
        policy: whose they are.
        params: its parameters.
        prompts: one or more, along a leading axis; only their shapes count.
        time: tokens of a completion.
    """
    prompt = jax.tree.map(lambda x: jnp.zeros(x.shape[1:], x.dtype), prompts)
    data = (prompt, jnp.zeros((time,), jnp.int32))
    return tap(lambda values, *rollout: logprobs(policy, values, *rollout), params, data)


def logprobs(
    policy: Policy, params: PyTree, prompt: PyTree, completion: Int[Array, " time"]
) -> Float[Array, " time"]:
    """Compute one rollout's log-probabilities.

    Args:
        policy: whose they are.
        params: its parameters.
        prompt: with no leading axis.
        completion: its tokens.
    """
    return policy.logprobs(params, jax.tree.map(lambda x: x[None], prompt), completion[None, None])[0, 0]


def plan_of(tapped: Tapped, params: PyTree, way: Choice = "auto") -> tuple[LeafPlan, ...]:
    """Choose a way for every leaf, or apply the given one, with the counts behind it."""
    plans = []
    for index, leaf in enumerate(jax.tree.leaves(params)):
        if index not in tapped.heavy:
            plans.append(LeafPlan(index, leaf.shape, 0, "direct", 0.0, float(leaf.size), leaf.size))
            continue
        layers = leaf.shape[0] if leaf.ndim == 3 else 1
        tokens = sum(_tokens(use, layers) for use in tapped.uses if use.leaf == index)
        a, b = leaf.shape[-2:]
        ghost = float(layers * tokens**2 * (a + b))
        formed = float(layers * (tokens + _WRITE) * a * b)
        chosen: Way = ("ghost" if ghost < formed else "formed") if way == "auto" else way
        held = layers * (2 * tokens**2 if chosen == "ghost" else a * b)
        plans.append(LeafPlan(index, leaf.shape, tokens, chosen, ghost, formed, held))
    return tuple(plans)


def describe(plans: Sequence[LeafPlan]) -> str:
    """Format the plan as a table, one line per leaf."""
    lines = ["leaf  shape                tokens  way      ghost/Mmul  formed/Mmul"]
    for p in plans:
        shape = "x".join(map(str, p.shape))
        lines.append(
            f"{p.leaf:>4}  {shape:<20} {p.tokens:>6}  {p.way:<7} "
            f"{p.ghost_cost / 1e6:>11.3f} {p.formed_cost / 1e6:>12.3f}"
        )
    return "\n".join(lines)


@eqx.filter_jit
def norms_and_sum(
    tapped: Tapped,
    params: PyTree,
    prompts: PyTree,
    completions: Int[Array, "row time"],
    cotangents: Float[Array, "row time"],
    ways: tuple[str, ...],
) -> tuple[Float[Array, " row"], list[Array]]:
    """Compute ||J^T c||^2 of every row, and the sum of all rows' J^T c leaf by leaf.

    Args:
        tapped: the traced policy.
        params: its parameters.
        prompts: one per row.
        completions: tokens of every row.
        cotangents: the weights c of every token.
        ways: how each leaf is treated, as ``plan_of`` chose.
    """
    inside = {i: ways[i] for i in tapped.once()}
    factored = factors_of_rows(tapped, params, prompts, completions, cotangents, inside)
    leaves = jax.tree.leaves(params)
    norms = sum((jnp.sum(x.reshape(len(x), -1) ** 2, -1) for x in factored.light.values()), factored.squares)
    total = {i: x.sum(0) for i, x in factored.light.items()} | factored.summed
    for index, uses in factored.factors.items():
        left, right = _joined(uses, leaves[index])
        total[index] = jnp.einsum("nlra,nlrb->lab", left, right).reshape(leaves[index].shape)
        if ways[index] == "ghost":
            norms = norms + jnp.sum(pairs(left) * pairs(right), (1, 2, 3))
        else:
            norms = norms + jnp.sum(jnp.einsum("nlra,nlrb->nlab", left, right) ** 2, (1, 2, 3))
    return norms, [total[i] for i in range(len(leaves))]


def factors_of_rows(
    tapped: Tapped,
    params: PyTree,
    prompts: PyTree,
    completions: Array,
    cotangents: Array,
    ways: Mapping[int, str],
) -> Factored:
    """``Tapped.factors`` of every row, along a leading axis; sums over all rows have none.

    Args:
        tapped: the traced policy.
        params: its parameters.
        prompts: one per row.
        completions: tokens of every row.
        cotangents: the weights of every token.
        ways: leaves that are squared in the backward pass, and how.
    """

    def of_row(prompt: PyTree, completion: Array, cotangent: Array) -> tuple:
        row = tapped.factors(params, (prompt, completion), cotangent, ways)
        arrays = {i: [(x, d) for _, x, d in uses] for i, uses in row.factors.items()}
        return arrays, row.light, row.squares, row.summed

    of_rows = jax.vmap(of_row, out_axes=(0, 0, 0, None))
    arrays, light, squares, summed = of_rows(prompts, completions, cotangents)
    uses = {i: [use for use in tapped.uses if use.leaf == i] for i in arrays}
    factors = {
        i: [(use, x, d) for use, (x, d) in zip(uses[i], pairs_of_leaf, strict=True)]
        for i, pairs_of_leaf in arrays.items()
    }
    return Factored(factors, light, summed, squares)


def _joined(uses: Sequence[tuple[Use, Array, Array]], leaf: Array) -> tuple[Array, Array]:
    """All uses of a leaf, joined along the tokens: L [row, layer, token, a] and R [row, layer, token, b]."""
    layers = leaf.shape[0] if leaf.ndim == 3 else 1
    lefts, rights = [], []
    for use, seen, cotangent in uses:
        rows = len(cotangent)
        if use.kind == "lookup":
            seen = jax.nn.one_hot(seen.reshape(rows, layers, -1), leaf.shape[-2], dtype=cotangent.dtype)
        x = seen.reshape(rows, layers, -1, seen.shape[-1])
        d = cotangent.reshape(rows, layers, -1, cotangent.shape[-1])
        lefts.append(x if use.left else d)
        rights.append(d if use.left else x)
    return jnp.concatenate(lefts, 2), jnp.concatenate(rights, 2)


def _tokens(use: Use, layers: int) -> int:
    return math.prod(use.shape[:-1]) // layers
