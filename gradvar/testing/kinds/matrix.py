"""Rewards of several functions [N, K], with missing entries and weights: combined, or made advantages of groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gradvar.testing.digits import exact, shown
from gradvar.testing.kinds.base import Kind, KindTarget
from gradvar.testing.kinds.common import EVERY
from gradvar.testing.kinds.draws import Scene, samples
from gradvar.testing.kinds.grouped import members, takes_groups
from gradvar.testing.kinds.matrix_forms import reward_forms, weights_of
from gradvar.testing.kinds.matrix_reading import confirmed, fits, observe, plan, readings, settle
from gradvar.testing.laws.base import Law, expect, expect_pair


def _value(target: KindTarget, scene: Scene, **changes: Any) -> np.ndarray:
    return target.observe({**scene, **changes})["value"]


def _slack(target: KindTarget, *values: np.ndarray) -> float:
    sizes = np.abs(np.concatenate([np.ravel(v) for v in values]))
    return 10 * target.tolerance * max(1.0, float(np.max(sizes[np.isfinite(sizes)], initial=0.0)))


def _cells(matrix: np.ndarray) -> str:
    return "[" + ", ".join(exact(row) for row in matrix) + "]"


def matrix_missing_finite(target: KindTarget, scene: Scene, row: int, column: int, prompt: bool) -> None:
    """A reward that one function left out makes no rollout NaN that another function scored.

    Functions abstain: the one for mathematics on prompts about code, a sandbox that timed out. Summed as a number, one
    NaN poisons its rollout, its group by the mean, and the batch by the loss. Report: huggingface/trl#3079,
    modelscope/ms-swift#8123.

    Args:
        target: The function under test.
        scene: The rewards.
        row: The rollout whose reward is missing.
        column: The function that abstains.
        prompt: It abstains from the rollout's whole group.
    """
    matrix = np.array(scene["reward_matrix"], float)
    rows = next(m for m in members(scene) if row in m) if prompt and takes_groups(target) else [row]
    matrix[rows, column] = np.nan
    value = _value(target, scene, reward_matrix=matrix)
    expect(
        bool(np.isfinite(value).all()),
        f"rewards {_cells(matrix)}: {shown(value)}; each rollout has a reward of another function",
    )


def matrix_unscored(target: KindTarget, scene: Scene, row: int) -> None:
    """A rollout that no function scored leaves the others' numbers finite.

    Its mean over no functions is 0/0, and the mean of its group with it. Report: huggingface/trl#5775,
    huggingface/trl#5902.
    """
    matrix = np.array(scene["reward_matrix"], float)
    matrix[row] = np.nan
    value = _value(target, scene, reward_matrix=matrix)
    others = np.delete(value, row)
    expect(
        bool(np.isfinite(others).all()), f"rewards {_cells(matrix)}: {shown(value)}; only row {row} has none"
    )


def matrix_missing_silent(target: KindTarget, scene: Scene, row: int) -> None:
    """A rollout that no function scored has no vote in what its group's others are compared with.

    Summed to zero it is a rollout of reward zero, which moves the baseline of its siblings. Report:
    huggingface/trl#5902 (unscorable completions are left out of the baseline).
    """
    matrix = np.array(scene["reward_matrix"], float)
    matrix[row] = np.nan
    rest = [n for n in next(m for m in members(scene) if row in m) if n != row]
    low, high = (_value(target, scene, reward_matrix=_lifted(matrix, rest, c)) for c in (0.0, 5.0))
    expect_pair(
        bool(np.all(np.abs(low - high)[rest] <= _slack(target, low[rest], high[rest]))),
        low[rest],
        high[rest],
        f"rewards {_cells(matrix)}: {{}} for the siblings of row {row}, {{}} where all of "
        "them have five more: the missing row votes as a reward of zero",
    )


def _lifted(matrix: np.ndarray, rows: Sequence[int], amount: float) -> np.ndarray:
    lifted = np.array(matrix)
    lifted[list(rows)] += amount
    return lifted


def matrix_weight_zero(target: KindTarget, scene: Scene, row: int, column: int) -> None:
    """A function of weight zero has no effect: it may score as it likes.

    Weights that are dropped, or put on another axis, train on what was meant for the log only. Report:
    huggingface/trl#5352 (a sum that forgets the weights).

    Args:
        target: The function under test.
        scene: The rewards, weights and groups.
        row: The rollout that scores otherwise.
        column: The function of weight zero.
    """
    weights, matrix = np.array(weights_of(scene)), np.array(scene["reward_matrix"], float)
    weights[column] = 0.0
    other = np.array(matrix)
    other[row, column] += 3.0
    one, two = (_value(target, scene, reward_matrix=m, reward_weights=weights) for m in (matrix, other))
    expect_pair(
        bool(np.all(np.abs(one - two) <= _slack(target, one, two))),
        one,
        two,
        f"weights {shown(weights)}: {{}} becomes {{}} where function {column} gives row {row} more",
    )


def matrix_weights_paired(target: KindTarget, scene: Scene) -> None:
    """A weight goes with its function: both in another order change nothing.

    Sorted, shifted by one or zipped with another list, the weight of the format is put on the answer. Report:
    huggingface/open-r1#213, huggingface/trl#2676 (weights by the order of the functions).
    """
    matrix, weights = np.asarray(scene["reward_matrix"], float), weights_of(scene)
    one = _value(target, scene)
    two = _value(target, scene, reward_matrix=matrix[:, ::-1].copy(), reward_weights=weights[::-1].copy())
    expect_pair(
        bool(np.all(np.abs(one - two) <= _slack(target, one, two))),
        one,
        two,
        f"rewards {_cells(matrix)}, weights {shown(weights)}: {{}}; both reversed: {{}}",
    )


def matrix_better(target: KindTarget, scene: Scene, row: int, column: int) -> None:
    """Of rollouts that are alike, the one that a function with a weight likes better gets more.

    Broken by statistics over the functions of a rollout in place of the rollouts of a group, by a lost column, by a
    sign. Report: huggingface/trl#4785 (each function is normalised in its group).

    Args:
        target: The function under test.
        scene: The weights and the groups.
        row: The better rollout.
        column: The function that tells it apart; -1 for all of them.
    """
    matrix = np.ones(np.shape(scene["reward_matrix"]))
    matrix[row, slice(None) if column < 0 else column] += 1.0
    value = _value(target, scene, reward_matrix=matrix)
    rows = next(m for m in members(scene) if row in m)
    expect(
        bool(all(value[row] > value[n] + 1e-3 for n in rows if n != row)),
        f"rewards {_cells(matrix)}, weights {shown(weights_of(scene))}: {exact(value)}; row {row} is the best",
    )


def matrix_equal_rows(target: KindTarget, scene: Scene) -> None:
    """Rollouts of one prompt that all functions score alike have advantages of zero, each prompt with its scores.

    Broken by a mean over functions, over the batch, or by none. Report: huggingface/trl#4785.
    """
    matrix = np.array(scene["reward_matrix"], float)
    for rows in members(scene):
        matrix[rows] = matrix[rows[0]]
    value = _value(target, scene, reward_matrix=matrix)
    expect(
        bool(np.all(np.abs(value) <= _slack(target, value))),
        f"rewards {_cells(matrix)}: {shown(value)}, expected zeros",
    )


def matrix_shift(target: KindTarget, scene: Scene, row: int, column: int) -> None:
    """One function more generous to all rollouts of a prompt changes no advantage.

    Broken where a function's rewards are compared with those of other prompts or other functions: the easy prompt then
    looks like the good policy. Report: huggingface/trl#4785, radixark/miles#700.

    Args:
        target: The function under test.
        scene: The rewards, weights and groups.
        row: A rollout of the prompt.
        column: The generous function.
    """
    matrix = np.array(scene["reward_matrix"], float)
    rows = next(m for m in members(scene) if row in m)
    more = np.array(matrix)
    more[rows, column] += 2.0
    one, two = (_value(target, scene, reward_matrix=m) for m in (matrix, more))
    expect_pair(
        bool(np.all(np.abs(one - two) <= _slack(target, one, two))),
        one,
        two,
        f"rewards {_cells(matrix)}: {{}}; two more of function {column} on the rows {rows}: {{}}",
    )


def matrix_rows_apart(target: KindTarget, scene: Scene, row: int) -> None:
    """What one rollout is given changes no rollout of another prompt, but for one scale of the whole batch.

    GDPO divides by the batch's spread at the end; all else crosses prompts. Report: huggingface/trl#4785,
    verl-project/verl#5503.
    """
    matrix = np.array(scene["reward_matrix"], float)
    rows = next(m for m in members(scene) if row in m) if takes_groups(target) else [row]
    rest = np.setdiff1d(np.arange(len(matrix)), rows)
    more = np.array(matrix)
    more[row] += np.array([2.0, -1.0, 0.5])[: matrix.shape[1]]
    one, two = (_value(target, scene, reward_matrix=m)[rest] for m in (matrix, more))
    scale = float(one @ two / (one @ one)) if takes_groups(target) and np.any(one) else 1.0
    expect_pair(
        scale > 0 and bool(np.all(np.abs(scale * one - two) <= _slack(target, one, two))),
        one,
        two,
        f"rewards {_cells(matrix)}: {{}} for the rows {rest.tolist()}, {{}} where row {row} has others",
    )


def matrix_order(target: KindTarget, scene: Scene, order: Sequence[int]) -> None:
    """Rollouts in another order get what they got.

    Broken by groups that are read as runs of rows although their names are given. Report: verl-project/verl#5503.
    """
    order = [n for n in order if n < len(scene["reward_matrix"])]
    per_row = {r: np.asarray(v)[order] for r, v in scene.items() if r in ("reward_matrix", "ids", "prompts")}
    one, two = _value(target, scene)[order], _value(target, scene, **per_row)
    expect_pair(
        bool(np.all(np.abs(one - two) <= _slack(target, one, two))),
        one,
        two,
        f"rewards {_cells(scene['reward_matrix'])}: {{}} in the order {list(order)}, {{}} if called so",
    )


def _examples(**entries: st.SearchStrategy[Any]) -> Callable[[KindTarget], st.SearchStrategy[dict[str, Any]]]:
    return lambda target: st.fixed_dictionaries({"scene": samples(target.plan(), target.sizes), **entries})


def _grouped(target: KindTarget) -> str:
    return "" if takes_groups(target) else "it takes no groups"


def _weighted(target: KindTarget) -> str:
    return "" if target.takes("reward_weights") else "it takes no weights"


def _compared(target: KindTarget) -> str:
    return (
        ""
        if takes_groups(target) or target.takes("reward_weights")
        else "it takes neither weights nor groups"
    )


def _flat(target: KindTarget) -> str:
    return "it takes groups as runs of rows" if target.takes("count") else ""


ROW, COLUMN = st.integers(0, 3), st.integers(0, 1)
MATRIX = Kind(
    "reward matrix",
    "rewards of several functions: rewards_per_func, reward_weights (and groups) -> rewards or advantages",
    fits,
    plan,
    observe,
    reward_forms,
    (
        *EVERY,
        Law(
            "matrix_missing_finite",
            matrix_missing_finite,
            _examples(row=ROW, column=COLUMN, prompt=st.booleans()),
            universal=True,
        ),
        Law("matrix_unscored", matrix_unscored, _examples(row=ROW), universal=True),
        Law("matrix_missing_silent", matrix_missing_silent, _examples(row=ROW), _grouped),
        Law(
            "matrix_weight_zero",
            matrix_weight_zero,
            _examples(row=ROW, column=COLUMN),
            _weighted,
            universal=True,
        ),
        Law("matrix_weights_paired", matrix_weights_paired, _examples(), _weighted, universal=True),
        Law(
            "matrix_better",
            matrix_better,
            _examples(row=ROW, column=st.sampled_from([-1, 0, 1])),
            _compared,
            universal=True,
        ),
        Law("matrix_equal_rows", matrix_equal_rows, _examples(), _grouped, universal=True),
        Law("matrix_shift", matrix_shift, _examples(row=ROW, column=COLUMN), _grouped, universal=True),
        Law("matrix_rows_apart", matrix_rows_apart, _examples(row=ROW), universal=True),
        Law("matrix_order", matrix_order, _examples(order=st.permutations(range(6))), _flat, universal=True),
    ),
    sizes=({"N": 4, "K": 2}, {"N": 6, "K": 3}),
    layouts=("NT", "TN"),
    matters=("reward_matrix", "reward_weights"),
    readings=readings,
    confirmed=confirmed,
    settle=settle,
)
