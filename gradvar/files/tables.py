"""Results on disk: a tidy table, JSON with provenance, figures. A file appears whole or not at all."""

from __future__ import annotations

import csv
import json
import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then move it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write JSON that any reader accepts: not-a-number and infinities become null."""
    text = json.dumps(_plain(content), indent=1, allow_nan=False) + "\n"
    write_whole(path, lambda p: p.write_text(text))


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write rows that share their keys; missing values are empty."""

    def write(at: Path) -> None:
        with at.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows({k: "" if _missing(v) else v for k, v in row.items()} for row in rows)

    write_whole(path, write)


def write_parquet(path: Path, rows: Sequence[Row]) -> bool:
    """The same rows as Parquet; false, with nothing written, where pyarrow is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return False
    table = pyarrow.Table.from_pylist(
        [{k: None if _missing(v) else v for k, v in row.items()} for row in rows]
    )
    write_whole(path, lambda p: pyarrow.parquet.write_table(table, p))
    return True


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
