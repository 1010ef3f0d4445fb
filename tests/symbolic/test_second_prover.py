"""The second prover reads each operation, connective and assumption as it is meant, and statements their ranges."""

import itertools

import pytest
import sympy as sp
import z3

from gradvar.symbolic import smt_valid
from gradvar.symbolic.claims.statement import above, between, whole
from gradvar.symbolic.decide.smt import _check, _near, _point
from gradvar.symbolic.decide.translate import Translator

x, y = sp.symbols("x y", real=True)

PIECES = [sp.Abs(x), sp.sign(x), sp.Max(x, y, 1), sp.Min(x, y, 1), x * y / 2, 3 * x - y, x**3, sp.sqrt(x**2 + 1),
          x / (y**2 + 2), sp.Piecewise((x, x < y), (y, x < 1), (7, True)), (x**2 + 4) ** sp.Rational(3, 2),
          1 / sp.sqrt(x**2 + 9)]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES, ids=str)
def test_the_second_prover_reads_every_operation(piece):
    """At points that are handed over as hypotheses, each operation has its value and no other."""
    for place in ({x: 0, y: 0}, {x: sp.Rational(3, 2), y: -2}, {x: -4, y: sp.Rational(1, 3)}, {x: 1, y: 1}):
        here = [sp.Eq(s, v, evaluate=False) for s, v in place.items()]
        value = piece.subs(place)
        assert smt_valid(here, sp.Eq(piece, value, evaluate=False))
        assert not smt_valid(here, sp.Eq(piece, value + sp.Rational(1, 7), evaluate=False))


CONNECTIVES = {
    "and": lambda a, b: sp.And(a, b), "or": lambda a, b: sp.Or(a, b), "not": lambda a, b: sp.Not(sp.And(a, b)),
    "implies": lambda a, b: sp.Implies(a, b), "alike": lambda a, b: sp.Equivalent(a, b),
    "choice": lambda a, b: sp.ITE(a, b, x + y > 3),
}  # fmt: skip


@pytest.mark.parametrize("name", CONNECTIVES)
def test_the_second_prover_reads_every_connective(name):
    statement = CONNECTIVES[name](x > 1, y > 1)
    for place in itertools.product((0, 4), repeat=2):
        here = [sp.Eq(s, v, evaluate=False) for s, v in zip((x, y), place, strict=True)]
        assert bool(smt_valid(here, statement)) is bool(statement.subs(dict(zip((x, y), place, strict=True))))


def test_points_near_what_the_second_prover_found():
    """Irrational numbers to twenty digits, whole ones as they are."""
    whole_number = sp.Symbol("m", integer=True)
    translator = Translator(z3)
    wanted = (sp.Eq(x**2, 2), x > 0, sp.Eq(whole_number, 3))
    model = _check(translator, [translator.boolean(w).value for w in wanted], 5.0)
    assert _point(translator, model) is None
    for point in _near(translator, model):
        assert abs(point[x] ** 2 - 2) < sp.Rational(1, 10**15)
        assert point[whole_number] == 3


WHOLE, EVEN = {"integer": True}, {"even": True}
MEANT = [
    ({"positive": True}, lambda s: s > 0),
    ({"negative": True}, lambda s: s < 0),
    ({"nonnegative": True}, lambda s: s >= 0),
    ({"nonpositive": True}, lambda s: s <= 0),
    ({"nonzero": True}, lambda s: sp.Ne(s, 0)),
    ({"zero": True}, lambda s: sp.Eq(s, 0)),
    (WHOLE | {"positive": True}, lambda s: s >= 1),
    (WHOLE | {"negative": True}, lambda s: s <= -1),
    (WHOLE | {"nonzero": True}, lambda s: sp.Or(s >= 1, s <= -1)),
    (WHOLE | {"nonnegative": True}, lambda s: s >= 0),
    (EVEN | {"positive": True}, lambda s: s >= 2),
    (EVEN | {"negative": True}, lambda s: s <= -2),
    (EVEN | {"nonzero": True}, lambda s: sp.Or(s >= 2, s <= -2)),
]


@pytest.mark.parametrize(("assumed", "follows"), MEANT, ids=[" ".join(assumed) for assumed, _ in MEANT])
def test_what_a_symbol_is_follows_and_nothing_more(assumed, follows):
    translator = Translator(z3)
    assumed_symbol, stand_in = sp.Symbol("s", real=True, **assumed), sp.Symbol("t", real=True)
    variable, solver = translator.real(assumed_symbol).value, z3.Solver()
    meant = translator.boolean(follows(stand_in)).value
    meant = z3.substitute(meant, (translator.real(stand_in).value, variable))
    solver.add(z3.And(*translator.assumptions()) != meant)  # the two are one
    assert solver.check() == z3.unsat


def test_finite_and_open_ranges_of_a_statement():
    for domain, inside, outside in (
        (whole(2, 5), (2, 3, 5), (1, 6, sp.Rational(5, 2))),
        (whole(2), (2, 100), (1, sp.Rational(5, 2))),
        (between(0, 1), (sp.Rational(1, 2),), (0, 1, -1, 2)),
        (between(0, 1, closed=True), (0, sp.Rational(1, 2), 1), (-1, 2)),
        (above(1), (2, sp.Rational(3, 2)), (1, 0)),
        (above(1, closed=True), (1, 2), (0,)),
    ):
        for values, wanted in ((inside, True), (outside, False)):
            for value in values:
                assert domain.contains(value) is wanted
                if sp.sympify(value).is_integer or not domain.whole:
                    stated = [r.subs(x, value) for r in domain.relations(x)]
                    assert all(relation == sp.true for relation in stated) is wanted
    assert (whole(2, 5).values, whole(2).values) == ((2, 3, 4, 5), ())
