"""Exact expectations: over binomial counts, and over independent rollouts with a symbolic group size.

One prompt and binary rewards: the number of correct rollouts k is Binomial(G, p), and every group estimator's
mean is w(p) grad p, with w a polynomial. Any rewards: sums over the group are handled by the pattern of
coinciding indices, so that G stays a symbol.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import sympy as sp

Exponents = Mapping[str, int]


def over_binomial(value: Callable[[int], Any], size: int, p: sp.Expr) -> sp.Expr:
    """E[value(k)] for k ~ Binomial(size, p), ``size`` a number and p a symbol or number."""
    _at_least(size, 0)
    terms = [
        sp.binomial(size, k) * p**k * (1 - p) ** (size - k) * sp.sympify(value(k)) for k in range(size + 1)
    ]
    return sp.Add(*terms)


def over_binomial_symbolic(polynomial: sp.Expr, k: sp.Symbol, size: sp.Expr, p: sp.Expr) -> sp.Expr:
    """E[f(k)] for a polynomial f and k ~ Binomial(size, p) with a symbolic ``size``.

    In falling factorials, E[k (k-1) ... (k-j+1)] = size (size-1) ... (size-j+1) p^j.

    Args:
        polynomial: f.
        k: Its symbol.
        size: Number of trials; may be a symbol.
        p: Probability of a success.
    """
    rest, total = sp.Poly(sp.expand(polynomial), k), sp.Integer(0)
    while not rest.is_zero:
        degree, lead = rest.degree(), rest.LC()
        total += lead * falling(size, degree) * p**degree
        rest -= sp.Poly(lead * falling(k, degree), k)
    return total


def _at_least(size: int, least: int) -> None:
    if size < least:
        raise ValueError(f"size: {size}; at least {least}, an empty sum proves nothing")


def falling(size: sp.Expr, count: int) -> sp.Expr:
    """size (size - 1) ... (size - count + 1), as a product."""
    return sp.Mul(*[size - j for j in range(count)])


def prompt_weight(advantages: Callable[[int], tuple[Any, Any]], size: int, p: sp.Expr) -> sp.Expr:
    """w(p) with E[(1/G) sum A_i s_i] = w(p) grad p, binary rewards: exact, for any symmetric advantages.

    ``advantages(k)`` gives the advantage of a correct and of a wrong rollout in a group with k correct ones
    (either is ignored where there is none). Proof: E[s | right] = grad p / p and E[s | wrong] = -grad p / (1
    - p); given k, the mean is (1/G) [k A_1 / p - (G - k) A_0 / (1 - p)] grad p; p and 1 - p cancel against
    the binomial weights.
    """
    _at_least(size, 1)
    total = sp.Integer(0)
    for k in range(size + 1):
        right, wrong = advantages(k)
        chance = sp.binomial(size, k)
        if k > 0:
            total += chance * p ** (k - 1) * (1 - p) ** (size - k) * sp.Rational(k, size) * sp.sympify(right)
        if k < size:
            rest = sp.Rational(size - k, size)
            total -= chance * p**k * (1 - p) ** (size - k - 1) * rest * sp.sympify(wrong)
    return sp.expand(total)


def over_rollouts(
    expression: sp.Expr,
    sums: Mapping[sp.Symbol, Exponents],
    size: sp.Expr,
    moment: Callable[[Exponents], sp.Expr],
) -> sp.Expr:
    """The expectation of a polynomial in sums over ``size`` independent, equally distributed rollouts; exact.

    A product of sums is a sum over the ways in which their indices coincide, and b different indices can be
    chosen in size (size-1) ... (size-b+1) ways.

    Args:
        expression: A polynomial in the sums.
        sums: Each symbol's meaning: ``{S: {"r": 1, "s": 1}}`` is S = sum_i r_i s_i.
        size: Number of rollouts; may be a symbol.
        moment: ``moment(exponents)`` gives E[r^a s^b ...] of one rollout.
    """
    symbols = list(sums)
    total = sp.Integer(0)
    for powers, coefficient in sp.Poly(sp.expand(expression), *symbols).terms():
        factors = [sums[symbol] for symbol, power in zip(symbols, powers, strict=True) for _ in range(power)]
        total += coefficient * sp.Add(
            *[_block_product(blocks, size, moment) for blocks in partitions(factors)]
        )
    return total


def partitions(items: list[Any]) -> Iterator[list[list[Any]]]:
    """All ways to group a list's places into blocks."""
    if not items:
        yield []
        return
    first, *rest = items
    for blocks in partitions(rest):
        yield [[first], *blocks]
        for i, block in enumerate(blocks):
            yield [*blocks[:i], [first, *block], *blocks[i + 1 :]]


def _block_product(
    blocks: list[list[Exponents]], size: sp.Expr, moment: Callable[[Exponents], sp.Expr]
) -> sp.Expr:
    product = falling(size, len(blocks))
    for block in blocks:
        merged: dict[str, int] = {}
        for exponents in block:
            for name, power in exponents.items():
                merged[name] = merged.get(name, 0) + power
        product *= moment({name: power for name, power in sorted(merged.items()) if power})
    return product


def centred_score_moments(p: sp.Expr, g: sp.Expr, v1: sp.Expr, v0: sp.Expr) -> Callable[[Exponents], sp.Expr]:
    """Return E[r^a s^b] for binary r and a score s with E[s] = 0, b up to 2, as a function of the exponents.

    Args:
        p: P(r = 1).
        g: E[r s].
        v1: E[s^2 | r = 1].
        v0: E[s^2 | r = 0].
    """

    def moment(exponents: Exponents) -> sp.Expr:
        a, b = exponents.get("r", 0), exponents.get("s", 0)
        if b == 0:
            return p if a else sp.Integer(1)
        if b == 1:
            return g if a else sp.Integer(0)
        if b == 2:
            return p * v1 if a else p * v1 + (1 - p) * v0
        raise ValueError(
            f"exponents: {dict(exponents)}; moments of the score beyond the second are not known"
        )

    return moment
