"""Identities of runs: what numbers depend on, as plain values and as short hashes of them."""

import dataclasses
import functools
import hashlib
import inspect
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from gradvar.core.estimator import Estimator

_MAX_DEPTH = 6
_MAX_LENGTH = 200


def fingerprint(identity: Mapping[str, Any]) -> str:
    """A hash of plain values; ``TypeError`` for others, so that two things never share a name by accident."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def digest(tree: PyTree) -> str:
    """A hash of arrays, their shapes and their names."""
    total = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        array = np.asarray(leaf)
        total.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:16]


def settings_of(name: str, value: Any) -> dict[str, Any]:
    """The class and the settings of a dataclass, as plain values."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        raise TypeError(
            f"{name}: {type(value).__name__} is no dataclass, so its settings cannot name a file; "
            "pass cache=False"
        )
    return {"class": f"{type(value).__module__}.{type(value).__qualname__}", **dataclasses.asdict(value)}


def describe(value: Any) -> str:
    """A thing in words, without its place in memory; a long description is cut and ends with its hash.

    Functions differ by their names, defaults and closures; a user's by the text of their file as well.
    """
    text = re.sub(r" at 0x[0-9a-f]+", "", _words(value, _MAX_DEPTH))
    return (
        text
        if len(text) <= _MAX_LENGTH
        else f"{text[:80]}... {hashlib.sha256(text.encode()).hexdigest()[:16]}"
    )


def _words(value: Any, depth: int) -> str:
    if not depth:
        return "..."
    if isinstance(value, Estimator):
        return f"{value.name}: {_words((value.objective, dict(value.parts)), depth)}"
    if isinstance(value, functools.partial):
        return f"partial({_words((value.func, value.args, value.keywords), depth - 1)})"
    if inspect.isfunction(value):
        inside = (_closure(value), value.__defaults__, value.__kwdefaults__)
        return f"{value.__qualname__}{_code(value)}({_words(inside, depth - 1)})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_words(x, depth)}" for name, x in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_words(x, depth) for x in value) + "]"
    if isinstance(value, np.ndarray | jax.Array):
        return digest(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        values = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return f"{type(value).__qualname__}{_words(values, depth - 1)}"
    return repr(value)


def _code(function: Any) -> str:
    """A hash of the file that holds a user's function, or of its own code where there is none; "" for the package's."""
    module = function.__module__ or ""
    if module.partition(".")[0] in ("gradvar", "jax", "numpy"):  # known by their versions
        return ""
    try:
        content = Path(inspect.getfile(function)).read_bytes()
    except (OSError, TypeError):
        code = function.__code__
        content = repr(
            (code.co_code, code.co_names, [c for c in code.co_consts if not inspect.iscode(c)])
        ).encode()
    return f" of {hashlib.sha256(content).hexdigest()[:16]}"


def _closure(function: Any) -> list[Any]:
    try:
        return [cell.cell_contents for cell in function.__closure__ or ()]
    except ValueError:
        return ["not bound yet"]
