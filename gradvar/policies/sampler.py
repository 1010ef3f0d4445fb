"""What all policies share: the keys of rollouts, the mask of a stop token, and the checks at the edge."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray
from numpy.typing import ArrayLike


def rollout_keys(
    key: PRNGKeyArray,
    num_prompts: int,
    group: int,
    first_prompt: int | Int[Array, ""] = 0,
    first_rollout: int | Int[Array, ""] = 0,
) -> Key[Array, "prompt group"]:
    """Make one key per (prompt, rollout): ``key`` folded with the prompt's, then the rollout's number.

    A chunk gets the keys that the whole batch would have given it, so samples depend neither on how the work
    is cut up nor on the number of devices.

    Args:
        key: Of the whole batch.
        num_prompts: Prompts of this chunk.
        group: Rollouts of each.
        first_prompt: Number of the first prompt in the whole batch, where these are a chunk of it.
        first_rollout: Number of the first rollout of each prompt, likewise.
    """
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.wrap_key_data(key)
    of_prompts = jax.vmap(lambda q: jax.random.fold_in(key, q))(first_prompt + jnp.arange(num_prompts))
    rollouts = first_rollout + jnp.arange(group)
    return jax.vmap(lambda k: jax.vmap(lambda g: jax.random.fold_in(k, g))(rollouts))(of_prompts)


def draw(key: Array, logits: Float[Array, " token"], time: int | Int[Array, ""]) -> Int[Array, ""]:
    """A rollout's token at step ``time``, from the softmax of ``logits``.

    By the inverse of the distribution function: one random number per token, where the Gumbel trick takes one
    per entry of the vocabulary, and a tenth of the compile time. A token of probability zero is never drawn.
    """
    below = jnp.cumsum(jax.nn.softmax(logits))
    uniform = jax.random.uniform(jax.random.fold_in(key, time), (), logits.dtype)
    return jnp.sum(below <= uniform * below[-1], dtype=jnp.int32)


def stop_mask(completions: Int[Array, "*batch time"], stop: int | None) -> Bool[Array, "*batch time"]:
    """True up to and including the first ``stop`` token; all true where ``stop`` is None."""
    if stop is None:
        return jnp.ones(completions.shape, bool)
    stops = completions == stop
    before = jnp.cumsum(stops, axis=-1) - stops
    return before == 0


def list_completions(vocab: int, length: int, stop: int | None) -> Int[Array, "completion time"]:
    """Every completion once: in lexical order, those that have stopped padded with the stop token."""
    completions = np.indices((vocab,) * length, np.int32).reshape(length, -1).T
    if stop is not None:
        stopped = np.cumsum(completions == stop, axis=-1) > 0
        completions = completions[np.all(~stopped | (completions == stop), axis=-1)]
    return jnp.asarray(completions)


def check_stop(stop: int | None, vocab: int) -> None:
    """Reject a stop token outside the vocabulary."""
    if stop is not None and not 0 <= stop < vocab:
        raise ValueError(f"stop: token {stop} is not among 0..{vocab - 1}; give one of those, or None")


def check_indices(prompts: Array, num_prompts: int) -> Array:
    """Prompt indices [Q], checked; values are checked where they are concrete."""
    prompts = jnp.asarray(prompts)
    if prompts.ndim != 1 or not jnp.issubdtype(prompts.dtype, jnp.integer):
        raise ValueError(
            f"prompts: shape {prompts.shape}, {prompts.dtype}; give prompt indices, integers [prompt]"
        )
    if not isinstance(prompts, jax.core.Tracer):
        outside = np.asarray(prompts)
        outside = outside[(outside < 0) | (outside >= num_prompts)]
        if outside.size:
            raise ValueError(
                f"prompts: index {outside[0]} with {num_prompts} prompts; "
                f"give 0..{num_prompts - 1}, or a policy with more prompts (num_prompts=...)"
            )
    return prompts


def check_tokens(name: str, tokens: ArrayLike, vocab: int) -> None:
    """Reject tokens outside the vocabulary, where they are concrete."""
    if not isinstance(tokens, jax.core.Tracer):
        values = np.asarray(tokens)
        outside = values[(values < 0) | (values >= vocab)]
        if outside.size:
            raise ValueError(f"{name}: token {outside[0]} is not among 0..{vocab - 1}; give those")


def check_completions(completions: Array, num_prompts: int, vocab: int, time: int | None = None) -> Array:
    """Check completions, and return them as an array [prompt, group, time].

    Args:
        completions: Integer tokens.
        num_prompts: Number of prompts.
        vocab: Tokens are below this.
        time: Tokens of a completion; None for any number.

    Raises:
        ValueError: For another shape, another type, or a token out of range.
    """
    completions = jnp.asarray(completions)
    length = "time" if time is None else time
    fits = completions.ndim == 3 and completions.shape[0] == num_prompts
    fits = fits and (time is None or completions.shape[2] == time)
    if not fits or not jnp.issubdtype(completions.dtype, jnp.integer):
        raise ValueError(
            f"completions: shape {completions.shape}, {completions.dtype}; "
            f"give integer tokens [{num_prompts} prompts, group, {length}]"
        )
    check_tokens("completions", completions, vocab)
    return completions
