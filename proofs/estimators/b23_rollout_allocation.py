"""B23: VIP's closed-form variances per prompt, and the independence they need."""

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

claim = sy.Claim(
    id="B23",
    title=r"The variance of a prompt's gradient is $4 \sigma^2 p(1-p)$ times a function of G",
    statement=(
        r"With rewards in $\{-1, 1\}$, a prompt's gradient estimate has variance $4\sigma^2 "
        r"p(1-p)\frac{G-1}{G^2}$ (Dr. GRPO) and $\frac{4\sigma^2 p(1-p)}{G-1}$ (RLOO), $\sigma^2$ the "
        r"variance of the (projected) score."
    ),
    source=sy.Source(
        "2602.01601",
        "v1",
        "the variance propositions for Dr. GRPO and RLOO; the text of their assumptions was not at hand",
    ),
    verdict="conditional",
    scope="every G (symbolic), any law of the score with the stated independence; binary rewards",
    hypotheses=(
        "each rollout's score is independent of its reward (uncorrelated in r, s, r^2, s^2 is enough)",
    ),
    finding=(
        r"Under that hypothesis $\nabla J = \mathrm{E}[r s] = 0$: the formulas are the variance of "
        r"an estimator with nothing to estimate. In general RLOO's "
        r"variance is $\frac{1}{G}[\sigma_o^2 + \Delta/(G-1)]$ with $\sigma_o^2 = "
        r"\mathrm{E}\|(r-J)s\|^2 - \|g\|^2$, $\Delta = \mathrm{Var}(r)\mathrm{E}\|s\|^2 + "
        r"\|g\|^2$; it is not proportional to $p(1-p)$, "
        r"because correct and wrong rollouts have scores of different size."
    ),
)
G, p, sigma2 = (
    sp.Symbol("G", positive=True, integer=True),
    sp.Symbol("p", positive=True),
    sp.Symbol("sigma2", positive=True),
)
R, S, RS = sp.symbols("R S RS")
SUMS = {R: {"r": 1}, S: {"s": 1}, RS: {"r": 1, "s": 1}}


def independent(mean_score):
    """E[r^a s^b] = E[r^a] E[s^b], r in {-1, 1}."""

    def moment(exponents):
        a, b = exponents.get("r", 0), exponents.get("s", 0)
        reward = {0: sp.Integer(1), 1: 2 * p - 1, 2: sp.Integer(1)}[a]
        return reward * {0: sp.Integer(1), 1: mean_score, 2: sigma2 + mean_score**2}[b]

    return moment


@claim.step(
    "Both variances, any G",
    route="sympy",
    shows=(
        r"E over index patterns of $[\frac{1}{G}\sum_i (r_i - \bar r) s_i]^2$, and $G/(G-1)$ squared "
        r"times it"
    ),
)
def variances(levels=4, squared=2):
    mean_score = sp.Symbol("mu", real=True)
    estimator = (RS - R * S / G) / G
    second = sy.over_rollouts(estimator**2, SUMS, G, independent(mean_score))
    first = sy.over_rollouts(estimator, SUMS, G, independent(mean_score))
    variance = second - first**2
    sy.equal(variance, levels * sigma2 * p * (1 - p) * (G - 1) / G**2, "Dr. GRPO")
    sy.equal(variance * (G / (G - 1)) ** squared, 4 * sigma2 * p * (1 - p) / (G - 1), "RLOO")


@claim.step(
    "No signal is left",
    route="sympy",
    shows=(
        r"under the hypothesis the mean is $\mathrm{E}[r]\mathrm{E}[s] - \mathrm{E}[r]\mathrm{E}[s] = "
        r"0$; it is $\frac{G-1}{G}\mathrm{Cov}(r, s)$ in general"
    ),
)
def no_signal(cov=0):
    c, mu = sp.Symbol("cov", real=True), sp.Symbol("mu", real=True)

    def moment(exponents):
        base = independent(mu)(exponents)
        return base + (c if exponents.get("r", 0) == exponents.get("s", 0) == 1 else 0)

    mean = sy.over_rollouts((RS - R * S / G) / G, SUMS, G, moment)
    sy.equal(mean, (G - 1) / G * c, "the mean is the covariance")
    sy.equal(mean.subs(c, cov), 0, "no covariance, no signal")


@claim.step(
    "The shipped advantages",
    route="traced code",
    shows=(
        r"$\frac{1}{G}\mathrm{E}[A_i^2]$ with rewards in $\{-1, 1\}$, G = 2..5: the two formulas over "
        r"$\sigma^2$"
    ),
)
def shipped(names=("dr_grpo", "rloo")):
    for size in range(2, 6):
        for name, claimed in zip(
            names,
            ((size - 1) * 4 * p * (1 - p) / sp.Integer(size) ** 2, 4 * p * (1 - p) / (size - 1)),
            strict=True,
        ):
            weights = sy.weights_of(catalogue.get(name))

            def square(k, weights=weights, size=size):
                return sum(w * w for w in weights((sp.Integer(1),) * k + (sp.Integer(-1),) * (size - k)))

            sy.equal(sy.over_binomial(square, size, p), claimed, f"{name} at G = {size}")


@claim.step(
    "A law with the independence",
    route="enumeration",
    shows=(
        "reward and a one-dimensional score drawn independently: all groups of 2 and 3, both formulas "
        "in rationals"
    ),
)
def exact_law(tilt=0):
    def holds(size, fifths):
        q = sp.Rational(fifths, 5)
        chances = [q / 2 + tilt, q / 2 - tilt, (1 - q) / 2, (1 - q) / 2]
        bandit = sy.SymbolicBandit(chances, [1, 1, -1, -1], [[1], [-1], [1], [-1]])
        rloo, centred = (
            sy.group_moments(bandit, size, sy.weights_of(catalogue.get(n))).trace_cov
            for n in ("rloo", "dr_grpo")
        )
        return (
            rloo == 4 * q * (1 - q) / (size - 1)
            and centred == 4 * q * (1 - q) * (size - 1) / sp.Integer(size) ** 2
        )

    sy.enumerate_rationals(holds, (2, 3), (1, 3), what="the variance under independence")


@claim.counterexample(
    (
        "Softmax bandits with two answers, p = 1/3 and 1/10, RLOO at G = 2, rewards in {-1, 1}: the "
        "exact variance is not $4\\sigma^2 p(1-p)/(G-1)$ with $\\sigma^2 = \\mathrm{E}\\|s\\|^2$. The "
        "engine agrees."
    ),
    p="(1/3, 1/10)",
    G="2",
)
def dependent(independent_scores=False):
    rows = []
    for chance in ("1/3", "1/10"):
        q = sp.Rational(chance)
        bandit = sy.SymbolicBandit([q, 1 - q], [1, -1])
        if independent_scores:
            bandit = sy.SymbolicBandit(
                [q / 2, q / 2, (1 - q) / 2, (1 - q) / 2], [1, 1, -1, -1], [[1], [-1], [1], [-1]]
            )
        exact = sy.group_moments(bandit, 2, sy.weights_of(catalogue.get("rloo")))
        norm = sum(
            c * sum(x * x for x in s) for c, s in zip(bandit.probabilities, bandit.scores, strict=True)
        )
        rows.append((q, exact.trace_cov, 4 * norm * q * (1 - q)))
        sy.require(exact.trace_cov != rows[-1][2], f"the formula is off at p = {q}")
    sy.engines_agree(sy.engine(catalogue.get("rloo"), bandit, 2), exact, "RLOO")
    return sy.Exhibit(
        table=(("p", "exact variance", "formula"), *((str(a), str(b), str(c)) for a, b, c in rows))
    )


claim.sabotage("rewards in {0, 1}", variances, levels=1)
claim.sabotage("one factor G/(G-1)", variances, squared=1)
claim.sabotage("a reward that the score knows of", no_signal, cov=sp.Rational(1, 3))
claim.sabotage("the names exchanged", shipped, names=("rloo", "dr_grpo"))
claim.sabotage("a correct rollout's score has another mean", exact_law, tilt=sp.Rational(1, 20))
claim.sabotage("scores that do not know the reward", dependent, independent_scores=True)
