"""Exact checks for proofs: identities, cases, and the exceptions with which they fail.

Symbols stand for real numbers, with their assumptions. An identity is claimed at the points (under ``where``)
at which both sides are defined; sides that are not defined on the same open sets are no identity. SymPy cancels
``x/x`` before this module sees it, so that ``x/x = 1`` holds; a ``Piecewise`` keeps its guards.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import sympy as sp

from gradvar.symbolic.decide.points import Sample, samples
from gradvar.symbolic.decide.smt import Answer, search_point, smt_valid
from gradvar.symbolic.read.decided import deciding, note_obstacle
from gradvar.symbolic.read.evaluate import difference
from gradvar.symbolic.read.intervals import UNDEFINED, UNKNOWN, sign_of
from gradvar.symbolic.read.numbers import Inconsistent, Undecided, Vacuous, exact_sign

_FIRST = 4  # points that are looked at before a proof is tried


class Rejected(AssertionError):
    """A statement that the machinery found to be false. A sabotaged claim must end here, and nowhere else."""


def require(condition: Any, statement: str) -> None:
    """Raise ``Rejected`` with the statement unless the condition is true.

    The condition is a Boolean of Python, NumPy or SymPy or an ``Answer``. A SymPy relation that is open is
    ``Undecided``; a list, a number, None or the like proves nothing and is an error.
    """
    if not _is_true(condition, statement):
        raise Rejected(statement)
    if not isinstance(condition, Answer):  # that was noted where it was decided
        note_obstacle("decided by Python")


def _is_true(condition: Any, statement: str) -> bool:
    if isinstance(condition, sp.logic.boolalg.Boolean) and condition not in (sp.true, sp.false):
        raise Undecided(f"{statement}: SymPy leaves {condition} open")
    if not isinstance(condition, (bool, np.bool_, sp.logic.boolalg.BooleanAtom, Answer)):
        raise TypeError(
            f"condition: {condition!r} for {statement!r}; give a Boolean, not {type(condition).__name__}"
        )
    return bool(condition)


def equal(lhs: Any, rhs: Any, statement: str = "", *, where: Sequence[Any] = ()) -> None:
    """Prove that two expressions (or arrays of them) are identical. The symbols' assumptions count.

    Points are looked at exactly first. Then a proof is tried, by algebra and by z3; then further points, on
    the boundaries of branches and close to them, must agree with the proof.

    Args:
        lhs: an expression, or an array of them.
        rhs: the same; of the same shape, unless one of the two is a single expression.
        statement: for the message of a rejection.
        where: relations under which the identity is meant; if it does not hold without them, z3 decides if it
            holds with them.

    Raises:
        Rejected: with a point where the sides differ.
        Undecided: with neither a proof nor a point of difference; or if no point is known at which the sides are
            defined.
        ValueError: if the shapes differ or nothing is compared; ``Vacuous`` if no point fulfils ``where``.
        Inconsistent: when an exact evaluation contradicts the proof; an error of this package.
    """
    left, right = np.asarray(lhs, object), np.asarray(rhs, object)
    if left.shape != right.shape and left.ndim and right.ndim:
        raise ValueError(f"rhs: shape {right.shape} does not match lhs {left.shape}")
    if not left.size or not right.size:
        raise ValueError(f"lhs, rhs: shapes {left.shape} and {right.shape}; an empty list proves nothing")
    conditions = [sp.sympify(w) for w in where]
    for a, b in np.broadcast(left, right):
        compared = _Identity(sp.sympify(a), sp.sympify(b), statement, conditions)
        equation = sp.Eq(compared.lhs, compared.rhs, evaluate=False)
        with deciding(equation, conditions, where_defined=True):
            compared.prove()


class _Identity:
    def __init__(self, lhs: sp.Expr, rhs: sp.Expr, statement: str, where: list[Any]) -> None:
        if lhs.has(sp.Float) or rhs.has(sp.Float):
            raise TypeError(f"{lhs} = {rhs}: it holds a float; give exact numbers")
        self.lhs, self.rhs, self.where = lhs, rhs, where
        self.difference = lhs - rhs
        self.statement = statement or f"{lhs} = {rhs}"
        self.is_defined_somewhere = False

    def prove(self) -> None:
        """Look at some points, prove, look at further points."""
        looks = samples([self.lhs, self.rhs], self.where)
        if not looks and self.where:
            seed = search_point(self.where)
            if seed is None:
                raise Vacuous(f"where: no point fulfils {self.where}, so nothing is claimed")
            looks = samples([self.lhs, self.rhs], self.where, [seed])
        for sample in looks[:_FIRST]:
            self._reject_at(sample)
        is_proved = self._is_proved()
        for sample in looks[_FIRST:]:
            if is_proved and self._differs(sample):
                raise Inconsistent(f"{self.statement}: proved, but the sides differ at {sample.point}")
            self._reject_at(sample)
        if not self.is_defined_somewhere:
            raise Undecided(f"{self.statement}: no point is known where the sides are defined")
        if not is_proved:
            raise Undecided(f"{self.statement}: neither a proof nor a point where the sides differ")

    def _is_proved(self) -> bool:
        if _is_zero(self.difference):
            return True
        if not self.where:
            return False
        try:
            answer = smt_valid(self.where, sp.Eq(self.difference, 0), where_defined=True)
        except (TypeError, Undecided):
            return False
        require(answer, f"{self.statement}: the sides differ at {answer.point}")
        return True

    def _reject_at(self, sample: Sample) -> None:
        left, right = sample.values.value(self.lhs), sample.values.value(self.rhs)
        if (left is UNDEFINED) != (right is UNDEFINED):
            if sample.general and UNKNOWN not in (left, right):
                raise Rejected(f"{self.statement}: only one side is defined at {sample.point}")
            return
        self.is_defined_somewhere |= left is not UNDEFINED
        if self._differs(sample):
            value = sp.N(self.difference.subs(sample.point), 8)
            place = f" at {sample.point}" if sample.point else ""
            raise Rejected(f"{self.statement}: the sides differ by {value}{place}")

    def _differs(self, sample: Sample) -> bool:
        left, right = sample.values.value(self.lhs), sample.values.value(self.rhs)
        if sign_of(difference(left, right, sample.values.bits)) in (1, -1):
            return True
        if sample.point:
            return False
        with suppress(Undecided):  # two numbers: intervals as narrow as it takes
            return exact_sign(self.difference) != 0
        return False


def identity(lhs: Any, rhs: Any, *, where: Sequence[Any] = ()) -> bool:
    """Return True if two expressions are identical; see ``equal``."""
    try:
        equal(lhs, rhs, where=where)
    except Rejected:
        return False
    return True


def vanishes(expression: sp.Expr) -> bool:
    """Return True if an expression of symbols, exponentials, logarithms and roots is proved to be zero.

    It is proved to be zero wherever it is defined.

    >>> x = sp.Symbol("x")
    >>> vanishes(1 / (x - 1) - 1 / (x + 1) - 2 / (x**2 - 1)), vanishes(x)
    (True, False)
    """
    e = sp.sympify(expression)
    if not _is_zero(e):
        return False
    for sample in samples([e]):
        if sample.values.sign(e) in (1, -1):
            raise Inconsistent(f"{e}: proved to vanish, but it does not at {sample.point}")
    return True


def _is_zero(expression: sp.Expr) -> bool:
    if expression == 0:
        return True
    if not expression.free_symbols:
        with suppress(Undecided):
            return exact_sign(expression) == 0
    complex_symbols = [s for s in expression.free_symbols if s.is_real is None]
    e = expression.xreplace(
        {s: sp.Dummy(s.name, **{**s.assumptions0, "real": True}) for s in complex_symbols}
    )
    if e.has(sp.factorial, sp.binomial, sp.gamma, sp.FallingFactorial, sp.RisingFactorial):
        e = sp.combsimp(sp.expand_func(e).rewrite(sp.gamma)) if e.has(sp.FallingFactorial) else sp.combsimp(e)
        e = sp.gammasimp(e)
    if e.has(sp.Piecewise, sp.Max, sp.Min, sp.Abs):
        try:
            folded = sp.piecewise_fold(e.rewrite(sp.Piecewise))
        except (AttributeError, NotImplementedError):  # SymPy cannot fold an implication, for one
            return _is_zero_by_smt(e)
        if isinstance(folded, sp.Piecewise):
            return all(_is_zero(case.expr) for case in folded.args) or _is_zero_by_smt(e)
        if folded.has(sp.Piecewise, sp.Max, sp.Min, sp.Abs):
            return _is_zero_by_smt(e)
        return _is_zero(folded)
    e = sp.together(_atoms(e))
    if sp.powsimp(sp.numer(e)) == 0:  # powers with symbolic exponents, before a product is multiplied out
        return True
    numerator = _reduce_roots(sp.numer(e))
    if numerator == 0:
        return True
    return sp.simplify(numerator) == 0


def _is_zero_by_smt(e: sp.Expr) -> bool:
    """Case distinctions that only fail in impossible cases."""
    try:
        return bool(smt_valid([], sp.Eq(e, 0), where_defined=True))
    except (TypeError, ValueError, Undecided):
        return False


def _atoms(e: sp.Expr) -> sp.Expr:
    """Exponentials of sums as products, logarithms of products as sums."""
    if e.has(sp.tanh, sp.cosh, sp.sinh):
        e = e.rewrite(sp.exp)
    if e.has(sp.exp):
        e = sp.expand_power_exp(e.replace(sp.exp, lambda x: sp.exp(sp.expand(x))))
    if e.has(sp.log):
        e = sp.expand_log(e.replace(sp.log, lambda x: sp.log(sp.factor(x))))
    return e


def _reduce_roots(numerator: sp.Expr) -> sp.Expr:
    """Expand, with every square root of u a variable whose square is u."""
    roots: dict[sp.Expr, sp.Symbol] = {}

    def root(base: sp.Expr, power: sp.Expr) -> sp.Expr:
        if power.is_Rational and power.q == 2:
            key = sp.expand(base)
            symbol = roots.setdefault(key, sp.Dummy("root", nonnegative=True))
            return symbol**power.p
        return base**power

    e = numerator.replace(sp.Pow, root)
    e = sp.expand(sp.numer(sp.together(e)))
    for base, symbol in reversed(list(roots.items())):
        reduced = sp.Integer(0)
        for (power,), coefficient in sp.Poly(e, symbol).terms():
            reduced += coefficient * base ** (power // 2) * symbol ** (power % 2)
        e = sp.expand(sp.numer(sp.together(reduced)))
    return e.subs({symbol: sp.sqrt(base) for base, symbol in roots.items()})


def enumerate_rationals(
    statement: Callable[..., Any], *choices: Iterable[Any], what: str = "the statement"
) -> int:
    """Check ``statement(*values)`` on every combination of exact values, and count them.

    Raises:
        Rejected: with the first combination that fails.
        ValueError: if there is none to check.
    """
    values_of = [list(c) for c in choices]
    if not values_of or not all(values_of):
        raise ValueError(f"choices: no case of {what} was checked; an empty list proves nothing")
    count = 0
    for values in itertools.product(*values_of):
        if not _is_true(statement(*values), what):
            raise Rejected(f"{what} fails at {', '.join(map(str, values))}")
        count += 1
    note_obstacle("decided by Python")
    return count
