"""Pieces of estimators: pure functions of arrays, put together by ``gradvar.core.compose``."""

from gradvar.pieces import advantage as advantages
from gradvar.pieces import aggregate as aggregates
from gradvar.pieces import correction as corrections
from gradvar.pieces import penalty as penalties
from gradvar.pieces import select as selections
from gradvar.pieces import surrogate as surrogates

__all__ = ["advantages", "aggregates", "corrections", "penalties", "selections", "surrogates"]
