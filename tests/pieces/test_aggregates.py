"""Aggregation rules on ragged rows, one of them fully masked, and the selections."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradvar.pieces import aggregate, select

MASK = np.array([[[1, 1, 1], [1, 0, 0]], [[0, 0, 0], [1, 1, 0]]], bool)
TOKENS = np.arange(1.0, 13.0).reshape(2, 2, 3)
ROWS = [[(1 + 2 + 3), 4.0], [0.0, (10 + 11)]]


@pytest.mark.parametrize(
    ("rule", "value", "token_weights"),
    [
        (aggregate.token_mean, (6 + 4 + 21) / 6, [[1 / 6, 1 / 6], [0, 1 / 6]]),
        (aggregate.sequence_token_mean, (2 + 4 + 10.5) / 4, [[1 / 12, 1 / 4], [0, 1 / 8]]),
        (
            partial(aggregate.sequence_token_mean, empty="drop"),
            (2 + 4 + 10.5) / 3,
            [[1 / 9, 1 / 3], [0, 1 / 6]],
        ),
        (aggregate.sequence_token_sum, 31 / 4, [[1 / 4, 1 / 4], [0, 1 / 4]]),
        (partial(aggregate.sequence_token_sum, empty="drop"), 31 / 3, [[1 / 3, 1 / 3], [0, 1 / 3]]),
        (partial(aggregate.constant_length, length=10), 31 / 40, [[1 / 40, 1 / 40], [0, 1 / 40]]),
        (aggregate.prompt_mean, (10 / 4 + 21 / 2) / 2, [[1 / 8, 1 / 8], [0, 1 / 4]]),
    ],
)
def test_value_and_weights(rule, value, token_weights):
    found, grad = jax.value_and_grad(rule)(jnp.asarray(TOKENS), jnp.asarray(MASK))
    np.testing.assert_allclose(found, value)
    np.testing.assert_allclose(grad, np.where(MASK, np.asarray(token_weights)[..., None], 0.0))


RULES = [
    aggregate.token_mean,
    aggregate.sequence_token_mean,
    aggregate.sequence_token_sum,
    partial(aggregate.constant_length, length=1.0),
    aggregate.prompt_mean,
]


@pytest.mark.parametrize("rule", RULES)
def test_masked_tokens_may_hold_anything(rule):
    dirty = np.where(MASK, TOKENS, np.nan)
    value, grad = jax.value_and_grad(rule)(jnp.asarray(dirty), jnp.asarray(MASK))
    clean_value, clean_grad = jax.value_and_grad(rule)(jnp.asarray(TOKENS), jnp.asarray(MASK))
    np.testing.assert_array_equal(value, clean_value)
    np.testing.assert_array_equal(grad, clean_grad)


@pytest.mark.parametrize("rule", RULES)
def test_nothing_left_is_zero(rule):
    value, grad = jax.value_and_grad(rule)(jnp.asarray(TOKENS), jnp.zeros(MASK.shape, bool))
    assert value == 0
    assert not np.any(grad)


def test_prompt_mean_can_drop_empty_prompts():
    mask = MASK.copy()
    mask[1] = False
    assert float(aggregate.prompt_mean(jnp.asarray(TOKENS), jnp.asarray(mask))) == 10 / 4 / 2
    assert float(aggregate.prompt_mean(jnp.asarray(TOKENS), jnp.asarray(mask), empty="drop")) == 10 / 4


def test_bad_settings_are_named():
    for length in (None, 0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=r"length: .*give the constant number of tokens"):
            aggregate.constant_length(jnp.asarray(TOKENS), jnp.asarray(MASK), length=length)
    with pytest.raises(ValueError, match="empty: 'skip'; choose one of count, drop"):
        aggregate.sequence_token_sum(jnp.asarray(TOKENS), jnp.asarray(MASK), empty="skip")


def test_selections():
    rewards = jnp.asarray([[1.0, 1.0, 1.0], [0.0, 1.0, 0.0]])
    np.testing.assert_array_equal(select.mixed_groups(rewards), [[False] * 3, [True] * 3])
    lengths = jnp.asarray([[1.0, 4.0, 5.0], [2.0, 3.0, 4.0]])
    kept = select.within_length(rewards, lengths, limit=4.0)
    np.testing.assert_array_equal(kept, [[True, False, False], [True, True, False]])
