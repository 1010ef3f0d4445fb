"""How many seeds a sound function is tried with: one, or as many as the environment asks for.

The twenty take an hour: ``GRADVAR_SEEDS=20 python -m pytest -m slow tests/testing``.
"""

import os

SEEDS = int(os.environ.get("GRADVAR_SEEDS", "1"))
