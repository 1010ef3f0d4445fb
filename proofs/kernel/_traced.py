"""What the bridges share: groups of rollouts in symbols, and the formulas that are read from shipped estimators."""

from collections.abc import Sequence

import sympy as sp

from gradvar import symbolic as sy
from gradvar.core.estimator import Estimator
from gradvar.symbolic.kernel.bridge import traced_update, values

SIZES = (2, 3, 4, 8)


def lengths_of(size: int) -> list[int]:
    """One and two tokens in turn."""
    return [1 + i % 2 for i in range(size)]


def group_of(size: int, rewards: Sequence[int] | None = None) -> sy.SymbolicGroup:
    """Symbolic rewards, unless they are given; on policy, rollouts of one and two tokens."""
    return sy.symbolic_group(size, lengths=lengths_of(size), rewards=rewards, on_policy=True)


def listed(estimator: Estimator, size: int) -> tuple[sp.Expr, str, str]:
    """The traced update of an estimator, and the rewards and scores of its rollouts in Coq."""
    rollouts = group_of(size)
    update, scores = traced_update(rollouts, rollouts.weights(estimator))
    return sp.expand(update), values(rollouts.rewards.reshape(-1)), values(scores)


def about(name: str, size: int) -> str:
    """What was traced, in words."""
    return f"{name} as catalogued, {size} rollouts of one and two tokens, any rewards and scores"


def token_means(scores: Sequence[sp.Expr]) -> str:
    """Each rollout's mean over its tokens, in Coq."""
    return values([score / length for score, length in zip(scores, lengths_of(len(scores)), strict=True)])
