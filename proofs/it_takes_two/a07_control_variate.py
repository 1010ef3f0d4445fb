"""A7: is the contrast a control variate? The inequality, and its premise for one prompt and over prompts."""

import itertools

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

c = sp.Symbol("c", real=True)
var_plus, var_minus = sp.symbols("Vplus Vminus", positive=True)
cov = sp.Symbol("C", real=True)
variance = var_plus - 2 * c * cov + c**2 * var_minus

inequality = sy.Claim(
    id="A7a",
    title="The control-variate inequality of Proposition 4.1",
    statement=(
        r"If $\mathrm{Cov}(g_+, g_-) > 0$ and $0 \le c \le 2 \mathrm{Cov}(g_+, g_-)/\mathrm{Var}(g_-)$ then "
        r"$\mathrm{Var}(g_+ - c\, g_-) \le \mathrm{Var}(g_+)$, least at $c^* = "
        r"\mathrm{Cov}/\mathrm{Var}(g_-)$, where it is $(1 - \rho^2) \mathrm{Var}(g_+)$."
    ),
    source=sy.Source("2510.00977", "v3", "Proposition 4.1 and Appendix B.5"),
    verdict="proved",
    scope="any square-integrable vectors, Var and Cov the traces of the matrices",
    finding=(
        r"A statement about the variance of a difference; a control variate also needs the mean of $g_-$ to "
        r"be known or zero. Here it is neither: $\mathrm{E}[g_+ - c\, g_-] = \nabla p / p + c \nabla p / (1 "
        r"- p)$ moves with $c$."
    ),
)


@inequality.step(
    "Inside the interval the variance is not larger",
    route="smt",
    shows=r"$-2 c C + c^2 V_- \le 0$ there, and $> 0$ beyond it",
)
def interval(width=2):
    assumptions = [cov > 0, cov**2 <= var_plus * var_minus]
    inside = sp.And(c >= 0, c <= width * cov / var_minus)
    sy.require(sy.smt_valid([*assumptions, inside], variance <= var_plus), "no larger inside")
    sy.require(
        sy.smt_valid([*assumptions, c > width * cov / var_minus], variance > var_plus), "larger beyond"
    )


@inequality.step(
    "The best coefficient", route="sympy", shows=r"completing the square: $V_- (c - C/V_-)^2 + V_+ - C^2/V_-$"
)
def best(power=2):
    sy.equal(
        variance, var_minus * (c - cov / var_minus) ** 2 + var_plus - cov**2 / var_minus, "completed square"
    )
    rho = cov / sp.sqrt(var_plus * var_minus)
    sy.equal(variance.subs(c, cov / var_minus), (1 - rho**power) * var_plus, "the least variance")


inequality.sabotage("an interval half again as wide", interval, width=3)
inequality.sabotage("the correlation to the first power", best, power=1)


def conditional_moments(bandit):
    """E and second moment of the score given a correct and given a wrong answer."""
    computed = []
    for level in (1, 0):
        rows = [
            (p, s)
            for p, r, s in zip(bandit.probabilities, bandit.rewards, bandit.scores, strict=True)
            if r == level
        ]
        mass = sp.Add(*[p for p, _ in rows])
        mean = [sp.Add(*[p * s[i] for p, s in rows]) / mass for i in range(len(rows[0][1]))]
        second = sp.Add(*[p * sum(x * x for x in s) for p, s in rows]) / mass
        computed += [mean, second]
    return computed


def dot(a, b):
    return sp.Add(*[x * y for x, y in zip(a, b, strict=True)])


one_prompt = sy.Claim(
    id="A7b",
    title="Independent rollouts of one prompt meet the premise of Proposition 4.1",
    statement=(
        r"For independent rollouts of one prompt, $\mathrm{Cov}(g_+, g_-) > 0$, so subtracting the wrong "
        r"rollouts' gradient lowers the variance."
    ),
    source=sy.Source("2510.00977", "v3", "Section 4, use of Proposition 4.1"),
    verdict="refuted",
    scope="every policy and binary reward, given a mixed group; any G",
    finding=(
        r"The covariance is exactly zero, so the interval for $c$ is empty but for $0$ and "
        r"$\mathrm{Var}(g_+ - c\, g_-) = \mathrm{Var}(g_+) + c^2 \mathrm{Var}(g_-)$: the contrast adds "
        r"variance. What it gains is signal: its mean is $\nabla p / (p (1 - p))$ instead of $\nabla p / p$ "
        r"at $c = 1$, a factor $1/(1 - p)$."
    ),
)


@one_prompt.step(
    "Zero covariance",
    route="sympy",
    shows=(
        r"given which rollouts are correct, the others' scores are independent of them: $\mathrm{E}\langle "
        r"g_+, g_- \rangle = \langle \mathrm{E} g_+, \mathrm{E} g_- \rangle$, so $V = V_+ + c^2 V_-$"
    ),
)
def zero(covariance=0):
    a, b, pa, pb = sp.symbols("a b pa pb")
    joint = pa * pb  # independence: P(y, z | correct, wrong) = P(y | correct) P(z | wrong)
    sy.equal(joint * a * b - (pa * a) * (pb * b), covariance, "each term of the covariance")
    sy.equal(variance.subs(cov, covariance) - var_plus, c**2 * var_minus, "what subtracting adds")


@one_prompt.step(
    "Every small bandit",
    route="enumeration",
    shows=(
        "three and four answers, all rational policies in twelfths on a grid: Cov = 0 and the variance grows"
    ),
)
def bandits(coefficient=1):
    def holds(first, second, rewards):
        if first + second >= 12 or len(set(rewards)) < 2:
            return True
        bandit = sy.SymbolicBandit(
            [sp.Rational(first, 12), sp.Rational(second, 12), sp.Rational(12 - first - second, 12)], rewards
        )
        covariance, spread_difference, spread_plus, spread_minus = contrast(bandit, coefficient)
        return (
            covariance == 0
            and spread_difference == spread_plus + spread_minus
            and spread_difference >= spread_plus
        )

    return sy.enumerate_rationals(
        holds,
        range(1, 11, 2),
        range(1, 11, 3),
        list(itertools.product((0, 1), repeat=3)),
        what="zero covariance",
    )


def contrast(bandit, coefficient=1):
    """Covariance and variances over all ordered pairs of answers, one correct and one wrong."""
    rows = list(zip(bandit.probabilities, bandit.rewards, bandit.scores, strict=True))
    pairs = [(p * q, s, t) for p, r, s in rows for q, u, t in rows if r == 1 and u == 0]
    mass = sp.Add(*[w for w, _, _ in pairs])

    def expectation(value):
        return sp.Add(*[w * value(s, t) for w, s, t in pairs]) / mass

    size = range(len(bandit.scores[0]))
    mean_s = [expectation(lambda s, t, i=i: s[i]) for i in size]
    mean_t = [expectation(lambda s, t, i=i: t[i]) for i in size]
    covariance = expectation(lambda s, t: dot(s, t)) - dot(mean_s, mean_t)
    spread_plus = expectation(lambda s, t: dot(s, s)) - dot(mean_s, mean_s)
    spread_minus = expectation(lambda s, t: dot(t, t)) - dot(mean_t, mean_t)
    mean = [a - coefficient * b for a, b in zip(mean_s, mean_t, strict=True)]

    def squared(s, t):
        difference = [a - coefficient * b for a, b in zip(s, t, strict=True)]
        return dot(difference, difference)

    return covariance, expectation(squared) - dot(mean, mean), spread_plus, spread_minus


@one_prompt.counterexample(
    "Four equally likely answers, two correct: Cov = 0, Var(g+) = Var(g-) = 1/2, Var(g+ - g-) = 1; the "
    "engine's variance of the pair estimator is the one that follows from these.",
    pi="(1/4, 1/4, 1/4, 1/4)",
    rewards="(1, 1, 0, 0)",
)
def four_answers(expected=sp.Integer(1)):
    bandit = sy.SymbolicBandit([sp.Rational(1, 4)] * 4, [1, 1, 0, 0])
    covariance, difference, plus, minus = contrast(bandit)
    sy.require(
        (covariance, plus, minus) == (0, sp.Rational(1, 2), sp.Rational(1, 2)), "covariance and variances"
    )
    sy.require(difference == expected and difference > plus, f"the contrast's variance is {difference}")
    # Half of the pairs are mixed, and GRPO's update on those is (g+ - g-)/2: the engine's variance from this one.
    p, signal = sp.Rational(1, 2), dot(bandit.gradient, bandit.gradient)
    second = 2 * p * (1 - p) * (difference + signal / (p * (1 - p)) ** 2) / 4
    pairs = sy.ExactMoments(bandit.gradient, second)
    sy.engines_agree(
        sy.engine(catalogue.get("grpo", eps=0.0), bandit, 2), pairs, "the contrast of a mixed pair"
    )
    return sy.Exhibit(
        text=f"Cov = {covariance}, Var(g+) = {plus}, Var(g-) = {minus}, Var(g+ - g-) = {difference}"
    )


one_prompt.sabotage("a covariance of 1/10", zero, covariance=sp.Rational(1, 10))
one_prompt.sabotage("twice the negatives, whose variance counts four times", bandits, coefficient=2)
one_prompt.sabotage("the variance of the positives alone", four_answers, expected=sp.Rational(1, 2))


over_prompts = sy.Claim(
    id="A7c",
    title="Over prompts the premise holds, and c = 1 lies inside the interval",
    statement=(
        r"Over random prompts, one correct and one wrong rollout each, $\mathrm{Cov}(g_+, g_-) > 0$ and $c "
        r"= 1$ lies in the interval of Proposition 4.1."
    ),
    hypotheses=(
        (
            r"prompts of different difficulty, so that $\mathrm{E}\langle \nabla p / p, \nabla p/(1-p) "
            r"\rangle < \langle \mathrm{E}[\nabla p/p], \mathrm{E}[\nabla p/(1-p)] \rangle$"
        ),
    ),
    source=sy.Source("2510.00977", "v3", "Section 4, use of Proposition 4.1"),
    verdict="conditional",
    scope="any law of prompts with 0 < p < 1, each prompt's pair drawn independently",
    finding=(
        r"The covariance is $\langle \mathrm{E}[\nabla p/p], \mathrm{E}[\nabla p/(1-p)] \rangle - "
        r"\mathrm{E}[\|\nabla p\|^2/(p(1-p))]$. At one common difficulty it is $-\mathrm{Var}(\nabla "
        r"p)/(p(1-p)) \le 0$: the premise then always fails."
    ),
)


@over_prompts.step(
    "The covariance",
    route="sympy",
    shows=(
        r"from $\mathrm{E}[g_+ | x] = \nabla p / p$ and $\mathrm{E}[g_- | x] = -\nabla p/(1 - p)$; equal "
        r"difficulty gives $-\mathrm{Var}(\nabla p)/(p(1-p))$"
    ),
)
def covariance(sign=-1):
    p1, p2, g1, g2 = sp.symbols("p1 p2 g1 g2")
    plus = [g1 / p1, g2 / p2]
    minus = [sign * g1 / (1 - p1), sign * g2 / (1 - p2)]
    value = sum(a * b for a, b in zip(plus, minus, strict=True)) / 2 - sum(plus) * sum(minus) / 4
    ours = (g1 / p1 + g2 / p2) * (g1 / (1 - p1) + g2 / (1 - p2)) / 4 - (
        g1**2 / (p1 * (1 - p1)) + g2**2 / (p2 * (1 - p2))
    ) / 2
    sy.equal(value, ours, "two prompts, one coordinate")
    spread = (g1**2 + g2**2) / 2 - ((g1 + g2) / 2) ** 2
    sy.equal(value.subs(p2, p1), -spread / (p1 * (1 - p1)), "one common difficulty")


@over_prompts.step(
    "At one difficulty it is never positive",
    route="smt",
    shows=r"$-\mathrm{Var}(\nabla p)/(p(1-p)) \le 0$ for $0 < p < 1$",
)
def never(strict=False):
    p, g1, g2 = sp.symbols("p g1 g2", real=True)
    value = (g1 + g2) ** 2 / 4 / (p * (1 - p)) - (g1**2 + g2**2) / 2 / (p * (1 - p))
    sy.require(sy.smt_valid([p > 0, p < 1], value < 0 if strict else value <= 0), "not positive")


def shared_parameter(p_values, signs=(1, 1)):
    """Prompts with two answers and one shared parameter: scores (1 - p) and -p times a sign. Cov, Var(g-)."""
    plus = [s * (1 - p) for p, s in zip(p_values, signs, strict=True)]
    minus = [-s * p for p, s in zip(p_values, signs, strict=True)]
    n = len(plus)
    covariance_value = (
        sp.Add(*[a * b for a, b in zip(plus, minus, strict=True)]) / n - sum(plus) * sum(minus) / n**2
    )
    return covariance_value, sp.Add(*[b * b for b in minus]) / n - (sp.Add(*minus) / n) ** 2


@over_prompts.step(
    "Where it holds",
    route="enumeration",
    shows=r"two prompts, $p = 1/4$ and $3/4$, one shared parameter: Cov $= 1/16$, $2\,$Cov/Var $= 2 \ge 1$",
)
def holds(signs=(1, 1)):
    value, spread = shared_parameter([sp.Rational(1, 4), sp.Rational(3, 4)], signs)
    sy.require(value == sp.Rational(1, 16) and 2 * value / spread == 2, f"Cov = {value}, Var = {spread}")


@over_prompts.counterexample(
    "The same difficulty, scores of opposite sign on the shared parameter: Cov = -1/4, premise and "
    "conclusion fail.",
    p="(1/2, 1/2)",
    signs="(1, -1)",
)
def fails(p=(sp.Rational(1, 2), sp.Rational(1, 2)), signs=(1, -1)):
    value, spread = shared_parameter(list(p), signs)
    sy.require(value < 0 and spread - 2 * value > 0, f"Cov = {value}")
    bandits = [
        sy.SymbolicBandit([q, 1 - q], [1, 0], scores=[[s * (1 - q)], [-s * q]])
        for q, s in zip(p, signs, strict=True)
    ]
    means = [conditional_moments(b) for b in bandits]
    check = (
        sum(dot(m[0], m[2]) for m in means) / 2
        - sum(m[0][0] for m in means) * sum(m[2][0] for m in means) / 4
    )
    sy.require(check == value, "the same covariance from the bandits' conditional scores")


over_prompts.sabotage("the wrong rollouts' mean with the sign of the right ones'", covariance, sign=1)
over_prompts.sabotage("strictly negative, also when all gradients agree", never, strict=True)
over_prompts.sabotage("opposite signs where it holds", holds, signs=(1, -1))
over_prompts.sabotage(
    "different difficulties and one sign where it fails",
    fails,
    p=(sp.Rational(1, 4), sp.Rational(3, 4)),
    signs=(1, 1),
)
