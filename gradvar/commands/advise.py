"""``gradvar advise``: the best group size for recorded prompts, or what logged rewards alone can say."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Advise:
    """Which group size buys the most signal at your costs.

    From a saved score bank the answer has intervals. From logged rewards alone it says what they determine:
    how many groups have a signal, and the leave-one-out variance for scores of equal size and small signal.
    """

    bank: Path | None = None
    """Folder of a saved score bank."""
    rewards: Path | None = None
    """Or logged rewards: a .npy, .csv or .json file, one row per prompt, one number per rollout."""
    cost_per_prompt: float = 0.0
    """Cost of a prompt (prefill), in any unit."""
    cost_per_rollout: float = 1.0
    """Cost of a rollout (generation), in the same unit."""
    cost_per_update: float = 0.0
    """Cost of a rollout's update (backward pass), in the same unit."""
    group_sizes: tuple[int, ...] = (2, 3, 4, 6, 8, 12, 16, 24, 32)
    """Group sizes to compare."""
    json: Path | None = None
    """Write the advice to this file too."""
    seed: int = 0
    """Accepted like everywhere; advice has nothing random."""


def run(config: Advise) -> int:
    """Print the advice; the exit code."""
    if (config.bank is None) == (config.rewards is None):
        raise ValueError(
            "bank: give a saved score bank with --bank, or logged rewards with --rewards, one of them"
        )
    if config.bank is not None:
        from gradvar.measure.advise import advise
        from gradvar.measure.bank import ScoreBank

        found = advise(
            ScoreBank.open(config.bank),
            config.cost_per_prompt,
            config.cost_per_rollout,
            cost_per_update=config.cost_per_update,
            group_sizes=config.group_sizes,
        )
        print("    G   cost of equal variance   informative groups")
        for point in found.curve:
            mark = "*" if point.group_size == found.best else " "
            share = f"{100 * point.informative:.0f} %" if point.informative == point.informative else "-"
            print(
                f"{mark}{point.group_size:>4}   {point.cost.value:6.2f} "
                f"[{point.cost.low:.2f}, {point.cost.high:.2f}]    {share:>8}"
            )
        print(found)
        content: dict[str, Any] = found.as_json()
    else:
        from gradvar.measure.advise_rewards import advise_rewards

        assert config.rewards is not None
        logged = advise_rewards(
            _read_rewards(config.rewards),
            config.cost_per_prompt,
            config.cost_per_rollout,
            cost_per_update=config.cost_per_update,
            group_sizes=config.group_sizes,
        )
        print(logged)
        content = logged.as_json()
    if config.json is not None:
        config.json.parent.mkdir(parents=True, exist_ok=True)
        config.json.write_text(json.dumps(content, indent=1, default=float) + "\n")
    return 0


def _read_rewards(path: Path) -> np.ndarray:
    """Rewards [prompt, rollout] from a file."""
    import numpy as np

    readers = {
        ".npy": lambda: np.load(path, allow_pickle=False),
        ".csv": lambda: np.loadtxt(path, delimiter=",", ndmin=2),
        ".json": lambda: np.asarray(json.loads(path.read_text()), float),
    }
    if path.suffix not in readers:
        raise ValueError(f"rewards: {path}; give a .npy, .csv or .json file")
    if not path.is_file():
        raise ValueError(f"rewards: no file {path}")
    try:
        return np.asarray(readers[path.suffix](), float)
    except (ValueError, OSError) as error:
        line = str(error).splitlines()[0]
        raise ValueError(
            f"rewards: {path} cannot be read ({line}); one row per prompt, one number per rollout"
        ) from None
