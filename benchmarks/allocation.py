"""Rules for spending rollouts against the exact optimum, with known rates and with rates that probes estimate.

``python -m benchmarks.allocation``: seconds. Policies are softmax bandits over eight answers with random logits,
one of them right; the spread of difficulty is what the logits of the right answer are drawn from.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from gradvar.files.tables import write_csv
from gradvar.measure.advise.rules import (
    RULES,
    exact_numbers,
    mixed_chance,
    resampling,
    spend,
    until_both,
    with_probes,
)
from gradvar.measure.exact.tables import exact_tables
from gradvar.policies import Bandit
from gradvar.tasks import Bandit as Rewards

ANSWERS, PROMPTS, GROUP, PROBES, PROBLEMS = 8, 3, 16, 4, 10
SPREADS = {  # mean and standard deviation of the right answer's logit
    "rates alike (about 0.3)": (1.4, 0.3),
    "rates spread (0.02 to 0.98)": (2.0, 2.5),
    "rare (about 0.03)": (-1.5, 1.0),
}


def mean(values: Iterable[float]) -> float:
    """Of numbers of any kind, as a plain one."""
    return float(np.mean(list(values)))


def numbers_of(spread: tuple[float, float], seed: int) -> dict[str, np.ndarray]:
    """The exact numbers of the prompts of a random problem."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 0.5, (PROMPTS, ANSWERS))
    logits[:, 0] = rng.normal(*spread, PROMPTS)
    rewards = np.zeros((PROMPTS, ANSWERS))
    rewards[:, 0] = 1
    tables = exact_tables(Bandit(ANSWERS, PROMPTS), jnp.asarray(logits), Rewards(rewards.tolist()))
    return exact_numbers(tables)


def rows() -> list[dict[str, float | str]]:
    """A row for every spread and rule: means over problems."""
    made: list[dict[str, float | str]] = []
    for name, spread in SPREADS.items():
        problems = [numbers_of(spread, seed) for seed in range(PROBLEMS)]
        even = [spend(numbers, PROMPTS * GROUP) for numbers in problems]
        for rule in RULES:
            known = [s[rule].variance / s["even"].variance for s in even]
            row: dict[str, float | str] = {
                "rates": name, "rule": rule, "variance_over_even": mean(known),
                "variance_over_optimum": mean([s[rule].ratio for s in even]),
                "mixed": mean([s[rule].mixed for s in even]),
            }  # fmt: skip
            if rule != "optimal":
                row["with_probes_over_even"] = mean([with_probes(rule, n, GROUP, PROBES) for n in problems])
            made.append(row)
        cost = mean(resampling(numbers["p"], GROUP).cost for numbers in problems)
        drawn = mean([(until_both(p, 2, 32) * np.arange(33)).sum() for n in problems for p in n["p"]])
        mixed = mean([float(mixed_chance(n["p"], GROUP).mean()) for n in problems])
        made.append(
            {"rates": name, "rule": "resampling (DAPO)", "mixed": mixed, "groups_drawn_per_kept": cost}
        )
        made.append({"rates": name, "rule": "until 2 right and 2 wrong", "rollouts_drawn_per_prompt": drawn})
    return made


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/allocation.csv"))
    options = parser.parse_args()
    with jax.enable_x64(True):
        table = rows()
    columns = list(dict.fromkeys(name for row in table for name in row))
    rounded = [
        {c: round(float(row[c]), 4) if isinstance(row.get(c), float) else row.get(c) for c in columns}
        for row in table
    ]
    write_csv(options.out, rounded)
    for row in rounded:
        print(row)


if __name__ == "__main__":
    main()
