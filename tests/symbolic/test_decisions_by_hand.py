"""Decisions about numbers, each worked out by hand: within a tolerance, at infinity, of letters for logarithms."""

import itertools
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp
import z3

from gradvar.symbolic import Rejected
from gradvar.symbolic.analyse import objective
from gradvar.symbolic.analyse.display import readable
from gradvar.symbolic.analyse.laws import _nonzero_point
from gradvar.symbolic.certify.letters import Letters
from gradvar.symbolic.claims.decision import _stated, decide, evaluated, require_close
from gradvar.symbolic.claims.ledger import order, same_claim
from gradvar.symbolic.claims.obligations import _complaints_about
from gradvar.symbolic.decide.equality import _is_zero, _reduce_roots
from gradvar.symbolic.decide.points import _SQUARES
from gradvar.symbolic.decide.smt import _check, _near, _point
from gradvar.symbolic.decide.translate import Translator
from gradvar.symbolic.read.evaluate import ExactValues
from gradvar.symbolic.read.intervals import UNDEFINED, UNKNOWN
from gradvar.symbolic.read.numbers import Undecided, _vanishes
from gradvar.symbolic.read.reader import Comparisons
from gradvar.symbolic.read.trace import Witness

x, y = sp.symbols("x y", real=True)
RELATIONS = {"==": sp.Eq, "!=": sp.Ne, "<": sp.Lt, "<=": sp.Le, ">": sp.Gt, ">=": sp.Ge}


@pytest.mark.parametrize("operator", RELATIONS)
def test_a_relation_of_floats_holds_up_to_the_tolerance_or_by_more_than_it(operator):
    for gap in (-2e-3, -0.5e-3, 0.5e-3, 2e-3):
        holds = {
            "==": abs(gap) < 1e-3, "!=": abs(gap) > 1e-3, "<": gap < -1e-3, "<=": gap < 1e-3, ">": gap > 1e-3,
            ">=": gap > -1e-3,
        }[operator]  # fmt: skip
        stated = (RELATIONS[operator](x, y), {x: 5.0 + gap, y: 5.0}, 1e-3, "here")
        if holds:
            require_close(*stated)
        else:
            with pytest.raises(Rejected, match=r"false within 0\.001"):
                require_close(*stated)


@pytest.mark.parametrize("operator", RELATIONS)
def test_a_relation_of_exact_numbers_is_decided(operator):
    places = [-sp.oo, -sp.sqrt(2), sp.Integer(0), sp.sqrt(2), sp.oo]
    compared = {"==": "__eq__", "!=": "__ne__", "<": "__lt__", "<=": "__le__", ">": "__gt__", ">=": "__ge__"}
    for (i, a), (j, b) in itertools.product(enumerate(places), repeat=2):
        holds = getattr(i, compared[operator])(j)
        relation = RELATIONS[operator](x, y)
        if holds:
            assert decide(relation, {x: a, y: b}, [], "here")
        else:
            with pytest.raises(Rejected, match="here"):
                decide(relation, {x: a, y: b}, [], "here")
        if a.is_finite and b.is_finite:
            assert evaluated(relation, {x: a, y: b}) == sp.sympify(holds)


def test_signs_at_infinity_are_units():
    read = Comparisons()
    assert [read.sign(a, b) for a, b in ((sp.oo, x), (x, sp.oo), (-sp.oo, x), (x, -sp.oo))] == [1, -1, -1, 1]
    assert [read.signum(a) for a in (sp.oo, -sp.oo, sp.pi, -sp.pi)] == [1, -1, 1, -1]
    negative = sp.Symbol("n", negative=True)
    assert (read.signum(negative), read.absolute(negative)) == (-1, -negative)


def test_logarithms_are_multiples_of_those_of_primes():
    letters = Letters(str)
    assert letters.logarithm(sp.Rational(1, 2)) == "((- 1) * ln2)"
    assert letters.logarithm(sp.Rational(9, 8)) == "((2 * ln3) + ((- 3) * ln2))"
    assert letters.logarithm(sp.Integer(7)) == "ln7"
    assert letters.logarithm(sp.E) == "1"
    assert list(letters.premises()) == ["0 < ln2", "ln2 < ln3", "ln3 < ln7"]
    product = Letters(str)
    assert product.logarithm(2 * x**2 / y) == "(ln2 + (2 * ln_0) + ((- 1) * ln_1))"
    assert list(product.shown) == ["(2*x**2/y = (2 * x**2 * 1/y))", "(0 < x)", "(0 < y)"]
    power = Letters(str)
    k = sp.Symbol("k", integer=True, nonnegative=True)
    assert power.power(x, 2 * k - 3) == "((pow0 ^ 2) * x**(-3))"
    assert power.power(x, -k) == "((/ pow0) * 1)"
    assert power.power(x, k + 1) == "(pow0 * x)"


def test_the_name_of_a_claim_without_its_letter_means_all_its_parts():
    names = ["A2", "A11", "A11a", "A11b", "B1"]
    assert [n for n in names if same_claim(n, "a11")] == ["A11", "A11a", "A11b"]
    assert [n for n in names if same_claim(n, "A11a")] == ["A11a"]
    assert [n for n in names if same_claim(n, "A1")] == []
    assert same_claim("AB12a", "ab12")
    assert same_claim("lemma", "Lemma")
    assert not same_claim("lemma", "lemm")
    assert not same_claim("1ab", "1a")
    assert order("C3b") == ("C", 3, "b")
    assert order("3b") == ("3b", 0, "")


def test_a_condition_is_read_with_its_first_symbol_alone():
    assert readable(5 * x - 4 > 0) == "x > 4/5"
    assert readable(1 - 2 * x > 0) == "x < 1/2"
    assert readable(y - x <= 0) == "x >= y"
    assert readable(sp.Eq(3 - x, 0)) == "x = 3"
    assert readable(x**2 - y > 0) == "x**2 - y > 0"


def test_the_second_prover_is_given_seconds_and_every_symbol_a_place():
    asked = {}
    answers = SimpleNamespace(
        set=asked.__setitem__,
        add=lambda *stated: None,
        check=lambda: "unknown",
        reason_unknown=lambda: "timeout",
    )
    prover = SimpleNamespace(
        Solver=lambda: answers, SolverFor=lambda logic: answers, unknown="unknown", sat="sat"
    )
    with pytest.raises(Undecided, match=r"gave up after 2\.5 s"):
        _check(SimpleNamespace(z3=prover, integers=False), [], 2.5)
    assert asked == {"timeout": 2500}
    translator = Translator(z3)
    stated, free = translator.boolean(sp.Gt(x, 3)).value, translator.real(y).value
    assert free is not None
    model = _check(translator, [stated], 5.0)
    near = _near(translator, model)
    assert len(near) == 2
    for point in (*near, _point(translator, model)):
        assert point[x] > 3
        assert y in point


def test_squares_of_roots_are_reduced():
    root = sp.sqrt(x**2 + 1)
    for power in (2, 3, 4, 5):
        assert _reduce_roots((root + y) ** power - sp.expand((root + y) ** power)) == 0
        assert _reduce_roots(root**power - (x**2 + 1) ** (power // 2) * root ** (power % 2)) == 0
        assert _reduce_roots((root + y) ** power - y**power) != 0


def test_a_part_without_a_value_leaves_none():
    z = sp.Symbol("z", real=True)  # of which nothing is known here
    here = ExactValues({x: sp.Integer(-1)})
    for lacking, why in ((sp.log(x), UNDEFINED), (z, UNKNOWN)):
        for whole in (
            lacking + 2,
            2 * lacking,
            lacking**3,
            sp.Integer(2) ** lacking,
            sp.Max(lacking, 5),
            sp.sin(lacking),
        ):
            assert here.value(whole) is why
    assert here.value(z ** sp.log(x)) is UNDEFINED


def test_a_law_fails_where_any_of_its_entries_does():
    assert _nonzero_point(lambda v: jnp.stack([v - v, 0 * v]), (x,)) is None
    for entries in (lambda v: [v - v, v], lambda v: [v, v - v], lambda v: [v - v, v - v, 2 * v]):
        point = _nonzero_point(lambda v, entries=entries: jnp.stack(entries(v)), (x,))
        assert point[x] != 0


def test_a_derivative_that_is_still_to_be_taken_is_handed_on():
    assert _stated(sp.Eq(sp.Derivative(x * y, x), y), {y: 3})[1] == ""
    assert (
        _stated(sp.Eq(sp.Derivative(x * y, x), sp.Limit(y, y, 1)), {})[1]
        == "a limit by SymPy, a derivative by SymPy"
    )


def test_a_mean_that_the_exact_engine_does_not_have_is_an_error(monkeypatch):
    """The first component of w(1/3) grad p, p = 1/3, is 2/9 w."""
    p = sp.Symbol("p", positive=True)

    def notes(off):
        answer = SimpleNamespace(mean=np.array([2 / 9, -2 / 9]) + off)
        monkeypatch.setattr(objective, "engine", lambda *given: answer)
        return objective._engine_note(lambda logp, batch: logp.sum(), 3 * p)

    assert "the exact engine agrees" in notes(0.0)[0]
    assert "the exact engine agrees" in notes(0.9e-9)[0]
    for off in (1.1e-9, 1e-3, np.nan):
        with pytest.raises(ValueError, match="is the objective pure"):
            notes(off)
    assert "depends on more than p" in objective._engine_note(None, 3 * x)[0]


def test_a_goal_needs_two_routes_and_a_lemma_one():
    for routes, kind, complains in (
        (("sympy",), "goal", True), (("sympy", "smt"), "goal", False), (("sympy", "smt", "enumeration"), "goal", False),
        (("sympy", "sympy"), "goal", True), (("sympy", "counterexample"), "goal", True), (("sympy",), "lemma", False),
    ):  # fmt: skip
        steps = {f"step {i}": route for i, route in enumerate(routes)}
        obligation = SimpleNamespace(kind=kind, name="here", steps=steps, refuted=False, left_out=[])
        found = _complaints_about(obligation, None)
        assert found == (
            ["goal 'here': one route alone, sympy; another has to show the same"] if complains else []
        )


def test_algebra_proves_zero_and_nothing_else():
    nested = sp.sqrt(2) + sp.sqrt(3) - sp.sqrt(5 + 2 * sp.sqrt(6))
    assert all(_vanishes(number) for number in (sp.sqrt(8) - 2 * sp.sqrt(2), nested, 1 / nested**-1))
    assert not any(_vanishes(number) for number in (sp.sqrt(2) - 1, nested + 1, sp.exp(1) - sp.pi))


def test_squares_that_are_drawn_are_squares():
    assert all(sp.sqrt(sp.Rational(v.numerator, v.denominator)).is_rational for v in _SQUARES)


def test_a_witness_multiplies_signs_of_factors_that_it_decides_once():
    """Of an even power the sign is one, whatever that of its base; x - y and y - x are one decision."""
    place = {x: sp.Integer(-2), y: sp.Integer(3)}
    for expression, sign in (
        (x, -1), (x**2, 1), (x**3, -1), (x**4 * y, 1), (x**2 * y, 1), (x**2 * y**2 * (x - 1), -1),
        (x**3 * (y - 5) ** 3, 1),
        ((x - y) * (y - x), -1), ((x - y) ** 3 / (y - x) ** 2, -1), (-2 * (1 - x) ** 2 * (x - 1), 1), (x + 2, 0),
        ((x + 2) ** 2 * y, 0), (y / x, -1), (-3 * x / y**2, 1),
    ):  # fmt: skip
        assert Witness(place)(expression) == sign, expression
    decided = Witness(place)
    for expression in ((x - y) ** 3, (y - x) ** 2, 2 * y - 2 * x, (x - y) * (y - x)):
        decided(expression)
    assert len(decided.signs) == 1
    assert len(decided.conditions) == 1


def test_factorials_and_binomials_cancel():
    k = sp.Symbol("k", integer=True, positive=True)
    for expression in (
        sp.factorial(k + 1) / sp.factorial(k) - k - 1,
        sp.binomial(k + 2, k) - (k + 1) * (k + 2) / 2,
        sp.ff(k + 2, 2) - (k + 2) * (k + 1),
        sp.gamma(k + 2) / sp.gamma(k) - k * (k + 1),
    ):
        assert _is_zero(expression)
        assert not _is_zero(expression + 1)
        assert not _is_zero(expression + k)
