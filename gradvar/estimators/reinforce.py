"""REINFORCE, without a baseline and with the best constant one.

R. J. Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning",
Machine Learning 8 (1992), theorem 1:

    ghat = (1/(Q G)) sum_i (r_i - b) sum_t grad log pi(o_{i,t})

Any b that does not depend on the rollouts leaves ghat unbiased, since the expected score is zero. The
variance-minimal constant is b* = E[r ||s||^2] / E[||s||^2] per prompt: E. Greensmith, P. L. Bartlett, J.
Baxter, "Variance reduction techniques for gradient estimates in reinforcement learning", JMLR 5 (2004); L.
Weaver, N. Tao (UAI 2001).
"""

from gradvar.core.compose import compose
from gradvar.core.estimator import Estimator, Paper
from gradvar.estimators.law_sets import ROW_WISE, UNBIASED, UNCENTRED, merged
from gradvar.pieces import advantage, aggregate, surrogate


def reinforce() -> Estimator:
    """The reward times the score: unbiased, and noisy when rewards are far from zero."""
    return compose(
        name="reinforce",
        advantage=advantage.raw,
        surrogate=surrogate.likelihood,
        aggregate=aggregate.sequence_token_sum,
        paper=Paper(
            "Simple statistical gradient-following algorithms for connectionist reinforcement learning",
            "Machine Learning 8, 1992",
            "(1/(QG)) sum_i r_i sum_t log pi(o_it)",
        ),
        laws=merged(UNCENTRED, ROW_WISE, UNBIASED, scale_equivariant=True),
        min_group=1,
    )


def reinforce_best_constant() -> Estimator:
    """The reward less a constant given per prompt in ``batch.baseline``, meant to be the variance-minimal b*.

    The objective takes whatever constant the batch holds; the engines fill in b* = E[r ||s||^2] / E[||s||^2].
    """
    return compose(
        name="reinforce_best_constant",
        advantage=advantage.given,
        surrogate=surrogate.likelihood,
        aggregate=aggregate.sequence_token_sum,
        paper=Paper(
            "Variance reduction techniques for gradient estimates in reinforcement learning",
            "JMLR 5, 2004",
            "(1/(QG)) sum_i (r_i - b*) sum_t log pi(o_it), b* = E[r |s|^2] / E[|s|^2]",
        ),
        laws=merged(UNCENTRED, ROW_WISE, UNBIASED),
        min_group=1,
    )
