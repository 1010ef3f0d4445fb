"""BNPO: advantages normalised by a Beta density fitted to the prompts' success rates.

C. Xiao, M. Zhang, Y. Cao, "BNPO: Beta normalization policy optimization", arXiv 2506.02864:

    A_i = (r_i - p) / Beta(p; alpha, beta),   alpha = 1 + a/3,   beta = 1 + b/3

p the group's mean, Beta(a, b) fitted by moments to the means of all prompts in the batch. (In some trainers
"bnpo" names a token mean over the local batch, which is another thing.)
"""

from functools import partial

from gradvar.core.compose import compose
from gradvar.core.estimator import Estimator, Paper
from gradvar.estimators.building import clipped
from gradvar.estimators.law_sets import ACROSS_GROUPS, BATCH_WISE, BIASED, CENTRED, CLIPPED, merged
from gradvar.pieces import advantage, aggregate, surrogate


def bnpo(
    *, low: float = 0.0, high: float = 1.0, cap: float = 1e6, clip_low: float = 0.2, clip_high: float = 0.2
) -> Estimator:
    """Beta-normalised advantages in GRPO's clipped objective; ``low`` and ``high`` are the rewards' range.

    ``cap`` bounds the inverse density, as released. The clip and the mean over tokens are GRPO's.

    Args:
        low: Least reward.
        high: Largest reward.
        cap: Bound of the inverse density.
        clip_low: Distance below 1 at which the ratio is clipped.
        clip_high: Distance above 1 at which the ratio is clipped.
    """
    return compose(
        name="bnpo",
        advantage=partial(advantage.beta_normalised, low=low, high=high, cap=cap),
        surrogate=clipped(surrogate.ppo_clip, clip_low, clip_high),
        aggregate=aggregate.sequence_token_mean,
        paper=Paper(
            "BNPO: Beta normalization policy optimization",
            "2506.02864",
            "GRPO with A_i = (r_i - p)/Beta(p; 1 + a/3, 1 + b/3), a and b fitted to the batch",
        ),
        laws=merged(
            CENTRED,
            ACROSS_GROUPS,
            BATCH_WISE,
            CLIPPED,
            BIASED,
            shift_invariant=False,
            scale_equivariant=False,
        ),
    )
