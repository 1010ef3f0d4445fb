"""A run's folder: one run at a time, of one configuration, with checkpoints that are whole or not there.

    run.json          what the run is; another configuration is refused
    checkpoints/N     Orbax, the state of all seeds and the facts so far; the newest two are kept
    metrics.jsonl     a line per seed and step, and per seed and evaluation
    tensorboard/      the means over seeds

A checkpoint is reported as saved after Orbax has renamed it into place, and the lines that belong to it are on disk
before. What was written after the last checkpoint is cut off when the run goes on from it, and written again.
"""

import importlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from gradvar.files.atomic import write_file

Row = Mapping[str, Any]


def needed(module: str, package: str) -> Any:
    """Import a module of the ``train`` extra; ``ValueError`` with the fix where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ValueError(
            f"train: {package} is not installed; pip install orbax-checkpoint tensorboardX, or keep nothing on disk "
            "(folder=None)"
        ) from None


class Metrics:
    """Rows on disk as JSON lines, and the scalars of TensorBoard."""

    def __init__(self, folder: Path, saved: int, step: int) -> None:
        """Keep the rows of chunks up to ``saved``; TensorBoard drops what came after ``step``."""
        self._path = folder / "metrics.jsonl"
        rows = [line for line in _lines(self._path) if json.loads(line)["chunk"] <= saved]
        write_file(self._path, "".join(line + "\n" for line in rows).encode())
        self._file = self._path.open("a")
        writer = needed("tensorboardX", "tensorboardX").SummaryWriter
        self._board = writer(str(folder / "tensorboard"), purge_step=step + 1 if step else None)

    def rows(self, rows: Sequence[Row]) -> None:
        """Append rows, each with its ``chunk``; not-a-number becomes null."""
        self._file.write("".join(json.dumps(_plain(row)) + "\n" for row in rows))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Show values at a step in TensorBoard."""
        for name, value in values.items():
            if np.isfinite(value):
                self._board.add_scalar(name, value, step)

    def flush(self) -> None:
        """Put everything written so far on disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._board.flush()

    def require_present(self) -> None:
        """Raise ``ValueError`` where the folder was removed or replaced: a checkpoint in it would be of no run."""
        try:
            same = os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        except FileNotFoundError:
            same = False
        if not same or not (self._path.parent / "run.json").exists():
            raise ValueError(
                f"out: {self._path.parent} was removed or replaced while the run wrote to it; do the same again, in a "
                "folder that stays"
            )

    def close(self) -> None:
        """Flush and close the files."""
        self.flush()
        self._file.close()
        self._board.close()


def _lines(path: Path) -> list[str]:
    """Return the complete lines of a file; a last one without its end was cut off by a crash."""
    if not path.exists():
        return []
    return path.read_text().split("\n")[:-1]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(inside) for name, inside in value.items()}
    if isinstance(value, float | np.floating):
        return float(f"{value:.7g}") if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


class Checkpoints:
    """States of all seeds with plain facts, by number, kept by Orbax."""

    def __init__(self, folder: Path) -> None:
        self._orbax = needed("orbax.checkpoint", "orbax-checkpoint")
        # Saving waits until the checkpoint is in its place: what is reported as saved is saved.
        options = self._orbax.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
        self._manager = self._orbax.CheckpointManager((folder / "checkpoints").absolute(), options=options)

    def save(self, number: int, states: PyTree, facts: Mapping[str, Any]) -> None:
        """Save states and facts as ``number``."""
        args = self._orbax.args
        arrays = {name: np.asarray(leaf) for name, leaf in _named(states).items()}
        self._manager.save(
            number,
            args=args.Composite(state=args.StandardSave(arrays), facts=args.JsonSave(dict(facts))),
        )

    def restore(self, like: PyTree) -> tuple[PyTree, dict[str, Any]] | None:
        """Return the newest states, in the shape of ``like``, and their facts; None where there are none."""
        number = self._manager.latest_step()
        if number is None:
            return None
        args = self._orbax.args
        shapes = {name: np.zeros(leaf.shape, leaf.dtype) for name, leaf in _named(like).items()}
        try:
            restored = self._manager.restore(
                number, args=args.Composite(state=args.StandardRestore(shapes), facts=args.JsonRestore())
            )
        except Exception as error:  # whatever its readers raise on files that were damaged
            place = self._manager.directory / str(number)
            raise ValueError(
                f"out: checkpoint {place} cannot be read ({type(error).__name__}); remove it to go on from the one "
                "before it, or give another folder"
            ) from error
        leaves = [restored["state"][name] for name in shapes]
        return jax.tree.unflatten(jax.tree.structure(like), leaves), restored["facts"]

    def close(self) -> None:
        """Close the folder of checkpoints."""
        self._manager.close()


def _named(tree: PyTree) -> dict[str, Any]:
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
