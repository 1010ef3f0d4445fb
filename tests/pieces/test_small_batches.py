"""The pieces at their smallest: one token, one rollout, one prompt, where a denominator is as small as it gets."""

import jax.numpy as jnp
import numpy as np
import pytest

from gradvar.pieces import advantage, aggregate, select

RULES = {
    "token_mean": aggregate.token_mean,
    "sequence_token_mean": aggregate.sequence_token_mean,
    "sequence_token_sum": aggregate.sequence_token_sum,
    "prompt_mean": aggregate.prompt_mean,
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("padding", [0, 2])
def test_a_batch_of_one_token_is_that_token(rule, padding):
    tokens = jnp.asarray([[[3.0] + [np.nan] * padding]])
    mask = jnp.asarray([[[True] + [False] * padding]])
    assert float(rule(tokens, mask)) == 3.0


def test_one_token_in_a_whole_group_is_a_length_weight_too():
    """The rollout with the only token is the baseline."""
    found = advantage.length_weighted(jnp.asarray([[3.0, 1.0]]), jnp.asarray([[1.0, 0.0]]))
    np.testing.assert_allclose(found, [[0.0, -2.0]])


def test_selections_take_their_arrays_by_name():
    rewards, lengths = jnp.zeros((1, 3)), jnp.asarray([[1.0, 2.0, 3.0]])
    found = select.within_length(rewards=rewards, lengths=lengths, limit=2.0)
    np.testing.assert_array_equal(found, [[True, False, False]])
    assert select.within_length(rewards, lengths).all()
