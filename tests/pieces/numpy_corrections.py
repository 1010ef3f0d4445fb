"""Corrections a second time, in NumPy loops over single rollouts: w is the ratio of trainer to engine of each token."""

import numpy as np


def by_token(rule):
    return lambda w, batch: [[rule(x) for x in row] for row in w]


def by_rollout(rule):
    return lambda w, batch: [[rule(row)] * len(row) for row in w]


def normalised(w, batch):
    everything = [min(x, 1.1) for row in w for x in row]
    return [[min(x, 1.1) / np.mean(everything) for x in row] for row in w]


def normalised_by_rollout(w, batch):
    mean = np.mean([np.prod(row) for row in w])
    return [[np.prod(row) / mean] * len(row) for row in w]


def geometric(w, batch):
    return [[x if 0.9 <= np.prod(row) ** (1 / len(row)) <= 1.2 else 0.0 for x in row] for row in w]


def off_policy(w, batch):
    """``batch``: for every rollout its advantage, and the log-probabilities of current and engine."""
    weights = []
    for row, (advantage, new, engine) in zip(w, batch, strict=True):
        drop = advantage < 0 and sum(b - a for a, b in zip(new, engine, strict=True)) / len(row) > 0.05
        weights.append([0.0 if drop else 1.0] * len(row))
    return weights


def near_in_probability(w, batch):
    """The trainer's probability is w times the engine's."""
    changes = [np.exp(engine) * (np.array(row) - 1) for row, (_, _, engine) in zip(w, batch, strict=True)]
    return [[float(-0.03 <= x <= 0.05) for x in row] for row in changes]


def estimate(kind, w):
    return {"k1": -np.log(w), "k2": np.log(w) ** 2 / 2, "k3": w - 1 - np.log(w)}[kind]


def rejects(kind, level, low, high):
    """The weights of ``rejection``: 1 where nothing is too far away."""

    def passes(value):
        return float(
            (kind != "k1" or value >= np.log(low)) and value <= (np.log(high) if kind == "k1" else high)
        )

    def weights(w, batch):
        rows = []
        for row in w:
            values = [estimate(kind, x) for x in row]
            total = {"sum": sum(values), "mean": sum(values) / len(row), "max": max(values)}
            rows.append([passes(x if level == "token" else total[level]) for x in values])
        return rows

    return weights


def ratio_unless_rejected(w, batch):
    return [[x if x - 1 - np.log(x) <= 0.02 else 0.0 for x in row] for row in w]


def second_moment(threshold):
    """Drop the token of the largest squared log-ratio until the mean of the squares that are left is small."""

    def weights(w, batch):
        squares = {(i, t): np.log(x) ** 2 for i, row in enumerate(w) for t, x in enumerate(row)}
        while len(squares) > 1 and np.mean(list(squares.values())) >= threshold:
            del squares[max(squares, key=lambda place: (squares[place], place))]
        return [[float((i, t) in squares) for t in range(len(row))] for i, row in enumerate(w)]

    return weights
