"""The KL penalty in the reward: its sign, its coefficient, and no penalty from tokens that are not the policy's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gradvar.testing.calls import BadOutput
from gradvar.testing.kinds.base import Answer, Kind, KindTarget, KnownForm, told
from gradvar.testing.kinds.common import EVERY, needs
from gradvar.testing.kinds.draws import (
    REWARDS,
    SMALL,
    Choice,
    Draw,
    Plan,
    Rows,
    Scene,
    holes,
    right,
    strategy,
)
from gradvar.testing.laws.base import Law, expect, expect_pair

COEFFICIENTS = (0.1, 0.5, 0.02)
USUAL = (0.1, 0.05, 0.01, 0.001, 0.2, 1.0)
ROLES = frozenset({"rewards", "token_rewards", "kl", "kl_coef", "beta", "mask", "gamma", "lengths"})


def _coefficient(target: KindTarget) -> str:
    return next((role for role in ("kl_coef", "beta") if target.takes(role)), "")


def plan(target: KindTarget) -> Plan:
    """Rewards, and estimates of the KL of both signs; rollouts of any length where there is a way to say so."""
    ragged = target.takes("mask") or target.caller.layout == "list"
    drawn: dict[str, Draw | Rows | Choice] = {
        "rewards": Draw("N", REWARDS), "token_rewards": Draw("NT", REWARDS), "kl": Draw("NT", SMALL),
        "kl_coef": Draw("", COEFFICIENTS), "beta": Draw("", COEFFICIENTS), "gamma": Draw("", (1.0, 0.9, 0.5)),
    }  # fmt: skip
    out = {role: draw for role, draw in drawn.items() if target.takes(role)}
    return {**out, "mask": Rows(right)} if ragged else out


def _mask(scene: Scene) -> np.ndarray:
    return np.asarray(scene.get("mask", np.ones(np.shape(scene["kl"])))) > 0


def penalised(scene: Scene, coefficient: float, score: str) -> np.ndarray:
    """The token rewards [N, T]: the score on every token or on the last one, less the penalty on each real one."""
    mask = _mask(scene)
    out = -coefficient * np.where(mask, np.asarray(scene["kl"], float), 0.0)
    if "token_rewards" in scene:
        return np.where(mask, out + np.asarray(scene["token_rewards"], float), 0.0)
    rewards = np.asarray(scene["rewards"], float)[:, None]
    if score == "on every token":
        return np.where(mask, out + rewards, 0.0)
    last = np.where(mask, np.arange(mask.shape[1]), -1).max(-1)
    return out + np.where(np.arange(mask.shape[1]) == last[:, None], rewards, 0.0)


def forms(target: KindTarget) -> Sequence[KnownForm]:
    """The penalised rewards of the tokens, their sums from each token on, and their sum over the rollout."""
    scores = ("on the tokens",) if target.takes("token_rewards") else ("on the last token", "on every token")
    usual = (None,) if _coefficient(target) else USUAL
    out = []
    for coefficient in usual:
        for score in scores:
            for shape in ("", "returns", "discounted returns", "one sum a rollout"):
                if shape.startswith("discounted") and not target.takes("gamma"):
                    continue
                out.append(_form(coefficient, score, shape))
    return out


def _form(coefficient: float | None, score: str, shape: str) -> KnownForm:
    def answer(scene: Scene) -> Answer:
        taken = scene["kl_coef"] if "kl_coef" in scene else scene.get("beta", 0.0)
        chosen = float(taken) if coefficient is None else coefficient
        rewards, mask = penalised(scene, chosen, score), _mask(scene)
        if shape == "one sum a rollout":
            return {"rewards": rewards.sum(1)}
        if shape:
            gamma = float(scene["gamma"]) if shape.startswith("discounted") else 1.0
            for t in reversed(range(rewards.shape[1] - 1)):
                rewards[:, t] += gamma * rewards[:, t + 1]
        return {"rewards": np.where(mask, rewards, np.nan)}

    words = [f"score {score}", shape, "" if coefficient is None else f"coefficient {coefficient:g}"]
    return KnownForm("kl_reward", answer, ", ".join(w for w in words if w))


def observe(target: KindTarget, scene: Scene) -> Answer:
    """The first output of the rewards' shape: [N, T], or [N]."""
    outputs = target.outputs(scene)
    shape = np.shape(scene["kl"])
    for wanted in (shape, shape[:1]):
        for array in outputs.values():
            if array.shape == wanted:
                return {"rewards": array}
    raise BadOutput("returned rewards neither for each token nor for each rollout")


def _real(target: KindTarget, scene: Scene) -> np.ndarray:
    """The answer with zeros where no token counts."""
    values = target.observe(scene)["rewards"]
    return np.where(_mask(scene), values, 0.0) if values.ndim == 2 else values


def kl_penalty_lowers(target: KindTarget, scene: Scene, row: int) -> None:
    """More KL on a real token lowers what the rollout gets, and raises nothing.

    With a plus the policy is paid for leaving the reference, and it does. Report: huggingface/trl#463 (the sign of the
    KL in the reward), THUDM/slime#399 (the KL is ignored).
    """
    row = row % len(scene["kl"])
    more = np.array(scene["kl"], float)
    more[row, int(np.argmax(_mask(scene)[row]))] += 0.5
    before, after = _real(target, scene), _real(target, {**scene, "kl": more})
    change = after - before
    place = tuple(int(i) for i in np.argwhere(change == change.max())[0])
    expect_pair(
        change.max() <= target.tolerance,
        before[place],
        after[place],
        f"0.5 more KL on a token of rollout {row} raises rewards{list(place)} from {{}} to {{}}; {told(scene)}",
    )
    expect(
        change[row].min() < -target.tolerance,
        f"0.5 more KL on a token of rollout {row} lowers nothing of what it gets; {told(scene)}",
    )


def kl_coef_scales(target: KindTarget, scene: Scene, factor: float) -> None:
    """The penalty is the coefficient times something that is free of it: none at zero, twice at double.

    Squared, left out or applied twice, the coefficient that a paper names is not the one that is trained with.
    Report: verl-project/verl#211 (is the penalty applied twice?), huggingface/trl#802.
    """
    role = _coefficient(target)
    free = _real(target, {**scene, role: 0.0})
    none = _real(target, {**scene, "kl": np.zeros(np.shape(scene["kl"]))})
    slack = target.tolerance * max(1.0, float(np.abs(free).max()))
    expect(
        bool(np.allclose(free, none, rtol=0, atol=slack)),
        f"at a coefficient of 0 the KL counts; {told(scene)}",
    )
    one, more = _real(target, scene) - free, _real(target, {**scene, role: factor * scene[role]}) - free
    gap = np.abs(more - factor * one)
    place = tuple(int(i) for i in np.argwhere(gap == gap.max())[0])
    expect_pair(
        gap.max() <= slack * factor,
        more[place],
        factor * one[place],
        f"{factor:g} times the coefficient moves rewards{list(place)} by {{}}, not by {{}}; {told(scene)}",
    )


def kl_reward_masked(target: KindTarget, scene: Scene) -> None:
    """The KL of observations and padding is nobody's: no token gets it, and no return takes it up.

    Tool output is no choice of the policy; its KL is large, and summed backwards it punishes every call of a tool.
    Report: THUDM/slime#1372, radixark/miles#1383.
    """
    mask = _mask(scene)
    dirty = {**scene, "kl": np.where(mask, scene["kl"], np.asarray(scene["kl"]) + 3.0)}
    clean, after = target.observe(scene)["rewards"], target.observe(dirty)["rewards"]
    off = ~np.isclose(clean, after, rtol=0, atol=target.tolerance, equal_nan=True)
    if off.any():
        place = tuple(int(i) for i in np.argwhere(off)[0])
        spot = f"3 more KL on the tokens whose mask is 0 moves rewards{list(place)}"
        expect_pair(False, clean[place], after[place], f"{spot} from {{}} to {{}}; {told(scene)}")


def _scenes(target: KindTarget, **more: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"scene": strategy(target.plan(), target.sizes), **more})


def _masks(steps: int) -> list[list[float]]:
    return [*right(steps), *holes(steps)]


KL_REWARD = Kind(
    "kl_reward",
    "the KL penalty in the reward: rewards, kl, kl_coef, mask -> token rewards or returns",
    lambda roles: "kl" in roles and bool({"rewards", "token_rewards"} & roles) and roles <= ROLES,
    plan,
    observe,
    forms,
    (
        *EVERY,
        Law(
            "kl_penalty_lowers",
            kl_penalty_lowers,
            lambda t: _scenes(t, row=st.integers(0, 2)),
            universal=True,
        ),
        Law(
            "kl_coef_scales",
            kl_coef_scales,
            lambda t: _scenes(t, factor=st.sampled_from([2.0, 3.0])),
            lambda t: "" if _coefficient(t) else "it takes no coefficient",
            universal=True,
        ),
        Law(
            "kl_reward_masked",
            kl_reward_masked,
            lambda t: st.fixed_dictionaries({"scene": strategy(t.plan(mask=Rows(_masks)), t.sizes)}),
            needs("mask"),
            universal=True,
        ),
    ),
    layouts=("NT", "list"),
    matters=("rewards", "token_rewards", "kl", "kl_coef", "beta"),
)
