"""P1 to P15: the pieces that no catalogued estimator uses by default, each in an estimator of plain other pieces."""

from functools import partial

import numpy as np
import sympy as sp
from _definitions import G, Q, R, Scene, n, r, rho
from _pieces import SAMPLER, around, piece, sampler, sampler_logs

from gradvar import symbolic as sy
from gradvar.pieces import advantage, aggregate, penalty, select, surrogate

(of_prompt, squares, weighted_squares, square, baseline, k, kl, kl_rest) = sp.symbols(
    "n_q W W_r x b k K K_t", real=True
)


def tokens_of_prompt(scene: Scene, q, i, t):
    return sp.Integer(int(scene.lengths[q].sum()))


prompt_mean = piece(
    "P1",
    "aggregates.prompt_mean",
    r / (Q * of_prompt),
    "The mean over prompts of the mean over all tokens of the prompt.",
    quantities={of_prompt: ("n_q", "the number of tokens of its prompt's group", tokens_of_prompt)},
    aggregate=aggregate.prompt_mean,
)
constant_length = piece(
    "P2",
    "aggregates.constant_length",
    r / (4 * Q * G),
    "Sums over tokens, divided by one constant.",
    source=sy.Source("2503.20783", place="released code", relation="not read"),
    settings={"length": 4},
    aggregate=partial(aggregate.constant_length, length=4.0),
)


def score_square(q, i):
    return R(1 + (2 * i + q) % 5, 2)


def square_sums(scene: Scene, q):
    numbers = [score_square(q, i) for i in range(scene.size)]
    return sp.Add(*numbers), sp.Add(*[x * y for x, y in zip(numbers, scene.rewards[q], strict=True)])


score_weighted = piece(
    "P3",
    "advantages.score_weighted",
    (r - (weighted_squares - square * r) / (squares - square)) / (Q * G),
    "The reward less the mean of the others' rewards, weighted by their squared scores.",
    source=sy.Source(
        "Greensmith, Bartlett, Baxter (2004)", place="the optimal constant baseline", relation="not read"
    ),
    quantities={
        square: ("x", "the squared score of its rollout", lambda scene, q, i, t: score_square(q, i)),
        squares: (
            "W",
            "the sum of squared scores of its group",
            lambda scene, q, i, t: square_sums(scene, q)[0],
        ),
        weighted_squares: (
            "W_r",
            "the sum of squared scores times rewards",
            lambda scene, q, i, t: square_sums(scene, q)[1],
        ),
    },
    fields=lambda scene: {"score_squares": [[score_square(q, i) for i in range(scene.size)] for q in (0, 1)]},
    advantage=advantage.score_weighted,
)


def energies(scene: Scene):
    """The squared norm of each token's score, [prompt, group, time]."""
    q, i, t = np.indices(scene.mask.shape)
    return 1.0 + (q + 2 * i + 3 * t) % 4


def token_baselines(scene: Scene, q, i, t):
    """The mean reward of the rollouts that reach t, weighted by their energy up to t; zero for one alone."""
    running = [j for j in range(scene.size) if scene.mask[q, j, t]]
    if len(running) == 1:
        return sp.Integer(0)
    numbers = [sp.Integer(int(energies(scene)[q, j, : t + 1].sum())) for j in running]
    total = sp.Add(*[x * scene.rewards[q][j] for x, j in zip(numbers, running, strict=True)])
    return total / sp.Add(*numbers)


token_baseline = piece(
    "P4",
    "advantages.token_baseline",
    (r - baseline) / (Q * G),
    "The reward less a baseline for each token position.",
    source=sy.Source("2602.07078", place="the optimal token baseline", relation="not read"),
    quantities={
        baseline: (
            "b_t",
            "the mean reward of the rollouts that reach t, weighted by their energy up to t; zero for one alone",
            token_baselines,
        )
    },
    made=lambda scene: around(advantage=partial(advantage.token_baseline, energy=energies(scene))),
)
importance_ratio = piece(
    "P5",
    "surrogates.importance_ratio",
    rho * r / (Q * G),
    "The advantage times the ratio, without a clip.",
    surrogate=surrogate.importance_ratio,
)
truncated_importance = piece(
    "P6",
    "surrogates.truncated_importance",
    sp.Min(sampler, 2) * rho * r / (Q * G),
    "The surrogate, here the ratio's, times the weight of trainer against sampler, cut at 2.",
    quantities=SAMPLER,
    fields=sampler_logs,
    surrogate=surrogate.truncated_importance(surrogate.importance_ratio),
)
masked_importance = piece(
    "P7",
    "surrogates.masked_importance",
    sp.Piecewise((sampler, sp.And(sampler >= R(1, 2), sampler <= 5)), (0, True)) * rho * r / (Q * G),
    "The surrogate, here the ratio's, times that weight between 1/2 and 5, and times zero outside.",
    quantities=SAMPLER,
    fields=sampler_logs,
    surrogate=surrogate.masked_importance(surrogate.importance_ratio),
)


def reference_ratio(scene: Scene, q, i, t):
    """The ratio of sampling to reference probability."""
    return (R(1), R(1, 3), R(2), R(7, 5))[(i + 2 * t + q + i // 4) % 4]


def reference_logs(scene: Scene):
    logs = np.full(scene.mask.shape, sp.Integer(0), object)
    for place in np.ndindex(logs.shape):
        logs[place] = -sp.log(reference_ratio(scene, *place))
    return {"logp_ref": logs}


def log_ratio(scene: Scene, q, i, t):
    return sp.log(scene.rho[q, i, t] * reference_ratio(scene, q, i, t))


REFERENCE = {k: ("k", r"its $\log \pi - \log \pi_{\text{ref}}$", log_ratio)}
k1 = piece(
    "P8",
    "penalties.k1",
    (r - 1) / (Q * G),
    r"The penalty k.",
    fields=reference_logs,
    penalty=penalty.k1,
)
k2 = piece(
    "P9",
    "penalties.k2",
    (r - k) / (Q * G),
    r"The penalty $k^2/2$.",
    quantities=REFERENCE,
    fields=reference_logs,
    penalty=penalty.k2,
)
k3 = piece(
    "P10",
    "penalties.k3",
    (r - 1 + sp.exp(-k)) / (Q * G),
    r"The penalty $e^{-k} - 1 + k$.",
    source=sy.Source(
        "2402.03300",
        place="equation (4)",
        says="the unbiased and nonnegative KL estimate as a loss per token",
    ),
    quantities=REFERENCE,
    fields=reference_logs,
    penalty=penalty.k3,
)
straight_through = piece(
    "P11",
    "penalties.straight_through",
    (r - k) / (Q * G),
    "The value of k1 with the gradient of k2.",
    quantities=REFERENCE,
    fields=reference_logs,
    penalty=penalty.straight_through(penalty.k1),
)
importance_weighted = piece(
    "P12",
    "penalties.importance_weighted",
    (r - rho * (k + 1)) / (Q * G),
    r"The penalty $\rho k$, differentiated as a product.",
    quantities=REFERENCE,
    fields=reference_logs,
    penalty=penalty.importance_weighted(penalty.k1),
)


def summed(scene: Scene, q, i, first=0):
    """The sum of the log-ratios of sampler to reference from a token on."""
    length = int(scene.lengths[q, i])
    return sp.Add(*[sp.log(reference_ratio(scene, q, i, t)) for t in range(first, length)])


kl_in_reward = piece(
    "P13",
    "penalties.kl_in_reward",
    (r - kl / 2) / (Q * G),
    "The reward less the rollout's summed log-ratio to the reference, times one half.",
    quantities={
        kl: (
            "K",
            r"the sum over its rollout of $\log \pi_{\text{old}} - \log \pi_{\text{ref}}$",
            lambda scene, q, i, t: summed(scene, q, i),
        )
    },
    fields=reference_logs,
    settings={"beta": R(1, 2)},
    advantage=penalty.kl_in_reward(advantage.raw, beta=0.5),
)
kl_to_go = piece(
    "P14",
    "penalties.kl_to_go",
    (r - kl_rest / 2) / (Q * G),
    "The reward less the summed log-ratio from the token on, times one half.",
    quantities={
        kl_rest: (
            "K_t",
            r"the sum from the token on of $\log \pi_{\text{old}} - \log \pi_{\text{ref}}$",
            lambda scene, q, i, t: summed(scene, q, i, t),
        )
    },
    fields=reference_logs,
    settings={"beta": R(1, 2)},
    advantage=penalty.kl_to_go(advantage.raw, beta=0.5),
)
within_length = piece(
    "P15",
    "selections.within_length",
    sp.Piecewise((r, n < R(11, 10)), (0, True)) / (Q * G),
    "Rollouts of two tokens and more are dropped; they still count in the number of rollouts.",
    source=sy.Source(
        "2503.14476",
        place="overlong filtering",
        relation="ours",
        caveat="that part of the paper was not read",
    ),
    settings={"limit": R(11, 10)},
    select=partial(select.within_length, limit=1.1),
)
