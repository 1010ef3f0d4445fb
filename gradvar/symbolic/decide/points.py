"""Points at which a statement is looked at exactly: few, always the same, and where mistakes show.

Some are drawn at random, of several sizes and signs; some are corners (zero, ties, whole numbers); and for
every condition of a branch, denominator, radicand and hypothesis there are points on its boundary and close
to it on both sides. All obey the symbols' assumptions and the hypotheses.
"""

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import sympy as sp

from gradvar.symbolic.read.evaluate import ExactValues

Point = dict[sp.Symbol, sp.Rational]

_SEED = 20_251
_RANDOM = 6  # random points that are wanted inside the hypotheses
_TRIES = 40  # how many are drawn for that
_BOUNDARIES = 10  # conditions whose boundary is visited
_LARGE = 3000  # nodes of an expression beyond which only half of the points are visited
_SQUARES = tuple(Fraction(a * a, b * b) for a, b in ((1, 2), (3, 4), (2, 3), (3, 2), (1, 5), (4, 5), (2, 1)))
_CORNERS = (Fraction(0), Fraction(1), Fraction(1, 2), Fraction(-1), Fraction(2))
_STEPS = (Fraction(0), Fraction(1, 1009), Fraction(-1, 1013))
_GENERAL = 11  # smaller integers are in no general position: much is undefined at G = 1, 2, 3
_INTEGER_CORNERS = (1, 2, 0, -1, 3, -2)


@dataclass(frozen=True)
class Sample:
    """A point, the values of expressions at it, and if it is in general position (no corner, no boundary)."""

    point: Point
    values: ExactValues
    general: bool


def samples(
    statements: Sequence[sp.Basic], where: Sequence[Any] = (), seeds: Sequence[Point] = ()
) -> list[Sample]:
    """Return points for these expressions or relations, inside the symbols' assumptions and ``where``.

    ``seeds`` are further points to look at, such as one that a solver found; symbols that one lacks are drawn.
    """
    every = [*map(sp.sympify, statements), *map(sp.sympify, where)]
    free = sorted(set().union(*(e.free_symbols for e in every)), key=sp.default_sort_key)
    if not free:
        return _inside([({}, True)], where, 1)
    nodes = sum(e.count_ops() for e in every)
    limit = len(seeds) + (_RANDOM if nodes <= _LARGE else _RANDOM // 2)
    equations = [w for w in where if isinstance(w, sp.Eq)]
    drawn = (_onto(p, equations) for p in _random_points(free))
    default = next(_random_points(free))
    first = ({**default, **seed} for seed in seeds)
    chosen = _inside(((p, True) for p in itertools.chain(first, drawn)), where, limit)
    bases = [s.point for s in chosen[:2]] or [default]
    others = [(p, False) for p in _corners(free)]
    criticals = list(_criticals(every))[: _BOUNDARIES if nodes <= _LARGE else _BOUNDARIES // 2]
    for i, critical in enumerate(criticals):
        base = bases[i % len(bases)]
        others += _around(critical, base)
    others = [(_onto(p, equations), general) for p, general in others]
    return chosen + _inside(others, where, len(others))


@lru_cache(maxsize=20_000)
def admits(symbol: sp.Symbol, value: sp.Rational) -> bool:
    """Return True if a value has every property that the symbol's assumptions ask for."""
    return all(
        getattr(value, f"is_{name}", wanted) == wanted
        for name, wanted in symbol.assumptions0.items()
        if name not in ("commutative", "hermitian", "antihermitian")
    )


def _inside(candidates: Iterable[tuple[Point, bool]], where: Sequence[Any], limit: int) -> list[Sample]:
    chosen: list[Sample] = []
    seen = set()
    hypotheses = [sp.sympify(w) for w in where]
    for point, general in candidates:
        key = tuple(point.items())
        if key in seen or not all(admits(symbol, value) for symbol, value in point.items()):
            continue
        seen.add(key)
        values = ExactValues(point)
        if all(values.truth(hypothesis) is True for hypothesis in hypotheses):
            large = all(abs(v) >= _GENERAL for s, v in point.items() if s.is_integer)
            chosen.append(Sample(point, values, general and large))
            if len(chosen) == limit:
                break
    return chosen


def _random_points(free: list[sp.Symbol]) -> Iterator[Point]:
    draw = random.Random(_SEED)
    sizes = (1, 1, Fraction(5, 2), "squares", 40, Fraction(1, len(free) + 1), Fraction(1, 10**4))
    for i in range(_TRIES):
        size = sizes[i % len(sizes)]
        yield {symbol: _draw(symbol, size, draw) for symbol in free}


def _draw(symbol: sp.Symbol, size: Any, draw: random.Random) -> sp.Rational:
    if symbol.is_integer:
        value = Fraction(draw.randint(3, 9) if size == 1 else draw.randint(_GENERAL, 3 * _GENERAL))
        if symbol.is_even:
            value += value % 2
        elif symbol.is_odd:
            value += 1 - value % 2
    elif size == "squares":
        value = draw.choice(_SQUARES)
    else:
        value = Fraction(draw.randint(1, 96), 97) * size
    if symbol.is_negative or symbol.is_nonpositive or (not symbol.is_nonnegative and draw.random() < 0.4):
        value = -value
    return sp.Rational(value.numerator, value.denominator)


def _corners(free: list[sp.Symbol]) -> Iterator[Point]:
    for i in range(len(_CORNERS)):
        yield {s: _corner(s, i) for s in free}
    for i in range(3 if len(free) > 1 else 0):
        yield {s: _corner(s, i + (j % 2)) for j, s in enumerate(free)}


def ordinary_value(symbol: sp.Symbol) -> sp.Rational:
    """Return one, or another simple number where the symbol's assumptions do not admit one."""
    return _corner(symbol, 0 if symbol.is_integer else 1)


def _corner(symbol: sp.Symbol, i: int) -> sp.Rational:
    values = _INTEGER_CORNERS if symbol.is_integer else _CORNERS
    for j in range(len(values)):
        value = sp.Rational(*_ratio(values[(i + j) % len(values)]))
        if admits(symbol, value):
            return value
    return sp.Integer(1)


def _ratio(value: Any) -> tuple[int, int]:
    value = Fraction(value)
    return value.numerator, value.denominator


def _criticals(statements: list[sp.Basic]) -> Iterator[sp.Expr]:
    """Yield expressions whose zeros are boundaries: of branches, roots, quotients, hypotheses."""
    seen: set[sp.Expr] = set()
    visited: set[sp.Basic] = set()
    stack = list(reversed(statements))
    while stack:
        e = stack.pop()
        if e in visited:
            continue
        visited.add(e)
        stack.extend(reversed(e.args))
        for critical in _critical_parts(e):
            if critical.free_symbols and critical not in seen:
                seen.add(critical)
                yield critical


def _critical_parts(e: Any) -> list[sp.Expr]:
    if isinstance(e, sp.core.relational.Relational):
        return [e.lhs - e.rhs] if isinstance(e.lhs, sp.Expr) and isinstance(e.rhs, sp.Expr) else []
    if isinstance(e, (sp.Max, sp.Min)):
        return [a - b for a, b in zip(e.args, e.args[1:], strict=False)]
    if isinstance(e, (sp.Abs, sp.sign, sp.log, sp.Heaviside)):
        return [e.args[0]]
    if isinstance(e, (sp.floor, sp.ceiling)):
        return [e.args[0] - 1]
    if isinstance(e, sp.Pow) and e.exp.is_number and (e.exp.is_negative or not e.exp.is_integer):
        return [e.base]
    return []


def _around(critical: sp.Expr, base: Point) -> Iterator[tuple[Point, bool]]:
    """Yield points on the zeros of an expression and close to them, moving a single symbol from a base point."""
    for symbol in sorted(critical.free_symbols, key=sp.default_sort_key):
        roots = list(_zeros(critical, symbol, base))
        for root in roots:
            for step in (0, 1, -1) if symbol.is_integer else _STEPS:
                yield {**base, symbol: sp.Rational(*_ratio(root + step))}, step != 0
        if roots:
            return


def _zeros(critical: sp.Expr, symbol: sp.Symbol, base: Point) -> Iterator[Fraction]:
    """Yield rational zeros in one symbol where the expression is linear or quadratic in it."""
    values: list[Any] = [ExactValues({**base, symbol: sp.Integer(i)}).value(critical) for i in (1, 2, 3)]
    if not all(isinstance(v, Fraction) for v in values):
        return
    first, second, third = values
    bend = (third - 2 * second + first) / 2
    slope = second - first - 3 * bend
    constant = first - slope - bend
    roots: list[Fraction]
    if bend == 0:
        roots = [-constant / slope] if slope else []
    else:
        root: Any = ExactValues({}).value(sp.sqrt(sp.Rational(*_ratio(slope**2 - 4 * bend * constant))))
        roots = [(-slope + s * root) / (2 * bend) for s in (1, -1)] if isinstance(root, Fraction) else []
    for zero in roots:
        place = {**base, symbol: sp.Rational(*_ratio(zero))}
        if ExactValues(place).value(critical) == 0:
            yield zero


def _onto(point: Point, equations: Sequence[sp.Eq]) -> Point:
    """Move a point onto the equations among the hypotheses, one symbol for each, where that is linear."""
    moved: set[sp.Symbol] = set()
    for equation in equations:
        critical = equation.lhs - equation.rhs
        for symbol in sorted(critical.free_symbols - moved, key=sp.default_sort_key):
            zero = next(_zeros(critical, symbol, point), None)
            if zero is not None and admits(symbol, sp.Rational(*_ratio(zero))):
                point = {**point, symbol: sp.Rational(*_ratio(zero))}
                moved.add(symbol)
                break
    return point
