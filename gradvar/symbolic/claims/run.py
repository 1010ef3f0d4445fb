"""Running claims, in this process or in several."""

import multiprocessing
import pickle
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import cache
from typing import Any, Literal

import sympy as sp

from gradvar.core.processes import end_with_parent
from gradvar.symbolic.certify.certificate import certificates_of, refuted_certificate
from gradvar.symbolic.claims.claim import Check, Claim, Sabotage
from gradvar.symbolic.claims.formula import to_mathml
from gradvar.symbolic.claims.goal import discharging
from gradvar.symbolic.claims.ledger import load
from gradvar.symbolic.claims.outcome import Outcome
from gradvar.symbolic.claims.report import ClaimReport, complaints_about
from gradvar.symbolic.decide.equality import Rejected
from gradvar.symbolic.read.decided import decisions
from gradvar.symbolic.read.usage import Usage, recording

_MOST_VALUES = 8
_LONGEST_FORMULA = 400
_WITNESSED = ("traced code", "executed code", "smt", "exact engine")  # routes that leave a mark when they run
_WORTH_A_PROCESS = 6  # a fresh process spends some seconds on loading JAX and SymPy


def verify(claim: Claim, *, certify: bool = False) -> ClaimReport:
    """Run every step, counterexample and sabotage of a claim. Never raises for a claim that fails: it reports.

    With ``certify`` each decision is printed as a goal for the proof kernel besides.
    """
    start = time.perf_counter()
    outcomes = [_run("step", s.name, s.check, certify, s.route) for s in claim.steps]
    outcomes += [_run("counterexample", c.text, c.check, certify) for c in claim.counterexamples]
    outcomes += [_run_sabotage(s, certify) for s in claim.sabotages]
    complaints = complaints_about(claim, outcomes)
    return ClaimReport(claim, tuple(outcomes), tuple(complaints), time.perf_counter() - start)


def _run(
    kind: Literal["step", "counterexample"], name: str, check: Check, certify: bool, route: str = ""
) -> Outcome:
    start = time.perf_counter()
    try:
        with recording() as record, discharging() as discharges, decisions() as decided:
            evidence = check()
        if route in _WITNESSED and route not in record.routes:
            raise Rejected(f"the route is {route!r}, and the check never took it")
    except Exception as error:
        return Outcome(kind, name, False, time.perf_counter() - start, error=_describe(error))
    return Outcome(
        kind,
        name,
        True,
        time.perf_counter() - start,
        evidence=evidence,
        traced=_formula_and_code(record) if route == "traced code" else None,
        discharged=tuple(dict.fromkeys(discharges)),
        estimators={estimator: tuple(sorted(pieces)) for estimator, pieces in record.estimators.items()},
        certificates=certificates_of([d for d in decided if d.holds]) if certify else None,
    )


def _formula_and_code(record: Usage) -> tuple[str, str] | None:
    """Return the richest formula among the traces that still fits a line, and the code it was read from."""
    best: tuple[str, Any] | None = None
    for code, results in record.traces:
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


def _run_sabotage(sabotage: Sabotage, certify: bool) -> Outcome:
    start = time.perf_counter()
    try:
        with decisions() as decided:
            sabotage.step(**sabotage.changes)
        error = "accepted: the check cannot tell the false statement from the true one"
        holds = False
    except Rejected as rejection:
        error, holds = str(rejection), True
    except Exception as other:
        error, holds = f"not rejected but crashed: {_describe(other)}", False
    seconds = time.perf_counter() - start
    refuted = [d for d in decided if not d.holds][-1:] if holds else []
    return Outcome(
        "sabotage",
        sabotage.name,
        holds,
        seconds,
        evidence=error if holds else None,
        error=error,
        certificates=tuple(map(refuted_certificate, refuted)) if certify else None,
    )


def _describe(error: Exception) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    line = "" if isinstance(error, Rejected) else f" ({place.filename.rsplit('/', 1)[-1]}:{place.lineno})"
    return f"{type(error).__name__}: {error}{line}"


def verify_all(
    claims: Sequence[Claim],
    *,
    jobs: int = 1,
    done: Callable[[Claim], None] | None = None,
    certify: bool = False,
) -> list[ClaimReport]:
    """Verify claims, and return their reports in the same order.

    Args:
        claims: as ``load`` returns them.
        jobs: above one, the claims are loaded and run afresh in that many processes.
        done: called after each claim.
        certify: whether each decision is printed as a goal for the proof kernel besides.

    Raises ``ValueError`` where a process was killed, or where a file changed meanwhile.
    """
    report_done = done or (lambda _: None)
    if jobs == 1 or len(claims) < _WORTH_A_PROCESS or not all(claim.path for claim in claims):
        reports = []
        for claim in claims:
            reports.append(verify(claim, certify=certify))
            report_done(claim)
        return reports
    finished: dict[str, ClaimReport] = {}
    # JAX runs threads, so a fork of this process could hang: start fresh ones.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=end_with_parent) as pool:
        pending = {pool.submit(_verify_by_name, claim.path, claim.id, certify): claim for claim in claims}
        for future in as_completed(pending):
            claim = pending[future]
            try:
                outcomes, complaints, seconds = future.result()
            except BrokenProcessPool:
                left = [c.id for c in claims if c.id not in finished]
                raise ValueError(
                    f"jobs: one of {jobs} processes was killed, as when the memory is full, while {len(left)} claims "
                    f"were to be run ({', '.join(left[:3])} ...); run again with --jobs 1"
                ) from None
            if [o.name for o in outcomes] != names_of(claim):
                raise ValueError(f"{claim.path}: it changed while claim {claim.id} ran; run again")
            finished[claim.id] = ClaimReport(claim, outcomes, complaints, seconds)
            report_done(claim)
    return [finished[claim.id] for claim in claims]


def names_of(claim: Claim) -> list[str]:
    """The names of a claim's parts in the order in which ``verify`` runs them."""
    return (
        [s.name for s in claim.steps]
        + [c.text for c in claim.counterexamples]
        + [s.name for s in claim.sabotages]
    )


def _verify_by_name(
    path: str, identifier: str, certify: bool
) -> tuple[tuple[Outcome, ...], tuple[str, ...], float]:
    """In a worker: load the file, verify one of its claims, send back what can be sent."""
    report = verify(_loaded(path)[identifier], certify=certify)
    return tuple(map(_portable, report.outcomes)), report.complaints, report.seconds


@cache
def _loaded(path: str) -> dict[str, Claim]:
    return {claim.id: claim for claim in load(path)}


def _portable(outcome: Outcome) -> Outcome:
    try:
        pickle.dumps(outcome.evidence)
    except Exception:
        return replace(outcome, evidence=str(outcome.evidence))
    return outcome
