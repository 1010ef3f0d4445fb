"""The book of theorems as pages: every claim with its verdict, its checks and their evidence, from a run of all.

A run takes minutes, so its outcomes are kept under ``.cache/`` and used again as long as neither the claims, nor the
code that they are about, nor the versions of what checks them have changed. ``GRADVAR_DOCS_CLAIMS="A1 B3"`` makes the
pages of these alone.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradvar.cli.prove import select
from gradvar.report.book import index, section
from gradvar.symbolic import load
from gradvar.symbolic.claims.claim import ClaimReport
from gradvar.symbolic.claims.run import verify_all

ROOT = Path(__file__).resolve().parents[2]
FAMILIES = {
    "A": "It Takes Two",
    "B": "Estimators and their properties",
    "C": "Work that builds on it",
    "N": "Our own theorems",
}
_KEPT = ROOT / ".cache" / "docs" / "claims.pickle"


@dataclass
class Book:
    """Pages, what replaces the marks in them, and their navigation."""

    pages: dict[str, str] = field(default_factory=dict)
    bodies: dict[str, str] = field(default_factory=dict)
    navigation: list[Any] = field(default_factory=list)


def pages() -> Book:
    """The index, and a page for every claim."""
    book, reports = Book(), _reports()
    book.pages["theorems/index.md"] = (
        f"# Claims about group-relative policy gradients, checked\n\n{_mark('index')}\n"
    )
    book.bodies[_mark("index")] = _index(reports)
    book.navigation.append("theorems/index.md")
    families: dict[str, list[dict[str, str]]] = {}
    for report in reports:
        claim = report.claim
        address = f"theorems/{claim.id}.md"
        title = f"{claim.id}. {claim.title}".replace("$", "").replace("\\", "")
        book.pages[address] = f"---\ntitle: {title!r}\n---\n\n{_mark(claim.id)}\n"
        book.bodies[_mark(claim.id)] = f'<div class="claim">{section(report, level=1)}</div>'
        families.setdefault(claim.id[0], []).append({title: address})
    book.navigation += [{f"{letter}. {FAMILIES[letter]}": claims} for letter, claims in families.items()]
    return book


def _mark(name: str) -> str:
    return f"<!-- claim {name} -->"


def _index(reports: list[ClaimReport]) -> str:
    return (
        "<p>Titles say what is claimed, verdicts what became of it. Every verdict rests on two independent routes at"
        " least, and every check rejected a false statement planted for it. <code>gradvar prove</code> runs them again;"
        f" <code>gradvar prove --html book.html</code> writes them to one page.</p>{index(reports, '{}.html')}"
    )


def _reports() -> list[ClaimReport]:
    wanted = os.environ.get("GRADVAR_DOCS_CLAIMS", "").split()
    claims = select(load(ROOT / "proofs"), tuple(wanted))
    stamp = _stamp()
    if not wanted and _KEPT.exists():
        kept_stamp, outcomes = pickle.loads(_KEPT.read_bytes())
        if kept_stamp == stamp:
            return [ClaimReport(claim, *outcomes[claim.id]) for claim in claims]
    reports = verify_all(claims, jobs=2)
    failed = [report.claim.id for report in reports if not report.holds]
    if failed:
        raise ValueError(f"verdicts that do not hold: {', '.join(failed)}; gradvar prove --only {failed[0]}")
    if not wanted:
        _keep(stamp, reports)
    return reports


def _keep(stamp: str, reports: list[ClaimReport]) -> None:
    outcomes = {report.claim.id: (report.outcomes, report.complaints, report.seconds) for report in reports}
    _KEPT.parent.mkdir(parents=True, exist_ok=True)
    _KEPT.write_bytes(pickle.dumps((stamp, outcomes)))


def _stamp() -> str:
    """A hash of everything that the outcomes depend on."""
    digest = hashlib.sha256()
    for folder in ("gradvar", "proofs"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    for package in ("jax", "jaxlib", "sympy", "z3-solver", "numpy"):
        digest.update(f"{package} {importlib.metadata.version(package)}".encode())
    return digest.hexdigest()
