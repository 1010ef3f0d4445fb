"""Several rewards of one completion: what estimators of decoupled rewards (GDPO) are measured on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gradvar.core.checks import finite
from gradvar.core.protocols import FiniteTask, Task


@dataclass(frozen=True)
class SeveralRewards:
    """Tasks on the prompts of the first: ``reward`` is the weighted sum of theirs, ``reward_parts`` are they.

    ``several_rewards`` makes one.
    """

    name: ClassVar[str] = "several rewards"
    tasks: tuple[Task, ...]
    weights: tuple[float, ...]

    def prompts(self, key: PRNGKeyArray, num: int) -> Array:
        """Draw prompts of the first task."""
        return self.tasks[0].prompts(key, num)

    def reward_parts(
        self, prompts: Array, completions: Int[Array, "prompt group time"]
    ) -> Float[Array, "prompt group part"]:
        """Every task's reward of every completion."""
        return jnp.stack([task.reward(prompts, completions) for task in self.tasks], -1)

    def reward(
        self, prompts: Array, completions: Int[Array, "prompt group time"]
    ) -> Float[Array, "prompt group"]:
        """The weighted sum of the parts."""
        pairs = zip(self.weights, self.tasks, strict=True)
        return reduce(jnp.add, (weight * task.reward(prompts, completions) for weight, task in pairs))


@dataclass(frozen=True)
class SeveralListedRewards(SeveralRewards):
    """The same with a list of prompts, where the first task has one."""

    def all_prompts(self) -> Array:
        """Return every prompt of the first task."""
        first = self.tasks[0]
        assert isinstance(first, FiniteTask)
        return first.all_prompts()


def several_rewards(*tasks: Task, weights: Sequence[float] | None = None) -> SeveralRewards:
    """One task of several rewards on the same prompts, such as correctness and format.

    ``weights`` are those of the sum that ``reward`` is and grad J is the gradient of; 1 each by default. It can be
    enumerated if the first task can.

    >>> from gradvar.tasks import Bandit
    >>> task = several_rewards(Bandit([1.0, 0.0]), Bandit([0.5, 1.0]), weights=(1.0, 0.5))
    >>> answers = jnp.array([[[0], [1]]])
    >>> task.reward(task.all_prompts(), answers).tolist(), task.reward_parts(task.all_prompts(), answers).tolist()
    ([[1.25, 0.5]], [[[1.0, 0.5], [0.0, 1.0]]])
    """
    factors = (
        tuple(1.0 for _ in tasks) if weights is None else tuple(finite("weights", float(w)) for w in weights)
    )
    if len(tasks) < 2 or len(factors) != len(tasks):
        raise ValueError(
            f"tasks: {len(tasks)} with {len(factors)} weights; give two tasks or more, and a weight of each"
        )
    kind = SeveralListedRewards if isinstance(tasks[0], FiniteTask) else SeveralRewards
    return kind(tuple(tasks), factors)


def parts_of(task: Task, prompts: Array, completions: Int[Array, "prompt group time"]) -> dict[str, Array]:
    """``reward_parts`` by that name where the task has them; nothing elsewhere."""
    parts = getattr(task, "reward_parts", None)
    return {} if parts is None else {"reward_parts": parts(prompts, completions)}
