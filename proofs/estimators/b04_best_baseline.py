"""B4: when the mean reward is the best baseline that depends on the prompt only, and what leave-one-out adds."""

import sympy as sp
from _binary import ON_POLICY

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import aggregate, surrogate

G = sp.Symbol("G", integer=True, positive=True)
b = sp.Symbol("b", real=True)
level, weighted, at_mean, at_other, at_loo, delta = sp.symbols("J c V_J V_b V_loo Delta", real=True)
size = sp.Symbol("n", positive=True)  # the mean squared score
QUARTER = sp.Rational(1, 4)

claim = sy.Claim(
    id="B4",
    title="The mean reward is the best prompt-only baseline if reward and squared score are uncorrelated",
    statement=sy.Statement(
        setting="One prompt, rewards of any law, a baseline b that depends on the prompt only",
        forall={G: sy.whole(2), b: sy.real()},
        given={
            "on policy": ON_POLICY,
            "uncorrelated": sy.Hypothesis(r"$\mathrm{Cov}(r, \|s\|^2) = 0$", sp.Eq(weighted, level * size)),
        },
        quantities={
            level: sy.Quantity("J", r"the expected reward"),
            size: sy.Quantity("n", r"$\mathrm{E}\|s\|^2$"),
            weighted: sy.Quantity("c", r"$\mathrm{E}[r \|s\|^2]$"),
            at_other: sy.Quantity(
                "V_b", r"the trace of the covariance of $\frac{1}{G} \sum_i (r_i - b) s_i$"
            ),
            at_mean: sy.Quantity("V_J", "the same at b = J"),
            at_loo: sy.Quantity(
                r"V_{\mathrm{loo}}", "the trace of the covariance of the leave-one-out estimator"
            ),
            delta: sy.Quantity(r"\Delta", r"$\mathrm{Var}(r)\,\mathrm{E}\|s\|^2 + \|\nabla J\|^2$"),
        },
        goals={
            "least at the mean": sp.Le(at_mean, at_other),
            "price of leave-one-out": sp.Eq(at_loo - at_mean, delta / (G * (G - 1))),
        },
    ),
    source=sy.Source(
        "2603.01162",
        "v3",
        "Corollary 5",
        says="the leave-one-out mean is asymptotically the best among baselines that depend on the prompt only",
        caveat="its Assumption 2 is a hypothesis of the corollary, which is asymptotic",
    ),
    verdict="proved",
    scope="every law of (reward, score), any number of parameters; the price at finite G holds without the hypothesis",
    proof=(
        r"The variance at b is $\frac{1}{G} (\mathrm{E}[r^2\|s\|^2] - 2 b\, \mathrm{E}[r\|s\|^2] + "
        r"b^2\, \mathrm{E}\|s\|^2 - \|\nabla J\|^2)$, a "
        r"parabola in b with its least point at $\mathrm{E}[r\|s\|^2] / \mathrm{E}\|s\|^2$. With no "
        r"correlation that point is J. Leave-one-out does not "
        r"know J: over index patterns its variance exceeds the one at J by $\Delta/(G(G-1))$, which is of order "
        r"$1/G^2$. All groups of a bandit with the shipped estimator confirm both; "
        "a softmax over two answers shows that the hypothesis is needed."
    ),
    finding=(
        r"In general the best constant is $b^* = J + \mathrm{Cov}(r, \|s\|^2)/\mathrm{E}\|s\|^2$. For "
        r"a softmax over two "
        r"answers it is $1 - p$, the failure rate: at $p = 1/4$ it takes the variance to zero, which the "
        "mean reward does not."
    ),
)


@claim.step(
    "The parabola",
    route="smt",
    shows=r"$V_b$ from index patterns is a parabola in b, least at $\mathrm{E}[r\|s\|^2]/\mathrm{E}\|s\|^2$",
)
def parabola(shift=0):
    J, g = sp.symbols("J1 g", real=True)
    RS, S = sp.symbols("RS S")

    def moment(exponents):
        a, power = exponents.get("r", 0), exponents.get("s", 0)
        known = {(0, 1): sp.Integer(0), (1, 1): g, (0, 2): size, (1, 2): weighted}
        return known[a, power] if (a, power) in known else sp.Symbol(f"m{a}{power}", real=True)

    kinds = {RS: {"r": 1, "s": 1}, S: {"s": 1}}

    def variance(baseline):
        return sy.over_rollouts(((RS - baseline * S) / G) ** 2, kinds, G, moment) - g**2

    values = {at_mean: variance(J + shift), at_other: variance(b), level: J, size: size, weighted: weighted}
    claim.goal("least at the mean").holds(values)


@claim.step(
    "What leave-one-out adds", route="sympy", shows="its variance less the one at J, by index patterns, any G"
)
def price(others=1):
    J, g = sp.symbols("J1 g", real=True)
    A, B, AB = sp.symbols("A B AB")

    def moment(exponents):
        a, power = exponents.get("r", 0), exponents.get("s", 0)
        known = {(0, 0): sp.Integer(1), (1, 0): J, (0, 1): sp.Integer(0), (1, 1): g, (0, 2): size}
        return known[a, power] if (a, power) in known else sp.Symbol(f"m{a}{power}", real=True)

    kinds = {A: {"r": 1}, B: {"s": 1}, AB: {"r": 1, "s": 1}}
    loo, fixed = (AB - (A * B - AB) / (G - others)) / G, (AB - J * B) / G
    squares = [sy.over_rollouts(x**2, kinds, G, moment) - g**2 for x in (loo, fixed)]
    spread = moment({"r": 2}) - J**2
    values = {at_loo: squares[0], at_mean: squares[1], delta: spread * size + g**2}
    claim.goal("price of leave-one-out").holds(values)


def constant(baseline):
    """REINFORCE with a constant baseline."""
    return compose(
        advantage=lambda rewards: rewards - float(baseline),
        surrogate=surrogate.likelihood,
        aggregate=aggregate.sequence_token_sum,
    )


def variance(bandit, group, estimator):
    """The trace of the covariance over all groups, with the weights read from the code."""
    return sy.group_moments(bandit, group, sy.weights_of(estimator)).trace_cov


def facts(bandit):
    """The expected reward, the mean squared score, and the mean of their product."""
    rows = list(zip(bandit.probabilities, bandit.rewards, bandit.scores, strict=True))
    squares = [sp.Add(*[x * x for x in s]) for _, _, s in rows]
    mean_square = sp.Add(*[c * n for (c, _, _), n in zip(rows, squares, strict=True)])
    product = sp.Add(*[c * r * n for (c, r, _), n in zip(rows, squares, strict=True)])
    return {level: bandit.value, size: mean_square, weighted: product}


@claim.step(
    "A bandit where they are uncorrelated",
    route="traced code",
    shows="all groups, three reward levels: the shipped leave-one-out and constant baselines, G = 2 and 3",
)
def uncorrelated(name="rloo", mean_shift=0):
    # Scores of sizes 1, 2 and 0, each with the mean reward 1.
    bandit = sy.SymbolicBandit(["1/6"] * 6, [2, 0, 0, 2, 1, 1], scores=[[1], [-1], [2], [-2], [0], [0]])
    J, gradient = bandit.value, bandit.gradient[0]
    spread = sp.Add(*[c * (r - J) ** 2 for c, r in zip(bandit.probabilities, bandit.rewards, strict=True)])
    for group in (2, 3):
        best = variance(bandit, group, constant(J + mean_shift))
        for other in (0, J - sp.Rational(1, 8), J + sp.Rational(1, 8), 2):
            values = {at_mean: best, at_other: variance(bandit, group, constant(other)), **facts(bandit)}
            claim.goal("least at the mean").holds(values, at={G: group, b: other})
        values = {
            at_loo: variance(bandit, group, catalogue.get(name)),
            at_mean: best,
            delta: spread * facts(bandit)[size] + gradient**2,
        }
        claim.goal("price of leave-one-out").holds(values, at={G: group})


@claim.counterexample(
    "Softmax over two answers, p = 1/4, G = 2: the constant 3/4 has variance 0, the constant J = 1/4 has "
    "3/64, leave-one-out 15/128; the engine agrees on all three.",
    p="1/4",
    G=2,
)
def quarter(p=QUARTER):
    bandit = sy.SymbolicBandit([p, 1 - p], [1, 0])
    estimators = (constant(1 - p), constant(p), catalogue.get("rloo"))
    exact = [sy.group_moments(bandit, 2, sy.weights_of(estimator)) for estimator in estimators]
    other, mean, loo = (moments.trace_cov for moments in exact)
    known = facts(bandit)
    without = "uncorrelated" if known[weighted] != known[level] * known[size] else ""
    claim.goal("least at the mean").fails(
        {at_mean: mean, at_other: other, **known}, at={G: 2, b: 1 - p}, without=without
    )
    for estimator, moments in zip(estimators, exact, strict=True):
        sy.engines_agree(sy.engine(estimator, bandit, 2), moments, estimator.name)
    return sy.Exhibit(text=f"variances: {other} at b = 1 - p, {mean} at b = p, {loo} for leave-one-out")


claim.sabotage("a baseline above the mean reward", parabola, shift=1)
claim.sabotage("the mean of all rollouts", price, others=0)
claim.sabotage("mean-centred in place of leave-one-out", uncorrelated, name="dr_grpo")
claim.sabotage("a baseline above the mean reward on the bandit", uncorrelated, mean_shift=QUARTER)
claim.sabotage("p = 1/2, where both constants are one", quarter, p=sp.Rational(1, 2))
