"""Planted violators: small advantage functions, each wrong in one way that a real trainer was wrong in.

``ADVANTAGES`` lists (function, the law meant to catch it, settings for the target). NumPy; rewards are [Q,
G] unless the signature says otherwise.
"""

from collections import defaultdict

import numpy as np

EPS = 1e-6


def _z(rewards, mean, std, eps=EPS):
    return (rewards - mean) / (std + eps)


def no_epsilon(rewards):
    return (rewards - rewards.mean(axis=1, keepdims=True)) / rewards.std(axis=1, keepdims=True)


def guard_on_exact_zero(rewards):
    std = rewards.std(axis=1, keepdims=True)
    return np.where(std > 0, (rewards - rewards.mean(axis=1, keepdims=True)) / np.where(std > 0, std, 1), 0)


def epsilon_below_rounding(rewards):
    return _z(rewards, rewards.mean(axis=1, keepdims=True), rewards.std(axis=1, keepdims=True), 1e-8)


def epsilon_denormal(rewards):
    std = rewards.std(axis=1, keepdims=True)
    return np.where(
        np.ptp(rewards, axis=1, keepdims=True) == 0,
        0,
        _z(rewards, rewards.mean(axis=1, keepdims=True), std, 1e-12),
    )


def centred_on_median(rewards):
    return rewards - np.median(rewards, axis=1, keepdims=True)


def mean_over_the_batch(rewards):
    """Rewards [Q, G]."""
    return rewards - rewards.mean()


def std_over_the_batch(rewards):
    return _z(rewards, rewards.mean(axis=1, keepdims=True), rewards.std())


def mean_over_the_wrong_axis(rewards):
    return rewards - rewards.mean(axis=0, keepdims=True)


def mean_of_the_previous_prompt(rewards):
    return rewards - np.roll(rewards.mean(axis=1, keepdims=True), 1, axis=0)


class RunningBaseline:
    """A moving average of all rewards seen so far."""

    def __init__(self):
        self.mean = 0.0

    def __call__(self, rewards):
        self.mean = 0.9 * self.mean + 0.1 * float(rewards.mean())
        return rewards - self.mean


def running_baseline(rewards, _state=RunningBaseline()):  # noqa: B008
    """Rewards [Q, G]."""
    return _state(rewards)


def written_in_place(rewards):
    rewards -= rewards.mean(axis=1, keepdims=True)
    return rewards


def noise_against_ties(rewards):
    noisy = rewards + np.random.normal(0, 1e-3, rewards.shape)  # noqa: NPY002
    return noisy - noisy.mean(axis=1, keepdims=True)


def truncated_integers(rewards):
    out = np.zeros_like(rewards)
    for q, row in enumerate(rewards):
        out[q] = row - row.mean()
    return out


def absolute(rewards):
    return np.abs(rewards - rewards.mean(axis=1, keepdims=True))


def sign_flipped(rewards):
    return rewards.mean(axis=1, keepdims=True) - rewards


def argsort_for_rank(rewards):
    ranks = np.argsort(rewards, axis=1, kind="stable").astype(float)
    return np.where(np.ptp(rewards, axis=1, keepdims=True) == 0, 0, ranks - ranks.mean(axis=1, keepdims=True))


def given_back_sorted(rewards):
    ordered = np.sort(rewards, axis=1)
    return ordered - ordered.mean(axis=1, keepdims=True)


def given_back_reversed(rewards):
    return (rewards - rewards.mean(axis=1, keepdims=True))[:, ::-1]


def against_the_first_rollout(rewards):
    return rewards - rewards[:, :1]


def against_the_neighbour(rewards):
    return rewards - np.roll(rewards, 1, axis=1)


def against_the_best(rewards):
    return rewards - rewards.max(axis=1, keepdims=True)


def leave_one_out_over_g(rewards):
    others = rewards.sum(axis=1, keepdims=True) - rewards
    return rewards - others / rewards.shape[1]


def forgets_to_leave_itself_out(rewards):
    return rewards - rewards.mean(axis=1, keepdims=True)


def leave_one_out_std(rewards):
    """Standardised by the others' std, which is zero for a lone success: advantages of a million."""
    n = max(rewards.shape[1] - 1, 1)
    mean = (rewards.sum(axis=1, keepdims=True) - rewards) / n
    square = ((rewards**2).sum(axis=1, keepdims=True) - rewards**2) / n
    return (rewards - mean) / (np.sqrt(np.maximum(square - mean**2, 0)) + 1e-6)


def singleton_keeps_its_reward(rewards):
    if rewards.shape[1] == 1:
        return rewards.copy()
    return rewards - rewards.mean(axis=1, keepdims=True)


def singleton_is_nan(rewards):
    return _z(rewards, rewards.mean(axis=1, keepdims=True), rewards.std(axis=1, keepdims=True, ddof=1))


def singleton_crashes(rewards):
    return rewards - (rewards.sum(axis=1, keepdims=True) - rewards) / _refuse_zero(rewards.shape[1] - 1)


def _refuse_zero(n):
    return n + 0 * (1 / n)


def fixed_stride(rewards, group_ids):
    """Groups in strides of the first one's size; what is left over is one more group."""
    size = int(np.sum(group_ids == group_ids[0]))
    out = np.empty(len(rewards))
    for start in range(0, len(rewards), size):
        part = rewards[start : start + size]
        out[start : start + size] = part - part.mean()
    return out


def contiguous_runs(rewards, group_ids):
    """A new group wherever the id changes, also when the rows are interleaved."""
    edges = np.flatnonzero(np.diff(group_ids)) + 1
    return np.concatenate([part - part.mean() for part in np.split(rewards, edges)])


def one_row_if_uneven(rewards, group_ids):
    """A reshape that falls back to one row when the sizes differ: one group for the whole batch."""
    sizes = np.bincount(group_ids)
    rows = rewards.reshape(-1, sizes[0]) if np.all(sizes == sizes[0]) else rewards.reshape(1, -1)
    return (rows - rows.mean(axis=1, keepdims=True)).ravel()


def padded_with_zeros(rewards, group_ids):
    """Ragged groups padded to one width, and the padding counted in the mean."""
    width = np.bincount(group_ids).max()
    out = np.empty(len(rewards))
    for i in np.unique(group_ids):
        out[group_ids == i] = rewards[group_ids == i] - rewards[group_ids == i].sum() / width
    return out


def merged_by_prompt(rewards, prompt_ids):
    groups = defaultdict(list)
    for reward, prompt in zip(rewards, prompt_ids, strict=True):
        groups[int(prompt)].append(reward)
    return np.array([r - np.mean(groups[int(p)]) for r, p in zip(rewards, prompt_ids, strict=True)])


def merged_by_rewards(rewards):
    """Rows that are equal are taken for one and the same group, counted once in a batch-wide scale."""
    rows, back = np.unique(rewards, axis=0, return_inverse=True)
    centred = rows - rows.mean(axis=1, keepdims=True)
    return centred[np.ravel(back)] / np.bincount(np.ravel(back))[np.ravel(back)][:, None]


def nan_reaches_the_batch(rewards):
    scale = np.abs(rewards).max() + 1.0
    return (rewards - rewards.mean(axis=1, keepdims=True)) * (scale / scale)


def nan_reaches_its_siblings(rewards):
    return rewards - rewards.mean(axis=1, keepdims=True)


def infinity_made_finite(rewards):
    safe = np.nan_to_num(rewards)
    return safe - safe.mean(axis=1, keepdims=True)


def nan_scored_as_zero(rewards):
    safe = np.where(np.isfinite(rewards), rewards, 0.0)
    return safe - safe.mean(axis=1, keepdims=True)


def clipped_at_one(rewards):
    a = _z(rewards, rewards.mean(axis=1, keepdims=True), rewards.std(axis=1, keepdims=True))
    return np.clip(a, -1, 1)


def fixed_baseline(rewards):
    """Rewards [Q, G]; zero where all are equal."""
    return np.where(np.ptp(rewards, axis=1, keepdims=True) == 0, 0.0, rewards - 0.5)


def squared(rewards):
    return rewards**2 - (rewards**2).mean(axis=1, keepdims=True)


def epsilon_too_large(rewards):
    return _z(rewards, rewards.mean(axis=1, keepdims=True), rewards.std(axis=1, keepdims=True), 0.1)


def standardised_twice_over(rewards):
    n = rewards.shape[1]
    a = _z(rewards, rewards.mean(axis=1, keepdims=True), rewards.std(axis=1, keepdims=True))
    return a * n / max(n - 1, 1)


def always_double(rewards):
    wide = np.asarray(rewards, dtype=np.float64)
    return wide - wide.mean(axis=1, keepdims=True)


def epsilon_underflows(rewards):
    return _z(
        rewards,
        rewards.mean(axis=1, keepdims=True),
        rewards.std(axis=1, keepdims=True),
        rewards.dtype.type(1e-8),
    )


def winner_takes_all(rewards):
    n = rewards.shape[1]
    return np.where(rewards == rewards.max(axis=1, keepdims=True), 1.0, -1.0 / max(n - 1, 1))


def softmax_without_a_shift(rewards):
    weights = np.exp(rewards)
    return weights / weights.sum(axis=1, keepdims=True) - 1.0 / rewards.shape[1]


def sums_the_padding(token_rewards, mask, index):
    scores = token_rewards.sum(axis=-1)
    return _by_index(scores, index)[:, None] * mask


def ends_at_a_hole(token_rewards, mask, index):
    scores = np.where(np.cumprod(mask, axis=1) > 0, token_rewards, 0.0).sum(axis=-1)
    return _by_index(scores, index)[:, None] * mask


def multiplies_the_padding(token_rewards, mask, index):
    scores = (token_rewards * mask).sum(axis=-1)
    return _by_index(scores, index)[:, None] * mask


def _by_index(scores, index):
    out = np.empty(len(scores))
    for i in set(index.tolist()):
        rows = index == i
        out[rows] = scores[rows] - scores[rows].mean()
    return out


def standardised(rewards):
    return _z(rewards, rewards.mean(axis=1, keepdims=True), rewards.std(axis=1, keepdims=True))


def mean_centred(rewards):
    return rewards - rewards.mean(axis=1, keepdims=True)


def squared_and_left_out(rewards):
    """Leave-one-out of squared rewards: unbiased where rewards are 0 and 1, and nowhere else."""
    n = rewards.shape[1]
    return (rewards**2 - (rewards**2).mean(axis=1, keepdims=True)) * n / max(n - 1, 1)


def best_beside_raw_scores(rewards):
    """Rewards [Q, G]: the best gets its lead over the second, the others keep their scores."""
    out = rewards.copy()
    ordered = np.sort(rewards, axis=1)
    rows = np.arange(len(rewards))
    out[rows, rewards.argmax(axis=1)] = ordered[:, -1] - ordered[:, -2] if rewards.shape[1] > 1 else 0.0
    return out


def nothing(rewards):
    return np.zeros_like(rewards)


def ids_ignored(rewards, group_ids):
    return rewards - rewards.mean()


def whitened_after_the_mask(token_rewards, mask, index):
    scores = np.where(mask > 0, token_rewards, 0.0).sum(axis=-1)
    tokens = _by_index(scores, index)[:, None] * mask
    mean = tokens.sum() / max(mask.sum(), 1)
    return (tokens - mean) / (np.sqrt((((tokens - mean) ** 2) * mask).sum() / max(mask.sum(), 1)) + 1e-6)


def rejected_in_the_std(token_rewards, mask, index):
    scores = np.where(mask > 0, token_rewards, 0.0).sum(axis=-1)
    out = np.zeros(len(scores))
    for i in set(index.tolist()):
        rows = index == i
        out[rows] = (scores[rows] - scores[rows].mean()) / (scores[rows].std() + 1e-6)
    return out[:, None] * mask


def refuses_one_token(token_rewards, mask, index):
    if mask.sum() == 1:
        raise ValueError("at least two tokens are needed")
    return multiplies_the_padding(np.where(mask > 0, token_rewards, 0.0), mask, index)


def over_no_tokens(token_rewards, mask, index):
    with np.errstate(all="ignore"):
        return multiplies_the_padding(np.where(mask > 0, token_rewards, 0.0), mask, index) / (
            mask.sum() / mask.sum()
        )


def mean_over_tokens(token_rewards, mask, index):
    scores = np.where(mask > 0, token_rewards, 0.0).sum(axis=-1) / np.maximum(mask.sum(axis=-1), 1)
    return _by_index(scores, index)[:, None] * mask


ADVANTAGES = (
    (best_beside_raw_scores, "one_baseline", {}),
    (nothing, "unequal_rewards_differ", {}),
    (ids_ignored, "arrays_matter", {}),
    (whitened_after_the_mask, "masked_tokens_zero", {}),
    (rejected_in_the_std, "rejected_rows_silent", {}),
    (refuses_one_token, "few_tokens", {}),
    (over_no_tokens, "empty_mask_finite", {}),
    (mean_over_tokens, "length_free", {}),
    (mean_over_tokens, "hole_reward_counts", {}),
    (no_epsilon, "finite", {}),
    (no_epsilon, "zero_on_equal_rewards", {}),
    (guard_on_exact_zero, "zero_on_equal_rewards", {}),
    (guard_on_exact_zero, "no_amplification", {}),
    (epsilon_below_rounding, "zero_on_equal_rewards", {}),
    (epsilon_below_rounding, "no_amplification", {}),
    (epsilon_denormal, "no_amplification", {}),
    (centred_on_median, "zero_sum", {}),
    (mean_over_the_batch, "group_isolated", {}),
    (std_over_the_batch, "group_isolated", {}),
    (mean_over_the_wrong_axis, "group_isolated", {}),
    (mean_of_the_previous_prompt, "layout_independent", {}),
    (running_baseline, "pure", {}),
    (written_in_place, "pure", {}),
    (noise_against_ties, "pure", {}),
    (truncated_integers, "integer_rewards", {}),
    (absolute, "order_preserving", {}),
    (sign_flipped, "order_preserving", {}),
    (sign_flipped, "sign_against_mean", {}),
    (sign_flipped, "prompt_weighted", {}),
    (argsort_for_rank, "order_preserving", {}),
    (given_back_sorted, "permutation_equivariant", {}),
    (given_back_reversed, "permutation_equivariant", {}),
    (against_the_first_rollout, "permutation_equivariant", {}),
    (against_the_neighbour, "permutation_equivariant", {}),
    (against_the_best, "antisymmetric_pair", {}),
    (leave_one_out_over_g, "leave_one_out_factor", {}),
    (forgets_to_leave_itself_out, "leave_one_out_factor", {}),
    (leave_one_out_std, "no_amplification", {}),
    (leave_one_out_std, "bounded", {}),
    (singleton_keeps_its_reward, "singleton_zero", {}),
    (singleton_is_nan, "singleton_zero", {}),
    (singleton_crashes, "singleton_zero", {}),
    (fixed_stride, "ragged_groups", {}),
    (contiguous_runs, "layout_independent", {}),
    (one_row_if_uneven, "ragged_groups", {}),
    (padded_with_zeros, "ragged_groups", {}),
    (merged_by_prompt, "duplicate_prompts", {}),
    (merged_by_rewards, "duplicate_prompts", {}),
    (nan_reaches_the_batch, "nan_contained", {}),
    (nan_reaches_its_siblings, "nan_contained", {}),
    (infinity_made_finite, "nan_contained", {}),
    (nan_scored_as_zero, "nan_contained", {}),
    (clipped_at_one, "zero_sum", {}),
    (fixed_baseline, "shift_invariant", {}),
    (squared, "scale_equivariant", {}),
    (epsilon_too_large, "scale_invariant", {}),
    (standardised_twice_over, "bounded", {}),
    (always_double, "dtype_preserved", {}),
    (epsilon_underflows, "half_precision", {}),
    (winner_takes_all, "zero_on_equal_rewards", {}),
    (softmax_without_a_shift, "finite", {}),
    (sums_the_padding, "masked_inert", {}),
    (multiplies_the_padding, "masked_inert", {}),
    (ends_at_a_hole, "hole_ends_nothing", {}),
    (standardised, "unbiased", {}),
    (standardised, "unbiased_up_to_constant", {}),
    (mean_centred, "unbiased", {}),
    (squared_and_left_out, "unbiased", {}),
    (squared_and_left_out, "unbiased_up_to_constant", {}),
)
