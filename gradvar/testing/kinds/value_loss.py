"""Losses of the critic: squared error, clipped around the old values, Huber."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gradvar.testing.kinds.averages import averages_of, observed
from gradvar.testing.kinds.base import Answer, Kind, KindTarget, KnownForm
from gradvar.testing.kinds.common import EMPTY_ROWS, EVERY, masked_law
from gradvar.testing.kinds.draws import Draw, Plan, Rows, Scene, Unit, holes, right

NEW = (0.05, 0.52, -0.43, 1.21, 0.31, 2.07)
OLD = (0.0, 1.0, 0.5, -0.7)
RETURNS = (0.13, 1.1, -0.9, 0.77)
CLIPS = (0.2, 0.5)


def plan(target: KindTarget) -> Plan:
    """Rows of unequal length, values on both sides of the clip."""
    drawn: dict[str, Unit] = {
        "values": Draw("NT", NEW), "old_values": Draw("NT", OLD), "returns": Draw("NT", RETURNS),
        "mask": Rows(right), "value_clip": Draw("", CLIPS), "clip": Draw("", CLIPS),
        "token_count": Draw("", (10.0, 7.0)),
    }  # fmt: skip
    return {role: draw for role, draw in drawn.items() if target.takes(role)}


def squares(scene: Scene, clip: float) -> tuple[np.ndarray, np.ndarray]:
    """The squared errors of the new values, and of the new values held near the old ones."""
    new, back = np.asarray(scene["values"], float), np.asarray(scene["returns"], float)
    old = np.asarray(scene.get("old_values", new), float)
    near = old + np.clip(new - old, -clip, clip)
    return (new - back) ** 2, (near - back) ** 2


def huber(scene: Scene) -> np.ndarray:
    """Squared near zero, linear from one on."""
    gap = np.abs(np.asarray(scene["values"], float) - np.asarray(scene["returns"], float))
    return np.where(gap < 1, 0.5 * gap**2, gap - 0.5)


def forms(target: KindTarget) -> Sequence[KnownForm]:
    """Plain, clipped and Huber, averaged in every known way."""
    out: list[KnownForm] = []
    gradients = ("values",)
    plain = {"squared error": lambda s: squares(s, 0.2)[0], "Huber": huber}
    role = "value_clip" if target.takes("value_clip") else "clip"
    given = target.takes(role)
    if target.takes("old_values"):
        for clip in (None,) if given else (0.2, 0.5, 0.1):

            def pair(s: Scene, clip: float | None = clip) -> tuple[np.ndarray, np.ndarray]:
                return squares(s, float(s[role]) if clip is None else clip)

            words = "" if clip is None else f" at {clip:g}"
            clipped = {
                f"clipped{words}": lambda s, pair=pair: np.maximum(*pair(s)),
                "the smaller": lambda s, pair=pair: np.minimum(*pair(s)),
                "the clipped": lambda s, pair=pair: pair(s)[1],
            }
            faults = {
                "the smaller": "the smaller of the two squared errors is taken, where the larger is meant",
                "the clipped": "only the clipped error is taken: no gradient beyond the clip, whatever the error",
            }
            out += averages_of(target, "value_loss", clipped, faults, gradients)
    faults = {}
    if target.takes("old_values"):
        faults = dict.fromkeys(plain, "the old values have no effect")
    out += averages_of(target, "value_loss", plain, faults, gradients)
    return sorted(out, key=lambda form: bool(form.fault))


def observe(target: KindTarget, scene: Scene) -> Answer:
    """The loss and its derivative by the new values."""
    return observed(target, scene, ("values",))


def readings(roles: Mapping[str, str]) -> Sequence[Mapping[str, str]]:
    """Where there are two arrays of values and none is called old: the predicted ones are new."""
    unread = [
        n for n, r in roles.items() if (not r and "val" in n.lower()) or (not r and n.lower().startswith("v"))
    ]
    if "old_values" in roles.values() or not unread:
        return [roles]
    first = next(n for n, r in roles.items() if r == "values")
    second = unread[0]
    straight = {**roles, second: "old_values"}
    swapped = {**roles, first: "old_values", second: "values"}
    predicted = "pred" in second.lower() or "new" in second.lower()
    return [swapped] if predicted else [straight]


VALUE_LOSS = Kind(
    "value-loss",
    "the critic's loss: values, old_values, returns, mask, clip -> loss",
    lambda roles: {"values", "returns"} <= roles and not {"rewards", "token_rewards", "advantages"} & roles,
    plan,
    observe,
    forms,
    (*EVERY, masked_law(lambda steps: [*right(steps), *holes(steps)]), EMPTY_ROWS),
    matters=("values", "old_values", "returns"),
    scaled=True,
    gradients=True,
    readings=readings,
)
