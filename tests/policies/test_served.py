"""Engines that change the next token's distribution, on policies of tokens: against loops and the listed policy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradvar.policies import (
    Bandit,
    Transformer,
    TransformerConfig,
    fp8_weights,
    last_layers,
    lora,
    merged_adapter,
    min_p,
    noise,
    other_template,
    temperature,
    top_k,
    top_p,
)
from gradvar.policies.from_logits.policy import FiniteLogitsPolicy

VOCAB, LENGTH, STOP = 4, 3, 2
PROMPTS = jnp.array([[1, 3], [0, 3]], jnp.int32)


@pytest.fixture(scope="module")
def small():
    """A transformer, parameters with logits of unequal size, and every completion of a prompt."""
    shape = {"layers": 1, "width": 8, "heads": 2, "kv_heads": 1, "hidden": 8, "dtype": "float64"}
    policy = Transformer(TransformerConfig(vocab=VOCAB, completion_length=LENGTH, stop=STOP, **shape))
    params = policy.init(jax.random.key(0), 2.0)
    every = np.array([c for c in itertools.product(range(VOCAB), repeat=LENGTH) if is_padded(c)], np.int32)
    return policy, params, np.broadcast_to(every, (2, *every.shape))


def is_padded(completion):
    """After a stop token there are stop tokens only."""
    return STOP not in completion or set(completion[completion.index(STOP) :]) == {STOP}


def changed_row(name, logits, number):
    """The chances that an engine draws from, in NumPy, from one row of logits."""
    chances = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    order = np.argsort(-chances)
    if name == "temperature":
        chances = chances ** (1 / number)
    elif name == "top_k":
        chances[order[number:]] = 0
    elif name == "min_p":
        chances[chances < number * chances.max()] = 0
    else:  # top_p: from the likeliest on, until the mass is reached
        reached = np.cumsum(chances[order]) - chances[order] < number
        chances[order[~reached]] = 0
    return chances / chances.sum()


ENGINES = {
    "temperature": (temperature, 0.6),
    "top_k": (top_k, 2),
    "top_p": (top_p, 0.7),
    "min_p": (min_p, 0.3),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_chances_are_those_of_loops(small, name):
    policy, params, every = small
    make, number = ENGINES[name]
    engine = make(number)
    got = np.asarray(engine.log_chances(policy, params, PROMPTS, jnp.asarray(every)))
    for q, completions in enumerate(every):
        for completion, logp in zip(completions, got[q], strict=True):
            tokens = np.concatenate([PROMPTS[q], completion])
            logits = np.asarray(policy.logits(params, tokens[None]))[0, 1:-1]  # [time, token]
            for time in range(LENGTH):
                if time and completion[time - 1] == STOP:
                    assert logp[time] == 0
                    continue
                chance = changed_row(name, logits[time].copy(), number)[completion[time]]
                assert np.exp(logp[time]) == pytest.approx(chance, abs=1e-12)
                if chance == 0:
                    break  # what comes after a token that is never drawn is no matter
    assert np.exp(got.sum(-1)).sum(-1) == pytest.approx([1.0, 1.0])
    raw = make(number, renormalised=False).logprobs(policy, params, PROMPTS, jnp.asarray(every))
    np.testing.assert_array_equal(raw, policy.logprobs(params, PROMPTS, jnp.asarray(every)))


@pytest.mark.slow
def test_samples_have_these_chances_and_nothing_else_is_drawn(small):
    policy, params, every = small
    engine, number = top_p(0.7), 4096
    drawn = np.asarray(engine.sample(policy, params, jax.random.key(1), PROMPTS, number))
    chances = np.exp(np.asarray(engine.log_chances(policy, params, PROMPTS, jnp.asarray(every))).sum(-1))
    counts = (drawn[:, :, None] == every[:, None]).all(-1).sum(1)  # [prompt, completion]
    assert (counts.sum(1) == number).all()
    assert (counts[chances == 0] == 0).all()
    assert (chances == 0).any()
    errors = (counts / number - chances) / np.sqrt(np.maximum(chances * (1 - chances), 1e-9) / number)
    assert np.abs(errors).max() < 4.5
    part = engine.sample(policy, params, jax.random.key(1), PROMPTS[1:], number, first_prompt=1)
    np.testing.assert_array_equal(part[0], drawn[1])


@pytest.mark.slow
def test_a_model_by_its_logits_agrees_with_the_same_completions_listed():
    table = np.asarray(jax.random.normal(jax.random.key(3), (4, 4)) * 2, np.float64)
    policy = FiniteLogitsPolicy(
        lambda params, tokens: params[tokens], table, vocab=4, completion_length=2, stop=1
    )
    every = jnp.broadcast_to(policy.support(), (2, *policy.support().shape))
    engine = top_p(0.6)
    drawn, _, listing = engine._listed(policy, table, PROMPTS)
    finite = np.isfinite(np.asarray(drawn)) & listing.mask
    got = np.asarray(engine.log_chances(policy, table, PROMPTS, every))
    np.testing.assert_allclose(got[finite], np.asarray(drawn)[finite], atol=1e-12)
    assert (np.asarray(drawn == -np.inf) == (got == -np.inf))[:, :, 0].all()
    assert policy.served(engine) != policy
    assert policy.served(engine) == policy.served(top_p(0.6)) != policy.served(top_p(0.5))


@pytest.mark.slow
def test_a_part_of_a_transformer_is_served_too(small):
    policy, params, every = small
    part, trained = last_layers(policy, params, 1)
    one = top_k(2).log_chances(part, trained, PROMPTS, jnp.asarray(every))
    np.testing.assert_array_equal(one, top_k(2).log_chances(policy, params, PROMPTS, jnp.asarray(every)))
    rounded = fp8_weights().log_chances(part, trained, PROMPTS, jnp.asarray(every))  # frozen weights as well
    wanted = fp8_weights().log_chances(policy, params, PROMPTS, jnp.asarray(every))
    np.testing.assert_array_equal(rounded, wanted)


def wave_noise(seed, row):
    """The noise of every token after one state, in loops over waves."""
    phase_key, direction_key = jax.random.split(jax.random.key(seed))
    phases = np.asarray(jax.random.uniform(phase_key, (len(row), 32), jnp.float32, 0.0, 2 * np.pi), float)
    directions = np.asarray(jax.random.normal(direction_key, (len(row), 32), jnp.float32), float)
    angles = [30 * np.mean((row - row.mean()) * d) * np.sqrt(len(row)) for d in directions.T]
    total = sum(np.cos(angle + phases[:, k]) for k, angle in enumerate(angles))
    return np.sqrt(2 / 32) * total


@pytest.mark.slow
def test_noise_on_a_transformer_is_what_loops_say(small):
    policy, params, every = small
    engine = noise(0.3, seed=5)
    got = np.asarray(engine.logprobs(policy, params, PROMPTS, jnp.asarray(every)))
    assert np.exp(got.sum(-1)).sum(-1) == pytest.approx([1.0, 1.0])
    for q, completions in enumerate(every):
        for completion, logp in zip(completions, got[q], strict=True):
            tokens = np.concatenate([PROMPTS[q], completion])
            rows = np.asarray(policy.logits(params, tokens[None]))[0, 1:-1]
            for time in range(1 + [*completion.tolist(), STOP].index(STOP)):
                if time < LENGTH:
                    row = rows[time] - np.log(np.exp(rows[time]).sum())
                    noisy = row + 0.3 * wave_noise(5, row)
                    wanted = noisy[completion[time]] - np.log(np.exp(noisy).sum())
                    assert logp[time] == pytest.approx(wanted, abs=3e-5)  # angles are float32
    plain = policy.logprobs(params, PROMPTS, jnp.asarray(every))
    raw = noise(0.3, renormalised=False).logprobs(policy, params, PROMPTS, jnp.asarray(every))
    np.testing.assert_array_equal(raw, plain)
    assert np.abs(got - np.asarray(plain)).max() > 0.05


@pytest.mark.slow
def test_noise_is_normal_and_other_states_have_other_noise():
    """Moments over 200 states of 500 tokens, within 4.5 standard errors of independent normal numbers."""
    states = jax.random.normal(jax.random.key(1), (200, 500)) * 2
    values = np.asarray(noise(1.0, seed=2)(states) - states, np.float64)
    for power, moment in ((1, 0.0), (2, 1.0)):
        per_state = (values**power).mean(1)
        assert abs(per_state.mean() - moment) < 4.5 * per_state.std() / np.sqrt(200)
    assert abs((values**4).mean() - 3 * (1 - 1 / 64)) < 0.2  # of 32 cosines: kurtosis 3 - 3/64
    between = np.corrcoef(values)[np.triu_indices(200, 1)]
    assert np.abs(between.mean()) < 0.02
    assert np.abs(values - np.asarray(noise(1.0, seed=3)(states) - states)).mean() > 0.5
    near = np.asarray(noise(1.0, seed=2)(states + 1e-5) - states, np.float64)
    assert np.abs(near - values).max() < 0.01  # rounding does not make another engine


@pytest.mark.slow
def test_another_template_ends_the_prompt_otherwise(small):
    policy, params, every = small
    every, engine = jnp.asarray(every), other_template(0)
    theirs = PROMPTS.at[:, -1].set(0)
    got = engine.log_chances(policy, params, PROMPTS, every)
    np.testing.assert_array_equal(got, policy.logprobs(params, theirs, every))
    assert np.abs(np.asarray(got - policy.logprobs(params, PROMPTS, every))).max() > 0.1
    drawn = engine.sample(policy, params, jax.random.key(6), PROMPTS, 8)
    np.testing.assert_array_equal(drawn, policy.sample(params, jax.random.key(6), theirs, 8))
    with pytest.raises(ValueError, match=r"token 9 is not among 0\.\.3"):
        other_template(9).logprobs(policy, params, PROMPTS, every)
    with pytest.raises(ValueError, match="sampler: a template ends prompts of tokens and Bandit has numbers"):
        other_template(0).logprobs(Bandit(4), None, jnp.arange(2), every)


@pytest.mark.slow
def test_a_merged_adapter_is_the_adapter_but_for_rounding(small):
    policy, params, every = small
    part, trained = lora(policy, params, 2, jax.random.key(4))
    trained = {name: x + 0.3 * jax.random.normal(jax.random.key(5), x.shape) for name, x in trained.items()}
    every = jnp.asarray(every)
    beside = part.logprobs(trained, PROMPTS, every)
    merged = merged_adapter(None).logprobs(part, trained, PROMPTS, every)
    np.testing.assert_allclose(merged, beside, atol=1e-12)
    assert (
        np.abs(np.asarray(beside - policy.logprobs(params, PROMPTS, every))).max() > 0.01
    )  # it does something
    layers = {key: np.asarray(x, np.float64) for key, x in params["layers"].items()}
    for name in ("query", "value"):  # by hand; alpha is twice the rank
        product = np.einsum("lir,lro->lio", trained[f"{name}_in"], trained[f"{name}_out"])
        layers[name] = layers[name] + 2.0 * product
    weights = jax.tree.map(
        lambda x: jnp.asarray(x).astype(jnp.bfloat16).astype(jnp.float64), params | {"layers": layers}
    )
    rounded = merged_adapter("bfloat16")
    got = rounded.log_chances(part, trained, PROMPTS, every)
    np.testing.assert_allclose(got, policy.logprobs(weights, PROMPTS, every), atol=1e-12)
    assert np.abs(np.asarray(got - beside)).max() > 1e-5
    drawn = rounded.sample(part, trained, jax.random.key(6), PROMPTS, 8)
    np.testing.assert_array_equal(drawn, policy.sample(weights, jax.random.key(6), PROMPTS, 8))
    with pytest.raises(ValueError, match="needs adapters and Transformer has none; give a policy of lora"):
        rounded.logprobs(policy, params, PROMPTS, every)
