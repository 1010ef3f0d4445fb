"""EBPO: the group's mean shrunk towards the mean of all prompts.

K. Han et al., "EBPO: Empirical Bayes shrinkage for stabilizing group-relative policy optimization", arXiv
2602.05165:

    b_q = (1 - S) mean_q + S mean,   S = (v/G) / (v/G + t)

v the variance of all rewards, t that of the group means; then centred and scaled over the batch.
"""

from functools import partial

from gradvar.core.checks import nonnegative
from gradvar.core.compose import compose
from gradvar.core.estimator import Estimator, Paper
from gradvar.estimators.building import clipped
from gradvar.estimators.law_sets import ACROSS_GROUPS, BATCH_WISE, BIASED, CLIPPED, UNCENTRED, calm, merged
from gradvar.pieces import advantage, aggregate, surrogate


def ebpo(*, eps: float = 1e-8, clip_low: float = 0.2, clip_high: float = 0.2) -> Estimator:
    """GRPO's clipped objective with shrunk baselines, from the statistics of this batch alone.

    The paper keeps the statistics over training (``gradvar.pieces.tracker``); an objective has no memory. Its
    printed constants were not at hand: see ``advantage.shrunk`` for what was chosen.
    """
    return compose(
        name="ebpo",
        advantage=partial(advantage.shrunk, eps=nonnegative("eps", eps)),
        surrogate=clipped(surrogate.ppo_clip, clip_low, clip_high),
        aggregate=aggregate.sequence_token_mean,
        paper=Paper(
            "EBPO: Empirical Bayes shrinkage for stabilizing group-relative policy optimization",
            "2602.05165",
            "GRPO with A_i = r_i - (1-S) group mean - S batch mean, standardised over the batch",
        ),
        laws=merged(
            UNCENTRED,
            ACROSS_GROUPS,
            BATCH_WISE,
            CLIPPED,
            BIASED,
            calm(eps),
            shift_invariant=True,
            scale_invariant=True,
        ),
    )
