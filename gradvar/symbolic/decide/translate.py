"""SymPy's expressions in z3's real arithmetic, with the conditions under which they are defined.

A quotient and a root become fresh variables. Their defining equations hold where the denominator is not zero
and the radicand not negative, and only there: elsewhere the variable is any number, so that a branch that is
not taken can never contradict the one that is. Exponentials, logarithms and constants such as pi are opaque:
``exp(x)`` is some positive number, ``log(x)`` some real one, the same for the same argument.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp
from mpmath.libmp import to_rational

from gradvar.symbolic.read.evaluate import ExactValues

_LEFT_OUT = {"integer", "rational", "algebraic", "even", "odd", "prime", "composite"}  # and their opposites


@dataclass(frozen=True)
class Partial:
    """A variable for a quotient or a root: its definition holds where ``needed`` does."""

    needed: Any
    fault: str
    definition: Any = None


@dataclass(frozen=True)
class Condition:
    """A formula that must hold for a term to be defined; it mentions the first ``partials`` partial terms only."""

    formula: Any
    partials: int


@dataclass(frozen=True)
class Term:
    """A term or formula of z3, and the conditions under which it means something."""

    value: Any
    conditions: tuple[Condition, ...] = ()


class Translator:
    """Translates expressions and relations, every part once.

    Args:
        z3: the module.
        integers: let integer symbols range over z3's integers; else over the reals, with what they imply.
    """

    def __init__(self, z3: Any, *, integers: bool = False) -> None:
        self.z3, self.integers = z3, integers
        self.variables: dict[sp.Symbol, Any] = {}
        self.partials: list[Partial] = []
        self.facts: list[Any] = []
        self.is_opaque = False
        self._fresh_count = 0
        self._terms: dict[Any, Term] = {}

    @property
    def is_exact(self) -> bool:
        """True where a model of z3 is a counterexample: nothing is opaque, no assumption is left out."""
        return not self.is_opaque and not any(_LEFT_OUT & s.assumptions0.keys() for s in self.variables)

    def assumptions(self) -> list[Any]:
        """Return what the symbols' assumptions say, as formulas."""
        constraints = []
        for symbol, v in self.variables.items():
            unit = (2 if symbol.is_even else 1) if symbol.is_integer else 0
            if symbol.is_zero:
                constraints.append(v == 0)
            elif symbol.is_positive:
                constraints.append(v >= unit if unit else v > 0)
            elif symbol.is_negative:
                constraints.append(v <= -unit if unit else v < 0)
            elif symbol.is_nonzero:
                constraints.append(self.z3.Or(v >= unit, v <= -unit) if unit else v != 0)
            if symbol.is_nonnegative and not symbol.is_positive:
                constraints.append(v >= 0)
            if symbol.is_nonpositive and not symbol.is_negative:
                constraints.append(v <= 0)
        return constraints

    def definitions(self, holding: Iterable[Condition], count: int | None = None) -> list[Any]:
        """Return what defines the first ``count`` partial terms, without a guard where it is known to hold."""
        known = {id(c.formula) for c in holding}
        formulas = list(self.facts)
        for partial in self.partials[:count]:
            if partial.definition is None:
                continue
            if id(partial.needed) in known:
                formulas.append(partial.definition)
            else:
                formulas.append(self.z3.Or(self.z3.Not(partial.needed), partial.definition))
        return formulas

    def boolean(self, statement: Any) -> Term:
        """Translate a relation or Boolean, each part of it once."""
        if statement not in self._terms:
            self._terms[statement] = self._boolean(statement)
        return self._terms[statement]

    def real(self, e: sp.Expr) -> Term:
        """Translate an expression, each part of it once."""
        if e not in self._terms:
            self._terms[e] = self._real(e)
        return self._terms[e]

    def _boolean(self, statement: Any) -> Term:
        z3 = self.z3
        if statement in (sp.true, sp.false):
            return Term(z3.BoolVal(statement is sp.true))
        if isinstance(statement, sp.core.relational.Relational):
            left, right = self.real(statement.lhs), self.real(statement.rhs)
            a, b = left.value, right.value
            by_name = {"==": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}
            return Term(by_name[statement.rel_op], _join(left, right))
        kinds = (sp.And, sp.Or, sp.Not, sp.Implies, sp.Equivalent, sp.ITE)
        if not isinstance(statement, kinds):
            raise TypeError(f"statement: cannot translate {statement!r} to SMT")
        parts = [self.boolean(arg) for arg in statement.args]
        values = [part.value for part in parts]
        if isinstance(statement, sp.Not):
            return Term(z3.Not(values[0]), parts[0].conditions)
        if isinstance(statement, sp.Equivalent):
            return Term(z3.And(*[values[0] == other for other in values[1:]]), _join(*parts))
        if isinstance(statement, sp.ITE):
            chosen = self._either(values[0], parts[1].conditions, parts[2].conditions)
            return Term(z3.If(*values), parts[0].conditions + chosen)
        if isinstance(statement, sp.Implies):
            return Term(z3.Implies(*values), self._settled(parts, [values[0], z3.Not(values[1])]))
        if isinstance(statement, sp.And):
            return Term(z3.And(*values), self._settled(parts, values))
        return Term(z3.Or(*values), self._settled(parts, [z3.Not(v) for v in values]))

    def _settled(self, parts: Sequence[Term], open_while: Sequence[Any]) -> tuple[Condition, ...]:
        """Return the conditions of a conjunction: all parts are defined, or a defined one settles it."""
        if not any(part.conditions for part in parts):
            return ()
        z3 = self.z3
        settles = [
            z3.And(*_formulas(part), z3.Not(going_on))
            for part, going_on in zip(parts, open_while, strict=True)
        ]
        every = [formula for part in parts for formula in _formulas(part)]
        return (self._condition(z3.Or(z3.And(*every), *settles)),)

    def _either(
        self, guard: Any, first: tuple[Condition, ...], second: tuple[Condition, ...]
    ) -> tuple[Condition, ...]:
        """Return the conditions of a choice: the first ones where the guard holds, else the second ones."""
        z3 = self.z3
        conditions = []
        if first:
            conditions.append(self._condition(z3.Implies(guard, z3.And(*[c.formula for c in first]))))
        if second:
            conditions.append(self._condition(z3.Or(guard, z3.And(*[c.formula for c in second]))))
        return tuple(conditions)

    def _condition(self, formula: Any) -> Condition:
        return Condition(formula, len(self.partials))

    def _real(self, e: sp.Expr) -> Term:
        z3 = self.z3
        if e.is_Rational:
            return Term(z3.RealVal(f"{e.p}/{e.q}"))
        if e.is_Symbol:
            return Term(self._variable(e))
        if e.is_Pow and e.exp.is_Rational:
            return self._power(e.base, e.exp)
        if e.is_Mul and (parts := sp.fraction(e))[1] != 1:
            return self._quotient(*parts)
        if isinstance(e, sp.Piecewise):
            return self._piecewise(e)
        if e.is_NumberSymbol:
            return Term(self._constant(e))
        known = (sp.Add, sp.Mul, sp.Abs, sp.sign, sp.Max, sp.Min, sp.exp, sp.log)
        if not isinstance(e, known):
            raise TypeError(f"expression: cannot translate {e} ({type(e).__name__}) to SMT")
        parts = [self.real(a) for a in e.args]
        values = [part.value for part in parts]
        return Term(self._value(e, values), _join(*parts) + self._domain(e, values))

    def _constant(self, e: sp.Expr) -> Any:
        value, bounds = self._opaque(), ExactValues({}).value(e)
        if isinstance(bounds, tuple):
            low, high = ("/".join(map(str, to_rational(end))) for end in bounds)
            self.facts += [value >= self.z3.RealVal(low), value <= self.z3.RealVal(high)]
        return value

    def _value(self, e: sp.Expr, values: list[Any]) -> Any:
        z3, first = self.z3, values[0]
        if e.is_Add:
            return z3.Sum(*values)
        if e.is_Mul:
            return z3.Product(*values)
        if isinstance(e, sp.Abs):
            return z3.If(first >= 0, first, -first)
        if isinstance(e, sp.sign):
            return z3.If(first > 0, z3.RealVal(1), z3.If(first < 0, z3.RealVal(-1), z3.RealVal(0)))
        if isinstance(e, (sp.Max, sp.Min)):
            best = first
            for other in values[1:]:
                best = z3.If((best >= other) if isinstance(e, sp.Max) else (best <= other), best, other)
            return best
        variable = self._opaque()
        if isinstance(e, sp.exp):
            self.facts.append(variable > 0)
        return variable

    def _domain(self, e: sp.Expr, values: list[Any]) -> tuple[Condition, ...]:
        if not isinstance(e, sp.log):
            return ()
        return self._partial(values[0] > 0, f"{e.args[0]} <= 0 under a logarithm")

    def _partial(self, needed: Any, fault: str, definition: Any = None) -> tuple[Condition, ...]:
        condition = self._condition(needed)  # before the term itself: its definition is no reason for it
        self.partials.append(Partial(needed, fault, definition))
        return (condition,)

    def _variable(self, symbol: sp.Symbol) -> Any:
        z3 = self.z3
        if symbol.is_real is False or symbol.is_commutative is False:
            raise TypeError(f"statement: the symbol {symbol} stands for no real number")
        # Numbered: two symbols of one name, with other assumptions or dummies, are two variables.
        name = f"{symbol.name}#{len(self.variables)}"
        whole_number = self.integers and symbol.is_integer
        variable = z3.ToReal(z3.Int(name)) if whole_number else z3.Real(name)
        return self.variables.setdefault(symbol, variable)

    def _fresh(self) -> Any:
        self._fresh_count += 1
        return self.z3.Real(f"_w{self._fresh_count}")

    def _opaque(self) -> Any:
        self.is_opaque = True
        return self._fresh()

    def _piecewise(self, e: sp.Piecewise) -> Term:
        z3 = self.z3
        *_, last = e.args
        value, conditions = self.real(last.expr).value, self.real(last.expr).conditions
        cases = list(e.args)
        if last.cond is sp.true:
            cases.pop()
        else:
            conditions = self._partial(z3.BoolVal(False), f"no case of {e}")
        for case in reversed(cases):
            guard, chosen = self.boolean(case.cond), self.real(case.expr)
            value = z3.If(guard.value, chosen.value, value)
            conditions = guard.conditions + self._either(guard.value, chosen.conditions, conditions)
        return Term(value, conditions)

    def _quotient(self, numerator: sp.Expr, denominator: sp.Expr) -> Term:
        top, bottom = self.real(numerator), self.real(denominator)
        if denominator.is_Rational and denominator != 0:
            return Term(top.value / bottom.value, top.conditions)
        variable = self._fresh()
        domain = self._partial(bottom.value != 0, f"{denominator} = 0", variable * bottom.value == top.value)
        return Term(variable, _join(top, bottom) + domain)

    def _power(self, base: sp.Expr, power: sp.Rational) -> Term:
        if power < 0:
            return self._quotient(sp.Integer(1), base ** (-power))
        inner = self.real(base)
        if power.q == 1:
            return Term(self.z3.Product(*[inner.value] * int(power)), inner.conditions)
        key = ("root", base, power.q)
        if key not in self._terms:
            root = self._fresh()
            definition = self.z3.And(root >= 0, self.z3.Product(*[root] * int(power.q)) == inner.value)
            domain = self._partial(inner.value >= 0, f"{base} < 0 under a root", definition)
            self._terms[key] = Term(root, inner.conditions + domain)
        root = self._terms[key]
        return Term(self.z3.Product(*[root.value] * int(power.p)), root.conditions)


def _formulas(term: Term) -> list[Any]:
    return [condition.formula for condition in term.conditions]


def _join(*terms: Term) -> tuple[Condition, ...]:
    return tuple({id(c): c for term in terms for c in term.conditions}.values())
