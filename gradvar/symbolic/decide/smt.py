"""The second prover: statements about real numbers, decided by z3 and looked at again at exact points.

Symbols stand for real numbers. That quotients, roots and logarithms are defined, each where its branch is
taken, is proved from the hypotheses first, so that no silent hypothesis is added.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp

from gradvar.core.extras import missing
from gradvar.symbolic.decide.points import Point, admits, samples
from gradvar.symbolic.decide.translate import Condition, Translator
from gradvar.symbolic.read.decided import Decided, decisions, note_decided
from gradvar.symbolic.read.evaluate import ExactValues, Truth
from gradvar.symbolic.read.intervals import UNDEFINED, UNKNOWN
from gradvar.symbolic.read.numbers import Inconsistent, Undecided, Vacuous, exact_sign
from gradvar.symbolic.read.usage import note_route

SECONDS = 20
_INTEGER_SECONDS = 2  # a second attempt, over the integers; z3 rarely needs more, or much more


@dataclass(frozen=True)
class Answer:
    """True where the conclusion follows; else a point (exact numbers) where it fails, if a rational one is known."""

    valid: bool
    point: Point | None = None

    def __bool__(self) -> bool:
        return self.valid


def smt_valid(
    hypotheses: Iterable[Any], conclusion: Any, *, seconds: float = SECONDS, where_defined: bool = False
) -> Answer:
    """Decide if the conclusion holds at every real point where the hypotheses do.

    Args:
        hypotheses: SymPy relations or Booleans in real symbols. The assumptions of the symbols (positive,
            integer, ...) count as well.
        conclusion: a relation or Boolean.
        seconds: how long z3 may take.
        where_defined: claim the conclusion only at points where it and the hypotheses are defined; else that they
            are is proved first.

    Raises:
        Undecided: when z3 gives up, or finds a counterexample that only fits what it does not know about
            exponentials, logarithms, constants and integers.
        ValueError: when the hypotheses allow a division by zero, a root of a negative number or the like.
        Vacuous: when no point fulfils the hypotheses (only the conclusion ``false`` may say so).
        Inconsistent: when an exact evaluation contradicts z3; an error of this package.

    >>> x = sp.Symbol("x", positive=True)
    >>> bool(smt_valid([x > 1], x**2 > x)), bool(smt_valid([], x**2 > x))
    (True, False)
    """
    note_route("smt")
    premises, conclusion = tuple(map(sp.sympify, hypotheses)), sp.sympify(conclusion)
    with decisions():
        answer = _answer(_Question(list(premises), conclusion, seconds, where_defined))
    note_decided(Decided(conclusion, premises, where_defined, "SMT", answer.valid))
    return answer


def _answer(question: "_Question") -> Answer:
    try:
        model = question.counterexample(Translator(_z3()))
    except Undecided:
        point = question.failing_sample()
        if point is None:
            raise
        return Answer(False, point)
    return question.valid() if model is None else question.invalid(model)


def find_point(conditions: Iterable[Any], *, seconds: float = SECONDS) -> Point | None:
    """Return a rational point where all conditions are defined and hold; None if there is none.

    Raises:
        Undecided: when z3 gives up, or its point is not rational or not known to be one.
        Inconsistent: when an exact evaluation contradicts z3.
    """
    note_route("smt")
    conditions = tuple(map(sp.sympify, conditions))
    point = search_point(conditions, seconds=seconds)
    if point is None:  # a case that there is not
        note_decided(Decided(sp.false, conditions, where_defined=True, judge="SMT"))
    return point


def search_point(conditions: Iterable[Any], *, seconds: float = SECONDS) -> Point | None:
    """Do what ``find_point`` does; for a decision that looks for a point but rests on no proof by z3."""
    conditions = [sp.sympify(c) for c in conditions]
    point, translator = None, None
    for integers in (False, True):
        translator = Translator(_z3(), integers=integers)
        terms = [translator.boolean(c) for c in conditions]
        parts = [c for term in terms for c in term.conditions]
        formulas = [term.value for term in terms] + [c.formula for c in parts]
        model = _check(
            translator, [*formulas, *translator.definitions(parts), *translator.assumptions()], seconds
        )
        if model is None:
            contradiction = next(iter(samples(conditions, conditions)), None)
            if contradiction is not None:
                raise Inconsistent(f"z3 knows no point for {conditions}, but {contradiction.point} is one")
            return None
        point = _point(translator, model)
        if point is not None and all(admits(s, v) for s, v in point.items()):
            truths = [ExactValues(point).truth(c) for c in conditions]
            if all(truth is True for truth in truths):
                return point
            if translator.is_exact and (False in truths or UNDEFINED in truths):
                raise Inconsistent(f"z3's point {point} does not fulfil {conditions}")
        sample = next(iter(samples(conditions, conditions)), None)
        if sample is not None:
            return {symbol: v for symbol, v in sample.point.items() if symbol in translator.variables}
        if not any(symbol.is_integer for symbol in translator.variables):
            break
        seconds = min(seconds, _INTEGER_SECONDS)
    if point is None:
        raise Undecided("the point that z3 found is not rational")
    raise Undecided(f"the point {point} that z3 found is none: it takes exp, log or integers too freely")


class _Question:
    """A question to z3, and what exact evaluation says about its answer."""

    def __init__(self, hypotheses: list[Any], conclusion: Any, seconds: float, where_defined: bool) -> None:
        self.hypotheses, self.conclusion = hypotheses, conclusion
        self.seconds, self.where_defined = seconds, where_defined
        self.conditions: list[Condition] = []
        self.premises: list[Any] = []
        self.translator: Translator
        self.is_inhabited = conclusion is sp.false

    def counterexample(self, translator: Translator) -> Any:
        """Return z3's model of the hypotheses and the opposite of the conclusion, or None."""
        self.translator = translator
        terms = [translator.boolean(h) for h in self.hypotheses]
        goal = translator.boolean(self.conclusion)
        self.conditions = list({id(c): c for t in (*terms, goal) for c in t.conditions}.values())
        self.premises = [t.value for t in terms] + translator.assumptions()
        if self.where_defined:
            self.premises += [c.formula for c in self.conditions]
        else:
            self._prove_defined()
        opposite = translator.z3.Not(goal.value)
        return _check(
            translator, [*self.premises, *translator.definitions(self.conditions), opposite], self.seconds
        )

    def _prove_defined(self) -> None:
        z3 = self.translator.z3
        for i, condition in enumerate(self.conditions):
            definitions = self.translator.definitions(self.conditions[:i], condition.partials)
            model = _check(
                self.translator, [*self.premises, *definitions, z3.Not(condition.formula)], self.seconds
            )
            if model is None:
                continue
            lacking = [p.fault for p in self.translator.partials if z3.is_false(model.eval(p.needed))]
            fault = (lacking or ["an undefined value"])[0]
            raise ValueError(f"hypotheses: they allow {fault}; add what rules it out")

    def valid(self) -> Answer:
        """Look at points after z3 says that the conclusion follows."""
        for sample in samples([*self.hypotheses, self.conclusion], self.hypotheses):
            truth = sample.values.truth(self.conclusion)
            if truth is False or (truth is UNDEFINED and not self.where_defined):
                raise Inconsistent(f"z3 proves {self.conclusion}, which is {truth} at {sample.point}")
            self.is_inhabited |= truth is not UNDEFINED
        if not self.is_inhabited:
            formulas = [*self.premises, *self.translator.definitions(self.conditions)]
            if _check(self.translator, formulas, self.seconds) is None:
                raise Vacuous(f"hypotheses: no point fulfils {self.hypotheses}; they imply anything")
        return Answer(True)

    def invalid(self, model: Any) -> Answer:
        """Return a checked counterexample; ask again over the integers where z3's is none."""
        point = _point(self.translator, model)
        if point is not None and all(admits(s, v) for s, v in point.items()):
            truths = [_truth(h, point) for h in self.hypotheses]
            outcome = _truth(self.conclusion, point)
            if all(truth is True for truth in truths) and outcome is False:
                return Answer(False, point)
            if self.translator.is_exact and (False in truths or outcome is True):
                raise Inconsistent(f"z3's counterexample {point} to {self.conclusion} is none")
        failing = self.failing_sample(_near(self.translator, model))
        if failing is not None or self.translator.is_exact:
            return Answer(False, failing)
        if not self.translator.integers and any(s.is_integer for s in self.translator.variables):
            self.seconds = min(self.seconds, _INTEGER_SECONDS)
            model = self.counterexample(Translator(_z3(), integers=True))
            return self.valid() if model is None else self.invalid(model)
        raise Undecided(
            f"{self.conclusion}: z3 has a counterexample, but it takes exp, log or integers too freely"
        )

    def failing_sample(self, seeds: Sequence[Point] = ()) -> Point | None:
        """Return a point among the samples where the hypotheses hold and the conclusion does not."""
        for sample in samples([*self.hypotheses, self.conclusion], self.hypotheses, seeds):
            if sample.values.truth(self.conclusion) is False:
                return sample.point
        return None


def _z3() -> Any:
    try:
        import z3
    except ImportError as error:
        raise ImportError(missing("z3", "the SMT route")) from error
    return z3


def _check(translator: Translator, constraints: Sequence[Any], seconds: float) -> Any:
    """Return a model, or None when there is none."""
    z3 = translator.z3
    solver = z3.Solver() if translator.integers else z3.SolverFor("QF_NRA")
    solver.set("timeout", int(seconds * 1000))
    solver.add(*constraints)
    result = solver.check()
    if result == z3.unknown:
        raise Undecided(f"z3 gave up after {seconds} s: {solver.reason_unknown()}")
    return solver.model() if result == z3.sat else None


def _point(translator: Translator, model: Any) -> Point | None:
    """Return z3's model as exact numbers; None where one of them is irrational."""
    values = {s: model.eval(v, model_completion=True) for s, v in translator.variables.items()}
    if not all(translator.z3.is_rational_value(v) for v in values.values()):
        return None
    return {s: sp.Rational(v.numerator_as_long(), v.denominator_as_long()) for s, v in values.items()}


def _near(translator: Translator, model: Any) -> list[Point]:
    """Return rational points close to z3's model, integers rounded down or up."""
    points: list[Point] = [{}, {}]
    for symbol, variable in translator.variables.items():
        v = model.eval(variable, model_completion=True)
        v = v.approx(20) if translator.z3.is_algebraic_value(v) else v
        if not translator.z3.is_rational_value(v):
            return []
        value = sp.Rational(v.numerator_as_long(), v.denominator_as_long())
        ends = (sp.floor(value), sp.ceiling(value)) if symbol.is_integer else (value, value)
        for point, end in zip(points, ends, strict=True):
            point[symbol] = end
    return points


def _truth(statement: Any, point: Point) -> Truth:
    """Return the truth at a point; where intervals leave an equality open, algebra is asked."""
    truth = ExactValues(point).truth(statement)
    if truth is UNKNOWN and isinstance(statement, sp.core.relational.Relational):
        try:
            sign = exact_sign((statement.lhs - statement.rhs).subs(point))
        except (Undecided, TypeError):
            return UNKNOWN
        return bool(statement.func(sp.Integer(sign), 0))
    return truth
