"""Groups of rollouts in scenes: named row by row in any order, or as runs of equal length."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gradvar.testing.kinds.base import KindTarget
from gradvar.testing.kinds.draws import Choice, Draw, Rows, Scene

NAMES = {
    4: ((0, 0, 1, 1), (0, 1, 0, 1)),
    6: ((0, 0, 0, 1, 1, 1), (0, 1, 0, 1, 0, 1), (0, 0, 1, 1, 2, 2), (0, 1, 1, 0, 0, 1)),
}
"""The group of each rollout, by the number of rollouts."""


def _names(size: Mapping[str, int]) -> list[np.ndarray]:
    return [np.array(names) for names in NAMES[size["N"]]]


def _runs(size: Mapping[str, int]) -> list[int]:
    return [size["N"] // 2] if size["N"] < 6 else [3, 2]


def groupings(target: KindTarget) -> dict[str, Draw | Rows | Choice]:
    """The entries of a plan that say which rollouts belong together; runs where both names and a count are taken."""
    both = target.takes("count") and (target.takes("ids") or target.takes("prompts"))
    names = Choice(lambda size: _names(size)[:1] if both else _names(size))
    counts = Choice(lambda size: _runs(size)[:1] if both else _runs(size))
    return {"ids": names, "prompts": names, "count": counts, "row_count": Choice(lambda size: [size["N"]])}


def takes_groups(target: KindTarget) -> bool:
    """Return True if the function is told which rollouts belong together."""
    return any(target.takes(role) for role in ("ids", "prompts", "count"))


def members(scene: Scene) -> list[list[int]]:
    """The rows of each group, groups by first appearance; all rows where the scene names none."""
    rows = len(
        next(
            scene[role] for role in ("reward_matrix", "token_rewards", "rewards", "correct") if role in scene
        )
    )
    labels = np.zeros(rows, int)
    if "count" in scene:
        labels = np.arange(rows) // int(scene["count"])
    for role in ("prompts", "ids"):
        labels = np.asarray(scene.get(role, labels))
    return [np.flatnonzero(labels == label).tolist() for label in dict.fromkeys(labels.tolist())]
