"""Arrays with plain facts in one file, checked when read: measured moments, and parameters of warm starts.

A file is complete or not there, holds a checksum, and is named by all that made its content; a damaged one is computed
again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from jaxtyping import PyTree
from safetensors import SafetensorError, safe_open

from gradvar.core.moments import Moments
from gradvar.files.atomic import Lock, remove_parts, write_file, writing
from gradvar.files.reading import require_plain

_ARRAYS = ("mean", "mean_se", "true_gradient")
_NUMBERS = tuple(f.name for f in dataclasses.fields(Moments) if f.name not in _ARRAYS)
_DAMAGE = (SafetensorError, ValueError, TypeError, KeyError, RecursionError)


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/gradvar``, or ``~/.cache/gradvar`` where that is not set."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "gradvar"


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
    """Write arrays and plain facts with their checksum."""
    text = json.dumps(facts, sort_keys=True)
    metadata = {"facts": text, "sha256": _checksum(arrays, text)}
    write_file(path, safetensors.numpy.save(dict(arrays), metadata))


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and facts of a file; raises ``ValueError``, ``KeyError`` or safetensors' error on damage."""
    require_plain(path, largest=None)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if metadata["sha256"] != _checksum(arrays, metadata["facts"]):
        raise ValueError("its checksum is wrong")
    return arrays, json.loads(metadata["facts"])


def _checksum(arrays: Mapping[str, np.ndarray], facts: str) -> str:
    total = hashlib.sha256(facts.encode())
    for name in sorted(arrays):
        total.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        total.update(np.ascontiguousarray(arrays[name]).tobytes())
    return total.hexdigest()


def _reason(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:80]


class NullCache:
    """A cache that stores nothing."""

    reused = 0

    def __enter__(self) -> NullCache:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get(self, identity: Mapping[str, Any]) -> Moments | None:
        """Return None: nothing is stored."""
        return None

    def put(self, identity: Mapping[str, Any], moments: Moments) -> None:
        """Discard the moments: nothing is stored."""


class MomentsCache(NullCache):
    """Moments in a folder, for one process at a time. ``reused``: how many were read."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is made when the lock is taken, as the context begins."""
        self._folder = Path(folder)

    def __enter__(self) -> MomentsCache:
        self._lock = Lock(self._folder)
        remove_parts(self._folder)
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def get(self, identity: Mapping[str, Any]) -> Moments | None:
        """The moments of this identity, or None, with a warning where their file is damaged."""
        path = self._path(identity)
        if not path.exists():
            return None
        try:
            arrays, facts = read_arrays(path)
            if _text(facts["identity"]) != _text(identity):
                raise ValueError("of another setting")
            optional = {name: arrays.get(name) for name in _ARRAYS}
            moments = Moments(**facts["numbers"], **optional)  # type: ignore[arg-type]
        except (*_DAMAGE, OSError) as error:
            warnings.warn(
                f"out: {path} is damaged ({_reason(error)}); its setting is measured again", stacklevel=2
            )
            return None
        self.reused += 1
        return moments

    def put(self, identity: Mapping[str, Any], moments: Moments) -> None:
        """Store moments under their identity. Raises ``ValueError`` where the disk is full."""
        arrays = {n: np.asarray(x) for n in _ARRAYS if (x := getattr(moments, n)) is not None}
        numbers = {name: _plain(getattr(moments, name)) for name in _NUMBERS}
        with writing(self._folder, "out"):
            write_arrays(self._path(identity), arrays, {"identity": identity, "numbers": numbers})

    def _path(self, identity: Mapping[str, Any]) -> Path:
        return self._folder / f"{hashlib.sha256(_text(identity).encode()).hexdigest()[:24]}.safetensors"


def _text(identity: Mapping[str, Any]) -> str:
    return json.dumps(identity, sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: [*map(float, x)] if isinstance(x, list) else float(x) for name, x in value.items()}
    return value if isinstance(value, str | int) else float(value)


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


def write_tree(path: Path, tree: PyTree, facts: Mapping[str, Any]) -> None:
    """Write a tree of arrays and plain facts.

    A folder that cannot be written is a warning, not an error: what was computed is still good.
    """
    arrays = {name: np.asarray(leaf) for name, leaf in _leaves(tree).items()}
    try:
        write_arrays(path, {n: x.view(_stored_dtype(x.dtype)) for n, x in arrays.items()}, facts)
    except OSError as error:
        warnings.warn(
            f"{path} cannot be written ({error.strerror}); nothing is kept for the next run", stacklevel=3
        )


def read_tree(path: Path, like: PyTree) -> tuple[PyTree, dict[str, Any]] | None:
    """The tree that ``write_tree`` wrote, in the shape of ``like``, and its facts.

    None where there is no file, and, with a warning, where it is damaged.
    """
    try:
        arrays, facts = read_arrays(path)
        shapes = {name: (x.shape, x.dtype) for name, x in arrays.items()}
        expected = _leaves(like)
        if shapes != {name: (x.shape, _stored_dtype(x.dtype)) for name, x in expected.items()}:
            raise ValueError("it holds other arrays")
        leaves = [jnp.asarray(arrays[name].view(x.dtype)) for name, x in expected.items()]
        return jax.tree.unflatten(jax.tree.structure(like), leaves), facts
    except FileNotFoundError:
        return None
    except _DAMAGE as error:
        warnings.warn(f"{path} is damaged ({_reason(error)}); it is computed again", stacklevel=3)
    except OSError as error:
        warnings.warn(f"{path} cannot be read ({error.strerror}); it is computed again", stacklevel=3)
    return None


def _stored_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype in the file: bfloat16, which NumPy lacks, is stored as the integers with the same bits."""
    return np.dtype(np.uint16) if dtype == jnp.bfloat16 else np.dtype(dtype)


def _leaves(tree: PyTree) -> dict[str, Any]:
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/") or "params": leaf for path, leaf in leaves}
