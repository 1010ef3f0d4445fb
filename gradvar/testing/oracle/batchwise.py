"""Advantages that look at the whole batch, at subsets of a group, at values, or at several rewards."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np

from gradvar.testing.oracle.advantages import centred, divisor
from gradvar.testing.oracle.rollouts import RolloutRows


def batch_standardised(
    batch: RolloutRows,
    *,
    ddof: int = 0,
    eps: float = 1e-8,
    eps_at: str = "added",
    over: str = "rollouts",
    beta: float = 0.0,
) -> np.ndarray:
    """Standardised over the batch (arXiv 2501.03262), over rollouts [N] or over unmasked tokens [N, T].

    Args:
        batch: The rows.
        ddof: 0 divides the sum of squares by the number of values, 1 by one less.
        eps: The epsilon beside the standard deviation.
        eps_at: Its place.
        over: ``rollouts`` or ``tokens``.
        beta: Coefficient of the k1 estimates that the reward loses from each token on; with it, tokens.
    """
    rewards, mask = batch.array("rewards"), batch.mask
    x = rewards - rewards[:1]
    if over != "tokens" and not beta:
        x = x - x.mean()
        return x / divisor(np.sum(x**2) / max(len(x) - ddof, 1), eps, eps_at)
    tokens = np.repeat(x[:, None], mask.shape[1], axis=1)  # [N, T]
    if beta:
        gap = batch.array("old_logp") - batch.array("ref_logp")
        tokens = tokens - beta * np.cumsum(gap[:, ::-1], axis=1)[:, ::-1]
    return whitened(tokens, mask, divisor_of(ddof, eps, eps_at))


def group_centred_batch_standardised(
    batch: RolloutRows, *, ddof: int = 0, eps: float = 1e-8, eps_at: str = "added", over: str = "rollouts"
) -> np.ndarray:
    """r - m, over the standard deviation of these differences in the batch (arXiv 2501.03262, baseline form).

    Args:
        batch: The rows.
        ddof: 0 divides the sum of squares by the number of values, 1 by one less.
        eps: The epsilon beside the standard deviation.
        eps_at: Its place.
        over: ``rollouts``, or ``tokens``: then the mean over tokens is taken off as well.
    """
    x = centred(batch)
    if over == "tokens":
        tokens = np.repeat(x[:, None], batch.mask.shape[1], axis=1)  # [N, T]
        return whitened(tokens, batch.mask, divisor_of(ddof, eps, eps_at))
    return x / divisor(np.sum(x**2) / max(len(x) - ddof, 1), eps, eps_at)


def divisor_of(ddof: int, eps: float, eps_at: str = "added") -> Callable[[float, int], np.ndarray]:
    """The divisor of values by their sum of squares and their number."""
    return lambda squares, count: divisor(np.asarray(squares / max(count - ddof, 1)), eps, eps_at)


def whitened(tokens: np.ndarray, mask: np.ndarray, scale: Callable[[float, int], np.ndarray]) -> np.ndarray:
    """Values [N, T] less their mean over all unmasked tokens, over their scale; zero where masked."""
    count = max(int(mask.sum()), 1)
    x = np.where(mask, tokens - np.sum(np.where(mask, tokens, 0.0)) / count, 0.0)
    return x / scale(float(np.sum(x**2)), count)


def shrunk(batch: RolloutRows, *, eps: float = 1e-8) -> np.ndarray:
    """r - (1 - S) m - S M, standardised over the batch (arXiv 2602.05165), M the mean of all.

    S = (v/G)/(v/G + t), v the variance of all rewards, t that of the groups' means; G the mean group size.
    """
    groups, rewards = batch.groups, batch.array("rewards")
    x = rewards - rewards[:1]
    means, overall = groups.means(x), x.mean()
    within = np.mean((x - overall) ** 2) / (len(x) / groups.count)
    total = within + np.mean((means - overall) ** 2)
    share = within / (total if total > 0 else 1.0)
    a = x - (1 - share) * means[groups.index] - share * overall
    a = a - a.mean()
    return a / (np.sqrt(np.mean(a**2)) + eps or 1.0)


def beta_normalised(
    batch: RolloutRows, *, low: float = 0.0, high: float = 1.0, cap: float = 1e6
) -> np.ndarray:
    """(r - p) / density of Beta(1 + a/3, 1 + b/3) at p (arXiv 2506.02864), Beta(a, b) fitted to the groups' means.

    p is the group's mean; rewards are mapped from [low, high] to [0, 1]. Without spread between the groups the
    divisor is 1, as it is outside (0, 1).

    Args:
        batch: The rows.
        low: The least reward.
        high: The largest reward.
        cap: Bounds the inverse density.
    """
    groups = batch.groups
    unit = (batch.array("rewards") - low) / (high - low)
    p = groups.means(unit)
    mean, variance = p.mean(), np.sum((p - p.mean()) ** 2) / max(groups.count - 1, 1)
    out = groups.deviations(unit)
    if not (variance > 0 and 0 < mean < 1):
        return out
    strength = mean * (1 - mean) / variance - 1
    alpha, beta = max(1 + strength * mean / 3, 1.0), max(1 + strength * (1 - mean) / 3, 1.0)
    norm = math.lgamma(alpha) + math.lgamma(beta) - math.lgamma(alpha + beta)
    inside = (p > 0) & (p < 1)
    q = np.where(inside, p, 0.5)
    density = (alpha - 1) * np.log(q) + (beta - 1) * np.log1p(-q) - norm
    inverse = np.where(inside, np.exp(np.minimum(-density, math.log(cap))), 1.0)
    return out * inverse[groups.index]


def pass_at_k(batch: RolloutRows, *, k: int = 2) -> np.ndarray:
    """k mean over sets T of k - 1 others of max(r, max T) - max T (arXiv 2503.19595, 2505.15201); r at k = 1."""
    rewards, out = batch.array("rewards"), np.zeros(len(batch.mask))
    for rows in batch.groups.rows():
        if k > len(rows):
            raise ValueError(f"k: {k}; give a whole number from 1 to the group size, {len(rows)}")
        for place, i in enumerate(rows):
            others = np.delete(rewards[rows], place)
            if k == 1:
                out[i] = rewards[i]
            else:
                # the rank trick: sorted others, the j-th smallest is the best of C(j, k - 2) sets
                ordered = np.sort(others)
                ways = np.array([math.comb(j, k - 2) for j in range(len(ordered))]) / math.comb(
                    len(others), k - 1
                )
                out[i] = k * np.sum(ways * np.maximum(rewards[i] - ordered, 0.0))
    return out


def pass_at_k_by_sets(rewards: np.ndarray, k: int) -> np.ndarray:
    """The same by enumeration of the sets, for tests of small groups."""
    out = np.zeros(len(rewards))
    for i, r in enumerate(rewards):
        sets = list(combinations(np.delete(rewards, i), k - 1))
        out[i] = k * np.mean([max(r, *s) - max(s) for s in sets])
    return out


def pass_at_k_standardised(batch: RolloutRows, *, k: int = 2, eps: float = 1e-6) -> np.ndarray:
    """Analytic advantages of pass@k training (arXiv 2508.10751); correct: above the middle of the group's range."""
    groups, rewards = batch.groups, batch.array("rewards")
    correct = 2 * rewards > groups.smallest(rewards) + groups.largest(rewards)
    out = np.zeros(len(rewards))
    for rows in groups.rows():
        size = len(rows)
        if k > size:
            raise ValueError(f"k: {k}; give a whole number from 1 to the group size, {size}")
        wrong = size - int(correct[rows].sum())
        fail = math.comb(wrong, k) / math.comb(size, k)
        rest = math.comb(max(wrong - 1, 0), k - 1) / math.comb(size - 1, k - 1)
        s = math.sqrt(fail * (1 - fail))
        out[rows] = np.where(correct[rows], fail, fail - rest) / (s + eps if s > 0 else 1.0)
    return out


def tracked(batch: RolloutRows, *, ddof: int = 1, eps: float = 1e-8) -> np.ndarray:
    """(r - v) less its batch mean, over its batch std (arXiv 2509.13232), v a tracked value per prompt."""
    a = batch.array("rewards") - batch.array("baseline")
    a = a - a.mean()
    return a / (np.sqrt(np.sum(a**2) / max(len(a) - ddof, 1)) + eps or 1.0)


def decoupled(
    batch: RolloutRows, *, weights: tuple[float, ...] | None = None, ddof: int = 0, eps: float = 1e-6
) -> np.ndarray:
    """sum_k w_k (r_k - m_k)/(std_k + eps), over its standard deviation in the batch (arXiv 2601.05242).

    Args:
        batch: The rows, with ``reward_parts``.
        weights: One for each part; None: 1.
        ddof: Of the standard deviation of a part in its group.
        eps: Added to both standard deviations.
    """
    parts, groups = batch.array("reward_parts"), batch.groups
    chosen = np.ones(parts.shape[1]) if weights is None else np.asarray(weights, float)
    if len(chosen) != parts.shape[1]:
        raise ValueError(f"weights: {len(chosen)} of them for {parts.shape[1]} rewards; give one per reward")
    total = np.zeros(len(parts))
    for w, part in zip(chosen, parts.T, strict=True):
        a = groups.deviations(part)
        std = np.sqrt(groups.total(a**2) / np.maximum(groups.size - ddof, 1))
        total += w * a / np.where(std + eps == 0, 1.0, std + eps)
    return total / (np.sqrt(np.mean(total**2)) + eps or 1.0)


def gae(batch: RolloutRows, *, discount: float = 1.0, decay: float = 1.0) -> np.ndarray:
    """Generalised advantage estimation [N, T] (arXiv 1506.02438), the reward on the last unmasked token.

    Masked tokens take no time; after the last token the value is zero.
    """
    mask, values, rewards = batch.mask, batch.array("values"), batch.array("rewards")
    out = np.zeros(mask.shape)
    for i, row in enumerate(mask):
        advantage = value = 0.0
        reward = rewards[i]
        for t in np.flatnonzero(row)[::-1]:
            advantage = reward + discount * value - values[i, t] + discount * decay * advantage
            value, reward = values[i, t], 0.0
            out[i, t] = advantage
    return out
