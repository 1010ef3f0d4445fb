"""Discharging an obligation: the values of a goal's quantities are put into its conclusion, which is then decided.

A step computes quantities by its route (algebra, enumeration, shipped code, ...) and hands their values over:

    claim.goal("unbiased").holds({w: computed}, at={G: 4})

The conclusion comes from the statement, never from the step, so a step cannot prove something else unnoticed.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from gradvar.symbolic.claims.decision import (
    Values,
    decide,
    evaluated,
    free_after,
    note_refuted,
    require_close,
)
from gradvar.symbolic.claims.statement import Statement, Variable
from gradvar.symbolic.decide.equality import Rejected
from gradvar.symbolic.read.decided import decisions

_LARGEST_TOLERANCE = 1e-4

Place = Mapping[Variable, Any]


@dataclass(frozen=True)
class Discharge:
    """One decided obligation: its name, at which values of the variables, and which of them stayed free.

    ``holds`` is false for a counterexample; ``without`` names the hypothesis that it does without. ``using`` are the
    lemmas, and ``where`` the further conditions, that it rests on; ``parts`` are these as formulas.
    """

    name: str
    holds: bool
    at: tuple[tuple[str, str], ...]
    free: tuple[str, ...]
    without: str = ""
    using: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    parts: tuple[Any, ...] = ()


_discharges: ContextVar[list[Discharge] | None] = ContextVar("discharges", default=None)


@contextmanager
def discharging() -> Iterator[list[Discharge]]:
    """Collect the obligations that are decided meanwhile."""
    discharges: list[Discharge] = []
    token = _discharges.set(discharges)
    try:
        yield discharges
    finally:
        _discharges.reset(token)


@dataclass(frozen=True)
class Goal:
    """An obligation of a statement: a goal or a lemma of this name."""

    statement: Statement
    name: str

    @property
    def _conclusion(self) -> Any:
        goals, lemmas = self.statement.goals, self.statement.lemmas
        return sp.sympify(goals[self.name] if self.name in goals else lemmas[self.name].conclusion)

    def holds(
        self,
        values: Values | None = None,
        *,
        at: Place | None = None,
        where: Sequence[Any] = (),
        using: Mapping[str, Values] | None = None,
        tolerance: float = 0.0,
    ) -> None:
        """Decide that the conclusion follows when its quantities have these values.

        Args:
            values: an expression for each quantity of the conclusion, in the variables and in any further symbols,
                or an array of them; arrays are compared entry by entry.
            at: fixed values of variables; the others stay free, and the conclusion is decided for all of them.
            where: further relations: the conclusion is decided on the part of the domain where they hold.
            using: lemmas by name, with the values of their quantities; where their conditions hold, their conclusions
                count as premises.
            tolerance: for floats (the exact engine): how far the two sides of an equality may be apart.

        An implication whose antecedent is false at these values is passed over: nothing was decided, and nothing is
        noted.

        Raises:
            Rejected: the conclusion is false.
            Undecided: neither proved nor refuted.
            ValueError: a value is missing, a name is unknown, or the place lies outside the hypotheses.
        """
        values, at, using = dict(values or {}), dict(at or {}), dict(using or {})
        if tolerance > _LARGEST_TOLERANCE:
            raise ValueError(f"tolerance: {tolerance}; give at most {_LARGEST_TOLERANCE}")
        fixed = self._place(at if tolerance else _exact(at, "at"))
        premises = [] if tolerance else self._premises(fixed, values, where)
        for lemma, lemma_values in using.items():
            if lemma not in self.statement.lemmas:
                raise ValueError(f"using: there is no lemma {lemma!r}")
            instances = _entries(lemma_values)
            premises += [Goal(self.statement, lemma)._instance({**fixed, **entry}) for entry in instances]
        free: set[sp.Symbol] = set()
        decided = False
        for entry in _entries(self._needed(values) if tolerance else _exact(self._needed(values))):
            assignment = {**fixed, **entry}
            what = f"{self.name}{_shown(at)}"
            if tolerance:
                require_close(self._conclusion, assignment, tolerance, what)
                decided = True
            else:
                decided |= decide(self._conclusion, assignment, premises, what)
            free |= self._conclusion.free_symbols - assignment.keys()
            free |= set().union(*(sp.sympify(value).free_symbols for value in entry.values()))
        if decided:
            self._note(True, at, free, using=tuple(using), where=where)

    def fails(self, values: Values | None = None, *, at: Place | None = None, without: str = "") -> None:
        """Decide that the conclusion is false at numbers: a counterexample.

        Args:
            values: the quantities' exact values there; of arrays, one entry must break the conclusion.
            at: the variables' values. They lie in their domains, and every hypothesis holds there but ``without``.
            without: the name of a hypothesis that is false there; the counterexample shows that it is needed.

        Raises:
            Rejected: the conclusion holds there.
            ValueError: a variable or value is missing, or the place does not lie inside the hypotheses.
        """
        values, at = dict(values or {}), dict(at or {})
        fixed = self._place(_exact(at, "at"))
        if without and without not in self.statement.given:
            raise ValueError(f"without: there is no hypothesis {without!r}")
        for entry in _entries(_exact(self._needed(values))):
            assignment = {**fixed, **entry}
            if left := free_after(self._conclusion, assignment):
                raise ValueError(f"values: {left} is left; a counterexample is in numbers")
            try:
                with decisions():
                    decide(self._conclusion, assignment, (), self.name)
            except Rejected:
                self._inside(assignment, at, without)
                note_refuted(self._conclusion, assignment)
                self._note(False, at, set(), without=without)
                return
        raise Rejected(f"{self.name}: it holds{_shown(at) or ' at these values'}; this is no counterexample")

    def _inside(self, assignment: Values, at: Place, without: str) -> None:
        """Check that every hypothesis holds at these numbers, but for the one that is done without."""
        for name, hypothesis in self.statement.given.items():
            if hypothesis.relation is None:
                continue
            if left := free_after(sp.sympify(hypothesis.relation), assignment):
                raise ValueError(f"values: hypothesis {name!r} is about {left} too; give numbers for it")
            try:
                decide(hypothesis.relation, assignment, (), name)
                inside = True
            except Rejected:
                inside = False
            if inside == (name == without):
                state = "holds" if inside else "is false"
                raise ValueError(f"at: hypothesis {name!r} {state}{_shown(at) or ' at this place'}")

    def induction(
        self, on: sp.Symbol, *, start: int, base: Values, step: Values, where: Sequence[Any] = ()
    ) -> None:
        """Prove the conclusion for all whole ``on`` >= ``start``.

        Args:
            on: the variable of the induction.
            start: its first value.
            base: the quantities' values at ``start``.
            step: the quantities' values at ``on + 1``, in terms of ``on`` and of the quantities at ``on``.
            where: further relations that hold throughout.
        """
        domain = self._domains[on]
        if domain.contains(start - 1) or not domain.contains(start):
            raise ValueError(f"start: {start} is not the first value of {on}")
        decide(
            self._conclusion, {on: sp.Integer(start), **base}, list(where), f"{self.name} at {on} = {start}"
        )
        following = sp.Dummy("next", integer=True, positive=True)
        # The quantities at ``on`` are symbols apart: their values at ``on + 1`` are put in for the others.
        before = {q: sp.Dummy(q.name, **q.assumptions0) for q in self.statement.quantities}
        renamed = {
            quantity: sp.sympify(value).subs(on, following - 1).xreplace(before)
            for quantity, value in step.items()
        }
        conditions = where
        where = [sp.sympify(relation).xreplace(before) for relation in where]
        hypothesis = self._conclusion.subs(on, following - 1).xreplace(before)
        solved = _explicit(hypothesis)  # a quantity that the hypothesis of the induction gives outright
        values = {quantity: value.subs(solved) for quantity, value in renamed.items()}
        others = [
            r
            for s, d in self._domains.items()
            if s != on and isinstance(s, sp.Symbol)
            for r in d.relations(s)
        ]
        premises = [following - 1 >= start, *others, *where] + ([] if solved else [hypothesis])
        decide(self._conclusion, {on: following, **values}, premises, f"{self.name}, from {on} to {on} + 1")
        variables = {on, *(s for s in self._domains if isinstance(s, sp.Symbol))}
        self._note(True, {}, variables, where=conditions)

    def _instance(self, assignment: Values) -> Any:
        """The conclusion at these values, as a premise under the conditions that the lemma has there."""
        for variable, domain in self._domains.items():
            if variable in assignment and not domain.admits(assignment[variable]):
                raise ValueError(
                    f"using: lemma {self.name!r} says nothing at {variable} = {assignment[variable]}"
                )
        conditions = [
            relation
            for variable, domain in self._domains.items()
            if isinstance(variable, sp.Symbol) and variable in self._conclusion.free_symbols
            for relation in domain.relations(variable)
        ]
        conditions += self.statement.lemmas[self.name].given
        placed = [evaluated(condition, assignment) for condition in conditions]
        if sp.false in placed:
            raise ValueError(f"using: lemma {self.name!r} says nothing{_shown(assignment)}")
        conclusion = self._conclusion.subs(assignment)
        needed = [condition for condition in placed if condition != sp.true]
        return sp.Implies(sp.And(*needed), conclusion) if needed else conclusion

    @property
    def _domains(self) -> dict[Variable, Any]:
        lemma = self.statement.lemmas.get(self.name)
        return {**self.statement.forall, **(lemma.forall if lemma else {})}

    def _place(self, at: Place) -> dict[sp.Symbol, Any]:
        """Check that fixed variables lie in their domains, and return those that are symbols."""
        for variable, value in at.items():
            if variable not in self._domains:
                raise ValueError(f"at: {variable} is no variable of the statement")
            if not self._domains[variable].contains(value):
                raise ValueError(f"at: {variable} = {value} is outside of its domain")
        return {s: sp.sympify(v) for s, v in at.items() if isinstance(s, sp.Symbol)}

    def _premises(self, fixed: dict[sp.Symbol, Any], values: Values, where: Sequence[Any]) -> list[Any]:
        """What may be assumed: domains of the free variables, hypotheses at these values, and ``where``."""
        lemma = self.statement.lemmas.get(self.name)
        relations = [
            relation
            for variable, domain in self._domains.items()
            if isinstance(variable, sp.Symbol) and variable not in fixed
            for relation in domain.relations(variable)
        ]
        given = list(lemma.given) if lemma else []
        if not lemma:
            given += [h.relation for h in self.statement.given.values() if h.relation is not None]
        scalars = {s: sp.sympify(v) for s, v in values.items() if np.ndim(np.asarray(v, object)) == 0}
        for relation in given:
            placed = sp.sympify(relation).subs({**fixed, **scalars})
            if placed == sp.false:
                raise ValueError(f"at: a hypothesis is false there, {relation}; nothing is claimed of it")
            relations.append(placed)
        return [r for r in [*map(sp.sympify, relations), *map(sp.sympify, where)] if r != sp.true]

    def _needed(self, values: Values) -> Values:
        """Check that every quantity of the conclusion has a value, and that nothing else is given."""
        quantities = self.statement.quantities
        if unknown := [s for s in values if s not in quantities]:
            raise ValueError(f"values: {unknown[0]} is no quantity of the statement")
        if missing := [s for s in quantities if s in self._conclusion.free_symbols and s not in values]:
            raise ValueError(f"values: {missing[0]} is missing, and {self.name!r} is about it")
        return values

    def _note(
        self, holds: bool, at: Place, free: set[sp.Symbol], *, where: Sequence[Any] = (), **more: Any
    ) -> None:
        if (discharges := _discharges.get()) is not None:
            place = tuple((str(variable), str(value)) for variable, value in at.items())
            words, parts = tuple(map(str, where)), tuple(map(sp.sympify, where))
            discharges.append(
                Discharge(
                    self.name, holds, place, tuple(sorted(map(str, free))), where=words, parts=parts, **more
                )
            )


def _explicit(hypothesis: Any) -> dict[sp.Symbol, sp.Expr]:
    """The quantity on the left of an equality, with its value on the right."""
    if isinstance(hypothesis, sp.Eq) and isinstance(hypothesis.lhs, sp.Symbol):
        return {hypothesis.lhs: hypothesis.rhs}
    return {}


def _entries(values: Values) -> Iterator[dict[sp.Symbol, Any]]:
    """The values entry by entry: scalars are the same in all, arrays are of one shape, and not empty."""
    arrays = {symbol: np.asarray(value, object) for symbol, value in values.items()}
    shapes = {array.shape for array in arrays.values() if array.ndim}
    if len(shapes) > 1:
        raise ValueError(f"values: arrays of shapes {sorted(shapes)}; give one shape")
    shape = shapes.pop() if shapes else ()
    if 0 in shape:
        raise ValueError("values: an empty array proves nothing")
    for index in np.ndindex(shape):
        yield {symbol: array[index] if array.ndim else array.item() for symbol, array in arrays.items()}


def _exact(values: Any, argument: str = "values") -> Any:
    """Check that no value is a float: a float decides nothing exactly."""
    for symbol, value in values.items():
        for number in np.asarray(value, object).reshape(-1):
            if isinstance(number, (float, np.floating)) or (
                isinstance(number, sp.Basic) and number.has(sp.Float)
            ):
                raise ValueError(
                    f"{argument}: {symbol} is the float {number}; give an exact number, or a tolerance"
                )
    return values


def _shown(at: Mapping[Any, Any]) -> str:
    return " at " + ", ".join(f"{variable} = {value}" for variable, value in at.items()) if at else ""
