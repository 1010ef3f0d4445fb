"""Which steps of the ledger the kernel checks, and which sabotages it refutes, through the ladder of tactics.

    python -m benchmarks.certificates [--only B1 A6] [--no-sabotages | --no-steps | --left-open] [--with-theorems]

Runs the claims, closes what their steps decided, and writes ``proofs/kernel/steps.csv``. Of each sabotage it then
closes that the statement is false at a point, and writes ``proofs/kernel/refused.csv``; where no such point is known,
or the ladder does not get there, it must not close the false statement: one that it closes stops the run. With
``--only`` or ``--with-theorems``, the rows of these claims; with ``--left-open``, of the steps that the table does not
call checked.
"""

import argparse
import csv
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from gradvar.symbolic import load, proofs_folder
from gradvar.symbolic.claims.claim import Claim
from gradvar.symbolic.claims.ledger import order, same_claim
from gradvar.symbolic.claims.report import ClaimReport
from gradvar.symbolic.claims.run import verify_all
from gradvar.symbolic.kernel.compiler import Compiled, Compiler
from gradvar.symbolic.kernel.development import read_development, theorems_by_claim
from gradvar.symbolic.kernel.steps import (
    TABLE,
    closed_goals,
    goals_of,
    read_results,
    share,
    step_results,
    write_results,
)

REFUSED = "refused.csv"
_COLUMNS = ("claim", "sabotage", "kernel", "obstacle")


def main() -> None:
    """Measure, print and write."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--only", nargs="*", default=[], help="ids of claims; all if left out")
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--no-sabotages", action="store_true", help="steps alone")
    options.add_argument("--no-steps", action="store_true", help="sabotages alone")
    options.add_argument(
        "--with-theorems", action="store_true", help="claims that have a theorem in proofs/kernel"
    )
    options.add_argument(
        "--left-open", action="store_true", help="steps alone, those that the table does not call checked"
    )
    arguments = options.parse_args()
    folder = proofs_folder() / "kernel"
    names = list(arguments.only)
    if arguments.with_theorems:
        names += theorems_by_claim(read_development(folder))
    claims = [
        claim
        for claim in load(proofs_folder())
        if not names or any(same_claim(claim.id, name) for name in names)
    ]
    if arguments.left_open:
        claims = [claim for claim in map(partial(_left_open, folder / TABLE), claims) if claim.steps]
    # Processes load claims afresh, with all of their steps.
    reports = verify_all(claims, jobs=1 if arguments.left_open else arguments.jobs, certify=True)
    compiler = Compiler.installed()

    def done(compiled: Compiled) -> None:
        count = f"{sum(compiled.closed.values())} of {len(compiled.closed)} closed"
        print(f"{compiled.name}: {compiled.error or count}, {compiled.seconds:.0f} s", flush=True)

    def closed(goals: dict[str, list[str]]) -> dict[str, set[str]]:
        return closed_goals(goals, folder, compiler, done, arguments.jobs)

    if not arguments.no_steps:
        _steps(reports, closed, folder / TABLE)
    if not (arguments.no_sabotages or arguments.left_open):
        _sabotages(reports, closed, folder / REFUSED)


def _left_open(path: Path, claim: Claim) -> Claim:
    """The claim with the steps alone that the table does not call checked."""
    table = read_results(path)
    steps = [s for s in claim.steps if (row := table.get((claim.id, s.name))) is None or not row.is_checked]
    return replace(claim, steps=steps, sabotages=[], counterexamples=[])


Closing = Callable[[dict[str, list[str]]], dict[str, set[str]]]


def _steps(reports: Sequence[ClaimReport], closed: Closing, path: Path) -> None:
    """Close what steps decided, and write their rows; a step that its claim no longer has loses its own."""
    goals = {r.claim.id: goals_of([o for o in r.outcomes if o.kind == "step"]) for r in reports}
    names = {claim.id: {step.name for step in claim.steps} for claim in load(proofs_folder())}
    table = {key: row for key, row in read_results(path).items() if key[1] in names.get(key[0], ())}
    table |= {(row.claim, row.step): row for row in step_results(reports, closed(goals))}
    rows = sorted(table.values(), key=lambda row: order(row.claim))
    write_results(path, rows)
    print(share(rows))


def _sabotages(reports: Sequence[ClaimReport], closed: Closing, path: Path) -> None:
    """Refute what sabotages state, and write the rows of their claims; stop at one that the ladder takes for true."""
    planted = {
        (report.claim.id, outcome.name): certificate
        for report in reports
        for outcome in report.outcomes
        if outcome.kind == "sabotage"
        for certificate in outcome.certified()
    }
    refuted = closed(_by_claim({key: c.refutation for key, c in planted.items() if c.refutation}))
    left = {
        key: c.goal for key, c in planted.items() if c.goal and c.refutation not in refuted.get(key[0], ())
    }
    accepted = closed(_by_claim(left))
    if wrong := [key for key, goal in left.items() if goal in accepted[key[0]]]:
        raise SystemExit("\n".join(f"{claim}: {sabotage} is closed" for claim, sabotage in wrong))
    rows: list[tuple[str, ...]] = [
        (*key, "left open" if key in left else "refuted" if c.goal else "no goal", c.obstacle)
        for key, c in planted.items()
    ]
    rows += [
        (r.claim.id, o.name, "no goal", "no decision was rejected")
        for r in reports
        for o in r.outcomes
        if o.kind == "sabotage" and not o.certified()
    ]
    ids = {report.claim.id for report in reports}
    kept = [row for row in _read(path) if row[0] not in ids]
    rows = sorted([*kept, *rows], key=lambda row: order(row[0]))
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([_COLUMNS, *rows])
    counts = {state: sum(row[2] == state for row in rows) for state in ("refuted", "left open", "no goal")}
    print(f"{len(rows)} sabotages, none closed: {', '.join(f'{n} {state}' for state, n in counts.items())}")


def _by_claim(goals: dict[tuple[str, str], str]) -> dict[str, list[str]]:
    claims: dict[str, list[str]] = {}
    for (claim, _), goal in goals.items():
        claims.setdefault(claim, []).append(goal)
    return claims


def _read(path: Path) -> list[tuple[str, ...]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [tuple(row.values()) for row in csv.DictReader(file)]


if __name__ == "__main__":
    main()
