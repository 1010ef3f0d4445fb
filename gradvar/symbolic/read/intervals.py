"""Arithmetic of partial real functions on fractions and on intervals that surely hold the value."""

from collections.abc import Callable
from enum import Enum
from fractions import Fraction
from math import isqrt
from typing import Any

import sympy as sp
from mpmath.libmp import (
    finf,
    fninf,
    from_int,
    from_rational,
    fzero,
    libmpi,
    mpf_asin,
    mpf_cmp,
    mpf_e,
    mpf_euler,
    mpf_sub,
    round_ceiling,
    round_floor,
)

Enclosure = tuple[Any, Any]  # two raw mpmath floats: the lower end, rounded down; the upper one, rounded up
_LARGEST_POWER = 2048  # beyond it a power of a fraction becomes an interval


class Lack(Enum):
    """Why an expression has no value at a point: it is undefined, or this evaluation cannot tell."""

    UNDEFINED = "undefined"
    UNKNOWN = "unknown"


UNDEFINED, UNKNOWN = Lack.UNDEFINED, Lack.UNKNOWN
Value = Fraction | Enclosure | Lack


def raise_to(base: Any, power: Any, bits: int) -> Value:
    """Return the real power; undefined at 0 to a negative power, and below 0 unless the power is an integer."""
    if isinstance(power, Fraction) and power.denominator == 1:
        n = int(power)
        if n < 0:
            sign = sign_of(base)
            if sign == 0 or sign is UNKNOWN:
                return UNDEFINED if sign == 0 else UNKNOWN
        if isinstance(base, Fraction) and abs(n) <= _LARGEST_POWER:
            return base**n
        if abs(n) > 10**9:
            return UNKNOWN
        return _checked(libmpi.mpi_pow_int(_interval(base, bits), n, bits))
    sign = sign_of(base)
    if sign is UNKNOWN:
        return UNKNOWN
    if sign == -1:
        return UNDEFINED if isinstance(power, Fraction) else UNKNOWN
    if sign == 0:
        up = sign_of(power)
        return Fraction(0) if up == 1 else UNDEFINED if up == -1 else UNKNOWN
    if isinstance(base, Fraction) and isinstance(power, Fraction) and abs(power.numerator) <= _LARGEST_POWER:
        root = _exact_root(base, power.denominator)
        if root is not None:
            return root**power.numerator
        if power == Fraction(1, 2):
            return _checked(libmpi.mpi_sqrt(_interval(base, bits), bits))
    logarithm = libmpi.mpi_log(_interval(base, bits + 20), bits + 20)
    return _checked(libmpi.mpi_exp(libmpi.mpi_mul(logarithm, _interval(power, bits + 20), bits + 20), bits))


def _exact_root(base: Fraction, degree: int) -> Fraction | None:
    top, bottom = _integer_root(base.numerator, degree), _integer_root(base.denominator, degree)
    return Fraction(top, bottom) if top is not None and bottom is not None else None


def _integer_root(n: int, degree: int) -> int | None:
    root = isqrt(n) if degree == 2 else int(sp.integer_nthroot(n, degree)[0])
    return root if root**degree == n else None


def _interval(value: Any, bits: int) -> Enclosure:
    if isinstance(value, Fraction):
        p, q = value.numerator, value.denominator
        return from_rational(p, q, bits, round_floor), from_rational(p, q, bits, round_ceiling)
    return value


def _checked(interval: Enclosure) -> Value:
    low, high = interval
    ends = (finf, fninf)
    return UNKNOWN if low in ends or high in ends or mpf_cmp(low, low) != 0 else interval


def sign_of(value: Any) -> int | Lack:
    """Return -1, 0 or 1; unknown where an interval holds zero and more."""
    if isinstance(value, Lack):
        return value
    if isinstance(value, Fraction):
        return (value > 0) - (value < 0)
    low, high = mpf_cmp(value[0], fzero), mpf_cmp(value[1], fzero)
    return 1 if low > 0 else -1 if high < 0 else 0 if low == high == 0 else UNKNOWN


def difference(a: Value, b: Value, bits: int) -> Value:
    """Return a - b; undefined or unknown where one of them is."""
    for lack in (UNDEFINED, UNKNOWN):
        if lack in (a, b):
            return lack
    return add(a, multiply(Fraction(-1), b, bits), bits)


def add(a: Any, b: Any, bits: int) -> Value:
    """Return a + b, as a fraction where both are fractions."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a + b
    return _checked(libmpi.mpi_add(_interval(a, bits), _interval(b, bits), bits))


def multiply(a: Any, b: Any, bits: int) -> Value:
    """Return a b, as a fraction where both are fractions or one is zero."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a * b
    if Fraction(0) in (a, b):
        return Fraction(0)
    return _checked(libmpi.mpi_mul(_interval(a, bits), _interval(b, bits), bits))


def larger(a: Any, b: Any, bits: int) -> Value:
    """Return the larger of two values, or an interval that holds it."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return max(a, b)
    sign = sign_of(difference(a, b, bits))
    if not isinstance(sign, Lack):
        return a if sign >= 0 else b
    (low, high), (other_low, other_high) = _interval(a, bits), _interval(b, bits)
    return (
        low if mpf_cmp(low, other_low) >= 0 else other_low,
        high if mpf_cmp(high, other_high) >= 0 else other_high,
    )


def smaller(a: Any, b: Any, bits: int) -> Value:
    """Return the smaller of two values, or an interval that holds it."""
    minus = Fraction(-1)
    return multiply(minus, larger(multiply(minus, a, bits), multiply(minus, b, bits), bits), bits)


def exponential(x: Any, bits: int) -> Value:
    """Return exp(x), exactly at zero."""
    if x == Fraction(0):
        return Fraction(1)
    if isinstance(x, Fraction) and abs(x) > 10**6:
        return UNKNOWN
    return _checked(libmpi.mpi_exp(_interval(x, bits), bits))


def _logarithm(x: Any, bits: int) -> Value:
    sign = sign_of(x)
    if sign != 1:
        return UNKNOWN if sign is UNKNOWN else UNDEFINED
    return Fraction(0) if x == Fraction(1) else _checked(libmpi.mpi_log(_interval(x, bits), bits))


def _absolute(x: Any, bits: int) -> Value:
    return abs(x) if isinstance(x, Fraction) else libmpi.mpi_abs(x, bits)


def _signum(x: Any, bits: int) -> Value:
    sign = sign_of(x)
    return sign if isinstance(sign, Lack) else Fraction(sign)


def _arc_sine(x: Any, bits: int) -> Value:
    """asin grows, so the ends' values hold it between them; a unit in the last place is added on either side."""
    if x == Fraction(0):
        return Fraction(0)
    low, high = _interval(x, bits)
    one = from_int(1)
    if mpf_cmp(low, one) > 0 or mpf_cmp(high, from_int(-1)) < 0:
        return UNDEFINED
    if mpf_cmp(high, one) > 0 or mpf_cmp(low, from_int(-1)) < 0:
        return UNKNOWN
    slack = (0, 1, -bits + 4, 1)  # 2^(4 - bits)
    return (
        mpf_sub(mpf_asin(low, bits + 10, round_floor), slack, bits, round_floor),
        libmpi.mpi_add((mpf_asin(high, bits + 10, round_ceiling),) * 2, (slack, slack), bits)[1],
    )


def _arc_cosine(x: Any, bits: int) -> Value:
    value = _arc_sine(x, bits)
    half = libmpi.mpi_shift(libmpi.mpi_pi(bits), -1)
    return difference(half, value, bits)


def _tangent(x: Any, bits: int) -> Value:
    cosine = libmpi.mpi_cos(_interval(x, bits), bits)
    if sign_of(cosine) is UNKNOWN:
        return UNKNOWN
    return _checked(libmpi.mpi_tan(_interval(x, bits), bits))


def constant(e: sp.Expr, bits: int) -> Value:
    """Return an interval around pi, e or Euler's constant; unknown for other named numbers."""
    if e is sp.pi:
        return libmpi.mpi_pi(bits)
    for constant, function in ((sp.E, mpf_e), (sp.EulerGamma, mpf_euler)):
        if e is constant:
            return function(bits, round_floor), function(bits, round_ceiling)
    return UNKNOWN


FUNCTIONS: dict[Any, Callable[[Any, int], Value]] = {
    sp.log: _logarithm,
    sp.Abs: _absolute,
    sp.sign: _signum,
    sp.asin: _arc_sine,
    sp.acos: _arc_cosine,
    sp.atan: lambda x, bits: _checked(libmpi.mpi_atan(_interval(x, bits), bits)),
    sp.sin: lambda x, bits: _checked(libmpi.mpi_sin(_interval(x, bits), bits)),
    sp.cos: lambda x, bits: _checked(libmpi.mpi_cos(_interval(x, bits), bits)),
    sp.tan: _tangent,
}
