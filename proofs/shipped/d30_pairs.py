"""D30 to D35: objectives of pairs and of lists: 2-GRPO and GRPO as contrasts, DPO, IPO, and the listwise ones."""

from functools import cache
from typing import Any

import sympy as sp
from _definitions import Definition, G, Q, R, Scene, define, n, reference, references, rho

from gradvar import symbolic as sy

CLIP, BETA = R(1, 5), R(1, 10)
wins, losses, pull, target, current = sp.symbols("W L D v P", real=True)
PAIRS = 1 / (Q * G * (G - 1) * n)


def count(sign: int) -> object:
    """The rollouts of the group with a smaller reward (sign 1), or with a larger one (sign -1)."""
    return lambda scene, q, i, t: sp.Integer(
        sum(bool(sign * (scene.rewards[q][i] - x) > 0) for x in scene.rewards[q])
    )


below_top = sp.Piecewise((rho, rho < 1 + CLIP), (0, True))
above_bottom = sp.Piecewise((rho, rho > 1 - CLIP), (0, True))
grpo_pair = define(
    "D30",
    Definition(
        "grpo_pair",
        PAIRS * (wins * below_top - losses * above_bottom),
        {
            wins: ("W_i", "the rollouts of its group with a smaller reward", count(1)),
            losses: ("L_i", "the rollouts of its group with a larger reward", count(-1)),
        },
    ),
    "2-GRPO over the pairs of a group as shipped",
    sy.Source(
        "2510.00977",
        "v3",
        "the objective of two rollouts",
        says="half of C+ of the winner less C- of the loser",
    ),
    r"The objective is the mean over pairs of $\frac{1}{2} [C^+(o_w) - C^-(o_l)]$, ties zero.",
)
correct, is_right = sp.symbols("K c_i", nonnegative=True)
share = sp.sqrt(correct / G * (1 - correct / G))
grpo_contrastive = define(
    "D31",
    Definition(
        "grpo_contrastive",
        sp.Piecewise(
            (0, sp.Or(sp.Eq(correct, 0), sp.Eq(correct, G))),
            (below_top * share / correct / (Q * n), sp.Eq(is_right, 1)),
            (-above_bottom * share / (G - correct) / (Q * n), True),
        ),
        {
            correct: (
                "K",
                "the correct rollouts of its group, those above the middle of its range of rewards",
                lambda scene, q, i, t: sp.Integer(int(scene.correct[q].sum())),
            ),
            is_right: (
                "c_i",
                "1 for a correct rollout, 0 for another",
                lambda scene, q, i, t: sp.Integer(int(scene.correct[q, i])),
            ),
        },
        levels="unit",
    ),
    "GRPO as a contrast of correct and wrong rollouts as shipped",
    sy.Source(
        "2510.00977",
        "v3",
        "the contrastive form",
        says="the root of p(1-p) times a difference of means",
    ),
    r"The objective is $\sqrt{p (1 - p)}$ times the mean of $C^+$ over the correct less the mean of $C^-$ over the wrong.",
)


@cache
def margin(scene: Scene, q: int, i: int) -> sp.Expr:
    """The log-ratio of a whole rollout to the reference."""
    row = scene.rho[q, i][scene.mask[q, i]]
    return sp.Add(*map(sp.log, row)) - len(row) * reference(scene, q, i)


def over_pairs(slope: object) -> object:
    """The sum over partners of the pair's slope by the winner's margin, with the sign of the preference."""

    slope_at: Any = cache(slope)  # type: ignore[arg-type]  # few gaps differ: rewards and ratios have few values

    def of(scene: Scene, q: int, i: int, t: int) -> sp.Expr:
        row, total = scene.rewards[q], sp.Integer(0)
        for j in range(len(row)):
            preference = int(bool(row[i] > row[j])) - int(bool(row[i] < row[j]))
            if preference:
                gap = preference * (margin(scene, q, i) - margin(scene, q, j))
                total += preference * slope_at(gap)
        return total

    return of


PULL = 2 * pull / (Q * G * (G - 1))
dpo = define(
    "D32",
    Definition(
        "dpo",
        PULL,
        {
            pull: (
                "D_i",
                r"the sum over partners j of $\pm \beta \sigma(-\beta (h_w - h_l))$, plus where i is preferred",
                over_pairs(lambda gap: BETA / (1 + sp.exp(BETA * gap))),
            )
        },
        references,
        tolerance=1e-30,
    ),
    r"DPO over the pairs of a group as shipped, $\beta = 1/10$",
    sy.Source(
        "2305.18290", place="equation (7)", says="the log-sigmoid of beta times the difference of log-ratios"
    ),
    r"The objective is the mean over pairs of $\log \sigma(\beta (h_w - h_l))$, $h = \log \pi - \log \pi_{ref}$ of a rollout.",
)
ipo = define(
    "D33",
    Definition(
        "ipo",
        PULL,
        {
            pull: (
                "D_i",
                r"the sum over partners j of $\mp 2 (h_w - h_l - \frac{1}{2 \beta})$, minus where i is preferred",
                over_pairs(lambda gap: -2 * (gap - 1 / (2 * BETA))),
            )
        },
        references,
        tolerance=1e-30,
    ),
    r"IPO over the pairs of a group as shipped, $\beta = 1/10$",
    sy.Source("2310.12036", place="equation (17)", says="the squared distance of the margin from 1/(2 tau)"),
    r"The objective is minus the mean over pairs of $(h_w - h_l - \frac{1}{2 \beta})^2$.",
)


def softmax(values: list[sp.Expr]) -> list[sp.Expr]:
    """The exponentials over their sum."""
    powers = list(map(sp.exp, values))
    total = sp.Add(*powers)
    return [power / total for power in powers]


@cache
def targets(scene: Scene, q: int) -> list[sp.Expr]:
    """The logits of the target: rewards over their standard deviation in the group."""
    row = list(scene.rewards[q])
    middle = sp.Add(*row) / len(row)
    spread = sp.sqrt(sp.Add(*[(x - middle) ** 2 for x in row]) / len(row))
    return [(x - middle) / spread if spread else sp.Integer(0) for x in row]


@cache
def log_ratios(scene: Scene, q: int) -> list[sp.Expr]:
    """The log-ratio of every whole rollout to the policy that sampled."""
    return [sp.Add(*map(sp.log, scene.rho[q, i][scene.mask[q, i]])) for i in range(scene.size)]


@cache
def target_shares(scene: Scene, q: int) -> list[sp.Expr]:
    """The target over the group."""
    return softmax(targets(scene, q))


@cache
def shares(scene: Scene, q: int) -> list[sp.Expr]:
    """The group's softmax of log-ratios."""
    return softmax(log_ratios(scene, q))


@cache
def reverse_pulls(scene: Scene, q: int) -> list[sp.Expr]:
    """P_i times each rollout's distance d_i from the mean distance, d = log ratio less the target's logit."""
    distances = [a - b for a, b in zip(log_ratios(scene, q), targets(scene, q), strict=True)]
    mean_distance = sp.Add(*[a * b for a, b in zip(shares(scene, q), distances, strict=True)])
    return [a * (b - mean_distance) for a, b in zip(shares(scene, q), distances, strict=True)]


SHARES = {
    target: (
        "v_i",
        "the target's share, softmax of r over its standard deviation",
        lambda s, q, i, t: target_shares(s, q)[i],
    ),
    current: (
        "P_i",
        "its rollout's share, softmax of the log-ratios",
        lambda s, q, i, t: shares(s, q)[i],
    ),
}
lpo_forward = define(
    "D34",
    Definition("lpo_forward", (target - current) / Q, SHARES, tolerance=1e-30),
    "LPO's forward form as shipped",
    sy.Source("2605.06139", "v2", "the forward gradient", says="the sum of (w - P) times the scores"),
    r"The objective is $-\mathrm{KL}(v \| P)$ over the rollouts of the group.",
)
lpo_reverse = define(
    "D35",
    Definition(
        "lpo_reverse",
        -pull / Q,
        {
            pull: (
                "D_i",
                r"$P_i (d_i - \sum_j P_j d_j)$, d the log-ratio less the target's logit",
                lambda s, q, i, t: reverse_pulls(s, q)[i],
            )
        },
        tolerance=1e-30,
    ),
    "LPO's reverse form as shipped",
    sy.Source("2605.06139", "v2", "the reverse gradient", says="the sum of P (d - mean d) times the scores"),
    r"The objective is $-\mathrm{KL}(P \| v)$ over the rollouts of the group.",
)
