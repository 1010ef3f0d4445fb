"""Advantages from values by generalised advantage estimation: ends of episodes, bootstraps, holes in the mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradvar.testing.kinds.base import Answer, Kind, KindTarget, KnownForm
from gradvar.testing.kinds.common import EVERY, aspect, masked_law, needs
from gradvar.testing.kinds.draws import REWARDS, VALUES, Draw, Plan, Rows, Scene, full, holes, right

ENDS = (0.0, 0.0, 1.0)
GAMMAS = (0.9, 1.0, 0.5, 0.0)
LAMBDAS = (0.95, 0.5, 1.0, 0.0)


def plan(target: KindTarget) -> Plan:
    """Episodes that go on, no token masked, nothing after the last step."""
    rewards = "token_rewards" if target.takes("token_rewards") else "rewards"
    drawn: dict[str, Draw | Rows] = {
        rewards: Draw("NT", REWARDS), "values": Draw("NT", VALUES), "mask": Rows(full),
        "dones": Draw("NT", (0.0,)), "terminated": Draw("NT", (0.0,)), "truncated": Draw("NT", (0.0,)),
        "next_done": Draw("N", (0.0,)), "last_value": Draw("N", (0.0,)), "next_values": Draw("NT", VALUES),
        "gamma": Draw("", GAMMAS), "lam": Draw("", LAMBDAS),
    }  # fmt: skip
    return {role: draw for role, draw in drawn.items() if target.takes(role)}


def recursion(scene: Scene, gamma: float, lam: float) -> tuple[np.ndarray, np.ndarray]:
    """The advantages [N, T] and the values; steps whose mask is 0 are no steps, and keep what comes after them.

    ``dones`` (or ``terminated``) stop the value and the sum; ``truncated`` stops the sum alone. With ``next_done``
    the flags are those before a step.
    """
    rewards = np.asarray(scene["token_rewards"] if "token_rewards" in scene else scene["rewards"], float)
    values = np.asarray(scene["values"], float)
    nothing = np.zeros_like(values)
    mask = np.asarray(scene.get("mask", nothing + 1), float)
    over = np.asarray(scene.get("dones", nothing), float)
    stops = np.asarray(scene.get("terminated", over), float)
    ends = np.maximum(np.maximum(over, stops), np.asarray(scene.get("truncated", nothing), float))
    if "next_done" in scene:
        later = np.asarray(scene["next_done"], float).reshape(-1, 1)
        stops, ends = (np.concatenate([x[:, 1:], later], axis=1) for x in (stops, ends))
    last = np.broadcast_to(np.asarray(scene.get("last_value", 0.0), float).reshape(-1), (len(values),))
    carry, following = np.zeros(len(values)), np.array(last, float)
    out = np.zeros_like(values)
    for t in reversed(range(values.shape[1])):
        after = np.asarray(scene["next_values"], float)[:, t] if "next_values" in scene else following
        step = rewards[:, t] + gamma * after * (1 - stops[:, t]) - values[:, t]
        step = step + gamma * lam * (1 - ends[:, t]) * carry
        counts = mask[:, t] > 0
        carry = np.where(counts, step, carry)
        following = np.where(counts, values[:, t], following)
        out[:, t] = carry
    return out, values


def whitened(array: np.ndarray, mask: np.ndarray, ddof: int) -> np.ndarray:
    """Zero mean, unit variance over the cells that count; free where these are too few for a variance."""
    cells = array[mask > 0]
    if len(cells) < 2:
        return np.full(array.shape, np.nan)
    centred = array - cells.mean()
    variance = float((centred[mask > 0] ** 2).sum()) / (len(cells) - ddof)
    if variance < 1e-6:  # rounding over rounding
        return np.full(array.shape, np.nan)
    return centred / np.sqrt(variance + 1e-8)


def forms(target: KindTarget) -> Sequence[KnownForm]:
    """GAE with its advantages as they are or whitened, and the returns that belong to it."""
    out = []
    defaults = [
        (g, x) for g in _choices(target, "gamma", (1.0, 0.99)) for x in _choices(target, "lam", (0.95, 1.0))
    ]
    for gamma, lam in defaults:
        for whitening in ("", "whitened", "whitened, ddof 0"):
            for returns in ("advantages + values", "rewards to go", "whitened advantages + values"):
                for order in (("advantages", "returns"), ("returns", "advantages")):
                    if returns.startswith("whitened") and not whitening:
                        continue
                    out.append(_form(gamma, lam, whitening, returns, order))
    return out


def _choices(target: KindTarget, role: str, usual: tuple[float, ...]) -> tuple[float | None, ...]:
    return (None,) if target.takes(role) else usual


def _form(
    gamma: float | None, lam: float | None, whitening: str, returns: str, order: tuple[str, str]
) -> KnownForm:
    def answer(scene: Scene) -> Answer:
        g = float(scene["gamma"]) if gamma is None else gamma
        raw, values = recursion(scene, g, float(scene["lam"]) if lam is None else lam)
        mask = np.asarray(scene.get("mask", np.ones_like(raw)))
        shaped = whitened(raw, mask, 0 if "ddof" in whitening else 1) if whitening else raw
        back = (shaped if returns.startswith("whitened") else raw) + values
        if returns == "rewards to go":
            back = recursion(scene, g, 1.0)[0] + values
        parts = {"advantages": shaped, "returns": back}
        hidden = {k: np.where(mask > 0, v, np.nan) for k, v in parts.items()}
        return {**hidden, "0": hidden[order[0]], "1": hidden[order[1]]}

    words = [whitening, f"returns = {returns}" if returns != "advantages + values" else ""]
    return KnownForm("gae", answer, ", ".join(w for w in words if w))


def observe(target: KindTarget, scene: Scene) -> Answer:
    """The arrays that the function returns, by name."""
    return target.outputs(scene)


def gae_done_stops(target: KindTarget, scene: Scene) -> None:
    """The end of an episode at step t stops the value and the sum between t and t + 1, not one step later.

    Read one step late, the value of the next episode's first state flows into the last step of this one. Report:
    EdanToledo/Stoix#142, anthonytorlucci/rlevo#342, jsboige/CoursIA#7825.
    """
    target.compare(scene)


def gae_truncation(target: KindTarget, scene: Scene) -> None:
    """A truncated episode ends the sum and keeps the value of what would have come; a terminated one has none.

    Without the distinction every time limit teaches that the state before it is worth nothing. Report:
    DLR-RM/stable-baselines3#633, Toni-SM/skrl#449.
    """
    target.compare(scene)


def gae_bootstrap(target: KindTarget, scene: Scene) -> None:
    """The value after the last step counts, discounted once, unless the episode is over.

    Left out, a rollout that was cut by the buffer's end looks like one that earned nothing afterwards. Report:
    vwxyzjn/cleanrl#198.
    """
    target.compare(scene)


def gae_holes(target: KindTarget, scene: Scene) -> None:
    """Observation tokens are no steps of the policy: no factor gamma lambda is paid for them, and no value leaks.

    Counted as steps, every tool call shrinks the credit of all that went before it, and the critic's values on text
    that it was never trained on enter the advantages. Report: radixark/miles#1827.
    """
    target.compare(scene)


def gae_padding(target: KindTarget, scene: Scene) -> None:
    """Padding after the last token changes nothing.

    A value on padding that is taken for the next state's is a bootstrap from noise. Report: radixark/miles#1827.
    """
    target.compare(scene)


GAE = Kind(
    "gae",
    "advantages from values: rewards, values, dones, last_value, gamma, lam -> advantages (and returns)",
    lambda roles: "values" in roles and bool({"rewards", "token_rewards"} & roles),
    plan,
    observe,
    forms,
    (
        *EVERY,
        masked_law(lambda steps: [*right(steps), *holes(steps)]),
        aspect("gae_done_stops", gae_done_stops, lambda t: {"dones": Draw("NT", ENDS)}, needs("dones")),
        aspect(
            "gae_truncation",
            gae_truncation,
            lambda t: {
                r: Draw("NT", ENDS) for r in ("dones", "terminated", "truncated") if t.takes(r)
            },
            lambda t: "" if t.takes("truncated") or t.takes("dones", "terminated") else "it takes no truncation flags",
        ),
        aspect(
            "gae_bootstrap",
            gae_bootstrap,
            lambda t: {
                "last_value": Draw("N", (1.0, 0.5, -2.0)),
                **({"next_done": Draw("N", (0.0, 1.0))} if t.takes("next_done") else {}),
            },
            needs("last_value"),
        ),
        aspect("gae_padding", gae_padding, lambda t: {"mask": Rows(right)}, needs("mask")),
        aspect("gae_holes", gae_holes, lambda t: {"mask": Rows(holes)}, needs("mask")),
    ),
    layouts=("NT", "TN", "T"),
    matters=("rewards", "token_rewards", "values"),
)  # fmt: skip
