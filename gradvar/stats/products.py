"""Inner products of blocks' sums, as far as figures need them: two numbers a block, not one for each pair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gradvar.stats.meetings import directions_met

_COMPARED = 512  # blocks, up to which all pairs of directions are compared


@dataclass(frozen=True, eq=False)
class BlockProducts:
    """Products <S_i, R_j> of the sums of B blocks; the leading axes are independent experiments.

    ``diagonal``: <S_i, R_i>. ``others``: the sum over j != i of (<S_i, R_j> + <S_j, R_i>) / 2. ``directions``: of S,
    ``stats.meetings.directions_met``; one, which asks nothing, for blocks that are too many to compare them all.

    >>> products = BlockProducts.of(np.array([[1.0, 2.0, 3.0], [2.0, 5.0, 4.0], [3.0, 4.0, 9.0]]))
    >>> products.diagonal.tolist(), products.others.tolist()
    ([1.0, 5.0, 9.0], [5.0, 6.0, 7.0])
    """

    diagonal: Float[np.ndarray, "*experiment block"]
    others: Float[np.ndarray, "*experiment block"]
    directions: Float[np.ndarray, "*experiment"] | float = 1.0

    @classmethod
    def of(
        cls, matrix: Float[np.ndarray, "*experiment block block"], *, compared: bool = False
    ) -> BlockProducts:
        """The same numbers from all products [..., B, B]; ``compared``: with ``directions``."""
        diagonal = np.diagonal(matrix, axis1=-2, axis2=-1)
        others = (matrix.sum(-1) + matrix.sum(-2)) / 2 - diagonal
        is_compared = compared and matrix.shape[-1] <= _COMPARED
        return cls(diagonal, others, directions_met(matrix) if is_compared else 1.0)

    @classmethod
    def of_vectors(
        cls,
        first: Float[np.ndarray, "*experiment block image"],
        second: Float[np.ndarray, "*experiment block image"],
    ) -> BlockProducts:
        """The same numbers from the sums themselves.

        >>> sums = np.array([[1.0, 0.0], [1.0, 2.0], [0.0, 3.0]])
        >>> BlockProducts.of_vectors(sums, sums).others.tolist() == BlockProducts.of(sums @ sums.T).others.tolist()
        True
        """
        diagonal = np.einsum("...bk,...bk->...b", first, second)
        along = np.einsum("...bk,...k->...b", first, second.sum(-2))
        along = along + np.einsum("...bk,...k->...b", second, first.sum(-2))
        directions: np.ndarray | float = 1.0
        if first.shape[-2] <= _COMPARED:
            directions = directions_met(first @ np.swapaxes(first, -1, -2))
        return cls(diagonal, along / 2 - diagonal, directions)

    @classmethod
    def stacked(cls, parts: list[BlockProducts]) -> BlockProducts:
        """Experiments along a new first axis."""
        columns = ([getattr(x, name) for x in parts] for name in ("diagonal", "others", "directions"))
        return cls(*map(np.stack, columns))

    def norms(self) -> Float[np.ndarray, "*experiment block"]:
        """||S_i||, where the two sums are the same."""
        return np.sqrt(np.maximum(self.diagonal, 0.0))

    def across(
        self, count: Float[np.ndarray, " block"], *, leave_out: bool
    ) -> Float[np.ndarray, "*experiment part"]:
        """The mean product of replicates of different blocks, of all blocks or with each left out.

        Args:
            count: Replicates of each block.
            leave_out: True for B values, each without one block; False for one, of all.
        """
        products, replicates, squares = self.others.sum(-1, keepdims=True), count.sum(), (count**2).sum()
        if leave_out:
            products, replicates, squares = products - 2 * self.others, replicates - count, squares - count**2
        return products / (replicates**2 - squares)
