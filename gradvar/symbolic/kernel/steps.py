"""Certificates of the ledger's steps: what each decided, as goals over the reals for a fixed ladder of tactics.

A step is *kernel-checked* where every decision in it has a goal, and all these are closed. With one decision more, by
Python or with a limit in it, the step stays with SymPy ("CAS") or z3 ("SMT"), whatever else is closed. One that
compares floats is checked within the tolerance that it states, and counted by itself.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from gradvar.files.atomic import Lock, write_file
from gradvar.symbolic.certify.certificate import digest
from gradvar.symbolic.claims.outcome import Outcome
from gradvar.symbolic.claims.report import ClaimReport
from gradvar.symbolic.kernel.assumptions import asked, unexpected
from gradvar.symbolic.kernel.compiler import Compiled, Compiler
from gradvar.symbolic.kernel.development import PREFIX, CoqFile, Theorem, read_source

TABLE = "steps.csv"  # beside the theorems: the steps that were checked, with the digest of what they decided
_A_FILE = 100  # goals in one file
_ALL = "every_certificate"
_LONGEST_WAIT = 60.0  # seconds until another process has written the names of the closed goals


@dataclass(frozen=True)
class StepResult:
    """A step of a claim, or a sabotage: how many goals its decisions have, and how many of them are closed.

    ``obstacles`` says why decisions have no goal. ``digest`` names the set of decisions.
    """

    claim: str
    step: str
    judge: str
    goals: int
    closed: int
    obstacles: tuple[str, ...]
    digest: str

    @property
    def is_exportable(self) -> bool:
        """Whether every decision of it has a goal."""
        return self.goals > 0 and not self.obstacles

    @property
    def is_checked(self) -> bool:
        """Whether every decision of it has a goal that is closed."""
        return self.is_exportable and self.closed == self.goals

    @property
    def status(self) -> str:
        """``kernel-checked``, of floats within a tolerance, or who decided: ``CAS``, ``SMT`` or ``floats``."""
        if self.is_checked:
            return "kernel-checked within a tolerance" if self.judge == "floats" else "kernel-checked"
        return self.judge


def goals_of(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the goals of some checks, each once."""
    return list(dict.fromkeys(c.goal for o in outcomes for c in o.certified() if c.goal))


def certificate_files(goals: Sequence[str], ladder: CoqFile) -> list[CoqFile]:
    """Return the generated files with these goals, named by what they hold; goal ``i`` of a file is called ``c<i>``."""
    files = []
    for first in range(0, len(goals), _A_FILE):
        named = {f"c{i}": goal for i, goal in enumerate(goals[first : first + _A_FILE])}
        lines = [
            "(* Generated: what steps of the ledger decided. *)",
            "From Coq Require Import Reals.",
            f"From {PREFIX} Require Import {ladder.name}.",
            "Local Open Scope R_scope.",
            *(f"Definition {c} : checked ({goal}).\nProof. climb. Defined." for c, goal in named.items()),
            f"Definition {_ALL} := {_pairs(list(named))}.",
            asked(named),
        ]
        text = "\n".join(lines)
        name = f"certificates_{sha256(text.encode()).hexdigest()[:12]}"
        theorem = Theorem("", _ALL, "all certificates of this file", text)
        files.append(CoqFile(name, text, (theorem,), (ladder.name,)))
    return files


def _pairs(names: Sequence[str]) -> str:
    return f"({', '.join(names)})" if len(names) > 1 else names[0]


def closed_goals(
    goals: Mapping[str, Sequence[str]],
    folder: Path,
    compiler: Compiler,
    done: Callable[[Compiled], None] = lambda _: None,
    jobs: int = 1,
) -> dict[str, set[str]]:
    """Return the goals of each claim that the ladder closes.

    Args:
        goals: of each claim, by its id; a goal of several claims is given to the kernel once.
        folder: of the development, which has the ladder.
        compiler: the program.
        done: called with each file that was compiled.
        jobs: files at a time.

    A file that the compiler refuses, or one that rests on an axiom that is none of the reals, closes nothing. What is
    closed is kept by its text in the cache, so that an interrupted run goes on where it was; what stays open is tried
    again, as a tactic's limit of time depends on the machine.
    """
    ladder = read_source("ladder", (folder / "ladder.v").read_text(encoding="utf-8"))
    record = ClosedGoals.of(compiler, ladder)
    pending = [
        goal for goal in dict.fromkeys(g for texts in goals.values() for g in texts) if goal not in record
    ]
    files = {file.name: file for file in certificate_files(pending, ladder)}
    texts = {file: pending[i * _A_FILE : (i + 1) * _A_FILE] for i, file in enumerate(files)}

    def keep(compiled: Compiled) -> None:
        if compiled.name in files and not unexpected(compiled.assumptions.get(_ALL, ("nothing",))):
            names = (int(name[1:]) for name, is_closed in compiled.closed.items() if is_closed)
            record.add([texts[compiled.name][i] for i in names])
        done(compiled)

    if files:
        compiler.compile_all([ladder, *files.values()], keep, jobs)
    return {claim: {goal for goal in every if goal in record} for claim, every in goals.items()}


@dataclass(frozen=True)
class ClosedGoals:
    """The goals that a compiler's kernel and a ladder have closed, by their text, in a file of the cache."""

    path: Path
    names: set[str]

    @classmethod
    def of(cls, compiler: Compiler, ladder: CoqFile) -> "ClosedGoals":
        """Return what this compiler has closed with this ladder so far."""
        made_by = sha256(f"{compiler.version}\0{ladder.text}".encode()).hexdigest()[:32]
        path = compiler.cache / f"closed_{made_by}.txt"
        return cls(path, _words(path))

    def __contains__(self, goal: str) -> bool:
        return _name_of(goal) in self.names

    def add(self, goals: Sequence[str]) -> None:
        """Keep these goals as closed, beside those that another process has kept meanwhile."""
        with Lock(self.path.parent, "kernel", wait=_LONGEST_WAIT):
            self.names.update(_words(self.path), map(_name_of, goals))
            write_file(self.path, "\n".join(sorted(self.names)).encode())


def _words(path: Path) -> set[str]:
    """The words of a text file; what is no text, as in a damaged file, is no word that anyone looks for."""
    return set(path.read_text(encoding="utf-8", errors="replace").split()) if path.is_file() else set()


def _name_of(goal: str) -> str:
    return sha256(goal.encode()).hexdigest()


def result_of(claim: str, outcome: Outcome, closed: set[str]) -> StepResult:
    """Return how a check stands, given the goals of its claim that are closed."""
    goals = goals_of([outcome])
    return StepResult(
        claim,
        outcome.name,
        next(
            (judge for judge in ("floats", "SMT") if any(c.judge == judge for c in outcome.certified())),
            "CAS",
        ),
        len(goals),
        sum(goal in closed for goal in goals),
        tuple(sorted({c.obstacle for c in outcome.certified() if c.obstacle})),
        digest(outcome.certified()),
    )


def step_results(
    reports: Sequence[ClaimReport], closed: Mapping[str, set[str]], kind: str = "step"
) -> list[StepResult]:
    """Return how the steps (or the sabotages) of claims stand."""
    return [
        result_of(report.claim.id, outcome, closed.get(report.claim.id, set()))
        for report in reports
        for outcome in report.outcomes
        if outcome.kind == kind and outcome.holds
    ]


def share(results: Sequence[StepResult]) -> str:
    """Count what is closed: of all steps, those of floats apart, of those whose decisions all have goals, of goals."""
    checked = sum(r.is_checked for r in results)
    of_floats = sum(r.is_checked and r.judge == "floats" for r in results)
    exportable = sum(r.is_exportable for r in results)
    goals, closed = sum(r.goals for r in results), sum(r.closed for r in results)
    return (
        f"{checked} of {len(results)} steps are kernel-checked ({_percent(checked, len(results))}), "
        f"{of_floats} of them with floats within a tolerance; {exportable} steps have goals for all that they decide "
        f"(checked: {_percent(checked, exportable)}); {closed} of {goals} goals are closed"
    )


def _percent(part: int, total: int) -> str:
    return f"{100 * part / total:.0f} %" if total else "none"


def write_results(path: Path, results: Sequence[StepResult]) -> None:
    """Write the table of steps, which pages and the command read."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("claim", "step", "judge", "goals", "closed", "obstacles", "digest"))
        for r in results:
            writer.writerow((r.claim, r.step, r.judge, r.goals, r.closed, "; ".join(r.obstacles), r.digest))


@cache
def read_results(path: Path) -> Mapping[tuple[str, str], StepResult]:
    """Read the table of steps, by claim and step; empty where it is not there."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = [
            StepResult(
                row["claim"],
                row["step"],
                row["judge"],
                int(row["goals"]),
                int(row["closed"]),
                tuple(filter(None, row["obstacles"].split("; "))),
                row["digest"],
            )
            for row in csv.DictReader(file)
        ]
    return {(row.claim, row.step): row for row in rows}


def status_of(claim: str, outcome: Outcome, table: Mapping[tuple[str, str], StepResult]) -> str:
    """Return who checked what a step decided in this run; the kernel only if it had the same decisions before it."""
    present = result_of(claim, outcome, set())
    recorded = table.get((claim, outcome.name))
    return recorded.status if recorded and recorded.digest == present.digest else present.status
