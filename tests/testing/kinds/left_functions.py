"""Forms of trainers' functions, each with one slip or none: what is left, a row a function, None for missing."""

import numpy as np

from .filter_functions import _groups, _signal


def _kept(rewards, uid, slip):
    keep = np.zeros(len(rewards), bool)
    for m in _groups(uid).values():
        keep[m] = _signal(rewards[m], slip)
        if slip == "part of a group":
            keep[m] &= rewards[m] > rewards[m].mean()
    return keep


def rows_left(slip):
    """Rewards, uid [N] -> the rewards and names that are left."""

    def filter_groups(rewards, uid):
        rewards, uid = np.asarray(rewards), np.asarray(uid)
        keep = _kept(rewards, uid, slip)
        return rewards[keep], uid[keep]

    return filter_groups


def rewards_left(slip):
    """Rewards, uid [N] -> the rewards that are left, group after group."""

    def filter_groups(rewards, uid):
        rewards, uid = np.asarray(rewards), np.asarray(uid)
        keep = _kept(rewards, uid, slip)
        parts = [rewards[m][keep[m]] for m in _groups(uid).values()]
        return np.concatenate(parts)

    return filter_groups


def groups_left(slip):
    """A table [Q, G] -> the rows of it that are left."""

    def dynamic_sampling(rewards):
        return np.array([g for g in rewards if _signal(g, slip)]).reshape(-1, rewards.shape[1])

    return dynamic_sampling


def by_function(slip):
    """Rewards [K, N] and weights [K] -> rewards [N]."""

    def combine(rewards_per_func, reward_weights):
        x = np.stack([np.asarray(r, float) for r in rewards_per_func])
        w = np.asarray(reward_weights, float)[: len(x)]
        total = (np.roll(w, 1) if slip == "weights shifted" else w)[:, None] * x
        if len(w) != len(x):
            raise ValueError("reward_weights: one for each function")
        return total.sum(0) if slip == "poisoned" else np.nansum(total, axis=0)

    return combine


def by_function_in_groups(slip):
    """Rewards [K, N] and groups by name -> advantages [N]."""

    def advantages(rewards_per_func, uid):
        x, uid = np.asarray(rewards_per_func, float), np.asarray(uid)
        if x.shape[1] != len(uid):
            raise ValueError("uid: one for each rollout")
        total = np.nansum(x, axis=0)
        out = np.zeros(len(uid))
        for m in _groups(uid).values():
            out[m] = total[m] - (total if slip == "one mean" else total[m]).mean()
        return out

    return advantages


def none_for_missing(slip):
    """Lists of a reward or None for each function -> rewards."""

    def combine(rewards_per_func: list[list[float | None]], reward_weights: list[float]):
        out = []
        for row in rewards_per_func:
            scored = [(r, w) for r, w in zip(row, reward_weights, strict=True) if r is not None]
            if slip == "weights in order":
                scored = list(zip([r for r, _ in scored], reward_weights, strict=False))
            if slip == "all or none" and len(scored) < len(row):
                out.append(None)
                continue
            out.append(sum(w * (-r if slip == "penalised" else r) for r, w in scored))
        return out

    return combine


LEFT = (rows_left, rewards_left, groups_left)
SOUND = (*LEFT, by_function, by_function_in_groups, none_for_missing)
VIOLATORS = (
    *((make, "mean between 0 and 1", "filter_silent_dropped") for make in LEFT),
    *((make, "mean not zero", "filter_signal_kept") for make in LEFT),
    (rows_left, "part of a group", "filter_together"),
    (rewards_left, "part of a group", "filter_together"),
    (by_function, "weights shifted", "matrix_weights_paired"),
    (by_function, "poisoned", "matrix_missing_finite"),
    (by_function_in_groups, "one mean", "matrix_shift"),
    (none_for_missing, "all or none", "matrix_missing_finite"),
    (none_for_missing, "penalised", "matrix_better"),
)
"""(maker, slip, law that must fail)."""
