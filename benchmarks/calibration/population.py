"""What prompts and rollouts are made of in the twins: success rates, rewards, lengths and ratios, with their moments.

A rollout's score is s = sqrt(l) z a + noise: a [P] belongs to the prompt, z is a bounded function of the outcome with
mean zero (so that grad J of the prompt is Cov(r, z) a), l is the rollout's length over the mean length. Ratios w are
log-normal with mean one and independent of the outcome. So everything about the outcomes is a sum over counts of
outcomes in a group, for each success rate.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import combinations
from math import comb, exp, log, sqrt

import numpy as np
from scipy.special import gammaln, ndtr
from scipy.stats import beta

from benchmarks.calibration.cells import Cell

PARAMS = 8
CLIP = 0.2
_SHORTEST, _LONGEST, _SPREAD = 1.0, 3000.0, 3.0  # of prompts' mean lengths; of a rollout's about its prompt's
_SIMULATED = 1_000_000  # groups, for rewards that cannot be listed

SUCCESS = {
    "0.01": (0.01, 0.01),
    "0.01 to 0.05": (0.01, 0.05),
    "0.3 to 0.7": (0.3, 0.7),
    "0.97": (0.97, 0.97),
    "80 % dead": (0.3, 0.7),
}
_ALIVE, _SHAPE = 0.2, 0.2  # of "80 % dead"; of the U-shaped beta distribution


def draw_success(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Success rates of prompts."""
    if name == "U-shaped":
        return rng.beta(_SHAPE, _SHAPE, shape)
    low, high = SUCCESS[name]
    p = low + (high - low) * rng.random(shape)
    return np.where(rng.random(shape) < _ALIVE, p, 0.0) if name == "80 % dead" else p


def success_nodes(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Success rates and their weights, for means over prompts."""
    if name == "U-shaped":
        number = 2000
        return beta.ppf((np.arange(number) + 0.5) / number, _SHAPE, _SHAPE), np.full(number, 1 / number)
    low, high = SUCCESS[name]
    if low == high:
        return np.array([low]), np.ones(1)
    nodes, weights = np.polynomial.legendre.leggauss(24)
    p, weights = (low + high) / 2 + (high - low) / 2 * nodes, weights / 2
    if name == "80 % dead":
        return np.r_[0.0, p], np.r_[1 - _ALIVE, _ALIVE * weights]
    return p, weights


def outcomes(rewards: str, p: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rewards [outcome], z [node, outcome] and probabilities [node, outcome] of rewards that can be listed."""
    p = p[:, None]
    if rewards == "binary":
        r = np.array([0.0, 1.0])
        return r, r - p, np.concatenate([1 - p, p], 1)
    if rewards == "graded":  # four parts, each solved or not
        k = np.arange(5)
        return k / 4, k / 4 - p, np.array([comb(4, j) for j in k]) * p**k * (1 - p) ** (4 - k)
    r = np.array([0.0, 1.0, 50.0])  # one success in fifty is worth 50
    return r, (r > 0) - p, np.concatenate([1 - p, 0.98 * p, 0.02 * p], 1)


def draw_rewards(
    rng: np.random.Generator, rewards: str, p: np.ndarray, rollouts: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rewards and z [..., rollout] of prompts with success rates ``p`` [...]."""
    shape, p = (*p.shape, rollouts), p[..., None]
    if rewards == "binary":
        r = (rng.random(shape) < p) * 1.0
        return r, r - p
    if rewards == "graded":
        r = rng.binomial(4, np.broadcast_to(p, shape)) / 4
        return r, r - p
    if rewards == "rare 50":
        u = rng.random(shape)
        return (u < p) + 49.0 * (u < 0.02 * p), (u < p) - p
    z = rng.standard_normal(shape)
    noise = rng.standard_normal(shape) if rewards == "normal" else rng.standard_t(3, shape)
    return 0.5 * z + noise, z


def advantages(estimator: str, rewards: np.ndarray) -> np.ndarray:
    """Advantages over the last axis, divided by the group size as the mean over rollouts does."""
    size = rewards.shape[-1]
    centred = rewards - rewards.mean(-1, keepdims=True)
    if estimator == "rloo":
        return centred / (size - 1)
    return centred / (rewards.std(-1, keepdims=True) + 1e-6) / size


def weighted(cell: Cell, advantage: np.ndarray, log_ratio: np.ndarray | None) -> np.ndarray:
    """Advantages times ratios, zero where the pessimistic clip is in force."""
    if log_ratio is None:
        return advantage
    w = np.exp(log_ratio)
    if cell.clipped:
        w = np.where((advantage > 0) & (w > 1 + CLIP) | (advantage < 0) & (w < 1 - CLIP), 0.0, w)
    return advantage * w


def ratio_moments(cell: Cell) -> tuple[np.ndarray, np.ndarray]:
    """E w and E w^2 of the ratios that count, where the advantage is [negative, positive]."""
    s = cell.staleness
    if not s:
        return np.ones(2), np.ones(2)
    first: list[float] = []
    second: list[float] = []
    for bound, above in ((1 - CLIP, True), (1 + CLIP, False)):
        for power, into in ((1, first), (2, second)):
            share = 1.0
            if cell.clipped:
                below = float(ndtr((log(bound) + s * s / 2 - power * s * s) / s))
                share = 1 - below if above else below
            into.append(exp(s * s * (power**2 - power) / 2) * share)
    return np.array(first), np.array(second)


def length_moments(cell: Cell) -> float:
    """E sqrt(l) over prompts; E l is one."""
    if not cell.long:
        return 1.0
    return _log_uniform(0.5, _SHORTEST, _LONGEST) / sqrt(_log_uniform(1, _SHORTEST, _LONGEST))


def draw_lengths(
    rng: np.random.Generator, cell: Cell, shape: tuple[int, ...], rollouts: int
) -> tuple[np.ndarray, np.ndarray]:
    """l of prompts [...], and of their rollouts [..., rollout], both with mean one."""
    if not cell.long:
        return np.ones(shape), np.ones((*shape, rollouts))
    prompt = (
        np.exp(rng.random(shape) * log(_LONGEST / _SHORTEST))
        * _SHORTEST
        / _log_uniform(1, _SHORTEST, _LONGEST)
    )
    factor = np.exp((2 * rng.random((*shape, rollouts)) - 1) * log(_SPREAD)) / _log_uniform(
        1, 1 / _SPREAD, _SPREAD
    )
    return prompt, prompt[..., None] * factor


def _log_uniform(power: float, low: float, high: float) -> float:
    return (high**power - low**power) / (power * log(high / low))


def _counts(size: int, kinds: int) -> np.ndarray:
    """All ways [way, kind] to share out a group among outcomes."""
    bars = np.array(list(combinations(range(size + kinds - 1), kinds - 1)))
    return np.diff(bars, axis=1, prepend=-1, append=size + kinds - 1) - 1


@lru_cache
def coefficient_moments(cell: Cell) -> tuple[float, float, float, float, float]:
    """Means over prompts of E c, (E[c | prompt])^2, E c^2, sum of squared weights, and Cov(r, z).

    c is the sum of weight times z over a group: the gradient is c a and noise with the sum of squared weights.
    """
    first, second = ratio_moments(cell)

    def given(
        a: np.ndarray, z: np.ndarray, number: np.ndarray | float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        sign = (a > 0).astype(int)
        m1, m2 = first[sign], second[sign]
        mean = (number * a * z * m1).sum(-1)
        spread = (number * a * a * z * z * (m2 - m1**2)).sum(-1)
        return mean, mean**2 + spread, (number * a * a * m2).sum(-1)

    if cell.rewards in ("normal", "t3"):
        return _simulated(cell, given)
    nodes, weights = success_nodes(cell.success)
    r, z, probability = outcomes(cell.rewards, nodes)
    counts = _counts(cell.group_size, len(r))  # [way, outcome]
    size, total = cell.group_size, counts @ r
    mean = total / size
    a = (r - mean[:, None]) / (size - 1)
    if cell.estimator == "grpo":
        spread = np.sqrt(np.maximum((counts * (r - mean[:, None]) ** 2).sum(1) / size, 0.0))
        a = (r - mean[:, None]) / (spread + 1e-6)[:, None] / size
    multinomial = gammaln(size + 1) - gammaln(counts + 1).sum(1)
    sums = np.zeros(5)
    for index, weight in enumerate(weights):
        logs = (counts * np.log(np.maximum(probability[index], 1e-300))).sum(1)
        chance = np.exp(multinomial + logs)  # [way]
        c, c2, noise = (chance @ x for x in given(a, z[index], counts))
        covariance = probability[index] @ (r * z[index])
        sums += weight * np.array([c, c * c, c2, noise, covariance])
    return tuple(map(float, sums))  # type: ignore[return-value]


def _simulated(cell: Cell, given: Callable) -> tuple[float, float, float, float, float]:
    """The same for rewards that are drawn, which do not depend on the prompt; ratios are integrated."""
    rng = np.random.default_rng(5)
    sums, parts = np.zeros(3), 20
    for _ in range(parts):
        r, z = draw_rewards(rng, cell.rewards, np.zeros(_SIMULATED // parts), cell.group_size)
        sums += [x.mean() / parts for x in given(advantages(cell.estimator, r), z, 1.0)]
    return float(sums[0]), float(sums[0] ** 2), float(sums[1]), float(sums[2]), 0.5
