"""Discharging an obligation: the values of a goal's quantities are put into its conclusion, which is then decided.

A step computes quantities by its route (algebra, enumeration, shipped code, ...) and hands their values over:

    claim.goal("unbiased").holds({w: computed}, at={G: 4})

The conclusion comes from the statement, never from the step, so a step cannot prove something else unnoticed.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from sympy.concrete.expr_with_limits import ExprWithLimits

from gradvar.symbolic.claims.statement import Statement, Variable
from gradvar.symbolic.decide.equality import Rejected, equal, require
from gradvar.symbolic.decide.smt import smt_valid
from gradvar.symbolic.read.numbers import Undecided, Vacuous, exact_sign

Values = Mapping[sp.Symbol, Any]
Place = Mapping[Variable, Any]


@dataclass(frozen=True)
class Discharge:
    """One decided obligation: its name, at which values of the variables, and which of them stayed free.

    ``holds`` is false for a counterexample; ``without`` names the hypothesis that it does without. ``region`` says
    that further conditions limited it to a part of the domain.
    """

    name: str
    holds: bool
    at: tuple[tuple[str, str], ...]
    free: tuple[str, ...]
    without: str = ""
    using: tuple[str, ...] = ()
    region: bool = False


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
            using: lemmas by name, with the values of their quantities; their conclusions count as premises.
            tolerance: for floats (the exact engine): how far the two sides of an equality may be apart.

        Raises:
            Rejected: the conclusion is false.
            Undecided: neither proved nor refuted.
            ValueError: a value is missing, a name is unknown, or the place lies outside the hypotheses.
        """
        values, at, using = dict(values or {}), dict(at or {}), dict(using or {})
        fixed = self._place(at)
        premises = [] if tolerance else self._premises(fixed, values, where)
        for lemma, lemma_values in using.items():
            if lemma not in self.statement.lemmas:
                raise ValueError(f"using: there is no lemma {lemma!r}")
            goal = Goal(self.statement, lemma)
            premises += [goal._conclusion.subs({**fixed, **entry}) for entry in _entries(lemma_values)]
        free: set[sp.Symbol] = set()
        for entry in _entries(self._needed(values) if tolerance else _exact(self._needed(values))):
            assignment = {**fixed, **entry}
            what = f"{self.name}{_shown(at)}"
            if tolerance:
                _require_close(self._conclusion, assignment, tolerance, what)
            else:
                decide(self._conclusion, assignment, premises, what)
            free |= self._conclusion.free_symbols - assignment.keys()
            free |= set().union(*(sp.sympify(value).free_symbols for value in entry.values()))
        self._note(True, at, free, using=tuple(using), region=bool(where))

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
        fixed = self._place(at)
        first = next(_entries(_exact(self._needed(values))))
        for name, hypothesis in self.statement.given.items():
            if hypothesis.relation is None:
                continue
            try:
                decide(hypothesis.relation, {**fixed, **first}, (), name)
                inside = True
            except Rejected:
                inside = False
            if inside == (name == without):
                state = "holds" if inside else "is false"
                raise ValueError(f"at: hypothesis {name!r} {state}{_shown(at) or ' at this place'}")
        if without and without not in self.statement.given:
            raise ValueError(f"without: there is no hypothesis {without!r}")
        for entry in _entries(values):
            assignment = {**fixed, **entry}
            if left := _bound_free(self._conclusion, assignment):
                raise ValueError(f"values: {left} is left; a counterexample is in numbers")
            try:
                decide(self._conclusion, assignment, (), self.name)
            except Rejected:
                self._note(False, at, set(), without=without)
                return
        raise Rejected(f"{self.name}: it holds{_shown(at) or ' at these values'}; this is no counterexample")

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
        self._note(True, {}, {on, *(s for s in self._domains if isinstance(s, sp.Symbol))})

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

    def _note(self, holds: bool, at: Place, free: set[sp.Symbol], **more: Any) -> None:
        if (discharges := _discharges.get()) is not None:
            place = tuple((str(variable), str(value)) for variable, value in at.items())
            discharges.append(Discharge(self.name, holds, place, tuple(sorted(map(str, free))), **more))


def decide(conclusion: Any, assignment: Values, premises: Sequence[Any], what: str) -> None:
    """Decide a conclusion with these values in place of its symbols.

    Args:
        conclusion: a relation, or And, Or, Not, Implies of relations.
        assignment: the values of its symbols; those without one stay free, and it is decided for all of them.
        premises: relations that may be assumed.
        what: opens the message of a rejection.

    Raises:
        Rejected: it is false somewhere.
        Undecided: neither proved nor refuted.
    """
    conclusion = sp.sympify(conclusion)
    if isinstance(conclusion, sp.And):
        for part in conclusion.args:
            decide(part, assignment, premises, what)
    elif isinstance(conclusion, sp.Implies):
        antecedent = _evaluated(conclusion.args[0], assignment)
        if antecedent != sp.false:
            try:
                decide(conclusion.args[1], assignment, [*premises, antecedent], what)
            except Vacuous:  # a case that these premises exclude; they must not exclude everything
                smt_valid(premises, sp.true, where_defined=True)
    elif isinstance(conclusion, sp.Eq):
        left, right = (_value(side, assignment) for side in conclusion.args)
        if {left, right} & {sp.oo, -sp.oo}:  # a limit
            require(left == right, f"{what}: {left} is not {right}")
        else:
            equal(left, right, what, where=list(premises))
    elif isinstance(conclusion, sp.core.relational.Relational):
        left, right = (_value(side, assignment) for side in conclusion.args)
        if (left - right).free_symbols:
            answer = smt_valid(premises, conclusion.func(left, right))
            require(answer, f"{what}: {left} {conclusion.rel_op} {right} is false at {answer.point}")
        else:
            require(
                _compare(left, right, conclusion.rel_op),
                f"{what}: {left} {conclusion.rel_op} {right} is false",
            )
    else:
        placed = _evaluated(conclusion, assignment)
        if placed.free_symbols:
            answer = smt_valid(premises, placed)
            require(answer, f"{what}: {placed} is false at {answer.point}")
        else:
            require(placed, f"{what}: {conclusion} is false")


def _compare(left: sp.Expr, right: sp.Expr, operator: str) -> bool:
    if left in (sp.oo, -sp.oo) or right in (sp.oo, -sp.oo):
        return bool(sp.core.relational.Relational(left, right, operator))
    sign = exact_sign(left - right)
    return {"!=": sign != 0, "<": sign < 0, "<=": sign <= 0, ">": sign > 0, ">=": sign >= 0}[operator]


def _value(side: Any, assignment: Values) -> sp.Expr:
    """One side of a relation at these values; limits, sums and derivatives in it are carried out afterwards."""
    side = sp.sympify(side)
    if side.has(sp.Limit, sp.Derivative, ExprWithLimits):  # their bound symbols stay
        return side.subs(_symbols_last(assignment)).doit()
    exact = {symbol: sp.sympify(value) for symbol, value in assignment.items()}
    placed = side.xreplace({symbol: value for symbol, value in exact.items() if not value.is_number})
    return placed.xreplace({symbol: value for symbol, value in exact.items() if value.is_number})


def _evaluated(condition: Any, assignment: Values) -> Any:
    """A Boolean formula at these values, its relations between numbers decided exactly."""
    condition = sp.sympify(condition)
    if isinstance(condition, sp.core.relational.Relational):
        left, right = (_value(side, assignment) for side in condition.args)
        if (left - right).free_symbols:
            return condition.func(left, right)
        if isinstance(condition, sp.Eq):
            return sp.sympify(exact_sign(left - right) == 0)
        return sp.sympify(_compare(left, right, condition.rel_op))
    if condition.args:
        return condition.func(*(_evaluated(part, assignment) for part in condition.args))
    return condition


def _symbols_last(assignment: Values) -> list[tuple[sp.Symbol, Any]]:
    """Quantities first: their values may hold variables that have a fixed value."""
    pairs = [(symbol, sp.sympify(value)) for symbol, value in assignment.items()]
    return sorted(pairs, key=lambda pair: pair[1].is_number)


def _bound_free(conclusion: Any, assignment: Values) -> set[sp.Symbol]:
    """The symbols that are left; those bound by a limit or a sum do not count."""
    placed = conclusion.subs(_symbols_last(assignment)) if conclusion.args else conclusion
    return placed.free_symbols if placed not in (sp.true, sp.false) else set()


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


def _exact(values: Values) -> Values:
    """Check that no value is a float: a float decides nothing exactly."""
    for symbol, value in values.items():
        for number in np.asarray(value, object).reshape(-1):
            if isinstance(number, (float, np.floating)) or (
                isinstance(number, sp.Basic) and number.has(sp.Float)
            ):
                raise ValueError(
                    f"values: {symbol} is the float {number}; give an exact number, or a tolerance"
                )
    return values


def _require_close(conclusion: Any, assignment: Values, tolerance: float, what: str) -> None:
    """Compare floats: an equality up to the tolerance, an inequality by more than it."""
    if isinstance(conclusion, sp.And):
        for part in conclusion.args:
            _require_close(part, assignment, tolerance, what)
        return
    if not isinstance(conclusion, sp.core.relational.Relational):
        raise Undecided(f"{what}: floats decide an equality or an inequality only, not {conclusion}")
    digits = max(15, 10 - round(math.log10(tolerance)))
    left, right = (sp.N(_value(side, assignment), digits) for side in conclusion.args)
    gap = left - right
    close = {
        "==": abs(gap) <= tolerance, "!=": abs(gap) > tolerance, "<": gap < -tolerance, "<=": gap <= tolerance,
        ">": gap > tolerance, ">=": gap >= -tolerance,
    }  # fmt: skip
    require(
        close[conclusion.rel_op], f"{what}: {left} {conclusion.rel_op} {right} is false within {tolerance}"
    )


def _shown(at: Place) -> str:
    return " at " + ", ".join(f"{variable} = {value}" for variable, value in at.items()) if at else ""
