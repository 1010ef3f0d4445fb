"""The KL term of a loss: which estimate, with which coefficient, averaged over what; read at advantages of zero."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from gradvar.testing.identification.epsilon import nice
from gradvar.testing.identification.weights import AGGREGATED, LossProbe, Unit
from gradvar.testing.losses import LossBatch
from gradvar.testing.oracle.averages import KL_FORMS, kl_tokens

PREFIXES = ("", "weighted-", "scaled-")


def kl_term(probe: LossProbe, unit: Unit) -> dict[str, Any]:
    """Settings ``kl``, ``beta`` and ``kl_aggregation``; none where the reference has no influence."""
    batches = [
        replace(b, advantages=np.zeros(len(b.mask)))
        for b in probe.moved()[2:6]
        if np.ptp(b.logp - b.old_logp)
    ]
    seen = [probe(b) for b in batches]
    weights = np.concatenate([w.ravel() for _, w in seen])
    if np.abs(weights).max() < 1e-9:
        return {}
    best: tuple[float, dict[str, Any]] = (np.inf, {})
    same = unit.settings["aggregation"]
    for kind in (same, *(a for a in AGGREGATED if a != same)):
        for form in (prefix + plain for prefix in PREFIXES for plain in KL_FORMS):
            parts = [_weighted(b, unit, kind, form) for b in batches]
            slope = np.concatenate([s.ravel() for _, s in parts])
            norm = float(slope @ slope)
            beta = -float(slope @ weights) / norm if norm else 0.0
            residual = float(np.linalg.norm(weights + beta * slope) / np.linalg.norm(weights))
            if residual < best[0] - 1e-7:
                settings = {"kl": form, "beta": nice(beta)}
                best = (residual, settings if kind == same else {**settings, "kl_aggregation": kind})
    settings = best[1]
    if best[0] > 1e-3:
        return settings
    settings["kl"] = _value(settings, unit, batches, [v for v, _ in seen])
    return settings


def _value(settings: dict[str, Any], unit: Unit, batches: list[LossBatch], seen: list[float]) -> str:
    """The form whose value is the function's, with the gradient that fitted; the form itself where none is."""
    form, kind = settings["kl"], settings.get("kl_aggregation", unit.settings["aggregation"])
    forms = [form]
    if form in KL_FORMS:
        forms += [f"{plain}-through-{form}" for plain in KL_FORMS if plain != form]
    for option in forms:
        values = np.array([-settings["beta"] * _weighted(b, unit, kind, option)[0] for b in batches])
        if np.allclose(values, seen, rtol=1e-3, atol=1e-7):
            return option
    return form


def _weighted(batch: LossBatch, unit: Unit, kind: str, form: str) -> tuple[float, np.ndarray]:
    """Value and token weights of an estimate, averaged, before its coefficient."""
    assert batch.ref_logp is not None
    plain = Unit({**unit.settings, "aggregation": kind, "scale": 1.0})
    zeroed = [np.where(batch.mask, x, 0.0) for x in (batch.logp, batch.old_logp, batch.ref_logp)]
    value, slope = kl_tokens(form, *zeroed)
    share = plain.coefficients(batch)
    return float(np.sum(share * value)), share * slope
