"""The book of theorems as pages: every claim with its verdict, its checks and their evidence, from a run of all.

A run takes minutes, so its outcomes are stored under ``.cache/`` and used again as long as neither the claims, nor the
code that they are about, nor the versions of the checkers have changed. ``GRADVAR_DOCS_CLAIMS="A1 B3"`` makes the
pages of these alone.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradvar.cli.prove import select
from gradvar.report.book import View, index, section, view
from gradvar.symbolic import load
from gradvar.symbolic.claims.run import verify_all

ROOT = Path(__file__).resolve().parents[2]
FAMILIES = {
    "A": "It Takes Two",
    "B": "Estimators and their properties",
    "C": "Work that builds on it",
    "D": "Estimators as they are shipped",
    "L": "Lemmas",
    "N": "Our own theorems",
    "P": "Pieces as they are shipped",
    "R": "Recent work",
}
_CACHE = ROOT / ".cache" / "docs" / "claims.json"


@dataclass
class Book:
    """Pages, what replaces the marks in them, and their navigation."""

    pages: dict[str, str] = field(default_factory=dict)
    bodies: dict[str, str] = field(default_factory=dict)
    navigation: list[Any] = field(default_factory=list)


def pages() -> Book:
    """Make the index, and a page for every claim."""
    book, claims = Book(), _claims()
    book.pages["theorems/index.md"] = (
        f"---\nhide: [toc]\n---\n\n# Claims about group-relative policy gradients, checked\n\n{_mark('index')}\n"
    )
    book.bodies[_mark("index")] = _index(claims)
    book.navigation.append("theorems/index.md")
    families: dict[str, list[dict[str, str]]] = {}
    for claim in claims:
        name = claim["id"]
        address = f"theorems/{name}.md"
        title = f"{name}. {claim['title']}".replace("$", "").replace("\\", "")
        book.pages[address] = f"---\ntitle: {title!r}\n---\n\n{_mark(name)}\n"
        book.bodies[_mark(name)] = f'<div class="claim">{section(claim, level=1)}</div>'
        families.setdefault(name[0], []).append({title: address})
    book.navigation += [
        {f"{letter}. {FAMILIES.get(letter, 'Further claims')}": entries}
        for letter, entries in families.items()
    ]
    return book


def _mark(name: str) -> str:
    return f"<!-- claim {name} -->"


def _index(claims: list[View]) -> str:
    return (
        "<p>A title says what is claimed; the verdict is about the formal statement. The statement's relation to a"
        " source is given separately, and a paper is named next to a verdict only where it states or implies the"
        " statement. Each"
        " conclusion was shown by at least two routes, and every check rejected a false statement planted for it:"
        ' <a href="../trusted_base.html">what a verdict rests on</a>. <code>gradvar prove</code> runs them again;'
        f" <code>gradvar prove --html book.html</code> writes them to one page.</p>{index(claims, '{}.html')}"
    )


def _claims() -> list[View]:
    """Run the claims, or take their outcomes from the last run."""
    chosen = os.environ.get("GRADVAR_DOCS_CLAIMS", "").split()
    stamp = _stamp()
    if not chosen and _CACHE.exists():
        stored = json.loads(_CACHE.read_text(encoding="utf-8"))
        if stored["stamp"] == stamp:
            return stored["claims"]
    reports = verify_all(select(load(ROOT / "proofs"), tuple(chosen)), jobs=2, certify=True)
    failed = [report.claim.id for report in reports if not report.holds]
    if failed:
        raise ValueError(f"verdicts that do not hold: {', '.join(failed)}; gradvar prove --only {failed[0]}")
    claims = [view(report) for report in reports]
    if not chosen:
        _CACHE.parent.mkdir(parents=True, exist_ok=True)
        _CACHE.write_text(json.dumps({"stamp": stamp, "claims": claims}), encoding="utf-8")
    return claims


def _stamp() -> str:
    """A hash of everything that the outcomes depend on."""
    digest = hashlib.sha256()
    for folder in ("gradvar", "proofs"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    for package in ("jax", "jaxlib", "sympy", "z3-solver", "numpy"):
        digest.update(f"{package} {importlib.metadata.version(package)}".encode())
    return digest.hexdigest()
