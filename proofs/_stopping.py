"""A policy with rollouts of one and two tokens, small enough for exact numbers, and the same one in the engine.

Token 0 stops. The first token stops with chance ``a``; else the second is 0 with chance ``b`` or 1. So the completions
are (0), (1, 0), (1, 1), of lengths 1, 2, 2. The parameters are two logits for the first token and two for the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import sympy as sp

from gradvar import symbolic as sy
from gradvar.core.estimator import Estimator
from gradvar.core.moments import Moments
from gradvar.measure.exact.enumerate import exact
from gradvar.policies import Tabular
from gradvar.tasks import Lookup

LENGTHS = (1, 2, 2)


def completions(a: Any, b: Any, rewards: Sequence[Any]) -> sy.SymbolicBandit:
    """The three completions with their chances, rewards and scores in the four logits."""
    a, b = sp.Rational(a), sp.Rational(b)
    stop, go = [1 - a, a - 1], [-a, a]
    scores = [[*stop, 0, 0], [*go, 1 - b, b - 1], [*go, -b, b]]
    return sy.SymbolicBandit([a, (1 - a) * b, (1 - a) * (1 - b)], rewards, scores=scores)


def sequence_weights(estimator: Estimator, rewards: Sequence[Any], lengths: Sequence[int] = LENGTHS) -> Any:
    """For ``group_moments(..., by_answer=True)``: the traced weight of each rollout's tokens, on policy."""

    @cache
    def weights(answers: tuple[int, ...]) -> list[sp.Expr]:
        exact_rewards = [sp.sympify(rewards[k]) for k in answers]
        rollouts = sy.symbolic_group(
            len(answers), [lengths[k] for k in answers], rewards=exact_rewards, on_policy=True
        )
        return list(rollouts.weights(estimator)[0, :, 0])

    return weights


def sequence_engine(estimator: Estimator, a: Any, b: Any, rewards: Sequence[Any], size: int) -> Moments:
    """``gradvar.measure.exact`` on the same policy and rewards."""
    sy.note_engine(estimator)
    policy = Tabular(2, 2, stop=0)
    a, b = float(sp.Rational(a)), float(sp.Rational(b))
    with jax.enable_x64(True):
        logits = jnp.log(jnp.asarray([[[a, 1 - a], [b, 1 - b]]]))
        task = Lookup(jnp.asarray([float(r) for r in rewards]), policy.support())
        return exact(estimator, policy, logits, task, size)
