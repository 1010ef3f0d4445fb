"""Filters that return what is left: the rows, their rewards and names, or the groups, of which we find the places."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradvar.testing.calls import BadOutput
from gradvar.testing.kinds.base import KindTarget
from gradvar.testing.kinds.draws import Scene

Row = tuple[float, ...]
SMALL = 1e-6  # a spread that is rounding


def left_over(
    target: KindTarget, result: Mapping[str, Any], scene: Scene, groups: Sequence[Sequence[int]]
) -> np.ndarray | None:
    """1 for each row that is left, [N]; None where no output holds rewards that the function was given.

    Args:
        target: The filter.
        result: What it returned, by name.
        scene: What it was given.
        groups: The rows of each group.

    Raises:
        BadOutput: It returned rewards, or names beside them, that it was not given.
    """
    rewards = np.asarray(scene["rewards"], float)
    parts = [part for part in (_rows(target, value) for value in result.values()) if part is not None]
    if rewards.ndim == 2:
        # a group is a row of the table
        left = next((p for p in parts if not p or len(p[0]) == rewards.shape[1]), None)
        return (
            None if left is None else np.repeat(_matched(left, [tuple(r) for r in rewards]), rewards.shape[1])
        )
    flat = [p for p in parts if not p or len(p[0]) == 1]
    values = next((p for p in flat if {r[0] for r in p} <= set(rewards.tolist())), None)
    if values is None:
        return None
    names = np.asarray(scene.get("ids", scene.get("prompts", np.zeros(len(rewards)))), float)
    known = set(names.tolist())
    beside = [p for p in flat if p is not values and len(p) == len(values) and {r[0] for r in p} <= known]
    if beside:
        left = [(*value, *name) for value, name in zip(values, beside[0], strict=True)]
        return _matched(left, list(zip(rewards.tolist(), names.tolist(), strict=True)))
    return _by_groups([r[0] for r in values], rewards, groups)


def shrinks(target: KindTarget, result: Mapping[str, Any], scene: Scene) -> bool:
    """Return True if an output holds some of the scene's rewards, and not all of them."""
    rewards = np.asarray(scene["rewards"], float)
    rows = {tuple(np.atleast_1d(row).tolist()) for row in rewards}
    parts = [part for part in (_rows(target, value) for value in result.values()) if part is not None]
    return any(0 < len(part) < len(rewards) and set(part) <= rows for part in parts)


def _rows(target: KindTarget, value: Any) -> list[Row] | None:
    """The rows of an output, names as numbers; None where it is no array of numbers or names."""
    if isinstance(value, str | Mapping) or np.ndim(value) == 0:
        return None
    if target.library.dtype_of(value).startswith("bool"):
        return None
    try:
        if (
            isinstance(value, list | tuple)
            or target.library.dtype_of(value) in ("object", "")
            or _texts(value)
        ):
            array = np.array(
                [[_number(v) for v in np.ravel(np.asarray(row, object))] for row in value], float
            )
        else:
            array = target.library.numpy(value)
    except (TypeError, ValueError, RuntimeError, AttributeError):
        return None
    array = array.reshape(len(array), -1) if array.size else np.zeros((0, 1))
    return [tuple(row) for row in array.tolist()]


def _texts(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "US"


def _number(value: Any) -> float:
    """A number, or the one in the name that the kit gave: "u3"."""
    return float(value[1:]) if isinstance(value, str) else float(value)


def _matched(left: Sequence[Row], known: Sequence[Row]) -> np.ndarray:
    """1 for each of the known rows that is left, whatever the order; of equal rows the first ones."""
    counts = Counter(left)
    keep = np.zeros(len(known))
    for place, row in enumerate(known):
        if counts[row] > 0:
            counts[row] -= 1
            keep[place] = 1.0
    if any(count > 0 for count in counts.values()):
        raise BadOutput("returned rows that it was not given, or rewards beside other rows' names")
    return keep


def _by_groups(left: Sequence[float], rewards: np.ndarray, groups: Sequence[Sequence[int]]) -> np.ndarray:
    """The rows that are left, from their rewards alone: whole groups if that explains them."""
    signal = tuple(float(np.ptp(rewards[list(group)]) > SMALL) for group in groups)
    # several sets of groups may hold the same rewards: what dynamic sampling keeps has the benefit of the doubt
    for kept in (signal, *itertools.product((1.0, 0.0), repeat=len(groups))):
        whole = [list(group) for one, group in zip(kept, groups, strict=True) if one]
        by_row, by_group = sorted(itertools.chain(*whole)), list(itertools.chain(*whole))
        if any(rewards[rows].tolist() == list(left) for rows in (by_row, by_group)):
            keep = np.zeros(len(rewards))
            keep[by_row] = 1.0
            return keep
    return _matched([(value,) for value in left], [(value,) for value in rewards.tolist()])
