"""Which steps of the ledger the kernel checks: every step, and every sabotage, through the ladder of tactics.

    python -m benchmarks.certificates [--only B1 A6]

Runs the claims, closes what their steps decided, and writes ``proofs/kernel/steps.csv``; with ``--only``, the rows of
these claims. What a sabotage was rejected for must not be closed: one that is stops the run.
"""

import argparse

from gradvar.symbolic import load, proofs_folder
from gradvar.symbolic.claims.ledger import order, same_claim
from gradvar.symbolic.claims.run import verify_all
from gradvar.symbolic.kernel.compiler import Compiled, Compiler
from gradvar.symbolic.kernel.steps import (
    TABLE,
    closed_goals,
    goals_of,
    read_results,
    share,
    step_results,
    write_results,
)


def main() -> None:
    """Measure, print and write."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--only", nargs="*", default=[], help="ids of claims; all if left out")
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--no-sabotages", action="store_true", help="steps alone: sabotages take longest")
    arguments = options.parse_args()
    claims = [
        claim
        for claim in load(proofs_folder())
        if not arguments.only or any(same_claim(claim.id, name) for name in arguments.only)
    ]
    reports = verify_all(claims, jobs=arguments.jobs, certify=True)
    compiler, folder = Compiler.installed(), proofs_folder() / "kernel"

    def done(compiled: Compiled) -> None:
        count = f"{sum(compiled.closed.values())} of {len(compiled.closed)} closed"
        print(f"{compiled.name}: {compiled.error or count}, {compiled.seconds:.0f} s", flush=True)

    table = dict(read_results(folder / TABLE))
    for kind in ("step",) if arguments.no_sabotages else ("step", "sabotage"):
        goals = {r.claim.id: goals_of([o for o in r.outcomes if o.kind == kind]) for r in reports}
        results = step_results(reports, closed_goals(goals, folder, compiler, done, arguments.jobs), kind)
        if kind == "step":
            ids = {claim.id for claim in claims}
            table = {key: row for key, row in table.items() if key[0] not in ids}
            table |= {(row.claim, row.step): row for row in results}
            rows = sorted(table.values(), key=lambda row: order(row.claim))
            write_results(folder / TABLE, rows)
            print(share(rows))
            continue
        accepted = [f"{row.claim}: {row.step}" for row in results if row.closed]
        print(f"{len([r for r in results if r.goals])} sabotages with a goal, {len(accepted)} of them closed")
        if accepted:
            raise SystemExit("\n".join(accepted))


if __name__ == "__main__":
    main()
