"""Exact enumeration beyond the bandit: rollouts of one or two tokens, and batches of several prompts.

``Stopping`` is the smallest policy whose rollouts differ in length; ``batch_moments`` visits every batch of
prompts and groups. Both are written out in rationals and share nothing with ``gradvar.measure``, which checks
them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp

from gradvar import symbolic as sy
from gradvar.core.moments import Moments


@dataclass(frozen=True)
class Stopping:
    """First token: go on (chance a) or stop; after going on, token 0 (chance b) or 1.

    Completions 00, 01 and the stop. Parameters: the four logits, of the first token and of the second.
    ``rewards`` are those of the three completions.
    """

    a: sp.Rational
    b: sp.Rational
    rewards: tuple[Any, Any, Any]

    lengths = (2, 2, 1)

    @property
    def probabilities(self) -> list[sp.Expr]:
        """Of 00, 01 and the stop."""
        return [self.a * self.b, self.a * (1 - self.b), 1 - self.a]

    @property
    def token_scores(self) -> list[list[list[sp.Expr]]]:
        """The gradient of every token's log-probability: [completion][token][parameter]."""
        go, stop = [1 - self.a, self.a - 1, 0, 0], [-self.a, self.a, 0, 0]
        zero, single = [0, 0, 1 - self.b, self.b - 1], [0, 0, -self.b, self.b]
        return [[go, zero], [go, single], [stop]]

    @property
    def bandit(self) -> sy.SymbolicBandit:
        """The completions as answers, their scores summed over tokens."""
        sums = [[sp.Add(*column) for column in zip(*tokens, strict=True)] for tokens in self.token_scores]
        return sy.SymbolicBandit(self.probabilities, self.rewards, sums)


def stopping(a: Any, b: Any, rewards: Sequence[Any]) -> Stopping:
    """A ``Stopping`` policy from numbers, or strings such as "1/3"."""
    first, second, third = (sp.Rational(r) for r in rewards)
    return Stopping(sp.Rational(a), sp.Rational(b), (first, second, third))


def token_moments(
    policy: Stopping, size: int, estimator: Any, **fields: Callable[[tuple[int, ...]], Any]
) -> sy.ExactMoments:
    """Mean and second moment of sum_it w_it s_it over all groups of ``size``, weights traced from the code.

    ``fields`` are further fields of the batch, each as a function of the group's completions.
    """
    scores, chances = policy.token_scores, policy.probabilities
    mean, second = [sp.Integer(0)] * 4, sp.Integer(0)
    for picks in itertools.product(range(3), repeat=size):
        mask = np.arange(2)[None, :] < np.asarray([policy.lengths[k] for k in picks])[:, None]
        extra = {name: make(picks) for name, make in fields.items()}
        rewards = tuple(policy.rewards[k] for k in picks)
        weights = traced_weights(estimator, rewards, tuple(map(tuple, mask.tolist())), **extra)
        update = [sp.Integer(0)] * 4
        for i, k in enumerate(picks):
            for t, score in enumerate(scores[k]):
                update = [u + weights[i][t] * s for u, s in zip(update, score, strict=True)]
        chance = sp.Mul(*[chances[k] for k in picks])
        mean = [m + chance * u for m, u in zip(mean, update, strict=True)]
        second += chance * sp.Add(*[u * u for u in update])
    return sy.ExactMoments([sp.expand(m) for m in mean], sp.expand(second))


@lru_cache(maxsize=4096)
def traced_weights(
    estimator: Any, rewards: tuple[Any, ...], mask: tuple[tuple[bool, ...], ...], **fields: Any
) -> Any:
    """On-policy token weights [group][time] of an objective that ships, at exact rewards."""
    mask_array = np.asarray([mask])
    zeros = np.full(mask_array.shape, sp.Integer(0), object)
    extra = {name: np.asarray(value, object)[None] for name, value in fields.items()}
    batch = sy.symbolic_batch(np.asarray([list(rewards)], object), zeros, mask_array, **extra)
    return sy.trace(sy.gradient(estimator), zeros, batch)[0]


def stopping_engine(
    estimator: Any, policy: Stopping, size: int, *, old: Stopping | None = None, **options: Any
) -> Moments:
    """``gradvar.measure.exact`` on the same policy, a table of logits with a stop token; ``old`` samples."""
    from gradvar.measure.exact.enumerate import exact
    from gradvar.policies import Tabular
    from gradvar.tasks import Lookup

    sy.note_engine(estimator)
    with jax.enable_x64(True):
        shipped = Tabular(2, 2, stop=1)

        def logits(of: Stopping) -> jax.Array:
            a, b = float(of.a), float(of.b)
            return jnp.log(jnp.asarray([[[a, 1 - a], [b, 1 - b]]]))

        if old is not None:
            options["old_params"] = logits(old)
        task = Lookup(np.asarray([float(r) for r in policy.rewards]), np.asarray(shipped.support()))
        return exact(estimator, shipped, logits(policy), task, size, **options)


def batch_moments(
    bandits: Sequence[sy.SymbolicBandit], prompts: int, size: int, estimator: Any
) -> sy.ExactMoments:
    """Moments of the update of a batch of ``prompts`` groups of ``size``: all prompts drawn, all rollouts.

    Prompts are drawn evenly and independently. Every prompt has its own parameters; all are in one row.
    """
    width = len(bandits[0].scores[0])
    total = width * len(bandits)
    draws = list(itertools.product(range(len(bandits)), repeat=prompts))
    mean, second = [sp.Integer(0)] * total, sp.Integer(0)
    for rows in draws:
        groups = [itertools.product(range(len(bandits[q].probabilities)), repeat=size) for q in rows]
        for picks in itertools.product(*groups):
            batch = list(zip(rows, picks, strict=True))
            weights = batch_weights(
                estimator, tuple(tuple(bandits[q].rewards[k] for k in row) for q, row in batch)
            )
            chance = sp.Rational(1, len(draws))
            update = [sp.Integer(0)] * total
            for (q, row), w in zip(batch, weights, strict=True):
                for k, weight in zip(row, w, strict=True):
                    chance *= bandits[q].probabilities[k]
                    for j in range(width):
                        update[q * width + j] += weight * bandits[q].scores[k][j]
            mean = [m + chance * u for m, u in zip(mean, update, strict=True)]
            second += chance * sp.Add(*[u * u for u in update])
    return sy.ExactMoments([sp.expand(m) for m in mean], sp.expand(second))


@lru_cache(maxsize=4096)
def batch_weights(estimator: Any, rewards: tuple[tuple[Any, ...], ...]) -> Any:
    """On-policy sequence weights [prompt][group] of an objective that ships, one token per rollout."""
    array = np.asarray([list(row) for row in rewards], object)
    zeros = np.full((*array.shape, 1), sp.Integer(0), object)
    return sy.trace(sy.gradient(estimator), zeros, sy.symbolic_batch(array, zeros))[:, :, 0]


def less(baseline: Any) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """The weight of a single rollout with a constant baseline."""
    return lambda rewards: (rewards[0] - baseline,)


def mixed_only(weights: Callable[..., Sequence[Any]]) -> Callable[[tuple[Any, ...]], Sequence[Any]]:
    """The same weights, but zero for a group of equal rewards."""
    return lambda rewards: weights(rewards) if len(set(rewards)) > 1 else (0,) * len(rewards)


def mean_agrees(moments: Moments, mean: Sequence[Any], what: str) -> None:
    """Require the engine's mean to be these exact numbers."""
    sy.near(np.asarray(moments.mean).reshape(-1), list(mean), 1e-11, f"{what}: the exact engine's mean")


def parallel_defect(a: Sequence[Any], b: Sequence[Any]) -> sp.Expr:
    """|a|^2 |b|^2 - (a.b)^2: zero if and only if the two vectors are parallel."""
    left, right = sp.Matrix(list(a)), sp.Matrix(list(b))
    return sp.simplify(left.dot(left) * right.dot(right) - left.dot(right) ** 2)


def squared_sine(a: Sequence[Any], b: Sequence[Any]) -> sp.Expr:
    """The squared sine of the angle between two vectors."""
    left, right = sp.Matrix(list(a)), sp.Matrix(list(b))
    return sp.simplify(1 - left.dot(right) ** 2 / (left.dot(left) * right.dot(right)))
