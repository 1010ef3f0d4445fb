"""What is kept of the rollouts: one cell for each reward that occurs in a group, with how often it does.

Rollouts stream in and are added up by (step, group, prompt, reward), so memory grows with the number of distinct such
cells (two for a group of binary rewards, whatever its size), not with the text that the dump holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from gradvar.audit.clean import Rows

_KEEP = 1 << 20  # rows that may wait before they are added up


class Tally:
    """Adds rollouts up as they come."""

    def __init__(self) -> None:
        self.rows = 0
        self.grouped = False
        self._whole: pa.Table | None = None
        self._waiting: list[pa.Table] = []
        self._count = 0

    def add(self, rows: Rows) -> None:
        """Add some rows."""
        if not len(rows.step):
            return
        self.rows += len(rows.step)
        self.grouped |= rows.group is not None
        columns: dict[str, pa.Array] = {
            "step": pa.array(rows.step),
            # Rollouts without a group of their own are grouped by their prompt.
            "group": pa.array(rows.prompt if rows.group is None else rows.group),
            "prompt": pa.array(rows.prompt),
            "reward": pa.array(rows.reward),
            "n": pa.array(np.ones(len(rows.step), np.int64)),
        }
        for role in ("advantage", "length", "logp"):
            value = rows.optional.get(role, np.full(len(rows.step), np.nan))
            known = pa.array(value, mask=np.isnan(value))
            columns |= {role: known, f"{role}_n": pa.array((~np.isnan(value)).astype(np.int64))}
        columns |= {"low": columns["advantage"], "high": columns["advantage"]}
        part = _added_up(pa.table(columns))
        self._waiting.append(part)
        self._count += part.num_rows
        if self._count > max(_KEEP, 0 if self._whole is None else self._whole.num_rows):
            self._merge()

    def _merge(self) -> None:
        parts = [*([] if self._whole is None else [self._whole]), *self._waiting]
        self._whole, self._waiting, self._count = _added_up(pa.concat_tables(parts)), [], 0

    def cells(self) -> Cells:
        """All that was added; ``ValueError`` if that is nothing."""
        if self._waiting:
            self._merge()
        if self._whole is None:
            raise ValueError("rows: none")
        arrays = {name: self._whole[name].to_numpy() for name in self._whole.column_names}
        order = np.lexsort([arrays[k] for k in ("prompt", "reward", "group", "step")])
        return Cells(**{name: value[order] for name, value in arrays.items()}, grouped=self.grouped)


_SUMS = ("n", "advantage", "advantage_n", "length", "length_n", "logp", "logp_n")


def _added_up(table: pa.Table) -> pa.Table:
    keys = ["step", "group", "prompt", "reward"]
    wanted = [*((name, "sum") for name in _SUMS), ("low", "min"), ("high", "max")]
    found = table.group_by(keys, use_threads=False).aggregate(wanted)
    return found.rename_columns([name.removesuffix("_sum").removesuffix("_min").removesuffix("_max")
                                 for name in found.column_names])  # fmt: skip


@dataclass(frozen=True, eq=False)
class Cells:
    """Distinct (step, group, reward, prompt), sorted by them; ``n`` rollouts each. ``advantage``, ``length`` and
    ``logp`` are sums over the ``*_n`` rollouts that have one; ``low`` and ``high`` are the least and the largest
    advantage."""

    step: Int[np.ndarray, " cell"]
    group: Int[np.ndarray, " cell"]
    prompt: Int[np.ndarray, " cell"]
    reward: Float[np.ndarray, " cell"]
    n: Int[np.ndarray, " cell"]
    advantage: Float[np.ndarray, " cell"]
    advantage_n: Int[np.ndarray, " cell"]
    length: Float[np.ndarray, " cell"]
    length_n: Int[np.ndarray, " cell"]
    logp: Float[np.ndarray, " cell"]
    logp_n: Int[np.ndarray, " cell"]
    low: Float[np.ndarray, " cell"]
    high: Float[np.ndarray, " cell"]
    grouped: bool

    @cached_property
    def groups(self) -> Groups:
        """The groups that the cells form."""
        return Groups.of(self)


@dataclass(frozen=True, eq=False)
class Groups:
    """Each (step, group): its first cell, its ``size`` in rollouts and its rewards. ``of_cell`` is each cell's group;
    ``prompt`` is that of the group's first cell, and ``prompts`` how many it has."""

    start: Int[np.ndarray, " group"]
    of_cell: Int[np.ndarray, " cell"]
    step: Int[np.ndarray, " group"]
    prompt: Int[np.ndarray, " group"]
    prompts: Int[np.ndarray, " group"]
    size: Int[np.ndarray, " group"]
    low: Float[np.ndarray, " group"]
    high: Float[np.ndarray, " group"]
    mean: Float[np.ndarray, " group"]

    @property
    def equal(self) -> np.ndarray:
        """Whether all rewards of the group are the same number, exactly: [group].

        Not whether a standard deviation is small: that of eight times 0.1 is 1e-17, and small rewards that differ are
        no equal rewards.
        """
        return self.low == self.high

    @property
    def by_rounding(self) -> np.ndarray:
        """Whether the rewards differ, but by no more than single precision resolves: [group]."""
        largest = np.maximum(np.abs(self.low), np.abs(self.high))
        return ~self.equal & (self.high - self.low <= 1e-6 * largest)

    @classmethod
    def of(cls, cells: Cells) -> Groups:
        """The groups of sorted cells."""
        fresh = np.ones(len(cells.step), bool)
        fresh[1:] = (cells.step[1:] != cells.step[:-1]) | (cells.group[1:] != cells.group[:-1])
        start = np.flatnonzero(fresh)
        of_cell = np.cumsum(fresh) - 1
        size = np.add.reduceat(cells.n, start)
        first = cells.reward[start]
        # Means are taken from the first reward on, so that equal rewards have exactly themselves as mean.
        mean = first + np.add.reduceat(cells.n * (cells.reward - first[of_cell]), start) / size
        prompts = np.ones(len(start), np.int64)
        if cells.grouped:
            pairs = np.unique(np.stack([of_cell, cells.prompt]), axis=1)
            prompts = np.bincount(pairs[0], minlength=len(start))
        last = np.append(start[1:], len(fresh)) - 1
        return cls(
            start, of_cell, cells.step[start], cells.prompt[start], prompts, size,
            cells.reward[start], cells.reward[last], mean,
        )  # fmt: skip

    def sum(self, values: Float[np.ndarray, " cell"]) -> Float[np.ndarray, " group"]:
        """Sums over each group's cells."""
        return np.add.reduceat(values, self.start)
