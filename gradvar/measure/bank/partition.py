"""The first step of evaluating: deal the rollouts of a recording into batches.

A *deal* cuts every prompt's N rollouts into n = N // G disjoint groups. All its batches are independent given the
prompts, so products of different batches are unbiased for products of expectations; averaging over several deals brings
the estimate near the complete U-statistic without touching its expectation.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True, eq=False)
class Partition:
    """How rollouts are dealt, several times, into batches of ``prompts`` prompts and ``group_size`` rollouts of each.

    ``orders`` [deal, Q, n G]: for each deal and prompt, rollout numbers, group after group. The first (Q // prompts) *
    prompts prompts are dealt. ``slices``: how many independent slices of rollouts there are; groups never straddle two
    of them (1: prompts are what is independent).
    """

    group_size: int
    prompts: int
    orders: Int[np.ndarray, "deal prompt place"]
    slices: int = 1

    @property
    def deals(self) -> int:
        """How often the rollouts are dealt."""
        return self.orders.shape[0]

    @property
    def dealt_prompts(self) -> int:
        """The number of prompts that are dealt."""
        return self.orders.shape[1]

    @property
    def batches(self) -> int:
        """Disjoint batches of the same prompts in one deal."""
        return self.orders.shape[2] // self.group_size

    @property
    def prompt_sets(self) -> int:
        """Disjoint sets of prompts."""
        return self.orders.shape[1] // self.prompts

    @property
    def replicates(self) -> int:
        """Batches in all deals."""
        return self.deals * self.batches * self.prompt_sets

    def groups(self, rollouts: int) -> Int[np.ndarray, "deal prompt rollout"]:
        """The group number of each rollout, -1 for those that are left over."""
        groups = np.full((*self.orders.shape[:2], rollouts), -1, np.int32)
        number = np.broadcast_to(np.arange(self.orders.shape[2]) // self.group_size, self.orders.shape)
        np.put_along_axis(groups, self.orders, number.astype(np.int32), axis=2)
        return groups

    def row_groups(
        self, rollouts: int, rollout_of_row: Int[np.ndarray, "prompt row"]
    ) -> Int[np.ndarray, "deal prompt row"]:
        """The group number of each basis row: that of its rollout."""
        groups = self.groups(rollouts)
        rows = rollout_of_row[: self.dealt_prompts]
        return np.take_along_axis(groups, np.broadcast_to(rows, (self.deals, *rows.shape)), 2)


def draw_partition(
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    group_size: int,
    prompts: int,
    replicates: int,
    slices: int = 1,
) -> Partition:
    """Draw as many random deals as give ``replicates`` batches.

    Args:
        rng: What the deals are drawn from.
        shape: Of the rollouts that are dealt, (Q, N, T).
        group_size: Rollouts of each prompt in a batch.
        prompts: Prompts in a batch.
        replicates: How many batches there are to be at least.
        slices: Independent slices of rollouts.

    Raises:
        ValueError: There are fewer than two groups per prompt, or fewer prompts than one batch has.
    """
    size, rollouts, _ = shape
    if prompts > size:
        raise ValueError(
            f"prompts: {prompts} in a batch, and the bank has {size}; record more, or take smaller batches"
        )
    per_slice = rollouts // slices // group_size
    if per_slice * slices < 2 or per_slice < 1:
        raise ValueError(
            f"group_sizes: {group_size} needs at least {2 * group_size} rollouts per prompt "
            f"and the bank has {rollouts}; record more rollouts, or take smaller groups"
        )
    sets = size // prompts
    deals = max(1, math.ceil(replicates / (sets * per_slice * slices)))
    width = rollouts // slices
    shuffled = np.broadcast_to(np.arange(width, dtype=np.int32), (deals, sets * prompts, slices, width))
    orders = rng.permuted(shuffled, axis=-1)[..., : per_slice * group_size]  # [deal, prompt, slice, place]
    orders = orders + (width * np.arange(slices, dtype=np.int32))[:, None]
    return Partition(group_size, prompts, orders.reshape(deals, sets * prompts, -1), slices)
