"""OPO: on-policy REINFORCE with the length-weighted baseline.

Y. Hao et al., "On-policy RL with optimal reward baseline", arXiv 2505.23585:

    b = sum_j l_j r_j / sum_j l_j,   A_i = r_i - b,   l_j the length of rollout j

The variance-minimal baseline E[r ||s||^2] / E[||s||^2] under the assumption that the squared score is
proportional to the length.
"""

from dataclasses import replace
from functools import partial

from gradvar.core.compose import compose
from gradvar.core.estimator import Estimator, Paper
from gradvar.estimators.law_sets import BIASED, CENTRED, ROW_WISE, UNBIASED, merged
from gradvar.pieces import advantage, aggregate, surrogate


def opo(*, include_self: bool = True) -> Estimator:
    """Length-weighted baseline, exactly on policy, no clip and no penalty.

    ``include_self=True`` is the paper's baseline, over the whole group. It depends on the rollout that it is
    subtracted from, and lengths vary, so the expected gradient is not proportional to grad J. ``include_self=False``
    leaves the own rollout out of both sums: then it is unbiased, but no longer one baseline for the whole
    group.
    """
    group_laws = (
        {"zero_sum": False, "sign_against_mean": False, "antisymmetric_pair": False}
        if include_self
        else {"zero_sum": False, "sign_against_mean": False, "order_preserving": False}
    )
    return compose(
        name="opo",
        advantage=partial(advantage.length_weighted, include_self=include_self),
        surrogate=surrogate.likelihood,
        aggregate=aggregate.sequence_token_sum,
        paper=Paper(
            "On-policy RL with optimal reward baseline",
            "2505.23585",
            "(1/(QG)) sum_i (r_i - sum_j l_j r_j / sum_j l_j) sum_t log pi(o_it)",
        ),
        laws=merged(CENTRED, ROW_WISE, BIASED if include_self else UNBIASED, group_laws),
    )


def opo_leave_one_out(*, include_self: bool = False) -> Estimator:
    """OPO's baseline without the own rollout; unbiased."""
    return replace(opo(include_self=include_self), name="opo_leave_one_out")
