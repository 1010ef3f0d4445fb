"""A formula as a Coq term over a field, in the notation of MathComp's ``ring_scope``."""

from functools import reduce

import sympy as sp

_LONGEST_NUMERAL = 100  # numerals are unary in Coq; larger numbers are printed as products of powers


def coq_term(expression: sp.Expr) -> str:
    """Return the term, in parentheses wherever it is not a single word.

    Sums, products, whole powers, square roots, minima and maxima of symbols and rationals. Raises ``ValueError`` that
    names whatever else is in it.

    >>> r, s = sp.symbols("r s")
    >>> coq_term(r / 2 - s)
    '(((1 / 2%:R) * r) + (- s))'
    """
    if expression.is_Symbol:
        return _symbol(expression)
    if expression.is_Rational:
        return _rational(sp.Rational(expression))
    if isinstance(expression, sp.Add):
        return f"({' + '.join(map(coq_term, expression.as_ordered_terms()))})"
    if isinstance(expression, sp.Mul):
        return _product(expression)
    if isinstance(expression, sp.Pow):
        return _power(*expression.as_base_exp())
    if isinstance(expression, sp.Min | sp.Max):
        name = "Num.min" if isinstance(expression, sp.Min) else "Num.max"
        arguments = sorted(map(coq_term, expression.args))
        return reduce(lambda x, y: f"({name} {x} {y})", arguments)
    raise ValueError(
        f"expression: {expression} holds {type(expression).__name__}, which has no Coq term here"
    )


def coq_relation(relation: sp.Basic) -> str:
    """Return a comparison with zero as a proposition, as a ``Witness`` notes it.

    >>> coq_relation(sp.Symbol("r") > 0)
    '0 < r'
    """
    term = coq_term(relation.lhs)
    if relation.rhs != 0 or not isinstance(relation, sp.StrictGreaterThan | sp.StrictLessThan | sp.Eq):
        raise ValueError(f"relation: {relation}; give one of >, < or = with zero on its right")
    return {">": f"0 < {term}", "<": f"{term} < 0", "==": f"{term} = 0"}[relation.rel_op]


def _symbol(symbol: sp.Symbol) -> str:
    if not symbol.name.isidentifier():
        raise ValueError(f"expression: the symbol {symbol.name!r} is no name in Coq; rename it")
    return symbol.name


def _product(expression: sp.Mul) -> str:
    coefficient, rest = expression.as_coeff_Mul()
    factors = [coq_term(factor) for factor in rest.as_ordered_factors()]
    if coefficient == -1:
        return f"(- {' * '.join(factors) if len(factors) == 1 else '(' + ' * '.join(factors) + ')'})"
    return f"({' * '.join(factors if coefficient == 1 else [_rational(coefficient), *factors])})"


def _power(base: sp.Expr, exponent: sp.Expr) -> str:
    if exponent.is_negative:
        return f"({_power(base, -exponent)})^-1"
    if exponent == 1:
        return coq_term(base)
    if exponent == sp.Rational(1, 2):
        return f"(Num.sqrt {coq_term(base)})"
    if exponent.is_Integer:
        return f"({coq_term(base)} ^+ {exponent})"
    if (2 * exponent).is_Integer:  # an odd number of halves
        return f"({_power(base, exponent - sp.Rational(1, 2))} * {_power(base, sp.Rational(1, 2))})"
    raise ValueError(
        f"expression: the power {base}**{exponent} has no Coq term here; only whole and half ones have"
    )


def _rational(number: sp.Rational) -> str:
    if number < 0:
        return f"(- {_rational(-number)})"
    return _numeral(number.p) if number.q == 1 else f"({_numeral(number.p)} / {_numeral(number.q)})"


def _numeral(number: int) -> str:
    if number <= 1:
        return str(number)
    if number <= _LONGEST_NUMERAL:
        return f"{number}%:R"
    powers = [f"{_prime(prime)} ^+ {power}" for prime, power in sorted(sp.factorint(number).items())]
    return f"({' * '.join(powers)})"


def _prime(number: int) -> str:
    """Return a prime: a numeral, or where it is large, one more than the number before it."""
    return f"{number}%:R" if number <= _LONGEST_NUMERAL else f"({_numeral(number - 1)} + 1)"
