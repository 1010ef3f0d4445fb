"""Shards of a score bank on disk: each a bank of consecutive prompts, in a folder that is whole or not there.

    folder/run.json               what is recorded: prompts, rollouts, shard size, seed, digests of parameters
    folder/shard-00000/           a bank (see ``store``), renamed to this name when all of it was on disk
    folder/.lock                  held by the process that writes

A shard's content depends on the seed and on the numbers of its prompts only, and its manifest says of which run and of
which prompts it is, so that one that was copied to another's place is noticed.
"""

from __future__ import annotations

import dataclasses
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gradvar.files.atomic import read_json, write_folder
from gradvar.files.fingerprint import fingerprint
from gradvar.measure.bank.bank import Rows, ScoreBank, Scores
from gradvar.measure.bank.disk import load, save, taken
from gradvar.measure.bank.sample import Pool

AGAIN = "record it again: the same call records what is missing, and nothing else"
_NAME = "shard-{:05d}"
_MOST = 1 << 20  # shards of a run


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the prompts of a run lie in shards."""

    folder: Path
    prompts: int
    shard: int
    run: str

    @property
    def count(self) -> int:
        """Shards of the whole run."""
        return -(-self.prompts // self.shard)

    def range(self, number: int) -> tuple[int, int]:
        """The first prompt of a shard, and the one after its last."""
        return number * self.shard, min(self.prompts, (number + 1) * self.shard)

    def path(self, number: int) -> Path:
        """A shard's folder."""
        return self.folder / _NAME.format(number)

    def there(self) -> list[int]:
        """The numbers of the shards that are there, whole or damaged."""
        return [i for i in range(self.count) if self.path(i).is_dir()]

    def keep(self, number: int, bank: ScoreBank) -> None:
        """Write a shard, so that it is there whole or not at all."""
        mark = {"run": self.run, "number": number, "prompts": list(self.range(number))}
        marked = dataclasses.replace(bank, info={**bank.info, "shard": mark})
        write_folder(self.path(number), lambda path: save(marked, path))

    def read(self, number: int, prompts: slice | None = None, verify: bool = True) -> ScoreBank:
        """A shard, or a range of its prompts. Raises ``ValueError`` where it is damaged, or is another one."""
        try:
            found = load(self.path(number), prompts, verify)
        except ValueError as error:
            what = str(error).removeprefix("folder: ").rsplit(";", 1)[0]
            raise ValueError(f"folder: {what}; {AGAIN}") from None
        mark = {"run": self.run, "number": number, "prompts": list(self.range(number))}
        if found.info.get("shard") != mark:
            raise ValueError(f"folder: {self.path(number)} holds a shard of another place or run; {AGAIN}")
        return found

    def remove(self, number: int) -> None:
        """Make room for a shard that was damaged."""
        shutil.rmtree(self.path(number), ignore_errors=True)


def layout(folder: Path) -> Layout:
    """From ``run.json``. Raises ``ValueError`` where that is damaged."""
    run = read_json(folder / "run.json", "folder", "give a folder that record_long wrote")
    prompts, shard = (n if type(n) is int and n > 0 else 0 for n in (run.get("prompts"), run.get("shard")))
    if not shard or not prompts or prompts // shard > _MOST:
        raise ValueError(
            f"folder: {folder}/run.json is of no score bank in shards; give a folder that record_long wrote"
        )
    return Layout(folder, prompts, shard, fingerprint(run))


def load_shards(folder: Path, prompts: slice | None, verify: bool) -> ScoreBank:
    """All shards that are there as one bank; a warning says how many are missing."""
    lies = layout(folder)
    there = lies.there()
    if not there:
        raise ValueError(f"folder: {folder} holds no finished shard yet; {AGAIN}")
    if len(there) < lies.count:
        warnings.warn(
            f"folder: {folder} holds {len(there)} of {lies.count} shards; the bank is of their prompts only, and the "
            "call that recorded them records the others",
            stacklevel=4,
        )
    sizes = [b - a for a, b in map(lies.range, there)]
    take = taken(prompts, sum(sizes))
    ends = np.cumsum(sizes)
    banks = []
    for number, size, end in zip(there, sizes, ends.tolist(), strict=True):
        begin = end - size
        low, high = max(take.start, begin) - begin, min(take.stop, end) - begin
        if low < high:
            banks.append(lies.read(number, slice(low, high), verify))
    found = joined(banks)
    info = {**found.info, "shards": {"there": len(there), "of": lies.count}}
    return dataclasses.replace(found, info={n: x for n, x in info.items() if n != "shard"})


def joined(banks: Sequence[ScoreBank]) -> ScoreBank:
    """Banks of different prompts, recorded alike, as one; products across them only where vectors are kept."""
    one = banks[0]
    if any(set(b.pool.arrays()) != set(one.pool.arrays()) for b in banks) or any(
        set(_arrays(b)) != set(_arrays(one)) for b in banks
    ):
        raise ValueError("folder: its shards do not hold the same arrays; record all of it again")
    pools = [b.pool.arrays() for b in banks]
    pool = {n: jax.tree.map(lambda *x: np.concatenate(x), *(p[n] for p in pools)) for n in pools[0]}
    basis = _stacked([b.rows.basis for b in banks], (2,))
    rows, found = Rows.of(basis), {}
    for name in _arrays(one):
        parts = [_arrays(b)[name] for b in banks]
        if name == "true_gradient":
            found[name] = parts[0]
        else:
            found[name] = _stacked(parts, {"vectors": (1,), "gram": (1, 2), "truth": (1,)}[name])
    seconds = {n: sum(b.info.get("seconds", {}).get(n, 0.0) for b in banks) for n in ("sample", "scores")}
    info: Mapping[str, Any] = {
        **one.info, "rows": rows.count, "basis": int(basis.shape[2]), "seconds": seconds
    }  # fmt: skip
    return ScoreBank(Pool(**pool), rows, Scores(**found), one.drawn, one.tolerance, info)


def _arrays(bank: ScoreBank) -> dict[str, np.ndarray]:
    return {n: x for n, x in vars(bank.scores).items() if x is not None}


def _stacked(parts: Sequence[np.ndarray], axes: tuple[int, ...]) -> np.ndarray:
    """Side by side along the first axis, filled up with zeros along ``axes``."""
    most = {a: max(x.shape[a] for x in parts) for a in axes}

    def filled(x: np.ndarray) -> np.ndarray:
        room = [(0, most.get(a, x.shape[a]) - x.shape[a]) for a in range(x.ndim)]
        return np.pad(x, room) if any(after for _, after in room) else x

    return np.concatenate([filled(x) for x in parts])
