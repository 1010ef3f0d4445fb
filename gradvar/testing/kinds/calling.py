"""Calls of functions of every kind: the layouts of their arrays, lists of tensors, and what comes back.

The standard layout is [N, T], rollouts and tokens. Layouts: NT (as it is), TN (time first), T (one rollout), list (a
list of one array per rollout, cut to its tokens), N and N1 (advantages by rollout, [N] or [N, 1], the rest as it is).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradvar.testing.caller import Caller, named
from gradvar.testing.calls import BadOutput, are_written_down

SHAPES_ONLY = ("model", "config", "batch")


@dataclass
class KindCaller(Caller):
    """A caller that arranges arrays: in ``layout``, with flags as ``flags_as`` (float or bool)."""

    layout: str = "NT"
    flags_as: str = "float"

    def packed(self, role: str, scene: Mapping[str, Any]) -> Any:
        """The scene's array of this role, in the function's layout."""
        value = scene[role]
        if np.ndim(value) == 0 or isinstance(value, list | str):
            return value
        array = np.asarray(value)
        if self.layout == "TN" and array.ndim == 2:
            return array.T
        if self.layout == "T":
            return array[0]
        if self.layout in ("N", "N1") and role == "advantages":
            return array[:, 0] if self.layout == "N" else array[:, :1]
        if self.layout == "list" and array.ndim == 2:
            mask = np.asarray(scene.get("mask", np.ones(array.shape))) > 0
            return [
                array[n, : int(np.max(np.flatnonzero(mask[n]), initial=-1)) + 1] for n in range(len(array))
            ]
        return array

    def unpack(self, array: np.ndarray, scene: Mapping[str, Any]) -> np.ndarray:
        """An output in the standard layout."""
        if self.layout == "TN" and array.ndim >= 2:
            return np.swapaxes(array, 0, 1)
        if self.layout == "T" and array.ndim >= 1:
            return array[None]
        return array

    def native(self, values: Mapping[str, Any], dtype: str) -> tuple[dict[str, Any], dict[str, str]]:
        """The values as the function's own arrays, and as Python text."""
        taken = {r: v for r, v in values.items() if self.signature.takes(r)}
        texts = {r: v for r, v in taken.items() if isinstance(v, str)}
        arranged = {r: self.packed(r, values) for r in taken if r not in texts}
        lists = {r: v for r, v in arranged.items() if isinstance(v, list)}
        native, shown = super().native({r: v for r, v in arranged.items() if r not in lists}, dtype)
        for role, rows in lists.items():
            native[role] = [self.library.array(row, dtype) for row in rows]
            if are_written_down():
                shown[role] = "[" + ", ".join(self.library.source(row, dtype) for row in rows) + "]"
        for role, text in texts.items():
            native[role], shown[role] = text, repr(text)
        return native, shown

    def _array(self, value: Any) -> np.ndarray:
        if isinstance(value, str):
            return np.zeros(0)
        if isinstance(value, list) and value and np.ndim(value[0]) == 1:
            return np.concatenate([super(KindCaller, self)._array(row) for row in value])
        return super()._array(value)


def unpacked(result: Any, caller: KindCaller, scene: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The numbers that a function returned, by name, in the standard layout. Raises ``BadOutput`` without any."""
    out: dict[str, np.ndarray] = {}
    for name, value in named(result).items():
        if value is None or isinstance(value, str | Mapping):
            continue
        try:
            array = _padded(value, caller, scene)
        except (TypeError, ValueError, AttributeError, RuntimeError):
            continue
        out[str(name)] = caller.unpack(array, scene)
    if not out:
        raise BadOutput(f"returned {type(result).__name__}, not an array of numbers")
    return out


def _padded(value: Any, caller: KindCaller, scene: Mapping[str, Any]) -> np.ndarray:
    if not (isinstance(value, list | tuple) and value and np.ndim(value[0]) == 1):
        return caller.library.numpy(value)
    rows = [caller.library.numpy(row) for row in value]
    widths = [np.shape(v)[1] for v in scene.values() if np.ndim(v) == 2]
    width = max([*(len(r) for r in rows), *widths])
    out = np.full((len(rows), width), np.nan)
    for n, row in enumerate(rows):
        out[n, : len(row)] = row
    return out
