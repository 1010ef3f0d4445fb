"""Missing numbers as None: how functions of plain lists mark a reward that could not be computed.

Everywhere else a missing number is NaN. A function that looks for None in its lists is given None where the kit has
NaN, if that is what it can read: it answers with None in its rewards, and with NaN it does not.
"""

from __future__ import annotations

import dis
import types
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from gradvar.testing.arrays import Library, library, unwrapped

REMARK = "a missing reward is passed as None"


def looks_for_none(function: Callable[..., Any]) -> bool:
    """Return True if the function's code compares something with None, or an annotation speaks of it."""
    inner = unwrapped(function)
    notes = " ".join(
        str(note) for name, note in getattr(inner, "__annotations__", {}).items() if name != "return"
    )
    code = getattr(inner, "__code__", None)
    return "None" in notes or "Optional" in notes or (code is not None and _compares(code))


def _compares(code: types.CodeType) -> bool:
    inside = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    names = {step.opname for step in dis.get_instructions(code)}
    return (
        "IS_OP" in names
        or any("IF_N" in n and n.endswith("NONE") for n in names)
        or any(map(_compares, inside))
    )


def plain_lists(present: Library) -> Library:
    """The library of plain lists in which None stands for what is missing, as precise as the present one."""
    return replace(library("list"), missing_as="none", wide=present.wide, floats=(present.wide,))


def none_is_read(
    function: Callable[..., Any], present: Library, answers: Callable[[Library], np.ndarray | None]
) -> bool:
    """Return True if the function takes None for a missing number, and not NaN, or for something else.

    Args:
        function: The function under test.
        present: The library in which it was found to work.
        answers: The numbers that it gives those rollouts that have a reward, where one has none; None if it raises.
    """
    if present.name not in ("numpy", "list") or not looks_for_none(function):
        return False
    as_nan, as_none = answers(present), answers(plain_lists(present))
    if as_none is None or not np.isfinite(as_none).all():
        return False
    return as_nan is None or not np.allclose(as_nan, as_none)
