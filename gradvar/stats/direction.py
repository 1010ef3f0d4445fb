"""What a noisy, biased gradient loses of the direction that it is meant for, whatever its scale.

A learning rate is tuned, so a gradient is as good as its best multiple: the loss of g is the least over numbers c of
E||c g - grad J||^2 / ||grad J||^2 = 1 - <E g, grad J>^2 / (E||g||^2 ||grad J||^2). With the cosine of E g and grad J,
and the signal-to-noise ratio s, it is (1 - cos^2) + cos^2 / (1 + s): what is left in an endless batch, the bias, and
what a larger batch takes away, the variance.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gradvar.stats.effective import effective_number
from gradvar.stats.figures import BlockSums, effective_blocks, leave_one_out, point_estimates


class Losses(NamedTuple):
    """The three by name, as values and with each block left out [block], and their effective number of blocks."""

    values: dict[str, float]
    parts: dict[str, Float[np.ndarray, " block"]]
    effective: float


def direction_losses(
    signal: Float[np.ndarray, "*n"],
    trace_cov: Float[np.ndarray, "*n"],
    bias_factor: Float[np.ndarray, "*n"],
    true_signal: Float[np.ndarray, "*n"],
) -> dict[str, Float[np.ndarray, "*n"]]:
    """``loss``, ``bias`` and ``variance`` from figures of ``Moments``; a gradient that is always zero loses all.

    Args:
        signal: ||E g||^2.
        trace_cov: tr Cov g.
        bias_factor: <E g, grad J> / ||grad J||^2.
        true_signal: ||grad J||^2.

    >>> losses = direction_losses(np.array(4.0), np.array(4.0), np.array(2.0), np.array(1.0))  # 2 grad J and noise
    >>> float(losses["loss"]), float(losses["bias"]), float(losses["variance"])
    (0.5, 0.0, 0.5)
    """
    second, aligned = signal + trace_cov, bias_factor**2 * true_signal
    with np.errstate(divide="ignore", invalid="ignore"):
        loss = np.where(second == 0, 1.0, 1 - aligned / second)
        bias = np.where(second == 0, 1.0, 1 - aligned / signal)
    return {"loss": loss, "bias": bias, "variance": loss - bias}


def sampled_losses(sums: BlockSums) -> Losses:
    """The losses from block sums, with the jackknife's correction for bias."""
    names = ("signal", "trace_cov", "bias_factor", "true_signal")
    whole, without = point_estimates(sums), leave_one_out(sums)
    values = direction_losses(*(whole[name] for name in names))
    parts = direction_losses(*(without[name] for name in names))
    blocks = len(sums.count)
    effective = effective_blocks(sums)
    with np.errstate(invalid="ignore"):  # a gradient without a signal has no bias: NaN, which has no interval
        corrected = {n: float(blocks * x - (blocks - 1) * parts[n].mean()) for n, x in values.items()}
    return Losses(corrected, parts, float(min(effective["trace_cov"], effective["bias_factor"])))


def effective_share(log_weights: Float[np.ndarray, " rollout"]) -> float:
    """The effective sample size of weights as a share of their number: 1 if all are alike.

    >>> round(effective_share(np.log([1.0, 1.0, 1.0, 3.0])), 4)
    0.75
    """
    size = len(log_weights)
    return float(effective_number(np.exp(log_weights - log_weights.max()))) / size
