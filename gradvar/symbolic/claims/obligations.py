"""What a statement obliges a claim to show, and which steps showed it: nothing left over on either side."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gradvar.symbolic.claims.claim import Claim
from gradvar.symbolic.claims.extent import coverage, gaps, says_nothing
from gradvar.symbolic.claims.outcome import Outcome


@dataclass(frozen=True)
class Obligation:
    """A goal or lemma: its formula, who discharged it by which routes, and for which values of the variables.

    ``kind`` is goal, lemma, or cited. ``refuted`` is true where a counterexample breaks it. ``steps`` maps the names
    of steps to their routes. ``coverage`` says for each variable if it stayed free, or at which values it was taken.
    ``where`` are the further conditions under which some step showed it: regions, or how its symbols are bounded.
    ``left_out`` says where no step showed it.
    """

    name: str
    kind: str
    formula: str
    refuted: bool
    steps: dict[str, str]
    coverage: dict[str, str]
    where: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def obligations(claim: Claim, outcomes: Iterable[Outcome]) -> tuple[Obligation, ...]:
    """Return every obligation of the claim's statements, with how it was discharged."""
    routes = {step.name: step.route for step in claim.steps}
    passed = [(o, d) for o in outcomes if o.holds and o.kind != "sabotage" for d in o.discharged]
    listed = []
    for statement in claim.statements:
        for name in (*statement.goals, *statement.lemmas):
            mine = [(o, d) for o, d in passed if d.name == name]
            lemma = statement.lemmas.get(name)
            shown = [(routes.get(o.name, ""), d) for o, d in mine if d.holds]
            kind = "goal" if lemma is None else "cited" if lemma.cited else "lemma"
            listed.append(
                Obligation(
                    name,
                    kind,
                    statement.formula(name),
                    any(not d.holds and not d.without for _, d in mine),
                    {o.name: routes.get(o.name, "counterexample") for o, d in mine},
                    coverage(statement, name, shown),
                    tuple(dict.fromkeys(condition for _, d in mine for condition in d.where)),
                    tuple(gaps(statement, name, shown)) if shown else (),
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
    missing += [*_unused_lemmas(claim, outcomes), *_circles(outcomes), *_empty_goals(claim)]
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
    complaints += [f"{label}: {gap}" for gap in obligation.left_out]
    return complaints


def _unused_lemmas(claim: Claim, outcomes: Sequence[Outcome]) -> list[str]:
    used = {name for o in outcomes if o.holds for d in o.discharged for name in d.using}
    names = [name for statement in claim.statements for name in statement.lemmas]
    return [
        f"lemma {name!r}: no goal and no other lemma uses it (Goal.holds, using=)"
        for name in names
        if name not in used
    ]


def _empty_goals(claim: Claim) -> list[str]:
    """List goals that are true whatever their quantities are: no value shows anything of them."""
    return [
        f"goal {name!r}: it holds whatever its quantities are, so it says nothing of them"
        for statement in claim.statements
        for name in statement.goals
        if says_nothing(statement, name)
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
