"""Evaluation on held-out prompts: mean reward, pass@k without bias, and the greedy completion's reward."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from gradvar.core.protocols import Policy, Task

_RIGHT = 1 - 1e-6  # a graded reward counts as a pass where all of it is earned


def pass_at_k(
    correct: Int[Array, "*prompt"] | Int[np.ndarray, "*prompt"], samples: int, k: int
) -> Float[Array, "*prompt"]:
    """Return the chance that one of k samples is correct: arXiv 2107.03374, equation (1).

    1 - C(n-c, k) / C(n, k) with c ``correct`` ones of n ``samples``: the share of k-subsets that hold a correct one,
    which is unbiased for 1 - (1-p)^k, for each subset is a draw of k. As a product of k factors, without large
    binomials.

    >>> float(pass_at_k(np.array(1), 4, 2))
    0.5
    """
    if not 1 <= k <= samples:
        raise ValueError(f"k: {k} with {samples} samples; give 1 to {samples}")
    wrong = samples - jnp.asarray(correct)
    draws = jnp.arange(k)
    factors = jnp.maximum(wrong[..., None] - draws, 0) / (samples - draws)  # [*prompt, draw]
    return 1 - jnp.prod(factors, axis=-1)


def pass_sizes(samples: int) -> tuple[int, ...]:
    """Return the powers of two up to ``samples``."""
    return tuple(2**i for i in range(samples.bit_length()) if 2**i <= samples)


def evaluate(
    policy: Policy,
    task: Task,
    params: PyTree,
    key: PRNGKeyArray,
    prompts: Int[Array, "prompt past"],
    samples: int,
) -> dict[str, Float[Array, ""]]:
    """Evaluate a policy on prompts.

    Args:
        policy: What answers.
        task: What rewards the answers.
        params: Parameters of the policy.
        key: Of the rollouts.
        prompts: Held-out ones.
        samples: Rollouts of each.

    Returns:
        Means over prompts: ``reward``, ``pass@k`` for powers of two, and ``greedy``, the greedy completion's reward.
    """
    rewards = task.reward(prompts, policy.sample(params, key, prompts, samples))  # [prompt, sample]
    correct = jnp.sum(rewards >= _RIGHT, axis=-1)
    figures = {"reward": jnp.mean(rewards)}
    figures |= {f"pass@{k}": jnp.mean(pass_at_k(correct, samples, k)) for k in pass_sizes(samples)}
    figures["greedy"] = jnp.mean(task.reward(prompts, policy.greedy(params, prompts)))
    return {name: value.astype(jnp.float32) for name, value in figures.items()}
