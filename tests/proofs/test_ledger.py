"""Every row of the ledger has its claims; every claim holds; every page of the book can be set."""

import re

import pytest

from gradvar import catalogue
from gradvar.report.book import book
from gradvar.symbolic import verify
from gradvar.symbolic.claims.coverage import public_pieces
from gradvar.symbolic.claims.formula import text_to_html
from gradvar.symbolic.read.usage import piece_name
from tests.claims import CLAIMS

ROWS = [f"A{i}" for i in range(1, 23)] + [f"B{i}" for i in range(1, 31)] + [f"C{i}" for i in range(1, 8)]
ROWS += ["L1", "L2"] + [f"R{i}" for i in range(1, 20)] + [f"P{i}" for i in range(1, 38)]
# Claims that need no compilation and little algebra: a second or so each. The others run in the slow suite.
QUICK = (
    "A6",
    "A7a",
    "A7c",
    "A13a",
    "A13b",
    "A17a",
    "A21a",
    "A21b",
    "A21d",
    "A21e",
    "A10b",
    "A19b",
)


@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_a_verdict(row):
    mine = [claim for claim in CLAIMS if re.fullmatch(row + "[a-z]?", claim.id)]
    assert mine, f"no claim for {row}"
    parts = [claim.id for claim in mine]
    assert row not in parts or parts == [row], f"{row} is both whole and split: {parts}"


def test_every_estimator_is_defined_by_a_claim():
    defined = [c.statement.setting.split("`")[1] for c in CLAIMS if re.fullmatch(r"D[0-9]+", c.id)]
    assert set(defined) == set(catalogue.names())


def test_every_piece_is_defined_by_a_claim_or_stands_in_a_defined_estimator():
    # reinforce_pp standardises over tokens where it has a penalty: D40
    estimators = [catalogue.get(name) for name in catalogue.names()] + [
        catalogue.get("reinforce_pp", beta=0.04)
    ]
    used = {piece_name(piece) for estimator in estimators for piece in estimator.parts.values()}
    settings = [c.statement.setting.split("`")[1] for c in CLAIMS if re.fullmatch(r"P[0-9]+", c.id)]
    missing = [
        public for public, inner in public_pieces().items() if inner not in used and public not in settings
    ]
    assert not missing


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: c.id)
def test_the_header_is_complete_and_can_be_set(claim):
    assert claim.title
    assert claim.statement
    assert claim.scope
    assert claim.source.arxiv
    texts = [
        claim.title,
        claim.text,
        claim.scope,
        claim.proof,
        claim.finding,
        *(h for h, _ in claim.conditions),
    ]
    texts += [claim.instead.text] if claim.instead else []
    texts += (
        [s.name for s in claim.steps] + [s.shows for s in claim.steps] + [s.name for s in claim.sabotages]
    )
    texts += [c.text for c in claim.counterexamples]
    for text in texts:
        text_to_html(text)


@pytest.mark.parametrize("claim", [c for c in CLAIMS if c.id in QUICK], ids=lambda c: c.id)
def test_quick_claims_hold(claim):
    check(claim)


@pytest.mark.slow
@pytest.mark.parametrize("claim", [c for c in CLAIMS if c.id not in QUICK], ids=lambda c: c.id)
def test_claims_hold(claim):
    check(claim)


def check(claim):
    report = verify(claim)
    assert report.holds, "\n".join(
        [*report.complaints, *(f"{o.kind} {o.name}: {o.error}" for o in report.outcomes if not o.holds)]
    )
    assert f'id="{claim.id}"' in book([report])


def test_ids_are_unique_and_quick_ones_exist():
    ids = [claim.id for claim in CLAIMS]
    assert len(set(ids)) == len(ids)
    assert set(QUICK) <= set(ids)
