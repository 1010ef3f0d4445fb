"""Where the time of a recording goes, and how long it will take: sampling, scoring and writing apart."""

import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Literal

from jaxtyping import Float
from numpy import ndarray

from gradvar.core.progress import ProgressMonitor, Silent

Phase = Literal["sampling", "scoring", "writing"]
_RECENT = 9  # observations whose median is the pace


class Pace:
    """Times the phases of a recording, tells a monitor of every scored row, and estimates what is left.

    The first observation of a phase holds the time of compiling, so it is left out as soon as there is a second one.
    """

    def __init__(
        self,
        prompts: int,
        monitor: ProgressMonitor | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """``prompts``: how many are left to record; ``clock``: seconds."""
        self.left_prompts, self.monitor, self._clock = prompts, monitor or Silent(), clock
        self.seconds: dict[Phase, float] = {"sampling": 0.0, "scoring": 0.0, "writing": 0.0}
        self._per_prompt: dict[Phase, list[float]] = {phase: [] for phase in self.seconds}
        self._sampled = self._scored = (
            0.0  # prompts of the current shard whose rollouts, whose scores are there
        )
        self._last = clock()

    def begin(self) -> None:
        """Start the clock of the next phase."""
        self._last = self._clock()

    def done(self, phase: Phase, prompts: float) -> None:
        """The phase is over for so many prompts (a part of one counts as a part)."""
        now = self._clock()
        self.seconds[phase] += now - self._last
        self._per_prompt[phase].append((now - self._last) / prompts)
        self._sampled = prompts if phase == "sampling" else self._sampled
        self._last = now

    def scoring(
        self, images: Iterator[Float[ndarray, "chunk image"]], rows: int, prompts: int
    ) -> Iterator[Float[ndarray, "chunk image"]]:
        """Pass images on, and count each chunk's share of a shard's prompts.

        Args:
            images: A chunk at a time.
            rows: How many there are.
            prompts: Of the shard.
        """
        for image in images:
            share = prompts * len(image) / max(1, rows)
            self.done("scoring", share)
            self._scored += share
            self.monitor.advance(share, self.note())
            yield image
            self.begin()

    def written(self, prompts: int) -> None:
        """A shard is on disk."""
        self.done("writing", prompts)
        self.left_prompts -= prompts
        uncounted = prompts - self._scored  # of a shard without rows to score
        self._sampled = self._scored = 0.0
        self.monitor.advance(uncounted, self.note())

    def per_prompt(self, phase: Phase) -> float | None:
        """Seconds of a phase for one prompt; None before it was observed."""
        seen = self._per_prompt[phase]
        return median((seen[1:] or seen)[-_RECENT:]) if seen else None

    def left(self) -> float | None:
        """Seconds until all is recorded; None before a row was scored."""
        sampling, scoring = self.per_prompt("sampling"), self.per_prompt("scoring")
        if sampling is None or scoring is None:
            return None
        writing = self.per_prompt("writing") or 0.0
        unsampled, unscored = self.left_prompts - self._sampled, self.left_prompts - self._scored
        return max(0.0, unsampled * sampling + unscored * scoring + self.left_prompts * writing)

    def note(self) -> str:
        """One line: seconds a prompt of each phase, and what is left."""
        left = self.left()
        if left is None:
            return ""
        parts = [(phase, self.per_prompt(phase)) for phase in self.seconds]
        listed = ", ".join(f"{phase} {seconds:.2g} s" for phase, seconds in parts if seconds is not None)
        return f"about {duration(left)} left ({listed} a prompt)"


def duration(seconds: float) -> str:
    """Seconds in a unit that people read.

    >>> duration(42), duration(600), duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
