"""Pieces of estimators: pure functions of arrays, put together by ``gradvar.core.compose``."""

import inspect
from functools import partial
from types import ModuleType
from typing import NoReturn

from gradvar.core.naming import nearest
from gradvar.pieces import advantage as advantages
from gradvar.pieces import aggregate as aggregates
from gradvar.pieces import correction as corrections
from gradvar.pieces import penalty as penalties
from gradvar.pieces import select as selections
from gradvar.pieces import surrogate as surrogates

__all__ = ["advantages", "aggregates", "corrections", "penalties", "selections", "surrogates"]


def _pieces_of(module: ModuleType) -> list[str]:
    """The names of a module's pieces, for ``dir``: no imports, no types."""
    return sorted(
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__.startswith(f"{__name__}.") and name[0] != "_"
        if name != "wrapping"
    )


def _refuse(part: str, module: ModuleType, name: str) -> NoReturn:
    """Raise ``AttributeError`` with the nearest names, or with all of them."""
    names = _pieces_of(module)
    hint = f"nearest: {', '.join(near)}" if (near := nearest(name, names)) else f"it has {', '.join(names)}"
    raise AttributeError(f"gv.{part} has no '{name}'; {hint}", name=name, obj=module)


for _part in __all__:
    _module: ModuleType = globals()[_part]
    vars(_module).update(__dir__=partial(_pieces_of, _module), __getattr__=partial(_refuse, _part, _module))
