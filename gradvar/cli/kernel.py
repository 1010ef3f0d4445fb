"""``gradvar prove --kernel``: the theorems that a proof kernel checks, and their bridges to the shipped code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradvar.symbolic.kernel.compiler import Compiled
    from gradvar.symbolic.kernel.run import Checked


def check_kernel(only: tuple[str, ...], json: Path | None, quiet: bool, jobs: int) -> int:
    """Check the theorems of these claims, or all; 0 where every one holds, else 1.

    Args:
        only: ids of claims; none means all.
        json: a file for the results.
        quiet: no line for each file.
        jobs: files at a time.

    Raises ``FileNotFoundError`` that says how to get the kernel where none is installed.
    """
    from gradvar.cli.streams import console
    from gradvar.files.tables import write_json
    from gradvar.symbolic.claims.ledger import order, proofs_folder, same_claim
    from gradvar.symbolic.kernel.compiler import Compiler
    from gradvar.symbolic.kernel.run import check_sources, read_kernel

    def wanted(claim: str) -> bool:
        return not only or any(same_claim(claim, identifier) for identifier in only)

    compiler = Compiler.installed()
    sources = read_kernel(proofs_folder(), wanted)
    claims = {theorem.claim for source in sources for theorem in source.theorems}
    missing = [name for name in only if not any(same_claim(claim, name) for claim in claims)]
    if missing:
        raise ValueError(
            f"only: no theorem of {missing[0]} in proofs/kernel; leave --kernel out to run its claim"
        )
    progress = console(errors=True)

    def done(compiled: Compiled) -> None:
        if not quiet:
            again = "as before" if compiled.reused else f"{compiled.seconds:.1f} s"
            progress.print(f"{compiled.name}.v: {again}", markup=False, highlight=False)

    checked = sorted(
        check_sources(sources, compiler, wanted, done, jobs), key=lambda row: order(row.theorem.claim)
    )
    screen = console(width=160)
    screen.print(kernel_table(checked))
    failed = [row for row in checked if not row.holds]
    lines = dict.fromkeys(
        row.complaint if row.compiled.error else f"{row.theorem.name}: {row.complaint}" for row in failed
    )
    for line in lines:
        screen.print(line, markup=False, highlight=False, soft_wrap=True)
    screen.print(summary(checked, compiler.version), markup=False, highlight=False, soft_wrap=True)
    if json is not None:
        write_json(
            json,
            {
                "kind": "kernel",
                "findings": [summary(checked, compiler.version)],
                "theorems": [row.as_dict() for row in checked],
            },
        )
    return 1 if failed else 0


def summary(checked: list[Checked], version: str) -> str:
    """Count what holds: ``12 theorems of 5 claims hold (1 rests on axioms of the reals); Coq 8.16.1``."""
    holding = [row for row in checked if row.holds]
    claims = {row.theorem.claim for row in holding}
    resting = sum(bool(row.assumptions) for row in holding)
    axioms = "none rests on an axiom" if not resting else f"{resting} rest on axioms of the reals"
    total = f"{len(holding)} of {len(checked)} theorems hold, of {len(claims)} claims; {axioms}"
    words = version.split("\n")[0].strip()
    return f"{total}; {words}"


def kernel_table(checked: list[Checked]) -> Any:
    """Return the theorems as a rich table; the seconds are of the whole file, at its first theorem."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("", "theorem", "file", "assumptions"):
        table.add_column(name)
    table.add_column("s", justify="right")
    shown: set[str] = set()
    for row in checked:
        name = row.compiled.name
        assumptions = ", ".join(row.assumptions) or "none"
        ending = assumptions if row.holds else "[bold magenta]FAILS[/]"
        seconds = "" if name in shown else f"{row.compiled.seconds:.1f}"
        table.add_row(row.theorem.claim, row.theorem.name, f"{name}.v", ending, seconds)
        shown.add(name)
    return table
