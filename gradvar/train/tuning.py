"""Learning rates that are tried for an arm: each a copy of its trainer, the best one marked where it is at an end."""

import copy
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gradvar.train.loop import Run
from gradvar.train.trainer import Trainer


@dataclass(frozen=True, eq=False)
class Tried:
    """A learning rate that was tried for an arm, and the mean final reward of the seeds that tune, on their prompts.

    ``edge``: the best one, and at an end of the grid, ``lowest`` or ``highest``; else empty. ``start``: the number of
    the warm start that it was tried on.
    """

    arm: str
    learning_rate: float
    reward: float
    edge: str = ""
    start: int = 0


def with_edge(results: Sequence[Tried]) -> list[Tried]:
    """Mark the best of the rates that were tried, in ascending order, where it is at an end: it is then not tuned."""
    best = max(range(len(results)), key=lambda i: results[i].reward)
    edge = {0: "lowest", len(results) - 1: "highest"}.get(best, "")
    return [dataclasses.replace(t, edge=edge) if i == best else t for i, t in enumerate(results)]


def best_rate(tried: Iterable[Tried]) -> float:
    """Return the learning rate of the highest reward; of equal ones the first.

    >>> best_rate([Tried("a", 1e-4, 0.3), Tried("a", 2e-4, 0.5), Tried("a", 4e-4, 0.5)])
    0.0002
    """
    return max(tried, key=lambda t: t.reward).learning_rate


def tune(tuner: Trainer, rates: Sequence[float], run: Callable[[Trainer], Run], start: int) -> list[Tried]:
    """Try learning rates on one warm start.

    Args:
        tuner: The arm's programs, evaluated on prompts that judge nothing else.
        rates: What is tried.
        run: Trains the seeds that tune.
        start: The number of the warm start.
    """
    name = tuner.plan.arm.name
    rewards = [(rate, float(run(at_rate(tuner, rate)).final().mean())) for rate in sorted(rates)]
    return with_edge([Tried(name, rate, reward, start=start) for rate, reward in rewards])


def at_rate(trainer: Trainer, learning_rate: float) -> Trainer:
    """Return a trainer with the same compiled programs and another learning rate."""
    other = copy.copy(trainer)
    other.plan = dataclasses.replace(trainer.plan, learning_rate=learning_rate)
    return other
