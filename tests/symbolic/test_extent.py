"""False claims by rules: each is built so that a step decides something true, and the statement says more."""

import numpy as np
import pytest
import sympy as sp

from gradvar import symbolic as sy

G = sp.Symbol("G", integer=True, positive=True)
x, mean, gradient = sp.symbols("x m g", real=True)
EQUAL = sp.Eq(mean, gradient)
QUANTITIES = {mean: sy.Quantity("m", "the mean update"), gradient: sy.Quantity("g", "the gradient")}
HALF = sp.Rational(1, 2)


def claim(forall, goal=EQUAL, **more):
    statement = sy.Statement(forall=forall, quantities=QUANTITIES, goals={"goal": goal}, **more)
    return sy.Claim(
        id="T1", title="t", statement=statement, source=sy.Source("0"), verdict="proved", scope="all"
    )


def complaints(made, *checks):
    """What is said of a claim whose steps are these checks, each by two routes."""
    for index, check in enumerate(checks):
        for route in ("sympy", "enumeration"):
            made.step(f"{route} {index}", route=route)(lambda check=check: check(made.goal("goal")))
    report = sy.verify(made)
    assert all(o.holds for o in report.outcomes), [o.error for o in report.outcomes]
    return "\n".join(report.complaints).replace("no sabotage: nothing shows that the checks can fail", "")


PAIR = {G: sy.one_of(2, 3), "rule": sy.one_of("mean", "sum")}


def only_the_diagonal(goal):
    goal.holds({mean: x, gradient: x}, at={G: 2, "rule": "mean"})
    goal.holds({mean: x, gradient: x}, at={G: 3, "rule": "sum"})


def one_rule_at_every_size(goal):
    goal.holds({mean: G + x, gradient: G + x}, at={"rule": "mean"})
    goal.holds({mean: G + x, gradient: G + x}, at={"rule": "sum", G: 2})


def the_positive_half(goal):
    goal.holds({mean: sp.Abs(x), gradient: x}, where=[x > 0])


def all_but_a_boundary(goal):
    goal.holds({mean: sp.Abs(x), gradient: x}, where=[x > 0])
    goal.holds({mean: sp.sign(x) * x, gradient: -x}, where=[x < 0])


def two_halves(goal):
    for side, sign in ((x >= 0, 1), (x < 0, -1)):
        goal.holds({mean: sp.Abs(x), gradient: sign * x}, where=[side])


REAL = {x: sy.real()}


@pytest.mark.parametrize(
    ("forall", "check", "gap"),
    [
        (PAIR, only_the_diagonal, "nothing was shown at G = 2 at rule = sum"),
        ({**PAIR, G: sy.whole(2)}, one_rule_at_every_size, "nothing was shown at rule = sum"),
        (REAL, the_positive_half, "shown where x > 0, which is not all"),
        (REAL, all_but_a_boundary, "which is not all"),
        ({**REAL, G: sy.one_of(2, 3)}, lambda goal: [
            goal.holds({mean: sp.Abs(x), gradient: x}, where=[x > 0], at={G: 2}),
            goal.holds({mean: x, gradient: x}, at={G: 3}),
        ], "which is not all at G = 2"),
    ],
)  # fmt: skip
def test_what_is_left_out_is_named(forall, check, gap):
    assert gap in complaints(claim(forall), check)


@pytest.mark.parametrize(
    ("forall", "check"),
    [
        (PAIR, lambda goal: [
            goal.holds({mean: x, gradient: x}, at={G: size, "rule": rule})
            for size in (2, 3) for rule in ("mean", "sum")
        ]),
        ({**PAIR, G: sy.whole(2)}, lambda goal: [
            goal.holds({mean: G, gradient: G}, at={"rule": rule}) for rule in ("mean", "sum")
        ]),
        (REAL, two_halves),
        ({x: sy.above(0)}, the_positive_half),
        (REAL, lambda goal: goal.holds({mean: x, gradient: x}, where=[sp.Symbol("y", positive=True) > 1])),
    ],
)  # fmt: skip
def test_what_is_covered_together_is_enough(forall, check):
    assert not complaints(claim(forall), check)


def test_an_implication_is_covered_where_it_says_something():
    """Of negative numbers the goal says nothing, so the positive half is all of it; zero is not in that half."""
    assert not complaints(claim(REAL, sp.Implies(x > 0, EQUAL)), the_positive_half)
    assert "which is not all" in complaints(claim(REAL, sp.Implies(x >= 0, EQUAL)), the_positive_half)


@pytest.mark.parametrize(
    "goal",
    [
        sp.Eq((mean + 1) ** 2, mean**2 + 2 * mean + 1),
        sp.Implies(mean > 1, mean > 0),
        sp.Or(mean > 0, mean < 1),
    ],
)
def test_a_goal_that_holds_for_any_quantities_is_none(goal):
    made = claim({}, goal)
    assert "says nothing of them" in complaints(made, lambda goal: goal.holds({mean: 2}))


def test_a_goal_that_some_numbers_break_says_something():
    made = claim({}, sp.Implies(mean > 1, mean > 2))
    assert not complaints(made, lambda goal: goal.holds({mean: 3}))


def test_an_antecedent_that_no_point_fulfils_shows_nothing():
    """2xy - x^2 - y^2 - 1 is below zero everywhere, which no automatic simplification knows."""
    y = sp.Symbol("y", real=True)
    made = claim({}, sp.Implies(mean > 0, gradient > 0))
    never = 2 * x * y - x**2 - y**2 - 1
    assert "no step discharges it" in complaints(made, lambda goal: goal.holds({mean: never, gradient: 1}))


def test_a_counterexample_is_inside_the_hypotheses_where_it_breaks_the_conclusion():
    """The first entry fulfils the hypothesis and the conclusion; the second breaks both."""
    given = {"positive": sy.Hypothesis("g is positive", gradient > 0, "ours")}
    goal = claim({}, mean > gradient, given=given).goal("goal")
    with pytest.raises(ValueError, match="'positive' is false"):
        goal.fails({mean: [2, -1], gradient: [1, 0]})
    goal.fails({mean: [2, -1], gradient: [1, 1]})


@pytest.mark.parametrize("name", ["holds", "fails"])
def test_a_place_in_floats_decides_nothing(name):
    goal = claim({x: sy.between(0, 1)}, sp.Eq(mean, 3 * x)).goal("goal")
    with pytest.raises(ValueError, match=r"at: x is the float 0\.1"):
        getattr(goal, name)({mean: sp.Rational(3, 10)}, at={x: 0.1})


@pytest.mark.parametrize(
    ("domain", "value"),
    [
        (sy.one_of(1, 2), 7),
        (sy.one_of(1, 2), x),
        (sy.whole(2), 5 * HALF),
        (sy.whole(2), x),
        (sy.between(0, 1), 2),
    ],
)
def test_a_lemma_says_nothing_outside_of_its_own_domain(domain, value):
    lemma = sy.Lemma(mean >= G, forall={G: domain})
    goal = claim({}, mean >= gradient, lemmas={"grows": lemma}).goal("goal")
    with pytest.raises(ValueError, match="'grows' says nothing"):
        goal.holds({mean: x**2, gradient: x}, using={"grows": {mean: x**2, G: value}})


def test_numbers_below_the_tolerance_are_not_compared():
    goal = claim({}).goal("goal")
    goal.holds({mean: np.array([0.5, 1e-17, 3e-6]), gradient: ["1/2", 0, 0]}, tolerance=1e-5)
    with pytest.raises(sy.Undecided, match="too small"):
        goal.holds({mean: np.array([2e-6]), gradient: np.array([1e-6])}, tolerance=1e-5)
    for bad in (float("nan"), float("inf")):
        with pytest.raises((sy.Rejected, sy.Undecided, TypeError, ValueError)):
            goal.holds({mean: np.array([bad]), gradient: np.array([bad])}, tolerance=1e-5)
