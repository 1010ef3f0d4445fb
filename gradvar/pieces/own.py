"""Estimators of the user's, named as ``path/to/file.py:name`` or ``module:name`` beside those of the catalogue."""

import dataclasses
import inspect

from gradvar.core.compose import compose
from gradvar.core.estimator import Estimator, Paper
from gradvar.files.target import load_target
from gradvar.pieces import aggregate, surrogate


def load_estimator(target: str) -> Estimator:
    """Load the estimator that ``path/to/file.py:name`` or ``module:name`` names.

    It may be an ``Estimator``, a function of no arguments that makes one, an objective ``(logp, batch) -> scalar``, or
    an advantage ``(rewards, ...) -> advantages``, which is completed to the plain policy gradient with it: the sum over
    tokens of log pi. Raises ``ValueError`` where nothing of that kind is there.
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
        return dataclasses.replace(estimator, paper=Paper(target, ""))
    if len([p for p in parameters if p.default is p.empty]) != 2:
        raise ValueError(
            f"target: {target} takes {len(parameters)} arguments; an objective takes (logp, batch), an"
            " advantage (rewards)"
        )
    return Estimator(name=name, objective=function, paper=Paper(target, ""))
