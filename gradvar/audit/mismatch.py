"""The engine against the trainer, where a dump has the log-probabilities of both, and what corrections do.

With d = log p_trainer - log p_engine of a token that the engine drew, E[-d] is the divergence of the engine from the
trainer, and e^d the weight that removes it.

The corrections are those of ``gradvar.pieces.correction``, at their defaults, in NumPy.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gradvar.audit.token_logps import TokenLogps


@dataclass(frozen=True)
class CorrectionFigures:
    """What one correction does: the effective share of the rollouts (or tokens), (sum w)^2 / (N sum w^2), the share of
    them that it ``changes`` (truncates or drops), and the mean weight, which is 1 where nothing is lost."""

    name: str
    effective: float
    changed: float
    mean: float


@dataclass(frozen=True)
class EngineFigures:
    """``rollouts`` and ``tokens`` with both log-probabilities, and ``unlike`` ones without; ``divergence`` in nats per
    token with its standard error over rollouts, the ``largest`` difference, and the ``corrections``."""

    rollouts: int
    tokens: int
    unlike: int
    divergence: float
    se: float
    largest: float
    corrections: tuple[CorrectionFigures, ...]


def mismatch(logps: TokenLogps) -> EngineFigures | None:
    """The figures of what was read; None where no rollout has both."""
    if not logps.log_ratios:
        return None
    sizes = np.array([len(d) for d in logps.log_ratios])
    tokens = np.concatenate(logps.log_ratios)
    sums = np.array([d.sum() for d in logps.log_ratios])
    means = sums / sizes
    mean = -float(sums.sum() / sizes.sum())
    residuals = -sums - mean * sizes  # of the ratio of sums, by rollout
    n = len(sizes)
    se = float(np.sqrt(n / max(n - 1, 1) * (residuals**2).sum()) / sizes.sum()) if n > 1 else np.nan
    w, long = np.exp(np.minimum(tokens, 50)), np.exp(np.minimum(sums, 50))
    geometric = np.repeat((np.exp(means) >= 0.999) & (np.exp(means) <= 1.002), sizes)
    corrections = (
        _figures("token weights", w, lambda x: x),
        _figures("token weights, at most 2 (TIS)", w, lambda x: np.minimum(x, 2.0)),
        _figures(
            "token weights within 0.5 to 5 (IcePop)", w, lambda x: np.where((x >= 0.5) & (x <= 5.0), x, 0.0)
        ),
        _figures(
            "rollouts of geometric mean within 0.999 to 1.002", w, lambda x: np.where(geometric, x, 0.0)
        ),
        _figures("rollout weights", long, lambda x: x),
        _figures("rollout weights, at most 2", long, lambda x: np.minimum(x, 2.0)),
        _figures("rollout weights, none beyond 3 (TRL)", long, lambda x: np.where(x <= 3.0, x, 0.0)),
    )
    return EngineFigures(
        n, int(sizes.sum()), logps.unlike, mean, se, float(np.abs(tokens).max()), corrections
    )


def _figures(
    name: str, weights: np.ndarray, correct: Callable[[np.ndarray], np.ndarray]
) -> CorrectionFigures:
    corrected = correct(weights)
    square = (corrected**2).sum()
    effective = float(corrected.sum() ** 2 / (len(corrected) * square)) if square > 0 else 0.0
    return CorrectionFigures(name, effective, float((corrected != weights).mean()), float(corrected.mean()))
