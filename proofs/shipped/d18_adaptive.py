"""D18 to D22: advantages that borrow from other prompts, from a filter, or from several rewards."""

import math
from functools import cache, cached_property

import numpy as np
import sympy as sp
from _clipped import (
    CLIP,
    EPS,
    OBJECTIVE,
    RATIO,
    SCALED,
    SEQUENCES,
    advantage_of,
    per_rollout,
    scale,
    spread_of,
)
from _definitions import DIGITS, S1, Definition, N, R, Scene, above_clip, define, mean, r, sign_of_digits

from gradvar import symbolic as sy


@cache
def kalman(scene: Scene, q: int, i: int) -> float:
    """The innovation over the standard deviation of a scalar filter, after the rollouts up to this one, in floats."""
    value, uncertainty = 0.0, 1.0
    for reward in scene.rewards[q][: i + 1]:
        predicted = uncertainty + 1e-5
        gain = predicted / (predicted + 1e-2)
        value, uncertainty = value + gain * (float(reward) - value), (1 - gain) * predicted
    return (float(scene.rewards[q][i]) - value) / (math.sqrt(uncertainty) + 1e-8)


@cache
def shrunk_means(scene: Scene) -> list[sp.Expr]:
    """The mean of each group, shrunk towards the batch's."""
    rewards = list(scene.rewards.reshape(-1))
    overall = sp.Add(*rewards) / len(rewards)
    means = [sp.Add(*row) / scene.size for row in scene.rewards]
    noise = sp.Add(*[(x - overall) ** 2 for x in rewards]) / len(rewards) / scene.size
    between = sp.Add(*[(m - overall) ** 2 for m in means]) / 2
    share = noise / (noise + between) if noise + between else sp.Integer(0)
    return [(1 - share) * middle + share * overall for middle in means]


def shrunk(scene: Scene, q: int, i: int) -> sp.Expr:
    """The reward less the shrunk mean, before its scale."""
    return scene.rewards[q][i] - shrunk_means(scene)[q]


ebpo = define(
    "D18",
    Definition(
        "ebpo",
        SCALED * SEQUENCES,
        {
            advantage_of: ("A_i", "the reward less the shrunk group mean", per_rollout(shrunk)),
            spread_of: ("V", "its standard deviation over the batch", scale(shrunk)),
        },
    ),
    "EBPO as shipped",
    sy.Source(
        "2602.05165",
        relation="reading",
        says="a group mean shrunk to the batch's; its constants were not at hand",
    ),
    rf"{OBJECTIVE} with $A_i = r_i - (1 - S) \bar r - S \bar r_B$ over its standard deviation.",
)
BASELINES = (R(1, 3), R(3, 4))


def tracked(scene: Scene, q: int, i: int) -> sp.Expr:
    """The reward less the tracked value."""
    return scene.rewards[q][i] - BASELINES[q]


@cache
def tracked_mean(scene: Scene) -> sp.Expr:
    """The mean of the same over the batch."""
    values = [tracked(scene, p, j) for p in (0, 1) for j in range(scene.size)]
    return sp.Add(*values) / len(values)


def tracked_centred(scene: Scene, q: int, i: int) -> sp.Expr:
    """The same less its mean over the batch."""
    return tracked(scene, q, i) - tracked_mean(scene)


spo = define(
    "D19",
    Definition(
        "spo",
        SCALED / N,
        {
            advantage_of: (
                "A_i",
                "the reward less its prompt's tracked value, centred over the batch",
                per_rollout(tracked_centred),
            ),
            spread_of: ("V", "its sample standard deviation over the batch", scale(tracked, 1)),
        },
        lambda _: {"baseline": list(BASELINES)},
    ),
    "SPO as shipped",
    sy.Source("2509.13232"),
    rf"The objective is $\frac{{1}}{{N}} \sum_i \sum_t {RATIO}$, the advantages standardised over the batch.",
)
krpo = define(
    "D20",
    Definition(
        "krpo",
        above_clip(advantage_of, CLIP, CLIP) * advantage_of * SEQUENCES,
        {
            advantage_of: (
                "A_i",
                r"$(r_i - x_i)/(\sqrt{P_i} + 10^{-8})$ of a scalar Kalman filter",
                per_rollout(kalman),
            )
        },
        tolerance=1e-11,
    ),
    "KRPO as shipped",
    sy.Source("2505.07527"),
    rf"{OBJECTIVE} with the advantages of a scalar Kalman filter, run over the group in its order.",
)


def part(scene: Scene, q: int, i: int, which: int) -> sp.Expr:
    """Two rewards of a rollout: the scene's, and a bonus for every third rollout."""
    return scene.rewards[q][i] if which == 0 else scene.number(R(int((i + q) % 3 == 0)))


@cache
def decoupled(scene: Scene, q: int, i: int) -> sp.Expr:
    """The sum of both rewards, each standardised in its group."""
    total = sp.Integer(0)
    for which in (0, 1):
        row = [part(scene, q, j, which) for j in range(scene.size)]
        middle = sp.Add(*row) / scene.size
        total += (row[i] - middle) / (sp.sqrt(sp.Add(*[(x - middle) ** 2 for x in row]) / scene.size) + EPS)
    return total


gdpo = define(
    "D21",
    Definition(
        "gdpo",
        above_clip(advantage_of, CLIP, CLIP) * advantage_of / (spread_of + EPS) * SEQUENCES,
        {
            advantage_of: (
                "A_i",
                "the sum of the rewards, each standardised in its group",
                per_rollout(decoupled),
            ),
            spread_of: ("V", "its standard deviation over the batch", scale(decoupled)),
        },
        lambda scene: {
            "reward_parts": [
                [[part(scene, q, i, k) for k in (0, 1)] for i in range(scene.size)] for q in (0, 1)
            ]
        },
        tolerance=1e-30,
    ),
    "GDPO as shipped",
    sy.Source("2601.05242"),
    rf"{OBJECTIVE} with the rewards standardised one by one.",
)


def density_terms(scene: Scene, q: int) -> tuple[sp.Expr, sp.Expr, sp.Expr]:
    """The two parameters of the fitted Beta law, and the group's mean."""
    means = [sp.Add(*row) / scene.size for row in scene.rewards]
    middle = sp.Add(*means) / len(means)
    spread = sp.Add(*[(m - middle) ** 2 for m in means]) / (len(means) - 1)
    strength = middle * (1 - middle) / spread - 1 if spread else sp.Integer(0)
    return (
        sp.Max(1, 1 + strength * middle / 3),
        sp.Max(1, 1 + strength * (1 - middle) / 3),
        means[q],
    )


@cache
def inverse_density(scene: Scene, q: int, i: int) -> sp.Expr:
    """One over the Beta density at the group's mean; one where it is at an end, or where nothing can be fitted."""
    a, b, middle = density_terms(scene, q)
    means = {sp.Add(*row) for row in scene.rewards}
    if not 0 < middle < 1 or len(means) == 1:
        return sp.Integer(1)
    normaliser = sp.exp(sp.loggamma(a) + sp.loggamma(b) - sp.loggamma(a + b))
    return normaliser / (middle ** (a - 1) * (1 - middle) ** (b - 1))


DENSITY = Definition(
    "bnpo",
    above_clip(r - mean, CLIP, CLIP) * (r - mean) * spread_of * SEQUENCES,
    {
        spread_of: (
            "V",
            "one over the fitted Beta density at the group's mean",
            per_rollout(inverse_density),
        )
    },
    levels="unit",
    tolerance=1e-30,
)
bnpo = define(
    "D22",
    DENSITY,
    "BNPO as shipped",
    sy.Source("2506.02864"),
    rf"{OBJECTIVE} with $A_i = (r_i - \bar r)/\mathrm{{Beta}}(\bar r; \alpha, \beta)$.",
)


class OneIsHard(Scene):
    """Three prompts with 1, 8 and 8 right rollouts of 12: the density at the first is below one, an advantage above."""

    @cached_property
    def rewards(self) -> np.ndarray:
        """[prompt, group]: zeros and ones."""
        rows = [[self.number(R(int(i < right))) for i in range(self.size)] for right in (1, 8, 8)]
        return np.asarray(rows, object)


@bnpo.step(
    "One hard prompt among three",
    route="traced code",
    shows="means 1/12, 2/3, 2/3: the density at the first is 0.905, and an advantage is 1.013",
)
def one_hard_prompt(shift=0):
    scene = OneIsHard(12, digits=DIGITS)
    weights = sy.trace(sy.gradient(DENSITY.estimator(scene)), *scene.batch(), assume=sign_of_digits)
    largest = max((entry[r] - entry[S1] / 12) * entry[spread_of] for entry in DENSITY.entries(scene, weights))
    sy.require(bool(largest > 1), "an advantage is above one")
    for entry in DENSITY.entries(scene, weights):
        values = {**entry, spread_of: entry[spread_of] + shift}
        bnpo.goal("weight").holds(values, at={"G": 12}, tolerance=DENSITY.tolerance)


bnpo.sabotage("another density at the hard prompt", one_hard_prompt, shift=R(1, 7))
