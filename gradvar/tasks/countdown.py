"""Countdown: ``374:19=`` is answered by ``4*3+7.`` - every number once, from left to right, to the target."""

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gradvar.core.checks import between
from gradvar.tasks.matching import canonical, check_rollouts
from gradvar.tasks.text import Text

_HIGHEST = 99
_OPERATIONS = "+-*"


@dataclass(frozen=True)
class Countdown(Text):
    """Numbers 1..9 are to be combined to a target of 0..99, each used once, with ``+``, ``-`` and ``*``.

    Expressions are read from left to right, without precedence: ``1+2*3`` is 9. Prompts are the ``numbers``, ``:``,
    the target in two digits and ``=``; the target is the value of a random expression, so there is a solution, and
    often there are several: the reward is 1 for each of them, else 0. A search, not a calculation.
    """

    name: ClassVar[str] = "countdown"
    numbers: int = 3

    def __post_init__(self) -> None:
        between("numbers", self.numbers, 2, 4)

    @property
    def tokens(self) -> tuple[str, ...]:
        """The digits, the operations, ``:``, ``=`` and the stop token."""
        return (*"0123456789", *_OPERATIONS, ":", "=", ".")

    @property
    def prompt_length(self) -> int:
        """The numbers, ``:``, two digits and ``=``."""
        return self.numbers + 4

    @property
    def completion_length(self) -> int:
        """The numbers, the operations between them and the stop token."""
        return 2 * self.numbers

    @cached_property
    def _forms(self) -> tuple[np.ndarray, np.ndarray]:
        """Every order of the numbers [form, number] and choice of operations [form, operation]."""
        orders = list(itertools.permutations(range(self.numbers)))
        choices = list(itertools.product(range(len(_OPERATIONS)), repeat=self.numbers - 1))
        forms = list(itertools.product(orders, choices))
        return np.asarray([f[0] for f in forms], np.int32), np.asarray([f[1] for f in forms], np.int32)

    def _values(self, numbers: Int[Array, "prompt number"]) -> Int[Array, "prompt form"]:
        """The value of every form."""
        orders, choices = self._forms
        return _value(numbers[:, orders], jnp.asarray(choices))

    def prompts(self, key: PRNGKeyArray, num: int) -> Int[Array, "prompt past"]:
        """``num`` prompts, drawn independently: numbers uniform, the expression uniform among those in range."""
        key_numbers, key_form = jax.random.split(key)
        numbers = jax.random.randint(key_numbers, (num, self.numbers), 1, 10, jnp.int32)
        values = self._values(numbers)
        within = (values >= 0) & (values <= _HIGHEST)  # never empty: four nines sum to 36
        noise = jax.random.uniform(key_form, values.shape, jnp.float32)
        chosen = jnp.argmax(jnp.where(within, noise, -1.0), axis=-1)
        target = jnp.take_along_axis(values, chosen[:, None], axis=-1)
        signs = [jnp.full((num, 1), self.tokens.index(sign), jnp.int32) for sign in ":="]
        line = jnp.concatenate([numbers, signs[0], target // 10, target % 10, signs[1]], axis=-1)
        return line.astype(jnp.int32)

    def _read(self, prompts: Int[Array, "prompt past"]) -> tuple[Array, Array]:
        numbers, digits = prompts[:, : self.numbers], prompts[:, self.numbers + 1 : -1]
        return numbers, digits[:, 0] * 10 + digits[:, 1]

    def solution(self, prompts: Int[Array, "prompt past"]) -> Int[Array, "prompt 1 time"]:
        """The first expression that reaches the target, by order of the numbers, then of the operations."""
        numbers, target = self._read(prompts)
        form = jnp.argmax(self._values(numbers) == target[:, None], axis=-1)
        orders, choices = (jnp.asarray(x)[form] for x in self._forms)
        written = jnp.take_along_axis(numbers, orders, axis=-1)
        line = jnp.full((len(prompts), self.completion_length), self.stop, jnp.int32)
        line = line.at[:, 0:-1:2].set(written).at[:, 1:-1:2].set(choices + self.tokens.index("+"))
        return line[:, None]

    def reward(
        self, prompts: Int[Array, "prompt past"], completions: Int[Array, "prompt group time"]
    ) -> Float[Array, "prompt group"]:
        """1 for an expression of all the numbers that has the target's value, and its stop token; else 0."""
        check_rollouts(prompts, completions, axes=2)
        if prompts.shape[1] != self.prompt_length or completions.shape[2] < self.completion_length:
            raise ValueError(
                f"prompts, completions: {prompts.shape[1]} and {completions.shape[2]} tokens long; give "
                f"{self.prompt_length} and {self.completion_length} or more, as {self!r} has"
            )
        available, target = self._read(prompts)
        line = canonical(completions, self.stop)[..., : self.completion_length]
        numbers, operations = line[..., 0:-1:2], line[..., 1:-1:2] - self.tokens.index("+")
        formed = jnp.all(numbers < 10, axis=-1) & (line[..., -1] == self.stop)
        formed = formed & jnp.all((operations >= 0) & (operations < len(_OPERATIONS)), axis=-1)
        used = jnp.all(jnp.sort(numbers, axis=-1) == jnp.sort(available, axis=-1)[:, None], axis=-1)
        reached = _value(numbers, operations) == target[:, None]
        return (formed & used & reached).astype(jnp.result_type(float))


def _value(numbers: Int[Array, "*batch number"], operations: Int[Array, "*batch operation"]) -> Array:
    """The value of an expression, read from left to right."""
    value = numbers[..., 0]
    for i in range(numbers.shape[-1] - 1):
        after, sign = numbers[..., i + 1], operations[..., i]
        value = jnp.where(sign == 0, value + after, jnp.where(sign == 1, value - after, value * after))
    return value
