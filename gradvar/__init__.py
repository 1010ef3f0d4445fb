"""gradvar: what a group-relative policy-gradient estimator estimates, how noisy it is, and whether claims hold.

The public API, loaded part by part as it is used, so that neither the command line nor a test suite that only wants
``gradvar.testing`` loads JAX. The axes are prompt (Q), group (G), time (T) and param (P); objectives are maximised.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from gradvar import audit as audit
    from gradvar import catalogue as catalogue
    from gradvar import measure as measure
    from gradvar import plot as plot
    from gradvar import policies as policies
    from gradvar import symbolic as symbolic
    from gradvar import tasks as tasks
    from gradvar import testing as testing
    from gradvar.core.batch import Batch as Batch
    from gradvar.core.compose import compose as compose
    from gradvar.core.estimator import Estimator as Estimator
    from gradvar.core.estimator import Paper as Paper
    from gradvar.core.estimator import token_weights as token_weights
    from gradvar.core.moments import Moments as Moments
    from gradvar.measure.bank.bank import ScoreBank as ScoreBank
    from gradvar.pieces import advantage as advantages
    from gradvar.pieces import aggregate as aggregates
    from gradvar.pieces import penalty as penalties
    from gradvar.pieces import select as selections
    from gradvar.pieces import surrogate as surrogates
    from gradvar.studies.config import MeasureConfig as MeasureConfig
    from gradvar.studies.study import Study as Study
    from gradvar.studies.study import study as study
    from gradvar.train import arms as arms
    from gradvar.train.drift import drift as drift
    from gradvar.train.experiment import Experiment as Experiment
    from gradvar.train.experiment import experiment as experiment
    from gradvar.train.plan import Arm as Arm
    from gradvar.train.plan import Phase as Phase
    from gradvar.train.plan import TrainConfig as TrainConfig
    from gradvar.train.warm_start import warm_start as warm_start

_MODULES = {
    # estimators and what they are made of
    "catalogue": "gradvar.catalogue",
    "advantages": "gradvar.pieces.advantage",
    "surrogates": "gradvar.pieces.surrogate",
    "aggregates": "gradvar.pieces.aggregate",
    "penalties": "gradvar.pieces.penalty",
    "selections": "gradvar.pieces.select",
    # where they are measured, and how
    "policies": "gradvar.policies",
    "tasks": "gradvar.tasks",
    "measure": "gradvar.measure",
    # what is trained with them
    "arms": "gradvar.train.arms",
    # what is shown of it
    "plot": "gradvar.plot",
    # logs of other trainers
    "audit": "gradvar.audit",
    # what is proved and tested about them
    "symbolic": "gradvar.symbolic",
    "testing": "gradvar.testing",
}
_NAMES = {
    "Batch": "gradvar.core.batch",
    "Estimator": "gradvar.core.estimator",
    "Moments": "gradvar.core.moments",
    "Paper": "gradvar.core.estimator",
    "token_weights": "gradvar.core.estimator",
    "compose": "gradvar.core.compose",
    "ScoreBank": "gradvar.measure.bank.bank",
    "MeasureConfig": "gradvar.studies.config",
    "Study": "gradvar.studies.study",
    "study": "gradvar.studies.study",
    "warm_start": "gradvar.train.warm_start",
    "drift": "gradvar.train.drift",
    "Arm": "gradvar.train.plan",
    "Phase": "gradvar.train.plan",
    "TrainConfig": "gradvar.train.plan",
    "Experiment": "gradvar.train.experiment",
    "experiment": "gradvar.train.experiment",
}

__all__ = ["__version__", *sorted(_MODULES), *sorted(_NAMES)]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value: Any = importlib.import_module(_MODULES[name])
    elif name in _NAMES:
        module, _, attribute = _NAMES[name].partition(":")
        value = getattr(importlib.import_module(module), attribute or name)
    else:
        raise AttributeError(f"module 'gradvar' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
