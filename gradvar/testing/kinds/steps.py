"""Advantages of trajectories in steps: the outcome of the last step for all of them, or each step in its own group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gradvar.testing.calls import BadOutput
from gradvar.testing.digits import shown
from gradvar.testing.kinds.base import Answer, Kind, KindTarget, KnownForm, told
from gradvar.testing.kinds.common import EVERY, masked_law, needs
from gradvar.testing.kinds.draws import Choice, Plan, Rows, Scene, right, samples
from gradvar.testing.laws.base import Law, expect, expect_pair

ROLES = frozenset(
    {"rewards", "token_rewards", "mask", "ids", "prompts", "trajectories", "steps", "last_step", "row_count"}
)
LENGTHS = {5: (1, 2, 1, 1), 8: (2, 1, 3, 2)}
"""The steps of each trajectory, by the number of rows; trajectories of even and odd halves are of one prompt."""
OUTCOMES = ((0.0, 1.0, 1.0, 0.0), (1.0, 0.0, 0.5, -1.0), (2.0, 2.0, 0.0, 1.0))


def structure(rows: int) -> dict[str, np.ndarray]:
    """The prompt, the trajectory, the step and the end of each row [N]."""
    lengths = LENGTHS[rows]
    trajectories = np.repeat(np.arange(len(lengths)), lengths)
    steps = np.concatenate([np.arange(n) for n in lengths])
    prompts = trajectories // 2
    last = np.append(trajectories[1:] != trajectories[:-1], True)
    return {
        "ids": prompts,
        "prompts": prompts,
        "trajectories": trajectories,
        "steps": steps,
        "last_step": last,
    }


def broadcast(target: KindTarget) -> bool:
    """Return True if the function is told which step is a trajectory's last."""
    return target.takes("last_step")


def _rewards(target: KindTarget, tokens: bool, size: Mapping[str, int]) -> list[np.ndarray]:
    parts = structure(size["N"])
    out = []
    for outcome in OUTCOMES:
        rewards = np.array(outcome)[parts["trajectories"]]
        rewards = rewards * parts["last_step"] if broadcast(target) else rewards + parts["steps"] ** 2
        out.append(
            np.concatenate([rewards[:, None], np.zeros((size["N"], size["T"] - 1))], 1) if tokens else rewards
        )
    return out


def _placed(role: str, size: Mapping[str, int]) -> list[np.ndarray]:
    return [structure(size["N"])[role]]


def plan(target: KindTarget) -> Plan:
    """Four trajectories of two prompts; rewards on the last step, or on each; the first token of a row is real."""
    drawn: dict[str, Choice | Rows] = {role: Choice(partial(_placed, role)) for role in structure(5)}
    drawn |= {
        "rewards": Choice(partial(_rewards, target, False)), "token_rewards": Choice(partial(_rewards, target, True)),
        "mask": Rows(lambda steps: [*right(steps), [1.0, *[0.0] * (steps - 2), 1.0]]),
        "row_count": Choice(lambda size: [size["N"]]),
    }  # fmt: skip
    return {role: draw for role, draw in drawn.items() if target.takes(role)}


def outcomes(scene: Scene) -> np.ndarray:
    """The reward of each row [N]."""
    rewards = np.asarray(scene["token_rewards"] if "token_rewards" in scene else scene["rewards"], float)
    return rewards.sum(-1) if rewards.ndim == 2 else rewards


def groups(target: KindTarget, scene: Scene) -> list[list[int]]:
    """The rows that are compared with each other: the last steps of a prompt, or each step of a prompt."""
    rows = len(outcomes(scene))
    names = np.asarray(scene.get("ids", scene.get("prompts", np.zeros(rows))))
    keys = list(
        zip(names.tolist(), [0] * rows if broadcast(target) else scene["steps"].tolist(), strict=True)
    )
    voters = np.asarray(scene["last_step"], bool) if broadcast(target) else np.ones(rows, bool)
    return [[n for n in range(rows) if keys[n] == key and voters[n]] for key in dict.fromkeys(keys)]


def compared(target: KindTarget, ddof: int | None, scene: Scene) -> Answer:
    """Rewards less their group's mean, over its std; free where that is rounding."""
    rewards, out = outcomes(scene), np.zeros(len(outcomes(scene)))
    for rows in groups(target, scene):
        part = rewards[rows]
        spread = 1.0 if ddof is None else np.std(part, ddof=ddof) if len(rows) > ddof else 0.0
        out[rows] = (part - part.mean()) / spread if spread > 1e-3 else np.nan if np.ptp(part) else 0.0
    if broadcast(target):
        out = out[np.asarray(scene["last_step"], bool)][_trajectories(scene)]
    mask = np.asarray(scene["mask"]) > 0 if "mask" in scene else np.ones((len(out), 1), bool)
    return {"value": out, "tokens": np.where(mask, out[:, None], np.nan)}


def _trajectories(scene: Scene) -> np.ndarray:
    """The place of each row's trajectory; a trajectory ends with its last step."""
    return np.append(0, np.cumsum(np.asarray(scene["last_step"], int))[:-1])


def forms(target: KindTarget) -> Sequence[KnownForm]:
    """Centred or standardised; with a small epsilon standardised forms are of any form."""
    out = [KnownForm("stepwise", partial(compared, target, ddof), note) for ddof, note in _SCALES.items()]
    return [*out, KnownForm("stepwise", lambda scene: {}, "of any form")]


_SCALES = {None: "centred", 1: "sample std", 0: "population std"}


def observe(target: KindTarget, scene: Scene) -> Answer:
    """The advantage of each row [N], or of each token [N, T]."""
    rows = len(outcomes(scene))
    parts = target.outputs(scene)
    for name in sorted(parts, key=lambda n: not n.lower().startswith("adv")):
        array = parts[name]
        if array.size == rows:
            return {"value": array.reshape(rows)}
        if "mask" in scene and array.shape == np.shape(scene["mask"]):
            return {"tokens": array}
    raise BadOutput("returned no number for each row, nor for each token")


def _of_rows(target: KindTarget, scene: Scene) -> np.ndarray:
    """The advantage of each row: its own, or the one on its first token."""
    answer = target.observe(scene)
    return answer["value"] if "value" in answer else answer["tokens"][:, 0]


def _near(target: KindTarget, one: np.ndarray, two: np.ndarray) -> bool:
    scale = max(1.0, float(np.max(np.abs(one[np.isfinite(one)]), initial=0.0)))
    return bool(np.allclose(one, two, rtol=0, atol=10 * target.tolerance * scale, equal_nan=True))


def _changed(scene: Scene, rewards: np.ndarray) -> Scene:
    """The scene with these rewards of its rows."""
    out = dict(scene)
    if "token_rewards" in scene:
        out["token_rewards"] = np.zeros(np.shape(scene["token_rewards"]))
        out["token_rewards"][:, 0] = rewards
    if "rewards" in scene:
        out["rewards"] = rewards
    return out


def _taken(scene: Scene, rows: Sequence[int]) -> Scene:
    """The scene with these rows, in this order."""
    count = len(outcomes(scene))
    per_row = {r: np.asarray(v)[list(rows)] for r, v in scene.items() if np.ndim(v) and len(v) == count}
    return {**scene, **per_row, **({"row_count": len(rows)} if "row_count" in scene else {})}


def step_tokens(target: KindTarget, scene: Scene) -> None:
    """Every token that a step wrote gets the step's number, and no other token does.

    The last step's advantages, already multiplied with the last step's mask, stand where the tokens of other steps do
    not: these are trained with zeros. Report: NovaSky-AI/SkyRL#1492, NovaSky-AI/SkyRL#1507.
    """
    answer = target.observe(scene)
    if "tokens" not in answer:
        return
    mask = np.asarray(scene["mask"]) > 0
    for n, (row, real) in enumerate(zip(answer["tokens"], mask, strict=True)):
        once = _near(target, row[real], np.full(int(real.sum()), row[0]))
        off = ~real & (np.abs(row) > 1e-6) & (np.abs(row - row[0]) > 1e-6)
        expect(
            once and not off.any(), f"row {n} with the mask {shown(real)} gets {shown(row)}; {told(scene)}"
        )


def step_shared(target: KindTarget, scene: Scene) -> None:
    """All steps of a trajectory get what its outcome is worth.

    Report: NovaSky-AI/SkyRL#1492 (earlier steps got the last one's masked tensor).
    """
    value, places = _of_rows(target, scene), _trajectories(scene)
    last = value[np.asarray(scene["last_step"], bool)]
    expect(_near(target, value, last[places]), f"trajectories {shown(places)}: {shown(value)}; {told(scene)}")


def step_one_vote(target: KindTarget, scene: Scene) -> None:
    """A trajectory has one vote in its group, however many steps it took.

    With a vote for each step, long trajectories are the baseline. Report: agentscope-ai/Trinity-RFT#451 (the last step
    of each run enters the group), rllm-org/rllm#924.
    """
    ends = np.flatnonzero(scene["last_step"]).tolist()
    together, alone = _of_rows(target, scene)[ends], _of_rows(target, _taken(scene, ends))
    text = f"{{}} at the ends of the trajectories, {{}} where each has one step; {told(scene)}"
    expect_pair(_near(target, alone, together), together, alone, text)


def step_equal(target: KindTarget, scene: Scene) -> None:
    """Steps that are as good as those they are compared with get zero, whatever other steps and prompts get.

    Compared with other steps, or alone in its group under a name of its own, a step is trained with its raw reward.
    Report: rllm-org/rllm#605, rllm-org/rllm#776 (a name for each trajectory), microsoft/agent-lightning#489.
    """
    rewards = outcomes(scene)
    for number, rows in enumerate(groups(target, scene)):
        rewards[rows] = 1.0 + number
    value = _of_rows(target, _changed(scene, rewards))
    expect(bool(np.all(np.abs(value) < 1e-3)), f"rewards {shown(rewards)}: {shown(value)}; {told(scene)}")


def step_better(target: KindTarget, scene: Scene, place: int) -> None:
    """Of the steps that are compared with each other, the best gets the most.

    Report: rllm-org/rllm#924 (groups of one, no comparison at all).
    """
    rewards = np.zeros(len(outcomes(scene)))
    several = [rows for rows in groups(target, scene) if len(rows) > 1]
    rows = several[place % len(several)]
    rewards[rows[place % len(rows)]] = 1.0
    value = _of_rows(target, _changed(scene, rewards))
    best = value[rows[place % len(rows)]]
    rest = [value[n] for n in rows if n != rows[place % len(rows)]]
    expect(bool(best > max(rest) + 1e-3), f"rewards {shown(rewards)}: {shown(value)}; {told(scene)}")


def step_order(target: KindTarget, scene: Scene, order: Sequence[int]) -> None:
    """Rows in another order, trajectories where their ends are marked, get what they got.

    Report: NovaSky-AI/SkyRL#1278 (rows and trajectories taken for each other).
    """
    rows = [n for n in order if n < len(outcomes(scene))]
    if broadcast(target):
        places = _trajectories(scene)
        rows = [int(n) for p in order if p <= places[-1] for n in np.flatnonzero(places == p)]
    before, after = _of_rows(target, scene)[rows], _of_rows(target, _taken(scene, rows))
    text = f"{{}} in the order {rows}, {{}} if called so; {told(scene)}"
    expect_pair(_near(target, before, after), before, after, text)


def step_apart(target: KindTarget, scene: Scene) -> None:
    """The rewards of one step of a prompt change no other step's advantages, but for one scale of the batch.

    Report: microsoft/agent-lightning#489 (all turns of a question in one group).
    """
    rows, *others = groups(target, scene)
    rest = [n for other in others for n in other]
    rewards = outcomes(scene)
    more = np.array(rewards)
    more[rows[0]] += 3.0
    one, two = (_of_rows(target, _changed(scene, r))[rest] for r in (rewards, more))
    scale = float(one @ two / (one @ one)) if np.any(one) else 1.0
    text = f"{{}} for the rows {rest}, {{}} where row {rows[0]} has three more; {told(scene)}"
    expect_pair(scale > 0 and _near(target, scale * one, two), one, two, text)


def _examples(**more: st.SearchStrategy[Any]) -> Callable[[KindTarget], st.SearchStrategy[dict[str, Any]]]:
    return lambda target: st.fixed_dictionaries({"scene": samples(target.plan(), target.sizes), **more})


def _by_step(target: KindTarget) -> str:
    if broadcast(target):
        return "one outcome counts for all steps"
    return "it may add what trajectories are worth" if target.takes("trajectories") else ""


STEPS = Kind(
    "stepwise",
    "advantages of trajectories in steps: rewards, index and is_last_step or step_ids -> advantages",
    lambda roles: bool({"rewards", "token_rewards"} & roles) and roles <= ROLES
    and ("last_step" in roles or ("steps" in roles and bool({"ids", "prompts"} & roles))),
    plan,
    observe,
    forms,
    (
        *EVERY,
        masked_law(right),
        Law("step_tokens", step_tokens, _examples(), needs("mask"), universal=True),
        Law("step_shared", step_shared, _examples(), needs("last_step"), universal=True),
        Law("step_one_vote", step_one_vote, _examples(), needs("last_step"), universal=True),
        Law("step_equal", step_equal, _examples(), universal=True),
        Law("step_better", step_better, _examples(place=st.integers(0, 3)), universal=True),
        Law("step_order", step_order, _examples(order=st.permutations(range(8))), universal=True),
        Law("step_apart", step_apart, _examples(), _by_step, universal=True),
    ),
    sizes=({"N": 5, "T": 3}, {"N": 8, "T": 4}),
    matters=("rewards", "token_rewards"),
)  # fmt: skip
