"""Arrays kept on disk between runs: named by what made them, written atomically, checked when read."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from jaxtyping import PyTree


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/gradvar``, or ``~/.cache/gradvar`` where that is not set."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "gradvar"


def describe(name: str, thing: Any) -> dict[str, Any]:
    """The class and settings of a dataclass, as plain values: its identity between runs."""
    if not dataclasses.is_dataclass(thing) or isinstance(thing, type):
        raise TypeError(
            f"{name}: {type(thing).__name__} is no dataclass, so its settings cannot name a file; "
            "pass cache=False"
        )
    return {"class": f"{type(thing).__module__}.{type(thing).__qualname__}", **dataclasses.asdict(thing)}


def fingerprint(identity: Mapping[str, Any]) -> str:
    """A hash of plain values; anything else is refused, so that no two things share a name by accident."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def write(path: Path, params: PyTree, facts: Mapping[str, Any]) -> None:
    """Writes a tree of arrays and plain ``facts``; a reader sees the old file or the new one, never a part.

    A folder that cannot be written is a warning, not an error: what was computed is still good.
    """
    tensors = {name: np.asarray(array) for name, array in _named(params).items()}
    tensors = {name: array.view(_stored(array.dtype)) for name, array in tensors.items()}
    written = json.dumps(facts, sort_keys=True)
    metadata = {"facts": written, "sha256": _digest(tensors, written)}
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            temporary = Path(file.name)
            file.write(safetensors.numpy.save(tensors, metadata))
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        warnings.warn(
            f"{path} cannot be written ({error.strerror}); nothing is kept for the next run", stacklevel=3
        )


def read(path: Path, like: PyTree) -> tuple[PyTree, dict[str, Any]] | None:
    """What ``write`` wrote, in the shape of ``like``; None, with a warning, where the file is damaged."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        warnings.warn(f"{path} cannot be read ({error.strerror}); it is made anew", stacklevel=3)
        return None
    try:
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length])["__metadata__"]
        tensors = safetensors.numpy.load(data)
        if _digest(tensors, metadata["facts"]) != metadata["sha256"]:
            raise ValueError("its checksum is wrong")
        wanted = _named(like)
        found = {name: (array.shape, array.dtype) for name, array in tensors.items()}
        if found != {name: (array.shape, _stored(array.dtype)) for name, array in wanted.items()}:
            raise ValueError("it holds other arrays")
        leaves = [jnp.asarray(tensors[name].view(array.dtype)) for name, array in wanted.items()]
        return jax.tree.unflatten(jax.tree.structure(like), leaves), json.loads(metadata["facts"])
    except (ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        warnings.warn(f"{path} is damaged ({reason}); it is made anew", stacklevel=3)
        return None


def _stored(dtype: np.dtype) -> np.dtype:
    """How a dtype is stored: bfloat16, which NumPy lacks, as the integers with the same bits."""
    return np.dtype(np.uint16) if dtype == jnp.bfloat16 else np.dtype(dtype)


def _named(tree: PyTree) -> dict[str, Any]:
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/") or "params": leaf for path, leaf in leaves}


def _digest(tensors: Mapping[str, np.ndarray], written: str) -> str:
    digest = hashlib.sha256(written.encode())
    for name in sorted(tensors):
        digest.update(name.encode() + b"\0" + np.ascontiguousarray(tensors[name]).tobytes())
    return digest.hexdigest()
