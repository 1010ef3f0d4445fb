"""Rewards shaped by the length of the response: capped at the longest one, one direction on each side, row by row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gradvar.testing.calls import BadOutput
from gradvar.testing.digits import apart, exact, shown
from gradvar.testing.kinds.base import Answer, Kind, KindTarget, KnownForm
from gradvar.testing.kinds.common import REPEATABLE, known_form, needs, plain_examples
from gradvar.testing.kinds.draws import Choice, Draw, Plan, Rows, Scene, sample
from gradvar.testing.laws.base import Law, expect, expect_pair

LENGTHS = (10, 50, 0, 99, 100, 30, 150, 1)
LONGEST = (100, 64)
BUFFERS = (20, 16)
GRADES = (1.0, 0.0, -1.0)
ROLES = frozenset({"lengths", "max_length", "buffer", "correct", "rewards", "length_penalty"})


def plan(target: KindTarget) -> Plan:
    """Responses of any length, right or wrong, some beyond the longest one."""
    drawn: dict[str, Draw | Rows | Choice] = {
        "lengths": Draw("N", LENGTHS), "correct": Draw("N", (True, False)), "rewards": Draw("N", GRADES),
        "max_length": Draw("", LONGEST), "buffer": Draw("", BUFFERS), "length_penalty": Draw("", (1.0, 0.5)),
    }  # fmt: skip
    counted: dict[str, Choice] = {
        "mask": Choice(lambda size: [tokens_of(LENGTHS[: size["N"]]).astype(float)])
    }
    taken = {role: draw for role, draw in drawn.items() if target.takes(role) or role == "lengths"}
    return taken | (counted if target.takes("mask") else {})


def tokens_of(lengths: Any, gap: int = 0) -> np.ndarray:
    """The mask [N, T] of responses of these lengths, with so many observation tokens after the first token of each."""
    counts = np.asarray(lengths, int)[:, None]
    place = np.arange(max(int(counts.max(initial=1)), 1) + gap)[None, :]  # [1, time]
    return np.where(place < 1, place < counts, (place > gap) & (place < counts + gap))


def soft_overlong(scene: Scene) -> Answer:
    """The soft overlong punishment: nothing, then a ramp over the buffer down to the penalty, which is the most."""
    lengths, buffer = np.asarray(scene["lengths"], float), float(scene["buffer"])
    over = np.clip((lengths - float(scene["max_length"]) + buffer) / buffer, 0.0, 1.0)
    start = np.asarray(scene.get("rewards", np.zeros(len(lengths))), float)
    return {"rewards": start - float(scene.get("length_penalty", 1.0)) * over}


def forms(target: KindTarget) -> Sequence[KnownForm]:
    """The overlong ramp where there is a buffer; any other shape, which the laws alone decide about."""
    ramp = [KnownForm("soft_overlong", soft_overlong)] if target.takes("buffer") else []
    return [*ramp, KnownForm("shaping", lambda scene: {}, "of any shape")]


def observe(target: KindTarget, scene: Scene) -> Answer:
    """The reward of each rollout, [N]; a function that takes a mask counts the tokens itself."""
    count = len(scene["lengths"])
    if target.takes("mask"):
        scene = {**scene, "mask": tokens_of(scene["lengths"], scene.get("gap", 0)).astype(float)}
    for array in target.outputs(scene).values():
        if array.size == count and array.shape[:1] == (count,):
            return {"rewards": array.reshape(count)}
    raise BadOutput("returned no reward for each rollout")


def _grade(target: KindTarget) -> str:
    return next((role for role in ("correct", "rewards") if target.takes(role)), "")


def _sides(target: KindTarget) -> dict[str, float]:
    """The grades of the responses whose curves are looked at, by the words for them."""
    grade = _grade(target)
    if not grade:
        return {"a response": 0.0}
    if grade == "correct":
        return {"a correct response": 1.0, "a wrong response": 0.0}
    return {"a response of reward 1": 1.0, "a response of reward 0": 0.0}


def curve(target: KindTarget, scene: Scene, lengths: Sequence[int], grade: float) -> np.ndarray:
    """The rewards of responses of these lengths, all of one grade.

    Args:
        target: The function under test.
        scene: The numbers that it takes.
        lengths: The length of each response.
        grade: 1 for right, 0 for wrong, or the reward before the shaping.
    """
    batch = {**scene, "lengths": np.array(lengths)}
    role = _grade(target)
    if role:
        batch[role] = np.full(len(lengths), bool(grade) if role == "correct" else grade)
    if role == "correct" and target.takes("rewards"):
        batch["rewards"] = np.full(len(lengths), float(grade))
    return target.observe(batch)["rewards"]


def _slack(target: KindTarget, values: np.ndarray) -> float:
    finite = np.abs(values[np.isfinite(values)])
    return target.tolerance * max(1.0, float(np.max(finite, initial=0.0)))


def shaping_capped(target: KindTarget, scene: Scene) -> None:
    """Beyond the longest response nothing changes any more: r(max + k) is one number for every k.

    A cosine that is not cut off turns round and rises again, so that the longest of the wrong answers is paid for
    being even longer, or a right one for running away. Report: huggingface/open-r1#312, huggingface/trl#6066.
    """
    longest = int(scene["max_length"])
    beyond = [longest + k for k in (1, 2, longest // 4, longest // 2, longest, 2 * longest, 7 * longest)]
    for words, grade in _sides(target).items():
        values = curve(target, scene, beyond, grade)
        off = np.flatnonzero(~(np.abs(values - values[0]) <= _slack(target, values)))
        if len(off):
            place = int(off[0])
            text = f"{words} of length {beyond[place]} gets {{}}, of length {beyond[0]} {{}}"
            expect_pair(False, values[place], values[0], f"{text}; both are beyond the longest, {longest}")


def shaping_monotone(target: KindTarget, scene: Scene) -> None:
    """Up to the longest response the reward of a side moves in one direction, and never jumps up from a fall.

    A curve that turns has its best length in the middle, and training runs there whatever the task needs. Report:
    huggingface/open-r1#312, modelscope/ms-swift#3636 (the ends of the curve of wrong answers exchanged).
    """
    longest = int(scene["max_length"])
    lengths = list(range(longest + 2))
    for words, grade in _sides(target).items():
        values = curve(target, scene, lengths, grade)
        slack, inside = _slack(target, values), np.diff(values)[: longest - 1]
        falls, rises = bool((inside <= slack).all()), bool((inside >= -slack).all())
        if not (falls or rises):
            up, down = (int(np.argmax(inside)), int(np.argmin(inside)))
            steps = [", ".join(apart(*values[[n, n + 1]])) for n in (up, down)]
            expect(
                False,
                f"{words} gets [{steps[0]}] at the lengths {up}, {up + 1} and [{steps[1]}] at {down}, {down + 1}: up "
                f"and down before the longest, {longest}",
            )
        jump = values[longest:] - values[longest - 1]
        expect(
            not falls or bool((jump <= slack).all()),
            f"{words} gets {exact(values[longest - 1 :])} at the lengths {longest - 1} to {longest + 1}: it falls up "
            f"to the longest, {longest}, and is paid for going there",
        )


def shaping_correct(target: KindTarget, scene: Scene) -> None:
    """At the same length a correct response never gets less than a wrong one.

    Where the two curves cross, the shaping outweighs the task, and wrong answers of the right length win. Report:
    huggingface/open-r1#360 (a wrong answer may get more than a right one).
    """
    longest = int(scene["max_length"])
    lengths = [*range(0, longest + 1, 2), longest + 1, 2 * longest]
    (good, high), (bad, low) = _sides(target).items()
    above, below = (curve(target, scene, lengths, grade) for grade in (high, low))
    off = np.flatnonzero(above < below - _slack(target, np.concatenate([above, below])))
    if len(off):
        place = int(off[0])
        text = f"at length {lengths[place]} {good} gets {{}}, {bad} {{}}"
        expect_pair(False, above[place], below[place], text)


def shaping_rows(target: KindTarget, scene: Scene) -> None:
    """A response gets in the batch what it gets alone.

    Broken, by an axis that is broadcast or by a length that is taken from the batch, a rollout is paid for what its
    neighbours wrote. Report: huggingface/open-r1#360 (lengths relative to the batch's shortest and longest).
    """
    together = target.observe(scene)["rewards"]
    for row, value in enumerate(together):
        one = {r: np.asarray(v)[row : row + 1] if np.ndim(v) else v for r, v in scene.items()}
        alone = float(target.observe(one)["rewards"][0])
        text = (
            f"response {row} of the lengths {shown(scene['lengths'])} gets {{}} in the batch and {{}} alone"
        )
        expect_pair(abs(alone - value) <= _slack(target, together), value, alone, text)


def shaping_finite(target: KindTarget, scene: Scene) -> None:
    """An empty response, and one of the longest length, have a finite reward.

    One NaN reward is the mean of its group, and then every advantage of it. Report: huggingface/open-r1#312.
    """
    longest = int(scene["max_length"])
    lengths = [0, 1, longest, longest + 1, 100 * longest]
    for words, grade in _sides(target).items():
        values = curve(target, scene, lengths, grade)
        expect(
            bool(np.isfinite(values).all()), f"{words} gets {shown(values)} at the lengths {shown(lengths)}"
        )


def shaping_tokens(target: KindTarget, scene: Scene) -> None:
    """Tokens that the environment wrote inside a response do not make it longer.

    Broken by a length that is the span from the first token to the last one, a rollout pays for what its tools
    answered. Report: OpenRLHF/OpenRLHF#1243.
    """
    lengths = np.array([n for n in range(2, int(scene["max_length"]) + 1, 7)])
    batch = {r: np.resize(v, len(lengths)) if np.ndim(v) else v for r, v in scene.items()} | {
        "lengths": lengths
    }
    plain = target.observe(batch)["rewards"]
    wide = target.observe({**batch, "gap": int(scene["max_length"]) // 2})["rewards"]
    off = np.flatnonzero(~(np.abs(wide - plain) <= _slack(target, plain)))
    if len(off):
        place = int(off[0])
        text = (
            f"a response of {lengths[place]} tokens gets {{}} with observations between them and {{}} without"
        )
        expect_pair(False, wide[place], plain[place], text)


def shaping_effect(target: KindTarget, role: str) -> None:
    """The length, the grade and the limits each change some reward.

    A shaping that does not look at its limits runs with those of another model's context. Report:
    huggingface/open-r1#312 (the longest length ends nothing).
    """
    scene = sample(target.plan(), target.sizes, 0)
    lengths = list(range(0, 2 * int(scene["max_length"]), 3))
    sides = list(_sides(target).values())
    curves = [curve(target, scene, lengths, grade) for grade in sides]
    if role == "lengths":
        others = [np.full_like(c, c[0]) for c in curves]
    elif role == _grade(target):
        others = curves[::-1]
    elif np.ndim(scene[role]):
        return
    else:
        moved = {**scene, role: scene[role] // 2 if isinstance(scene[role], int) else scene[role] / 2}
        others = [curve(target, moved, lengths, grade) for grade in sides]
    same = all(
        np.allclose(a, b, rtol=0, atol=1e-9, equal_nan=True) for a, b in zip(curves, others, strict=True)
    )
    taken = "mask" if role == "lengths" and not target.takes("lengths") else role
    name = next(n for n, r in target.signature.roles.items() if r == taken)
    expect(not same, f"'{name}' is taken and ignored: no value of it changes a reward")


def _limits(target: KindTarget) -> st.SearchStrategy[dict[str, Any]]:
    """The numbers of a scene; the laws choose the lengths and the grades."""
    numbers = {role: draw for role, draw in target.plan().items() if isinstance(draw, Draw) and not draw.axes}
    start = sample(target.plan(), target.sizes, 0)
    drawn = st.fixed_dictionaries({role: st.sampled_from(list(d.palette)) for role, d in numbers.items()})
    return st.fixed_dictionaries({"scene": drawn.map(partial(_with, start))})


def _with(start: Scene, numbers: Scene) -> Scene:
    return {**start, **numbers}


def _graded(target: KindTarget) -> str:
    return "" if _grade(target) else "it takes neither rewards nor what is correct"


def _roles(target: KindTarget) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"role": st.sampled_from(sorted(target.plan()))})


def _law(name: str, check: Callable[..., None], applies: Callable[[Any], str] = lambda target: "") -> Law:
    return Law(name, check, _limits, applies, universal=True)


def _fits(roles: frozenset[str]) -> bool:
    """Lengths, or a mask whose tokens are counted, and the longest length."""
    counted = (roles - {"mask"}) | {"lengths"} if "lengths" not in roles and "mask" in roles else roles
    return {"lengths", "max_length"} <= counted <= ROLES


SHAPING = Kind(
    "shaping",
    "rewards shaped by length: lengths (or a mask), correct or rewards, max_len, buffer -> rewards",
    _fits,
    plan,
    observe,
    forms,
    (
        Law("known_form", known_form, plain_examples, universal=True),
        Law("takes_effect", shaping_effect, _roles, universal=True),
        REPEATABLE,
        _law("shaping_capped", shaping_capped),
        _law("shaping_monotone", shaping_monotone),
        _law("shaping_correct", shaping_correct, _graded),
        Law("shaping_rows", shaping_rows, plain_examples, universal=True),
        _law("shaping_finite", shaping_finite),
        _law("shaping_tokens", shaping_tokens, needs("mask")),
    ),
    sizes=({"N": 1}, {"N": 2}, {"N": 4}),
)
