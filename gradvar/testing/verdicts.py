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
    """One law's verdict.

    ``universal``: a function that breaks it has an error, whatever it estimates. ``asked``: the user named it, or a
    setting asks for it. ``excepted`` is the reason why the user lets it go. ``example`` is the shrunk counterexample,
    ``reproduce`` a line for the shell.
    """

    name: str
    status: str
    declared: bool | None = None
    universal: bool = False
    asked: bool = False
    excepted: str = ""
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

    @property
    def decides(self) -> bool:
        """Return True if the verdict on this law is part of the verdict on the function."""
        wanted = self.universal or self.asked or self.declared is not None
        return wanted and not self.excepted and (self.status != OUT or self.declared is not None)

    @property
    def failed(self) -> bool:
        """Return True if the law decides, and not as it should."""
        if not self.decides:
            return False
        return not self.as_declared or (self.declared is None and self.status == FAILS)

    @property
    def exception(self) -> str:
        """What became of the user's exception: "excepted: reason", with a word where it is not needed; or ""."""
        if not self.excepted:
            return ""
        needed = self.status == FAILS or not self.as_declared
        return f"excepted: {self.excepted}" + ("" if needed else " (no longer needed)")

    def as_json(self) -> dict[str, Any]:
        """Plain data: name, status, declared, example, why, and the reason of an exception."""
        example = (
            None if self.example is None else {**_plain(dict(self.example)), "reproduce": self.reproduce}
        )
        return {
            "name": self.name,
            "status": self.status,
            "declared": self.declared,
            "decides": self.decides,
            "excepted": self.excepted,
            "example": example,
            "why": self.why,
        }


@dataclass(frozen=True)
class CheckReport:
    """All laws of one target.

    Universal laws decide, and those that are declared, asked for by name or by a setting. ``ok``: some law
    decided, each declared one is as declared, and no other that decides fails. An excepted law does not decide.
    """

    target: str
    results: tuple[LawResult, ...]
    note: str = ""

    @property
    def failures(self) -> tuple[LawResult, ...]:
        """The results that make ``ok`` false."""
        return tuple(r for r in self.results if r.failed)

    @property
    def decided(self) -> int:
        """The number of laws that decided."""
        return sum(r.decides for r in self.results)

    @property
    def ok(self) -> bool:
        """Return True if there are no ``failures``, and something was decided or excepted."""
        return not self.failures and any(r.decides or r.excepted for r in self.results)

    def __getitem__(self, law: str) -> LawResult:
        return next(r for r in self.results if r.name == law)

    def as_json(self) -> dict[str, Any]:
        """Plain data, as ``gradvar check --json`` writes it."""
        return {
            "kind": "check",
            "findings": self.findings(),
            "target": self.target,
            "ok": self.ok,
            "decided": self.decided,
            "note": self.note,
            "laws": [r.as_json() for r in self.results],
        }

    def findings(self) -> list[str]:
        """Return what the check shows, in sentences: what is wrong, then what kind of function it is."""
        wrong = self.failures
        profile = [r for r in self.results if not r.decides and not r.excepted and r.status != OUT]
        has, lacks = ([r.name for r in profile if r.status == status] for status in (HOLDS, FAILS))
        return [
            f"{'Passes' if self.ok else 'Does not pass'}: {len(wrong)} of {self.decided} deciding laws broken.",
            *(f"Not as declared: {r.name} {r.status}." for r in self.results if not r.as_declared),
            *(f"{r.name}: {r.exception}." for r in self.results if r.excepted),
            *(f"breaks {r.name}: {r.why or LAWS.get(r.name, '')}" for r in wrong if r.status == FAILS),
            *([f"Profile, which is no error: {', '.join(has)}."] if has else []),
            *([f"Not, which is no error either: {', '.join(lacks)}."] if lacks else []),
        ]

    def to_json(self) -> str:
        """The same as text; NaN and infinities are written as strings."""
        return json.dumps(self.as_json(), indent=2)

    def table(self) -> str:
        """The laws, for people: what is wrong, what holds, and what kind of function it is."""
        width = max((len(r.name) for r in self.results), default=0)
        wrong = self.failures
        right = [r for r in self.results if not r.failed and (r.decides or r.excepted)]
        profile = [r for r in self.results if not r.failed and not r.decides and not r.excepted]
        lines = [f"{self.target}: {self._headline()}"]
        lines += [f"  note: {line}" for line in self.note.splitlines()]
        lines += [line for r in wrong for line in self._lines(r, width, r.status)]
        lines += [line for r in right for line in self._lines(r, width, r.status)]
        if profile:
            lines.append("profile: what kind of function it is; nothing below is an error")
            words = {HOLDS: "yes", FAILS: "no"}
            asked = [r for r in profile if r.status in words]
            lines += [line for r in asked for line in self._lines(r, width, words[r.status])]
            reasons: dict[str, list[str]] = {}
            for r in profile:
                if r.status not in words:
                    reasons.setdefault(f"{r.status}: {r.why}" if r.why else r.status, []).append(r.name)
            lines += [f"  {reason} ({', '.join(names)})" for reason, names in reasons.items()]
        return "\n".join(lines)

    @staticmethod
    def _lines(r: LawResult, width: int, status: str) -> list[str]:
        """A law: its name, its status and a finding; below what is broken, a shell line that reproduces it."""
        declared = "" if r.declared is None else f" (declared {'true' if r.declared else 'false'})"
        more = "".join(f"  {text}" for text in (r.exception, r.why) if text)
        lines = [f"{'*' if r.failed else ' '} {r.name:<{width}}  {status}{declared}{more}"]
        if r.status == FAILS and r.reproduce and (r.failed or r.excepted):
            lines.append(f"  {'':<{width}}  $ {r.reproduce}")
        return lines

    def _headline(self) -> str:
        count = f"{self.decided} law{'s' * (self.decided != 1)} decided"
        if self.failures:
            return f"FAILS {', '.join(r.name for r in self.failures)} ({count})"
        return f"ok ({count})" if self.ok else "NOTHING DECIDED: no law that decides applies"


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
