"""ReMax: REINFORCE with the reward of the greedy rollout as baseline.

Z. Li et al., "ReMax: A simple, effective, and efficient reinforcement learning method for aligning large
language models", arXiv 2310.10505:

    ghat = (1/N) sum_i sum_t grad log pi(o_it) (r_i - r(greedy completion))

Given the parameters the greedy rollout is a constant of the prompt, so ghat is unbiased.
"""

from gradvar.core.compose import compose
from gradvar.core.estimator import Estimator, Paper
from gradvar.estimators.law_sets import ROW_WISE, UNBIASED, UNCENTRED, merged
from gradvar.pieces import advantage, aggregate, surrogate


def remax() -> Estimator:
    """The reward less the greedy rollout's (``batch.greedy_rewards``).

    The paper draws one rollout per prompt; with G of them the estimate is their mean.
    """
    return compose(
        name="remax",
        advantage=advantage.greedy,
        surrogate=surrogate.likelihood,
        aggregate=aggregate.sequence_token_sum,
        paper=Paper(
            "ReMax: A simple, effective, and efficient reinforcement learning method "
            "for aligning large language models",
            "2310.10505",
            "(1/(QG)) sum_i (r_i - r_greedy) sum_t log pi(o_it)",
        ),
        laws=merged(UNCENTRED, ROW_WISE, UNBIASED),
        min_group=1,
    )
