"""``split_rollouts``: group sizes prompt by prompt, at the same number of rollouts.

The exact optimum and published rules, each cross-fitted over two halves of every prompt's rollouts. ``optimal``
minimises sum_q V_q(G_q) at sum G_q fixed, by giving each next rollout to the prompt whose variance it lowers most:
exact for integers, since V_q is convex; its numbers are shrunk by their reliability. ``vip`` takes G_q - 1 proportional
to sqrt(p (1 - p)) (2602.01601: variances 4 sigma^2 p (1 - p) / (G - 1) with one sigma for all prompts). ``gvm``, for
binary rewards, takes G_q proportional to sqrt(v1) / sqrt(p + a / p) with a = 0.001, and none for a prompt without
success (2505.02391, made for rejection sampling: its variance is v1 / (p G), as if the number of accepted rollouts were
fixed). All give every prompt two.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gradvar.measure.bank.summary import Summary
from gradvar.stats.effective import effective_number
from gradvar.stats.figures import ratio_interval
from gradvar.stats.intervals import Interval

_GVM_PENALTY = 1e-3  # the default of the authors' code, with beta = 2

Numbers = dict[str, Float[np.ndarray, " prompt"]]
"""sigma_o^2 (``rollout``), Delta (``pair``), p and v1 of every prompt."""


@dataclass(frozen=True)
class Split:
    """Group sizes prompt by prompt. ``rule`` names the split, ``sizes`` [Q] are its group sizes.

    ``gain``: variance of the even split over that of this one (above 1 is a gain), cross-fitted: sizes from one half of
    every prompt's rollouts, variances from the other. NaN where the variances are not positive.
    """

    rule: str
    sizes: np.ndarray
    gain: Interval


def split_rollouts(summary: Summary, group_size: int, level: float) -> tuple[Split, ...]:
    """Return every rule's split of ``group_size`` rollouts a prompt; none where there are too few to cross-fit."""
    if summary.halves is None:
        return ()
    halves = [prompt_numbers(half) for half in summary.halves]
    reliability = {name: _correlation(halves[0][name], halves[1][name]) for name in ("rollout", "pair")}
    prompts = len(summary.p)
    total = group_size * prompts
    splits = []
    for rule in ("optimal", "vip", "gvm") if summary.binary else ("optimal", "vip"):
        even, uneven, learnt_sizes = np.zeros(prompts), np.zeros(prompts), np.empty(0)
        for learnt, checked in ((halves[0], halves[1]), (halves[1], halves[0])):
            even += within_variance(checked, np.full(prompts, float(group_size)))
            sizes = split_sizes(rule, _shrunk(learnt, reliability), total)
            learnt_sizes = np.append(learnt_sizes, sizes)
            uneven += within_variance(checked, sizes.astype(float))
        with np.errstate(divide="ignore", invalid="ignore"):
            parts = (even.sum() - even) / (uneven.sum() - uneven)  # without each prompt
            value = float(even.sum() / uneven.sum()) if min(even.sum(), uneven.sum()) > 0 else np.nan
        same = bool((learnt_sizes == group_size).all())
        gain = ratio_interval(value, parts, level, float(effective_number(even)), by_identity=same)
        sizes = split_sizes(rule, _shrunk(prompt_numbers(vars(summary)), reliability), total)
        splits.append(Split(rule, sizes, gain))
    return tuple(splits)


def prompt_numbers(figures: Mapping[str, np.ndarray]) -> Numbers:
    """sigma_o^2, Delta, p and v1 of every prompt from the figures of a ``Summary``, or of one of its halves."""
    zeta1, zeta2 = figures["zeta1"], figures["zeta2"]
    return {"rollout": 4 * zeta1, "pair": 2 * zeta2 - 4 * zeta1, "p": figures["p"], "v1": figures["v1"]}


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    """The share of the spread over prompts that is not noise: the correlation of two independent halves."""
    spread = x.std() * y.std()
    return float(np.clip(np.mean((x - x.mean()) * (y - y.mean())) / spread, 0, 1)) if spread > 0 else 0.0


def _shrunk(numbers: Numbers, reliability: Mapping[str, float]) -> Numbers:
    """Noisy numbers drawn towards their mean over prompts, as far as their reliability says."""
    means = {name: numbers[name].mean() for name in reliability}
    return numbers | {n: means[n] + share * (numbers[n] - means[n]) for n, share in reliability.items()}


def within_variance(numbers: Numbers, sizes: Float[np.ndarray, " prompt"]) -> Float[np.ndarray, " prompt"]:
    """The variance of leave-one-out within each prompt, at these group sizes."""
    return numbers["rollout"] / sizes + numbers["pair"] / (sizes * (sizes - 1))


def split_sizes(rule: str, numbers: Numbers, total: int) -> Int[np.ndarray, " prompt"]:
    """Group sizes of at least 2 with the given sum."""
    if rule == "optimal":
        return _optimal_sizes(numbers, total)
    prompts = len(numbers["p"])
    p = numbers["p"].clip(0, 1)
    share = np.sqrt(p * (1 - p))
    if rule == "gvm":
        solvable = p > 0
        share = np.zeros(prompts)
        share[solvable] = np.sqrt(numbers["v1"][solvable] / (p[solvable] + _GVM_PENALTY / p[solvable]))
    share = share / share.sum() if share.sum() > 0 else np.full(prompts, 1 / prompts)
    wanted = share * total if rule == "gvm" else 1 + share * (total - prompts)
    sizes = np.maximum(2, np.floor(wanted)).astype(int)
    order = np.argsort(sizes - wanted)  # the prompts that lost most by rounding come first
    for k in range(max(0, total - int(sizes.sum()))):
        sizes[order[k % prompts]] += 1
    while sizes.sum() > total:
        sizes[np.argmax(np.where(sizes > 2, sizes - wanted, -np.inf))] -= 1
    return sizes


def _optimal_sizes(numbers: Numbers, total: int) -> Int[np.ndarray, " prompt"]:
    # Estimates may be negative for a prompt; the law is convex with variances of 0 or more.
    positive = {name: np.maximum(numbers[name], 0) for name in ("rollout", "pair")}
    sizes = np.full(len(numbers["p"]), 2)
    gain = within_variance(positive, sizes.astype(float)) - within_variance(positive, sizes + 1.0)
    for _ in range(total - int(sizes.sum())):
        q = int(gain.argmax())
        sizes[q] += 1
        chosen = {name: x[q : q + 1] for name, x in positive.items()}
        now, next_size = np.array([float(sizes[q])]), np.array([sizes[q] + 1.0])
        gain[q] = (within_variance(chosen, now) - within_variance(chosen, next_size))[0]
    return sizes
