"""Every catalogued estimator, read with SymPy, against JAX in float64: in every region of ratio and
advantage."""

import itertools
import random

import jax
import numpy as np
import pytest
import sympy as sp

from gradvar import catalogue
from gradvar.core.batch import Batch
from gradvar.symbolic import Witness, symbolic_batch, symbols, trace

BELOW, INSIDE, ABOVE = (
    (60, 79),
    (9997, 10003),
    (130, 190),
)  # over 100, 10000, 100: around every default clip range
# Of equal weight, two standardised pairs that disagree cancel to the order of eps, and dividing by their spread over
# the batch then leaves float64 ten of its sixteen digits.
SETTINGS = {"gdpo": {"weights": (1.0, 0.5)}}
LEVELS = {"below": BELOW, "inside": INSIDE, "above": ABOVE}


def draw_ratio(level, rng):
    low, high = LEVELS[level]
    return sp.Rational(rng.randint(low, high), 10_000 if level == "inside" else 100)


def check(name, group, time, levels, seed):
    """Trace at a rational point with these ratio levels [group, time]; compare value and token weights with
    JAX."""
    rng = random.Random(seed)
    estimator = catalogue.get(name, **SETTINGS.get(name, {}))
    shape = (1, group, time)
    fraction = lambda: sp.Rational(rng.randint(-60, 60), 61)  # noqa: E731
    rho, old, rewards = symbols("rho", shape, positive=True), symbols("a", shape), symbols("r", (1, group))
    fields = {
        "logp_ref": symbols("c", shape), "logp_sampler": symbols("b", shape), "values": symbols("v", shape),
        "greedy_rewards": symbols("g", (1, 1))[0], "baseline": symbols("e", (1, 1))[0],
        "reward_parts": symbols("q", (1, group, 2)),
    }  # fmt: skip
    fields = {k: v for k, v in fields.items() if k in estimator.needs}
    point = {s: fraction() for x in (old, rewards, *fields.values()) for s in x.flat}
    point |= {s: draw_ratio(level, rng) for s, level in zip(rho.flat, levels, strict=True)}
    logp = np.frompyfunc(lambda x, y: sp.log(x) + y, 2, 1)(rho, old)
    mask = np.ones(shape, bool)
    if time > 1:
        mask[0, -1, -1] = False

    def number(array):
        return np.vectorize(lambda e: float(sp.N(e.subs(point), 25)), otypes=[float])(array)

    batch = symbolic_batch(rewards, old, mask, **fields)
    concrete = Batch(number(rewards), number(old), mask, **{k: number(v) for k, v in fields.items()})
    for fn in (estimator.objective, jax.grad(estimator.objective)):
        wanted = np.asarray(fn(number(logp), concrete))
        read = number(np.asarray(trace(fn, logp, batch, assume=Witness(point)), object))
        np.testing.assert_allclose(read, wanted, rtol=1e-12, atol=1e-12)


# Every third estimator is quick.
SAMPLED = [pytest.param(n, marks=pytest.mark.slow if i % 3 else ()) for i, n in enumerate(catalogue.names())]


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLED)
def test_two_tokens(name):
    """G = 2, two tokens: two batches in which every level meets both signs of the advantage."""
    if catalogue.get(name).min_group > 2:
        pytest.skip("needs a larger group")
    check(name, 2, 2, ["below", "inside", "inside", "below"], seed=1)
    check(name, 2, 2, ["above", "below", "above", "above"], seed=2)


@pytest.mark.slow
@pytest.mark.parametrize(("group", "time"), [(2, 1), (2, 2), (3, 2)])
@pytest.mark.parametrize("name", catalogue.names())
def test_every_region(name, group, time):
    """All 3^(G T) levels for few tokens; for more, each level at all tokens at once (so with every sign of the
    advantage), and two draws."""
    if catalogue.get(name).min_group > group:
        pytest.skip("needs a larger group")
    tokens = group * time
    cases = list(itertools.product(LEVELS, repeat=tokens))
    if len(cases) > 9:
        rng = random.Random(group * 10 + time)
        cases = [tuple(level for _ in range(tokens)) for level in LEVELS]
        cases += [tuple(rng.choice(list(LEVELS)) for _ in range(tokens)) for _ in range(2)]
    for seed, levels in enumerate(cases):
        check(name, group, time, levels, seed)
