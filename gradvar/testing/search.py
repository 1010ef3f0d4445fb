"""Search the examples of a law for one that breaks it: with Hypothesis, or among those that it drew before.

What Hypothesis draws from a strategy depends on the seed and on nothing else as long as no example breaks the law. So
the examples of a law that held are kept, and the next function that is asked for the same strategy meets them without
a search; only where one of them breaks the law does Hypothesis search again, to shrink it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.strategies import SearchStrategy

from gradvar.testing.laws import Broken, Residue

Example = dict[str, Any]
Size = tuple[int, int | None]
"""The number of examples, and the seed."""
PHASES = (Phase.generate, Phase.shrink)
_DRAWN: WeakKeyDictionary[SearchStrategy[Example], dict[Size, list[Example]]] = WeakKeyDictionary()


@dataclass
class Search:
    """What a search met: the last example that breaks the law, which is the smallest, and the largest residue."""

    example: Example | None = None
    why: str = ""
    residue: str = ""
    residue_size: float = -1.0

    def meet(self, example: Example, finding: Callable[[Example], str]) -> None:
        """Try an example.

        Raises:
            Broken: It breaks the law.
        """
        try:
            why = finding(example)
        except Residue as residue:
            if residue.size > self.residue_size:
                self.residue, self.residue_size = str(residue), residue.size
            return
        if why:
            self.example, self.why = example, why
            raise Broken(why)


def search(
    strategy: SearchStrategy[Example],
    met: Search,
    finding: Callable[[Example], str],
    examples: int,
    random_seed: int | None,
) -> None:
    """Look for an example that breaks a law.

    Args:
        strategy: The examples of the law.
        met: Takes down what is met.
        finding: What is wrong on an example, or "".
        examples: Examples to try.
        random_seed: Draws other examples; default: the same in every run.

    Raises:
        Unsatisfiable: The strategy has no examples.
        Flaky: An example breaks the law at some times only.
    """
    drawn, size = _DRAWN.setdefault(strategy, {}), (examples, random_seed)
    if size in drawn:
        try:
            return _repeat(drawn[size], met, finding)
        except Broken:
            pass  # Hypothesis meets the same examples up to this one, and then makes it smaller
    with suppress(Broken):
        drawn[size] = _explore(strategy, met, finding, examples, random_seed)


def _repeat(drawn: list[Example], met: Search, finding: Callable[[Example], str]) -> None:
    """Try examples that were drawn before, each with the global generators where Hypothesis has them."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - the function under test may use it
    try:
        for example in drawn:
            random.seed(0)
            np.random.seed(0)  # noqa: NPY002
            met.meet(example, finding)
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


def _explore(
    strategy: SearchStrategy[Example],
    met: Search,
    finding: Callable[[Example], str],
    examples: int,
    random_seed: int | None,
) -> list[Example]:
    """Draw examples until one breaks the law, and return them all where none does."""
    drawn: list[Example] = []

    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=PHASES,
        verbosity=Verbosity.quiet,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def attempt(example: Example) -> None:
        met.meet(example, finding)
        drawn.append(example)

    seed(0 if random_seed is None else random_seed)(attempt)()
    return drawn
