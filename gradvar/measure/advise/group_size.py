"""Which group size, which split of the rollouts, and what dropping equal groups is worth, at given costs.

For leave-one-out with one prompt and G rollouts the variance is V(G) = sigma_b^2 + sigma_o^2 / G + Delta /
(G (G - 1)), and a prompt costs c(G) = cost_per_prompt + G cost_per_rollout, so a budget buys variance V(G)
c(G) / budget: the best G minimises V(G) c(G). With cost_per_prompt = 0 that is G* = 1 + sqrt(Delta /
sigma_b^2) (2603.01162, Theorem 7, with the between-prompt term written out). Everything is estimated from
one pool, so comparisons between group sizes are paired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student

from gradvar.measure.bank.summary import Budget, Summary
from gradvar.stats.figures import jackknife_error, jackknife_interval
from gradvar.stats.intervals import Interval

if TYPE_CHECKING:
    from gradvar.measure.bank.bank import ScoreBank

GROUP_SIZES = (2, 3, 4, 6, 8, 12, 16, 24, 32)
_GVM_PENALTY = 1e-3  # the default of the authors' code, with beta = 2
_GRID = np.exp(np.linspace(np.log(2.0), np.log(4096.0), 2000))


@dataclass(frozen=True)
class Point:
    """One group size. ``cost``: of reaching the variance that the best group size reaches at cost 1, with
    its interval; ``per_rollout``, ``per_token``, ``per_cost``: signal / (tr Cov times that many of them),
    what one of them buys; ``informative``: the share of groups with different rewards."""

    group_size: int
    variance: Interval
    cost: Interval
    per_rollout: float
    per_token: float
    per_cost: float
    informative: float


@dataclass(frozen=True)
class Split:
    """Group sizes prompt by prompt at the same number of rollouts. ``rule`` names the split, ``sizes`` [Q]
    are its group sizes, ``gain``: variance of the even split over that of this one (above 1 is a gain),
    cross-fitted: sizes from one half of every prompt's rollouts, variances from the other."""

    rule: str
    sizes: np.ndarray
    gain: Interval


@dataclass(frozen=True)
class Advice:
    """``best``: the best of the group sizes asked for; ``optimum``: G* over all, with its interval (its
    upper end is infinite where no spread between prompts can be told from zero). ``sentences`` say it in
    words."""

    best: int
    optimum: Interval
    curve: tuple[Point, ...]
    splits: tuple[Split, ...]
    on_policy: bool
    prompts: int
    rollouts: int
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        points = [{**vars(p), "variance": vars(p.variance), "cost": vars(p.cost)} for p in self.curve]
        splits = [{"rule": s.rule, "sizes": s.sizes.tolist(), "gain": vars(s.gain)} for s in self.splits]
        return {
            "kind": "advice", "findings": list(self.sentences),
            "best": self.best, "on_policy": self.on_policy, "prompts": self.prompts,
            "rollouts": self.rollouts,
            "optimum": vars(self.optimum), "curve": points, "splits": splits,
        }  # fmt: skip


def advise(
    source: ScoreBank | Summary,
    cost_per_prompt: float = 0.0,
    cost_per_rollout: float = 1.0,
    *,
    cost_per_update: float = 0.0,
    group_sizes: Sequence[int] = GROUP_SIZES,
    level: float = 0.95,
) -> Advice:
    """The best group size for leave-one-out at these costs, the curve, and the best split of rollouts over
    the prompts.

    Costs are in any one unit (seconds, say): of a prompt (prefill), of a rollout (generation), and of a
    rollout's update (backward pass). ``source``: a bank on policy, or its summary; intervals are jackknifed
    over prompts. Group sizes beyond the recorded rollouts are extrapolated by the law, which is exact."""
    from gradvar.measure.bank.bank import ScoreBank

    check_costs(cost_per_prompt, cost_per_rollout, cost_per_update)
    sizes = sorted({int(g) for g in group_sizes})
    if not sizes or sizes[0] < 2:
        raise ValueError(f"group_sizes: {tuple(group_sizes)}; give sizes of 2 or more")
    summary = source.summary() if isinstance(source, ScoreBank) else source
    each = cost_per_rollout + cost_per_update
    whole, without = summary.budget()
    best = min(sizes, key=lambda g: float(whole.variance(g)) * (cost_per_prompt + each * g))
    curve = tuple(_point(summary, whole, without, g, best, cost_per_prompt, each, level) for g in sizes)
    optimum = _optimum(whole, without, cost_per_prompt / each, level)
    splits = _splits(summary, best, level)
    sentences = _sentences(summary, curve, best, optimum, splits, cost_per_rollout, cost_per_update)
    count = summary.rewards.shape[1]
    return Advice(best, optimum, curve, splits, summary.on_policy, len(summary.p), count, sentences)


def check_costs(cost_per_prompt: float, cost_per_rollout: float, cost_per_update: float) -> None:
    """``ValueError`` for a cost that is no cost."""
    for name, cost in (("cost_per_prompt", cost_per_prompt), ("cost_per_update", cost_per_update)):
        if not (np.isfinite(cost) and cost >= 0):
            raise ValueError(f"{name}: {cost}; give a cost of 0 or more")
    if not (np.isfinite(cost_per_rollout) and cost_per_rollout > 0):
        raise ValueError(f"cost_per_rollout: {cost_per_rollout}; give a cost above 0")


def _point(
    summary: Summary,
    whole: Budget,
    without: Budget,
    size: int,
    best: int,
    fixed: float,
    each: float,
    level: float,
) -> Point:
    def cost(budget: Budget, g: int) -> np.ndarray:
        return budget.variance(g) * (fixed + each * g)

    value, parts = float(whole.variance(size)), without.variance(size)
    ratio = float(cost(whole, size) / cost(whole, best))
    with np.errstate(all="ignore"):
        logs = np.log(cost(without, size) / cost(without, best))
    signal = float(whole.signal)
    tokens = float(summary.length.mean())
    count = summary.rewards.shape[1]
    return Point(
        size,
        jackknife_interval(value, parts, level),
        jackknife_interval(ratio, logs, level, np.exp)
        if size != best
        else Interval(1.0, 1.0, 1.0, 0.0, len(parts) - 1),
        signal / (value * size),
        signal / (value * size * tokens),
        signal / float(cost(whole, size)),
        float(summary.informative(size).mean()) if size <= count else np.nan,
    )


def _optimum(whole: Budget, without: Budget, fixed: float, level: float) -> Interval:
    """G* on a fine grid; its interval from the jackknife of log(G* - 1), open above where it runs off the
    grid."""

    def at(budget: Budget) -> np.ndarray:
        spread, own, pair = (
            np.asarray(x, float)[..., None] for x in (budget.between, budget.rollout, budget.pair)
        )
        variance = spread + own / _GRID + pair / (_GRID * (_GRID - 1))
        return _GRID[(variance * (fixed + _GRID)).argmin(-1)]

    value, parts = float(at(whole)), at(without)
    logs = np.log(parts - 1)
    dof = len(parts) - 1
    error = float(jackknife_error(logs))
    half = float(student.ppf(0.5 + level / 2, dof)) * error
    low, high = 1 + (value - 1) * np.exp(-half), 1 + (value - 1) * np.exp(half)
    # sigma_b^2 itself may not be told from zero: then no upper end can be given.
    spread = jackknife_interval(float(whole.between), np.asarray(without.between), level)
    if spread.low <= 0 or value >= _GRID[-1]:
        high = np.inf
    return Interval(value, max(2.0, float(low)), float(high), (value - 1) * error, dof)


def _splits(summary: Summary, size: int, level: float) -> tuple[Split, ...]:
    """The exact optimum and published rules, each cross-fitted over two halves of every prompt's rollouts.

    ``optimal`` minimises sum_q V_q(G_q) at sum G_q fixed, by giving each next rollout to the prompt whose
    variance it lowers most: exact for integers, since V_q is convex; its numbers are shrunk by their
    reliability. ``vip`` takes G_q - 1 proportional to sqrt(p (1 - p)) (2602.01601: variances 4 sigma^2 p (1
    - p) / (G - 1) with one sigma for all prompts). ``gvm``, for binary rewards, takes G_q proportional to
    sqrt(v1) / sqrt(p + a / p) with a = 0.001, and none for a prompt without success (2505.02391, made for
    rejection sampling: its variance is v1 / (p G), as if the number of accepted rollouts were fixed). All give
    every prompt two."""
    if summary.halves is None:
        return ()
    halves = [_numbers(half) for half in summary.halves]
    trust = {n: _reliability(halves[0][n], halves[1][n]) for n in ("own", "pair")}
    found = []
    total = size * len(summary.p)
    for rule in ("optimal", "vip", "gvm") if summary.binary else ("optimal", "vip"):
        even, uneven = np.zeros(len(summary.p)), np.zeros(len(summary.p))
        for learn, check in ((halves[0], halves[1]), (halves[1], halves[0])):
            even += _within(check, np.full(len(summary.p), float(size)))
            uneven += _within(check, _sizes(rule, _shrunk(learn, trust), total).astype(float))
        parts = (even.sum() - even) / (uneven.sum() - uneven)
        sizes = _sizes(rule, _shrunk(_numbers(vars(summary)), trust), total)
        found.append(Split(rule, sizes, jackknife_interval(float(even.sum() / uneven.sum()), parts, level)))
    return tuple(found)


def _numbers(of: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """sigma_o^2, Delta, p and v1 of every prompt."""
    return {"own": 4 * of["zeta1"], "pair": 2 * of["zeta2"] - 4 * of["zeta1"], "p": of["p"], "v1": of["v1"]}


def _reliability(one: np.ndarray, two: np.ndarray) -> float:
    """The share of the spread over prompts that is not noise: the correlation of two independent halves."""
    spread = one.std() * two.std()
    return (
        float(np.clip(np.mean((one - one.mean()) * (two - two.mean())) / spread, 0, 1)) if spread > 0 else 0.0
    )


def _shrunk(numbers: dict[str, np.ndarray], trust: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Noisy numbers drawn towards their mean over prompts, as far as their reliability says."""
    found = dict(numbers)
    for name, share in trust.items():
        found[name] = numbers[name].mean() + share * (numbers[name] - numbers[name].mean())
    return found


def _within(
    numbers: dict[str, np.ndarray], sizes: Float[np.ndarray, " prompt"]
) -> Float[np.ndarray, " prompt"]:
    return numbers["own"] / sizes + numbers["pair"] / (sizes * (sizes - 1))


def _sizes(rule: str, numbers: dict[str, np.ndarray], total: int) -> np.ndarray:
    """Group sizes of at least 2 with the given sum."""
    count = len(numbers["p"])
    sizes = np.full(count, 2)
    if rule in ("vip", "gvm"):
        p = numbers["p"].clip(0, 1)
        share = np.sqrt(p * (1 - p))
        if rule == "gvm":
            able = p > 0
            share = np.zeros(count)
            share[able] = np.sqrt(numbers["v1"][able] / (p[able] + _GVM_PENALTY / p[able]))
        share = share / share.sum() if share.sum() > 0 else np.full(count, 1 / count)
        wanted = share * total if rule == "gvm" else 1 + share * (total - count)
        sizes = np.maximum(2, np.floor(wanted)).astype(int)
        order = np.argsort(sizes - wanted)
        for k in range(max(0, total - int(sizes.sum()))):
            sizes[order[k % count]] += 1
        while sizes.sum() > total:
            sizes[np.argmax(np.where(sizes > 2, sizes - wanted, -np.inf))] -= 1
        return sizes
    # Estimates may be negative for a prompt; what is convex is the law with variances of 0 or more.
    clean = {"own": np.maximum(numbers["own"], 0), "pair": np.maximum(numbers["pair"], 0)}
    gain = _within(clean, sizes.astype(float)) - _within(clean, sizes + 1.0)
    for _ in range(total - int(sizes.sum())):
        q = int(gain.argmax())
        sizes[q] += 1
        at = {n: x[q : q + 1] for n, x in clean.items()}
        gain[q] = (_within(at, np.array([float(sizes[q])])) - _within(at, np.array([sizes[q] + 1.0])))[0]
    return sizes


def _sentences(
    summary: Summary, curve: Sequence[Point], best: int, optimum: Interval, splits: Sequence[Split],
    cost_per_rollout: float, cost_per_update: float,
) -> tuple[str, ...]:  # fmt: skip
    by_size = {p.group_size: p for p in curve}
    upper = "no upper end" if np.isinf(optimum.high) else f"{optimum.high:.1f}"
    found = [
        f"Best of the group sizes asked for: G={best}; the optimum over all is {optimum.value:.1f} "
        f"(95 % interval {optimum.low:.1f} to {upper})."
    ]
    for size in (min(by_size), max(by_size)):
        if size != best:
            cost = by_size[size].cost
            clear = "excludes 1" if cost.excludes(1) else "includes 1"
            found.append(
                f"With these prompts G={best} needs {cost.value:.2f}x less than G={size} for the same "
                f"variance (95 % interval {cost.low:.2f} to {cost.high:.2f}; it {clear})."
            )
    share = by_size[best].informative
    if np.isfinite(share) and share > 0:
        drop = (cost_per_rollout + share * cost_per_update) / (cost_per_rollout + cost_per_update)
        found.append(
            f"{100 * share:.0f} % of groups of {best} have different rewards. Dropping the others changes no "
            f"mean-centred gradient but its scale, and saves their update: cost times {drop:.2f}. Drawing "
            f"new prompts until the batch is full costs {1 / share:.2f} times the rollouts per kept group and "
            "buys no more signal per rollout."
        )
    for split in splits:
        clear = "excludes 1" if split.gain.excludes(1) else "includes 1"
        found.append(
            f"Splitting the rollouts unevenly over the prompts ({split.rule}: {split.sizes.min()} to "
            f"{split.sizes.max()} each) divides the within-prompt variance by {split.gain.value:.2f} "
            f"(95 % interval {split.gain.low:.2f} to {split.gain.high:.2f}; it {clear})."
        )
    if not summary.on_policy:
        found.append(
            "The rollouts are off policy; the law assumes they are not, so check with bank.evaluate."
        )
    return tuple(found)
