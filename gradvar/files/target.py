"""Functions of the user's, named by ``path/to/file.py:function`` or ``module:function``."""

import contextlib
import importlib
import importlib.util
import os
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any


def load_target(target: str) -> Callable[..., Any]:
    """The function that a target names. Raises ``ValueError`` where there is no such file, module or function.

    >>> load_target("math:hypot")(3, 4)
    5.0
    """
    place, _, name = target.rpartition(":")
    if not place or not name:
        raise ValueError(f"target: '{target}'; give module:function or path/to/file.py:function")
    value: Any = _module(place)
    for part in name.split("."):
        if not hasattr(value, part):
            raise ValueError(f"target: {place} has no '{part}'; give the name of a function in it")
        value = getattr(value, part)
    if not callable(value):
        raise ValueError(
            f"target: {target} is a {type(value).__name__}, not a function; give a function's name"
        )
    return value


def absolute_target(target: str) -> str:
    """The target with the path of its file made absolute."""
    place, _, name = target.rpartition(":")
    return f"{os.path.realpath(place)}:{name}" if place.endswith(".py") else target


def import_file(file: Path) -> ModuleType:
    """A file as a module with a name of its own; its folder can be imported from while it is run."""
    path = Path(os.path.realpath(file))  # unlike ``resolve``, no error where links go in a circle
    name = f"gradvar_file_{zlib.crc32(str(path).encode()):08x}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{file} cannot be read as Python; give a file that ends with .py")
    module = importlib.util.module_from_spec(spec)
    loader = spec.loader
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    try:
        _run(str(file), lambda: loader.exec_module(module))
    finally:
        sys.path.remove(str(path.parent))
    return module


def _module(place: str) -> ModuleType:
    try:
        if place.endswith(".py"):
            if not Path(place).is_file():
                raise ValueError(f"{place} does not exist; give path/to/file.py:function")
            return import_file(Path(place))
        if "" not in sys.path:
            sys.path.insert(0, "")
        return _run(place, lambda: importlib.import_module(place))
    except ValueError as error:
        raise ValueError(f"target: {error}") from error.__cause__


def _run(place: str, load: Callable[[], Any]) -> Any:
    """Import a user's code; what it prints goes to the standard error, so that it spoils no JSON."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return load()
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"{place} cannot be imported ({type(error).__name__}: {error}); fix it or its path"
        ) from error
