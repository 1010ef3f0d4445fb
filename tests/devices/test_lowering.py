"""Every compiled function of the engines, and the training step, lowers for CUDA and for TPU; asserted on a CPU.

The engines run on small scenes, and each of their jitted functions is exported with the arguments that it is given.
That none is forgotten is read off their source.
"""

import ast
import contextlib
import importlib
import inspect
import re
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradvar as gv
from gradvar.core.devices import DeviceMesh
from gradvar.gradients import ghost_norms as ghost
from gradvar.gradients.ghost_norms import trace_policy
from gradvar.gradients.sketch import Sketch
from gradvar.measure.bank import sample

PLATFORMS = ("cuda", "tpu")
PACKAGE = Path(gv.__file__).parent
ENGINES = ("measure", "gradients")
HOST = re.compile(r"custom_call @(lapack|eigen|xla_python_cpu|xla_ffi_python_cpu)")


def lowered(function, *args):
    """The module of ``function`` for all platforms; what is no array is static."""
    arrays, rest = eqx.partition(args, lambda x: eqx.is_array(x) or isinstance(x, np.ndarray))

    def of_arrays(arrays):
        return eqx.filter(function(*eqx.combine(arrays, rest)), eqx.is_array)

    exported = jax.export.export(jax.jit(of_arrays), platforms=PLATFORMS)(arrays)
    assert exported.platforms == PLATFORMS
    module = exported.mlir_module()
    assert not HOST.search(module)
    return module


def jitted():
    """(module, name) of every function at the top of the engines' modules that has a jit among its decorators."""
    found = set()
    for path in (path for room in ENGINES for path in sorted((PACKAGE / room).rglob("*.py"))):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and any(
                "jit" in ast.unparse(d) for d in node.decorator_list
            ):
                found.add((module, node.name))
    return found


@contextlib.contextmanager
def exporting():
    """Meanwhile, each jitted function of the engines is lowered at its first call; how often each was called."""
    heard = Counter()
    undo = []

    def watched(name, function):
        def call(*args, **named):
            if not heard[name] and not any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(args)):
                # without its compiler options, which a program inside another one cannot have
                lowered(partial(inspect.unwrap(function), **named), *args)
                heard[name] += 1
            return function(*args, **named)

        return call

    for module, name in jitted():
        original = getattr(importlib.import_module(module), name)
        replacement = watched((module, name), original)
        for other in [m for n, m in sys.modules.items() if n.startswith("gradvar.")]:
            for attribute in [a for a, x in vars(other).items() if x is original]:
                undo.append((other, attribute, original))
                setattr(other, attribute, replacement)
    try:
        yield heard
    finally:
        for module, attribute, original in undo:
            setattr(module, attribute, original)


@pytest.fixture
def single():
    """Transformers are float32; what is compiled for them elsewhere is not."""
    with jax.enable_x64(False):
        yield


def transformer():
    task = gv.tasks.Sorting(length=3, values=4)
    policy = gv.policies.Transformer.for_task(task, width=16, layers=1, heads=2)
    return policy, policy.init(jax.random.key(0)), task


@pytest.mark.slow
def test_every_jitted_function_of_the_engines_lowers(single, monkeypatch):
    policy, params, task = transformer()
    grpo, remax, reinforce = (gv.catalogue.get(n) for n in ("grpo", "remax", "reinforce"))
    prompts = task.prompts(jax.random.key(1), 8)
    finite, table = gv.policies.Bandit(2, num_prompts=2), gv.tasks.Bandit([[1.0, 0.0], [0.0, 1.0]])
    logits = finite.init(jax.random.key(0))
    with exporting() as heard:
        gv.measure.record(
            policy, params, task, jax.random.key(1), 4, 4, estimators=[remax], scores=gv.Sketch("hashed", 16)
        )
        monkeypatch.setattr(sample, "LARGE", 0)  # a large policy's sampler has its log-probabilities
        gv.measure.record(policy, params, task, jax.random.key(1), 4, 4, scores=gv.PerToken(4))
        monkeypatch.undo()
        bank = gv.measure.record(
            finite, logits, table, jax.random.key(1), 16, 8, scores=gv.Sketch("gaussian", 16)
        )
        bank.evaluate([reinforce], [2])
        gv.measure.direct(grpo, policy, params, task, 4, key=jax.random.key(2), replicates=16)
        # off policy the reference has rollouts, and so keys, that are drawn for it; remax asks for a baseline
        others = policy.init(jax.random.key(3))
        gv.measure.direct(
            [remax], policy, params, task, 4, key=jax.random.key(2), replicates=16, old_params=others
        )
        # what an engine reports of its own rollouts, in a bank and in replicates
        engine = {"sampler": gv.policies.bfloat16_weights()}
        gv.measure.record(finite, logits, table, jax.random.key(1), 4, 4, scores=gv.Whole(), **engine)
        gv.measure.direct(grpo, policy, params, task, 4, key=jax.random.key(2), replicates=16, **engine)
        gv.measure.exact(grpo, finite, logits, table, group_size=2)
        gv.measure.score_trace(
            policy, params, prompts, policy.sample(params, jax.random.key(2), prompts, 1)[:, 0]
        )
        # several devices share the work in a program of its own
        DeviceMesh(jax.devices()).over(lambda rows: rows + 1, (), (jnp.arange(4.0),))
        # what the programs above hold inside, on its own
        Sketch("rademacher", 16).image(jnp.ones((2, 40)), jax.random.key(0))
        Sketch("hashed", 16).image_of_parts([(jnp.ones((2, 40)), 0)], jax.random.key(0))
        rows = (prompts, policy.sample(params, jax.random.key(2), prompts, 1)[:, 0])
        tapped = trace_policy(policy, params, prompts, rows[1].shape[1])
        weights = jnp.ones(rows[1].shape, jnp.float32)
        plan = ghost.plan_of(tapped, params, "auto")
        ghost.norms_and_sum(tapped, params, *rows, weights, tuple(p.way for p in plan))
        # whether estimators couple the prompts of a batch
        bank.evaluate([reinforce], [2], prompts=2)
    missing = jitted() - set(heard)
    assert not missing


@pytest.mark.slow
def test_the_training_step_lowers(single):
    from gradvar.train import arms
    from gradvar.train.held_out import Training
    from gradvar.train.plan import Plan
    from gradvar.train.trainer import Trainer

    task = Training(gv.tasks.ModularAddition(digits=1))
    policy = gv.policies.Transformer.for_task(task.task, width=16, layers=1, heads=2)
    params, examination = policy.init(jax.random.key(0)), task.examination(jax.random.key(1), 4)
    trainer = Trainer(policy, task, Plan(arms.get("grpo-2"), 2, 1e-3, 2), examination, 2)
    states = trainer.start([0], params)
    lowered(trainer._advance, trainer.limits(), states)
    lowered(trainer._evaluate, examination, (states.seed, states.params))


@pytest.mark.slow
def test_sampling_and_scoring_lower(single):
    policy, params, task = transformer()
    prompts = task.prompts(jax.random.key(1), 2)
    completions = jnp.zeros((2, 2, policy.config.completion_length), jnp.int32)
    assert "stablehlo.while" in lowered(
        lambda p, k, q: policy.sample(p, k, q, 2), params, jax.random.key(0), prompts
    )
    lowered(policy.logprobs, params, prompts, completions)


def test_what_only_a_cpu_can_do_is_noticed():
    """The planted violator."""
    with pytest.raises(NotImplementedError, match="eig"):
        lowered(jnp.linalg.eig, jnp.eye(2))
