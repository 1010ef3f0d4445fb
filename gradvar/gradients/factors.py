"""``tap``: the activations and cotangents of every matrix multiplication of a policy, from its trace.

The gradient of a matrix W in y = x W is x^T (dL/dy): two thin factors per rollout, from which norms and inner products
of per-rollout gradients follow without forming any of them (arXiv 1510.01799; 2009.03106 and 2110.05679 for
transformers). Most libraries get the factors by hooks on known layer classes. Here the policy's log-probabilities are
traced to a jaxpr and evaluated again with a zero *tap* added to the result of every product with a parameter: the
derivative with respect to the tap is dL/dy, the other operand is x. It needs nothing from the policy, follows
parameters through ``scan`` over layers, transposition and tied embeddings, and leaves every parameter that is used in
another way (norm scales, biases) to an ordinary backward pass.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import jax
import jax.extend.core as jex
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from gradvar.gradients.squares import SAVED, factor_sums, lookup_sums, squared

Kind = Literal["product", "lookup"]
_INLINE = ("jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint", "custom_jvp_call")
_LARGE = 4096  # parameters below which a leaf's own gradient is cheap enough


@dataclass(frozen=True)
class Use:
    """One place where leaf number ``leaf`` is used.

    ``left``: true if the recorded activations index the leaf's rows (otherwise the cotangents do). ``stacked``: the
    leaf has a leading axis of layers that is scanned over. ``repeated``: a scan uses the same leaf in every layer.
    """

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


@dataclass
class _Evaluation:
    """The input and output of one evaluation of the trace.

    ``taps`` (None: only list the uses) for every use that is recorded; ``ways`` of the leaves that are squared in the
    backward pass instead, into the cotangent of ``squares``.
    """

    taps: Iterator[Array] | None = None
    ways: Mapping[int, str] = field(default_factory=dict)
    squares: Array | None = None
    uses: list[Use] = field(default_factory=list)
    records: list[Array] = field(default_factory=list)

    def tapped(self, out: Array, use: Use) -> Array:
        self.uses.append(use)
        return out if self.taps is None else out + next(self.taps)


class _NoFactors(Exception):
    """A leaf is used in a way that has no two factors."""

    def __init__(self, leaf: int) -> None:
        self.leaf = leaf


class Factored(NamedTuple):
    """A gradient in parts.

    ``factors``: uses with activations and cotangents, by leaf; ``light``: gradients by leaf; ``summed``: gradients that
    are summed over the rollouts that are mapped over; ``squares``: the squared norm of the latter before the sum.
    """

    factors: dict[int, list[tuple[Use, Array, Array]]]
    light: dict[int, Array]
    summed: dict[int, Array]
    squares: Array


@dataclass(frozen=True)
class Tapped:
    """A function of parameters with taps. ``heavy`` leaves have factors; the others are differentiated directly."""

    heavy: tuple[int, ...]
    uses: tuple[Use, ...]
    leaves: int
    run: Callable[..., tuple[Array, list[Array]]]

    def once(self) -> tuple[int, ...]:
        """The heavy leaves that have one use: the squared norm of their gradient needs no other use's factors."""
        return tuple(
            i for i in self.heavy if sum(1 + use.repeated for use in self.uses if use.leaf == i) == 1
        )

    def factors(
        self, params: PyTree, data: tuple[Any, ...], cotangent: Array, ways: Mapping[int, str] | None = None
    ) -> Factored:
        """For one rollout: each heavy leaf's uses with (activations, cotangents), and the gradients of the others.

        Args:
            params: the parameters.
            data: the function's other arguments.
            cotangent: of its result.
            ways: leaves that are squared in the backward pass, each where its cotangent arises, "ghost" or "formed";
                under ``jax.vmap`` their gradients are summed over all rollouts.
        """
        flat, ways = jax.tree.leaves(params), ways or {}
        plain = [i for i in range(self.leaves) if i not in self.heavy or i in ways]
        uses = [use for use in self.uses if use.leaf not in ways]
        taps = [jnp.zeros(use.shape, use.dtype) for use in uses]

        def outputs(others: list[Array], taps: list[Array], squares: Array) -> tuple[Array, list[Array]]:
            leaves = list(flat)
            for i, leaf in zip(plain, others, strict=True):
                leaves[i] = leaf
            return self.run(leaves, taps, data, ways, squares)

        start = jnp.zeros((), jnp.result_type(*flat))
        _, pull, seen = jax.vjp(outputs, [flat[i] for i in plain], taps, start, has_aux=True)
        gradients, cotangents, squares = pull(cotangent)
        factors: dict[int, list[tuple[Use, Array, Array]]] = {i: [] for i in self.heavy if i not in ways}
        for use, x, d in zip(uses, seen, cotangents, strict=True):
            factors[use.leaf].append((use, x, d))
        by_leaf = dict(zip(plain, gradients, strict=True))
        return Factored(
            factors,
            {i: x for i, x in by_leaf.items() if i not in ways},
            {i: x for i, x in by_leaf.items() if i in ways},
            squares,
        )


def tap(function: Callable[..., Float[Array, " time"]], params: PyTree, data: tuple[Any, ...]) -> Tapped:
    """Trace ``function(params, *data)`` and tap every leaf that is only ever multiplied with or looked up in."""
    leaves, tree = jax.tree.flatten(params)
    closed = jax.make_jaxpr(lambda flat, data: function(jax.tree.unflatten(tree, flat), *data))(leaves, data)
    heavy = {i for i, leaf in enumerate(leaves) if leaf.ndim in (2, 3) and leaf.size >= _LARGE}

    def evaluate(flat: Sequence[Array], data: Any, evaluation: _Evaluation) -> tuple[Array, list[Array]]:
        args = [_Weight(x, i) if i in heavy else x for i, x in enumerate(flat)]
        out = _evaluate(closed.jaxpr, closed.consts, [*args, *jax.tree.leaves(data)], evaluation)
        return out[0], evaluation.records

    while True:
        listing = _Evaluation()
        try:
            jax.eval_shape(lambda flat, data: evaluate(flat, data, listing), leaves, data)  # noqa: B023
            break
        except _NoFactors as error:
            heavy.discard(error.leaf)

    def run(
        flat: list[Array], taps: list[Array], data: Any, ways: Mapping[int, str], squares: Array
    ) -> tuple[Array, list[Array]]:
        return evaluate(flat, data, _Evaluation(iter(taps), ways, squares))

    heavy &= {use.leaf for use in listing.uses}  # a leaf that is not used has no factors, and gradient zero
    return Tapped(tuple(sorted(heavy)), tuple(listing.uses), len(leaves), run)


def _evaluate(jaxpr: Any, consts: Sequence[Any], args: Sequence[Any], evaluation: _Evaluation) -> list[Any]:
    """Evaluate a jaxpr in which some values are parameters."""
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
            out = _with_weights(eqn, operands, weights, evaluation)
        env.update(zip(eqn.outvars, out, strict=True))
    return [read(a) for a in jaxpr.outvars]


def _with_weights(
    eqn: Any, operands: list[Any], weights: list[_Weight], evaluation: _Evaluation
) -> list[Any]:
    name, weight = eqn.primitive.name, weights[0]
    if name in _INLINE:
        inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
        body, consts = (inner.jaxpr, inner.consts) if isinstance(inner, jex.ClosedJaxpr) else (inner, [])
        return _evaluate(body, consts, operands, evaluation)
    if name == "scan":
        return _scan(eqn, operands, evaluation)
    matrix = weight.value.ndim == 2
    if name == "transpose" and matrix and tuple(eqn.params["permutation"]) == (1, 0):
        return [replace(weight, value=weight.value.T, transposed=not weight.transposed)]
    if name == "convert_element_type":
        return [replace(weight, value=weight.value.astype(eqn.params["new_dtype"]))]
    if name == "dot_general" and len(weights) == 1 and matrix:
        return [_product(eqn, operands, evaluation)]
    if name == "gather" and operands[0] is weight and matrix and not weight.transposed:
        return [_lookup(eqn, operands, evaluation)]
    raise _NoFactors(weight.leaf)


def _product(eqn: Any, operands: list[Any], evaluation: _Evaluation) -> Array:
    """y = x W or W x, contracting one axis of each."""
    side = 0 if isinstance(operands[0], _Weight) else 1
    weight, x = operands[side], operands[1 - side]
    contract, batch = eqn.params["dimension_numbers"]
    if batch[0] or len(contract[0]) != 1:
        raise _NoFactors(weight.leaf)
    along, inner = contract[side][0], contract[1 - side][0]

    def apply(x: Array, w: Array) -> Array:
        """With the free axis of W last."""
        y = eqn.primitive.bind(*((w, x) if side == 0 else (x, w)), **eqn.params)
        return jnp.moveaxis(y, 0, -1) if side == 0 else y

    def flat(x: Array) -> Array:
        """[row, contracted], in the order in which y lists what is left of x."""
        return jnp.moveaxis(x, inner, -1).reshape(-1, x.shape[inner])

    way = evaluation.ways.get(weight.leaf)
    if way is None:
        y = apply(x, weight.value)
        evaluation.records.append(flat(x))
        rows = along == (1 if weight.transposed else 0)
        y = evaluation.tapped(y, Use(weight.leaf, "product", rows, weight.stacked, False, y.shape, y.dtype))
    else:
        y = squared(apply, factor_sums(way, along == 0), flat, x, weight.value, evaluation.squares)
    return jnp.moveaxis(y, -1, 0) if side == 0 else y


def _lookup(eqn: Any, operands: list[Any], evaluation: _Evaluation) -> Array:
    """Rows of W by index, as embeddings are read."""
    weight, indices = operands
    numbers = eqn.params["dimension_numbers"]
    rows, width = weight.value.shape

    def apply(indices: Array, w: Array) -> Array:
        return eqn.primitive.bind(w, indices, **eqn.params)

    y = jax.eval_shape(apply, indices, weight.value)
    plain = tuple(numbers.collapsed_slice_dims) == (0,) and tuple(numbers.start_index_map) == (0,)
    if not plain or tuple(eqn.params["slice_sizes"]) != (1, width) or numbers.offset_dims != (y.ndim - 1,):
        raise _NoFactors(weight.leaf)
    if weight.leaf in evaluation.ways:
        return squared(apply, lookup_sums(rows), jnp.ravel, indices, weight.value, evaluation.squares)
    evaluation.records.append(indices.reshape(-1))
    use = Use(weight.leaf, "lookup", True, weight.stacked, False, y.shape, y.dtype)
    return evaluation.tapped(apply(indices, weight.value), use)


def _scan(eqn: Any, operands: list[Any], evaluation: _Evaluation) -> list[Any]:
    """A scan whose body uses parameters: its layers' taps are scanned over, their activations stacked."""
    p = eqn.params
    first, last = p["num_consts"], p["num_consts"] + p["num_carry"]
    consts, carry, xs = operands[:first], operands[first:last], operands[last:]
    for x in carry:
        if isinstance(x, _Weight):
            raise _NoFactors(x.leaf)
    for x in xs:
        if isinstance(x, _Weight) and (x.stacked or x.transposed or x.value.ndim != 3):
            raise _NoFactors(x.leaf)
    body, inner = p["jaxpr"].jaxpr, p["jaxpr"].consts
    marks = [x if isinstance(x, _Weight) else None for x in xs]
    values = [x.value if isinstance(x, _Weight) else x for x in xs]

    def step(state: list[Array], inputs: tuple[list[Array], list[Array] | None], uses: list[Use]) -> tuple:
        parts, layer_taps = inputs
        slices = [
            x if mark is None else _Weight(x, mark.leaf, False, True)
            for x, mark in zip(parts, marks, strict=True)
        ]
        layer = None if layer_taps is None else iter(layer_taps)
        inside_layer = _Evaluation(layer, evaluation.ways, evaluation.squares, uses)
        out = _evaluate(body, inner, [*consts, *state, *slices], inside_layer)
        return out[: p["num_carry"]], (out[p["num_carry"] :], inside_layer.records)

    inside: list[Use] = []
    layer_shapes = [jax.ShapeDtypeStruct(x.shape[1:], x.dtype) for x in values]
    jax.eval_shape(lambda state, x: step(state, (x, None), inside), carry, layer_shapes)
    for use in inside:
        shape = (p["length"], *use.shape)
        evaluation.uses.append(replace(use, repeated=not use.stacked, shape=shape))
    stacked = None if evaluation.taps is None else [next(evaluation.taps) for _ in inside]
    layer = jax.checkpoint(lambda s, x: step(s, x, []), policy=SAVED, prevent_cse=False)
    out: Any = jax.lax.scan(layer, carry, (values, stacked), length=p["length"], reverse=p["reverse"])
    evaluation.records.extend(out[1][1])
    return [*out[0], *out[1][0]]
