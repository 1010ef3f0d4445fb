"""CISPO: clip the importance weight, not the update.

MiniMax, "MiniMax-M1: Scaling test-time compute efficiently with lightning attention", arXiv 2506.13585,
equations (4) and (5):

    J = (1 / sum_i |o_i|) sum_i sum_t sg[clip(rho_it, 1 - eps_low, 1 + eps_high)] A_i log pi(o_it)
    A_i = (r_i - mean(r)) / std(r)
"""

from functools import partial

from gradvar.core.checks import nonnegative
from gradvar.core.compose import compose
from gradvar.core.estimator import Estimator, Paper
from gradvar.estimators.building import clipped
from gradvar.estimators.law_sets import BATCH_WISE, BIASED, SOFT, STANDARDISED, calm, merged
from gradvar.pieces import advantage, aggregate, surrogate


def cispo(*, ddof: int = 0, eps: float = 1e-6, clip_low: float = 1.0, clip_high: float = 4.0) -> Estimator:
    """Every token keeps its gradient, with a bounded weight.

    ``clip_low=1`` leaves the lower side open, as the paper does. The paper tunes ``clip_high`` and does not
    print it; 4 (a weight of at most 5) is this package's choice, not the paper's.

    Args:
        ddof: 0 divides the sum of squares by their number (population), 1 by one less (sample).
        eps: Added to the standard deviation.
        clip_low: Distance below 1 to which the weight is cut; 1 leaves this side open.
        clip_high: Distance above 1 to which the weight is cut.
    """
    return compose(
        name="cispo",
        advantage=partial(advantage.standardised, ddof=ddof, eps=nonnegative("eps", eps)),
        surrogate=clipped(surrogate.clipped_weight, clip_low, clip_high),
        aggregate=aggregate.token_mean,
        paper=Paper(
            "MiniMax-M1: Scaling test-time compute efficiently with lightning attention",
            "2506.13585",
            "(1/sum|o_i|) sum_i sum_t sg[clip(rho)] A_i log pi(o_it), A_i = (r_i - mean)/(std + eps)",
        ),
        laws=merged(STANDARDISED, calm(eps), BATCH_WISE, SOFT, BIASED),
    )
