"""The pieces at their smallest: one token, one rollout, one prompt, where a denominator is as small as it gets."""

import jax.numpy as jnp
import numpy as np
import pytest

from gradvar.pieces import aggregate

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
