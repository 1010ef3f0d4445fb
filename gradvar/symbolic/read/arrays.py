"""Primitives that move values without changing them, and products and sums of them."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import sympy as sp
from jax import lax

from gradvar.symbolic.read.elementwise import Unreadable


def map_elements(step: Callable[..., Any], *arrays: np.ndarray) -> np.ndarray:
    """Apply ``step`` to corresponding elements; scalars broadcast to the common shape.

    It is applied once to operands that are the same objects: a batch has few rewards and few ratios, and what is
    computed of them has as few results. By identity, because ``True`` and 1 are equal and mean different things.
    """
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    columns = [np.broadcast_to(a, shape).ravel().tolist() for a in arrays]
    results: dict[tuple[int, ...], Any] = {}

    def result(*operands: Any) -> Any:
        key = tuple(map(id, operands))  # they live as long as the columns
        if key not in results:
            results[key] = step(*operands)
        return results[key]

    return np.fromiter(map(result, *columns), object, count=math.prod(shape)).reshape(shape)


def cumulative(x: np.ndarray, axis: int, reverse: bool, combine: Callable[[list[Any]], Any]) -> np.ndarray:
    """Combine all values up to each position along one axis.

    Args:
        x: Expressions.
        axis: Along which they are combined.
        reverse: Combine all values from each position on instead.
        combine: Gives one expression for a list of them, such as their sum.
    """
    out = np.empty(x.shape, object)
    for index in np.ndindex(x.shape):
        end = index[axis]
        line = [*index]
        line[axis] = slice(end, None) if reverse else slice(0, end + 1)
        values = list(x[tuple(line)])
        out[index] = combine(values[::-1] if reverse else values)
    return out


def reduce_axes(x: np.ndarray, axes: tuple[int, ...], combine: Callable[[list[Any]], Any]) -> np.ndarray:
    """Combine all values along ``axes`` into one."""
    axes = tuple(int(axis) for axis in axes)
    remaining = [axis for axis in range(x.ndim) if axis not in axes]
    out = np.empty([x.shape[axis] for axis in remaining], object)
    rows = np.transpose(x, (*remaining, *axes)).reshape(*out.shape, -1)  # [*remaining, all values along axes]
    for index in np.ndindex(out.shape):
        out[index] = combine(list(rows[index]))
    return out


def sort(
    operands: list[np.ndarray], params: Any, order: Callable[[list[Any]], list[int]]
) -> list[np.ndarray]:
    """Sort all operands along one axis by the first of them.

    The sort is stable, and further keys break no ties.
    """
    axis = params["dimension"]
    keys = np.moveaxis(operands[0], axis, -1)
    moved = [np.moveaxis(x, axis, -1) for x in operands]
    results = [np.empty(keys.shape, object) for _ in operands]
    for index in np.ndindex(keys.shape[:-1]):
        places = order(list(keys[index]))
        for result, source in zip(results, moved, strict=True):
            result[index] = source[index][places]
    return [np.moveaxis(result, -1, axis) for result in results]


def _broadcast_in_dim(params: Any, x: np.ndarray, *_: Any) -> np.ndarray:
    shape = tuple(int(n) for n in params["shape"])
    expanded = [1] * len(shape)  # the operand's axes at their places, length one elsewhere
    for source, target in enumerate(params["broadcast_dimensions"]):
        expanded[int(target)] = x.shape[source]
    return np.broadcast_to(x.reshape(expanded), shape)


def _pad(params: Any, x: np.ndarray, fill: np.ndarray) -> np.ndarray:
    config = [tuple(int(n) for n in row) for row in params["padding_config"]]
    shape = [
        lo + hi + max(n + (n - 1) * inner, 0) for n, (lo, hi, inner) in zip(x.shape, config, strict=True)
    ]
    out = np.empty(shape, object)
    out[...] = fill.item()
    for index in np.ndindex(x.shape):
        place = tuple(lo + i * (inner + 1) for i, (lo, _, inner) in zip(index, config, strict=True))
        if all(0 <= p < n for p, n in zip(place, shape, strict=True)):
            out[place] = x[index]
    return out


def _slice(params: Any, x: np.ndarray) -> np.ndarray:
    strides = params["strides"] or (1,) * x.ndim
    bounds = zip(params["start_indices"], params["limit_indices"], strides, strict=True)
    return x[tuple(slice(int(a), int(b), int(s)) for a, b, s in bounds)]


def _split(params: Any, x: np.ndarray) -> list[np.ndarray]:
    return np.split(x, np.cumsum([int(n) for n in params["sizes"]])[:-1], axis=params["axis"])


def _iota(params: Any, *_: Any) -> np.ndarray:
    shape, dimension = tuple(int(n) for n in params["shape"]), params["dimension"]
    out = np.empty(shape, object)
    for index in np.ndindex(shape):
        out[index] = sp.Integer(index[dimension])
    return out


def _dot_general(params: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    (contract_a, contract_b), (batch_a, batch_b) = params["dimension_numbers"]
    # einsum's letters as numbers: a contracted or batched axis of b takes the letter of its partner in a.
    names_a = list(range(a.ndim))
    names_b = [a.ndim + i for i in range(b.ndim)]
    for i, j in [*zip(contract_a, contract_b, strict=True), *zip(batch_a, batch_b, strict=True)]:
        names_b[j] = names_a[i]
    batch = [names_a[i] for i in batch_a]
    shared = {names_a[i] for i in contract_a} | set(batch)
    out = batch + [n for n in names_a if n not in shared] + [n for n in names_b if n not in shared]
    return np.asarray(np.einsum(a, names_a, b, names_b, out), object)


def _concrete(x: np.ndarray) -> np.ndarray:
    if not all(isinstance(v, bool) or v.is_Integer for v in x.flat):
        raise Unreadable("indexing by a symbolic value: indices must be concrete")
    return np.asarray([int(v) for v in x.flat], np.int64).reshape(x.shape)


def _by_labels(move: Callable[..., Any], *arrays: np.ndarray) -> np.ndarray:
    """Let JAX itself move integer labels of the values, then put the values in.

    A negative label is the fill value.
    """
    labels: list[np.ndarray] = []
    pool: list[Any] = []
    start = 0
    for x in arrays:
        labels.append(np.arange(start, start + x.size, dtype=np.int64).reshape(x.shape))
        start += x.size
        pool.extend(x.flat)
    moved = np.asarray(move(*labels))
    out = np.empty(moved.shape, object)
    for index in np.ndindex(moved.shape):
        out[index] = pool[moved[index]] if moved[index] >= 0 else sp.nan
    return out


def _gather(params: Any, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    keep = {k: v for k, v in params.items() if k != "fill_value"}
    where = _concrete(indices)
    return _by_labels(lambda labels: lax.gather_p.bind(labels, where, fill_value=-1, **keep), x)


def _dynamic_slice(params: Any, x: np.ndarray, *starts: np.ndarray) -> np.ndarray:
    where = [int(_concrete(s)) for s in starts]
    return _by_labels(lambda labels: lax.dynamic_slice(labels, where, params["slice_sizes"]), x)


def _dynamic_update_slice(params: Any, x: np.ndarray, update: np.ndarray, *starts: np.ndarray) -> np.ndarray:
    where = [int(_concrete(s)) for s in starts]
    return _by_labels(lambda a, b: lax.dynamic_update_slice(a, b, where), x, update)


def _scatter_add(params: Any, x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
    """Add updates at places. Scatter is linear in the updates: learn its 0/1 matrix from unit vectors."""
    where = _concrete(indices)
    units = np.eye(updates.size).reshape(updates.size, *updates.shape)  # [update, *its shape]
    zeros = np.zeros(x.shape)
    placed = [np.asarray(lax.scatter_add_p.bind(zeros, where, unit, **params)) for unit in units]
    out = x.copy()
    for value, targets in zip(updates.flat, placed, strict=True):
        for index in np.argwhere(targets):
            out[tuple(index)] = out[tuple(index)] + value
    return out


def _scatter(params: Any, x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
    where = _concrete(indices)
    return _by_labels(lambda a, b: lax.scatter_p.bind(a, where, b, **params), x, updates)


MOVES: dict[str, Callable[..., Any]] = {
    "broadcast_in_dim": _broadcast_in_dim,
    "reshape": lambda params, x: x.reshape([int(n) for n in params["new_sizes"]]),
    "transpose": lambda params, x: np.transpose(x, params["permutation"]),
    "squeeze": lambda params, x: np.squeeze(x, tuple(int(n) for n in params["dimensions"])),
    "expand_dims": lambda params, x: np.expand_dims(x, params["dimensions"]),
    "rev": lambda params, x: np.flip(x, params["dimensions"]),
    "concatenate": lambda params, *xs: np.concatenate(xs, axis=params["dimension"]),
    "stack": lambda params, *xs: np.stack(xs, axis=params["axis"]),
    "unstack": lambda params, x: [np.asarray(row, object) for row in np.moveaxis(x, params["axis"], 0)],
    "pad": _pad,
    "slice": _slice,
    "split": _split,
    "iota": _iota,
    "dot_general": _dot_general,
    "gather": _gather,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "scatter": _scatter,
    "scatter-add": _scatter_add,
    "scatter_add": _scatter_add,
}
