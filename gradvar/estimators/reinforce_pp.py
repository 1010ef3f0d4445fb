"""REINFORCE++ and its baseline form: advantages standardised over the batch instead of the group.

J. Hu et al., "REINFORCE++: Stabilizing critic-free policy optimization with global normalization", arXiv
2501.03262 (version 9):

    A_it = r_i - beta sum_{u >= t} log(pi_old(o_iu) / pi_ref(o_iu)),   or r_i - mean of the group (baseline form)
    A_it <- (A_it - mean over the batch) / std over the batch
    J = mean over rollouts of (1/|o_i|) sum_t min(rho_it A_it, clip(rho_it, 1 - eps, 1 + eps) A_it)
"""

from functools import partial
from typing import Literal, get_args

from gradvar.core.checks import nonnegative, one_of
from gradvar.core.compose import compose, no_penalty
from gradvar.core.estimator import Estimator, Paper
from gradvar.estimators import law_sets
from gradvar.estimators.building import clipped
from gradvar.pieces import advantage, aggregate, penalty, surrogate

Over = Literal["rollouts", "tokens"]
_TITLE = "REINFORCE++: Stabilizing critic-free policy optimization with global normalization"


def reinforce_pp(
    *,
    eps: float = 1e-8,
    over: Over = "rollouts",
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    beta: float = 0.0,
) -> Estimator:
    """REINFORCE++: the reward, standardised over the batch; one rollout per prompt is enough.

    ``over``: what the batch's mean and standard deviation run over. The paper indexes advantages by token,
    and released code whitens over tokens (``"tokens"``), where long rollouts count more; ``"rollouts"``
    counts each once. The choice makes no difference for equal lengths. ``beta`` puts the k1 estimate of the
    KL into the reward, from each token on; it needs ``logp_ref`` and makes advantages differ by token, so it
    always standardises over tokens.

    Args:
        eps: Added to the standard deviation.
        over: The items of the batch's mean and standard deviation.
        clip_low: Distance below 1 at which the ratio is clipped.
        clip_high: Distance above 1 at which the ratio is clipped.
        beta: Coefficient of the k1 estimate in the reward.
    """
    per_rollout = penalty.kl_to_go(advantage.raw, beta=nonnegative("beta", beta)) if beta else advantage.raw
    by_tokens = one_of("over", over, get_args(Over)) == "tokens" or beta > 0
    return compose(
        name="reinforce_pp",
        advantage=advantage.over_tokens(per_rollout, eps=nonnegative("eps", eps))
        if by_tokens
        else partial(advantage.batch_standardised, eps=nonnegative("eps", eps)),
        surrogate=clipped(surrogate.ppo_clip, clip_low, clip_high),
        aggregate=aggregate.sequence_token_mean,
        paper=Paper(
            _TITLE,
            "2501.03262",
            "(1/(QG)) sum_i (1/|o_i|) sum_t min(rho A_i, clip(rho) A_i), "
            "A_i = (r_i - batch mean)/(batch std + eps)",
        ),
        laws=law_sets.merged(
            law_sets.UNCENTRED,
            law_sets.ACROSS_GROUPS,
            law_sets.BATCH_WISE,
            law_sets.CLIPPED,
            law_sets.BIASED,
            shift_invariant=True,
            scale_invariant=True,
            **law_sets.calm(eps),
        ),
        min_group=1,
    )


def reinforce_pp_baseline(
    *,
    eps: float = 1e-8,
    over: Over = "rollouts",
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    beta: float = 0.0,
) -> Estimator:
    """The baseline form: the reward less its group's mean, standardised over the batch.

    ``beta`` is the coefficient of a k2 loss towards the reference. With ``over="tokens"`` and unequal lengths
    the batch mean is not zero, and groups of equal rewards no longer end at zero.

    Args:
        eps: Added to the standard deviation.
        over: The items of the batch's mean and standard deviation.
        clip_low: Distance below 1 at which the ratio is clipped.
        clip_high: Distance above 1 at which the ratio is clipped.
        beta: Coefficient of the k2 penalty towards the reference; 0 leaves it out.
    """
    by_tokens = one_of("over", over, get_args(Over)) == "tokens"
    flawed = ("zero_on_equal_rewards", "zero_sum", "sign_against_mean") if by_tokens else ()
    return compose(
        name="reinforce_pp_baseline",
        advantage=advantage.over_tokens(advantage.group_mean, eps=nonnegative("eps", eps))
        if by_tokens
        else partial(advantage.batch_standardised, group_centred=True, eps=nonnegative("eps", eps)),
        surrogate=clipped(surrogate.ppo_clip, clip_low, clip_high),
        aggregate=aggregate.sequence_token_mean,
        penalty=partial(penalty.k2, beta=nonnegative("beta", beta)) if beta else no_penalty,
        paper=Paper(
            _TITLE,
            "2501.03262",
            "(1/(QG)) sum_i (1/|o_i|) sum_t min(rho A_i, clip(rho) A_i), "
            "A_i = (r_i - group mean)/(batch std + eps)",
        ),
        laws=law_sets.merged(
            law_sets.STANDARDISED,
            law_sets.calm(eps),
            law_sets.ACROSS_GROUPS,
            law_sets.BATCH_WISE,
            law_sets.CLIPPED,
            law_sets.BIASED,
            law_sets.with_kl(beta),
            dict.fromkeys(flawed, False),
            bounded=False,
        ),
    )
