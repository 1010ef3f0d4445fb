"""Exact values of expressions at points: fractions, or intervals that surely hold the value.

Expressions are partial functions of real numbers. A quotient has no value where its denominator is zero, an
even root none below zero, a logarithm none at or below zero; sums, products and functions have none where a
part has none. A ``Piecewise`` needs its conditions up to the first true one and that case only; ``And`` is
false as soon as a part is false, ``Or`` true as soon as one is true.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import sympy as sp

from gradvar.symbolic.read.intervals import (
    FUNCTIONS,
    UNDEFINED,
    UNKNOWN,
    Lack,
    Value,
    add,
    constant,
    difference,
    exponential,
    larger,
    multiply,
    raise_to,
    sign_of,
    smaller,
)

Truth = bool | Lack


class ExactValues:
    """The values of expressions at one point.

    Args:
        point: an exact number for each symbol.
        bits: the precision of the intervals.

    >>> x = sp.Symbol("x", real=True)
    >>> here = ExactValues({x: sp.Rational(1, 4)})
    >>> here.value(sp.sqrt(x) + 1), here.value(1 / (4 * x - 1)), here.truth(x > 1)
    (Fraction(3, 2), <Lack.UNDEFINED: 'undefined'>, False)
    """

    def __init__(self, point: Mapping[sp.Symbol, Any], bits: int = 120) -> None:
        self.point, self.bits = dict(point), bits
        self._values: dict[Any, Value] = {}

    def value(self, e: sp.Expr) -> Value:
        """Return the value: a fraction where it is computed exactly, else an interval, else why there is none."""
        if e.is_Rational:
            return Fraction(int(e.p), int(e.q))
        value = self._values.get(e)
        if value is None:
            try:
                value = self._value(e)
            except (OverflowError, RecursionError, NotImplementedError, sp.PolynomialError):
                value = UNKNOWN
            self._values[e] = value
        return value

    def sign(self, e: sp.Expr) -> int | Lack:
        """Return -1, 0 or 1; unknown where an interval holds zero."""
        return sign_of(self.value(e))

    def truth(self, statement: Any) -> Truth:
        """Return True or False for a relation or Boolean; a ``Lack`` where it has no truth value."""
        if isinstance(statement, (bool, sp.logic.boolalg.BooleanAtom)):
            return bool(statement)
        if isinstance(statement, sp.core.relational.Relational):
            return self._relation(statement)
        if isinstance(statement, sp.Not):
            return _negated(self.truth(statement.args[0]))
        if isinstance(statement, sp.Or):
            return _negated(self._all([_negated(self.truth(a)) for a in statement.args]))
        if isinstance(statement, sp.And):
            return self._all([self.truth(a) for a in statement.args])
        if isinstance(statement, sp.Implies):
            premise, conclusion = map(self.truth, statement.args)
            return _negated(self._all([premise, _negated(conclusion)]))
        if isinstance(statement, sp.ITE):
            condition = self.truth(statement.args[0])
            return (
                condition
                if isinstance(condition, Lack)
                else self.truth(statement.args[1 if condition else 2])
            )
        if isinstance(statement, (sp.Equivalent, sp.Xor)):
            parts = [self.truth(a) for a in statement.args]
            lacks = [part for part in parts if isinstance(part, Lack)]
            if lacks:
                return UNDEFINED if UNDEFINED in lacks else UNKNOWN
            return (
                len(set(parts)) == 1 if isinstance(statement, sp.Equivalent) else parts.count(True) % 2 == 1
            )
        return UNKNOWN

    @staticmethod
    def _all(parts: list[Truth]) -> Truth:
        if False in parts:
            return False
        for lack in (UNKNOWN, UNDEFINED):  # an unknown part may still be false
            if lack in parts:
                return lack
        return True

    def _relation(self, relation: Any) -> Truth:
        left, right = self.value(relation.lhs), self.value(relation.rhs)
        sign = sign_of(difference(left, right, self.bits))
        if isinstance(sign, Lack):
            return sign
        return {
            "==": sign == 0,
            "!=": sign != 0,
            "<": sign < 0,
            "<=": sign <= 0,
            ">": sign > 0,
            ">=": sign >= 0,
        }[relation.rel_op]

    def _value(self, e: sp.Expr) -> Value:
        if e.is_Symbol:
            return self.value(sp.sympify(self.point[e])) if e in self.point else UNKNOWN
        if e.is_NumberSymbol:
            return constant(e, self.bits)
        if e is sp.nan or e is sp.zoo:
            return UNDEFINED
        if isinstance(e, sp.Piecewise):
            return self._piecewise(e)
        if e.is_Add or e.is_Mul:
            return self._fold(add if e.is_Add else multiply, e.args)
        if e.is_Pow:
            return self._power(e.base, e.exp)
        if isinstance(e, sp.exp):
            return self._apply(exponential, e)
        if isinstance(e, (sp.Max, sp.Min)):
            return self._fold(larger if isinstance(e, sp.Max) else smaller, e.args)
        if e.func in FUNCTIONS:
            return self._apply(FUNCTIONS[e.func], e)
        if e.func in (sp.tanh, sp.cosh, sp.sinh, sp.coth):
            return self.value(e.rewrite(sp.exp))
        return self._by_sympy(e)

    def _fold(self, combine: Callable[..., Value], args: tuple[sp.Expr, ...]) -> Value:
        values = [self.value(a) for a in args]
        for lack in (UNDEFINED, UNKNOWN):
            if lack in values:
                return lack
        total = values[0]
        for value in values[1:]:
            total = combine(total, value, self.bits)
        return total

    def _apply(self, function: Callable[[Value, int], Value], e: sp.Expr) -> Value:
        inner = self.value(e.args[0])
        return inner if isinstance(inner, Lack) else function(inner, self.bits)

    def _piecewise(self, e: sp.Piecewise) -> Value:
        for case, condition in e.args:
            truth = self.truth(condition)
            if isinstance(truth, Lack):
                return truth
            if truth:
                return self.value(case)
        return UNDEFINED

    def _power(self, base: sp.Expr, power: sp.Expr) -> Value:
        if base is sp.E:
            inner = self.value(power)
            return inner if isinstance(inner, Lack) else exponential(inner, self.bits)
        bottom, top = self.value(base), self.value(power)
        for lack in (UNDEFINED, UNKNOWN):
            if lack in (bottom, top):
                return lack
        return raise_to(bottom, top, self.bits)

    def _by_sympy(self, e: sp.Expr) -> Value:
        """Let SymPy compute what has an exact value, such as a binomial, a floor or a finite sum."""
        variables = getattr(e, "bound_symbols", None) or getattr(e, "variables", None)
        if variables:
            result = e.subs(self.point).doit()
        else:
            values = [self.value(a) if isinstance(a, sp.Expr) else UNKNOWN for a in e.args]
            if UNDEFINED in values:
                return UNDEFINED
            if not values or not all(isinstance(v, Fraction) for v in values):
                return UNKNOWN
            result = e.func(*[sp.Rational(v.numerator, v.denominator) for v in values])  # type: ignore[union-attr]
        if result in (sp.nan, sp.zoo):
            return UNDEFINED
        if result == e or (result.is_Function and result.func == e.func):
            return UNKNOWN
        return self.value(result) if not result.free_symbols else UNKNOWN


def _negated(truth: Truth) -> Truth:
    return truth if isinstance(truth, Lack) else not truth
