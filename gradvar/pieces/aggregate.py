"""From tokens to a scalar: ``(tokens, mask)``, both [prompt, group, time], to the objective's value.

The rules differ in what weight a token gets, so they are different estimators when lengths differ:

    sequence_token_sum    1/(Q G)                 REINFORCE, RLOO; keeps an unbiased advantage unbiased
    sequence_token_mean   1/(Q G length)          GRPO
    token_mean            1/(tokens in the batch) DAPO
    prompt_mean           1/(Q tokens of the prompt)
    constant_length       1/(Q G constant)        Dr. GRPO's released code

``empty`` says what a rollout without any unmasked token does. ``"count"`` (the default) lets it count in the
denominator with value zero, so that a token's weight does not depend on other rows; ``"drop"`` takes it out,
as dynamic sampling does with the groups that it discards. ``token_mean`` and ``prompt_mean`` have no such
choice: they divide by tokens, and an empty row has none. A batch (for ``prompt_mean``, a prompt) without any
token has value zero.
"""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gradvar.core.checks import one_of

Tokens = Float[Array, "prompt group time"]
Mask = Bool[Array, "prompt group time"]
Scalar = Float[Array, ""]
Empty = Literal["count", "drop"]


def token_mean(tokens: Tokens, mask: Mask) -> Scalar:
    """Mean over all unmasked tokens of the batch: DAPO, arXiv 2503.14476, equation (8).

    >>> tokens = jnp.array([[[1.0, 2.0], [3.0, 0.0]]])
    >>> mask = jnp.array([[[True, True], [True, False]]])
    >>> float(token_mean(tokens, mask))
    2.0
    """
    return jnp.sum(_kept(tokens, mask)) / jnp.maximum(jnp.sum(mask), 1)


def sequence_token_mean(tokens: Tokens, mask: Mask, *, empty: Empty = "count") -> Scalar:
    """Mean over rollouts of the mean over tokens: GRPO, arXiv 2402.03300, equation (3).

    >>> tokens = jnp.array([[[1.0, 2.0], [3.0, 0.0]]])
    >>> mask = jnp.array([[[True, True], [True, False]]])
    >>> float(sequence_token_mean(tokens, mask))
    2.25
    """
    rows = jnp.sum(_kept(tokens, mask), axis=-1) / jnp.maximum(jnp.sum(mask, axis=-1), 1)
    return jnp.sum(rows) / _rows(mask, empty)


def sequence_token_sum(tokens: Tokens, mask: Mask, *, empty: Empty = "count") -> Scalar:
    """Mean over rollouts of the sum over tokens: the policy gradient's own rule.

    >>> tokens = jnp.array([[[1.0, 2.0], [3.0, 0.0]]])
    >>> mask = jnp.array([[[True, True], [True, False]]])
    >>> float(sequence_token_sum(tokens, mask))
    3.0
    """
    return jnp.sum(_kept(tokens, mask)) / _rows(mask, empty)


def constant_length(
    tokens: Tokens, mask: Mask, *, length: float | None = None, empty: Empty = "count"
) -> Scalar:
    """Mean over rollouts of the sum over tokens divided by one constant: Dr. GRPO's code, arXiv 2503.20783.

    Args:
        tokens: Surrogate of every token, [prompt, group, time].
        mask: True for the tokens that count, [prompt, group, time].
        length: The constant, in tokens; usually the generation limit.
        empty: ``"count"`` a rollout without tokens in the mean over rollouts, or ``"drop"`` it.

    Raises:
        ValueError: Where ``length`` is not positive.

    >>> tokens = jnp.array([[[1.0, 2.0], [3.0, 0.0]]])
    >>> mask = jnp.array([[[True, True], [True, False]]])
    >>> float(constant_length(tokens, mask, length=2.0))
    1.5
    """
    if length is None or not length > 0:
        raise ValueError(
            f"length: {length}; give the constant number of tokens to divide by, such as the limit"
        )
    return sequence_token_sum(tokens, mask, empty=empty) / length


def prompt_mean(tokens: Tokens, mask: Mask, *, empty: Empty = "count") -> Scalar:
    """Mean over prompts of the mean over all tokens of the prompt's group.

    ``empty`` is here about prompts: whether one without any token counts in the denominator.

    >>> tokens = jnp.array([[[1.0, 2.0], [3.0, 0.0]]])
    >>> mask = jnp.array([[[True, True], [True, False]]])
    >>> float(prompt_mean(tokens, mask))
    2.0
    """
    per_prompt = jnp.sum(_kept(tokens, mask), axis=(1, 2)) / jnp.maximum(jnp.sum(mask, axis=(1, 2)), 1)
    return jnp.sum(per_prompt) / _rows(mask.reshape(mask.shape[0], 1, -1), empty)


def _kept(tokens: Tokens, mask: Mask) -> Tokens:
    return jnp.where(mask, tokens, 0.0)


def _rows(mask: Mask, empty: Empty) -> Array | int:
    if one_of("empty", empty, ("count", "drop")) == "count":
        return mask.shape[0] * mask.shape[1]
    return jnp.maximum(jnp.sum(jnp.any(mask, axis=-1)), 1)
