"""D23 to D29: estimators with another ratio or another clip: of whole sequences, smooth, dual, on the weight."""

import sympy as sp
from _clipped import CLIP, SEQUENCES, standardised
from _definitions import Definition, N, R, Scene, above_clip, define, mean, r, rho

from gradvar import symbolic as sy

value, sequence_ratio = sp.symbols("v s", real=True)
LOW, HIGH = R(3, 10**4), R(4, 10**4)


def geometric_mean(scene: Scene, q: int, i: int, t: int) -> sp.Expr:
    """The geometric mean of a rollout's ratios."""
    ratios = scene.rho[q, i][scene.mask[q, i]]
    return sp.Mul(*ratios) ** R(1, len(ratios))


def clipped_ratios(scene: Scene, q: int, i: int, t: int) -> sp.Expr:
    """The geometric mean of a rollout's ratios, their logarithms clipped at 2/5 on the side of the advantage."""
    row = scene.rewards[q]
    bound = sp.Min if row[i] >= sp.Add(*row) / len(row) else sp.Max
    side = R(2, 5) if bound is sp.Min else -R(2, 5)
    logs = [bound(sp.log(x), side) for x in scene.rho[q, i][scene.mask[q, i]]]
    return sp.exp(sp.Add(*logs) / len(logs))


open_ratio = sp.Or(
    sp.And(r - mean >= 0, sequence_ratio < 1 + HIGH), sp.And(r - mean < 0, sequence_ratio > 1 - LOW)
)
SEQUENCE = {sequence_ratio: ("s_i", "the geometric mean of its rollout's ratios", geometric_mean)}
ADVANTAGE = r"$A_i = (r_i - \bar r)/(\mathrm{std} + 10^{-6})$"

gspo = define(
    "D23",
    Definition(
        "gspo", sp.Piecewise((sequence_ratio, open_ratio), (0, True)) * standardised * SEQUENCES, SEQUENCE
    ),
    "GSPO as shipped",
    sy.Source(
        "2507.18071", place="equations (5) and (7)", says="the clipped length-normalised sequence ratio"
    ),
    rf"The objective is $\frac{{1}}{{Q G}} \sum_i \min(s_i A_i, \mathrm{{clip}}(s_i) A_i)$, {ADVANTAGE}.",
)
gspo_token = define(
    "D24",
    Definition(
        "gspo_token",
        sp.Piecewise((sequence_ratio, open_ratio), (0, True)) * standardised * SEQUENCES,
        SEQUENCE,
    ),
    "GSPO's token form as shipped",
    sy.Source(
        "2507.18071",
        place="equations (13) and (14)",
        says="the sequence's ratio with the gradient of the token's",
    ),
    rf"With one advantage for the rollout it has GSPO's gradient, {ADVANTAGE}.",
)
cispo = define(
    "D25",
    Definition("cispo", sp.Max(0, sp.Min(rho, 5)) * standardised / N),
    "CISPO as shipped",
    sy.Source(
        "2506.13585",
        place="equation (4)",
        says="the clipped ratio as a constant weight of the log-probability",
    ),
    rf"The objective is $\frac{{1}}{{N}} \sum_i \sum_t \mathrm{{sg}}[\mathrm{{clip}}(\rho, 0, 5)] A_i \log \pi$, {ADVANTAGE}.",
)
below = sp.Or(sp.And(r - mean >= 0, sp.log(rho) < R(2, 5)), sp.And(r - mean < 0, sp.log(rho) > -R(2, 5)))
gmpo = define(
    "D26",
    Definition(
        "gmpo",
        sp.Piecewise((sequence_ratio, below), (0, True)) * standardised * SEQUENCES,
        {sequence_ratio: ("s_i", "the geometric mean of its rollout's clipped ratios", clipped_ratios)},
    ),
    "GMPO as shipped",
    sy.Source("2507.20673"),
    rf"The objective is $\frac{{1}}{{Q G}} \sum_i A_i s_i$, {ADVANTAGE}.",
)
tau = sp.Piecewise((1, r - mean > 0), (R(21, 20), True))
gate = 1 / (1 + sp.exp(-tau * (rho - 1)))
sapo = define(
    "D27",
    Definition("sapo", 4 * rho * gate * (1 - gate) * standardised * SEQUENCES),
    "SAPO as shipped",
    sy.Source("2511.20347"),
    rf"The objective is $\frac{{1}}{{Q G}} \sum_i \frac{{1}}{{|o_i|}} \sum_t \frac{{4}}{{\tau}} \sigma(\tau (\rho - 1)) A_i$, {ADVANTAGE}.",
)


def critic(scene: Scene, q: int, i: int, t: int) -> sp.Expr:
    """A critic's value of each token."""
    return R((2 * i + 3 * t + q) % 5, 4)


def critic_values(scene: Scene) -> dict[str, object]:
    """The same as a field of the batch."""
    prompts, group, time = scene.mask.shape
    return {
        "values": [
            [[critic(scene, q, i, t) for t in range(time)] for i in range(group)] for q in range(prompts)
        ]
    }


VALUE = {value: ("v_{i,t}", "the critic's value before the token", critic)}
ppo = define(
    "D28",
    Definition("ppo", above_clip(r - value, CLIP, CLIP) * (r - value) / N, VALUE, critic_values),
    "PPO as shipped",
    sy.Source(
        "1707.06347",
        place="equation (7), with 1506.02438, equation (16)",
        says="the clipped surrogate; advantages by GAE",
    ),
    r"The objective is $\frac{1}{N} \sum_i \sum_t \min(\rho A_{i,t}, \mathrm{clip}(\rho) A_{i,t})$, $A_{i,t} = r_i - v_{i,t}$.",
)
capped = sp.Or(sp.And(r - value >= 0, rho < 1 + CLIP), sp.And(r - value < 0, rho > 1 - CLIP, rho < 3))
ppo_dual_clip = define(
    "D29",
    Definition(
        "ppo_dual_clip", sp.Piecewise((rho, capped), (0, True)) * (r - value) / N, VALUE, critic_values
    ),
    "PPO with the dual clip as shipped",
    sy.Source("1912.09729"),
    r"As PPO, and for $A < 0$ the ratio also stops to count above 3.",
)
