"""The second prover: statements about real numbers, decided by z3.

SymPy expressions become polynomials over z3's reals. A quotient and a square root become fresh variables with
their defining equations; what these need (a denominator that is not zero, a radicand that is not negative) is
proved from the hypotheses first, so that no silent hypothesis is added. Exponentials and logarithms are
opaque: ``exp(x)`` is some positive number, ``log(x)`` some real one, the same for the same argument.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sympy as sp

from gradvar.symbolic.read.numbers import Undecided, exact_sign
from gradvar.symbolic.read.usage import note_route

SECONDS = 20


@dataclass(frozen=True)
class Answer:
    """True where the conclusion follows; else a point (exact numbers) where it fails, if z3 knows a rational one."""

    valid: bool
    point: dict[sp.Symbol, sp.Rational] | None = None

    def __bool__(self) -> bool:
        return self.valid


def smt_valid(
    hypotheses: Iterable[Any], conclusion: Any, *, seconds: float = SECONDS, total: bool = False
) -> Answer:
    """Decide if the conclusion holds at every real point where the hypotheses do.

    Args:
        hypotheses: SymPy relations or Booleans in real symbols. The assumptions of the symbols (positive,
            nonnegative, ...) count as well.
        conclusion: a relation or Boolean.
        seconds: how long z3 may take.
        total: skip the proof that denominators and radicands are sound, for Piecewise expressions whose guards
            ensure it.

    Raises:
        Undecided: when z3 gives up.
        ValueError: when the hypotheses allow a division by zero or a root of a negative number.

    >>> x = sp.Symbol("x", positive=True)
    >>> bool(smt_valid([x > 1], x**2 > x)), bool(smt_valid([], x**2 > x))
    (True, False)
    """
    z3 = _z3()
    note_route("smt")
    hypotheses = [sp.sympify(h) for h in hypotheses]
    conclusion = sp.sympify(conclusion)
    translator = _Translator(z3)
    premises = [translator.boolean(h) for h in hypotheses]
    goal = translator.boolean(conclusion)
    premises += translator.assumptions()
    if not total:
        for needed, fault, definitions in translator.obligations:
            if _check(z3, [*premises, *definitions, z3.Not(needed)], seconds) is not None:
                raise ValueError(f"hypotheses: they allow {fault}; add what rules it out")
    model = _check(z3, [*premises, *translator.definitions, z3.Not(goal)], seconds)
    if model is None:
        return Answer(True)
    point = {
        symbol: _number(z3, model.eval(v, model_completion=True))
        for symbol, v in translator.variables.items()
    }
    if any(value is None for value in point.values()):
        return Answer(False)
    exact_point = {symbol: value for symbol, value in point.items() if value is not None}
    return Answer(False, exact_point if _fails_there(hypotheses, conclusion, exact_point) else None)


def find_point(conditions: Iterable[Any], *, seconds: float = SECONDS) -> dict[sp.Symbol, sp.Rational] | None:
    """Return a rational point where all conditions hold; None if there is none. Raises ``Undecided``."""
    z3 = _z3()
    note_route("smt")
    translator = _Translator(z3)
    constraints = [translator.boolean(sp.sympify(c)) for c in conditions]
    constraints += [needed for needed, _, _ in translator.obligations]
    model = _check(z3, [*constraints, *translator.definitions, *translator.assumptions()], seconds)
    if model is None:
        return None
    point = {
        symbol: _number(z3, model.eval(v, model_completion=True))
        for symbol, v in translator.variables.items()
    }
    if any(value is None for value in point.values()):
        raise Undecided("the point that z3 found is not rational")
    return {symbol: value for symbol, value in point.items() if value is not None}


def _z3() -> Any:
    try:
        import z3
    except ImportError as error:
        raise ImportError("the SMT route needs z3: pip install 'gradvar[prove]'") from error
    return z3


def _check(z3: Any, constraints: list[Any], seconds: float) -> Any:
    """Return a model, or None when there is none."""
    solver = z3.SolverFor("QF_NRA")
    solver.set("timeout", int(seconds * 1000))
    solver.add(*constraints)
    result = solver.check()
    if result == z3.unknown:
        raise Undecided(f"z3 gave up after {seconds} s: {solver.reason_unknown()}")
    return solver.model() if result == z3.sat else None


def _number(z3: Any, value: Any) -> sp.Rational | None:
    if z3.is_rational_value(value):
        return sp.Rational(value.numerator_as_long(), value.denominator_as_long())
    return None


def _fails_there(hypotheses: list[Any], conclusion: Any, point: dict[sp.Symbol, sp.Rational]) -> bool:
    """Check z3's model with SymPy's exact arithmetic."""
    try:
        return all(_truth(h.subs(point)) for h in hypotheses) and not _truth(conclusion.subs(point))
    except Undecided:
        return False


def _truth(statement: Any) -> bool:
    if statement in (sp.true, sp.false, True, False):
        return bool(statement)
    if isinstance(statement, sp.core.relational.Relational):
        sign = exact_sign(sp.sympify(statement.lhs - statement.rhs))
        return {
            "==": sign == 0,
            "!=": sign != 0,
            "<": sign < 0,
            "<=": sign <= 0,
            ">": sign > 0,
            ">=": sign >= 0,
        }[statement.rel_op]
    raise Undecided(str(statement))


class _Translator:
    def __init__(self, z3: Any) -> None:
        self.z3 = z3
        self.variables: dict[sp.Symbol, Any] = {}
        self.definitions: list[Any] = []
        self.obligations: list[tuple[Any, str, list[Any]]] = []
        self._terms: dict[sp.Expr, Any] = {}

    def assumptions(self) -> list[Any]:
        constraints = []
        for symbol, variable in self.variables.items():
            if symbol.is_positive:
                constraints.append(variable > 0)
            elif symbol.is_nonnegative:
                constraints.append(variable >= 0)
            elif symbol.is_negative:
                constraints.append(variable < 0)
            elif symbol.is_nonzero:
                constraints.append(variable != 0)
        return constraints

    def boolean(self, statement: Any) -> Any:
        z3 = self.z3
        if statement in (sp.true, True):
            return z3.BoolVal(True)
        if statement in (sp.false, False):
            return z3.BoolVal(False)
        if isinstance(statement, sp.core.relational.Relational):
            a, b = self.real(statement.lhs), self.real(statement.rhs)
            return {"==": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[
                statement.rel_op
            ]
        parts = [self.boolean(arg) for arg in statement.args]
        if isinstance(statement, sp.And):
            return z3.And(*parts)
        if isinstance(statement, sp.Or):
            return z3.Or(*parts)
        if isinstance(statement, sp.Not):
            return z3.Not(parts[0])
        if isinstance(statement, sp.Implies):
            return z3.Implies(*parts)
        if isinstance(statement, sp.Equivalent):
            return z3.And(*[parts[0] == other for other in parts[1:]])
        if isinstance(statement, sp.ITE):
            return z3.If(*parts)
        raise TypeError(f"statement: cannot translate {statement!r} to SMT")

    def real(self, e: sp.Expr) -> Any:
        if e not in self._terms:
            self._terms[e] = self._real(e)
        return self._terms[e]

    def _real(self, e: sp.Expr) -> Any:
        z3 = self.z3
        if e.is_Rational:
            return z3.RealVal(f"{e.p}/{e.q}")
        if e.is_Symbol:
            # Numbered: two symbols of one name, with other assumptions or dummies, are two variables.
            return self.variables.setdefault(e, z3.Real(f"{e.name}#{len(self.variables)}"))
        if e.is_Add:
            return z3.Sum(*[self.real(a) for a in e.args])
        if e.is_Mul:
            numerator, denominator = sp.fraction(e)
            if denominator != 1:
                return self._quotient(numerator, denominator)
            return z3.Product(*[self.real(a) for a in e.args])
        if e.is_Pow and e.exp.is_Rational:
            return self._power(e)
        if isinstance(e, sp.Abs):
            inner = self.real(e.args[0])
            return z3.If(inner >= 0, inner, -inner)
        if isinstance(e, sp.sign):
            inner = self.real(e.args[0])
            return z3.If(inner > 0, z3.RealVal(1), z3.If(inner < 0, z3.RealVal(-1), z3.RealVal(0)))
        if isinstance(e, (sp.Max, sp.Min)):
            best = self.real(e.args[0])
            for other in map(self.real, e.args[1:]):
                best = z3.If((best >= other) if isinstance(e, sp.Max) else (best <= other), best, other)
            return best
        if isinstance(e, sp.Piecewise):
            *cases, last = e.args
            if last.cond is not sp.true:
                raise TypeError(f"expression: {e} has no final case that is always true")
            value = self.real(last.expr)
            for case in reversed(cases):
                value = z3.If(self.boolean(case.cond), self.real(case.expr), value)
            return value
        if isinstance(e, (sp.exp, sp.log)):
            variable = self._fresh()
            if isinstance(e, sp.exp):
                self.definitions.append(variable > 0)
            return variable
        raise TypeError(f"expression: cannot translate {e} ({type(e).__name__}) to SMT")

    def _fresh(self) -> Any:
        return self.z3.Real(f"_w{len(self._terms)}_{len(self.definitions)}")

    def _quotient(self, numerator: sp.Expr, denominator: sp.Expr) -> Any:
        top, bottom = self.real(numerator), self.real(denominator)
        self.obligations.append((bottom != 0, f"{denominator} = 0", list(self.definitions)))
        variable = self._fresh()
        self.definitions.append(variable * bottom == top)
        return variable

    def _power(self, e: sp.Expr) -> Any:
        base, power = e.as_base_exp() if e.exp > 0 else (e.base, e.exp)
        if power < 0:
            return self._quotient(sp.Integer(1), base ** (-power))
        inner = self.real(base)
        if power.q == 1:
            return self.z3.Product(*[inner] * int(power))
        if power.q != 2:
            raise TypeError(f"expression: cannot translate the root {e} to SMT; only square roots")
        self.obligations.append((inner >= 0, f"{base} < 0 under a root", list(self.definitions)))
        root = self._terms.get(sp.sqrt(base))
        if root is None:
            root = self._fresh()
            self.definitions += [root >= 0, root * root == inner]
            self._terms[sp.sqrt(base)] = root
        return self.z3.Product(*[root] * int(power.p))
