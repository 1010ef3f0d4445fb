"""What is trained, and how it is judged: all fixed before the runs of the default were read, but for ``ATTEMPTS``."""

from dataclasses import dataclass, replace
from typing import Any

import jax

from gradvar.tasks import Countdown, ModularAddition, RunningTotal, Sorting

CLAIMED, MARGIN = 0.976, 0.05
"""The share that two rollouts are said to retain (arXiv 2510.00977 v3, abstract), and how far from it still counts."""
REFERENCE = 16
BUDGETS = ("prompts", "tokens", "time")
MORE_STARTS = 16
"""For ``--starts``: warm starts of a setting whose default ones leave it open (``text.left_open``): where zero is in
the interval of 2's difference from 16 at equal tokens, or where at the paper's budget ``CLAIMED`` is neither excluded
nor equivalent within ``MARGIN``. Both figures are given."""
FIRST_GRID = (0.5, 1.0, 2.0)
HIGHEST_RATE = 8.0  # a grid whose best rate is at an end is widened up to here
ATTEMPTS = (
    5  # of a warm start to reach the setting's success; two had not, so this came after a first reading
)
LEARNING_RATE = 3e-4


@dataclass(frozen=True)
class Setting:
    """A task, and the success rate of its warm starts."""

    name: str
    task: Any
    success: float
    width: int = 48


SETTINGS = (
    Setting("addition", ModularAddition(digits=2), 0.3),
    Setting("countdown", Countdown(numbers=3), 0.03),
    Setting("running_total", RunningTotal(terms=5), 0.7),
    Setting("long_sorting", Sorting(length=16, values=10, shortest=8), 0.3),
)
LARGER = tuple(replace(setting, name=f"{setting.name}_larger", width=208) for setting in SETTINGS)
"""The same with a million parameters, eighteen times as many; not among the default's."""


@dataclass(frozen=True)
class Size:
    """How much is trained. ``runs``: of every arm, each from another of ``starts`` warm starts where there are as many.
    ``points``: evaluations along a run, on ``eval_prompts`` with ``eval_rollouts`` each. ``lowest_rate``: a grid of
    rates whose lowest is best is widened down to here."""

    groups: tuple[int, ...] = (2, 4, 8, 16, 32)
    runs: int = 8
    starts: int = 8
    tuning_seeds: int = 2
    steps: int = 256
    points: int = 16
    rollouts_per_step: int = 64
    eval_prompts: int = 128
    eval_rollouts: int = 8
    bank_prompts: int = 64
    lowest_rate: float = 1 / 8


QUICK = Size(groups=(2, 16), runs=2, starts=2, tuning_seeds=1, steps=64, points=8, bank_prompts=16)
QUICK_SETTINGS = ("addition", "countdown")
"""One on each side of the line at which the law says that two and sixteen are equal."""
QUICK_COMPILER = "--xla_backend_optimization_level=1"
"""Most of a quick run is compiling. With less of it numbers differ by rounding, which training makes larger."""
if jax.__version_info__ < (0, 12):  # XLA stops at an option that it does not know
    QUICK_COMPILER += " --xla_cpu_use_fusion_emitters=false"
