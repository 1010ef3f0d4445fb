"""A function under test, called with NumPy values by role and answered in NumPy, whatever its library and layout.

Every kind of function goes through here: a kind makes values for roles (``roles.ROLES``), the caller turns them
into the function's own arrays, and what the function returns comes back by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradvar.testing.arrays import Library, written
from gradvar.testing.calls import BadOutput, quietly
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
    """The function and the way to call it; ``calls`` keeps each call as a line of Python."""

    function: Callable[..., Any]
    signature: Signature
    library: Library
    name: str
    origin: str = ""
    labels_as: str = ""
    mask_as: str = "float"
    calls: list[str] = field(default_factory=list)

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
        outputs = {name: self._array(value) for name, value in named(result).items() if _numbers(value)}
        if not outputs:
            raise BadOutput(f"returned {type(result).__name__}, not an array of numbers")
        dtypes = {
            name: self.library.dtype_of(value) for name, value in named(result).items() if name in outputs
        }
        return CallResult(outputs, dtypes, unchanged)

    def raw(self, values: Mapping[str, Any], dtype: str) -> tuple[Any, bool]:
        """The function's own result, and True if its arguments are as they were."""
        native, text = self.native(values, dtype)
        before = {role: self._array(value) for role, value in native.items() if ROLES[role].dtype == "float"}
        args, kwargs = self.signature.arguments(native)
        shown, shown_by_name = self.signature.arguments(text)
        fixed = self.signature.fixed
        shown += [f"{k}={written(v) if k in fixed else v}" for k, v in shown_by_name.items()]
        self.calls.append(f"f({', '.join(shown)})")
        result = quietly(self.function, args, kwargs)
        unchanged = all(
            np.array_equal(self._array(native[r]), old, equal_nan=True) for r, old in before.items()
        )
        return result, unchanged

    def native(self, values: Mapping[str, Any], dtype: str) -> tuple[dict[str, Any], dict[str, str]]:
        """The values as the function's own arrays, and as Python text."""
        native: dict[str, Any] = {}
        text: dict[str, str] = {}
        for role, value in values.items():
            if not self.signature.takes(role):
                continue
            kind = ROLES[role].dtype
            if kind == "number" or (kind in ("int", "float") and np.ndim(value) == 0):
                native[role] = int(value) if kind == "int" else float(value)
                text[role] = repr(native[role])
                continue
            if kind == "label":
                native[role], text[role] = self._labels(np.asarray(value))
                continue
            if kind in ("int", "bool"):
                name = {"int": "int32" if self.library.name == "jax" else "int64", "bool": "bool"}[kind]
            else:
                # a mask in the rewards' dtype: a wider one would promote what comes back
                name = self.mask_as if kind == "mask" and self.mask_as != "float" else dtype
            native[role], text[role] = self.library.array(value, name), self.library.source(value, name)
        return native, text

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
            return self.library.numpy(value)
        except (TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise BadOutput(f"returned {type(value).__name__}, not an array of numbers") from error


def named(result: Any) -> dict[str, Any]:
    """The parts of a result by name: keys of a dict, places of a tuple, else "0"."""
    if isinstance(result, Mapping):
        return dict(result)
    if hasattr(result, "_asdict"):  # a named tuple
        return dict(result._asdict())
    if isinstance(result, tuple):
        return {str(place): value for place, value in enumerate(result)}
    return {"0": result}


def _numbers(value: Any) -> bool:
    return hasattr(value, "dtype") or isinstance(value, int | float | list | tuple)
