"""Random small statements: no verdict contradicts plain Python on fractions."""

import random
from contextlib import suppress
from fractions import Fraction

import pytest
import sympy as sp

from gradvar.symbolic import Rejected, Undecided, equal, find_point, smt_valid
from gradvar.symbolic.read.evaluate import ExactValues
from gradvar.symbolic.read.intervals import UNDEFINED
from tests.symbolic.random_statements import (
    SYMBOLS,
    Irrational,
    condition,
    expression,
    grid,
    mutated,
    rewritten,
    value,
)

BUILDING = (TypeError, ValueError, AttributeError, ZeroDivisionError)  # SymPy at 0/0 and complex comparisons
SEEDS = range(150)


def values_at(e, place):
    return ExactValues({s: sp.Rational(v.numerator, v.denominator) for s, v in place.items()}).value(e)


def symbols_for(draw):
    return tuple(draw.sample(SYMBOLS, draw.choice((1, 1, 2, 3))))


@pytest.mark.slow
@pytest.mark.parametrize("change", ["rewritten", "mutated"])
def test_an_accepted_identity_holds_on_a_grid(change):
    accepted = rejected = 0
    for seed in SEEDS:
        draw = random.Random(f"{change}{seed}")
        symbols = symbols_for(draw)
        with suppress(*BUILDING, Undecided):
            a = expression(draw, draw.choice((1, 2, 3)), symbols)
            b = rewritten(draw, a) if change == "rewritten" else mutated(draw, a.sympy)
            if not isinstance(b, sp.Expr) or a.sympy.has(sp.nan, sp.zoo) or b.has(sp.nan, sp.zoo):
                continue
            try:
                equal(a.sympy, b)
            except Rejected:
                rejected += 1
                assert change == "mutated", f"{seed}: {a.sympy} = {b} was rejected"
                continue
            accepted += 1
            for place in grid(set(symbols)):
                with suppress(Irrational):
                    left, right = value(a, place), values_at(b, place)
                    if left is not None and isinstance(right, Fraction):
                        assert left == right, f"{seed}: {a.sympy} = {b} at {place}"
    assert accepted > len(SEEDS) // 5
    assert change == "rewritten" or rejected > len(SEEDS) // 5


def test_exact_values_agree_with_fractions():
    compared = 0
    for seed in SEEDS:
        draw = random.Random(f"values{seed}")
        symbols = symbols_for(draw)
        with suppress(*BUILDING):
            a = expression(draw, 3, symbols)
            for place in grid(set(symbols), 30):
                with suppress(Irrational):
                    plain, ours = value(a, place), values_at(a.sympy, place)
                    if plain is None:
                        continue  # SymPy may have cancelled what is undefined
                    assert ours is not UNDEFINED, f"{seed}: {a.sympy} at {place}"
                    if isinstance(ours, Fraction):
                        compared += 1
                        assert ours == plain, f"{seed}: {a.sympy} at {place}"
    assert compared > 1000


@pytest.mark.slow
def test_implications_and_points_hold_on_a_grid():
    verdicts = []
    for seed in SEEDS:
        draw = random.Random(f"smt{seed}")
        symbols = symbols_for(draw)
        with suppress(*BUILDING, Undecided):
            premises = [condition(draw, 2, symbols) for _ in range(draw.choice((0, 1, 2)))]
            conclusion = condition(draw, 3, symbols)
            hypotheses = [h.sympy for h in premises]
            valid = smt_valid(hypotheses, conclusion.sympy, where_defined=draw.random() < 0.5)
            point = find_point([*hypotheses, conclusion.sympy])
            verdicts.append(bool(valid))
            for place in grid(set(symbols)):
                with suppress(Irrational):
                    truths = [value(h, place) for h in premises]
                    outcome = value(conclusion, place)
                    if all(truth is True for truth in truths):
                        assert not (valid and outcome is False), (
                            f"{seed}: {hypotheses} {conclusion.sympy} {place}"
                        )
                        assert not (point is None and outcome), (
                            f"{seed}: {hypotheses} {conclusion.sympy} {place}"
                        )
    assert {True, False} == set(verdicts)
