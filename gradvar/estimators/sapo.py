"""SAPO: a soft gate instead of a clip.

C. Gao et al., "Soft adaptive policy optimization", arXiv 2511.20347:

    J = (1/G) sum_i (1/|o_i|) sum_t f(rho_it) A_i,   f(rho) = (4/tau) sigmoid(tau (rho - 1))
    tau = tau_pos where A_i > 0, tau_neg elsewhere,   A_i = (r_i - mean(r)) / std(r)
"""

from functools import partial

from gradvar.core.checks import nonnegative, positive
from gradvar.core.compose import compose
from gradvar.core.estimator import Estimator, Paper
from gradvar.estimators.law_sets import BIASED, ROW_WISE, SOFT, STANDARDISED, calm, merged
from gradvar.pieces import advantage, aggregate, surrogate


def sapo(
    *, ddof: int = 0, eps: float = 1e-6, tau_positive: float = 1.0, tau_negative: float = 1.05
) -> Estimator:
    """Sigmoid gates on the token ratio; the temperatures are the paper's.

    Args:
        ddof: 0 divides the sum of squares by their number (population), 1 by one less (sample).
        eps: Added to the standard deviation.
        tau_positive: Temperature of the gate where A > 0.
        tau_negative: Temperature of the gate elsewhere.
    """
    return compose(
        name="sapo",
        advantage=partial(advantage.standardised, ddof=ddof, eps=nonnegative("eps", eps)),
        surrogate=partial(
            surrogate.soft_gate,
            positive=positive("tau_positive", tau_positive),
            negative=positive("tau_negative", tau_negative),
        ),
        aggregate=aggregate.sequence_token_mean,
        paper=Paper(
            "Soft adaptive policy optimization",
            "2511.20347",
            "(1/(QG)) sum_i (1/|o_i|) sum_t (4/tau) sigmoid(tau (rho - 1)) A_i, "
            "A_i = (r_i - mean)/(std + eps)",
        ),
        laws=merged(STANDARDISED, calm(eps), ROW_WISE, SOFT, BIASED),
    )
