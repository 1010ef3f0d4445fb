"""``direct`` in rounds: pairs of replicates are added, and the blocks grow with them, until ``Until`` is met.

Pair number n is the same whatever the rounds, so a measurement that stops at N replicates has the figures of one that
was asked for N; and every round runs the same programs, over a number of pairs that does not depend on it. Blocks are
of equal size and contiguous: where there are too many, neighbours are merged.
"""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import PRNGKeyArray

from gradvar.core.devices import choose_devices
from gradvar.core.moments import Moments
from gradvar.core.until import FIRST, Until
from gradvar.measure import direct_stages as stages
from gradvar.measure.direct_plan import DirectPlan
from gradvar.measure.direct_sums import BLOCKS, MEMORY, Work, by_device, check_finite, pair_gradients

_UNIT = 64  # pairs: a round is a multiple of it


def accumulate_until(
    plan: DirectPlan,
    key: PRNGKeyArray,
    until: Until,
    work: Work,
    measure: Callable[[stages.Sums], list[Moments]],
) -> tuple[stages.Sums, int]:
    """Block sums of as many replicates as it takes, and how many rounds it took.

    Args:
        plan: What is measured.
        key: Of everything random.
        until: When to stop.
        work: Chunks, devices and progress; the rounds do not depend on it.
        measure: Makes the moments of sums.
    """
    pool = _Pool(plan, key, work)
    target, rounds = FIRST, 0
    while True:
        pool.draw(target, until.most)
        if plan.rehearsal:
            return pool.sums, 1
        rounds += 1
        target = until.next_size(measure(pool.sums), rounds)
        if pool.rounded(target, until.most) <= pool.replicates:
            return pool.sums, rounds


class _Pool:
    """The pairs so far in blocks of equal size, from ``_limit`` / 2 of them to ``_limit``."""

    def __init__(self, plan: DirectPlan, key: PRNGKeyArray, work: Work) -> None:
        self._plan, self._key, self._work = plan, key, work
        gradient_bytes = ravel_pytree(plan.subject.params)[0].nbytes * (len(plan.estimators) + 1)
        self._limit = _power_of_two(min(2 * BLOCKS, max(16, MEMORY // gradient_bytes)))
        largest = work.chunk or max(1, MEMORY // (4 * gradient_bytes))
        self._chunk = _power_of_two(min(_UNIT, largest))
        self._devices = choose_devices(work.devices)
        self._block = 1  # pairs of a block
        self._parts: list[stages.Sums] = []  # of whole blocks
        self._pending: list[stages.Sums] = []  # of less than a block together
        self.replicates = 0

    @property
    def sums(self) -> stages.Sums:
        """The sums over all blocks."""
        if len(self._parts) > 1:
            self._parts = [_joined(self._parts)]
        return self._parts[0]

    def rounded(self, replicates: int, most: int) -> int:
        """The number of replicates, no smaller if possible, that makes whole blocks and whole rounds."""
        size = 2 * max(_UNIT, self._block)
        return min(-(-replicates // size), max(most // size, FIRST // size)) * size

    def draw(self, replicates: int, most: int) -> None:
        """Add pairs up to a number of replicates, rounded."""
        goal = self.rounded(replicates, most)
        step = self._chunk * self._devices.size
        local = jnp.tile(jnp.arange(self._chunk), self._devices.size)  # of each device's pairs, its blocks
        while self.replicates < goal:
            start = self.replicates // 2
            gradients = pair_gradients(self._plan, self._devices, self._key, jnp.arange(start, start + step))
            sum_blocks = eqx.Partial(stages.sum_blocks, self._chunk)
            partial_sums = self._devices.over(sum_blocks, (self._chunk,), (gradients, local))
            for part in by_device(self._devices, partial_sums)[: (goal // 2 - start) // self._chunk]:
                self._add(jax.tree.map(np.asarray, part))
                self.replicates += 2 * self._chunk
            if self._plan.rehearsal:
                return
            if self._work.on_progress is not None:
                self._work.on_progress(self.replicates, goal)
        check_finite(self._plan, self.sums)

    def _add(self, part: stages.Sums) -> None:
        """Add the pairs of a chunk, each a block of its own yet."""
        self._pending.append(part)
        pairs = self._chunk * len(self._pending)
        if pairs < self._block:
            return
        self._parts.append(_merged(_joined(self._pending), self._block))
        self._pending = []
        if sum(len(p.count) for p in self._parts) >= self._limit:
            self._parts = [_merged(_joined(self._parts), 2)]
            self._block *= 2


def _power_of_two(number: int) -> int:
    """The largest one that is no larger."""
    return 1 << (int(number).bit_length() - 1)


def _joined(parts: list[stages.Sums]) -> stages.Sums:
    """Sums over the blocks of all parts, in their order; the block is the second axis, of the counts the only one."""
    return jax.tree.map(lambda *arrays: np.concatenate(arrays, min(1, arrays[0].ndim - 1)), *parts)


def _merged(sums: stages.Sums, number: int) -> stages.Sums:
    """Put so many neighbouring blocks together."""

    def merge(x: np.ndarray) -> np.ndarray:
        axis = min(1, x.ndim - 1)
        return x.reshape(*x.shape[:axis], -1, number, *x.shape[axis + 1 :]).sum(axis + 1)

    return sums if number == 1 else jax.tree.map(merge, sums)
