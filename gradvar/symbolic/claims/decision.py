"""Deciding a conclusion: values are put in for its symbols, and it is proved, or rejected."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import sympy as sp
from sympy.concrete.expr_with_limits import ExprWithLimits

from gradvar.symbolic.decide.equality import equal, require
from gradvar.symbolic.decide.nearness import deciding_within
from gradvar.symbolic.decide.points import samples
from gradvar.symbolic.decide.smt import smt_valid
from gradvar.symbolic.read.decided import Decided, Joined, deciding, decisions, note_decided, note_obstacle
from gradvar.symbolic.read.numbers import Undecided, Vacuous, exact_sign

Values = Mapping[sp.Symbol, Any]
_SETS = (sp.And, sp.Or, sp.Equivalent)  # Booleans whose parts SymPy keeps in a set


def decide(conclusion: Any, assignment: Values, premises: Sequence[Any], what: str) -> bool:
    """Decide a conclusion with these values in place of its symbols.

    Args:
        conclusion: a relation, or And, Or, Not, Implies of relations.
        assignment: the values of its symbols; those without one stay free, and it is decided for all of them.
        premises: relations that may be assumed.
        what: opens the message of a rejection.

    Returns:
        True; False where every part of it is an implication whose antecedent is false: there was nothing to decide.

    Raises:
        Rejected: it is false somewhere.
        Undecided: neither proved nor refuted.
    """
    conclusion = sp.sympify(conclusion)
    if isinstance(conclusion, sp.And):
        return any([decide(part, assignment, premises, what) for part in conclusion.args])  # all of them
    if isinstance(conclusion, sp.Implies):
        antecedent = evaluated(conclusion.args[0], assignment)
        if antecedent == sp.false:
            return False
        within = [*premises, antecedent]
        try:
            decided = decide(conclusion.args[1], assignment, within, what)
            # Where symbols are left, the deciding itself looks for a point; of numbers nothing has asked yet.
            numbers = antecedent.free_symbols and evaluated(conclusion.args[1], assignment) == sp.true
            return decided and not (numbers and _exclude_everything(within))
        except Vacuous:  # a case that these premises exclude; they must not exclude everything
            smt_valid(premises, sp.true, where_defined=True)
            return False
    placed = _placed(conclusion, assignment)
    stated, obstacle = _stated(conclusion, assignment)
    with deciding(stated, premises, where_defined=isinstance(conclusion, sp.Eq), obstacle=obstacle):
        if isinstance(conclusion, sp.core.relational.Relational):
            _decide_relation(placed, premises, what)
        else:
            _decide_boolean(evaluated(conclusion, assignment), premises, what, conclusion)
    return True


def _decide_relation(relation: Any, premises: Sequence[Any], what: str) -> None:
    left, right = relation.args
    if isinstance(relation, sp.Eq):
        if {left, right} & {sp.oo, -sp.oo}:  # a limit
            require(left == right, f"{what}: {left} is not {right}")
        else:
            equal(left, right, what, where=list(premises))
    elif (left - right).free_symbols:
        answer = smt_valid(premises, relation.func(left, right))
        require(answer, f"{what}: {left} {relation.rel_op} {right} is false at {answer.point}")
    else:
        require(_compare(left, right, relation.rel_op), f"{what}: {left} {relation.rel_op} {right} is false")


def _decide_boolean(placed: Any, premises: Sequence[Any], what: str, conclusion: Any) -> None:
    if placed.free_symbols:
        answer = smt_valid(premises, placed)
        require(answer, f"{what}: {placed} is false at {answer.point}")
    else:
        require(placed, f"{what}: {conclusion} is false")


def _placed(condition: Any, assignment: Values) -> Any:
    """A relation or Boolean with these values in it, nothing of it decided."""
    if isinstance(condition, sp.core.relational.Relational):
        left, right = (_value(side, assignment) for side in condition.args)
        return condition.func(left, right, evaluate=False)
    if condition.args:
        parts = (
            sorted(condition.args, key=sp.default_sort_key)
            if isinstance(condition, _SETS)
            else condition.args
        )
        return Joined(condition.func, tuple(_placed(part, assignment) for part in parts))
    return condition


def _carried_out(conclusion: Any) -> str:
    """What SymPy carries out in a conclusion before it is decided, in words; empty where nothing is."""
    kinds = {sp.Limit: "a limit", sp.Derivative: "a derivative", ExprWithLimits: "a sum or an integral"}
    return ", ".join(f"{name} by SymPy" for kind, name in kinds.items() if conclusion.has(kind))


def _stated(conclusion: Any, assignment: Values) -> tuple[Any, str]:
    """A conclusion at these values with its derivatives still to be taken, and what stands against handing it on."""
    obstacle = _carried_out(conclusion)
    if obstacle != "a derivative by SymPy" or not isinstance(conclusion, sp.core.relational.Relational):
        return _placed(conclusion, assignment), obstacle
    placed = [side.subs(_symbols_last(assignment)) for side in conclusion.args]
    stated = conclusion.func(*placed, evaluate=False)
    before, after = (len(relation.atoms(sp.Derivative)) for relation in (conclusion, stated))
    return stated, obstacle if before != after else ""  # SymPy has taken one already


def note_refuted(conclusion: Any, assignment: Values) -> None:
    """Note that a conclusion was decided to be false at numbers."""
    stated, obstacle = _stated(conclusion, assignment)
    if obstacle:
        note_obstacle(obstacle)
    else:
        note_decided(Decided(Joined(sp.Not, (stated,))))


def _exclude_everything(premises: Sequence[Any]) -> bool:
    """Return True unless a point is known, or known to exist, where all of these hold."""
    if samples([], premises):
        return False
    try:
        with decisions():  # a question about the premises, and no conclusion of the claim
            return bool(smt_valid(premises, sp.false, where_defined=True))
    except Undecided:
        return True


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


def evaluated(condition: Any, assignment: Values) -> Any:
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
        return condition.func(*(evaluated(part, assignment) for part in condition.args))
    return condition


def _symbols_last(assignment: Values) -> list[tuple[sp.Symbol, Any]]:
    """Quantities first: their values may hold variables that have a fixed value."""
    pairs = [(symbol, sp.sympify(value)) for symbol, value in assignment.items()]
    return sorted(pairs, key=lambda pair: pair[1].is_number)


def free_after(conclusion: Any, assignment: Values) -> set[sp.Symbol]:
    """The symbols that are left; those bound by a limit or a sum do not count."""
    placed = conclusion.subs(_symbols_last(assignment)) if conclusion.args else conclusion
    return placed.free_symbols if placed not in (sp.true, sp.false) else set()


def require_close(conclusion: Any, assignment: Values, tolerance: float, what: str) -> None:
    """Compare decimal numbers: an equality up to the tolerance, an inequality by more than it.

    Args:
        conclusion: a relation, or And of relations.
        assignment: the values of its symbols.
        tolerance: how far the two sides of an equality may be apart.
        what: opens the message of a rejection.

    Raises:
        Rejected: it is false within the tolerance.
        Undecided: it is no relation; or an equality of two numbers so small that the tolerance hides a difference.
    """
    if isinstance(conclusion, sp.And):
        for part in conclusion.args:
            require_close(part, assignment, tolerance, what)
        return
    if not isinstance(conclusion, sp.core.relational.Relational):
        raise Undecided(f"{what}: floats decide an equality or an inequality only, not {conclusion}")
    digits = max(15, 10 - round(math.log10(tolerance)))
    left, right = (sp.N(_value(side, assignment), digits) for side in conclusion.args)
    gap = left - right
    largest = max(abs(left), abs(right))
    apart = left != 0 != right and 1000 * abs(gap) > largest  # fewer than three digits agree
    if conclusion.rel_op == "==" and apart and tolerance < 1000 * largest < 10**4 * tolerance:
        raise Undecided(f"{what}: {left} and {right} are too small for the tolerance {tolerance}")
    close = {
        "==": abs(gap) <= tolerance, "!=": abs(gap) > tolerance, "<": gap < -tolerance, "<=": gap <= tolerance,
        ">": gap > tolerance, ">=": gap >= -tolerance,
    }  # fmt: skip
    with deciding_within(
        lambda placed: tuple(_value(side, placed) for side in conclusion.args),
        assignment,
        conclusion.rel_op,
        tolerance,
        obstacle=_carried_out(conclusion),
    ):
        require(
            close[conclusion.rel_op],
            f"{what}: {left} {conclusion.rel_op} {right} is false within {tolerance}",
        )
