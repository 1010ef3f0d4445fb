"""The transformer against a NumPy one, its cache, its samples, its gradient, its padding and its refusals."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradvar.core.protocols import Policy
from gradvar.policies import Transformer, TransformerConfig

from ..compilations import compilations
from .reference import completion_logprobs, next_token_logprobs

TINY = TransformerConfig(
    vocab=5, completion_length=3, layers=2, width=16, heads=4, kv_heads=2, hidden=24, stop=4, dtype="float64"
)
VARIANTS = {
    "llama, tied": TINY,
    "qwen2: bias, untied, wide heads": dataclasses.replace(
        TINY, qkv_bias=True, tied=False, head_dim=6, rope_theta=50.0, norm_eps=1e-3
    ),
    "multi-query, no stop, tempered": dataclasses.replace(
        TINY, kv_heads=1, stop=None, temperature=0.7, layers=1
    ),
    "multi-head, one token": dataclasses.replace(TINY, kv_heads=4, layers=3, completion_length=1),
}
variants = pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
PROMPTS = jnp.array([[0, 1, 2, 3], [3, 0, 0, 1]])


def perturbed(policy, seed=0):
    """Parameters with no zero bias and no unit norm left, so that a forgotten one shows."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(policy.init, jax.random.key(0))
    return jax.tree.map(lambda x: jnp.asarray(0.2 * x.ndim + 0.4 * rng.normal(size=x.shape), x.dtype), shapes)


def everything(config):
    """Every completion of each prompt once, for up to three tokens: [2, K, T]."""
    rows = np.indices((config.vocab,) * config.completion_length).reshape(config.completion_length, -1).T
    if config.stop is not None:
        stopped = np.cumsum(rows == config.stop, axis=-1) > 0
        rows = rows[(np.where(stopped, config.stop, rows) == rows).all(-1)]
    return jnp.broadcast_to(jnp.asarray(rows), (2, *rows.shape))


@variants
def test_log_probabilities_are_those_of_the_numpy_transformer(config):
    policy = Transformer(config)
    assert isinstance(policy, Policy)
    params, completions = perturbed(policy), everything(config)
    logp = np.asarray(policy.logprobs(params, PROMPTS, completions))
    np.testing.assert_allclose(np.exp(logp.sum(-1)).sum(-1), 1.0, rtol=1e-12)
    expected = [
        [completion_logprobs(config, params, prompt, row) for row in rows]
        for prompt, rows in zip(PROMPTS.tolist(), completions[:, ::9].tolist(), strict=True)
    ]
    np.testing.assert_allclose(logp[:, ::9], expected, rtol=1e-10, atol=1e-12)


def test_logits_are_those_of_the_numpy_transformer():
    policy = Transformer(TINY)
    params = perturbed(policy)
    expected = [next_token_logprobs(TINY, params, prompt) for prompt in PROMPTS.tolist()]
    logp = jax.nn.log_softmax(policy.logits(params, PROMPTS), axis=-1)
    np.testing.assert_allclose(logp, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["query_bias", "key", "attention_norm", "down", "head", "norm"])
def test_the_comparison_sees_every_parameter(name):
    config = VARIANTS["qwen2: bias, untied, wide heads"]
    policy = Transformer(config)
    params = perturbed(policy)
    completions = everything(config)
    mutant = jax.tree.map(lambda x: x, params)
    where = mutant["layers"] if name in mutant["layers"] else mutant
    where[name] = where[name] * 1.001  # the planted violator: one array off by a thousandth
    right = completion_logprobs(config, params, PROMPTS[0].tolist(), completions[0, 9].tolist())
    assert np.abs(policy.logprobs(mutant, PROMPTS, completions)[0, 9] - right).max() > 1e-9


def test_later_tokens_do_not_reach_earlier_ones():
    policy = Transformer(TINY)
    params = perturbed(policy)
    tokens = jnp.array([[0, 1, 2, 3, 1, 2]])
    before = policy.logits(params, tokens)
    after = policy.logits(params, tokens.at[0, 3].set(0))
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert jnp.abs(before[:, 3:] - after[:, 3:]).min(-1).max() > 1e-6
    logp = policy.logprobs(params, PROMPTS, everything(TINY))
    np.testing.assert_array_equal(everything(TINY)[0, 1, :2], everything(TINY)[0, 0, :2])
    np.testing.assert_array_equal(logp[:, 0, :2], logp[:, 1, :2])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dtype", "tolerance"),
    [
        ("qwen2: bias, untied, wide heads", "float64", 1e-12),
        ("multi-query, no stop, tempered", "float64", 1e-12),
        ("llama, tied", "float32", 1e-5),  # a few layers of sums over 24 terms of size 1 to 10, 6e-8 each
    ],
)
def test_sampling_with_the_cache_has_the_log_probabilities_of_the_full_pass(name, dtype, tolerance):
    config = dataclasses.replace(VARIANTS[name], dtype=dtype, completion_length=6)
    policy = Transformer(config)
    params = perturbed(policy)
    completions, logp = policy.sample_with_logprobs(params, jax.random.key(2), PROMPTS, 16)
    assert logp.dtype == dtype
    np.testing.assert_allclose(logp, policy.logprobs(params, PROMPTS, completions), rtol=0, atol=tolerance)
    np.testing.assert_array_equal(completions, policy.sample(params, jax.random.key(2), PROMPTS, 16))
    if config.stop is not None:
        outside = ~np.asarray(policy.mask(completions))
        assert outside.any()
        np.testing.assert_array_equal(np.asarray(completions)[outside], config.stop)
        np.testing.assert_array_equal(np.asarray(logp)[outside], 0.0)


@pytest.mark.slow
def test_half_precision_keeps_log_probabilities_in_single_precision():
    policy = Transformer(dataclasses.replace(TINY, dtype="bfloat16"))
    params = policy.init(jax.random.key(0))
    completions, logp = policy.sample_with_logprobs(params, jax.random.key(1), PROMPTS, 8)
    full = policy.logprobs(params, PROMPTS, completions)
    assert logp.dtype == full.dtype == jnp.float32
    np.testing.assert_allclose(
        logp, full, atol=0.1
    )  # bfloat16 has 8 bits: 2^-8 per operation, a few layers deep


def largest_z(policy, params, completions):
    """The largest |z| of a completion's frequency against its probability, where 5 or more are expected."""
    support, n = everything(policy.config), completions.shape[1]
    prob = np.exp(np.asarray(policy.logprobs(params, PROMPTS, support)).sum(-1))
    code = policy.config.vocab ** np.arange(3)
    numbers, drawn = np.asarray(support) @ code, np.asarray(completions) @ code
    share = np.stack([[np.mean(row == number) for number in numbers[0]] for row in drawn])
    z = (share - prob) / np.sqrt(prob * (1 - prob) / n)
    return np.abs(z[prob * n > 5]).max()


@pytest.mark.slow
def test_samples_have_the_stated_probabilities():
    policy = Transformer(dataclasses.replace(TINY, temperature=0.8))
    params = perturbed(policy)
    # 85 completions: |z| < 4.5 fails by chance once in 1,700 runs, and the seed is fixed
    assert largest_z(policy, params, policy.sample(params, jax.random.key(3), PROMPTS, 20_000)) < 4.5
    sharper = params | {"embed": params["embed"] * 1.1}  # the planted violator
    assert largest_z(policy, params, policy.sample(sharper, jax.random.key(3), PROMPTS, 20_000)) > 4.5


def test_samples_do_not_depend_on_how_the_batch_is_cut():
    policy = Transformer(TINY)
    params = perturbed(policy)
    prompts = jnp.array([[0, 1, 2, 3], [3, 0, 0, 1], [1, 1, 1, 1]])
    whole = policy.sample(params, jax.random.key(4), prompts, 6)
    at = {"first_prompt": 1, "first_rollout": 2}
    later = policy.sample(params, jax.random.key(4), jnp.roll(prompts, -1, axis=0), 6, **at)
    np.testing.assert_array_equal(whole[1:, 2:], later[:2, :4])
    other = policy.sample(params, jax.random.key(4), prompts, 6, first_prompt=1)
    assert (np.asarray(whole) != np.asarray(other)).any()


def test_greedy_takes_the_most_likely_token_at_every_step():
    policy = Transformer(TINY)
    params = perturbed(policy)
    greedy = np.asarray(policy.greedy(params, PROMPTS))
    for prompt, (row,) in zip(PROMPTS.tolist(), greedy, strict=True):
        prefix = []
        while len(prefix) < 3 and TINY.stop not in prefix:
            prefix.append(int(next_token_logprobs(TINY, params, prompt + prefix)[-1].argmax()))
        assert row.tolist() == prefix + [TINY.stop] * (3 - len(prefix))


@pytest.mark.slow
def test_left_padding_changes_nothing():
    # 0 is padding on the left and a token like any other after that
    padded, plain = Transformer(dataclasses.replace(TINY, pad=0)), Transformer(TINY)
    params = perturbed(padded)
    long, short = jnp.array([[0, 0, 0, 3, 0, 1]]), jnp.array([[3, 0, 1]])
    completions, logp = padded.sample_with_logprobs(params, jax.random.key(5), long, 32)
    right = plain.logprobs(params, short, completions)
    np.testing.assert_allclose(logp, right, atol=1e-12)
    np.testing.assert_allclose(padded.logprobs(params, long, completions), right, atol=1e-12)
    alone = padded.logprobs(params, long, completions[:, :1])  # a group of one takes another way
    np.testing.assert_allclose(alone, right[:, :1], atol=1e-12)
    unaware = plain.logprobs(params, long, completions)  # the planted violator
    assert np.abs(np.asarray(unaware) - np.asarray(right)).max() > 1e-3


@pytest.mark.slow
def test_gradient_agrees_with_finite_differences():
    # one prompt is padded, with something that is no token: its gradient must not be NaN
    policy = Transformer(dataclasses.replace(VARIANTS["qwen2: bias, untied, wide heads"], pad=-1))
    params, direction = perturbed(policy), perturbed(policy, seed=9)
    prompts = jnp.array([[-1, -1, 2, 3], [3, 0, 0, 1]])
    completions = jnp.array([[[1, 2, 0], [0, 4, 4]], [[3, 3, 3], [4, 4, 4]]])

    @jax.jit
    @jax.value_and_grad
    def value(step):
        moved = jax.tree.map(lambda x, d: x + step * d, params, direction)
        return policy.logprobs(moved, prompts, completions).sum()

    h = 1e-5  # errors: h^2 times the third derivative, and rounding / h; both about 1e-9
    slope = (value(h)[0] - value(-h)[0]) / (2 * h)
    np.testing.assert_allclose(value(0.0)[1], slope, rtol=1e-7)


def test_equal_policies_share_compiled_code():
    config = dataclasses.replace(TINY, temperature=0.7)  # a policy that no other test has
    completions = everything(TINY)
    params = perturbed(Transformer(config))
    with compilations() as names:
        Transformer(config).logprobs(params, PROMPTS, completions)
        assert names.count("_logprobs") == 1
        Transformer(dataclasses.replace(config)).logprobs(params, PROMPTS, completions)
        assert names.count("_logprobs") == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vocab": 1}, "vocab: 1; give a whole number from 2 up"),
        ({"kv_heads": 3}, "kv_heads: 3 does not divide heads = 4"),
        ({"width": 18}, "heads: 4 does not divide width = 18"),
        ({"head_dim": 5}, "head_dim: 5 features per head cannot be paired"),
        ({"stop": 5}, r"stop: token 5 is not among 0\.\.4"),
        ({"temperature": 0.0}, "temperature: 0.0; give a number above zero"),
        ({"dtype": "int8"}, "dtype: 'int8'; choose one of float64"),
        ({"completion_length": 300}, "max_length: 256 leaves no room for a prompt"),
        ({"layers": 0}, "layers: 0; give a whole number from 1 up"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **settings)


def test_bad_arrays_are_refused():
    policy = Transformer(dataclasses.replace(TINY, max_length=8, pad=-1))
    params = perturbed(policy)
    with pytest.raises(ValueError, match="prompts: shape"):
        policy.sample(params, jax.random.key(0), jnp.array([1, 2]), 2)
    with pytest.raises(ValueError, match="prompts: 6 tokens and 3 of completion exceed max_length = 8"):
        policy.greedy(params, jnp.zeros((1, 6), int))
    with pytest.raises(ValueError, match=r"prompts: token 7 is not among 0\.\.4"):
        policy.greedy(params, jnp.array([[7]]))
    with pytest.raises(ValueError, match="prompts: prompt 1 is all padding"):
        policy.greedy(params, jnp.array([[-1, 0], [-1, -1]]))
    # padding on the right is no padding, and would be looked up in the embedding
    with pytest.raises(ValueError, match=r"prompts: token -1 is not among 0\.\.4"):
        policy.greedy(params, jnp.array([[-1, 0, -1]]))
    with pytest.raises(ValueError, match="completions: shape"):
        policy.logprobs(params, PROMPTS, jnp.zeros((3, 1, 3), int))
    with pytest.raises(ValueError, match="group: 0; give a whole number from 1 up"):
        policy.sample(params, jax.random.key(0), PROMPTS, 0)
