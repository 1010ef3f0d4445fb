"""GMPO: geometric-mean policy optimisation.

Y. Zhao et al., "Geometric-mean policy optimization", arXiv 2507.20673:

    J = (1/G) sum_i A_i (prod_t clipped rho_it)^(1/|o_i|),   A_i = (r_i - mean(r)) / std(r)

with rho clipped to (e^-0.4, e^0.4), one-sided by the sign of A_i as in PPO.
"""

from functools import partial

from gradvar.core.checks import nonnegative
from gradvar.core.compose import compose
from gradvar.core.estimator import Estimator, Paper
from gradvar.estimators.law_sets import BIASED, CLIPPED, ROW_WISE, STANDARDISED, calm, merged
from gradvar.pieces import advantage, aggregate, surrogate


def gmpo(*, ddof: int = 0, eps: float = 1e-6, clip_low: float = 0.4, clip_high: float = 0.4) -> Estimator:
    """The geometric mean of the clipped token ratios of a rollout, times its standardised advantage.

    ``clip_low`` and ``clip_high`` bound the *log*-ratio here, at -0.4 and 0.4 in the paper.

    Args:
        ddof: 0 divides the sum of squares by their number (population), 1 by one less (sample).
        eps: Added to the standard deviation.
        clip_low: Bound of the log-ratio below 0.
        clip_high: Bound of the log-ratio above 0.
    """
    return compose(
        name="gmpo",
        advantage=partial(advantage.standardised, ddof=ddof, eps=nonnegative("eps", eps)),
        surrogate=partial(
            surrogate.geometric_clip,
            low=nonnegative("clip_low", clip_low),
            high=nonnegative("clip_high", clip_high),
        ),
        aggregate=aggregate.sequence_token_mean,
        paper=Paper(
            "Geometric-mean policy optimization",
            "2507.20673",
            "(1/(QG)) sum_i A_i exp(mean_t clipped log rho_it), A_i = (r_i - mean)/(std + eps)",
        ),
        laws=merged(STANDARDISED, calm(eps), ROW_WISE, CLIPPED, BIASED),
    )
