"""The report's page: findings first, then figures, tables, provenance and citations, section by section."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import unescape
from typing import Any

from gradvar.report.assets import POLICY, SCRIPT, STYLE
from gradvar.report.citations import bibliography
from gradvar.report.html import (
    Markup,
    Picture,
    Table,
    definitions,
    element,
    items,
    join,
    picture,
    table,
    text,
)

_FEW = 4  # sentences that one column of figures is as tall as


@dataclass(frozen=True)
class Section:
    """What one file says.

    ``findings``: sentences, the first of them the most important; ``estimators`` and ``sources``: what there
    is to cite; ``more``: further markup, folded away under its name.
    """

    title: str
    kind: str
    findings: Sequence[Any]
    figures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    estimators: Sequence[str] = ()
    sources: Sequence[str] = ()
    more: Mapping[str, Markup] = field(default_factory=dict)
    file: str = ""


def page(title: str, sections: Sequence[Section], unread: Sequence[str], made: str) -> str:
    """The whole report as one HTML file that needs no network. ``unread``: a line for each file that is not in it."""
    names = [f"part-{k}" for k in range(1, len(sections) + 1)]
    body = join(_section(section, name) for section, name in zip(sections, names, strict=True))
    left_out = element(
        "div", element("p", "Not in this report:") + items(unread), class_="unread"
    ) if unread else Markup("")  # fmt: skip
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        + f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        + element("title", title)
        + f"<style>{STYLE}</style>"
    )
    top = element("header", element("h1", title) + element("p", made, class_="meta"))
    main = element("main", _overview(sections, names) + left_out + body + _citations(sections))
    foot = element("footer", "Made by gradvar report. One file; nothing in it is loaded from elsewhere.")
    script = f"<script>{SCRIPT}</script>"
    html = (
        f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{top}{main}{foot}{script}</body></html>\n'
    )
    return _printable(html)


def plain(sentence: str) -> str:
    """A finding without its markup, for a terminal or a JSON file."""
    if not isinstance(sentence, Markup):
        return _printable(sentence)
    formulas = re.sub(r'<math alttext="([^"]*)".*?</math>', r"$\1$", sentence, flags=re.DOTALL)
    return _printable(unescape(re.sub(r"<[^>]*>", "", formulas)))


def _printable(words: str) -> str:
    """Half a surrogate pair, which JSON may hold, cannot be written; a question mark can."""
    return words.encode("utf-8", "replace").decode()


def _overview(sections: Sequence[Section], names: Sequence[str]) -> Markup:
    """What every part found, in a sentence each, where there are several parts."""
    if len(sections) < 2:
        return Markup("")
    lines = [_line(s, name) for s, name in zip(sections, names, strict=True)]
    return element(
        "nav", Markup(element("h2", "In short") + items(lines, class_="findings")), aria_label="In short"
    )


def _line(section: Section, name: str) -> Markup:
    """A link to the section, the file it is from, and its first finding."""
    link = element("a", section.title, href=f"#{name}") + (f" ({section.file})" if section.file else "")
    return link + ": " + text(section.findings[0]) if section.findings else link


def _section(section: Section, name: str) -> Markup:
    source = f"{section.kind}, from {section.file}" if section.file else section.kind
    parts = [element("h2", section.title), element("p", source, class_="meta")]
    told, shown = items(section.findings, class_="findings"), join(map(picture, section.figures))
    # The sentences stand in the figures' grid, so that a wide window is not left empty beside them.
    wide = "told wide" if len(section.findings) > _FEW else "told"
    grid = element("div", element("div", told, class_=wide) + shown, class_="figures")
    parts.append(grid if shown else told)
    parts += [table(t) for t in section.tables]
    parts += [
        element("details", element("summary", label) + content) for label, content in section.more.items()
    ]
    if section.provenance:
        shown = definitions(provenance(section.provenance))
        parts.append(element("details", element("summary", "Where these numbers come from") + shown))
    return element("section", join(parts), id=name)


def provenance(found: Mapping[str, Any]) -> dict[str, str]:
    """Versions, device, seed, date, command and settings in words, the lengthy ones last."""
    shown: dict[str, str] = {}
    for name in ("date", "command", "device", "machine"):
        value = found.get(name)
        if value:
            shown[name] = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    config = found.get("config")
    config = config if isinstance(config, Mapping) else {}
    if "seed" in config:
        shown["seed"] = str(config["seed"])
    versions = found.get("versions")
    if isinstance(versions, Mapping):
        shown["versions"] = ", ".join(f"{k} {v}" for k, v in versions.items())
    if config:
        shown["settings"] = ", ".join(f"{k} = {_setting(v)}" for k, v in config.items() if k != "seed")
    known = {"date", "command", "device", "machine", "versions", "config"}
    return shown | {
        str(k): str(v) for k, v in found.items() if k not in known and not isinstance(v, dict | list)
    }


def _setting(value: Any) -> str:
    return " ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def _citations(sections: Sequence[Section]) -> Markup:
    names = [name for s in sections for name in s.estimators]
    sources = [source for s in sections for source in s.sources]
    entries = bibliography(names, sources)
    lead = element(
        "p", "BibTeX of what was used here; authors are those that the catalogue states.", class_="meta"
    )
    box = element("pre", entries, tabindex="0", aria_label="BibTeX entries")
    return element("section", element("h2", "To cite") + lead + box, id="citations")
