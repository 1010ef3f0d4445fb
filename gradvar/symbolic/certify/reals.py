"""Formulas as Coq terms and propositions over Coq's real numbers, with what has to hold for them to mean something."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sympy as sp

from gradvar.symbolic.certify.letters import Letters, NoTerm
from gradvar.symbolic.read.decided import Joined

_RELATIONS = {"==": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_JOINS = {sp.And: " /\\ ", sp.Or: " \\/ ", sp.Implies: " -> ", sp.Equivalent: " <-> "}
_DECIDED = {  # a test that a term can branch on
    "<": ("Rlt_dec {} {}", False),
    ">": ("Rgt_dec {} {}", False),
    "<=": ("Rle_dec {} {}", False),
    ">=": ("Rge_dec {} {}", False),
    "==": ("Req_EM_T {} {}", False),
    "!=": ("Req_EM_T {} {}", True),  # the branches change places
}
LOGARITHM = "logarithm"  # inside a derivative: any function whose derivative is the inverse
_BOUND = "x"  # a symbol that a derivative binds or takes anywhere, and that is free nowhere
_LONGEST = 20_000  # characters of a term; beyond, reading it takes Coq longer than a proof may


class Reals:
    """Prints formulas that share their symbols, each under a name of its own.

    Coq divides by zero and takes roots of negative numbers, with values about which nothing is said. So ``conditions``
    gives what keeps a formula away from there; whoever states a goal has to assume or to prove it. Logarithms, and
    powers with a symbol on top, are ``letters``. A derivative is the name of a number that ``slopes`` says to be one;
    within it the logarithm is a function.
    """

    def __init__(self, symbols: Sequence[sp.Symbol]) -> None:
        self.names: dict[sp.Symbol, str] = {}
        self.letters = Letters(self.term)
        self.slopes: dict[str, str] = {}  # what a number is the derivative of, and its name
        self.has_logarithm = False  # inside a derivative
        self._is_inside = False
        for symbol in sorted(symbols, key=sp.default_sort_key):
            base = "".join(c if c.isascii() and c.isalnum() else "_" for c in symbol.name).strip("_")
            name = f"v_{base}" if base else "v"
            while name in self.names.values():
                name += "'"
            self.names[symbol] = name

    def term(self, expression: sp.Expr) -> str:
        """Return the term, in parentheses wherever it is not a single word. Raises ``NoTerm``."""
        text = self._term(sp.sympify(expression))
        if len(text) > _LONGEST:
            raise NoTerm("a long formula")
        return text

    def _term(self, e: sp.Expr) -> str:
        if e.is_Symbol:
            return self.names[e]
        if e.is_Rational:
            return _rational(sp.Rational(e))
        if isinstance(e, sp.Add):
            return f"({' + '.join(map(self._term, e.args))})"
        if isinstance(e, sp.Mul):
            return self._product(e)
        if isinstance(e, sp.exp):
            return f"(exp {self._term(e.args[0])})"
        if isinstance(e, sp.Pow):
            return self._power(e.base, e.exp)
        if isinstance(e, (sp.Min, sp.Max)):
            first, *others = map(self._term, e.args)
            for other in others:
                first = f"({type(e).__name__.replace('M', 'Rm')} {first} {other})"
            return first
        if isinstance(e, sp.Abs):
            return f"(Rabs {self._term(e.args[0])})"
        if isinstance(e, sp.Derivative):
            return self._slope(e)
        if isinstance(e, sp.Subs):
            return self._slope(*_at_a_point(e))
        if isinstance(e, sp.log) and self._is_inside:
            self.has_logarithm = True
            return f"({LOGARITHM} {self._term(e.args[0])})"
        if isinstance(e, sp.log):
            return self.letters.logarithm(e.args[0])
        if e is sp.E:
            return "(exp 1)"
        if isinstance(e, sp.tanh):
            return self._term(_by_exponentials(e))
        if isinstance(e, sp.sign):
            x = e.args[0]
            return self._term(sp.Piecewise((1, x > 0), (-1, x < 0), (0, True), evaluate=False))
        if isinstance(e, sp.Piecewise):
            return self._piecewise(list(e.args))
        raise NoTerm(type(e).__name__)

    def _slope(self, e: sp.Derivative, point: sp.Expr | None = None) -> str:
        """The name of a derivative, at a point or where its symbol is."""
        symbol, order = e.variable_count[0]
        if len(e.variable_count) > 1 or order != 1 or self._is_inside:
            raise NoTerm("a derivative of a derivative")
        if point is None:  # a constant has lost the symbol: it is differentiated anywhere
            self.names.setdefault(symbol, _BOUND)
        place = self._term(symbol if point is None else point)
        outside = self.names
        self.names = outside | {symbol: outside.get(symbol, _BOUND)}
        with self._inside():
            text = f"derivable_pt_lim (fun {self.names[symbol]} : R => {self._term(e.expr)}) {place}"
        self.names = outside
        return self.slopes.setdefault(text, f"slope{len(self.slopes)}")

    @contextmanager
    def _inside(self) -> Iterator[None]:
        self._is_inside = True
        try:
            yield
        finally:
            self._is_inside = False

    def _product(self, e: sp.Mul) -> str:
        above = [f for f in e.args if not (f.is_Pow and f.exp.is_Rational and f.exp.is_negative)]
        below = [self._power(f.base, -f.exp) for f in e.args if f not in above]
        top = " * ".join(map(self._term, above)) or "1"
        return f"({top} / ({' * '.join(below)}))" if below else f"({top})"

    def _power(self, base: sp.Expr, exponent: sp.Expr) -> str:
        if exponent.is_Rational and exponent.q > 2:
            raise NoTerm("a power that is not whole or half")
        if not exponent.is_Rational and self._is_inside:
            raise NoTerm("a derivative of a power with a symbol on top")
        if not exponent.is_Rational:
            return self.letters.power(base, exponent)
        if exponent.is_negative:
            return f"(/ {self._power(base, -exponent)})"
        inner = self._term(base) if exponent.q == 1 else f"(sqrt {self._term(base)})"
        return inner if exponent.p == 1 else f"({inner} ^ {exponent.p})"

    def _piecewise(self, cases: list[tuple[sp.Expr, sp.Basic]]) -> str:
        if not cases:
            return "0"  # excluded by the conditions
        (value, condition), *others = cases
        if condition == sp.true:
            return self._term(value)
        return self._branch(condition, self._term(value), self._piecewise(others))

    def _branch(self, condition: sp.Basic, yes: str, no: str) -> str:
        if condition in (sp.true, sp.false):
            return yes if condition == sp.true else no
        if isinstance(condition, sp.core.relational.Relational):
            test, swapped = _DECIDED[condition.rel_op]
            yes, no = (no, yes) if swapped else (yes, no)
            return f"(if {test.format(*map(self._term, condition.args))} then {yes} else {no})"
        if isinstance(condition, sp.Not):
            return self._branch(condition.args[0], no, yes)
        if isinstance(condition, (sp.And, sp.Or)):
            first, *others = sorted(condition.args, key=sp.default_sort_key)
            rest = condition.func(*others, evaluate=False) if len(others) > 1 else others[0]
            if isinstance(condition, sp.And):
                return self._branch(first, self._branch(rest, yes, no), no)
            return self._branch(first, yes, self._branch(rest, yes, no))
        raise NoTerm(f"a case under {type(condition).__name__}")

    def proposition(self, statement: Any) -> str:
        """Return a relation or Boolean as a proposition. Raises ``NoTerm``."""
        if statement in (sp.true, sp.false):
            return "True" if statement == sp.true else "False"
        if isinstance(statement, sp.core.relational.Relational):
            left, right = map(self.term, statement.args)
            return f"({left} {_RELATIONS[statement.rel_op]} {right})"
        kind = statement.kind if isinstance(statement, Joined) else type(statement)
        parts = [self.proposition(part) for part in _parts(statement)]
        if kind is sp.Not:
            return f"(~ {parts[0]})"
        if kind not in _JOINS or (len(parts) > 2 and kind not in (sp.And, sp.Or)):
            raise NoTerm(f"a statement by {kind.__name__}")
        return f"({_JOINS[kind].join(parts)})"

    def conditions(self, e: Any) -> Iterator[str]:
        """Yield propositions, inner parts first, under which a formula means something."""
        if isinstance(e, sp.Piecewise):
            yield from self._of_cases(list(e.args))
            return
        if isinstance(e, sp.tanh):
            yield from self.conditions(_by_exponentials(e))
            return
        if isinstance(e, (sp.Derivative, sp.Subs)):
            derivative, point = _at_a_point(e) if isinstance(e, sp.Subs) else (e, e.variables[0])
            with self._inside():
                yield from list(self.conditions(derivative.expr.subs(derivative.variables[0], point)))
            return
        for part in _parts(e):
            yield from self.conditions(part)
        if isinstance(e, sp.Pow) and e.exp.is_Rational:
            if e.exp.q == 2 and not e.base.is_Rational:
                yield f"(0 <= {self.term(e.base)})"
            if e.exp.is_negative and not (e.base.is_Rational and e.base != 0):
                yield f"({self.term(e.base)} <> 0)"
        if isinstance(e, sp.log):
            yield f"(0 < {self.term(e.args[0])})"

    def _of_cases(self, cases: list[tuple[sp.Expr, sp.Basic]]) -> Iterator[str]:
        if not cases:
            yield "False"
            return
        (value, condition), *others = cases
        yield from self.conditions(condition)
        if condition == sp.true:
            yield from self.conditions(value)
            return
        test = self.proposition(condition)
        yield from (f"({test} -> {inner})" for inner in self.conditions(value))
        yield from (f"(~ {test} -> {inner})" for inner in self._of_cases(others))

    def assumptions(self) -> Iterator[str]:
        """Yield what the symbols' assumptions say, symbol by symbol; of one that is whole only how it is bounded."""
        for symbol, name in self.names.items():
            unit = (2 if symbol.is_even else 1) if symbol.is_integer else 0
            if symbol.is_zero:
                yield f"{name} = 0"
            elif symbol.is_positive:
                yield f"{unit} <= {name}" if unit else f"0 < {name}"
            elif symbol.is_negative:
                yield f"{name} <= -{unit}" if unit else f"{name} < 0"
            else:
                if symbol.is_nonnegative:
                    yield f"0 <= {name}"
                if symbol.is_nonpositive:
                    yield f"{name} <= 0"
                if symbol.is_nonzero:
                    yield f"{name} <> 0"


def _parts(formula: Any) -> Sequence[Any]:
    """The parts of a formula, in an order that is always the same: SymPy keeps those of some Booleans in a set."""
    if isinstance(formula, Joined):
        return formula.parts
    if isinstance(formula, (sp.And, sp.Or, sp.Equivalent)):
        return sorted(formula.args, key=sp.default_sort_key)
    return formula.args


def _at_a_point(e: sp.Subs) -> tuple[sp.Derivative, sp.Expr]:
    """A derivative and the point at which it is taken. Raises ``NoTerm`` for any other substitution."""
    if not (isinstance(e.expr, sp.Derivative) and e.variables == e.expr.variables and len(e.variables) == 1):
        raise NoTerm("a substitution")
    return e.expr, e.point[0]


def _by_exponentials(e: sp.Expr) -> sp.Expr:
    double = sp.exp(2 * e.args[0])
    return (double - 1) / (double + 1)


def _rational(number: sp.Rational) -> str:
    if number < 0:
        return f"(- {_rational(-number)})"
    return str(number.p) if number.q == 1 else f"({number.p} / {number.q})"
