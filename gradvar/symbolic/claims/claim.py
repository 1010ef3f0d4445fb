"""A claim of the literature with its proof: a statement, checked steps, sabotages, a counterexample.

A claim file makes a ``Claim``, then hangs steps on it:

    claim = Claim(id="A1", title=..., statement=r"...", ..., verdict="proved")

    @claim.step("The advantages of a pair", route="traced code", shows=r"$A_1 = (r_1 - r_2)/2$")
    def advantages(factor=Rational(1, 2)):
        equal(traced, factor * (r1 - r2))

    claim.sabotage("the whole gap for half of it", advantages, factor=1)

A step raises ``Rejected`` when what it shows is false. A sabotage runs the same step with something changed,
and must be ``Rejected``: any other end, an exception of another kind included, fails the claim.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import sympy as sp

from gradvar.symbolic.claims.formula import to_mathml
from gradvar.symbolic.decide.equality import Rejected, require
from gradvar.symbolic.read.trace import recording

_MOST_VALUES = 8
_LONGEST_FORMULA = 400

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
    check: Callable[..., Any]


@dataclass(frozen=True)
class Sabotage:
    """A false statement that a step, run with these arguments, must reject."""

    name: str
    step: Callable[..., Any]
    changes: dict[str, Any]


@dataclass(frozen=True)
class Counterexample:
    """Exact numbers that break the claim (or break it without its extra hypothesis), and the check that they
    do."""

    text: str
    numbers: dict[str, str]
    check: Callable[..., Any]


@dataclass(frozen=True)
class Exhibit:
    """Evidence that a step returns for the book: a formula (LaTeX), the code it was traced from, or a
    table."""

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

    def step(
        self, name: str, *, route: Route, shows: str = ""
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Add the decorated function as the next step."""
        if route not in get_args(Route):
            raise ValueError(f"route: {route!r}; give one of {', '.join(get_args(Route))}")

        def add(check: Callable[..., Any]) -> Callable[..., Any]:
            self.steps.append(ProofStep(name, shows, route, check))
            return check

        return add

    def sabotage(self, name: str, step: Callable[..., Any], /, **changes: Any) -> None:
        """Add a false statement: ``step`` run with ``changes`` must be rejected."""
        if not changes:
            raise ValueError(f"changes: none given for the sabotage {name!r}; name what is perturbed")
        if step not in [s.check for s in self.steps] + [c.check for c in self.counterexamples]:
            raise ValueError(f"step: {step.__name__} is not a step or counterexample of claim {self.id}")
        self.sabotages.append(Sabotage(name, step, changes))

    def counterexample(
        self, text: str, /, **numbers: Any
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Add the decorated check as a counterexample with its exact numbers."""

        def add(check: Callable[..., Any]) -> Callable[..., Any]:
            shown = {name: str(value) for name, value in numbers.items()}
            self.counterexamples.append(Counterexample(text, shown, check))
            return check

        return add


@dataclass(frozen=True)
class Outcome:
    """How one step, sabotage or counterexample went.

    ``traced`` is a formula (LaTeX) that the check read from code, and that code as a jaxpr.
    """

    kind: Literal["step", "sabotage", "counterexample"]
    name: str
    holds: bool
    seconds: float
    evidence: Any = None
    error: str = ""
    traced: tuple[str, str] | None = None


@dataclass(frozen=True)
class ClaimReport:
    """The outcome of one claim. ``holds`` only if everything that the verdict needs was found."""

    claim: Claim
    outcomes: tuple[Outcome, ...]
    complaints: tuple[str, ...]
    seconds: float

    @property
    def holds(self) -> bool:
        """Every step passed, every sabotage was rejected, and nothing that the verdict needs is missing."""
        return not self.complaints and all(outcome.holds for outcome in self.outcomes)

    @property
    def routes(self) -> tuple[str, ...]:
        """The routes of the steps that passed, in order of first use."""
        passed = {o.name for o in self.outcomes if o.holds and o.kind == "step"}
        return tuple(dict.fromkeys(s.route for s in self.claim.steps if s.name in passed))

    def as_dict(self) -> dict[str, Any]:
        """The claim as data, for JSON."""
        claim = self.claim
        return {
            "id": claim.id,
            "title": claim.title,
            "statement": claim.statement,
            "source": str(claim.source),
            "verdict": claim.verdict,
            "holds": self.holds,
            "hypotheses": list(claim.hypotheses),
            "scope": claim.scope,
            "finding": claim.finding,
            "counterexample": [{"text": c.text, **c.numbers} for c in claim.counterexamples] or None,
            "routes": list(self.routes),
            "steps": [{"name": s.name, "route": s.route, "shows": s.shows} for s in claim.steps],
            "sabotages": [s.name for s in claim.sabotages],
            "errors": (
                [f"{o.kind} {o.name}: {o.error}" for o in self.outcomes if not o.holds]
                + list(self.complaints)
            ),
            "seconds": round(self.seconds, 3),
        }


def verify(claim: Claim) -> ClaimReport:
    """Run every step, counterexample and sabotage of a claim. Never raises for a claim that fails: it
    reports."""
    start = time.perf_counter()
    outcomes = [_run("step", s.name, s.check, {}) for s in claim.steps]
    outcomes += [_run("counterexample", c.text, c.check, {}) for c in claim.counterexamples]
    outcomes += [_run_sabotage(s) for s in claim.sabotages]
    return ClaimReport(
        claim, tuple(outcomes), tuple(_complaints(claim, outcomes)), time.perf_counter() - start
    )


def _run(kind: Any, name: str, check: Callable[..., Any], changes: dict[str, Any]) -> Outcome:
    start = time.perf_counter()
    try:
        with recording() as traces:
            evidence = check(**changes)
    except Exception as error:
        return Outcome(kind, name, False, time.perf_counter() - start, error=_describe(error))
    seconds = time.perf_counter() - start
    return Outcome(kind, name, True, seconds, evidence=evidence, traced=_shown(traces))


def _shown(traces: list[tuple[Any, list[Any]]]) -> tuple[str, str] | None:
    """The richest formula among the traces that still fits a line, and the code it was read from."""
    best: tuple[str, Any] | None = None
    for code, results in traces:
        values = [value for array in results for value in array.flat if isinstance(value, sp.Basic)]
        formula = ", ".join(map(sp.latex, values)) if len(values) <= _MOST_VALUES else ""
        if len(formula) <= _LONGEST_FORMULA and (best is None or len(formula) > len(best[0])):
            best = formula, code
    if best is None or not best[0]:
        return None
    try:
        to_mathml(best[0])
    except ValueError:  # a function that only SymPy's printer knows
        return None
    return best[0], str(best[1])


def _run_sabotage(sabotage: Sabotage) -> Outcome:
    start = time.perf_counter()
    try:
        sabotage.step(**sabotage.changes)
        error = "accepted: the check cannot tell the false statement from the true one"
        holds = False
    except Rejected as rejection:
        error, holds = str(rejection), True
    except Exception as other:
        error, holds = f"not rejected but crashed: {_describe(other)}", False
    seconds = time.perf_counter() - start
    return Outcome("sabotage", sabotage.name, holds, seconds, evidence=error if holds else None, error=error)


def _describe(error: Exception) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    at = "" if isinstance(error, Rejected) else f" ({place.filename.rsplit('/', 1)[-1]}:{place.lineno})"
    return f"{type(error).__name__}: {error}{at}"


def _complaints(claim: Claim, outcomes: Iterable[Outcome]) -> list[str]:
    """What the verdict still needs."""
    missing = []
    passed = {o.name for o in outcomes if o.holds and o.kind == "step"}
    routes = {s.route for s in claim.steps if s.name in passed}
    if claim.verdict != "open":
        if len(routes) < 2:
            missing.append(f"a verdict needs two independent routes; this one has {len(routes)}")
        if not claim.sabotages:
            missing.append("no sabotage: nothing shows that the checks can fail")
    if claim.verdict in ("refuted", "conditional") and not claim.counterexamples:
        missing.append(f"a {claim.verdict} claim needs a counterexample in exact numbers")
    if claim.verdict == "open" and not claim.finding:
        missing.append("an open claim says in 'finding' what was tried")
    if not claim.steps:
        missing.append("no steps")
    names = [s.name for s in claim.steps]
    if len(set(names)) < len(names):
        missing.append("two steps have the same name")
    return missing


__all__ = [
    "Claim",
    "ClaimReport",
    "Counterexample",
    "Exhibit",
    "Outcome",
    "Rejected",
    "Source",
    "require",
    "verify",
]
