"""Groups of G rollouts, drawn without replacement from the rollouts of a prompt: how often their rewards differ.

A group all of whose rewards are equal teaches a group-relative estimator nothing. The shares are exact U-statistics of
the rewards at hand, hence unbiased for fresh groups.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.special import gammaln, xlog1py, xlogy


def chance_all(
    successes: Int[np.ndarray, "*n"] | int, total: Int[np.ndarray, "*n"] | int, group_size: int
) -> Float[np.ndarray, "*n"]:
    """The chance that all of a group are among the ``successes`` of ``total`` rollouts; NaN in too few rollouts.

    >>> float(chance_all(3, 4, 2))
    0.5
    """
    successes, total = np.broadcast_arrays(np.asarray(successes), np.asarray(total))
    width = int(total.max(initial=0)) + 1
    if successes.size > 4 * width**2 and successes.min() >= 0 and successes.max() < width:
        # few pairs, all of them once
        pairs = np.arange(width)
        table = _chance_all(pairs[None, :], pairs[:, None], group_size)
        return np.asarray(table.ravel()[total.astype(np.int64) * width + successes.astype(np.int64)])
    return _chance_all(successes, total, group_size)


def _chance_all(successes: np.ndarray, total: np.ndarray, group_size: int) -> Float[np.ndarray, "*n"]:
    successes, total = np.broadcast_arrays(successes, total)
    chance = np.ones(successes.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        for taken in range(group_size):
            chance *= np.maximum(successes - taken, 0) / (total - taken)
    return np.where(total >= group_size, chance, np.nan)


def unequal_share_of_counts(
    counts: Int[np.ndarray, " cell"], starts: Int[np.ndarray, " prompt"], group_size: int
) -> Float[np.ndarray, " prompt"]:
    """The share of groups with two different rewards, from how often each reward of a prompt occurs.

    ``counts`` has a cell for each distinct reward of a prompt; a prompt's cells begin at its entry of ``starts``. NaN
    for prompts of fewer rollouts than ``group_size``.

    >>> unequal_share_of_counts(np.array([3, 1, 4]), np.array([0, 2]), 2).tolist()
    [0.5, 0.0]
    """
    total = np.add.reduceat(counts, starts)  # [prompt]
    cells = np.diff(np.append(starts, len(counts)))  # [prompt]
    equal = chance_all(counts, np.repeat(total, cells), group_size)  # [cell]
    return np.clip(1 - np.add.reduceat(equal, starts), 0.0, 1.0)


def unequal_share(
    rewards: Float[np.ndarray, "prompt rollout"], group_size: int
) -> Float[np.ndarray, " prompt"]:
    """The share of groups with two different rewards, for every prompt.

    >>> unequal_share(np.array([[0.0, 1.0, 1.0, 1.0]]), 2).tolist()
    [0.5]
    """
    ordered = np.sort(rewards, axis=1)
    fresh = np.ones(ordered.shape, bool)  # a reward that differs from the one before it begins a cell
    fresh[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    cells = np.flatnonzero(fresh)  # [cell]
    counts = np.diff(np.append(cells, ordered.size))
    starts = np.cumsum(fresh.sum(1)) - fresh.sum(1)  # [prompt]
    return unequal_share_of_counts(counts, starts, group_size)


def cost_of_equal_variance(group_size: int, per_prompt: float = 0.0, per_rollout: float = 1.0) -> float:
    """The cost of groups of this size for the same variance of leave-one-out within prompts, up to a factor.

    Hypothesis, for lack of scores: on policy, given its prompt a rollout's squared score norm does not depend on its
    reward and is the same for all prompts, and ||grad J||^2 is small against Var(r) E||s||^2. Then leave-one-out has
    variance mean Var(r) v / (G - 1) within prompts (the form that VIP uses, 2602.01601).

    >>> cost_of_equal_variance(2) / cost_of_equal_variance(4)
    1.5
    """
    return (per_prompt + per_rollout * group_size) / (group_size - 1)


def redrawing_gain(snr: float, share: float) -> float:
    """What drawing new prompts until all groups have different rewards gains: signal per rollout, as a multiple.

    With a share u of informative groups, a group that is kept has mean E g / u and second moment E ||g||^2 / u, and
    takes 1 / u groups to find; so the signal-to-noise ratio of a budget is multiplied with 1 / (1 - snr (1 - u) / u),
    ``snr`` that of one group. It is 1 in the limit of small signal.

    >>> redrawing_gain(0.0, 0.5), redrawing_gain(0.2, 0.5)
    (1.0, 1.25)
    """
    loss = max(snr, 0.0) * (1 - share) / share
    return 1 / (1 - loss) if loss < 1 else np.inf


def prompt_weight(gaps: Float[np.ndarray, " group"], p: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """w_G(p): the factor that a group estimator puts on the gradient of a prompt with success rate p.

    For rewards of two levels, on policy and unclipped, E ghat = w_G(p) grad J (claims A11, B6). With a_k and b_k the
    advantages of a success and of a failure among k successes, over the gap of the levels, and
    ``gaps[j]`` = a_{j+1} - b_j,

        w_G(p) = sum_{j=0}^{G-1} C(G-1, j) p^j (1-p)^(G-1-j) gaps[j],

    the four-number law's sum in a form that is finite at p = 0 and 1 too.

    >>> float(prompt_weight(np.array([1.0, 1.0]), 0.3))  # leave-one-out in a pair: no prompt is favoured
    1.0
    """
    others = len(gaps) - 1  # rollouts besides the one that succeeds or fails
    j, p = np.arange(others + 1), np.asarray(p, float)[..., None]
    ways = gammaln(others + 1) - gammaln(j + 1) - gammaln(others - j + 1)
    chance = np.exp(ways + xlogy(j, p) + xlog1py(others - j, -p))  # [..., group]
    return np.asarray(chance @ np.asarray(gaps, float))
