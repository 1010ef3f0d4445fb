"""Modular addition in decimal digits: ``47+85=`` is answered by ``32.`` where the modulus is 100."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gradvar.core.checks import between
from gradvar.tasks.matching import fraction_right
from gradvar.tasks.text import Text

_MOST_PROMPTS = 1_000_000


@dataclass(frozen=True)
class ModularAddition(Text):
    """The sum of two numbers of up to ``digits`` digits, modulo ``modulus`` (None: 10^digits).

    Prompts are ``a+b=`` with both numbers written in ``digits`` digits, zeros in front, both uniform in
    0..modulus-1. The answer is written without zeros in front, so answers differ in length, and ends with the
    stop token ``.``. The reward is 1 for exactly that, else 0. Sums that carry are the harder ones.
    """

    name: ClassVar[str] = "modular_addition"
    digits: int = 2
    modulus: int | None = None

    def __post_init__(self) -> None:
        between("digits", self.digits, 1, 9)
        if self.modulus is None:
            object.__setattr__(self, "modulus", 10**self.digits)
        if not 2 <= self._modulus <= 10**self.digits:
            raise ValueError(
                f"modulus: {self.modulus}; give 2 to {10**self.digits}, what {self.digits} digits can hold"
            )

    @property
    def _modulus(self) -> int:
        return 10**self.digits if self.modulus is None else self.modulus

    @property
    def tokens(self) -> tuple[str, ...]:
        """The digits, ``+``, ``=`` and the stop token."""
        return (*"0123456789", "+", "=", ".")

    @property
    def prompt_length(self) -> int:
        """Two numbers, ``+`` and ``=``."""
        return 2 * self.digits + 2

    @property
    def completion_length(self) -> int:
        """The longest answer and the stop token."""
        return len(str(self._modulus - 1)) + 1

    def write(self, first: Array, second: Array) -> Int[Array, "prompt past"]:
        """The prompts that ask for these sums."""
        places = 10 ** jnp.arange(self.digits - 1, -1, -1, dtype=jnp.int32)
        signs = [jnp.full((*first.shape, 1), self.tokens.index(sign), jnp.int32) for sign in "+="]
        numbers = [number[:, None] // places % 10 for number in (first, second)]
        return jnp.concatenate([numbers[0], signs[0], numbers[1], signs[1]], axis=-1).astype(jnp.int32)

    def prompts(self, key: PRNGKeyArray, num: int) -> Int[Array, "prompt past"]:
        """``num`` prompts, both numbers uniform and independent."""
        first, second = jax.random.randint(key, (2, num), 0, self._modulus, jnp.int32)
        return self.write(first, second)

    def all_prompts(self) -> Int[Array, "prompt past"]:
        """Every prompt once: modulus^2 of them, up to a million."""
        if self._modulus**2 > _MOST_PROMPTS:
            raise ValueError(
                f"modulus: {self._modulus} has {self._modulus**2} prompts, too many to list; "
                f"take some with prompts(key, num), or give {int(_MOST_PROMPTS**0.5)} at most"
            )
        first, second = jnp.divmod(jnp.arange(self._modulus**2, dtype=jnp.int32), self._modulus)
        return self.write(first, second)

    def numbers(
        self, prompts: Int[Array, "prompt past"]
    ) -> tuple[Int[Array, " prompt"], Int[Array, " prompt"]]:
        """The two numbers of every prompt."""
        places = 10 ** jnp.arange(self.digits - 1, -1, -1, dtype=jnp.int32)
        first, second = prompts[:, : self.digits], prompts[:, self.digits + 1 : -1]
        return first.astype(jnp.int32) @ places, second.astype(jnp.int32) @ places

    def solution(self, prompts: Int[Array, "prompt past"]) -> Int[Array, "prompt 1 time"]:
        """The sum without zeros in front, filled up with stop tokens."""
        first, second = self.numbers(prompts)
        total = (first + second) % self._modulus
        width = self.completion_length - 1
        digits = total[:, None] // 10 ** jnp.arange(width - 1, -1, -1, dtype=jnp.int32) % 10
        leading = jnp.sum(jnp.cumsum(digits, axis=-1)[:, :-1] == 0, axis=-1)  # the last digit stays, 0 or not
        place = leading[:, None] + jnp.arange(width + 1)
        written = jnp.take_along_axis(digits, jnp.minimum(place, width - 1), axis=-1)
        return jnp.where(place < width, written, self.stop).astype(jnp.int32)[:, None]


@dataclass(frozen=True)
class PartialAddition(ModularAddition):
    """Modular addition with a graded reward: the fraction of the answer's tokens that are in their places.

    The stop token is one of them, so an answer of one digit can get 0, 1/2 or 1.
    """

    name: ClassVar[str] = "partial_addition"

    def score(
        self, completions: Int[Array, "prompt group time"], solution: Int[Array, "prompt 1 time2"]
    ) -> Float[Array, "prompt group"]:
        """The fraction of the solution's positions that a completion has right."""
        return fraction_right(completions, solution, self.stop)
