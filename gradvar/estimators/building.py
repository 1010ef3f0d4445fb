"""Small parts that several factories use: a penalty from its coefficient, a surrogate with its clip range."""

from functools import partial

from gradvar.core.checks import nonnegative, share
from gradvar.core.compose import Piece, no_penalty
from gradvar.pieces import penalty


def k3_loss(beta: float) -> Piece:
    """beta times k3 as a loss, or the null penalty (which asks for no reference) when beta is 0."""
    return partial(penalty.k3, beta=nonnegative("beta", beta)) if beta else no_penalty


def clip_range(clip_low: float, clip_high: float) -> tuple[float, float]:
    """A clip's range, checked: distances from 1, not negative, the lower one at most 1."""
    return share("clip_low", clip_low), nonnegative("clip_high", clip_high)


def clipped(surrogate: Piece, clip_low: float, clip_high: float) -> Piece:
    """A surrogate with its clip range bound."""
    low, high = clip_range(clip_low, clip_high)
    return partial(surrogate, low=low, high=high)
