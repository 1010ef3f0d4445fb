"""From sums over blocks of replicates to unbiased figures with honest standard errors.

Replicates come in pairs that share their prompts and nothing else, and the pairs are grouped into B blocks. Blocks are
independent, so products of different blocks' sums are unbiased for products of expectations: ||E g||^2 is estimated by
a U-statistic, not by the square of a noisy mean. Within a pair, <g_a, g_b> is unbiased for E ||E[g | prompts]||^2,
which splits the variance into its between-prompt and within-group parts. Standard errors are jackknifed over blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

FIGURES = ("trace_cov", "between", "within", "signal", "snr", "true_signal", "bias_factor", "cosine")
RATIOS = ("snr", "bias_factor", "cosine")


@dataclass(frozen=True)
class BlockSums:
    """What the figures are made of; leading axes are independent experiments, B blocks.

    ``count`` replicates per block; ``gram`` <S_i, S_j> of the blocks' gradient sums S; ``squares`` the sum of
    ||g||^2; ``pairs`` the sum of <g_a, g_b> over pairs, None where the prompts are fixed (no between-prompt part);
    ``aligned`` and ``truth``: with grad J known, <S_j, grad J> [B] and ||grad J||^2; otherwise <S_i, H_j> and
    <H_i, H_j> [B, B] with H the sums of an unbiased reference estimator on the same replicates.
    """

    count: Float[np.ndarray, " block"]
    gram: Float[np.ndarray, "*experiment block block"]
    squares: Float[np.ndarray, "*experiment block"]
    pairs: Float[np.ndarray, "*experiment block"] | None
    aligned: Float[np.ndarray, "..."]
    truth: Float[np.ndarray, "..."]
    truth_known: bool


class Figures(NamedTuple):
    """By name, for each experiment: the value and its standard error."""

    values: dict[str, np.ndarray]
    errors: dict[str, np.ndarray]


def figures(sums: BlockSums) -> Figures:
    """Every figure of ``Moments`` with its standard error, jackknifed over blocks (Efron and Tibshirani 1993, 11).

    The ratios (``RATIOS``) are also corrected for their bias of order 1/B; without that a cosine of one is estimated
    above one by about as much as its whole standard error. A cosine that still comes out beyond one is set to one: the
    interval around it, as wide as before, then holds every possible cosine that it held, and more.
    """
    whole, without = _figures(sums, leave_out=False), _figures(sums, leave_out=True)
    blocks = sums.count.shape[-1]
    values, errors = {}, {}
    for name, parts in without.items():
        middle = parts.mean(-1, keepdims=True)
        values[name] = whole[name][..., 0]
        if name in RATIOS:
            values[name] = blocks * values[name] - (blocks - 1) * middle[..., 0]
        if name == "cosine":
            values[name] = np.clip(values[name], -1.0, 1.0)
        errors[name] = np.sqrt((blocks - 1) / blocks * ((parts - middle) ** 2).sum(-1))
    return Figures(values, errors)


def _figures(sums: BlockSums, leave_out: bool) -> dict[str, np.ndarray]:
    """The figures with all blocks (last axis 1) or with each block left out (last axis B)."""

    def total(x: np.ndarray) -> np.ndarray:
        whole = x.sum(-1, keepdims=True)
        return whole - x if leave_out else whole

    def across(gram: np.ndarray) -> np.ndarray:
        """The mean product of replicates of different blocks."""
        own = np.diagonal(gram, axis1=-2, axis2=-1)
        rows = gram.sum(-1) + gram.sum(-2) - 2 * own
        everything = rows.sum(-1, keepdims=True) / 2
        number = total(sums.count) ** 2 - total(sums.count**2)
        return (everything - rows if leave_out else everything) / number

    replicates = total(sums.count)
    signal = across(sums.gram)
    second = total(sums.squares) / replicates
    nothing = np.zeros_like(second)
    between = nothing if sums.pairs is None else total(sums.pairs) / (replicates / 2) - signal
    if sums.truth_known:
        aligned = total(sums.aligned) / replicates
        truth = np.broadcast_to(np.asarray(sums.truth)[..., None], aligned.shape)
    else:
        aligned, truth = across(sums.aligned), across(sums.truth)
    trace_cov = second - signal
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "trace_cov": trace_cov,
            "between": between,
            "within": trace_cov - between,
            "signal": signal,
            "snr": signal / trace_cov,
            "true_signal": truth,
            "bias_factor": aligned / truth,
            "cosine": aligned / np.sqrt(signal * truth),
        }
