"""Laws of every kind: a known form, every array matters, masked cells are inert, answers are finite and repeatable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gradvar.testing.kinds.base import Answer, KindTarget, told
from gradvar.testing.kinds.draws import Choice, Draw, Rows, Scene, right, sample, strategy
from gradvar.testing.laws.base import Law, expect, expect_pair
from gradvar.testing.roles import ROLES

GARBAGE = (20.0, -7.0)


def known_form(target: KindTarget, scene: Scene) -> None:
    """A function that equals no known form of its kind is a new method or an old mistake.

    The nearest form and the first number that differs are said: half of all slips in these functions are one sign, one
    index or one axis away from a form that everybody knows. Report: modelscope/ms-swift#10167 (ipo trains sigmoid).
    """
    if target.form is not None:
        target.compare(scene)
        return
    nearest = target.nearest
    if nearest is None:
        return
    word = f"it is not {target.intended}" if target.intended else "no known form"
    gap = target.difference(nearest, scene, target.factor)
    if target.factor < 0 and not gap:
        expect(False, f"{word}: it is {nearest.title} with the sign reversed; {told(scene)}")
    if nearest.fault and not gap:
        expect(False, f"{word}: {nearest.fault}; {told(scene)}")
    where = target.difference(nearest, scene, target.factor if target.factor > 0 else 1.0)
    expect(not where, f"{word}: nearest is {nearest.title}; {where}; {told(scene)}")


def known_examples(target: KindTarget) -> st.SearchStrategy[dict[str, Any]]:
    """Plain scenes, and the one that was met when the form was looked for."""
    drawn = strategy(target.plan(), target.sizes)
    if target.odd_scene is not None:
        drawn = st.one_of(drawn, st.just(target.odd_scene))
    return st.fixed_dictionaries({"scene": drawn})


def aspect(
    name: str,
    story: Callable[..., None],
    changes: Callable[[KindTarget], dict[str, Draw | Rows | Choice]],
    applies: Callable[[KindTarget], str] = lambda target: "",
) -> Law:
    """A law that compares the function with its form on scenes that have one thing more than plain ones.

    Args:
        name: The law's name.
        story: The check, ``check(target, scene)``.
        changes: The changed entries of the plan.
        applies: The reason why the law does not apply, or "".
    """

    def reason(target: KindTarget) -> str:
        return applies(target) or ("" if target.form is not None else "no known form to compare with")

    return Law(
        name,
        story,
        lambda t: st.fixed_dictionaries({"scene": strategy(t.plan(**changes(t)), t.sizes)}),
        reason,
        universal=True,
    )


def needs(*roles: str) -> Callable[[KindTarget], str]:
    """The condition of a law about functions that take these roles."""
    return lambda target: next(
        (f"it takes no {r.replace('_', ' ')}" for r in roles if not target.takes(r)), ""
    )


def takes_effect(target: KindTarget, scene: Scene, role: str) -> None:
    """An array that is taken must matter somewhere.

    A KL term that is computed, handed over and never added trains without a leash, and no curve shows it. Report:
    THUDM/slime#399 (the KL is ignored by the returns), meta-pytorch/torchforge#571 (old log-probabilities ignored).
    """
    plan = target.plan()
    for seed in range(3):
        start = sample(plan, target.sizes, seed)
        before = target.observe(start)
        moved = dict(start)
        value = np.asarray(start[role], float)
        moved[role] = value + 0.37 + 0.21 * np.arange(value.size).reshape(value.shape)
        if value.ndim == 0:
            moved[role] = float(value) * 0.5 + 0.11
        if not _same(before, target.observe(moved), target.tolerance):
            return
    names = [n for n, r in target.signature.roles.items() if r == role]
    expect(False, f"'{names[0]}' is taken and ignored: no value of it changes the answer")


def effect_examples(target: KindTarget) -> st.SearchStrategy[dict[str, Any]]:
    """Each role that must matter, and that the function takes."""
    plan = target.plan()
    roles = [r for r in target.kind.matters if target.takes(r) and r in plan]
    scene = sample(plan, target.sizes, 0)
    return st.fixed_dictionaries({"scene": st.just(scene), "role": st.sampled_from(roles)})


def _matter(target: KindTarget) -> str:
    plan = target.plan()
    return (
        ""
        if any(target.takes(r) and r in plan for r in target.kind.matters)
        else "it takes no array that must matter"
    )


def _same(one: Answer, two: Answer, tolerance: float) -> bool:
    return one.keys() == two.keys() and all(
        one[k].shape == two[k].shape
        and np.allclose(one[k], two[k], rtol=0, atol=tolerance * 0.1, equal_nan=True)
        for k in one
    )


def masked_inert(target: KindTarget, scene: Scene, garbage: float) -> None:
    """What stands where the mask is zero reaches no token that counts.

    Broken, padding and tool output are trained on, more of it the longer the longest response of the batch. Report:
    allenai/open-instruct#535 (a mean over padding), verl-project/verl#6362.
    """
    mask = np.asarray(scene["mask"]) > 0
    dirty = dict(scene)
    for role, value in scene.items():
        if role == "mask" or np.shape(value) != mask.shape or ROLES[role].dtype != "float" or role == "dones":
            continue
        dirty[role] = np.where(mask, value, np.asarray(value) + garbage)
    clean, after = target.observe(scene), target.observe(dirty)
    for key, value in clean.items():
        other = after.get(key, value)
        where = mask if value.shape == mask.shape else np.ones(value.shape, bool)
        scale = max(1.0, float(np.max(np.abs(value[where & np.isfinite(value)]), initial=0.0)))
        gap = where & ~np.isclose(value, other, rtol=0, atol=target.tolerance * scale, equal_nan=True)
        if value.shape == mask.shape and key.startswith("gradient") and np.ndim(clean["value"]) < 2:
            gap |= ~mask & (np.abs(value) > target.tolerance * scale)
        if gap.any():
            place = tuple(int(i) for i in np.argwhere(gap)[0])
            spot = f"{key}{list(place) if place else ''}"
            text = f"{garbage:g} added where the mask is 0 moves {spot} from {{}} to {{}}; {told(scene)}"
            expect_pair(False, value[place], other[place], text)


def masked_examples(masks: Callable[[int], Any]) -> Callable[[KindTarget], st.SearchStrategy[dict[str, Any]]]:
    """Plain scenes whose mask has these rows, and what is added where it is zero."""

    def examples(target: KindTarget) -> st.SearchStrategy[dict[str, Any]]:
        scene = strategy(target.plan(mask=Rows(masks)), target.sizes)
        return st.fixed_dictionaries({"scene": scene, "garbage": st.sampled_from(GARBAGE)})

    return examples


def padded(scene: Scene, columns: int) -> Scene:
    """The scene with this many columns of padding more: zeros at the end of each array [N, T]."""
    return {r: np.pad(v, ((0, 0), (0, columns))) if np.ndim(v) == 2 else v for r, v in scene.items()}


def repeatable(target: KindTarget, scene: Scene) -> None:
    """Same arrays in, same answer out, and the caller's arrays are as they were.

    Broken by writing into an argument or by a state that lives on, a second epoch sees other numbers than the first.
    Report: axon-rl/gem#113 (normalised a second time).
    """
    result, unchanged = target.caller.raw(scene, target.library.wide)
    del result
    expect(unchanged, f"the caller's arrays were overwritten; {told(scene)}")
    one, two = target.observe(scene), target.observe(scene)
    expect(_same(one, two, 0.0), f"the same call twice gives two answers; {told(scene)}")


def plain_examples(target: KindTarget) -> st.SearchStrategy[dict[str, Any]]:
    """Plain scenes of the kind."""
    return st.fixed_dictionaries({"scene": strategy(target.plan(), target.sizes)})


KNOWN_FORM = Law("known_form", known_form, known_examples, universal=True)
TAKES_EFFECT = Law("takes_effect", takes_effect, effect_examples, _matter, universal=True)
REPEATABLE = Law("repeatable", repeatable, plain_examples, universal=True)
EVERY = (KNOWN_FORM, TAKES_EFFECT, REPEATABLE)


def masked_law(masks: Callable[[int], Any]) -> Law:
    """The law that masked cells are inert, on masks with these rows."""
    return Law("masked_cells_inert", masked_inert, masked_examples(masks), needs("mask"), universal=True)


def empty_rows_finite(target: KindTarget, scene: Scene) -> None:
    """A row without a token, or a whole batch without one, gives no NaN.

    One rejected rollout, divided by its zero tokens, makes the step NaN for all. Report: NousResearch/atropos#236,
    fla-org/flash-linear-attention#189.
    """
    finite_answers(target, scene)


def finite_answers(target: KindTarget, scene: Scene) -> None:
    """Finite arrays give finite answers, also where two policies have drifted apart.

    An exponential or a logarithm that leaves the floats makes the loss NaN, and the weights with the next step. Report:
    OpenRLHF/OpenRLHF#1295 (an exponential without a clamp).
    """
    mask = np.asarray(scene["mask"]) > 0 if "mask" in scene else None
    for key, value in target.observe(scene).items():
        where = mask if mask is not None and mask.shape == value.shape else np.ones(value.shape, bool)
        bad = where & ~np.isfinite(value)
        if mask is not None and value.shape == mask.shape[:1]:
            bad &= mask.any(-1)
        if bad.any():
            place = tuple(int(i) for i in np.argwhere(bad)[0])
            expect(False, f"{key}{list(place) if place else ''} is {value[place]:g}; {told(scene)}")


def finite_law(changes: Callable[[KindTarget], dict[str, Any]]) -> Law:
    """The law that answers are finite, on scenes with these entries of the plan changed."""

    def examples(target: KindTarget) -> st.SearchStrategy[dict[str, Any]]:
        entries = {r: d for r, d in changes(target).items() if target.takes(r)}
        return st.fixed_dictionaries({"scene": strategy(target.plan(**entries), target.sizes)})

    return Law("finite_answers", finite_answers, examples, universal=True)


def _empty_examples(target: KindTarget) -> st.SearchStrategy[dict[str, Any]]:
    rows = Rows(lambda steps: [[0.0] * steps, *right(steps)])
    return st.fixed_dictionaries({"scene": strategy(target.plan(mask=rows), target.sizes)})


EMPTY_ROWS = Law("rows_without_tokens", empty_rows_finite, _empty_examples, needs("mask"), universal=True)
