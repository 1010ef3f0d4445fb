"""Compiled programs that are let go.

JAX keeps what it compiles for as long as the function lives. A program takes memory mappings, of which the system gives
a process 65,530, so what is compiled for every objective that a user makes must not be kept for ever.
"""

import functools
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import jax


class Programs:
    """Compiled versions of one function for different ``fixed`` arguments; the ``most`` used last are kept."""

    def __init__(self, function: Callable[..., Any], most: int = 64) -> None:
        self._function = function
        self._most = most
        self._kept: OrderedDict[Hashable, Callable[..., Any]] = OrderedDict()

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
        program = self._kept.pop(key, None) or jax.jit(functools.partial(self._function, **fixed))
        self._kept[key] = program
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return program


def _identity(value: Any) -> Hashable:
    if isinstance(value, tuple):
        return tuple(map(_identity, value))
    return value if isinstance(value, int | str) else id(value)
