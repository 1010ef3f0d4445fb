"""Scenes: the arrays that a kind of function is called with, drawn by Hypothesis or from a plain generator.

A plan names for each role the axes of its array and the values that its cells may have; a law changes the entries of
the plan that it is about. Values shrink towards the first of their palette, masks towards full ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

Scene = dict[str, Any]

REWARDS = (0.0, 1.0, -1.0, 0.5, 2.0, -0.25)
VALUES = (0.0, 1.0, 0.5, -0.5, 0.3, 2.0)
LOG_PROBS = (-1.0, -0.5, -2.0, -0.125, -3.0, -0.75)
SMALL = (0.0, 0.1, -0.1, 0.05, -0.3, 0.2)


@dataclass(frozen=True)
class Draw:
    """An array with these axes ("" for one number), each cell from the palette."""

    axes: str
    palette: Sequence[Any]


@dataclass(frozen=True)
class Rows:
    """An array [N, T], each row from the patterns of that length."""

    patterns: Callable[[int], Sequence[Sequence[float]]]


@dataclass(frozen=True)
class Choice:
    """An array made by ``make(sizes)`` out of one of these choices."""

    choices: Callable[[Mapping[str, int]], Sequence[Any]]


Unit = Draw | Rows | Choice
Plan = Mapping[str, Unit]


def full(steps: int) -> list[list[float]]:
    """The only row of a mask under which every token counts."""
    return [[1.0] * steps]


def right(steps: int) -> list[list[float]]:
    """Right padding of any length, at least one token left."""
    return [[1.0] * n + [0.0] * (steps - n) for n in range(steps, 0, -1)]


def left(steps: int) -> list[list[float]]:
    """Left padding of any length, at least one token left."""
    return [[0.0] * (steps - n) + [1.0] * n for n in range(steps, 0, -1)]


def holes(steps: int) -> list[list[float]]:
    """Observation tokens inside the response; the first and the last token count."""
    if steps < 3:
        return full(steps)
    middle = [[1.0, *([0.0] * n), *([1.0] * (steps - 1 - n))] for n in range(1, steps - 1)]
    return [*middle, [1.0, *[1.0] * (steps - 3), 0.0, 1.0]]


def ragged(steps: int) -> list[list[float]]:
    """Right padding, holes and rows without a token."""
    return [*right(steps), *holes(steps), [0.0] * steps]


def strategy(plan: Plan, sizes: Sequence[Mapping[str, int]]) -> st.SearchStrategy[Scene]:
    """The strategy of the plan's scenes, at one of the sizes (the number of cells of each axis)."""
    # built once for a size: Hypothesis validates each new object, which takes longer than to draw from it
    of_size = cache(lambda index: _of_size(plan, sizes[index]))
    return st.sampled_from(range(len(sizes))).flatmap(of_size)


def _of_size(plan: Plan, size: Mapping[str, int]) -> st.SearchStrategy[Scene]:
    parts: dict[str, st.SearchStrategy[Any]] = {}
    for role, entry in plan.items():
        if isinstance(entry, Choice):
            parts[role] = st.sampled_from(list(entry.choices(size)))
        elif isinstance(entry, Rows):
            rows = st.sampled_from([list(r) for r in entry.patterns(size["T"])])
            parts[role] = st.lists(rows, min_size=size["N"], max_size=size["N"]).map(np.array)
        elif not entry.axes:
            parts[role] = st.sampled_from(list(entry.palette))
        else:
            shape = tuple(size[a] for a in entry.axes)
            count = int(np.prod(shape))
            if "V" in entry.axes:  # one draw for all: a draw for each cell takes longer than the call
                parts[role] = st.integers(0, 255).map(partial(_by_number, shape, entry.palette))
                continue
            cells = st.lists(st.sampled_from(list(entry.palette)), min_size=count, max_size=count)
            parts[role] = cells.map(partial(_reshaped, shape))
    return st.fixed_dictionaries(parts)


def _by_number(shape: tuple[int, ...], palette: Sequence[Any], number: int) -> np.ndarray:
    """An array of this number, from the palette; the first one is constant."""
    if number == 0:
        return np.full(shape, palette[0])
    return np.array(palette)[np.random.default_rng(number).integers(len(palette), size=shape)]


def _reshaped(shape: tuple[int, ...], cells: list[Any]) -> np.ndarray:
    return np.array(cells).reshape(shape)


def sample(plan: Plan, sizes: Sequence[Mapping[str, int]], seed: int) -> Scene:
    """One scene of the plan at one of the two largest sizes, always the same for the seed."""
    rng = np.random.default_rng(seed)
    size = sizes[-1 - seed % min(2, len(sizes))]
    scene: Scene = {}
    for role, entry in plan.items():
        if isinstance(entry, Choice):
            choices = list(entry.choices(size))
            scene[role] = choices[int(rng.integers(len(choices)))]
        elif isinstance(entry, Rows):
            patterns = [list(r) for r in entry.patterns(size["T"])]
            scene[role] = np.array([patterns[int(rng.integers(len(patterns)))] for _ in range(size["N"])])
        elif not entry.axes:
            scene[role] = entry.palette[int(rng.integers(len(entry.palette)))]
        else:
            shape = tuple(size[a] for a in entry.axes)
            scene[role] = np.array(entry.palette)[rng.integers(len(entry.palette), size=shape)]
    return scene


def samples(plan: Plan, sizes: Sequence[Mapping[str, int]]) -> st.SearchStrategy[Scene]:
    """Scenes of the plan drawn whole, by a number; the first ones hold the first two values of each palette.

    Drawing is cheap, where cell by cell it costs more than the call; it shrinks to simple scenes, not to zeros.
    """
    return st.integers(0, 63).map(lambda seed: sample(_simple(plan) if seed < 16 else plan, sizes, seed))


def _simple(plan: Plan) -> Plan:
    return {r: Draw(d.axes, d.palette[:2]) if isinstance(d, Draw) else d for r, d in plan.items()}
