"""A claim of the literature with its proof: a statement, checked steps, sabotages, a counterexample.

A claim file makes a ``Claim``, then adds steps to it:

    claim = sy.Claim(id="A1", title=..., statement=r"...", ..., verdict="proved")

    @claim.step("The advantages of a pair", route="traced code", shows=r"$A_1 = (r_1 - r_2)/2$")
    def advantages(factor=Rational(1, 2)):
        sy.equal(traced, factor * (r1 - r2))

    claim.sabotage("the whole gap for half of it", advantages, factor=1)

A step raises ``Rejected`` when what it shows is false. A sabotage runs the same step with something changed,
and must be ``Rejected``: any other end, an exception of another kind included, fails the claim.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Check = Callable[..., Any]
Verdict = Literal["proved", "refuted", "conditional", "open"]
Route = Literal["sympy", "smt", "enumeration", "traced code", "exact engine"]


@dataclass(frozen=True)
class Source:
    """Where the claim was made: arXiv id, version, place."""

    arxiv: str
    version: str = ""
    place: str = ""

    def __str__(self) -> str:
        return ", ".join(part for part in (f"{self.arxiv}{self.version}", self.place) if part)


@dataclass(frozen=True)
class ProofStep:
    """One checked step: what it shows (text with LaTeX between dollars), by which route, and the check."""

    name: str
    shows: str
    route: str
    check: Check


@dataclass(frozen=True)
class Sabotage:
    """A false statement that a step, run with these arguments, must reject."""

    name: str
    step: Check
    changes: dict[str, Any]


@dataclass(frozen=True)
class Counterexample:
    """Exact numbers that break the claim, or break it without its extra hypothesis, and the check that they do."""

    text: str
    numbers: dict[str, str]
    check: Check


@dataclass(frozen=True)
class Exhibit:
    """Evidence that a step returns for the book: a formula (LaTeX), the code it was traced from, or a table."""

    formula: str = ""
    code: str = ""
    table: tuple[tuple[str, ...], ...] = ()
    text: str = ""


@dataclass
class Claim:
    """One row of the ledger. ``statement``, ``hypotheses``, ``finding`` are text with LaTeX between dollars.

    ``ours`` marks a theorem of this project; ``path`` is set by the loader.
    """

    id: str
    title: str
    statement: str
    source: Source
    verdict: Verdict
    scope: str
    hypotheses: tuple[str, ...] = ()
    finding: str = ""
    ours: bool = False
    path: str = ""
    steps: list[ProofStep] = field(default_factory=list)
    sabotages: list[Sabotage] = field(default_factory=list)
    counterexamples: list[Counterexample] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.verdict not in get_args(Verdict):
            raise ValueError(f"verdict: {self.verdict!r}; give one of {', '.join(get_args(Verdict))}")

    def step(self, name: str, *, route: Route, shows: str = "") -> Callable[[Check], Check]:
        """Add the decorated function as the next step."""
        if route not in get_args(Route):
            raise ValueError(f"route: {route!r}; give one of {', '.join(get_args(Route))}")

        def add(check: Check) -> Check:
            self.steps.append(ProofStep(name, shows, route, check))
            return check

        return add

    def sabotage(self, name: str, step: Check, /, **changes: Any) -> None:
        """Add a false statement: ``step`` run with ``changes`` must be rejected."""
        if not changes:
            raise ValueError(f"changes: none given for the sabotage {name!r}; name what is perturbed")
        if step not in [s.check for s in self.steps] + [c.check for c in self.counterexamples]:
            raise ValueError(f"step: {step.__name__} is not a step or counterexample of claim {self.id}")
        self.sabotages.append(Sabotage(name, step, changes))

    def counterexample(self, text: str, /, **numbers: Any) -> Callable[[Check], Check]:
        """Add the decorated check as a counterexample with its exact numbers."""

        def add(check: Check) -> Check:
            shown = {name: str(value) for name, value in numbers.items()}
            self.counterexamples.append(Counterexample(text, shown, check))
            return check

        return add
