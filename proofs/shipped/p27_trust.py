"""P27 to P29: surrogates whose trust region is in probabilities or in whole rollouts, on rewards less their mean."""

import sympy as sp
from _definitions import S1, G, Q, R, Scene, r
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
        surrogate=getattr(surrogate, name),
        **settings,
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
