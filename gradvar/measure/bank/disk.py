"""A score bank on disk, always in shards: each of consecutive prompts, in a folder that is whole or not there.

    folder/run.json                               what is recorded: prompts, shard size, seed, digests of parameters
    folder/shard-00000/manifest.json              format, how it was recorded, shapes, sha256 of every file
    folder/shard-00000/rollouts.safetensors       prompts, completions, rewards, masks, log-probabilities
    folder/shard-00000/rows.safetensors           the basis
    folder/shard-00000/scores.safetensors         what is kept of the rows' scores
    folder/.lock                                  held by the process that writes

A bank that was saved is one shard. A shard's content depends on the seed and on the numbers of its prompts only, and
its manifest names the run and the prompts, so that one that was copied to another's place is noticed. No pickle,
nothing is executed. Only the prompts that are asked for are read, apart from the check of the files; whatever the files
hold, reading them takes no more memory than they are long, and ends with a recording or with one ``ValueError``.
"""

import json
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gradvar.files.atomic import Lock, read_json, remove_parts, write_file, write_folder, writing
from gradvar.files.fingerprint import digest, fingerprint
from gradvar.measure.bank.data import BasisRows, Recording, Rollouts
from gradvar.measure.bank.scores import scores_of
from gradvar.measure.bank.shard_files import read_shard, write_shard

_NAME = "shard-{:05d}"
_MAX_SHARDS = 1 << 20
_GIVE = "give a folder that ScoreBank.save or record(folder=...) wrote"
_FILLED = {"vectors": (1,), "gram": (1, 2), "truth": (1,)}  # axes of rows, of which shards may have fewer


@dataclass(frozen=True)
class ShardLayout:
    """How the prompts of a run lie in shards; ``run``: its fingerprint."""

    folder: Path
    prompts: int
    shard: int
    run: str
    is_saved: bool = False

    @property
    def count(self) -> int:
        """Shards of the whole run."""
        return -(-self.prompts // self.shard)

    @property
    def fix(self) -> str:
        """The advice where a shard is damaged."""
        if self.is_saved:
            return "copy the whole folder again, or record the bank again"
        return "record it again: the same call records what is missing, and nothing else"

    def range(self, number: int) -> tuple[int, int]:
        """The first prompt of a shard, and the one after its last."""
        return number * self.shard, min(self.prompts, (number + 1) * self.shard)

    def path(self, number: int) -> Path:
        """The folder of a shard."""
        return self.folder / _NAME.format(number)

    def written(self) -> list[int]:
        """The numbers of the shards that are on disk, whole or damaged."""
        return [i for i in range(self.count) if self.path(i).is_dir()]

    def write(self, number: int, recording: Recording) -> None:
        """Write a shard, so that it is there whole or not at all."""
        marked = replace(recording, info={**recording.info, "shard": self._mark(number)})
        write_folder(self.path(number), lambda path: write_shard(marked, path))

    def read(self, number: int, prompts: slice | None = None) -> Recording:
        """Read a shard, or a range of its prompts.

        Raises:
            ValueError: It is damaged, or is another shard.
        """
        try:
            recording = read_shard(self.path(number), prompts)
        except ValueError as error:
            reason = str(error).removeprefix("folder: ").rsplit(";", 1)[0]
            raise ValueError(f"folder: {reason}; {self.fix}") from None
        if recording.info.get("shard") != self._mark(number):
            raise ValueError(f"folder: {self.path(number)} holds a shard of another place or run; {self.fix}")
        return recording

    def remove(self, number: int) -> None:
        """Make room for a shard that was damaged."""
        shutil.rmtree(self.path(number), ignore_errors=True)

    def _mark(self, number: int) -> dict[str, Any]:
        return {"run": self.run, "number": number, "prompts": list(self.range(number))}


def layout_of(folder: Path) -> ShardLayout:
    """Read the layout from ``run.json``; ``ValueError`` where that is missing or damaged."""
    if not (folder / "run.json").is_file():
        raise ValueError(f"folder: {folder} has no run.json; {_GIVE}")
    run = read_json(folder / "run.json", "folder", _GIVE)
    prompts, shard = (n if type(n) is int and n > 0 else 0 for n in (run.get("prompts"), run.get("shard")))
    if not shard or not prompts or prompts // shard > _MAX_SHARDS:
        raise ValueError(f"folder: {folder}/run.json is of no score bank; {_GIVE}")
    return ShardLayout(folder, prompts, shard, fingerprint(run), is_saved="saved" in run)


def save(recording: Recording, folder: Path) -> Path:
    """Write a recording to ``folder``, which is made, as one shard; it replaces one that was saved there.

    ``run.json`` comes last, so that a torn write is noticed. Raises ``ValueError`` where the folder holds a recording
    in shards, or where the disk is full or cannot be written.
    """
    size = recording.rollouts.shape[0]
    content = {"rollouts": recording.rollouts.arrays(), "basis": recording.rows.basis}
    run = {"saved": digest(content), "prompts": size, "shard": size}
    layout = ShardLayout(folder, size, size, fingerprint(run), is_saved=True)
    with Lock(folder, "folder"), writing(folder, "folder"):
        if (folder / "run.json").exists():
            if not layout_of(folder).is_saved:
                raise ValueError(f"folder: {folder} holds a recording in shards; give another folder")
            (folder / "run.json").unlink()
        remove_parts(folder)
        layout.remove(0)
        info = {n: x for n, x in recording.info.items() if n != "shards"}
        layout.write(0, replace(recording, info=info))
        write_file(folder / "run.json", (json.dumps(run, indent=1) + "\n").encode())
    return folder


def load(folder: Path, prompts: slice | None = None) -> Recording:
    """Read a recording, or a contiguous range of its prompts; a warning says if shards are missing.

    Args:
        folder: What ``save`` or ``record(folder=...)`` wrote.
        prompts: A range of the prompts that are there (None: all).

    Raises:
        ValueError: The folder holds no bank, or a file is not what was written.
    """
    layout = layout_of(folder)
    written = layout.written()
    if not written:
        raise ValueError(f"folder: {folder} holds no finished shard yet; {layout.fix}")
    if len(written) < layout.count:
        warnings.warn(
            f"folder: {folder} holds {len(written)} of {layout.count} shards; the bank is of their prompts only, and "
            "the call that recorded them records the others",
            stacklevel=3,
        )
    sizes = [end - first for first, end in map(layout.range, written)]
    wanted = prompt_range(prompts, sum(sizes))
    ends = np.cumsum(sizes)
    parts = []
    for number, size, end in zip(written, sizes, ends.tolist(), strict=True):
        low, high = max(wanted.start, end - size), min(wanted.stop, end)
        if low < high:
            within = slice(low - (end - size), high - (end - size))
            parts.append(layout.read(number, within))
    joined = join(parts)
    info = {**joined.info, "shards": {"there": len(written), "of": layout.count}}
    return replace(joined, info={n: x for n, x in info.items() if n != "shard"})


def prompt_range(prompts: slice | None, size: int) -> slice:
    """A range of ``size`` prompts, all of them by default; ``ValueError`` where it is empty or has gaps."""
    wanted = slice(0, size) if prompts is None else slice(*prompts.indices(size))
    if len(range(*wanted.indices(size))) == 0 or (wanted.step or 1) != 1:
        raise ValueError(f"prompts: {prompts} of {size}; give a range such as slice(0, 8)")
    return wanted


def join(parts: Sequence[Recording]) -> Recording:
    """Join recordings of different prompts, recorded alike; products across them only where vectors are kept."""
    first = parts[0]
    if len(parts) == 1:
        return first
    rollouts, scores = [x.rollouts.arrays() for x in parts], [x.scores.arrays() for x in parts]
    if any(set(x) != set(rollouts[0]) for x in rollouts) or any(set(x) != set(scores[0]) for x in scores):
        raise ValueError("folder: its shards do not hold the same arrays; record all of it again")
    if "cross" in scores[0]:
        raise ValueError("folder: its shards hold no products across them; record all of it again")
    joined = {n: jax.tree.map(lambda *x: np.concatenate(x), *(r[n] for r in rollouts)) for n in rollouts[0]}
    basis = _stacked([x.rows.basis for x in parts], (2,))
    rows, arrays = BasisRows.of(basis), {}
    for name in scores[0]:
        pieces = [x[name] for x in scores]
        arrays[name] = pieces[0] if name == "true_gradient" else _stacked(pieces, _FILLED[name])
    seconds = {n: sum(x.info.get("seconds", {}).get(n, 0.0) for x in parts) for n in ("sample", "scores")}
    info = {**first.info, "rows": rows.count, "basis": int(basis.shape[2]), "seconds": seconds}
    joined_scores = scores_of(arrays, str(first.info.get("map")))
    return Recording(Rollouts(**joined), rows, joined_scores, first.drawn, first.tolerance, info)


def _stacked(parts: Sequence[np.ndarray], axes: tuple[int, ...]) -> np.ndarray:
    """Concatenate along the first axis, filled up with zeros along ``axes``."""
    sizes = {axis: max(x.shape[axis] for x in parts) for axis in axes}

    def filled(x: np.ndarray) -> np.ndarray:
        room = [(0, sizes.get(axis, length) - length) for axis, length in enumerate(x.shape)]
        return np.pad(x, room) if any(after for _, after in room) else x

    return np.concatenate([filled(x) for x in parts])
