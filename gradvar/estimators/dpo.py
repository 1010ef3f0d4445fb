"""DPO: direct preference optimisation, on the pairs of a group.

R. Rafailov et al., "Direct preference optimization: Your language model is secretly a reward model", arXiv
2305.18290, equation (7):

    J = E log sigmoid(beta [(log pi - log pi_ref)(o_w) - (log pi - log pi_ref)(o_l)]),   o_w preferred to o_l
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gradvar.core.batch import Batch
from gradvar.core.checks import positive
from gradvar.core.compose import batch_arrays
from gradvar.core.estimator import Estimator, Paper
from gradvar.estimators.law_sets import BIASED, ROW_WISE, merged
from gradvar.estimators.pairs import gaps, mean_over_pairs, sequence_log_ratio


def dpo(*, beta: float = 0.1) -> Estimator:
    """DPO on all pairs of a group's rollouts; the larger reward is preferred, equal rewards are no pair.

    The mean runs over all G(G-1)/2 unordered pairs, a tie counting as zero, and then over prompts, so that
    the expected gradient does not depend on G. ``beta`` is 0.1 in the paper. Needs ``logp_ref``. At theta =
    theta_ref the gradient of a pair is (beta/2)(s_w - s_l); away from it the pair's weight depends on its
    log-ratios, and the expected gradient is in general not along grad p, whence the statistical laws declared
    false.
    """
    beta = positive("beta", beta)

    def objective(logp: Float[Array, "prompt group time"], batch: Batch) -> Float[Array, ""]:
        arrays = batch_arrays(batch, ("logp_ref",))
        margins = gaps(sequence_log_ratio(logp, arrays["logp_ref"], batch))
        preference = jnp.sign(gaps(batch.rewards))
        pairs = jnp.where(preference != 0, jax.nn.log_sigmoid(beta * preference * margins), 0.0)
        return mean_over_pairs(pairs)

    return Estimator(
        name="dpo",
        objective=objective,
        paper=Paper(
            "Direct preference optimization: Your language model is secretly a reward model",
            "2305.18290",
            "mean over pairs of log sigmoid(beta (h_w - h_l)), h = log pi(o) - log pi_ref(o)",
        ),
        laws=merged(ROW_WISE, BIASED),
        needs=("logp_ref",),
    )
