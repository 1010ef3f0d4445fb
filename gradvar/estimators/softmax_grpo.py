"""SoftmaxGRPO: the advantage is a softmax of the rewards.

J. Hernandez et al., "SoftmaxGRPO: Learning to reason using softmax advantage group estimation", arXiv
2608.09271, equations (1) and (2):

    J = (1/G) sum_i A_i log pi(o_i),   A_i = G exp(r_i/tau) / sum_j exp(r_j/tau) - 1
"""

from functools import partial

from gradvar.core.checks import positive
from gradvar.core.compose import compose
from gradvar.core.estimator import Estimator, Paper
from gradvar.estimators.law_sets import CENTRED, PROMPT_WEIGHTED, ROW_WISE, merged
from gradvar.pieces import advantage, aggregate, surrogate


def softmax(*, temperature: float = 0.3) -> Estimator:
    """Softmax advantages on the log-likelihood of whole rollouts: the paper's unclipped objective.

    ``temperature`` is 0.1 to 0.3 in the paper. Its training runs keep GRPO's pipeline around the advantage
    (PPO's clip with 0.2 and 0.28, a KL coefficient of 1e-3): build that with ``compose``.
    """
    return compose(
        name="softmax",
        advantage=partial(advantage.softmax, temperature=positive("temperature", temperature)),
        surrogate=surrogate.likelihood,
        aggregate=aggregate.sequence_token_sum,
        paper=Paper(
            "SoftmaxGRPO: Learning to reason using softmax advantage group estimation",
            "2608.09271",
            "(1/(QG)) sum_i A_i sum_t log pi(o_it), A_i = G softmax(r/tau)_i - 1",
        ),
        laws=merged(CENTRED, ROW_WISE, PROMPT_WEIGHTED, scale_equivariant=False, sign_against_mean=False),
    )
