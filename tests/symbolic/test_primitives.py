"""What each primitive does to single values and to places, against Python, NumPy, and JAX on numbers."""

import itertools
import math
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import sympy as sp
from jax import lax

from gradvar.symbolic import Unreadable, symbols, trace
from gradvar.symbolic.read import arrays, elementwise
from gradvar.symbolic.read.interpreter import as_symbolic
from gradvar.symbolic.read.numbers import exact
from gradvar.symbolic.read.reader import Comparisons

x, y = sp.symbols("x y", real=True)
p = sp.Symbol("p", positive=True)
m = sp.Symbol("m", negative=True)
NUMBERS = [sp.Rational(a, b) for a, b in ((-7, 2), (-2, 1), (-1, 3), (0, 1), (1, 3), (1, 1), (5, 2), (4, 1))]


def test_division_by_an_exact_zero_is_the_floats():
    assert elementwise.divide(sp.Integer(3), sp.Integer(0)) == sp.oo
    assert elementwise.divide(sp.Rational(-3, 2), sp.Integer(0)) == -sp.oo
    assert elementwise.divide(sp.Integer(0), sp.Integer(0)) is sp.nan
    assert elementwise.divide(sp.nan, sp.Integer(0)) is sp.nan
    assert elementwise.divide(x, sp.Integer(2)) == x / 2
    with pytest.raises(Unreadable, match="division of x by an exact zero"):
        elementwise.divide(x, sp.Integer(0))
    assert elementwise.integer_power(sp.Integer(0), -2) == sp.oo
    assert elementwise.integer_power(sp.Integer(0), 0) == 1
    assert elementwise.integer_power(x, -3) == x**-3
    assert elementwise.integer_power(x, 2) == x**2


def test_whole_numbers_round_towards_zero():
    for a, b in itertools.product((-7, -6, 0, 5, 7), (-3, -2, 2, 3)):
        assert elementwise.divide_integers(sp.Integer(a), sp.Integer(b)) == math.trunc(a / b)
        assert elementwise.remainder(sp.Integer(a), sp.Integer(b)) == int(math.fmod(a, b))
    assert [elementwise.truncate(n) for n in NUMBERS] == [math.trunc(n) for n in NUMBERS]
    with pytest.raises(Unreadable, match="the symbolic value x to an integer"):
        elementwise.truncate(x)


SCALARS = {
    "neg": operator.neg, "exp": math.exp, "exp2": lambda v: 2.0**v, "log": np.log, "log1p": np.log1p,
    "expm1": math.expm1, "logistic": scipy.special.expit, "tanh": math.tanh, "sin": math.sin, "cos": math.cos,
    "atan": math.atan, "asin": np.arcsin, "erf": math.erf, "cbrt": np.cbrt, "square": np.square, "lgamma": math.lgamma,
    "digamma": scipy.special.digamma, "floor": math.floor, "ceil": math.ceil, "is_finite": math.isfinite,
    **dict.fromkeys(("real", "copy", "copy_p", "stop_gradient", "reduce_precision", "name"), lambda v: v),
}  # fmt: skip


def test_functions_of_a_number_are_those_of_numpy():
    assert set(SCALARS) | {"not"} == set(elementwise.UNARY)
    for name, function in SCALARS.items():
        for number in NUMBERS:
            below = {"log": number < 0, "log1p": number < -1, "asin": abs(number) > 1, "cbrt": number < 0,
                     "lgamma": number <= 0, "digamma": number <= 0}  # fmt: skip
            if not below.get(name):
                with np.errstate(divide="ignore"):
                    wanted = function(float(number))
                np.testing.assert_allclose(
                    float(elementwise.UNARY[name](number)), wanted, rtol=1e-13, err_msg=name
                )
    assert [elementwise.UNARY["is_finite"](v) for v in (sp.oo, -sp.oo, sp.nan, sp.zoo, x)] == [False] * 4 + [
        True
    ]
    assert elementwise.UNARY["lgamma"](x) == sp.loggamma(x)
    assert elementwise.log_sum_exp([sp.log(2), sp.log(3)]) == sp.log(5)


def test_functions_of_two_numbers_are_those_of_numpy():
    wanted = {"add": np.add, "add_any": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide,
              "pow": np.power, "atan2": np.arctan2, "integer_div": lambda a, b: np.trunc(a / b), "rem": np.fmod,
              "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}  # fmt: skip
    assert set(wanted) == set(elementwise.BINARY)
    for name, function in wanted.items():
        for a, b in ((6, 3), (7, 2), (5, 12)):
            kind = int if name in ("and", "or", "xor") else float
            value = elementwise.BINARY[name](sp.Integer(a), sp.Integer(b))
            assert float(value) == pytest.approx(float(function(kind(a), kind(b)))), name


def test_booleans_and_whole_numbers_have_their_own_logic():
    for a, b in itertools.product((True, False), repeat=2):
        for name, function in (("and", operator.and_), ("or", operator.or_), ("xor", operator.xor)):
            assert elementwise.logical(name, a, b) is function(a, b)
        assert elementwise.logical("not", a) is (not a)
    assert elementwise.logical("not", sp.Integer(5)) == ~5
    assert elementwise.logical("and", True, x > 0) == (x > 0)
    assert elementwise.logical("or", True, x > 0) is True
    assert elementwise.logical("and", False, x > 0) is False
    assert elementwise.logical("xor", True, x > 0) == (x <= 0)
    assert elementwise.logical("and", sp.Integer(6), True) == 0  # bit by bit
    with pytest.raises(Unreadable, match="or: the value x is not a concrete integer"):
        elementwise.logical("or", x, sp.Integer(1))
    assert all(elementwise.is_boolean(v) for v in (True, np.True_, sp.true, x > 0))
    assert not any(elementwise.is_boolean(v) for v in (x, 1, sp.Integer(1), sp.Symbol("b")))


def test_a_choice_by_a_boolean_a_number_or_an_open_condition():
    assert elementwise.choose(True, (x, y)) is y
    assert elementwise.choose(np.False_, (x, y)) is x
    assert elementwise.choose(sp.Integer(2), (x, y, p)) is p
    assert elementwise.choose(x > 0, (y, y)) is y
    assert elementwise.choose(x > 0, (y, p)) == sp.Piecewise((p, x > 0), (y, True))
    assert elementwise.choose(x > 0, (False, y > 0)) == sp.ITE(x > 0, y > 0, False)
    assert elementwise.choose(x > 0, (y > 0, True)) == sp.ITE(x > 0, True, y > 0)
    with pytest.raises(Unreadable, match="select_n"):
        elementwise.choose(x, (y, p))


def test_conversions():
    to_bool, to_int, to_float = (elementwise.converter(np.dtype(d)) for d in (bool, np.int32, np.float32))
    assert [to_bool(v) for v in (True, sp.Integer(0), sp.Rational(-1, 2))] == [True, False, True]
    assert to_bool(x) == sp.Ne(x, 0)
    assert [to_int(v) for v in (True, sp.Rational(-7, 2), sp.Rational(7, 2), sp.Integer(3))] == [1, -3, 3, 3]
    assert [to_float(v) for v in (False, sp.Rational(7, 2), x)] == [0, sp.Rational(7, 2), x]
    assert to_float(x > 0) == sp.Piecewise((1, x > 0), (0, True))
    whole = sp.Symbol("n", integer=True)
    assert to_int(whole) is whole
    mixed = as_symbolic(np.array([0.5, 2.0]))
    assert mixed.tolist() == [sp.Rational(1, 2), 2]
    assert as_symbolic(np.array([True, False])).tolist() == [True, False]


GRID = np.arange(24).reshape(2, 3, 4)
TENSOR = symbols("t", (2, 3, 4))
PLACES = {s: sp.Integer(int(n)) for s, n in zip(TENSOR.flat, GRID.flat, strict=True)}
MOVES = {
    "pad with gaps and cuts": lambda a: lax.pad(a, jnp.asarray(-7, a.dtype), ((1, -1, 0), (0, 2, 1), (-1, 0, 2))),
    "pad with wide gaps": lambda a: lax.pad(a, jnp.asarray(1, a.dtype), ((-1, 3, 2), (2, -2, 0), (0, -3, 1))),
    "slice with strides": lambda a: lax.slice(a, (0, 1, 1), (2, 3, 4), (1, 2, 2)),
    "slice without strides": lambda a: lax.slice(a, (1, 0, 2), (2, 2, 4)),
    "split": lambda a: jnp.concatenate(lax.split(a, (1, 2, 1), axis=2)[::-1], 2),
    "broadcast": lambda a: lax.broadcast_in_dim(a, (3, 2, 5, 3, 4), (1, 3, 4)),
    "broadcast of length one": lambda a: lax.broadcast_in_dim(a[:, :1], (2, 6, 4), (0, 1, 2)),
    "transposed": lambda a: lax.transpose(a, (2, 0, 1)),
    "reversed": lambda a: lax.rev(a, (0, 2)),
    "joined": lambda a: lax.concatenate([a, a[:, :1]], 1),
    "squeezed": lambda a: lax.squeeze(a[:1, :, 1:2], (0, 2)) + lax.expand_dims(a[0, :, 0], (0, 2)).reshape(3),
    "counted": lambda a: a + lax.broadcasted_iota(a.dtype, (2, 3, 4), 1) * 100,
    "contracted": lambda a: lax.dot_general(a, a, (((1,), (1,)), ((), ()))),
    "contracted in batches": lambda a: lax.dot_general(a, a[::-1].swapaxes(1, 2), (((2,), (1,)), ((0,), (0,)))),
    "contracted twice": lambda a: lax.dot_general(a, a.transpose(2, 1, 0), (((1, 2), (1, 0)), ((), ()))),
    "batched twice": lambda a: lax.dot_general(a, a.swapaxes(0, 2), (((), ()), ((0, 1), (2, 1)))),
    "sums": lambda a: a.sum((0, 2)) + a.sum((1, 2))[0] + a.sum(),
    "products": lambda a: a[:, :2, :2].prod((0, 1)),
    "running sums": lambda a: lax.cumsum(a, 1) + 1000 * lax.cumsum(a, 2, reverse=True),
    "running products": lambda a: lax.cumprod(a[:, :2], 1) + lax.cumprod(a[..., 2:], 2, reverse=True)[:, :2, :1],
    "running extrema": lambda a: lax.cummax(a % 5, 2) * 10 + lax.cummin(a % 5, 1, reverse=True),
    "a window": lambda a: lax.dynamic_slice(a, (jnp.array(1), jnp.array(2), jnp.array(1)), (2, 1, 2)),
    "a window written": lambda a: lax.dynamic_update_slice(a, -a[:1, :2, :2], (jnp.array(1), *map(jnp.array, (2, 0)))),
    "taken": lambda a: a[jnp.array([[1, 0], [1, 1]]), :, jnp.array([3, 0])],
    "put": lambda a: a.at[jnp.array([0, 1]), jnp.array([2, 0])].set(-a[0, :2]),
    "added": lambda a: a.at[jnp.array([0, 0, 1]), :, jnp.array([2, 2, 0])].add(a[0, :, :3].T),
    "sorted": lambda a: lax.sort([a * 7 % 5, a], dimension=1, num_keys=1)[1],
    "extremes": lambda a: lax.argmax(a * 7 % 5, 2, np.int64) * 10 + lax.argmin(a * 7 % 5, 2, np.int64),
    "stacked": lambda a: jnp.stack([a[0], a[1]], 2),
    "loops": lambda a: lax.scan(lambda c, r: (c + r, c * r[0]), jnp.zeros(4, a.dtype), a[0], reverse=True)[1],
    "carried": lambda a: lax.scan(lambda c, r: (c * 2 + r, None), a[1, 0], a[0, :2])[0],
    "rounds": lambda a: lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * 2 + a[0]), (0, a[1]))[1],
}  # fmt: skip


@pytest.fixture(scope="module")
def by_jax():
    """Each function of whole numbers; one program in all, for compiling is what takes time."""
    with jax.enable_x64(True):
        return jax.jit(lambda a: {name: move(a) for name, move in MOVES.items()})(GRID)


@pytest.mark.parametrize("name", MOVES)
def test_what_is_moved_and_combined_is_where_jax_has_it(name, by_jax):
    whole = name in ("running extrema", "sorted", "extremes")  # comparisons: of numbers
    value = np.asarray(trace(MOVES[name], GRID if whole else TENSOR))
    numbers = np.vectorize(lambda e: int(sp.sympify(e).xreplace(PLACES)), otypes=[int])(value)
    np.testing.assert_array_equal(numbers, by_jax[name])


def test_what_lies_outside_is_as_jax_has_it():
    """Indices beyond the end: filled, clipped or dropped."""
    row = symbols("r", (3,))
    assert trace(lambda a: a.at[jnp.array([1, 5])].get(mode="fill"), row).tolist() == [row[1], sp.nan]
    assert trace(lambda a: a.at[jnp.array([-1, 5])].get(mode="clip"), row).tolist() == [row[2], row[2]]
    assert trace(lambda a: a.at[jnp.array([0, 7])].set(1.0, mode="drop"), row).tolist() == [1, row[1], row[2]]
    assert trace(lambda a: a.at[jnp.array([0, 7])].add(a[:2], mode="drop"), row).tolist() == [
        2 * row[0],
        *row[1:],
    ]
    assert trace(lambda a: lax.dynamic_slice(a, (jnp.array(9),), (2,)), row).tolist() == [row[1], row[2]]
    with pytest.raises(Unreadable, match="indices must be concrete"):
        trace(lambda a, i: a[i.astype(int)], row, sp.Symbol("i", integer=True))


def test_equal_objects_are_computed_once_and_equal_numbers_are_not_mixed():
    calls = []
    column = np.array([True, 1, True, x, x], object)
    out = arrays.map_elements(lambda v: calls.append(v) or str(v), column)
    assert out.tolist() == ["True", "1", "True", "x", "x"]
    assert len(calls) == 3
    assert arrays.map_elements(operator.add, np.array([x, y], object), np.array(1, object)).tolist() == [
        x + 1,
        y + 1,
    ]


OPERATIONS = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}


def test_comparisons_of_numbers_infinities_and_signs():
    decide = Comparisons().compare
    points = [-sp.oo, -sp.sqrt(2), sp.Integer(-1), sp.Rational(1, 2), sp.sqrt(2), sp.Integer(2), sp.oo]
    for (i, a), (j, b) in itertools.product(enumerate(points), repeat=2):
        for name, function in OPERATIONS.items():
            assert decide(name, a, b) is function(i, j)
    for name, function in OPERATIONS.items():
        assert decide(name, p, m) is function(1, -1)
        assert decide(name, m, p) is function(-1, 1)
        assert decide(name, p, sp.Integer(0)) is function(1, 0)
        assert decide(name, sp.oo, x) is function(1, 0)
        assert decide(name, x, sp.oo) is function(0, 1)
        assert decide(name, -sp.oo, x) is function(0, 1)
        assert decide(name, sp.nan, x) is (name == "ne")
        assert decide(name, sp.Integer(1), sp.nan) is (name == "ne")
        assert decide(name, x + 1, 1 + x) is function(0, 0)
    assert [decide("eq", a, b) for a, b in ((True, True), (True, False))] == [True, False]
    assert [decide("ne", a, b) for a, b in ((True, True), (True, False))] == [False, True]
    assert decide("eq", True, x > 0) == (x > 0)
    assert decide("ne", True, x > 0) == (x <= 0)
    assert [decide(n, x, y) for n in ("lt", "le", "gt", "ge")] == [x < y, x <= y, x > y, x >= y]
    assert [decide(n, x, y) for n in ("eq", "ne")] == [sp.Eq(x, y), sp.Ne(x, y)]


def test_an_extremum_equals_a_member_where_the_member_attains_it():
    decide = Comparisons().compare
    assert decide("eq", sp.Max(x, y), x) == (x >= y)
    assert decide("eq", x, sp.Min(x, y)) == (x <= y)
    assert decide("ne", x, sp.Max(x, y)) == (x < y)
    z = sp.Symbol("z", real=True)
    both = decide("eq", sp.Max(x, y), sp.Max(x, y, z))
    for values in itertools.product((0, 1, 2), repeat=3):
        at = dict(zip((x, y, z), values, strict=True))
        assert bool(both.subs(at)) == (max(values[:2]) == max(values))
    assert decide("eq", sp.Max(x, y), z) == sp.Eq(sp.Max(x, y), z)


@pytest.mark.parametrize(("sign", "largest"), [*itertools.product((-1, 0, 1, None), (True, False))])
def test_an_extremum_by_the_sign_of_the_difference(sign, largest):
    decide = Comparisons(lambda _: sign)
    wanted = {
        None: sp.Max(x, y) if largest else sp.Min(x, y),
        0: x,
        1: x if largest else y,
        -1: y if largest else x,
    }
    assert decide.extremum(x, y, largest=largest) == wanted[sign]
    assert decide.extremum(sp.nan, y, largest=largest) is sp.nan
    assert decide.extremum(x, sp.nan, largest=largest) is sp.nan
    assert decide.absolute(x) == {None: sp.Abs(x), 0: 0, 1: x, -1: -x}[sign]
    assert decide.signum(x) == (sp.sign(x) if sign is None else sign)


def test_orders_are_stable():
    decide = Comparisons()
    for values in itertools.product((0, 1, 2), repeat=4):
        assert decide.order([sp.Integer(v) for v in values]) == np.argsort(values, kind="stable").tolist()
    with pytest.raises(Unreadable, match="open comparison of y with x"):
        decide.order([x, y])


def test_roots_of_squares_lose_the_root():
    assert Comparisons().square_root(exact(sp.Rational(1, 4)) * (x - y) ** 2) == sp.Abs(x - y) / 2
    assert Comparisons(lambda _: -1).square_root((x - y) ** 2) == y - x
    assert Comparisons().square_root(x**2 + 2 * x * y + y**2) == sp.Abs(x + y)
