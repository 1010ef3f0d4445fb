"""A loss compared with an oracle: value and token weights, at log-ratios to +-20, masks with holes, any lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from gradvar.testing.digits import apart
from gradvar.testing.laws.base import Broken, Law
from gradvar.testing.losses import LossBatch, LossTarget
from gradvar.testing.matching.probe import resolution
from gradvar.testing.matching.shown import line, worst
from gradvar.testing.oracle import Oracle

FREE_VALUE = ("likelihood", "weight")
"""Surrogates that are defined by their gradient; trainers write their value in several ways."""
BY_TOKENS = ("token-mean", "token-sum", "token-count")


def tolerance(precision: float) -> float:
    """The relative difference that is allowed for a loss of that precision: 1e-6, in single precision 2e-4."""
    return 1e-6 if precision < 1e-6 else 2e-4


def loss_law(oracle: Oracle) -> Law:
    """The law that a loss is the oracle's: the same value, the same token weights."""
    precision: list[float] = []

    def check(target: LossTarget, shape: dict[str, Any]) -> None:
        """A loss that is called by a paper's name trains as the paper's, or as another.

        Broken by a clip on the wrong side, a mean over the padding, a KL term without its coefficient. Report:
        takuseno/ppo#3 (the minimum is taken before the advantage is multiplied).
        """
        if oracle.settings.get("beta") and not oracle.form.pairs and not target.takes("ref_logp"):
            raise Broken(f"the loss takes no reference log-probabilities; {oracle} has a KL term")
        if not precision:
            precision.append(resolution(target))
        batch = build(shape)
        difference(
            oracle, batch, target.weights(batch), tolerance(precision[0]), target.library.name == "numpy"
        )

    return Law("matches_oracle", check, lambda target: examples(oracle, target), universal=True)


def difference(
    oracle: Oracle, batch: LossBatch, seen: tuple[float, np.ndarray], relative: float, numeric: bool = False
) -> None:
    """Raise ``Broken`` with both answers where a loss is not the oracle's.

    Args:
        oracle: The estimator.
        batch: Where the two are compared.
        seen: The function's value and weights.
        relative: The relative difference that is allowed.
        numeric: The weights come from central differences, which err by 1e-9 of the value, and by 1e-10 of the terms
            that cancel in it.
    """
    value, weights = seen
    other_value, other = oracle.loss(batch)
    moves = line(np.where(batch.mask, batch.logp - batch.old_logp, 0.0), 4)
    if oracle.settings.get("beta") and batch.ref_logp is not None:
        moves += f", to the reference {line(np.where(batch.mask, batch.logp - batch.ref_logp, 0.0), 4)}"
    where = f"advantages {line(batch.advantages)}, log-ratios {moves}, mask {line(batch.mask)}"
    size = float(np.abs(other).sum())  # a term of the loss is about as large as its derivative
    noise = 1e-14 * float(np.abs(other).max(initial=0.0))
    if numeric:
        noise = 3e-9 * max(1.0, abs(other_value)) + 3e-10 * size
    typical = float(np.abs(batch.advantages).max(initial=0.0)) / max(batch.mask.size, 1)
    place = worst(weights, other, relative * (np.abs(other) + typical) + noise)
    if place is not None:
        first, second = apart(float(weights[place]), float(other[place]))
        raise Broken(
            f"{where}: token weights {line(weights)}; {oracle} has {line(other)}: rollout {place[0]}, token "
            f"{place[1]} has {first}, not {second} (tolerance {relative:g})"
        )
    if oracle.form.surrogate in FREE_VALUE:
        return
    if not abs(value - other_value) <= relative * (abs(other_value) + size + 1e-3):
        first, second = apart(value, other_value)
        raise Broken(f"{where}: the weights agree; the objective's value is {first}, {oracle} has {second}")


def build(shape: dict[str, Any]) -> LossBatch:
    """The batch that the plain numbers of an example describe."""
    cells = shape["rows"]
    mask = np.array([[keep for keep, _ in row] for _, row in cells], bool)
    mask[:, 0] |= ~mask.any(-1)
    if shape["empty"] is not None:
        mask[shape["empty"]] = False
    moves = np.array([[move for _, move in row] for _, row in cells])
    place = np.arange(mask.size).reshape(mask.shape)
    old = -0.5 - 0.25 * (place % 5)
    logp = old + np.where(mask, moves, 0.0)
    ref = logp - shape["distance"] * np.where(place % 3 == 0, 1.0, -0.5)
    return LossBatch(
        logp, old, np.array([a for a, _ in cells]), mask, shape["group"], ref, token_count=shape["count"]
    )


def examples(oracle: Oracle, target: LossTarget) -> st.SearchStrategy[dict[str, Any]]:
    """Loss batches as plain numbers; few shapes for a library that compiles each of them."""
    compact = target.library.name == "jax"
    free = "empty" in oracle.given or oracle.settings.get("aggregation") in BY_TOKENS
    free = free and target.takes("mask")
    kept = st.sampled_from([True, True, False]) if target.takes("mask") else st.just(True)
    cell = st.tuples(kept, st.sampled_from(log_ratios(oracle)))
    advantage = st.sampled_from([1.0, -1.0, 0.5, -2.0, 0.0])

    def of_shape(sizes: tuple[int, int, int]) -> st.SearchStrategy[dict[str, Any]]:
        rows, steps, group = sizes
        row = st.tuples(advantage, st.lists(cell, min_size=steps, max_size=steps).map(tuple))
        return st.fixed_dictionaries(
            {
                "rows": st.lists(row, min_size=rows, max_size=rows).map(tuple),
                "group": st.just(group),
                "empty": st.sampled_from([None, 0, 1]) if free else st.none(),
                "count": st.sampled_from([None, 40.0]) if target.takes("token_count") else st.none(),
                "distance": st.sampled_from([0.1, 0.5, -1.0, 2.0]),
            }
        )

    sizes = [(4, 4, 2)] if compact else [(2, 1, 2), (2, 3, 2), (4, 4, 2), (6, 5, 3)]
    return st.fixed_dictionaries({"shape": st.sampled_from(sizes).flatmap(of_shape)})


def log_ratios(oracle: Oracle) -> list[float]:
    """Zero, small and extreme ones, and both sides of the oracle's clip bounds; never on one."""
    low, high, dual = (oracle.settings.get(n) for n in ("clip_low", "clip_high", "dual"))
    if oracle.form.surrogate == "geometric":
        edges = [-float(oracle.settings["clip_low"]), float(oracle.settings["clip_high"])]
    else:
        edges = [np.log1p(high)] if high is not None else []
        edges += [np.log1p(-low)] if low is not None and low < 1 else []
        edges += [np.log(dual)] if dual else []
    near = [float(edge) * side for edge in edges for side in (0.98, 1.02)]
    return [0.0, 0.05, -0.05, 1e-4, -1e-4, *near, 0.5, -0.5, 1.5, -1.5, 4.0, -4.0, 20.0, -20.0]
