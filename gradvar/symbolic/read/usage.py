"""What a check really used: the routes, the shipped estimators and pieces, and the code that it read as formulas."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from gradvar.core.estimator import Estimator

_MOST_TRACES = 8  # traces of one recording; a proof may make hundreds


@dataclass
class Usage:
    """The first traces as (jaxpr, results); the routes that ran; the shipped estimators with their pieces."""

    traces: list[tuple[Any, list[np.ndarray]]] = field(default_factory=list)
    routes: set[str] = field(default_factory=set)
    estimators: dict[str, set[str]] = field(default_factory=dict)


_recording: ContextVar[Usage | None] = ContextVar("recording", default=None)


@contextmanager
def recording() -> Iterator[Usage]:
    """Collect what runs meanwhile."""
    record = Usage()
    token = _recording.set(record)
    try:
        yield record
    finally:
        _recording.reset(token)


def note_route(route: str) -> None:
    """Note that a prover, an enumeration or an engine ran."""
    if (record := _recording.get()) is not None:
        record.routes.add(route)


def note_estimator(subject: Any) -> None:
    """Note a shipped estimator with its pieces; the derivative of one counts as it. Others are passed over."""
    subject = getattr(subject, "__wrapped__", subject)  # jax.grad keeps the function there
    if (record := _recording.get()) is not None and isinstance(subject, Estimator):
        pieces = record.estimators.setdefault(subject.name, set())
        pieces |= {name for piece in subject.parts.values() if (name := piece_name(piece))}


def note_trace(code: Any, results: list[np.ndarray]) -> None:
    """Note code that was read as a formula."""
    if (record := _recording.get()) is not None:
        record.routes.add("traced code")
        if len(record.traces) < _MOST_TRACES:
            record.traces.append((code, results))


def piece_name(piece: Callable[..., Any]) -> str:
    """Return ``advantage.group_mean`` for a shipped piece, empty for another function.

    Settings do not count, and a function that a shipped one made has its name.
    """
    while isinstance(piece, partial):
        piece = piece.func
    piece = getattr(piece, "__wrapped__", piece)
    module, name = getattr(piece, "__module__", ""), getattr(piece, "__qualname__", "")
    name = re.split(r"\.<locals>|\(", name)[0]
    return f"{module.removeprefix('gradvar.pieces.')}.{name}" if module.startswith("gradvar.pieces.") else ""
