"""What numbers depend on, as plain values: so that a run that goes on is the run that was begun."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import json
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from gradvar.core.estimator import Estimator

_DEEP = 6
_LONG = 200


def fingerprint(run: Mapping[str, Any]) -> str:
    """A hash of plain values."""
    return hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()[:16]


def digest_of(tree: PyTree) -> str:
    """A hash of arrays, their shapes and their names."""
    found = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        array = np.asarray(leaf)
        found.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def described(thing: Any) -> str:
    """What a thing says of itself, without where it lies in memory; short, or a hash of it.

    Functions are told apart by their names, defaults and what they close over, not by their source.
    """
    text = re.sub(r" at 0x[0-9a-f]+", "", _says(thing, _DEEP))
    return text if len(text) <= _LONG else f"{text[:80]}... {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _says(thing: Any, deep: int) -> str:
    if not deep:
        return "..."
    if isinstance(thing, Estimator):
        return f"{thing.name}: {_says((thing.objective, dict(thing.parts)), deep)}"
    if isinstance(thing, functools.partial):
        return f"partial({_says((thing.func, thing.args, thing.keywords), deep - 1)})"
    if inspect.isfunction(thing):
        inside = _closed_over(thing)
        return f"{thing.__qualname__}({_says((inside, thing.__defaults__, thing.__kwdefaults__), deep - 1)})"
    if isinstance(thing, Mapping):
        return "{" + ", ".join(f"{name}: {_says(x, deep)}" for name, x in thing.items()) + "}"
    if isinstance(thing, list | tuple):
        return "[" + ", ".join(_says(x, deep) for x in thing) + "]"
    if isinstance(thing, np.ndarray | jax.Array):
        return digest_of(thing)
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        values = {f.name: getattr(thing, f.name) for f in dataclasses.fields(thing)}
        return f"{type(thing).__qualname__}{_says(values, deep - 1)}"
    return repr(thing)


def _closed_over(function: Any) -> list[Any]:
    try:
        return [cell.cell_contents for cell in function.__closure__ or ()]
    except ValueError:
        return ["not bound yet"]
