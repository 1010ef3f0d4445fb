"""Exact checks for proofs: identities, expectations, and the exception that a failed one raises."""

import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import sympy as sp

from gradvar.symbolic.decide.smt import smt_valid
from gradvar.symbolic.read.numbers import Undecided

_POINTS = 4


class Rejected(AssertionError):
    """A statement that the machinery found to be false. A sabotaged claim must end here, and nowhere else."""


def require(condition: Any, statement: str) -> None:
    """Raise ``Rejected`` with the statement unless the condition is true; an undecided SymPy relation is an
    error."""
    if isinstance(condition, sp.Basic) and condition not in (sp.true, sp.false):
        raise Undecided(f"{statement}: SymPy leaves {condition} open")
    if not bool(condition):
        raise Rejected(statement)


def equal(lhs: Any, rhs: Any, statement: str = "", *, where: Sequence[Any] = ()) -> None:
    """Prove that two expressions (or arrays of them) are identical. The symbols' assumptions count.

    Args:
        lhs: an expression, or an array of them.
        rhs: the same; one of the two may be a single expression.
        statement: for the message of a rejection.
        where: relations under which the identity is meant; if it does not hold without them, z3 decides if it
            holds with them.

    Raises:
        Rejected: with a point where the sides differ.
        Undecided: with neither a proof nor a point of difference.
    """
    left, right = np.asarray(lhs, object), np.asarray(rhs, object)
    if left.shape != right.shape and left.size != 1 and right.size != 1:
        raise ValueError(f"rhs: shape {right.shape} does not match lhs {left.shape}")
    for a, b in np.broadcast(left, right):
        difference = sp.sympify(a) - sp.sympify(b)
        point = _difference_point(difference, where)
        if point is not None:
            value = sp.N(difference.subs(point), 8)
            place = f" at {point}" if point else ""
            raise Rejected(f"{statement or f'{a} = {b}'}: the sides differ by {value}{place}")
        if not vanishes(difference) and not _vanishes_where(difference, where, statement):
            raise Undecided(
                f"{statement or 'identity'}: no proof that {a} = {b}, and no point where they differ"
            )


def _vanishes_where(difference: sp.Expr, where: Sequence[Any], statement: str) -> bool:
    if not where:
        return False
    answer = smt_valid(where, sp.Eq(difference, 0), total=True)
    require(answer, f"{statement or 'identity'}: the sides differ at {answer.point}")
    return True


def identity(lhs: Any, rhs: Any, *, where: Sequence[Any] = ()) -> bool:
    """Return True if two expressions are identical; see ``equal``."""
    try:
        equal(lhs, rhs, where=where)
    except Rejected:
        return False
    return True


def vanishes(expression: sp.Expr) -> bool:
    """Return True if an expression of symbols, exponentials, logarithms and roots is proved to be zero.

    >>> x = sp.Symbol("x")
    >>> vanishes(1 / (x - 1) - 1 / (x + 1) - 2 / (x**2 - 1)), vanishes(x)
    (True, False)
    """
    e = sp.sympify(expression)
    if e == 0:
        return True
    if e.has(sp.factorial, sp.binomial, sp.gamma, sp.FallingFactorial, sp.RisingFactorial):
        e = sp.combsimp(sp.expand_func(e).rewrite(sp.gamma)) if e.has(sp.FallingFactorial) else sp.combsimp(e)
        e = sp.gammasimp(e)
    if e.has(sp.Piecewise, sp.Max, sp.Min, sp.Abs):
        folded = sp.piecewise_fold(e.rewrite(sp.Piecewise))
        if not isinstance(folded, sp.Piecewise):
            return vanishes(folded) if not folded.has(sp.Piecewise) else False
        return all(vanishes(case.expr) for case in folded.args) or _vanishes_by_smt(e)
    e = sp.together(_atoms(e))
    if sp.powsimp(sp.numer(e)) == 0:  # powers with symbolic exponents, before a product is multiplied out
        return True
    numerator = _reduce_roots(sp.numer(e))
    if numerator == 0:
        return True
    return sp.simplify(numerator) == 0


def _vanishes_by_smt(e: sp.Expr) -> bool:
    """Case distinctions that only fail in impossible cases."""
    try:
        return bool(smt_valid([], sp.Eq(e, 0), total=True))
    except (TypeError, Undecided):
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


def _difference_point(difference: sp.Expr, where: Sequence[Any]) -> dict[sp.Symbol, Any] | None:
    """Return a rational point, inside the symbols' assumptions, where the expression is visibly not zero."""
    free = sorted(difference.free_symbols.union(*(sp.sympify(w).free_symbols for w in where)), key=str)
    if not free:
        value = difference.evalf(30, maxn=200)
        return {} if value.is_comparable and abs(value) > sp.Float("1e-20") else None
    draw = random.Random(20_251)
    zeros = 0
    for _ in range(60 if where else _POINTS):
        point = {symbol: _draw(symbol, draw) for symbol in free}
        if not all(sp.sympify(w).subs(point) == sp.true for w in where):
            continue
        value = difference.subs(point).doit().evalf(30, maxn=200)
        if value.is_finite and value.is_number and abs(value) > sp.Float("1e-20"):
            return point
        zeros += 1
        if zeros == _POINTS:
            break
    return None


def _is_chance(symbol: sp.Symbol) -> bool:
    """Symbols called p or q are probabilities: they stay below one."""
    return symbol.name[:1] in "pq"


def _draw(symbol: sp.Symbol, draw: random.Random) -> sp.Expr:
    if symbol.is_integer:
        size = sp.Integer(draw.randint(3, 9))
    else:
        size = sp.Rational(draw.randint(1, 96), 97) * draw.choice(
            (1, 1, 2) if not _is_chance(symbol) else (1,)
        )
    if symbol.is_negative or (not symbol.is_nonnegative and not symbol.is_integer and draw.random() < 0.4):
        return -size
    return size


def enumerate_rationals(
    statement: Callable[..., Any], *choices: Iterable[Any], what: str = "the statement"
) -> int:
    """Check ``statement(*values)`` on every combination of exact values, and count them. Raises ``Rejected``."""
    count = 0
    for values in itertools.product(*(list(c) for c in choices)):
        if not statement(*values):
            raise Rejected(f"{what} fails at {', '.join(map(str, values))}")
        count += 1
    require(count > 0, f"{what}: no case was checked")
    return count
