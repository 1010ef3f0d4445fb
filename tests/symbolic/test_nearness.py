"""Comparisons of floats within a tolerance: what is stated for the kernel, and what is rejected here."""

import numpy as np
import pytest
import sympy as sp

from gradvar.symbolic import Rejected, below, near
from gradvar.symbolic.certify.certificate import certificate
from gradvar.symbolic.read.decided import decisions

THREE_TENTHS = sp.Rational(3, 10)


def goal_of(left, right):
    with decisions() as collected:
        near(left, right, 1e-12, "a sum")
    (decided,) = collected
    assert decided.judge == "floats"
    return certificate(decided).goal


def test_a_float_is_any_number_of_an_interval():
    """A float of the machine; longer decimal numbers are SymPy's own, and stand as they are."""
    goal = goal_of(0.1 + 0.2, THREE_TENTHS)
    assert goal == (
        "forall v_float0 : R, (v_float0 >= (2999999999999 / 10000000000000))"
        " -> (v_float0 <= (3000000000001 / 10000000000000))"
        " -> ((v_float0 <= ((3 / 10) + (1 / 1000000000000))) /\\ ((3 / 10) <= (v_float0 + (1 / 1000000000000))))"
    )
    assert goal_of(np.nextafter(0.1 + 0.2, 1), THREE_TENTHS) == goal  # as another machine may have it
    assert "v_float0 <= (v_float1 + " in goal_of(0.25, 0.25)  # equal floats are two numbers
    assert "float" not in goal_of(sp.Float("0.1", 40), sp.Rational(1, 10))


def test_what_is_apart_is_rejected():
    with decisions() as collected, pytest.raises(Rejected, match="a sum"):
        near([0.3, 0.3 + 2e-12], THREE_TENTHS, 1e-12, "a sum")
    assert [d.holds for d in collected] == [True, False]
    with pytest.raises(Rejected):
        below(0.3, 0.3 + 1e-13, 1e-12, "less")


@pytest.mark.parametrize("comparison", [near, below])
@pytest.mark.parametrize("pair", [(np.nan, 1), (1, np.nan), (np.inf, 1)])
def test_what_is_no_number_is_rejected(comparison, pair):
    with decisions() as collected, pytest.raises(Rejected, match="no number"):
        comparison(*pair, 1e-12, "no number")
    assert [(d.holds, d.conclusion) for d in collected] == [(False, None)]


@pytest.mark.parametrize(("arguments", "line"), [
    (([], [], 1e-12), "nothing to compare"), (([], 0, 1e-12), "nothing to compare"),
    (([1.0, 2.0], [1.0], 1e-12), r"right: shape \(1,\) does not match left \(2,\)"),
    ((np.ones((3, 1)), np.ones(3), 1e-12), "does not match"),
    ((1.0, 1, 0.0), r"tolerance: 0\.0; give a number above zero"),
])  # fmt: skip
def test_what_cannot_be_compared_is_one_line(arguments, line):
    with pytest.raises(ValueError, match=line):
        near(*arguments, "numbers")
