"""The places where ``gradvar measure`` measures: random finite problems, and a transformer warm-started on a task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import PyTree

from gradvar.core.progress import Monitor
from gradvar.core.protocols import FinitePolicy, FiniteTask, Policy, Task
from gradvar.policies import Bandit, Tabular, Transformer
from gradvar.tasks import Bandit as RewardTable
from gradvar.tasks import Lookup, ModularAddition, PartialAddition, Sorting
from gradvar.train.warm_start import warm_start

NUM_PROMPTS = 6

# Small enough to be learnt in seconds, with prompts of unequal difficulty (carries, answers of one or two digits,
# repeated values).
SEQUENCE_TASKS: dict[str, Callable[[], Task]] = {
    "addition": lambda: ModularAddition(digits=2, modulus=20),
    "partial": lambda: PartialAddition(digits=2, modulus=20),
    "sorting": lambda: Sorting(length=5, values=6),
}


@dataclass(frozen=True)
class Warm:
    """A transformer that solves a task at a realistic rate; ``rates`` are the prompts' own success rates, sampled."""

    policy: Policy
    task: Task
    params: PyTree
    success: float
    rates: np.ndarray


def finite_scene(policy: str, task: str, seed: int) -> tuple[FinitePolicy, FiniteTask, PyTree]:
    """A random finite policy and task of six prompts: ``policy`` bandit or tabular, ``task`` binary or graded."""
    rng = np.random.default_rng(seed)
    made: FinitePolicy = Tabular(2, 3, num_prompts=NUM_PROMPTS, stop=1)
    if policy == "bandit":
        made = Bandit(4, num_prompts=NUM_PROMPTS)
    support = made.support()
    if task == "graded":
        rewards = rng.normal(size=(NUM_PROMPTS, len(support)))
    else:
        # Some completions are right, never none and never all: every prompt can be learnt from.
        rewards = np.zeros((NUM_PROMPTS, len(support)))
        for row in rewards:
            row[rng.choice(len(row), size=rng.integers(1, len(row) - 1), replace=False)] = 1.0
    params = made.init(jax.random.key(seed))
    return made, RewardTable(rewards) if policy == "bandit" else Lookup(rewards, support), params


def warm_transformer(
    task: str,
    seed: int,
    success: float,
    dtype: str,
    monitor: Monitor | None = None,
) -> Warm:
    """A transformer of about 60,000 parameters on a sequence task, warm-started to ``success``; kept on disk."""
    made = SEQUENCE_TASKS[task]()
    policy = Transformer.for_task(made, dtype=dtype, width=48, hidden=144)
    warm = warm_start(policy, made, jax.random.key(seed), success, monitor=monitor)
    return Warm(policy, made, warm.params, warm.success_rate, warm.prompt_rates)
