"""A16: with three reward levels the expected two-rollout GRPO update is the gradient of nothing."""

import itertools

import numpy as np
import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

claim = sy.Claim(
    id="A16",
    title="For any real rewards the expected two-rollout GRPO update has an objective",
    statement=(
        r"The contrastive view extends to real rewards: for any rewards there is an objective whose "
        r"gradient is the expected two-rollout GRPO update."
    ),
    source=sy.Source("2510.00977", "v3", "the extension to continuous rewards"),
    verdict="refuted",
    scope=(
        "softmax policies, three or more reward levels, standardised pairs without epsilon; with four "
        "levels not even the direction belongs to an objective"
    ),
    finding=(
        r"The update is $F_k = \pi_k [P(r < r_k) - P(r > r_k)]$ in the logits. Its curl is $-2 \pi_1 \pi_2 "
        r"\pi_3$ in each pair of coordinates: never zero. For two levels it is $\nabla p$, and the "
        r"mean-centred pair has the objective $J/2$ at any number of levels. Following F with frozen "
        r"weights is still well defined: one step, no destination that it climbs to."
    ),
)


def softmax(size):
    logits = sp.symbols(f"t1:{size + 1}", real=True)
    pi = sp.symbols(f"pi1:{size + 1}", positive=True)
    return logits, pi


def derivative(expression, pi, j):
    """d/dt_j of a polynomial in pi = softmax(t): d pi_i / d t_j = pi_i ([i = j] - pi_j)."""
    return sp.expand(
        sum(sp.diff(expression, pi[i]) * pi[i] * ((1 if i == j else 0) - pi[j]) for i in range(len(pi)))
    )


def field(pi, levels):
    """F_k for answers with these reward levels: sum over the others of pi_k pi_j sign(r_k - r_j)."""
    size = range(len(pi))
    return [sp.Add(*[pi[k] * pi[j] * sp.sign(levels[k] - levels[j]) for j in size]) for k in size]


def on_simplex(expression, pi):
    """Zero of a polynomial on the simplex: eliminate the last probability."""
    return sp.expand(expression.subs(pi[-1], 1 - sum(pi[:-1])))


def curl(levels):
    _, pi = softmax(len(levels))
    F = field(pi, levels)
    pairs = itertools.combinations(range(len(levels)), 2)
    return {(i, j): on_simplex(derivative(F[i], pi, j) - derivative(F[j], pi, i), pi) for i, j in pairs}, pi


@claim.step(
    "The curl",
    route="sympy",
    shows=(
        r"$\partial_j F_i - \partial_i F_j = \pm 2 \pi_1 \pi_2 \pi_3$ for three levels, and $0$ for two "
        r"(with any number of answers)"
    ),
)
def three(levels=(0, 1, 2)):
    computed, pi = curl(levels)
    product = on_simplex(2 * pi[0] * pi[1] * pi[2], pi)
    for (i, j), value in computed.items():
        sy.require(value in (product, -product), f"the curl at {i, j} is {sp.factor(value)}")
    for pair in ((0, 1), (0, 1, 1), (0, 0, 1, 1)):
        sy.require(all(v == 0 for v in curl(pair)[0].values()), f"two levels {pair}: no curl")
    return sy.Exhibit(formula=sp.latex(sp.factor(computed[0, 1])))


@claim.step(
    "No integrating factor for four levels",
    route="sympy",
    shows=r"Frobenius: $F \wedge dF \ne 0$ at a rational point, so F is not even $a(t) \nabla \phi(t)$",
)
def frobenius(levels=(0, 1, 2, 3)):
    size = len(levels)
    _, pi = softmax(size)
    F = field(pi, levels)
    point = dict(zip(pi, [sp.Rational(x, 10) for x in (1, 2, 3, 4)], strict=False))
    d = [
        [(derivative(F[j], pi, i) - derivative(F[i], pi, j)).subs(point) for j in range(size)]
        for i in range(size)
    ]
    f = [x.subs(point) for x in F]
    triples = itertools.combinations(range(size), 3)
    forms = [f[i] * d[j][k] + f[j] * d[k][i] + f[k] * d[i][j] for i, j, k in triples]
    sy.require(any(value != 0 for value in forms), "F and its curl allow an integrating factor")


@claim.step(
    "The field is the code's",
    route="enumeration",
    shows="exact means of the shipped pair on bandits with three and four levels are F",
)
def is_the_field(name="grpo"):
    settings = {"eps": 0.0} if name == "grpo" else {}
    for chances, rewards in (((1, 2, 3), (0, 1, 5)), ((1, 2, 3, 4), (3, -1, 0, 7))):
        bandit = sy.SymbolicBandit([sp.Rational(c, sum(chances)) for c in chances], rewards)
        mean = sy.group_moments(bandit, 2, sy.weights_of(catalogue.get(name, **settings))).mean
        pi = softmax(len(rewards))[1]
        values = [x.subs(dict(zip(pi, bandit.probabilities, strict=True))) for x in field(pi, rewards)]
        sy.equal(mean, values, f"the expected pair at rewards {rewards}")


@claim.counterexample(
    "pi = (1/2, 1/3, 1/6), rewards (0, 1, 2): the update's Jacobian in the logits, by central differences "
    "of the engine's exact means, is not symmetric; its curl is 2/36 = 1/18.",
    pi="(1/2, 1/3, 1/6)",
    rewards="(0, 1, 2)",
)
def engine_curl(rewards=(0, 1, 2), step=sp.Rational(1, 1000)):
    base = [sp.Rational(1, 2), sp.Rational(1, 3), sp.Rational(1, 6)]
    h = float(step)

    def mean(tilt):
        raw = np.asarray([float(x) for x in base]) * np.exp(tilt)
        bandit = sy.SymbolicBandit([sp.Rational(1, 3)] * 3, rewards)
        object.__setattr__(bandit, "probabilities", tuple(sp.Float(x, 30) for x in raw / raw.sum()))
        return np.asarray(sy.engine(catalogue.get("grpo", eps=0.0), bandit, 2).mean).reshape(-1)

    rows = [(mean(h * e) - mean(-h * e)) / (2 * h) for e in np.eye(3)[:2]]
    seen = rows[1][0] - rows[0][1]
    sy.require(abs(abs(seen) - 1 / 18) < 1e-5, f"the curl is {seen}")


claim.sabotage("two of the three rewards equal", three, levels=(0, 1, 1))
claim.sabotage("two levels among four answers", frobenius, levels=(0, 0, 1, 1))
claim.sabotage("the mean-centred pair", is_the_field, name="dr_grpo")
claim.sabotage("two levels in the engine", engine_curl, rewards=(0, 1, 1))
