"""Laws that a project lets go, each with its reason: in ``pyproject.toml`` or in a file of its own.

In ``pyproject.toml``, found from the folder of the function under test upward:

    [tool.gradvar.except]
    singleton_zero = "groups of one are filtered before"     # for every function

    [tool.gradvar.except.reinforce]                          # for this function only
    group_isolated = "whitened over the batch"

In a file, one a line: ``LAW: reason``, or ``function LAW: reason``; ``#`` starts a comment.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradvar.testing.names import LAWS

_LARGEST = 1 << 20
"""Bytes of a file of exceptions at most. The kit stands apart from ``gradvar.files``, which reads other small files."""


def of_project(folder: Path, function: str) -> dict[str, str]:
    """The exceptions of the nearest ``pyproject.toml`` that has the table, for a function of that name.

    Raises:
        ValueError: The file cannot be read, or the table names no law.
    """
    for parent in (folder, *folder.parents):
        file = parent / "pyproject.toml"
        if not file.is_file():
            continue
        try:
            table = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("gradvar", {})
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
            raise ValueError(f"except: {file}: {' '.join(str(error).split())}; correct the file") from error
        if "except" in table:
            return _chosen(table["except"], function, file)
    return {}


def of_file(file: Path, function: str) -> dict[str, str]:
    """The exceptions of a file with a line each, for a function of that name.

    Raises:
        ValueError: The file cannot be read, or a line is not understood.
    """
    try:
        if file.exists() and not file.is_file():  # a pipe may never end to be read
            raise ValueError("no plain file")
        if file.exists() and file.stat().st_size > _LARGEST:
            raise ValueError(f"more than {_LARGEST:,} bytes")
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        is_text = not isinstance(error, UnicodeDecodeError)
        reason = (getattr(error, "strerror", None) or str(error)) if is_text else "not text"
        raise ValueError(f"--except-file: {file}: {reason}; give a file of lines LAW: reason") from error
    table: dict[str, Any] = {}
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition("#")[0] if line.lstrip().startswith("#") else line
        if not content.strip():
            continue
        head, colon, reason = content.partition(": ")
        words = head.split()
        if not colon or not reason.strip() or len(words) not in (1, 2):
            raise ValueError(
                f"--except-file: {file}, line {number}: '{content.strip()[:80]}'; write LAW: reason"
            )
        place = table if len(words) == 1 else table.setdefault(words[0], {})
        place[words[-1]] = reason.strip()
    return _chosen(table, function, file)


def paired(laws: tuple[str, ...], reasons: tuple[str, ...]) -> dict[str, str]:
    """Laws and reasons from the command line, in their order. Raises ``ValueError`` where one has no partner."""
    if len(laws) > len(reasons):
        raise ValueError(f"--except: '{laws[len(reasons)]}' has no reason; add --because REASON")
    if len(reasons) > len(laws):
        raise ValueError(f"--because: '{reasons[len(laws)]}' has no law; add --except LAW before it")
    return dict(zip(laws, reasons, strict=True))


def _chosen(table: Any, function: str, file: Path) -> dict[str, str]:
    """The entries for every function, and those for this one on top."""
    if not isinstance(table, Mapping):
        raise ValueError(f"except: {file}: the table is no table; write law = 'reason'")
    found: dict[str, str] = {}
    own: Mapping[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, Mapping):
            if name in (function, function.rpartition(".")[2]):
                own = value
        else:
            found[name] = value
    found |= dict(own)
    for name, reason in found.items():
        if name not in LAWS:
            raise ValueError(f"except: {file}: '{name[:80]}' is not a law; see gradvar.testing.names")
        if not isinstance(reason, str) or not reason.strip():
            raise ValueError(f"except: {file}: '{name}' has no reason; write why it does not hold")
    return found
