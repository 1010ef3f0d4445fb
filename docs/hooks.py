"""Hooks of MkDocs that add to the written pages: notebooks, theorems, the reference, and other pages."""

from __future__ import annotations

import re
from typing import Any

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from pages import book, library, notebooks

_PAGES: dict[str, str] = {}  # the address of each made page, and its Markdown
_BODIES: dict[str, str] = {}  # what takes the place of a mark in a page, after Markdown was read


def on_config(config: Any) -> Any:
    """Make the pages and put them into the navigation, in place of the entries ``made``."""
    claims = book.pages()
    _PAGES.update(claims.pages | library.pages())
    _BODIES.update(claims.bodies)
    navigation = {
        "Notebooks": notebooks.navigation(),
        "Theorems": claims.navigation,
        "Reference": library.navigation(),
    }
    for entry in config.nav:
        (title,) = entry
        if entry[title] == "made":
            entry[title] = navigation[title]
    return config


@event_priority(100)  # before the plugin that renders notebooks looks for them
def on_files(files: Files, config: Any) -> Files:
    """Add what was made."""
    for address, text in _PAGES.items():
        files.append(File.generated(config, address, content=text))
    folder = str(notebooks.copies())
    for path in notebooks.sources():  # as files of a folder: what renders them does not know of made ones
        files.append(File(f"notebooks/{path.name}", folder, config.site_dir, config.use_directory_urls))
    for address, path in library.ELSEWHERE.items():
        files.append(File.generated(config, address, abs_src_path=str(library.ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead the links of a page that lies outside ``docs/`` to where they lead on the site; link claims to theirs.

    The search lists how-tos first: they have the words of trainers.
    """
    address = page.file.src_uri
    if address.startswith("howto/"):
        page.meta.setdefault("search", {"boost": 4})
    if address == "explore/index.md":
        return re.sub(r"\bclaim ([A-Z]\d+)\b", _to_claim, markdown)
    if address not in library.ELSEWHERE:
        return markdown
    return markdown.replace("](docs/", "](" + "../" * address.count("/"))


def _to_claim(named: re.Match[str]) -> str:
    address = f"theorems/{named[1]}.md"
    return f"[{named[0]}](../{address})" if address in _PAGES else named[0]


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Put the bodies in, which are HTML that Markdown must not touch; fold the long code of notebooks.

    Long names in tables may break behind the marks that join their words, and nowhere else.
    """
    if page.file.src_uri.startswith("notebooks/"):
        html = notebooks.folded(html)
    for mark, body in _BODIES.items():
        if mark in html:
            html = html.replace(mark, body)
    if page.file.src_uri.startswith("notebooks/"):
        return html
    html = re.sub(r"<td.*?</td>", _breakable, html, flags=re.DOTALL)
    return re.sub(r"(?<!-)--[A-Za-z][A-Za-z-]*(?=[^<>]*(?:<wbr>[^<>]*)*</code>)", _whole, html)


def _whole(option: re.Match[str]) -> str:
    """An option of the command line in code, which a browser would break behind its dashes."""
    return f'<span class="option">{option[0]}</span>'


def _breakable(cell: re.Match[str]) -> str:
    return re.sub(
        r"<code>[^<]*</code>", lambda code: re.sub(r"(?<=\w[_.=])(?=\w)", "<wbr>", code[0]), cell[0]
    )
