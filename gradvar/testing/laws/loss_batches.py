"""Batches for the loss laws, their comparison up to rounding, and the losses that a law does not apply to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gradvar.testing import strategies as gen
from gradvar.testing.laws.base import Example
from gradvar.testing.targets import LossBatch, LossTarget


def make_batch(shape: dict[str, Any], moved: bool = True) -> LossBatch:
    """Build the batch that the plain numbers of ``strategies.loss_shapes`` describe."""
    count = np.asarray(shape["lengths"])
    rows, steps = len(count), shape["steps"]
    cells = np.arange(rows * steps).reshape(rows, steps)
    old = np.asarray(shape["logps"])[cells % 3] - 0.01 * (cells % 7)
    move = np.asarray(shape["moves"])[cells % 2] if moved else 0.0
    mask = np.arange(steps)[None, :] < count[:, None]
    # the reference stands a little off, so that a KL term takes part
    return LossBatch(old + move, old, np.asarray(shape["advantages"]), mask, shape["group"], old - 0.1)


def parallel(vector: np.ndarray, other: np.ndarray, rtol: float = 1e-4) -> bool:
    """Return True if the vector is a positive multiple of the other."""
    norms = float(np.linalg.norm(vector) * np.linalg.norm(other))
    return norms > 0 and float(np.sum(vector * other)) >= norms * (1 - rtol**2 / 2) - 1e-12


def slack(target: LossTarget) -> float:
    """The error allowed in a weight: rounding in the framework's widest dtype or in central differences."""
    return 1e-6 if target.library.wide == "float64" else 1e-5


def same(target: LossTarget, value: Any, other: Any) -> bool:
    """Return True if both are equal up to ``slack``, relative to the largest entry if that exceeds one."""
    value, other = np.asarray(value, float), np.asarray(other, float)
    scale = max(1.0, float(np.max(np.abs(value), initial=0.0)))
    return bool(np.allclose(value, other, rtol=0, atol=3 * slack(target) * scale, equal_nan=True))


def shapes(target: LossTarget, **more: st.SearchStrategy[Any]) -> st.SearchStrategy[Example]:
    """Loss batches as plain numbers, and further values to draw."""
    return st.fixed_dictionaries({"shape": gen.loss_shapes(target.library.name == "jax"), **more})


def needs_roles(*roles: str) -> Callable[[LossTarget], str]:
    """The condition of a law about losses that take arrays of these roles."""
    words = {"mask": "a mask", "old_logp": "old log-probabilities", "ref_logp": "reference log-probabilities"}

    def applies(target: LossTarget) -> str:
        return next(
            (f"the loss takes no {words[r].removeprefix('a ')}" for r in roles if not target.takes(r)), ""
        )

    return applies
