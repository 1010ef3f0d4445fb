"""Batches for the loss laws, their comparison up to rounding, and the losses that a law does not apply to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gradvar.testing import strategies as gen
from gradvar.testing.laws.base import Example
from gradvar.testing.losses import LossBatch, LossTarget

LAYOUTS = ("right", "left", "holes")


def make_batch(shape: dict[str, Any], moved: bool = True) -> LossBatch:
    """Build the batch that the plain numbers of ``strategies.loss_shapes`` describe."""
    mask = token_mask(shape["lengths"], shape["steps"], shape.get("layout", "right"))
    cells = np.arange(mask.size).reshape(mask.shape)
    old = np.asarray(shape["logps"])[cells % 3] - 0.01 * (cells % 7)
    move = np.asarray(shape["moves"])[cells % 2] if moved else 0.0
    # the reference stands a little off, so that a KL term takes part
    return LossBatch(old + move, old, np.asarray(shape["advantages"]), mask, shape["group"], old - 0.1)


def token_mask(lengths: Sequence[int], steps: int, layout: str = "right") -> np.ndarray:
    """The mask [N, T] of rows with so many tokens each: padded on the right, on the left, or with holes between."""
    count, place = np.asarray(lengths)[:, None], np.arange(steps)[None, :]
    if layout == "left":
        return place >= steps - count
    if layout == "holes":  # the tokens spread over the row: observations stand between them
        return (place + 1) * count // steps > place * count // steps
    return place < count


def plain_batch(
    moved: bool = True, lengths: Sequence[int] = (3, 3, 3, 3), layout: str = "right"
) -> LossBatch:
    """A batch of two prompts for probes, whose advantages have mean zero in each group."""
    shape = {
        "group": 2,
        "steps": 4,
        "lengths": lengths,
        "advantages": (1.0, -1.0, 0.5, -0.5),
        "logps": (-1.0, -1.5, -2.0),
        "moves": (0.05, -0.05),
        "layout": layout,
    }
    return make_batch(shape, moved)


def shifted_to(batch: LossBatch, row: int | slice, log_ratio: float) -> LossBatch:
    """The batch with the row's log-ratio as told; both log-probabilities stay below zero."""
    logp, old = batch.logp.copy(), batch.old_logp.copy()
    old[row] = batch.old_logp[row] - max(log_ratio, 0.0)
    logp[row] = batch.old_logp[row] + min(log_ratio, 0.0)
    return replace(batch, logp=logp, old_logp=old)


def padded(batch: LossBatch, columns: tuple[int, int]) -> LossBatch:
    """The batch with so many more columns of padding before and after."""
    wide = ((0, 0), columns)

    def filled(array: Any) -> Any:
        return None if array is None else np.pad(array, wide, constant_values=-1.0)

    return replace(
        batch,
        logp=filled(batch.logp),
        old_logp=filled(batch.old_logp),
        mask=np.pad(batch.mask, wide),
        ref_logp=filled(batch.ref_logp),
        second_mask=None if batch.second_mask is None else np.pad(batch.second_mask, wide),
    )


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
    """Loss batches as plain numbers, and further values to draw; one strategy for all losses of a library."""
    return _shapes(target.library.name == "jax", **more)


@cache
def _shapes(compact: bool, **more: st.SearchStrategy[Any]) -> st.SearchStrategy[Example]:
    return st.fixed_dictionaries({"shape": gen.loss_shapes(compact), **more})


def needs_roles(*roles: str) -> Callable[[LossTarget], str]:
    """The condition of a law about losses that take arrays of these roles."""
    words = {
        "mask": "a mask",
        "old_logp": "old log-probabilities",
        "ref_logp": "reference log-probabilities",
        "token_count": "a token count",
        "entropy": "entropies",
        "second_mask": "a second mask",
        "sampler_logp": "log-probabilities of the sampler",
    }

    def applies(target: LossTarget) -> str:
        return next(
            (f"the loss takes no {words[r].removeprefix('a ')}" for r in roles if not target.takes(r)), ""
        )

    return applies
