"""Random small expressions, each as a SymPy expression and as Python code on fractions, which is the truth."""

import itertools
import operator
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt
from typing import Any

import sympy as sp

Place = dict[sp.Symbol, Fraction]


class NoValue(ArithmeticError):
    """The expression is undefined at the point."""


class Irrational(ArithmeticError):
    """The value is no fraction: the point does not help."""


@dataclass(frozen=True)
class Pair:
    """One thing twice: in SymPy, and as a function of a point."""

    sympy: Any
    at: Callable[[Place], Any]


REAL = {name: sp.Symbol(name, real=True) for name in "xy"}
POSITIVE, WHOLE = sp.Symbol("p", positive=True), sp.Symbol("n", integer=True, positive=True)
SYMBOLS = (*REAL.values(), POSITIVE, WHOLE)
QUARTERS = (-16, -9, -8, -4, -2, -1, 0, 1, 2, 4, 6, 8, 9, 16)
VALUES = {
    **{symbol: [Fraction(v, 4) for v in QUARTERS] for symbol in REAL.values()},
    POSITIVE: [Fraction(v, 4) for v in (1, 2, 4, 6, 8, 9, 16)],
    WHOLE: [Fraction(v) for v in (1, 2, 3, 4, 5)],
}


def grid(free: set[sp.Symbol], largest: int = 400) -> Iterator[Place]:
    """Yield points inside the symbols' assumptions: corners, boundaries and between them."""
    symbols = sorted(free, key=str)
    every = itertools.product(*(VALUES[s] for s in symbols))
    count = 1
    for s in symbols:
        count *= len(VALUES[s])
    step = max(1, count // largest)
    for values in itertools.islice(every, 0, None, step):
        yield dict(zip(symbols, values, strict=True))


def _number(value: int) -> Pair:
    return Pair(sp.Integer(value), lambda place: Fraction(value))


def _symbol(symbol: sp.Symbol) -> Pair:
    return Pair(symbol, lambda place: place[symbol])


def _two(function: Callable[..., Any], exact: Callable[..., Any], a: Pair, b: Pair) -> Pair:
    return Pair(function(a.sympy, b.sympy), lambda place: exact(a.at(place), b.at(place)))


def _quotient(a: Fraction, b: Fraction) -> Fraction:
    if b == 0:
        raise NoValue
    return a / b


def _root(a: Fraction) -> Fraction:
    if a < 0:
        raise NoValue
    top, bottom = isqrt(a.numerator), isqrt(a.denominator)
    if top * top != a.numerator or bottom * bottom != a.denominator:
        raise Irrational
    return Fraction(top, bottom)


def expression(draw: random.Random, depth: int, symbols: tuple[sp.Symbol, ...]) -> Pair:
    """Return a random expression of sums, products, quotients, roots, extrema and cases."""
    if depth == 0 or draw.random() < 0.15:
        if draw.random() < 0.65:
            return _symbol(draw.choice(symbols))
        return _number(draw.choice((-1, 0, 1, 1, 2, 3)))
    part = lambda: expression(draw, depth - 1, symbols)  # noqa: E731
    kind = draw.choice("+++-***//rasMmPPP")
    if kind in "+-*":
        chosen = {"+": operator.add, "-": operator.sub, "*": operator.mul}[kind]
        return _two(chosen, chosen, part(), part())
    if kind == "/":
        return _two(operator.truediv, _quotient, part(), part())
    if kind in "Mm":
        a, b = part(), part()
        return _two(sp.Max, max, a, b) if kind == "M" else _two(sp.Min, min, a, b)
    if kind == "P":
        return cases(condition(draw, depth - 1, symbols), part(), part())
    a = part()
    if kind == "r":
        return Pair(sp.sqrt(a.sympy), lambda place: _root(a.at(place)))
    if kind == "a":
        return Pair(sp.Abs(a.sympy), lambda place: abs(a.at(place)))
    return Pair(a.sympy**2, lambda place: a.at(place) ** 2)


def cases(test: Pair, first: Pair, second: Pair) -> Pair:
    """Return the first expression where the test holds, else the second."""
    return Pair(
        sp.Piecewise((first.sympy, test.sympy), (second.sympy, True)),
        lambda place: first.at(place) if test.at(place) else second.at(place),
    )


RELATIONS = (
    (sp.Gt, operator.gt),
    (sp.Ge, operator.ge),
    (sp.Lt, operator.lt),
    (sp.Le, operator.le),
    (sp.Ne, operator.ne),
    (sp.Eq, operator.eq),
)


def condition(draw: random.Random, depth: int, symbols: tuple[sp.Symbol, ...]) -> Pair:
    """Return a random relation, or a conjunction, disjunction or implication of two."""
    if depth > 0 and draw.random() < 0.2:
        kind = draw.choice((sp.And, sp.Or, sp.Implies))
        a, b = (condition(draw, depth - 1, symbols) for _ in range(2))
        return Pair(kind(a.sympy, b.sympy), lambda place: _connected(kind, a, b, place))
    relation = draw.choice(RELATIONS)
    simple = min(depth, 1 if draw.random() < 0.7 else 2)
    return _two(*relation, expression(draw, simple, symbols), expression(draw, 0, symbols))


def _connected(kind: Any, a: Pair, b: Pair, place: Place) -> bool:
    settled = {sp.And: (False, False), sp.Or: (True, True), sp.Implies: (False, True)}[kind]
    outcomes = []
    for side in (a, b):
        try:
            outcomes.append(bool(side.at(place)))
        except NoValue:
            outcomes.append(None)
    if outcomes[0] is settled[0] or outcomes[1] is settled[1]:
        return kind is not sp.And
    if None in outcomes:
        raise NoValue
    return kind is sp.And


def value(pair: Pair, place: Place) -> Any:
    """Return the value; None where it is undefined."""
    try:
        return pair.at(place)
    except NoValue:
        return None


def rewritten(draw: random.Random, pair: Pair) -> Any:
    """Return the SymPy expression in another form of the same value."""
    e = pair.sympy
    ways = (
        sp.expand,
        sp.together,
        lambda e: e.rewrite(sp.Piecewise),
        lambda e: sp.Piecewise((e, SYMBOLS[0] > 0), (e, True), evaluate=False),
        lambda e: e.replace(sp.Abs, lambda a: sp.Max(a, -a)),
        lambda e: -sp.expand(-e),
        lambda e: e,
    )
    return draw.choice(ways)(e)


def mutated(draw: random.Random, e: Any) -> Any:
    """Return the expression with a small change at a random place; often false at a boundary only."""
    parts = [part for part in sp.preorder_traversal(e) if part != e] or [e]
    part = draw.choice(parts)
    swaps = {
        sp.Max: sp.Min,
        sp.Min: sp.Max,
        sp.Gt: sp.Ge,
        sp.Ge: sp.Gt,
        sp.Lt: sp.Le,
        sp.Le: sp.Lt,
        sp.Ne: sp.Ge,
        sp.Eq: sp.Le,
    }
    if isinstance(part, (sp.core.relational.Relational, sp.Max, sp.Min)):
        changed = swaps[type(part)](*part.args)
    elif isinstance(part, sp.Abs):
        changed = part.args[0]
    elif isinstance(part, sp.Expr):
        changed = draw.choice((part + 1, -part, 2 * part, sp.Abs(part)))
    else:
        return e
    return e.subs(part, changed) if draw.random() < 0.5 else e.xreplace({part: changed})
