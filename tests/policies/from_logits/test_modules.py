"""Modules of Equinox and of Flax NNX as policies: taught, drifted, recorded; and what they were before."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradvar import catalogue
from gradvar.gradients.score_trace import score_trace
from gradvar.measure.bank.record import record
from gradvar.measure.direct import direct
from gradvar.measure.exact.enumerate import exact
from gradvar.policies import FiniteLogitsPolicy, from_equinox, from_nnx
from gradvar.tasks import Sorting
from gradvar.train.drift import drift
from gradvar.train.warm_start import warm_start

from . import models
from .models import PAD, STOP, VOCAB
from .test_own import PROMPTS, Tokens, everything

SETTINGS = {"vocab": VOCAB, "completion_length": 2, "stop": STOP, "pad": PAD, "policy": FiniteLogitsPolicy}


def equinox_case():
    model = models.Recurrent(jax.random.key(0))
    return *from_equinox(model, init=models.Recurrent, **SETTINGS), jax.vmap(model)


def nnx_case():
    pytest.importorskip("flax")
    model = models.attention(jax.random.key(0))
    return *from_nnx(model, init=models.attention, **SETTINGS), model


cases = pytest.mark.parametrize("case", [equinox_case, nnx_case])


@pytest.mark.slow
@cases
def test_log_probabilities_are_those_of_the_module_itself(case):
    policy, params, model = case()
    completions, logp = policy.sample_with_logprobs(params, jax.random.key(1), PROMPTS, 6)
    np.testing.assert_allclose(policy.logprobs(params, PROMPTS, completions), logp, atol=1e-6)
    prompt = jnp.array([0, 2])  # the first one without its padding
    table = jax.nn.log_softmax(model(jnp.concatenate([prompt, completions[0, 3, :1]])[None])[0])
    first = table[1, completions[0, 3, 0]]
    np.testing.assert_allclose(logp[0, 3, 0], first, atol=1e-6)
    if completions[0, 3, 0] != STOP:
        np.testing.assert_allclose(logp[0, 3, 1], table[2, completions[0, 3, 1]], atol=1e-6)
    assert abs(logp[1, 3, 0] - first) > 1e-4  # the planted violator: another prompt's
    fresh = policy.init(jax.random.key(7))
    assert jax.tree.structure(fresh) == jax.tree.structure(params)
    assert all(jnp.issubdtype(x.dtype, jnp.floating) for x in jax.tree.leaves(params))


@pytest.mark.slow
@cases
def test_engines_agree_on_a_module(case):
    policy, params, _ = case()
    params = jax.tree.map(lambda x: 0.7 * x.astype(jnp.float64), params)  # no completion is rare
    task = Tokens(np.random.default_rng(0).random((3, VOCAB)))
    rloo = catalogue.get("rloo")
    truth = exact(rloo, policy, params, task, group_size=2)
    drawn = direct(rloo, policy, params, task, group_size=2, key=jax.random.key(1), replicates=2000)
    bank = record(policy, params, task, jax.random.key(2), prompts=200, rollouts=8)
    found = bank.evaluate([rloo], (2,))[("rloo", 2)]
    for figure in ("trace_cov", "signal"):
        assert abs(getattr(drawn, figure) - getattr(truth, figure)) < 4 * drawn.se[figure]
        assert abs(getattr(found, figure) - getattr(truth, figure)) < 4 * found.se[figure]
    prompts = task.all_prompts()
    every = np.asarray(everything(policy, prompts)).reshape(-1, 2)
    trace = score_trace(policy, params, np.repeat(prompts, len(policy.support()), 0), every)
    vectors = jax.jacrev(lambda p: policy.logprobs(p, prompts, everything(policy, prompts)).sum(-1))(params)
    squares = sum(np.sum(np.asarray(x).reshape(len(every), -1) ** 2, -1) for x in jax.tree.leaves(vectors))
    np.testing.assert_allclose(trace.norms, squares, rtol=1e-9)
    moved = drift(policy, params, task, jax.random.key(3), 60, rloo, learning_rate=0.03)

    def reward(values):
        logp = policy.logprobs(values, prompts, everything(policy, prompts)).sum(-1)
        return float((jnp.exp(logp) * task.reward(prompts, everything(policy, prompts))).sum(-1).mean())

    assert reward(moved) > reward(params) + 0.1


@pytest.mark.slow
def test_a_module_is_taught():
    task = Sorting(length=2, values=3)
    sizes = {"vocab": task.vocab, "completion_length": task.completion_length, "stop": task.stop}

    def make(key):
        return models.Recurrent(key, task.vocab, 16)

    policy, params = from_equinox(make(jax.random.key(0)), init=make, pad=task.pad, **sizes)
    with pytest.raises(TypeError, match="pass cache=False"):
        warm_start(policy, task, jax.random.key(1), 0.6)
    warm = warm_start(
        policy,
        task,
        jax.random.key(1),
        0.6,
        cache=False,
        batch=64,
        num_prompts=64,
        group=4,
        learning_rate=0.01,
    )
    assert warm.reached
    assert abs(warm.success_rate - 0.6) < 5 * warm.standard_error + 0.1
    prompts = task.prompts(jax.random.key(2), 64)
    untaught = task.reward(prompts, policy.sample(params, jax.random.key(3), prompts, 4))
    assert float(untaught.mean()) < 0.4  # the planted violator: no teaching
    moved = drift(policy, warm.params, task, jax.random.key(4), 2, catalogue.get("grpo"))
    assert jax.tree.structure(moved) == jax.tree.structure(params)


@pytest.mark.slow
def test_modules_that_are_not_causal_are_refused_and_others_are_called_as_asked():
    class Around(models.Recurrent):
        def __call__(self, tokens):
            return models.Recurrent.__call__(self, tokens[::-1])

    with pytest.raises(ValueError, match="depend on no later token"):
        from_equinox(Around(jax.random.key(0)), **SETTINGS)
    batched = eqx.filter_jit(lambda model, tokens: jax.vmap(model)(tokens))
    model = models.Recurrent(jax.random.key(0))
    policy, params = from_equinox(model, call=batched, **SETTINGS)
    found = policy.logprobs(params, PROMPTS, jnp.array([[[1, 2]], [[0, 1]], [[2, 2]]]))
    table = jax.nn.log_softmax(model(jnp.array([0, 2, 1])))  # the first prompt without its padding
    np.testing.assert_allclose(found[0, 0], [table[1, 1], table[2, 2]], atol=1e-6)
    assert abs(found[0, 0, 0] - table[0, 1]) > 1e-4  # the planted violator: a place too early


def test_flax_is_asked_for_in_one_line(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "flax", None)
    with pytest.raises(ImportError, match=r"^flax: not installed.*pip install flax$"):
        from_nnx(object(), **SETTINGS)
