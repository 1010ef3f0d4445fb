"""GPG: group policy gradient.

X. Chu et al., "GPG: A simple and strong reinforcement learning baseline for model reasoning", arXiv
2504.02546:

    J = (1 / sum_i |o_i|) sum_i sum_t A_i log pi(o_it),   A_i = alpha (r_i - mean(r)) / F_norm
    alpha = B / (B - M), B rollouts in the batch, M of them in groups of equal rewards
"""

from functools import partial
from typing import Literal

from gradvar.core.checks import nonnegative
from gradvar.core.compose import compose
from gradvar.core.estimator import Estimator, Paper
from gradvar.estimators.law_sets import BATCH_WISE, BIASED, CENTRED, STANDARDISED, calm, merged
from gradvar.pieces import advantage, aggregate, surrogate


def gpg(*, f_norm: Literal["none", "std"] = "none", ddof: int = 1, eps: float = 1e-6) -> Estimator:
    """Group-mean advantages, no ratio, no clip, token mean, rescaled for groups that give no gradient.

    ``f_norm="none"`` is the paper's best variant; ``"std"`` divides by the group's standard deviation
    (``ddof``, ``eps``). The paper also resamples until enough groups are mixed, which is the training loop's
    part.
    """
    laws = CENTRED if f_norm == "none" else merged(STANDARDISED, calm(eps), bounded=False)
    return compose(
        name="gpg",
        advantage=partial(advantage.mixed_rescaled, f_norm=f_norm, ddof=ddof, eps=nonnegative("eps", eps)),
        surrogate=surrogate.likelihood,
        aggregate=aggregate.token_mean,
        paper=Paper(
            "GPG: A simple and strong reinforcement learning baseline for model reasoning",
            "2504.02546",
            "(1/sum|o_i|) sum_i sum_t A_i log pi(o_it), "
            "A_i = alpha (r_i - mean), alpha = groups / mixed groups",
        ),
        laws=merged(laws, BATCH_WISE, BIASED, group_isolated=False),
    )
