"""The book of theorems: one page, no network, every formula as MathML. Its parts are pages of the site too."""

import csv
import inspect
import re
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import sympy as sp
from markupsafe import Markup

from gradvar.report.html import CLAIM_FIELDS, macro, render
from gradvar.symbolic.claims.claim import Claim, Exhibit, ProofStep
from gradvar.symbolic.claims.ledger import proofs_folder
from gradvar.symbolic.claims.outcome import Outcome
from gradvar.symbolic.claims.report import ClaimReport
from gradvar.symbolic.kernel.development import Theorem, read_development, theorems_by_claim
from gradvar.symbolic.kernel.steps import TABLE, read_results, status_of

TITLE = "Claims about group-relative policy gradients, checked"
View = dict[str, Any]
_LONGEST_REASON = 240


def book(reports: Sequence[ClaimReport], title: str = TITLE) -> str:
    """Set all claims as one HTML page."""
    claims = [view(report) for report in reports]
    counts = Counter(claim["verdict"] for claim in claims)
    tally = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return render("book.html.j2", title=title, tally=tally, claims=claims)


def index(claims: Sequence[View], address: str = "#{}") -> Markup:
    """Set the claims as a table; ``address`` leads to a claim's section, with its id for the braces."""
    return macro("claim.html.j2", "index")(claims, address)


def section(claim: View, *, level: int = 2) -> Markup:
    """Set a claim with its checks and their evidence, under a heading of this level."""
    return macro("claim.html.j2", "claim")(claim, level)


def view(report: ClaimReport) -> View:
    """Return a claim and how its checks went as plain values, which the templates set."""
    claim = report.claim
    data = report.as_dict()
    outcomes = {(outcome.kind, outcome.name): outcome for outcome in report.outcomes}
    return {
        **{name: data[name] for name in CLAIM_FIELDS},
        "verdict": claim.verdict if report.holds else "fails",
        "steps": [
            {**_step(step, outcomes["step", step.name]), "judge": _judge(claim, outcomes["step", step.name])}
            for step in claim.steps
        ],
        "counterexamples": [
            {
                "text": example.text,
                "numbers": ", ".join(f"{name} = {value}" for name, value in example.numbers.items()),
                **_result(outcomes["counterexample", example.text]),
            }
            for example in claim.counterexamples
        ],
        "sabotages": [
            _sabotage(sabotage.name, outcomes["sabotage", sabotage.name]) for sabotage in claim.sabotages
        ],
        "missing": report.complaints,
        "formal": _formal(claim),
    }


@cache
def _theorems(folder: Path) -> Mapping[str, Sequence[Theorem]]:
    """The theorems of the kernel, by claim; none where their folder is not there."""
    return theorems_by_claim(read_development(folder)) if folder.is_dir() else {}


def _formal(claim: Claim) -> dict[str, Any]:
    """The statements in the kernel of a bundled claim: each with what it says, and what all are stated with.

    ``notation`` are the rows of ``coq_notation.csv`` whose pattern is in them. Empty where the claim has no theorem.
    """
    bundled = proofs_folder()
    if not claim.path or not Path(claim.path).is_relative_to(bundled):
        return {}
    theorems = _theorems(bundled / "kernel").get(claim.id, ())
    context = list(dict.fromkeys(sentence for theorem in theorems for sentence in theorem.context))
    text = "\n".join([*context, *(theorem.statement for theorem in theorems)])
    if not theorems:
        return {}
    return {
        "theorems": [{"says": theorem.comment, "statement": theorem.statement} for theorem in theorems],
        "context": context,
        "notation": [row for row in _notation() if re.search(row["pattern"], text)],
    }


@cache
def _notation() -> Sequence[Mapping[str, str]]:
    with (Path(__file__).parent / "templates" / "coq_notation.csv").open(
        newline="", encoding="utf-8"
    ) as file:
        return tuple(csv.DictReader(file))


def _judge(claim: Claim, outcome: Outcome) -> str:
    """Who checked what a step decided: the kernel, by the table beside its theorems, SymPy or z3.

    Empty for a step that failed, and where the claim was run without certificates.
    """
    if not outcome.holds or outcome.certificates is None:
        return ""
    return status_of(claim.id, outcome, read_results(proofs_folder() / "kernel" / TABLE))


def _step(step: ProofStep, outcome: Outcome) -> dict[str, Any]:
    exhibited = isinstance(outcome.evidence, Exhibit) and outcome.evidence.code
    return {
        "name": step.name,
        "shows": step.shows,
        "route": step.route,
        "check": textwrap.dedent(inspect.getsource(step.check)),
        # A formula that was read from code, unless the step exhibits its code already.
        "traced": outcome.traced if step.route == "traced code" and not exhibited else None,
        **_result(outcome),
    }


def _sabotage(name: str, outcome: Outcome) -> dict[str, Any]:
    """A false statement with the check's reason to reject it."""
    reason = str(outcome.evidence or "") if outcome.holds else ""
    short = reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]} ..."
    return {"name": name, "reason": short, "error": "" if outcome.holds else outcome.error}


def _result(outcome: Outcome) -> dict[str, Any]:
    return {
        "error": "" if outcome.holds else outcome.error or "no reason given",
        "evidence": _evidence(outcome.evidence),
    }


def _evidence(evidence: Any) -> dict[str, Any]:
    """Evidence as formula, code, table and text."""
    shown: dict[str, Any] = {"formula": "", "code": "", "table": (), "text": ""}
    if isinstance(evidence, Exhibit):
        return shown | vars(evidence)
    if isinstance(evidence, sp.Basic):
        return shown | {"formula": sp.latex(evidence)}
    return shown if evidence is None else shown | {"text": str(evidence)}
