"""P16 to P26, P30 and P35 to P37: the corrections between engine and trainer, each on the ratio in an estimator of plain other pieces."""

from functools import cache, partial

import numpy as np
import sympy as sp
from _definitions import S1, G, Q, R, Scene, r, rho
from _pieces import SAMPLER, piece, sampler, sampler_logs, sampler_ratio

from gradvar import symbolic as sy
from gradvar.pieces import advantage, surrogate
from gradvar.pieces import correction as c

whole, mean, passes = sp.symbols("W m z", real=True)
PLAIN = rho * r / (Q * G)
AROUND = "Around it stands the ratio without a clip."


def ratios(scene: Scene, q, i):
    """The ratio of trainer to engine of each token of a rollout."""
    return [sampler_ratio(scene, q, i, t) for t in range(int(scene.lengths[q, i]))]


def product(scene: Scene, q, i, t):
    return sp.Mul(*ratios(scene, q, i))


def of_batch(scene: Scene, q, i, t):
    values = [v for prompt in (0, 1) for member in range(scene.size) for v in ratios(scene, prompt, member)]
    return sp.Add(*values) / len(values)


def geometric_passes(scene: Scene, q, i, t):
    """1 if the geometric mean lies in [1/2, 2]: its n-th power against theirs."""
    length = len(ratios(scene, q, i))
    return sp.Integer(bool(R(1, 2) ** length <= product(scene, q, i, t) <= 2**length))


def mean_k3_passes(scene: Scene, q, i, t):
    values = [v - 1 - sp.log(v) for v in ratios(scene, q, i)]
    return sp.Integer(bool((sp.Add(*values) / len(values)).evalf(30) <= 1))


def token_k3_passes(scene: Scene, q, i, t):
    v = sampler_ratio(scene, q, i, t)
    return sp.Integer(bool((v - 1 - sp.log(v)).evalf(30) <= 1))


def still_likely(scene: Scene, q, i, t):
    """0 for a rollout below its group's mean with a mean of log pi_sampler - log pi above one half."""
    row, times = scene.rewards[q], range(int(scene.lengths[q, i]))
    below = len(row) * row[i] < sp.Add(*row)
    gaps = [-sp.log(sampler_ratio(scene, q, i, s) * scene.rho[q, i, s]) for s in times]
    return sp.Integer(not (below and (sp.Add(*gaps) / len(gaps)).evalf(30) > R(1, 2)))


WHOLE = {whole: ("W", "the product of its rollout's ratios of trainer to engine", product)}


def correction(identifier, name, weight, words, made, *, quantities, source=None, settings=None, **pieces):
    """The claim that a correction multiplies the ratio's weight by ``weight``."""
    return piece(
        identifier,
        f"corrections.{name}",
        weight * pieces.pop("plain", PLAIN),
        f"{words} {AROUND}",
        source=source,
        quantities=quantities,
        fields=sampler_logs,
        settings=settings or {},
        surrogate=surrogate.importance_ratio,
        correction=made,
        **pieces,
    )


token_ratio = correction(
    "P16",
    "token_ratio",
    sampler,
    "The ratio of trainer to engine of the token.",
    c.token_ratio,
    quantities=SAMPLER,
    source=sy.Source("2110.00641", place="equation (3)", relation="not read"),
)
token_truncation = correction(
    "P17",
    "token_truncation",
    sp.Min(sampler, 2),
    "The same, cut at 2.",
    c.token_truncation,
    quantities=SAMPLER,
)
token_band = correction(
    "P18",
    "token_band",
    sp.Piecewise((sampler, sp.And(sampler >= R(1, 2), sampler <= 5)), (0, True)),
    "The same between 1/2 and 5, and zero outside.",
    c.token_band,
    quantities=SAMPLER,
    source=sy.Source("2510.18855", place="IcePop", relation="not read"),
)
sequence_ratio = correction(
    "P19",
    "sequence_ratio",
    whole,
    "The product over the rollout, on each token.",
    c.sequence_ratio,
    quantities=WHOLE,
)
sequence_truncation = correction(
    "P20",
    "sequence_truncation",
    sp.Min(whole, 2),
    "The product over the rollout, cut at 2.",
    c.sequence_truncation,
    quantities=WHOLE,
)
sequence_mask = correction(
    "P21",
    "sequence_mask",
    sp.Piecewise((whole, whole <= 3), (0, True)),
    "The product over the rollout, and zero where it is above 3.",
    c.sequence_mask,
    quantities=WHOLE,
)
geometric_mask = correction(
    "P22",
    "geometric_mask",
    passes * sampler,
    "The token's ratio, and zero where the rollout's geometric mean is outside 1/2 to 2.",
    partial(c.geometric_mask, low=0.5, high=2.0),
    quantities=SAMPLER
    | {passes: ("z", "1 where that geometric mean lies between 1/2 and 2, else 0", geometric_passes)},
    settings={"low": R(1, 2), "high": 2},
)
rejection = correction(
    "P23",
    "rejection",
    passes,
    r"One where the mean of $v - 1 - \log v$ over the rollout is at most 1, and zero elsewhere.",
    partial(c.rejection, level="mean", high=1.0),
    quantities={passes: ("z", "1 where that mean is at most 1, else 0", mean_k3_passes)},
    settings={"high": 1},
)
off_policy_sequence_mask = correction(
    "P24",
    "off_policy_sequence_mask",
    passes,
    "Zero for a rollout below its group's mean that the current policy finds unlikely, one elsewhere; the reward less "
    "the group's mean stands for the reward.",
    c.off_policy_sequence_mask,
    quantities={
        passes: (
            "z",
            "0 where both hold, the second by more than 1/2 in the mean over its tokens, else 1",
            still_likely,
        )
    },
    source=sy.Source("2512.02556", place="off-policy sequence masking", relation="not read"),
    plain=rho * (r - S1 / G) / (Q * G),
    advantage=advantage.group_mean,
)
batch_normalised = correction(
    "P25",
    "batch_normalised",
    sampler / mean,
    "The token's ratio over its mean in the batch.",
    c.batch_normalised(c.token_ratio),
    quantities=SAMPLER | {mean: ("m", "the mean of all tokens' ratios of trainer to engine", of_batch)},
)
chained = correction(
    "P26",
    "chained",
    passes * sp.Min(sampler, 2),
    r"The product of the ratio cut at 2 and of the rule that $v - 1 - \log v$ is at most 1.",
    c.chained(c.token_truncation, partial(c.rejection, high=1.0)),
    quantities=SAMPLER | {passes: ("z", "1 where that is at most 1, else 0", token_k3_passes)},
)


def stays(scene: Scene, q, i, t):
    """1 unless it is among the largest squares that go until the mean of the others is below 1/4."""
    return stays_of_batch(scene)[q, i, t]


@cache
def stays_of_batch(scene: Scene):
    places = [tuple(map(int, place)) for place in np.argwhere(scene.mask)]
    squares = {place: sp.log(sampler_ratio(scene, *place)).evalf(30) ** 2 for place in places}
    left = dict(squares)
    while len(left) > 1 and sum(left.values()) / len(left) >= R(1, 4):
        del left[max(left, key=lambda place: (left[place], place))]
    return {place: sp.Integer(place in left) for place in places}


second_moment_mask = correction(
    "P30",
    "second_moment_mask",
    passes,
    r"1 on the tokens of small $(\log v)^2$, 0 on the largest ones, so many that the mean of the others is below 1/4.",
    partial(c.second_moment_mask, threshold=0.25),
    quantities={passes: ("z", "1 unless its square goes", stays)},
    source=sy.Source("2510.01161", place="the algorithm", relation="not read"),
)


def within_length(scene: Scene, q, i, t):
    """The geometric mean of the rollout's ratios, at most 2."""
    return sp.Min(product(scene, q, i, t) ** R(1, len(ratios(scene, q, i))), 2)


geometric_ratio = correction(
    "P35",
    "geometric_ratio",
    mean,
    "The geometric mean of the rollout's ratios, cut at 2, on each token.",
    c.geometric_ratio,
    quantities={mean: ("m", "that mean, at most 2", within_length)},
    source=sy.Source(
        "AReaL",
        place="apply_rejection_sampling (1.0.4)",
        relation="implies",
        says="with the metric ratio at the level sequence, the weight of all tokens is e to the mean log-ratio",
    ),
    tolerance=1e-12,
)


def no_outlier(scene: Scene, q, i, t):
    return sp.Integer(all(R(1, 2) <= v <= 5 for v in ratios(scene, q, i)))


outlier_mask = correction(
    "P36",
    "outlier_mask",
    passes,
    "0 on a rollout with a token whose ratio lies outside 1/2 to 5, 1 elsewhere.",
    partial(c.outlier_mask, low=0.5, high=5.0),
    quantities={
        passes: ("z", "1 where all of its rollout's ratios lie between 1/2 and 5, else 0", no_outlier)
    },
    settings={"low": R(1, 2), "high": 5},
    source=sy.Source(
        "SkyRL",
        place="compute_outlier_token_mask (0.4.0)",
        relation="implies",
        says="a sequence goes if one of its tokens has a ratio above the upper or below the lower threshold",
    ),
)


def near(scene: Scene, q, i, t):
    """The old log-probabilities are zero, so the trainer's probability is 1 and the engine's 1/v."""
    return sp.Integer(bool(-R(1, 5) <= 1 - 1 / sampler_ratio(scene, q, i, t) <= R(3, 5)))


probability_mask = correction(
    "P37",
    "probability_mask",
    passes,
    "1 where the trainer's probability lies at most 1/5 below and 3/5 above the engine's, 0 elsewhere; the old "
    "log-probabilities are zero.",
    partial(c.probability_mask, low=0.2, high=0.6),
    quantities={passes: ("z", "1 where it does, else 0", near)},
    settings={"low": R(1, 5), "high": R(3, 5)},
    source=sy.Source("ROLL, prime-rl", place="their filters on the difference", relation="not read"),
)
