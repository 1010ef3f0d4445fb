"""Compiled programs that are let go.

JAX keeps what it compiles for as long as the function lives. A program takes memory mappings, of which the system gives
a process 65,530, so what is compiled for every objective that a user makes must not be kept for ever.
"""

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import jax


class Programs:
    """Compiled versions of one function for different ``fixed`` arguments; the ``most`` used last are kept."""

    def __init__(
        self, function: Callable[..., Any], most: int = 64, jit: Callable[..., Any] = jax.jit
    ) -> None:
        """``jit`` compiles the function once the fixed arguments are in it."""
        self._function = function
        self._most = most
        self._jit = jit
        self._kept: OrderedDict[Hashable, Callable[..., Any]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, **fixed: Any) -> Callable[..., Any]:
        """The program for these arguments, which are the same only if they are the same objects; it takes the others.

        >>> programs = Programs(lambda x, function: function(x))
        >>> int(programs.get(function=lambda x: x + 1)(2))
        3
        """
        # A kept program holds its arguments, so that no other object can have their ids.
        key = tuple((name, _identity(value)) for name, value in sorted(fixed.items()))
        with self._lock:
            program = self._kept.pop(key, None) or self._jit(self._with(fixed))
            self._kept[key] = program
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return program

    def _with(self, fixed: dict[str, Any]) -> Callable[..., Any]:
        bound = functools.partial(self._function, **fixed)
        bound.__name__ = self._function.__name__  # type: ignore[attr-defined] # JAX calls the program so
        return bound


def _identity(value: Any) -> Hashable:
    if isinstance(value, tuple):
        return tuple(map(_identity, value))
    return value if isinstance(value, int | str) else id(value)
