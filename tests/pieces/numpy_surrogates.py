"""Surrogates a second time, in NumPy loops: the weight of every token of every rollout in a batch.

``w``: ratios of trainer to engine. ``batch``: for every rollout its advantage, and the log-probabilities of current
policy and engine.
"""

import itertools

import numpy as np


def rows(rule):
    """A rule on one rollout: (advantage, current, proximal, engine) -> weights."""

    def weights(w, batch):
        return [rule(a, *map(np.array, (x, np.log(v) + y, y))) for v, (a, x, y) in zip(w, batch, strict=True)]

    return weights


def dppo_tv(low, high, cap):
    def rule(a, new, _, engine):
        change = np.exp(new) - np.exp(engine)
        stays = change <= high if a >= 0 else change >= -low
        return a * np.minimum(np.exp(new - engine), cap) * stays

    return rows(rule)


def dppo_kl(threshold, cap):
    def rule(a, new, _, engine):
        p, mu = np.exp(new), np.exp(engine)
        divergence = mu * np.log(mu / p) + (1 - mu) * np.log((1 - mu) / (1 - p))
        stays = (divergence <= threshold) | ((p - mu) * (1 if a >= 0 else -1) <= 0)
        return a * np.minimum(p / mu, cap) * stays

    return rows(rule)


def vespo(a, new, _, engine):
    ratio = np.prod(np.exp(new - engine))
    k, rate = (2, 3) if a >= 0 else (3, 2)
    return np.full(len(new), a * np.exp(rate) * ratio**k * np.exp(-rate * ratio))


def topr(a, new, _, engine):
    return a * (np.ones(len(new)) if a >= 0 else np.minimum(np.exp(new - engine), 1))


def clipped(a, new, old, low=0.2, high=0.2):
    """The weight of PPO's clip."""
    ratio = np.exp(new - old)
    return a * ratio * (ratio <= 1 + high if a >= 0 else ratio >= 1 - low)


def log_linear(share, cap):
    """Decoupled PPO around the policy between engine and current one, its ratio to the engine cut at ``cap``."""

    def rule(a, new, _, engine):
        between = (1 - share) * engine + share * new
        return clipped(a, new, between, 0.02, 0.02) * np.minimum(np.exp(between - engine), cap)

    return rows(rule)


def covariances(w, batch):
    """Every token's place and (A - mean A)(log pi - mean log pi)."""
    places = [(i, t) for i, row in enumerate(w) for t in range(len(row))]
    mean_a = np.mean([batch[i][0] for i, _ in places])
    mean_log = np.mean([batch[i][1][t] for i, t in places])
    return {(i, t): (batch[i][0] - mean_a) * (batch[i][1][t] - mean_log) for i, t in places}


def clip_cov(share, low, high):
    """The mean over every choice of the tokens that are dropped."""

    def weights(w, batch):
        of = covariances(w, batch)
        plain = rows(lambda a, new, old, _: clipped(a, new, old))(w, batch)
        able = [
            (i, t)
            for i, t in of
            if low < of[i, t] < high
            and clipped_is_whole(batch[i][0], batch[i][1][t], w[i][t], batch[i][2][t])
        ]
        number = min(max(1, int(share * len(of))), len(able))
        choices = list(itertools.combinations(able, number))
        return [
            [np.mean([x * ((i, t) not in choice) for choice in choices]) for t, x in enumerate(row)]
            for i, row in enumerate(plain)
        ]

    return weights


def clipped_is_whole(a, new, w, engine):
    """Whether the clip leaves this token's ratio."""
    ratio = np.exp(new - np.log(w) - engine)
    return ratio <= 1.2 if a >= 0 else ratio >= 0.8


def kl_cov(share, coefficient):
    def weights(w, batch):
        of = covariances(w, batch)
        number = max(1, int(share * len(of)))
        chosen = sorted(of, key=lambda place: -round(of[place], 12))[:number]
        result = []
        for i, (row, (a, new, engine)) in enumerate(zip(w, batch, strict=True)):
            change = np.array(new) - np.log(row) - engine
            pull = np.array([coefficient * ((i, t) in chosen) for t in range(len(row))])
            result.append(a * np.exp(change) - pull * np.sign(np.round(change, 14)))
        return result

    return weights
