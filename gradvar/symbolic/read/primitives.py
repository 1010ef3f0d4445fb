"""How each JAX primitive is read: one rule per primitive, on NumPy object arrays of SymPy expressions.

A rule takes the equation's parameters and the operands; it returns the result, or a list of results.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import sympy as sp

from gradvar.symbolic.read.arrays import MOVES, cumulative, map_elements, reduce_axes, sort
from gradvar.symbolic.read.elementwise import (
    BINARY,
    UNARY,
    choose,
    converter,
    divide,
    integer_power,
    log_sum_exp,
    logical,
)
from gradvar.symbolic.read.reader import Comparisons

Rule = Callable[..., Any]
Combine = Callable[[list[Any]], Any]


def primitive_rules(comparisons: Comparisons) -> dict[str, Rule]:
    """Return the rules of all primitives without sub-programs, with the reader's decisions."""
    rules = {name: _on_elements(step) for name, step in (UNARY | BINARY).items()}
    rules |= {
        name: _on_elements(lambda a, b, name=name: comparisons.compare(name, a, b))
        for name in ("eq", "ne", "lt", "le", "gt", "ge")
    }
    rules |= {
        "abs": _on_elements(comparisons.absolute),
        "sign": _on_elements(comparisons.signum),
        "sqrt": _on_elements(comparisons.square_root),
        "rsqrt": _on_elements(lambda x: divide(sp.Integer(1), comparisons.square_root(x))),
        "max": _on_elements(lambda a, b: comparisons.extremum(a, b, largest=True)),
        "min": _on_elements(lambda a, b: comparisons.extremum(a, b, largest=False)),
        "clamp": _on_elements(
            lambda low, x, high: comparisons.extremum(
                comparisons.extremum(x, low, largest=True), high, largest=False
            )
        ),
        "select_n": _on_elements(lambda which, *cases: choose(which, cases)),
        "integer_pow": lambda params, x: map_elements(lambda v: integer_power(v, int(params["y"])), x),
        "convert_element_type": lambda params, x: map_elements(converter(np.dtype(params["new_dtype"])), x),
        "optimization_barrier": lambda _, *operands: list(operands),
        "sort": lambda params, *operands: sort(list(operands), params, comparisons.order),
        "argmin": _on_axes(lambda values: sp.Integer(comparisons.order(values)[0])),
        "argmax": _on_axes(lambda values: sp.Integer(comparisons.order([-v for v in values])[0])),
    }
    for name, combine in _reductions(comparisons).items():
        rules[f"reduce_{name}"] = _on_axes(combine)
        rules[f"cum{name}"] = _along_axis(combine)
    return rules | MOVES


def _on_elements(step: Callable[..., Any]) -> Rule:
    return lambda _, *operands: map_elements(step, *operands)


def _on_axes(combine: Combine) -> Rule:
    return lambda params, x: reduce_axes(x, params["axes"], combine)


def _along_axis(combine: Combine) -> Rule:
    return lambda params, x: cumulative(x, params["axis"], params["reverse"], combine)


def _reductions(comparisons: Comparisons) -> dict[str, Combine]:
    """How each reduction combines a list of values."""
    return {
        "sum": lambda values: sp.Add(*values),
        "prod": lambda values: sp.Mul(*values),
        "max": _fold(lambda a, b: comparisons.extremum(a, b, largest=True)),
        "min": _fold(lambda a, b: comparisons.extremum(a, b, largest=False)),
        "and": lambda values: _fold(lambda a, b: logical("and", a, b))([True, *values]),
        "or": lambda values: _fold(lambda a, b: logical("or", a, b))([False, *values]),
        "logsumexp": log_sum_exp,
    }


def _fold(step: Callable[[Any, Any], Any]) -> Combine:
    def combine(values: list[Any]) -> Any:
        total = values[0]
        for value in values[1:]:
            total = step(total, value)
        return total

    return combine
