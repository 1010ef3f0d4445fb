"""What the sequence tasks share: a small vocabulary with names, for display, and a reward by comparison."""

import abc
from collections.abc import Sequence
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.typing import ArrayLike

from gradvar.tasks.matching import check_rollouts, exact_match


class Text(abc.ABC):
    """A task in tokens. Subclasses give ``tokens`` (every token's name), the lengths and ``solution``."""

    name: ClassVar[str]

    @property
    @abc.abstractmethod
    def tokens(self) -> tuple[str, ...]:
        """The name of every token."""

    @property
    def stop(self) -> int:
        """The token that ends a completion."""
        return self.tokens.index(".")

    @property
    def pad(self) -> int | None:
        """The token that fills prompts on the left; None where all prompts have the same length."""
        return self.tokens.index("_") if "_" in self.tokens else None

    @property
    def vocab(self) -> int:
        """How many tokens there are."""
        return len(self.tokens)

    @property
    @abc.abstractmethod
    def prompt_length(self) -> int:
        """Tokens per prompt, padding included."""

    @property
    @abc.abstractmethod
    def completion_length(self) -> int:
        """Tokens of the longest solution, stop token included."""

    @abc.abstractmethod
    def solution(self, prompts: Int[Array, "prompt past"]) -> Int[Array, "prompt 1 time"]:
        """The right completion of every prompt, filled up with stop tokens."""

    def score(
        self, completions: Int[Array, "prompt group time"], solution: Int[Array, "prompt 1 time2"]
    ) -> Float[Array, "prompt group"]:
        """The reward of completions whose prompts have that solution."""
        return exact_match(completions, solution, self.stop)

    def reward(
        self, prompts: Int[Array, "prompt past"], completions: Int[Array, "prompt group time"]
    ) -> Float[Array, "prompt group"]:
        """The reward of every completion. What follows its first stop token does not count."""
        check_rollouts(prompts, completions, axes=2)
        if prompts.shape[1] != self.prompt_length:
            raise ValueError(
                f"prompts: {prompts.shape[1]} tokens long; give {self.prompt_length}, as {self!r} has"
            )
        return self.score(completions, self.solution(prompts))

    def decode(self, tokens: ArrayLike) -> list[str]:
        """Rows of tokens [..., time] as text, a string for every row, up to and including the stop token."""
        rows = np.asarray(tokens)
        names = np.array(["?", *self.tokens], dtype=object)
        texts = []
        for row in rows.reshape(-1, rows.shape[-1]):
            known = np.where((row >= 0) & (row < self.vocab), row + 1, 0)
            stops = np.flatnonzero(row == self.stop)
            texts.append("".join(names[known[: stops[0] + 1 if len(stops) else None]]))
        return texts

    def encode(self, texts: Sequence[str], length: int) -> Int[Array, "text time"]:
        """Texts as rows of ``length`` tokens: answers are filled with stop tokens, prompts with padding."""
        rows = []
        for text in texts:
            unknown = sorted(set(text) - set(self.tokens))
            if unknown:
                raise ValueError(
                    f"texts: {unknown[0]!r} in {text!r} is no token; give those among {''.join(self.tokens)}"
                )
            if len(text) > length:
                raise ValueError(
                    f"texts: {text!r} has {len(text)} tokens; give {length} at most, or more length"
                )
            row = [self.tokens.index(character) for character in text]
            missing = length - len(row)
            if missing and text.endswith("."):
                row = row + [self.stop] * missing
            elif missing and self.pad is not None:
                row = [self.pad] * missing + row
            elif missing:
                raise ValueError(
                    f"texts: {text!r} has {len(text)} tokens; give {length}, or end with the stop '.'"
                )
            rows.append(row)
        return jnp.asarray(rows, jnp.int32)
