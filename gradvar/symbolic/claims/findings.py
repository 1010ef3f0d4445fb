"""The findings of a run of proofs, in sentences: text with LaTeX between dollars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any


def findings(claims: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the sentences on claims as plain values: the tally, what failed, and what is not simply proved."""
    failed = [c for c in claims if not c["holds"]]
    counts = Counter("fails" if c in failed else c["verdict"] for c in claims)
    tally = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    verdicts = f"{len(failed)} verdict{'s' * (len(failed) != 1)}"
    return [
        f"{tally}; {f'{verdicts} not held up' if failed else 'every verdict holds'}.",
        *(f"{c['id']} does not check: {'; '.join(c['errors']) or 'no reason given'}" for c in failed),
        *(_sentence(c) for c in claims if c["verdict"] != "proved" and c not in failed),
    ]


def _sentence(claim: Mapping[str, Any]) -> str:
    """Begin with the verdict only where it may stand next to a source's name."""
    heading = f"{claim['id']}, {claim['title']}"
    if claim["verdict"] == "refuted" and not claim.get("named", False):
        opening = f"{heading}: refuted; {claim.get('attribution') or 'the source does not state it'}"
    else:
        opening = f"{claim['verdict']} {heading}"
    return f"{opening}. {claim['finding']}".strip()
