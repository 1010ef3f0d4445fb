"""Running many claims, in this process or several."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import cache

from gradvar.symbolic.claims.claim import Claim, ClaimReport, Outcome, verify

_WORTH_A_PROCESS = 6  # a fresh process spends some seconds on loading JAX and SymPy


def verify_all(
    claims: Sequence[Claim], *, jobs: int = 1, done: Callable[[Claim], None] | None = None
) -> list[ClaimReport]:
    """Verify claims (as ``load`` returns them); reports in the same order. ``done`` is called after each.

    With ``jobs`` above one the claims are loaded and run afresh in that many processes.
    """
    report_done = done or (lambda _: None)
    if jobs == 1 or len(claims) < _WORTH_A_PROCESS or not all(claim.path for claim in claims):
        reports = []
        for claim in claims:
            reports.append(verify(claim))
            report_done(claim)
        return reports
    found: dict[str, ClaimReport] = {}
    # JAX runs threads, so a fork of this process could hang: start fresh ones.
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        pending = {pool.submit(_verify_by_name, claim.path, claim.id): claim for claim in claims}
        for future in as_completed(pending):
            claim = pending[future]
            outcomes, complaints, seconds = future.result()
            if [o.name for o in outcomes] != names_of(claim):
                raise ValueError(f"{claim.path}: it changed while claim {claim.id} ran; run again")
            found[claim.id] = ClaimReport(claim, outcomes, complaints, seconds)
            report_done(claim)
    return [found[claim.id] for claim in claims]


def names_of(claim: Claim) -> list[str]:
    """The names of a claim's parts in the order in which ``verify`` runs them."""
    return (
        [s.name for s in claim.steps]
        + [c.text for c in claim.counterexamples]
        + [s.name for s in claim.sabotages]
    )


def _verify_by_name(path: str, identifier: str) -> tuple[tuple[Outcome, ...], tuple[str, ...], float]:
    """In a worker: load the file, verify one of its claims, send back what can be sent."""
    report = verify(_loaded(path)[identifier])
    return tuple(map(_portable, report.outcomes)), report.complaints, report.seconds


@cache
def _loaded(path: str) -> dict[str, Claim]:
    from gradvar.symbolic.claims.ledger import load

    return {claim.id: claim for claim in load(path)}


def _portable(outcome: Outcome) -> Outcome:
    try:
        pickle.dumps(outcome.evidence)
    except Exception:
        return replace(outcome, evidence=str(outcome.evidence))
    return outcome
