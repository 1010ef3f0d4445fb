"""Advantages of the rewards of a group: baselines, and what they are divided by.

Every formula takes the batch and gives [N]. Write r for a reward, m for its group's mean, G for the group's size.
A group of one gets zero from whatever compares rollouts; the setting ``single`` of an oracle says otherwise.
"""

from __future__ import annotations

import numpy as np

from gradvar.testing.oracle.rollouts import RolloutRows

EPS_AT = ("added", "clamped", "variance", "none")


def divisor(variance: np.ndarray, eps: float, eps_at: str = "added") -> np.ndarray:
    """The standard deviation with its epsilon: never zero.

    ``added``: std + eps; ``clamped``: max(std, eps); ``variance``: sqrt(variance + eps); ``none``: the std, and 1
    where it is zero. So does every place with an epsilon of zero.
    """
    std = np.sqrt(np.maximum(variance, 0.0))
    if eps_at == "variance":
        std = np.sqrt(np.maximum(variance, 0.0) + eps)
    elif eps_at == "added":
        std = std + eps
    elif eps_at == "clamped":
        std = np.maximum(std, eps)
    return np.where(std == 0, 1.0, std)


def spread(batch: RolloutRows, centred: np.ndarray, ddof: int) -> np.ndarray:
    """The variance of each row's group about zero, [N]: sum of squares over G - ddof, at least 1."""
    groups = batch.groups
    return groups.total(centred**2) / np.maximum(groups.size - ddof, 1)


def raw(batch: RolloutRows) -> np.ndarray:
    """The reward itself, without a baseline."""
    return batch.array("rewards")


def given_baseline(batch: RolloutRows) -> np.ndarray:
    """r - b, b a constant given per prompt."""
    return batch.array("rewards") - batch.array("baseline")


def greedy(batch: RolloutRows) -> np.ndarray:
    """r - the greedy rollout's reward (arXiv 2310.10505)."""
    return batch.array("rewards") - batch.array("greedy_rewards")


def centred(batch: RolloutRows) -> np.ndarray:
    """r - m (arXiv 2503.20783)."""
    return batch.groups.deviations(batch.array("rewards"))


def leave_one_out(batch: RolloutRows) -> np.ndarray:
    """r - mean of the others (arXiv 2402.14740): (r - m) G/(G - 1)."""
    size = batch.groups.size
    return centred(batch) * np.where(size > 1, size / np.maximum(size - 1, 1), 0.0)


def standardised(
    batch: RolloutRows, *, ddof: int = 0, eps: float = 1e-6, eps_at: str = "added"
) -> np.ndarray:
    """(r - m) / std (arXiv 2402.03300).

    Args:
        batch: The rows.
        ddof: 0 divides the sum of squares by their number, 1 by one less.
        eps: The epsilon beside the standard deviation.
        eps_at: Its place, see ``divisor``.
    """
    a = centred(batch)
    return a / divisor(spread(batch, a, ddof), eps, eps_at)


def leave_one_out_over_std(
    batch: RolloutRows, *, ddof: int = 1, eps: float = 1e-6, eps_at: str = "added"
) -> np.ndarray:
    """(r - mean of the others) / std of the group.

    Args:
        batch: The rows.
        ddof: 0 divides the sum of squares by their number, 1 by one less.
        eps: The epsilon beside the standard deviation.
        eps_at: Its place, see ``divisor``.
    """
    a = centred(batch)
    return leave_one_out(batch) / divisor(spread(batch, a, ddof), eps, eps_at)


def leave_one_out_both(
    batch: RolloutRows, *, ddof: int = 0, eps: float = 1e-6, eps_at: str = "added"
) -> np.ndarray:
    """(r - mean of the others) / std of the others; a rollout whose others are all equal keeps its difference.

    Args:
        batch: The rows.
        ddof: 0 divides the sum of squares by their number, 1 by one less.
        eps: The epsilon beside the standard deviation.
        eps_at: Its place, see ``divisor``.
    """
    rewards, out = batch.array("rewards"), np.zeros(len(batch.mask))
    for rows in batch.groups.rows():
        for i in rows if len(rows) > 1 else ():
            others = rewards[rows[rows != i]]
            moved = others - others[0]
            variance = np.sum((moved - moved.mean()) ** 2) / max(len(others) - ddof, 1)
            gap = (rewards[i] - others[0]) - moved.mean()
            out[i] = gap / divisor(variance, eps, eps_at) if variance > 0 else gap
    return out


def length_weighted(batch: RolloutRows, *, include_self: bool = True) -> np.ndarray:
    """r - sum_j l_j r_j / sum_j l_j, l the lengths (arXiv 2505.23585); without the row itself: over the others."""
    groups, lengths = batch.groups, batch.lengths
    rewards = batch.array("rewards")
    moved = rewards - groups.first(rewards)
    total, weighted = groups.total(lengths), groups.total(lengths * moved)
    if include_self:
        return moved - weighted / np.where(total > 0, total, 1.0)
    others = total - lengths
    return np.where(others > 0, moved - (weighted - lengths * moved) / np.where(others > 0, others, 1.0), 0.0)


def over_mean(batch: RolloutRows, *, eps: float = 0.0) -> np.ndarray:
    """(r - m) / (m + eps), zero where m is not above zero (arXiv 2602.02710)."""
    rewards = batch.array("rewards")
    first = batch.groups.first(rewards)
    mean = first + batch.groups.mean(rewards - first)
    return np.where(mean > 0, centred(batch) / np.where(mean > 0, mean + eps, 1.0), 0.0)


def softmax(batch: RolloutRows, *, temperature: float = 0.3) -> np.ndarray:
    """G softmax(r/tau) - 1 (arXiv 2608.09271)."""
    groups, rewards = batch.groups, batch.array("rewards")
    weights = np.exp((rewards - groups.largest(rewards)) / temperature)
    return groups.size * weights / groups.total(weights) - 1


def rescaled(batch: RolloutRows, *, f_norm: str = "none", ddof: int = 1, eps: float = 1e-6) -> np.ndarray:
    """alpha (r - m) / F, alpha = groups / groups of unequal rewards (arXiv 2504.02546), F = 1 or std + eps.

    Args:
        batch: The rows.
        f_norm: ``none`` or ``std``.
        ddof: Of the standard deviation.
        eps: Added to it.
    """
    groups, rewards = batch.groups, batch.array("rewards")
    mixed = groups.largest(rewards) > groups.smallest(rewards)
    alpha = groups.count / max(np.sum(mixed / groups.size), 1.0)
    a = centred(batch)
    return alpha * a / (1.0 if f_norm == "none" else divisor(spread(batch, a, ddof), eps))


def best_less_second(
    batch: RolloutRows, *, normalise: bool = False, ddof: int = 1, eps: float = 1e-6, eps_at: str = "added"
) -> np.ndarray:
    """The best of a group gets its lead over the second, the others zero (pass@k with k = G, as trainers do).

    Args:
        batch: The rows.
        normalise: Divide by the group's standard deviation.
        ddof: Of that standard deviation.
        eps: The epsilon beside it.
        eps_at: Its place, see ``divisor``.
    """
    rewards, out = batch.array("rewards"), np.zeros(len(batch.mask))
    scale = divisor(spread(batch, centred(batch), ddof), eps, eps_at)
    for rows in batch.groups.rows():
        if len(rows) > 1:
            order = rows[np.argsort(-rewards[rows], kind="stable")]
            gap = rewards[order[0]] - rewards[order[1]]
            out[order[0]] = gap / scale[order[0]] if normalise else gap
    return out


def kalman(
    batch: RolloutRows, *, process: float = 1e-5, measurement: float = 1e-2, eps: float = 1e-8
) -> np.ndarray:
    """(r_i - x_i) / (sqrt(P_i) + eps), x and P of a scalar Kalman filter over the group (arXiv 2505.07527).

    Args:
        batch: The rows.
        process: Noise variance from one rollout to the next.
        measurement: Noise variance of a reward.
        eps: Added to sqrt(P).
    """
    rewards, out = batch.array("rewards"), np.zeros(len(batch.mask))
    for rows in batch.groups.rows():
        estimate, variance = 0.0, 1.0
        for i in rows:
            predicted = variance + process
            gain = predicted / (predicted + measurement)
            estimate += gain * (rewards[i] - estimate)
            variance = (1 - gain) * predicted
            out[i] = (rewards[i] - estimate) / (np.sqrt(variance) + eps)
    return out
