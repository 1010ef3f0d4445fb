"""What is compiled for one objective is let go when others come: mappings of memory stay bounded."""

import warnings
from functools import lru_cache
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradvar as gv
from gradvar.core import devices
from gradvar.core.devices import DeviceMesh
from gradvar.core.program_cache import Programs
from gradvar.measure import direct_stages, separability
from gradvar.measure.bank import coefficients
from tests.faults.scenes import POLICY, TASK, params, unsharded

MAPS = Path("/proc/self/maps")


def mappings():
    return MAPS.read_bytes().count(b"\n")


def objective(factor):
    return lambda logp, batch: factor * (logp * batch.rewards[..., None]).sum()


def test_the_programs_used_last_are_kept():
    traced = []

    def apply(x, *, function, factor):
        traced.append(function)
        return factor * function(x)

    programs = Programs(apply, most=2)
    functions = [lambda x, i=i: x + i for i in range(3)]
    for i in (0, 1, 0, 2, 0):
        assert programs.get(function=functions[i], factor=2)(jnp.float32(1)) == 2 * (1 + i)
    assert len(programs) == 2
    assert traced == functions  # each was compiled once: the first was always among the last two
    programs.get(function=functions[1], factor=2)(jnp.float32(1))
    programs.get(function=functions[0], factor=3)(jnp.float32(1))
    assert traced[3:] == [functions[1], functions[0]]


@pytest.mark.slow
@pytest.mark.skipif(not MAPS.exists(), reason="only Linux lists its mappings")
def test_many_new_objectives_take_no_more_mappings_than_some(monkeypatch):
    bank = unsharded()
    monkeypatch.setattr(coefficients, "_PROGRAMS", Programs(coefficients._deal_weights, most=4))

    def evaluate(factor):
        with warnings.catch_warnings(action="ignore"):  # too few rollouts for errors
            return bank.evaluate([objective(factor)], [2])

    means = [next(iter(dict(evaluate(float(i)).items()).values())).mean for i in range(1, 6)]
    for i, mean in enumerate(means, 1):  # no objective is taken for another
        np.testing.assert_allclose(mean, i * means[0], rtol=1e-9)
    before = mappings()
    for i in range(10):
        evaluate(float(i))
    assert mappings() - before < 20  # each new program takes ten and more
    assert len(coefficients._PROGRAMS) == 4


ENGINES = {
    "exact": (separability, lambda f: gv.measure.exact(f, POLICY, params(), TASK, 2)),
    "direct": (
        direct_stages,
        lambda f: gv.measure.direct(f, POLICY, params(), TASK, 2, key=jax.random.key(0), replicates=16),
    ),
}


@pytest.mark.slow
@pytest.mark.skipif(not MAPS.exists(), reason="only Linux lists its mappings")
@pytest.mark.parametrize("engine", ENGINES)
def test_many_new_objectives_of_an_engine_take_no_more_mappings_than_some(engine, monkeypatch):
    module, measure = ENGINES[engine]
    name = "_PROGRAMS" if engine == "exact" else "_WEIGHERS"
    cache = getattr(module, name)
    kept = Programs(cache._function, most=4, jit=cache._jit)
    monkeypatch.setattr(module, name, kept)
    means = [measure(objective(float(i))).mean for i in range(1, 6)]
    for i, mean in enumerate(means, 1):  # no objective is taken for another
        np.testing.assert_allclose(mean, i * means[0], rtol=1e-5, atol=1e-12)
    before = mappings()
    for i in range(12):
        measure(objective(float(i)))
    assert mappings() - before < 12  # each new program takes three
    assert len(kept) == 4


@pytest.mark.slow
def test_an_objective_that_changes_is_compiled_anew():
    """A caller's function may be another one at the next call, though it is the same object."""

    class Scaled:
        __name__ = "scaled"
        factor = 1.0

        def __call__(self, logp, batch):
            return self.factor * (logp * batch.rewards[..., None]).sum()

    scaled = Scaled()
    for measure in (engine for _, engine in ENGINES.values()):
        scaled.factor = 1.0
        first = measure(scaled).mean
        scaled.factor = 2.0
        np.testing.assert_allclose(measure(scaled).mean, 2 * first, rtol=1e-6, atol=1e-12)


def test_programs_of_several_devices_are_let_go(monkeypatch):
    """Planted: a cache that is never full."""
    mesh, rows, traced = DeviceMesh(jax.devices()[:1]), jnp.arange(3.0), []

    def add(x, *, amount):
        traced.append(amount)
        return x + amount

    def grown(most):
        monkeypatch.setattr(devices, "_sharded_program", lru_cache(most)(sharded_program))
        before = mappings()
        for i in range(10):
            np.testing.assert_array_equal(
                mesh.over(lambda x, i=i: jnp.sin(i + x), (), (rows,)), jnp.sin(i + rows)
            )
        return mappings() - before

    sharded_program = devices._sharded_program.__wrapped__
    for _ in range(
        2
    ):  # the same function with the same settings is compiled once, 2 and 2.0 are two settings
        for amount in (2, 2.0):
            found = mesh.over(eqx.Partial(add, amount=amount), (), (rows.astype(int),))
            assert found.dtype == jnp.result_type(rows.astype(int) + amount)
    assert traced == [2, 2.0]
    if MAPS.exists():
        assert grown(2) < 15 <= grown(None)  # each takes three and more
