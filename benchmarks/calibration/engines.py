"""The same intervals end to end: ``direct``, a bank's ``evaluate`` and ``advise``, beside NumPy twins of them.

    python -m benchmarks.calibration.engines                  # goes on where it stopped
    python -m benchmarks.calibration.engines --repeats 50 --out quick

A tenth of the grid, on bandits whose truth is enumerated: prompts with the grid's success rates, binary, graded or rare
rewards, on policy or stale. The twin draws answers with NumPy, makes gradients by the formula of the softmax, and hands
their block sums to the same intervals, so that a difference in coverage beyond chance is a mistake in an engine.

Writes ``calibration_engines.csv`` to --out, and prints it; exits with 1 where an engine and its twin differ by more
than three standard errors in coverage or in how often there is an interval.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

from benchmarks.calibration.population import advantages, success_nodes  # noqa: E402
from benchmarks.calibration.rule import ADVICE, append, rows_of, rule_of  # noqa: E402
from gradvar import catalogue  # noqa: E402
from gradvar.measure.advise.group_size import advise  # noqa: E402
from gradvar.measure.advise.optimum import optimal_size  # noqa: E402
from gradvar.measure.advise.rules import exact_numbers  # noqa: E402
from gradvar.measure.bank.record import record  # noqa: E402
from gradvar.measure.bank.summary import Budget  # noqa: E402
from gradvar.measure.direct import direct  # noqa: E402
from gradvar.measure.direct_sums import BLOCKS  # noqa: E402
from gradvar.measure.exact.enumerate import exact  # noqa: E402
from gradvar.measure.exact.tables import ExactTables, exact_tables  # noqa: E402
from gradvar.policies import Bandit  # noqa: E402
from gradvar.stats.effective import FEWEST  # noqa: E402
from gradvar.stats.figures import BlockSums, effective_blocks, figures, leave_one_out, pivots  # noqa: E402
from gradvar.tasks import Bandit as Rewards  # noqa: E402

FIGURES = ("trace_cov", "within", "between", "signal", "snr", "bias_factor")
_PROMPTS, _ANSWERS = 32, 4  # of the task, from which prompts are drawn
_SIZES = (2, 3, 4, 6, 8, 12, 16, 24, 32)
_HELD = ("covered", "given", "twin covered", "twin given")


@dataclass(frozen=True)
class Scene:
    """A cell: ``amount`` is replicates of ``direct``, or prompts of a bank with ``rollouts`` each.

    ``success`` and ``rewards``: as in ``cells.Cell``. ``staleness``: standard deviation of what was added to the
    sampler's logits; ratios are clipped at 0.2 there, by ``grpo``.
    """

    engine: str
    amount: int
    success: str
    rewards: str = "binary"
    group: int = 2
    estimator: str = "rloo"
    staleness: float = 0.0
    rollouts: int = 16

    @property
    def name(self) -> str:
        """The cell in words."""
        amount = f"{self.amount} x {self.rollouts}" if self.engine == "bank" else f"{self.amount:,}"
        stale = f", stale by {self.staleness:g}" if self.staleness else ""
        return f"{self.engine} {amount}, p {self.success}, {self.rewards}, {self.estimator} G={self.group}{stale}"


SCENES = (
    Scene("direct", 256, "0.3 to 0.7"), Scene("direct", 64, "U-shaped"), Scene("direct", 1024, "0.01 to 0.05"),
    Scene("direct", 256, "0.97", group=8), Scene("direct", 256, "80 % dead", "graded", 8, "grpo"),
    Scene("direct", 1024, "0.3 to 0.7", "rare 50"), Scene("direct", 256, "0.3 to 0.7", "graded", 8, "grpo", 0.5),
    Scene("bank", 60, "0.3 to 0.7"), Scene("bank", 60, "U-shaped", group=8), Scene("bank", 60, "80 % dead"),
    Scene("bank", 16, "0.3 to 0.7", "graded", 2), Scene("bank", 60, "0.01 to 0.05"), Scene("bank", 60, "0.97", group=8),
    Scene("bank", 60, "0.01"), Scene("bank", 60, "0.3 to 0.7", "rare 50"),
)  # fmt: skip


class Problem:
    """Policy, parameters, task and exact figures of a scene."""

    def __init__(self, scene: Scene) -> None:
        p = _rates(scene.success)
        others = np.repeat((1 - p)[:, None] / (_ANSWERS - 1), _ANSWERS - 1, 1)
        chances, rewards = np.c_[p, others], np.tile([1.0, 0.0, 0.0, 0.0], (_PROMPTS, 1))
        if scene.rewards == "rare 50":  # one success in fifty is worth 50
            chances = np.c_[0.98 * p, 0.02 * p, (1 - p) / 2, (1 - p) / 2]
            rewards = np.tile([1.0, 50.0, 0.0, 0.0], (_PROMPTS, 1))
        if scene.rewards == "graded":
            rewards = np.tile([1.0, 0.25, 0.5, 0.0], (_PROMPTS, 1)) * (p > 0)[:, None]
        logits = np.log(np.maximum(chances, 1e-9))
        noise = np.random.default_rng(3).standard_normal(logits.shape)
        self.policy, self.task = Bandit(_ANSWERS, _PROMPTS), Rewards(rewards)
        self.params, self.rewards = logits - logits.mean(1, keepdims=True), rewards
        self.old = self.params + scene.staleness * noise
        self.estimator = catalogue.get(scene.estimator)
        old = self.old if scene.staleness else None
        self.tables: ExactTables = exact_tables(self.policy, self.params, self.task, old)
        self.exact = exact(self.estimator, tables=self.tables, group_size=scene.group)

    def optimum(self) -> tuple[Budget, float]:
        """The exact budget of leave-one-out, and the size at which a free prompt costs least."""
        numbers, slopes = exact_numbers(self.tables), np.asarray(self.tables.gradients)
        mean = np.asarray(self.exact.true_gradient)
        between = float((slopes**2).sum(-1).mean() - mean @ mean)
        budget = Budget(
            between, float(numbers["rollout"].mean()), float(numbers["pair"].mean()), float(mean @ mean)
        )
        return budget, float(optimal_size(budget, 0.0))


def _rates(success: str) -> np.ndarray:
    """Success rates of the task's prompts, at even quantiles of the population."""
    nodes, weights = success_nodes(success)
    order = np.argsort(nodes)
    below = np.cumsum(weights[order])
    return nodes[order][np.searchsorted(below, (np.arange(_PROMPTS) + 0.5) / _PROMPTS)]


class Twin:
    """Answers and gradients of a bandit in NumPy, and the block sums that the engines make of them."""

    def __init__(self, scene: Scene, problem: Problem) -> None:
        self.scene, self.rewards = scene, problem.rewards
        self.policy, self.sampler = _softmax(problem.params), _softmax(problem.old)
        self.truth = np.asarray(problem.exact.true_gradient).reshape(_PROMPTS, _ANSWERS)

    def gradients(self, prompt: np.ndarray, answer: np.ndarray) -> np.ndarray:
        """The row of each group's gradient [..., answer] that is not zero: that of its prompt."""
        advantage = advantages(self.scene.estimator, self.rewards[prompt[..., None], answer])
        ratio = self.policy[prompt[..., None], answer] / self.sampler[prompt[..., None], answer]
        if self.scene.staleness:
            clipped = (advantage > 0) & (ratio > 1.2) | (advantage < 0) & (ratio < 0.8)
            ratio = np.where(clipped, 0.0, ratio)
        weights = advantage * ratio
        scores = np.eye(_ANSWERS)[answer] - self.policy[prompt][..., None, :]
        return (weights[..., None] * scores).sum(-2)

    def draw(self, rng: np.random.Generator, prompt: np.ndarray, count: int) -> np.ndarray:
        """``count`` answers to every prompt."""
        below = np.cumsum(self.sampler, 1)[prompt][..., None, :]
        uniform = rng.random((*prompt.shape, count, 1))
        return np.minimum((uniform > below).sum(-1), _ANSWERS - 1)

    def sums(self, rng: np.random.Generator) -> BlockSums:
        """The block sums of one measurement."""
        return self._direct(rng) if self.scene.engine == "direct" else self._bank(rng)

    def _direct(self, rng: np.random.Generator) -> BlockSums:
        number, size = self.scene.amount // 2, self.scene.group
        prompt = rng.integers(_PROMPTS, size=number)
        answers = self.draw(rng, prompt, 2 * size).reshape(number, 2, size)
        rows = self.gradients(np.repeat(prompt[:, None], 2, 1), answers)  # [pair, 2, answer]
        blocks = min(BLOCKS, number)
        starts = -(-np.arange(blocks) * number // blocks)
        whole = np.zeros((number, _PROMPTS, _ANSWERS))
        whole[np.arange(number), prompt] = rows.sum(1)
        total = np.add.reduceat(whole.reshape(number, -1), starts)
        each = (rows**2).sum(2)  # [pair, 2]
        of_pairs = each.sum(1), (rows[:, 0] * rows[:, 1]).sum(-1), each[:, 0] * each[:, 1]
        count = np.diff(np.append(starts, number)) * 2.0
        return self._block_sums(count, total, *(np.add.reduceat(x, starts) for x in of_pairs))

    def _bank(self, rng: np.random.Generator) -> BlockSums:
        number, size, rollouts = self.scene.amount, self.scene.group, self.scene.rollouts
        prompt, batches = rng.integers(_PROMPTS, size=number), rollouts // size
        answers, deals = self.draw(rng, prompt, rollouts), max(1, -(-512 // (number * batches)))
        order = np.argsort(rng.random((deals, number, rollouts)), -1)[..., : batches * size]
        dealt = np.take_along_axis(answers[None], order, -1).reshape(deals, number, batches, size)
        rows = self.gradients(np.broadcast_to(prompt[None, :, None], dealt.shape[:3]), dealt)
        each, together = (rows**2).sum(3), rows.sum(2)  # [deal, prompt, ...]
        norms, share = each.sum(2), batches * (batches - 1)
        shared = ((together**2).sum(-1) - norms).mean(0) / share
        joint = (norms**2 - (each**2).sum(2)).mean(0) / share
        total, count = np.zeros((number, _PROMPTS, _ANSWERS)), np.full(number, float(deals * batches))
        total[np.arange(number), prompt] = together.sum(0)
        summed = total.reshape(number, -1)
        return self._block_sums(count, summed, norms.sum(0), shared * count / 2, joint * count / 2)

    def _block_sums(self, count: np.ndarray, total: np.ndarray, *of_pairs: np.ndarray) -> BlockSums:
        truth, (squares, pairs, joint) = self.truth.ravel(), of_pairs
        return BlockSums(
            count,
            total @ total.T,
            squares,
            pairs,
            total @ truth,
            np.asarray(truth @ truth),
            True,
            joint=joint,
        )


def _softmax(logits: np.ndarray) -> np.ndarray:
    chances = np.exp(logits - logits.max(1, keepdims=True))
    return chances / chances.sum(1, keepdims=True)


def of_twin(
    twin: Twin, rng: np.random.Generator, exact_values: dict[str, float]
) -> dict[str, tuple[bool, bool]]:
    """By figure: whether there is an interval, and whether it holds the exact figure."""
    sums = twin.sums(rng)
    with np.errstate(all="ignore"):  # figures without a signal are NaN
        values, errors = figures(sums)
        effective = effective_blocks(sums)
        shapes = pivots(values, leave_one_out(sums), effective)
        held = {}
        for name in FIGURES:
            low, high = shapes[name].bounds(values[name])
            is_given = bool(
                effective[name] >= FEWEST and errors[name] > 0 and np.isfinite(low) and np.isfinite(high)
            )
            held[name] = is_given, bool(low <= exact_values[name] <= high)
    return held


def of_engine(scene: Scene, problem: Problem, number: int) -> dict[str, tuple[bool, bool]]:
    """The same of the engine, and of a bank on policy also ``optimum`` and ``regret``, which hold the true ones."""
    key = jax.random.fold_in(jax.random.key(17), number)
    old = problem.old if scene.staleness else None
    if scene.engine == "direct":
        moments = direct(
            problem.estimator, problem.policy, problem.params, problem.task, scene.group, key=key,
            replicates=scene.amount, old_params=old,
        )  # fmt: skip
        return {name: _held(moments.estimate(name), getattr(problem.exact, name)) for name in FIGURES}
    first, second = jax.random.split(key)
    prompts = problem.task.prompts(first, scene.amount)
    bank = record(problem.policy, problem.params, problem.task, second, prompts, scene.rollouts)
    measured = bank.evaluate([problem.estimator], [scene.group], independent="prompts", seed=number)
    setting = scene.estimator, scene.group
    held = {name: _held(measured.estimate(setting, name), getattr(problem.exact, name)) for name in FIGURES}
    if scene.rewards != "binary":
        return held
    advice, (budget, best) = advise(bank, group_sizes=_SIZES), problem.optimum()
    held["optimum"] = _held(advice.optimum, best)
    costs = {g: float(budget.variance(g)) * g for g in _SIZES}
    is_known = advice.best is not None and np.isfinite(advice.regret)
    lost = costs[advice.best] / min(costs.values()) if advice.best else np.inf
    held["regret"] = bool(is_known), bool(lost <= advice.regret)
    return held


def _held(figure, exact_value: float) -> tuple[bool, bool]:
    return figure.known, figure.low <= exact_value <= figure.high


def measure(scene: Scene, repeats: int, seed: int) -> list[dict[str, str]]:
    """Rows of one cell: shares of repeats of the engine and of its twin."""
    problem = Problem(scene)
    twin, rng = Twin(scene, problem), np.random.default_rng(seed)
    exact_values = {name: float(getattr(problem.exact, name)) for name in FIGURES}
    engine = [of_engine(scene, problem, number) for number in range(repeats)]
    twins = [of_twin(twin, rng, exact_values) for _ in range(5 * repeats)]
    rows = []
    for name in engine[0]:
        shares = [*_shares([x[name] for x in engine]), *(_shares([x[name] for x in twins if name in x]))]
        numbers = {column: f"{share:.4g}" for column, share in zip(_HELD, shares, strict=True)}
        rows.append({"cell": scene.name, "repeats": str(repeats), "figure": name, **numbers})
    return rows


def _shares(held: list[tuple[bool, bool]]) -> tuple[float, float]:
    """Of those with an interval how many hold, and how many have one; NaN of nothing."""
    given = [covers for is_given, covers in held if is_given]
    return float(np.mean(given)) if given else np.nan, len(given) / len(held) if held else np.nan


def differences(rows: list[dict[str, str]]) -> list[str]:
    """Where an engine and its twin, which has five times the repeats, differ by more than three standard errors."""
    lines = []
    for row in rows:
        covered, given, twin_covered, twin_given = (float(row[name]) for name in _HELD)
        repeats = int(row["repeats"])
        pairs = (("given", given, twin_given, repeats), ("covered", covered, twin_covered, repeats * given))
        for what, x, y, number in pairs:
            if not (np.isfinite(x) and np.isfinite(y) and number >= 20):
                continue
            middle = (x + 5 * y) / 6
            error = np.sqrt(1.2 * max(middle * (1 - middle), 1 / number) / number)
            if abs(x - y) > 3 * error:
                lines.append(f"{row['cell']}: {row['figure']} {what} {x:.3f}, its twin {y:.3f}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / "results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "calibration_engines.csv"
    rule = rule_of(ADVICE)
    known = rows_of(path, rule)
    done = {row["cell"] for row in known if row["repeats"] == str(options.repeats)}
    for number, scene in enumerate(SCENES):
        if scene.name in done:
            continue
        started = time.process_time()
        rows = [row | {"rule": rule} for row in measure(scene, options.repeats, options.seed + number)]
        append(path, rows)
        known += rows
        print(f"{scene.name}: {time.process_time() - started:.1f} s of CPU", flush=True)
    for row in known:
        print(f"{row['cell']:<62} {row['figure']:<12}" + "".join(f"{row[name]:>10}" for name in _HELD))
    lines = differences(known)
    print("\n".join(lines) or "no engine differs from its twin by more than three standard errors")
    sys.exit(bool(lines))


if __name__ == "__main__":
    main()
