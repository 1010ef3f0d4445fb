"""The kernel h_ij = (1/2) (r_i - r_j) (s_i - s_j) of pairs of one prompt's rollouts, and what is estimated with it.

Everything is a U-statistic in the Gram matrix of sequence scores. Write H_i = sum_j h_ij; as a combination of scores it
is (1/2) [(N r_i - R) e_i - r_i 1 + r], so all sums over pairs and triples of distinct rollouts are quadratic forms.
"""

import numpy as np
from jaxtyping import Float


def squared_kernel(
    rewards: Float[np.ndarray, "prompt rollout"], seq: Float[np.ndarray, "prompt rollout rollout"]
) -> Float[np.ndarray, "prompt rollout rollout"]:
    """||h_ij||^2 of all pairs of a prompt's rollouts, from rewards and inner products of sequence scores."""
    norms = np.einsum("qnn->qn", seq)  # [prompt, rollout]
    gaps = rewards[:, :, None] - rewards[:, None]  # [prompt, rollout, rollout]
    return 0.25 * gaps**2 * (norms[:, :, None] + norms[:, None] - 2 * seq)


def joint_squares(pair: Float[np.ndarray, "prompt rollout rollout"]) -> Float[np.ndarray, " prompt"]:
    """The mean of a_ij a_kl over disjoint pairs, for symmetric matrices a with a diagonal of zeros.

    >>> a = np.array([[[0, 1, 2, 3], [1, 0, 4, 5], [2, 4, 0, 6], [3, 5, 6, 0.0]]])
    >>> joint_squares(a).tolist(), (1 * 6 + 2 * 5 + 3 * 4) / 3  # the three ways to cut four into pairs
    ([9.333333333333334], 9.333333333333334)
    """
    n = pair.shape[1]
    rows = pair.sum(2)
    # all products, less those that share one rollout, in which those that share both were counted twice
    disjoint = rows.sum(1) ** 2 - 4 * (rows**2).sum(1) + 2 * (pair**2).sum((1, 2))
    return np.maximum(disjoint, 0.0) / (n * (n - 1) * (n - 2) * (n - 3))


def prompt_numbers(
    rewards: Float[np.ndarray, "prompt rollout"],
    seq: Float[np.ndarray, "prompt rollout rollout"],
    pair: Float[np.ndarray, "prompt rollout rollout"],
) -> dict[str, Float[np.ndarray, " prompt"]]:
    """p, signal, v1, v0, zeta1 and zeta2 of every prompt, from rewards, products of sequence scores and ||h_ij||^2."""
    n = rewards.shape[1]
    norms = np.einsum("qnn->qn", seq)  # [prompt, rollout]
    total = rewards.sum(1)
    coef = 0.5 * (
        (n * rewards - total[:, None])[:, :, None] * np.eye(n) - rewards[:, :, None] + rewards[:, None]
    )
    centred = np.einsum("qim,qmk,qik->qi", coef, seq, coef, optimize=True)  # ||H_i||^2
    # sums over ordered triples and unordered pairs of distinct rollouts, and over disjoint pairs [prompt]
    triples = centred.sum(1) - pair.sum((1, 2))
    all_pairs = 0.5 * coef.sum(1)  # the sum of h_ij over all pairs, as a combination of scores
    pairs = 0.5 * pair.sum((1, 2))
    disjoint = np.einsum("qm,qmk,qk->q", all_pairs, seq, all_pairs, optimize=True) - pairs - triples
    signal = disjoint / (n * (n - 1) * (n - 2) * (n - 3) / 4)
    zeta1 = triples / (n * (n - 1) * (n - 2)) - signal
    zeta2 = pairs / (n * (n - 1) / 2) - signal
    binary = np.isin(rewards, (0.0, 1.0)).all()
    with np.errstate(divide="ignore", invalid="ignore"):
        v1 = (norms * rewards).sum(1) / total if binary else np.full(len(total), np.nan)
        v0 = (norms * (1 - rewards)).sum(1) / (n - total) if binary else np.full(len(total), np.nan)
    return {"p": total / n, "signal": signal, "v1": v1, "v0": v0, "zeta1": zeta1, "zeta2": zeta2}
