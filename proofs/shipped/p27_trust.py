"""P27 to P29 and P31 to P34: surrogates whose trust region is in probabilities or in whole rollouts, on rewards less their mean."""

from functools import cache, partial

import jax.numpy as jnp
import numpy as np
import sympy as sp
from _definitions import S1, G, Q, R, Scene, r, rho
from _pieces import piece, sampler_logs, sampler_ratio

from gradvar import symbolic as sy
from gradvar.pieces import advantage, surrogate

ratio, stays, whole = sp.symbols("u z W", real=True)
A = r - S1 / G


def of_token(scene: Scene, q, i, t):
    return scene.rho[q, i, t] * sampler_ratio(scene, q, i, t)


def within(scene: Scene, q, i, t):
    """0 where pi - mu moved by more than 1/5 in the advantage's way; the old logs are zero, so rho is pi and 1/v is mu."""
    row = scene.rewards[q]
    change = scene.rho[q, i, t] - 1 / sampler_ratio(scene, q, i, t)
    beyond = change > R(1, 5) if len(row) * row[i] >= sp.Add(*row) else change < -R(1, 5)
    return sp.Integer(not beyond)


def of_rollout(scene: Scene, q, i, t):
    return sp.Mul(*[of_token(scene, q, i, s) for s in range(int(scene.lengths[q, i]))])


RATIO = {ratio: ("u", "its ratio of current to the engine's probability", of_token)}
WITHIN = {
    stays: (
        "z",
        "0 where its probability moved by more than 1/5 in the direction of its advantage, else 1",
        within,
    )
}
WHOLE = {whole: ("W", "the product of its rollout's ratios of current to engine", of_rollout)}


def trust(identifier, name, weight, words, *, quantities, arxiv, **settings):
    """The claim that a surrogate has this weight per unit of advantage."""
    return piece(
        identifier,
        f"surrogates.{name}",
        weight * A / (Q * G),
        f"{words} Rewards less the group's mean and sums over tokens stand around it.",
        source=sy.Source(arxiv, place="the objective", relation="not read"),
        quantities=quantities,
        fields=sampler_logs,
        advantage=advantage.group_mean,
        **{"surrogate": getattr(surrogate, name), **settings},
    )


dppo_tv = trust(
    "P27",
    "dppo_tv",
    stays * sp.Min(ratio, 10),
    "The ratio of current to engine, at most 10, and zero where the probability moved too far in the advantage's way.",
    quantities=RATIO | WITHIN,
    arxiv="2602.04879",
    tolerance=1e-12,
)
vespo = trust(
    "P28",
    "vespo",
    sp.Piecewise((whole**2 * sp.exp(3 - 3 * whole), A >= 0), (whole**3 * sp.exp(2 - 2 * whole), True)),
    "The rollout's ratio W to the power k, times $e^{l (1 - W)}$.",
    quantities=WHOLE,
    arxiv="2602.10693",
    tolerance=1e-12,
)
topr = trust(
    "P29",
    "topr",
    sp.Piecewise((1, A >= 0), (sp.Min(ratio, 1), True)),
    "One for a positive advantage, and the ratio of current to engine, at most 1, for a negative one.",
    quantities=RATIO,
    arxiv="2503.14286",
)


def tenth(logp, logp_sampler, advantages):
    """The surrogate at a tenth of the scene's numbers, which are then probabilities: at most 6/10 and 4/10."""
    return surrogate.dppo_kl(logp - jnp.log(10.0), logp_sampler - jnp.log(10.0), advantages)


def within_kl(scene: Scene, q, i, t):
    """0 where the two-point divergence of engine from policy is above 1/20 and the token moved along its advantage."""
    row, u = scene.rewards[q], of_token(scene, q, i, t)
    pi, mu = scene.rho[q, i, t] / 10, 1 / (10 * sampler_ratio(scene, q, i, t))
    divergence = mu * sp.log(mu / pi) + (1 - mu) * sp.log((1 - mu) / (1 - pi))
    moved = u > 1 if len(row) * row[i] >= sp.Add(*row) else u < 1
    return sp.Integer(not (moved and divergence.evalf(30) > R(1, 20)))


dppo_kl = trust(
    "P31",
    "dppo_kl",
    stays * sp.Min(ratio, 10),
    "The ratio of current to engine, at most 10, and zero where the divergence of two points grew too large in the "
    "advantage's way; at a tenth of the scene's numbers, which are then probabilities.",
    quantities=RATIO
    | {stays: ("z", "0 where the token moved along its advantage by more than 1/20 nats, else 1", within_kl)},
    arxiv="2602.04879",
    surrogate=tenth,
    tolerance=1e-12,
)


@cache
def covariances(scene: Scene):
    """(A - mean A)(log pi - mean log pi) of every token by its place, with the means over the batch's tokens."""
    places = [tuple(map(int, place)) for place in np.argwhere(scene.mask)]
    advantages = [scene.rewards[q, i] - sp.Add(*scene.rewards[q]) / scene.size for q, i, _ in places]
    logs = [sp.log(scene.rho[place]).evalf(40) for place in places]
    means = [sp.Add(*values) / len(places) for values in (advantages, logs)]
    return {
        place: (a - means[0]) * (x - means[1]) for place, a, x in zip(places, advantages, logs, strict=True)
    }


@cache
def penalised(scene: Scene):
    """The places of the quarter of tokens with the largest covariance, the first of equals."""
    of = covariances(scene)
    order = sorted(of, key=lambda place: -round(float(of[place]), 13))
    return set(order[: max(1, len(of) // 4)])


def pull_back(scene: Scene, q, i, t):
    """The sign of the log-ratio where the penalty falls on the token, else 0; the old log-probabilities are zero."""
    return sp.sign(scene.rho[q, i, t] - 1) if (q, i, t) in penalised(scene) else sp.Integer(0)


kl_cov = piece(
    "P32",
    "surrogates.kl_cov",
    (rho * A - stays) / (Q * G),
    "The ratio times the advantage, less the sign of its logarithm on the quarter of tokens of the largest covariance. "
    "Rewards less the group's mean and sums over tokens stand around it.",
    source=sy.Source("2505.22617", place="the objective", relation="not read"),
    quantities={
        stays: ("z", "the sign of the log-ratio where the token is among those, else 0", pull_back),
    },
    settings={"share": R(1, 4)},
    advantage=advantage.group_mean,
    surrogate=partial(surrogate.kl_cov, share=0.25),
    tolerance=1e-12,
)


LOW, HIGH = R(1, 50), R(3, 2)


@cache
def share_that_stays(scene: Scene):
    """Of every token: 0 where the clip takes it, 1 - k/n for the n whose covariance lies within the bounds, else 1."""
    of = covariances(scene)
    cut = {
        place: scene.rho[place] > R(6, 5)
        if scene.size * scene.rewards[place[:2]] >= sp.Add(*scene.rewards[place[0]])
        else scene.rho[place] < R(4, 5)
        for place in of
    }
    able = {place for place in of if not cut[place] and LOW < of[place] < HIGH}
    number = min(max(1, len(of) // 4), len(able))
    return {
        place: sp.Integer(0) if cut[place] else 1 - R(number, len(able)) if place in able else sp.Integer(1)
        for place in of
    }


clip_cov = piece(
    "P33",
    "surrogates.clip_cov",
    stays * rho * A / (Q * G),
    "The ratio times the advantage, and the share of the random choices that leave the token: of the n tokens whose "
    "covariance lies between 1/50 and 3/2 and that the clip leaves, a quarter of the batch's tokens are dropped, n at "
    "most. Rewards less the group's mean and sums over tokens stand around it.",
    source=sy.Source("2505.22617", place="the objective", relation="not read"),
    quantities={
        stays: (
            "z",
            "0 where the ratio is beyond 4/5 or 6/5 in the advantage's way, else the share of choices that leave it",
            lambda scene, q, i, t: share_that_stays(scene)[q, i, t],
        ),
    },
    settings={"share": R(1, 4), "bounds": (LOW, HIGH)},
    advantage=advantage.group_mean,
    surrogate=partial(surrogate.clip_cov, share=0.25, bounds=(0.02, 1.5)),
    tolerance=1e-12,
)


def beyond_half(scene: Scene, q, i, t):
    """The ratio of current policy to the geometric mean of current policy and engine."""
    return sp.sqrt(of_token(scene, q, i, t))


log_linear_proximal = piece(
    "P34",
    "surrogates.log_linear_proximal",
    stays * A / (Q * G),
    "Around the plain ratio with a share of one half: the square root of the ratio of current policy to engine. Rewards "
    "less the group's mean and sums over tokens stand around it.",
    source=sy.Source(
        "AReaL",
        place="docs/algorithms/prox_approx.md (November 2025)",
        relation="implies",
        says="log of the proximal policy is about log of the behaviour policy plus a share of the way to the current one",
    ),
    quantities={stays: ("u", "that square root", beyond_half)},
    fields=sampler_logs,
    settings={"share": R(1, 2)},
    advantage=advantage.group_mean,
    surrogate=surrogate.log_linear_proximal(surrogate.importance_ratio, share=0.5),
    tolerance=1e-12,
)
