"""GRPO: group-relative policy optimisation.

Z. Shao et al., "DeepSeekMath: Pushing the limits of mathematical reasoning in open language models", arXiv
2402.03300, equations (3) and (4), outcome supervision:

    J = (1/G) sum_i (1/|o_i|) sum_t { min(rho_it A_i, clip(rho_it, 1 - eps, 1 + eps) A_i) - beta k3_it }
    A_i = (r_i - mean(r)) / std(r),   rho_it = pi(o_it) / pi_old(o_it)
"""

from dataclasses import replace
from functools import partial

from gradvar.core.checks import nonnegative
from gradvar.core.compose import compose
from gradvar.core.estimator import Estimator, Paper
from gradvar.estimators.building import clipped, k3_loss
from gradvar.estimators.law_sets import BIASED, CLIPPED, ROW_WISE, STANDARDISED, calm, merged, with_kl
from gradvar.pieces import advantage, aggregate, surrogate

PAPER = Paper(
    "DeepSeekMath: Pushing the limits of mathematical reasoning in open language models",
    "2402.03300",
    "(1/(QG)) sum_i (1/|o_i|) sum_t [min(rho A_i, clip(rho) A_i) - beta k3], A_i = (r_i - mean)/(std + eps)",
)


def grpo(
    *, ddof: int = 0, eps: float = 1e-6, clip_low: float = 0.2, clip_high: float = 0.2, beta: float = 0.0
) -> Estimator:
    """GRPO with the population standard deviation (``ddof=0``).

    ``eps`` is added to the standard deviation; the paper has none, trainers use 1e-8 to 1e-4. The paper
    prints no clip range; 0.2 is PPO's. ``beta`` is 0.04 in the paper; the default is 0, as most later work
    has it and because the penalty needs a reference (``logp_ref``). The 1/|o_i| weighs tokens of short
    rollouts more: with unequal lengths the expected gradient has another direction than grad J.

    Args:
        ddof: 0 divides the sum of squares by their number (population), 1 by one less (sample).
        eps: Added to the standard deviation.
        clip_low: Distance below 1 at which the ratio is clipped.
        clip_high: Distance above 1 at which the ratio is clipped.
        beta: Coefficient of the k3 penalty towards the reference; 0 leaves it out.
    """
    return compose(
        name="grpo",
        advantage=partial(advantage.standardised, ddof=ddof, eps=nonnegative("eps", eps)),
        surrogate=clipped(surrogate.ppo_clip, clip_low, clip_high),
        aggregate=aggregate.sequence_token_mean,
        penalty=k3_loss(beta),
        paper=PAPER,
        laws=merged(STANDARDISED, calm(eps), ROW_WISE, CLIPPED, BIASED, with_kl(beta)),
    )


def grpo_sample_std(
    *, ddof: int = 1, eps: float = 1e-6, clip_low: float = 0.2, clip_high: float = 0.2, beta: float = 0.0
) -> Estimator:
    """GRPO with the sample standard deviation (``ddof=1``): advantages smaller by sqrt((G-1)/G).

    Args:
        ddof: 0 divides the sum of squares by their number (population), 1 by one less (sample).
        eps: Added to the standard deviation.
        clip_low: Distance below 1 at which the ratio is clipped.
        clip_high: Distance above 1 at which the ratio is clipped.
        beta: Coefficient of the k3 penalty towards the reference; 0 leaves it out.
    """
    estimator = grpo(ddof=ddof, eps=eps, clip_low=clip_low, clip_high=clip_high, beta=beta)
    return replace(estimator, name="grpo_sample_std")
