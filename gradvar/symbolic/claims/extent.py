"""For which values of its variables an obligation was shown, one variable at a time and all of them together."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sympy as sp
from sympy.concrete.expr_with_limits import ExprWithLimits

from gradvar.symbolic.claims.decision import evaluated
from gradvar.symbolic.claims.goal import Discharge
from gradvar.symbolic.claims.statement import Domain, Statement, Variable
from gradvar.symbolic.decide.points import samples
from gradvar.symbolic.decide.smt import smt_valid
from gradvar.symbolic.read.numbers import Undecided

_ALGEBRA = ("sympy", "smt")  # routes whose values hold for whatever they do not fix
_MOST_CELLS = 20_000

Shown = Sequence[tuple[str, Discharge]]  # route, and what was decided by it


def coverage(statement: Statement, name: str, shown: Shown) -> dict[str, str]:
    """For each variable: ``all`` if some check left it open, else the values at which it was taken.

    A check by algebra leaves open what it does not fix. One in numbers leaves open only what stands in its values.
    """
    domains = _domains(statement, name)
    covered = {}
    for variable in statement.variables_of(name):
        label, domain = str(variable), domains[variable]
        values = list(dict.fromkeys(place[label] for _, d in shown if label in (place := dict(d.at))))
        if any(_is_open(label, route, d) for route, d in shown):
            covered[label] = "all" + (f"; also at {_listed(values)}" if values else "")
        elif domain.values and set(map(str, domain.values)) <= set(values):
            covered[label] = f"all of {_listed(values)}"
        else:
            covered[label] = _listed(values)
    return covered


def gaps(statement: Statement, name: str, shown: Shown) -> list[str]:
    """Say where nothing was shown: values of one variable, values of several at once, or a part of the domain.

    Conditions (``where``) over the statement's own variables are parts of the domain, which they have to fill together.
    Conditions on further symbols say what these symbols are.
    """
    alone = [
        f"{variable} was taken at {values or 'no value'} only, and its domain is larger"
        for variable, values in coverage(statement, name, shown).items()
        if not values.startswith("all")
    ]
    return alone or _gap_of_all(statement, name, shown)


def says_nothing(statement: Statement, name: str) -> bool:
    """Return True if a goal is proved for whatever numbers stand for its quantities."""
    goal = sp.sympify(statement.goals[name])
    if goal.has(sp.Limit, sp.Derivative, ExprWithLimits):
        return False
    bounds = [r for s, d in statement.forall.items() if isinstance(s, sp.Symbol) for r in d.relations(s)]
    if any(sample.values.truth(goal) is not True for sample in samples([goal], bounds)):
        return False
    try:
        return bool(smt_valid(bounds, goal))
    except (Undecided, TypeError, ValueError):
        return False


def _gap_of_all(statement: Statement, name: str, shown: Shown) -> list[str]:
    """Look for the first combination of finitely many values, or the first part of the domain, that is left out."""
    domains = _domains(statement, name)
    variables = statement.variables_of(name)
    fixed = {label for _, d in shown for label, _ in d.at}
    finite = [v for v in variables if domains[v].values and str(v) in fixed]
    loose = [str(v) for v in variables if v not in finite]
    own = {v for v in variables if isinstance(v, sp.Symbol)}
    boxes: dict[
        tuple[str | None, ...], list[Any]
    ] = {}  # value, or None for all of them -> parts of the domain
    for route, d in shown:
        place = dict(d.at)
        still = [str(v) for v in finite if str(v) not in place]
        if all(_is_open(label, route, d) for label in (*loose, *still)):
            part = sp.And(*(c for c in d.parts if c.free_symbols <= own))
            boxes.setdefault(tuple(place.get(str(v)) for v in finite), []).append(part)
    if not boxes:
        return [f"no step leaves {', '.join(loose)} open together"]
    settled: dict[Any, bool] = {}
    for count, cell in enumerate(itertools.product(*(domains[v].values for v in finite))):
        words = tuple(map(str, cell))
        parts = [p for box, listed in boxes.items() if _holds_cell(box, words) for p in listed]
        where = "".join(f" at {v} = {word}" for v, word in zip(finite, words, strict=True))
        if not parts or count == _MOST_CELLS:
            return [f"nothing was shown{where}"]
        if sp.true in parts:
            continue
        at = {v: sp.sympify(x) for v, x in zip(finite, cell, strict=True) if isinstance(v, sp.Symbol)}
        together = sp.Or(*parts)
        question = (together, tuple(at.items()) if together.free_symbols & at.keys() else ())
        if question not in settled:
            settled[question] = _fills(statement, name, together, at)
        if not settled[question]:
            listed = " or ".join(map(str, dict.fromkeys(parts)))
            return [f"it was shown where {listed}, which is not all{where}"]
    return []


def _holds_cell(box: Iterable[str | None], words: Iterable[str]) -> bool:
    return all(value is None or value == word for value, word in zip(box, words, strict=True))


def _fills(statement: Statement, name: str, together: Any, at: Mapping[Any, Any]) -> bool:
    """Return True if the domain and the hypotheses leave nothing outside of these parts."""
    lemma = statement.lemmas.get(name)
    given = lemma.given if lemma else [h.relation for h in statement.given.values() if h.relation is not None]
    relations = [
        relation
        for variable, domain in _domains(statement, name).items()
        if isinstance(variable, sp.Symbol) and variable not in at
        for relation in domain.relations(variable)
    ]
    premises = [evaluated(relation, at) for relation in [*relations, *given, _antecedent(statement, name)]]
    try:
        return bool(smt_valid([p for p in premises if p != sp.true], evaluated(together, at)))
    except (Undecided, TypeError, ValueError):
        return False


def _antecedent(statement: Statement, name: str) -> Any:
    """Where a goal says something: what its implications start from, if all parts of it are implications."""
    goal = sp.sympify(statement.goals.get(name, sp.true))
    parts = goal.args if isinstance(goal, sp.And) else (goal,)
    if all(isinstance(part, sp.Implies) for part in parts):
        return sp.Or(*(part.args[0] for part in parts))
    return sp.true


def _domains(statement: Statement, name: str) -> dict[Variable, Domain]:
    lemma = statement.lemmas.get(name)
    return {**statement.forall, **(lemma.forall if lemma else {})}


def _is_open(label: str, route: str, discharge: Discharge) -> bool:
    return label not in dict(discharge.at) and (route in _ALGEBRA or label in discharge.free)


def _listed(values: Sequence[Any]) -> str:
    texts = list(map(str, values))
    return (
        ", ".join(texts)
        if len(texts) <= 8
        else f"{', '.join(texts[:3])}, ..., {texts[-1]} ({len(texts)} values)"
    )
