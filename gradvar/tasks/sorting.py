"""Sorting short lists: ``_3143>`` is answered by ``1334.``"""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gradvar.core.checks import between
from gradvar.tasks.matching import fraction_right
from gradvar.tasks.text import Text

_NAMES = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Sorting(Text):
    """A list of numbers in 0..values-1 is to be written in order, equal ones as often as they stand there.

    Lists have ``shortest`` to ``length`` numbers, each length equally likely, each number uniform. Prompts
    are the list and ``>``, filled with ``_`` on the left; the answer ends with the stop token ``.``. The
    reward is 1 for exactly that, else 0. Long lists are harder than short ones.
    """

    name: ClassVar[str] = "sorting"
    length: int = 6
    values: int = 10
    shortest: int = 2

    def __post_init__(self) -> None:
        between("length", self.length, 1, 256)
        between("values", self.values, 2, len(_NAMES))
        between("shortest", self.shortest, 1, self.length)

    @property
    def tokens(self) -> tuple[str, ...]:
        """The values (letters from ten on), ``>``, the stop token and the padding."""
        return (*_NAMES[: self.values], ">", ".", "_")

    @property
    def prompt_length(self) -> int:
        """The longest list and ``>``."""
        return self.length + 1

    @property
    def completion_length(self) -> int:
        """The longest list and the stop token."""
        return self.length + 1

    def prompts(self, key: PRNGKeyArray, num: int) -> Int[Array, "prompt past"]:
        """``num`` prompts, drawn independently."""
        key_lengths, key_values = jax.random.split(key)
        lengths = jax.random.randint(key_lengths, (num, 1), self.shortest, self.length + 1)
        values = jax.random.randint(key_values, (num * self.length,), 0, self.values, jnp.int32)
        padded = jnp.arange(self.length) < self.length - lengths
        numbers = jnp.where(padded, self.tokens.index("_"), values.reshape(num, self.length))
        return jnp.pad(numbers, ((0, 0), (0, 1)), constant_values=self.tokens.index(">")).astype(jnp.int32)

    def solution(self, prompts: Int[Array, "prompt past"]) -> Int[Array, "prompt 1 time"]:
        """The list in order, filled up with stop tokens."""
        # all other tokens are larger: as stop tokens they go last
        numbers = jnp.where(prompts < self.values, prompts, self.stop)
        return jnp.sort(numbers, axis=-1).astype(jnp.int32)[:, None]


@dataclass(frozen=True)
class PartialSorting(Sorting):
    """Sorting with a graded reward: the fraction of the answer's tokens that are in their places.

    The stop token is one of them.
    """

    name: ClassVar[str] = "partial_sorting"

    def score(
        self, completions: Int[Array, "prompt group time"], solution: Int[Array, "prompt 1 time2"]
    ) -> Float[Array, "prompt group"]:
        """The fraction of the solution's positions that a completion has right."""
        return fraction_right(completions, solution, self.stop)
