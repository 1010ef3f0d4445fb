"""Dr. GRPO: GRPO without the two divisions that bias it.

Z. Liu et al., "Understanding R1-Zero-like training: A critical perspective", arXiv 2503.20783, section 3.2:

    J = (1/G) sum_i sum_t min(rho_it A_i, clip(rho_it, 1 - eps, 1 + eps) A_i),   A_i = r_i - mean(r)
"""

from gradvar.core.compose import compose
from gradvar.core.estimator import Estimator, Paper
from gradvar.estimators.building import clipped, k3_loss
from gradvar.estimators.law_sets import CENTRED, CLIPPED, PROPORTIONAL, ROW_WISE, merged, with_kl
from gradvar.pieces import advantage, aggregate, surrogate


def dr_grpo(*, clip_low: float = 0.2, clip_high: float = 0.2, beta: float = 0.0) -> Estimator:
    """Group-mean advantages, summed over tokens: (1 - 1/G) of grad J in expectation on policy.

    This is the paper's equation. The released code divides the sum by a constant, the generation limit, which
    scales the gradient: build that with ``compose`` and ``aggregate.constant_length``. ``beta`` is 0 in the
    paper.
    """
    return compose(
        name="dr_grpo",
        advantage=advantage.group_mean,
        surrogate=clipped(surrogate.ppo_clip, clip_low, clip_high),
        aggregate=aggregate.sequence_token_sum,
        penalty=k3_loss(beta),
        paper=Paper(
            "Understanding R1-Zero-like training: A critical perspective",
            "2503.20783",
            "(1/(QG)) sum_i sum_t min(rho A_i, clip(rho) A_i), A_i = r_i - mean",
        ),
        laws=merged(CENTRED, ROW_WISE, CLIPPED, PROPORTIONAL, with_kl(beta)),
    )
