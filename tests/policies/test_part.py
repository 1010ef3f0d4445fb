"""Scores of a part: equal to the part of all scores, and to finite differences; what is frozen gets none."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from gradvar import catalogue
from gradvar.gradients.sketch import Whole
from gradvar.measure import record
from gradvar.measure.bank import sample
from gradvar.measure.bank.recorder import RecordSettings
from gradvar.policies import Transformer, TransformerConfig
from gradvar.policies.transformer.adapters import last_layers, lora
from gradvar.tasks import Sorting

TASK = Sorting(3, 4)
POLICY = Transformer.for_task(TASK, layers=2, width=16, heads=2, kv_heads=1, hidden=24, dtype="float64")


@functools.cache
def prompts():
    return TASK.prompts(jax.random.key(1), 2)


def moved(tree):
    return jax.tree.map(lambda x: x + 0.1 * jax.random.normal(jax.random.key(x.size), x.shape), tree)


@functools.cache
def params():
    return moved(POLICY.init(jax.random.key(0)))


@functools.cache
def done():
    return POLICY.sample(params(), jax.random.key(2), prompts(), 3)


def total(policy, params):
    return jnp.sum(policy.logprobs(params, prompts(), done()) * jnp.arange(6.0).reshape(2, 3, 1))


@pytest.mark.slow
@pytest.mark.parametrize("layers", [1, 2])
def test_last_layers_have_their_part_of_the_scores(layers):
    policy, part = last_layers(POLICY, params(), layers)
    np.testing.assert_allclose(
        policy.logprobs(part, prompts(), done()), POLICY.logprobs(params(), prompts(), done()), atol=1e-12
    )
    whole = jax.grad(lambda p: total(POLICY, p))(params())["layers"]
    expected = jax.tree.map(lambda x: x[2 - layers :], whole)
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, atol=1e-11),
        jax.grad(lambda p: total(policy, p))(part),
        expected,
    )
    np.testing.assert_array_equal(policy.sample(part, jax.random.key(2), prompts(), 3), done())
    assert f"last {layers} of 2 layers" in repr(policy)
    other = jax.tree.map(lambda x: x + 1e-6, params())
    assert repr(last_layers(POLICY, other, layers)[0]) != repr(policy)


@pytest.mark.slow
def test_no_gradient_runs_through_frozen_layers():
    """The backward pass of one layer of four has much less to do than that of all."""
    deep = Transformer(TransformerConfig(16, 4, layers=4, width=8, heads=2, kv_heads=1, hidden=8))
    start = deep.init(jax.random.key(0))
    one, part = last_layers(deep, start, 1)
    every, all_of_them = last_layers(deep, start, 4)

    def cost(policy, given):
        slope = jax.grad(lambda p: jnp.sum(policy.logprobs(p, prompts(), done())))
        return jax.jit(slope).lower(given).compile().cost_analysis()["flops"]

    few, many = cost(one, part), cost(every, all_of_them)
    assert few < 0.75 * many


@pytest.mark.slow
def test_adapters_start_as_the_policy_and_have_the_scores_of_the_chain_rule():
    policy, part = lora(POLICY, params(), 2, jax.random.key(3), targets=("query", "down"), alpha=3.0)
    np.testing.assert_array_equal(
        policy.logprobs(part, prompts(), done()), POLICY.logprobs(params(), prompts(), done())
    )
    part = moved(part)
    merged = dict(params()["layers"])
    for name in ("query", "down"):
        merged[name] = merged[name] + 1.5 * jnp.einsum(
            "lir,lro->lio", part[f"{name}_in"], part[f"{name}_out"]
        )
    whole = params() | {"layers": merged}
    np.testing.assert_allclose(
        policy.logprobs(part, prompts(), done()), POLICY.logprobs(whole, prompts(), done()), atol=1e-12
    )
    slope = jax.grad(lambda p: total(POLICY, p))(whole)["layers"]
    found = jax.grad(lambda p: total(policy, p))(part)
    for name in ("query", "down"):
        expected = 1.5 * jnp.einsum("lio,lro->lir", slope[name], part[f"{name}_out"])
        np.testing.assert_allclose(found[f"{name}_in"], expected, atol=1e-11)
        expected = 1.5 * jnp.einsum("lir,lio->lro", part[f"{name}_in"], slope[name])
        np.testing.assert_allclose(found[f"{name}_out"], expected, atol=1e-11)
    assert "rank 2 on down, query" in repr(policy)


@pytest.mark.slow
def test_banks_of_parts_add_up(tmp_path, monkeypatch):
    """tr Cov is a sum over parameters: that of the last layer is at most that of all, and is said to be its own.

    The whole policy is recorded as a large one is, with the log-probabilities that its sampler reports.
    """
    rloo, key = catalogue.get("rloo"), jax.random.key(4)
    policy, part = last_layers(POLICY, params(), 1)
    small = record(policy, part, TASK, key, 3, 8, estimators=[rloo])
    with monkeypatch.context() as patch:
        patch.setattr(sample, "LARGE", 0)
        patch.setattr(sample, "_logprobs", None)
        whole = record(POLICY, params(), TASK, key, 3, 8, estimators=[rloo])
    np.testing.assert_array_equal(small.rollouts.completions, whole.rollouts.completions)
    np.testing.assert_allclose(small.rollouts.logp, whole.rollouts.logp, atol=1e-12)
    assert "last 1 of 2 layers" in small.info["policy"]
    assert small.info["params"] == sum(x.size for x in jax.tree.leaves(part))
    here = jax.tree.map(jnp.zeros_like, params())
    here["layers"] = jax.tree.map(lambda x: x.at[-1].set(1), here["layers"])
    chosen = np.asarray(ravel_pytree(here)[0]) == 1
    assert 0.1 < chosen.mean() < 0.5
    vectors = whole.recording.scores.vectors[..., chosen]
    np.testing.assert_allclose(small.recording.scores.vectors, vectors, atol=1e-10)
    sharded = record(  # two shards: the second one begins at prompt 2
        policy, part, TASK, key, 3, 8, estimators=[rloo], folder=tmp_path / "bank", settings=RecordSettings(shard=2),
    )  # fmt: skip
    np.testing.assert_array_equal(sharded.rollouts.completions, small.rollouts.completions)
    wanted, found = (x.evaluate([rloo], [2])["rloo", 2].estimate("trace_cov") for x in (small, sharded))
    np.testing.assert_allclose(found.value, wanted.value, rtol=1e-9)


@pytest.mark.slow
def test_adapters_are_recorded_in_two_shards_as_in_one(tmp_path):
    policy, part = lora(POLICY, params(), 1, jax.random.key(3), targets=("query",))
    whole, sharded = (
        record(policy, part, TASK, jax.random.key(4), 3, 4, scores=Whole(), folder=tmp_path / f"{size}",
               settings=RecordSettings(shard=size))
        for size in (3, 2)
    )  # fmt: skip
    assert sharded.info["shards"]["of"] == 2
    np.testing.assert_array_equal(sharded.rollouts.completions, whole.rollouts.completions)
    scores = [bank.recording.scores.vectors for bank in (sharded, whole)]
    np.testing.assert_allclose(*scores, atol=1e-10)
    assert np.abs(scores[0][2]).max() > 0


@pytest.mark.slow
def test_a_chunk_of_prompts_draws_what_all_of_them_draw():
    policy, part = last_layers(POLICY, params(), 1)
    rest = policy.sample(part, jax.random.key(2), prompts(), 3, first_prompt=0)
    np.testing.assert_array_equal(rest, done())
    np.testing.assert_array_equal(
        policy.sample(part, jax.random.key(2), prompts()[1:], 3, first_prompt=1), done()[1:]
    )


@pytest.mark.parametrize(("make", "message"), [
    (lambda: last_layers(POLICY, params(), 3), "layers: 3; give 1 to 2"),
    (lambda: last_layers(POLICY, params(), 0), "layers: 0"),
    (lambda: lora(POLICY, params(), 0, jax.random.key(0)), "rank: 0"),
    (lambda: lora(POLICY, params(), 1, jax.random.key(0), targets=("embed",)), "targets: .*'embed'"),
    (lambda: lora(POLICY, params(), 1, jax.random.key(0), targets=("up", "up")), "each once"),
    (lambda: lora(POLICY, params(), 1, jax.random.key(0))[0].init(jax.random.key(0)), "no fresh parameters"),
])  # fmt: skip
def test_bad_input_is_one_clear_line(make, message):
    with pytest.raises(ValueError, match=message):
        make()
