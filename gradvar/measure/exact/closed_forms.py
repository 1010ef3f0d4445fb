"""Closed forms: the moments of a group estimator from a few numbers of the prompt, with no simulation.

Hypotheses of everything here: one prompt; G rollouts drawn independently from the policy that is differentiated
(on policy); no clipping in force; the gradient is (1/G) sum_i A_i s_i with s_i the sequence score, summed over tokens.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gradvar.core.checks import at_least
from gradvar.stats import groups


class FourNumbers(NamedTuple):
    """All that binary rewards need.

    ``p`` = P(r=1), ``signal`` = ||grad J||^2, and the mean squared norm of the score given a success, ``v1`` =
    E[||s||^2 | r=1], and given a failure, ``v0`` = E[||s||^2 | r=0].
    """

    p: float
    signal: float
    v1: float
    v0: float


class GroupMoments(NamedTuple):
    """E ghat = ``bias_factor`` grad J, and tr Cov ghat = ``trace_cov``, for one group."""

    bias_factor: float
    trace_cov: float

    def snr(self, numbers: FourNumbers) -> float:
        """||E ghat||^2 / tr Cov ghat."""
        return self.bias_factor**2 * numbers.signal / self.trace_cov


def four_numbers(
    probs: Float[np.ndarray, " completion"],
    rewards: Float[np.ndarray, " completion"],
    scores: Float[np.ndarray, "completion param"],
) -> FourNumbers:
    """The four numbers of a listed distribution with binary rewards: probabilities [K], rewards [K], scores [K, P]."""
    if not np.isin(rewards, (0.0, 1.0)).all():
        raise ValueError(
            "rewards: not all 0 or 1; the four-number law is about binary rewards, use ustatistic_numbers"
        )
    p = float(probs @ rewards)
    if not 0 < p < 1:
        raise ValueError(f"rewards: success probability {p}; the law needs both outcomes to be possible")
    norms = (scores**2).sum(-1)
    gradient = (probs * rewards) @ scores
    v1 = float((probs * rewards) @ norms) / p
    v0 = float((probs * (1 - rewards)) @ norms) / (1 - p)
    return FourNumbers(p, float(gradient @ gradient), v1, v0)


Advantage = Callable[[np.ndarray], np.ndarray]
"""Rewards [1, G] to advantages [1, G], NumPy or JAX; equal rewards of a group get equal advantages."""


def four_number_law(numbers: FourNumbers, group_size: int, advantage: Advantage) -> GroupMoments:
    """Mean and tr Cov of a group estimator with binary rewards, by a sum over the number of successes.

    Given k successes the estimator is (1/G)[a_k (sum of success scores) + b_k (sum of failure scores)], where success
    scores have mean m1 = grad J / p and failure scores m0 = -grad J / (1-p), independently; hence the conditional first
    two moments. ``advantage`` is called once for each number of successes.
    """
    from scipy.stats import binom  # takes as long to import as NumPy and JAX's arrays together

    p, signal, v1, v0 = numbers
    a, b = _by_successes(advantage, group_size)  # [successes] each, from 0 to G
    k = np.arange(group_size + 1)
    m = group_size - k  # failures
    square = a**2 * (k * v1 + k * (k - 1) * signal / p**2)
    square += b**2 * (m * v0 + m * (m - 1) * signal / (1 - p) ** 2)
    square -= 2 * a * b * k * m * signal / (p * (1 - p))
    second = float(binom.pmf(k, group_size, p) @ square) / group_size**2
    mean = float(groups.prompt_weight(a[1:] - b[:-1], np.asarray(p)))
    return GroupMoments(mean, second - mean**2 * signal)


def prompt_weight(
    advantage: Advantage, group_size: int, p: Float[np.ndarray, "*n"]
) -> Float[np.ndarray, "*n"]:
    """w_G(p): the factor that an advantage puts on the gradient of a prompt with success rate p, rewards 0 and 1.

    >>> prompt_weight(lambda r: r - r.mean(), 4, np.array([0.0, 0.5])).tolist()
    [0.75, 0.75]
    """
    a, b = _by_successes(advantage, group_size)
    return groups.prompt_weight(a[1:] - b[:-1], p)


def _by_successes(advantage: Advantage, group_size: int) -> tuple[np.ndarray, np.ndarray]:
    """The advantages of a success and of a failure among k = 0..G successes; 0 where there is none: [k] each."""
    success, failure = np.zeros(group_size + 1), np.zeros(group_size + 1)
    for k in range(group_size + 1):
        rewards = (np.arange(group_size) < k).astype(float)[None]  # [1, group]: successes first
        values = np.asarray(advantage(rewards), float)[0]
        success[k], failure[k] = values[0] if k else 0.0, values[-1] if k < group_size else 0.0
        away = np.abs(values - np.where(rewards[0] > 0, success[k], failure[k]))
        if away.max() > 1e-9:
            raise ValueError(
                f"advantage: equal rewards got unequal advantages at {k} successes; the law needs them equal"
            )
    return success, failure


class UStatisticNumbers(NamedTuple):
    """The numbers that leave-one-out needs, for any rewards.

    ``zeta1`` = tr Cov E[h | first rollout] and ``zeta2`` = tr Cov h of the pair kernel h = (1/2)(r_1 - r_2)(s_1 - s_2);
    ``signal`` = ||grad J||^2.
    """

    zeta1: float
    zeta2: float
    signal: float


def ustatistic_numbers(
    probs: Float[np.ndarray, " completion"],
    rewards: Float[np.ndarray, " completion"],
    scores: Float[np.ndarray, "completion param"],
) -> UStatisticNumbers:
    """The numbers of the leave-one-out law, for any rewards, from a listed distribution (shapes as ``four_numbers``).

    E[h | r, s] = (1/2)[(r - J) s + grad J], because E s = 0.
    """
    mean_reward = float(probs @ rewards)
    gradient = (probs * rewards) @ scores
    signal = float(gradient @ gradient)
    # E[h | rollout], [completion, param]
    projected = 0.5 * ((rewards - mean_reward)[:, None] * scores + gradient)
    zeta1 = float(probs @ (projected**2).sum(-1)) - signal
    norms = (scores**2).sum(-1)
    # ||s_i - s_j||^2, [completion, completion]
    squares = norms[:, None] + norms[None, :] - 2 * scores @ scores.T
    gaps = (rewards[:, None] - rewards[None, :]) ** 2
    zeta2 = 0.25 * float(probs @ (gaps * squares) @ probs) - signal
    return UStatisticNumbers(zeta1, zeta2, signal)


def ustatistic_law(numbers: UStatisticNumbers, group_size: int) -> GroupMoments:
    """Leave-one-out at any G >= 2 and any rewards: unbiased, and Var = (4(G-2) zeta1 + 2 zeta2) / (G(G-1)).

    The estimator is the average over all pairs of h (Hoeffding 1948; 2603.01162 for this use of it).
    """
    at_least("group_size", group_size, 2)
    pairs = group_size * (group_size - 1)
    return GroupMoments(1.0, (4 * (group_size - 2) * numbers.zeta1 + 2 * numbers.zeta2) / pairs)
