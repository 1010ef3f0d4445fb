"""GDPO: several rewards, normalised one by one.

S.-Y. Liu et al., "GDPO: Group reward-decoupled normalization policy optimization for multi-reward RL
optimization", arXiv 2601.05242:

    A_i = sum_k w_k (r_ik - mean_k) / std_k, mean and std over the group;   A <- A / std over the batch
"""

from functools import partial

from gradvar.core.checks import nonnegative
from gradvar.core.compose import compose
from gradvar.core.estimator import Estimator, Paper
from gradvar.estimators.building import clipped
from gradvar.estimators.law_sets import BATCH_WISE, BIASED, CLIPPED, merged
from gradvar.pieces import advantage, aggregate, surrogate


def gdpo(
    *,
    weights: tuple[float, ...] | None = None,
    ddof: int = 0,
    eps: float = 1e-6,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> Estimator:
    """GRPO's clipped objective with decoupled advantages from ``batch.reward_parts``.

    ``weights``, one per part, default to 1. It does not look at ``batch.rewards``: the laws about rewards do
    not apply, and the statistical ones are read with J the expected sum of the parts.

    Args:
        weights: One for each part of the reward; None is 1 for each.
        ddof: 0 divides the sum of squares by their number (population), 1 by one less (sample).
        eps: Added to the standard deviations.
        clip_low: Distance below 1 at which the ratio is clipped.
        clip_high: Distance above 1 at which the ratio is clipped.
    """
    return compose(
        name="gdpo",
        advantage=partial(advantage.decoupled, weights=weights, ddof=ddof, eps=nonnegative("eps", eps)),
        surrogate=clipped(surrogate.ppo_clip, clip_low, clip_high),
        aggregate=aggregate.sequence_token_mean,
        paper=Paper(
            "GDPO: Group reward-decoupled normalization policy optimization for multi-reward RL optimization",
            "2601.05242",
            "GRPO with A_i = sum_k w_k (r_ik - mean_k)/(std_k + eps), divided by its std over the batch",
        ),
        laws=merged(BATCH_WISE, CLIPPED, BIASED, pure=True),
    )
