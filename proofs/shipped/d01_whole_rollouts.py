"""D1 to D10: estimators that weigh the log-probability of a whole rollout by its advantage, as they are shipped."""

from functools import cache

import numpy as np
import sympy as sp
from _definitions import S1, Definition, G, N, Q, R, Scene, define, mean, r

from gradvar import symbolic as sy

PER_ROLLOUT = 1 / (Q * G)
baseline, lengths_sum, weighted_sum, n_self, normaliser, excess, alpha = sp.symbols(
    "b L L_r l Z M alpha", real=True
)
SUM = r"The objective is $\frac{1}{Q G} \sum_i A_i \sum_t \log \pi(o_{i,t})$"

reinforce = define(
    "D1",
    Definition("reinforce", PER_ROLLOUT * r),
    "REINFORCE as shipped",
    sy.Source("Williams (1992)"),
    rf"{SUM} with $A_i = r_i$.",
)

GIVEN = {
    baseline: ("b", "the value given for its prompt", lambda scene, q, i, t: (R(1, 3), R(3, 4))[q]),
}
given = define(
    "D2",
    Definition(
        "reinforce_best_constant",
        PER_ROLLOUT * (r - baseline),
        GIVEN,
        lambda _: {"baseline": [R(1, 3), R(3, 4)]},
    ),
    "REINFORCE with a given baseline as shipped",
    sy.Source("Williams (1992)"),
    rf"{SUM} with $A_i = r_i - b$.",
)
remax = define(
    "D3",
    Definition(
        "remax", PER_ROLLOUT * (r - baseline), GIVEN, lambda _: {"greedy_rewards": [R(1, 3), R(3, 4)]}
    ),
    "ReMax as shipped",
    sy.Source("2310.10505", relation="not read"),
    rf"{SUM} with $A_i = r_i - b$, $b$ the reward of the greedy rollout.",
)
rloo = define(
    "D4",
    Definition("rloo", PER_ROLLOUT * (r - (S1 - r) / (G - 1))),
    "RLOO as shipped",
    sy.Source("2402.14740", "v2", "equation (8)", says="the reward less the mean of the others"),
    rf"{SUM} with the leave-one-out advantage.",
)


@cache
def length_weights(scene: Scene, q: int) -> tuple[sp.Expr, sp.Expr]:
    """The sum of the lengths of a prompt, and of lengths times rewards."""
    lengths = [sp.Integer(int(length)) for length in scene.lengths[q]]
    return sp.Add(*lengths), sp.Add(*[x * y for x, y in zip(lengths, scene.rewards[q], strict=True)])


LENGTHS = {
    lengths_sum: ("L", "the sum of the group's lengths", lambda scene, q, i, t: length_weights(scene, q)[0]),
    weighted_sum: (
        "L_r",
        "the sum of lengths times rewards",
        lambda scene, q, i, t: length_weights(scene, q)[1],
    ),
}
opo = define(
    "D5",
    Definition("opo", PER_ROLLOUT * (r - weighted_sum / lengths_sum), LENGTHS),
    "OPO as shipped",
    sy.Source(
        "2505.23585",
        "v2",
        "the length-weighted form of the optimal reward baseline",
        says="the reward less the length-weighted mean reward",
    ),
    rf"{SUM} with $A_i = r_i - L_r / L$.",
)
SELF = {
    n_self: (
        r"\ell",
        "the length of its rollout",
        lambda scene, q, i, t: sp.Integer(int(scene.lengths[q, i])),
    )
}
opo_leave_one_out = define(
    "D6",
    Definition(
        "opo_leave_one_out",
        PER_ROLLOUT * (r - (weighted_sum - n_self * r) / (lengths_sum - n_self)),
        LENGTHS | SELF,
    ),
    "OPO without the rollout in its baseline, as shipped",
    sy.Source(
        "2505.23585",
        relation="ours",
        says="the paper's baseline contains the rollout; leaving it out is ours",
    ),
    rf"{SUM} with the length-weighted mean of the others as baseline.",
)
maxrl = define(
    "D7",
    Definition("maxrl", PER_ROLLOUT * (r - mean) / mean),
    "MaxRL as shipped",
    sy.Source("2602.02710", place="Algorithm 1", says="the centred reward over the group's mean reward"),
    rf"{SUM} with $A_i = (r_i - \bar r)/\bar r$.",
)
tau = R(3, 10)
softmax = define(
    "D8",
    Definition(
        "softmax",
        PER_ROLLOUT * (G * sp.exp(r / tau) / normaliser - 1),
        {
            normaliser: (
                "Z",
                r"the sum of $e^{r/\tau}$ over the group",
                lambda scene, q, i, t: sp.Add(*[sp.exp(x / tau) for x in scene.rewards[q]]),
            )
        },
    ),
    r"SoftmaxGRPO as shipped, $\tau = 3/10$",
    sy.Source(
        "2608.09271",
        place="equation (1)",
        says="G times the softmax of rewards over the temperature, less one",
    ),
    rf"{SUM} with $A_i = G e^{{r_i/\tau}}/Z - 1$.",
)


def mean_excess(scene: Scene, q: int, i: int) -> sp.Expr:
    """What rollout i adds to the largest of two: the mean over the other rollout j of max(r_i, r_j) - r_j."""
    mine, others = scene.rewards[q][i], np.delete(scene.rewards[q], i)
    return sp.Add(*[max(mine - x, sp.Integer(0)) for x in others]) / len(others)


pass_at_k = define(
    "D9",
    Definition(
        "pass_at_k",
        PER_ROLLOUT * 2 * excess,
        {
            excess: (
                "M",
                r"the mean over the other rollouts j of $\max(r_i, r_j) - r_j$",
                lambda scene, q, i, t: mean_excess(scene, q, i),
            )
        },
    ),
    "The leave-one-out pass@2 advantages as shipped",
    sy.Source(
        "2505.15201",
        "v4",
        "the estimators of pass@k and of max@k",
        relation="implies",
        says="leave-one-out estimators of the best of k, averaged over subsets",
    ),
    rf"{SUM} with $A_i = 2 M_i$.",
)


def share_mixed(scene: Scene, *_: int) -> sp.Expr:
    """Prompts over prompts with two levels of reward."""
    return R(2, max(sum(len(set(row)) > 1 for row in scene.rewards), 1))


gpg = define(
    "D10",
    Definition(
        "gpg",
        alpha * (r - mean) / N,
        {alpha: (r"\alpha", "prompts over prompts with different rewards", share_mixed)},
    ),
    "GPG as shipped",
    sy.Source("2504.02546"),
    r"The objective is $\frac{1}{N} \sum_i \sum_t A_i \log \pi(o_{i,t})$ with $A_i = \alpha (r_i - \bar r)$.",
)
