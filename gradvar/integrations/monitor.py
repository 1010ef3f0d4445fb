"""``Monitor``: what a training's own rewards and log-probabilities say about its groups, as numbers to log.

Every figure is one that the audit of dumps, the statistics or the advice compute; this file keeps the last steps and
names the numbers as trainers do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from gradvar.audit.mismatch import mismatch
from gradvar.audit.token_logps import TokenLogps
from gradvar.core.checks import at_least
from gradvar.stats.clusters import Clusters
from gradvar.stats.effective import effective_number
from gradvar.stats.groups import unequal_share
from gradvar.stats.intervals import Interval

SIZES = (2, 4, 8, 16, 32)
DIRECTIONS = {1: "Raise G", 0: "Cannot be told", -1: "Lower G"}


class Monitor:
    """The last steps of a training, and what they say about its groups.

    Args:
        group_sizes: At which the share of groups with a signal is expected, up to the size in use.
        window: Steps that are remembered.
        prefix: Of the names of the numbers.

    >>> monitor = Monitor(group_sizes=(2, 4))
    >>> monitor.rewards(np.array([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]))
    >>> monitor.metrics()["gradvar/frac_reward_zero_std"]
    0.5
    >>> monitor.metrics()["gradvar/groups_with_signal/G=2"]
    0.25
    """

    def __init__(
        self, group_sizes: Sequence[int] = SIZES, window: int = 50, prefix: str = "gradvar/"
    ) -> None:
        at_least("window", window, 1)
        at_least("group_sizes", min(group_sizes), 2)
        self.group_sizes, self.prefix = tuple(group_sizes), prefix
        self._rewards: deque[tuple[np.ndarray, list[Any]]] = deque(maxlen=window)
        self._ratios: deque[list[np.ndarray]] = deque(maxlen=window)
        self._noise: dict[str, float] = {}
        self._optimum: Interval | None = None
        self._groups = 0

    def rewards(self, rewards: Float[np.ndarray, "prompt rollout"], prompts: Sequence[Any] = ()) -> None:
        """Take the rewards of a step.

        Args:
            rewards: A row for each group; groups with a reward that is not finite are left out.
            prompts: What tells the prompts apart, one for each group: a prompt that comes again is then one cluster.
                Without them every group is a prompt of its own.
        """
        rows = np.asarray(rewards, np.float64)
        if rows.ndim != 2 or rows.shape[1] < 2:
            raise ValueError(f"rewards: shape {rows.shape}; give [prompt, rollout] with 2 rollouts or more")
        if len(prompts) not in (0, len(rows)):
            raise ValueError(f"prompts: {len(prompts)} for {len(rows)} groups; give one for each, or none")
        names = [str(name) for name in prompts] or [f"group {self._groups + i}" for i in range(len(rows))]
        self._groups += len(rows)
        good = np.isfinite(rows.sum(1))  # [group]
        if good.any():
            self._rewards.append((rows[good], [names[i] for i in np.flatnonzero(good)]))

    def log_ratios(self, trainer: Any, engine: Any, mask: Any) -> None:
        """Take a step's log-probabilities of drawn tokens, by the trainer and by the engine that drew them.

        Args:
            trainer: [rollout, time].
            engine: [rollout, time].
            mask: [rollout, time], true where a token counts.
        """
        apart = np.asarray(trainer, np.float64) - np.asarray(engine, np.float64)
        rows = [row[np.asarray(kept, bool)] for row, kept in zip(apart, list(np.asarray(mask)), strict=True)]
        self._ratios.append([row for row in rows if len(row) and np.isfinite(row).all()])

    def scores(self, bank: Any) -> None:
        """Take a score bank of rollouts that the current weights have drawn (``gradvar.torch.record``).

        Raises ``ValueError`` where the bank has fewer than three prompts.
        """
        from gradvar.measure.advise.group_size import advise

        total, _ = bank.summary().budget()
        sizes = sorted({*self.group_sizes, bank.rollouts.shape[1]})
        self._noise = {
            f"snr_per_rollout/G={size}": float(total.signal / total.variance(size)) / size for size in sizes
        }
        self._optimum = advise(bank, group_sizes=sizes).optimum
        self._noise["best_group_size"] = self._optimum.value
        self._noise["best_group_size_low"] = self._optimum.low
        self._noise["best_group_size_high"] = self._optimum.high

    @property
    def group_size(self) -> int:
        """The size of the last step's groups; 0 before the first step."""
        return self._rewards[-1][0].shape[1] if self._rewards else 0

    def direction(self) -> int:
        """1: raise G, -1: lower it, for leave-one-out's variance at a fixed number of rollouts; 0: it cannot be told.

        Only scores can tell: G is raised where the whole interval of the best size lies above it, lowered where it
        lies below.
        """
        optimum, size = self._optimum, self.group_size
        if optimum is None or not size or not optimum.known:
            return 0
        return 1 if optimum.low > size else -1 if max(optimum.high, 2.0) < size else 0

    def advice(self) -> str:
        """What the numbers say about the group size, in a sentence."""
        if not self._rewards:
            return "No rewards were given yet."
        share = self.without_signal()
        text = f"{share.percent()} of groups of {self.group_size} have equal rewards and no signal."
        if self._optimum is None:
            return f"{text} Whether to raise or lower G cannot be told from rewards; it needs scores."
        value, words = self._optimum.value, self._optimum.words(".1f")
        best = f"{value:.1f} ({words})" if np.isfinite(value) else f"not known ({words})"
        if (direction := self.direction()) == 0:
            return f"{text} Whether to raise or lower G cannot be told from these prompts: the best size is {best}."
        return f"{text} {DIRECTIONS[direction]}: the best size is {best}."

    def without_signal(self) -> Interval:
        """The share of the remembered groups whose rewards are equal, with its interval over prompts."""
        equal = np.concatenate([(rows == rows[:, :1]).all(1) for rows, _ in self._rewards]).astype(float)
        return Clusters(self._numbered()).share(equal)

    def _numbered(self) -> np.ndarray:
        names = [name for _, step in self._rewards for name in step]
        return np.unique(names, return_inverse=True)[1]

    def metrics(self) -> dict[str, float]:
        """The numbers of the remembered steps by name; empty before the first."""
        if not self._rewards:
            return {}
        share, last = self.without_signal(), self._rewards[-1][0]
        spread = ((last - last.mean(1, keepdims=True)) ** 2).sum(1)
        numbers = {
            "frac_reward_zero_std": share.value,
            "frac_reward_zero_std_low": share.low,
            "frac_reward_zero_std_high": share.high,
            "effective_groups": float(effective_number(spread)),
        }
        for size in self.group_sizes:
            chances = [unequal_share(rows, size) for rows, _ in self._rewards if rows.shape[1] >= size]
            if chances:
                numbers[f"groups_with_signal/G={size}"] = float(np.concatenate(chances).mean())
        logps = TokenLogps()
        logps.log_ratios = [row for step in self._ratios for row in step]
        if (engine := mismatch(logps)) is not None:
            by_name = {figures.name: figures for figures in engine.corrections}
            numbers["mismatch_nats_per_token"] = engine.divergence
            numbers["effective_sample_size/tokens"] = by_name["token weights"].effective
            numbers["effective_sample_size/rollouts"] = by_name["rollout weights"].effective
        numbers |= self._noise
        if self._optimum is not None:
            numbers["raise_or_lower_G"] = float(self.direction())
        return {self.prefix + name: value for name, value in numbers.items() if np.isfinite(value)}
