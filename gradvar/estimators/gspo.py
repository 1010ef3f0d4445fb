"""GSPO: one importance ratio per sequence.

C. Zheng et al., "Group sequence policy optimization", arXiv 2507.18071, equations (5) and (7):

    J = (1/G) sum_i min(s_i A_i, clip(s_i, 1 - eps_low, 1 + eps_high) A_i)
    s_i = (pi(o_i) / pi_old(o_i))^(1/|o_i|),   A_i = (r_i - mean(r)) / std(r)

and its token form, equations (13) and (14), with s_it = sg[s_i] pi(o_it) / sg[pi(o_it)].
"""

from functools import partial

from gradvar.core.checks import nonnegative
from gradvar.core.compose import Piece, compose
from gradvar.core.estimator import Estimator, Paper
from gradvar.estimators.building import clipped
from gradvar.estimators.law_sets import BIASED, ROW_WISE, STANDARDISED, calm, merged
from gradvar.pieces import advantage, aggregate, surrogate


def gspo(*, ddof: int = 0, eps: float = 1e-6, clip_low: float = 3e-4, clip_high: float = 4e-4) -> Estimator:
    """The length-normalised sequence ratio, clipped per sequence; the clip range is the paper's.

    Args:
        ddof: 0 divides the sum of squares by their number (population), 1 by one less (sample).
        eps: Added to the standard deviation.
        clip_low: Distance below 1 at which the ratio of a sequence is clipped.
        clip_high: Distance above 1 at which it is clipped.
    """
    return _gspo("gspo", surrogate.sequence_clip, ddof, eps, clip_low, clip_high)


def gspo_token(
    *, ddof: int = 0, eps: float = 1e-6, clip_low: float = 3e-4, clip_high: float = 4e-4
) -> Estimator:
    """The token form; the same gradient as ``gspo`` while a rollout's tokens share one advantage.

    Args:
        ddof: 0 divides the sum of squares by their number (population), 1 by one less (sample).
        eps: Added to the standard deviation.
        clip_low: Distance below 1 at which the ratio of a sequence is clipped.
        clip_high: Distance above 1 at which it is clipped.
    """
    return _gspo("gspo_token", surrogate.sequence_clip_per_token, ddof, eps, clip_low, clip_high)


def _gspo(name: str, ratio: Piece, ddof: int, eps: float, clip_low: float, clip_high: float) -> Estimator:
    return compose(
        name=name,
        advantage=partial(advantage.standardised, ddof=ddof, eps=nonnegative("eps", eps)),
        surrogate=clipped(ratio, clip_low, clip_high),
        aggregate=aggregate.sequence_token_mean,
        paper=Paper(
            "Group sequence policy optimization",
            "2507.18071",
            "(1/(QG)) sum_i min(s_i A_i, clip(s_i) A_i), s_i = (pi(o_i)/pi_old(o_i))^(1/|o_i|)",
        ),
        # The clip is about sequences: "a token beyond the clip" is not something that this objective knows.
        laws=merged(STANDARDISED, calm(eps), ROW_WISE, BIASED, on_policy_unclipped=True),
    )
