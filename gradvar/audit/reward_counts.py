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

_KEEP = 1 << 19  # rows that may wait before they are added up


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
            "prompt": pa.array(rows.prompt),
            "reward": pa.array(rows.reward),
            "n": pa.array(np.ones(len(rows.step), np.int64)),
        }
        if rows.group is not None:
            columns["group"] = pa.array(rows.group)
        for role, value in rows.optional.items():
            lacking = np.isnan(value)
            known = pa.array(value, mask=lacking)
            columns |= {role: known, f"{role}_n": pa.array((~lacking).astype(np.int64))}
            if role == "advantage":
                columns |= {"low": known, "high": known}
        part = _added_up(pa.table(columns))
        self._waiting.append(part)
        self._count += part.num_rows
        if self._count > max(_KEEP, 0 if self._whole is None else self._whole.num_rows):
            self._merge()

    def _merge(self) -> None:
        parts = [*([] if self._whole is None else [self._whole]), *self._waiting]
        self._whole, self._waiting, self._count = None, [], 0
        # Files may have different columns: what a part lacks is missing there, and adds nothing.
        self._whole = _added_up(pa.concat_tables(parts, promote_options="default"))
        pa.default_memory_pool().release_unused()

    def cells(self) -> Cells:
        """All that was added, once; ``ValueError`` if that is nothing."""
        if self._waiting:
            self._merge()
        if self._whole is None:
            raise ValueError("rows: none")
        table, self._whole = self._whole, None
        if self.grouped and table["group"].null_count:
            raise ValueError(
                "files: some have a column for the group and some have none; audit them apart, or name one with --group"
            )
        arrays = {name: table[name].to_numpy() for name in table.column_names}
        if not self.grouped:  # rollouts without a group of their own are grouped by their prompt
            arrays["group"] = arrays["prompt"]
        order = np.lexsort([arrays[k] for k in ("prompt", "reward", "group", "step")])
        none = np.broadcast_to(0, len(order))
        sums = {name: arrays[name][order] if name in arrays else none for name in _SUMS}
        sums = {name: np.nan_to_num(value) if value.dtype == float else value for name, value in sums.items()}
        ends = {
            name: arrays[name][order] if name in arrays else np.broadcast_to(np.nan, len(order))
            for name in ("low", "high")
        }
        keys = {name: arrays[name][order] for name in ("step", "prompt", "reward")}
        group = arrays["group"][order] if self.grouped else keys["prompt"]
        return Cells(**keys, **sums, **ends, group=group, grouped=self.grouped)


_KEYS = ("step", "group", "prompt", "reward")
_SUMS = ("n", "advantage", "advantage_n", "length", "length_n", "logp", "logp_n")


def _added_up(table: pa.Table) -> pa.Table:
    have = table.column_names
    wanted = [(name, "sum") for name in _SUMS if name in have]
    wanted += [(name, how) for name, how in (("low", "min"), ("high", "max")) if name in have]
    found = table.group_by([k for k in _KEYS if k in have], use_threads=False).aggregate(wanted)
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

    @cached_property
    def steps(self) -> tuple[np.ndarray, np.ndarray]:
        """The steps, ascending, and which of them each group is of; groups are sorted by step."""
        fresh = np.diff(self.step, prepend=self.step[0] - 1) != 0
        return self.step[fresh], np.cumsum(fresh) - 1

    @cached_property
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
            most = int(cells.prompt.max()) + 1
            prompts = np.bincount(np.unique(of_cell * most + cells.prompt) // most, minlength=len(start))
        last = np.append(start[1:], len(fresh)) - 1
        return cls(
            start, of_cell, cells.step[start], cells.prompt[start], prompts, size,
            cells.reward[start], cells.reward[last], mean,
        )  # fmt: skip

    def sum(self, values: Float[np.ndarray, " cell"]) -> Float[np.ndarray, " group"]:
        """Sums over each group's cells."""
        return np.add.reduceat(values, self.start)
