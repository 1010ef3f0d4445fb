"""KRPO: a Kalman filter over the rollouts as baseline and scale.

H. Wang, C. Ma, I. Reid, M. Yaqub, "Kalman filter enhanced GRPO for reinforcement learning-based language
model reasoning", arXiv 2505.07527:

    A_i = (r_i - x_i) / sqrt(P_i),   x_i, P_i the filtered mean and variance after rollout i
"""

from functools import partial

from gradvar.core.checks import nonnegative, positive
from gradvar.core.compose import compose
from gradvar.core.estimator import Estimator, Paper
from gradvar.estimators.building import clipped
from gradvar.estimators.law_sets import BIASED, CLIPPED, ROW_WISE, UNCENTRED, merged
from gradvar.pieces import advantage, aggregate, surrogate


def krpo(
    *,
    process: float = 1e-5,
    measurement: float = 1e-2,
    eps: float = 1e-8,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> Estimator:
    """GRPO with filtered advantages; the order of a group's rollouts matters.

    The filter restarts for every prompt at mean 0 and variance 1, as released. The clip and the mean over
    tokens are GRPO's.

    Args:
        process: Variance of the filter's process noise.
        measurement: Variance of the filter's measurement noise.
        eps: Added to the filtered standard deviation.
        clip_low: Distance below 1 at which the ratio is clipped.
        clip_high: Distance above 1 at which the ratio is clipped.
    """
    return compose(
        name="krpo",
        advantage=partial(
            advantage.kalman,
            process=nonnegative("process", process),
            measurement=positive("measurement", measurement),
            eps=nonnegative("eps", eps),
        ),
        surrogate=clipped(surrogate.ppo_clip, clip_low, clip_high),
        aggregate=aggregate.sequence_token_mean,
        paper=Paper(
            "Kalman filter enhanced GRPO for reinforcement learning-based language model reasoning",
            "2505.07527",
            "GRPO with A_i = (r_i - x_i)/sqrt(P_i), x and P filtered over the group",
        ),
        laws=merged(
            UNCENTRED,
            ROW_WISE,
            CLIPPED,
            BIASED,
            scale_equivariant=True,
            permutation_equivariant=False,
            order_preserving=False,
            order_invariant=False,
        ),
        min_group=1,
    )
