"""Learning rates that were tried for an arm: each a copy of its trainer, the best one marked where it is at an end."""

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from gradvar.train.trainer import Trainer


@dataclass(frozen=True, eq=False)
class Tried:
    """A learning rate that was tried for an arm, and the mean final reward of the seeds that tune, on their prompts.

    ``edge``: the best one, and at an end of the grid, ``lowest`` or ``highest``; else empty.
    """

    arm: str
    learning_rate: float
    reward: float
    edge: str = ""


def with_edge(results: Sequence[Tried]) -> list[Tried]:
    """Mark the best of the rates that were tried, in ascending order, where it is at an end: it is then not tuned."""
    best = max(range(len(results)), key=lambda i: results[i].reward)
    edge = {0: "lowest", len(results) - 1: "highest"}.get(best, "")
    return [dataclasses.replace(t, edge=edge) if i == best else t for i, t in enumerate(results)]


def at_rate(trainer: Trainer, learning_rate: float) -> Trainer:
    """Return a trainer with the same compiled programs and another learning rate."""
    other = copy.copy(trainer)
    other.plan = dataclasses.replace(trainer.plan, learning_rate=learning_rate)
    return other
