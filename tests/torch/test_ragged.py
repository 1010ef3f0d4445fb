"""Lists of any length are the same rollouts as padded arrays with masks."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gradvar.torch.arrays import as_rollouts, by_rollout  # noqa: E402

PROMPTS = [[1, 2, 3], [4]]
COMPLETIONS = [[[5, 6], [7], [8, 9, 6], [6]], [[5], [5, 5], [6], [7, 7]]]
LOGP = [[[-0.5] * len(row) for row in rows] for rows in COMPLETIONS]


def padded():
    prompts, prompt_mask = np.array([[1, 2, 3], [0, 0, 4]]), np.array([[1, 1, 1], [0, 0, 1]], bool)
    completions, mask = np.zeros((2, 4, 3), int), np.zeros((2, 4, 3), bool)
    for q, n in np.ndindex(2, 4):
        row = COMPLETIONS[q][n]
        completions[q, n, : len(row)], mask[q, n, : len(row)] = row, True
    return as_rollouts(prompts, completions, prompt_mask=prompt_mask, mask=mask)


@pytest.mark.parametrize("kind", ["lists", "tensors", "rows"])
def test_lists_are_what_padding_would_be(kind):
    if kind == "lists":
        rollouts = as_rollouts(PROMPTS, COMPLETIONS)
    elif kind == "tensors":
        rollouts = as_rollouts(
            [torch.tensor(x) for x in PROMPTS], [[torch.tensor(x) for x in rows] for rows in COMPLETIONS]
        )
    else:
        rows = [row for rows in COMPLETIONS for row in rows]
        rollouts = as_rollouts([p for p in PROMPTS for _ in range(4)], rows, group=4)
    wanted = padded()
    for name in ("prompts", "completions", "mask", "tokens", "lengths"):
        np.testing.assert_array_equal(getattr(rollouts, name), getattr(wanted, name))


def test_a_stop_token_and_an_own_mask_still_count():
    stopped = as_rollouts(PROMPTS, COMPLETIONS, stop=5)
    np.testing.assert_array_equal(
        stopped.mask[1, 1], [True, False, False]
    )  # 5 5: the second is after the stop
    masked = as_rollouts(
        PROMPTS, COMPLETIONS, mask=[[[0] * len(row) for row in rows] for rows in COMPLETIONS]
    )
    assert not masked.mask.any()


def test_log_probabilities_come_as_lists_too():
    mask = padded().mask
    numbers = by_rollout("logp_sampler", LOGP, (2, 4, 3), mask)
    np.testing.assert_array_equal(np.where(mask, numbers, 0.0), np.where(mask, -0.5, 0.0))
    short = [[list(row) for row in rows] for rows in LOGP]
    short[1][1].pop()
    with pytest.raises(ValueError, match="logp_sampler: row 5 has 1 numbers for 2 tokens that count"):
        by_rollout("logp_sampler", short, (2, 4, 3), mask)


def test_other_lists_are_refused_in_one_line():
    with pytest.raises(ValueError, match="completions: lists of 3 and of 4 rollouts"):
        as_rollouts(PROMPTS, [COMPLETIONS[0], COMPLETIONS[1][:3]])
    with pytest.raises(ValueError, match="prompts: row 1 is"):
        as_rollouts([[1], ["a"]], COMPLETIONS)
