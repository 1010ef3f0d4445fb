"""B4: when the mean reward is the best baseline that depends on the prompt only, and what leave-one-out adds."""

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import aggregate, surrogate

SOURCE = sy.Source("2603.01162", "v3", "Corollary 5 (as the ledger has it; only the abstract was at hand)")

QUARTER = sp.Rational(1, 4)

claim = sy.Claim(
    id="B4",
    title="The mean reward is the best prompt-only baseline iff reward and squared score are uncorrelated",
    statement=r"Among baselines $b(x)$ that depend on the prompt only, the value $J(x)$, and hence asymptotically the leave-one-out mean, gives the least variance.",
    source=SOURCE,
    verdict="conditional",
    scope="every law of (reward, score) with E[s] = 0, any number of parameters; finite G for the price of leave-one-out",
    hypotheses=(
        r"$\mathrm{Cov}(r, \|s\|^2) = 0$",
        r"$G \to \infty$: at finite G leave-one-out has $\Delta/(G(G-1))$ more variance than the constant baseline J",
    ),
    finding=(
        r"The best constant is $b^* = \frac{\mathrm{E}[r\|s\|^2]}{\mathrm{E}\|s\|^2} = J + \frac{\mathrm{Cov}(r, \|s\|^2)}{\mathrm{E}\|s\|^2}$. For a softmax over two answers it is $1 - p$, the failure rate: at $p = 1/4$ it takes the variance to "
        r"zero, which the mean reward does not."
    ),
)


@claim.step(
    "The best constant",
    route="sympy",
    shows=r"$\mathrm{E}\|(r - b)s\|^2 = \mathrm{E}[r^2\|s\|^2] - 2b\,\mathrm{E}[r\|s\|^2] + b^2\,\mathrm{E}\|s\|^2$ is least at $b^*$; excess at J is $\mathrm{Cov}(r, \|s\|^2)^2/\mathrm{E}\|s\|^2$",
)
def best(weighted=1):
    b, J, r2n, rn, n = sp.symbols("b J r2n rn n", real=True)
    value = r2n - 2 * b * rn + b**2 * n
    star = weighted * rn / n + (1 - weighted) * J
    sy.equal(sp.diff(value, b).subs(b, star), 0, "the derivative at the best constant")
    sy.equal(value.subs(b, J) - value.subs(b, star), (rn - J * n) ** 2 / n, "the excess at J")


@claim.step(
    "Iff uncorrelated",
    route="smt",
    shows=r"with $n = \mathrm{E}\|s\|^2 > 0$ the variance at J is least among all b iff $\mathrm{E}[r\|s\|^2] = J n$",
)
def iff(covariance=0):
    b, J, rn = sp.symbols("b J rn", real=True)
    n = sp.Symbol("n", positive=True)
    value = lambda x: -2 * x * rn + x**2 * n  # noqa: E731
    sy.require(
        sy.smt_valid([sp.Eq(rn, J * n + covariance)], value(b) >= value(J)), "J is least when uncorrelated"
    )
    sy.require(
        sy.smt_valid([sp.Ne(rn, J * n)], value(rn / n) < value(J)),
        "the best constant is strictly better otherwise",
    )


def constant(b):
    """REINFORCE with the baseline b."""
    return compose(
        advantage=lambda rewards: rewards - float(b),
        surrogate=surrogate.likelihood,
        aggregate=aggregate.sequence_token_sum,
    )


@claim.step(
    "A bandit where they are uncorrelated",
    route="enumeration",
    shows=r"four answers with scores $\pm 1$ and rewards that ignore the size of the score: J beats its neighbours, and leave-one-out at G = 2, 3 is $\Delta/(G(G-1))$ worse",
)
def uncorrelated(double=1):
    quarter = ["1/4"] * 4
    bandit = sy.SymbolicBandit(quarter, [1, 0, 1, 1], scores=[[double], [-1], [1], [-double]])
    J = bandit.value
    point = {
        b: sy.group_moments(bandit, 2, sy.weights_of(constant(b))).trace_cov
        for b in (J, J - sp.Rational(1, 8), J + sp.Rational(1, 8))
    }
    sy.require(point[J] == min(point.values()), "the mean reward is the best of three constants")
    gradient = bandit.gradient[0]
    delta = J * (1 - J) * 1 + gradient**2
    for size in (2, 3):
        loo = sy.group_moments(bandit, size, sy.weights_of(catalogue.get("rloo"))).trace_cov
        fixed = sy.group_moments(bandit, size, sy.weights_of(constant(J))).trace_cov
        sy.equal(loo - fixed, delta / (size * (size - 1)), f"the price at G = {size}")


@claim.counterexample(
    "Softmax over two answers, p = 1/4, G = 2: the constant 3/4 has variance 0, the constant J = 1/4 has 3/64, leave-one-out 15/128; the engine agrees on all three.",
    p="1/4",
    G=2,
)
def quarter(p=QUARTER):
    bandit = sy.SymbolicBandit([p, 1 - p], [1, 0])
    values = []
    for estimator in (constant(1 - p), constant(p), catalogue.get("rloo")):
        exact = sy.group_moments(bandit, 2, sy.weights_of(estimator))
        sy.engines_agree(sy.engine(estimator, bandit, 2), exact, estimator.name)
        values.append(exact.trace_cov)
    sy.equal(values[0], 0, "the variance at the best constant")
    sy.require(0 < values[1] < values[2], f"the three variances are {values}")
    return sy.Exhibit(
        text=f"variances: {values[0]} at b = 1 - p, {values[1]} at b = p, {values[2]} for leave-one-out"
    )


claim.sabotage("the mean reward whatever the scores", best, weighted=0)
claim.sabotage("a covariance", iff, covariance=1)
claim.sabotage("correct rollouts with larger scores", uncorrelated, double=3)
claim.sabotage("p = 1/2, where both constants are one", quarter, p=sp.Rational(1, 2))
