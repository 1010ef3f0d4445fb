"""Advantages that weigh prompts by their difficulty, target another objective, or borrow from other prompts.

The same conventions as ``advantage``, which re-exports everything here: rewards [prompt, group] first,
advantages of the same shape and type back, exactly zero for a group of equal rewards unless the docstring
says otherwise.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from gradvar.core.checks import one_of, positive
from gradvar.pieces.piece import Advantages, Rewards, TokenAdvantages, deviations, from_first, on_rewards


@on_rewards
def mixed_rescaled(rewards: Rewards, *, f_norm: str = "none", ddof: int = 1, eps: float = 1e-6) -> Advantages:
    """alpha (r - group mean) / F_norm with alpha = prompts / mixed prompts: GPG, arXiv 2504.02546.

    The paper's alpha = B / (B - M), B rollouts of which M lie in groups that give no gradient, makes up for
    those groups in the batch's mean. Released trainers also count correct rollouts instead of mixed groups.

    Args:
        rewards: Of every rollout, [prompt, group].
        f_norm: ``"none"`` (1) or ``"std"`` (the group's standard deviation).
        ddof: Of that standard deviation: 0 for the population's, 1 for the sample's, as in the released code.
        eps: Added to it.

    Raises:
        ValueError: For another ``f_norm``.

    >>> mixed_rescaled(jnp.array([[1.0, 0.0], [1.0, 1.0]])).tolist()
    [[1.0, -1.0], [0.0, 0.0]]
    """
    centred = deviations(rewards)
    mixed = jnp.max(rewards, axis=1) > jnp.min(rewards, axis=1)
    alpha = rewards.shape[0] / jnp.maximum(jnp.sum(mixed), 1)
    if one_of("f_norm", f_norm, ("none", "std")) == "none":
        return alpha * centred
    count = rewards.shape[1]
    square = jnp.mean(centred**2, axis=1, keepdims=True) * (count / max(count - ddof, 1))
    return alpha * centred / (jnp.sqrt(square) + eps)


@on_rewards
def over_mean(rewards: Rewards, *, eps: float = 0.0) -> Advantages:
    """(r - group mean) / (group mean + eps): MaxRL, arXiv 2602.02710, algorithm 1.

    For rewards that are not negative. A group whose mean reward is not above zero (no rollout is correct)
    gets zero. The released code adds 1e-6 to the mean; the paper adds nothing.

    >>> over_mean(jnp.array([[1.0, 0.0, 0.0, 0.0]])).tolist()
    [[3.0, -1.0, -1.0, -1.0]]
    """
    d = from_first(rewards)
    mean_d = jnp.mean(d, axis=1, keepdims=True)
    mean = rewards[:, :1] + mean_d
    return jnp.where(mean > 0, (d - mean_d) / jnp.where(mean > 0, mean + eps, 1.0), 0.0)


@on_rewards
def softmax(rewards: Rewards, *, temperature: float = 0.3) -> Advantages:
    """G softmax(r / temperature) - 1 over the group: SoftmaxGRPO, arXiv 2608.09271, equation (1).

    Between the centred reward (high temperature, over the temperature) and MaxRL of order G - 1 (low
    temperature). The paper uses 0.1 to 0.3 for rewards in [0, 1].

    >>> softmax(jnp.log(jnp.array([[3.0, 1.0]])), temperature=1.0).round(6).tolist()
    [[0.5, -0.5]]
    """
    tau = positive("temperature", temperature)
    weights = jnp.exp((rewards - jnp.max(rewards, axis=1, keepdims=True)) / tau)
    total = jnp.sum(weights, axis=1, keepdims=True)
    return (rewards.shape[1] * weights - total) / total


@on_rewards
def pass_at_k(rewards: Rewards, *, k: int = 2) -> Advantages:
    """Unbiased advantages for the best of k: what a rollout adds to the maximum of k.

    A_i = k mean over sets T of k-1 other rollouts of [max(r_i, max of T) - max of T], so that (1/G) sum_i A_i
    s_i is unbiased for grad E[max of k rewards], for any rewards; for binary ones that is grad pass@k, and a
    correct rollout gets k C(wrong, k-1) / C(G-1, k-1), a wrong one zero. At k = G this is the leave-one-out
    estimator of arXiv 2503.19595; for k < G the average over sets is arXiv 2505.15201's. At k = 1 the maximum
    of no rollout has no value for general rewards, and A_i is the reward itself.

    Why: the objective is symmetric in its k arguments, so its gradient is k E[(max(r_1..r_k) - b) s_1] for
    any b that does not depend on rollout 1, and b = max(r_2..r_k) is such.

    Raises ``ValueError`` unless 1 <= k <= G.

    >>> pass_at_k(jnp.array([[1.0, 0.0, 0.0]]), k=2).tolist()
    [[2.0, 0.0, 0.0]]
    """
    group = rewards.shape[1]
    if not (isinstance(k, int) and 1 <= k <= group):
        raise ValueError(f"k: {k}; give a whole number from 1 to the group size, {group}")
    if k == 1:
        return rewards
    place = jnp.arange(group)
    # [prompt, group, group]: does rollout j come before rollout i in the order of rewards (ties by place)?
    below = rewards[:, None, :] < rewards[:, :, None]
    tied = (rewards[:, None, :] == rewards[:, :, None]) & (place[None, :] < place[:, None])
    rank = jnp.sum(below | tied, axis=2)
    # Where r_i > r_j, rollout j is the largest of T in C(rank_j, k-2) of the C(G-1, k-1) sets without i.
    sets = math.comb(group - 1, k - 1)
    ways = _lookup([math.comb(n, k - 2) / sets for n in range(group)], rank, rewards.dtype)
    # [prompt, group, group]: what rollout i adds to the best of T when that best is rollout j
    gains = jnp.maximum(rewards[:, :, None] - rewards[:, None, :], 0.0)
    return k * jnp.sum(gains * ways[:, None, :], axis=2)


@on_rewards
def pass_at_k_standardised(rewards: Rewards, *, k: int = 2, eps: float = 1e-6) -> Advantages:
    """The analytic advantages of pass@k training: arXiv 2508.10751, as released.

    With n of G rollouts wrong, m = 1 - C(n, k)/C(G, k) and s = sqrt(m (1 - m)): a correct rollout gets (1 -
    m)/s, a wrong one (1 - m - C(n-1, k-1)/C(G-1, k-1))/s. This is the mean over all sets of k rollouts of
    their standardised pass. For rewards at two levels: a rollout is correct above the middle of its group's
    range. At k = G every mixed group passes, and all advantages are zero.

    Raises ``ValueError`` unless 1 <= k <= G.

    >>> pass_at_k_standardised(jnp.array([[1.0, 0.0]]), k=1, eps=0.0).tolist()
    [[1.0, -1.0]]
    """
    group = rewards.shape[1]
    if not (isinstance(k, int) and 1 <= k <= group):
        raise ValueError(f"k: {k}; give a whole number from 1 to the group size, {group}")
    worst = jnp.min(rewards, axis=1, keepdims=True)
    correct = 2 * rewards > worst + jnp.max(rewards, axis=1, keepdims=True)
    wrong = group - jnp.sum(correct, axis=1, keepdims=True)
    none_pass = [math.comb(n, k) / math.comb(group, k) for n in range(group + 1)]
    rest = [math.comb(max(n - 1, 0), k - 1) / math.comb(group - 1, k - 1) for n in range(group + 1)]
    all_fail = _lookup(none_pass, wrong, rewards.dtype)
    rest_fail = _lookup(rest, wrong, rewards.dtype)
    spread = jnp.sqrt(all_fail * (1 - all_fail))
    divisor = jnp.where(spread > 0, spread + eps, 1.0)
    return jnp.where(correct, all_fail, all_fail - rest_fail) / divisor


@on_rewards
def beta_normalised(rewards: Rewards, *, low: float = 0.0, high: float = 1.0, cap: float = 1e6) -> Advantages:
    """(r - p) / Beta(p; alpha, beta), p the group's mean: BNPO, arXiv 2506.02864.

    Rewards are first mapped from [low, high] to [0, 1]. A Beta(a, b) is fitted to the prompts' means by
    moments (mean and sample variance over the batch), alpha = max(1, 1 + a/3), beta = max(1, 1 + b/3), and
    each group is divided by that density at its mean. One prompt, or means without spread, leave no Beta to
    fit: then the divisor is 1, as in the released code for one prompt (for means without spread it divides by
    zero). Groups whose mean falls outside (0, 1) are divided by 1 as well.

    Args:
        rewards: Of every rollout, [prompt, group].
        low: Smallest possible reward.
        high: Largest possible reward.
        cap: Largest 1/density; 1e6 in the released code.

    Raises:
        ValueError: Where ``high`` is not above ``low``.

    >>> beta_normalised(jnp.array([[1.0, 0.0]])).tolist()
    [[0.5, -0.5]]
    """
    if not high > low:
        raise ValueError(f"high: {high}; give a number above low, {low}")
    scaled = (rewards - low) / (high - low)
    centred = deviations(scaled)
    p = jnp.mean(scaled, axis=1, keepdims=True)
    prompts = rewards.shape[0]
    mean = jnp.mean(p)
    variance = jnp.sum((p - mean) ** 2) / max(prompts - 1, 1)
    fits = (variance > 0) & (mean > 0) & (mean < 1)
    strength = jnp.where(fits, mean * (1 - mean) / jnp.where(fits, variance, 1.0) - 1, 0.0)
    alpha = jnp.maximum(1 + strength * mean / 3, 1.0)
    beta = jnp.maximum(1 + strength * (1 - mean) / 3, 1.0)
    inside = (p > 0) & (p < 1)
    q = jnp.where(inside, p, 0.5)
    log_norm = jax.lax.lgamma(alpha) + jax.lax.lgamma(beta) - jax.lax.lgamma(alpha + beta)
    log_density = (alpha - 1) * jnp.log(q) + (beta - 1) * jnp.log1p(-q) - log_norm
    inverse = jnp.exp(jnp.minimum(-log_density, math.log(cap)))
    return centred * jnp.where(inside & fits, inverse, 1.0)


@on_rewards
def kalman(
    rewards: Rewards,
    *,
    process: float = 1e-5,
    measurement: float = 1e-2,
    mean: float = 0.0,
    variance: float = 1.0,
    eps: float = 1e-8,
) -> Advantages:
    """(r_i - x_i) / sqrt(P_i), x_i and P_i a scalar Kalman filter run over the group: KRPO, arXiv 2505.07527.

    The filter takes the rollouts *in their order*, each estimate after its reward. So the order of the
    rollouts matters, and a group of equal rewards does not get zero. The gains do not depend on the rewards,
    and the advantage is linear in them. Defaults are those of the released code.

    Args:
        rewards: Of every rollout, [prompt, group].
        process: Noise variance of the value from one rollout to the next.
        measurement: Noise variance of one reward.
        mean: Estimate at the start, for every prompt.
        variance: Its variance.
        eps: Added to sqrt(P_i).

    >>> kalman(jnp.array([[1.0]]), process=0.0, measurement=0.5, variance=0.5, eps=0.0).tolist()
    [[1.0]]
    """
    group = rewards.shape[1]
    estimate = np.zeros(group + 1)  # the weights of the rewards seen so far, and last of the starting mean
    estimate[-1] = 1.0
    rows = np.zeros((group, group + 1))  # [rollout, weight]: the advantage as a linear map of the rewards
    uncertainty = variance
    for i in range(group):
        predicted = uncertainty + process
        gain = predicted / (predicted + measurement)
        estimate = (1 - gain) * estimate
        estimate[i] += gain
        uncertainty = (1 - gain) * predicted
        rows[i] = -estimate
        rows[i, i] += 1.0
        rows[i] /= math.sqrt(uncertainty) + eps
    weights = jnp.asarray(rows[:, :group], rewards.dtype)
    return jnp.sum(weights * rewards[:, None, :], axis=2) + jnp.asarray(rows[:, group] * mean, rewards.dtype)


@on_rewards
def shrunk(rewards: Rewards, *, eps: float = 1e-8) -> Advantages:
    """The reward less a shrunk group mean, standardised over the batch: EBPO, arXiv 2602.05165.

    b_q = (1 - S) (mean of group q) + S (mean of all), S = (v/G) / (v/G + t), v the variance of all rewards
    and t that of the groups' means. The paper keeps v, t and the mean over training (see ``tracker.Running``
    and ``tracker.shrinkage``); here they are the batch's own, which is the first step of that recursion. A
    group of equal rewards keeps a signal against the other prompts, by design. The paper's printed constants
    (degrees of freedom, epsilon) were not at hand: population variances and ``eps`` added to the last
    standard deviation are this package's choice.

    >>> shrunk(jnp.array([[1.0, 0.0], [1.0, 0.0]]), eps=0.0).tolist()
    [[1.0, -1.0], [1.0, -1.0]]
    """
    d = rewards - rewards[:1, :1]
    group_means = jnp.mean(d, axis=1, keepdims=True)
    overall = jnp.mean(d)
    within = jnp.mean((d - overall) ** 2) / rewards.shape[1]
    total = within + jnp.mean((group_means - overall) ** 2)
    share = within / jnp.where(total > 0, total, 1.0)
    centred = d - ((1 - share) * group_means + share * overall)
    centred = centred - jnp.mean(centred)
    return centred / (jnp.sqrt(jnp.mean(centred**2)) + eps)


@on_rewards
def given_batch_standardised(
    rewards: Rewards, baseline: Float[Array, " prompt"], *, ddof: int = 1, eps: float = 1e-8
) -> Advantages:
    """The reward less a tracked value per prompt, standardised over the batch: SPO, arXiv 2509.13232.

    Args:
        rewards: Of every rollout, [prompt, group].
        baseline: The tracker's value of each prompt *before* these rollouts (``tracker.value``).
        ddof: 0 divides the sum of squares by the number of values (population), 1 by one less (sample).
        eps: Added to the standard deviation.

    >>> baseline = jnp.array([0.25])
    >>> given_batch_standardised(jnp.array([[1.0, 0.0]]), baseline, ddof=0, eps=0.0).tolist()
    [[1.0, -1.0]]
    """
    advantages = rewards - baseline[:, None]
    centred = advantages - jnp.mean(advantages)
    square = jnp.mean(centred**2) * (rewards.size / max(rewards.size - ddof, 1))
    return centred / (jnp.sqrt(square) + eps)


def decoupled(
    reward_parts: Float[Array, "prompt group part"],
    *,
    weights: Sequence[float] | None = None,
    ddof: int = 0,
    eps: float = 1e-6,
) -> Advantages:
    """Each reward standardised in its group, summed, and scaled over the batch: GDPO, arXiv 2601.05242.

    The sums have mean zero over the batch, so only the batch's standard deviation is divided by, and a group
    in which every part is constant stays at exactly zero. Trainers differ in ``ddof`` and ``eps``.

    Args:
        reward_parts: Several rewards of every rollout, [prompt, group, part].
        weights: Of the parts; None for 1 each.
        ddof: Of each part in its group: 0 divides by G, 1 by G - 1.
        eps: Added to both standard deviations.

    Raises:
        ValueError: For rewards without three axes, or another number of weights.

    >>> decoupled(jnp.array([[[1.0, 2.0], [0.0, 2.0]]]), eps=1e-9).round(6).tolist()
    [[1.0, -1.0]]
    """
    parts = jnp.asarray(reward_parts)
    if parts.ndim != 3:
        raise ValueError(f"reward_parts: shape {parts.shape}; give three axes, [prompt, group, part]")
    chosen = tuple(1.0 for _ in range(parts.shape[2])) if weights is None else tuple(weights)
    if len(chosen) != parts.shape[2]:
        raise ValueError(f"weights: {len(chosen)} of them for {parts.shape[2]} rewards; give one per reward")
    sound = jnp.all(jnp.isfinite(parts), axis=(1, 2), keepdims=True)
    d = jnp.where(sound, parts - parts[:, :1], 0.0)
    d = d - jnp.mean(d, axis=1, keepdims=True)
    square = jnp.mean(d**2, axis=1, keepdims=True) * (parts.shape[1] / max(parts.shape[1] - ddof, 1))
    summed = jnp.sum(jnp.asarray(chosen, parts.dtype) * d / (jnp.sqrt(square) + eps), axis=2)
    return summed / (jnp.sqrt(jnp.mean(summed**2)) + eps)


@on_rewards
def token_baseline(
    rewards: Rewards,
    energy: Float[Array, "prompt group time"],
    mask: Bool[Array, "prompt group time"],
    *,
    tail: bool = True,
) -> TokenAdvantages:
    """The reward less the optimal baseline per token position: arXiv 2602.07078.

    B_t = sum_j W_jt r_j / sum_j W_jt over the rollouts that are still running at t, W_jt the cumulated
    ``energy`` up to t. A group of one has no baseline as released; here it gets zero. B_t contains the
    rollout's reward, so the advantage is biased at finite G.

    Args:
        rewards: Of every rollout, [prompt, group].
        energy: Squared norm of each token's score, [prompt, group, time]. The paper's proxy for a softmax is
            1 - 2 pi + sum over the vocabulary of pi^2, which needs more than the chosen tokens'
            log-probabilities; so this is a piece for those who have it, not a named estimator.
        mask: True for the tokens that count, [prompt, group, time].
        tail: True: a position that only one rollout of a larger group reaches has baseline zero, as released.
            False: it has its reward as baseline, so that the advantage is zero.

    >>> energy, mask = jnp.ones((1, 2, 1)), jnp.ones((1, 2, 1), bool)
    >>> token_baseline(jnp.array([[1.0, 0.0]]), energy, mask).tolist()
    [[[0.5], [-0.5]]]
    """
    d = from_first(rewards)[..., None]
    # [prompt, group, time]: squared norm of the score up to each token
    weight = jnp.where(mask, jnp.cumsum(jnp.where(mask, energy, 0.0), axis=-1), 0.0)
    total = jnp.sum(weight, axis=1, keepdims=True)
    centred = d - jnp.sum(weight * d, axis=1, keepdims=True) / jnp.where(total > 0, total, 1.0)
    if tail and rewards.shape[1] > 1:
        alone = jnp.sum(mask, axis=1, keepdims=True) == 1
        centred = jnp.where(alone, rewards[..., None], centred)
    return jnp.where(mask, centred, 0.0)


def _lookup(table: Sequence[float], index: Array, dtype: jnp.dtype) -> Array:
    """table[index] as a sum over the table: no gather, so that it reads as a formula."""
    values = jnp.asarray(np.asarray(table), dtype)
    return jnp.sum(jnp.where(index[..., None] == jnp.arange(len(table)), values, 0.0), axis=-1)
