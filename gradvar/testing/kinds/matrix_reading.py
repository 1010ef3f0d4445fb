"""Rewards of several functions: how a function of them is called, what it returns, and the number of each rollout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradvar.testing.arrays import Library
from gradvar.testing.calls import BadOutput, Raised
from gradvar.testing.kinds.base import Answer, KindTarget
from gradvar.testing.kinds.draws import REWARDS, Choice, Draw, Plan, Rows, Scene, sample
from gradvar.testing.kinds.grouped import groupings, members, takes_groups
from gradvar.testing.missing import REMARK, none_is_read, plain_lists

ROLES = frozenset({"reward_matrix", "reward_weights", "ids", "prompts", "count", "row_count"})
WEIGHTS = ((1.0, 0.5, 2.0), (0.25, 1.0, 0.75), (1.0, 1.0, 1.0))


def plan(target: KindTarget) -> Plan:
    """Rewards of three functions, none missing, in two or three groups of two or three."""
    drawn: dict[str, Draw | Rows | Choice] = {
        "reward_matrix": Draw("NK", REWARDS),
        "reward_weights": Choice(lambda size: [np.array(w[: size["K"]]) for w in WEIGHTS]),
        **groupings(target),
    }
    return {role: draw for role, draw in drawn.items() if target.takes(role)}


def observe(target: KindTarget, scene: Scene) -> Answer:
    """The number of each rollout [N]: the advantage where groups are taken and several numbers come back."""
    count = len(scene["reward_matrix"])
    parts = {k: v.reshape(count) for k, v in target.outputs(scene).items() if v.size == count}
    if not parts:
        raise BadOutput("returned no number for each rollout")
    named = [k for k in parts if k.lower().startswith("adv" if takes_groups(target) else "rew")]
    return {"value": parts[named[0] if named else _place(target, list(parts))]}


def _place(target: KindTarget, names: list[str]) -> str:
    """The output to read: with groups the first that changes where a neighbour's rewards do."""
    if len(names) == 1 or not takes_groups(target):
        return names[0]
    if "place" not in target.compiled:
        start = sample(target.plan(), target.sizes, 1)
        matrix = np.array(start["reward_matrix"])
        rows = members(start)[0]
        matrix[rows[0]] += 1.0
        one, two = (target.outputs(s) for s in (start, {**start, "reward_matrix": matrix}))
        moved = [n for n in names if not np.allclose(np.ravel(one[n])[rows[1]], np.ravel(two[n])[rows[1]])]
        target.compiled["place"] = {"name": moved[0] if moved else names[0]}
    return str(target.compiled["place"]["name"])


def readings(roles: Mapping[str, str]) -> Sequence[Mapping[str, str]]:
    """As the names say; "rewards" beside weights of functions are a matrix."""
    if "reward_matrix" in roles.values():
        return [roles]
    return [{n: "reward_matrix" if r == "rewards" else r for n, r in roles.items()}]


def fits(roles: frozenset[str]) -> bool:
    """A matrix of rewards, or rewards and the weights of their functions."""
    return ("reward_matrix" in roles and roles <= ROLES) or (
        {"rewards", "reward_weights"} <= roles <= (ROLES | {"rewards"}) - {"reward_matrix"}
    )


def settle(target: KindTarget) -> None:
    """Say that a row of the matrix is a function's, where it is; pass None for what is missing, where that is read."""
    if target.caller.layout == "TN":
        target.remark = "each row of the matrix holds one function's rewards"
    scene = sample(target.plan(), target.sizes, 0)
    matrix = np.array(scene["reward_matrix"], float)
    matrix[0, 0] = np.nan
    present = target.caller.library

    def answers(chosen: Library) -> np.ndarray | None:
        target.caller.library = chosen
        try:
            return observe(target, {**scene, "reward_matrix": matrix})["value"]
        except (Raised, BadOutput, TypeError, ValueError):
            return None
        finally:
            target.caller.library = present

    if none_is_read(target.function, present, answers):
        target.caller.library = plain_lists(present)
        target.remark = "; ".join(filter(None, (target.remark, REMARK)))
    target.calls.clear()


def confirmed(roles: frozenset[str], target: Callable[[], Any]) -> bool:
    """Rewards beside weights are a matrix if the function takes one of more rows than columns."""
    if "reward_matrix" in roles:
        return True
    try:
        target()
    except ValueError:
        return False
    return True
