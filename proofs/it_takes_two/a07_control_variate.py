"""A7: is the contrast a control variate? The inequality, and its premise for one prompt and over prompts."""

import itertools
from fractions import Fraction
from typing import Any

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

c = sp.Symbol("c", real=True)
variance, var_plus, var_minus = sp.symbols("V V_+ V_-", nonnegative=True)
cov = sp.Symbol("C", real=True)
SPREADS = {
    variance: sy.Quantity(
        r"\mathrm{Var}(g_+ - c\,g_-)", "the variance of the difference (traces of covariances throughout)"
    ),
    var_plus: sy.Quantity(r"\mathrm{Var}(g_+)", "that of the first vector"),
    var_minus: sy.Quantity(r"\mathrm{Var}(g_-)", "that of the second, not zero"),
    cov: sy.Quantity(r"\mathrm{Cov}(g_+, g_-)", "the trace of their covariance"),
}


def spreads(law, coefficient):
    """Variances of x - c y, x and y and their covariance, and the mean of x - c y, from rows (chance, x, y)."""

    def mean(value):
        return sum(chance * value(x, y) for chance, x, y in law)

    size = range(len(law[0][1]))
    mean_x = [mean(lambda x, y, i=i: x[i]) for i in size]
    mean_y = [mean(lambda x, y, i=i: y[i]) for i in size]
    difference = [a - coefficient * b for a, b in zip(mean_x, mean_y, strict=True)]
    computed = {
        variance: mean(lambda x, y: sum((a - coefficient * b) ** 2 for a, b in zip(x, y, strict=True)))
        - sum(d * d for d in difference),
        var_plus: mean(lambda x, y: sum(a * a for a in x)) - sum(a * a for a in mean_x),
        var_minus: mean(lambda x, y: sum(b * b for b in y)) - sum(b * b for b in mean_y),
        cov: mean(lambda x, y: sum(a * b for a, b in zip(x, y, strict=True)))
        - sum(a * b for a, b in zip(mean_x, mean_y, strict=True)),
    }
    return {name: exact(value) for name, value in computed.items()}, [exact(d) for d in difference]


def exact(value):
    return (
        sp.Rational(value.numerator, value.denominator) if isinstance(value, Fraction) else sp.sympify(value)
    )


def bilinear(covariance=cov):
    """The variance of a difference from the products of two centred variables."""
    x, y = sp.symbols("x y")
    square = sp.Poly(sp.expand((x - c * y) ** 2), x, y)
    means = {(2, 0): var_plus, (1, 1): covariance, (0, 2): var_minus}
    return sp.Add(*[coefficient * means[powers] for powers, coefficient in square.terms()])


inequality = sy.Claim(
    id="A7a",
    title="With a positive covariance a contrast varies no more than its first part, for c in an interval",
    statement=sy.Statement(
        setting="Two square-integrable random vectors",
        forall={c: sy.real()},
        given={
            "positive": sy.Hypothesis("they have a positive covariance", cov > 0),
            "Cauchy-Schwarz": sy.Hypothesis(
                "the square of a covariance is at most the product of the variances",
                cov**2 <= var_plus * var_minus,
                stated_by="cited",
            ),
            "not constant": sy.Hypothesis("the second vector is not constant", var_minus > 0),
        },
        quantities=SPREADS,
        goals={
            "inside": sp.Implies(sp.And(c >= 0, c <= 2 * cov / var_minus), variance <= var_plus),
            "beyond": sp.Implies(c > 2 * cov / var_minus, variance > var_plus),
            "least": sp.Eq(variance, var_minus * (c - cov / var_minus) ** 2 + var_plus - cov**2 / var_minus),
        },
    ),
    source=sy.Source(
        "2510.00977",
        "v3",
        "Proposition 4.1 and its proof in Appendix B.7",
        says="with a positive covariance the variance is not larger for c up to twice the covariance over the variance",
        caveat="the proof prints the interval's end with the square of the covariance, a misprint",
    ),
    verdict="proved",
    scope="any square-integrable vectors, Var and Cov the traces of the matrices",
    proof=(
        "The variance of a difference is $V_+ - 2 c C + c^2 V_-$. It is at most $V_+$ exactly if $c (c V_- - 2 C) "
        r"\le 0$, which for positive $C$ is $0 \le c \le 2 C / V_-$. Completing the square gives the least value "
        r"$V_+ - C^2/V_-$ at $c^* = C/V_-$, which is $(1 - \rho^2) V_+$ with $\rho$ the correlation. Laws on three "
        "points with small rational vectors give the same from their definitions."
    ),
    finding=(
        "A statement about the variance of a difference; a control variate also needs the mean of $g_-$ to be known "
        r"or zero. Here it is neither: $\mathrm{E}[g_+ - c\, g_-] = \nabla p / p + c \nabla p / (1 - p)$ moves with "
        "$c$."
    ),
)
ALL_THREE = ("inside", "beyond", "least")


@inequality.step(
    "The interval",
    route="smt",
    shows=r"$-2 c C + c^2 V_- \le 0$ inside, and $> 0$ beyond",
)
def interval(times=1):
    values = {variance: bilinear(times * cov), var_plus: var_plus, var_minus: var_minus, cov: cov}
    inequality.goal("inside").holds(values)
    inequality.goal("beyond").holds(values)


@inequality.step("The best coefficient", route="sympy", shows=r"completing the square in c")
def best(times=1):
    values = {variance: bilinear(times * cov), var_plus: var_plus, var_minus: var_minus, cov: cov}
    inequality.goal("least").holds(values)


@inequality.step(
    "Laws on three points",
    route="enumeration",
    shows="variances by their definitions, coefficients in quarters up to 3",
)
def three_points(shift=0):
    points = list(itertools.product((0, 1), (0, 2)))
    checked = 0
    for x, y in itertools.product(itertools.permutations((-1, 0, 2)), itertools.combinations(points, 3)):
        law = [
            (Fraction(1, 3), (Fraction(a), Fraction(b[1])), tuple(map(Fraction, b)))
            for a, b in zip(x, y, strict=True)
        ]
        for quarter in (0, 3, 12):
            values, _ = spreads(law, Fraction(quarter, 4))
            if values[cov] <= 0 or values[var_minus] == 0:
                continue
            values[variance] += shift
            for goal in ALL_THREE:
                inequality.goal(goal).holds(values, at={c: sp.Rational(quarter, 4)})
            checked += 1
    sy.require(checked > 20, f"{checked} laws have a positive covariance")


inequality.sabotage("an interval from twice the covariance", interval, times=2)
inequality.sabotage("half of the covariance in the square", best, times=sp.Rational(1, 2))
inequality.sabotage("a larger variance", three_points, shift=sp.Rational(1, 10))


p, G = sp.Symbol("p", positive=True), sp.Symbol("G", integer=True, positive=True)
mean, gradient = sp.symbols("m g", real=True)
MIXED = {
    cov: sy.Quantity(r"\mathrm{Cov}(g_+, g_-)", "the covariance of the two mean scores, given a mixed group"),
    var_plus: sy.Quantity(r"\mathrm{Var}(g_+)", "the variance of the correct rollouts' mean score"),
    var_minus: sy.Quantity(r"\mathrm{Var}(g_-)", "that of the wrong rollouts'"),
    variance: sy.Quantity(r"\mathrm{Var}(g_+ - c\,g_-)", "the variance of their contrast"),
    mean: sy.Quantity(r"\mathrm{E}[g_+ - c\,g_-]", "its mean, a coordinate"),
    gradient: sy.Quantity(r"\nabla p", "the gradient of the success rate, the same coordinate"),
}
ONE_PROMPT = (
    "G independent rollouts of one prompt, binary rewards, given that some are correct and some wrong"
)

one_prompt = sy.Claim(
    id="A7b",
    title="Independent rollouts of one prompt meet the premise of Proposition 4.1",
    statement=sy.Statement(
        setting=ONE_PROMPT,
        forall={G: sy.whole(2)},
        quantities={cov: MIXED[cov]},
        goals={"premise": cov > 0},
    ),
    instead=sy.Statement(
        setting=ONE_PROMPT,
        forall={G: sy.whole(2), c: sy.real(), p: sy.between(0, 1)},
        quantities=MIXED,
        goals={
            "no covariance": sp.Eq(cov, 0),
            "variances add": sp.Eq(variance, var_plus + c**2 * var_minus),
            "mean": sp.Eq(mean, gradient / p + c * gradient / (1 - p)),
        },
    ),
    source=sy.Source(
        "2510.00977",
        "v3",
        "Section 4.1, the sentence that applies Proposition 4.1",
        relation="reading",
        says=(
            "the proposition is used for the contrast of correct and wrong rollouts, without saying over what they "
            "vary"
        ),
        caveat=(
            "Appendix B.8 says that the covariance within a prompt is zero under conditionally independent "
            "sampling, and measures the part between prompts, 0.087 against 0.0013 permuted"
        ),
    ),
    verdict="refuted",
    scope="every policy and binary reward, every G, given a mixed group",
    proof=(
        "Fix which rollouts are correct. The chance of all answers is a product, and so is the chance of this "
        "pattern, so the answers stay independent under it: a correct rollout's answer has the law of the policy "
        "given a correct answer, a wrong one's that given a wrong answer, whatever the others are. Hence under "
        r"every pattern the product of the two mean scores has the mean $\frac{\nabla p}{p} \cdot \frac{-\nabla p}{1 "
        "- p}$, and each factor has a mean that does not depend on the pattern. Averaged over all mixed patterns "
        "the covariance is zero and the variances add. All groups of small bandits, listed, give the same."
    ),
    finding=(
        r"The interval for $c$ is empty but for $0$ and $\mathrm{Var}(g_+ - c\, g_-) = \mathrm{Var}(g_+) + c^2 "
        r"\mathrm{Var}(g_-)$: the contrast adds variance. What it gains is signal: its mean is $\nabla p / (p (1 - "
        r"p))$ instead of $\nabla p / p$ at $c = 1$, a factor $1/(1 - p)$."
    ),
)


@one_prompt.step(
    "Independence under a pattern, any G",
    route="sympy",
    shows=(
        "two rollouts, i correct and j wrong, with the chance Q of what the others do: given the pattern the joint "
        r"law is $\frac{\pi(y)}{p} \frac{\pi(z)}{1 - p}$; then the mean over patterns with chances that sum to one"
    ),
)
def zero(tie=0):
    right, wrong = sp.symbols("pi1 pi2", positive=True), sp.symbols("pi3 pi4", positive=True)
    s, t = sp.symbols("s1 s2", real=True), sp.symbols("s3 s4", real=True)
    weight = sp.Symbol("w", positive=True)

    def pattern(others):
        """The means of the product and of both scores under a pattern, ``others`` the chance of the other rollouts'."""
        joint = {
            (y, z): (right[y] * wrong[z] + (tie if y == z == 0 else 0)) * others
            for y, z in itertools.product((0, 1), repeat=2)
        }
        chance = sp.Add(*joint.values())
        return [
            sp.Add(*[q / chance * value(y, z) for (y, z), q in joint.items()])
            for value in (lambda y, z: s[y] * t[z], lambda y, z: s[y], lambda y, z: t[z])
        ]

    # One pattern of chance w against another of chance 1 - w; where they agree, so do all.
    one, another = (pattern(q) for q in sp.symbols("Q1 Q2", positive=True))
    product, first, second = (weight * a + (1 - weight) * b for a, b in zip(one, another, strict=True))
    covariance = product - first * second
    one_prompt.goal("no covariance").holds({cov: covariance})
    values = {variance: bilinear(sp.factor(covariance)), var_plus: var_plus, var_minus: var_minus}
    one_prompt.goal("variances add").holds(values)


@one_prompt.step(
    "The two means",
    route="sympy",
    shows=(
        r"$\mathrm{E}[s | r = 1] = \nabla p/p$ and $\mathrm{E}[s | r = 0] = -\nabla p/(1 - p)$, from $\mathrm{E}[s] "
        "= 0$"
    ),
)
def means(total=0):
    g, lost = sp.symbols("g_ l_", real=True)  # E[s; right] = grad p, E[s; wrong] = l
    wrong = sp.solve(sp.Eq(g + lost, total), lost)[0]
    one_prompt.goal("mean").holds({mean: g / p - c * wrong / (1 - p), gradient: g})


def mixed_groups(probabilities, rewards, size):
    """The law of the mean scores of the correct and of the wrong rollouts, given a mixed group, by listing groups."""
    answers = range(len(probabilities))
    scores = [[Fraction(int(i == j)) - probabilities[j] for j in answers] for i in answers]
    rows: list[Any] = []
    for group in itertools.product(answers, repeat=size):
        right = [k for k in group if rewards[k]]
        wrong = [k for k in group if not rewards[k]]
        if right and wrong:
            chance = Fraction(1)
            for k in group:
                chance *= probabilities[k]
            averages = [
                [sum(scores[k][j] for k in part) / len(part) for j in answers] for part in (right, wrong)
            ]
            rows.append((chance, *averages))
    mass = sum(row[0] for row in rows)
    return [(chance / mass, x, y) for chance, x, y in rows]


@one_prompt.step(
    "Every small bandit",
    route="enumeration",
    shows=(
        "three answers, policies in twelfths on a grid, all binary rewards, all mixed groups of two and three, c = "
        "1 and 2"
    ),
)
def bandits(first_prompt=True):
    for a, b in itertools.product(range(1, 11, 2), range(1, 11, 3)):
        if a + b >= 12:
            continue
        chances = [Fraction(a, 12), Fraction(b, 12), Fraction(12 - a - b, 12)]
        for rewards in itertools.product((0, 1), repeat=3):
            if len(set(rewards)) < 2:
                continue
            rate = sum(x for x, r in zip(chances, rewards, strict=True) if r)
            slope = [x * (r - rate) for x, r in zip(chances, rewards, strict=True)]
            for size, coefficient in ((2, 1), (3, 1), (3, 2)):
                law = mixed_groups(chances, rewards, size)
                if not first_prompt:  # half of the groups from another prompt
                    other = mixed_groups(chances[::-1], rewards, size)
                    law = [(w / 2, x, y) for w, x, y in (*law, *other)]
                values, contrast = spreads(law, coefficient)
                place = {G: size, c: coefficient}
                one_prompt.goal("no covariance").holds({cov: values.pop(cov)}, at={G: size})
                one_prompt.goal("variances add").holds(values, at=place)
                slopes = [exact(x) for x in slope]
                one_prompt.goal("mean").holds(
                    {mean: contrast, gradient: slopes}, at={**place, p: exact(rate)}
                )


@one_prompt.counterexample(
    "Four equally likely answers, two correct: Cov = 0, Var(g+) = Var(g-) = 1/2, Var(g+ - g-) = 1; the engine's "
    "variance of the shipped pair estimator is the one that follows from these.",
    pi="(1/4, 1/4, 1/4, 1/4)",
    rewards="(1, 1, 0, 0)",
)
def four_answers(coefficient=1):
    law = mixed_groups([Fraction(1, 4)] * 4, (1, 1, 0, 0), 2)
    values, _ = spreads(law, coefficient)
    one_prompt.goal("premise").fails({cov: values[cov]}, at={G: 2})
    # Half of the pairs are mixed, and GRPO's update on those is (g+ - g-)/2: the engine's variance from this one.
    bandit = sy.SymbolicBandit([sp.Rational(1, 4)] * 4, [1, 1, 0, 0])
    signal = sp.Add(*[g * g for g in bandit.gradient])
    second = sp.Rational(1, 2) * (values[variance] + 16 * signal) / 4
    pairs = sy.ExactMoments(bandit.gradient, second)
    sy.engines_agree(
        sy.engine(catalogue.get("grpo", eps=0.0), bandit, 2), pairs, "the contrast of a mixed pair"
    )
    bare, plain = (
        sy.weights_of(catalogue.get("grpo", **settings))((1, 0)) for settings in ({}, {"eps": 0.0})
    )
    factor = 1 / (1 + sp.Rational(2, 10**6))  # the default epsilon, against a deviation of 1/2
    sy.equal(
        list(bare), [factor * w for w in plain], "the default weights of a mixed pair have one factor more"
    )
    shown = ", ".join(
        f"{name} = {values[s]}" for name, s in (("Cov", cov), ("Var(g+)", var_plus), ("Var(g-)", var_minus))
    )
    return sy.Exhibit(text=f"{shown}, Var(g+ - g-) = {values[variance]}")


one_prompt.sabotage("rollouts that are not independent", zero, tie=sp.Rational(1, 10))
one_prompt.sabotage("scores that do not average to zero", means, total=1)
one_prompt.sabotage("groups of two prompts", bandits, first_prompt=False)
one_prompt.sabotage("twice the wrong rollouts' score", four_answers, coefficient=2)


joint_mean, product_of_means, same_difficulty = sp.symbols("W P C_0", real=True)
PROMPTS = (
    "Random prompts with success rates between 0 and 1, and for each an independent correct and wrong rollout"
)
ACROSS = {
    cov: sy.Quantity(r"\mathrm{Cov}(g_+, g_-)", "the covariance of the two scores over prompts and rollouts"),
    var_minus: sy.Quantity(r"\mathrm{Var}(g_-)", "the variance of the wrong rollout's score"),
    var_plus: sy.Quantity(r"\mathrm{Var}(g_+)", "that of the correct one's"),
    variance: sy.Quantity(r"\mathrm{Var}(g_+ - g_-)", r"the variance of the contrast at $c = 1$"),
}

over_prompts = sy.Claim(
    id="A7c",
    title="Over prompts a positive covariance puts c = 1 inside the interval of Proposition 4.1",
    statement=sy.Statement(
        setting=PROMPTS,
        given={
            "premise": sy.Hypothesis(
                "the two scores have a positive covariance over prompts", cov > 0, "ours"
            )
        },
        quantities={cov: ACROSS[cov], var_minus: ACROSS[var_minus]},
        goals={"one is inside": sp.Ge(2 * cov / var_minus, 1)},
    ),
    instead=sy.Statement(
        setting=PROMPTS,
        quantities={
            **ACROSS,
            joint_mean: sy.Quantity(r"\mathrm{E} \frac{\|\nabla p\|^2}{p (1 - p)}", "a mean over prompts"),
            product_of_means: sy.Quantity(
                r"\langle \mathrm{E} \frac{\nabla p}{p}, \mathrm{E} \frac{\nabla p}{1 - p} \rangle",
                "the product of two",
            ),
            same_difficulty: sy.Quantity("C_0", "the covariance where all prompts have one success rate"),
        },
        goals={
            "covariance": sp.Eq(cov, product_of_means - joint_mean),
            "one difficulty": sp.Le(same_difficulty, 0),
            "when one is inside": sp.Equivalent(variance <= var_plus, 2 * cov >= var_minus),
        },
    ),
    source=sy.Source(
        "2510.00977",
        "v3",
        "Section 4.1 and Appendix B.8",
        relation="reading",
        says="a covariance between prompts is measured, 0.087, and the contrast that is used has $c = 1$",
        caveat="it does not say that c = 1 lies in the interval",
    ),
    verdict="refuted",
    scope="any law of prompts with 0 < p < 1, each prompt's pair drawn independently",
    proof=(
        r"Given a prompt the two scores are independent with the means $\nabla p/p$ and $-\nabla p/(1 - p)$ (claim "
        "A7b), so the covariance over prompts is that of these means, which is the difference of the two products. "
        r"With one success rate for all it is $-\mathrm{Var}(\nabla p)/(p(1-p))$, not positive. The variance of the "
        r"contrast is $V_+ - 2 C + V_-$, at most $V_+$ exactly when $2 C \ge V_-$; and $V_-$ also holds the spread "
        "of wrong answers within a prompt, which the covariance does not see."
    ),
    finding=(
        "A positive covariance between prompts is not enough: wrong answers that differ within a prompt raise the "
        "variance that c = 1 adds and leave the covariance as it is. Two prompts suffice, where the interval ends "
        "at 2/17. At one common difficulty the premise always fails."
    ),
)


@over_prompts.step(
    "The covariance",
    route="sympy",
    shows=(
        "three prompts of any chances, rates and gradients, one coordinate; and one rate for all, where it is minus "
        "a variance"
    ),
)
def covariance(sign=-1):
    chances = [*sp.symbols("q1 q2", positive=True)]
    chances.append(1 - sum(chances))
    rates, slopes = sp.symbols("p1:4", positive=True), sp.symbols("g1:4", real=True)
    plus = [g / x for g, x in zip(slopes, rates, strict=True)]
    minus = [sign * g / (1 - x) for g, x in zip(slopes, rates, strict=True)]

    def over(values):
        return sp.Add(*[q * v for q, v in zip(chances, values, strict=True)])

    value = over([a * b for a, b in zip(plus, minus, strict=True)]) - over(plus) * over(minus)
    values = {
        cov: value,
        joint_mean: over([g**2 / (x * (1 - x)) for g, x in zip(slopes, rates, strict=True)]),
        product_of_means: over(plus) * over([g / (1 - x) for g, x in zip(slopes, rates, strict=True)]),
    }
    over_prompts.goal("covariance").holds(values)


@over_prompts.step(
    "At one difficulty, and c = 1",
    route="smt",
    shows=r"$(M_1^2 - M_2)/(p(1-p)) \le 0$ as $M_2 \ge M_1^2$; $V_+ - 2 C + V_- \le V_+$ exactly if $2 C \ge V_-$",
)
def never(times=1):
    first, second = sp.symbols("M1 M2", real=True)  # mean and mean square of grad p over prompts
    difference = first**2 / (p * (1 - p)) - second / (p * (1 - p))
    over_prompts.goal("one difficulty").holds(
        {same_difficulty: difference}, where=[second >= first**2, p < 1]
    )
    values = {variance: bilinear(times * cov).subs(c, 1), var_plus: var_plus, var_minus: var_minus, cov: cov}
    over_prompts.goal("when one is inside").holds(values)


def prompt(rate, sign=1, spread=0):
    """Rows (chance given right or wrong, score) of a prompt with two parameters that all prompts share."""
    wrong = [
        (Fraction(1, 2), (-sign * rate, Fraction(spread))),
        (Fraction(1, 2), (-sign * rate, -Fraction(spread))),
    ]
    return [(Fraction(1), (sign * (1 - rate), Fraction(0)))], wrong, rate


def pairs_of(prompts):
    """The law of (correct score, wrong score) over prompts and their independent rollouts."""
    return [(u * v / len(prompts), x, y) for right, wrong, _ in prompts for u, x in right for v, y in wrong]


@over_prompts.step(
    "Laws of two prompts",
    route="enumeration",
    shows=(
        "rates in quarters, both signs of the shared score, wrong answers that agree or differ, from all pairs of "
        "answers"
    ),
)
def laws(independent=True):
    quarters = [Fraction(j, 4) for j in (1, 2, 3)]
    for rates, signs, spread in itertools.product(
        itertools.product(quarters, repeat=2), ((1, 1), (1, -1)), (0, Fraction(1, 2), 1)
    ):
        prompts = [prompt(x, sign, spread) for x, sign in zip(rates, signs, strict=True)]
        law = pairs_of(prompts)
        if (
            not independent
        ):  # the wrong score of the first prompt's rollout goes with every prompt's correct one
            law = [(w, x, law[0][2]) for w, x, _ in law]
        values, _ = spreads(law, 1)
        ups = [[sum(u * x[i] for u, x in right) for i in (0, 1)] for right, _, _ in prompts]
        slopes = [[x * rate for x in up] for up, (_, _, rate) in zip(ups, prompts, strict=True)]
        odds = [[x / (1 - rate) for x in slope] for slope, (_, _, rate) in zip(slopes, prompts, strict=True)]
        both = sum(a * b for up, odd in zip(ups, odds, strict=True) for a, b in zip(up, odd, strict=True)) / 2
        totals = [sum(sum(up[i] for up in ups) * sum(odd[i] for odd in odds) for i in (0, 1)) / 4]
        over_prompts.goal("covariance").holds(
            {cov: values[cov], joint_mean: exact(both), product_of_means: exact(totals[0])}
        )
        over_prompts.goal("when one is inside").holds(values)
        if rates[0] == rates[1]:
            over_prompts.goal("one difficulty").holds({same_difficulty: values[cov]})


@over_prompts.counterexample(
    "Two prompts, p = 1/4 and 3/4, the right answer's score (1 - p, 0), two equally likely wrong ones (-p, 1) and "
    "(-p, -1): Cov = 1/16 and Var(g-) = 17/16, so the interval ends at 2/17.",
    p="(1/4, 3/4)",
)
def short_interval(spread=1):
    law = pairs_of([prompt(Fraction(1, 4), spread=spread), prompt(Fraction(3, 4), spread=spread)])
    values, _ = spreads(law, 1)
    over_prompts.goal("one is inside").fails({cov: values[cov], var_minus: values[var_minus]})
    sy.equal(2 * values[cov] / values[var_minus], sp.Rational(2, 17), "the interval's end")


@over_prompts.counterexample(
    "The premise can fail as well: one difficulty, scores of opposite sign on the shared parameter, Cov = -1/4.",
    p="(1/2, 1/2)",
    signs="(1, -1)",
)
def no_premise(rates=("1/2", "1/2"), signs=(1, -1)):
    law = pairs_of([prompt(Fraction(x), sign) for x, sign in zip(rates, signs, strict=True)])
    values, _ = spreads(law, 1)
    quantities = {cov: values[cov], var_minus: values[var_minus]}
    over_prompts.goal("one is inside").fails(quantities, without="premise" if values[cov] <= 0 else "")


over_prompts.sabotage("the wrong rollouts' mean with the sign of the right ones'", covariance, sign=1)
over_prompts.sabotage("the covariance counted twice", never, times=2)
over_prompts.sabotage("wrong rollouts of another prompt", laws, independent=False)
over_prompts.sabotage("wrong answers that agree, where the interval ends at 2", short_interval, spread=0)
over_prompts.sabotage("different difficulties and one sign", no_premise, rates=("1/4", "3/4"), signs=(1, 1))
