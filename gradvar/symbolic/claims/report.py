"""The outcome of a claim, and what its verdict still needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gradvar.files.tables import to_plain
from gradvar.symbolic.claims.claim import Claim
from gradvar.symbolic.claims.obligations import Obligation, complaints_about_goals, obligations
from gradvar.symbolic.claims.outcome import Outcome, estimators_of
from gradvar.symbolic.claims.source import RELATIONS

GROUNDS = {  # what each kind of route rests on
    "shipped code": ("traced code", "executed code", "exact engine"),
    "enumerated policies": ("enumeration",),
    "algebra": ("sympy", "smt"),
}


@dataclass(frozen=True)
class ClaimReport:
    """The outcome of one claim. ``holds`` only if everything that the verdict needs was found."""

    claim: Claim
    outcomes: tuple[Outcome, ...]
    complaints: tuple[str, ...]
    seconds: float

    @property
    def holds(self) -> bool:
        """Every step passed, every sabotage was rejected, and nothing that the verdict needs is missing."""
        return not self.complaints and all(outcome.holds for outcome in self.outcomes)

    @property
    def routes(self) -> tuple[str, ...]:
        """The routes of the steps that passed, in order of first use."""
        passed = {o.name for o in self.outcomes if o.holds and o.kind == "step"}
        return tuple(dict.fromkeys(s.route for s in self.claim.steps if s.name in passed))

    @property
    def obligations(self) -> tuple[Obligation, ...]:
        """What had to be shown, and by which steps and routes it was."""
        return obligations(self.claim, self.outcomes)

    @property
    def grounds(self) -> dict[str, list[str]]:
        """The steps that ran on shipped code, on enumerated policies, and on algebra."""
        steps = {
            ground: [step.name for step in self.claim.steps if step.route in routes]
            for ground, routes in GROUNDS.items()
        }
        return {ground: names for ground, names in steps.items() if names}

    def as_dict(self) -> dict[str, Any]:
        """Return the claim as data, for JSON."""
        claim, source = self.claim, self.claim.source
        return {
            "id": claim.id,
            "title": claim.title,
            "statement": claim.text,
            "instead": claim.instead.text if claim.instead else "",
            "source": str(source),
            "relation": source.relation,
            "relation_text": RELATIONS[source.relation],
            "named": source.named,
            "attribution": source.attribution,
            "source_says": source.says,
            "source_caveat": source.caveat,
            "verdict": claim.verdict,
            "judgement": claim.judgement,
            "holds": self.holds,
            "hypotheses": [{"text": text, "stated_by": who} for text, who in claim.conditions],
            "obligations": [to_plain(obligation) for obligation in self.obligations],
            "estimators": {name: list(pieces) for name, pieces in estimators_of(self.outcomes).items()},
            "proof": claim.proof,
            "scope": claim.scope,
            "finding": claim.finding,
            "counterexample": [{"text": c.text, **c.numbers} for c in claim.counterexamples] or None,
            "routes": list(self.routes),
            "grounds": self.grounds,
            "steps": [{"name": s.name, "route": s.route, "shows": s.shows} for s in claim.steps],
            "sabotages": [s.name for s in claim.sabotages],
            "errors": (
                [f"{o.kind} {o.name}: {o.error}" for o in self.outcomes if not o.holds]
                + list(self.complaints)
            ),
            "seconds": round(self.seconds, 3),
        }


def complaints_about(claim: Claim, outcomes: Sequence[Outcome]) -> list[str]:
    """List what the verdict still needs."""
    missing = []
    passed = {o.name for o in outcomes if o.holds and o.kind == "step"}
    routes = {s.route for s in claim.steps if s.name in passed}
    if claim.verdict != "open":
        if len(routes) < 2:
            missing.append(f"a verdict needs two independent routes; this one has {len(routes)}")
        if not claim.sabotages:
            missing.append("no sabotage: nothing shows that the checks can fail")
    if claim.verdict in ("refuted", "conditional") and not claim.counterexamples:
        missing.append(f"a {claim.verdict} claim needs a counterexample in exact numbers")
    if claim.verdict == "open" and not claim.finding:
        missing.append("an open claim says in 'finding' what was tried")
    if not claim.steps:
        missing.append("no steps")
    names = [s.name for s in claim.steps]
    if len(set(names)) < len(names):
        missing.append("two steps have the same name")
    return missing + complaints_about_goals(claim, outcomes)
