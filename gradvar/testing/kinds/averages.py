"""From numbers for each token to what a function returns: the known ways to average, and derivatives of forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from gradvar.testing.kinds.base import Answer, KindTarget, KnownForm
from gradvar.testing.kinds.draws import Scene

STEP = 1e-5
WAYS = (
    "a mean over tokens", "a mean over rows of their token means", "a sum over tokens",
    "a mean over rows of their token sums", "a sum over tokens, over the token count", "for each token",
    "a mean for each row", "a sum for each row",
)  # fmt: skip
MISTAKES = {
    "a mean over all cells": "it is a mean over padding too",
    "a mean over rows that divides by the row's width": "each row is divided by its padded width",
}
"""Ways to average that count masked cells, in words."""


def averaged(cells: np.ndarray, scene: Scene, way: str) -> np.ndarray:
    """Numbers for each token [N, T], averaged in one of ``WAYS`` or ``MISTAKES`` over the tokens that count."""
    mask = _mask(cells, scene)
    if way == "for each token":
        return np.where(mask, cells, np.nan)
    products = np.where(mask, cells, 0.0) * weights(mask, scene, way)
    if way == "a mean for each row":
        return np.where(mask.any(-1), products.sum(-1), np.nan)
    return np.asarray(products.sum(-1) if way == "a sum for each row" else products.sum())


def weights(mask: np.ndarray, scene: Scene, way: str) -> np.ndarray:
    """The weight of each token that counts, [N, T]."""
    rows, counts, total = len(mask), np.maximum(mask.sum(-1, keepdims=True), 1), max(mask.sum(), 1)
    shares = {
        "a mean over tokens": 1 / total,
        "a mean over rows of their token means": 1 / (rows * counts),
        "a mean over rows of their token sums": 1 / rows,
        "a sum over tokens, over the token count": 1 / float(scene.get("token_count", 1.0)),
        "a mean for each row": 1 / counts,
        "a mean over all cells": 1 / mask.size,
        "a mean over rows that divides by the row's width": 1 / (rows * mask.shape[-1]),
    }
    return np.asarray(mask * shares.get(way, 1.0), float)


def _mask(cells: np.ndarray, scene: Scene) -> np.ndarray:
    return np.asarray(scene["mask"], float) > 0 if "mask" in scene else np.ones(cells.shape, bool)


def derivative(cell: Callable[[Scene], np.ndarray], scene: Scene, role: str, way: str) -> np.ndarray:
    """The derivative of an average by the array of this role, where each token's number depends on its own cell.

    Args:
        cell: The numbers for each token, [N, T].
        scene: The point.
        role: The array that is moved, [N, T] or [N, T, V].
        way: The way to average.
    """
    start = np.asarray(scene[role], float)
    columns = [np.ones(start.shape)] if start.ndim == 2 else list(_columns(start.shape))
    out = np.zeros_like(start)
    for column in columns:
        ends = [cell({**scene, role: start + step * column}) for step in (STEP, -STEP)]
        slope = (ends[0] - ends[1]) / (2 * STEP)
        mask = _mask(slope, scene)
        shares = np.where(mask, 1.0, np.nan) if way == "for each token" else weights(mask, scene, way)
        slope = slope * shares
        out += (slope if start.ndim == 2 else slope[..., None]) * column
    return out


def _columns(shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    for place in range(shape[-1]):
        column = np.zeros(shape)
        column[..., place] = 1
        yield column


def averages_of(
    target: KindTarget,
    name: str,
    cells: Mapping[str, Callable[[Scene], np.ndarray]],
    faults: Mapping[str, str],
    gradients: Sequence[str] = (),
    slopes: Mapping[str, Callable[[Scene], np.ndarray]] | None = None,
) -> list[KnownForm]:
    """The forms of a function of tokens: every formula in every way to average, mistakes last.

    Args:
        target: The function under test.
        name: The name of each form; "" for the formula's own.
        cells: Formulas [N, T] by their names.
        faults: The formulas among them that are mistakes, in words.
        gradients: The roles whose derivatives are compared too.
        slopes: Formulas whose derivative is another one's.
    """
    ways = [(way, "") for way in WAYS if way != WAYS[4] or target.takes("token_count")]
    if target.takes("mask"):
        ways += list(MISTAKES.items())
    out = []
    for way, slip in ways:
        for formula, cell in cells.items():
            fault = faults.get(formula, slip)
            answer = _answer(cell, way, gradients, (slopes or {}).get(formula, cell))
            out.append(KnownForm(name or formula, answer, f"{formula}, {way}" if name else way, fault))
    return sorted(out, key=lambda form: bool(form.fault))


def _answer(
    cell: Callable[[Scene], np.ndarray],
    way: str,
    gradients: Sequence[str],
    slope: Callable[[Scene], np.ndarray],
) -> Callable[[Scene], Answer]:
    def answer(scene: Scene) -> Answer:
        out = {"value": averaged(cell(scene), scene, way)}
        for role in gradients:
            out[f"gradient of {role}"] = derivative(slope, scene, role, way)
        return out

    return answer


def observed(target: KindTarget, scene: Scene, gradients: Sequence[str] = ()) -> Answer:
    """The function's value and its derivatives by these roles, in the names of ``averages_of``."""
    out = {"value": target.value(scene)}
    for role in gradients:
        out[f"gradient of {role}"] = target.gradient(scene, role)
    return out
