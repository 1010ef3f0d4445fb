"""B3: the leave-one-out gradient as an average over pairs, and its projection as printed."""

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

SOURCE = sy.Source(
    "2603.01162",
    "v3",
    "the U-statistic form and its Hajek projection (as the ledger has them; only the abstract was at hand)",
)
G = sp.Symbol("G", positive=True)
J, g, V = sp.symbols("J g V", real=True)
BANDIT = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "-7/3"])

pairs = sy.Claim(
    id="B3a",
    title="RLOO's gradient is the average over all pairs of (1/2)(r_i - r_j)(s_i - s_j)",
    statement=r"$\frac{1}{G} \sum_i \left(r_i - \frac{1}{G-1}\sum_{j \ne i} r_j\right) s_i = \binom{G}{2}^{-1} \sum_{i<j} \frac{1}{2} (r_i - r_j)(s_i - s_j)$: a U-statistic of order two.",
    source=SOURCE,
    verdict="proved",
    scope="every G >= 2 (induction), all real rewards, all scores; an identity of numbers, not of expectations, so also off policy and whatever the scores' mean",
    finding="For GRPO's own weights (standardised) it is not one: their kernel depends on the whole group. At G = 2 the average has one pair.",
)


@pairs.step(
    "Induction over the group",
    route="sympy",
    shows=r"$D_G = \sum_{i<j} (r_i - r_j)(s_i - s_j) = G \sum r_i s_i - \sum r_i \sum s_j$: true for $G = 1$, and one more rollout adds $\sum_i (r_i - r)(s_i - s)$ to both sides",
)
def induction(self_term=1):
    r, s, R, S, RS = sp.symbols("r s R S RS")
    closed = lambda n, rs, a, b: n * rs - a * b  # noqa: E731
    sy.equal(closed(1, r * s, r, s), 0, "one rollout has no pair")
    grown = closed(G + 1, RS + r * s, R + r, S + s) - closed(G, RS, R, S)
    sy.equal(grown, RS - r * S - R * s + self_term * G * r * s, "one more rollout")
    sy.equal(
        (RS - (R * S - RS) / (G - 1)) / G,
        closed(G, RS, R, S) / (G * (G - 1)),
        "leave-one-out in the same sums",
    )


@pairs.step(
    "The shipped weights, G = 2 to 5",
    route="traced code",
    shows=r"$w_i = \frac{1}{G(G-1)} \sum_{j} (r_i - r_j)$, the coefficient of $s_i$ in the average over pairs, for symbolic rewards",
)
def traced(name="rloo"):
    for size in (2, 3, 4, 5):
        rollouts = sy.symbolic_group(size, on_policy=True)
        rewards = rollouts.rewards.reshape(-1)
        weights = rollouts.weights(catalogue.get(name)).reshape(-1)
        claimed = [sum(x - y for y in rewards) / (size * (size - 1)) for x in rewards]
        sy.equal(weights, claimed, f"weights at G = {size}")


pairs.sabotage("the new rollout left out of its own sum", induction, self_term=0)
pairs.sabotage("the mean-centred estimator", traced, name="dr_grpo")


printed = sy.Claim(
    id="B3b",
    title="Twice the projected kernel is s(r - J)",
    statement=r"The first projection $h_1(y) = \mathrm{E}[h(y, Y')]$ of the kernel $h = \frac{1}{2}(r - r')(s - s')$ satisfies $2 h_1 = s (r - J)$.",
    source=SOURCE,
    verdict="refuted",
    scope=r"every law of reward and score with $\nabla J \ne 0$",
    finding=(
        r"$2 h_1 = s(r - J) + \nabla J$: the printed form is off by the gradient itself, and its mean is $\nabla J$ where $2\,\mathrm{E}h_1 = 2 \nabla J$. What is built on it survives: the projection of the whole "
        r"estimator is $\frac{1}{G} \sum_i (r_i - J) s_i$, because the constants cancel (B3c)."
    ),
)


@printed.step(
    "The partner averaged out",
    route="sympy",
    shows=r"$\mathrm{E}'[(r - r')(s - s')] = rs - r\,\mathrm{E}s' - Js + \mathrm{E}r's' = (r - J)s + g$",
)
def projection(constant=1):
    r, s, r2, s2 = sp.symbols("r s r2 s2")
    partner = {(0, 0): sp.Integer(1), (1, 0): J, (0, 1): sp.Integer(0), (1, 1): g}
    kernel = sp.Poly(sp.expand((r - r2) * (s - s2)), r2, s2)
    projected = sp.Add(*[c * partner[powers] for powers, c in kernel.terms()])
    sy.equal(projected, (r - J) * s + constant * g, "twice the projected kernel")


@printed.step(
    "In rationals",
    route="enumeration",
    shows=r"three answers: $2 h_1$ answer by answer is $s(r - J) + \nabla J$",
)
def answers(constant=1):
    rows = list(zip(BANDIT.probabilities, BANDIT.rewards, BANDIT.scores, strict=True))
    for _, r, s in rows:
        for j in range(3):
            projected = sp.Add(*[c * (r - r2) * (s[j] - s2[j]) for c, r2, s2 in rows])
            sy.equal(
                projected,
                s[j] * (r - BANDIT.value) + constant * BANDIT.gradient[j],
                "twice the projected kernel",
            )


@printed.counterexample(
    "p = 1/4, two answers, rewards 1 and 0: for the correct answer 2 h_1 = 3/4 where s(r - J) = 9/16; the engine's E of the pair estimator is 3/16 = grad J, the mean of the printed form's half would be 3/32.",
    p="1/4",
)
def quarter(chance="1/4"):
    p = sp.Rational(chance)
    bandit = sy.SymbolicBandit([p, 1 - p], [1, 0])
    gradient = bandit.gradient[0]
    twice = (1 - p) * ((1 - p) + p)  # E'[(1 - r')(s - s')]: the wrong partner has r' = 0, s' = -p
    sy.require(twice != (1 - p) * (1 - p), "the printed form at the correct answer")
    sy.equal(twice, (1 - p) * (1 - p) + gradient, "the right form at the correct answer")
    moments = sy.engine(catalogue.get("rloo"), bandit, 2)
    sy.require(abs(float(moments.mean.reshape(-1)[0]) - float(gradient)) < 1e-12, "the engine's mean")


printed.sabotage("the printed form", projection, constant=0)
printed.sabotage("the printed form in rationals", answers, constant=0)


oracle = sy.Claim(
    id="B3c",
    title="The projection of RLOO is the oracle that knows J; the rest is uncorrelated and of order $1/G^2$",
    statement=r"$\hat g = \frac{1}{G} \sum_i (r_i - J) s_i + \rho$, with $\mathrm{E}\rho = 0$, $\rho$ uncorrelated with every function of one rollout, and $\mathrm{tr\,Cov}\,\rho = \frac{\Delta}{G(G-1)}$, $\Delta = \mathrm{Var}(r)\mathrm{E}\|s\|^2 + \|g\|^2$.",
    source=SOURCE,
    verdict="proved",
    scope="every G >= 2 (symbolic), any law with finite second moments, on policy",
    finding=r"$\rho = -\frac{1}{G(G-1)} \sum_{i \ne j} (r_j - J) s_i$. It never vanishes (unless r or s is constant): RLOO is an oracle only in the limit; at $G = 2$ the rest has half of $\Delta$.",
)


@oracle.step(
    "The rest, written out",
    route="sympy",
    shows=r"$\hat g - \frac{1}{G} \sum_i (r_i - J) s_i = -\frac{1}{G(G-1)} \sum_{i \ne j} (r_j - J) s_i$, an identity in sums",
)
def rest(centre=1):
    R, S, RS = sp.symbols("R S RS")
    estimator = (RS - R * S / G) / (G - 1)
    ordered = (R - G * centre * J) * S - (RS - centre * J * S)  # sum over i != j of (r_j - J) s_i
    sy.equal(estimator - (RS - J * S) / G, -ordered / (G * (G - 1)), "the rest")


@oracle.step(
    "Uncorrelated and small",
    route="sympy",
    shows=r"index patterns: $\mathrm{E}\rho = 0$, $\mathrm{E}[\rho\, (r_i - J)s_i] = 0$ summed over i, $\mathrm{E}\rho^2 = \Delta/(G(G-1))$",
)
def moments(mean_score=0):
    R, S, RS = sp.symbols("R S RS")
    kinds = {R: {"r": 1}, S: {"s": 1}, RS: {"r": 1, "s": 1}}

    def moment(exponents):
        a, b = exponents.get("r", 0), exponents.get("s", 0)
        known = {(0, 0): sp.Integer(1), (0, 1): sp.sympify(mean_score), (1, 0): J, (1, 1): g, (0, 2): V}
        return known[a, b] if (a, b) in known else sp.Symbol(f"m{a}{b}", real=True)

    residue = -((R - G * J) * S - (RS - J * S)) / (G * (G - 1))
    linear = (RS - J * S) / G
    spread = sp.Symbol("m20", real=True) - J**2
    sy.equal(sy.over_rollouts(residue, kinds, G, moment), 0, "the mean of the rest")
    sy.equal(sy.over_rollouts(residue * linear, kinds, G, moment), 0, "the covariance with the projection")
    sy.equal(
        sy.over_rollouts(residue**2, kinds, G, moment),
        (spread * V + g**2) / (G * (G - 1)),
        "the variance of the rest",
    )


@oracle.step(
    "In rationals and in the engine",
    route="exact engine",
    shows="RLOO's variance less the oracle's over G is Delta/(G(G-1)), three reward levels, G = 3",
)
def engine_agrees(name="rloo"):
    rows = list(zip(BANDIT.probabilities, BANDIT.rewards, BANDIT.scores, strict=True))
    norms = [sp.Add(*[x * x for x in s]) for _, _, s in rows]
    signal = sp.Add(*[x * x for x in BANDIT.gradient])
    self_term = (
        sp.Add(*[c * (r - BANDIT.value) ** 2 * n for (c, r, _), n in zip(rows, norms, strict=True)]) - signal
    )
    spread = sp.Add(*[c * (r - BANDIT.value) ** 2 for c, r, _ in rows])
    delta = spread * sp.Add(*[c * n for (c, _, _), n in zip(rows, norms, strict=True)]) + signal
    exact = sy.group_moments(BANDIT, 3, sy.weights_of(catalogue.get(name)))
    sy.equal(exact.trace_cov - self_term / 3, delta / 6, "the rest's variance")
    sy.engines_agree(sy.engine(catalogue.get(name), BANDIT, 3), exact, name)


oracle.sabotage("deviations from zero in place of J", rest, centre=0)
oracle.sabotage("scores with a mean", moments, mean_score=sp.Rational(1, 3))
oracle.sabotage("mean-centred in place of leave-one-out", engine_agrees, name="dr_grpo")
