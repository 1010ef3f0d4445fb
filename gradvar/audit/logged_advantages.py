"""Which advantages the trainer wrote: those in the dump against those recomputed from the rewards beside them."""

from dataclasses import dataclass

import numpy as np

from gradvar.audit.reward_counts import Cells
from gradvar.audit.schemes import Rewards, group_mean, leave_one_out, raw, standardised

CLOSE = 0.01  # of the advantage; population and sample std differ by more up to groups of 50
ENOUGH = 0.9  # of the rollouts that a formula must explain to be the trainer's
NOISE = 1e-3  # an advantage of an equal group beyond this is no rounding of zero


@dataclass(frozen=True)
class Fit:
    """How one formula fits the advantages in the dump, over rollouts of groups with different rewards: ``explained`` is
    the share within 1 % of it, ``error`` the root mean square difference over that of the dump's, ``factor`` the
    dump's over the formula's by least squares, ``correlation`` uncentred."""

    formula: str
    explained: float
    error: float
    factor: float
    correlation: float


@dataclass(frozen=True)
class Written:
    """The advantages that the trainer wrote. ``fits`` has the best formula first; ``formula`` is its name if it
    explains 90 % of the rollouts; ``others`` are the rollouts that it does not explain (all of a group's rollouts with
    one reward count if one of them is off). ``in_equal``: rollouts of equal groups with an advantage that is not zero,
    and ``largest_in_equal`` the largest one. ``torn``: cells in which equal rewards of a group got different
    advantages."""

    rollouts: int
    formula: str | None
    others: int
    fits: tuple[Fit, ...]
    in_equal: int
    largest_in_equal: float
    torn: int

    @property
    def estimator(self) -> str | None:
        """The estimator of the catalogue with these advantages."""
        return ESTIMATORS.get(self.formula or "")


ESTIMATORS = {
    "population std": "grpo",
    "sample std": "grpo_sample_std",
    "sample std + 1e-4": "grpo_sample_std",
    "no std (group mean)": "dr_grpo",
    "leave-one-out": "rloo",
    "the reward itself": "reinforce",
}


def written(cells: Cells, rewards: Rewards) -> Written | None:
    """The comparison; None where the dump has no advantages."""
    known = cells.advantage_n > 0
    if not known.any():
        return None
    equal = cells.groups.equal[cells.groups.of_cell]
    size = np.maximum(np.abs(cells.low), np.abs(cells.high))
    # Equal rewards may differ by the rounding of half precision.
    torn = known & (cells.high - cells.low > CLOSE * np.maximum(size, NOISE))
    noisy = known & equal & (size > NOISE)
    compared = known & ~equal
    fits = [_fit(name, value, cells, compared) for name, value in _formulas(cells, rewards).items()]
    if not compared.any():
        fits = []
    fits.sort(key=lambda f: (-round(f.explained, 3), f.error))
    best = fits[0].formula if fits and fits[0].explained >= ENOUGH else None
    rollouts = int(cells.advantage_n[compared].sum())
    others = round((1 - fits[0].explained) * rollouts) if best else 0
    return Written(
        rollouts,
        best,
        others,
        tuple(fits),
        int(cells.advantage_n[noisy].sum()),
        float(size[noisy].max(initial=0.0)),
        int(torn.sum()),
    )


def _fit(name: str, value: np.ndarray, cells: Cells, which: np.ndarray) -> Fit:
    n = cells.advantage_n[which]
    value, low, high = value[which], cells.low[which], cells.high[which]
    logged = cells.advantage[which] / np.maximum(n, 1)
    off = np.maximum(np.abs(low - value), np.abs(high - value))
    scale = np.sqrt(np.average(logged**2, weights=n)) if len(n) else 0.0
    close = off <= CLOSE * np.maximum(np.abs(value), 0.01 * scale)
    product, square, logged_square = (n * logged * value).sum(), (n * value**2).sum(), (n * logged**2).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        return Fit(
            name,
            float(np.average(close, weights=n)) if len(n) else 0.0,
            float(np.sqrt(np.average((logged - value) ** 2, weights=n)) / scale) if scale > 0 else np.inf,
            float(product / square) if square > 0 else np.nan,
            float(product / np.sqrt(square * logged_square)) if square > 0 and logged_square > 0 else np.nan,
        )


def _by_step(cells: Cells, rewards: Rewards, *, centre: bool) -> np.ndarray:
    """Divided by the sample standard deviation of all rewards of the step: TRL's ``scale_rewards="batch"`` (less the
    group's mean), or REINFORCE++'s (less the step's)."""
    step = np.unique(cells.step, return_inverse=True)[1]
    count = np.bincount(step, cells.n)
    mean = np.bincount(step, cells.n * cells.reward) / count
    apart = cells.reward - mean[step]
    std = np.sqrt(np.bincount(step, cells.n * apart**2) / np.maximum(count - 1, 1))[step]
    return (rewards.centred if centre else apart) / np.where(std > 0, std, 1.0)


def _formulas(cells: Cells, rewards: Rewards) -> dict[str, np.ndarray]:
    """The advantages by every formula that a trainer may have used: [cell]."""
    return {
        "population std": standardised(rewards),
        "sample std": standardised(rewards, ddof=1),
        "sample std + 1e-4": standardised(rewards, ddof=1, eps=1e-4),
        "no std (group mean)": group_mean(rewards),
        "leave-one-out": leave_one_out(rewards),
        "the step's std, group mean": _by_step(cells, rewards, centre=True),
        "the step's std and mean": _by_step(cells, rewards, centre=False),
        "the reward itself": raw(rewards),
    }
