"""Estimators of the user's, named as ``path/to/file.py:name`` or ``module:name`` beside those of the catalogue."""

import dataclasses
import inspect

import jax
import jax.numpy as jnp

from gradvar.core.batch import Batch
from gradvar.core.compose import compose
from gradvar.core.estimator import Estimator, Paper
from gradvar.files.target import load_target
from gradvar.pieces import aggregate, surrogate

_SIZES = (4, 2, 8, 16)  # of groups, one of which a function has to take


def load_estimator(target: str) -> Estimator:
    """Load the estimator that ``path/to/file.py:name`` or ``module:name`` names.

    It may be an ``Estimator``, a function of no arguments that makes one, an objective ``(logp, batch) -> scalar``, or
    an advantage ``(rewards, ...) -> advantages``, which is completed to the plain policy gradient with it: the sum over
    tokens of log pi. Raises ``ValueError`` where nothing of that kind is there, or JAX cannot trace it.
    """
    function = load_target(target)
    name = target.rpartition(":")[2]
    if isinstance(function, Estimator):
        return function
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters and isinstance(estimator := function(), Estimator):
        return estimator
    if parameters and parameters[0].name == "rewards":
        estimator = compose(
            advantage=function,
            surrogate=surrogate.likelihood,
            aggregate=aggregate.sequence_token_sum,
            name=name,
        )
        return _traced(dataclasses.replace(estimator, paper=Paper(target, "")), target)
    if len([p for p in parameters if p.default is p.empty]) != 2:
        raise ValueError(
            f"target: {target} takes {len(parameters)} argument{'s' * (len(parameters) != 1)}; "
            "an objective takes (logp, batch), an advantage (rewards)"
        )
    return _traced(Estimator(name=name, objective=function, paper=Paper(target, "")), target)


def _traced(estimator: Estimator, target: str) -> Estimator:
    """The estimator, if JAX can trace it to one number in groups of some size; nothing is computed."""
    reasons = []
    for size in _SIZES:
        rewards, logp = jnp.zeros((1, size)), jnp.zeros((1, size, 2))
        batch = Batch(
            rewards, logp, logp_ref=logp, logp_sampler=logp, values=logp, greedy_rewards=rewards[:, 0],
            baseline=rewards[:, 0], score_squares=rewards,
        )  # fmt: skip
        try:
            value = jax.eval_shape(estimator, logp, batch)
        except Exception as error:  # whatever a user's function raises
            line = (str(error).splitlines() or [""])[0]
            reasons.append(f"cannot be traced by JAX ({type(error).__name__}: {line.rstrip('.')})")
            continue
        if getattr(value, "shape", None) == ():
            return estimator
        reasons.append(f"returns {'no array' if value is None else f'shape {value.shape}'}")
    raise ValueError(
        f"target: {target} {reasons[0]}; an objective is a JAX function (logp, batch) to one number, an advantage"
        " one of rewards [prompt, group] to the same shape"
    )
