"""Losses on pairs of a chosen and a rejected response: DPO and its family, in the layouts that trainers have.

Layouts: log-probabilities of the responses [B] under policy and reference; log-ratios [B]; log-probabilities of tokens
[2B, T], the chosen responses first.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gradvar.testing.calls import Raised
from gradvar.testing.kinds.base import Answer, Kind, KindTarget, KnownForm, told
from gradvar.testing.kinds.common import EVERY, aspect, masked_law, needs, plain_examples
from gradvar.testing.kinds.draws import Draw, Plan, Rows, Scene, Unit, full, holes, left, right, strategy
from gradvar.testing.kinds.pair_forms import PAIR_FORMS, PairForm, simpo
from gradvar.testing.laws.base import Law, expect, expect_pair

POLICY = (-1.1, -0.5, -2.3, -0.17, -3.4, -0.83)
REFERENCE = (-0.9, -1.4, -2.1, -0.31, -2.6, -0.45)
RATIOS = (0.3, -0.2, 1.1, -1.3, 0.07, 2.6)
BETAS = (0.1, 0.37, 0.7)
USUAL_BETAS = (0.1, 0.01, 0.5, 1.0, 2.0)
USUAL_SHIFTS = (0.5, 1.0, 1.6)
FAR = 1000.0  # beta times the margin: a sigmoid is 0 from 104 on in float32, from 745 on in float64
SEQUENCES, LOG_RATIOS, TOKENS = (
    ("chosen_logp", "rejected_logp"),
    ("chosen_logratio", "rejected_logratio"),
    ("logp",),
)
REFERENCES = {"chosen_ref_logp": "chosen_logp", "rejected_ref_logp": "rejected_logp", "ref_logp": "logp"}
SLIPS = {
    "reference": "the reference enters with the policy's sign",
    "exchanged": "the chosen and the rejected responses are exchanged",
    "sum": "on sums of log-probabilities, not on means per token",
}
SLIPPING = 5  # the first forms are those whose slips are looked for
DOWNWARD = ("apo_down", "apo_down_separate")


def plan(target: KindTarget) -> Plan:
    """Pairs on both sides of the margin; every token counts."""
    drawn: dict[str, Unit] = {
        "chosen_logp": Draw("B", POLICY), "rejected_logp": Draw("B", POLICY[::-1]),
        "chosen_ref_logp": Draw("B", REFERENCE), "rejected_ref_logp": Draw("B", REFERENCE[::-1]),
        "chosen_logratio": Draw("B", RATIOS), "rejected_logratio": Draw("B", RATIOS[::-1]),
        "logp": Draw("NT", POLICY), "ref_logp": Draw("NT", REFERENCE), "mask": Rows(full),
        "beta": Draw("", BETAS), "label_smoothing": Draw("", (0.1, 0.2)),
        "gamma": Draw("", (0.5, 0.9)), "gamma_beta_ratio": Draw("", (0.5, 0.9)),
    }  # fmt: skip
    return {role: draw for role, draw in drawn.items() if target.takes(role)}


def leading(target: KindTarget) -> tuple[str, ...]:
    """The roles of the policy's arrays, chosen before rejected."""
    return next(roles for roles in (SEQUENCES, LOG_RATIOS, TOKENS) if target.takes(*roles))


def log_ratios(scene: Scene, tokens: str, added: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The log-ratios c and r [B], from log-probabilities of tokens by their "sum" or "mean".

    Without a reference they are the log-probabilities themselves; if it is ``added``, it has the policy's sign.
    """
    sign = 1.0 if added else -1.0
    if "chosen_logratio" in scene:
        return np.asarray(scene["chosen_logratio"], float), np.asarray(scene["rejected_logratio"], float)
    if "chosen_logp" in scene:
        c, r = (
            np.asarray(scene[f"{side}_logp"], float)
            + sign * np.asarray(scene.get(f"{side}_ref_logp", 0.0), float)
            for side in ("chosen", "rejected")
        )
        return c, r
    gap = np.asarray(scene["logp"], float) + sign * np.asarray(scene["ref_logp"], float)
    weights = shares(scene, tokens)
    total = np.where(weights > 0, gap * weights, 0.0).sum(-1)
    return total[: len(total) // 2], total[len(total) // 2 :]


def shares(scene: Scene, tokens: str) -> np.ndarray:
    """The share [2B, T] of each token in its response's log-probability."""
    mask = np.asarray(scene.get("mask", np.ones_like(scene["logp"])), float)
    return mask / np.maximum(mask.sum(-1, keepdims=True), 1) if tokens == "mean" else mask


def forms(target: KindTarget) -> Sequence[KnownForm]:
    """Every known loss and the usual mistakes; with several values of the settings that the function does not take."""
    sound = [f for pair in PAIR_FORMS for f in _settings(target, pair)]
    roles = leading(target)
    referred = any(target.takes(r) for r in REFERENCES)
    if roles == SEQUENCES and not referred:
        for shift in (None,) if target.takes("gamma") or target.takes("gamma_beta_ratio") else USUAL_SHIFTS:
            sound += _settings(target, PairForm("simpo", partial(simpo, shift or 0.0), shift=shift))
    out = sound
    for slip, words in SLIPS.items():
        if (slip == "reference" and not referred) or (slip == "sum" and roles != TOKENS):
            continue
        for pair in PAIR_FORMS[:SLIPPING]:
            if slip != "sum" or pair.tokens == "mean":
                out = [*out, *_settings(target, pair, slip, f"it is {pair.name}, but {words}")]
    if target.intended:
        # the other losses too, so that a function that is one of them is called by its name
        others = [f for f in sound if f.name != target.intended]
        out = [*out, *(replace(f, name=target.intended, fault=f"it is {f.title}") for f in others)]
    return out


def _settings(target: KindTarget, pair: PairForm, slip: str = "", fault: str = "") -> list[KnownForm]:
    """The loss at the scene's settings, or at the usual ones where the function takes none.

    Args:
        target: The function's target.
        pair: The loss.
        slip: The mistake in it, of ``SLIPS``.
        fault: The mistake in words.
    """
    if leading(target) != TOKENS and pair.name == "dpo_norm":
        return []
    betas: tuple[float | None, ...] = (None,) if target.takes("beta") else USUAL_BETAS
    taken = target.takes("label_smoothing") and pair.smooths
    smoothings: tuple[float | None, ...] = (None,) if taken else pair.usual
    out = []
    for beta, smoothing in itertools.product(betas, smoothings):
        answer = partial(_answer, leading(target), pair, beta, smoothing, slip)
        words = [f"margin {pair.shift:g}"] if pair.shift else [pair.note]
        words += [f"beta {beta:g}"] if beta is not None else []
        words += [f"label smoothing {smoothing:g}"] if smoothing else []
        out.append(KnownForm(pair.name, answer, ", ".join(w for w in words if w), fault, pair.asked))
    return out


def _answer(
    roles: tuple[str, ...],
    pair: PairForm,
    beta: float | None,
    smoothing: float | None,
    slip: str,
    scene: Scene,
) -> Answer:
    """The mean loss and its derivatives by the policy's arrays.

    Args:
        roles: The roles of these arrays.
        pair: The loss.
        beta: The temperature; None for the scene's.
        smoothing: The label smoothing; None for the scene's.
        slip: A mistake of ``SLIPS``, or "".
        scene: The arrays and settings.
    """
    tokens = "sum" if slip == "sum" else pair.tokens
    b = float(scene["beta"]) if beta is None else beta
    e = float(scene["label_smoothing"]) if smoothing is None else smoothing
    formula = pair.formula
    if pair.shift is None:
        formula = partial(simpo, float(scene.get("gamma", b * float(scene.get("gamma_beta_ratio", 0.0)))))
    c, r = log_ratios(scene, tokens, slip == "reference")
    if slip == "exchanged":
        loss, rejected, chosen = formula(r, c, b, e)
    else:
        loss, chosen, rejected = formula(c, r, b, e)
    slopes = [chosen / len(loss), rejected / len(loss)]
    if roles == TOKENS:
        slopes = [np.concatenate(slopes)[:, None] * shares(scene, tokens)]
    gradients = {f"gradient of {role}": slope for role, slope in zip(roles, slopes, strict=True)}
    return {"value": np.asarray(loss.mean()), **gradients}


def observe(target: KindTarget, scene: Scene) -> Answer:
    """The loss, averaged where there is one for every pair, and its derivatives by the policy's arrays."""
    value = target.value(scene)
    gradients = {f"gradient of {r}": target.gradient(scene, r) / value.size for r in leading(target)}
    return {"value": np.asarray(value.mean()), **gradients}


def sides(answer: Answer, roles: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The derivatives by the chosen and the rejected responses' log-probabilities, as lists."""
    if roles == TOKENS:
        gradient = answer["gradient of logp"]
        return gradient[: len(gradient) // 2].ravel(), gradient[len(gradient) // 2 :].ravel()
    one, two = (answer[f"gradient of {role}"].ravel() for role in roles)
    return one, two


def pair_direction(target: KindTarget, scene: Scene) -> None:
    """Where policy and reference agree, a likelier chosen response lowers the loss, a likelier rejected one raises it.

    With a sign or the two halves of the batch exchanged, the model learns to write what people rejected, at a loss that
    falls as it should. Losses meant for chosen responses that are no better than the model's do not raise them. Report:
    huggingface/trl#6593 (which response apo_down moves, and where).
    """
    roles = leading(target)
    one, two = sides(target.observe(scene), roles)
    slack = target.tolerance * max(1e-3, float(np.abs([*one, *two]).max()))
    for gradient, side, sign, verb in ((one, "chosen", -1, "lowers"), (two, "rejected", 1, "raises")):
        wrong = np.flatnonzero(~(sign * gradient > slack))
        expect(
            len(wrong) == 0,
            f"where policy and reference agree, the gradient of a {side} response is "
            f"{gradient[wrong[0]] if len(wrong) else 0:.4g}: a likelier one {verb} no loss; {told(scene)}",
        )


def _agreeing(target: KindTarget) -> st.SearchStrategy[dict[str, Any]]:
    """Scenes in which all log-ratios are zero; without a reference, in which both responses are as likely."""

    def agreed(scene: Scene) -> Scene:
        out = dict(scene)
        for role, other in REFERENCES.items():
            if role in out:
                out[role] = out[other]
        if "rejected_logp" in out and "rejected_ref_logp" not in out:
            out["rejected_logp"] = out["chosen_logp"]
        for role in LOG_RATIOS:
            if role in out:
                out[role] = np.zeros_like(out[role])
        return out

    return plain_examples(target).map(lambda drawn: {"scene": agreed(drawn["scene"])})


def _downward(target: KindTarget) -> str:
    form = target.form or target.nearest
    if target.intended in DOWNWARD or (form is not None and form.name in DOWNWARD):
        return f"{form.name if form else target.intended} does not want the chosen response likelier"
    return ""


def pair_reference(target: KindTarget, scene: Scene, role: str, step: float) -> None:
    """Adding a constant to a response's log-probability under policy and reference alike changes nothing.

    The reference enters with the sign opposite to the policy's. With the same sign, or left out, the loss asks for the
    responses that the reference preferred anyway, and the KL budget is spent on nothing. Report:
    modelscope/ms-swift#9925 (sums of log-probabilities where means belong, in policy and reference).

    Args:
        target: The function's target.
        scene: The arrays.
        role: The reference's array that is moved with the policy's.
        step: By how much.
    """
    moved = dict(scene)
    for name in (role, REFERENCES[role]):
        moved[name] = np.asarray(scene[name], float) + step
    before, after = (float(target.observe(s)["value"]) for s in (scene, moved))
    limit = target.tolerance * max(1.0, abs(before))
    expect_pair(
        abs(before - after) <= limit,
        before,
        after,
        f"{step:g} more for {role.replace('_', ' ')} and the policy's moves the loss from {{}} to {{}}: "
        f"the reference must enter with the opposite sign; {told(scene)}",
    )


def _references(target: KindTarget) -> st.SearchStrategy[dict[str, Any]]:
    taken = [r for r in REFERENCES if target.takes(r)]
    step = st.sampled_from((0.5, -1.25))
    return st.fixed_dictionaries(
        {"scene": strategy(target.plan(), target.sizes), "role": st.sampled_from(taken), "step": step}
    )


def _referred(target: KindTarget) -> str:
    return "" if any(target.takes(r) for r in REFERENCES) else "it takes no reference's log-probabilities"


def pair_extreme(target: KindTarget, scene: Scene) -> None:
    """Pairs that the policy tells apart completely have a finite loss and a finite gradient.

    The logarithm of a sigmoid, written as two functions, is minus infinity as soon as the sigmoid rounds to zero: one
    long response suffices. Looked for at a margin that rounds to zero in double precision, as a tenth of it does in
    float32. Report: OpenRLHF/OpenRLHF#1295 (an exponential without a clamp).
    """
    try:
        observed = target.observe(scene)
    except Raised as error:
        expect(False, f"it {error}; {told(scene)}")
        return
    for key, value in observed.items():
        bad = np.argwhere(~np.isfinite(value))
        if len(bad):
            place = tuple(int(i) for i in bad[0])
            expect(False, f"{key}{list(place) if place else ''} is {value[place]:g}; {told(scene)}")


def _extremes(target: KindTarget) -> st.SearchStrategy[dict[str, Any]]:
    """Plain scenes with one response of all pairs, or both, far from the reference."""
    roles = leading(target)

    def spread(scene: Scene, shifts: tuple[float, float]) -> Scene:
        out = dict(scene)
        far = FAR / float(scene.get("beta", min(USUAL_BETAS)))
        if roles == TOKENS:
            rows = len(scene["logp"]) // 2
            out["logp"] = np.asarray(scene["logp"], float)
            out["logp"] = out["logp"] + far * np.repeat(np.asarray(shifts), rows)[:, None]
            return out
        for role, shift in zip(roles, shifts, strict=True):
            out[role] = np.asarray(scene[role], float) + far * shift
        return out

    drawn = strategy(target.plan(), target.sizes)
    # log-probabilities are never positive; log-ratios may be
    # the first is what is tried first: an unlikely chosen response is where a logarithm ends
    shifts = [(-1.0, 0.0), (0.0, -1.0), (-1.0, -1.0)]
    if roles == LOG_RATIOS:
        shifts += [(1.0, 0.0), (0.0, 1.0), (1.0, -1.0)]
    return st.fixed_dictionaries(
        {"scene": st.sampled_from(shifts).flatmap(lambda s: drawn.map(partial(spread, shifts=s)))}
    )


def pair_tokens(target: KindTarget, scene: Scene) -> None:
    """A response's log-probability is the sum, or the mean, over the tokens that count, as the loss has it.

    A mean over the padded length, or a sum where the mean belongs, makes the temperature depend on how long the
    longest response of the batch is. Report: modelscope/ms-swift#9925 (ipo on sums of log-probabilities).
    """
    target.compare(scene)


def _fits(roles: frozenset[str]) -> bool:
    pairs = set(SEQUENCES) <= roles or set(LOG_RATIOS) <= roles
    tokens = {"logp", "ref_logp", "mask", "beta"} <= roles
    return pairs or (
        tokens and not {"advantages", "rewards", "token_rewards", "old_logp", "sampler_logp"} & roles
    )


PAIRS = Kind(
    "pair-loss",
    "a loss on pairs: log-probabilities of chosen and rejected responses, of policy and reference, beta -> loss",
    _fits,
    plan,
    observe,
    forms,
    (
        *EVERY,
        Law("pair_direction", pair_direction, _agreeing, _downward, universal=True),
        Law("pair_reference", pair_reference, _references, _referred, universal=True),
        Law("pair_extreme", pair_extreme, _extremes, universal=True),
        aspect(
            "pair_tokens",
            pair_tokens,
            lambda t: {"mask": Rows(lambda steps: [*right(steps), *left(steps), *holes(steps)])},
            needs("mask"),
        ),
        masked_law(lambda steps: [*right(steps), *left(steps), *holes(steps)]),
    ),
    sizes=({"N": 4, "T": 3, "B": 3},),
    matters=tuple(dict.fromkeys((*SEQUENCES, *LOG_RATIOS, *REFERENCES, *REFERENCES.values()))),
    scaled=True,
    gradients=True,
)
