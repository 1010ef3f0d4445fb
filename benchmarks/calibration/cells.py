"""The grid of settings in which intervals are tried: what people measure, and what breaks standard errors.

From two base settings (a bank of 60 prompts, ``direct`` with 1,024 replicates) one or two factors are changed at a
time; random combinations by a fixed seed follow.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np

SUCCESS = ("0.01", "0.01 to 0.05", "0.3 to 0.7", "0.97", "U-shaped", "80 % dead")
REWARDS = ("binary", "graded", "rare 50", "normal", "t3")
PROMPTS = (8, 16, 60, 200)
ROLLOUTS = (8, 16, 64)
REPLICATES = (64, 256, 1024, 4096)
GROUPS = (2, 8, 32)
STALENESS = (0.0, 0.3, 1.5)  # standard deviation of a rollout's log-ratio: on policy, mild, violent
SNR = (1e-4, 1e-2, 0.1, 1.0)
RANDOM_CELLS = 28


@dataclass(frozen=True)
class Cell:
    """One setting.

    ``engine``: "bank" (``prompts`` with ``rollouts`` each) or "direct" (``replicates`` of one prompt). ``success``: the
    population of the prompts' success rates. ``long``: lengths from 1 to 3,000 tokens, else all alike. ``staleness``:
    standard deviation of log-ratios; ``clipped``: PPO's clip at 0.2. ``snr``: of one prompt's gradient, as near as can
    be. ``known``: grad J is.
    """

    engine: str
    success: str = "0.3 to 0.7"
    rewards: str = "binary"
    prompts: int = 60
    rollouts: int = 16
    replicates: int = 1024
    group_size: int = 2
    estimator: str = "rloo"
    long: bool = False
    staleness: float = 0.0
    clipped: bool = False
    snr: float = 0.1
    known: bool = True

    @property
    def size(self) -> str:
        """The amount of data in words."""
        if self.engine == "bank":
            return f"{self.prompts} x {self.rollouts}"
        return f"{self.replicates:,}"

    @property
    def ratios(self) -> str:
        """Staleness and clip in words."""
        name = {0.0: "on policy", 0.3: "mild", 1.5: "violent"}[self.staleness]
        return name + (", clipped" if self.clipped else "")


def grid() -> list[Cell]:
    """Every cell, in a fixed order, without repetitions."""
    cells = [c for base in (Cell("bank"), Cell("direct")) for c in _around(base)]
    rng = np.random.default_rng(17)
    cells += [_random(rng) for _ in range(RANDOM_CELLS)]
    return list(dict.fromkeys(cells))


def _around(base: Cell) -> list[Cell]:
    """The base, one factor changed, and the pairs of factors that are met together."""
    bank = base.engine == "bank"
    cells = [base]
    cells += [replace(base, success=s) for s in SUCCESS]
    cells += [replace(base, rewards=r) for r in REWARDS]
    cells += [replace(base, group_size=8), replace(base, group_size=8, estimator="grpo")]
    cells += [replace(base, group_size=32, rollouts=64), replace(base, snr=1e-4), replace(base, snr=1e-2)]
    cells += [replace(base, snr=1.0), replace(base, long=True), _unknown(base)]
    stale = [replace(base, staleness=s, clipped=c) for s in STALENESS[1:] for c in (False, True)]
    cells += [
        *stale,
        replace(base, success="0.97", group_size=8),
        replace(base, success="80 % dead", long=True),
    ]
    cells += [
        replace(base, success="0.01", group_size=8),
        replace(base, success="0.01 to 0.05", group_size=8),
    ]
    if bank:
        cells += [replace(base, prompts=q) for q in PROMPTS]
        cells += [replace(base, prompts=8, success=s) for s in SUCCESS[1:]]
        cells += [replace(base, prompts=8, long=True), replace(base, prompts=16, long=True)]
        cells += [replace(base, prompts=200, success=s) for s in ("0.01", "80 % dead")]
        cells += [replace(base, rollouts=n) for n in ROLLOUTS]
        cells += [
            replace(base, rollouts=64, success="0.01", group_size=8),
            replace(base, prompts=8, rewards="t3"),
        ]
        return cells
    cells += [replace(base, replicates=n) for n in REPLICATES]
    cells += [_unknown(replace(base, replicates=n)) for n in (64, 256)]
    cells += [replace(base, replicates=64, success=s) for s in ("0.01 to 0.05", "80 % dead", "U-shaped")]
    cells += [replace(base, replicates=4096, success="0.01"), replace(base, replicates=64, rewards="t3")]
    cells += [replace(base, replicates=256, staleness=1.5), _unknown(replace(base, replicates=256, snr=1e-2))]
    return cells


def _unknown(cell: Cell) -> Cell:
    """The cell with grad J unknown; of leave-one-out in ``direct`` the bias factor would be one by identity."""
    if cell.engine == "direct":
        cell = replace(cell, estimator="grpo", group_size=max(8, cell.group_size))
    return replace(cell, known=False)


def _random(rng: np.random.Generator) -> Cell:
    """A random combination, with groups that fit twice into the rollouts."""
    group = int(rng.choice(GROUPS, p=(0.5, 0.35, 0.15)))
    rollouts = int(rng.choice([n for n in ROLLOUTS if n >= 2 * group]))
    staleness = float(rng.choice(STALENESS, p=(0.5, 0.3, 0.2)))
    engine = str(rng.choice(("bank", "direct")))
    prompts, replicates = int(rng.choice(PROMPTS)), Cell.replicates
    if engine == "direct":
        prompts, rollouts, replicates = Cell.prompts, Cell.rollouts, int(rng.choice(REPLICATES[:3]))
    cell = Cell(
        engine, str(rng.choice(SUCCESS)), str(rng.choice(REWARDS)), prompts, rollouts, replicates, group_size=group,
        estimator=str(rng.choice(("rloo", "grpo"))), long=bool(rng.random() < 0.3), staleness=staleness,
        clipped=bool(staleness and rng.random() < 0.6), snr=float(rng.choice(SNR)),
    )  # fmt: skip
    return cell if staleness or rng.random() < 0.6 else _unknown(cell)


def as_row(cell: Cell) -> dict[str, str]:
    """A cell as text, for tables and as the key of its results."""
    return {name: str(value) for name, value in asdict(cell).items()}
