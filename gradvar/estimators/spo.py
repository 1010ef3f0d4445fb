"""SPO: one rollout per prompt, with a tracked value as baseline.

Z. Xu, Z. Ding, "Single-stream policy optimization", arXiv 2509.13232:

    A = r - v(x),   v = alpha/(alpha + beta) before this rollout;   A <- (A - mean over the batch) / std over the batch
    alpha <- rho alpha + r,   beta <- rho beta + 1 - r,   rho = 2^(-KL/half)
"""

from functools import partial

from gradvar.core.checks import nonnegative
from gradvar.core.compose import compose
from gradvar.core.estimator import Estimator, Paper
from gradvar.estimators.building import clipped
from gradvar.estimators.law_sets import ACROSS_GROUPS, BATCH_WISE, BIASED, CLIPPED, UNCENTRED, merged
from gradvar.pieces import advantage, aggregate, surrogate


def spo(*, ddof: int = 1, eps: float = 1e-8, clip_low: float = 0.2, clip_high: float = 0.2) -> Estimator:
    """PPO's clip with the tracked value in ``batch.baseline``, advantages standardised over the batch.

    The tracker is ``gradvar.pieces.tracker.BetaTracker``. ``ddof``, ``eps`` and the token mean are those of
    the released code; the paper says PPO's clip without a range.

    Args:
        ddof: 0 divides the sum of squares by their number (population), 1 by one less (sample).
        eps: Added to the standard deviation.
        clip_low: Distance below 1 at which the ratio is clipped.
        clip_high: Distance above 1 at which the ratio is clipped.
    """
    return compose(
        name="spo",
        advantage=partial(advantage.given_batch_standardised, ddof=ddof, eps=nonnegative("eps", eps)),
        surrogate=clipped(surrogate.ppo_clip, clip_low, clip_high),
        aggregate=aggregate.token_mean,
        paper=Paper(
            "Single-stream policy optimization",
            "2509.13232",
            "(1/sum|o_i|) sum_i sum_t min(rho A_i, clip(rho) A_i), "
            "A_i = r_i - tracked value, batch-standardised",
        ),
        # A shift moves every r - v alike and the batch mean takes it out; a scale, with v fixed, does not.
        laws=merged(UNCENTRED, ACROSS_GROUPS, BATCH_WISE, CLIPPED, BIASED, shift_invariant=True),
        min_group=1,
    )
