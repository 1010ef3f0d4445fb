"""Advantages in NumPy, written from the definitions with loops: nothing here is shared with the package."""

import itertools
import math

import numpy as np


def loo_loop(rewards):
    out = np.zeros_like(rewards)
    for q, g in np.ndindex(*rewards.shape):
        out[q, g] = rewards[q, g] - np.delete(rewards[q], g).mean()
    return out


def opo_loop(rewards, lengths, own):
    out = np.zeros_like(rewards)
    for q, g in np.ndindex(*rewards.shape):
        keep = np.ones(rewards.shape[1], bool)
        keep[g] = own
        out[q, g] = rewards[q, g] - np.average(rewards[q][keep], weights=lengths[q][keep])
    return out


def pass_at_k_loop(rewards, k):
    """Straight from the definition: every set of k-1 others, and the gain in the maximum."""
    out = np.zeros_like(rewards)
    for q, g in np.ndindex(*rewards.shape):
        others = np.delete(rewards[q], g)
        gains = [max(rewards[q, g], *t) - max(t) for t in itertools.combinations(others, k - 1)]
        out[q, g] = k * np.mean(gains)
    return out


def pass_at_k_training_loop(rewards, k, eps=1e-6):
    """The mean over all sets of k that hold the rollout of the set's standardised pass."""
    out = np.zeros_like(rewards)
    for q in range(len(rewards)):
        sets = list(itertools.combinations(range(rewards.shape[1]), k))
        passes = np.array([max(rewards[q, list(s)]) for s in sets])
        score = (passes - passes.mean()) / (passes.std() + eps)
        for g in range(rewards.shape[1]):
            out[q, g] = np.mean([score[i] for i, s in enumerate(sets) if g in s])
    return out


def kalman_loop(rewards, q_var=1e-5, r_var=1e-2, mean=0.0, variance=1.0, eps=1e-8):
    out = np.zeros_like(rewards)
    for row, group in enumerate(rewards):
        x, p = mean, variance
        for i, r in enumerate(group):
            p = p + q_var
            k = p / (p + r_var)
            x, p = x + k * (r - x), (1 - k) * p
            out[row, i] = (r - x) / (math.sqrt(p) + eps)
    return out


def bnpo_scipy(rewards):
    from scipy.stats import beta as beta_law

    p = rewards.mean(1)
    m, v = p.mean(), p.var(ddof=1)
    strength = m * (1 - m) / v - 1
    a, b = max(1, 1 + strength * m / 3), max(1, 1 + strength * (1 - m) / 3)
    out = np.zeros_like(rewards)
    for q in range(len(rewards)):
        if 0 < p[q] < 1:
            out[q] = (rewards[q] - p[q]) * min(1 / beta_law(a, b).pdf(p[q]), 1e6)
    return out


def ebpo_loop(rewards, eps=1e-8):
    v, t = rewards.var() / rewards.shape[1], rewards.mean(1).var()
    share = v / (v + t)
    a = np.stack([r - (1 - share) * r.mean() - share * rewards.mean() for r in rewards])
    a = a - a.mean()
    return a / (a.std() + eps)
