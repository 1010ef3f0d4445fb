"""Further rules of the corpus: groups, tokens, numbers, domains, empty things."""

import itertools
from functools import partial

import jax.numpy as jnp
import numpy as np
import sympy as sp

from gradvar import symbolic as sy
from tests.symbolic.corpus import NUMBERS, A, Half, any_integer, m, n, p, q, rho, rule, x, y, z


@rule
def wrong_group_size():
    for size in (2, 3, 4):
        r = sp.symbols(f"r1:{size + 1}", real=True)
        mean = sp.Add(*r) / size
        leave_one_out = [v - (sp.Add(*r) - v) / (size - 1) for v in r]
        for G in (size, size + 1, size - 1):
            if G > 1:
                yield size == G, "equal", (leave_one_out, [(v - mean) * G / (G - 1) for v in r]), {}
        yield False, "equal", (leave_one_out, [v - mean for v in r]), {}
        yield True, "equal", (sp.Add(*leave_one_out), 0), {}
        yield False, "equal", (sp.Add(*leave_one_out[:-1]), 0), {}
    G, total, reward = sp.Symbol("G", integer=True, positive=True), z, x
    centred = reward - (total - reward) / (G - 1)
    for shift in (0, 1, -1):
        yield shift == 0, "equal", (centred, (reward - total / G) * G / (G - 1 + shift)), {}
    yield True, "smt_valid", ([G > 1], G / (G - 1) > 1), {}
    yield False, "smt_valid", ([], G / (G - 1) > 1), {}
    yield False, "smt_valid", ([G > 1], G / (G - 1) > 2), {}
    for wrong in (0, 1):
        yield wrong == 0, "equal", (sp.binomial(n, 2), n * (n - 1 + wrong) / 2), {}


@rule
def wrong_ddof():
    for size in (2, 3, 4):
        r = sp.symbols(f"r1:{size + 1}", real=True)
        mean = sp.Add(*r) / size
        squares = sp.Add(*[(v - mean) ** 2 for v in r])
        pairs = sp.Add(*[(a - b) ** 2 for a, b in itertools.combinations(r, 2)])
        for ddof in (0, 1):
            yield (
                ddof == 0,
                "equal",
                (squares / (size - ddof), sp.Add(*[v**2 for v in r]) / size - mean**2),
                {},
            )
            yield ddof == 1, "equal", (squares / (size - ddof), pairs / (size * (size - 1))), {}
            yield ddof == 0, "vanishes", (squares / (size - ddof) - pairs / size**2,), {}


@rule
def a_token_too_many():
    for length in (1, 2, 3):
        t = sp.symbols(f"t1:{length + 2}", real=True)
        for extra in (0, 1):
            counted = sp.Add(*t[: length + extra])
            yield extra == 0, "equal", (sp.Add(*t[:length]) / length, counted / length), {}
            yield (
                extra == 0,
                "equal",
                (sp.Add(*t[:length]) / length, sp.Add(*t[:length]) / (length + extra)),
                {},
            )
        yield True, "equal", (list(t), list(t)), {}
        yield False, "equal", (list(t), list(t[:length])), {}
    product = rho**n
    yield True, "equal", (rho * product, rho ** (n + 1)), {}
    yield False, "equal", (rho * product, rho**n), {}
    yield False, "equal", (rho * product, rho ** (n + 2)), {}


@rule
def assumptions_of_symbols():
    for c in (1, 2, 5):
        yield True, "smt_valid", ([n > c], n >= c + 1), {}
        yield False, "smt_valid", ([x > c], x >= c + 1), {}
        yield False, "smt_valid", ([p > c], p >= c + 1), {}
        yield True, "no point", ([any_integer > c, any_integer < c + 1],), {}
        yield False, "no point", ([x > c, x < c + 1],), {}
    for symbol in (n, p, x, any_integer):
        positive = bool(symbol.is_positive)
        yield positive, "equal", (sp.sqrt(symbol**2), symbol), {}
        yield positive, "identity", (sp.Abs(symbol), symbol), {}
        yield positive, "smt_valid", ([], symbol > 0), {}
        yield positive, "smt_valid", ([], symbol / (1 + symbol**2) > 0), {}
        yield bool(symbol.is_integer), "smt_valid", ([], sp.Or(symbol <= 0, symbol >= 1)), {}
    other = sp.Symbol("p", real=True)
    yield False, "smt_valid", ([p > 1], other > 1), {}
    yield False, "equal", (p, other), {}


@rule
def rounding_down():
    yield True, "equal", (sp.floor(any_integer), any_integer), {}
    yield False, "equal", (sp.floor(x), x), {}
    yield False, "equal", (sp.floor(x) + sp.floor(y), sp.floor(x + y)), {}
    yield True, "equal", (sp.floor(x + 1), sp.floor(x) + 1), {}
    yield False, "equal", (sp.ceiling(x), sp.floor(x) + 1), {}
    halves = [sp.Rational(k, 2) for k in range(-3, 4)]
    yield True, "enumerate_rationals", (lambda v: sp.floor(v) <= v, halves), {}
    yield False, "enumerate_rationals", (lambda v: sp.Eq(sp.floor(v), v), halves), {}
    yield True, "enumerate_rationals", (lambda a, b: a // b * b <= a, range(5), range(1, 4)), {}
    yield False, "enumerate_rationals", (lambda a, b: a // b * b == a, range(5), range(1, 4)), {}
    yield False, "enumerate_rationals", (lambda a: a < 4, range(5)), {}


@rule
def branch_of_the_logarithm():
    yield True, "equal", (sp.log(p * q), sp.log(p) + sp.log(q)), {}
    yield False, "equal", (sp.log(x * y), sp.log(x) + sp.log(y)), {}
    yield True, "equal", (sp.log(p**2), 2 * sp.log(p)), {}
    yield False, "equal", (sp.log(x**2), 2 * sp.log(x)), {}
    yield True, "equal", (sp.exp(x + y), sp.exp(x) * sp.exp(y)), {}
    yield False, "equal", (sp.exp(x * y), sp.exp(x) * sp.exp(y)), {}
    yield False, "equal", (sp.log(p + q), sp.log(p) + sp.log(q)), {}
    yield True, "equal", (1 / (1 + sp.exp(-x)), sp.exp(x) / (1 + sp.exp(x))), {}
    yield False, "equal", (1 / (1 + sp.exp(-x)), sp.exp(-x) / (1 + sp.exp(x))), {}
    yield True, "smt_valid", ([], sp.exp(x) > 0), {}
    yield False, "smt_valid", ([], sp.exp(x) > 1), {}
    yield False, "smt_valid", ([], sp.exp(x) < 1 + x), {}
    yield False, "smt_valid", ([], sp.log(p) > 0), {}
    yield False, "smt_valid", ([], sp.Eq(sp.log(x), sp.log(x) + 0 * y, evaluate=False)), {}
    yield False, "a point", ([sp.exp(x) < 1, x > 0],), {}
    yield True, "a point", ([sp.exp(x) < 1],), {}
    yield False, "a point", ([sp.log(p) > 0, p < 1],), {}
    yield True, "smt_valid", ([x > sp.pi], x > 3), {}
    yield False, "smt_valid", ([x > 3], x > sp.pi), {}


@rule
def small_numbers():
    zeros = (
        sp.sqrt(2) + sp.sqrt(3) - sp.sqrt(5 + 2 * sp.sqrt(6)),
        sp.log(6) - sp.log(2) - sp.log(3),
        (sp.sqrt(5) - 2) * (sp.sqrt(5) + 2) - 1,
        sp.sqrt(3 + 2 * sp.sqrt(2)) - 1 - sp.sqrt(2),
    )
    for zero in zeros:
        yield True, "vanishes", (zero,), {}
        yield True, "exact_sign", (zero, 0), {}
        for digits in (12, 25, 45):
            gap = sp.Rational(1, 10**digits)
            yield False, "vanishes", (zero + gap,), {}
            yield False, "equal", (zero, gap), {}
            yield False, "exact_sign", (zero + gap, 0), {}
            yield True, "exact_sign", (zero - gap, -1), {}
    yield False, "equal", (x * (1 + sp.Rational(1, 10**40)), x), {}
    yield False, "equal", (sp.Float("0.5"), Half), {}
    yield False, "equal", (0.1 + 0.2, sp.Rational(3, 10)), {}


@rule
def points_that_exist():
    for c in NUMBERS:
        yield bool(c > 0), "a point", ([x**2 < c],), {}
        yield bool(c <= 0), "no point", ([x**2 < c],), {}
        yield True, "a point", ([x > c, x * y < c - 1],), {}
        yield False, "a point", ([x > c, x < c],), {}
        guarded = sp.Piecewise((1 / (x - c), sp.Ne(x, c)), (7, True))
        yield True, "a point", ([sp.Eq(guarded, 7), sp.Eq(x, c)],), {}
        yield False, "no point", ([sp.Eq(guarded, 7), sp.Eq(x, c)],), {}
        yield False, "a point", ([sp.Eq(guarded, 8), sp.Eq(x, c)],), {}
        yield False, "a point", ([sp.Eq(1 / (x - c), y), sp.Eq(x, c)],), {}
    yield False, "a point", ([n > m, m > n**2],), {}


def _clip(v, high):
    return jnp.clip(v, 0.0, high)


def _guarded(u, v):
    return jnp.where(v > 0, u / v, 0.0)


@rule
def regions_of_a_function():
    for c in (1, 2):
        clip = partial(_clip, high=float(c))
        yield True, "explore", (clip, (x,), {sp.Integer(0), x, sp.Integer(c)}), {}
        yield False, "explore", (clip, (x,), {sp.Integer(0), x}), {}
        yield True, "explore", (clip, (x,), {x, sp.Integer(c)}), {"where": (x > 0,)}
        yield False, "explore", (clip, (x,), {sp.Integer(0), x, sp.Integer(c)}), {"where": (x > 0,)}
        yield False, "explore", (clip, (x,), set()), {"where": (x > 0, x < 0)}
    yield True, "explore", (_guarded, (x, y), {x / y, sp.Integer(0)}), {}
    yield False, "explore", (_guarded, (x, y), {x / y}), {}


@rule
def empty_things():
    for other in (1, x, [], [[]], np.zeros((0, 2), object)):
        yield False, "equal", (other, []), {}
        yield False, "equal", ([], other), {}
    for left, right in (([x], [x, x]), ([[x, x]], [x, x]), ([x, x], [x]), ([[x], [x]], [x, x])):
        yield False, "equal", (left, right), {}
    yield True, "equal", ([x, x], x), {}
    yield True, "equal", (x, [[x], [x]]), {}
    yield False, "enumerate_rationals", (lambda v: True, []), {}
    yield False, "enumerate_rationals", (lambda: True,), {}
    yield False, "enumerate_rationals", (lambda v, w: True, [1], []), {}
    yield False, "enumerate_rationals", (lambda v: [False], [1]), {}
    yield False, "enumerate_rationals", (lambda v: None, [1]), {}
    for where in ([x > 1, x < 1], [sp.Eq(x, y), x > y], [x**2 < 0]):
        yield False, "equal", (x, y), {"where": where}
        yield False, "equal", (sp.Abs(x), x), {"where": where}
        yield False, "smt_valid", (where, x > y), {}
        yield True, "smt_valid", (where, sp.false), {}
    for condition in (
        False,
        np.False_,
        sp.false,
        [False],
        [],
        (),
        "a text",
        None,
        0,
        1,
        x,
        x > 0,
        sy.smt_valid([], x > 0),
    ):
        yield False, "require", (condition, "a statement"), {}
    for condition in (True, np.True_, sp.true, sy.smt_valid([], x**2 >= 0), sp.Integer(2) > 1):
        yield True, "require", (condition, "a statement"), {}
    yield False, "equal", (sp.zoo, sp.zoo), {}
    yield False, "equal", (sp.nan, 0), {}
    yield False, "equal", (A / sp.Add(x, -x, evaluate=False), 0), {}
