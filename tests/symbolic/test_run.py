"""The order in which parts are run is the order in which they are named."""

from gradvar.symbolic import load, verify
from gradvar.symbolic.claims.run import names_of

SOURCE = """
import sympy as sp
from gradvar.symbolic import Claim, Quantity, Source, Statement, require, smt_valid
q, t = sp.symbols("q t", real=True)
claim = Claim(
    id="T1", title="t", source=Source("0"), verdict="refuted", scope="all",
    statement=Statement(quantities={q: Quantity("q", "a number")}, goals={"small": q < 1}),
    instead=Statement(quantities={t: Quantity("t", "a sum")}, goals={"sum": sp.Eq(t, 2)}),
)

@claim.step("one", route="sympy")
def one(x=1):
    claim.goal("sum").holds({t: x + 1})

@claim.counterexample("two", x=2)
def two(x=2):
    claim.goal("small").fails({q: x})

@claim.step("three", route="smt")
def three():
    require(smt_valid([t > 2], t > 1), "three")
    claim.goal("sum").holds({t: 2})

claim.sabotage("four", one, x=2)
claim.sabotage("five", two, x=0)
"""


def test_names_follow_the_outcomes(tmp_path):
    (tmp_path / "t.py").write_text(SOURCE)
    (claim,) = load(tmp_path)
    report = verify(claim)
    assert report.holds
    assert [o.name for o in report.outcomes] == names_of(claim) == ["one", "three", "two", "four", "five"]
