"""The law of losses about half precision, in the loss's own library."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
from hypothesis import strategies as st

from gradvar.testing.calls import Raised
from gradvar.testing.digits import shown
from gradvar.testing.laws.base import Example, Law, Residue, expect_pair
from gradvar.testing.laws.loss_batches import plain_batch
from gradvar.testing.losses import LossBatch, LossTarget
from gradvar.testing.strategies import rounded

UNITS = {"bfloat16": 2.0**-8, "float16": 2.0**-11}
SLACK = 16
"""The rounding steps that a loss may lose: about ten operations a token, each off by half a step or one."""
MOVES = (0.05, 0.5, -0.5, 0.0)
"""Log-ratios inside every usual clip and outside: near a bound, rounding decides which side a token is on."""


def half_precision_weights(target: LossTarget, dtype: str, move: float, layout: str, size: int) -> None:
    """Log-probabilities in half precision give what the same numbers give in full, up to sixteen rounding steps.

    Broken by an epsilon that is zero in float16, by a count or a sum beyond 65504, by a constant in another dtype that
    stops the backward pass. Not judged: what a mask in half precision alone does (trainers hand it as integers or
    booleans), and weights that such a rounding of the log-probabilities moves in full precision too, at the bound of a
    clip. Report: OpenRLHF/OpenRLHF#1334 (dtypes of group statistics), NVIDIA-NeMo/RL#4158.

    Args:
        target: The loss.
        dtype: float16 or bfloat16.
        move: The log-ratio of every other token; minus it for the rest.
        layout: Where the tokens stand in a row; one row has none.
        size: The batch is repeated so many times.
    """
    batch = rounded_batch(_batch(move, layout, size), dtype)
    value, weights = target.weights(batch)
    if not (np.isfinite(value) and np.isfinite(weights).all()):
        return  # another law's finding
    unit = UNITS[dtype]
    reach = SLACK * unit * float(np.max(np.abs(weights), initial=0.0))
    size_of_terms = max(abs(value), float(np.sum(np.abs(weights))))

    def holds(answer: tuple[float, np.ndarray]) -> bool:
        near = bool(np.all(np.abs(weights - answer[1]) <= reach))
        return near and bool(abs(value - answer[0]) <= SLACK * unit * size_of_terms)

    try:
        half_value, half_weights = target.weights(batch, dtype)
    except Raised as error:
        raise Residue(f"{dtype} is refused: {error}") from error
    if holds((half_value, half_weights)):
        return
    usual = _with_usual_mask(target, batch, dtype)
    if usual is not None and holds(usual):
        raise Residue(f"{dtype}: what goes wrong with a mask of that dtype goes right with another")
    if not all(np.allclose(weights, w, rtol=0, atol=reach) for w in _nearby(target, batch, unit)):
        raise Residue(f"{dtype}: rounding decides on which side of a bound a token lies")
    text = f"{dtype}, log-ratios {move:+g} and {-move:+g}, {len(weights)} rollouts"
    off = ~(np.abs(weights - half_weights) <= reach)
    if off.any():
        place = tuple(int(n) for n in np.argwhere(off)[0])
        where = f"{text}: the weight of token {list(place)} is {{}}, in full precision {{}}"
        expect_pair(False, half_weights[place], weights[place], where)
    expect_pair(
        False,
        half_value,
        value,
        f"{text}: the value is {{}}, in full precision {{}}; weights {shown(weights[0])}",
    )


def _with_usual_mask(target: LossTarget, batch: LossBatch, dtype: str) -> tuple[float, np.ndarray] | None:
    """The answer to the batch in this dtype with a mask of integers, or of single precision; None if neither runs."""
    if target.mask_as != "float" or not target.takes("mask"):
        return None
    for mask_as in ("int32" if target.library.name == "jax" else "int64", "float32"):
        with contextlib.suppress(Raised, TypeError):
            return replace(target, mask_as=mask_as, compiled={}).weights(batch, dtype)
    return None


def _nearby(target: LossTarget, batch: LossBatch, unit: float) -> Iterator[np.ndarray]:
    """The weights in full precision where every log-probability is off by up to four rounding steps."""
    shuffle = np.random.default_rng(0)
    for _ in range(8):
        steps = unit * np.maximum(np.abs(batch.logp), 1.0) * shuffle.uniform(-4.0, 4.0, batch.logp.shape)
        yield target.weights(replace(batch, logp=batch.logp + steps))[1]


def _batch(move: float, layout: str, size: int) -> LossBatch:
    batch = plain_batch(moved=False, lengths=(3, 0, 4, 3), layout=layout)
    signs = np.where(np.indices(batch.mask.shape).sum(0) % 2, -1.0, 1.0)
    batch = replace(batch, logp=batch.old_logp + move * signs)
    return batch.rows(np.tile(np.arange(len(batch.mask)), size))


def rounded_batch(batch: LossBatch, dtype: str) -> LossBatch:
    """The batch whose numbers the dtype holds exactly."""
    names = ("logp", "old_logp", "ref_logp", "sampler_logp", "advantages", "entropy")
    parts = {name: getattr(batch, name) for name in names}
    return replace(
        batch, **{n: np.vectorize(lambda x: rounded(x, dtype))(a) for n, a in parts.items() if a is not None}
    )


def _examples(target: LossTarget) -> st.SearchStrategy[Example]:
    return _examples_in(target.library.name)


@cache
def _examples_in(library: str) -> st.SearchStrategy[Example]:
    return st.fixed_dictionaries(
        {
            # each further dtype is a compilation in JAX
            "dtype": st.sampled_from(sorted(UNITS) if library == "torch" else ["bfloat16"]),
            "move": st.sampled_from(MOVES),
            "layout": st.sampled_from(("right", "holes")),
            "size": st.just(1) if library == "jax" else st.sampled_from((1, 8)),
        }
    )


def _has_autodiff(target: LossTarget) -> str:
    if target.library.name not in ("torch", "jax"):
        return "a NumPy loss is differentiated in double precision"
    return "it takes logits" if target.takes("logits") else ""


LAWS = (Law("half_precision_weights", half_precision_weights, _examples, _has_autodiff, universal=True),)
