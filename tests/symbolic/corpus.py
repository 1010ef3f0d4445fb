"""Statements made by rules, true and false, for every checker of ``gradvar.symbolic``.

A rule yields the statement as it is and its neighbour that looks alike and is wrong. Checkers are named, so
that a test can put another one in a checker's place.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import sympy as sp

from gradvar import symbolic as sy

Half = sp.Rational(1, 2)
x, y, z, r, A = sp.symbols("x y z r A", real=True)
p, q, rho = sp.symbols("p q rho", positive=True)
n, m = sp.symbols("n m", integer=True, positive=True)
any_integer = sp.Symbol("j", integer=True)
NUMBERS = (sp.Integer(0), sp.Integer(1), sp.Integer(-2), sp.Rational(1, 3))


@dataclass(frozen=True)
class Case:
    """A statement for one checker. ``options`` are the checker's keyword arguments."""

    rule: str
    checker: str
    holds: bool
    arguments: tuple[Any, ...]
    options: tuple[tuple[str, Any], ...] = ()


Rule = Callable[[], Iterator[tuple[bool, str, tuple[Any, ...], dict[str, Any]]]]
RULES: dict[str, Rule] = {}


def rule(make: Rule) -> Rule:
    """Register a rule under its name."""
    RULES[make.__name__] = make
    return make


def cases(name: str) -> list[Case]:
    """Return the statements of a rule."""
    return [
        Case(name, checker, holds, args, tuple(options.items()))
        for holds, checker, args, options in RULES[name]()
    ]


def verdict(case: Case, checkers: dict[str, Callable[..., bool]]) -> str:
    """Return accepted, rejected, undecided or ill-posed (ValueError, TypeError)."""
    try:
        accepted = checkers[case.checker](*case.arguments, **dict(case.options))
    except sy.Rejected:
        return "rejected"
    except sy.Undecided:
        return "undecided"
    except (ValueError, TypeError):
        return "ill-posed"
    return "accepted" if accepted else "rejected"


def _no_error(check: Callable[..., Any]) -> Callable[..., bool]:
    def accepts(*args: Any, **options: Any) -> bool:
        check(*args, **options)
        return True

    return accepts


def _a_point(conditions: list[Any]) -> bool:
    return sy.find_point(conditions) is not None


def _no_point(conditions: list[Any]) -> bool:
    return sy.find_point(conditions) is None


def regions_are(
    fn: Callable[..., Any], args: tuple[Any, ...], values: set[Any], where: tuple[Any, ...] = ()
) -> bool:
    """Return True if the function has these formulas, and no others, in its open regions."""
    regions = sy.explore(fn, *args, where=where)
    return {sp.sympify(region.value) for region in regions} == values


CHECKERS: dict[str, Callable[..., bool]] = {
    "equal": _no_error(sy.equal),
    "identity": sy.identity,
    "vanishes": sy.vanishes,
    "smt_valid": lambda *args, **options: bool(sy.smt_valid(*args, **options)),
    "require": _no_error(sy.require),
    "enumerate_rationals": _no_error(sy.enumerate_rationals),
    "a point": _a_point,
    "no point": _no_point,
    "explore": regions_are,
    "exact_sign": lambda number, sign: sy.exact_sign(number) == sign,
}


@rule
def guarded_division():
    for e in (x, x - 1, x + y, x**2 - 4, n - 2):
        for value in (sp.Integer(5), y):
            guarded = sp.Piecewise((1 / e, sp.Ne(e, 0)), (value, True))
            turned = sp.Piecewise((value, sp.Eq(e, 0)), (1 / e, True))
            yield True, "equal", (guarded, turned), {}
            yield False, "equal", (guarded, turned + sp.Piecewise((2, sp.Eq(e, 0)), (0, True))), {}
            yield False, "equal", (guarded, sp.Piecewise((1 / e, sp.Ne(e, 0)), (value + 2, True))), {}
    for e in (x, x - 1, x + y):
        inside = sp.Piecewise((sp.sqrt(e), e >= 0), (5, True))
        yield True, "smt_valid", ([e < 0], sp.Eq(inside, 5)), {}
        yield False, "smt_valid", ([e < 0], sp.Eq(inside, 7)), {}
        yield False, "smt_valid", ([e < 0], sp.Eq(inside, 7)), {"where_defined": True}
        nested = sp.Piecewise((sp.Piecewise((1 / (e - 1), sp.Ne(e, 1)), (2, True)), e > 0), (3, True))
        yield True, "smt_valid", ([sp.Eq(e, 1)], sp.Eq(nested, 2)), {}
        yield False, "smt_valid", ([sp.Eq(e, 1)], sp.Eq(nested, 3)), {"where_defined": True}


@rule
def undefined_parts():
    yield True, "smt_valid", ([sp.Ne(x, 0)], x**-2 > 0), {}
    yield False, "smt_valid", ([], x**-2 > 0), {}
    yield False, "smt_valid", ([sp.Ne(x, 0)], 1 / x > 0), {}
    yield True, "smt_valid", ([], sp.Implies(x > 0, 1 / x > 0)), {}
    yield False, "smt_valid", ([], sp.Implies(x >= 0, 1 / x > 0)), {}
    yield True, "smt_valid", ([], sp.Or(sp.Eq(x, 0), sp.Ne(1 / x, 0))), {}
    yield False, "smt_valid", ([], sp.And(sp.Ne(x, 0), 1 / x > 0)), {}
    yield True, "smt_valid", ([x >= 0], sp.sqrt(x) >= 0), {}
    yield False, "smt_valid", ([x >= -1], sp.sqrt(x) >= 0), {}
    yield True, "smt_valid", ([x > 1], sp.sqrt(1 - 1 / x) < 1), {}
    yield False, "smt_valid", ([x > 0], sp.sqrt(1 - 1 / x) < 1), {}
    yield True, "equal", (1 / x + 1 / y, (x + y) / (x * y)), {}
    yield False, "equal", (1 / x + 1 / y, 2 / (x + y)), {}
    yield False, "equal", (sp.sqrt(-1 - x**2), sp.sqrt(-1 - x**2)), {}
    yield False, "equal", (sp.Piecewise((x, x > 0)), x), {}
    yield True, "equal", (sp.Piecewise((x, x > 0)), x), {"where": [x > 0]}
    yield False, "smt_valid", ([], sp.Eq(sp.Piecewise((x, x > 0)), x)), {}


@rule
def branches():
    for c in NUMBERS:
        strict, weak = (sp.Piecewise((x - c, side), (1, True)) for side in (x > c, x >= c))
        yield False, "equal", (strict, weak), {}
        yield True, "equal", (strict, weak), {"where": [sp.Ne(x, c)]}
        meeting = sp.Piecewise((x - c, x > c), (0, True))
        yield True, "equal", (meeting, sp.Max(x, c) - c), {}
        yield False, "equal", (meeting, sp.Piecewise((x - c, x > c), (0, x < c), (1, True))), {}
        yield True, "vanishes", (meeting - sp.Max(x - c, 0),), {}
        yield False, "vanishes", (meeting - sp.Max(x - c, 0) + sp.Piecewise((1, sp.Eq(x, c)), (0, True)),), {}


@rule
def sign_of_roots():
    for c in NUMBERS:
        root = sp.sqrt((x - c) ** 2)
        yield True, "equal", (root, sp.Abs(x - c)), {}
        yield False, "equal", (root, x - c), {}
        yield True, "equal", (root, x - c), {"where": [x > c]}
        yield False, "equal", (root, x - c), {"where": [x > c - 1]}
        yield False, "smt_valid", ([sp.Eq((x - c) ** 2, 4)], sp.Eq(x, c + 2)), {}
        yield True, "smt_valid", ([sp.Eq((x - c) ** 2, 4), x > c], sp.Eq(x, c + 2)), {}
    yield False, "equal", (sp.sqrt(x) * sp.sqrt(y), sp.sqrt(x * y)), {}
    yield True, "smt_valid", ([x >= 0, y >= 0], sp.Eq(sp.sqrt(x) * sp.sqrt(y), sp.sqrt(x * y))), {}
    yield True, "equal", (sp.sqrt(p * (1 - p)) ** 3 / (1 - p), p * sp.sqrt(p * (1 - p))), {}
    yield False, "equal", (sp.sqrt(p * (1 - p)) ** 3 / (p - 1), p * sp.sqrt(p * (1 - p))), {}
    yield False, "equal", (sp.sqrt((1 - p) ** 2), 1 - p), {}
    yield True, "equal", (sp.sqrt((1 - p) ** 2), 1 - p), {"where": [p < 1]}


@rule
def strict_against_weak():
    bounded = (
        ([], x**2, sp.Integer(0)),
        ([], sp.Max(x, y), x),
        ([], sp.Abs(x), x),
        ([], sp.Abs(x) + sp.Abs(y), sp.Abs(x + y)),
        ([x >= 0, y >= 0], (x + y) / 2, sp.sqrt(x * y)),
        ([x >= 1], x, sp.Integer(1)),
        ([sp.Ne(x, 0)], x**2 + 1 / x**2, sp.Integer(2)),
        ([], sp.Min(x, 1), sp.Min(x, 1, y)),
    )
    for hypotheses, high, low in bounded:
        yield True, "smt_valid", (hypotheses, high >= low), {}
        yield False, "smt_valid", (hypotheses, high > low), {}
        yield True, "no point", ([*hypotheses, high < low],), {}
        yield False, "no point", ([*hypotheses, high <= low],), {}


@rule
def dropped_hypothesis():
    statements = (
        ([x > 1], x**2 > x),
        ([p < 1], p * (1 - p) > 0),
        ([x < y, z > 0], x * z < y * z),
        ([x > 0, y > 0], x * y > 0),
        ([sp.Ne(x, y)], (x - y) ** 2 > 0),
        ([x >= 0, x <= 1], x**2 <= x),
        ([x > 0, x < y], 1 / x > 1 / y),
        ([n > 1], n**2 > n),
        ([sp.Eq(x + y, 1), x > 0, y > 0], x * y <= sp.Rational(1, 4)),
    )
    for hypotheses, conclusion in statements:
        yield True, "smt_valid", (hypotheses, conclusion), {}
        if len(hypotheses) < 3:
            for i in range(len(hypotheses)):
                fewer = hypotheses[:i] + hypotheses[i + 1 :]
                yield False, "smt_valid", (fewer, conclusion), {"where_defined": True}


@rule
def reversed_implication():
    pairs = (
        (x > 2, x > 1),
        (sp.Eq(x, y), sp.Eq(x**2, y**2)),
        (sp.And(x > 0, y > 0), x * y > 0),
        (sp.Eq(x, 0), sp.Eq(x * y, 0)),
        (x > 1, x**2 > 1),
        (sp.Eq(sp.Abs(x - y), 0), x >= y),
        (n > 4, n >= 3),
    )
    for premise, conclusion in pairs:
        yield True, "smt_valid", ([premise], conclusion), {}
        yield False, "smt_valid", ([conclusion], premise), {}
        yield True, "smt_valid", ([], sp.Implies(premise, conclusion)), {}
        yield False, "smt_valid", ([], sp.Equivalent(premise, conclusion)), {}


@rule
def extrema_swapped():
    pairs = (
        (sp.Max(x, y) + sp.Min(x, y), x + y),
        (sp.Max(x, -x), sp.Abs(x)),
        (sp.Max(x, y), (x + y + sp.Abs(x - y)) / 2),
        (sp.Max(x, y, 1), sp.Max(x, sp.Max(y, 1))),
        (-sp.Max(-x, -y), sp.Min(x, y)),
    )
    for left, right in pairs:
        yield True, "equal", (left, right), {}
        yield False, "equal", (left.subs(sp.Max(*left.atoms(sp.Max).pop().args), 0), right), {}
        swapped = left.replace(sp.Max, lambda *args: sp.Min(*args))
        yield False, "identity", (swapped, right), {}
        yield False, "equal", (swapped, right), {"where": [x > y - 1]}


@rule
def absolute_value_dropped():
    for left, right in (
        (sp.Abs(x * y), sp.Abs(x) * sp.Abs(y)),
        (sp.Abs(x) ** 2 * y, x**2 * y),
        (sp.Abs(x - y), sp.Abs(y - x)),
        (sp.Abs(x) / (1 + sp.Abs(x)), 1 - 1 / (1 + sp.Abs(x))),
    ):
        yield True, "equal", (left, right), {}
        bare = left.replace(sp.Abs, lambda e: e)
        if sp.expand(bare - right.replace(sp.Abs, lambda e: e)) != 0 or right.has(sp.Abs):
            yield False, "equal", (bare, right), {}
    for power in (2, 3, 4, 5):
        yield power % 2 == 0, "equal", (sp.Abs(x) ** power, x**power), {}
        yield power % 2 == 0, "smt_valid", ([], x**power >= 0), {}
        yield power % 2 == 1, "smt_valid", ([x < y], x**power < y**power), {}
        yield power % 2 == 0, "no point", ([x**power < 0],), {}


@rule
def boundary_of_a_clip():
    for low, high in ((Half, sp.Rational(3, 2)), (sp.Rational(4, 5), sp.Rational(32, 25))):
        clipped = sp.Min(high, sp.Max(low, rho))
        surrogate = sp.Min(rho * A, clipped * A)
        for sign, right, wrong in (
            (A > 0, A * sp.Min(rho, high), A * sp.Min(rho, low)),
            (A < 0, A * sp.Max(rho, low), A * sp.Max(rho, high)),
        ):
            yield True, "smt_valid", ([sign], sp.Eq(surrogate, right)), {}
            yield False, "smt_valid", ([sign], sp.Eq(surrogate, wrong)), {}
            yield False, "smt_valid", ([], sp.Eq(surrogate, right)), {}
            yield True, "equal", (surrogate, right), {"where": [sign]}
            yield (
                False,
                "equal",
                (surrogate, right + sp.Piecewise((1, sp.Eq(rho, high)), (0, True))),
                {"where": [sign]},
            )
        yield True, "smt_valid", ([rho > high], sp.Eq(clipped, high)), {}
        yield False, "smt_valid", ([rho > low], sp.Eq(clipped, high)), {}
        slope = sp.Piecewise((A, rho <= high), (0, True))
        yield False, "equal", (slope, sp.Piecewise((A, rho < high), (0, True))), {}
