"""IPO: identity preference optimisation, on the pairs of a group.

M. G. Azar et al., "A general theoretical paradigm to understand learning from human preferences", arXiv
2310.12036, equation (17):

    J = -E (h(o_w) - h(o_l) - 1/(2 tau))^2,   h = log pi - log pi_ref
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from gradvar.core.batch import Batch
from gradvar.core.checks import positive
from gradvar.core.compose import batch_arrays
from gradvar.core.estimator import Estimator, Paper
from gradvar.estimators.law_sets import BIASED, ROW_WISE, merged
from gradvar.estimators.pairs import gaps, mean_over_pairs, sequence_log_ratio


def ipo(*, beta: float = 0.1) -> Estimator:
    """IPO on all pairs of a group's rollouts; ``beta`` is the paper's tau. Ties and means as for ``dpo``.

    A pair whose margin exceeds 1/(2 beta) is pushed back together, so a rollout's weight need not have the
    sign of its reward.
    """
    target = 0.5 / positive("beta", beta)

    def objective(logp: Float[Array, "prompt group time"], batch: Batch) -> Float[Array, ""]:
        arrays = batch_arrays(batch, ("logp_ref",))
        margins = gaps(sequence_log_ratio(logp, arrays["logp_ref"], batch))
        preference = jnp.sign(gaps(batch.rewards))
        return -mean_over_pairs(jnp.where(preference != 0, (preference * margins - target) ** 2, 0.0))

    return Estimator(
        name="ipo",
        objective=objective,
        paper=Paper(
            "A general theoretical paradigm to understand learning from human preferences",
            "2310.12036",
            "-mean over pairs of (h_w - h_l - 1/(2 beta))^2, h = log pi(o) - log pi_ref(o)",
        ),
        laws=merged(ROW_WISE, BIASED, both_signs=False),
        needs=("logp_ref",),
    )
