"""Import a trainer's algorithm modules; what is missing is said in one line, never by a traceback."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import io
import logging
import sys
import warnings
from dataclasses import dataclass
from types import ModuleType

from gradvar.testing.peers.peer import Peer, PeerFunction
from gradvar.testing.peers.stand_ins import StandIns


@dataclass(frozen=True)
class Loaded:
    """A peer as it was loaded: its version and functions, or the reason why there are none.

    ``replaced`` are the packages in whose place empty modules were imported.
    """

    peer: Peer
    version: str = ""
    functions: tuple[PeerFunction, ...] = ()
    reason: str = ""
    replaced: tuple[str, ...] = ()


def load(peer: Peer, stand_ins: bool = False) -> Loaded:
    """Import a peer's modules and walk its registries.

    ``stand_ins`` allows empty modules for packages that its import stumbles over.
    """
    try:
        version = importlib.metadata.version(peer.package)
    except importlib.metadata.PackageNotFoundError:
        return Loaded(peer, reason=f"not installed; pip install {peer.package}")
    replaced = StandIns()
    modules: dict[str, ModuleType] = {}
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            for name in peer.modules:
                modules[name] = _imported(name, replaced if stand_ins else None)
            functions = tuple(peer.walk(*modules.values()))
    except (Exception, SystemExit) as error:
        line = (str(error).strip().splitlines() or [""])[0][:160]
        missing = getattr(error, "name", "") if isinstance(error, ModuleNotFoundError) else ""
        advice = f"; pip install {missing.split('.')[0]}, or --stand-ins" if missing else ""
        return Loaded(peer, version, reason=f"cannot be imported: {type(error).__name__}: {line}{advice}")
    finally:
        replaced.remove()
    _silence(peer.modules[0].split(".")[0])
    return Loaded(peer, version, functions, replaced=tuple(sorted(replaced.roots)))


def _silence(package: str) -> None:
    """Keep a trainer's log quiet: it warns of every group of one."""
    logging.getLogger(package).setLevel(logging.CRITICAL)
    if "loguru" in sys.modules:
        sys.modules["loguru"].logger.disable(package)


def _imported(name: str, replaced: StandIns | None) -> ModuleType:
    while True:
        before = set(sys.modules)
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            root = (error.name or "").split(".")[0]
            own = root == name.split(".")[0] or root in sys.stdlib_module_names
            if replaced is None or not root or own or root in replaced.roots:
                raise
            replaced.add(root)
            for module in set(sys.modules) - before:  # what was half imported is imported anew
                if module.split(".")[0] == name.split(".")[0]:
                    del sys.modules[module]
