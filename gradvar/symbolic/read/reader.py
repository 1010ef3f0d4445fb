"""The decisions of a reading: signs, comparisons, extrema, roots and orders of SymPy expressions."""

from collections.abc import Callable
from typing import Any

import sympy as sp

from gradvar.symbolic.read.elementwise import Unreadable, is_boolean
from gradvar.symbolic.read.numbers import exact_sign

Assumption = Callable[[sp.Expr], int | None]
"""Takes a real expression and returns its sign (-1, 0, 1), or None to leave it open."""

_RELATIONS = {"lt": sp.Lt, "le": sp.Le, "gt": sp.Gt, "ge": sp.Ge}


def is_nested(expression: sp.Expr) -> bool:
    """Return True if a root is taken of quotients or roots of sums, as in a deviation of standardised values.

    Written out or factored, such an expression grows a thousandfold and tells no more than before.
    """
    return any(
        not root.exp.is_integer
        and any(p.base.is_Add and not (p.exp.is_Integer and p.exp > 0) for p in root.base.atoms(sp.Pow))
        for root in expression.atoms(sp.Pow)
    )


class Comparisons:
    """Decides comparisons: exactly for numbers, by SymPy's assumptions, then by the given assumption."""

    def __init__(self, assume: Assumption | None = None) -> None:
        self.assume = assume

    def sign(self, a: sp.Expr, b: sp.Expr) -> int | None:
        """Return the sign of a - b, or None where it is left open."""
        if a.is_Rational and b.is_Rational:
            difference = a - b
            return (difference.p > 0) - (difference.p < 0)
        if a == b:
            return 0
        if a in (sp.oo, -sp.oo) or b in (sp.oo, -sp.oo):
            return 1 if a is sp.oo or b is -sp.oo else -1
        difference = a - b if is_nested(a) or is_nested(b) else sp.expand(a - b)
        if not difference.free_symbols and (self.assume is None or not difference.has(sp.Float)):
            return exact_sign(difference)  # of decimal numbers the assumption says the sign
        if difference.is_positive or difference.is_negative:
            return 1 if difference.is_positive else -1
        return None if self.assume is None else self.assume(difference)

    def compare(self, name: str, a: Any, b: Any) -> Any:
        """Return a comparison (eq, ne, lt, le, gt, ge) as a Python boolean, or as a relation where it is open."""
        if is_boolean(a) or is_boolean(b):
            same = a == b if isinstance(a, bool) and isinstance(b, bool) else sp.Equivalent(a, b)
            return same if name == "eq" else _negated(same)
        if a is sp.nan or b is sp.nan:
            return name == "ne"
        sign = self.sign(a, b)
        if sign is not None:
            return {
                "eq": sign == 0,
                "ne": sign != 0,
                "lt": sign < 0,
                "le": sign <= 0,
                "gt": sign > 0,
                "ge": sign >= 0,
            }[name]
        if name in ("eq", "ne"):
            same = _equality(a, b)
            return same if name == "eq" else _negated(same)
        return _known(_RELATIONS[name](a, b))

    def extremum(self, a: sp.Expr, b: sp.Expr, *, largest: bool) -> sp.Expr:
        """Return the larger or the smaller of two values; nan where one of them is."""
        if a is sp.nan or b is sp.nan:
            return sp.nan
        sign = self.sign(a, b)
        if sign is None:
            return sp.Max(a, b) if largest else sp.Min(a, b)
        return a if (sign >= 0) == largest or sign == 0 else b

    def absolute(self, x: sp.Expr) -> sp.Expr:
        """Return the absolute value, without ``Abs`` where the sign is decided."""
        sign = self.sign(x, sp.Integer(0))
        return sp.Abs(x) if sign is None else x * sign

    def signum(self, x: sp.Expr) -> sp.Expr:
        """Return -1, 0 or 1, or ``sign(x)`` where it is open."""
        sign = self.sign(x, sp.Integer(0))
        return sp.sign(x) if sign is None else sp.Integer(sign)

    def square_root(self, x: sp.Expr) -> sp.Expr:
        """Return a root with perfect squares taken out.

        The root of (a - b)^2 / 4 is |a - b| / 2, its sign decided where that is possible.
        """
        root = sp.sqrt(sp.factor(x) if not is_nested(sp.sqrt(x)) else x)
        return root.replace(sp.Abs, self.absolute) if root.has(sp.Abs) else root

    def order(self, values: list[sp.Expr]) -> list[int]:
        """Return the stable order from small to large. Raises ``Unreadable`` where a comparison is open."""
        order: list[int] = []
        for i, value in enumerate(values):
            place = len(order)
            while place and self._is_below(value, values[order[place - 1]]):
                place -= 1
            order.insert(place, i)
        return order

    def _is_below(self, a: sp.Expr, b: sp.Expr) -> bool:
        sign = self.sign(a, b)
        if sign is None:
            raise Unreadable(
                f"sorting by the open comparison of {a} with {b}: trace under an assumption (a Witness)"
            )
        return sign < 0


def _equality(a: sp.Expr, b: sp.Expr) -> Any:
    """Return a == b.

    Where one is the extremum of a set that holds the other, that is the condition that the other attains it.
    """
    for x, y in ((a, b), (b, a)):
        for kind, relation in ((sp.Max, sp.Ge), (sp.Min, sp.Le)):
            if isinstance(y, kind):
                attained = set(x.args) if isinstance(x, kind) else {x}
                if attained <= set(y.args):
                    return sp.And(*[relation(x, other) for other in y.args if other not in attained])
    return _known(sp.Eq(a, b))


def _negated(condition: Any) -> Any:
    return not condition if isinstance(condition, bool) else sp.Not(condition)


def _known(condition: Any) -> Any:
    """Turn SymPy's true and false into Python's."""
    return bool(condition) if condition in (sp.true, sp.false) else condition
