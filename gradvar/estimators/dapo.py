"""DAPO: decoupled clip and dynamic sampling.

Q. Yu et al., "DAPO: An open-source LLM reinforcement learning system at scale", arXiv 2503.14476, equation
(8):

    J = (1 / sum_i |o_i|) sum_i sum_t min(rho_it A_i, clip(rho_it, 1 - eps_low, 1 + eps_high) A_i)
    A_i = (r_i - mean(r)) / std(r),   over groups with 0 < number correct < G
"""

from functools import partial

from gradvar.core.checks import nonnegative
from gradvar.core.compose import compose, everything
from gradvar.core.estimator import Estimator, Paper
from gradvar.estimators.building import clipped
from gradvar.estimators.law_sets import BATCH_WISE, BIASED, CLIPPED, STANDARDISED, calm, merged
from gradvar.pieces import advantage, aggregate, select, surrogate


def dapo(
    *,
    ddof: int = 0,
    eps: float = 1e-6,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
    dynamic_sampling: bool = True,
) -> Estimator:
    """Clip-higher, token mean over the batch, groups of equal rewards dropped.

    ``dynamic_sampling=True`` drops such groups from the token count too; the paper then draws new prompts
    until the batch is full, which is the training loop's part. No KL term in the paper. The overlong penalty
    changes rewards and belongs to the task.

    Args:
        ddof: 0 divides the sum of squares by their number (population), 1 by one less (sample).
        eps: Added to the standard deviation.
        clip_low: Distance below 1 at which the ratio is clipped.
        clip_high: Distance above 1 at which the ratio is clipped.
        dynamic_sampling: Drop groups of equal rewards.
    """
    return compose(
        name="dapo",
        advantage=partial(advantage.standardised, ddof=ddof, eps=nonnegative("eps", eps)),
        surrogate=clipped(surrogate.ppo_clip, clip_low, clip_high),
        aggregate=aggregate.token_mean,
        select=select.mixed_groups if dynamic_sampling else everything,
        paper=Paper(
            "DAPO: An open-source LLM reinforcement learning system at scale",
            "2503.14476",
            "(1/sum|o_i|) sum_i sum_t min(rho A_i, clip(rho, 1-low, 1+high) A_i), "
            "A_i = (r_i - mean)/(std + eps), mixed groups only",
        ),
        laws=merged(STANDARDISED, calm(eps), BATCH_WISE, CLIPPED, BIASED),
    )
