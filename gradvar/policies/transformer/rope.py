"""Rotary frequencies, and the ways in which public models stretch them to longer contexts.

Plain: feature pair i of a head turns by position * theta^(-2i/D) (arXiv 2104.09864, Eq. 15). ``linear``: positions
divided by a factor (arXiv 2306.15595). ``yarn``: low frequencies divided, high ones kept, a ramp between, and cosine
and sine scaled (arXiv 2309.00071, Sec. 3.2 to 3.4). ``llama3``: low divided, high kept, and an interpolation in the
number of turns between (Llama 3.1's released code; arXiv 2407.21783 names the method only). ``divided``: every
frequency by a number of its own (LongRoPE, arXiv 2402.13753, Eq. 1), as Phi-3 has it within its first context.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from gradvar.core.checks import at_least, finite, one_of, positive

Kind = Literal["plain", "linear", "yarn", "llama3", "divided"]


@dataclass(frozen=True)
class Rope:
    """How positions become angles: hashable settings, from which the numbers follow.

    ``theta``: the base. ``factor``: by how much the context is stretched; ``trained`` tokens is the context before
    that. ``low`` and ``high`` bound the frequencies in between, in turns over the trained context: yarn's beta_slow
    and beta_fast, llama3's low_freq_factor and high_freq_factor. ``gain`` multiplies cosine and sine (None: yarn's
    0.1 ln(factor) + 1, otherwise 1). ``rounded``: yarn's bounds are rounded outwards to whole feature pairs.
    ``divisors`` are those of "divided", one for each pair. ``share``: of a head's features, the first ones turn.
    """

    theta: float = 10_000.0
    kind: Kind = "plain"
    factor: float = 1.0
    trained: int = 0
    low: float = 1.0
    high: float = 32.0
    gain: float | None = None
    rounded: bool = True
    divisors: tuple[float, ...] = ()
    share: float = 1.0

    def __post_init__(self) -> None:
        one_of("kind", self.kind, get_args(Kind))
        if not 1 < self.theta < math.inf:
            raise ValueError(f"theta: {self.theta}; give a finite base above 1")
        at_least("factor", finite("factor", self.factor), 1)
        if self.kind in ("yarn", "llama3"):
            if self.trained < 1:
                raise ValueError(
                    f"trained: {self.trained}; '{self.kind}' needs the context before stretching, in tokens"
                )
            if not 0 < self.low < self.high < math.inf:
                raise ValueError(
                    f"low, high: {self.low}, {self.high}; give two numbers above 0, the first smaller"
                )
        if (self.kind == "divided") != bool(self.divisors) or not all(
            0 < x < math.inf for x in self.divisors
        ):
            raise ValueError(
                f"divisors: {len(self.divisors)} for '{self.kind}'; 'divided' needs numbers above 0"
            )
        if not 0 < self.share <= 1:
            raise ValueError(f"share: {self.share}; give a share of a head's features, above 0 and at most 1")
        if self.gain is not None:
            positive("gain", finite("gain", self.gain))

    def turned(self, head_width: int) -> int:
        """How many of a head's features turn."""
        return int(head_width * self.share)

    def frequencies(self, head_width: int) -> Float[np.ndarray, " pair"]:
        """Radians per position of each pair of the features that turn, in float64."""
        head_width = self.turned(head_width)
        plain = self.theta ** (-np.arange(0, head_width, 2) / head_width)
        if self.kind == "linear":
            return plain / self.factor
        if self.kind == "divided":
            return plain / np.asarray(self.divisors)
        if self.kind == "llama3":
            turns = self.trained * plain / (2 * math.pi)
            unstretched = np.clip((turns - self.low) / (self.high - self.low), 0.0, 1.0)
            return plain * (unstretched + (1 - unstretched) / self.factor)
        if self.kind == "yarn":
            unstretched = self._share_unstretched(head_width)
            return plain * (unstretched + (1 - unstretched) / self.factor)
        return plain

    @property
    def scale(self) -> float:
        """What cosine and sine are multiplied by."""
        if self.gain is not None:
            return self.gain
        return 0.1 * math.log(self.factor) + 1.0 if self.kind == "yarn" else 1.0

    def _share_unstretched(self, head_width: int) -> Float[np.ndarray, " pair"]:
        """One for pairs that turn often over the trained context, zero for slow ones, a line in the index between."""

        def pair(turns: float) -> float:  # the index at which so many turns are made
            return head_width * math.log(self.trained / (turns * 2 * math.pi)) / (2 * math.log(self.theta))

        first, last = pair(self.high), pair(self.low)
        if self.rounded:
            first, last = math.floor(first), math.ceil(last)
        first, last = max(first, 0), min(last, head_width - 1)
        last = last if last > first else first + 1e-3
        return 1.0 - np.clip((np.arange(head_width // 2) - first) / (last - first), 0.0, 1.0)
