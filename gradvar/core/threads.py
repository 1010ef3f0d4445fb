"""Independent work side by side: compiling takes one core, and so does most of what NumPy does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import jax
import jax.numpy as jnp

_Item = TypeVar("_Item")
_Found = TypeVar("_Found")
_MOST = 4  # at once: each holds its own batches' coefficients


def side_by_side(call: Callable[[_Item], _Found], items: Iterable[_Item]) -> list[_Found]:
    """``[call(x) for x in items]``, several at a time; the first error, in the items' order, is raised."""
    precise = jnp.result_type(float) == jnp.float64  # it may be set for this thread only

    def run(item: _Item) -> _Found:
        with jax.enable_x64(precise):
            return call(item)

    work = list(items)
    workers = min(len(work), os.cpu_count() or 1, _MOST)
    if workers < 2:
        return [call(item) for item in work]
    with ThreadPoolExecutor(workers) as threads:
        return list(threads.map(run, work))
