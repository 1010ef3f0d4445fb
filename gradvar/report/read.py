"""Which results lie in a folder, and what each of them is; a file that cannot be used costs one line."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gradvar.report import sections
from gradvar.report.measured import measurement
from gradvar.report.page import Section
from gradvar.report.trained import training

KINDS: Mapping[str, Callable[[Mapping[str, Any]], Section]] = {
    "measurement": measurement,
    "training": training,
    "advice": sections.advice,
    "audit": sections.audit,
    "proof": sections.proof,
    "analysis": sections.analysis,
    "check": sections.check,
}
_LARGEST = 256 * 2**20  # bytes


def read(place: Path) -> tuple[list[Section], list[str]]:
    """Read every result in a folder, or one file.

    Looks at ``*.json`` in the folder and in the folders in it; in those, what is no result is passed over in silence.
    Raises ``ValueError`` if there is no such place. Returns a section for each result, and a line for each file that is
    left out.
    """
    if not place.exists():
        raise ValueError(f"folder: {place} does not exist; give a folder of results, or a JSON file")
    if place.is_dir():
        try:
            next(place.iterdir(), None)  # glob finds nothing where it may not look
        except OSError as error:
            raise ValueError(
                f"folder: {place} cannot be listed ({error.strerror}); give one of its files"
            ) from None
    files = [place] if place.is_file() else [*sorted(place.glob("*.json")), *sorted(place.glob("*/*.json"))]
    results, lines, digests = [], [], set[str]()
    for file in files:
        name = str(file.name if place.is_file() else file.relative_to(place))
        try:
            raw = _bytes(file)
            digest = hashlib.sha256(raw).hexdigest()
            if digest in digests:  # the same twice, such as gradvar measure --json with --out
                continue
            digests.add(digest)
            section = _section(_parsed(raw))
            results.append(replace(section, file=name, title=section.title or file.stem))
        except _Unknown as error:
            if file.parent == place or place.is_file():
                lines.append(f"{name}: {error}")
        except (OSError, ValueError) as error:
            lines.append(f"{name}: {' '.join(str(error).split())}")
    return results, lines


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


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON ({error.msg}, line {error.lineno})") from None
    except RecursionError:
        raise ValueError("is nested too deeply to be a result") from None


def _section(content: Any) -> Section:
    kind = content.get("kind") if isinstance(content, Mapping) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise _Unknown(f"its 'kind' is none of {', '.join(KINDS)}, so gradvar did not write it as a result")
    try:
        return KINDS[kind](content)
    except Exception as error:  # whatever a damaged file holds, it is the file that is to be named
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"says it is of kind {kind}, but is damaged ({type(error).__name__}: {reason})"
        ) from None
