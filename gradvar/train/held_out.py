"""Held-out prompts by a hash of their tokens: the same ones for every seed and every arm, without a list."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

Part = Literal["all", "validation", "test"]
_CANDIDATES = 8  # all are held out once in 8^8 draws; then one of them is trained on
_ONE_IN = 8


def held_out(prompts: Int[Array, "prompt past"]) -> Bool[Array, " prompt"]:
    """Return True for held-out prompts: one in eight, by a hash of its tokens (FNV-1a, then mixed)."""
    return _hash(prompts) % _ONE_IN == 0


def _is_in(prompts: Int[Array, "prompt past"], part: Part) -> Bool[Array, " prompt"]:
    """Return True for the held-out prompts of a part: the halves are told by a further bit of the hash."""
    if part == "all":
        return held_out(prompts)
    return held_out(prompts) & (_hash(prompts) // _ONE_IN % 2 == (part == "validation"))


def _hash(prompts: Int[Array, "prompt past"]) -> Array:
    tokens = prompts.astype(jnp.uint32)
    value = jnp.full(tokens.shape[:1], 2166136261, jnp.uint32)  # [prompt]
    for column in range(tokens.shape[1]):
        value = (value ^ tokens[:, column]) * jnp.uint32(16777619)
    value = (value ^ (value >> 15)) * jnp.uint32(0x2C1B3C6D)
    value = value ^ (value >> 12)
    return value


@dataclass(frozen=True)
class Training:
    """A sequence task without its held-out prompts: the same distribution, given that a prompt is not held out.

    ``examination`` gives the held-out prompts. All else is the task's.
    """

    name: ClassVar[str] = "training"
    task: Any

    def prompts(self, key: PRNGKeyArray, num: int) -> Int[Array, "prompt past"]:
        """Draw prompts independently; each is the first of eight draws that is not held out."""
        candidates = self.task.prompts(key, num * _CANDIDATES)
        is_out = held_out(candidates).reshape(num, _CANDIDATES)
        first = jnp.argmin(is_out, axis=-1)  # [prompt]; False sorts first
        return candidates.reshape(num, _CANDIDATES, -1)[jnp.arange(num), first]

    def examination(self, key: PRNGKeyArray, num: int, part: Part = "all") -> Int[Array, "prompt past"]:
        """Draw the task's prompts, given that they are held out; a common one may come twice.

        ``part``: all of the held-out prompts, or one of two halves that share none: ``validation``, on which learning
        rates are chosen, and ``test``, on which the chosen ones are judged.

        Raises ``ValueError`` for a task with so few prompts that none is held out.
        """
        draws = max(32 * num, 1024)
        prompts = np.asarray(self.task.prompts(key, draws))
        prompts = prompts[np.asarray(_is_in(jnp.asarray(prompts), part))]
        if len(prompts) < num:
            raise ValueError(
                f"task: {self.task!r} has too few prompts, {len(prompts)} of {draws} sampled are held out; "
                "give a larger one"
            )
        return jnp.asarray(prompts[:num])

    def solution(self, prompts: Int[Array, "prompt past"]) -> Int[Array, "prompt 1 time"]:
        """Return the task's solutions."""
        return self.task.solution(prompts)

    def reward(
        self, prompts: Int[Array, "prompt past"], completions: Int[Array, "prompt group time"]
    ) -> Float[Array, "prompt group"]:
        """Return the task's rewards."""
        return self.task.reward(prompts, completions)

    def lessons(self, key: PRNGKeyArray, drafts: Int[Array, "prompt past"]) -> Int[Array, "prompt past"]:
        """Return what is taught about prompts that are not held out, of a task that has lessons."""
        return self.task.lessons(key, drafts)
