"""Comparing completions with an answer: what counts, and how much of it is right."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def canonical(completions: Int[Array, "*batch time"], stop: int) -> Int[Array, "*batch time"]:
    """The completions with everything after the first ``stop`` overwritten by ``stop``."""
    stopped = jnp.cumsum(completions == stop, axis=-1) > 0
    return jnp.where(stopped, stop, completions)


def positions_right(
    completions: Int[Array, "prompt group time"], solution: Int[Array, "prompt 1 time2"], stop: int
) -> Bool[Array, "prompt group time2"]:
    """Which of the solution's positions a completion has right.

    Text after the first stop token does not count, neither for nor against; a completion that is shorter than
    the solution, or that stops early, has the rest wrong. Positions after the solution's own stop token
    compare stop with stop, so they are right exactly where the completion has stopped by then.
    """
    missing = solution.shape[-1] - completions.shape[-1]
    if missing > 0:  # -1 is no token: wrong everywhere, unless the completion has stopped before
        completions = jnp.pad(completions, ((0, 0), (0, 0), (0, missing)), constant_values=-1)
    return canonical(completions, stop)[..., : solution.shape[-1]] == canonical(solution, stop)


def exact_match(
    completions: Int[Array, "prompt group time"], solution: Int[Array, "prompt 1 time2"], stop: int
) -> Float[Array, "prompt group"]:
    """1 where a completion is the solution up to and including its stop token, else 0."""
    return jnp.all(positions_right(completions, solution, stop), axis=-1).astype(jnp.result_type(float))


def fraction_right(
    completions: Int[Array, "prompt group time"], solution: Int[Array, "prompt 1 time2"], stop: int
) -> Float[Array, "prompt group"]:
    """The fraction of the solution's positions, its stop token included, that a completion has right."""
    stops = canonical(solution, stop) == stop
    counts = (jnp.cumsum(stops, axis=-1) - stops) == 0
    right = jnp.logical_and(positions_right(completions, solution, stop), counts)
    return jnp.sum(right, axis=-1) / jnp.sum(counts, axis=-1).astype(jnp.result_type(float))


def check_rollouts(prompts: Array, completions: Array, axes: int) -> None:
    """Refuses prompts without ``axes`` axes, and completions that are not [prompt, group, time] of them."""
    if prompts.ndim != axes:
        wanted = "indices [prompt]" if axes == 1 else "tokens [prompt, time]"
        raise ValueError(f"prompts: shape {prompts.shape}; give {wanted}")
    if completions.ndim != 3 or completions.shape[0] != prompts.shape[0]:
        raise ValueError(
            f"completions: shape {completions.shape}; give tokens [{prompts.shape[0]} prompts, group, time]"
        )
