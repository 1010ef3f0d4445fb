"""N1: with binary rewards four numbers of a prompt determine mean and variance of every group estimator."""

import itertools

import sympy as sp
from _binary import shipped

from gradvar import catalogue
from gradvar import symbolic as sy

G, k = sp.symbols("G k", positive=True)
p = sp.Symbol("p", positive=True)
a, b = sp.symbols("a_k b_k", real=True)
signal, v1, v0 = sp.symbols("g2 v1 v0", positive=True)

claim = sy.Claim(
    id="N1",
    title="The four-number law: mean and variance of any group estimator with binary rewards, at every group size",
    statement=(
        r"Let $p = P(r=1)$, $g = \nabla p$, $v_1 = \mathrm{E}[\|s\|^2 | r=1]$, $v_0 = \mathrm{E}[\|s\|^2 | r=0]$, and let a group with k correct rollouts give advantages $a_k$ (correct) and $b_k$ "
        r"(wrong). Then $\mathrm{E}\hat g = \mathrm{E}_k\left[\frac{k a_k}{G p} - \frac{(G-k) b_k}{G(1-p)}\right] g$ and "
        r"$\mathrm{E}\|\hat g\|^2 = \frac{1}{G^2} \mathrm{E}_k\left[ a_k^2 \left(k v_1 + \frac{k(k-1)\|g\|^2}{p^2}\right) + b_k^2 \left((G-k) v_0 + \frac{(G-k)(G-k-1)\|g\|^2}{(1-p)^2}\right) - "
        r"\frac{2 a_k b_k k (G-k) \|g\|^2}{p(1-p)} \right]$, $k \sim$ Binomial(G, p). So $(p, \|g\|^2, v_1, v_0)$ determine bias and $\mathrm{tr\,Cov}$ of every such estimator at every G."
    ),
    source=sy.Source("this project", "", "the four numbers and the group size"),
    verdict="proved",
    ours=True,
    scope="every G and k (symbolic), every law of the score with finite second moments, any number of parameters; advantages that depend on the group's rewards only and treat equal rewards equally",
    hypotheses=(
        "binary rewards",
        "on policy, no clip in force",
        "the sequence score: token scores summed, no division by length",
    ),
    finding=(
        r"For pairs with leave-one-out $\mathrm{tr\,Cov} = p(1-p)(v_1 + v_0)/2$: the signal drops out. A pool of rollouts needs to be scored once: every estimator and group size is then a sum over k. No three of the numbers are enough, and with three reward levels, "
        r"or advantages that look at lengths, the law does not hold."
    ),
)


def one_kind(exponents, mean, square):
    """E[s^j] within one outcome, one coordinate: j up to 2."""
    return {0: sp.Integer(1), 1: mean, 2: square}[exponents.get("s", 0)]


@claim.step(
    "Given k, coordinate by coordinate",
    route="sympy",
    shows=(
        r"the k correct scores are independent with mean $m_1 = g/p$, the $G-k$ wrong ones with mean $m_0 = -g/(1-p)$ (because $p m_1 + (1-p) m_0 = 0$); "
        r"the square of $a \sum_{\mathrm{right}} s + b \sum_{\mathrm{wrong}} s$ by index patterns, k and G symbolic"
    ),
)
def given_k(sign=-1, distinct=1):
    g, w1, w0 = sp.symbols("g w1 w0", real=True)
    m1, m0 = g / p, sign * g / (1 - p)
    sy.equal(p * m1 + (1 - p) * m0, 0, "the mean score is zero")
    S = sp.Symbol("S")
    right = [sy.over_rollouts(S**n, {S: {"s": 1}}, k, lambda e: one_kind(e, m1, w1)) for n in (1, 2)]
    wrong = [sy.over_rollouts(S**n, {S: {"s": 1}}, G - k, lambda e: one_kind(e, m0, w0)) for n in (1, 2)]
    mean = (a * right[0] + b * wrong[0]) / G
    sy.equal(mean, (k * a / p - (G - k) * b / (1 - p)) / G * g, "the mean given k")
    second = (a**2 * right[1] + 2 * a * b * right[0] * wrong[0] + b**2 * wrong[1]) / G**2
    claimed = law_given_k(G, k, a, b, p, g**2, w1, w0, distinct)
    sy.equal(second, claimed, "the second moment given k")


def law_given_k(size, count, right, wrong, chance, square, w1, w0, distinct=1):
    """E||ghat||^2 given k correct rollouts."""
    rest = size - count
    self_term = right**2 * count * w1 + wrong**2 * rest * w0
    pairs = (
        right**2 * count * (count - distinct) / chance**2
        + wrong**2 * rest * (rest - distinct) / (1 - chance) ** 2
    )
    return (
        self_term + square * (pairs - 2 * right * wrong * count * rest / (chance * (1 - chance)))
    ) / size**2


def law(advantages, size, chance, square, w1, w0):
    """(bias factor, E||ghat||^2) by the sum over k."""
    factor = second = sp.Integer(0)
    for count in range(size + 1):
        weight = sp.binomial(size, count) * chance**count * (1 - chance) ** (size - count)
        right, wrong = advantages(count)
        factor += weight * (count * right / chance - (size - count) * wrong / (1 - chance)) / size
        second += weight * law_given_k(size, count, right, wrong, chance, square, w1, w0)
    return sp.expand(factor), sp.expand(second)


def four(bandit):
    """(p, ||g||^2, v1, v0) of an exact bandit with rewards 0 and 1."""
    rows = list(zip(bandit.probabilities, bandit.rewards, bandit.scores, strict=True))
    chance = bandit.value
    norms = [sp.Add(*[x * x for x in s]) for _, _, s in rows]
    w1 = sp.Add(*[c * r * n for (c, r, _), n in zip(rows, norms, strict=True)]) / chance
    w0 = sp.Add(*[c * (1 - r) * n for (c, r, _), n in zip(rows, norms, strict=True)]) / (1 - chance)
    return chance, sp.Add(*[x * x for x in bandit.gradient]), w1, w0


FOUR_ANSWERS = sy.SymbolicBandit(["1/2", "1/4", "1/6", "1/12"], [0, 1, 0, 1])
ESTIMATORS = {"rloo": {}, "grpo": {"eps": 0.0}, "maxrl": {}, "reinforce": {}, "pass_at_k": {}}


@claim.step(
    "Five shipped estimators, four answers",
    route="enumeration",
    shows="all ordered groups at G = 2, 3, 4 in exact numbers against the sum over k",
)
def enumerated(shift=0, names=tuple(ESTIMATORS)):
    for name, size in itertools.product(names, (2, 3, 4)):
        if size == 4 and name != "grpo":
            continue
        chance, square, w1, w0 = four(FOUR_ANSWERS)
        factor, second = law(shipped(name, size, **ESTIMATORS[name]), size, chance, square, w1 + shift, w0)
        moments = sy.group_moments(FOUR_ANSWERS, size, sy.weights_of(catalogue.get(name, **ESTIMATORS[name])))
        sy.equal(moments.mean, [factor * g for g in FOUR_ANSWERS.gradient], f"mean of {name} at G = {size}")
        sy.equal(moments.second, second, f"second moment of {name} at G = {size}")


@claim.step(
    "The engine, G = 5",
    route="exact engine",
    shows="GRPO at a group size that the rationals do not visit; bias factor and trace of the covariance",
)
def engine_agrees(lower=0):
    size = 5
    chance, square, w1, w0 = four(FOUR_ANSWERS)
    factor, second = law(shipped("grpo", size, eps=0.0), size, chance, square, w1, w0)
    moments = sy.engine(catalogue.get("grpo", eps=0.0), FOUR_ANSWERS, size)
    sy.require(abs(moments.bias_factor - float(factor)) < 1e-11, "the bias factor")
    spread = float(second - factor**2 * square) * (1 - lower)
    sy.require(abs(moments.trace_cov - spread) < 1e-11, "the trace of the covariance")


@claim.step(
    "No three are enough",
    route="enumeration",
    shows="for each of the four numbers a pair of one- or two-parameter bandits that agree in the other three and differ in the variance of leave-one-out at G = 3",
)
def minimal(change=(1, 1, 1, 1)):
    # Two correct and two wrong answers, equally likely, in two orthogonal directions: p, |g|, v1, v0 are free of each other.
    def bandit(chance, mean, w1, w0):
        x, y = sp.sqrt(w1 - mean**2), sp.sqrt(w0 - (mean * chance / (1 - chance)) ** 2)
        low = -mean * chance / (1 - chance)
        half = [chance / 2, chance / 2, (1 - chance) / 2, (1 - chance) / 2]
        return sy.SymbolicBandit(half, [1, 1, 0, 0], scores=[[mean, x], [mean, -x], [low, y], [low, -y]])

    def variance(numbers):
        chance, square, w1, w0 = numbers
        computed = bandit(chance, sp.sqrt(square) / chance, w1, w0)
        sy.equal(four(computed), list(numbers), "the four numbers of the bandit")
        return sy.group_moments(computed, 3, sy.weights_of(catalogue.get("rloo"))).trace_cov

    base = [sp.Rational(1, 2), sp.Rational(1, 16), sp.Rational(2), sp.Rational(2)]
    others = [sp.Rational(1, 3), sp.Rational(1, 36), sp.Rational(3), sp.Rational(5, 2)]
    reference = variance(base)
    for place, other in enumerate(others):
        numbers = list(base)
        numbers[place] = other if change[place] else base[place]
        sy.require(sp.simplify(variance(numbers) - reference) != 0, f"number {place} changes the variance")


claim.sabotage("scores of wrong rollouts with the sign of the correct ones", given_k, sign=1)
claim.sabotage("a rollout paired with itself", given_k, distinct=0)
claim.sabotage("another v1", enumerated, shift=1, names=("rloo",))
claim.sabotage("a variance smaller by a thousandth", engine_agrees, lower=1e-3)
claim.sabotage("a number that is left as it was", minimal, change=(1, 1, 0, 1))
