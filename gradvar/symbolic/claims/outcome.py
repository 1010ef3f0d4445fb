"""How one check of a claim went."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gradvar.symbolic.certify.certificate import Certificate
from gradvar.symbolic.claims.goal import Discharge


@dataclass(frozen=True)
class Outcome:
    """How one step, sabotage or counterexample went.

    ``traced`` is a formula (LaTeX) that the check read from code, and that code as a jaxpr. ``discharged`` are the
    obligations that it decided; ``estimators`` the shipped estimators that it ran, with their pieces.
    ``certificates`` are goals for a proof kernel: all that it decided, or of a sabotage what it was rejected for;
    None where they were not asked for.
    """

    kind: Literal["step", "sabotage", "counterexample"]
    name: str
    holds: bool
    seconds: float
    evidence: Any = None
    error: str = ""
    traced: tuple[str, str] | None = None
    discharged: tuple[Discharge, ...] = ()
    estimators: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    certificates: tuple[Certificate, ...] | None = None

    def certified(self) -> tuple[Certificate, ...]:
        """Return the certificates. Raises ``ValueError`` where the claim was run without them."""
        if self.certificates is None:
            raise ValueError(
                f"{self.name}: it was run without certificates; verify its claim with certify=True"
            )
        return self.certificates


def estimators_of(outcomes: Iterable[Outcome]) -> dict[str, tuple[str, ...]]:
    """Return the shipped estimators that the checks ran, each with its pieces."""
    pieces: dict[str, set[str]] = {}
    for outcome in outcomes:
        if outcome.kind != "sabotage" and outcome.holds:
            for name, used in outcome.estimators.items():
                pieces.setdefault(name, set()).update(used)
    return {name: tuple(sorted(used)) for name, used in sorted(pieces.items())}
