"""Which estimator's loss a function is: its sign, its mean, its curve over the ratio, its KL term, one after another.

Everything is read off token weights: on policy they are the aggregation's, with one token per rollout they are a
curve over the log-ratio, with advantages of zero they are the KL term's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradvar.testing.calls import Raised
from gradvar.testing.identification.curve import WeightCurve, surrogates
from gradvar.testing.identification.penalty import kl_term
from gradvar.testing.identification.report import Candidate, Identification
from gradvar.testing.identification.weights import LossProbe
from gradvar.testing.losses import LossTarget
from gradvar.testing.matching.loss import loss_law
from gradvar.testing.matching.probe import resolution
from gradvar.testing.oracle import Oracle, named
from gradvar.testing.runner import check_law
from gradvar.testing.verdicts import FAILS

EXAMPLES = 40


def identify_loss(target: LossTarget) -> Identification:
    """Identify a policy-gradient loss; its errors on a probe are part of the finding."""
    label = target.origin or target.name

    def unknown(
        why: str, candidates: tuple[Candidate, ...] = (), differs: tuple[str, ...] = ()
    ) -> Identification:
        return Identification(label, "loss", False, differs=differs, candidates=candidates, why=why)

    if target.flaw:
        return unknown(target.flaw)
    probe = LossProbe(target)
    try:
        unit = probe.unit()
        if unit is None:
            return unknown(probe.why)
        remarks = list(unit.remarks)
        settings = dict(unit.settings)
        term = kl_term(probe, unit) if target.takes("ref_logp") else {}
        curve = WeightCurve(probe, unit)
        tried = []
        for form, more in surrogates(curve):
            name = _name(form, {**settings, **more})
            given = _for_name(name, {**settings, **more, **term})
            tried.append(Candidate(name, given, probe.residual(name, given)))
        tried.sort(key=lambda c: round(c.residual, 7))
        if not tried:
            return unknown(curve.why, differs=tuple(remarks))
        best = tried[0]
        if best.residual > (1e-5 if resolution(target) < 1e-6 else 1e-3):
            return unknown(curve.why, tuple(tried[:3]), tuple(remarks))
        oracle = named(best.name, **best.settings)
        remarks += list(edges(probe, oracle))
        verdict = check_law(loss_law(oracle), probe.target, examples=EXAMPLES)
    except (Raised, TypeError) as failure:
        return unknown(f"a probe batch {failure}")
    ok = verdict.status != FAILS
    why = "" if ok else verdict.why
    if not ok and "the weights agree" in why:
        ok, remarks, why = True, [*remarks, f"its value ({why})"], ""
    return Identification(label, "loss", ok, best.name, best.settings, tuple(remarks), why=why)


def _name(form: str, settings: dict[str, Any]) -> str:
    """The catalogue's name for a surrogate with an aggregation."""
    mean = settings.get("aggregation")
    if form == "ppo":
        if settings.get("dual"):
            return "ppo_dual_clip"
        if mean in ("token-mean", "token-sum", "token-count"):
            return "ppo" if settings["clip_low"] == settings["clip_high"] else "dapo"
        return "dr_grpo" if mean in ("sequence-sum", "constant-length") else "grpo"
    if form == "likelihood":
        return "gpg" if mean == "token-mean" else "reinforce"
    return form


def _for_name(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that are not the name's own anyway."""
    usual = named(name).settings["aggregation"]
    return {k: v for k, v in settings.items() if k != "aggregation" or v != usual}


def edges(probe: LossProbe, oracle: Oracle) -> Iterator[str]:
    """Sentences on what the function takes and does not use, and on rows without a token."""
    target = probe.target
    if target.takes("old_logp") and oracle.form.surrogate == "likelihood":
        still, moved = probe.at(shift=0.0)[1], probe.at(shift=0.3)[1]
        if np.allclose(still, moved, rtol=1e-9, atol=1e-12):
            yield "old log-probabilities (taken and ignored)"
    if target.per_token:
        yield "the mean (it returns a loss for each token, which its caller averages)"
    if target.takes("token_count") and oracle.settings["aggregation"] != "token-count":
        yield "the count of tokens (taken, and not divided by)"
    if target.takes("ref_logp") and not oracle.settings["beta"]:
        yield "the reference (taken, without influence)"
    if not target.takes("mask"):
        return
    value, weights = probe.empty_row()
    if not (np.isfinite(value) and np.isfinite(weights).all()):
        yield "rows whose mask is empty (they make the step NaN)"
        return
    for empty, words in {"count": "", "drop": "they are left out of the mean over rollouts"}.items():
        wanted = probe.empty_row(oracle.with_settings(empty=empty))[1]
        if np.allclose(weights, wanted, rtol=1e-4, atol=1e-9):
            if words:
                yield f"rows whose mask is empty ({words})"
            return
    yield "rows whose mask is empty (they change the others' weights)"
