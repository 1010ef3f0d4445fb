"""What the pieces share: numerical care for rewards, and wrappers that keep a readable signature."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from gradvar.core.compose import Piece, required

Rewards = Float[Array, "prompt group"]
Advantages = Float[Array, "prompt group"]
TokenAdvantages = Float[Array, "prompt group time"]


def on_rewards(piece: Piece) -> Piece:
    """Let a piece take rewards of any real type.

    Integers and booleans become floats of JAX's default type. Half precision is computed in float32 and cast
    back. A group that holds a NaN or an infinity gets zero throughout: one failed reward costs its own group,
    not the batch's gradient. (``Batch`` refuses such rewards where it can see them; inside compiled code this
    is what is left.)

    Raises ``ValueError`` unless the rewards have the two axes [prompt, group].
    """

    @functools.wraps(piece)
    def wrapper(rewards: Any, *arrays: Any, **named: Any) -> Array:
        rewards = jnp.asarray(rewards)
        if rewards.ndim != 2:
            raise ValueError(f"rewards: shape {rewards.shape}; give two axes, [prompt, group]")
        if not jnp.issubdtype(rewards.dtype, jnp.floating):
            rewards = rewards.astype(jnp.result_type(float))
        dtype = rewards.dtype
        if dtype.itemsize < 4:
            rewards = rewards.astype(jnp.float32)
        sound = jnp.all(jnp.isfinite(rewards), axis=1, keepdims=True)
        advantages = piece(jnp.where(sound, rewards, 0.0), *arrays, **named)
        sound = sound.reshape(-1, *(1,) * (advantages.ndim - 1))
        return jnp.where(sound, advantages, 0.0).astype(dtype)

    return wrapper


def from_first(rewards: Float[Array, "prompt group"]) -> Float[Array, "prompt group"]:
    """Rewards relative to the group's first: exactly zero when all are equal, whatever their value.

    The mean of eight times 0.1 is not 0.1 in floating point, so ``r - mean(r)`` leaves rounding noise that a
    division by the standard deviation blows up. A shift changes no centred advantage, and after this one
    equal rewards are 0.
    """
    return rewards - rewards[:, :1]


def deviations(rewards: Float[Array, "prompt group"]) -> Float[Array, "prompt group"]:
    """Rewards less their group's mean."""
    d = from_first(rewards)
    return d - jnp.mean(d, axis=1, keepdims=True)


def wrapping(
    piece: Piece,
    arrays: Iterable[str],
    call: Callable[[dict[str, Array], Callable[..., Array]], Array],
    name: str,
) -> Piece:
    """A piece around ``piece`` that also asks for ``arrays``.

    ``call(batch, inner)`` receives all arrays by name, and ``inner(**changed)``, which runs ``piece`` on them with
    some replaced.

    Args:
        piece: The piece inside; its own arrays are asked for too.
        arrays: Names of the arrays that ``call`` needs besides.
        call: The computation around the piece.
        name: The new piece's name, for display.
    """
    inner_names = required(piece)
    names = tuple(dict.fromkeys((*inner_names, *arrays)))

    def wrapped(**batch: Array) -> Array:
        return call(batch, lambda **changed: piece(**{n: changed.get(n, batch.get(n)) for n in inner_names}))

    parameters = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY) for n in names]
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__name__ = wrapped.__qualname__ = name
    wrapped.__module__ = call.__module__  # where it is public
    return wrapped
