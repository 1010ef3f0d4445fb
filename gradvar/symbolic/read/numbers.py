"""Exact numbers: what a float was meant to be, and the sign of an exact number."""

import math
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from gradvar.symbolic.read.evaluate import ExactValues
from gradvar.symbolic.read.intervals import UNDEFINED, Lack

_PRECISIONS = (100, 400, 1600)  # bits
_WRITTEN_DIGITS = 12  # a constant that a person typed has fewer digits; one that was computed has 16 or 17
_SMALL_DENOMINATOR = 10**6


class Undecided(ArithmeticError):
    """Neither proved nor disproved: the machinery cannot tell."""


class Vacuous(ValueError):
    """Hypotheses that no point fulfils: they imply anything, and so prove nothing."""


class Inconsistent(RuntimeError):
    """An error of the machinery: a prover's verdict and an exact evaluation at a point contradict each other."""


@lru_cache(maxsize=32768, typed=True)  # the constants of a program at every group size are the same few
def rational(value: float | np.floating[Any]) -> sp.Expr:
    """Return the exact number that a float stands for; infinities and NaN as SymPy's.

    >>> rational(0.2), rational(1 / 3), rational(2**0.5)
    (1/5, 1/3, sqrt(2))

    The shortest decimal that reads back as the same float, when that is short; else the simplest fraction
    that rounds to it, when its denominator is at most a million; else the root of one, ``2 ** 0.5 ->
    sqrt(2)``; else the shortest decimal again. So every constant that a person wrote, and every small
    fraction that Python computed from integers, comes back exactly.
    """
    if np.isnan(value):
        return sp.nan
    if np.isinf(value):
        return sp.oo if value > 0 else -sp.oo
    kind = type(value) if isinstance(value, np.floating) else np.float64
    text = str(kind(value))  # NumPy prints the shortest decimal that reads back
    decimal = Fraction(text)
    digits = text.lower().split("e")[0].replace(".", "").replace("-", "").strip("0")
    if len(digits) > _WRITTEN_DIGITS:
        simple = decimal.limit_denominator(_SMALL_DENOMINATOR)
        if kind(simple.numerator / simple.denominator) == kind(value):
            decimal = simple
        else:
            square = (decimal * decimal).limit_denominator(1000)
            # A look in floats first: SymPy factors what is under every root that it makes.
            if math.isclose(math.sqrt(square), abs(float(value)), rel_tol=4 * float(np.finfo(kind).eps)):
                root = sp.sqrt(sp.Rational(square.numerator, square.denominator))
                if kind(float(root)) == abs(kind(value)):
                    return root if value > 0 else -root
    return sp.Rational(decimal.numerator, decimal.denominator)


def exact(value: Any) -> sp.Expr:
    """Return a number or SymPy expression as an exact SymPy expression."""
    if isinstance(value, sp.Basic):
        return value
    if isinstance(value, Fraction):
        return sp.Rational(value.numerator, value.denominator)
    if isinstance(value, (bool, np.bool_)):
        return sp.Integer(int(value))
    if isinstance(value, (int, np.integer)):
        return sp.Integer(int(value))
    if isinstance(value, (float, np.floating)):
        return rational(value)
    raise TypeError(f"value: {value!r} of type {type(value).__name__}; give a number or a SymPy expression")


@lru_cache(maxsize=4096)  # an equality asks twice: once to refute it, once to prove it
def _vanishes(number: sp.Expr) -> bool:
    """Return True if algebra proves that a number, defined and without symbols, is zero."""
    if sp.expand(sp.numer(sp.together(number))) == 0:  # most are fractions of exponentials and roots
        return True
    return bool(sp.simplify(number) == 0)


def exact_sign(number: sp.Expr) -> int:
    """Return -1, 0 or 1 for an exact real number (algebraic, exponential, ...). Raises ``Undecided``.

    A sign is read from an interval that surely holds the number and not zero; zero is proved by algebra.
    """
    number = sp.sympify(number)
    if number.is_Rational:
        return int(sp.sign(number))
    if number is sp.oo or number is -sp.oo:
        return 1 if number is sp.oo else -1
    if number.free_symbols:
        raise Undecided(f"the sign of {number}: it still has free symbols")
    sign: int | Lack = UNDEFINED
    for bits in _PRECISIONS:
        sign = ExactValues({}, bits).sign(number)
        if not isinstance(sign, Lack):
            return sign
    if sign is not UNDEFINED and _vanishes(number):
        return 0
    raise Undecided(f"the sign of {number} (about {number.evalf(20)})")
