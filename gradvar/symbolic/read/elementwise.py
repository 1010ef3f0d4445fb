"""How each JAX primitive is read: one rule per primitive, on NumPy object arrays of SymPy expressions.

A rule takes the reader (which decides comparisons), the equation's parameters and the operands, and returns
the result. Booleans are Python booleans where known, SymPy Booleans where left open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import sympy as sp

from gradvar.symbolic.decide.numbers import Undecided, exact_sign
from gradvar.symbolic.read import arrays as layout

Rule = Callable[..., np.ndarray]


class Unreadable(NotImplementedError):
    """A primitive, or a use of one, that the symbolic reader cannot interpret."""


def is_nested(expression: sp.Expr) -> bool:
    """Whether a root is taken of quotients or roots of sums, as in a standard deviation of standardised values.

    Written out or factored, such an expression grows a thousandfold and tells no more than it did.
    """
    return any(
        not root.exp.is_integer
        and any(p.base.is_Add and not (p.exp.is_Integer and p.exp > 0) for p in root.base.atoms(sp.Pow))
        for root in expression.atoms(sp.Pow)
    )


class Reader:
    """Decides comparisons: exactly for numbers, by SymPy's assumptions, then by the assumption it was
    given."""

    def __init__(self, assume: Callable[[sp.Expr], int | None] | None = None) -> None:
        self.assume = assume

    def sign(self, a: sp.Expr, b: sp.Expr) -> int | None:
        """The sign of a - b, or None where it is left open."""
        if a.is_Rational and b.is_Rational:
            difference = a - b
            return (difference.p > 0) - (difference.p < 0)
        if a == b:
            return 0
        if a in (sp.oo, -sp.oo) or b in (sp.oo, -sp.oo):
            return 1 if a is sp.oo or b is -sp.oo else -1
        difference = a - b if is_nested(a) or is_nested(b) else sp.expand(a - b)
        if not difference.free_symbols:
            return exact_sign(difference)
        if difference.is_positive or difference.is_negative:
            return 1 if difference.is_positive else -1
        return None if self.assume is None else self.assume(difference)


# --- elementwise
# ------------------------------------------------------------------------------------------------


def _divide(a: sp.Expr, b: sp.Expr) -> sp.Expr:
    """Division with the floats' rule at an exact zero: nan for 0/0, a signed infinity else."""
    if b != 0:
        return a / b
    if a == 0 or a is sp.nan:
        return sp.nan
    if a.is_number:
        return sp.oo * exact_sign(a)
    raise Unreadable(f"division of {a} by an exact zero")


def _power(a: sp.Expr, b: sp.Expr) -> sp.Expr:
    return a**b


def _integer(x: sp.Expr, what: str) -> int:
    if isinstance(x, bool):
        return int(x)
    if not x.is_Integer:
        raise Unreadable(f"{what}: the value {x} is not a concrete integer")
    return int(x)


def _truncate(x: sp.Expr) -> sp.Expr:
    if not x.is_number:
        raise Unreadable(f"conversion of the symbolic value {x} to an integer")
    return sp.Integer(sp.floor(abs(x))) * (1 if x >= 0 else -1)


def _boolean_value(condition: Any) -> sp.Expr:
    if isinstance(condition, bool):
        return sp.Integer(int(condition))
    return sp.Piecewise((sp.Integer(1), condition), (sp.Integer(0), True))


def _is_boolean(x: Any) -> bool:
    return isinstance(x, (bool, np.bool_, sp.logic.boolalg.Boolean)) and not isinstance(x, sp.Symbol)


def _compare(reader: Reader, name: str, a: Any, b: Any) -> Any:
    if _is_boolean(a) or _is_boolean(b):
        same = a == b if isinstance(a, bool) and isinstance(b, bool) else sp.Equivalent(a, b)
        return same if name == "eq" else (not same if isinstance(same, bool) else sp.Not(same))
    if a is sp.nan or b is sp.nan:
        return name == "ne"
    sign = reader.sign(a, b)
    if sign is not None:
        return {
            "eq": sign == 0,
            "ne": sign != 0,
            "lt": sign < 0,
            "le": sign <= 0,
            "gt": sign > 0,
            "ge": sign >= 0,
        }[name]
    if name in ("eq", "ne"):
        same = _equality(a, b)
        if isinstance(same, bool):
            return same if name == "eq" else not same
        return same if name == "eq" else sp.Not(same)
    relation = {"lt": sp.Lt, "le": sp.Le, "gt": sp.Gt, "ge": sp.Ge}[name](a, b)
    return bool(relation) if relation in (sp.true, sp.false) else relation


def _equality(a: sp.Expr, b: sp.Expr) -> Any:
    """a == b; where one is the extremum of a set that holds the other, the condition that it is attained
    there."""
    for x, y in ((a, b), (b, a)):
        for kind, relation in ((sp.Max, sp.Ge), (sp.Min, sp.Le)):
            if isinstance(y, kind):
                mine = set(x.args) if isinstance(x, kind) else {x}
                if mine <= set(y.args):
                    rest = [relation(x, other) for other in y.args if other not in mine]
                    return sp.And(*rest)
    relation = sp.Eq(a, b)
    return bool(relation) if relation in (sp.true, sp.false) else relation


def _extremum(reader: Reader, a: sp.Expr, b: sp.Expr, *, largest: bool) -> sp.Expr:
    if a is sp.nan or b is sp.nan:
        return sp.nan
    sign = reader.sign(a, b)
    if sign is None:
        return sp.Max(a, b) if largest else sp.Min(a, b)
    return a if (sign >= 0) == largest or sign == 0 else b


def _absolute(reader: Reader, x: sp.Expr) -> sp.Expr:
    sign = reader.sign(x, sp.Integer(0))
    return sp.Abs(x) if sign is None else x * sign


def _sign(reader: Reader, x: sp.Expr) -> sp.Expr:
    sign = reader.sign(x, sp.Integer(0))
    return sp.sign(x) if sign is None else sp.Integer(sign)


def _square_root(reader: Reader, x: sp.Expr) -> sp.Expr:
    """A root with perfect squares taken out: the root of (a - b)^2 / 4 is |a - b| / 2, its sign decided if it
    can be."""
    root = sp.sqrt(sp.factor(x) if not is_nested(sp.sqrt(x)) else x)
    return root.replace(sp.Abs, lambda y: _absolute(reader, y)) if root.has(sp.Abs) else root


def _choose(which: Any, cases: tuple[Any, ...]) -> Any:
    if isinstance(which, (bool, np.bool_)):
        return cases[int(which)]
    if not _is_boolean(which):
        return cases[_integer(which, "select_n")]
    no, yes = cases
    if no == yes:
        return no
    if _is_boolean(no) or _is_boolean(yes):
        return sp.ITE(which, yes, no)
    return sp.Piecewise((yes, which), (no, True))


def _logical(name: str, *xs: Any) -> Any:
    if all(_is_boolean(x) for x in xs):
        made = {"and": sp.And, "or": sp.Or, "xor": sp.Xor, "not": sp.Not}[name](*xs)
        return bool(made) if made in (sp.true, sp.false) else made
    numbers = [_integer(x, name) for x in xs]
    if name == "not":
        return sp.Integer(~numbers[0])
    a, b = numbers
    return sp.Integer({"and": a & b, "or": a | b, "xor": a ^ b}[name])


def _is_finite(x: sp.Expr) -> bool:
    return x not in (sp.oo, -sp.oo, sp.nan, sp.zoo)


def _log_gamma(x: sp.Expr) -> sp.Expr:
    return sp.log(sp.factorial(x - 1)) if x.is_Integer and x > 0 else sp.loggamma(x)


def _log_add(xs: list[sp.Expr]) -> sp.Expr:
    return sp.log(sp.Add(*[sp.exp(x) for x in xs]))


_HALF = sp.Rational(1, 2)

UNARY: dict[str, Callable[[Any], Any]] = {
    "neg": lambda x: -x,
    "exp": sp.exp,
    "exp2": lambda x: sp.Integer(2) ** x,
    "log": lambda x: -sp.oo if x == 0 else sp.log(x),
    "log1p": lambda x: -sp.oo if x == -1 else sp.log(1 + x),
    "expm1": lambda x: sp.exp(x) - 1,
    "logistic": lambda x: 1 / (1 + sp.exp(-x)),
    "tanh": sp.tanh,
    "sin": sp.sin,
    "cos": sp.cos,
    "atan": sp.atan,
    "asin": sp.asin,
    "erf": sp.erf,
    "cbrt": lambda x: x ** sp.Rational(1, 3),
    "square": lambda x: x * x,
    "lgamma": _log_gamma,
    "digamma": sp.digamma,
    "floor": sp.floor,
    "ceil": sp.ceiling,
    "is_finite": _is_finite,
    "not": lambda x: _logical("not", x),
    "real": lambda x: x,
    "copy": lambda x: x,
    "copy_p": lambda x: x,
    "stop_gradient": lambda x: x,
    "reduce_precision": lambda x: x,
    "optimization_barrier": lambda x: x,
    "name": lambda x: x,
}

BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "add_any": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "pow": _power,
    "and": lambda a, b: _logical("and", a, b),
    "or": lambda a, b: _logical("or", a, b),
    "xor": lambda a, b: _logical("xor", a, b),
    "atan2": sp.atan2,
}

COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")


# --- several axes, several values
# -------------------------------------------------------------------------------


def _along(x: np.ndarray, axes: tuple[int, ...], combine: Callable[[list[Any]], Any]) -> np.ndarray:
    """Combine the values along ``axes`` into one."""
    axes = tuple(int(axis) for axis in axes)
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    out = np.empty([x.shape[axis] for axis in kept], object)
    rows = np.transpose(x, (*kept, *axes)).reshape(*out.shape, -1)
    for index in np.ndindex(out.shape):
        out[index] = combine(list(rows[index]))
    return out


def _fold(step: Callable[[Any, Any], Any]) -> Callable[[list[Any]], Any]:
    def combine(values: list[Any]) -> Any:
        total = values[0]
        for value in values[1:]:
            total = step(total, value)
        return total

    return combine


def reducers(reader: Reader) -> dict[str, Callable[[list[Any]], Any]]:
    """How each reduction combines a list of values."""
    return {
        "sum": lambda values: sp.Add(*values),
        "prod": lambda values: sp.Mul(*values),
        "max": _fold(lambda a, b: _extremum(reader, a, b, largest=True)),
        "min": _fold(lambda a, b: _extremum(reader, a, b, largest=False)),
        "and": lambda values: _fold(lambda a, b: _logical("and", a, b))([True, *values]),
        "or": lambda values: _fold(lambda a, b: _logical("or", a, b))([False, *values]),
        "logsumexp": _log_add,
    }


def _order(reader: Reader, values: list[sp.Expr]) -> list[int]:
    """The stable order from small to large; every comparison must be decided."""

    def before(a: sp.Expr, b: sp.Expr) -> bool:
        sign = reader.sign(a, b)
        if sign is None:
            raise Unreadable(
                f"sorting by the open comparison of {a} with {b}: trace under an assumption (a Witness)"
            )
        return sign < 0

    order: list[int] = []
    for i, value in enumerate(values):
        place = len(order)
        while place and before(value, values[order[place - 1]]):
            place -= 1
        order.insert(place, i)
    return order


def _arg_extremum(reader: Reader, values: list[sp.Expr], *, largest: bool) -> sp.Expr:
    order = _order(reader, [-v for v in values] if largest else values)
    return sp.Integer(order[0])


def apply(
    equation: Any, operands: list[np.ndarray], reader: Reader, read: Callable[..., Any]
) -> list[np.ndarray]:
    """One equation of a jaxpr: its outputs, as a list."""
    name, params = equation.primitive.name, equation.params
    try:
        done = _simple(name, params, operands, reader, equation)
        return done if isinstance(done, list) else [done]
    except KeyError:
        pass
    called = layout.control_flow(name, params, operands, reader, read, _choose)
    if called is not None:
        return called
    raise Unreadable(
        f"trace: the symbolic reader does not know the primitive '{name}' (parameters: {sorted(params)})"
    )


def _simple(name: str, params: Any, operands: list[np.ndarray], reader: Reader, equation: Any) -> Any:
    """Rules without sub-programs. Raises KeyError for a primitive that has none."""
    if name == "convert_element_type":
        return layout.elementwise(_converter(np.dtype(params["new_dtype"])), *operands)
    if name in UNARY and len(operands) == 1:
        return layout.elementwise(UNARY[name], operands[0])
    if name in BINARY:
        return layout.elementwise(BINARY[name], *operands)
    if name == "optimization_barrier":
        return operands
    if name in COMPARISONS:
        return layout.elementwise(lambda a, b: _compare(reader, name, a, b), *operands)
    if name in ("max", "min"):
        return layout.elementwise(lambda a, b: _extremum(reader, a, b, largest=name == "max"), *operands)
    if name == "div":
        integers = np.issubdtype(equation.outvars[0].aval.dtype, np.integer)
        return layout.elementwise((lambda a, b: _truncate(a / b)) if integers else _divide, *operands)
    if name == "rem":
        return layout.elementwise(lambda a, b: a - b * _truncate(a / b), *operands)
    if name == "integer_pow":
        power = int(params["y"])
        return layout.elementwise(
            lambda x: x**power if power >= 0 else _divide(sp.Integer(1), x**-power), *operands
        )
    if name == "clamp":
        low, x, high = operands
        step = layout.elementwise(lambda a, b: _extremum(reader, a, b, largest=True), x, low)
        return layout.elementwise(lambda a, b: _extremum(reader, a, b, largest=False), step, high)
    if name == "abs":
        return layout.elementwise(lambda x: _absolute(reader, x), *operands)
    if name == "sqrt":
        return layout.elementwise(lambda x: _square_root(reader, x), *operands)
    if name == "rsqrt":
        return layout.elementwise(lambda x: _divide(sp.Integer(1), _square_root(reader, x)), *operands)
    if name == "sign":
        return layout.elementwise(lambda x: _sign(reader, x), *operands)
    if name == "select_n":
        which, *cases = operands
        return layout.elementwise(lambda w, *xs: _choose(w, xs), which, *cases)
    if name.startswith("reduce_") and name[7:] in reducers(reader):
        return _along(operands[0], params["axes"], reducers(reader)[name[7:]])
    if name.startswith("cum") and name[3:] in reducers(reader):
        return layout.cumulative(operands[0], params["axis"], params["reverse"], reducers(reader)[name[3:]])
    if name in ("argmax", "argmin"):
        largest = name == "argmax"
        return _along(operands[0], params["axes"], lambda v: _arg_extremum(reader, v, largest=largest))
    if name == "sort":
        return layout.sort(operands, params, lambda values: _order(reader, values))
    return layout.RULES[name](params, *operands)


def _converter(dtype: np.dtype) -> Callable[[Any], Any]:
    if dtype.kind == "b":
        return lambda x: x if _is_boolean(x) else bool(x != 0) if x.is_number else sp.Ne(x, 0)
    if np.issubdtype(dtype, np.integer):
        return lambda x: _boolean_value(x) if _is_boolean(x) else x if x.is_integer else _truncate(x)
    return lambda x: _boolean_value(x) if _is_boolean(x) else x


__all__ = ["Reader", "Undecided", "Unreadable", "apply"]
