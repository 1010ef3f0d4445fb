"""Known ways to combine rewards of several functions [N, K], and to make advantages of groups of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from gradvar.testing.kinds.base import Answer, KindTarget, KnownForm
from gradvar.testing.kinds.draws import Scene
from gradvar.testing.kinds.grouped import members, takes_groups

SPREAD = 1e-3
"""The smallest spread of a function's rewards in a group whose standardised values are compared with a form."""


def weights_of(scene: Scene) -> np.ndarray:
    """The weight of each function [K]; one where the function under test takes none."""
    matrix = np.asarray(scene["reward_matrix"], float)
    return np.asarray(scene.get("reward_weights", np.ones(matrix.shape[1])), float)


def weighted_sum(scene: Scene) -> np.ndarray:
    """The sum over functions of weight times reward [N]; a missing reward adds nothing (TRL's ``nansum``)."""
    return np.asarray(np.nansum(np.asarray(scene["reward_matrix"], float) * weights_of(scene), axis=1))


def weighted_mean(scene: Scene) -> np.ndarray:
    """The mean over the functions that scored a row, by weight [N]."""
    matrix, weights = np.asarray(scene["reward_matrix"], float), weights_of(scene)
    scored = np.where(np.isnan(matrix), 0.0, weights).sum(1)
    return np.asarray(np.nansum(matrix * weights, axis=1) / scored)


def standardised(columns: np.ndarray, scene: Scene, ddof: int | None, eps: float) -> np.ndarray:
    """Each column [N, K] less its group's mean, over its group's std plus eps; NaN where that amplifies rounding.

    Args:
        columns: The columns.
        scene: What names the groups.
        ddof: 1 or 0, the degrees of freedom of the std; None divides by nothing.
        eps: What is added to the std.
    """
    out = np.zeros(columns.shape)
    for rows in members(scene):
        part = columns[rows]
        centred = part - np.nanmean(part, axis=0)
        if ddof is not None:
            spread = np.nanstd(part, axis=0, ddof=ddof)
            centred = np.where(
                spread > SPREAD, centred / (spread + eps), np.where(np.ptp(part, axis=0), np.nan, 0.0)
            )
        out[rows] = centred
    return out


def reward_forms(target: KindTarget) -> Sequence[KnownForm]:
    """Weighted sums and means; for groups their centred and standardised forms, and GDPO (arXiv 2601.05242)."""
    out = []
    combined = {"weighted_sum": weighted_sum, "weighted_mean": weighted_mean}
    if not takes_groups(target):
        out = [KnownForm(name, partial(_answer, combine)) for name, combine in combined.items()]
    else:
        for ddof, eps in ((None, 0.0), *((d, e) for d in (1, 0) for e in (1e-4, 1e-6, 1e-8))):
            scale = "centred" if ddof is None else f"ddof {ddof}, eps {eps:g}"
            for name, combine in combined.items():
                out.append(KnownForm(name, partial(_of_groups, combine, ddof, eps), scale))
            if ddof is not None:
                out.append(KnownForm("gdpo", partial(_decoupled, ddof, eps), scale))
    return [*out, KnownForm("reward_matrix", lambda scene: {}, "of any form")]


def _answer(combine: Callable[[Scene], np.ndarray], scene: Scene) -> Answer:
    return {"value": combine(scene)}


def _of_groups(combine: Callable[[Scene], np.ndarray], ddof: int | None, eps: float, scene: Scene) -> Answer:
    return {"value": standardised(combine(scene)[:, None], scene, ddof, eps)[:, 0]}


def _decoupled(ddof: int, eps: float, scene: Scene) -> Answer:
    columns = standardised(np.asarray(scene["reward_matrix"], float), scene, ddof, eps)
    return {"value": (columns * weights_of(scene)).sum(1)}
