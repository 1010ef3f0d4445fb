"""The policy gradient of pass@k, and of the expected best of k.

Y. Tang et al., "Optimizing language models for inference time objectives using reinforcement learning", arXiv
2503.19595 (k = G, leave-one-out); C. Walder, D. Karkhanis, "Pass@K policy optimization: Solving harder
reinforcement learning problems", arXiv 2505.15201 (k <= G, averaged over subsets):

    ghat = (1/G) sum_i A_i grad log pi(o_i),   A_i = k mean over sets T of k-1 others of [max(r_i, max_T r) -
    max_T r]

Unbiased for grad E[max of k], which for binary rewards is grad pass@k = k (1-p)^(k-1) grad p.
"""

from functools import partial

from gradvar.core.checks import whole
from gradvar.core.compose import compose
from gradvar.core.estimator import Estimator, Paper
from gradvar.estimators.law_sets import CENTRED, PROMPT_WEIGHTED, ROW_WISE, merged
from gradvar.pieces import advantage, aggregate, surrogate


def pass_at_k(*, k: int = 2) -> Estimator:
    """Unbiased for the gradient of the expected maximum of k rewards, k from 2 to G.

    ``k=2`` is this package's default, so that groups of two are enough; the papers study k up to G.
    """
    return compose(
        name="pass_at_k",
        advantage=partial(advantage.pass_at_k, k=whole("k", k, 2)),
        surrogate=surrogate.likelihood,
        aggregate=aggregate.sequence_token_sum,
        paper=Paper(
            "Optimizing language models for inference time objectives using reinforcement learning",
            "2503.19595",
            "(1/(QG)) sum_i A_i sum_t log pi(o_it), A_i = k mean_T [max(r_i, max_T r) - max_T r]",
        ),
        laws=merged(
            CENTRED,
            ROW_WISE,
            PROMPT_WEIGHTED,
            zero_sum=False,
            sign_against_mean=False,
            antisymmetric_pair=False,
        ),
        min_group=k,
    )
