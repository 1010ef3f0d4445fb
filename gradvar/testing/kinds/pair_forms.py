"""Losses on pairs of responses: each as a function of the two log-ratios, with its derivatives by them.

Written with c for the chosen and r for the rejected response's log pi - log pi_ref, beta for the temperature and e for
the label smoothing. A formula returns the loss of each pair and its derivatives by c and by r, all of shape [B].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Triple = tuple[np.ndarray, np.ndarray, np.ndarray]
Formula = Callable[[np.ndarray, np.ndarray, float, float], Triple]


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(x, float)))


def log_sigmoid(x: np.ndarray) -> np.ndarray:
    """log(1 / (1 + exp(-x))) without overflow or loss of digits."""
    return -np.logaddexp(0.0, -np.asarray(x, float))


def _of_margin(formula: Callable[[np.ndarray, float], tuple[np.ndarray, np.ndarray]]) -> Formula:
    """A formula of x = beta (c - r) alone; ``formula(x, e)`` is the loss and its derivative by x."""

    def both(c: np.ndarray, r: np.ndarray, beta: float, smoothing: float) -> Triple:
        loss, slope = formula(beta * (c - r), smoothing)
        return loss, beta * slope, -beta * slope

    return both


def _logistic(x: np.ndarray, e: float) -> tuple[np.ndarray, np.ndarray]:
    loss = -(1 - e) * log_sigmoid(x) - e * log_sigmoid(-x)
    return loss, -(1 - e) * sigmoid(-x) + e * sigmoid(x)


def _robust(x: np.ndarray, e: float) -> tuple[np.ndarray, np.ndarray]:
    loss = -(1 - e) * log_sigmoid(x) + e * log_sigmoid(-x)
    slope = -(1 - e) * sigmoid(-x) - e * sigmoid(x)
    return loss / (1 - 2 * e), slope / (1 - 2 * e)


def _hinge(x: np.ndarray, e: float) -> tuple[np.ndarray, np.ndarray]:
    return np.maximum(0.0, 1 - x), -(x < 1).astype(float)


def _exo(x: np.ndarray, e: float) -> tuple[np.ndarray, np.ndarray]:
    one, two = log_sigmoid(x) - np.log(1 - e), log_sigmoid(-x) - np.log(e)
    return sigmoid(x) * one + sigmoid(-x) * two, sigmoid(x) * sigmoid(-x) * (one - two)


def _ipo(c: np.ndarray, r: np.ndarray, beta: float, e: float) -> Triple:
    gap = c - r - 1 / (2 * beta)
    return gap**2, 2 * gap, -2 * gap


def _nca(c: np.ndarray, r: np.ndarray, beta: float, e: float) -> Triple:
    x, y = beta * c, beta * r
    loss = -log_sigmoid(x) - 0.5 * log_sigmoid(-x) - 0.5 * log_sigmoid(-y)
    return loss, beta * (0.5 * sigmoid(x) - sigmoid(-x)), 0.5 * beta * sigmoid(y)


def _bco(shifted: bool) -> Formula:
    def formula(c: np.ndarray, r: np.ndarray, beta: float, e: float) -> Triple:
        shift = 0.5 * beta * float(np.mean(c) + np.mean(r)) if shifted else 0.0
        x, y = beta * c - shift, beta * r - shift
        return -log_sigmoid(x) - log_sigmoid(-y), -beta * sigmoid(-x), beta * sigmoid(y)

    return formula


def _sppo(c: np.ndarray, r: np.ndarray, beta: float, e: float) -> Triple:
    one, two = c - 0.5 / beta, r + 0.5 / beta
    return one**2 + two**2, 2 * one, 2 * two


def _slope(x: np.ndarray) -> np.ndarray:
    return sigmoid(x) * sigmoid(-x)


def _apo_zero(c: np.ndarray, r: np.ndarray, beta: float, e: float) -> Triple:
    x, y = beta * c, beta * r
    return 1 - sigmoid(x) + sigmoid(y), -beta * _slope(x), beta * _slope(y)


def _apo_down(constant: float) -> Formula:
    """s(x) - s(x - y) (arXiv 2408.06266, (8), as its LaTeX is quoted in huggingface/trl#6441), plus a constant."""

    def formula(c: np.ndarray, r: np.ndarray, beta: float, e: float) -> Triple:
        x, m = beta * c, beta * (c - r)
        loss = sigmoid(x) + constant - sigmoid(m)
        return loss, beta * (_slope(x) - _slope(m)), beta * _slope(m)

    return formula


def _apo_down_separate(c: np.ndarray, r: np.ndarray, beta: float, e: float) -> Triple:
    """The reading of huggingface/trl#6593, which was closed: it pushes the rejected response up."""
    x, y = beta * c, beta * r
    return sigmoid(x) + 1 - sigmoid(y), beta * _slope(x), -beta * _slope(y)


def _kto(c: np.ndarray, r: np.ndarray, beta: float, e: float) -> Triple:
    """Each response against the mean log-ratio of the others, which has no gradient and is at least 0."""
    x = beta * (c - max(float(np.mean(r)), 0.0))
    y = beta * (r - max(float(np.mean(c)), 0.0))
    return 1 - sigmoid(x) + sigmoid(y), -beta * _slope(x), beta * _slope(y)


@dataclass(frozen=True)
class PairForm:
    """A loss on pairs. ``tokens`` is "sum" or "mean", how a response's tokens become its log-probability.

    ``smooths``: it has a label smoothing, and ``usual`` are those to try where the function takes none. ``asked``
    forms count only where they are named with ``--is``. ``shift`` is SimPO's margin, None for the scene's.
    """

    name: str
    formula: Formula
    tokens: str = "sum"
    note: str = ""
    usual: tuple[float, ...] = (0.0,)
    smooths: bool = False
    asked: bool = False
    shift: float | None = 0.0


_DPO, _HINGE = _of_margin(_logistic), _of_margin(_hinge)
PAIR_FORMS = (
    PairForm("dpo", _DPO, smooths=True),
    PairForm("sigmoid", _DPO, smooths=True),
    PairForm("dpo_norm", _DPO, "mean", smooths=True),
    PairForm("hinge", _HINGE),
    PairForm("ipo", _ipo, "mean"),
    PairForm("exo_pair", _of_margin(_exo), usual=(1e-3, 0.1), smooths=True),
    PairForm("nca_pair", _nca),
    PairForm("robust", _of_margin(_robust), usual=(0.1, 0.2), smooths=True),
    PairForm("bco_pair", _bco(True), note="against the batch's mean"),
    PairForm("bco_pair", _bco(False), note="against 0"),
    PairForm("sppo_hard", _sppo),
    PairForm("apo_zero", _apo_zero),
    PairForm("apo_down", _apo_down(1.0)),
    PairForm("apo_down", _apo_down(0.0), note="less 1"),
    PairForm("apo_down_separate", _apo_down_separate, asked=True),
    PairForm("kto_pair", _kto),
)


def simpo(shift: float, c: np.ndarray, r: np.ndarray, beta: float, e: float) -> Triple:
    """SimPO: DPO's logistic loss on log-probabilities without a reference, beta (c - r) less ``shift``.

    Args:
        shift: The margin that is asked for.
        c: Log-probabilities of the chosen responses, per token [B].
        r: Those of the rejected ones [B].
        beta: The temperature.
        e: The label smoothing.
    """
    loss, slope = _logistic(beta * (c - r) - shift, e)
    return loss, beta * slope, -beta * slope
