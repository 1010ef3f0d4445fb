"""Checks of arguments: each returns the value, or raises ``ValueError`` with its name, the value and the fix.

>>> positive("tau", 0.5)
0.5
>>> positive("tau", -1)
Traceback (most recent call last):
ValueError: tau: -1; give a number above zero
"""

import math
import operator
from collections.abc import Collection
from typing import TypeVar

_Value = TypeVar("_Value")


def finite(name: str, value: float) -> float:
    """Return a number that is neither NaN nor infinite."""
    if not math.isfinite(value):
        raise ValueError(f"{name}: {value}; give a finite number")
    return value


def positive(name: str, value: float) -> float:
    """Return a number above zero, possibly infinite."""
    if not value > 0:
        raise ValueError(f"{name}: {value}; give a number above zero")
    return value


def nonnegative(name: str, value: float) -> float:
    """Return a number that is zero or more, possibly infinite."""
    if not value >= 0:
        raise ValueError(f"{name}: {value}; give a number that is not negative")
    return value


def at_least(name: str, value: float, minimum: float) -> float:
    """Return a number that is no smaller than ``minimum``."""
    if not value >= minimum:
        raise ValueError(f"{name}: {value}; give {minimum} or more")
    return value


def between(name: str, value: float, low: float, high: float) -> float:
    """Return a number from ``low`` to ``high``, both included.

    Args:
        name: Of the argument.
        value: What was given for it.
        low: Smallest number.
        high: Largest number.
    """
    if not low <= value <= high:
        raise ValueError(f"{name}: {value}; give {low} to {high}")
    return value


def share(name: str, value: float) -> float:
    """Return a number from 0 to 1."""
    return between(name, value, 0, 1)


def whole(name: str, value: int, minimum: int) -> int:
    """Return a whole number, NumPy's included, that is no smaller than ``minimum``."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < minimum:
        raise ValueError(f"{name}: {value}; give a whole number from {minimum} up")
    return value


def one_of(name: str, value: _Value, choices: Collection[_Value]) -> _Value:
    """Return a value that is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name}: {value!r}; choose one of {', '.join(map(str, choices))}")
    return value
