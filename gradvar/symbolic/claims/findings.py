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
        *(
            f"{c['verdict']} {c['id']}, {c['title']}. {c['finding']}".strip()
            for c in claims
            if c["verdict"] != "proved" and c not in failed
        ),
    ]
