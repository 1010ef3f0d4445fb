"""``gradvar prove --kernel``: the theorems that a proof kernel checks, and their bridges to the shipped code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradvar.stats.sheet import Sheet
    from gradvar.symbolic.kernel.compiler import Compiled, Compiler
    from gradvar.symbolic.kernel.run import Checked
    from gradvar.symbolic.kernel.steps import StepResult


def check_kernel(
    only: tuple[str, ...], json: Path | None, quiet: bool, jobs: int, *, steps: bool = False
) -> int:
    """Check the theorems of these claims, or all; 0 where every one holds, else 1.

    Args:
        only: ids of claims; none means all.
        json: a file for the results.
        quiet: no line for each file.
        jobs: files at a time.
        steps: whether what the steps of the claims decided is checked as well.

    Raises ``FileNotFoundError`` that says how to get the kernel where none is installed.
    """
    from gradvar.cli.streams import Screen, console
    from gradvar.files.tables import to_plain, write_json
    from gradvar.symbolic.claims.ledger import load, order, proofs_folder, same_claim
    from gradvar.symbolic.kernel.compiler import Compiler
    from gradvar.symbolic.kernel.run import check_sources, read_kernel

    def wanted(claim: str) -> bool:
        return not only or any(same_claim(claim, identifier) for identifier in only)

    compiler = Compiler.installed()
    sources = read_kernel(proofs_folder(), wanted)
    claims = {theorem.claim for source in sources for theorem in source.theorems}
    if steps:
        claims |= {claim.id for claim in load(proofs_folder())}
    missing = [name for name in only if not any(same_claim(claim, name) for claim in claims)]
    if missing:
        raise ValueError(
            f"only: no theorem of {missing[0]} in proofs/kernel; add --steps for the steps of its claim, or leave"
            " --kernel out to run it"
        )
    progress = console(errors=True)

    def done(compiled: Compiled) -> None:
        if not quiet:
            again = "as before" if compiled.reused else f"{compiled.seconds:.1f} s"
            progress.print(f"{compiled.name}.v: {again}", markup=False, highlight=False)

    checked = sorted(
        check_sources(sources, compiler, wanted, done, jobs), key=lambda row: order(row.theorem.claim)
    )
    screen = Screen()
    if checked:
        screen.show(kernel_table(checked), more="a wider terminal and --json show them")
    failed = [row for row in checked if not row.holds]
    lines = dict.fromkeys(
        row.complaint if row.compiled.error else f"{row.theorem.name}: {row.complaint}" for row in failed
    )
    for line in lines:
        screen.say(line, "  ")
    if checked or not steps:  # claims without a theorem may have steps
        screen.say(summary(checked, compiler.version), "  ")
    results, complaints = _steps(wanted, compiler, quiet, jobs) if steps else (_recorded(wanted), [])
    for line in (*complaints, *step_lines(results, again=steps)):
        screen.say(line, "  ")
    if json is not None:
        write_json(
            json,
            {
                "kind": "kernel",
                "findings": [summary(checked, compiler.version), *step_lines(results, again=steps)[-1:]],
                "theorems": [row.as_dict() for row in checked],
                "steps": [to_plain(row) | {"status": row.status} for row in results],
            },
        )
    return 1 if failed or complaints else 0


def _recorded(wanted: Callable[[str], bool]) -> list[StepResult]:
    """The steps of the wanted claims as the committed table has them."""
    from gradvar.symbolic.claims.ledger import proofs_folder
    from gradvar.symbolic.kernel.steps import TABLE, read_results

    return [row for row in read_results(proofs_folder() / "kernel" / TABLE).values() if wanted(row.claim)]


def _steps(
    wanted: Callable[[str], bool], compiler: Compiler, quiet: bool, jobs: int
) -> tuple[list[StepResult], list[str]]:
    """Run the claims, check what their steps decided, and list what goes against the committed table."""
    from gradvar.cli.progress import Bars
    from gradvar.cli.streams import console
    from gradvar.symbolic.claims.ledger import load, proofs_folder
    from gradvar.symbolic.claims.run import verify_all
    from gradvar.symbolic.kernel.steps import TABLE, closed_goals, goals_of, read_results, step_results

    folder = proofs_folder() / "kernel"
    claims = [claim for claim in load(proofs_folder()) if wanted(claim.id)]
    with Bars(quiet, transient=True) as bars:
        bars.stage("proving", len(claims))
        reports = verify_all(claims, jobs=jobs, done=lambda claim: bars.advance(note=claim.id), certify=True)
    goals = {r.claim.id: goals_of([o for o in r.outcomes if o.kind == "step"]) for r in reports}
    progress = console(errors=True)

    def done(compiled: Compiled) -> None:
        if not quiet:
            state = (
                compiled.error or f"{sum(compiled.closed.values())} of {len(compiled.closed)} goals closed"
            )
            progress.print(f"{compiled.name}.v: {state}", markup=False, highlight=False)

    results = step_results(reports, closed_goals(goals, folder, compiler, done, jobs))
    recorded = read_results(folder / TABLE)
    complaints = [f"{report.claim.id}: its claim does not hold" for report in reports if not report.holds]
    for row in results:
        before = recorded.get((row.claim, row.step))
        if before and before.digest == row.digest and row.closed < before.closed:
            complaints.append(f"{row.claim}, '{row.step}': {row.closed} goals closed, {before.closed} before")
    return results, complaints


def step_lines(results: Sequence[StepResult], *, again: bool) -> list[str]:
    """List the steps with who checked them, where they were run now, and the share that the kernel checked."""
    from gradvar.symbolic.kernel.steps import share

    if not results:
        return ["no step of these claims was given to the kernel yet; --steps does that"]
    lines = [
        f"{r.claim}: '{r.step}', {r.status} ({r.closed} of {r.goals} goals closed"
        + (f"; {', '.join(r.obstacles)})" if r.obstacles else ")")
        for r in results
    ]
    recorded = "" if again else ", as recorded; --steps checks them now"
    return [*(lines if again else ()), f"{share(results)}{recorded}"]


def summary(checked: list[Checked], version: str) -> str:
    """Count what holds: ``12 of 12 theorems of 5 claims hold; none rests on an axiom; Coq 8.16.1``."""
    holding = [row for row in checked if row.holds]
    claims = len({row.theorem.claim for row in checked})
    resting = sum(bool(row.assumptions) for row in holding)
    axioms = "none rests on an axiom" if not resting else f"{resting} rest on axioms of the reals"
    of = f"of {claims} claim{'s' * (claims != 1)}"
    return f"{len(holding)} of {len(checked)} theorems {of} hold; {axioms}; {version.splitlines()[0].strip()}"


def kernel_table(checked: list[Checked]) -> Sheet:
    """Return the theorems as a table; the seconds are of the whole file, at its first theorem."""
    from gradvar.stats.sheet import Column, Sheet

    columns = (
        Column("", words=True, grouped=True),
        Column("theorem", words=True),
        Column("assumptions", words=True),
        Column("file", words=True, rank=1),
        Column("s", rank=2),
    )
    rows, shown = [], set()
    for row in checked:
        name, assumptions = row.compiled.name, ", ".join(row.assumptions) or "none"
        seconds = "" if name in shown else f"{row.compiled.seconds:.1f}"
        ending = assumptions if row.holds else "FAILS"
        rows.append((row.theorem.claim, row.theorem.name, ending, f"{name}.v", seconds))
        shown.add(name)
    return Sheet(columns, tuple(rows))
