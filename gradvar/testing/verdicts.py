"""The verdicts of a check: as data, as JSON and as a table."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradvar.testing.names import LAWS

HOLDS, FAILS, OUT = "holds", "fails", "does not apply"


@dataclass(frozen=True)
class LawResult:
    """One law's verdict: ``example`` is the shrunk counterexample, ``reproduce`` a line for the shell."""

    name: str
    status: str
    declared: bool | None = None
    universal: bool = False
    asked: bool = False
    example: Mapping[str, Any] | None = None
    why: str = ""
    reproduce: str = ""

    @property
    def as_declared(self) -> bool:
        """Return True if the verdict is the declared one, or none is declared.

        A law that does not apply is not as declared: it was not checked.
        """
        if self.declared is None:
            return True
        return self.status == (HOLDS if self.declared else FAILS)

    def as_json(self) -> dict[str, Any]:
        """Plain data: name, status, declared, example, why."""
        example = (
            None if self.example is None else {**_plain(dict(self.example)), "reproduce": self.reproduce}
        )
        return {
            "name": self.name,
            "status": self.status,
            "declared": self.declared,
            "example": example,
            "why": self.why,
        }


@dataclass(frozen=True)
class CheckReport:
    """All laws of one target.

    ``ok``: every declared law is as declared; if none is declared, no universal law fails.
    """

    target: str
    results: tuple[LawResult, ...]
    note: str = ""

    @property
    def failures(self) -> tuple[LawResult, ...]:
        """The results that make ``ok`` false."""
        some = any(r.declared is not None for r in self.results)

        def decides(result: LawResult) -> bool:
            return result.asked or (not some and result.universal)

        return tuple(
            r
            for r in self.results
            if not r.as_declared or (r.declared is None and decides(r) and r.status == FAILS)
        )

    @property
    def ok(self) -> bool:
        """Return True if there are no ``failures``."""
        return not self.failures

    def __getitem__(self, law: str) -> LawResult:
        return next(r for r in self.results if r.name == law)

    def as_json(self) -> dict[str, Any]:
        """Plain data, as ``gradvar check --json`` writes it."""
        return {
            "kind": "check",
            "findings": self.findings(),
            "target": self.target,
            "ok": self.ok,
            "laws": [r.as_json() for r in self.results],
        }

    def findings(self) -> list[str]:
        """Return what the check shows, in sentences."""
        failing = [r for r in self.results if r.status == FAILS]
        count = f"{len(failing)} of {len(self.results)} law{'s' * (len(self.results) != 1)} fail"
        return [
            f"{'Passes' if self.ok else 'Does not pass'}: {count}.",
            *(f"Not as declared: {r.name} {r.status}." for r in self.results if not r.as_declared),
            *(f"fails {r.name}: {r.why or LAWS.get(r.name, '')}" for r in failing),
        ]

    def to_json(self) -> str:
        """The same as text; NaN and infinities are written as strings."""
        return json.dumps(self.as_json(), indent=2)

    def table(self) -> str:
        """A table of the laws, for people: verdict, finding and a shell line that reproduces it."""
        width = max(len(r.name) for r in self.results)
        failed = ", ".join(r.name for r in self.failures)
        lines = [f"{self.target}: {f'FAILS {failed}' if failed else 'ok'}"]
        if self.note:
            lines.append(f"  note: {self.note}")
        for r in self.results:
            mark = "*" if r in self.failures else " "
            declared = "" if r.declared is None else f" (declared {'true' if r.declared else 'false'})"
            lines.append(f"{mark} {r.name:<{width}}  {r.status}{declared}{'  ' + r.why if r.why else ''}")
            if r.status == FAILS and r.reproduce:
                lines.append(f"  {'':<{width}}  $ {r.reproduce}")
        if any(r.status == FAILS for r in self.results):
            some = any(r.declared is not None for r in self.results)
            mark = f"* decides: {'declared' if some else 'every sane estimator obeys it'}; " if failed else ""
            lines.append(f"{mark}other laws that fail only tell estimators apart")
        return "\n".join(lines)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
