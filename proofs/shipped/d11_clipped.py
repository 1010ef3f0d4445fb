"""D11 to D22: estimators with PPO's clipped surrogate, which differ in their advantages and in what they divide by."""

import math
from functools import cache

import numpy as np
import sympy as sp
from _definitions import (
    S1,
    S2,
    Definition,
    G,
    N,
    Q,
    R,
    Scene,
    above_clip,
    define,
    mean,
    n,
    r,
    reference,
    references,
    variance,
)

from gradvar import symbolic as sy

EPS, TINY, CLIP = R(1, 10**6), R(1, 10**8), R(1, 5)
SEQUENCES = 1 / (Q * G * n)  # a mean over rollouts of means over tokens
advantage_of, batch_sum, batch_square, within, spread_of, kept_tokens = sp.symbols(
    "A B1 B2 W V N_m", real=True
)
RATIO = r"\min(\rho A, \mathrm{clip}(\rho) A)"
OBJECTIVE = rf"The objective is $\frac{{1}}{{Q G}} \sum_i \frac{{1}}{{|o_i|}} \sum_t {RATIO}$"
standardised = (r - mean) / (sp.sqrt(variance) + EPS)


def rewards_of(scene: Scene) -> list[sp.Expr]:
    """All rewards of the batch."""
    return list(scene.rewards.reshape(-1))


def centred(scene: Scene, q: int) -> list[sp.Expr]:
    """A group's rewards less their mean."""
    row = scene.rewards[q]
    return [x - sp.Add(*row) / len(row) for x in row]


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

BATCH = {
    batch_sum: ("B_1", "the sum of the batch's rewards", lambda scene, q, i, t: sp.Add(*rewards_of(scene))),
    batch_square: (
        "B_2",
        "the sum of their squares",
        lambda scene, q, i, t: sp.Add(*[x * x for x in rewards_of(scene)]),
    ),
}
batch_mean = batch_sum / (Q * G)
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
    sy.Source("2501.03262", says="rewards standardised over the batch"),
    rf"{OBJECTIVE} with the rewards standardised over the batch.",
)
WITHIN = {
    within: (
        "W",
        "the batch's sum of squares of rewards less their groups' means",
        lambda scene, q, i, t: sp.Add(*[x * x for p in (0, 1) for x in centred(scene, p)]),
    )
}
reinforce_pp_baseline = define(
    "D15",
    Definition(
        "reinforce_pp_baseline",
        above_clip(r - mean, CLIP, CLIP) * (r - mean) / (sp.sqrt(within / (Q * G)) + TINY) * SEQUENCES,
        WITHIN,
    ),
    "REINFORCE++ with group means as shipped",
    sy.Source(
        "2501.03262",
        says="group means subtracted, one scale for the batch",
    ),
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


def count_wrong(scene: Scene, q: int) -> int:
    """The rollouts that do not lie above the middle of their group's range."""
    middle = (min(scene.rewards[q]) + max(scene.rewards[q])) / 2
    return sum(bool(x <= middle) for x in scene.rewards[q])


def chance_all_wrong(scene: Scene, q: int) -> sp.Expr:
    """The chance that two different rollouts of the group are both wrong."""
    wrong = count_wrong(scene, q)
    return R(math.comb(wrong, 2), math.comb(scene.size, 2))


def pass_at_2(scene: Scene, q: int, i: int) -> sp.Expr:
    """The advantage of the rollout before its scale."""
    missed, row = chance_all_wrong(scene, q), scene.rewards[q]
    correct = 2 * row[i] > min(row) + max(row)
    return missed if correct else missed - R(count_wrong(scene, q) - 1, scene.size - 1)


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
def shrunk(scene: Scene, q: int, i: int) -> sp.Expr:
    """The reward less a mean shrunk towards the batch's, before its scale."""
    rewards = rewards_of(scene)
    overall = sp.Add(*rewards) / len(rewards)
    means = [sp.Add(*row) / scene.size for row in scene.rewards]
    noise = sp.Add(*[(x - overall) ** 2 for x in rewards]) / len(rewards) / scene.size
    between = sp.Add(*[(m - overall) ** 2 for m in means]) / 2
    share = noise / (noise + between) if noise + between else sp.Integer(0)
    return scene.rewards[q][i] - (1 - share) * means[q] - share * overall


def scale(value: object, ddof: int = 0) -> object:
    """The standard deviation over the batch of a value of each rollout, of mean zero or made so."""

    @cache
    def over_batch(scene: Scene) -> sp.Expr:
        values = [value(scene, q, i) for q in (0, 1) for i in range(scene.size)]  # type: ignore[operator]
        middle = sp.Add(*values) / len(values)
        return sp.sqrt(sp.Add(*[(x - middle) ** 2 for x in values]) / (len(values) - ddof))

    return lambda scene, q, i, t: over_batch(scene)


def per_rollout(value: object) -> object:
    """A function of a rollout as one of a token."""
    return lambda scene, q, i, t: value(scene, q, i)  # type: ignore[operator]


SCALED = above_clip(advantage_of, CLIP, CLIP) * advantage_of / (spread_of + TINY)
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
def tracked_centred(scene: Scene, q: int, i: int) -> sp.Expr:
    """The same less its mean over the batch."""
    values = [tracked(scene, p, j) for p in (0, 1) for j in range(scene.size)]
    return tracked(scene, q, i) - sp.Add(*values) / len(values)


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
    sy.Source(
        "2509.13232",
        says="one rollout a prompt, a tracked value as baseline",
    ),
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
    sy.Source(
        "2505.07527",
        says="a Kalman filter over the group gives mean and scale",
    ),
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
    sy.Source(
        "2601.05242",
        says="every reward standardised in its group, then the sum",
    ),
    rf"{OBJECTIVE} with the rewards standardised one by one.",
)


def density_terms(scene: Scene, q: int) -> tuple[sp.Expr, sp.Expr, sp.Expr]:
    """The two parameters of the fitted Beta law, and the group's mean."""
    means = [sp.Add(*row) / scene.size for row in scene.rewards]
    middle = sp.Add(*means) / 2
    spread = sp.Add(*[(m - middle) ** 2 for m in means])  # over two prompts less one
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


bnpo = define(
    "D22",
    Definition(
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
    ),
    "BNPO as shipped",
    sy.Source(
        "2506.02864",
        says="centred rewards over a Beta density fitted to the batch",
    ),
    rf"{OBJECTIVE} with $A_i = (r_i - \bar r)/\mathrm{{Beta}}(\bar r; \alpha, \beta)$.",
)


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
    sy.Source("2501.03262", says="a squared log-ratio as the penalty"),
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
    sy.Source(
        "2501.03262",
        says="a KL estimate per token enters the reward of that token",
    ),
    rf"{OBJECTIVE}, the k1 estimate in the reward of each token, standardised over tokens.",
)
