"""Answering and judging in one task: ``47+85=`` is answered by ``32.``, and ``47+85=32.?`` by ``y.`` or ``n.``."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from gradvar.core.checks import between
from gradvar.tasks.addition import ModularAddition
from gradvar.tasks.matching import canonical, exact_match
from gradvar.tasks.text import Text


@dataclass(frozen=True)
class Verification(Text):
    """Sums of two numbers of ``digits`` digits, modulo 10^digits, to be written, and proposed sums to be judged.

    Half of the prompts ask for a sum, with padding on the left; half show a sum that was proposed, right or off by
    a little with equal chance, and ask whether it is right. Rewards are 1 or 0. ``questions`` turns a policy's
    own answers into prompts of the second kind, and ``actions`` lists the two answers to these.
    """

    name: ClassVar[str] = "verification"
    digits: int = 2

    def __post_init__(self) -> None:
        between("digits", self.digits, 1, 4)

    @property
    def _sums(self) -> ModularAddition:
        return ModularAddition(self.digits)

    @property
    def tokens(self) -> tuple[str, ...]:
        """Those of addition, the two verdicts, ``?`` and the padding."""
        return (*self._sums.tokens, "y", "n", "?", "_")

    @property
    def prompt_length(self) -> int:
        """A sum, a proposed answer and ``?``."""
        return self._sums.prompt_length + self._sums.completion_length + 1

    @property
    def completion_length(self) -> int:
        """The longest answer and the stop token; a verdict and a stop token are not longer."""
        return self._sums.completion_length

    def prompts(self, key: PRNGKeyArray, num: int) -> Int[Array, "prompt past"]:
        """``num`` prompts, of both kinds with equal chance, drawn independently."""
        key_sums, key_kind, key_right, key_off = jax.random.split(key, 4)
        sums = self._sums.prompts(key_sums, num)
        off = jnp.where(
            jax.random.bernoulli(key_right, 0.5, (num,)),
            0,
            jax.random.randint(key_off, (num,), 1, 10, jnp.int32),
        )
        # a wrong proposal is the right answer of a sum whose first number is larger by one to nine
        first, second = self._sums.numbers(sums)
        wrong = self._sums.write((first + off) % 10**self.digits, second)
        asked = self._ask(sums)
        shown = self.questions(asked, self._sums.solution(wrong)[:, 0])
        return jnp.where(jax.random.bernoulli(key_kind, 0.5, (num,))[:, None], shown, asked)

    def _ask(self, sums: Int[Array, "prompt past"]) -> Int[Array, "prompt past2"]:
        missing = self.prompt_length - sums.shape[1]
        return jnp.pad(sums, ((0, 0), (missing, 0)), constant_values=self.tokens.index("_"))

    def _is_question(self, prompts: Int[Array, "prompt past"]) -> Array:
        return prompts[:, -1] == self.tokens.index("?")

    def _parts(self, prompts: Int[Array, "prompt past"]) -> tuple[Array, Array]:
        """The sum of every prompt, and what stands where a proposal stands."""
        length = self._sums.prompt_length
        at_front, at_end = prompts[:, :length], prompts[:, -length:]
        sums = jnp.where(self._is_question(prompts)[:, None], at_front, at_end)
        return sums, prompts[:, length:-1]

    def questions(
        self, prompts: Int[Array, "prompt past"], answers: Int[Array, "prompt time"]
    ) -> Int[Array, "prompt past"]:
        """Prompts that ask whether the answers to ``prompts`` are right; prompts that ask so already stay."""
        sums, _ = self._parts(prompts)
        mark = jnp.full((len(prompts), 1), self.tokens.index("?"), jnp.int32)
        asked = jnp.concatenate([sums, canonical(answers, self.stop), mark], axis=1).astype(jnp.int32)
        return jnp.where(self._is_question(prompts)[:, None], prompts, asked)

    def actions(self, prompts: Int[Array, "prompt past"]) -> Int[Array, "prompt 2 time"]:
        """Both verdicts, ``y.`` and ``n.``, for every prompt."""
        lines = jnp.full((2, self.completion_length), self.stop, jnp.int32)
        lines = lines.at[:, 0].set(jnp.asarray([self.tokens.index(name) for name in "yn"], jnp.int32))
        return jnp.broadcast_to(lines, (len(prompts), *lines.shape))

    def solution(self, prompts: Int[Array, "prompt past"]) -> Int[Array, "prompt 1 time"]:
        """The sum, or the right verdict."""
        sums, proposed = self._parts(prompts)
        answer = self._sums.solution(sums)
        right = exact_match(proposed[:, None], answer, self.stop)[:, 0] > 0
        verdicts = self.actions(prompts)
        verdict = jnp.where(right[:, None], verdicts[:, 0], verdicts[:, 1])[:, None]
        return jnp.where(self._is_question(prompts)[:, None, None], verdict, answer)
