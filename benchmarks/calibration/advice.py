"""Is ``advise`` right? On ten policies whose variance is enumerated, with prompts that cost nothing and eight rollouts.

    python -m benchmarks.calibration.advice                  # goes on where it stopped
    python -m benchmarks.calibration.advice --repeats 50 --out quick

Each repeat records a bank of 60 prompts with 16 rollouts and asks for the best of nine group sizes. The truth is V(G)
of leave-one-out, summed over all pairs of completions of every prompt, which must agree with ``exact``. Counted: how
often the interval of G* holds it, how often the size that is named costs no more than the regret that is stated beside
it, and what it truly costs over the best one; and of V(G) itself, at the size where that is least, how often its
interval holds it. With rewards alone: that no size is named, how often the intervals of the shares of informative
groups hold them, and what always taking the largest size would cost.

Writes ``calibration_advice.csv`` to --out, and prints it.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

from benchmarks.calibration.engines import Problem, Scene  # noqa: E402
from benchmarks.calibration.rule import ADVICE, append, rows_of, rule_of  # noqa: E402
from gradvar import catalogue  # noqa: E402
from gradvar.core.protocols import FinitePolicy, FiniteTask  # noqa: E402
from gradvar.measure.advise.advice import Point  # noqa: E402
from gradvar.measure.advise.costs import GROUP_SIZES  # noqa: E402
from gradvar.measure.advise.from_rewards import RewardAdvice  # noqa: E402
from gradvar.measure.advise.group_size import advise  # noqa: E402
from gradvar.measure.advise.optimum import optimal_size  # noqa: E402
from gradvar.measure.bank.record import record  # noqa: E402
from gradvar.measure.bank.summary import Budget  # noqa: E402
from gradvar.measure.exact.enumerate import exact  # noqa: E402
from gradvar.measure.exact.tables import ExactTables, exact_tables  # noqa: E402
from gradvar.studies.problems import finite_problem  # noqa: E402

PROMPTS, ROLLOUTS = 60, 16
COSTS = (0.0, 8.0)  # of a prompt, in rollouts
INFORMATIVE = (2, 8)  # group sizes whose share of informative groups is asked of rewards alone
SCENES = {
    "p 0.3 to 0.7": Scene("bank", PROMPTS, "0.3 to 0.7"), "p U-shaped": Scene("bank", PROMPTS, "U-shaped"),
    "p 80 % dead": Scene("bank", PROMPTS, "80 % dead"), "p 0.01 to 0.05": Scene("bank", PROMPTS, "0.01 to 0.05"),
    "p 0.97": Scene("bank", PROMPTS, "0.97"), "p 0.3 to 0.7, graded": Scene("bank", PROMPTS, "0.3 to 0.7", "graded"),
    "p U-shaped, graded": Scene("bank", PROMPTS, "U-shaped", "graded"),
    "p 0.3 to 0.7, rare 50": Scene("bank", PROMPTS, "0.3 to 0.7", "rare 50"),
}  # fmt: skip
SEQUENCES = {
    "sequences, binary": "binary",
    "sequences, normal": "graded",
}  # of up to three tokens, six prompts


@dataclass(frozen=True, eq=False)
class Subject:
    """A policy on a task, and the variance of leave-one-out there."""

    policy: FinitePolicy
    params: object
    task: FiniteTask
    budget: Budget
    informative: dict[int, float]

    def costs(self, fixed: float) -> dict[int, float]:
        """What equal variance costs by group size, where a prompt costs ``fixed`` rollouts."""
        return {g: float(self.budget.variance(g)) * (fixed + g) for g in GROUP_SIZES}


def subject(name: str) -> Subject:
    """The policy of this name; raises ``AssertionError`` where V(2) differs from what ``exact`` enumerates."""
    policy: FinitePolicy
    task: FiniteTask
    params: Any
    if name in SCENES:
        problem = Problem(SCENES[name])
        policy, task, params = problem.policy, problem.task, problem.params
    else:
        policy, task, params = finite_problem("tabular", SEQUENCES[name], 0)
    tables = exact_tables(policy, params, task)
    budget = exact_budget(tables)
    enumerated = float(exact(catalogue.get("rloo"), tables=tables, group_size=2).trace_cov)
    assert abs(float(budget.variance(2)) / enumerated - 1) < 1e-9, name
    chances, rewards = np.asarray(tables.probs), np.asarray(tables.rewards)
    alike = [
        [float(p[r == value].sum()) for value in np.unique(r)] for p, r in zip(chances, rewards, strict=True)
    ]
    informative = {g: float(np.mean([1 - sum(x**g for x in row) for row in alike])) for g in INFORMATIVE}
    return Subject(policy, params, task, budget, informative)


def exact_budget(tables: ExactTables) -> Budget:
    """sigma_b^2, sigma_o^2 and Delta from all pairs of completions: the last two are 4 zeta1 and 2 zeta2 - 4 zeta1."""
    chances, rewards = np.asarray(tables.probs), np.asarray(tables.rewards)
    scores, slopes = (
        np.asarray(tables.scores).sum(2),
        np.asarray(tables.gradients),
    )  # [prompt, completion, param]
    mean = slopes.mean(0)
    signal, single, double = (slopes**2).sum(1), [], []
    for p, r, s, slope in zip(chances, rewards, scores, signal, strict=True):
        gram = s @ s.T
        norms = np.diag(gram)
        single.append(p @ ((r - p @ r) ** 2 * norms) - slope)  # 4 zeta1
        apart = norms[:, None] + norms - 2 * gram
        double.append(p @ ((r[:, None] - r) ** 2 * apart) @ p / 4 - slope)  # zeta2
    rollout = float(np.mean(single))
    shared = float(mean @ mean)
    return Budget(float(signal.mean()) - shared, rollout, 2 * float(np.mean(double)) - rollout, shared)


def measure(name: str, repeats: int) -> list[dict[str, str]]:
    """Rows of one policy, one for each cost of a prompt."""
    on = subject(name)
    held: dict[float, list[list[float]]] = {cost: [] for cost in COSTS}
    logged, variances = [], []
    for number in range(repeats):
        first, second = jax.random.split(jax.random.fold_in(jax.random.key(29), number))
        bank = record(on.policy, on.params, on.task, second, on.task.prompts(first, PROMPTS), ROLLOUTS)
        summary = bank.summary()
        for cost in COSTS:
            advice = advise(summary, cost_per_prompt=cost)
            held[cost].append(_outcome(on, cost, advice))
        variances.append([(p.variance.known, _variance_held(on, p)) for p in advice.curve])
        rewards = advise(np.asarray(summary.rewards), group_sizes=INFORMATIVE)
        assert isinstance(rewards, RewardAdvice)
        logged.append([rewards.best is None, *_shares_held(on, rewards)])
    of_rewards = np.array(logged, float)
    variance_given, variance_held = np.moveaxis(np.array(variances), -1, 0)  # [bank, size] each
    by_size = [_of(of, given) for of, given in zip(variance_held.T, variance_given.T, strict=True)]
    rows = []
    for cost in COSTS:
        known, optimum_given, optimum_held, regret_given, regret_held, lost = np.array(held[cost]).T
        true = on.costs(cost)
        lost = lost[known > 0] if known.any() else np.array([np.nan])
        columns = {
            "G*": float(optimal_size(on.budget, cost)), "best": float(min(true, key=lambda g: true[g])),
            "named": known.mean(), "optimum covered": _of(optimum_held, optimum_given),
            "optimum given": optimum_given.mean(),
            "regret covered": _of(regret_held, regret_given), "regret given": regret_given.mean(),
            "lost": lost.mean(), "lost most": lost.max(),
            "variance covered": np.nanmin(by_size), "variance given": variance_given.mean(0)[np.nanargmin(by_size)],
            "largest": true[max(GROUP_SIZES)] / min(true.values()), "none named": of_rewards[:, 0].mean(),
            "informative covered": of_rewards[:, 1:].mean(),
        }  # fmt: skip
        numbers = {key: f"{value:.4g}" for key, value in columns.items()}
        rows.append({"policy": name, "cost": f"{cost:g}", "repeats": str(repeats), **numbers})
    return rows


def _outcome(on: Subject, cost: float, advice) -> list[float]:
    """Whether a size is named; whether G* and the regret are given, and hold; what the size costs over the best."""
    true, best = on.costs(cost), float(optimal_size(on.budget, cost))
    figure = advice.optimum
    lost = true[advice.best] / min(true.values()) if advice.best else np.nan
    is_stated = advice.best is not None and np.isfinite(advice.regret)
    return [
        advice.best is not None, figure.known, figure.low <= best <= figure.high,
        is_stated, is_stated and lost <= advice.regret * (1 + 1e-9), lost,
    ]  # fmt: skip


def _variance_held(on: Subject, point: Point) -> bool:
    true = float(on.budget.variance(point.group_size))
    return point.variance.low <= true <= point.variance.high


def _shares_held(on: Subject, advice: RewardAdvice) -> list[bool]:
    by_size = {point.group_size: point.informative for point in advice.curve}
    return [by_size[g].low <= on.informative[g] <= by_size[g].high for g in INFORMATIVE]


def _of(held: np.ndarray, given: np.ndarray) -> float:
    return float(held[given > 0].mean()) if given.any() else np.nan


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / "results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "calibration_advice.csv"
    rule = rule_of(ADVICE)
    known = rows_of(path, rule)
    done = {row["policy"] for row in known if row["repeats"] == str(options.repeats)}
    for name in (*SCENES, *SEQUENCES):
        if name in done:
            continue
        started = time.process_time()
        rows = [row | {"rule": rule} for row in measure(name, options.repeats)]
        append(path, rows)
        known += rows
        print(f"{name}: {time.process_time() - started:.1f} s of CPU", flush=True)
    for row in known:
        print("  ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
