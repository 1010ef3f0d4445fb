"""Masks of whole rollouts that are too far off the policy: kept or dropped by a divergence, or by a mean ratio."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gradvar.testing.calls import BadOutput
from gradvar.testing.kinds.base import Kind, KindTarget, told
from gradvar.testing.kinds.common import KNOWN_FORM, REPEATABLE, masked_law, needs, padded
from gradvar.testing.kinds.draws import Scene, holes, right, strategy
from gradvar.testing.kinds.sequence_forms import (
    ROLLOUTS,
    behind_role,
    forms,
    many_rollouts,
    observe,
    plan,
    real_tokens,
    trainer_role,
)
from gradvar.testing.laws.base import Law, expect

GAPS = (20.0, 300.0)
COLUMNS = 3


def _kept(target: KindTarget, scene: Scene) -> np.ndarray:
    """The rollouts that are kept, 1 or 0 for each token that counts, NaN on padding."""
    return np.where(real_tokens(scene), target.observe(scene)["kept"], np.nan)


def _at(target: KindTarget, scene: Scene, gap: float, advantage: float) -> Scene:
    """The scene with the trainer this far from the other policy, and one advantage for all."""
    out = {**scene, trainer_role(target): np.asarray(scene[behind_role(target)], float) + gap}
    return (
        {**out, "advantages": np.full(real_tokens(scene).shape, advantage)} if "advantages" in scene else out
    )


def sequence_mask_whole(target: KindTarget, scene: Scene) -> None:
    """All tokens of a rollout are kept, or none of them.

    A rule on tokens leaves pieces of a bad rollout, whose context is the very text that the policy has left. Report:
    THUDM/slime#1917 (tokens of one rollout decided one by one).
    """
    kept = _kept(target, scene)
    for n, row in enumerate(kept):
        real = row[~np.isnan(row)]
        expect(len(set(real.tolist())) < 2, f"of rollout {n} a part is kept: {real.tolist()}; {told(scene)}")


def sequence_mask_agrees(target: KindTarget, scene: Scene, advantage: float) -> None:
    """Where the two policies agree, every rollout is kept, whatever its advantage.

    Broken by a bound on the wrong side: all fresh rollouts go and the stale ones stay. Report:
    huggingface/trl#4689 (what is kept, and what is dropped).
    """
    same = _at(target, scene, 0.0, advantage)
    expect(
        not (_kept(target, same) == 0).any(), f"the policies agree, and a rollout is dropped; {told(same)}"
    )


def sequence_mask_far(target: KindTarget, scene: Scene, gap: float) -> None:
    """A rollout that the policy has left far behind is dropped; where no advantage is taken, on one side at least.

    With the log-ratio reversed the rollouts that the policy has pushed away stay in, and those that it likes go: what
    the mask is for is not done. Report: huggingface/trl#4689 (the direction of the divergence).
    """
    far = _at(target, scene, -gap, -1.0)
    kept = _kept(target, far)
    if not target.takes("advantages"):
        kept = np.minimum(kept, _kept(target, _at(target, scene, gap, -1.0)))
    words = "with a negative advantage " if target.takes("advantages") else ""
    expect(
        not (kept == 1).any(),
        f"log-ratios of {-gap:g}: a rollout {words}is kept at any distance; {told(far)}",
    )


def sequence_mask_positive(target: KindTarget, scene: Scene, gap: float) -> None:
    """A rollout with a positive advantage is kept, however far the policy is.

    The policy learns from its own mistakes; what was good stays good (arXiv 2512.02556, section 3.1). Report:
    huggingface/trl#4697.
    """
    good = _at(target, scene, gap, 1.0)
    expect(
        not (_kept(target, good) == 0).any(),
        f"log-ratios of {gap:g}: a rollout with a positive advantage is dropped; {told(good)}",
    )


def sequence_mask_rows(target: KindTarget, scene: Scene, gap: float) -> None:
    """One rollout's log-probabilities decide about no other rollout.

    Broken by a mean over the batch, or by [B] beside [B, 1], which makes a table of all pairs. Report:
    huggingface/trl#6095 (a mask of shape [B, B]).
    """
    moved = np.array(scene[trainer_role(target)], float)
    moved[0] = np.asarray(scene[behind_role(target)], float)[0] + gap
    one, two = _kept(target, scene)[1:], _kept(target, {**scene, trainer_role(target): moved})[1:]
    changed = np.argwhere((one != two) & ~np.isnan(one))
    others = sorted({int(n) + 1 for n, _ in changed})
    expect(not others, f"rollout 0 moved by {gap:g} changes the verdict on rollouts {others}; {told(scene)}")


def sequence_mask_length(target: KindTarget, rollouts: str) -> None:
    """A rollout with each of its tokens twice gets the verdict that it got.

    A sum over tokens drops the long answers, and the policy learns to be short. Report: huggingface/trl#4891.
    """
    scene = many_rollouts(target)
    twice: dict[str, Any] = {r: np.repeat(v, 2, axis=1) if np.ndim(v) == 2 else v for r, v in scene.items()}
    before, after = _kept(target, scene), _kept(target, twice)[:, ::2]
    moved = np.flatnonzero(((before != after) & ~np.isnan(before)).any(-1))[:1]
    row = {r: v[moved] if np.ndim(v) == 2 else v for r, v in scene.items()}
    expect(not len(moved), f"of {rollouts}, one with each token twice gets the other verdict; {told(row)}")


def sequence_mask_padding(target: KindTarget, scene: Scene, garbage: float) -> None:
    """Columns of padding beside the batch change no verdict, whatever stands in them.

    Divided by the width, a short rollout beside a long one seems to be near; and the padding of two engines is not the
    same garbage. Report: huggingface/trl#3715 (padding in a threshold).
    """
    wide = padded(scene, COLUMNS)
    role = trainer_role(target)
    wide[role] = np.where(real_tokens(wide), wide[role], np.asarray(wide[role]) + garbage)
    after = _kept(target, wide)[:, : real_tokens(scene).shape[1]]
    before, name = _kept(target, scene), target.signature.name_of(role)
    rows = np.flatnonzero(((before != after) & ~np.isnan(before)).any(-1)).tolist()
    words = f"{COLUMNS} columns of padding more, with {garbage:g} added to {name} there"
    expect(not rows, f"{words}, change the verdict on rollouts {rows}; {told(wide)}")


def takes_effect(target: KindTarget, role: str) -> None:
    """An array or a bound that is taken must matter.

    A rollout says only yes or no, so many are asked. Report: huggingface/trl#6078 (a threshold that is never read).
    """
    scene = many_rollouts(target)
    before = _kept(target, scene)
    value = np.asarray(scene[role], float)
    for moved in (value + 3.0, value - 3.0, -value, value * 0.1):
        if not np.array_equal(
            before, _kept(target, {**scene, role: moved if value.ndim else float(moved)}), True
        ):
            return
    name = target.signature.name_of(role)
    expect(False, f"'{name}' is taken and ignored: no value of it changes the answer")


def _taken(target: KindTarget) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"role": st.sampled_from([r for r in target.plan() if r != "mask"])})


def _scenes(target: KindTarget) -> st.SearchStrategy[Scene]:
    """Plain scenes, and others with rollouts near the bounds."""
    scene, rows = many_rollouts(target), 6
    parts = [
        {r: v[n : n + rows] if np.ndim(v) else v for r, v in scene.items()}
        for n in range(0, len(scene[behind_role(target)]), rows)
    ]
    return st.one_of(strategy(target.plan(), target.sizes), st.sampled_from(parts))


def _law(
    name: str,
    check: Callable[..., None],
    applies: Callable[[KindTarget], str] = lambda target: "",
    **more: st.SearchStrategy[Any],
) -> Law:
    return Law(
        name,
        check,
        lambda t: st.fixed_dictionaries({"scene": _scenes(t), **more}),
        applies,
        universal=True,
    )


def _fits(roles: frozenset[str]) -> bool:
    policies = {"logp", "old_logp", "sampler_logp"} & roles
    return len(policies) == 2 and roles <= policies | {
        "advantages",
        "mask",
        "cap",
        "cap_low",
        "divergence_cap",
    }


def confirmed(roles: frozenset[str], target: Callable[[], Any]) -> bool:
    """A function of two policies is a mask of rollouts if it returns zeros and ones, the same for a rollout's tokens.

    With advantages it is one whatever its tokens get; without them, a rule on tokens is a correction.
    """
    try:
        read = target()
        kept = _kept(read, many_rollouts(read))
    except (ValueError, BadOutput):
        return False
    with np.errstate(all="ignore"):
        whole = bool((np.nanmax(kept, axis=1) == np.nanmin(kept, axis=1)).all())
    return "advantages" in roles or whole


_FAR = st.sampled_from(GAPS)
SEQUENCE_MASK = Kind(
    "sequence-mask",
    "masks of whole rollouts: two policies' log-probabilities, advantages, mask, bound -> what is kept",
    _fits,
    plan,
    observe,
    forms,
    (
        KNOWN_FORM,
        Law("takes_effect", takes_effect, _taken, universal=True),
        REPEATABLE,
        masked_law(lambda steps: [*right(steps), *holes(steps)]),
        _law("sequence_mask_whole", sequence_mask_whole),
        _law("sequence_mask_agrees", sequence_mask_agrees, advantage=st.sampled_from((-1.0, 1.0))),
        _law("sequence_mask_far", sequence_mask_far, gap=_FAR),
        _law("sequence_mask_positive", sequence_mask_positive, needs("advantages"),
             gap=st.sampled_from((*GAPS, -20.0, -300.0))),
        _law("sequence_mask_rows", sequence_mask_rows, gap=st.sampled_from((20.0, -20.0))),
        Law("sequence_mask_length", sequence_mask_length,
            lambda t: st.just({"rollouts": f"{ROLLOUTS} rollouts"}), needs("advantages"), universal=True),
        _law("sequence_mask_padding", sequence_mask_padding, needs("mask"),
             garbage=st.sampled_from((0.0, 20.0, -7.0))),
    ),
    sizes=({"N": 1, "T": 3}, {"N": 2, "T": 3}, {"N": 6, "T": 4}),
    layouts=("NT", "N1", "N", "list"),
    confirmed=confirmed,
)  # fmt: skip
