"""The estimators a second time, in NumPy only: what a function that claims to be one of them is compared with."""

from gradvar.testing.oracle.estimator import Oracle, named, names
from gradvar.testing.oracle.rollouts import Grouping, RolloutRows

__all__ = ["Grouping", "Oracle", "RolloutRows", "named", "names"]
