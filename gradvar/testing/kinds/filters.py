"""Filters of groups: which prompts have a signal and are kept, as booleans, as indices, or as what is left."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gradvar.testing.arrays import unwrapped
from gradvar.testing.calls import Raised
from gradvar.testing.digits import shown
from gradvar.testing.kinds.base import Answer, Kind, KindTarget, KnownForm
from gradvar.testing.kinds.common import KNOWN_FORM, REPEATABLE, TAKES_EFFECT
from gradvar.testing.kinds.draws import Choice, Draw, Plan, Rows, Scene
from gradvar.testing.kinds.filter_reading import Groups, NotAFilter, keeps, rows_of_groups, scene_of
from gradvar.testing.kinds.grouped import groupings, takes_groups
from gradvar.testing.laws.base import Law, expect

ROLES = frozenset({"rewards", "correct", "ids", "prompts", "count", "row_count", "cap", "cap_low"})
VALUES = (1.0, 0.0, 0.1, 0.5, 0.2, 0.3, 0.7, -1.0, 1.1)
SIZES = (2, 3, 4, 6, 7, 8, 10)
ROUNDING = {"float64": 2.0**-52, "float32": 2.0**-23, "bfloat16": 2.0**-7}
RANGE = re.compile(r"low|high|min|max|upper|range|difficult|acc|thresh")
SELECTION = re.compile(r"top|ratio|frac|quantile|budget|num_keep|^k$")


def plan(target: KindTarget) -> Plan:
    """Rewards of zero and one in groups; [prompt, rollout] where no groups are named."""
    axes = "N" if takes_groups(target) else "QG"
    drawn: dict[str, Draw | Rows | Choice] = {
        "rewards": Draw(axes, (0.0, 1.0)), "correct": Draw(axes, (False, True)), **groupings(target),
    }  # fmt: skip
    return {role: draw for role, draw in drawn.items() if target.takes(role)}


def observe(target: KindTarget, scene: Scene) -> Answer:
    """1 for each row that is kept, [N] in the order of the scene's rows.

    Raises:
        NotAFilter: It returns other numbers.
        BadOutput: Neither rows nor groups fit what it returns.
    """
    return {"keep": keeps(target, scene, target.library.wide)}


def _sampled(scene: Scene) -> Answer:
    rewards = np.asarray(scene["rewards"] if "rewards" in scene else scene["correct"], float)
    flat, keep = rewards.ravel(), np.zeros(rewards.size)
    for rows in rows_of_groups(scene, rewards):
        keep[rows] = float(np.ptp(flat[rows]) > 1e-6)
    return {"keep": keep}


def forms(target: KindTarget) -> Sequence[KnownForm]:
    """Dynamic sampling (arXiv 2503.14476, equation 11): groups of equal rewards go. Any other filter."""
    return [KnownForm("dynamic_sampling", _sampled), KnownForm("filter", lambda scene: {}, "of any kind")]


def _split(
    target: KindTarget, groups: Groups, order: Sequence[int] | None = None, dtype: str = ""
) -> list[np.ndarray]:
    """The verdicts of each group's rows."""
    keep = keeps(target, scene_of(target, groups, order), dtype or target.library.wide)
    if order is not None:
        restored = np.empty(len(keep))
        restored[list(order)] = keep
        keep = restored
    return np.split(keep, np.cumsum([len(g) for g in groups])[:-1])


def filter_silent_dropped(target: KindTarget, value: float, size: int, dtype: str, alone: bool) -> None:
    """A group whose rewards are all equal is dropped, whatever they are equal to, in every dtype.

    A test of the mean against 0 and 1 lets a group of 0.5 pass; a std above exactly zero lets 0.1 x 8 pass, whose
    rounded mean is another number than 0.1. Report: OpenRLHF/OpenRLHF#1270 (a range of means), NVIDIA-NeMo/RL#4158
    (a std other than zero).

    Args:
        target: The filter.
        value: The reward of all rollouts.
        size: Their number.
        dtype: The dtype of the rewards.
        alone: No other group is in the batch.
    """
    groups = [[value] * size] if alone else [[value] * size, [1.0, *[0.0] * (size - 1)]]
    try:
        keep = _split(target, groups, dtype=dtype)[0]
    except Raised as error:
        expect(alone and error.clear, f"{size} x {value:g} in {dtype}: {error}")
        return
    expect(not keep.any(), f"{size} x {value:g} in {dtype} is kept: {shown(keep)}")


def filter_signal_kept(target: KindTarget, groups: Groups) -> None:
    """A group with unequal rewards is kept: it is what can be learnt from.

    Broken by a test that is the wrong way round, or that takes a mean reward of zero for a group that failed. Report:
    OpenRLHF/OpenRLHF#1272, verl-project/verl#5228.
    """
    for group, keep in zip(groups, _split(target, groups), strict=True):
        expect(bool(keep.all()), f"{shown(group)} is dropped; it has a signal")


def filter_together(target: KindTarget, groups: Groups) -> None:
    """All rollouts of a prompt are kept, or none of them.

    A part of a group is compared with the mean of that part: the baseline of what was dropped is gone. Report:
    NVIDIA-NeMo/RL#3794 (rows and their rewards diverge after the filter).
    """
    for group, keep in zip(groups, _split(target, groups), strict=True):
        expect(bool(np.ptp(keep) == 0), f"of {shown(group)} a part is kept: {shown(keep)}")


def filter_order(target: KindTarget, groups: Groups, order: Sequence[int]) -> None:
    """Rows, or prompts, in another order get the same verdicts.

    Broken by groups that are read as runs of rows, and by verdicts that stand in the order of sorted names. Report:
    NVIDIA-NeMo/RL#3794.
    """
    before = _split(target, groups)
    if target.takes("ids") or target.takes("prompts"):
        after = _split(target, groups, [n for n in order if n < sum(map(len, groups))])
    else:
        after = _split(target, groups[::-1])[::-1]
    for group, one, two in zip(groups, before, after, strict=True):
        expect(
            np.array_equal(one, two),
            f"{shown(group)} of {shown(groups)} gets {shown(one)}, in another order {shown(two)}",
        )


def filter_apart(target: KindTarget, groups: Groups, other: Sequence[float]) -> None:
    """The rewards of one prompt decide about no other.

    Broken by a spread or a mean of the batch: an easy prompt is kept because the next one is hard. Report:
    verl-project/verl#5228 (each group's own variance).
    """
    one, two = (_split(target, [*groups[:-1], last]) for last in (groups[-1], other))
    for group, before, after in zip(groups[:-1], one[:-1], two[:-1], strict=True):
        expect(
            np.array_equal(before, after),
            f"{shown(group)} gets {shown(before)} beside {shown(groups[-1])}, {shown(after)} beside {shown(other)}",
        )


def filter_ragged(target: KindTarget, groups: Groups) -> None:
    """Beside a group of one, or of another size, every group gets the verdict that it gets alone.

    Rollouts fail, and leave groups of unequal size. Report: verl-project/verl#5228.
    """
    groups = [*groups, [1.0], [1.0, 0.0, 0.0, 0.0, 0.0]]
    for group, keep in zip(groups, _split(target, groups), strict=True):
        if len(group) > 1:
            alone = _split(target, [group])[0]
            expect(
                np.array_equal(keep, alone),
                f"{shown(group)} gets {shown(keep)} in {shown(groups)}, {shown(alone)} alone",
            )


def filter_noise(target: KindTarget, value: float, size: int, dtype: str) -> None:
    """A group whose rewards are equal but for their last digit is dropped.

    Reward models return 0.99999994 and 1 for the same answer; divided by a std of that size it is noise that is
    trained on. Report: NVIDIA-NeMo/RL#4158.

    Args:
        target: The filter.
        value: The reward of all rollouts but one.
        size: Their number.
        dtype: The dtype of the rewards.
    """
    near = value * (1 + ROUNDING.get(dtype, 2.0**-23))
    keep = _split(target, [[near, *[value] * (size - 1)], [1.0, *[0.0] * (size - 1)]], dtype=dtype)[0]
    expect(not keep.any(), f"{size} x {value:g} in {dtype}, one of them a digit off, is kept: {shown(keep)}")


def _mixed(target: KindTarget) -> list[list[list[float]]]:
    """Batches of three groups with a signal; halves where the filter is told a range."""
    if RANGE.search(_parameters(target)) or not target.takes("rewards"):
        return [[[1.0, 0.0] * k, [0.0, 1.0] * k, [1.0, 0.0] * k] for k in (1, 2, 4)]
    return [
        [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 1.0], [0.25, 0.5, 0.5, 0.75]],
        [[-1.0, 1.0], [0.5, 0.0], [0.0, 1.0]],
        [[0.2, 0.7, 0.2], [1.0, 1.0, 2.0], [0.0, -0.5, 0.5]],
    ]


def _parameters(target: KindTarget) -> str:
    code = getattr(unwrapped(target.function), "__code__", None)
    return " ".join(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]).lower() if code else ""


def _batches(target: KindTarget) -> st.SearchStrategy[Any]:
    silent = [
        [[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]],
        [[1.0] * 2, [0.0, 1.0], [0.0] * 2],
        [[0.0] * 4, [1.0, 0.0, 1.0, 0.0], [1.0] * 4, [0.0, 1.0, 1.0, 0.0]],
    ]
    return st.sampled_from([*silent, *_mixed(target)])


def _equal(target: KindTarget, **more: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    values = VALUES if target.takes("rewards") else (1.0, 0.0)
    dtypes = target.library.floats
    return st.fixed_dictionaries(
        {
            "value": st.sampled_from(values),
            "size": st.sampled_from(SIZES),
            "dtype": st.sampled_from(dtypes),
            **more,
        }
    )


def _of_groups(**more: st.SearchStrategy[Any]) -> Callable[[KindTarget], st.SearchStrategy[dict[str, Any]]]:
    return lambda target: st.fixed_dictionaries({"groups": _batches(target), **more})


def _signals(target: KindTarget) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"groups": st.sampled_from(_mixed(target))})


def _apart(target: KindTarget) -> st.SearchStrategy[dict[str, Any]]:
    def pair(groups: list[list[float]]) -> dict[str, Any]:
        last = groups[-1]
        return {"groups": groups, "other": [last[0]] * len(last) if np.ptp(last) else [7.0, *last[1:]]}

    return _batches(target).map(pair)


def _alone(target: KindTarget) -> str:
    return "it selects among the prompts" if SELECTION.search(_parameters(target)) else ""


def _named(target: KindTarget) -> str:
    return "" if target.takes("ids") or target.takes("prompts") else "its groups are of one size"


def _noisy(target: KindTarget) -> str:
    return "" if target.takes("rewards") else "it takes no rewards"


def confirmed(roles: frozenset[str], target: Callable[[], Any]) -> bool:
    """A function of rewards is a filter if it returns booleans, indices, or some of the rewards."""
    try:
        target()
    except (ValueError, NotAFilter):
        return False
    return True


FILTERS = Kind(
    "filter",
    "filters of groups: rewards and the groups -> booleans, indices or what is kept",
    lambda roles: bool({"rewards", "correct"} & roles) and roles <= ROLES,
    plan,
    observe,
    forms,
    (
        KNOWN_FORM,
        TAKES_EFFECT,
        REPEATABLE,
        Law("filter_silent_dropped", filter_silent_dropped, lambda t: _equal(t, alone=st.booleans()), universal=True),
        Law("filter_signal_kept", filter_signal_kept, _signals, universal=True),
        Law("filter_together", filter_together, _of_groups(), universal=True),
        Law("filter_order", filter_order, _of_groups(order=st.permutations(range(24))), universal=True),
        Law("filter_apart", filter_apart, _apart, _alone, universal=True),
        Law("filter_ragged", filter_ragged, _of_groups(), lambda t: _named(t) or _alone(t), universal=True),
        Law("filter_noise", filter_noise, _equal, _noisy),
    ),
    sizes=({"N": 4, "Q": 2, "G": 2}, {"N": 6, "Q": 3, "G": 4}),
    layouts=("grouped", "group"),
    matters=("rewards", "correct"),
    confirmed=confirmed,
)  # fmt: skip
