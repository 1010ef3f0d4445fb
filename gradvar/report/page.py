"""The report's page: findings first, then figures, tables, provenance and citations, section by section."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from markupsafe import Markup

from gradvar.report.citations import bibliography
from gradvar.report.html import Picture, Table, render


@dataclass(frozen=True)
class Section:
    """One file's part of the report.

    ``findings``: sentences, the first of them the most important; ``estimators`` and ``sources``: what there
    is to cite; ``more``: further markup, folded away under its name; ``latex``: findings have formulas between dollars.
    """

    title: str
    kind: str
    findings: Sequence[str]
    figures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    estimators: Sequence[str] = ()
    sources: Sequence[str] = ()
    more: Mapping[str, Markup] = field(default_factory=dict)
    file: str = ""
    latex: bool = False


def page(title: str, sections: Sequence[Section], unread: Sequence[str], date: str) -> str:
    """Set the whole report as one HTML file that needs no network.

    Args:
        title: The page's title.
        sections: Its parts.
        unread: A line for each file that is not in it.
        date: When it was made, in words.

    Returns:
        The page; characters that cannot be shown are written as escapes.
    """
    names = [name for section in sections for name in section.estimators]
    sources = [source for section in sections for source in section.sources]
    script = resources.files("gradvar.report").joinpath("templates/table.js").read_text(encoding="utf-8")
    return render(
        "page.html.j2",
        title=title,
        sections=sections,
        unread=unread,
        date=date,
        citations=bibliography(names, sources),
        policy=_policy(script),
        script=Markup(script),
    )


def printable(text: str) -> str:
    """Replace half a surrogate pair, which JSON may hold and no file, by a question mark."""
    return text.encode("utf-8", "replace").decode()


def stated_findings(content: Mapping[str, Any]) -> list[str]:
    """Return the findings that a file states. Raises ``TypeError`` if they are no sentences."""
    findings = content.get("findings", [])
    if not isinstance(findings, list) or not all(isinstance(sentence, str) for sentence in findings):
        raise TypeError("findings: no list of sentences")
    return findings


def _policy(script: str) -> str:
    """The page loads nothing and runs this script alone, whatever the names in a file may hold."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"script-src 'sha256-{digest}'"
    )


def provenance_texts(facts: Mapping[str, Any]) -> dict[str, str]:
    """Versions, device, seed, date, command and settings in words, the lengthy ones last."""
    shown: dict[str, str] = {}
    for name in ("date", "command", "device", "machine"):
        value = facts.get(name)
        if value:
            shown[name] = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    config = facts.get("config")
    config = config if isinstance(config, Mapping) else {}
    if "seed" in config:
        shown["seed"] = str(config["seed"])
    versions = facts.get("versions")
    if isinstance(versions, Mapping):
        shown["versions"] = ", ".join(f"{k} {v}" for k, v in versions.items())
    if config:
        shown["settings"] = ", ".join(f"{k} = {_setting(v)}" for k, v in config.items() if k != "seed")
    known = {"date", "command", "device", "machine", "versions", "config"}
    return shown | {
        str(k): str(v) for k, v in facts.items() if k not in known and not isinstance(v, dict | list)
    }


def _setting(value: Any) -> str:
    return " ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
