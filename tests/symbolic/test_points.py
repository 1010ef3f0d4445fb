"""Points at which statements are looked at: inside every assumption, in general position, on boundaries and beside."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import sympy as sp

from gradvar.symbolic import (
    Rejected,
    SymbolicBandit,
    explore,
    find_point,
    group_moments,
    mixture,
    over_binomial,
    over_rollouts,
)
from gradvar.symbolic.analyse.laws import binary_laws
from gradvar.symbolic.certify.certificate import _point_where_false, certificate
from gradvar.symbolic.decide.enumerate import weights_of
from gradvar.symbolic.decide.expectation import centred_score_moments, falling, partitions
from gradvar.symbolic.decide.points import admits, ordinary_value, samples
from gradvar.symbolic.group import engines_agree
from gradvar.symbolic.read.decided import Decided

x, y = sp.symbols("x y", real=True)
p = sp.Symbol("p", positive=True)
n = sp.Symbol("n", integer=True, positive=True)

BOUNDARIES = {  # what is zero there
    "a quotient": (1 / (x - 2), x - 2),
    "a power below zero": ((x + y) ** -3, x + y),
    "a root": (sp.sqrt(3 * x - 1), 3 * x - 1),
    "a cubic root": ((x - y) ** sp.Rational(1, 3), x - y),
    "a maximum": (sp.Max(x, 2 * y), x - 2 * y),
    "a minimum of three": (sp.Min(x, y, 5), x - y),
    "an absolute value": (sp.Abs(x + 3), x + 3),
    "a sign": (sp.sign(2 * x - y), 2 * x - y),
    "a logarithm": (sp.log(x + sp.Rational(1, 2)), x + sp.Rational(1, 2)),
    "a step": (sp.Heaviside(x - 7), x - 7),
    "a floor": (sp.floor(x), x - 1),
    "a ceiling": (sp.ceiling(x / 3), x / 3 - 1),
    "a branch": (sp.Piecewise((x, x > 4), (y, True)), x - 4),
    "a relation": (sp.Ge(x, 9), x - 9),
    "a square": (sp.sqrt(x**2 - 4), x**2 - 4),
    "a parabola": (1 / (2 * x**2 - 3 * x + 1), 2 * x**2 - 3 * x + 1),
}


@pytest.mark.parametrize("name", BOUNDARIES)
def test_boundaries_are_visited_and_both_sides_close_to_them(name):
    statement, critical = BOUNDARIES[name]
    values = [critical.subs(sample.point) for sample in samples([statement])]
    assert 0 in values
    assert any(0 < value < sp.Rational(1, 20) for value in values)
    assert any(0 > value > -sp.Rational(1, 20) for value in values)
    on = [s for s in samples([statement]) if critical.subs(s.point) == 0]
    assert any(not s.general for s in on)


def test_both_roots_of_a_parabola_are_visited():
    seen = {s.point[x] for s in samples([1 / (2 * x**2 - 3 * x + 1)])}
    assert {sp.Rational(1, 2), sp.Integer(1)} <= seen
    assert {sp.Integer(2), sp.Integer(-2)} <= {s.point[x] for s in samples([sp.sqrt(x**2 - 4)])}
    points = [s.point for s in samples([sp.Max(x, n - 4)])]  # a whole number moves in whole steps
    assert all(point[n].is_integer for point in points)


ASSUMED = [
    dict(positive=True), dict(negative=True), dict(nonnegative=True), dict(nonpositive=True), dict(nonzero=True),
    dict(integer=True, positive=True), dict(integer=True), dict(integer=True, even=True), dict(integer=True, odd=True),
    dict(integer=True, odd=True, positive=True), dict(integer=True, even=True, negative=True), dict(zero=True),
]  # fmt: skip


@pytest.mark.parametrize("assumed", ASSUMED, ids=str)
def test_points_have_what_their_symbol_has(assumed):
    symbol = sp.Symbol("s", real=True, **assumed)
    points = [s.point[symbol] for s in samples([symbol * x])]
    assert points
    for point in (*points, ordinary_value(symbol)):
        assert all(getattr(point, f"is_{name}") is wanted for name, wanted in assumed.items())
        assert admits(symbol, point)
    opposites = [-1, sp.Rational(1, 2)] if "positive" in assumed and "integer" in assumed else []
    assert not any(admits(symbol, sp.sympify(v)) for v in opposites)


def test_ordinary_values_are_the_simplest_that_are_admitted():
    values = [ordinary_value(sp.Symbol("s", real=True, **a)) for a in ASSUMED]
    assert values == [1, -1, 1, -1, 1, 1, 1, 2, 1, 1, -2, 0]


def test_random_points_differ_in_size_and_sign_and_are_the_same_each_time():
    points = [s.point for s in samples([x * y]) if s.general]
    assert len(points) == 6
    assert points == [s.point for s in samples([x * y]) if s.general]
    assert len({tuple(point.values()) for point in points}) == 6
    values = [abs(v) for point in points for v in point.values()]
    assert min(values) < sp.Rational(1, 2)
    assert max(values) > 10
    assert {sp.sign(v) for point in points for v in point.values()} == {-1, 1}
    assert any(s.general for s in samples([x], [x > 0, x < sp.Rational(1, 5000)]))
    corners = [s.point for s in samples([x * y]) if not s.general]
    for corner in (
        (0, 0),
        (1, 1),
        (sp.Rational(1, 2),) * 2,
        (-1, -1),
        (2, 2),
        (0, 1),
        (1, sp.Rational(1, 2)),
    ):
        assert dict(zip((x, y), corner, strict=True)) in corners


def test_small_whole_numbers_are_no_general_position():
    general = [s.point[n] for s in samples([n * x]) if s.general]
    assert general
    assert min(general) >= 11
    assert {1, 2, 3} <= {s.point[n] for s in samples([n * x])}


def test_hypotheses_hold_at_every_point_and_equations_are_moved_onto():
    where = [x > 1, sp.Eq(x + y, 5)]
    points = samples([x * y], where)
    assert len([s for s in points if s.general]) >= 3
    for sample in points:
        assert sample.point[x] > 1
        assert sample.point[x] + sample.point[y] == 5
    assert samples([x], [x > 1, x < 0]) == []
    (only,) = samples([sp.Integer(1)])
    assert only.point == {}
    assert samples([sp.Integer(1)], [sp.false]) == []
    seeded = samples([x * y], [x > 1000], [{x: sp.Integer(2000)}])
    assert seeded[0].point[x] == 2000
    assert y in seeded[0].point


def test_a_large_statement_is_looked_at_in_half_as_many_places():
    def general(statement):
        return sum(sample.general for sample in samples([statement]))

    assert general(x + y) == 6
    assert general(sp.Add(*([sp.Mul(x, y, evaluate=False)] * 3001), evaluate=False)) == 3


def test_where_a_statement_has_no_value_it_is_not_false():
    """It holds wherever it has one, and a conclusion is refuted where it is false and nowhere else."""
    everywhere = sp.Ge(sp.Pow(x, -2, evaluate=False), -1, evaluate=False)
    assert _point_where_false(everywhere, []) is None
    assert _point_where_false(sp.Ge(1 / x, -1), [sp.Lt(x, 0)])[x] > -1


def test_whole_powers_of_minus_one_are_signs():
    """Their square is one; of another base it is known only that the power is positive where the base is."""
    k = sp.Symbol("k", integer=True)
    sign, power = (certificate(Decided(sp.Eq(base**k * x, y, evaluate=False))).goal for base in (-1, p))
    assert sign == "forall v_k v_x v_y pow0 : R, pow0 * pow0 = 1 -> ((v_x * (pow0 * 1)) = v_y)"
    assert "(0 < v_p -> 0 < pow0) -> (0 < v_p)" in power
    assert "pow0 * pow0" not in power


def test_regions_have_their_limit_and_their_borders():
    import jax.numpy as jnp

    steps = lambda v: jnp.where(v > 0, 1.0, 0.0) + jnp.where(v > 1, 1.0, 0.0)  # noqa: E731
    regions = explore(steps, x, limit=3)
    assert len(regions) == 3
    with pytest.raises(ValueError, match="more than 2 regions"):
        explore(steps, x, limit=2)
    (region,) = explore(steps, x, where=[sp.Eq(x, 1)])  # a border that is asked for
    assert region.value == 1
    assert [str(c) for c in region.conditions] == ["x > 0", "Eq(x - 1, 0)"]
    values = sorted((r.value, len(r.decisions)) for r in regions)
    assert [v for v, _ in values] == [0, 1, 2]


def test_moments_by_hand():
    """Two answers with scores 2 and -1, drawn alone and in pairs."""
    bandit = SymbolicBandit([sp.Rational(1, 3), sp.Rational(2, 3)], [1, 0], scores=[[2, 1], [-1, 0]])
    assert bandit.value == sp.Rational(1, 3)
    assert bandit.gradient == [sp.Rational(2, 3), sp.Rational(1, 3)]
    alone = group_moments(bandit, 1, lambda r: [3 * r[0]])
    assert (alone.mean, alone.second, alone.trace_cov) == ([2, 1], 15, 10)
    pair = group_moments(bandit, 2, lambda r: [r[0], -2 * r[1]])
    assert pair.mean == [-sp.Rational(2, 3), -sp.Rational(1, 3)]
    assert pair.second == sp.Rational(1, 9) * 5 + sp.Rational(2, 9) * (5 + 20)
    named = group_moments(bandit, 1, lambda k: [k[0]], by_answer=True)
    assert named.mean == [-sp.Rational(2, 3), 0]
    both = mixture([alone, pair])
    assert both.mean == [sp.Rational(2, 3), sp.Rational(1, 3)]
    assert both.second == (alone.second + pair.second) / 2
    free = SymbolicBandit(["1/4", "3/4"], [1, 0])
    assert free.scores == ((sp.Rational(3, 4), -sp.Rational(3, 4)), (-sp.Rational(1, 4), sp.Rational(1, 4)))
    with pytest.raises(ValueError, match="size: 0; a group has at least one"):
        group_moments(bandit, 0, lambda r: r)
    with pytest.raises(ValueError, match="1 and 2 of widths"):
        SymbolicBandit(["1/2", "1/2"], [1], scores=[[1], [1]])
    with pytest.raises(ValueError, match="2 and 1 of widths"):
        SymbolicBandit(["1/2", "1/2"], [1, 0], scores=[[1]])


def test_expectations_by_hand():
    q, k = sp.Rational(1, 3), [0, 1, 4, 9]
    by_hand = sum(sp.binomial(3, j) * q**j * (1 - q) ** (3 - j) * k[j] for j in range(4))
    assert over_binomial(lambda j: k[j], 3, q) == by_hand == 3 * q * (1 - q) + 9 * q**2
    assert over_binomial(lambda j: 5 + j, 0, q) == 5
    with pytest.raises(ValueError, match="at least 0"):
        over_binomial(lambda j: 1, -1, q)
    assert falling(sp.Integer(6), 3) == 120
    assert falling(n, 0) == 1
    assert [len(list(partitions(list(range(count))))) for count in range(6)] == [1, 1, 2, 5, 15, 52]
    assert sorted(map(sorted, partitions(["a", "b"]))) == [[["a"], ["b"]], [["a", "b"]]]
    S = sp.Symbol("S")
    rolls = over_rollouts(3 * S**2 + 2 * S + 1, {S: {"r": 1}}, n, lambda e: {0: 1, 1: p, 2: 5}[e.get("r", 0)])
    assert sp.expand(rolls - (3 * (5 * n + n * (n - 1) * p**2) + 2 * n * p + 1)) == 0


@pytest.mark.parametrize(("a", "b"), [*itertools.product((0, 1, 3), (0, 1, 2))])
def test_moments_of_a_binary_reward_and_a_centred_score(a, b):
    """Right with scores 2 or 0, wrong with scores -1 or c, so that the mean is zero."""
    chances = [
        (1, 2, sp.Rational(1, 8)),
        (1, 0, sp.Rational(3, 8)),
        (0, -1, sp.Rational(1, 4)),
        (0, 0, sp.Rational(1, 4)),
    ]
    given = lambda r: [(s, c / sp.Rational(1, 2)) for reward, s, c in chances if reward == r]  # noqa: E731
    second = {r: sum(c * s**2 for s, c in given(r)) for r in (0, 1)}
    moment = centred_score_moments(sp.Rational(1, 2), sp.Rational(1, 4), second[1], second[0])
    assert moment({"r": a, "s": b}) == sum(c * r**a * s**b for r, s, c in chances)
    with pytest.raises(ValueError, match="beyond the second"):
        moment({"s": 3})


def test_a_point_is_found_or_there_is_none():
    two = find_point([sp.Eq(x, 2 * y), y > 3, x < 7])
    assert two[x] == 2 * two[y]
    assert 3 < two[y] < sp.Rational(7, 2)
    even = sp.Symbol("e", integer=True, even=True)
    assert find_point([even > 3, even < 5])[even] == 4
    assert find_point([n > 3, n < 4]) is None
    assert find_point([1 / x > 2, x > sp.Rational(1, 2)]) is None


def test_weights_of_a_shipped_objective():
    from gradvar import catalogue

    weights = weights_of(catalogue.get("rloo"))
    assert weights((1, 0, 0)) == (sp.Rational(1, 3), -sp.Rational(1, 6), -sp.Rational(1, 6))


def test_laws_of_binary_rewards_are_read_off_prompt_weights():
    """Those that depend on the success rate alone; the first group size that breaks a law is named."""
    q = sp.Symbol("q")
    for weights, holds in (
        (
            {2: sp.Integer(1), 4: sp.Integer(1), 8: q},
            {"unbiased_binary": True, "unbiased_up_to_constant": True},
        ),
        ({2: sp.Integer(1), 4: sp.Integer(3)}, {"unbiased_binary": False, "unbiased_up_to_constant": True}),
        ({2: sp.Integer(1), 4: 2 * p}, {"unbiased_binary": False, "unbiased_up_to_constant": False}),
        ({2: q}, {"unbiased_binary": None, "unbiased_up_to_constant": None}),
    ):
        laws = {law.name: law for law in binary_laws(weights)}
        assert {name: laws[name].holds for name in holds} == holds
        assert "q" not in laws["unbiased_binary"].note.split("G =")[1]
        if holds["unbiased_binary"] is False:
            assert laws["unbiased_binary"].counterexample["G"] == "4"


@pytest.mark.parametrize(("found", "trace", "word"), [
    ([1.0, -2.0], 3.0, ""), ([1.0, -2.0], 3.0 + 9e-12, ""), ([1.0, -2.0], 3.0 + 2e-11, "trace of the covariance"),
    ([1.0, -2.0], -3.0, "trace of the covariance"), ([1.0, -2.0 + 2e-11], 3.0, "mean"), ([1.0], 3.0, "must match"),
    ([-1.0, 2.0], 3.0, "mean"),
])  # fmt: skip
def test_two_engines_agree_to_their_rounding(found, trace, word):
    exact = SimpleNamespace(mean=[sp.Integer(1), sp.Integer(-2)], trace_cov=sp.Integer(3))
    compared = SimpleNamespace(mean=np.array(found), trace_cov=trace)
    if not word:
        engines_agree(compared, exact, "here")
        return
    with pytest.raises(ValueError if word == "must match" else Rejected, match=word):
        engines_agree(compared, exact, "here")
