"""Activations and cotangents of every matrix multiplication of a policy, found in its own trace.

The gradient of a matrix W in y = x W is x^T (dL/dy): two thin factors per rollout, from which norms and
inner products of per-rollout gradients follow without forming any of them (arXiv 1510.01799; 2009.03106 and
2110.05679 for transformers). Most libraries find the factors by hooks on known layer classes. Here the
policy's log-probabilities are traced to a jaxpr and evaluated again with a zero *tap* added to the result of
every product with a parameter: the derivative with respect to the tap is dL/dy, the other operand is x. It
needs nothing from the policy, follows parameters through ``scan`` over layers, transposition and tied
embeddings, and leaves every parameter that is used in another way (norm scales, biases) to an ordinary
backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.extend.core as jex
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

Kind = Literal["product", "lookup"]
_INLINE = ("jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint", "custom_jvp_call")
_LARGE = 4096  # parameters below which a leaf's own gradient is cheap enough


@dataclass(frozen=True)
class Use:
    """One place where leaf number ``leaf`` is used. ``left``: whether the recorded activations index the
    leaf's rows (otherwise the cotangents do). ``stacked``: the leaf has a leading axis of layers that is
    scanned over."""

    leaf: int
    kind: Kind
    left: bool
    stacked: bool
    repeated: bool
    shape: tuple[int, ...]
    dtype: Any


@dataclass(frozen=True)
class _Weight:
    """A parameter on its way to being used."""

    value: Array
    leaf: int
    transposed: bool = False
    stacked: bool = False


class _Otherwise(Exception):
    """A leaf is used in a way that has no two factors."""

    def __init__(self, leaf: int) -> None:
        self.leaf = leaf


@dataclass(frozen=True)
class Tapped:
    """A function of parameters with taps. ``heavy`` leaves have factors; the others are differentiated as
    they are."""

    heavy: tuple[int, ...]
    uses: tuple[Use, ...]
    leaves: int
    run: Callable[[list[Array], list[Array], tuple[Any, ...]], tuple[Array, list[Array]]]

    def factors(
        self, params: PyTree, data: tuple[Any, ...], cotangent: Array
    ) -> tuple[dict[int, list[tuple[Use, Array, Array]]], dict[int, Array]]:
        """For one rollout: each heavy leaf's uses with (activations, cotangents), and the gradients of the
        others."""
        flat = jax.tree.leaves(params)
        light = [i for i in range(self.leaves) if i not in self.heavy]
        taps = [jnp.zeros(use.shape, use.dtype) for use in self.uses]

        def outputs(others: list[Array], taps: list[Array]) -> tuple[Array, list[Array]]:
            whole = list(flat)
            for i, leaf in zip(light, others, strict=True):
                whole[i] = leaf
            return self.run(whole, taps, data)

        _, pull, seen = jax.vjp(outputs, [flat[i] for i in light], taps, has_aux=True)
        others, cotangents = pull(cotangent)
        found: dict[int, list[tuple[Use, Array, Array]]] = {i: [] for i in self.heavy}
        for use, x, d in zip(self.uses, seen, cotangents, strict=True):
            found[use.leaf].append((use, x, d))
        return found, dict(zip(light, others, strict=True))


def tap(function: Callable[..., Float[Array, " time"]], params: PyTree, data: tuple[Any, ...]) -> Tapped:
    """Trace ``function(params, *data)`` and find every leaf that is only ever multiplied with or looked up
    in."""
    leaves, tree = jax.tree.flatten(params)
    closed = jax.make_jaxpr(lambda flat, data: function(jax.tree.unflatten(tree, flat), *data))(leaves, data)
    heavy = {i for i, leaf in enumerate(leaves) if leaf.ndim in (2, 3) and leaf.size >= _LARGE}

    def evaluate(flat: Sequence[Array], taps: Iterator[Array] | None, data: Any, uses: list[Use]) -> tuple:
        args = [_Weight(x, i) if i in heavy else x for i, x in enumerate(flat)]
        records: list[Array] = []
        out = _evaluate(closed.jaxpr, closed.consts, [*args, *jax.tree.leaves(data)], taps, uses, records)
        return out[0], records

    while True:
        uses: list[Use] = []
        try:
            jax.eval_shape(lambda flat, data: evaluate(flat, None, data, uses), leaves, data)  # noqa: B023
            break
        except _Otherwise as found:
            heavy.discard(found.leaf)
    return Tapped(
        tuple(sorted(heavy)),
        tuple(uses),
        len(leaves),
        lambda flat, taps, data: evaluate(flat, iter(taps), data, []),
    )


def _evaluate(
    jaxpr: Any, consts: Sequence[Any], args: Sequence[Any], taps: Iterator[Array] | None, uses: list[Use],
    records: list[Array],
) -> list[Any]:  # fmt: skip
    """Evaluate a jaxpr in which some values are parameters; ``taps`` None only lists the uses."""
    env: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, jex.Literal) else env[atom]

    for eqn in jaxpr.eqns:
        operands = [read(a) for a in eqn.invars]
        weights = [x for x in operands if isinstance(x, _Weight)]
        if not weights:
            bound = eqn.primitive.get_bind_params(eqn.params)  # a pair before JAX 0.9, one mapping since
            functions, settings = bound if isinstance(bound, tuple) else ((), bound)
            out = eqn.primitive.bind(*functions, *operands, **settings)
            out = out if eqn.primitive.multiple_results else [out]
        else:
            out = _with_weights(eqn, operands, weights, taps, uses, records)
        env.update(zip(eqn.outvars, out, strict=True))
    return [read(a) for a in jaxpr.outvars]


def _with_weights(
    eqn: Any, operands: list[Any], weights: list[_Weight], taps: Any, uses: list[Use], records: list[Array]
) -> list[Any]:
    name, weight = eqn.primitive.name, weights[0]
    if name in _INLINE:
        inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
        body, consts = (inner.jaxpr, inner.consts) if isinstance(inner, jex.ClosedJaxpr) else (inner, [])
        return _evaluate(body, consts, operands, taps, uses, records)
    if name == "scan":
        return _scan(eqn, operands, taps, uses, records)
    matrix = weight.value.ndim == 2
    if name == "transpose" and matrix and tuple(eqn.params["permutation"]) == (1, 0):
        return [_Weight(weight.value.T, weight.leaf, not weight.transposed, weight.stacked)]
    if name == "convert_element_type":
        value = weight.value.astype(eqn.params["new_dtype"])
        return [_Weight(value, weight.leaf, weight.transposed, weight.stacked)]
    if name == "dot_general" and len(weights) == 1 and matrix:
        return [_product(eqn, operands, taps, uses, records)]
    if name == "gather" and operands[0] is weight and matrix and not weight.transposed:
        return [_lookup(eqn, operands, taps, uses, records)]
    raise _Otherwise(weight.leaf)


def _tapped(out: Array, taps: Any, use: Use, uses: list[Use]) -> Array:
    uses.append(use)
    return out if taps is None else out + next(taps)


def _product(eqn: Any, operands: list[Any], taps: Any, uses: list[Use], records: list[Array]) -> Array:
    """y = x W or W x, contracting one axis of each."""
    at = 0 if isinstance(operands[0], _Weight) else 1
    weight, x = operands[at], operands[1 - at]
    contract, batch = eqn.params["dimension_numbers"]
    if batch[0] or len(contract[0]) != 1:
        raise _Otherwise(weight.leaf)
    values = [o.value if isinstance(o, _Weight) else o for o in operands]
    y = eqn.primitive.bind(*values, **eqn.params)
    along = contract[at][0]
    # Flat activations [row, contracted], in the order in which y lists what is left of x.
    records.append(jnp.moveaxis(x, contract[1 - at][0], -1).reshape(-1, x.shape[contract[1 - at][0]]))
    rows = along == (1 if weight.transposed else 0)
    use = Use(weight.leaf, "product", rows, weight.stacked, False, y.shape, y.dtype)
    if at == 0:  # the free axis of W comes first in y; taps are kept as [..., free]
        use = Use(weight.leaf, "product", rows, weight.stacked, False, (*y.shape[1:], y.shape[0]), y.dtype)
        return jnp.moveaxis(_tapped(jnp.moveaxis(y, 0, -1), taps, use, uses), -1, 0)
    return _tapped(y, taps, use, uses)


def _lookup(eqn: Any, operands: list[Any], taps: Any, uses: list[Use], records: list[Array]) -> Array:
    """Rows of W by index, as embeddings are read."""
    weight, indices = operands
    numbers = eqn.params["dimension_numbers"]
    width = weight.value.shape[1]
    plain = tuple(numbers.collapsed_slice_dims) == (0,) and tuple(numbers.start_index_map) == (0,)
    y = eqn.primitive.bind(weight.value, indices, **eqn.params)
    if not plain or tuple(eqn.params["slice_sizes"]) != (1, width) or numbers.offset_dims != (y.ndim - 1,):
        raise _Otherwise(weight.leaf)
    records.append(indices.reshape(-1))
    return _tapped(y, taps, Use(weight.leaf, "lookup", True, weight.stacked, False, y.shape, y.dtype), uses)


def _scan(eqn: Any, operands: list[Any], taps: Any, uses: list[Use], records: list[Array]) -> list[Any]:
    """A scan whose body uses parameters: its layers' taps are scanned over, their activations stacked."""
    p = eqn.params
    first, last = p["num_consts"], p["num_consts"] + p["num_carry"]
    consts, carry, xs = operands[:first], operands[first:last], operands[last:]
    for x in carry:
        if isinstance(x, _Weight):
            raise _Otherwise(x.leaf)
    for x in xs:
        if isinstance(x, _Weight) and (x.stacked or x.transposed or x.value.ndim != 3):
            raise _Otherwise(x.leaf)
    body, inner = p["jaxpr"].jaxpr, p["jaxpr"].consts
    marks = [x if isinstance(x, _Weight) else None for x in xs]
    values = [x.value if isinstance(x, _Weight) else x for x in xs]

    def step(state: list[Array], inputs: tuple[list[Array], list[Array] | None], found: list[Use]) -> tuple:
        slices, layer_taps = inputs
        given = [
            x if mark is None else _Weight(x, mark.leaf, False, True)
            for x, mark in zip(slices, marks, strict=True)
        ]
        seen: list[Array] = []
        layer = None if layer_taps is None else iter(layer_taps)
        out = _evaluate(body, inner, [*consts, *state, *given], layer, found, seen)
        return out[: p["num_carry"]], (out[p["num_carry"] :], seen)

    inside: list[Use] = []
    one = [jax.ShapeDtypeStruct(x.shape[1:], x.dtype) for x in values]
    jax.eval_shape(lambda state, x: step(state, (x, None), inside), carry, one)
    for use in inside:
        shape = (p["length"], *use.shape)
        uses.append(Use(use.leaf, use.kind, use.left, use.stacked, not use.stacked, shape, use.dtype))
    stacked = None if taps is None else [next(taps) for _ in inside]
    out: Any = jax.lax.scan(
        lambda s, x: step(s, x, []), carry, (values, stacked), length=p["length"], reverse=p["reverse"]
    )
    records.extend(out[1][1])
    return [*out[0], *out[1][0]]
