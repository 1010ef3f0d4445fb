"""A second exact engine: every group of a bandit with K answers, in rationals.

Slow and plain on purpose. It shares no code with ``gradvar.measure``, so that the two can check each other.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import sympy as sp

from gradvar.symbolic.read.numbers import exact
from gradvar.symbolic.read.trace import gradient, symbolic_batch, trace

Weights = Callable[[tuple[Any, ...]], Sequence[Any]]


@dataclass(frozen=True)
class SymbolicBandit:
    """One prompt with K answers: exact probabilities and rewards, a softmax over logits.

    ``scores``, P numbers for each answer, are the gradients of the answers' log-probabilities; left out,
    those of the logits themselves: e_k - pi.
    """

    probabilities: tuple[sp.Expr, ...]
    rewards: tuple[sp.Expr, ...]
    scores: tuple[tuple[sp.Expr, ...], ...]

    def __init__(self, probabilities: Sequence[Any], rewards: Sequence[Any], scores: Any = None) -> None:
        chances = tuple(_exact(x) for x in probabilities)
        if sp.simplify(sp.Add(*chances) - 1) != 0:
            raise ValueError(f"probabilities: they sum to {sp.Add(*chances)}; they must sum to 1")
        if any(chance.is_negative for chance in chances):
            raise ValueError(f"probabilities: {chances}; none may be negative")
        size = range(len(chances))
        if scores is None:
            scores = [[(1 if i == j else 0) - chances[j] for j in size] for i in size]
        object.__setattr__(self, "probabilities", chances)
        object.__setattr__(self, "rewards", tuple(_exact(x) for x in rewards))
        object.__setattr__(self, "scores", tuple(tuple(_exact(x) for x in row) for row in scores))
        widths = {len(row) for row in self.scores}
        if len(self.rewards) != len(chances) or len(self.scores) != len(chances) or len(widths) != 1:
            raise ValueError(
                f"rewards, scores: {len(self.rewards)} and {len(self.scores)} of widths {sorted(widths)} for"
                f" {len(chances)} probabilities; give one of each, all scores of one width"
            )

    @property
    def gradient(self) -> list[sp.Expr]:
        """The gradient of the expected reward."""
        width = range(len(self.scores[0]))
        terms = list(zip(self.probabilities, self.rewards, self.scores, strict=True))
        return [sp.Add(*[c * r * s[j] for c, r, s in terms]) for j in width]

    @property
    def value(self) -> sp.Expr:
        """Return the expected reward of the policy, an expression."""
        return sp.Add(*[c * r for c, r in zip(self.probabilities, self.rewards, strict=True)])


@dataclass(frozen=True)
class ExactMoments:
    """The mean [P] of an estimator, its expected squared length, and the trace of its covariance."""

    mean: list[sp.Expr]
    second: sp.Expr

    @property
    def trace_cov(self) -> sp.Expr:
        """E||g||^2 - ||E g||^2."""
        return sp.expand(self.second - sp.Add(*[m * m for m in self.mean]))


def group_moments(
    bandit: SymbolicBandit, size: int, weights: Weights, *, by_answer: bool = False
) -> ExactMoments:
    """Return mean and second moment of sum_i w_i s_i over all K^size groups, exactly.

    Args:
        bandit: the policy, its rewards and scores.
        size: G, the rollouts of a group.
        weights: ``weights(rewards)`` gives the w_i; those of a mean over the group contain its 1/G.
        by_answer: give ``weights`` the indices of the answers instead of their rewards.
    """
    if size < 1:
        raise ValueError(f"size: {size}; a group has at least one rollout")
    width = len(bandit.scores[0])
    mean, second = [sp.Integer(0)] * width, sp.Integer(0)
    for answers in itertools.product(range(len(bandit.probabilities)), repeat=size):
        chance = sp.Mul(*[bandit.probabilities[k] for k in answers])
        w = [
            sp.sympify(x)
            for x in weights(answers if by_answer else tuple(bandit.rewards[k] for k in answers))
        ]
        update = [sp.Add(*[w[i] * bandit.scores[k][j] for i, k in enumerate(answers)]) for j in range(width)]
        mean = [m + chance * u for m, u in zip(mean, update, strict=True)]
        second += chance * sp.Add(*[u * u for u in update])
    return ExactMoments([sp.expand(m) for m in mean], sp.expand(second))


def mixture(parts: Sequence[ExactMoments]) -> ExactMoments:
    """Return the moments where one prompt is drawn evenly, then its group; the prompts share their parameters."""
    n = len(parts)
    if not n:
        raise ValueError("parts: none; an empty mixture proves nothing")
    mean = [sp.Add(*column) / n for column in zip(*(part.mean for part in parts), strict=True)]
    return ExactMoments(mean, sp.Add(*[part.second for part in parts]) / n)


def weights_of(objective: Callable[..., Any], **fields: Any) -> Weights:
    """Return the on-policy weights of a shipped objective as a function of exact rewards, one token per rollout.

    ``fields`` are further fields of the batch, as for ``symbolic_batch``.
    """

    slope = gradient(objective)

    @cache
    def weights(rewards: tuple[Any, ...]) -> tuple[sp.Expr, ...]:
        shape = (1, len(rewards), 1)
        zeros = np.full(shape, sp.Integer(0), object)
        batch = symbolic_batch(np.asarray([rewards], object), zeros, **fields)
        return tuple(trace(slope, zeros, batch).reshape(-1))

    return weights


def _exact(value: Any) -> sp.Expr:
    return exact(value) if not isinstance(value, str) else exact(Fraction(value))
