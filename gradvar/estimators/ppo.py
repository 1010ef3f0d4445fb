"""PPO with a value function.

J. Schulman et al., "Proximal policy optimization algorithms", arXiv 1707.06347, equation (7), with advantages
by GAE, "High-dimensional continuous control using generalized advantage estimation", arXiv 1506.02438,
equation (16):

    J = mean over tokens of min(rho_t A_t, clip(rho_t, 1 - eps, 1 + eps) A_t)
    A_t = sum_l (gamma lambda)^l delta_{t+l},   delta_t = r_t + gamma V_{t+1} - V_t

and, optionally, the second bound for negative advantages (dual clip): D. Ye et al., arXiv 1912.09729.
"""

from dataclasses import replace
from functools import partial

from gradvar.core.checks import share
from gradvar.core.compose import compose
from gradvar.core.estimator import Estimator, Paper
from gradvar.estimators.building import clipped
from gradvar.estimators.law_sets import BATCH_WISE, BIASED, CLIPPED, PER_GROUP, SOUND, merged
from gradvar.pieces import advantage, aggregate, surrogate


def ppo(
    *,
    discount: float = 1.0,
    decay: float = 1.0,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual: float | None = None,
) -> Estimator:
    """Clipped surrogate with advantages from given values (``batch.values``), averaged over all tokens.

    ``discount`` (gamma) and ``decay`` (lambda) default to 1, as language-model trainers have them: then A_t =
    r - V_t, which no value function biases. The paper's control experiments use 0.99 and 0.95. ``dual``: the
    cap of the dual clip, above 1 (3 is customary); None leaves it out. The mean over the tokens of the batch
    is the paper's empirical average over time steps; it makes the gradient a ratio, so with unequal lengths
    it is not unbiased.

    Args:
        discount: The paper's gamma.
        decay: The paper's lambda.
        clip_low: Distance below 1 at which the ratio is clipped.
        clip_high: Distance above 1 at which the ratio is clipped.
        dual: Cap of the dual clip, above 1; None leaves it out.
    """
    if dual is not None and not dual > 1:
        raise ValueError(f"dual: {dual}; give a cap above 1, such as 3, or None for no second clip")
    ratio = surrogate.ppo_clip if dual is None else partial(surrogate.dual_clip, cap=dual)
    return compose(
        name="ppo",
        advantage=partial(advantage.gae, discount=share("discount", discount), decay=share("decay", decay)),
        surrogate=clipped(ratio, clip_low, clip_high),
        aggregate=aggregate.token_mean,
        paper=Paper(
            "Proximal policy optimization algorithms",
            "1707.06347",
            "(1/sum|o_i|) sum_i sum_t min(rho A_it, clip(rho) A_it), A by GAE from given values",
        ),
        laws=merged(SOUND, PER_GROUP, BATCH_WISE, CLIPPED, BIASED),
        min_group=1,
    )


def ppo_dual_clip(
    *,
    discount: float = 1.0,
    decay: float = 1.0,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual: float = 3.0,
) -> Estimator:
    """PPO with the dual clip: where A < 0, a ratio above ``dual`` gives no gradient either.

    Args:
        discount: PPO's gamma.
        decay: PPO's lambda.
        clip_low: Distance below 1 at which the ratio is clipped.
        clip_high: Distance above 1 at which the ratio is clipped.
        dual: Cap of the ratio where A < 0, above 1.
    """
    estimator = ppo(discount=discount, decay=decay, clip_low=clip_low, clip_high=clip_high, dual=dual)
    return replace(estimator, name="ppo_dual_clip")
