"""Which results lie in a folder, and what each of them is; a file that cannot be used costs one line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gradvar.report import advised, audited, checked, generic, measured, trained
from gradvar.report.page import Section

_LARGEST = 256 * 2**20  # bytes


@dataclass(frozen=True)
class Kind:
    """What a file may be: how it is recognised, and what makes a section of it."""

    name: str
    fits: Callable[[Any], bool]
    section: Callable[[Any], Section | None]


KINDS = (
    Kind("an experiment", lambda c: _rows(c, "rows", "arm") and "curves" in c, trained.section),
    Kind(
        "a measurement",
        lambda c: _rows(c, "rows", "figure", "estimator", "group_size", "value"),
        measured.section,
    ),
    Kind(
        "a measurement",
        lambda c: _rows({"": c}, "", "figure", "estimator", "group_size", "value"),
        measured.section,
    ),
    Kind(
        "advice",
        lambda c: _rows(c, "curve", "group_size") and "sentences" in c and "best" in c,
        advised.section,
    ),
    Kind(
        "an audit",
        lambda c: _rows(c, "steps", "equal") and _rows(c, "group_sizes", "group_size"),
        audited.section,
    ),
    Kind("a proof run", lambda c: _rows({"": c}, "", "id", "verdict", "statement"), checked.proofs),
    Kind(
        "an objective's analysis", lambda c: _rows(c, "laws", "verdict") and "target" in c, checked.analysis
    ),
    Kind("a check", lambda c: _rows(c, "laws", "status") and "target" in c, checked.check),
)


def read(place: Path) -> tuple[list[Section], list[str]]:
    """A section for every result in a folder (or for one file), and a line for every file that is left out.

    Looks at ``*.json`` in the folder and in the folders in it; in those, what is no result is passed over in silence.
    Raises ``ValueError`` where there is no such place.
    """
    if not place.exists():
        raise ValueError(f"folder: {place} does not exist; give a folder of results, or a JSON file")
    files = [place] if place.is_file() else [*sorted(place.glob("*.json")), *sorted(place.glob("*/*.json"))]
    sections, lines, seen = [], [], set[str]()
    for file in files:
        name = str(file.name if place.is_file() else file.relative_to(place))
        try:
            raw = _bytes(file)
            mark = hashlib.sha256(raw).hexdigest()
            if mark in seen:  # gradvar measure --json beside --out: the same twice
                continue
            seen.add(mark)
            found = _section(raw)
            sections.append(replace(found, file=name, title=found.title or file.stem))
        except _Unknown as error:
            if file.parent == place or place.is_file():
                lines.append(f"{name}: {error}")
        except (OSError, ValueError) as error:
            lines.append(f"{name}: {' '.join(str(error).split())}")
    return sections, lines


class _Unknown(ValueError):
    """A file that is JSON, and no result."""


def _bytes(file: Path) -> bytes:
    if not file.is_file():
        raise ValueError("is not a file")
    size = file.stat().st_size
    if size > _LARGEST:
        raise ValueError(f"has {size / 2**20:.0f} MiB, more than the {_LARGEST // 2**20} that are read")
    try:
        return file.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None


def _section(raw: bytes) -> Section:
    content = _parsed(raw)
    for kind in KINDS:
        if kind.fits(content):
            return _made(kind, content)
    if isinstance(content, Mapping | list) and (
        found := _made(Kind("results", bool, generic.section), content)
    ):
        return found
    raise _Unknown("is JSON of no kind that gradvar writes, with no findings and no rows in it")


def _made(kind: Kind, content: Any) -> Any:
    try:
        return kind.section(content)
    except Exception as error:  # whatever a damaged file holds, it is the file that is to be named
        said = " ".join(str(error).split())[:200]
        raise ValueError(f"looks like {kind.name}, but is damaged ({type(error).__name__}: {said})") from None


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON ({error.msg}, line {error.lineno})") from None
    except RecursionError:
        raise ValueError("is nested too deeply to be a result") from None


def _rows(content: Any, name: str, *columns: str) -> bool:
    """Whether ``content[name]`` is a list whose first row has these columns."""
    rows = content.get(name) if isinstance(content, Mapping) else None
    return (
        isinstance(rows, list)
        and bool(rows)
        and isinstance(rows[0], Mapping)
        and set(columns) <= set(rows[0])
    )
