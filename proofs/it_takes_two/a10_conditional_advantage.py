"""A10: the mean advantage of a correct rollout: one large group against many pairs."""

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

p = sp.Symbol("p", positive=True)
G, n = sp.symbols("G n", integer=True, positive=True)


def standardised(size):
    """The advantage of a rollout with this reward where k of ``size`` are correct: population std, no epsilon."""

    def advantage(k, reward):
        share = sp.Rational(k, size)
        return 0 if k in (0, size) else (reward - share) / sp.sqrt(share * (1 - share))

    return advantage


def conditional(size, reward, advantage, power=1):
    """E[A_i^power | r_i = reward]: the other G - 1 rollouts are binomial."""
    return sy.over_binomial(lambda others: advantage(others + reward, reward) ** power, size - 1, p)


def shipped(size, **settings):
    """The advantages that the shipped GRPO gives to the first rollout, its rewards sorted behind it."""
    weights = sy.weights_of(catalogue.get("grpo", **{"eps": 0.0, **settings}))

    def advantage(k, reward):
        rewards = [reward] + [1] * (k - reward) + [0] * (size - 1 - k + reward)
        return size * weights(tuple(map(sp.Integer, rewards)))[0]

    return advantage


right, wrong, spread_right, spread_wrong = sp.symbols("e_1 e_0 v_1 v_0", real=True)

pairs = sy.Claim(
    id="A10b",
    title="Many pairs: the mean advantage is x - p, exactly and at once",
    statement=sy.Statement(
        setting="Pairs of one prompt, binary rewards, standardised advantages",
        forall={p: sy.between(0, 1), n: sy.whole(1)},
        given={
            "population": sy.Hypothesis(
                r"the advantages of a mixed pair are $\pm 1$, as the source has them: the population's standard "
                "deviation, with nothing added to it (claim A8)"
            )
        },
        quantities={
            right: sy.Quantity(r"\mathrm{E}[A | r = 1]", "the mean advantage of a correct rollout"),
            wrong: sy.Quantity(r"\mathrm{E}[A | r = 0]", "that of a wrong one"),
            spread_right: sy.Quantity(
                "v_1", "the mean squared distance of an average over n correct rollouts of n pairs from it"
            ),
            spread_wrong: sy.Quantity("v_0", "the same for n wrong ones"),
        },
        goals={
            "means": sp.And(sp.Eq(right, 1 - p), sp.Eq(wrong, -p)),
            "averages": sp.And(sp.Eq(spread_right, p * (1 - p) / n), sp.Eq(spread_wrong, p * (1 - p) / n)),
            "limit": sp.And(
                sp.Eq(sp.Limit(spread_right, n, sp.oo), 0), sp.Eq(sp.Limit(spread_wrong, n, sp.oo), 0)
            ),
        },
    ),
    source=sy.Source(
        "2510.00977",
        "v3",
        "Proposition C.1, second part",
        says="the average advantage over many pairs tends to the reward less the success rate",
    ),
    verdict="proved",
    scope="every p; the mean is exact for one pair, and the average tends to it in mean square",
    proof=(
        "A correct rollout has the advantage 1 if the other one is wrong, which happens with chance $1 - p$, and 0 "
        "else; a wrong one has -1 if the other is correct, with chance p. So the means are $1 - p$ and $-p$ for a "
        "single pair. Over n independent pairs the mean squared distance of the average from its mean is the "
        "variance of one advantage over n, $p (1 - p)/n$, which tends to 0. The shipped advantages at all rewards "
        "of a pair give the same."
    ),
    finding=(
        r"With the sample standard deviation it is $(x - p)/\sqrt{2}$, with an epsilon $(x - p)/(1 + 2 \epsilon)$: "
        "the same direction. The mean-centred pair gives $(x - p)/2$."
    ),
)


def averaged(size, advantage):
    """Compute the means of one group's advantages, and the mean squared error of an average over n groups."""
    values = {}
    for reward, name, spread in ((1, right, spread_right), (0, wrong, spread_wrong)):
        values[name] = sp.expand(conditional(size, reward, advantage))
        total = sp.Symbol("S")

        def moment(exponents, reward=reward):
            power = exponents.get("a", 0)
            return conditional(size, reward, advantage, power) if power else sp.Integer(1)

        error = (total / n - values[name]) ** 2
        values[spread] = sp.factor(sy.over_rollouts(error, {total: {"a": 1}}, n, moment))
    return values


def discharge(values):
    pairs.goal("means").holds({s: values[s] for s in (right, wrong)})
    for goal in ("averages", "limit"):
        pairs.goal(goal).holds({s: values[s] for s in (spread_right, spread_wrong)})


@pairs.step(
    "By the definition",
    route="sympy",
    shows=(
        r"$\mathrm{E}[A | r = 1] = (1 - p) \cdot 1 + p \cdot 0$ and $\mathrm{E}[A | r = 0] = -p$; averages over n "
        "pairs"
    ),
)
def one_pair(size=2):
    discharge(averaged(size, standardised(size)))


@pairs.step(
    "The shipped advantages",
    route="traced code",
    shows="the same from the traced weights at rewards (1, 1), (1, 0), (0, 1), (0, 0); the bare pair objective too",
)
def traced(ddof=0):
    discharge(averaged(2, shipped(2, ddof=ddof)))
    weights = sy.weights_of(catalogue.get("grpo_pair"))
    for x in (0, 1):
        value = sum(q * 2 * weights((sp.Integer(x), sp.Integer(y)))[0] for y, q in ((1, p), (0, 1 - p)))
        sy.equal(value, x - p, f"mean advantage given {x}")


pairs.sabotage("triples", one_pair, size=3)
pairs.sabotage("sample standard deviation", traced, ddof=1)


mean, inverse, square, wrong_one, right_one = sp.symbols("e I M a_0 a_1", real=True)
distance, spread, relative = sp.symbols("d s rho", real=True)
share, tolerance = sp.symbols("x tau", positive=True)
k = sp.Symbol("k", integer=True, positive=True)
TARGET = sp.sqrt((1 - p) / p)

large = sy.Claim(
    id="A10a",
    title="One large group: the mean advantage tends to (x - p)/sqrt(p(1 - p))",
    statement=sy.Statement(
        setting="One prompt, binary rewards, one group of G, standardised with the population's deviation",
        forall={G: sy.whole(2), k: sy.whole(1), p: sy.between(0, 1), tolerance: sy.above(0)},
        quantities={
            mean: sy.Quantity(r"\mathrm{E}[A | r = 1]", "the mean advantage of a correct rollout"),
            wrong_one: sy.Quantity("a_0(k)", "the advantage of a wrong rollout where k of G are correct"),
            right_one: sy.Quantity("a_1(G - k)", "that of a correct rollout where k of G are wrong"),
            inverse: sy.Quantity(
                r"\mathrm{E}[1/x^2]", r"a mean given a correct rollout, $x$ the share of correct ones"
            ),
            square: sy.Quantity(r"\mathrm{E}[(x - p)^2]", "the mean squared distance of that share from p"),
            distance: sy.Quantity(
                "(f(x) - f(p))^2", r"a squared distance of advantages, $f(x) = \sqrt{(1 - x)/x}$"
            ),
            spread: sy.Quantity("p (1 - p)", "the variance of a reward"),
            relative: sy.Quantity(
                "(x - p)^2/x^2", "the squared distance of a share from p, over the share's square"
            ),
        },
        lemmas={
            "pointwise": sy.Lemma(distance * spread <= relative),
            "inverse": sy.Lemma(sp.And(inverse >= 0, inverse * p**2 <= 2)),
            "square": sy.Lemma(sp.And(square >= 0, square * G <= 1 - p)),
            "averaging": sy.Lemma(
                (mean - TARGET) ** 2 * p * (1 - p) <= square * inverse,
                cited="the triangle inequality for means, and the Cauchy-Schwarz inequality for |x - p| and 1/x",
            ),
        },
        goals={
            "rate": (mean - TARGET) ** 2 <= 2 / (G * p**3),
            "limit": sp.Implies(G * p**3 * tolerance**2 >= 2, (mean - TARGET) ** 2 <= tolerance**2),
            "wrong rollouts": sp.Implies(k <= G - 1, sp.Eq(wrong_one, -right_one)),
        },
    ),
    source=sy.Source(
        "2510.00977",
        "v3",
        "Proposition C.1, first part",
        says="the advantage in one large group tends to the standardised reward of the population",
    ),
    verdict="proved",
    scope="every fixed 0 < p < 1, with a rate; not uniform in p",
    proof=(
        r"A correct rollout has $A = f(x)$ with $f(x) = \sqrt{(1 - x)/x}$ and $x$ the share of correct rollouts, and "
        "$f(p)$ is the limit. As $f(x) - f(p) = (1/x - 1/p)/(f(x) + f(p))$, their distance is at most $|x - p| / (x "
        r"\sqrt{p (1 - p)})$. By the Cauchy-Schwarz inequality the square of its mean is at most $\mathrm{E}[(x - "
        r"p)^2] \mathrm{E}[1/x^2] / (p (1 - p))$. The first factor is at most $(1 - p)/G$. For the second $1/k^2 \le "
        "2/(k (k + 1))$, and the mean of $1/(k (k + 1))$ is at most $1/(G (G + 1) p^2)$, so it is at most $2/p^2$. "
        r"Together the square of the distance is at most $2/(G p^3)$, which is below any $\tau^2$ from some G on; a "
        "wrong rollout has the same with p and $1 - p$, right and wrong exchanged."
    ),
    finding=(
        r"At finite G the mean is bounded by $\sqrt{G - 1}$; the limit diverges as $p \to 0$, and the rate with it."
    ),
)


@large.step(
    "The distance at one share",
    route="smt",
    shows=r"with $f(x) = a$ and $f(p) = b$, so $x = 1/(1 + a^2)$: $(a - b)^2 p (1 - p) \le (x - p)^2/x^2$",
)
def pointwise(power=2):
    a, b = sp.symbols("a_ b_", positive=True)
    x, rate = 1 / (1 + a**2), 1 / (1 + b**2)
    sy.equal([sp.sqrt((1 - x) / x), sp.sqrt((1 - rate) / rate)], [a, b], "f at these shares")
    values = {
        distance: (a - b) ** 2,
        spread: sp.cancel(rate * (1 - rate)),
        relative: sp.cancel((1 - rate / x) ** power),
    }
    large.goal("pointwise").holds(values)


@large.step(
    "The two factors",
    route="sympy",
    shows=(
        r"$\binom{G-1}{j} \frac{G (G+1)}{(j+1)(j+2)} = \binom{G+1}{j+2}$, so the mean of $\frac{1}{k (k+1)}$, $k = j "
        "+ 1$, is a binomial tail over $G (G+1) p^2$; the mean square from binomial moments"
    ),
)
def factors(lost=0):
    j = sp.Symbol("j", integer=True, nonnegative=True)
    term = sp.binomial(G - 1, j) * G * (G + 1) / ((j + 1) * (j + 2))
    sy.equal(term, sp.binomial(G + 1, j + 2), "a binomial coefficient two further")
    sy.require(
        sy.smt_valid([share >= 1], 1 / share**2 <= 2 / (share * (share + 1))), "1/k^2 <= 2/(k (k + 1))"
    )
    tail, part = sp.symbols(
        "tail part", nonnegative=True
    )  # a chance; the ratio of both sides of the bound above
    at_most = 2 * G**2 * tail / (G * (G + 1) * p**2)
    large.goal("inverse").holds({inverse: part * at_most}, where=[tail <= 1, part <= 1])
    correct = sp.Symbol("correct")
    exact = sy.over_binomial_symbolic(((1 - lost + correct) / G - p) ** 2, correct, G - 1, p)
    large.goal("square").holds({square: sp.factor(exact)})


@large.step(
    "The rate and the limit",
    route="smt",
    shows=r"from the bounds on the two factors: $(\mathrm{E}[A] - f(p))^2 \le 2/(G p^3)$",
)
def squeeze(times=1):
    e = sp.Symbol("e_", real=True)
    lemmas = {
        "pointwise": {distance: distance, spread: p * (1 - p), relative: relative},
        "inverse": {inverse: inverse},
        "square": {square: square},
        "averaging": {mean: e, square: times * square, inverse: inverse},
    }
    for goal in ("rate", "limit"):
        large.goal(goal).holds({mean: e}, using=lemmas)


def at_numbers(sizes, rates, advantage):
    """The mean at sizes and rates; the tolerance is the smallest that the statement promises there."""
    rows = []
    for size in sizes:
        exact = conditional(size, 1, advantage(size))
        for rate in map(sp.Rational, rates):
            value = exact.subs(p, rate)
            large.goal("rate").holds({mean: value}, at={G: size, p: rate})
            least = sp.sqrt(2 / (size * rate**3))
            large.goal("limit").holds({mean: value}, at={G: size, p: rate, tolerance: least})
            limit = sp.sqrt((1 - rate) / rate)
            rows.append((str(size), str(rate), *(str(sp.N(x, 6)) for x in (value, limit - value, least))))
    return sy.Exhibit(table=(("G", "p", "E[A | r = 1]", "distance", "bound"), *rows))


@large.step(
    "Groups up to 128",
    route="enumeration",
    shows="exact values from the definition at p = 1/4, 1/2, 3/4, doubling G",
)
def doubling(centred=False):
    def advantage(size):
        return (lambda k, reward: reward - sp.Rational(k, size)) if centred else standardised(size)

    return at_numbers((2, 8, 32, 128), ("1/4", "1/2", "3/4"), advantage)


@large.step(
    "The shipped advantages",
    route="traced code",
    shows="GRPO's, groups of 2 to 6: the rate, and a wrong rollout against a correct one in the mirrored group",
)
def traced_large(**settings):
    at_numbers((2, 4, 6), ("1/4", "1/2", "3/4"), lambda size: shipped(size, **settings))
    for size in (2, 3, 4, 6):
        advantage = shipped(size, **settings)
        for right in range(1, size):
            values = {wrong_one: advantage(right, 0), right_one: advantage(size - right, 1)}
            large.goal("wrong rollouts").holds(values, at={G: size, k: right})
    if not settings:
        bare = sy.weights_of(catalogue.get("grpo"))((sp.Integer(1), sp.Integer(0)))
        sy.equal(bare[0], -bare[1], "mirrored pairs of the bare catalogue's")


@large.step(
    "Wrong rollouts",
    route="sympy",
    shows=r"$(0 - \frac{k}{G})/\sigma = -(1 - \frac{G - k}{G})/\sigma$, any G and k",
)
def mirrored(shift=0):
    def advantage(reward, correct):
        mean_reward = correct / G
        return (reward - mean_reward) / sp.sqrt(mean_reward * (1 - mean_reward))

    values = {wrong_one: advantage(0, k), right_one: advantage(1, G - k + shift)}
    large.goal("wrong rollouts").holds(values)


large.sabotage("the fourth power of the distance", pointwise, power=4)
large.sabotage("the rollout itself not counted", factors, lost=1)
large.sabotage("twice the mean square", squeeze, times=2)
large.sabotage("mean-centred advantages, whose limit is 1 - p", doubling, centred=True)
large.sabotage("one correct rollout more", mirrored, shift=1)
