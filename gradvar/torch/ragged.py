"""Lists of any length, as trainers and engines keep tokens and log-probabilities, filled up to arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool


def is_ragged(values: Any) -> bool:
    """True for a list of lists, or of one-dimensional arrays or tensors, at any depth.

    >>> is_ragged([[1, 2], [3]]), is_ragged(np.zeros((2, 2))), is_ragged([1, 2])
    (True, False, False)
    """
    return isinstance(values, list | tuple) and len(values) > 0 and not _is_number(values[0])


def filled(
    values: Sequence[Any], name: str, *, left: bool = False
) -> tuple[np.ndarray, Bool[np.ndarray, "..."]]:
    """Fill the last axis of nested lists up to one length, with zeros, and say where the lists' own numbers are.

    Args:
        values: Lists of numbers, or of such lists.
        name: Of the argument, for messages.
        left: Fill up before the numbers and not after them.

    Returns:
        The array, and where it holds a number of the lists.

    Raises:
        ValueError: The outer lists have not one length, or hold no numbers.

    >>> filled([[1, 2], [3]], "completions")[0].tolist()
    [[1, 2], [3, 0]]
    """
    if _is_number(values[0]) or getattr(values[0], "ndim", None) == 0:
        row = np.asarray(values)
        return row, np.ones(row.shape, bool)
    if _is_leaf(values[0]):
        rows = [_row(x, name, number) for number, x in enumerate(values)]
    else:
        parts = [filled(x, name, left=left) for x in values]
        counts = {len(array) for array, _ in parts}
        if len(counts) > 1:
            raise ValueError(
                f"{name}: lists of {min(counts)} and of {max(counts)} rollouts; give as many for every prompt"
            )
        rows = [array for array, _ in parts]
    width = max(x.shape[-1] for x in rows)
    masks = [np.ones(x.shape, bool) for x in rows] if _is_leaf(values[0]) else [mask for _, mask in parts]

    def wide(x: np.ndarray) -> np.ndarray:
        room = width - x.shape[-1]
        return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(room, 0) if left else (0, room)])

    kinds = {x.dtype for x in rows if x.size}
    dtype = np.result_type(*kinds) if kinds else np.dtype(np.int64)
    return np.stack([wide(x.astype(dtype)) for x in rows]), np.stack([wide(x) for x in masks])


def _row(values: Any, name: str, number: int) -> np.ndarray:
    detach = getattr(values, "detach", None)  # a tensor, on any device
    try:
        row = np.asarray(values if detach is None else detach().cpu().tolist())
    except (TypeError, ValueError):
        row = np.empty(0, object)
    if row.ndim != 1 or (row.size and row.dtype.kind not in "iufb"):
        raise ValueError(f"{name}: row {number} is {str(values)[:40]}; give a list of numbers")
    return row


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number)


def _is_leaf(value: Any) -> bool:
    """True for one row: a list of numbers, an empty list, or an array or tensor of one axis."""
    if isinstance(value, list | tuple):
        return not value or _is_number(value[0]) or getattr(value[0], "ndim", None) == 0
    return getattr(value, "ndim", 0) == 1
