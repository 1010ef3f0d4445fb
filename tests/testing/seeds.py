"""How much of what could be tried is tried each time: what CI has the time for, or as much as the environment asks for.

One seed of a sound function; the twenty take an hour: ``GRADVAR_SEEDS=20 python -m pytest -m slow tests/testing``.
A third of the catalogue's pairs of estimator and law, so that each estimator and each law has a third of its pairs; all
921 take six minutes of a core: ``GRADVAR_EVERY_PAIR=1 python -m pytest -m slow tests/testing/test_catalogue.py``.
"""

import os

SEEDS = int(os.environ.get("GRADVAR_SEEDS", "1"))
EVERY_PAIR = bool(os.environ.get("GRADVAR_EVERY_PAIR"))
