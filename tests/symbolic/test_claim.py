"""The machinery of claims can fail: a wrong claim, a sabotage that is accepted or crashes, a verdict without
its grounds."""

import pytest
import sympy as sp

from gradvar.symbolic import Claim, Quantity, Source, Statement, equal, real, require, verify

a, b, s = sp.symbols("a b s", real=True)
SQUARE = Statement(
    forall={a: real(), b: real()},
    quantities={s: Quantity("s", "the square of the sum")},
    goals={"square": sp.Eq(s, a**2 + 2 * a * b + b**2)},
)


def sound(verdict="proved", **fields):
    claim = Claim(
        id="T1",
        title="t",
        statement=SQUARE,
        source=Source("0000.00000"),
        verdict=verdict,
        scope="all",
        **fields,
    )

    @claim.step("first", route="sympy")
    def first(sign=1):
        claim.goal("square").holds({s: a * (a + sign * b) + b * (sign * a + b)})

    @claim.step("second", route="enumeration")
    def second(shift=0):
        for i, j in [(0, 1), (2, 3)]:
            claim.goal("square").holds({s: (i + j) ** 2 + shift}, at={a: i, b: j})

    claim.sabotage("a sign", first, sign=-1)
    return claim, first, second


def test_a_sound_claim_holds():
    report = verify(sound()[0])
    assert report.holds
    assert report.routes == ("sympy", "enumeration")
    assert report.as_dict()["verdict"] == "proved"


def test_a_wrong_claim_fails():
    claim, *_ = sound()

    @claim.step("wrong", route="sympy")
    def wrong():
        equal((a + b) ** 2, a**2 + b**2, "the freshman's dream")

    report = verify(claim)
    assert not report.holds
    assert any("freshman" in o.error for o in report.outcomes)


def test_a_claim_that_accepts_its_sabotage_fails():
    claim, _, second = sound()
    claim.sabotage("nothing changed", second, shift=0)
    report = verify(claim)
    assert not report.holds
    assert "accepted" in report.outcomes[-1].error


def test_a_sabotage_that_crashes_fails():
    claim, first, _ = sound()
    claim.sabotage("not a number", first, sign="x" * 3 + "(")
    report = verify(claim)
    assert not report.holds
    assert "crashed" in report.outcomes[-1].error


def test_an_undecided_sabotage_fails():
    claim, *_ = sound()

    @claim.step("open", route="smt")
    def open_relation(bound=None):
        require(sp.true if bound is None else a > bound, "a is large")

    claim.sabotage("left open", open_relation, bound=0)
    report = verify(claim)
    assert not report.holds
    assert "Undecided" in report.outcomes[-1].error


@pytest.mark.parametrize(
    ("verdict", "missing"),
    [("refuted", "counterexample"), ("conditional", "counterexample"), ("open", "finding")],
)
def test_a_verdict_needs_its_grounds(verdict, missing):
    report = verify(sound(verdict)[0])
    assert not report.holds
    assert any(missing in complaint for complaint in report.complaints)


def test_one_route_is_not_enough():
    claim = Claim(id="T2", title="t", statement=SQUARE, source=Source("0"), verdict="proved", scope="all")

    @claim.step("only", route="sympy")
    def only(extra=0):
        equal(a + a, 2 * a + extra)

    claim.sabotage("more", only, extra=1)
    assert any("two independent routes" in c for c in verify(claim).complaints)


def test_no_sabotage_is_a_complaint():
    claim, *_ = sound()
    claim.sabotages.clear()
    assert any("sabotage" in c for c in verify(claim).complaints)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda c, f: c.step("x", route="belief"), "route"),
        (lambda c, f: c.sabotage("x", f), "changes"),
        (lambda c, f: c.sabotage("x", print, sep=1), "not a step"),
    ],
)
def test_bad_use_is_refused(make, named):
    claim, first, _ = sound()
    with pytest.raises(ValueError, match=named):
        make(claim, first)


def test_an_unknown_verdict_is_refused():
    with pytest.raises(ValueError, match="verdict"):
        sound("plausible")


def test_a_statement_of_words_is_refused():
    with pytest.raises(ValueError, match=r"statement: 'a sum is a sum'.*Statement\(goals="):
        Claim(
            id="T3",
            title="t",
            statement="a sum is a sum",
            source=Source("0"),
            verdict="proved",
            scope="all",
        )
