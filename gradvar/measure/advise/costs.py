"""``Costs``: of a prompt, a rollout and its update, in any one unit (seconds, say); what is compared at them."""

from collections.abc import Sequence
from dataclasses import dataclass

from gradvar.core.checks import finite, nonnegative, positive

GROUP_SIZES = (2, 3, 4, 6, 8, 12, 16, 24, 32)


@dataclass(frozen=True)
class Costs:
    """``per_prompt``: prefill; ``per_rollout``: generation; ``per_update``: the backward pass of a rollout."""

    per_prompt: float = 0.0
    per_rollout: float = 1.0
    per_update: float = 0.0

    def __post_init__(self) -> None:
        for name in ("per_prompt", "per_update"):
            nonnegative(f"cost_{name}", finite(f"cost_{name}", getattr(self, name)))
        positive("cost_per_rollout", finite("cost_per_rollout", self.per_rollout))

    @property
    def updated_rollout(self) -> float:
        """A rollout and its update."""
        return self.per_rollout + self.per_update

    def group(self, group_size: int) -> float:
        """A prompt with its rollouts and their updates.

        >>> Costs(per_prompt=2.0, per_rollout=1.0, per_update=0.5).group(4)
        8.0
        """
        return self.per_prompt + self.updated_rollout * group_size


def check_group_sizes(group_sizes: Sequence[int]) -> list[int]:
    """Return different sizes in ascending order; ``ValueError`` unless all are 2 or more."""
    sizes = sorted({int(g) for g in group_sizes})
    if not sizes or sizes[0] < 2:
        raise ValueError(f"group_sizes: {tuple(group_sizes)}; give sizes of 2 or more")
    return sizes


def level_of_pairs(level: float, count: int) -> float:
    """The level of one interval at which those of all pairs of ``count`` things hold together (Bonferroni).

    >>> level_of_pairs(0.95, 2), round(level_of_pairs(0.95, 5), 6)
    (0.95, 0.995)
    """
    return 1 - (1 - level) / max(1, count * (count - 1) // 2)
