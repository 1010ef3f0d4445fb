"""Interpreting a jaxpr on exact values: equation by equation, with calls, loops and branches."""

from typing import Any

import numpy as np
from jax.extend import core as jex_core

from gradvar.symbolic.read.arrays import map_elements
from gradvar.symbolic.read.elementwise import Unreadable, choose
from gradvar.symbolic.read.numbers import exact
from gradvar.symbolic.read.primitives import primitive_rules
from gradvar.symbolic.read.reader import Assumption, Comparisons

Arrays = list[np.ndarray]

_SUB_PROGRAMS = ("jaxpr", "call_jaxpr", "fun_jaxpr")  # of jit, custom derivatives, remat
_MOST_ROUNDS = 10_000


class Interpreter:
    """Reads jaxprs under one assumption about open comparisons."""

    def __init__(self, assume: Assumption | None = None) -> None:
        self._rules = primitive_rules(Comparisons(assume))

    def read(self, program: Any, inputs: Arrays) -> Arrays:
        """Interpret a jaxpr (closed, or open without constants) on object arrays."""
        jaxpr, constants = (program.jaxpr, program.consts) if hasattr(program, "consts") else (program, ())
        values: dict[Any, np.ndarray] = {}
        values.update(zip(jaxpr.constvars, map(as_symbolic, constants), strict=True))
        values.update(zip(jaxpr.invars, inputs, strict=True))

        def value(atom: Any) -> np.ndarray:
            return as_symbolic(atom.val) if isinstance(atom, jex_core.Literal) else values[atom]

        for equation in jaxpr.eqns:
            outputs = self._apply(equation, [value(atom) for atom in equation.invars])
            values.update(zip(equation.outvars, outputs, strict=True))
        return [value(atom) for atom in jaxpr.outvars]

    def _apply(self, equation: Any, operands: Arrays) -> Arrays:
        """Return the outputs of one equation."""
        name, params = equation.primitive.name, equation.params
        if name == "div" and np.issubdtype(equation.outvars[0].aval.dtype, np.integer):
            name = "integer_div"
        if rule := self._rules.get(name):
            result = rule(params, *operands)
            return result if isinstance(result, list) else [result]
        if name == "scan":
            return self._scan(params, operands)
        if name == "while":
            return self._while(params, operands)
        if name == "cond":
            return self._cond(params, operands)
        for key in _SUB_PROGRAMS:
            if key in params and not isinstance(params[key], (int, str)):
                return self.read(params[key], operands)
        raise Unreadable(
            f"trace: the symbolic reader does not know the primitive '{name}' (parameters: {sorted(params)})"
        )

    def _cond(self, params: Any, operands: Arrays) -> Arrays:
        index, *rest = operands
        which = index.item()
        if isinstance(which, bool) or getattr(which, "is_Integer", False):
            return self.read(params["branches"][int(which)], rest)
        branches = [self.read(branch, rest) for branch in params["branches"]]
        return [
            map_elements(lambda *cases: choose(which, cases), *outputs)
            for outputs in zip(*branches, strict=True)
        ]

    def _scan(self, params: Any, operands: Arrays) -> Arrays:
        consts, carries = params["num_consts"], params["num_carry"]
        fixed, carry = operands[:consts], operands[consts : consts + carries]
        rows = operands[consts + carries :]
        steps: list[Any] = [None] * params["length"]
        order = range(params["length"])
        for t in reversed(order) if params["reverse"] else order:
            inputs = [*fixed, *carry, *(np.asarray(x[t], object) for x in rows)]
            outputs = self.read(params["jaxpr"], inputs)
            carry, steps[t] = outputs[:carries], outputs[carries:]
        return [*carry, *(np.stack(column) for column in zip(*steps, strict=True))]

    def _while(self, params: Any, operands: Arrays) -> Arrays:
        tests, bodies = params["cond_nconsts"], params["body_nconsts"]
        test_fixed, body_fixed = operands[:tests], operands[tests : tests + bodies]
        carry = operands[tests + bodies :]
        for _ in range(_MOST_ROUNDS):
            goes_on = self.read(params["cond_jaxpr"], [*test_fixed, *carry])[0].item()
            if not isinstance(goes_on, bool):
                raise Unreadable(
                    "a while loop whose end depends on a symbolic value: trace under an assumption"
                )
            if not goes_on:
                return carry
            carry = self.read(params["body_jaxpr"], [*body_fixed, *carry])
        raise RuntimeError(f"a while loop ran {_MOST_ROUNDS} rounds without end")


def as_symbolic(leaf: Any) -> np.ndarray:
    """Return any leaf as an object array: booleans stay Python booleans, numbers become exact."""
    array = np.asarray(leaf)
    if array.dtype == object:
        return array
    convert = bool if array.dtype == bool else exact
    values = map(convert, array.ravel())
    return np.fromiter(values, object, count=array.size).reshape(array.shape)
