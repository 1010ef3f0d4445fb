"""The finite policies: their support, probabilities, samples, gradients and their refusals."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from gradvar.core.protocols import FinitePolicy
from gradvar.policies import Bandit, Tabular

POLICIES = [
    Bandit(4, num_prompts=3),
    Tabular(3, 3, num_prompts=3, stop=0),
    Tabular(4, 2, num_prompts=3, stop=2, shared=True),
    Tabular(3, 2, num_prompts=3, shared=True),
    Tabular(2, 3, num_prompts=3),
]
PROMPTS = jnp.arange(3)
policies = pytest.mark.parametrize("policy", POLICIES, ids=repr)
a_few = pytest.mark.parametrize("policy", POLICIES[:3], ids=repr)


def everything(policy):
    """The support for every prompt: [Q, K, T]."""
    support = policy.support()
    return jnp.broadcast_to(support, (3, *support.shape))


@policies
def test_probabilities_of_the_support_sum_to_one(policy):
    assert isinstance(policy, FinitePolicy)
    params = policy.init(jax.random.key(0), scale=1.5)
    completions = everything(policy)
    logp = policy.logprobs(params, PROMPTS, completions)
    assert logp.dtype == jnp.float64
    np.testing.assert_allclose(jnp.exp(logp.sum(-1)).sum(-1), 1.0, rtol=1e-13)
    np.testing.assert_array_equal(jnp.where(policy.mask(completions), 0.0, logp), 0.0)


@policies
def test_support_lists_each_completion_once(policy):
    support = np.asarray(policy.support())
    assert len(np.unique(support, axis=0)) == len(support)
    if isinstance(policy, Tabular) and policy.stop is not None:
        live = policy.vocab - 1
        assert len(support) == sum(live**t for t in range(policy.length + 1))
        for row in support:  # after the first stop token, nothing but stop tokens
            first = np.argmax(row == policy.stop) if policy.stop in row else policy.length
            assert (row[first:] == policy.stop).all()


def reference_logprob(policy, params, prompt, row):
    """The definition, by dictionary: a row of logits for every prefix that has not stopped."""
    digits = [v for v in range(policy.vocab) if v != policy.stop]
    prefixes = [()]
    for _ in range(policy.length - 1):
        longest = max(map(len, prefixes))
        prefixes += [(*p, d) for p in prefixes if len(p) == longest for d in digits]
    total, prefix = [], ()
    for token in row:
        at = prefixes.index(prefix)
        if policy.shared:
            logits = np.asarray(params["table"][at]) + (
                np.asarray(params["offset"][prompt]) if not prefix else 0
            )
        else:
            logits = np.asarray(params[prompt, at])
        total.append(logits[token] - np.log(np.exp(logits).sum()))
        prefix = (*prefix, token)
        if token == policy.stop:
            break
    return total + [0.0] * (policy.length - len(total))


@pytest.mark.parametrize("policy", [p for p in POLICIES if isinstance(p, Tabular)], ids=repr)
def test_tabular_logprobs_are_those_of_the_definition(policy):
    params = policy.init(jax.random.key(1))
    completions = everything(policy)
    logp = policy.logprobs(params, PROMPTS, completions)
    expected = [
        [reference_logprob(policy, params, q, tuple(row)) for row in completions[q].tolist()]
        for q in range(3)
    ]
    np.testing.assert_allclose(logp, expected, rtol=1e-12, atol=1e-14)


def test_bandit_logprobs_are_those_of_the_definition():
    params = jnp.array([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]])
    logp = Bandit(3, 2).logprobs(params, jnp.array([1, 0]), jnp.array([[[0], [1]], [[2], [0]]]))
    first = 3 - np.log(np.exp(3) + 2)
    second = 2 - np.log(1 + np.e + np.exp(2))
    np.testing.assert_allclose(logp[..., 0], [[first, first - 3], [second, second - 2]], rtol=1e-13)


def largest_z(policy, params, completions, rollouts):
    """The largest |z| of a completion's frequency in ``rollouts`` samples of each prompt."""
    support = everything(policy)
    prob = np.exp(np.asarray(policy.logprobs(params, PROMPTS, support)).sum(-1))
    counts = (np.asarray(completions)[:, :, None] == np.asarray(support)[:, None]).all(-1).sum(1)
    assert counts.sum() == 3 * rollouts  # every sample is in the support
    return np.max(np.abs(counts / rollouts - prob) / np.sqrt(prob * (1 - prob) / rollouts))


@policies
def test_samples_have_the_stated_probabilities(policy):
    params = policy.init(jax.random.key(2))
    completions = policy.sample(params, jax.random.key(3), PROMPTS, 20_000)
    # at most 3 * 27 completions: |z| < 4.5 fails by chance once in 2,000 runs, and the seed is fixed
    assert largest_z(policy, params, completions, 20_000) < 4.5
    tilted = jax.tree.map(
        lambda x: 1.15 * x, params
    )  # the planted violator: samples of a policy 15 % sharper
    assert largest_z(policy, params, policy.sample(tilted, jax.random.key(3), PROMPTS, 20_000), 20_000) > 4.5


@a_few
def test_samples_do_not_depend_on_how_the_batch_is_cut(policy):
    params = policy.init(jax.random.key(2))
    key = jax.random.key(4)
    whole = policy.sample(params, key, PROMPTS, 6)
    later = policy.sample(params, key, jnp.array([1, 2, 0]), 6, first_prompt=1, first_rollout=2)
    np.testing.assert_array_equal(whole[1:, 2:], later[:2, :4])
    assert (
        np.asarray(whole[0]) != np.asarray(policy.sample(params, key, PROMPTS, 6, first_prompt=1)[0])
    ).any()


@pytest.mark.slow
@a_few
def test_greedy_takes_the_most_likely_token_at_every_step(policy):
    params = policy.init(jax.random.key(5))
    greedy = policy.greedy(params, PROMPTS)
    sharp = jax.tree.map(lambda x: 1e6 * x, params)  # at temperature 1e-6 sampling is greedy
    sampled = policy.sample(sharp, jax.random.key(6), PROMPTS, 2)
    assert greedy.shape[1] == 1
    np.testing.assert_array_equal(jnp.broadcast_to(greedy, sampled.shape), sampled)


@a_few
def test_expected_score_is_zero_and_gradient_agrees_with_finite_differences(policy):
    params = policy.init(jax.random.key(7))
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    completions = everything(policy)

    @jax.jit
    def logp(x):
        return policy.logprobs(unravel(x), PROMPTS, completions).sum(-1)

    scores = np.asarray(jax.jit(jax.jacobian(logp))(flat))
    np.testing.assert_allclose(np.einsum("qk,qkp->qp", np.exp(logp(flat)), scores), 0.0, atol=1e-14)
    direction = jax.random.normal(jax.random.key(8), flat.shape)
    h = 1e-5
    slope = (logp(flat + h * direction) - logp(flat - h * direction)) / (2 * h)
    np.testing.assert_allclose(scores @ direction, slope, atol=1e-8)  # error of the difference: h^2 ~ 1e-10


def test_shared_table_makes_prompts_interact_and_separate_tables_do_not():
    def overlap(policy):
        params = policy.init(jax.random.key(9))
        completions = jnp.tile(policy.support()[:1], (3, 1, 1))
        score = jax.jit(jax.jacobian(lambda p: policy.logprobs(p, PROMPTS, completions).sum((1, 2))))
        rows = np.concatenate([np.asarray(x).reshape(3, -1) for x in jax.tree.leaves(score(params))], axis=1)
        return abs(rows[0] @ rows[1])

    assert overlap(Tabular(3, 2, num_prompts=3)) == 0.0
    assert overlap(Tabular(3, 2, num_prompts=3, shared=True)) > 0.01


@pytest.mark.slow
def test_works_under_jit_vmap_and_in_single_precision():
    policy = Tabular(3, 2, num_prompts=3, stop=0)
    params = policy.init(jax.random.key(0), dtype=jnp.float32)
    keys = jax.random.split(jax.random.key(1), 5)

    @jax.jit
    @jax.vmap
    def run(key):
        completions = policy.sample(params, key, PROMPTS, 4)
        return completions, policy.logprobs(params, PROMPTS, completions)

    completions, logp = run(keys)
    assert logp.dtype == jnp.float32
    np.testing.assert_array_equal(completions[2], policy.sample(params, keys[2], PROMPTS, 4))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Bandit(1), "num_answers: 1; give a whole number from 2 up"),
        (lambda: Bandit(2.5), "num_answers: 2.5; give a whole number from 2 up"),
        (lambda: Tabular(1, 2), "vocab: 1; give a whole number from 2 up"),
        (lambda: Tabular(2, 0), "length: 0; give a whole number from 1 up"),
        (lambda: Tabular(2, 2, stop=2), "stop: token 2 is not among 0..1"),
        (lambda: Tabular(10, 9), "length: a table for 9 tokens of 10 needs"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_bad_arrays_are_refused():
    policy = Bandit(3, 2)
    params = policy.init(jax.random.key(0))
    with pytest.raises(ValueError, match="prompts: index 2 with 2 prompts"):
        policy.logprobs(params, jnp.array([2]), jnp.zeros((1, 1, 1), int))
    with pytest.raises(ValueError, match="prompts: shape"):
        policy.sample(params, jax.random.key(0), jnp.zeros((2, 3), int), 2)
    with pytest.raises(ValueError, match="completions: shape"):
        policy.logprobs(params, jnp.array([0]), jnp.zeros((1, 1, 2), int))
    with pytest.raises(ValueError, match=r"completions: token 3 is not among 0\.\.2"):
        policy.logprobs(params, jnp.array([0]), jnp.array([[[3]]]))
    with pytest.raises(ValueError, match="group: 0; give a whole number from 1 up"):
        policy.sample(params, jax.random.key(0), jnp.array([0]), 0)
