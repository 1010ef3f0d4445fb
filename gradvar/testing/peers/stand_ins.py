"""Empty modules in place of packages that a trainer imports and that the checked functions never call.

Ray, DeepSpeed, flash-attn and the like take gigabytes or a GPU. Nothing is replaced unless the user asks for it, and
only what stopped the import; the table names each package that was replaced.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Sequence
from typing import Any


class _Anything(type):
    """A class whose attributes are classes of its kind, and that can be called, subscripted and decorated with."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (), {})

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return args[0] if len(args) == 1 and not kwargs and callable(args[0]) else cls

    def __getitem__(cls, item: Any) -> Any:
        return cls

    def __or__(cls, other: Any) -> Any:
        return cls

    def __ror__(cls, other: Any) -> Any:
        return cls

    def __iter__(cls) -> Any:
        return iter(())


class _EmptyModule(types.ModuleType):
    __version__ = "0.0.0"
    __path__: list[str] = []  # noqa: RUF012

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (), {})


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """The packages that are replaced from here on, in this process; ``add`` names another one."""

    def __init__(self) -> None:
        self.roots: set[str] = set()

    def add(self, root: str) -> None:
        """Answer imports of a package with empty modules."""
        if self not in sys.meta_path:
            sys.meta_path.append(self)
        self.roots.add(root)

    def remove(self) -> None:
        """Import as usual again, and forget the empty modules."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for name, module in list(sys.modules.items()):
            if isinstance(module, _EmptyModule):
                del sys.modules[name]

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> Any:
        """The loader of an empty module, for a package that is replaced."""
        if fullname.split(".")[0] in self.roots:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> types.ModuleType:
        """An empty module of that name."""
        return _EmptyModule(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Run nothing: the module is empty."""
