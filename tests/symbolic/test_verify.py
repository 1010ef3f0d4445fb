"""Identities, SMT, regions, expectations: each accepts a truth, rejects its neighbour, and agrees with brute
force."""

import itertools

import jax.numpy as jnp
import pytest
import sympy as sp

from gradvar.symbolic import (
    Rejected,
    SymbolicBandit,
    Undecided,
    Vacuous,
    centred_score_moments,
    enumerate_rationals,
    equal,
    explore,
    find_point,
    group_moments,
    identity,
    mixture,
    over_binomial,
    over_binomial_symbolic,
    over_rollouts,
    prompt_weight,
    require,
    smt_valid,
    symbols,
    vanishes,
)
from gradvar.symbolic.claims.decision import decide

x, y = sp.symbols("x y", real=True)
p = sp.Symbol("p", positive=True)
G, k = sp.symbols("G k", positive=True)


@pytest.mark.parametrize(
    ("lhs", "rhs"),
    [
        ((x + y) ** 3, x**3 + 3 * x**2 * y + 3 * x * y**2 + y**3),
        (1 / (1 + sp.exp(-x)), sp.exp(x) / (1 + sp.exp(x))),
        (sp.sqrt(p * (1 - p)) ** 3 / (1 - p), p * sp.sqrt(p * (1 - p))),
        (sp.exp(x + y) - sp.exp(x) * sp.exp(y), sp.Integer(0)),
        (sp.log(6), sp.log(2) + sp.log(3)),
        (sp.Abs(x) ** 2, x**2),
        (sp.Max(x, y) + sp.Min(x, y), x + y),
        (sp.binomial(G, 2), G * (G - 1) / 2),
    ],
)
def test_identities_are_proved_and_their_neighbours_rejected(lhs, rhs):
    assert identity(lhs, rhs)
    assert not identity(lhs, rhs + sp.Rational(1, 10**6))
    with pytest.raises(Rejected, match="differ"):
        equal(lhs, rhs * (1 + sp.Rational(1, 10**5)) + sp.Rational(1, 10**5), "neighbour")


def test_where_makes_a_conditional_identity():
    equal(sp.Abs(x), x, where=[x > 0])
    with pytest.raises(Rejected):
        equal(sp.Abs(x), x, where=[x < 1])


def test_vanishes_does_not_accept_a_small_number():
    assert not vanishes(sp.Rational(1, 10**30))


def test_require_refuses_an_open_relation():
    with pytest.raises(Undecided):
        require(x > y, "open")


@pytest.mark.parametrize(
    ("hypotheses", "conclusion", "valid"),
    [
        ([x > 0, y > 0], (x + y) / 2 >= sp.sqrt(x * y), True),
        ([x > 0, y > 0], (x + y) / 2 > sp.sqrt(x * y), False),
        ([], sp.Max(x, y) >= sp.Min(x, y), True),
        ([], sp.Abs(x + y) <= sp.Abs(x) + sp.Abs(y), True),
        ([], sp.Abs(x + y) >= sp.Abs(x) + sp.Abs(y), False),
        ([sp.Ne(y, 0)], sp.Eq(x / y * y, x), True),
        ([], sp.Piecewise((x, x > 0), (-x, True)) >= 0, True),
    ],
)
def test_smt(hypotheses, conclusion, valid):
    answer = smt_valid(hypotheses, conclusion)
    assert bool(answer) is valid
    if answer.point is not None:
        assert sp.sympify(conclusion).subs(answer.point) == sp.false


@pytest.mark.parametrize("conclusion", [x / y >= x / y, sp.sqrt(x) >= 0])
def test_smt_does_not_assume_what_was_not_said(conclusion):
    with pytest.raises(ValueError, match="hypotheses"):
        (
            smt_valid([], conclusion)
            if conclusion not in (sp.true,)
            else smt_valid([], sp.Eq(1 / y, 1 / y + 0 * x, evaluate=False))
        )


def test_find_point():
    point = find_point([x > 1, x * y < -3, y > -2])
    assert point[x] > 1
    assert point[x] * point[y] < -3
    assert find_point([x > 1, x < 0]) is None


def test_regions_are_complete_and_right():
    v = symbols("v", (2,))
    computed = explore(lambda v: jnp.maximum(v[0], 0.5) * jnp.where(v[1] > v[0], 1.0, -1.0), v)
    for a, b in itertools.product((-1, sp.Rational(1, 4), 2), (sp.Rational(-3, 2), sp.Rational(1, 3), 3)):
        place = {v[0]: sp.sympify(a), v[1]: sp.sympify(b)}
        local = [r for r in computed if all(c.subs(place) for c in r.conditions)]
        assert len(local) == 1
        assert sp.sympify(local[0].value).subs(place) == max(a, sp.Rational(1, 2)) * (1 if b > a else -1)


def test_binomial_expectations():
    value = over_binomial_symbolic(k**3 - 2 * k, k, G, p)
    for n in (1, 2, 5):
        assert identity(value.subs(G, n), over_binomial(lambda j: j**3 - 2 * j, n, p))
        assert not identity(value.subs(G, n), over_binomial(lambda j: j**3 - j, n, p))


def test_over_rollouts_agrees_with_enumeration():
    bandit = SymbolicBandit(["1/4", "3/4"], [1, 0], scores=[[sp.Rational(3, 4)], [-sp.Rational(1, 4)]])
    q, g = bandit.value, bandit.gradient[0]
    moment = centred_score_moments(q, g, sp.Rational(9, 16), sp.Rational(1, 16))
    R, S, RS = sp.symbols("R S RS")
    sums = {R: {"r": 1}, S: {"s": 1}, RS: {"r": 1, "s": 1}}
    estimator = (RS - R * S / G) / G
    for n in (2, 3):
        moments = group_moments(bandit, n, lambda r: [(v - sp.Add(*r) / len(r)) / len(r) for v in r])
        assert identity(over_rollouts(estimator, sums, G, moment).subs(G, n), moments.mean[0])
        assert identity(over_rollouts(estimator**2, sums, G, moment).subs(G, n), moments.second)


def test_prompt_weight_agrees_with_enumeration():
    bandit = SymbolicBandit(["1/3", "1/2", "1/6"], [1, 0, 0])
    advantages = lambda j: (sp.Integer(2) - j, sp.Rational(-j, 3))  # noqa: E731
    w = prompt_weight(advantages, 3, p).subs(p, sp.Rational(1, 3))
    moments = group_moments(bandit, 3, lambda r: [advantages(int(sp.Add(*r)))[0 if v else 1] / 3 for v in r])
    equal(moments.mean, [w * g for g in bandit.gradient])


def test_mixture_has_the_law_of_total_variance():
    parts = [
        group_moments(
            SymbolicBandit([q, 1 - sp.Rational(q)], [1, 0], scores=[[1 - sp.Rational(q)], [-sp.Rational(q)]]),
            1,
            lambda r: r,
        )
        for q in ("1/2", "1/4")
    ]
    between = (parts[0].mean[0] - parts[1].mean[0]) ** 2 / 4
    assert mixture(parts).trace_cov == (parts[0].trace_cov + parts[1].trace_cov) / 2 + between


def test_probabilities_must_sum_to_one():
    with pytest.raises(ValueError, match="sum to"):
        SymbolicBandit(["1/2", "1/3"], [1, 0])


def test_enumeration_names_the_case_that_fails():
    with pytest.raises(Rejected, match="fails at 2"):
        enumerate_rationals(lambda n: n < 2, range(4), what="small")
    with pytest.raises(ValueError, match="no case"):
        enumerate_rationals(lambda n: True, [])


def test_symbols_of_one_name_are_two_variables_to_the_second_prover():
    any_sign, above = sp.Symbol("t", real=True), sp.Symbol("t", positive=True)
    assert not smt_valid([above > 1], any_sign > 0)
    assert smt_valid([any_sign > above], any_sign > 0)


def test_a_point_of_a_thin_domain_is_asked_from_the_solver():
    thin = [x**2 + y**2 <= sp.Rational(1, 10**6), x > sp.Rational(1, 2000), p > 1]
    equal(sp.Max(x, 0) * k, x * k, where=thin)
    with pytest.raises(Rejected):
        equal(sp.Max(x, 0) * k, -x * k, where=thin)


@pytest.mark.parametrize("wrong", [{"size": -1}, {"size": 0}])
def test_empty_expectations_prove_nothing(wrong):
    with pytest.raises(ValueError, match="size"):
        prompt_weight(lambda j: (1, 0), wrong["size"], p)
    with pytest.raises(ValueError, match="parts"):
        mixture([])
    with pytest.raises(ValueError, match="group"):
        group_moments(SymbolicBandit(["1/2", "1/2"], [1, 0]), wrong["size"], lambda r: r)
    with pytest.raises(ValueError, match="negative"):
        SymbolicBandit(["3/2", "-1/2"], [1, 0])
    with pytest.raises(ValueError, match="one of each"):
        SymbolicBandit(["1/2", "1/2"], [1, 0], scores=[[1], [1, 2]])


def test_a_region_lies_inside_the_assumptions_of_every_symbol():
    below, count = sp.Symbol("b", negative=True), sp.Symbol("c", integer=True, even=True, positive=True)
    (region,) = explore(lambda b, c: jnp.where(b * c < 0, b, c), below, count)
    assert region.value == below
    assert region.point == {below: -1, count: 2}


def test_a_case_that_the_premises_exclude_is_nothing_to_prove():
    impossible_case = sp.Implies(x < 0, sp.Eq(x, 1))
    decide(impossible_case, {}, [x > 0], "the case")
    with pytest.raises(Vacuous):
        decide(impossible_case, {}, [x > 0, x < -1], "the case")
    with pytest.raises(Rejected):
        decide(sp.Implies(x < 2, sp.Eq(x, 1)), {}, [x > 0], "the case")
