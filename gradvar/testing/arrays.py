"""Array libraries as the kit sees them: NumPy, PyTorch, JAX and plain lists, found in ``sys.modules``.

Nothing is imported that the function under test has not imported itself: a PyTorch user never pays for JAX,
and the other way round. A ``Library`` turns NumPy values into native arrays and back, and writes them as
source text for the reproduction line.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

HALF = ("bfloat16", "float16")


@dataclass(frozen=True)
class Library:
    """An array library; algebraic laws run in the dtype ``wide``, and users pass the dtypes ``floats``.

    ``missing_as`` says what stands in lists where the kit has NaN: "nan" or "none".
    """

    name: str
    wide: str
    floats: tuple[str, ...]
    halves: tuple[str, ...]
    missing_as: str = "nan"

    def array(self, values: Any, dtype: str) -> Any:
        """A native array. ``dtype`` is a NumPy name, or bfloat16 where the library has it."""
        if self.name == "torch":
            torch = sys.modules["torch"]
            return torch.from_numpy(np.array(values)).to(getattr(torch, dtype))
        if self.name == "jax":
            jnp = sys.modules["jax"].numpy
            return jnp.asarray(np.asarray(values), dtype=dtype)
        if self.name == "list":
            return self._listed(np.asarray(values, dtype=dtype).tolist())
        return np.array(values, dtype=dtype)

    def _listed(self, value: Any) -> Any:
        """A nested list with None for NaN, where the library has it so."""
        if self.missing_as != "none":
            return value
        if isinstance(value, list):
            return [self._listed(v) for v in value]
        return None if isinstance(value, float) and value != value else value

    @property
    def module(self) -> Any:
        """The library's functions: torch, jax.numpy or numpy."""
        return {"torch": sys.modules.get("torch"), "jax": getattr(sys.modules.get("jax"), "numpy", None)}.get(
            self.name, np
        )

    def cast(self, value: Any, like: Any) -> Any:
        """The array in the dtype of another."""
        return value.to(like.dtype) if self.name == "torch" else value.astype(like.dtype)

    def numpy(self, value: Any) -> np.ndarray:
        """A float64 copy on the host. Raises ``TypeError`` on what is no array of numbers."""
        if hasattr(value, "detach"):
            torch = sys.modules["torch"]
            return np.array(value.detach().to(torch.float64).cpu().numpy())
        if isinstance(value, list | tuple) and value and hasattr(value[0], "detach"):
            return np.stack([self.numpy(v) for v in value])
        if isinstance(value, list | tuple):
            value = [np.nan if v is None else v for v in value]
            return np.array([float(v) if np.ndim(v) == 0 else self.numpy(v) for v in value], dtype=np.float64)
        return np.array(np.asarray(value), dtype=np.float64)

    def dtype_of(self, value: Any) -> str:
        """The dtype's plain name, or "" for a list."""
        return str(getattr(value, "dtype", "")).removeprefix("torch.")

    def source(self, values: Any, dtype: str) -> str:
        """Python text that makes the array; it holds no single quotes, so that a shell can quote it with them."""
        text = written(self._listed(np.asarray(values).tolist()))
        if self.name == "torch":
            return f"torch.tensor({text}, dtype=torch.{dtype})"
        if self.name == "jax":
            return f'jnp.array({text}, dtype="{dtype}")'
        if self.name == "list":
            return text
        return f'np.array({text}, dtype="{dtype}")'

    @property
    def imports(self) -> str:
        """The import that ``source`` needs."""
        nan = "from math import inf, nan; "
        jax = 'import jax; jax.config.update("jax_enable_x64", True); ' if self.wide == "float64" else ""
        return nan + {
            "torch": "import torch, numpy as np",
            "jax": jax + "import jax.numpy as jnp, numpy as np",
        }.get(self.name, "import numpy as np")


def library(name: str) -> Library:
    """The library of that name. Raises ``ValueError`` where it is unknown or has not been imported."""
    if name == "numpy":
        return Library("numpy", "float64", ("float64", "float32"), ("float16",))
    if name == "list":
        return Library("list", "float64", ("float64",), ())
    if name not in ("torch", "jax"):
        raise ValueError(f"library: '{name}' is unknown; give numpy, torch, jax or list")
    if name not in sys.modules:
        raise ValueError(f"library: '{name}' has not been imported by the code under test; import it there")
    if name == "torch":
        return Library("torch", "float64", ("float64", "float32", "bfloat16"), HALF)
    x64 = bool(sys.modules["jax"].config.jax_enable_x64)
    floats = ("float64", "float32", "bfloat16") if x64 else ("float32", "bfloat16")
    return Library("jax", floats[0], floats, HALF)


def candidates(function: Callable[..., Any]) -> list[str]:
    """Return library names in the order to try: those in its code, its annotations, its module's imports."""
    names: list[str] = []

    def note(name: str | None) -> None:
        root = (name or "").split(".")[0]
        if root in ("torch", "jax") and root in sys.modules and root not in names:
            names.append(root)
        elif root == "numpy" and "numpy" not in names:
            names.append("numpy")

    inner = unwrapped(function)
    scope = getattr(inner, "__globals__", {})
    for module in _modules_used(inner, depth=3):
        note(module)
    if not [f for f in names if f != "numpy"]:
        for annotation in getattr(inner, "__annotations__", {}).values():
            text = annotation if isinstance(annotation, str) else getattr(annotation, "__module__", "")
            note(
                {"torch.Tensor": "torch", "Tensor": "torch", "jax.Array": "jax", "jnp.ndarray": "jax"}.get(
                    text, text
                )
            )
    if not names:
        for value in scope.values():
            if isinstance(value, types.ModuleType):
                note(value.__name__)
            elif callable(value):
                note(getattr(value, "__module__", ""))
    # NumPy is often imported with the library that the tensors come from: try the others first.
    ordered = [f for f in names if f != "numpy"] + [f for f in names if f == "numpy"]
    rest = [n for n in ("numpy", "torch", "jax", "list") if n not in ordered]
    return ordered + [n for n in rest if n in ("numpy", "list") or n in sys.modules]


def unwrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """The plain function inside partials, jits and other wrappers."""
    while isinstance(function, functools.partial):
        function = function.func
    inner = inspect.unwrap(function)
    if not hasattr(inner, "__code__"):  # an object with __call__, or a PyTorch module
        kind = type(inner)
        method = getattr(kind, "forward", None) or getattr(kind, "__call__", None)  # noqa: B004
        inner = inner if not hasattr(method, "__code__") else method
    return inner


def defaults_of(function: Callable[..., Any]) -> dict[str, Any] | None:
    """The default values of the plain function's parameters, by name; None where it has no code in Python.

    >>> import functools
    >>> defaults_of(functools.partial(lambda logp, beta=0.1, *, clip=0.2: logp, beta=0.3)), defaults_of(max)
    ({'beta': 0.1, 'clip': 0.2}, None)
    """
    function = unwrapped(function)
    if not hasattr(function, "__code__"):
        return None
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def _modules_used(function: Any, depth: int) -> list[str]:
    """Modules that the function's code names, and that the functions it calls name."""
    function = unwrapped(function)
    scope = dict(getattr(function, "__globals__", {}))
    code = getattr(function, "__code__", None)
    used = []
    for name, cell in zip(
        getattr(code, "co_freevars", ()), getattr(function, "__closure__", None) or (), strict=False
    ):
        with contextlib.suppress(ValueError):  # a variable that has no value yet
            scope[name] = cell.cell_contents
    for name in sorted(_names(code) | set(getattr(code, "co_freevars", ()))):
        value = scope.get(name)
        if isinstance(value, types.ModuleType):
            used.append(value.__name__)
        elif depth and callable(value) and hasattr(unwrapped(value), "__code__"):
            used += _modules_used(value, depth - 1)
        elif callable(value) and not isinstance(value, type):
            used.append(getattr(value, "__module__", "") or "")
    return used


def _names(code: types.CodeType | None) -> set[str]:
    if code is None:
        return set()
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
    return names


def written(value: Any) -> str:
    """A plain value as Python text, its strings in double quotes."""
    if isinstance(value, list):
        return "[" + ", ".join(written(v) for v in value) + "]"
    return json.dumps(value) if isinstance(value, str) else repr(value)
