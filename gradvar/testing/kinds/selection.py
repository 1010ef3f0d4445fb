"""Masks of the tokens that are trained on, chosen by their entropy: the top share of the tokens that count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradvar.testing.calls import BadOutput
from gradvar.testing.digits import apart
from gradvar.testing.kinds.base import Answer, Kind, KindTarget, KnownForm, told
from gradvar.testing.kinds.common import EVERY, masked_law, padded, plain_examples
from gradvar.testing.kinds.draws import Draw, Plan, Rows, Scene, Unit, holes, right
from gradvar.testing.laws.base import Law, expect

# differences of a quarter and more: no rounding decides a quantile
ENTROPIES = (0.25, 1.0, 2.5, 0.5, 3.25, 1.75, 4.0, 0.75)
COLUMNS = 3


def plan(target: KindTarget) -> Plan:
    """Rows of unequal length; a threshold is a share of the tokens."""
    drawn: dict[str, Unit] = {
        "entropy": Draw("NT", ENTROPIES), "mask": Rows(right), "cap": Draw("", (0.5, 0.8)),
    }  # fmt: skip
    return {role: draw for role, draw in drawn.items() if target.takes(role)}


def observe(target: KindTarget, scene: Scene) -> Answer:
    """The selection [N, T], zero or one. Raises ``BadOutput`` for anything else."""
    shape = np.shape(scene["entropy"])
    for value in target.outputs(scene).values():
        if value.shape == shape and bool(np.isin(value, (0, 1)).all()):
            return {"selected": np.asarray(value, float)}
    raise BadOutput(f"returned no selection of zeros and ones of shape {list(shape)}")


def forms(target: KindTarget) -> Sequence[KnownForm]:
    """Any share of the tokens; the laws decide."""
    return [KnownForm("selection", lambda scene: {}, "of any share")]


def selection_real(target: KindTarget, scene: Scene) -> None:
    """A masked token is not selected: it would be trained on, or counted. Report: huggingface/trl#3709."""
    chosen = (target.observe(scene)["selected"] > 0) & ~(np.asarray(scene["mask"]) > 0)
    expect(not chosen.any(), f"masked tokens {np.argwhere(chosen).tolist()} are selected; {told(scene)}")


def selection_padding(target: KindTarget, scene: Scene) -> None:
    """Columns of padding beside the batch select nothing else.

    Broken by a quantile over all places: entropies of padding are low, the threshold falls, and the share of real
    tokens that is trained on grows with the longest response. Report: huggingface/trl#3715.
    """
    before = target.observe(scene)["selected"]
    after = target.observe(padded(scene, COLUMNS))["selected"][:, : before.shape[1]]
    moved = (before != after) & (np.asarray(scene["mask"]) > 0)
    expect(
        not moved.any(),
        f"with {COLUMNS} columns of padding more, tokens {np.argwhere(moved).tolist()} change sides; {told(scene)}",
    )


def selection_ordered(target: KindTarget, scene: Scene) -> None:
    """Of the tokens that count, those above (or below) a line are selected, and no other.

    Broken by a comparison with the wrong sign beside a quantile, or by places that are mixed up. Report:
    huggingface/trl#3709.
    """
    real = np.asarray(scene["mask"]) > 0
    chosen = target.observe(scene)["selected"][real] > 0
    values = np.asarray(scene["entropy"], float)[real]
    if chosen.all() or not chosen.any():
        return
    inside, outside = values[chosen], values[~chosen]
    ordered = inside.min() >= outside.max() or inside.max() <= outside.min()
    low, high = apart(inside.min(), outside.max())
    expect(
        bool(ordered), f"entropy {low} is selected and {high} is not, and others the other way; {told(scene)}"
    )


def _law(name: str, check: Any) -> Law:
    return Law(name, check, plain_examples, universal=True)


SELECTION = Kind(
    "selection",
    "tokens chosen by their entropy: entropies, mask, threshold -> mask",
    lambda roles: {"entropy", "mask"} <= roles <= {"entropy", "mask", "cap"},
    plan,
    observe,
    forms,
    (
        *EVERY,
        masked_law(lambda steps: [*right(steps), *holes(steps)]),
        _law("selection_real", selection_real),
        _law("selection_padding", selection_padding),
        _law("selection_ordered", selection_ordered),
    ),
    sizes=({"N": 2, "T": 3}, {"N": 3, "T": 5}),
    matters=("entropy",),
)
