"""``gradvar prove``: run the claims, or say what can be proved about a user's own objective."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from gradvar.core.extras import is_optional
from gradvar.files.harmless import LONGEST, one_line

if TYPE_CHECKING:
    from rich.text import Text

    from gradvar.stats.sheet import Sheet
    from gradvar.symbolic.claims.claim import Claim
    from gradvar.symbolic.claims.coverage import Coverage
    from gradvar.symbolic.claims.obligations import Obligation
    from gradvar.symbolic.claims.report import ClaimReport

_VERDICT = re.compile(r"^(\S+) +((?:proved|refuted|conditional|open|undecided)(?:: FAILS)?)", re.MULTILINE)
_LAWS = {"proved": "green", "refuted": "red", "undecided": "yellow"}


@dataclass(frozen=True)
class Prove:
    """Prove or refute claims about estimators: the bundled ones, yours, or the laws of an objective of yours."""

    target: Annotated[str | None, tyro.conf.Positional] = None
    """A folder or file of claims, or an objective: path/to/file.py:function or module:function.
    Default: bundled claims."""
    only: tuple[str, ...] = ()
    """Run these claims only, such as A1 or A11a; A11 means all its parts."""
    json: Path | None = None
    """Write the results to this file."""
    html: Path | None = None
    """Write the book of theorems to this file: one page that reads offline."""
    jobs: int = 2
    """Processes; claims do not depend on each other."""
    verbose: bool = False
    """Show every obligation with the steps that decided it, every step with its evidence, and the coverage; of an
    objective, the tokens' weights in every region."""
    kernel: bool = False
    """Check the theorems in proofs/kernel, and their bridges to the shipped code, with Coq (Rocq)."""
    steps: bool = False
    """With --kernel: check what the steps of the claims decided as well; for all claims this takes many minutes."""
    quiet: bool = False
    """No progress bar."""


def run(config: Prove) -> int:
    """Run it; 0 if every verdict holds, 1 if one does not, 2 on bad usage."""
    try:
        _check_outputs(config)
        import sympy  # noqa: F401  # where it is missing, that is said before JAX is loaded

        if config.kernel:
            return _kernel(config)
        if config.steps:
            raise ValueError("steps: only the kernel checks them again; give --kernel too")
        if config.target is not None and ":" in Path(config.target).name:
            return _objective(config)
        return _claims(config)
    except (ValueError, TypeError, OSError, ImportError) as error:
        if isinstance(error, ImportError) and is_optional(error):
            raise  # with a command that installs it
        print(f"gradvar: error: {one_line(_first_line(error, config.target), LONGEST)}", file=sys.stderr)
        return 2


def _check_outputs(config: Prove) -> None:
    """Reject a file that cannot be written before minutes are spent on what it would hold."""
    from gradvar.files.paths import check_file

    for name, path in (("json", config.json), ("html", config.html)):
        if path is not None:
            check_file(path, name)


def _jobs(config: Prove) -> int:
    if config.jobs < 1:
        raise ValueError(f"jobs: {config.jobs}; give at least 1")
    return config.jobs


def _kernel(config: Prove) -> int:
    from gradvar.cli.kernel import check_kernel

    if config.target is not None:
        raise ValueError(
            f"target: {config.target}; --kernel checks the bundled theorems, leave the target out"
        )
    if config.html is not None:
        raise ValueError(
            f"html: {config.html} would be a book of claims; give --json for the kernel's theorems"
        )
    return check_kernel(config.only, config.json, config.quiet, _jobs(config), steps=config.steps)


def _first_line(error: BaseException, target: str | None = None) -> str:
    """The first line of an error; a target that has a line feed in its name is written in one."""
    text = str(error).replace(target, one_line(target)) if target else str(error)
    return (text.splitlines() or [type(error).__name__])[0]


def _claims(config: Prove) -> int:
    from gradvar import catalogue
    from gradvar.cli.streams import Screen, console
    from gradvar.files.tables import to_plain
    from gradvar.symbolic.claims.coverage import coverage
    from gradvar.symbolic.claims.findings import findings
    from gradvar.symbolic.claims.ledger import load, proofs_folder

    jobs = _jobs(config)
    if config.target is not None and not os.path.exists(config.target):  # False where the name is too long
        raise FileNotFoundError(
            f"target: {config.target} does not exist; give a folder of claims, or file.py:objective"
        )
    claims = select(_load(config.target) if config.target else load(proofs_folder()), config.only)
    reports = _with_progress(claims, config.quiet, jobs, certify=config.html is not None)
    screen = Screen()
    console(width=screen.width).print(coloured(reports, screen.width), soft_wrap=True)
    for report in reports:
        for line in details(report, everything=config.verbose):
            screen.say(line, "  ")
    screen.say(tally(reports))
    covered = coverage(reports, catalogue.names())
    for line in _coverage_table(covered) if config.verbose else covered.sentences():
        screen.say(line, "  ")
    content = [report.as_dict() for report in reports]
    data = {"kind": "proof", "findings": findings(content), "claims": content, "coverage": to_plain(covered)}
    _write(config, data, reports)
    failed = [report.claim.id for report in reports if not report.holds]
    if failed:
        screen.say(f"{len(failed)} of {len(reports)} verdicts do not hold: {', '.join(failed)}", "  ")
    return 1 if failed else 0


def _coverage_table(covered: Coverage) -> list[str]:
    """List every estimator and piece with the claims that ran it, below the sentences that count them."""
    estimators, pieces = covered.sentences()
    rows = [(estimators, covered.estimators), (pieces, covered.pieces)]
    return [
        line
        for sentence, claims in rows
        for line in (sentence, *(f"  {name}: {', '.join(ids) or 'none'}" for name, ids in claims.items()))
    ]


def _load(target: str) -> list[Claim]:
    from gradvar.symbolic.claims.ledger import load

    try:
        return load(target)
    except ValueError as error:
        raise ValueError(f"target: {error}") from error


def tally(reports: list[ClaimReport]) -> str:
    """Count the claims of each verdict: ``3 claims: 2 proved, 1 refuted``."""
    counts = Counter(report.claim.verdict if report.holds else "fails" for report in reports)
    number = "1 claim" if len(reports) == 1 else f"{len(reports)} claims"
    return f"{number}: {', '.join(f'{n} {verdict}' for verdict, n in counts.items())}"


def select(claims: list[Claim], only: tuple[str, ...]) -> list[Claim]:
    """Select the claims with these ids; an id without its letter means all its parts.

    Raises ``ValueError`` on an unknown id.
    """
    from gradvar.symbolic.claims.ledger import same_claim

    if not only:
        return claims
    for wanted in only:
        if not any(same_claim(claim.id, wanted) for claim in claims):
            raise ValueError(f"only: no claim {wanted or repr(wanted)}; there are {_families(claims)}")
    return [claim for claim in claims if any(same_claim(claim.id, wanted) for wanted in only)]


def _families(claims: list[Claim]) -> str:
    """Return the ids in short, first to last of each letter: ``A1a to A22b, B1 to B30``."""
    families: dict[str, list[str]] = {}
    for claim in claims:
        families.setdefault(claim.id.rstrip("abcdefgh").rstrip("0123456789"), []).append(claim.id)
    return ", ".join(ids[0] if len(ids) == 1 else f"{ids[0]} to {ids[-1]}" for ids in families.values())


def _with_progress(claims: list[Claim], quiet: bool, jobs: int, *, certify: bool) -> list[ClaimReport]:
    from gradvar.cli.progress import Bars
    from gradvar.symbolic.claims.run import verify_all

    with Bars(quiet, transient=True) as bars:
        bars.stage("proving", len(claims))

        def done(claim: Claim) -> None:
            bars.advance(note=claim.id)

        return verify_all(claims, jobs=jobs, done=done, certify=certify)


def table(reports: list[ClaimReport]) -> Sheet:
    """Return the verdicts as a table, each apart from how its statement relates to the source."""
    from gradvar.stats.sheet import Column, Sheet

    columns = (
        Column("", words=True),
        Column("verdict", words=True),
        Column("claim", words=True),
        Column("source", words=True, rank=1),
        Column("routes", words=True, rank=2),
        Column("s", rank=3),
    )
    rows = []
    for report in reports:
        claim = report.claim
        verdict = claim.verdict if report.holds else f"{claim.verdict}: FAILS"
        title = claim.title.replace("$", "").replace("\\", "")
        routes = ", ".join(report.routes)
        rows.append((claim.id, verdict, title, claim.source.attribution, routes, f"{report.seconds:.1f}"))
    return Sheet(columns, tuple(rows))


def coloured(reports: list[ClaimReport], width: int) -> Text:
    """Return the table as text of a width, with the verdicts in colour where a terminal shows them."""
    sheet = table(reports).render(width, more="a wider terminal, --json and --html show them")
    return painted(sheet, {report.claim.id: verdict_style(report) for report in reports})


def painted(sheet: str, styles: Mapping[str, str]) -> Text:
    """Return a rendered table whose rows begin with a name and a verdict, in the style of that name."""
    from rich.text import Text

    text = Text(sheet)
    for row in _VERDICT.finditer(sheet):
        if row[1] in styles:
            text.stylize(styles[row[1]], *row.span(2))
    return text


def verdict_style(report: ClaimReport) -> str:
    """Return the colour of a verdict: red only where the source states or implies what is refuted."""
    claim = report.claim
    if not report.holds:
        return "bold magenta"
    refuted = "red" if claim.source.named else "cyan"
    return {"proved": "green", "refuted": refuted, "conditional": "yellow", "open": "blue"}[claim.verdict]


def details(report: ClaimReport, *, everything: bool) -> list[str]:
    """List what failed, and with ``everything`` each obligation and how each step went."""
    identifier = report.claim.id
    lines = [f"{identifier}: {complaint}" for complaint in report.complaints]
    if everything:
        lines += [f"{identifier}: {_obligation(obligation)}" for obligation in report.obligations]
    for o in report.outcomes:
        if not o.holds:
            lines.append(f"{identifier}: {o.kind} '{o.name}': {o.error}")
        elif everything:
            evidence = "" if o.evidence is None else f": {o.evidence}"
            lines.append(f"{identifier}: {o.kind} '{o.name}' holds ({o.seconds:.2f} s){evidence[:400]}")
    return lines


def _obligation(obligation: Obligation) -> str:
    """Write an obligation: its formula, who decided it by which route, and for which values."""
    ended = "refuted" if obligation.refuted else "cited" if obligation.kind == "cited" else "shown"
    steps = "; ".join(f"'{name}' ({route})" for name, route in obligation.steps.items()) or "no step"
    values = "; ".join(
        f"{variable}: {taken or 'not taken'}" for variable, taken in obligation.coverage.items()
    )
    under = f"; under {'; '.join(obligation.where)}" if obligation.where else ""
    goal = f"{obligation.kind} '{obligation.name}', {obligation.formula}"
    return f"{goal}, {ended} by {steps}; for {values or 'all'}{under}"


def _objective(config: Prove) -> int:
    from gradvar.cli.streams import Screen, console
    from gradvar.symbolic.analyse.display import render
    from gradvar.symbolic.analyse.objective import analyse, load_objective

    if config.only:
        raise ValueError(
            f"only: {' '.join(config.only)} chooses among claims, and an objective has none; leave it out"
        )
    if config.html is not None:
        raise ValueError(
            f"html: {config.html} would be a book of claims; give --json for an objective's analysis"
        )
    target = str(config.target)
    try:
        analysis = analyse(load_objective(target), target)
    except Exception as error:  # whatever a user's function raises, it is the target that is to be named
        if config.verbose:
            traceback.print_exc()
        line = _first_line(error)
        raise ValueError(line if line.startswith("target:") else _unusable(target, error)) from error
    screen = Screen()
    for part in render(analysis, verbose=config.verbose):
        if isinstance(part, str):
            screen.say(part, "  ")
        else:
            styles = {law.name: _LAWS[law.verdict] for law in analysis.laws}
            text = painted(part.render(screen.width), styles)
            console(width=screen.width).print(text, soft_wrap=True)
    _write(config, analysis.as_dict(), None)
    return 0


def _unusable(target: str, error: Exception) -> str:
    return (
        f"target: {target} could not be read, {type(error).__name__}: {_first_line(error).rstrip('.')}; "
        "an objective is a JAX function (logp, batch) -> scalar (--verbose shows where)"
    )


def _write(config: Prove, data: Any, reports: list[ClaimReport] | None) -> None:
    from gradvar.files.atomic import write_file
    from gradvar.files.tables import write_json

    if config.json is not None:
        write_json(config.json, data)
    if config.html is not None:
        from gradvar.report.book import book

        page = book(reports or [])

        def write(path: Path) -> None:
            path.write_text(page, encoding="utf-8")

        write_file(config.html, write)
