"""A function under test, called with NumPy values by role and answered in NumPy, whatever its library and layout.

Every kind of function goes through here: a kind makes values for roles (``roles.ROLES``), the caller turns them
into the function's own arrays, and what the function returns comes back by name.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradvar.testing.arrays import Library, written
from gradvar.testing.calls import BadOutput, are_written_down, quietly
from gradvar.testing.forms import filled, written_into
from gradvar.testing.roles import ROLES
from gradvar.testing.signatures import Signature


@dataclass(frozen=True)
class CallResult:
    """What one call returned.

    ``outputs`` holds each array in float64, by its key in a dict, its attribute, or its place ("0", "1") in a
    tuple; a lone result is "0". ``dtypes`` says in which dtype each came, ``unchanged`` that the arguments are
    as they were.
    """

    outputs: Mapping[str, np.ndarray]
    dtypes: Mapping[str, str]
    unchanged: bool

    def pick(self, *names: str) -> np.ndarray:
        """Return the first output under one of these names. Raises ``BadOutput`` where there is none."""
        for name in names:
            if name in self.outputs:
                return self.outputs[name]
        raise BadOutput(
            f"returned {', '.join(self.outputs) or 'nothing'}; expected one of {', '.join(names)}"
        )


@dataclass
class Caller:
    """The function and the way to call it.

    ``calls`` keeps each call as a line of Python; ``shapes`` maps a role to the shape in which the function takes
    it ("N1" for a column).
    """

    function: Callable[..., Any]
    signature: Signature
    library: Library
    name: str
    origin: str = ""
    labels_as: str = ""
    mask_as: str = "float"
    calls: list[str] = field(default_factory=list)
    shapes: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, values: Mapping[str, Any], dtype: str | None = None) -> CallResult:
        """Call the function.

        Args:
            values: Values by role; those whose role no parameter plays are left out.
            dtype: The dtype of the floating arrays; default: the library's widest.

        Raises:
            Raised: The function raised an error.
            BadOutput: The function returned no array of numbers.
        """
        result, unchanged = self.raw(values, dtype or self.library.wide)
        parts = {name: value for name, value in result.items() if _numbers(value)}
        outputs = {name: self._array(value) for name, value in parts.items()}
        if not outputs:
            returned = ", ".join(sorted({type(value).__name__ for value in result.values()})) or "nothing"
            raise BadOutput(f"returned {returned}, not an array of numbers")
        dtypes = {name: self.library.dtype_of(value) for name, value in parts.items()}
        return CallResult(outputs, dtypes, unchanged)

    def raw(self, values: Mapping[str, Any], dtype: str) -> tuple[dict[str, Any], bool]:
        """The function's own outputs by name, and True if its arguments are as they were."""
        native, text = self.native(values, dtype)
        before = {role: self._array(value) for role, value in native.items() if ROLES[role].dtype == "float"}
        if are_written_down():
            self.calls.append(self.line(text))
        result = self.invoke(native)
        unchanged = all(
            np.array_equal(self._array(native[r]), old, equal_nan=True) for r, old in before.items()
        )
        return result, unchanged

    def line(self, text: Mapping[str, str]) -> str:
        """The call as a line of Python, from the values' texts by role."""
        args, kwargs = self.signature.arguments(text)
        fixed = self.signature.fixed
        shown = [*args, *(f"{k}={written(v) if k in fixed else v}" for k, v in kwargs.items())]
        shown += [f"{name}={form}" for name, (form, _) in self.signature.containers.items()]
        return f"f({', '.join(shown)})"

    def invoke(self, native: Mapping[str, Any]) -> dict[str, Any]:
        """Call the function with its own arrays by role; return its outputs by name, what it wrote included."""
        signature = self.signature
        args, kwargs = signature.arguments(native)
        containers = {
            name: filled(form, name, annotation, native, signature.fields)
            for name, (form, annotation) in signature.containers.items()
        }
        function = self.function
        if signature.own_count and "count" in native:
            function = _with_count(function, signature.own_count, native["count"])
        result = quietly(function, args, {**kwargs, **containers})
        outputs = {}
        for container in containers.values():
            if result is None or result is container:
                outputs.update(written_into(container))
        return outputs or named(result)

    def native(self, values: Mapping[str, Any], dtype: str) -> tuple[dict[str, Any], dict[str, str]]:
        """The values that the function takes as its own arrays, and as Python text."""
        every = bool(self.signature.containers)
        chosen = {r: v for r, v in values.items() if every or self.signature.takes(r) or self._counts(r)}
        return self.converted(chosen, dtype)

    def converted(self, values: Mapping[str, Any], dtype: str) -> tuple[dict[str, Any], dict[str, str]]:
        """All values as arrays of the function's library, and as Python text where calls are written down."""
        native: dict[str, Any] = {}
        text: dict[str, str] = {}
        noted = are_written_down()
        for role, value in values.items():
            kind = ROLES[role].dtype
            if role in self.shapes:
                value = shaped(np.asarray(value), self.shapes[role])
            if kind == "number" or (kind in ("int", "float") and np.ndim(value) == 0):
                native[role] = int(value) if kind == "int" else float(value)
                text[role] = repr(native[role])
                continue
            if kind == "label":
                native[role], text[role] = self._labels(np.asarray(value))
                continue
            if kind in ("int", "bool", "ends"):
                whole = "int32" if self.library.name == "jax" else "int64"
                name = {"int": whole, "bool": "bool", "ends": "int32"}[kind]
            else:
                # a mask in the rewards' dtype: a wider one would promote what comes back
                name = self.mask_as if kind == "mask" and self.mask_as != "float" else dtype
            if role in self.signature.ragged:
                native[role], text[role] = self._ragged(np.asarray(value), values, name)
                continue
            native[role] = self.library.array(value, name)
            if noted:
                text[role] = self.library.source(value, name)
        return native, text if noted else {}

    def _ragged(self, rows: np.ndarray, values: Mapping[str, Any], dtype: str) -> tuple[Any, str]:
        """A list of arrays, one for each rollout, up to its last token."""
        if rows.ndim < 2:
            parts = [self.library.array(value, dtype) for value in rows]
            return parts, f"[{', '.join(self.library.source(value, dtype) for value in rows)}]"
        ends = (
            last_tokens(np.asarray(values["mask"], bool)) + 1
            if "mask" in values
            else [rows.shape[1]] * len(rows)
        )
        cut = [row[:end] for row, end in zip(rows, ends, strict=True)]
        texts = [self.library.source(row, dtype) for row in cut]
        return [self.library.array(row, dtype) for row in cut], f"[{', '.join(texts)}]"

    def _counts(self, role: str) -> bool:
        return role == "count" and bool(self.signature.own_count)

    def _labels(self, value: np.ndarray) -> tuple[Any, str]:
        if self.labels_as == "object":
            labels = np.array([f"u{int(v)}" for v in value], dtype=object)
            return labels, f"np.array({written(labels.tolist())}, dtype=object)"
        if self.labels_as == "numpy":
            return np.asarray(value), f"np.array({value.tolist()})"
        name = "int32" if self.library.name == "jax" else "int64"
        return self.library.array(value, name), self.library.source(value, name)

    def _array(self, value: Any) -> np.ndarray:
        try:
            if isinstance(value, list | tuple) and len({np.shape(row) for row in value}) > 1:
                return padded([self.library.numpy(row) for row in value])
            return self.library.numpy(value)
        except (TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise BadOutput(f"returned {type(value).__name__}, not an array of numbers") from error


def padded(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of unequal length as one array, with zeros after their ends."""
    out = np.zeros((len(rows), max(len(row) for row in rows)))
    for line, row in zip(out, rows, strict=True):
        line[: len(row)] = row
    return out


def last_tokens(mask: np.ndarray) -> np.ndarray:
    """The place of each rollout's last real token; -1 where there is none."""
    return np.where(mask, np.arange(mask.shape[1]), -1).max(-1)


def shaped(value: np.ndarray, shape: str) -> np.ndarray:
    """The value with axes of length one where the shape has a "1": "N1", "1N"."""
    axes = tuple(place for place, letter in enumerate(shape) if letter == "1")
    return np.expand_dims(value, axes) if axes else value


def _with_count(method: Callable[..., Any], name: str, count: int) -> Callable[..., Any]:
    """The method of a copy of its object, whose group size is the batch's."""
    twin = copy.copy(getattr(method, "__self__", None))
    section, _, last = name.rpartition(".")
    place: Any = twin
    if section:  # a setting inside the object's configuration: copied too, so that the object keeps its own
        place = copy.copy(getattr(twin, section))
        setattr(twin, section, place)
    if isinstance(place, dict):
        place[last] = count
    else:
        object.__setattr__(place, last, count)  # a frozen configuration too
    return getattr(twin, method.__name__)


def named(result: Any) -> dict[str, Any]:
    """The parts of a result by name: keys of a dict or of the dicts of a list, places of a tuple, else "0"."""
    if isinstance(result, list | tuple) and result and all(isinstance(row, Mapping) for row in result):
        keys = [key for key in result[0] if all(key in row for row in result)]
        if keys:
            return {key: [row[key] for row in result] for key in keys}
    if isinstance(result, Mapping):
        return dict(result)
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return written_into(result)
    if hasattr(result, "_asdict"):  # a named tuple
        return dict(result._asdict())
    if isinstance(result, tuple):
        return {str(place): value for place, value in enumerate(result)}
    return {"0": result}


def _numbers(value: Any) -> bool:
    return hasattr(value, "dtype") or isinstance(value, int | float | list | tuple)
