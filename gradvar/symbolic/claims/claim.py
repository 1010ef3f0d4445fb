"""A claim of the literature with its proof: a statement, checked steps, sabotages, a counterexample.

A claim file makes a ``Claim``, then adds steps to it. Each discharges obligations of the statement:

    claim = sy.Claim(id="A1", title=..., statement=sy.Statement(goals={"advantage": sp.Eq(A, (r1 - r2) / 2)}, ...), ...)

    @claim.step("The advantages of a pair", route="traced code", shows=r"$A_1 = (r_1 - r_2)/2$")
    def advantages(factor=1):
        claim.goal("advantage").holds({A: factor * traced})

    claim.sabotage("twice the advantage", advantages, factor=2)

A step raises ``Rejected`` when what it shows is false. A sabotage runs the same step with something changed,
and must be ``Rejected``: any other end, an exception of another kind included, fails the claim.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from gradvar.symbolic.claims.goal import Goal
from gradvar.symbolic.claims.source import Source
from gradvar.symbolic.claims.statement import Statement

Check = Callable[..., Any]
Verdict = Literal["proved", "refuted", "conditional", "open"]
Route = Literal["sympy", "smt", "enumeration", "traced code", "executed code", "exact engine"]


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
    """One row of the ledger.

    Args:
        id: such as "A1a".
        title: a short title, text with LaTeX between dollars, as are ``proof``, ``scope`` and ``finding``.
        statement: the formal statement; its goals are what the steps have to discharge.
        source: where it comes from, and how it relates to what stands there.
        verdict: on the statement: proved; conditional, under a hypothesis of ours; refuted; open.
        scope: what is covered, in words.
        proof: three to six sentences that join the steps.
        finding: what a reader should take home.
        instead: what holds in a refuted statement's place, or beyond one that holds.
        path: set by the loader.
    """

    id: str
    title: str
    statement: Statement
    source: Source
    verdict: Verdict
    scope: str
    proof: str = ""
    finding: str = ""
    instead: Statement | None = None
    path: str = ""
    steps: list[ProofStep] = field(default_factory=list)
    sabotages: list[Sabotage] = field(default_factory=list)
    counterexamples: list[Counterexample] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.verdict not in get_args(Verdict):
            raise ValueError(f"verdict: {self.verdict!r}; give one of {', '.join(get_args(Verdict))}")
        if not isinstance(self.statement, Statement):
            raise ValueError(
                f"statement: {str(self.statement)[:60]!r}, in claim {self.id}, is no formal statement; "
                "give a Statement(goals={name: relation}, ...)"
            )
        names = [name for statement in self.statements for name in (*statement.goals, *statement.lemmas)]
        if repeated := [name for name in names if names.count(name) > 1]:
            raise ValueError(
                f"instead: {repeated[0]!r} is the name of a goal of the statement too; give another"
            )

    @property
    def statements(self) -> tuple[Statement, ...]:
        """The statement, and what holds instead of it or beyond it."""
        return (self.statement,) if self.instead is None else (self.statement, self.instead)

    def goal(self, name: str) -> Goal:
        """Return the obligation of this name, a goal or a lemma. Raises ``ValueError`` where there is none."""
        for statement in self.statements:
            if name in statement.goals or name in statement.lemmas:
                return Goal(statement, name)
        known = [n for statement in self.statements for n in (*statement.goals, *statement.lemmas)]
        raise ValueError(f"name: no goal {name!r} in claim {self.id}; there are {', '.join(known)}")

    @property
    def text(self) -> str:
        """The statement as text with LaTeX between dollars, printed from the formal object."""
        return self.statement.text

    @property
    def conditions(self) -> tuple[tuple[str, str], ...]:
        """The hypotheses in words, each once, with who states it."""
        given = [h for statement in self.statements for h in statement.given.values()]
        return tuple(dict.fromkeys((h.meaning, h.stated_by) for h in given))

    @property
    def judgement(self) -> str:
        """The verdict in words, with whose hypotheses it needs."""
        if self.verdict == "conditional":
            return (
                "proved under a hypothesis that the source does not state"
                if self.source.named
                else "conditional"
            )
        by_source = self.source.named and any(who == "source" for _, who in self.conditions)
        return (
            "proved, with the source's hypotheses" if self.verdict == "proved" and by_source else self.verdict
        )

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
