"""2-GRPO in pairwise form, and GRPO in contrastive form.

Y. Wu et al., "It takes two: Your GRPO is secretly DPO", arXiv 2510.00977. With the clipped, length-normalised
terms

    C+(o) = (1/|o|) sum_t min(rho_t, 1 + eps),   C-(o) = (1/|o|) sum_t max(rho_t, 1 - eps)

two rollouts of different reward have advantages +1 and -1 (population standard deviation, no epsilon), so

    pairwise:     J = (1/2) [C+(o_w) - C-(o_l)],  zero for a tie
    contrastive:  J = sqrt(p (1 - p)) [mean of C+ over the correct - mean of C- over the wrong],  p the share correct

The second is GRPO's objective for binary rewards and any G.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from gradvar.core.batch import Batch
from gradvar.core.checks import nonnegative
from gradvar.core.compose import batch_arrays
from gradvar.core.estimator import Estimator, Paper
from gradvar.estimators.building import clip_range
from gradvar.estimators.law_sets import BIASED, ROW_WISE, merged
from gradvar.estimators.pairs import gaps, mean_over_pairs

_TITLE = "It takes two: Your GRPO is secretly DPO"
PerRollout = Float[Array, "prompt group"]


def grpo_pair(
    *,
    standardise: bool = True,
    ddof: int = 0,
    eps: float = 0.0,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> Estimator:
    """The pairwise objective, averaged over all unordered pairs of the group: 2-GRPO itself at G = 2.

    A pair weighs h C+(o_w) - h C-(o_l) halved, where h is its advantage at G = 2: with ``standardise`` h =
    d/(std + eps), d half the reward gap and std = d (``ddof=0``) or d sqrt(2) (``ddof=1``); otherwise h = d.
    At G = 2 this is ``grpo`` with the same settings, token for token. For G > 2 the average over pairs has
    the expectation of one pair, and on binary rewards it is RLOO's advantage with GRPO's clip and length
    normalisation (when ``ddof=0`` and ``eps=0``). The paper trains with ``clip_high=0.28``; its equations
    have one range.

    Args:
        standardise: Divide a pair's advantage by its standard deviation.
        ddof: 0 is the population standard deviation of a pair, 1 the sample one.
        eps: Added to the standard deviation.
        clip_low: Distance below 1 at which the ratio is clipped.
        clip_high: Distance above 1 at which the ratio is clipped.
    """
    low, high = clip_range(clip_low, clip_high)
    eps = nonnegative("eps", eps)
    if ddof not in (0, 1):
        raise ValueError(
            f"ddof: {ddof}; give 0 (population) or 1 (sample), a pair has no more degrees of freedom"
        )

    def objective(logp: Float[Array, "prompt group time"], batch: Batch) -> Float[Array, ""]:
        winner, loser = _contrast(logp, batch, low, high)
        half_gap = 0.5 * jnp.maximum(gaps(batch.rewards), 0.0)
        preferred = half_gap > 0  # [prompt, winner, loser]
        std = half_gap * (2.0**0.5 if ddof else 1.0) + eps
        weight = (
            jnp.where(preferred, half_gap / jnp.where(preferred, std, 1.0), 0.0) if standardise else half_gap
        )
        # Each pair appears once, winner first; mean_over_pairs divides by ordered pairs: hence the 1/2.
        return mean_over_pairs(weight * (winner[:, :, None] - loser[:, None, :]))

    return Estimator(
        name="grpo_pair",
        objective=objective,
        paper=Paper(_TITLE, "2510.00977", "mean over pairs of (1/2)[C+(o_w) - C-(o_l)], 0 for ties"),
        laws=merged(ROW_WISE, BIASED, on_policy_unclipped=True, zero_beyond_clip=True),
    )


def grpo_contrastive(*, clip_low: float = 0.2, clip_high: float = 0.2) -> Estimator:
    """GRPO's objective written as a contrast of correct and wrong rollouts, for rewards at two levels.

    Equal to ``grpo(eps=0)`` in value and gradient when each group has at most two reward
    levels, whatever they are. Rollouts count as correct above the middle of their group's range; with more
    levels this is GRPO on the thresholded rewards.
    """
    low, high = clip_range(clip_low, clip_high)

    def objective(logp: Float[Array, "prompt group time"], batch: Batch) -> Float[Array, ""]:
        winner, loser = _contrast(logp, batch, low, high)
        worst = jnp.min(batch.rewards, axis=1, keepdims=True)
        best = jnp.max(batch.rewards, axis=1, keepdims=True)
        correct = (2 * batch.rewards > worst + best).astype(logp.dtype)
        share = jnp.mean(correct, axis=1)
        positives = jnp.sum(correct * winner, axis=1) / jnp.maximum(jnp.sum(correct, axis=1), 1)
        negatives = jnp.sum((1 - correct) * loser, axis=1) / jnp.maximum(jnp.sum(1 - correct, axis=1), 1)
        return jnp.mean(jnp.sqrt(share * (1 - share)) * (positives - negatives))

    return Estimator(
        name="grpo_contrastive",
        objective=objective,
        paper=Paper(_TITLE, "2510.00977", "sqrt(p(1-p)) [mean C+ of the correct - mean C- of the wrong]"),
        laws=merged(ROW_WISE, BIASED, on_policy_unclipped=True, zero_beyond_clip=True),
    )


def _contrast(
    logp: Float[Array, "prompt group time"], batch: Batch, low: float, high: float
) -> tuple[PerRollout, PerRollout]:
    """C+ and C- of every rollout: means over its tokens of the ratio, bounded above and bounded below."""
    arrays = batch_arrays(batch)
    ratio = jnp.exp(jnp.where(batch.mask, logp, 0.0) - arrays["logp_old"])
    tokens = jnp.maximum(jnp.sum(batch.mask, axis=-1), 1)

    def mean(x: Array) -> PerRollout:
        return jnp.sum(jnp.where(batch.mask, x, 0.0), axis=-1) / tokens

    return mean(jnp.minimum(ratio, 1 + high)), mean(jnp.maximum(ratio, 1 - low))
