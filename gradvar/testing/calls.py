"""Calls of the function under test, with its warnings and prints silenced and its errors kept apart."""

from __future__ import annotations

import atexit
import contextlib
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, TextIO


class Raised(Exception):
    """The function under test raised ``cause``."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(f"raised {type(cause).__name__}: {_one_line(cause)}")
        self.cause = cause

    @property
    def clear(self) -> bool:
        """Return True if the function refused its input with a message, by a ValueError or an assertion."""
        return isinstance(self.cause, ValueError | AssertionError | NotImplementedError) and bool(
            str(self.cause)
        )


class BadOutput(Exception):
    """The function under test did not return an array of the right shape."""


class SquareOutput(BadOutput):
    """The function returned a number for every pair of rollouts: two shapes were broadcast against each other."""


class _Mode:
    """What holds for all calls in hand: they are silenced already; they are written down as lines of Python."""

    silent = False
    written = False


@contextmanager
def silenced() -> Iterator[None]:
    """Silence warnings and prints of many calls at once: one by one it takes longer than many a function does."""
    if _Mode.silent:
        yield
        return
    with warnings.catch_warnings(), contextlib.redirect_stdout(_null_device()):
        warnings.simplefilter("ignore")
        _Mode.silent = True
        try:
            yield
        finally:
            _Mode.silent = False


@contextmanager
def written_down() -> Iterator[None]:
    """Have every call noted as a line of Python, which takes longer than the call; only a witness needs it."""
    before, _Mode.written = _Mode.written, True
    try:
        yield
    finally:
        _Mode.written = before


def are_written_down() -> bool:
    """Return True if calls are noted."""
    return _Mode.written


def quietly(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Call the function with its warnings and prints silenced; its error is raised as ``Raised``."""
    if not _Mode.silent:
        with silenced():
            return quietly(function, args, kwargs)
    try:
        return function(*args, **kwargs)
    except Exception as error:
        raise Raised(error) from error


@cache
def _null_device() -> TextIO:
    """The null device, opened once: a law calls the function thousands of times."""
    sink = open(os.devnull, "w")  # noqa: SIM115
    atexit.register(sink.close)
    return sink


def _one_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:160]
