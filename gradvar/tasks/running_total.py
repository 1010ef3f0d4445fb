"""A sum in steps: ``47+85+20=`` is answered by ``32,52.``, the totals so far modulo 100; only the last one counts."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gradvar.core.checks import between
from gradvar.tasks.matching import canonical, check_rollouts
from gradvar.tasks.text import Text


@dataclass(frozen=True)
class RunningTotal(Text):
    """Several numbers of ``digits`` digits are to be added, modulo 10^digits, by way of totals that are not graded.

    Prompts are ``terms`` numbers with ``+`` between them and ``=``. The solution writes the total after each term from
    the second on, in ``digits`` digits with ``,`` between them, and the stop token. The reward is 1 where the last
    ``digits`` characters before the stop token are the sum, and nothing or ``,`` is before them; what else was written
    on the way is not looked at, so a wrong total may be made good, and a completion may skip all of them. More terms
    are longer answers.
    """

    name: ClassVar[str] = "running_total"
    terms: int = 4
    digits: int = 2

    def __post_init__(self) -> None:
        between("terms", self.terms, 2, 64)
        between("digits", self.digits, 1, 6)

    @property
    def tokens(self) -> tuple[str, ...]:
        """The digits, ``+``, ``=``, ``,`` and the stop token."""
        return (*"0123456789", "+", "=", ",", ".")

    @property
    def prompt_length(self) -> int:
        """Every term with the sign after it."""
        return self.terms * (self.digits + 1)

    @property
    def completion_length(self) -> int:
        """Every total with the sign after it."""
        return (self.terms - 1) * (self.digits + 1)

    @property
    def _places(self) -> Int[Array, " digit"]:
        return 10 ** jnp.arange(self.digits - 1, -1, -1, dtype=jnp.int32)

    def _written(
        self, numbers: Int[Array, "prompt number"], between: str, last: str
    ) -> Int[Array, "prompt time"]:
        """Numbers in digits, each with the sign after it."""
        digits = numbers[..., None] // self._places % 10  # [prompt, number, digit]
        signs = [self.tokens.index(between)] * (numbers.shape[1] - 1) + [self.tokens.index(last)]
        columns = jnp.broadcast_to(jnp.asarray(signs, jnp.int32), numbers.shape)[..., None]
        return jnp.concatenate([digits, columns], axis=-1).reshape(len(numbers), -1).astype(jnp.int32)

    def prompts(self, key: PRNGKeyArray, num: int) -> Int[Array, "prompt past"]:
        """``num`` prompts, all numbers uniform and independent."""
        numbers = jax.random.randint(key, (num, self.terms), 0, 10**self.digits, jnp.int32)
        return self._written(numbers, "+", "=")

    def totals(self, prompts: Int[Array, "prompt past"]) -> Int[Array, "prompt total"]:
        """The totals after the second, third, ... term."""
        digits = prompts.reshape(len(prompts), self.terms, self.digits + 1)[..., :-1]
        numbers = digits.astype(jnp.int32) @ self._places  # [prompt, term]
        return jnp.cumsum(numbers, axis=-1)[:, 1:] % 10**self.digits

    def solution(self, prompts: Int[Array, "prompt past"]) -> Int[Array, "prompt 1 time"]:
        """All totals and the stop token."""
        return self._written(self.totals(prompts), ",", ".")[:, None]

    def score(
        self, completions: Int[Array, "prompt group time"], solution: Int[Array, "prompt 1 time2"]
    ) -> Float[Array, "prompt group"]:
        """1 where the last number before the stop token is the solution's last one."""
        check_rollouts(solution[:, 0], completions, axes=2)
        ended = canonical(completions, self.stop)
        length = jnp.sum(ended != self.stop, axis=-1)  # [prompt, group], of the text before the stop token
        # a separator and no number before the text: the last number may begin it
        before = jnp.full((*ended.shape[:2], self.digits + 1), self.tokens.index(","), jnp.int32)
        text = jnp.concatenate([before, ended], axis=-1)
        places = length[..., None] + jnp.arange(self.digits + 1)  # the separator and the last number
        last = jnp.take_along_axis(text, places, axis=-1)  # [prompt, group, 1 + digit]
        sought = solution[..., -(self.digits + 1) : -1]  # [prompt, 1, digit]
        right = jnp.all(last[..., 1:] == sought, axis=-1) & (last[..., 0] == self.tokens.index(","))
        stopped = length < ended.shape[-1]
        return (right & stopped).astype(jnp.result_type(float))
