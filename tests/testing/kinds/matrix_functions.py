"""Rewards of several functions, combined or made advantages, sound and with one slip each. NumPy."""

import numpy as np


def _weights(weights, slip):
    return {
        "weights shifted": np.roll(weights, 1),
        "weights sorted": np.sort(weights),
        "weights forgotten": np.ones_like(weights),
        "weights floored": np.maximum(weights, 0.1),
    }.get(slip, weights)


def combined(slip):
    """Rewards [N, K], weights [K] -> rewards [N]."""

    def combine(rewards_per_func, reward_weights):
        x, w = np.asarray(rewards_per_func, float), _weights(reward_weights, slip)
        if slip == "first column lost":
            x = x * (np.arange(x.shape[1]) > 0)
        if slip == "less than the best":
            x = x - np.nanmax(x, axis=0)
        if slip == "poisoned":
            return (x * w).sum(1)
        if slip == "penalised":
            w = -w
        return np.nansum(x * w, axis=1)

    return combine


def mean_of_scored(slip):
    """The mean over the functions that scored a row."""

    def combine(rewards_per_func):
        x = rewards_per_func
        if slip == "all or nothing":
            return x.mean(1)
        if slip == "standardised by row":
            return (x - np.nanmean(x, axis=1, keepdims=True)).sum(1)
        if slip == "centred on the batch":
            x = x - np.nanmean(x)
        scored = ~np.isnan(x)
        return np.where(scored, x, 0.0).sum(1) / np.maximum(scored.sum(1), 1)

    return combine


def _groups(labels):
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def _advantage(x, w, rows, slip):
    if slip == "standardised by row":
        rows = [np.array([n]) for n in range(len(x))]
    if slip == "one group":
        rows = [np.arange(len(x))]
    total = np.nansum(x * w, axis=1)
    if slip == "poisoned":
        total = (x * w).sum(1)
    if slip == "mean of all":
        scored = (~np.isnan(x)).sum(1)
        with np.errstate(all="ignore"):
            total = total / scored
    out = np.zeros(len(x))
    for m in rows:
        out[m] = total[m] if slip == "not centred" else total[m] - total[m].mean()
    return out


def summed_then_centred(slip):
    """Groups by name."""

    def advantages(rewards_per_func, reward_weights, uid):
        labels = np.arange(len(uid)) // 2 if slip == "runs of two" else uid
        return _advantage(rewards_per_func, _weights(reward_weights, slip), _groups(labels), slip)

    return advantages


def decoupled(slip):
    """Each function normalised in its group, groups as runs."""

    def advantages(rewards_per_func, reward_weights, num_generations):
        x, w = rewards_per_func, _weights(reward_weights, slip)
        rows = _groups(np.arange(len(x)) // num_generations)
        if slip == "one group":
            rows = [np.arange(len(x))]
        z = np.zeros_like(x)
        for m in rows:
            mean, std = (
                (f(x[m], axis=0) for f in (np.mean, np.std))
                if slip == "poisoned"
                else (f(np.where(np.isnan(x[m]), 0.0, x[m]), axis=0) for f in (np.mean, np.std))
            )
            z[m] = (x[m] if slip == "not centred" else x[m] - mean) / (std + 1e-4)
        if slip == "by row":
            filled = np.nan_to_num(x)
            z = (filled - filled.mean(1, keepdims=True)) / (filled.std(1, keepdims=True) + 1e-4)
        return (z * w).sum(1) if slip == "poisoned" else np.nansum(z * w, axis=1)

    return advantages


def whitened(slip):
    """GDPO: normalised in the group, then over the batch."""
    inner = decoupled(slip)

    def advantages(rewards_per_func, reward_weights, num_generations):
        a = inner(rewards_per_func, reward_weights, num_generations)
        return rewards_per_func, (a - a.mean()) / (a.std() + 1e-8)

    return advantages


PAIRING = ("weights shifted", "weights sorted")
VIOLATORS = (
    (combined, "poisoned", "matrix_missing_finite"),
    (combined, "penalised", "matrix_better"),
    (combined, "first column lost", "matrix_better"),
    (combined, "less than the best", "matrix_rows_apart"),
    (combined, "weights forgotten", "takes_effect"),
    (combined, "weights floored", "matrix_weight_zero"),
    *(
        (make, slip, "matrix_weights_paired")
        for make in (combined, summed_then_centred, decoupled)
        for slip in PAIRING
    ),
    (mean_of_scored, "all or nothing", "matrix_missing_finite"),
    (mean_of_scored, "centred on the batch", "matrix_rows_apart"),
    (summed_then_centred, "poisoned", "matrix_missing_finite"),
    (summed_then_centred, "mean of all", "matrix_unscored"),
    (summed_then_centred, "not centred", "matrix_equal_rows"),
    (summed_then_centred, "one group", "matrix_shift"),
    (summed_then_centred, "runs of two", "matrix_order"),
    (summed_then_centred, "standardised by row", "matrix_better"),
    (decoupled, "poisoned", "matrix_missing_finite"),
    (decoupled, "not centred", "matrix_shift"),
    (decoupled, "one group", "matrix_equal_rows"),
    (decoupled, "by row", "matrix_better"),
    (whitened, "one group", "matrix_shift"),
)
"""(maker, slip, law that must fail)."""
SOUND = (combined, mean_of_scored, summed_then_centred, decoupled, whitened)
