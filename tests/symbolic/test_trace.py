"""Reading JAX with SymPy: every rule against JAX in floats, ties, constants, and what cannot be read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

from gradvar.symbolic import Unreadable, Witness, rational, symbolic_batch, symbols, trace

x = symbols("x", (2, 3))
POINT = {s: sp.Rational(n, 7) for s, n in zip(x.flat, (3, -5, 2, 11, 1, -4), strict=True)}
VALUES = jnp.asarray(np.vectorize(lambda s: float(POINT[s]), otypes=[float])(x))


@jax.custom_vjp
def doubled(y):
    return 2 * y


doubled.defvjp(lambda y: (2 * y, None), lambda _, g: (3 * g,))

FUNCTIONS = {
    "arithmetic": lambda y: (y + 2) * y - y / 3 + y**3 - y**-2,
    "exponentials": lambda y: jnp.exp(y) + jnp.log1p(y * y) + jax.nn.sigmoid(y) + jnp.expm1(y) + jnp.tanh(y),
    "roots": lambda y: jnp.sqrt(y * y + 1) + jax.lax.rsqrt(y * y + 2) + jnp.abs(y) + jnp.sign(y) * y,
    "powers": lambda y: jnp.power(y * y + 1, 0.3) + jnp.square(y),
    "extrema": lambda y: (
        jnp.maximum(y, 0.2) + jnp.minimum(y, -0.1) + jnp.clip(y, -0.5, 0.5) + jax.lax.clamp(-0.3, y, 0.3)
    ),
    "choices": lambda y: jnp.where(y > 0.25, y, -y) + jnp.where(jnp.isfinite(y) & (y != 1.0), y, 0.0),
    "reductions": lambda y: y.sum(0) + y.max(0) - y.min(0) + y.mean(0) + y.std(0) + jnp.prod(y, 0),
    "softmax": lambda y: (
        jax.nn.log_softmax(y) + jax.nn.softmax(y) + jax.nn.logsumexp(y, axis=-1, keepdims=True)
    ),
    "log_sigmoid": jax.nn.log_sigmoid,
    "running": lambda y: jnp.cumsum(y, -1)[:, ::-1] + jax.lax.cumlogsumexp(y, 1) + jnp.cumsum(y, 0)[::-1],
    "shapes": lambda y: jnp.concatenate([y.T.reshape(2, 3), jnp.pad(y, ((0, 0), (1, 0)))[:, :3]], 0) @ y.T,
    "indexing": lambda y: (
        y[:, 1] + y[jnp.array([1, 0]), 2] + jnp.take_along_axis(y, jnp.array([[2], [0]]), 1)[:, 0]
    ),
    "update": lambda y: y.at[0, 1].add(2.0).at[1].set(0.5) + jnp.roll(y, 1, 1),
    "stacking": lambda y: jnp.stack([y[0], y[1]], 1).sum(0) + jnp.einsum("ij,kj->ik", y, y)[0],
    "sorting": lambda y: jnp.sort(y, -1) * jnp.arange(3.0) + jnp.argmax(y, -1)[:, None],
    "nested jit": jax.jit(lambda y: jax.jit(jnp.sin)(y) + jax.checkpoint(jnp.cos)(y)),
    "custom derivative": lambda y: doubled(y) * y,
    "scan": lambda y: jax.lax.scan(lambda c, row: (c * 0.5 + row, c), jnp.zeros(3), y)[0],
    "while": lambda y: jax.lax.fori_loop(0, 3, lambda i, c: c * 0.5 + i, y),
    "cond": lambda y: jax.lax.cond(y[0, 0] > 0, lambda z: z * 2, lambda z: z - 1, y),
    "stop": lambda y: jax.lax.stop_gradient(y) * y,
    "booleans": lambda y: (
        jnp.where(jnp.any(y > 1, -1, keepdims=True) ^ jnp.all(y < 2), y, 0.0) * (~(y > 0)).astype(float)
    ),
    "gamma": lambda y: jax.scipy.special.gammaln(jnp.arange(2.0, 5.0)) + y,
}


def floats(values):
    return np.vectorize(lambda e: float(sp.N(sp.sympify(e).subs(POINT), 25)), otypes=[float])(
        np.asarray(values, object)
    )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_rule_agrees_with_jax(name):
    fn = FUNCTIONS[name]
    np.testing.assert_allclose(
        floats(trace(fn, x, assume=Witness(POINT))), fn(VALUES), rtol=1e-12, atol=1e-13
    )


GRADIENTS = ("extrema", "reductions", "log_sigmoid", "indexing", "custom derivative", "stop")


@pytest.mark.parametrize(
    "name",
    [n if n in GRADIENTS else pytest.param(n, marks=pytest.mark.slow) for n in FUNCTIONS if n != "while"],
)
def test_every_gradient_agrees_with_jax(name):
    def total(y):
        return jnp.sum(
            FUNCTIONS[name](y)
            * jnp.linspace(0.5, 2.0, FUNCTIONS[name](y).size).reshape(FUNCTIONS[name](y).shape)
        )

    gradient = jax.grad(total)
    np.testing.assert_allclose(
        floats(trace(gradient, x, assume=Witness(POINT))), gradient(VALUES), rtol=1e-12, atol=1e-13
    )


def test_without_an_assumption_the_formula_is_piecewise():
    y = sp.Symbol("y", real=True)
    value = trace(lambda y: jnp.where(jnp.maximum(y, 0.5) > 2, y * y, jnp.minimum(y, 3.0)), y)
    for place in (-1, 0, sp.Rational(1, 2), 1, 2, sp.Rational(5, 2), 4):
        wanted = place * place if max(place, 0.5) > 2 else min(place, 3)
        assert value.subs(y, place) == wanted


def test_a_tie_of_max_splits_the_gradient_as_jax_does():
    y = symbols("y", (2,))
    point = dict.fromkeys(y, sp.Integer(3))
    pairs = jax.grad(lambda v: jnp.maximum(v[0], v[1]))
    reduced = jax.grad(lambda v: jnp.max(v))
    for fn in (pairs, reduced):
        assert list(trace(fn, y, assume=Witness(point))) == [sp.Rational(1, 2)] * 2
        np.testing.assert_array_equal(fn(np.array([3.0, 3.0])), [0.5, 0.5])


def test_a_witness_keeps_its_decisions_as_conditions():
    y = sp.Symbol("y", positive=True)
    witness = Witness({y: sp.Rational(3, 2)})
    assert trace(lambda y: jnp.clip(y, 0.8, 1.2), y, assume=witness) == sp.Rational(6, 5)
    assert all(condition.subs(y, sp.Rational(3, 2)) for condition in witness.conditions)
    assert any(not condition.subs(y, 1) for condition in witness.conditions)


def test_a_witness_without_a_value_is_refused():
    y, z = sp.symbols("y z", real=True)
    with pytest.raises(ValueError, match="no value for"):
        trace(lambda y, z: jnp.maximum(y, z), y, z, assume=Witness({y: 1}))


@pytest.mark.parametrize(
    ("value", "exact"),
    [
        (0.2, sp.Rational(1, 5)),
        (1e-6, sp.Rational(1, 10**6)),
        (1 / 3, sp.Rational(1, 3)),
        (-2.5, -sp.Rational(5, 2)),
        (1.28, sp.Rational(32, 25)),
        (2**0.5, sp.sqrt(2)),
        (float("inf"), sp.oo),
        (np.float32(0.1), sp.Rational(1, 10)),
        (15 / 16, sp.Rational(15, 16)),
        (0.0, 0),
    ],
)
def test_constants_become_what_was_meant(value, exact):
    assert rational(value) == exact


def test_masks_fold_away_and_nan_behind_them_is_inert():
    y = symbols("y", (1, 2, 2))
    batch = symbolic_batch(symbols("r", (1, 2)), y, np.array([[[1, 1], [1, 0]]]))
    value = trace(lambda v, b: jnp.sum(jnp.where(b.mask, v, jnp.nan * v)[0, 0]) + jnp.sum(b.mask), y, batch)
    assert sp.expand(value - y[0, 0, 0] - y[0, 0, 1] - 3) == 0


@pytest.mark.parametrize(
    ("fn", "named"),
    [
        (jnp.fft.fft, "fft"),
        (lambda y: jnp.linalg.qr(y)[1], "qr|geqrf"),
        (lambda y: jnp.linalg.cholesky(y @ y.T), "cholesky"),
    ],
)
def test_an_unknown_primitive_is_named(fn, named):
    with pytest.raises(Unreadable, match=named):
        trace(fn, x)


def test_an_open_sort_asks_for_an_assumption():
    with pytest.raises(Unreadable, match="assumption"):
        trace(jnp.sort, x)
