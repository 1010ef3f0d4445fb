"""Pass@k training with analytic advantages.

Z. Chen et al., "Pass@k training for adaptively balancing exploration and exploitation of large reasoning
models", arXiv 2508.10751, analytic derivation; with n of G rollouts wrong, m = 1 - C(n,k)/C(G,k), s =
sqrt(m (1 - m)):

    A(correct) = (1 - m) / s,   A(wrong) = (1 - m - C(n-1,k-1)/C(G-1,k-1)) / s
"""

from functools import partial

from gradvar.core.checks import nonnegative, whole
from gradvar.core.compose import compose
from gradvar.core.estimator import Estimator, Paper
from gradvar.estimators.building import clipped
from gradvar.estimators.law_sets import BIASED, CLIPPED, ROW_WISE, STANDARDISED, merged, without
from gradvar.pieces import advantage, aggregate, surrogate


def pass_at_k_standardised(
    *, k: int = 2, eps: float = 1e-6, clip_low: float = 0.2, clip_high: float = 0.2
) -> Estimator:
    """GRPO with the analytic advantages of pass@k, for rewards at two levels.

    Only the advantage is the paper's; the clip and the mean over a rollout's tokens are GRPO's. ``k=2`` is
    this package's default (the paper mostly uses 4); at G = k every mixed group passes and nothing is
    learned.

    Args:
        k: Rollouts of which one has to pass.
        eps: Added to the standard deviation of pass@k's rewards.
        clip_low: Distance below 1 at which the ratio is clipped.
        clip_high: Distance above 1 at which the ratio is clipped.
    """
    return compose(
        name="pass_at_k_standardised",
        advantage=partial(advantage.pass_at_k_standardised, k=whole("k", k, 1), eps=nonnegative("eps", eps)),
        surrogate=clipped(surrogate.ppo_clip, clip_low, clip_high),
        aggregate=aggregate.sequence_token_mean,
        paper=Paper(
            "Pass@k training for adaptively balancing exploration and exploitation of large reasoning models",
            "2508.10751",
            "GRPO with A(correct) = (1-m)/s, A(wrong) = (1-m-C(n-1,k-1)/C(G-1,k-1))/s",
        ),
        # sign_against_mean is left out: true of two reward levels; of more, the middle decides, not the mean.
        laws=without(
            merged(STANDARDISED, ROW_WISE, CLIPPED, BIASED, no_amplification=False),
            "sign_against_mean",
        ),
        min_group=k,
    )
