"""N1: with binary rewards four numbers of a prompt determine mean and variance of every group estimator."""

import itertools

import sympy as sp
from _binary import shipped

from gradvar import catalogue
from gradvar import symbolic as sy

G, k = sp.Symbol("G", positive=True, integer=True), sp.Symbol("k", nonnegative=True, integer=True)
p = sp.Symbol("p", positive=True)
right, wrong = sp.symbols("a b", real=True)
square, v1, v0, mean_given, second_given = sp.symbols("g2 v1 v0 m q", real=True)
second, factor, law_second, law_factor, base_variance, other_variance = sp.symbols(
    "Q w Q_law w_law V V_other", real=True
)


def law_given_k(size, count, a, b, chance, norm, w1, w0):
    """E||ghat||^2 given k correct rollouts."""
    rest = size - count
    self_term = a**2 * count * w1 + b**2 * rest * w0
    pairs = a**2 * count * (count - 1) / chance**2 + b**2 * rest * (rest - 1) / (1 - chance) ** 2
    return (self_term + norm * (pairs - 2 * a * b * count * rest / (chance * (1 - chance)))) / size**2


claim = sy.Claim(
    id="N1",
    title="The four-number law: mean and variance of any group estimator with binary rewards, at every group size",
    statement=sy.Statement(
        setting=(
            "Binary rewards, on policy with no clip in force, sequence scores; advantages that depend on the "
            "group's rewards only and treat equal rewards equally"
        ),
        forall={G: sy.whole(2), k: sy.whole(0), p: sy.between(0, 1)},
        given={"count": sy.Hypothesis("k is at most G", k <= G, stated_by="ours")},
        quantities={
            right: sy.Quantity("a_k", "the advantage of a correct rollout in a group with k correct ones"),
            wrong: sy.Quantity("b_k", "that of a wrong rollout"),
            square: sy.Quantity(r"\|g\|^2", r"the squared norm of $g = \nabla p$"),
            v1: sy.Quantity("v_1", r"$\mathrm{E}[\|s\|^2 | r = 1]$"),
            v0: sy.Quantity("v_0", r"$\mathrm{E}[\|s\|^2 | r = 0]$"),
            mean_given: sy.Quantity("m_k", r"the factor of g in $\mathrm{E}[\hat g | k]$"),
            second_given: sy.Quantity("q_k", r"$\mathrm{E}[\|\hat g\|^2 | k]$"),
            factor: sy.Quantity("w", r"the factor of g in $\mathrm{E}\hat g$"),
            law_factor: sy.Quantity(r"\mathrm{E}_k m_k", r"the mean of $m_k$ over k of $\mathrm{Bin}(G, p)$"),
            second: sy.Quantity(r"\mathrm{E}\|\hat g\|^2", "the mean squared norm over all groups"),
            law_second: sy.Quantity(r"\mathrm{E}_k q_k", r"the mean of $q_k$ over k of $\mathrm{Bin}(G, p)$"),
            base_variance: sy.Quantity(
                "V", r"leave-one-out's $\mathrm{tr\,Cov}$ at G = 3 for the numbers (1/2, 1/16, 2, 2)"
            ),
            other_variance: sy.Quantity("V'", "the same where one of the four numbers is another"),
        },
        goals={
            "mean given k": sp.Eq(mean_given, (k * right / p - (G - k) * wrong / (1 - p)) / G),
            "second moment given k": sp.Eq(second_given, law_given_k(G, k, right, wrong, p, square, v1, v0)),
            "mean": sp.Eq(factor, law_factor),
            "second moment": sp.Eq(second, law_second),
            "no three are enough": sp.Ne(base_variance, other_variance),
        },
    ),
    source=sy.Source("this project", "", "the four numbers and the group size", relation="ours"),
    verdict="proved",
    scope="every G and k, every law of the score with finite second moments, any number of parameters",
    proof=(
        r"Given k the correct rollouts' scores are independent with the mean $g/p$, the wrong ones' with "
        r"$-g/(1-p)$, as the two average to zero. So the square of $a \sum_{\text{right}} s + b "
        r"\sum_{\text{wrong}} s$ has k and $G - k$ terms of one rollout, with the means $v_1$ and $v_0$, and "
        r"pairs of different ones whose means multiply. Averaged over the binomial k this is mean and second "
        r"moment over all groups: for leave-one-out at every G by an expansion that knows nothing of k, for "
        r"five shipped estimators group by group, and in the engine. Each of the four numbers moves the "
        r"variance of leave-one-out while the other three stay."
    ),
    finding=(
        r"So $(p, \|g\|^2, v_1, v_0)$ determine bias and $\mathrm{tr\,Cov}$ of every such estimator at every "
        r"G. For pairs with leave-one-out $\mathrm{tr\,Cov} = p(1-p)(v_1 + v_0)/2$: the signal drops out. A "
        r"pool of rollouts needs to be scored once: every estimator and group size is then a sum over k. No "
        r"three of the numbers are enough, and with three reward levels, or advantages that look at lengths, "
        r"the law does not hold."
    ),
)


@claim.step(
    "Given k, and leave-one-out at every G",
    route="sympy",
    shows=(
        r"index patterns of $a \sum_{\mathrm{right}} s + b \sum_{\mathrm{wrong}} s$, k and G symbols; "
        r"leave-one-out's square by patterns over all rollouts against the sum over k"
    ),
)
def given_k(sign=-1, distinct=0, extra=0):
    a, b, g, w1, w0 = sp.symbols("x y g v1 v0", real=True)
    means = g / p, sign * g / (1 - p)
    S = sp.Symbol("S")

    def powers(count, mean, norm):
        table = {0: sp.Integer(1), 1: mean, 2: norm}
        return [sy.over_rollouts(S**n, {S: {"s": 1}}, count, lambda e: table[e.get("s", 0)]) for n in (1, 2)]

    good, bad = powers(k, means[0], w1), powers(G - k, means[1], w0)
    values = {
        mean_given: (a * good[0] + b * bad[0]) / G / g,
        second_given: (a**2 * (good[1] + distinct) + 2 * a * b * good[0] * bad[0] + b**2 * bad[1]) / G**2,
        right: a,
        wrong: b,
        square: g**2,
        v1: w1,
        v0: w0,
    }
    claim.goal("mean given k").holds(values)
    claim.goal("second moment given k").holds(values)
    R, RS = sp.symbols("R RS")
    sums = {R: {"r": 1}, S: {"s": 1}, RS: {"r": 1, "s": 1}}
    moment = sy.centred_score_moments(p, g, w1, w0)
    loo = (G * RS - R * S) / (G * (G - 1))
    advantages = (G - k) / (G - 1), -k / (G - 1)  # of leave-one-out
    by_law = [
        sy.over_binomial_symbolic(sp.expand(sp.simplify(e)), k, G + extra, p)
        for e in (
            (k * advantages[0] / p - (G - k) * advantages[1] / (1 - p)) / G,
            law_given_k(G, k, *advantages, p, g**2, w1, w0),
        )
    ]
    claim.goal("mean").holds({factor: sy.over_rollouts(loo, sums, G, moment) / g, law_factor: by_law[0]})
    claim.goal("second moment").holds(
        {second: sy.over_rollouts(loo**2, sums, G, moment), law_second: by_law[1]}
    )


def law(advantages, size, chance, norm, w1, w0):
    """(mean of m_k, mean of q_k) by the sum over k."""
    mean = square_mean = sp.Integer(0)
    for count in range(size + 1):
        weight = sp.binomial(size, count) * chance**count * (1 - chance) ** (size - count)
        a, b = advantages(count)
        mean += weight * (count * a / chance - (size - count) * b / (1 - chance)) / size
        square_mean += weight * law_given_k(size, count, a, b, chance, norm, w1, w0)
    return sp.expand(mean), sp.expand(square_mean)


def four(bandit):
    """(p, ||g||^2, v1, v0) of an exact bandit with rewards 0 and 1."""
    rows = list(zip(bandit.probabilities, bandit.rewards, bandit.scores, strict=True))
    chance = bandit.value
    norms = [sp.Add(*[x * x for x in s]) for _, _, s in rows]
    w1 = sp.Add(*[c * r * n for (c, r, _), n in zip(rows, norms, strict=True)]) / chance
    w0 = sp.Add(*[c * (1 - r) * n for (c, r, _), n in zip(rows, norms, strict=True)]) / (1 - chance)
    return chance, sp.Add(*[x * x for x in bandit.gradient]), w1, w0


FOUR_ANSWERS = sy.SymbolicBandit(["1/2", "1/4", "1/6", "1/12"], [0, 1, 0, 1])
ESTIMATORS = {"rloo": {}, "grpo": {"eps": 0.0}, "maxrl": {}, "reinforce": {}, "pass_at_k": {}, "dr_grpo": {}}


def groups_with(bandit, size, weights, count):
    """Chance, mean and second moment of the groups with this many correct rollouts."""
    chosen = lambda r: weights(r) if sum(r) == count else (0,) * size  # noqa: E731
    return sy.group_moments(bandit, size, chosen)


@claim.step(
    "Shipped estimators, four answers",
    route="enumeration",
    shows=(
        "all ordered groups of 2 and 3, by the number of correct rollouts and in total, GRPO at 4 as "
        "well, in exact numbers"
    ),
)
def enumerated(shift=0, names=tuple(ESTIMATORS)):
    chance, norm, w1, w0 = four(FOUR_ANSWERS)
    for name, size in itertools.product(names, (2, 3, 4)):
        if size == 4 and name != "grpo":
            continue
        weights = sy.weights_of(catalogue.get(name, **ESTIMATORS[name]))
        advantages = shipped(name, size, **ESTIMATORS[name])
        by_law = law(advantages, size, chance, norm, w1 + shift, w0)
        exact = sy.group_moments(FOUR_ANSWERS, size, weights)
        claim.goal("mean").holds(
            {factor: exact.mean[1] / FOUR_ANSWERS.gradient[1], law_factor: by_law[0]}, at={G: size}
        )
        claim.goal("second moment").holds({second: exact.second, law_second: by_law[1]}, at={G: size})
        for count in range(size + 1 if size < 4 else 0):
            share = sp.binomial(size, count) * chance**count * (1 - chance) ** (size - count)
            part = groups_with(FOUR_ANSWERS, size, weights, count)
            a, b = advantages(count)
            values = {
                mean_given: part.mean[1] / FOUR_ANSWERS.gradient[1] / share,
                second_given: part.second / share,
                right: a,
                wrong: b,
                square: norm,
                v1: w1 + shift,
                v0: w0,
            }
            place = {G: size, k: count, p: chance}
            claim.goal("mean given k").holds(values, at=place)
            claim.goal("second moment given k").holds(values, at=place)


@claim.step(
    "The engine, G = 5", route="exact engine", shows="GRPO at a group size that the rationals do not visit"
)
def engine_agrees(lower=0):
    chance, norm, w1, w0 = four(FOUR_ANSWERS)
    by_law = law(shipped("grpo", 5), 5, chance, norm, w1, w0)
    moments = sy.engine(catalogue.get("grpo"), FOUR_ANSWERS, 5)
    claim.goal("mean").holds(
        {factor: float(moments.bias_factor), law_factor: by_law[0]}, at={G: 5}, tolerance=1e-11
    )
    total = float(moments.trace_cov + moments.signal) * (1 - lower)
    claim.goal("second moment").holds({second: total, law_second: by_law[1]}, at={G: 5}, tolerance=1e-11)


BASE = [sp.Rational(1, 2), sp.Rational(1, 16), sp.Rational(2), sp.Rational(2)]
CHANGED = [sp.Rational(1, 3), sp.Rational(1, 36), sp.Rational(3), sp.Rational(5, 2)]


def each_changed(variance, change):
    """Hand over the variances of the base and of the four neighbours that differ in one number."""
    for place, value in enumerate(CHANGED):
        numbers = list(BASE)
        numbers[place] = value if change[place] else BASE[place]
        claim.goal("no three are enough").holds(
            {base_variance: variance(BASE), other_variance: variance(numbers)}
        )


@claim.step(
    "No three are enough, by the law",
    route="sympy",
    shows="leave-one-out at G = 3, one number changed at a time",
)
def minimal_by_law(change=(1, 1, 1, 1)):
    loo = lambda count: (sp.Rational(3 - count, 2), -sp.Rational(count, 2))  # noqa: E731

    def variance(numbers):
        mean, total = law(loo, 3, *numbers)
        return total - mean**2 * numbers[1]

    each_changed(variance, change)


@claim.step(
    "No three are enough, by bandits",
    route="enumeration",
    shows=(
        "bandits of four answers in two orthogonal directions with these numbers: all groups of the "
        "shipped RLOO at G = 3"
    ),
)
def minimal(change=(1, 1, 1, 1)):
    def variance(numbers):
        chance, norm, w1, w0 = numbers
        mean = sp.sqrt(norm) / chance
        low = -mean * chance / (1 - chance)
        x, y = sp.sqrt(w1 - mean**2), sp.sqrt(w0 - low**2)
        halves = [chance / 2, chance / 2, (1 - chance) / 2, (1 - chance) / 2]
        bandit = sy.SymbolicBandit(halves, [1, 1, 0, 0], scores=[[mean, x], [mean, -x], [low, y], [low, -y]])
        sy.equal(four(bandit), list(numbers), "the four numbers of the bandit")
        return sy.group_moments(bandit, 3, sy.weights_of(catalogue.get("rloo"))).trace_cov

    each_changed(variance, change)


claim.sabotage("scores of wrong rollouts with the sign of the correct ones", given_k, sign=1)
claim.sabotage("a rollout counted twice", given_k, distinct=1)
claim.sabotage("the binomial law of a larger group", given_k, extra=1)
claim.sabotage("another v1", enumerated, shift=1, names=("rloo",))
claim.sabotage("a second moment smaller by a thousandth", engine_agrees, lower=1e-3)
claim.sabotage("a number that is left as it was, by the law", minimal_by_law, change=(1, 0, 1, 1))
claim.sabotage("a number that is left as it was", minimal, change=(1, 1, 0, 1))
