"""D36 to D40: estimators with a penalty towards the reference, as a loss or in the reward."""

from functools import cache

import numpy as np
import sympy as sp
from _clipped import (
    CLIP,
    EPS,
    OBJECTIVE,
    SCALED,
    SEQUENCES,
    TINY,
    WITHIN,
    advantage_of,
    spread_of,
    standardised,
    within,
)
from _definitions import (
    S1,
    S2,
    Definition,
    G,
    Q,
    R,
    Scene,
    above_clip,
    define,
    mean,
    r,
    reference,
    references,
)

from gradvar import symbolic as sy

away = sp.Symbol("k", real=True)
BETA = R(1, 25)
AWAY = {
    away: (
        "k",
        "the token's log-probability less that in the reference policy",
        lambda scene, q, i, t: sp.log(scene.rho[q, i, t]) - reference(scene, q, i),
    )
}
K3 = BETA * (1 - sp.exp(-away))


def penalised(identifier: str, name: str, unpenalised: object, share: object, further: dict = {}) -> sy.Claim:  # noqa: B006
    """The same estimator with the k3 penalty as a loss."""
    return define(
        identifier,
        Definition(name, unpenalised - share * K3, further | AWAY, references, settings={"beta": 0.04}),
        f"The k3 penalty of {name} as shipped",
        sy.Source(
            "2402.03300",
            place="equation (4)",
            says="the unbiased and nonnegative KL estimate as a loss per token",
        ),
        r"From the objective of every token $\beta (e^{-k} - 1 + k)$ is subtracted, with $\beta = 1/25$.",
    )


grpo_k3 = penalised("D36", "grpo", above_clip(r - mean, CLIP, CLIP) * standardised * SEQUENCES, SEQUENCES)
grpo_sample_std_k3 = penalised(
    "D37",
    "grpo_sample_std",
    above_clip(r - mean, CLIP, CLIP) * (r - mean) / (sp.sqrt((S2 - S1**2 / G) / (G - 1)) + EPS) * SEQUENCES,
    SEQUENCES,
)
dr_grpo_k3 = penalised("D38", "dr_grpo", above_clip(r - mean, CLIP, CLIP) * (r - mean) / (Q * G), 1 / (Q * G))
reinforce_pp_baseline_k2 = define(
    "D39",
    Definition(
        "reinforce_pp_baseline",
        above_clip(r - mean, CLIP, CLIP) * (r - mean) / (sp.sqrt(within / (Q * G)) + TINY) * SEQUENCES
        - SEQUENCES * BETA * away,
        WITHIN | AWAY,
        references,
        settings={"beta": 0.04},
    ),
    "The k2 penalty of reinforce_pp_baseline as shipped",
    sy.Source("2501.03262"),
    r"From the objective of every token $\beta k^2/2$ is subtracted, with $\beta = 1/25$.",
)


@cache
def after_penalty(scene: Scene, q: int, i: int, t: int) -> sp.Expr:
    """The reward plus beta times the reference's log-probabilities from this token on (the old ones are zero)."""
    return scene.rewards[q][i] + BETA * reference(scene, q, i) * (int(scene.lengths[q, i]) - t)


@cache
def over_tokens(scene: Scene) -> tuple[sp.Expr, sp.Expr]:
    """The mean over the batch's tokens, and the standard deviation."""
    tokens = [after_penalty(scene, *map(int, place)) for place in np.argwhere(scene.mask)]
    middle = sp.Add(*tokens) / len(tokens)
    return middle, sp.sqrt(sp.Add(*[(x - middle) ** 2 for x in tokens]) / len(tokens))


reinforce_pp_k1 = define(
    "D40",
    Definition(
        "reinforce_pp",
        SCALED * SEQUENCES,
        {
            advantage_of: (
                "A_{i,t}",
                r"the reward less $\beta$ times the penalties from this token on, less its mean over tokens",
                lambda scene, q, i, t: after_penalty(scene, q, i, t) - over_tokens(scene)[0],
            ),
            spread_of: (
                "V",
                "its standard deviation over the batch's tokens",
                lambda scene, q, i, t: over_tokens(scene)[1],
            ),
        },
        references,
        settings={"beta": 0.04},
    ),
    "REINFORCE++ with the penalty in the reward as shipped",
    sy.Source("2501.03262"),
    rf"{OBJECTIVE}, the k1 estimate in the reward of each token, standardised over tokens.",
)
