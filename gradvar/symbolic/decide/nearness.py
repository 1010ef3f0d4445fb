"""Comparisons of floats with a tolerance, stated so that another judge can decide them too.

A float of the machine is another one elsewhere, in its last digits. So it stands as any number of an interval around
it, a hundredth to a tenth of the tolerance to either side: what is stated holds of the float here, and of those
elsewhere. Decimal numbers with more digits are SymPy's own, and the same everywhere: they stand as the rational numbers
they are.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import sympy as sp

from gradvar.core.checks import positive
from gradvar.symbolic.decide.equality import Rejected
from gradvar.symbolic.read.decided import Joined, deciding

Sides = tuple[Any, Any]
_BITS = 53  # of a float of the machine


class Intervals:
    """The intervals of the floats of one comparison, each under a symbol of its own."""

    def __init__(self, tolerance: float) -> None:
        self._unit = sp.Rational(10) ** (math.floor(math.log10(positive("tolerance", tolerance))) - 1)
        self._middles: dict[sp.Symbol, sp.Rational] = {}

    def placed(self, value: Any) -> Any:
        """Return a formula with its floats as symbols, its longer decimal numbers as rational ones.

        Raises ``ValueError`` for what is no number. Floats of two calls are two numbers, even where they agree.
        """
        formula = sp.sympify(value)
        if formula.has(sp.nan, sp.zoo, sp.oo, -sp.oo):
            raise ValueError(f"value: {value} is no number")
        return formula.xreplace({number: self._exact(number) for number in formula.atoms(sp.Float)})

    def _exact(self, number: sp.Float) -> sp.Expr:
        rational = sp.Rational(number)
        if number._prec > _BITS:
            return rational
        symbol = sp.Symbol(f"float{len(self._middles)}", real=True)
        self._middles[symbol] = sp.floor(rational / self._unit + sp.S.Half) * self._unit
        return symbol

    def premises(self) -> list[Any]:
        """Return the relations that bound the symbols."""
        return [
            relation
            for symbol, middle in self._middles.items()
            for relation in (symbol >= middle - self._unit, symbol <= middle + self._unit)
        ]


def stated_within(sides: Sides, operator: str, tolerance: float) -> Any:
    """Return what a comparison with a tolerance says, nothing of it evaluated.

    Args:
        sides: left and right, with symbols for floats.
        operator: between them.
        tolerance: how far the sides of an equality may be apart; a difference is by more than it, or up to it.
    """
    left, right = sides
    bound = sp.Rational(str(tolerance))
    stated = {
        "==": [(left, sp.Le, right, bound), (right, sp.Le, left, bound)],
        "<": [(left, sp.Lt, right, -bound)],
        "<=": [(left, sp.Le, right, bound)],
        ">": [(right, sp.Lt, left, -bound)],
        ">=": [(right, sp.Le, left, bound)],
        "!=": [(left, sp.Lt, right, -bound), (right, sp.Lt, left, -bound)],
    }[operator]
    relations = tuple(
        relation(less, sp.Add(more, apart, evaluate=False), evaluate=False)
        for less, relation, more, apart in stated
    )
    if len(relations) == 1:
        return relations[0]
    return Joined(sp.Or if operator == "!=" else sp.And, relations)


def deciding_within(
    sides: Callable[[Mapping[sp.Symbol, Any]], Sides],
    assignment: Mapping[sp.Symbol, Any],
    operator: str,
    tolerance: float,
    *,
    obstacle: str = "",
) -> AbstractContextManager[None]:
    """Note a comparison once the block is through, as ``deciding`` does.

    Args:
        sides: left and right, given the values of their symbols.
        assignment: these values, floats among them.
        operator: between the sides.
        tolerance: see ``stated_within``.
        obstacle: why it cannot be handed on, if it cannot.
    """
    intervals = Intervals(tolerance)
    try:
        placed = {symbol: intervals.placed(value) for symbol, value in assignment.items()}
        stated = stated_within(sides(placed), operator, tolerance)
    except ValueError:  # no number
        stated, obstacle = None, obstacle or "floats"
    return deciding(stated, intervals.premises(), where_defined=False, obstacle=obstacle, judge="floats")


def near(left: Any, right: Any, tolerance: float, statement: str) -> None:
    """Require two numbers, or arrays of them, to be within a tolerance of each other, floats or exact.

    Args:
        left: a number, or an array of them.
        right: the same; of the same shape, unless one of the two is a single number.
        tolerance: largest absolute difference, above zero.
        statement: for the message of a rejection.

    Raises:
        Rejected: some difference is larger, or is no number.
        ValueError: if the shapes differ or nothing is compared.

    >>> near([0.1 + 0.2], sp.Rational(3, 10), 1e-12, "a sum")
    """
    left, right = np.asarray(left, object), np.asarray(right, object)
    if left.shape != right.shape and left.ndim and right.ndim:
        raise ValueError(f"right: shape {right.shape} does not match left {left.shape}")
    if not left.size or not right.size:
        raise ValueError(f"left, right: nothing to compare for {statement!r}; give numbers")
    for pair in np.broadcast(left, right):
        _compare(pair, "==", tolerance, lambda gap: abs(gap) <= tolerance, statement)


def below(less: Any, more: Any, tolerance: float, statement: str) -> None:
    """Require a number to be below another by more than a tolerance, floats or exact.

    Args:
        less: the smaller number.
        more: the larger one.
        tolerance: by more than this, above zero.
        statement: for the message of a rejection.

    Raises:
        Rejected: it is not below, or not by so much, or one is no number.

    >>> below(0.3, sp.sqrt(2), 1e-12, "a root")
    """
    _compare((less, more), "<", tolerance, lambda gap: gap < -tolerance, statement)


def _compare(
    pair: Sides, operator: str, tolerance: float, holds: Callable[[sp.Expr], Any], statement: str
) -> None:
    x, y = sp.symbols("x y", real=True)
    assignment = dict(zip((x, y), pair, strict=True))
    with deciding_within(lambda placed: (placed[x], placed[y]), assignment, operator, tolerance):
        gap = sp.N(sp.sympify(pair[0]) - sp.sympify(pair[1]), 20)
        if gap == sp.nan or not holds(gap):  # with a NaN no relation of SymPy has a value
            raise Rejected(f"{statement}: {pair[0]} and {pair[1]}, {float(gap):.2e} apart")
