"""Cells of groups that are written down, without a file."""

import numpy as np

from gradvar.audit.reward_counts import Cells
from gradvar.audit.schemes import Rewards


def cells_of(groups, grouped=False):
    """Cells of ``groups``: (step, group, prompt of each rollout, reward of each, tokens of each or None)."""
    rows = []
    for step, group, named, rewards, lengths in groups:
        every = list(zip(named, rewards, lengths or [np.nan] * len(rewards), strict=True))
        for prompt, reward in sorted({(p, r) for p, r, _ in every}, key=lambda pair: (pair[1], pair[0])):
            own = [x for p, r, x in every if (p, r) == (prompt, reward)]
            known = [x for x in own if not np.isnan(x)]
            rows.append((step, group, prompt, reward, len(own), sum(known), len(known)))
    rows.sort(key=lambda row: (row[0], row[1], row[3], row[2]))
    step, group, prompt, reward, n, length, length_n = map(np.array, zip(*rows, strict=True))
    none, nan = np.zeros(len(rows), int), np.full(len(rows), np.nan)
    logp = -2.0 * n
    return Cells(step, group, prompt, reward.astype(float), n, none * 1.0, none, length.astype(float), length_n, logp,
                 n, nan, nan, grouped)  # fmt: skip


def rewards_of(cells):
    return Rewards(cells.reward, cells.n, cells.groups.start, cells.groups.of_cell)


def drawn(seed, levels=(0.0, 1.0), count=12, sizes=(4,), prompts_=6, steps_=2):
    rng = np.random.default_rng(seed)
    found = []
    for g in range(count):
        size = int(rng.choice(sizes))
        rate = rng.choice([0.0, 0.3, 0.8, 1.0])
        rewards = np.where(rng.random(size) < rate, rng.choice(levels[1:], size), levels[0]).tolist()
        found.append(
            (g * steps_ // count, g, [g % prompts_] * size, rewards, rng.integers(1, 9, size).tolist())
        )
    return found
