"""The exact evaluator, operation by operation: fractions are exact, intervals hold mpmath's value and are narrow."""

import itertools
import math
from fractions import Fraction as F

import mpmath
import pytest
import sympy as sp

from gradvar.symbolic.read import intervals
from gradvar.symbolic.read.evaluate import ExactValues
from gradvar.symbolic.read.intervals import UNDEFINED, UNKNOWN, Lack
from gradvar.symbolic.read.numbers import Undecided, exact, exact_sign, rational

x, y = sp.symbols("x y", real=True)
POINT = {x: sp.Rational(3, 7), y: sp.Rational(-5, 2)}
BITS = 120

EXACT = {  # each by hand
    x + y: F(-29, 14), x * y - 1: F(-29, 14), x / y: F(-6, 35), y**3: F(-125, 8), x**-2: F(49, 9), y**0: F(1),
    sp.sqrt(x + sp.Rational(1, 63)): F(2, 3), (x + sp.Rational(1, 63)) ** sp.Rational(-3, 2): F(27, 8),
    (27 * x / 24 - sp.Rational(5, 14)) ** sp.Rational(1, 3): F(1, 2), sp.Abs(y): F(5, 2), sp.sign(y): F(-1),
    sp.sign(x - sp.Rational(3, 7)): F(0), sp.Max(x, y, 2 * x): F(6, 7), sp.Min(x, y, -3): F(-3),
    sp.exp(7 * x - 3): F(1), sp.log(7 * x - 2): F(0), sp.asin(7 * x - 3): F(0), sp.binomial(7 * x + 1, 2): F(6),
    sp.floor(y): F(-3), sp.Sum(sp.Symbol("k") * x, (sp.Symbol("k"), 1, 3)): F(18, 7), sp.Integer(0) ** (7 * x): F(0),
    sp.Piecewise((1 / (y + sp.Rational(5, 2)), x < 0), (y, x > 0)): F(-5, 2), sp.E ** (7 * x - 3): F(1),
}  # fmt: skip
ENCLOSED = (
    sp.sqrt(x), x ** sp.Rational(1, 3), x**y, sp.exp(y), sp.log(x), sp.asin(x), sp.acos(x), sp.atan(y), sp.sin(y),
    sp.cos(y), sp.tan(y), sp.tanh(y), sp.cosh(x), sp.sinh(y), sp.coth(x), sp.pi * x, sp.E + y, sp.EulerGamma * y,
    sp.Max(sp.sqrt(x), sp.pi), sp.Min(sp.sqrt(x), sp.pi), sp.Max(-sp.pi, y - 1), sp.Abs(sp.sin(y)), sp.exp(y) ** -3,
    (x - 1) ** 2049, sp.exp(x) ** sp.sqrt(x), sp.acos(-x), sp.asin(-x) - 1, sp.sqrt(x) ** 3, (x + 1) ** 2049,
)  # fmt: skip
LACKING = {
    1 / (x - sp.Rational(3, 7)): UNDEFINED, sp.sqrt(y): UNDEFINED, sp.log(y): UNDEFINED, y**x: UNDEFINED,
    sp.log(x - sp.Rational(3, 7)): UNDEFINED, (x - sp.Rational(3, 7)) ** y: UNDEFINED, sp.asin(y): UNDEFINED,
    sp.asin(-y): UNDEFINED, sp.acos(y): UNDEFINED, sp.Symbol("z") + 1: UNKNOWN, sp.exp(x * 10**7): UNKNOWN,
    sp.zoo + x: UNDEFINED, sp.Piecewise((x, x < 0)): UNDEFINED, sp.Piecewise((x, sp.sqrt(y) < 0), (y, True)): UNDEFINED,
    sp.log(y) + sp.Symbol("z"): UNDEFINED, sp.Symbol("z") ** sp.log(y): UNDEFINED, (x + 1) ** (10**10): UNKNOWN,
    (sp.sin(x) ** 2 + sp.cos(x) ** 2 - 1) ** -1: UNKNOWN, sp.Catalan * x: UNKNOWN, sp.pi ** sp.Symbol("z"): UNKNOWN,
    sp.log(sp.sin(x) ** 2 + sp.cos(x) ** 2 - 1): UNKNOWN, sp.tan(7 * sp.pi * x / 6): UNKNOWN,
    sp.asin(sp.sin(x) ** 2 + sp.cos(x) ** 2): UNKNOWN, sp.asin(-(sp.sin(x) ** 2) - sp.cos(x) ** 2): UNKNOWN,
    (sp.sin(x) ** 2 + sp.cos(x) ** 2 - 1) ** x: UNKNOWN, (-sp.pi) ** x: UNDEFINED,
    sp.binomial(1 / (x - sp.Rational(3, 7)), 2): UNDEFINED,
}  # fmt: skip


def here(expression):
    return ExactValues(POINT, BITS).value(expression)


@pytest.mark.parametrize("expression", EXACT, ids=str)
def test_a_fraction_is_exact(expression):
    value = here(expression)
    assert isinstance(value, F)
    assert value == EXACT[expression]


@pytest.mark.parametrize("expression", ENCLOSED, ids=str)
def test_an_interval_holds_the_value_and_is_narrow(expression):
    value = here(expression)
    assert isinstance(value, tuple)
    low, high = (mpmath.mp.make_mpf(end) for end in value)
    with mpmath.workprec(400):
        true = mpmath.mpf(sp.N(expression.subs(POINT), 110))
        assert low <= true <= high
        assert high - low <= abs(true) * mpmath.mpf(2) ** (24 - BITS)


@pytest.mark.parametrize("expression", LACKING, ids=str)
def test_what_has_no_value_says_why(expression):
    assert here(expression) is LACKING[expression]


def test_extremes_of_intervals_that_overlap_hold_both():
    bits = 60
    pi, wide = intervals.constant(sp.pi, bits), intervals.constant(sp.pi, 20)
    for pick, best in ((intervals.larger, max), (intervals.smaller, min)):
        for a, b in ((pi, wide), (wide, pi)):
            ends = [[mpmath.mp.make_mpf(end) for end in interval] for interval in (a, b, pick(a, b, bits))]
            assert ends[2] == [best(ends[0][side], ends[1][side]) for side in (0, 1)]
    assert intervals.larger(F(1), F(2), bits) == F(2)
    assert intervals.larger(pi, F(3), bits) == pi
    assert intervals.larger(F(3), pi, bits) == pi


def test_signs_and_differences():
    zero, pi = intervals.constant(sp.pi, 20), intervals.constant(sp.pi, BITS)
    around = intervals.difference(zero, pi, BITS)
    assert [intervals.sign_of(v) for v in (F(-2), F(0), F(3), pi, around, UNDEFINED)] == [
        -1,
        0,
        1,
        1,
        UNKNOWN,
        UNDEFINED,
    ]
    assert intervals.sign_of(intervals.multiply(F(-1), pi, BITS)) == -1
    assert intervals.multiply(F(0), pi, BITS) == 0
    assert intervals.multiply(pi, F(0), BITS) == 0
    assert intervals.difference(F(1), UNKNOWN, BITS) is UNKNOWN
    assert intervals.difference(UNKNOWN, UNDEFINED, BITS) is UNDEFINED
    assert intervals.difference(F(1, 2), F(1, 3), BITS) == F(1, 6)


def test_a_power_of_what_may_be_zero():
    around = intervals.difference(intervals.constant(sp.pi, 20), intervals.constant(sp.pi, BITS), BITS)
    assert intervals.raise_to(around, F(-1), BITS) is UNKNOWN
    assert intervals.raise_to(around, F(1, 2), BITS) is UNKNOWN
    assert intervals.raise_to(F(0), around, BITS) is UNKNOWN
    assert intervals.raise_to(F(-2), around, BITS) is UNKNOWN
    assert intervals.raise_to(F(-2), F(1, 3), BITS) is UNDEFINED
    assert intervals.raise_to(F(0), F(-1, 2), BITS) is UNDEFINED
    assert intervals.raise_to(F(0), F(0), BITS) == 1
    assert intervals.raise_to(F(0), F(-2), BITS) is UNDEFINED
    assert intervals.raise_to(F(2), F(-3), BITS) == F(1, 8)
    assert intervals.raise_to(F(2), F(2048), BITS) == F(2**2048)  # and beyond it an interval
    assert not isinstance(intervals.raise_to(F(2), F(2049), BITS), F)
    assert isinstance(intervals.raise_to(F(2), F(10**9), BITS), tuple)
    assert intervals.raise_to(F(2), F(10**9 + 1), BITS) is UNKNOWN


TRUTHS = (
    (x > 0, True),
    (x < 0, False),
    (sp.Lt(1 / (x - sp.Rational(3, 7)), 0), UNDEFINED),
    (sp.Lt(sp.Symbol("z", real=True), 0), UNKNOWN),
)


def conjunction(parts):
    """Three values and a fourth: false wins, then what may still be false, then what has no value."""
    for value in (False, UNKNOWN, UNDEFINED):
        if value in parts:
            return value
    return True


def opposite(value):
    return value if isinstance(value, Lack) else not value


def test_connectives_of_four_truth_values():
    values = ExactValues(POINT)
    for (a, truth), (b, other) in itertools.product(TRUTHS, repeat=2):
        either = opposite(conjunction([opposite(truth), opposite(other)]))
        assert values.truth(sp.And(a, b, evaluate=False)) is conjunction([truth, other])
        assert values.truth(sp.Or(a, b, evaluate=False)) is either
        assert values.truth(sp.Not(a, evaluate=False)) is opposite(truth)
        if a is not b:
            implied = opposite(conjunction([truth, opposite(other)]))
            assert values.truth(sp.Implies(a, b, evaluate=False)) is implied
            lacks = [v for v in (truth, other) if isinstance(v, Lack)]
            same = (UNDEFINED if UNDEFINED in lacks else UNKNOWN) if lacks else truth == other
            assert values.truth(sp.Equivalent(a, b, evaluate=False)) is same
            assert values.truth(sp.Xor(a, b, evaluate=False)) is opposite(same)
            chosen = truth if isinstance(truth, Lack) else other if truth else True
            assert values.truth(sp.ITE(a, b, sp.true)) is chosen
    assert values.truth(sp.true) is True
    assert values.truth(sp.false) is False
    assert values.truth(sp.Symbol("b")) is UNKNOWN


@pytest.mark.parametrize("sign", [-1, 0, 1])
def test_relations_by_the_sign_of_the_difference(sign):
    left, right = x + sp.Rational(sign, 9), sp.Rational(3, 7)
    wanted = {
        sp.Eq: sign == 0,
        sp.Ne: sign != 0,
        sp.Lt: sign < 0,
        sp.Le: sign <= 0,
        sp.Gt: sign > 0,
        sp.Ge: sign >= 0,
    }
    for relation, holds in wanted.items():
        assert ExactValues(POINT).truth(relation(left, right, evaluate=False)) is holds


def test_exact_signs_of_numbers():
    root = sp.sqrt(2) + sp.sqrt(3) - sp.sqrt(5 + 2 * sp.sqrt(6))
    assert [exact_sign(n) for n in (sp.Rational(-1, 3), sp.oo, -sp.oo, sp.sqrt(2) - 1, 1 - sp.sqrt(2), root, 0)] == [
        -1, 1, -1, 1, -1, 0, 0]  # fmt: skip
    for digits in (20, 60, 200):  # what the first, second and third precision tell apart
        below = sp.Rational(math.isqrt(2 * 10 ** (2 * digits)), 10**digits)
        assert exact_sign(sp.sqrt(2) - below) == 1
        assert exact_sign(below - sp.sqrt(2)) == -1
    for undecided in (x, sp.sqrt(-sp.sqrt(2) + 1 - sp.sqrt(3), evaluate=False), sp.zoo):
        with pytest.raises(Undecided):
            exact_sign(undecided)


def test_numbers_of_every_kind_become_exact():
    assert [exact(v) for v in (True, 3, 0.5, F(2, 3), x)] == [1, 3, sp.Rational(1, 2), sp.Rational(2, 3), x]
    assert rational(-(2**0.5)) == -sp.sqrt(2)
    assert rational(-float("inf")) == -sp.oo
    assert rational(float("nan")) is sp.nan
    assert rational(1.23456789012) == sp.Rational(123456789012, 10**11)  # twelve digits were written
    assert rational(-1 / 7) == sp.Rational(-1, 7)
    assert rational(1 / 999_983) == sp.Rational(1, 999_983)
    assert rational(1e300) == 10**300
    with pytest.raises(TypeError, match="give a number"):
        exact("1")
