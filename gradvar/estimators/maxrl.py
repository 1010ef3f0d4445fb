"""MaxRL: maximum-likelihood reinforcement learning.

F. Tajwar et al., "Maximum likelihood reinforcement learning", arXiv 2602.02710, algorithm 1:

    ghat = (1/N) sum_i ((r_i - mean(r)) / mean(r)) grad log pi(o_i),   zero when no rollout is correct

The target is log p, of which N rollouts reach a truncation: grad log p = sum_k (1/k) grad pass@k.
"""

from functools import partial

from gradvar.core.checks import nonnegative
from gradvar.core.compose import compose
from gradvar.core.estimator import Estimator, Paper
from gradvar.estimators.law_sets import CENTRED, PROMPT_WEIGHTED, ROW_WISE, merged
from gradvar.pieces import advantage, aggregate, surrogate


def maxrl(*, eps: float = 0.0) -> Estimator:
    """The centred reward over the group's mean reward: hard prompts count more, about 1/p.

    For rewards that are not negative. ``eps`` is added to the mean (the released code has 1e-6, the paper
    nothing).
    """
    return compose(
        name="maxrl",
        advantage=partial(advantage.over_mean, eps=nonnegative("eps", eps)),
        surrogate=surrogate.likelihood,
        aggregate=aggregate.sequence_token_sum,
        paper=Paper(
            "Maximum likelihood reinforcement learning",
            "2602.02710",
            "(1/(QG)) sum_i ((r_i - mean)/mean) sum_t log pi(o_it), 0 when the mean is 0",
        ),
        laws=merged(
            CENTRED,
            ROW_WISE,
            PROMPT_WEIGHTED,
            shift_invariant=False,
            scale_equivariant=False,
            scale_invariant=True,
            no_amplification=False,  # a mean close to zero, from rewards of both signs
        ),
    )
