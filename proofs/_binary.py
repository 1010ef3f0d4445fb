"""Binary rewards, for several claims: the prompt weight w(p) as a mean over a binomial count, and shipped advantages.

For a prompt with P(r = 1) = p and any advantages a_k (a correct rollout's, k of G correct) and b_k (a wrong one's),

    E[(1/G) sum_i A_i s_i] = w(p) grad p,   w(p) = E[a_{j+1} - b_j],  j ~ Binomial(G-1, p),

so w is a polynomial whose Bernstein coefficients of degree G-1 are c_j = a_{j+1} - b_j. It does not depend on p iff all
c_j are equal, because the Bernstein polynomials are linearly independent and sum to one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

p = sp.Symbol("p", positive=True)
ON_POLICY = sy.Hypothesis(r"the rollouts are independent draws of the policy, so that $\mathrm{E}[s] = 0$")
OUR_ON_POLICY = replace(
    ON_POLICY, stated_by="ours"
)  # where the statement is ours, or one reading of a source
Advantages = Callable[[int], tuple[Any, Any]]


def shipped(name: str, size: int, **settings: Any) -> Advantages:
    """k -> (a_k, b_k) of a catalogued estimator, traced with exact rewards; zero where there is no such rollout."""
    weights = sy.weights_of(catalogue.get(name, **settings))

    def advantages(k: int) -> tuple[Any, Any]:
        row = weights(tuple([sp.Integer(1)] * k + [sp.Integer(0)] * (size - k)))
        return (size * row[0] if k else sp.Integer(0)), (size * row[-1] if k < size else sp.Integer(0))

    return advantages


def standardised(size: int, ddof: int = 0) -> Advantages:
    """GRPO's advantages without epsilon; ``ddof`` 0 is the population standard deviation, 1 the sample one."""
    scale = sp.sqrt(sp.Rational(size - ddof, size))

    def advantages(k: int) -> tuple[Any, Any]:
        if k in (0, size):
            return sp.Integer(0), sp.Integer(0)
        share = sp.Rational(k, size)
        return scale * sp.sqrt((1 - share) / share), -scale * sp.sqrt(share / (1 - share))

    return advantages


def coefficients(advantages: Advantages, size: int) -> list[sp.Expr]:
    """The Bernstein coefficients c_0 .. c_{G-1} of w: c_j = a_{j+1} - b_j."""
    return [sp.sympify(advantages(j + 1)[0] - advantages(j)[1]) for j in range(size)]


def bernstein(values: Sequence[Any], point: sp.Expr = p) -> sp.Expr:
    """sum_j C(n, j) at^j (1-at)^(n-j) values[j], n = len(values) - 1."""
    n = len(values) - 1
    return sp.Add(*[sp.binomial(n, j) * point**j * (1 - point) ** (n - j) * v for j, v in enumerate(values)])


def batch_weights(
    estimator: Any, rewards: Sequence[Sequence[Any]], lengths: Sequence[Sequence[int]] | None = None
) -> Any:
    """The on-policy token weights [prompt, group, time] of a batch of prompts, times the number of prompts."""
    values = np.asarray([list(row) for row in rewards], object)
    counts = np.ones(values.shape, int) if lengths is None else np.asarray(lengths)
    mask = np.arange(counts.max()) < counts[:, :, None]  # [prompt, group, time]
    zeros = np.full(mask.shape, sp.Integer(0), object)
    batch = sy.symbolic_batch(values, zeros, mask)
    return len(values) * sy.trace(sy.gradient(estimator), zeros, batch)


def spread_moments(size: sp.Expr, chance: sp.Expr = p) -> list[sp.Expr]:
    """E[u] and E[u^2] for u = v/(p(1-p)), v = k(G-k)/G^2 the variance of a group with k of G correct."""
    k = sp.Symbol("k", positive=True)
    u = k * (size - k) / (size**2 * chance * (1 - chance))
    powers = (sp.expand(u), sp.expand(u**2))
    return [sp.factor(sp.simplify(sy.over_binomial_symbolic(x, k, size, chance))) for x in powers]
