"""A learned value function: a transformer of the policy's shape, started from its weights, with a linear head.

The head starts at zero, so that the first advantages are the rewards themselves. Its loss is the squared error
against advantage plus value, the return that the advantage estimator implies (1506.02438).
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from gradvar.core.batch import Batch
from gradvar.core.estimator import Estimator
from gradvar.policies import Transformer
from gradvar.policies.transformer import layers, network


def init(policy: Any, params: PyTree) -> PyTree:
    """Return the critic's parameters at the start: the policy's trunk, and a head of zeros.

    Raises ``ValueError`` for a policy that is no transformer.
    """
    if not isinstance(policy, Transformer):
        raise ValueError(
            f"policy: {type(policy).__name__} has no hidden states for a value head; give a Transformer"
        )
    wide = layers.precise(jnp.dtype(policy.config.dtype))
    return {"trunk": params, "head": jnp.zeros((policy.config.width,), wide), "bias": jnp.zeros((), wide)}


def values(
    policy: Any,
    critic: PyTree,
    prompts: Int[Array, "prompt past"],
    completions: Int[Array, "prompt group time"],
) -> Float[Array, "prompt group time"]:
    """Return the value of the state before every token; the values at masked tokens are unspecified but finite.

    Args:
        policy: A transformer.
        critic: Parameters as from ``init``.
        prompts: Tokens of the prompts.
        completions: Tokens of the completions.
    """
    num, group, time = completions.shape
    repeated = jnp.repeat(prompts, group, axis=0)  # [prompt * group, past]
    read = completions[..., :-1].reshape(num * group, time - 1)  # the last token is only written
    hidden, _, _ = network.prefill(policy.config, critic["trunk"], jnp.concatenate([repeated, read], axis=1))
    # [prompt * group, time, width]
    states = hidden[:, 0, prompts.shape[1] - 1 :].astype(critic["head"].dtype)
    return (states @ critic["head"] + critic["bias"]).reshape(num, group, time)


def loss(
    policy: Any,
    critic: PyTree,
    estimator: Estimator,
    prompts: Int[Array, "prompt past"],
    completions: Int[Array, "prompt group time"],
    batch: Batch,
) -> Float[Array, ""]:
    """Return the mean squared error over tokens against the returns: the estimator's advantages plus the old values.

    Args:
        policy: A transformer.
        critic: Parameters as from ``init``.
        estimator: What computes the advantages.
        prompts: Tokens of the prompts.
        completions: Tokens of the completions.
        batch: Rewards, mask and old values.
    """
    if batch.values is None:
        raise ValueError("values: the batch has none; pass Batch(..., values=...)")
    advantages = estimator.parts["advantage"](rewards=batch.rewards, values=batch.values, mask=batch.mask)
    returns = advantages + batch.values
    error = jnp.where(batch.mask, values(policy, critic, prompts, completions) - returns, 0.0)
    return jnp.sum(error**2) / jnp.maximum(jnp.sum(batch.mask), 1)
