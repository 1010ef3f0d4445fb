"""Corrections for a sampler that is not the trainer: truncated or masked weights for tokens or whole rollouts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gradvar.testing.calls import BadOutput
from gradvar.testing.kinds.base import Answer, Kind, KindTarget, KnownForm, told
from gradvar.testing.kinds.common import EVERY, masked_law, needs
from gradvar.testing.kinds.draws import Draw, Plan, Rows, Scene, holes, right, strategy
from gradvar.testing.laws.base import Law, expect, expect_pair

TRAINER = (-1.0, -0.5, -2.0, -0.125, -3.0, -0.75)
SAMPLER = (-1.2, -0.4, -2.6, -0.3, -1.9, -0.875)
NEAR = (-1.0, -1.1, -0.9)
CAPS = (2.0, 3.0, 5.0)
LOWS = (0.5, 0.25)
STEP = 0.01
LEVELS = ("token", "sequence", "geometric")


def plan(target: KindTarget) -> Plan:
    """Rows of unequal length; the trainer stands off the sampler on both sides, beyond the cap too."""
    drawn: dict[str, Draw | Rows] = {
        "logp": Draw("NT", TRAINER), "old_logp": Draw("NT", TRAINER), "sampler_logp": Draw("NT", SAMPLER),
        "mask": Rows(right), "cap": Draw("", CAPS), "cap_low": Draw("", LOWS),
    }  # fmt: skip
    return {role: draw for role, draw in drawn.items() if target.takes(role)}


def observe(target: KindTarget, scene: Scene) -> Answer:
    """The weight of each token [N, T]; a weight for each rollout is that of its tokens. Raises ``BadOutput``."""
    shape = np.shape(scene["sampler_logp"])
    for value in target.outputs(scene).values():
        if value.shape == shape:
            return {"weights": value}
        if value.shape in ((shape[0],), (shape[0], 1)) or (shape[0] == 1 and value.size == 1):
            return {"weights": np.broadcast_to(value.reshape(-1, 1), shape).copy()}
    raise BadOutput(f"returned no weights of shape {list(shape)} or {list(shape[:1])}")


def _trainer(target: KindTarget) -> str:
    return "old_logp" if target.takes("old_logp") else "logp"


def log_weights(scene: Scene, level: str) -> np.ndarray:
    """The logarithm of trainer over sampler [N, T]: of each token, of a rollout's product, of its geometric mean."""
    trainer = scene["old_logp"] if "old_logp" in scene else scene["logp"]
    gaps = np.asarray(trainer, float) - np.asarray(scene["sampler_logp"], float)
    if level == "token":
        return gaps
    mask = _mask(scene)
    total = np.where(mask, gaps, 0.0).sum(-1, keepdims=True)
    if level == "geometric":
        total = total / np.maximum(mask.sum(-1, keepdims=True), 1)
    return np.broadcast_to(total, gaps.shape)


def _mask(scene: Scene) -> np.ndarray:
    shape = np.shape(scene["sampler_logp"])
    return np.asarray(scene["mask"], float) > 0 if "mask" in scene else np.ones(shape, bool)


def _limited(weights: np.ndarray, action: str, cap: float, low: float) -> np.ndarray:
    inside = (weights <= cap) & (weights >= low)
    return {
        "truncate": np.minimum(weights, cap),
        "mask": np.where(weights <= cap, weights, 0.0),
        "clamp": np.clip(weights, low, cap),
        "band": np.where(inside, weights, 0.0),
        "keep": np.where(weights <= cap, 1.0, 0.0),
        "keep_band": np.where(inside, 1.0, 0.0),
    }.get(action, weights)


def forms(target: KindTarget) -> Sequence[KnownForm]:
    """Every level with every way to limit its weights; the bounds taken, written in its code, or the usual ones."""
    caps = bounds(target, "cap", lambda number: number >= 1, CAPS)
    lows = bounds(target, "cap_low", lambda number: 0 < number < 1, (0.5, None))
    out = []
    for level in LEVELS:
        for cap in caps:
            # zeros and ones for whole rollouts are masks of rollouts
            above = ("truncate", "mask", "keep") if level == "token" else ("truncate", "mask")
            inside = ("clamp", "band", "keep_band") if level == "token" else ("clamp", "band")
            out += [_form(level, action, cap, 0.0) for action in above]
            out += [_form(level, action, cap, low) for action in inside for low in lows]
    if target.takes("cap_low"):  # two bounds are taken: a form with one of them ignores the other
        out = [f for f in out if f.name.endswith(("clamp", "band"))]
    if not target.takes("cap"):
        out += [_form(level, "ratio", None, 0.0) for level in LEVELS]
    return out


def bounds(
    target: KindTarget, role: str, fits: Callable[[float], bool], usual: Sequence[float | None]
) -> Sequence[float | str | None]:
    """What a bound may be: its role, where it is taken; else numbers in the code and defaults, and the usual ones.

    Args:
        target: The function.
        role: The bound's role.
        fits: Which numbers may be such a bound.
        usual: Bounds that trainers have.
    """
    if target.takes(role):
        return (role,)
    function = getattr(target.function, "forward", target.function)
    code = getattr(function, "__code__", None)
    numbers = [*getattr(code, "co_consts", ()), *(getattr(function, "__defaults__", None) or ())]
    written = [
        float(n) for n in numbers if isinstance(n, int | float) and not isinstance(n, bool) and fits(n)
    ]
    return tuple(dict.fromkeys([*written[:4], *usual]))


def _form(level: str, action: str, cap: float | str | None, low: float | str | None) -> KnownForm:
    def answer(scene: Scene) -> Answer:
        top = float(scene["cap"]) if cap == "cap" else float(cap or np.inf)
        bottom = float(scene["cap_low"]) if low == "cap_low" else (1 / top if low is None else float(low))
        with np.errstate(over="ignore"):
            weights = _limited(np.exp(log_weights(scene, level)), action, top, bottom)
        return {"weights": np.where(_mask(scene), weights, np.nan)}

    words = [f"cap {cap:g}" if isinstance(cap, float) else "", "from 1 / cap" if low is None else ""]
    words += [f"from {low:g}" if isinstance(low, float) and low else ""]
    return KnownForm(f"{level}_{action}", answer, ", ".join(w for w in words if w))


def _near(target: KindTarget) -> Plan:
    """Scenes on which trainer and sampler nearly agree, so that no cap is reached."""
    return target.plan(**{_trainer(target): Draw("NT", NEAR), "sampler_logp": Draw("NT", NEAR)})


def correction_direction(target: KindTarget, scene: Scene) -> None:
    """The ratio is the trainer's probability over the sampler's: raising the trainer's lowers no weight.

    Turned round, the weights square the mismatch that they should take away, and nothing but the final score shows
    it. A weight that falls to zero left a band. Report: THUDM/slime#179 (which policy stands in the numerator).
    """
    before = target.observe(scene)["weights"]
    mask = _mask(scene)
    for role, sign in ((_trainer(target), "lowers"), ("sampler_logp", "raises")):
        after = target.observe({**scene, role: np.asarray(scene[role]) + STEP})["weights"]
        change = (after - before) if sign == "lowers" else (before - after)
        wrong = mask & (change < -1e-5) & (after != 0) & (before != 0)
        if wrong.any():
            n, t = (int(i) for i in np.argwhere(wrong)[0])
            expect_pair(
                False,
                before[n, t],
                after[n, t],
                f"adding {STEP} to {target.signature.name_of(role)} {sign} the weight of token [{n}, {t}] from "
                f"{{}} to {{}}: the ratio is reversed; {told(scene)}",
            )


def correction_agrees(target: KindTarget, scene: Scene) -> None:
    """Where trainer and sampler agree, every token that counts weighs one.

    Otherwise the correction rescales training that needs none, and the learning rate is another than the one that was
    set. Report: huggingface/trl#5814 (weights of 0.4 to 0.7 where the policies nearly agree).
    """
    same = {**scene, "sampler_logp": np.array(scene[_trainer(target)], float)}
    weights, mask = target.observe(same)["weights"], _mask(same)
    off = mask & ~np.isclose(weights, 1.0, rtol=0, atol=target.tolerance)
    if off.any():
        n, t = (int(i) for i in np.argwhere(off)[0])
        text = f"trainer and sampler agree, and token [{n}, {t}] weighs {{}}, not {{}}; {told(same)}"
        expect_pair(False, weights[n, t], 1.0, text)


def correction_cap(target: KindTarget, scene: Scene, gap: float) -> None:
    """The cap is on the upper side: no weight exceeds it, and a small weight is not raised above one.

    Uncapped, one token that the sampler found unlikely outweighs the batch; capped from below, the tokens that should
    count least count most. Report: huggingface/trl#4772 (the ratio explodes).
    """
    far = {**scene, _trainer(target): np.asarray(scene["sampler_logp"], float) + gap}
    weights, mask = target.observe(far)["weights"], _mask(far)
    top = float(far["cap"]) if gap > 0 else 1.0
    words = "the cap" if gap > 0 else "a weight of one: the trainer finds all tokens less likely"
    off = mask & ~(weights <= top * (1 + target.tolerance))
    if off.any():
        n, t = (int(i) for i in np.argwhere(off)[0])
        text = f"token [{n}, {t}] weighs {{}}, above {{}}, {words}; {told(far)}"
        expect_pair(False, weights[n, t], top, text)


def correction_masked(target: KindTarget, scene: Scene) -> None:
    """A masked token enters no product, and weighs zero, one, or no more than the cap, whatever stands in it.

    Log-probabilities on padding are garbage, and infinity times a mask of zero is NaN. Report: huggingface/trl#7269
    (padding with an empty support becomes infinite).
    """
    mask = _mask(scene)
    role = _trainer(target)
    far = {**scene, role: np.where(mask, scene[role], np.asarray(scene[role]) + 300.0)}
    weights, before = target.observe(far)["weights"], target.observe(scene)["weights"]
    moved = mask & ~np.isclose(weights, before, rtol=0, atol=target.tolerance)
    if moved.any():
        n, t = (int(i) for i in np.argwhere(moved)[0])
        expect_pair(
            False,
            before[n, t],
            weights[n, t],
            f"300 added to {target.signature.name_of(role)} where the mask is 0 moves the weight of token [{n}, {t}] "
            f"from {{}} to {{}}; {told(scene)}",
        )
    if not _limits(target):
        return
    top = max(1.0, float(far.get("cap", 1.0)))
    if "cap" not in far and target.form is not None:
        top = max(top, float(np.nanmax(target.form.answer(far)["weights"], initial=0.0)), max(CAPS))
    off = ~mask & ~(weights <= top * (1 + target.tolerance)) & ~_cut(weights, mask)
    if off.any():
        n, t = (int(i) for i in np.argwhere(off)[0])
        expect(False, f"masked token [{n}, {t}] weighs {weights[n, t]:.6g}; {told(far)}")


def _cut(weights: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The cells after the last token of each row, where a list of rows has nothing."""
    after = np.cumsum(mask[:, ::-1], axis=1)[:, ::-1] == 0
    return after & np.isnan(weights)


def correction_finite(target: KindTarget, scene: Scene, gap: float) -> None:
    """Weights stay finite where the policies are far apart: infinity times zero is NaN.

    The product of a long rollout overflows long before any single token looks odd. Report: huggingface/trl#7120
    (a sequence weight of infinity).
    """
    far = {**scene, _trainer(target): np.asarray(scene["sampler_logp"], float) + gap}
    weights, mask = target.observe(far)["weights"], _mask(far)
    off = mask & ~np.isfinite(weights)
    if off.any():
        n, t = (int(i) for i in np.argwhere(off)[0])
        expect(False, f"log-ratios of {gap:g}: token [{n}, {t}] weighs {weights[n, t]:g}; {told(far)}")


def correction_detached(target: KindTarget, scene: Scene) -> None:
    """A limited weight of the current policy is a constant: it carries no gradient.

    Otherwise its derivative enters the policy's, and the truncation becomes an objective of its own. Report:
    THUDM/slime#179 (the current log-probabilities stand in the weight).
    """
    torch = sys.modules["torch"]
    native, _ = target.caller.native(scene, target.library.wide)
    native["logp"] = native["logp"].clone().requires_grad_(True)
    result = target.caller.invoke(native)
    shape = np.shape(scene["sampler_logp"])
    for value in result.values():
        if isinstance(value, torch.Tensor) and tuple(value.shape) in (shape, shape[:1], (shape[0], 1)):
            expect(not value.requires_grad, f"the weights carry the gradient of the policy; {told(scene)}")
            return


def _limits(target: KindTarget) -> bool:
    return target.form is not None and not target.form.name.endswith("ratio")


def _detaches(target: KindTarget) -> str:
    if target.library.name != "torch" or target.caller.layout == "list":
        return "its library has no gradients that flow by themselves"
    if not target.takes("logp"):
        return "old log-probabilities carry no gradient"
    return "" if _limits(target) else "an unlimited ratio may be the objective's own"


def _law(
    name: str,
    check: Callable[..., None],
    applies: Callable[[KindTarget], str] = lambda target: "",
    **more: Any,
) -> Law:
    """A law on scenes where the policies nearly agree.

    Args:
        name: The law's name.
        check: The check.
        applies: The reason why the law does not apply, or "".
        more: Strategies of further arguments of the check.
    """
    return Law(
        name,
        check,
        lambda t: st.fixed_dictionaries({"scene": strategy(_near(t), t.sizes), **more}),
        applies,
        universal=True,
    )


def _fits(roles: frozenset[str]) -> bool:
    others = {
        "advantages", "rewards", "token_rewards", "reward_matrix", "ref_logp", "values", "logits", "entropy", "returns",
        "kl", "log_ratio",
    }  # fmt: skip
    return "sampler_logp" in roles and len({"logp", "old_logp"} & roles) == 1 and not others & roles


CORRECTION = Kind(
    "correction",
    "a correction for the sampler: trainer's and sampler's log-probabilities, mask, cap -> weights",
    _fits,
    plan,
    observe,
    forms,
    (
        *EVERY,
        masked_law(lambda steps: [*right(steps), *holes(steps)]),
        _law("correction_direction", correction_direction),
        _law("correction_agrees", correction_agrees),
        _law(
            "correction_cap", correction_cap, lambda t: "" if t.takes("cap") else "it takes no cap",
            gap=st.sampled_from((3.0, -1.0)),
        ),
        _law(
            "correction_masked", correction_masked, needs("mask"),
        ),
        _law(
            "correction_finite", correction_finite, lambda t: "" if _limits(t) else "nothing is limited",
            gap=st.sampled_from((50.0, 300.0, -300.0)),
        ),
        _law("correction_detached", correction_detached, _detaches),
    ),
    layouts=("NT", "list"),
    matters=("logp", "old_logp", "sampler_logp"),
)  # fmt: skip
