"""Estimators: an objective of log-probabilities with its name, its source and its declared laws."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gradvar.core.batch import Batch
from gradvar.core.checks import whole

Objective = Callable[[Float[Array, "prompt group time"], Batch], Float[Array, ""]]


@dataclass(frozen=True)
class Paper:
    """Where an estimator comes from: title, arXiv id (or another citation) and the equation that the code follows."""

    title: str
    arxiv: str
    equation: str = ""


@dataclass(frozen=True, eq=False)
class Estimator:
    """An objective with its name, its source and the laws it is meant to obey.

    ``objective(logp, batch)`` is a pure function to a scalar, to be maximised. ``needs`` names the optional fields of
    ``Batch`` that it reads. ``laws`` maps a law's name (``gradvar.testing.names.LAWS``) to whether it should hold;
    a law that is absent does not apply. ``parts`` keeps the pieces of a composed estimator, for display and tests.
    Instances compare and hash by identity, so that they can be static arguments of jitted code.
    """

    name: str
    objective: Objective
    paper: Paper = Paper("", "")
    laws: Mapping[str, bool] = field(default_factory=lambda: MappingProxyType({}))
    needs: tuple[str, ...] = ()
    min_group: int = 2
    parts: Mapping[str, Callable[..., Any]] = field(default_factory=lambda: MappingProxyType({}))

    def __repr__(self) -> str:
        return f"Estimator({self.name!r})"

    def __call__(self, logp: Float[Array, "prompt group time"], batch: Batch) -> Float[Array, ""]:
        """The objective's value."""
        return self.objective(logp, batch)


def as_estimator(estimator: Estimator | Objective) -> Estimator:
    """An ``Estimator`` as it is; a bare objective under its own name, with no declared law."""
    if isinstance(estimator, Estimator):
        return estimator
    if not callable(estimator):
        raise TypeError(
            f"estimator: {estimator!r} is not callable; give gv.catalogue.get(name) or an objective(logp, batch)"
        )
    return Estimator(name=getattr(estimator, "__name__", "objective"), objective=estimator, min_group=1)


def check_group_size(estimator: Estimator, group_size: Any) -> int:
    """Return the group size; ``ValueError`` if it is no whole number, or below the estimator's least."""
    whole("group_size", group_size, 1)
    if group_size < estimator.min_group:
        raise ValueError(
            f"group_size: {group_size}; {estimator.name} needs at least {estimator.min_group} rollouts of a prompt"
        )
    return int(group_size)


def token_weights(
    estimator: Estimator | Objective, logp: Float[Array, "prompt group time"], batch: Batch
) -> Float[Array, "prompt group time"]:
    """The derivative of the objective with respect to every token's log-probability: [Q, G, T].

    The gradient with respect to parameters is the sum over tokens of these weights times the tokens' scores.
    """
    logp = jnp.asarray(logp)
    if logp.shape != batch.shape:
        raise ValueError(
            f"logp: shape {logp.shape} does not match the batch's {batch.shape}; give one value per token"
        )
    return jax.grad(estimator)(logp, batch)
