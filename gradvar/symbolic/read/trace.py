"""The code that ships as a formula: the jaxpr of a JAX function, read with SymPy.

``trace(fn, *args)`` runs ``fn`` on exact values instead of floats. Arrays become NumPy object arrays of SymPy
expressions; constants become exact rationals; what is concrete (a mask, say) folds away. Whatever JAX does,
its rule for the gradient of a maximum at a tie included, is in the jaxpr and so in the formula.

Comparisons are where formulas grow. Left alone they give ``Max``, ``Min`` and ``Piecewise``. Under an
assumption (``assume=``) every comparison is decided as it is met, and the formula stays small: a ``Witness``
decides by a rational point and keeps the list of decisions, so that the result holds on the whole region
where they all come out the same.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import jax
import numpy as np
import sympy as sp

from gradvar.core.batch import Batch
from gradvar.core.estimator import Estimator, Objective
from gradvar.symbolic.read.interpreter import Interpreter, as_symbolic
from gradvar.symbolic.read.numbers import exact, exact_sign
from gradvar.symbolic.read.reader import Assumption, is_nested
from gradvar.symbolic.read.usage import note_estimator, note_trace


class Witness:
    """Decides every comparison by its value at one rational point, and remembers the decisions.

    ``point`` maps every symbol to an exact number. After a trace, ``conditions`` is the list of relations
    (such as ``rho1 - 6/5 > 0``) under which the traced formula is the function, and ``signs`` maps each
    expression to its sign.
    """

    def __init__(self, point: Mapping[sp.Symbol, Any]) -> None:
        self.point = {symbol: exact(value) for symbol, value in point.items()}
        self.signs: dict[sp.Expr, int] = {}

    def __call__(self, expression: sp.Expr) -> int:
        """Return the sign of a product of factors; each that is not known to be positive is a decision."""
        sign = 1
        for factor, power in sign_factors(expression):
            sign *= self._decide(factor) ** (1 if power % 2 else 2)
        return sign

    def _decide(self, factor: sp.Expr) -> int:
        if factor.is_number:
            return exact_sign(factor)
        if factor.is_positive:
            return 1
        if factor not in self.signs:
            missing = factor.free_symbols - self.point.keys()
            if missing:
                raise ValueError(
                    f"point: no value for {sorted(map(str, missing))}; the witness needs every symbol"
                )
            self.signs[factor] = exact_sign(factor.subs(self.point))
        return self.signs[factor]

    @property
    def conditions(self) -> list[sp.Basic]:
        """The decisions as relations, in the order in which they were met."""
        relation = {1: sp.StrictGreaterThan, 0: sp.Eq, -1: sp.StrictLessThan}
        return [relation[sign](expression, 0) for expression, sign in self.signs.items()]


@lru_cache(maxsize=20_000)
def sign_factors(expression: sp.Expr) -> tuple[tuple[sp.Expr, int], ...]:
    """Return factors with integer powers, each in one orientation, whose product has the sign of ``expression``."""
    if is_nested(expression):
        return ((expression, 1),)
    numerator, denominator = sp.fraction(sp.factor(sp.together(expression)))
    powers: dict[sp.Expr, int] = {}
    for part in (numerator, denominator):
        for factor in sp.Mul.make_args(part):
            base, power = factor.as_base_exp()
            if not (power.is_Integer and power > 0):
                base, power = factor, sp.Integer(1)
            content, base = base.as_content_primitive()
            if base.could_extract_minus_sign():
                content, base = -content, -base
            for piece in (content, base):
                if piece != 1:
                    powers[piece] = powers.get(piece, 0) + int(power)
    return tuple(powers.items())


def gradient(objective: Objective) -> Callable[..., Any]:
    """Return the derivative by the log-probabilities.

    For an ``Estimator`` it is the same function at every call, so that JAX traces it once for each shape. A bare
    function may look at variables that change between two calls: it is traced anew.
    """
    return _estimator_gradient(objective) if isinstance(objective, Estimator) else jax.grad(objective)


@lru_cache(maxsize=512)
def _estimator_gradient(objective: Estimator) -> Callable[..., Any]:
    return jax.grad(objective)


def trace(fn: Callable[..., Any], *args: Any, assume: Assumption | None = None) -> Any:
    """Compute ``fn(*args)`` exactly: the same pytree, its arrays holding SymPy expressions.

    A scalar result comes back as an expression, not as an array.

    Args:
        fn: a JAX function.
        args: pytrees whose leaves are SymPy expressions, object arrays of them, or concrete numbers and arrays.
            Object arrays enter as float64; concrete arrays keep their dtype and stay concrete.
        assume: decides comparisons (see ``Witness``); without it they are left open.

    Raises:
        Unreadable: naming the first primitive that the reader does not know.

    >>> x = sp.Symbol("x", real=True)
    >>> trace(lambda v: v * v + 0.5, x)
    x**2 + 1/2
    """
    leaves, treedef = jax.tree.flatten(args)
    with jax.enable_x64(True):
        shaped = jax.tree.unflatten(treedef, [_abstract(leaf) for leaf in leaves])
        closed, out_shape = jax.make_jaxpr(fn, return_shape=True)(*shaped)
        results = Interpreter(assume).read(closed, [as_symbolic(leaf) for leaf in leaves])
    note_estimator(fn)
    note_trace(closed, results)
    values = [result.item() if result.ndim == 0 else result for result in results]
    return jax.tree.unflatten(jax.tree.structure(out_shape), values)


def jaxpr_text(fn: Callable[..., Any], *args: Any) -> str:
    """Return the jaxpr of ``fn`` at these arguments as JAX prints it: the traced code, for display."""
    leaves, treedef = jax.tree.flatten(args)
    with jax.enable_x64(True):
        return str(jax.make_jaxpr(fn)(*jax.tree.unflatten(treedef, [_abstract(leaf) for leaf in leaves])))


def symbols(name: str, shape: tuple[int, ...], **assumptions: bool) -> np.ndarray:
    """Return an object array of real symbols ``name1, name2, ...``.

    Indices count from 1 and run together (``r12`` is row 1, column 2); axes of length one get no index.

    >>> symbols("r", (1, 2)).tolist()
    [[r1, r2]]
    """
    assumptions.setdefault("real", True)
    array = np.empty(shape, object)
    for index in np.ndindex(shape):
        label = "".join(str(i + 1) for i, n in zip(index, shape, strict=True) if n > 1)
        array[index] = sp.Symbol(name + label, **assumptions)
    return array


def symbolic_batch(rewards: Any, logp_old: Any, mask: Any = None, **optional: Any) -> Batch:
    """Return a ``Batch`` whose arrays hold SymPy expressions or exact numbers. Shapes are checked as ``Batch`` does.

    Args:
        rewards: [prompt, group].
        logp_old: [prompt, group, time], log-probabilities of the policy that drew the rollouts.
        mask: [prompt, group, time], concrete booleans: True where a token counts. Default: all.
        optional: further fields of ``Batch``, such as ``logp_ref``.
    """
    fields = {"rewards": rewards, "logp_old": logp_old, **optional}
    arrays = {name: _as_objects(value) for name, value in fields.items() if value is not None}
    mask = np.ones(arrays["logp_old"].shape, bool) if mask is None else np.asarray(mask, bool)
    with jax.enable_x64(True):
        shapes = {name: jax.ShapeDtypeStruct(array.shape, np.float64) for name, array in arrays.items()}
        shapes["mask"] = jax.ShapeDtypeStruct(mask.shape, bool)
        # Only the checks of shapes are wanted: abstract arrays compile nothing, where each new shape of zeros would.
        blank = jax.eval_shape(lambda fields: Batch(**fields, allow_empty=True), shapes)
    leaves, treedef = jax.tree_util.tree_flatten_with_path(blank)
    filled = [mask if path[0].name == "mask" else arrays[path[0].name] for path, _ in leaves]
    return jax.tree_util.tree_unflatten(treedef, filled)


def _as_objects(value: Any) -> np.ndarray:
    source = np.asarray(value, object)
    array = np.empty(source.shape, object)
    for index in np.ndindex(source.shape):
        array[index] = exact(source[index])
    return array


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    if isinstance(leaf, sp.Basic):
        return jax.ShapeDtypeStruct((), np.float64)
    array = np.asarray(leaf)
    return jax.ShapeDtypeStruct(array.shape, np.float64 if array.dtype == object else array.dtype)
