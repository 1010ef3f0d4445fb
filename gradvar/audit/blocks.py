"""What every reader hands on: some rows of one file, as Arrow arrays by column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Int


@dataclass(frozen=True)
class Block:
    """``columns``: arrays of one length by name. ``numbers``: each row's number in its file, from 1, in ``unit``.
    ``done``: the share of the file that has been read."""

    columns: Mapping[str, pa.Array]
    numbers: Int[np.ndarray, " row"]
    unit: str
    done: float


class Unreadable(Exception):
    """A file, or its rest, that cannot be read: ``place`` and reason."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(reason)
        self.place = place
        self.reason = reason


def flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One array of a column that may be in several pieces."""
    if isinstance(column, pa.ChunkedArray):
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return column
