"""Policies from modules of Equinox and of Flax NNX: their parameters apart, the rest inside the function."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, PRNGKeyArray, PyTree

from gradvar.policies.from_logits.policy import LogitsPolicy

Call = Callable[[Any, Array], Array]


def from_equinox(
    model: Any,
    *,
    call: Call | None = None,
    init: Callable[[PRNGKeyArray], Any] | None = None,
    policy: type[LogitsPolicy] = LogitsPolicy,
    **settings: Any,
) -> tuple[LogitsPolicy, PyTree]:
    """(policy, params) of an Equinox module; params are its floating arrays (``eqx.partition``).

    Give the model in inference mode (``eqx.nn.inference_mode``).

    Args:
        model: The module.
        call: ``call(model, tokens [row, token]) -> [row, token, vocab]``; by default the module is called on one row
            at a time, ``jax.vmap(model)(tokens)``.
        init: ``init(key)`` makes a fresh module of the same structure.
        policy: ``FiniteLogitsPolicy`` where completions are to be listed.
        **settings: Those of ``LogitsPolicy`` (vocab, completion_length, stop, pad, ...).
    """
    params, static = eqx.partition(model, eqx.is_inexact_array)

    def logits(params: PyTree, tokens: Array) -> Array:
        module: Any = eqx.combine(params, static)
        return jax.vmap(module)(tokens) if call is None else call(module, tokens)

    def fresh(key: PRNGKeyArray) -> PyTree:
        assert init is not None
        return eqx.filter(init(key), eqx.is_inexact_array)

    name = type(model).__name__
    wrapped = policy(logits, params, name=name, init=None if init is None else fresh, **settings)
    return wrapped, params


def from_nnx(
    model: Any,
    *,
    call: Call | None = None,
    init: Callable[[PRNGKeyArray], Any] | None = None,
    policy: type[LogitsPolicy] = LogitsPolicy,
    **settings: Any,
) -> tuple[LogitsPolicy, PyTree]:
    """(policy, params) of a Flax NNX module; params are its ``nnx.Param`` variables, an ``nnx.State`` (``nnx.split``).

    All other variables (statistics, counters of random numbers) stay as they are now, so give the model in evaluation
    mode (``model.eval()``).

    Args:
        model: The module.
        call: ``call(model, tokens [row, token]) -> [row, token, vocab]``, by default ``model(tokens)``.
        init: ``init(key)`` makes a fresh module of the same structure, such as
            ``lambda key: Model(rngs=nnx.Rngs(key))``.
        policy: ``FiniteLogitsPolicy`` where completions are to be listed.
        **settings: Those of ``LogitsPolicy``.

    Raises:
        ImportError: In one line, where Flax is not installed.
    """
    try:
        from flax import nnx
    except ImportError:
        raise ImportError("flax: not installed, and from_nnx needs it; pip install flax") from None
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    def logits(params: PyTree, tokens: Array) -> Array:
        module = nnx.merge(graph, params, rest)
        return module(tokens) if call is None else call(module, tokens)

    def fresh(key: PRNGKeyArray) -> PyTree:
        assert init is not None
        state: PyTree = nnx.split(init(key), nnx.Param, ...)[1]
        return state

    wrapped = policy(
        logits, params, name=type(model).__name__, init=None if init is None else fresh, **settings
    )
    return wrapped, params
