"""B23: closed-form variances per prompt for the allocation of rollouts, and the independence they need."""

import itertools

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

G, p = sp.Symbol("G", positive=True, integer=True), sp.Symbol("p", positive=True)
centred, loo, mean, spread, dependence = sp.symbols("v_d v_l m sigma2 c", real=True)
R, S, RS = sp.symbols("R S RS")
SUMS = {R: {"r": 1}, S: {"s": 1}, RS: {"r": 1, "s": 1}}

claim = sy.Claim(
    id="B23",
    title=r"The variance of a prompt's gradient is $4 \sigma^2 p(1-p)$ times a function of G",
    statement=sy.Statement(
        setting=r"One prompt, rewards in $\{-1, 1\}$, of which a share p is 1",
        forall={G: sy.whole(2), p: sy.between(0, 1)},
        given={
            "independence": sy.Hypothesis(
                "a rollout's score is independent of its reward (up to second moments)",
                sp.Eq(dependence, 0),
                stated_by="ours",
            )
        },
        quantities={
            centred: sy.Quantity("V_d", "the variance of the gradient estimate with Dr. GRPO's advantages"),
            loo: sy.Quantity("V_l", "that with leave-one-out"),
            mean: sy.Quantity(r"\mathrm{E}[\hat g]", "the mean of either estimate"),
            spread: sy.Quantity(r"\sigma^2", "the variance of the score, or of a projection of it"),
            dependence: sy.Quantity(
                "c",
                r"the largest $|\mathrm{E}[r^a s^b] - \mathrm{E}[r^a] \mathrm{E}[s^b]|$ with a and b up to 2",
            ),
        },
        goals={
            "Dr. GRPO": sp.Eq(centred, 4 * spread * p * (1 - p) * (G - 1) / G**2),
            "leave-one-out": sp.Eq(loo, 4 * spread * p * (1 - p) / (G - 1)),
            "no signal is left": sp.Eq(mean, 0),
        },
    ),
    source=sy.Source(
        "2602.01601",
        "v1",
        "the variance propositions for Dr. GRPO and RLOO",
        relation="not read",
    ),
    verdict="conditional",
    scope="every G, any law of the score with the stated independence; binary rewards",
    proof=(
        r"With centred advantages the estimate is a quadratic form in rewards and scores. If they are "
        r"independent its mean is $\mathrm{E}[r] \mathrm{E}[s] - \mathrm{E}[r] \mathrm{E}[s] = 0$, and the "
        r"index patterns of its square leave $\sigma^2 \mathrm{Var}(r) \frac{G-1}{G^2}$ with $\mathrm{Var}(r) "
        r"= 4p(1-p)$; leave-one-out is $\frac{G}{G-1}$ times it. The squares of the shipped weights, averaged "
        r"over the rewards, and all groups of an exact law agree. A softmax policy has no such independence, "
        r"and there the exact variance is another one."
    ),
    finding=(
        r"Under that hypothesis $\nabla J = \mathrm{E}[r s] = 0$: there is nothing to estimate, and the "
        r"variance is all that the estimate has. In general RLOO's variance is $\frac{1}{G}[\sigma_o^2 + "
        r"\Delta/(G-1)]$ with $\sigma_o^2 = \mathrm{E}\|(r-J)s\|^2 - \|g\|^2$, $\Delta = "
        r"\mathrm{Var}(r)\mathrm{E}\|s\|^2 + \|g\|^2$ (N2); it is not proportional to $p(1-p)$, because "
        r"correct and wrong rollouts have scores of different size."
    ),
)


def moments_of(mean_score, variance, covariance=0):
    """E[r^a s^b], r in {-1, 1}: products, up to a covariance."""

    def moment(exponents):
        a, b = exponents.get("r", 0), exponents.get("s", 0)
        reward = {0: sp.Integer(1), 1: 2 * p - 1, 2: sp.Integer(1)}[a]
        product = reward * {0: sp.Integer(1), 1: mean_score, 2: variance + mean_score**2}[b]
        return product + (covariance if a == b == 1 else 0)

    return moment


@claim.step(
    "Any G",
    route="sympy",
    shows=r"index patterns of $\frac{1}{G}\sum_i (r_i - \bar r) s_i$ and of its square; a score of any mean",
)
def patterns(scale=2, covariance=0):
    mean_score, variance = sp.Symbol("mu", real=True), sp.Symbol("v", positive=True)
    moment = moments_of(mean_score, variance, covariance)
    estimator = (RS - R * S / G) / G
    first, second = (sy.over_rollouts(e, SUMS, G, moment) for e in (estimator, estimator**2))
    value = second - first**2
    values = {
        centred: value,
        loo: value * (G / (G - 1)) ** scale,
        mean: first,
        spread: variance,
        dependence: 0,
    }
    for name in ("no signal is left", "Dr. GRPO", "leave-one-out"):
        claim.goal(name).holds(values if name != "no signal is left" else {mean: first, dependence: 0})


@claim.step(
    "The shipped weights",
    route="traced code",
    shows=r"given the rewards the variance is $\sigma^2 \sum_i w_i^2$; averaged over them for symbolic p, G = 2 to 5",
)
def traced(names=("dr_grpo", "rloo"), value=-1):
    variance = sp.Symbol("v", positive=True)
    for size, (name, symbol, goal) in itertools.product(
        range(2, 6), zip(names, (centred, loo), ("Dr. GRPO", "leave-one-out"), strict=True)
    ):
        weights = sy.weights_of(catalogue.get(name))

        def square(k, weights=weights, size=size):
            return sum(w * w for w in weights((sp.Integer(1),) * k + (sp.Integer(value),) * (size - k)))

        values = {symbol: variance * sy.over_binomial(square, size, p), spread: variance, dependence: 0}
        claim.goal(goal).holds(values, at={G: size})


def measured(bandit, size):
    """The quantities on an exact bandit: a score of several components counts in total."""
    rows = list(zip(bandit.probabilities, bandit.rewards, bandit.scores, strict=True))
    gaps = []
    for j, a, b in itertools.product(range(len(bandit.scores[0])), (1, 2), (1, 2)):
        joint = sum(c * r**a * s[j] ** b for c, r, s in rows)
        gaps.append(abs(joint - sum(c * r**a for c, r, _ in rows) * sum(c * s[j] ** b for c, _, s in rows)))
    groups = {
        name: sy.group_moments(bandit, size, sy.weights_of(catalogue.get(name)))
        for name in ("dr_grpo", "rloo")
    }
    return {
        centred: groups["dr_grpo"].trace_cov,
        loo: groups["rloo"].trace_cov,
        mean: groups["rloo"].mean[0],
        spread: sum(c * sum(x * x for x in s) for c, _, s in rows),
        dependence: max(gaps),
    }


def independent_law(rate, tilt=0):
    chances = [rate / 2 + tilt, rate / 2 - tilt, (1 - rate) / 2, (1 - rate) / 2]
    return sy.SymbolicBandit(chances, [1, 1, -1, -1], [[1], [-1], [1], [-1]])


@claim.step(
    "A law with the independence",
    route="enumeration",
    shows="reward and a score of 1 or -1 drawn independently: all groups of 2 and 3 with the shipped weights",
)
def exact_law(tilt=0):
    for size, rate in itertools.product((2, 3), (sp.Rational(1, 5), sp.Rational(3, 5))):
        values = measured(independent_law(rate, tilt), size)
        values[dependence] = 0 if tilt else values[dependence]  # the sabotage claims what it does not have
        for name in ("Dr. GRPO", "leave-one-out", "no signal is left"):
            claim.goal(name).holds(values, at={G: size, p: rate})


@claim.counterexample(
    r"Softmax bandits with two answers, p = 1/3 and 1/10, RLOO at G = 2, rewards in {-1, 1}: the exact "
    r"variance is not the formula's with $\sigma^2 = \mathrm{E}\|s\|^2$. The engine agrees.",
    p="(1/3, 1/10)",
    G="2",
)
def dependent(independent=False):
    rows = []
    for rate in (sp.Rational(1, 3), sp.Rational(1, 10)):
        bandit = independent_law(rate) if independent else sy.SymbolicBandit([rate, 1 - rate], [1, -1])
        values = measured(bandit, 2)
        without = "independence" if values[dependence] != 0 else ""
        claim.goal("leave-one-out").fails(values, at={G: 2, p: rate}, without=without)
        rows.append((str(rate), str(values[loo]), str(4 * values[spread] * rate * (1 - rate))))
    exact = sy.group_moments(bandit, 2, sy.weights_of(catalogue.get("rloo")))
    sy.engines_agree(sy.engine(catalogue.get("rloo"), bandit, 2), exact, "RLOO")
    return sy.Exhibit(table=(("p", "exact variance", "formula"), *rows))


claim.sabotage("one factor G/(G-1)", patterns, scale=1)
claim.sabotage("a reward that the score knows of", patterns, covariance=sp.Rational(1, 3))
claim.sabotage("the names exchanged", traced, names=("rloo", "dr_grpo"))
claim.sabotage("rewards in {0, 1}", traced, value=0)
claim.sabotage("a correct rollout's score has another mean", exact_law, tilt=sp.Rational(1, 20))
claim.sabotage("scores that do not know the reward", dependent, independent=True)
