"""Running statistics that some baselines keep between batches: pure updates, the state apart from its use.

``BetaTracker`` is SPO's value per prompt (arXiv 2509.13232); ``Running`` is the mean and variance that EBPO
shrinks towards (arXiv 2602.05165). A training loop holds the state, hands ``value(state)`` to
``Batch(baseline=...)`` *before* it updates the state with the new rewards (a baseline that has seen them is
not independent of them), and goes on.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

PerPrompt = Float[Array, " prompt"]


class BetaTracker(NamedTuple):
    """Pseudo-counts of successes and failures per prompt, for rewards in [0, 1]."""

    successes: PerPrompt
    failures: PerPrompt


def start(rate: PerPrompt, *, trials: float = 8.0, low: float = 0.875) -> BetaTracker:
    """A tracker that begins at success rates measured on ``trials`` rollouts per prompt.

    As released: the counts with half a success and half a failure added, scaled to 1/(1 - low) pseudo-trials,
    the most that a forgetting of ``low`` keeps.
    """
    strength = 1.0 / (1.0 - low)
    shrunk = (rate * trials + 0.5) / (trials + 1.0)
    return BetaTracker(strength * shrunk, strength * (1.0 - shrunk))


def value(tracker: BetaTracker) -> PerPrompt:
    """The tracked success rate: the mean of the Beta."""
    return tracker.successes / (tracker.successes + tracker.failures)


def forgetting(
    divergence: PerPrompt, *, half: float = 0.06, low: float = 0.875, high: float = 0.96
) -> PerPrompt:
    """Return the share of the past to keep: 2^(-divergence / half) within [low, high].

    The constants are those of the released code.

    Args:
        divergence: KL (nats) between the policy and the one that last saw the prompt, [prompt].
        half: Divergence that halves the share, in nats.
        low: Smallest share.
        high: Largest share.
    """
    return jnp.clip(2.0 ** (-divergence / half), low, high)


def update(
    tracker: BetaTracker, rewards: Float[Array, "prompt group"], keep: PerPrompt | float
) -> BetaTracker:
    """The tracker after these rewards: ``keep`` times the old counts, plus the new successes and failures.

    The paper has one rollout per prompt; a group adds each of its rollouts.
    """
    return BetaTracker(
        keep * tracker.successes + jnp.sum(rewards, axis=1),
        keep * tracker.failures + jnp.sum(1.0 - rewards, axis=1),
    )


class Running(NamedTuple):
    """Count, mean and sum of squared deviations of all numbers seen so far."""

    seen: Float[Array, ""]
    mean: Float[Array, ""]
    squares: Float[Array, ""]


def empty() -> Running:
    """Return the statistics of no rewards yet."""
    return Running(jnp.asarray(0.0), jnp.asarray(0.0), jnp.asarray(0.0))


def add(state: Running, numbers: Array) -> Running:
    """The statistics with ``numbers`` (any shape) added: Welford's update, for a whole array at once."""
    count = state.seen + numbers.size
    mean = jnp.mean(numbers)
    shift = mean - state.mean
    squares = state.squares + jnp.sum((numbers - mean) ** 2) + shift**2 * state.seen * numbers.size / count
    return Running(count, state.mean + shift * numbers.size / count, squares)


def shrinkage(rewards: Running, group_means: Running, group: int) -> Float[Array, ""]:
    """EBPO's weight of the global mean: (v/G) / (v/G + t), v of all rewards and t of group means."""
    sampling = rewards.squares / jnp.maximum(rewards.seen, 1.0) / group
    between = group_means.squares / jnp.maximum(group_means.seen, 1.0)
    total = sampling + between
    return sampling / jnp.where(total > 0, total, 1.0)
