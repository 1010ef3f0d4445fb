"""What a statement obliges a claim to show, and which steps showed it: nothing left over on either side."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gradvar.symbolic.claims.claim import Claim
from gradvar.symbolic.claims.goal import Discharge
from gradvar.symbolic.claims.outcome import Outcome
from gradvar.symbolic.claims.statement import Statement


@dataclass(frozen=True)
class Obligation:
    """A goal or lemma: its formula, who discharged it by which routes, and for which values of the variables.

    ``kind`` is goal, lemma, or cited. ``refuted`` is true where a counterexample breaks it. ``steps`` maps the names
    of steps to their routes. ``coverage`` says for each variable if it stayed free, or at which values it was taken.
    """

    name: str
    kind: str
    formula: str
    refuted: bool
    steps: dict[str, str]
    coverage: dict[str, str]


def obligations(claim: Claim, outcomes: Iterable[Outcome]) -> tuple[Obligation, ...]:
    """Return every obligation of the claim's statements, with how it was discharged."""
    routes = {step.name: step.route for step in claim.steps}
    passed = [(o, d) for o in outcomes if o.holds and o.kind != "sabotage" for d in o.discharged]
    listed = []
    for statement in claim.statements:
        for name in (*statement.goals, *statement.lemmas):
            mine = [(o, d) for o, d in passed if d.name == name]
            lemma = statement.lemmas.get(name)
            kind = "goal" if lemma is None else "cited" if lemma.cited else "lemma"
            listed.append(
                Obligation(
                    name,
                    kind,
                    statement.formula(name),
                    any(not d.holds and not d.without for _, d in mine),
                    {o.name: routes.get(o.name, "counterexample") for o, d in mine},
                    _coverage(statement, name, [d for _, d in mine if d.holds]),
                )
            )
    return tuple(listed)


def complaints_about_goals(claim: Claim, outcomes: Sequence[Outcome]) -> list[str]:
    """List obligations that no step discharges, and steps that show nothing of the statement."""
    missing = [
        f"{o.kind} {o.name!r} decides nothing of the statement; call claim.goal(...)"
        for o in outcomes
        if o.kind != "sabotage" and o.holds and not o.discharged
    ]
    missing += _unused_lemmas(claim, outcomes)
    refuted = claim.verdict == "refuted"
    if refuted and not any(o.refuted for o in obligations(claim, outcomes)):
        missing.append("refuted: no counterexample breaks a goal of the statement (Goal.fails)")
    for obligation in obligations(claim, outcomes):
        first = obligation.name in claim.statement.goals
        if obligation.kind == "cited" or claim.verdict == "open" or (refuted and first):
            continue  # of a refuted statement some goals may hold
        missing += _complaints_about(obligation, claim)
    if claim.verdict == "conditional":
        broken = {d.without for o in outcomes if o.holds for d in o.discharged if d.without}
        for statement in claim.statements:
            for name, hypothesis in statement.given.items():
                if hypothesis.stated_by == "ours" and hypothesis.relation is not None and name not in broken:
                    missing.append(
                        f"no counterexample shows that hypothesis {name!r} is needed (Goal.fails, without=)"
                    )
    return missing


def _complaints_about(obligation: Obligation, claim: Claim) -> list[str]:
    label = f"{obligation.kind} {obligation.name!r}"
    routes = {route for route in obligation.steps.values() if route != "counterexample"}
    if not routes:
        return [f"{label}: no step discharges it"]
    complaints = []
    if obligation.refuted:
        complaints.append(f"{label}: a counterexample breaks it")
    if obligation.kind == "goal" and len(routes) < 2:
        complaints.append(f"{label}: one route alone, {min(routes)}; another has to show the same")
    complaints += [
        f"{label}: {variable} was taken at {values} only, and its domain is larger"
        for variable, values in obligation.coverage.items()
        if not values.startswith("all")
    ]
    return complaints


def _unused_lemmas(claim: Claim, outcomes: Sequence[Outcome]) -> list[str]:
    used = {name for o in outcomes if o.holds for d in o.discharged for name in d.using}
    names = [name for statement in claim.statements for name in statement.lemmas]
    return [
        f"lemma {name!r}: no goal and no other lemma uses it (Goal.holds, using=)"
        for name in names
        if name not in used
    ]


def _coverage(statement: Statement, name: str, discharges: Sequence[Discharge]) -> dict[str, str]:
    """For each variable: ``all`` if some check left it open, else the values at which it was taken."""
    lemma = statement.lemmas.get(name)
    coverage = {}
    for variable, domain in {**statement.forall, **(lemma.forall if lemma else {})}.items():
        taken = [dict(d.at).get(str(variable)) for d in discharges]
        values = list(dict.fromkeys(value for value in taken if value is not None))
        if discharges and None in taken:
            coverage[str(variable)] = "all" + (f"; also at {_listed(values)}" if values else "")
        elif domain.values and set(map(str, domain.values)) <= set(values):
            coverage[str(variable)] = f"all of {_listed(values)}"
        else:
            coverage[str(variable)] = _listed(values)
    return coverage


def _listed(values: Sequence[Any]) -> str:
    texts = list(map(str, values))
    return (
        ", ".join(texts)
        if len(texts) <= 8
        else f"{', '.join(texts[:3])}, ..., {texts[-1]} ({len(texts)} values)"
    )
