"""A peer: an installed trainer, and the functions that it registers, in the kit's names."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gradvar.testing.adapters import Adapter, adapted
from gradvar.testing.arrays import unwrapped


@dataclass(frozen=True)
class PeerFunction:
    """One registered function.

    ``kind`` is "advantage" or "loss"; ``function`` takes arrays by the kit's names; ``place`` is its file and line
    inside the installed packages; ``needs`` says why the kit cannot call it, if so.
    """

    name: str
    kind: str
    function: Callable[..., Any]
    place: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    needs: str = ""


@dataclass(frozen=True)
class Peer:
    """A trainer: its package for pip, the modules to import, and how their registries are walked."""

    name: str
    package: str
    modules: tuple[str, ...]
    library: str
    walk: Callable[..., list[PeerFunction]]


def entry(
    adapter: Adapter, name: str, function: Callable[..., Any], note: str = "", **settings: Any
) -> PeerFunction:
    """A registered function through its trainer's adapter.

    Args:
        adapter: The trainer's adapter.
        name: The registered name.
        function: The trainer's function, class or method.
        note: A remark for the table.
        settings: Settings of the call, as ``--arguments`` gives them.
    """
    call = adapted(adapter, function, **settings)
    kind = call.kind  # type: ignore[attr-defined]
    parameters = inspect.signature(call).parameters
    needs = next((role for role in ("values", "old_logp") if kind == "advantage" and role in parameters), "")
    return PeerFunction(name, kind, call, place_of(function), settings, note, needs)


def place_of(function: Any) -> str:
    """The file and line where a function is written, from the folder of installed packages on."""
    inner = unwrapped(function) if not isinstance(function, type) else function
    inner = inner.func if isinstance(inner, functools.partial) else inner
    try:
        file = inspect.getsourcefile(inner) or ""
        line = inspect.getsourcelines(inner)[1]
    except (OSError, TypeError):
        return ""
    return f"{file.rpartition('site-packages/')[2]}:{line}"
