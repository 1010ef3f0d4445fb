"""Objectives on pairs of rollouts and on lists of them: value and token weights.

A pair is two rollouts of one group with unequal rewards; the mean runs over all pairs of a group, a tie counting as
zero, and then over prompts. h = sum over the rollout's tokens of logp - reference.
"""

from __future__ import annotations

import numpy as np

from gradvar.testing.oracle.advantages import centred, over_mean, standardised
from gradvar.testing.oracle.rollouts import RolloutRows
from gradvar.testing.oracle.surrogates import sigmoid

Weighted = tuple[float, np.ndarray]


def dpo(batch: RolloutRows, *, beta: float = 0.1) -> Weighted:
    """log sigmoid(beta (h_w - h_l)) (arXiv 2305.18290)."""

    def pair(margin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return -np.logaddexp(0.0, -beta * margin), beta * sigmoid(-beta * margin)

    return _over_pairs(batch, pair)


def ipo(batch: RolloutRows, *, beta: float = 0.1) -> Weighted:
    """-(h_w - h_l - 1/(2 beta))^2 (arXiv 2310.12036)."""

    def pair(margin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        off = margin - 0.5 / beta
        return -(off**2), -2 * off

    return _over_pairs(batch, pair)


def _over_pairs(batch: RolloutRows, pair: object) -> Weighted:
    h = np.sum(batch.array("logp") - batch.array("ref_logp"), axis=-1)
    rewards, groups = batch.array("rewards"), batch.groups
    value, slope = 0.0, np.zeros(len(h))
    for rows in groups.rows():
        size = len(rows)
        preferred = rewards[rows][:, None] > rewards[rows][None, :]  # [winner, loser]
        v, s = pair(h[rows][:, None] - h[rows][None, :])  # type: ignore[operator]
        share = 2 / max(size * (size - 1), 1) / groups.count
        value += share * float(np.sum(np.where(preferred, v, 0.0)))
        s = share * np.where(preferred, s, 0.0)
        slope[rows] += s.sum(1) - s.sum(0)
    return value, np.where(batch.mask, slope[:, None], 0.0)


def grpo_pair(
    batch: RolloutRows,
    *,
    standardise: bool = True,
    ddof: int = 0,
    eps: float = 0.0,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> Weighted:
    """Pairs weigh half of h (C+(o_w) - C-(o_l)), h the advantage of a pair (arXiv 2510.00977).

    Args:
        batch: The rows.
        standardise: Divide half of the reward gap by the pair's standard deviation.
        ddof: Of that standard deviation.
        eps: Added to it.
        clip_low: The lowest ratio is 1 - clip_low.
        clip_high: The highest ratio is 1 + clip_high.
    """
    (up, up_slope), (down, down_slope) = _contrast(batch, clip_low, clip_high)
    rewards, groups = batch.array("rewards"), batch.groups
    value, weights = 0.0, np.zeros(batch.mask.shape)
    for rows in groups.rows():
        half = np.maximum(rewards[rows][:, None] - rewards[rows][None, :], 0.0) / 2  # [winner, loser]
        std = half * (np.sqrt(2.0) if ddof else 1.0) + eps
        h = half / np.where(half > 0, std, 1.0) if standardise else half
        h = h / max(len(rows) * (len(rows) - 1), 1) / groups.count
        value += float(np.sum(h * (up[rows][:, None] - down[rows][None, :])))
        weights[rows] += h.sum(1)[:, None] * up_slope[rows] - h.sum(0)[:, None] * down_slope[rows]
    return value, weights


def grpo_contrastive(batch: RolloutRows, *, clip_low: float = 0.2, clip_high: float = 0.2) -> Weighted:
    """sqrt(p (1 - p)) (mean of C+ over the correct - mean of C- over the wrong) (arXiv 2510.00977)."""
    (up, up_slope), (down, down_slope) = _contrast(batch, clip_low, clip_high)
    groups, rewards = batch.groups, batch.array("rewards")
    correct = 2 * rewards > groups.smallest(rewards) + groups.largest(rewards)
    hits = groups.total(correct.astype(float))
    share = hits / groups.size
    root = np.sqrt(share * (1 - share)) / groups.count
    plus = np.where(correct, root / np.maximum(hits, 1), 0.0)
    minus = np.where(correct, 0.0, root / np.maximum(groups.size - hits, 1))
    value = float(np.sum(plus * up - minus * down))
    return value, plus[:, None] * up_slope - minus[:, None] * down_slope


def _contrast(
    batch: RolloutRows, low: float, high: float
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """C+ and C- of every rollout [N], each with its derivative [N, T]."""
    mask = batch.mask
    r = np.exp(batch.array("logp") - batch.array("old_logp"))
    count = np.maximum(mask.sum(-1), 1)

    def mean(bounded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inside = mask & (bounded == r)
        return np.sum(np.where(mask, bounded, 0.0), -1) / count, np.where(inside, r, 0.0) / count[:, None]

    return mean(np.minimum(r, 1 + high)), mean(np.maximum(r, 1 - low))


def lpo_forward(batch: RolloutRows, *, temperature: float | str = "std", moving: bool = False) -> Weighted:
    """-KL(w || P), P = softmax(s), s the log-ratios of whole rollouts, w = softmax(A) (arXiv 2605.06139).

    With ``moving`` w = softmax(A + s), s held.
    """
    return _listwise(batch, temperature, moving, forward=True)


def lpo_reverse(batch: RolloutRows, *, temperature: float | str = "std", moving: bool = False) -> Weighted:
    """-KL(P || w), P and w as in ``lpo_forward``."""
    return _listwise(batch, temperature, moving, forward=False)


def _listwise(batch: RolloutRows, temperature: float | str, moving: bool, forward: bool) -> Weighted:
    groups = batch.groups
    if temperature == "std":
        logits = standardised(batch, eps=0.0)
    elif temperature == "mean":
        logits = over_mean(batch)
    elif isinstance(temperature, str):
        raise ValueError(f"temperature: {temperature!r}; give a number above zero, 'std' or 'mean'")
    else:
        logits = centred(batch) / temperature
    s = np.sum(batch.array("logp") - batch.array("old_logp"), axis=-1)
    value, slope = 0.0, np.zeros(len(s))
    for rows in groups.rows():
        log_p, log_w = _log_softmax(s[rows]), _log_softmax(logits[rows] + moving * s[rows])
        p, w = np.exp(log_p), np.exp(log_w)
        if forward:
            value += float(np.sum(w * (log_p - log_w)))
            slope[rows] = w - p
        else:
            gap = log_p - log_w
            value -= float(np.sum(p * gap))
            slope[rows] = -p * (gap - np.sum(p * gap))
    return value / groups.count, np.where(batch.mask, slope[:, None] / groups.count, 0.0)


def _log_softmax(x: np.ndarray) -> np.ndarray:
    x = x - x.max()
    return x - np.log(np.sum(np.exp(x)))
