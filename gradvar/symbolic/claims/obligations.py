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
    ``where`` are the further conditions under which some step showed it: regions, or how its symbols are bounded.
    """

    name: str
    kind: str
    formula: str
    refuted: bool
    steps: dict[str, str]
    coverage: dict[str, str]
    where: tuple[str, ...] = ()


_ALGEBRA = ("sympy", "smt")  # routes whose values hold for whatever they do not fix


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
                    _coverage(statement, name, [(routes.get(o.name, ""), d) for o, d in mine if d.holds]),
                    tuple(dict.fromkeys(condition for _, d in mine for condition in d.where)),
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
    missing += [*_unused_lemmas(claim, outcomes), *_circles(outcomes)]
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


def _circles(outcomes: Sequence[Outcome]) -> list[str]:
    """List lemmas that rest on themselves."""
    rests_on: dict[str, set[str]] = {}
    for outcome in outcomes:
        for discharge in outcome.discharged if outcome.holds else ():
            rests_on.setdefault(discharge.name, set()).update(discharge.using)
    for _ in rests_on:  # as often as the longest chain may be
        for lemmas in rests_on.values():
            lemmas |= set().union(*(rests_on.get(lemma, set()) for lemma in lemmas))
    return [f"lemma {name!r}: it rests on itself" for name, lemmas in rests_on.items() if name in lemmas]


def _coverage(statement: Statement, name: str, discharges: Sequence[tuple[str, Discharge]]) -> dict[str, str]:
    """For each variable: ``all`` if some check left it open, else the values at which it was taken.

    A check by algebra leaves open what it does not fix. One in numbers leaves open only what stands in its values.
    """
    lemma = statement.lemmas.get(name)
    domains = {**statement.forall, **(lemma.forall if lemma else {})}
    coverage = {}
    for variable in statement.variables_of(name):
        domain = domains[variable]
        label = str(variable)
        places = [dict(d.at) for _, d in discharges]
        values = list(dict.fromkeys(place[label] for place in places if label in place))
        if any(
            label not in place and (route in _ALGEBRA or label in d.free)
            for place, (route, d) in zip(places, discharges, strict=True)
        ):
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
