"""Held-out prompts without lists: a prompt's hash says on which side it lies, for every seed and every arm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

_CANDIDATES = 8  # all are held out once in 8^8 draws; then one of them is trained on
_ONE_IN = 8


def held_out(prompts: Int[Array, "prompt past"]) -> Bool[Array, " prompt"]:
    """Whether each prompt is held out: one in eight is, by a hash of its tokens (FNV-1a, then mixed)."""
    tokens = prompts.astype(jnp.uint32)
    value = jnp.full(tokens.shape[:1], 2166136261, jnp.uint32)
    for column in range(tokens.shape[1]):
        value = (value ^ tokens[:, column]) * jnp.uint32(16777619)
    value = (value ^ (value >> 15)) * jnp.uint32(0x2C1B3C6D)
    value = value ^ (value >> 12)
    return value % _ONE_IN == 0


@dataclass(frozen=True)
class Training:
    """A sequence task without its held-out prompts: the same distribution, given that a prompt is not held out.

    Everything but ``prompts`` is the task's own. ``examination`` gives the others. The questions that a policy
    raises by its own answers are not sifted.
    """

    name: ClassVar[str] = "training"
    task: Any

    def prompts(self, key: PRNGKeyArray, num: int) -> Int[Array, "prompt past"]:
        """``num`` prompts drawn independently; each is the first of eight draws that is not held out."""
        drawn = self.task.prompts(key, num * _CANDIDATES)
        out = held_out(drawn).reshape(num, _CANDIDATES)
        first = jnp.argmin(out, axis=-1)  # False sorts first
        return drawn.reshape(num, _CANDIDATES, -1)[jnp.arange(num), first]

    def examination(self, key: PRNGKeyArray, num: int) -> Int[Array, "prompt past"]:
        """``num`` draws of the task's prompts, given that they are held out; a common one may be there twice.

        Raises ``ValueError`` for a task with so few prompts that none is held out.
        """
        drawn = np.asarray(self.task.prompts(key, max(32 * num, 1024)))
        drawn = drawn[np.asarray(held_out(jnp.asarray(drawn)))]
        if len(drawn) < num:
            raise ValueError(
                f"task: {self.task!r} has too few prompts, {len(drawn)} of {max(32 * num, 1024)} drawn are held "
                "out; give a larger one"
            )
        return jnp.asarray(drawn[:num])

    def solution(self, prompts: Int[Array, "prompt past"]) -> Int[Array, "prompt 1 time"]:
        """The task's."""
        return self.task.solution(prompts)

    def reward(
        self, prompts: Int[Array, "prompt past"], completions: Int[Array, "prompt group time"]
    ) -> Float[Array, "prompt group"]:
        """The task's."""
        return self.task.reward(prompts, completions)

    def questions(
        self, prompts: Int[Array, "prompt past"], answers: Int[Array, "prompt time"]
    ) -> Int[Array, "prompt past"]:
        """The task's, where it has decisions."""
        return self.task.questions(prompts, answers)

    def actions(self, prompts: Int[Array, "prompt past"]) -> Int[Array, "prompt action time"]:
        """The task's, where it has decisions."""
        return self.task.actions(prompts)
