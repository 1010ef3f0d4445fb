"""What a filter of groups returns: booleans, indices or what is left, read as a verdict for each row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradvar.testing.calls import BadOutput, Raised
from gradvar.testing.digits import shown
from gradvar.testing.kinds.base import KindTarget
from gradvar.testing.kinds.draws import Scene
from gradvar.testing.kinds.filter_rows import left_over, shrinks
from gradvar.testing.kinds.grouped import members, takes_groups

DROPPING = re.compile(
    r"drop|remov|discard|reject|skip|degenerate|silent|(?<!non)(?<!non_)zero|uniform|trivial|constant"
)

Groups = Sequence[Sequence[float]]


class NotAFilter(Exception):
    """The function returns numbers: neither booleans nor indices, nor some of the rewards that it was given."""


def scene_of(target: KindTarget, groups: Groups, order: Sequence[int] | None = None) -> Scene:
    """The arrays for these groups of rewards, rows in this order where the function is told their names."""
    flat = np.concatenate([np.asarray(g, float) for g in groups])
    labels = np.repeat(np.arange(len(groups)), [len(g) for g in groups])
    if order is not None:
        flat, labels = flat[list(order)], labels[list(order)]
    values: Scene = {"ids": labels, "prompts": labels, "count": len(groups[0]), "row_count": len(flat)}
    if not takes_groups(target):
        flat = flat.reshape(len(groups), -1)
    values |= {"rewards": flat, "correct": flat > 0}
    return {role: value for role, value in values.items() if target.takes(role)}


def keeps(target: KindTarget, scene: Scene, dtype: str) -> np.ndarray:
    """1 for each row that is kept, with rewards in this dtype."""
    role = "rewards" if "rewards" in scene else "correct"
    if target.caller.layout == "group":
        cells = [{**scene, role: row} for row in np.asarray(scene[role])]
        return np.concatenate([_verdicts(target, cell, dtype) for cell in cells])
    return _verdicts(target, scene, dtype)


def _verdicts(target: KindTarget, scene: Scene, dtype: str) -> np.ndarray:
    result, _ = target.caller.raw(scene, dtype)
    rewards = np.asarray(scene["rewards"] if "rewards" in scene else scene["correct"])
    rows = rows_of_groups(scene, rewards)
    place = [0] * rewards.size
    for number, group in enumerate(rows):
        for row in group:
            place[row] = number
    if _returns_rows(target):
        left = left_over(target, result, scene, rows)
        if left is None:
            raise BadOutput("returned neither verdicts nor rewards that it was given")
        return left
    for name, value in result.items():
        kind = _kind_of(target, value)
        if not kind:
            continue
        array = np.ravel(
            target.library.numpy(value) if np.ndim(value) or hasattr(value, "dtype") else [float(value)]
        )
        if kind == "index":
            array = _chosen(array, rewards.size, len(rows), _of_rows(target, dtype))
        keep = array if array.size == rewards.size else array[place] if array.size == len(rows) else None
        if keep is None:
            raise BadOutput(
                f"returned {array.size} verdicts for {rewards.size} rollouts in {len(rows)} groups"
            )
        dropped = DROPPING.search(target.name.lower()) or (
            not name.isdigit() and DROPPING.search(name.lower())
        )
        return np.asarray(1.0 - keep if dropped else keep, float)
    raise NotAFilter


def rows_of_groups(scene: Scene, rewards: np.ndarray) -> list[list[int]]:
    """The rows of each group, of a table [Q, G] or by the scene's names."""
    if rewards.ndim == 2:
        width = rewards.shape[1]
        return [list(range(n * width, (n + 1) * width)) for n in range(len(rewards))]
    return members(scene)


def _returns_rows(target: KindTarget) -> bool:
    """True if the function returns what is left: of groups with a signal and without, fewer rewards than it got."""
    if target.caller.layout == "group" or not target.takes("rewards"):
        return False
    if "rows" not in target.compiled:
        scene = scene_of(target, [[1.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
        try:
            result, _ = target.caller.raw(scene, target.library.wide)
        except Raised:
            return False  # another way of calling it may work
        target.compiled["rows"] = {"left": shrinks(target, result, scene)}
    return bool(target.compiled["rows"]["left"])


def _kind_of(target: KindTarget, value: Any) -> str:
    """The word for what a returned value is: "bool", "index", "" for other numbers."""
    if isinstance(value, list | tuple) and value:
        value = value[0]
    name = target.library.dtype_of(value) or type(value).__name__
    if name.startswith("bool"):
        return "bool"
    if isinstance(value, list | tuple) or (np.ndim(value) == 1 and re.match(r"u?int", name)):
        return "index"
    return "index" if isinstance(value, int) else ""


def _of_rows(target: KindTarget, dtype: str) -> bool:
    """True if the indices are those of rows: where all groups are kept, there are more of them than groups.

    One answer cannot tell: rows 0 and 1 of the first group might be the groups 0 and 1.
    """
    for group in (
        [1.0, 0.0, 0.0],
        [1.0, 1.0, 1.0],
    ):  # all have a signal; none, for one that is the wrong way round
        groups = [group] * (1 if target.caller.layout == "group" else 3)
        scene = scene_of(target, groups)
        if target.caller.layout == "group":
            scene |= {role: np.asarray(scene[role])[0] for role in ("rewards", "correct") if role in scene}
        result, _ = target.caller.raw(scene, dtype)
        if any(
            np.size(value) > len(groups) for value in result.values() if _kind_of(target, value) == "index"
        ):
            return True
    return False


def _chosen(indices: np.ndarray, rows: int, groups: int, of_rows: bool) -> np.ndarray:
    """The verdicts of a list of indices, of rows or of groups."""
    wide = of_rows or bool(len(indices) > groups or np.any(indices >= groups))
    out = np.zeros(rows if wide else groups)
    if np.any((indices < 0) | (indices >= rows)) or len(set(indices.tolist())) < len(indices):
        raise BadOutput(f"returned the indices {shown(indices)} for {rows} rollouts in {groups} groups")
    out[indices.astype(int)] = 1.0
    return out
