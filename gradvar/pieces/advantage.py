"""Advantages: from the rewards of a batch to a number per rollout.

Every function takes ``rewards`` [prompt, group] first and returns [prompt, group] (``gae``: [prompt, group,
time]). Rewards of any real type are welcome; floats come back in their own type, and half precision is
computed in float32. A group whose rewards are all equal gets exactly zero from every centred advantage, also
where the mean is not exact in floating point. A group of one gets zero from every centred advantage, never
NaN. A group that holds a NaN or an infinity gets zero throughout and leaves the others alone; in the
batch-standardised forms, which share one scale over the batch by design, it counts as a group of zeros.

Rank- and task-dependent schemes are in ``advantage_adaptive``; all of them are reachable from here.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gradvar.core.compose import Piece
from gradvar.pieces.advantage_adaptive import (
    beta_normalised,
    decoupled,
    given_batch_standardised,
    kalman,
    mixed_rescaled,
    over_mean,
    pass_at_k,
    pass_at_k_standardised,
    shrunk,
    softmax,
    token_baseline,
)
from gradvar.pieces.piece import Advantages, Rewards, deviations, from_first, on_rewards, wrapping

__all__ = [
    "batch_standardised",
    "beta_normalised",
    "decoupled",
    "gae",
    "given",
    "given_batch_standardised",
    "greedy",
    "group_mean",
    "kalman",
    "leave_one_out",
    "length_weighted",
    "mixed_rescaled",
    "over_mean",
    "over_tokens",
    "pass_at_k",
    "pass_at_k_standardised",
    "raw",
    "score_weighted",
    "shrunk",
    "softmax",
    "standardised",
    "token_baseline",
]


@on_rewards
def raw(rewards: Rewards) -> Advantages:
    """The reward itself, no baseline: Williams (1992).

    >>> raw(jnp.array([[1.0, 0.0]])).tolist()
    [[1.0, 0.0]]
    """
    return rewards


@on_rewards
def given(rewards: Rewards, baseline: Float[Array, " prompt"]) -> Advantages:
    """The reward less a given baseline per prompt; unbiased when that does not depend on the rollouts.

    >>> given(jnp.array([[1.0, 0.0]]), baseline=jnp.array([0.25])).tolist()
    [[0.75, -0.25]]
    """
    return rewards - baseline[:, None]


@on_rewards
def greedy(rewards: Rewards, greedy_rewards: Float[Array, " prompt"]) -> Advantages:
    """The reward less the greedy rollout's reward: ReMax, arXiv 2310.10505.

    >>> greedy(jnp.array([[1.0, 0.0]]), greedy_rewards=jnp.array([1.0])).tolist()
    [[0.0, -1.0]]
    """
    return rewards - greedy_rewards[:, None]


@on_rewards
def group_mean(rewards: Rewards) -> Advantages:
    """The reward less the group's mean: Dr. GRPO, arXiv 2503.20783. A group of one gets zero.

    >>> group_mean(jnp.array([[1.0, 0.0, 0.0, 0.0]])).tolist()
    [[0.75, -0.25, -0.25, -0.25]]
    """
    return deviations(rewards)


@on_rewards
def leave_one_out(rewards: Rewards) -> Advantages:
    """The reward less the mean of the *other* rewards of the group: RLOO, arXiv 2402.14740.

    Equal to G/(G-1) times the reward less the group's mean. A group of one has no others and gets zero; the
    papers leave this case open, and zero is the limit in which a rollout carries no comparison.

    >>> leave_one_out(jnp.array([[1.0, 0.0, 0.0]])).tolist()
    [[1.0, -0.5, -0.5]]
    """
    group = rewards.shape[1]
    return deviations(rewards) * (group / (group - 1) if group > 1 else 0.0)


@on_rewards
def standardised(rewards: Rewards, *, ddof: int = 0, eps: float = 1e-6, clamp: bool = False) -> Advantages:
    """The reward less the group's mean, divided by the group's standard deviation: GRPO, arXiv 2402.03300.

    The paper writes std and does not say which one, and has no epsilon; trainers differ in both.

    Args:
        rewards: Of every rollout, [prompt, group].
        ddof: 0 divides the sum of squares by G (population), 1 by G - 1 (sample, as torch's default in
            several trainers).
        eps: Added to the standard deviation; with 0 a group without spread gets zero.
        clamp: Bound the standard deviation from below by ``eps`` instead.

    >>> standardised(jnp.array([[1.0, 0.0], [1.0, 1.0]]), eps=0.0).tolist()
    [[1.0, -1.0], [0.0, 0.0]]
    """
    centred = deviations(rewards)
    return centred / _scale(jnp.mean(centred**2, axis=1, keepdims=True), rewards.shape[1], ddof, eps, clamp)


@on_rewards
def batch_standardised(
    rewards: Rewards, *, group_centred: bool = False, ddof: int = 0, eps: float = 1e-8, clamp: bool = False
) -> Advantages:
    """Standardised over the whole batch: REINFORCE++, arXiv 2501.03262.

    Prompts share one scale, so one prompt's rewards change another's advantages.

    Args:
        rewards: Of every rollout, [prompt, group].
        group_centred: False: the reward less the batch's mean, over the batch's standard deviation
            (REINFORCE++). True: the reward less its group's mean, over the standard deviation of those
            differences in the batch (REINFORCE++-baseline); their batch mean is zero, so it is not subtracted
            a second time, which keeps groups of equal rewards at exactly zero.
        ddof: 0 divides the sum of squares by the number of values (population), 1 by one less (sample).
        eps: Added to the standard deviation.
        clamp: Bound the standard deviation from below by ``eps`` instead.

    >>> batch_standardised(jnp.array([[1.0, 0.0], [1.0, 0.0]]), eps=0.0).tolist()
    [[1.0, -1.0], [1.0, -1.0]]
    """
    if group_centred:
        centred = deviations(rewards)
    else:
        d = rewards - rewards[:1, :1]
        centred = d - jnp.mean(d)
    return centred / _scale(jnp.mean(centred**2), rewards.size, ddof, eps, clamp)


@on_rewards
def length_weighted(
    rewards: Rewards, lengths: Float[Array, "prompt group"], *, include_self: bool = True
) -> Advantages:
    """The reward less the length-weighted mean reward of the group: OPO, arXiv 2505.23585.

    The variance-optimal baseline E[r ||s||^2] / E[||s||^2], with the squared score taken proportional to the
    length. ``include_self=True`` is the paper's form, b = sum_j l_j r_j / sum_j l_j, which contains the rollout's own
    reward and so is biased at finite G; ``include_self=False`` leaves the own rollout out of both sums and is
    unbiased. A rollout whose comparison has no token (a group of one with ``include_self=False``) gets zero.

    >>> length_weighted(jnp.array([[1.0, 0.0]]), lengths=jnp.array([[1.0, 3.0]])).tolist()
    [[0.75, -0.25]]
    """
    return _weighted(rewards, lengths, include_self)


@on_rewards
def score_weighted(
    rewards: Rewards, score_squares: Float[Array, "prompt group"], *, include_self: bool = False
) -> Advantages:
    """The reward less the variance-optimal baseline E[r ||s||^2] / E[||s||^2], estimated in the group.

    E. Greensmith et al., JMLR 5 (2004); ``score_squares`` are the group's ||s||^2. ``include_self=False``: from
    the other rollouts, which leaves the gradient unbiased; ``include_self=True``: from all of them, which does
    not. ``length_weighted`` approximates it.

    >>> score_weighted(jnp.array([[1.0, 0.0, 2.0]]), score_squares=jnp.array([[1.0, 1.0, 3.0]])).tolist()
    [[-0.5, -1.75, 1.5]]
    """
    return _weighted(rewards, score_squares, include_self)


def _weighted(rewards: Array, weights: Array, include_self: bool) -> Array:
    d = from_first(rewards)
    total = jnp.sum(weights, axis=1, keepdims=True)
    weighted = jnp.sum(weights * d, axis=1, keepdims=True)
    if include_self:
        return d - weighted / jnp.where(total > 0, total, 1.0)
    others = total - weights
    return jnp.where(others > 0, d - (weighted - weights * d) / jnp.where(others > 0, others, 1.0), 0.0)


@on_rewards
def gae(
    rewards: Rewards,
    values: Float[Array, "prompt group time"],
    mask: Bool[Array, "prompt group time"],
    *,
    discount: float = 1.0,
    decay: float = 1.0,
) -> Float[Array, "prompt group time"]:
    """Generalised advantage estimation with the reward on the last unmasked token.

    arXiv 1506.02438, equation (16). After the last token the value is zero. With ``discount`` and ``decay``
    both 1 the advantage is the reward less the value, which is unbiased for any values. Masked tokens are
    skipped over: they take no time and get zero.

    Args:
        rewards: Of every rollout, [prompt, group].
        values: The critic's values of the state before each token, [prompt, group, time].
        mask: True for the tokens that count, [prompt, group, time].
        discount: Gamma of the paper.
        decay: Lambda of the paper.

    >>> values, mask = jnp.array([[[0.5, 0.25]]]), jnp.ones((1, 1, 2), bool)
    >>> gae(jnp.array([[1.0]]), values, mask, decay=0.5).tolist()
    [[[0.125, 0.75]]]
    """
    mask = jnp.asarray(mask)
    values = jnp.where(mask, values, 0.0)
    if discount == 1.0 and decay == 1.0:
        return jnp.where(mask, rewards[..., None] - values, 0.0)
    # [prompt, group, time]: unmasked tokens from here on; 1 marks the last one, which gets the reward
    remaining = jnp.cumsum(mask[..., ::-1], axis=-1)[..., ::-1]
    token_rewards = jnp.where(mask & (remaining == 1), rewards[..., None], 0.0)

    def back(carry: tuple[Array, Array], step: tuple[Array, ...]) -> tuple[tuple[Array, Array], Array]:
        next_advantage, next_value = carry
        reward, value, counts = step
        advantage = reward + discount * next_value - value + discount * decay * next_advantage
        carry = (jnp.where(counts, advantage, next_advantage), jnp.where(counts, value, next_value))
        return carry, jnp.where(counts, advantage, 0.0)

    # Time first, [time, prompt, group], as scan wants it; it runs from the last token to the first.
    last_first = (jnp.moveaxis(x, -1, 0) for x in (token_rewards, values, mask))
    start = jnp.zeros_like(rewards + values[..., 0])
    _, advantages = jax.lax.scan(back, (start, start), tuple(last_first), reverse=True)
    return jnp.moveaxis(advantages, 0, -1)


def over_tokens(piece: Piece, *, ddof: int = 0, eps: float = 1e-8, clamp: bool = False) -> Piece:
    """Standardise a piece's advantages over all unmasked tokens of the batch.

    Trainers call it masked whitening. Every token counts once, so long rollouts pull the mean and the scale;
    with rollouts of unequal length a group of equal rewards does not end at zero.

    Args:
        piece: Gives advantages, of rollouts or of tokens.
        ddof: 0 divides the sum of squares by the number of values (population), 1 by one less (sample).
        eps: Added to the standard deviation.
        clamp: Bound the standard deviation from below by ``eps`` instead.

    Returns:
        A piece with advantages [prompt, group, time], zero at masked tokens.

    >>> over_tokens(raw, eps=0.0)(rewards=jnp.array([[1.0, 0.0]]), mask=jnp.ones((1, 2, 2), bool)).tolist()
    [[[1.0, 1.0], [-1.0, -1.0]]]
    """

    def call(arrays: dict[str, Array], inner: Callable[..., Array]) -> Array:
        advantages, mask = inner(), arrays["mask"]
        tokens = jnp.broadcast_to(advantages[..., None] if advantages.ndim == 2 else advantages, mask.shape)
        count = jnp.maximum(jnp.sum(mask), 1)
        centred = jnp.where(mask, tokens - jnp.sum(jnp.where(mask, tokens, 0.0)) / count, 0.0)
        return centred / _scale(jnp.sum(centred**2) / count, count, ddof, eps, clamp)

    return wrapping(piece, ("mask",), call, f"over_tokens(ddof={ddof}, eps={eps})")


def _scale(mean_square: Array, count: int | Array, ddof: int, eps: float, clamp: bool) -> Array:
    """The divisor: a standard deviation and its epsilon; never zero."""
    std = jnp.sqrt(mean_square * (count / jnp.maximum(count - ddof, 1)) if ddof else mean_square)
    if eps == 0:
        return jnp.where(std == 0, 1.0, std)
    return jnp.maximum(std, eps) if clamp else std + eps
