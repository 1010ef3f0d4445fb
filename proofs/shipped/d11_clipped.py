"""D11 to D17: estimators with PPO's clipped surrogate, which differ in their advantages and in what they divide by."""

import math

import numpy as np
import sympy as sp
from _clipped import (
    BATCH,
    CLIP,
    EPS,
    OBJECTIVE,
    RATIO,
    SEQUENCES,
    TINY,
    WITHIN,
    advantage_of,
    batch_mean,
    batch_square,
    spread_of,
    standardised,
    within,
)
from _definitions import S1, S2, Definition, G, Q, R, Scene, above_clip, define, mean, r

from gradvar import symbolic as sy

kept_tokens = sp.Symbol("N_m", real=True)

dr_grpo = define(
    "D11",
    Definition("dr_grpo", above_clip(r - mean, CLIP, CLIP) * (r - mean) / (Q * G)),
    "Dr. GRPO as shipped",
    sy.Source("2503.20783", place="Section 3.2", says="centred rewards, sums over tokens"),
    rf"The objective is $\frac{{1}}{{Q G}} \sum_i \sum_t {RATIO}$ with $A_i = r_i - \bar r$.",
)
grpo = define(
    "D12",
    Definition("grpo", above_clip(r - mean, CLIP, CLIP) * standardised * SEQUENCES),
    "GRPO as shipped",
    sy.Source(
        "2402.03300",
        place="equation (3)",
        says="rewards standardised in the group, means over tokens",
        caveat="it writes std, and does not say which; the population's and the 1e-6 are defaults of this package",
    ),
    rf"{OBJECTIVE} with $A_i = (r_i - \bar r)/(\mathrm{{std}} + 10^{{-6}})$, the population's standard deviation.",
)
grpo_sample_std = define(
    "D13",
    Definition(
        "grpo_sample_std",
        above_clip(r - mean, CLIP, CLIP)
        * (r - mean)
        / (sp.sqrt((S2 - S1**2 / G) / (G - 1)) + EPS)
        * SEQUENCES,
    ),
    "GRPO with the sample standard deviation as shipped",
    sy.Source(
        "2402.03300",
        place="equation (3)",
        relation="reading",
        says="the paper writes std, and does not say which",
        caveat="nothing is added to it there; the 1e-6 is a default of this package",
    ),
    rf"{OBJECTIVE} with $A_i = (r_i - \bar r)/(\mathrm{{std}} + 10^{{-6}})$, the sample standard deviation.",
)

reinforce_pp = define(
    "D14",
    Definition(
        "reinforce_pp",
        above_clip(r - batch_mean, CLIP, CLIP)
        * (r - batch_mean)
        / (sp.sqrt(batch_square / (Q * G) - batch_mean**2) + TINY)
        * SEQUENCES,
        BATCH,
    ),
    "REINFORCE++ as shipped",
    sy.Source("2501.03262", "v9", "abstract", says="rewards standardised over the batch"),
    rf"{OBJECTIVE} with the rewards standardised over the batch.",
)
reinforce_pp_baseline = define(
    "D15",
    Definition(
        "reinforce_pp_baseline",
        above_clip(r - mean, CLIP, CLIP) * (r - mean) / (sp.sqrt(within / (Q * G)) + TINY) * SEQUENCES,
        WITHIN,
    ),
    "REINFORCE++ with group means as shipped",
    sy.Source("2501.03262"),
    rf"{OBJECTIVE} with $A_i = (r_i - \bar r)/(\sqrt{{W/(Q G)}} + 10^{{-8}})$.",
)


def tokens_of_mixed(scene: Scene, *_: int) -> sp.Expr:
    """The tokens in groups with different rewards."""
    return sp.Integer(sum(int(scene.lengths[q].sum()) for q in (0, 1) if len(set(scene.rewards[q])) > 1) or 1)


dapo = define(
    "D16",
    Definition(
        "dapo",
        above_clip(r - mean, CLIP, R(28, 100)) * standardised / kept_tokens,
        {kept_tokens: ("N_m", "the number of tokens in groups with different rewards", tokens_of_mixed)},
    ),
    "DAPO as shipped",
    sy.Source("2503.14476", place="equation (8)", says="token mean over mixed groups, a higher upper clip"),
    rf"The objective is $\frac{{1}}{{N_m}} \sum_i \sum_t {RATIO}$ over groups with different rewards, clipped at 0.8 and 1.28.",
)


def chance_all_wrong(scene: Scene, q: int) -> sp.Expr:
    """The chance that two different rollouts of the group are both wrong."""
    wrong = int(np.sum(~scene.correct[q]))
    return R(math.comb(wrong, 2), math.comb(scene.size, 2))


def pass_at_2(scene: Scene, q: int, i: int) -> sp.Expr:
    """The advantage of the rollout before its scale."""
    missed, wrong = chance_all_wrong(scene, q), int(np.sum(~scene.correct[q]))
    return missed if scene.correct[q, i] else missed - R(wrong - 1, scene.size - 1)


pass_at_k = define(
    "D17",
    Definition(
        "pass_at_k_standardised",
        above_clip(advantage_of, CLIP, CLIP)
        * sp.Piecewise(
            (advantage_of / (sp.sqrt(spread_of * (1 - spread_of)) + EPS), spread_of > 0), (advantage_of, True)
        )
        * SEQUENCES,
        {
            advantage_of: (
                "M",
                "for a correct rollout the chance that two others fail; for a wrong one less the chance of a wrong partner",
                lambda scene, q, i, t: pass_at_2(scene, q, i),
            ),
            spread_of: (
                "m",
                "the chance that two of the group fail",
                lambda scene, q, i, t: chance_all_wrong(scene, q),
            ),
        },
        levels="unit",
    ),
    "Pass@2 training as shipped",
    sy.Source(
        "2508.10751",
        place="the analytic derivation",
        says="closed forms for correct and wrong rollouts over the std",
    ),
    rf"{OBJECTIVE} with the analytic advantages of pass@k, $k = 2$.",
)
