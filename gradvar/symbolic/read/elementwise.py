"""Primitives on single values: JAX's arithmetic and logic in SymPy, with the floats' rules at zero and infinity.

Booleans are Python booleans where they are known, SymPy Booleans where they are left open.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import sympy as sp

from gradvar.symbolic.read.numbers import exact_sign


class Unreadable(NotImplementedError):
    """A primitive, or a use of one, that the symbolic reader cannot interpret."""


def divide(a: sp.Expr, b: sp.Expr) -> sp.Expr:
    """Divide with the floats' rule at an exact zero: nan for 0/0, a signed infinity else."""
    if b != 0:
        return a / b
    if a == 0 or a is sp.nan:
        return sp.nan
    if a.is_number:
        return sp.oo * exact_sign(a)
    raise Unreadable(f"division of {a} by an exact zero")


def divide_integers(a: sp.Expr, b: sp.Expr) -> sp.Expr:
    """Divide and round towards zero."""
    return truncate(a / b)


def remainder(a: sp.Expr, b: sp.Expr) -> sp.Expr:
    """Return what is left of a after whole multiples of b, with the sign of a."""
    return a - b * truncate(a / b)


def integer_power(x: sp.Expr, power: int) -> sp.Expr:
    """Return x to a concrete power, by the floats' division where the power is negative."""
    return x**power if power >= 0 else divide(sp.Integer(1), x**-power)


def truncate(x: sp.Expr) -> sp.Expr:
    """Round a number towards zero."""
    if not x.is_number:
        raise Unreadable(f"conversion of the symbolic value {x} to an integer")
    return sp.Integer(sp.floor(abs(x))) * (1 if x >= 0 else -1)


def boolean_value(condition: Any) -> sp.Expr:
    """Return a boolean as the number 0 or 1, or as a case distinction between them."""
    if isinstance(condition, bool):
        return sp.Integer(int(condition))
    return sp.Piecewise((sp.Integer(1), condition), (sp.Integer(0), True))


def is_boolean(x: Any) -> bool:
    """Return True for Python's booleans and SymPy's, False for numbers and symbols."""
    return isinstance(x, (bool, np.bool_, sp.logic.boolalg.Boolean)) and not isinstance(x, sp.Symbol)


def choose(which: Any, cases: tuple[Any, ...]) -> Any:
    """Return the case that ``which`` names; a case distinction where that is left open."""
    if isinstance(which, (bool, np.bool_)):
        return cases[int(which)]
    if not is_boolean(which):
        return cases[_concrete_integer(which, "select_n")]
    no, yes = cases
    if no == yes:
        return no
    if is_boolean(no) or is_boolean(yes):
        return sp.ITE(which, yes, no)
    return sp.Piecewise((yes, which), (no, True))


def logical(name: str, *operands: Any) -> Any:
    """Apply and, or, xor, not to booleans, or bit by bit to concrete integers."""
    if all(is_boolean(x) for x in operands):
        result = {"and": sp.And, "or": sp.Or, "xor": sp.Xor, "not": sp.Not}[name](*operands)
        return bool(result) if result in (sp.true, sp.false) else result
    numbers = [_concrete_integer(x, name) for x in operands]
    if name == "not":
        return sp.Integer(~numbers[0])
    a, b = numbers
    return sp.Integer({"and": a & b, "or": a | b, "xor": a ^ b}[name])


def converter(dtype: np.dtype) -> Callable[[Any], Any]:
    """Return the conversion of single values to a dtype; floats of every width are exact numbers."""
    if dtype.kind == "b":
        return lambda x: x if is_boolean(x) else bool(x != 0) if x.is_number else sp.Ne(x, 0)
    if np.issubdtype(dtype, np.integer):
        return lambda x: boolean_value(x) if is_boolean(x) else x if x.is_integer else truncate(x)
    return lambda x: boolean_value(x) if is_boolean(x) else x


def log_sum_exp(values: list[sp.Expr]) -> sp.Expr:
    """Return the logarithm of the sum of exponentials."""
    return sp.log(sp.Add(*[sp.exp(x) for x in values]))


def _concrete_integer(x: Any, primitive: str) -> int:
    if isinstance(x, bool):
        return int(x)
    if not x.is_Integer:
        raise Unreadable(f"{primitive}: the value {x} is not a concrete integer")
    return int(x)


def _is_finite(x: sp.Expr) -> bool:
    return x not in (sp.oo, -sp.oo, sp.nan, sp.zoo)


def _log_gamma(x: sp.Expr) -> sp.Expr:
    return sp.log(sp.factorial(x - 1)) if x.is_Integer and x > 0 else sp.loggamma(x)


def _same(x: Any) -> Any:
    return x


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
    "not": lambda x: logical("not", x),
    "real": _same,
    "copy": _same,
    "copy_p": _same,
    "stop_gradient": _same,
    "reduce_precision": _same,
    "name": _same,
}

BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "add_any": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": divide,
    "integer_div": divide_integers,
    "rem": remainder,
    "pow": lambda a, b: a**b,
    "and": lambda a, b: logical("and", a, b),
    "or": lambda a, b: logical("or", a, b),
    "xor": lambda a, b: logical("xor", a, b),
    "atan2": sp.atan2,
}
