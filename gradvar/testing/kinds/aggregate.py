"""Losses of tokens made one number, as a trainer's own helper does it; masked means and whitened values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from gradvar.testing.kinds.averages import averages_of, observed
from gradvar.testing.kinds.base import Answer, Kind, KindTarget, KnownForm
from gradvar.testing.kinds.common import EMPTY_ROWS, EVERY, masked_law
from gradvar.testing.kinds.draws import Choice, Draw, Plan, Rows, Scene, Unit, holes, right

LOSSES = (0.5, -1.0, 2.0, 0.25, -0.5, 1.5)
ROLES = frozenset({"token_loss", "mask", "token_count", "sequence_ids", "max_length", "row_count"})


def plan(target: KindTarget) -> Plan:
    """Rows of unequal length; packed sequences end inside a row."""
    drawn: dict[str, Unit] = {
        "token_loss": Draw("NT", LOSSES), "mask": Rows(right), "token_count": Draw("", (10.0, 7.0)),
        "sequence_ids": Choice(_packs), "max_length": Draw("", (8, 20)), "row_count": Draw("", (4, 6)),
    }  # fmt: skip
    return {role: draw for role, draw in drawn.items() if target.takes(role)}


def _packs(size: Mapping[str, int]) -> Sequence[np.ndarray]:
    """Sequences numbered through the batch, two or three in a row [N, T]."""
    rows, steps = size["N"], size["T"]
    place = np.arange(steps)[None, :] + np.zeros((rows, 1), int)
    start = 3 * np.arange(rows)[:, None]
    return [start + (place >= 1), start + (place >= 1) + (place >= 2), start + (place >= steps - 1)]


def _packed(scene: Scene) -> np.ndarray:
    """The weight of each token in a mean over sequences of their token means, [N, T]."""
    counts, ids = np.asarray(scene["mask"], float) > 0, np.asarray(scene["sequence_ids"])
    out = np.zeros(ids.shape)
    present = np.unique(ids[counts])
    for label in present:
        cells = counts & (ids == label)
        out[cells] = 1 / (cells.sum() * len(present))
    return out


def _weighted(weights: Callable[[Scene], np.ndarray]) -> Callable[[Scene], Answer]:
    def answer(scene: Scene) -> Answer:
        share = weights(scene)
        return {
            "value": np.asarray((share * np.asarray(scene["token_loss"], float)).sum()),
            "gradient of token_loss": share,
        }

    return answer


def _whitened(ddof: int, centred: bool) -> Callable[[Scene], Answer]:
    def answer(scene: Scene) -> Answer:
        cells = np.asarray(scene["token_loss"], float)
        counts = np.asarray(scene["mask"], float) > 0 if "mask" in scene else np.ones(cells.shape, bool)
        real = cells[counts]
        scale = np.sqrt(real.var(ddof=min(ddof, len(real) - 1)) + 1e-8)
        out = (cells - real.mean()) / scale + (0.0 if centred else real.mean())
        return {"value": np.where(counts, out, np.nan)}

    return answer


def forms(target: KindTarget) -> Sequence[KnownForm]:
    """Every known average; over packed sequences, a constant length or a given number of rows; whitened values."""
    gradients = ("token_loss",)
    cells = {"loss": lambda s: np.asarray(s["token_loss"], float)}
    plain = averages_of(target, "aggregation", cells, {}, gradients)
    taken = [r for r in ("sequence_ids", "max_length", "row_count") if target.takes(r)]
    if "sequence_ids" in taken:
        slip = "a packed row is taken for one sequence"
        plain = [
            KnownForm(f.name, f.answer, f.note, slip) if "row" in f.note and not f.fault else f for f in plain
        ]
        plain.insert(
            0, KnownForm("aggregation", _weighted(_packed), "a mean over sequences of their token means")
        )
    for role in taken:
        if role == "sequence_ids":
            continue
        for over_rows in (True, False):

            def share(scene: Scene, role: str = role, over_rows: bool = over_rows) -> np.ndarray:
                counts = np.asarray(scene["mask"], float) > 0
                rows = 1 if role == "row_count" or not over_rows else len(counts)
                tokens = (
                    np.maximum(counts.sum(-1, keepdims=True), 1) if role == "row_count" and over_rows else 1
                )
                return np.asarray(counts / (float(scene[role]) * rows * tokens), float)

            words = f"over {role.replace('_', ' ')}{', a mean over rows' if over_rows else ''}"
            plain.append(KnownForm("aggregation", _weighted(share), words))
    white = [
        KnownForm(
            "whitened", _whitened(ddof, centred), f"ddof {ddof}{'' if centred else ', around the mean'}"
        )
        for ddof in (0, 1)
        for centred in (True, False)
    ]
    return sorted([*plain, *white], key=lambda form: bool(form.fault))


def observe(target: KindTarget, scene: Scene) -> Answer:
    """The number and its derivative by the losses of the tokens."""
    return observed(target, scene, ("token_loss",))


def readings(roles: Mapping[str, str]) -> Sequence[Mapping[str, str]]:
    """Values and a mask alone are numbers to average; ids beside losses of tokens are those of packed sequences."""
    other = {"values": "token_loss", "ids": "sequence_ids"}
    return [{name: other.get(role, role) for name, role in roles.items()}]


def _fits(roles: frozenset[str]) -> bool:
    if roles == {"values", "mask"}:
        return True
    return {"token_loss", "mask"} <= roles <= ROLES | {"ids"} and not {"ids", "sequence_ids"} <= roles


AGGREGATE = Kind(
    "aggregation",
    "losses of tokens made one number, or whitened: per_token_loss, mask, token_count -> loss",
    _fits,
    plan,
    observe,
    forms,
    (*EVERY, masked_law(lambda steps: [*right(steps), *holes(steps)]), EMPTY_ROWS),
    sizes=({"N": 2, "T": 3}, {"N": 3, "T": 4}),
    matters=("token_loss", "mask", "token_count", "max_length", "row_count"),
    scaled=True,
    gradients=True,
    readings=readings,
)
