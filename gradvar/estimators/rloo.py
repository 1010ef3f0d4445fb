"""RLOO: REINFORCE with the leave-one-out baseline.

A. Ahmadian et al., "Back to basics: Revisiting REINFORCE-style optimization for learning from human feedback
in LLMs", arXiv 2402.14740; W. Kool, H. van Hoof, M. Welling, "Buy 4 REINFORCE samples, get a
baseline for free!" (2019):

    ghat = (1/G) sum_i (r_i - mean_{j != i} r_j) grad log pi(o_i)

The baseline of rollout i is independent of it, so ghat is unbiased for any rewards.
"""

from gradvar.core.compose import compose
from gradvar.core.estimator import Estimator, Paper
from gradvar.estimators.law_sets import CENTRED, ROW_WISE, UNBIASED, merged
from gradvar.pieces import advantage, aggregate, surrogate


def rloo() -> Estimator:
    """Leave-one-out advantages times log pi of the whole rollout: exactly grad J in expectation on policy."""
    return compose(
        name="rloo",
        advantage=advantage.leave_one_out,
        surrogate=surrogate.likelihood,
        aggregate=aggregate.sequence_token_sum,
        paper=Paper(
            "Back to basics: Revisiting REINFORCE-style optimization "
            "for learning from human feedback in LLMs",
            "2402.14740",
            "(1/(QG)) sum_i (r_i - mean of the others) sum_t log pi(o_it)",
        ),
        laws=merged(CENTRED, ROW_WISE, UNBIASED, leave_one_out_factor=True),
    )
