"""Have the gradients that carry a figure met each other? What is made of products says nothing of those that have not.

The part between prompts is a mean of <g_a, g_b> over pairs that share their prompt, the signal one of <S_i, S_j> over
pairs of blocks. Where a few gradients are far larger than the others, as with one success in fifty that is worth 50,
two of them are seldom in one pair; until they are, all products are small and alike, and an interval that is made of
them is narrow and wrong. Both functions compare what was met with what must be met in the long run, so that they are
far below one just where that has not yet happened.
"""

import numpy as np
from jaxtyping import Float

_SINGLE = (1e-36, 1e36)  # between these a fourth power is kept in single precision


def pairs_met(
    joint: Float[np.ndarray, "*experiment block"],
    squares: Float[np.ndarray, "*experiment block"],
    count: Float[np.ndarray, " block"],
) -> Float[np.ndarray, "*experiment"]:
    """The mean of ||g_a||^2 ||g_b||^2 over pairs, over the square of the mean of ||g||^2.

    Given the prompt the two are independent, so in expectation it is E m^2 / (E m)^2 with m = E[||g||^2 | prompt]: at
    least one, by Jensen.

    Args:
        joint: Sums of ||g_a||^2 ||g_b||^2 over each block's pairs.
        squares: Sums of ||g||^2 over each block's replicates.
        count: Replicates of each block.

    >>> small, large = np.array([1.0, 1.0]), np.array([1.0, 50.0**2])  # squares of two pairs; the large ones never met
    >>> round(float(pairs_met(small * large, small + large, np.array([2.0, 2.0]))), 4)
    0.0032
    """
    mean_square = squares.sum(-1) / count.sum()
    together = joint.sum(-1) / (count.sum() / 2)
    expected = mean_square**2
    is_kept = (expected > _SINGLE[0]) & (expected < _SINGLE[1])
    return np.where(is_kept, together / np.where(is_kept, expected, 1.0), 1.0)


def directions_met(gram: Float[np.ndarray, "*experiment block block"]) -> Float[np.ndarray, "*experiment"]:
    """The squared cosines of pairs of blocks, weighed by ||S_i||^2 ||S_j||^2, over their plain mean.

    It is one where large sums point in the directions of all others, and about zero where those are orthogonal to each
    other while others are not.

    >>> sums = np.array([[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    >>> round(float(directions_met(sums @ sums.T)), 4)
    0.0009
    """
    blocks = gram.shape[-1]
    norms = np.maximum(np.diagonal(gram, axis1=-2, axis2=-1), 0.0)  # [..., block]
    largest = norms.max(-1, keepdims=True, initial=0.0)
    unit = np.where(largest > 0, largest, 1.0)
    norms, products = norms / unit, gram / unit[..., None]
    weights = norms[..., :, None] * norms[..., None, :] * (1 - np.eye(blocks))  # [..., block, block]
    is_pair = weights > 0
    cosines = np.where(is_pair, products**2 / np.where(is_pair, weights, 1.0), 0.0)
    plain = cosines.sum((-2, -1)) / np.maximum(is_pair.sum((-2, -1)), 1)
    weighed = (weights * cosines).sum((-2, -1)) / np.where(is_pair.any((-2, -1)), weights.sum((-2, -1)), 1.0)
    return np.where(plain > 0, weighed / np.where(plain > 0, plain, 1.0), 1.0)
