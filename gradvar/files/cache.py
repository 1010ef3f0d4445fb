"""Measured moments on disk, named by all that made them, so that a sweep goes on where it was.

A file is there whole or not at all, and says of what it is; one that is damaged is measured again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from gradvar.core.moments import Moments
from gradvar.files.atomic import Lock, remove_parts, write_file, writing

_ARRAYS = ("mean", "mean_se", "true_gradient")
_NUMBERS = tuple(f.name for f in dataclasses.fields(Moments) if f.name not in _ARRAYS)


class Nothing:
    """Keeps nothing."""

    reused = 0

    def __enter__(self) -> Nothing:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get(self, identity: Mapping[str, Any]) -> Moments | None:
        """None."""
        return None

    def put(self, identity: Mapping[str, Any], moments: Moments) -> None:
        """Forgotten."""


class Kept(Nothing):
    """Moments in a folder, for one process at a time. ``reused``: how many were found there."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is made when the lock is taken, as the context begins."""
        self._folder = Path(folder)

    def __enter__(self) -> Kept:
        self._lock = Lock(self._folder)
        remove_parts(self._folder)
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def get(self, identity: Mapping[str, Any]) -> Moments | None:
        """What was measured of this identity, or None."""
        path = self._path(identity)
        if not path.exists():
            return None
        try:
            found = _read(path, _text(identity))
        except (SafetensorError, ValueError, TypeError, KeyError, RecursionError, OSError) as error:
            warnings.warn(
                f"out: {path} is damaged ({str(error)[:80]}); its setting is measured again", stacklevel=2
            )
            return None
        self.reused += 1
        return found

    def put(self, identity: Mapping[str, Any], moments: Moments) -> None:
        """Keep what was measured. Raises ``ValueError`` where the disk is full."""
        arrays = {n: np.asarray(x) for n in _ARRAYS if (x := getattr(moments, n)) is not None}
        facts = json.dumps({n: _plain(getattr(moments, n)) for n in _NUMBERS})
        metadata = {"identity": _text(identity), "facts": facts, "sha256": _sum(arrays, facts)}
        with writing(self._folder, "out"):
            write_file(self._path(identity), safetensors.numpy.save(arrays, metadata))

    def _path(self, identity: Mapping[str, Any]) -> Path:
        return self._folder / f"{hashlib.sha256(_text(identity).encode()).hexdigest()[:24]}.safetensors"


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """What numbers depend on besides their settings: this package's source, JAX, NumPy, and the device."""
    source = hashlib.sha256()
    for path in sorted(Path(__file__).parent.parent.rglob("*.py")):
        source.update(path.name.encode() + path.read_bytes())
    return {
        "source": source.hexdigest()[:16],
        "jax": jax.__version__,
        "numpy": np.__version__,
        "device": jax.devices()[0].device_kind,
    }


def _read(path: Path, identity: str) -> Moments:
    with safe_open(path, framework="numpy") as file:
        said = file.metadata() or {}
        arrays = {n: file.get_tensor(n) for n in file.keys()}  # noqa: SIM118
    if said["sha256"] != _sum(arrays, said["facts"]):
        raise ValueError("checksum")
    if said["identity"] != identity:
        raise ValueError("of another setting")
    return Moments(**json.loads(said["facts"]), **{n: arrays.get(n) for n in _ARRAYS})  # type: ignore[arg-type]


def _text(identity: Mapping[str, Any]) -> str:
    return json.dumps(identity, sort_keys=True)


def _sum(arrays: Mapping[str, np.ndarray], facts: str) -> str:
    found = hashlib.sha256(facts.encode())
    for name in sorted(arrays):
        found.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        found.update(np.ascontiguousarray(arrays[name]).tobytes())
    return found.hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: float(x) for name, x in value.items()}
    return value if isinstance(value, str | int) else float(value)
