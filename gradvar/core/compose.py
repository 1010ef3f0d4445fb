"""Putting an estimator together from its pieces.

A piece is a function of named arrays. ``compose`` reads the names of the arguments that have no default and hands over
the arrays of those names: fields of ``Batch`` (``rewards``, ``lengths``, ``values``, ``greedy_rewards``, ...) and what
the objective computes on the way (``logp``, ``advantages``, ``tokens``). Arguments with a default are settings; bind
them with ``functools.partial``. So a user's own ``def my_advantage(rewards): ...`` is a piece as it stands.
"""

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gradvar.core.batch import Batch
from gradvar.core.estimator import Estimator, Paper

Piece = Callable[..., Any]

_UNPUBLISHED = Paper("", "")

_OPTIONAL = (
    "logp_ref", "logp_sampler", "values", "greedy_rewards", "baseline", "reward_parts", "score_squares",
)  # fmt: skip
_ALWAYS = ("rewards", "lengths", "mask", "logp_old")


def required(piece: Piece) -> tuple[str, ...]:
    """The names of a piece's arguments that have no default."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return tuple(
        p.name
        for p in inspect.signature(piece).parameters.values()
        if p.kind in kinds and p.default is inspect.Parameter.empty
    )


def everything(mask: Bool[Array, "prompt group time"]) -> Bool[Array, "prompt group"]:
    """The null selection: every rollout takes part."""
    return jnp.ones(mask.shape[:2], bool)


def no_penalty(logp: Float[Array, "prompt group time"]) -> Float[Array, "prompt group time"]:
    """The null penalty: zero for every token."""
    return jnp.zeros_like(logp)


def no_correction(logp: Float[Array, "prompt group time"]) -> Float[Array, "prompt group time"]:
    """The null correction: weight one for every token."""
    return jnp.ones_like(logp)


def compose(
    *,
    advantage: Piece,
    surrogate: Piece,
    aggregate: Piece,
    penalty: Piece = no_penalty,
    correction: Piece = no_correction,
    select: Piece = everything,
    name: str = "composed",
    paper: Paper = _UNPUBLISHED,
    laws: Mapping[str, bool] = MappingProxyType({}),
    min_group: int = 2,
) -> Estimator:
    """An estimator from its pieces: ``aggregate(correction * surrogate(logp, A) - penalty)``, to be maximised.

    Masked positions of ``logp``, ``logp_old``, ``logp_ref``, ``logp_sampler`` and ``values`` are set to zero before
    any piece sees them, so that whatever they hold (NaN included) reaches neither the value nor the gradient.

    Args:
        advantage: ``(rewards, ...)`` -> [Q, G] or [Q, G, T]; no gradient flows through it.
        surrogate: ``(logp, logp_old, advantages, mask, ...)`` -> a value per token [Q, G, T].
        aggregate: ``(tokens, mask)`` -> scalar.
        penalty: ``(logp, logp_ref, ...)`` -> a value per token [Q, G, T], subtracted; none by default.
        correction: ``(logp_old, logp_sampler, ...)`` -> a weight per token [Q, G, T] of the surrogate, through
            which no gradient flows; none by default.
        select: ``(rewards, ...)`` -> [Q, G], false for rollouts that are dropped before the aggregation; none is by
            default.
        name: The name in tables.
        paper: Where the estimator comes from.
        laws: Names of laws, and whether each is meant to hold.
        min_group: The smallest group size that the estimator is meant for.

    Raises:
        TypeError: A piece asks for an array that nothing provides.
    """
    pieces = {
        "advantage": advantage, "surrogate": surrogate, "correction": correction, "penalty": penalty, "select": select,
        "aggregate": aggregate,
    }  # fmt: skip
    by_token = ("logp", "advantages")
    provided = {"aggregate": ("tokens",)} | dict.fromkeys(("surrogate", "correction", "penalty"), by_token)
    needs: list[str] = []
    for role, piece in pieces.items():
        known = (*_ALWAYS, *_OPTIONAL, *provided.get(role, ()))
        for argument in required(piece):
            if argument not in known:
                raise TypeError(
                    f"{role}: argument '{argument}' is not an array that compose provides ({', '.join(known)}); "
                    "rename it, or bind it with functools.partial"
                )
            if argument in _OPTIONAL and argument not in needs:
                needs.append(argument)
    calls = {role: (piece, required(piece)) for role, piece in pieces.items()}

    def objective(logp: Float[Array, "prompt group time"], batch: Batch) -> Float[Array, ""]:
        arrays = batch_arrays(batch, needs)
        arrays["logp"] = jnp.where(batch.mask, logp, 0.0)

        def run(role: str) -> Array:
            piece, names = calls[role]
            return piece(**{name: arrays[name] for name in names})

        advantages = jax.lax.stop_gradient(run("advantage"))
        by_token = advantages[..., None] if advantages.ndim == 2 else advantages
        arrays["advantages"] = jnp.broadcast_to(by_token, batch.shape)
        arrays["mask"] = jnp.logical_and(batch.mask, run("select")[..., None])
        surrogate = run("surrogate")
        if correction is not no_correction:
            surrogate = jax.lax.stop_gradient(run("correction")) * surrogate
        arrays["tokens"] = surrogate - run("penalty")
        return run("aggregate")

    return Estimator(
        name=name,
        objective=objective,
        paper=paper,
        laws=MappingProxyType(dict(laws)),
        needs=tuple(needs),
        min_group=min_group,
        parts=MappingProxyType(pieces),
    )


def corrected(estimator: Estimator, correction: Piece, name: str = "corrected") -> Estimator:
    """The estimator with a correction for the engine that drew; ``name`` is added to its own.

    Raises:
        ValueError: The estimator is not composed of pieces, or has a correction.
    """
    if not estimator.parts:
        raise ValueError(f"estimator: {estimator.name} is one whole objective; give one that compose made")
    if estimator.parts["correction"] is not no_correction:
        raise ValueError(f"estimator: {estimator.name} has a correction; give one that has none")
    pieces: dict[str, Any] = {**estimator.parts, "correction": correction}
    return compose(
        **pieces,
        name=f"{estimator.name}+{name}",
        paper=estimator.paper,
        min_group=estimator.min_group,
    )


def batch_arrays(batch: Batch, needs: tuple[str, ...] | list[str] = ()) -> dict[str, Array]:
    """The batch's arrays by name, masked positions set to zero; a clear error where a needed one is missing."""
    arrays = {"rewards": batch.rewards, "lengths": batch.lengths, "mask": batch.mask}
    arrays["logp_old"] = jnp.where(batch.mask, batch.logp_old, 0.0)
    for name in needs:
        value = getattr(batch, name)
        if value is None:
            raise ValueError(
                f"{name}: the batch has none and this estimator needs it; pass Batch(..., {name}=...)"
            )
        is_by_token = value.ndim == 3 and name != "reward_parts"
        arrays[name] = jnp.where(batch.mask, value, 0.0) if is_by_token else value
    return arrays
