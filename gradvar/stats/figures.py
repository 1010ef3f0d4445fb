"""From sums over blocks of replicates to unbiased figures with honest standard errors.

Replicates come in pairs that share their prompts and nothing else, and the pairs are grouped into B blocks. Blocks are
independent, so products of different blocks' sums are unbiased for products of expectations: ||E g||^2 is estimated by
a U-statistic, not by the square of a noisy mean. Within a pair, <g_a, g_b> is unbiased for E ||E[g | prompts]||^2,
which splits the variance into its between-prompt and within-group parts. Standard errors are jackknifed over blocks,
and ``effective_blocks`` says how many of them carry each figure.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gradvar.stats.effective import ENOUGH, effective_number, too_few
from gradvar.stats.intervals import SAME, Interval, is_rounding
from gradvar.stats.meetings import directions_met, pairs_met
from gradvar.stats.products import BlockProducts
from gradvar.stats.tails import Pivot, Scale

FIGURES = ("trace_cov", "between", "within", "signal", "snr", "true_signal", "bias_factor", "cosine")
RATIOS = ("snr", "bias_factor", "cosine")
SCALES: dict[str, Scale] = {"trace_cov": "log", "within": "log", "snr": "quotient", "signal": "root"}
"""Where a figure's interval is made, by measured coverage (``benchmarks/CALIBRATION.md``); elsewhere it is linear."""
REACH = {"trace_cov": 1.0, "within": 1.0, "between": 1.0, "signal": 0.5, "snr": 0.5}
"""By which share of the largest influence of a block the upper end reaches further, chosen in the same way."""


@dataclass(frozen=True)
class BlockSums:
    """What the figures are made of; leading axes are independent experiments, B blocks.

    ``count`` replicates per block; ``gram`` <S_i, S_j> of the blocks' gradient sums S; ``squares`` the sum of
    ||g||^2; ``pairs`` the sum of <g_a, g_b> over pairs, None where the prompts are fixed (no between-prompt part);
    ``aligned`` and ``truth``: with grad J known, <S_j, grad J> [B] and ||grad J||^2; otherwise <S_i, H_j> and
    <H_i, H_j> with H the sums of an unbiased reference estimator on the same replicates. ``pieces``: norms of
    the independent parts that blocks are sums of, where those are many and known: blocks of many prompts each.
    ``joint``: the sum of ||g_a||^2 ||g_b||^2 over pairs; where it is missing, nothing is asked of them.
    Products are all of them [B, B], or ``BlockProducts``.
    """

    count: Float[np.ndarray, " block"]
    gram: Float[np.ndarray, "*experiment block block"] | BlockProducts
    squares: Float[np.ndarray, "*experiment block"]
    pairs: Float[np.ndarray, "*experiment block"] | None
    aligned: Float[np.ndarray, "..."] | BlockProducts
    truth: Float[np.ndarray, "..."] | BlockProducts
    truth_known: bool
    pieces: Float[np.ndarray, "*experiment piece"] | None = None
    joint: Float[np.ndarray, "*experiment block"] | None = None


class Figures(NamedTuple):
    """By name, for each experiment: the value and its standard error."""

    values: dict[str, np.ndarray]
    errors: dict[str, np.ndarray]


def figures(sums: BlockSums) -> Figures:
    """Every figure of ``FIGURES`` with its standard error, jackknifed over blocks (Efron and Tibshirani 1993, 11).

    The ratios (``RATIOS``) are also corrected for their bias of order 1/B; without that a cosine of one is estimated
    above one by about as much as its whole standard error. A cosine that still comes out beyond one is set to one: the
    interval around it, as wide as before, then holds every possible cosine that it held, and more.
    """
    full, without = _evaluate(sums, leave_out=False), leave_one_out(sums)
    blocks = sums.count.shape[-1]
    values, errors = {}, {}
    for name, parts in without.items():
        values[name] = full[name][..., 0]
        if name in RATIOS:
            values[name] = blocks * values[name] - (blocks - 1) * parts.mean(-1)
        if name == "cosine":
            values[name] = np.clip(values[name], -1.0, 1.0)
        errors[name] = jackknife_error(parts)
    return Figures(values, errors)


def effective_blocks(sums: BlockSums) -> dict[str, Float[np.ndarray, "*experiment"]]:
    """The effective number of blocks behind every figure of ``FIGURES`` (see ``stats.effective``).

    A block contributes its squares to a variance, the norm of its sum to what is made of mean gradients, and its pairs'
    products to the between-prompt part; a figure made of several has the least of theirs. A part that is exact by
    construction (a known grad J) counts as infinitely many. Blocks that are sums of many ``pieces`` count by those.
    Products count only as far as the gradients that carry them have met (``stats.meetings``): where half of what must
    be met was, or less, blocks of a signal count less; the part between prompts has twice as many as pairs have met.
    """

    def norms(products: np.ndarray | BlockProducts) -> np.ndarray:
        return effective_number(_products(products).norms())

    if sums.pieces is None:
        second, mean = effective_number(sums.squares), norms(sums.gram)
    else:
        second = effective_number(np.square(sums.pieces))
        mean = effective_number(sums.pieces)
    between = np.full_like(mean, np.inf)  # zero by construction where prompts are fixed
    if sums.pairs is not None:
        between = np.minimum(effective_number(sums.pairs), mean)
    if sums.pairs is not None and sums.joint is not None:
        met = np.minimum(pairs_met(sums.joint, sums.squares, sums.count), 1.0)
        between = np.minimum(between * met, 2 * effective_number(sums.joint))
    truth = np.full_like(mean, np.inf)
    if not sums.truth_known:
        truth = mean if sums.pieces is not None else np.broadcast_to(norms(sums.truth), mean.shape)
    met = directions_met(sums.gram) if isinstance(sums.gram, np.ndarray) else sums.gram.directions
    aligned, signal = np.minimum(mean, truth), mean * np.minimum(2 * met, 1.0)
    return {
        "trace_cov": second,
        "between": between,
        "within": second,
        "signal": signal,
        "snr": np.minimum(second, signal),
        "true_signal": truth,
        "bias_factor": aligned,
        "cosine": np.minimum(aligned, signal),
    }


def point_estimates(sums: BlockSums) -> dict[str, Float[np.ndarray, "*experiment"]]:
    """Every figure from all blocks, by name, without a correction of the ratios."""
    return {name: values[..., 0] for name, values in _evaluate(sums, leave_out=False).items()}


def leave_one_out(sums: BlockSums) -> dict[str, Float[np.ndarray, "*experiment block"]]:
    """Every figure with each block left out, by name: for comparisons of figures that share their blocks."""
    return _evaluate(sums, leave_out=True)


def pivots(
    values: dict[str, Float[np.ndarray, "*experiment"]],
    parts: dict[str, Float[np.ndarray, "*experiment block"]],
    effective: dict[str, Float[np.ndarray, "*experiment"]],
) -> dict[str, Pivot]:
    """What intervals are made of (``stats.tails``), from ``figures``, ``leave_one_out`` and ``effective_blocks``."""
    return {
        name: Pivot.from_parts(
            values[name], x, SCALES.get(name, "linear"), REACH.get(name, 0.0), effective[name] < ENOUGH
        )
        for name, x in parts.items()
    }


def jackknife_error(parts: Float[np.ndarray, "*experiment block"]) -> Float[np.ndarray, "*experiment"]:
    """The standard error of a figure from its leave-one-out values [..., B].

    >>> float(jackknife_error(np.array([1.0, 2.0, 3.0])))  # the values of a mean of three blocks
    1.1547005383792515
    """
    blocks = parts.shape[-1]
    squares = ((parts - parts.mean(-1, keepdims=True)) ** 2).sum(-1)
    return np.sqrt((blocks - 1) / blocks * squares)


def jackknife_interval(
    value: float,
    parts: Float[np.ndarray, " block"],
    level: float = 0.95,
    back: Callable[[float], float] | None = None,
    effective: float = np.nan,
    by_identity: bool = False,
) -> Interval:
    """A figure with its interval (``stats.tails``), from its leave-one-out values, or the reason why there is none.

    Args:
        value: The figure.
        parts: Its leave-one-out values, on the scale where the interval is to be symmetric.
        level: Share of intervals that shall hold the true value.
        back: Leads from the parts' scale to the figure's: ``numpy.exp`` for logarithms of it.
        effective: The effective number of blocks, where it is known.
        by_identity: True if the figure may be the same in every block by algebra; its width may then be zero.

    >>> x = jackknife_interval(2.0, np.array([1.0, 2.0, 3.0]))
    >>> round(x.low, 3), round(x.high, 3), x.dof
    (-2.968, 6.968, 2)
    """
    dof = len(parts) - 1
    if not (np.isfinite(value) and np.isfinite(parts).all()):
        return Interval(value, np.nan, np.nan, dof=dof, effective=effective).without(
            "the figure itself is not known"
        )
    pivot = Pivot.from_parts(np.asarray(value), parts)
    error, (low, high) = float(pivot.error), map(float, pivot.bounds(np.zeros(()), level))
    if back is None:
        made = Interval(value, value + low, value + high, error, dof, effective)
    else:
        low, high = value * float(back(low)), value * float(back(high))
        made = Interval(value, low, high, error * abs(value), dof, effective)
    if not np.isfinite(error):
        return made.without("the numbers are too large for a standard error")
    reason = too_few(effective)
    if not reason and not by_identity and is_rounding(error, 1.0 if back else np.abs(parts).max()):
        reason = SAME
    return made.without(reason) if reason else made


def ratio_interval(
    value: float,
    parts: Float[np.ndarray, " block"],
    level: float = 0.95,
    effective: float = np.nan,
    by_identity: bool = False,
) -> Interval:
    """A quotient of two positive figures, such as variances, with its interval on the logarithmic scale.

    Where it, or one of its leave-one-out values, is not positive, there is neither: estimates without bias may fall
    below zero, and a quotient of variances may not.

    Args:
        value: The quotient.
        parts: Its leave-one-out values.
        level: Share of intervals that shall hold the true value.
        effective: The effective number of blocks, where it is known.
        by_identity: True if the two may differ by a constant factor by algebra.

    >>> ratio_interval(-0.2, np.array([-0.1, 0.3])).words()
    'no interval: one of the two cannot be distinguished from zero'
    """
    if value > 0 and np.isfinite(value) and (parts > 0).all() and np.isfinite(parts).all():
        return jackknife_interval(value, np.log(parts), level, np.exp, effective, by_identity)
    nothing = Interval(float("nan"), np.nan, np.nan, dof=len(parts) - 1, effective=effective)
    return nothing.without(too_few(effective) or "one of the two cannot be distinguished from zero")


def varies(parts: Float[np.ndarray, " block"]) -> bool:
    """Return True for leave-one-out values that differ by more than rounding.

    Two figures that vary while their quotient or difference does not are tied by algebra; two constants are not.
    """
    return bool(np.ptp(parts) > 0) and not is_rounding(float(np.ptp(parts)), float(np.abs(parts).max()))


def _products(products: np.ndarray | BlockProducts) -> BlockProducts:
    return products if isinstance(products, BlockProducts) else BlockProducts.of(products)


def _evaluate(sums: BlockSums, leave_out: bool) -> dict[str, np.ndarray]:
    """The figures with all blocks (last axis 1) or with each block left out (last axis B)."""

    def total(x: np.ndarray) -> np.ndarray:
        full = x.sum(-1, keepdims=True)  # [..., 1]
        return full - x if leave_out else full

    def across(products: np.ndarray | BlockProducts) -> np.ndarray:
        return _products(products).across(sums.count, leave_out=leave_out)

    replicates = total(sums.count)
    signal = across(sums.gram)
    second = total(sums.squares) / replicates
    between = np.zeros_like(second) if sums.pairs is None else total(sums.pairs) / (replicates / 2) - signal
    if sums.truth_known:
        aligned = total(np.asarray(sums.aligned)) / replicates
        truth = np.broadcast_to(np.asarray(sums.truth)[..., None], aligned.shape)
    else:
        aligned, truth = across(sums.aligned), across(sums.truth)
    trace_cov = second - signal
    with np.errstate(divide="ignore", invalid="ignore"):  # a ratio without a denominator is NaN
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
