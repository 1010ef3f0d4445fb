"""The order in which parts are run is the order in which they are named."""

from gradvar.symbolic import load, verify
from gradvar.symbolic.claims.run import names_of

SOURCE = """
from gradvar.symbolic import Claim, Source, require, smt_valid
claim = Claim(id="T1", title="t", statement="s", source=Source("0"), verdict="refuted", scope="all")

@claim.step("one", route="sympy")
def one(x=1):
    require(x == 1, "one")

@claim.counterexample("two", x=2)
def two(x=2):
    require(x == 2, "two")

@claim.step("three", route="smt")
def three():
    require(smt_valid([], True), "three")

claim.sabotage("four", one, x=2)
claim.sabotage("five", two, x=1)
"""


def test_names_follow_the_outcomes(tmp_path):
    (tmp_path / "t.py").write_text(SOURCE)
    (claim,) = load(tmp_path)
    report = verify(claim)
    assert report.holds
    assert [o.name for o in report.outcomes] == names_of(claim) == ["one", "three", "two", "four", "five"]
