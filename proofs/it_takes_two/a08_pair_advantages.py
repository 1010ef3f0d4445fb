"""A8 and A9: what a standardised pair can be: +1 and -1, nothing else; no Cauchy law."""

import itertools

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

signs = sy.Claim(
    id="A8",
    title="Advantages of a mixed pair are +1 and -1",
    statement=(
        r"With two rollouts the standardised advantages are $+1$ and $-1$ for a mixed pair and $0$ for a tie."
    ),
    hypotheses=("the population standard deviation (division by G)", "no epsilon"),
    source=sy.Source("2510.00977", "v3", "Section 4, two rollouts"),
    verdict="conditional",
    scope="all real rewards",
    finding=(
        r"With the sample standard deviation, the default of several trainers, they are $\pm 1/\sqrt{2}$; "
        r"with an epsilon $\pm d/(d + 2\epsilon)$ for a gap $d$, so $\pm 1/(1 + 2\epsilon)$ for binary "
        r"rewards."
    ),
)
r1, r2 = sp.symbols("r1 r2", real=True)


@signs.step(
    "The shipped advantages",
    route="traced code",
    shows="token weights at G = 2, one token, on policy, in the two regions; and at ties",
)
def traced(ddof=0, eps=0.0):
    rollouts = sy.symbolic_group(2, on_policy=True)
    for region in rollouts.regions(catalogue.get("grpo", ddof=ddof, eps=eps)):
        side = 1 if region.point[r1] > region.point[r2] else -1
        sy.equal(
            [2 * w for w in region.value.reshape(-1)],
            [side, -side],
            "advantages of a pair",
            where=region.conditions,
        )
    tie = sy.symbolic_group(2, rewards=(sp.Rational(7, 3),) * 2, on_policy=True)
    sy.equal(tie.weights(catalogue.get("grpo", ddof=ddof, eps=eps)).reshape(-1), [0, 0], "a tie")


@signs.step(
    "By hand",
    route="smt",
    shows=r"the deviations $\pm (r_1 - r_2)/2$ divided by $|r_1 - r_2|/2$ are $\pm 1$ for $r_1 \ne r_2$",
)
def by_hand(divisor=2):
    deviation = r1 - (r1 + r2) / 2
    std = sp.sqrt(((r1 - (r1 + r2) / 2) ** 2 + (r2 - (r1 + r2) / 2) ** 2) / divisor)
    value = sp.Symbol("A", real=True)
    sy.require(
        sy.smt_valid([r1 > r2, sp.Eq(value * std, deviation)], sp.Eq(value, 1)), "A = 1 for the larger reward"
    )


@signs.counterexample(
    "Sample standard deviation, rewards (1, 0): the advantages are 1/sqrt(2) and -1/sqrt(2); at p = 1/2 the "
    "engine's mean is 1/sqrt(2) of grad J, with +1 and -1 it would be the whole.",
    rewards="(1, 0)",
    ddof=1,
)
def sample(ddof=1):
    estimator, bandit = catalogue.get("grpo", ddof=ddof, eps=0.0), sy.SymbolicBandit(["1/2", "1/2"], [1, 0])
    weights = sy.weights_of(estimator)
    pair = weights((sp.Integer(1), sp.Integer(0)))
    sy.equal([2 * w for w in pair], [1 / sp.sqrt(2), -1 / sp.sqrt(2)], "advantages with the sample std")
    moments = sy.group_moments(bandit, 2, weights)
    sy.equal(moments.mean, [g / sp.sqrt(2) for g in bandit.gradient], "the mean with the sample std")
    sy.engines_agree(sy.engine(estimator, bandit, 2), moments, "the pair with the sample std")


signs.sabotage("sample standard deviation", traced, ddof=1)
signs.sabotage("an epsilon of 1e-6", traced, eps=1e-6)
signs.sabotage("a division by G - 1", by_hand, divisor=1)
signs.sabotage("1/sqrt(2) from the population std", sample, ddof=0)


cauchy = sy.Claim(
    id="A9",
    title="The standardised reward at G = 2 follows a Cauchy law",
    statement=(
        r"At $G = 2$ the standardised reward $(r_i - \bar r)/\mathrm{std}(r)$ follows a Cauchy law, with "
        r"infinite variance."
    ),
    source=sy.Source(
        "2510.00977",
        "v1",
        "Appendix, on the failure of standardisation at two rollouts (as the ledger has it)",
    ),
    verdict="refuted",
    scope="every reward law, population or sample standard deviation, any epsilon",
    finding=(
        r"It takes three values, $\pm 1$ (or $\pm 1/\sqrt{2}$) and $0$ at a tie; its variance is the chance "
        r"of no tie, at most 1. What is Cauchy is another quantity: Student's $t$ with one degree of "
        r"freedom, the mean of two normal rewards less the *true* mean over its standard error."
    ),
)


@cauchy.step(
    "It is bounded by one",
    route="smt",
    shows=(
        r"$(r_1 - \bar r)^2 \le \mathrm{var}$, so $|A| \le 1$, for all rewards; with epsilon or sample std "
        r"it is smaller"
    ),
)
def bounded(bound=1):
    mean = (r1 + r2) / 2
    variance = ((r1 - mean) ** 2 + (r2 - mean) ** 2) / 2
    sy.require(sy.smt_valid([], (r1 - mean) ** 2 <= bound * variance), "A^2 <= 1")
    sy.require(sy.smt_valid([], (r1 - mean) ** 2 <= bound * 2 * variance), "the sample std makes it smaller")


@cauchy.step(
    "Its variance",
    route="enumeration",
    shows=(
        r"over laws on up to four reward levels, $\mathrm{E}[A^2] = P(r_1 \ne r_2) \le 1$ with the shipped "
        r"advantages"
    ),
)
def variance(extra=0):
    weights = sy.weights_of(catalogue.get("grpo", eps=0.0))

    def holds(chances, rewards):
        total = sum(chances)
        law = [sp.Rational(x, total) for x in chances]
        second = sp.Add(
            *[
                p * q * (2 * weights((sp.Integer(a), sp.Integer(b)))[0]) ** 2
                for p, a in zip(law, rewards, strict=True)
                for q, b in zip(law, rewards, strict=True)
            ]
        )
        different = 1 - sp.Add(*[p * p for p in law])
        return second == different + extra and second <= 1

    sy.enumerate_rationals(
        holds, itertools.product((1, 2, 5), repeat=3), [(0, 1, 5), (-7, 2, 3)], what="E[A^2] = P(no tie)"
    )


@cauchy.step(
    "What is Cauchy",
    route="sympy",
    shows=(
        r"for normal rewards $(\bar r - \mu)/(s/\sqrt{2}) = (z_1 + z_2)/|z_1 - z_2|$ is a ratio of "
        r"independent normals: $z_1 + z_2$ and $z_1 - z_2$ are uncorrelated, and the density of the ratio "
        r"is $1/(\pi (1 + t^2))$"
    ),
)
def students_t(scale=1):
    t, y = sp.Symbol("t", real=True), sp.Symbol("y", positive=True)
    z1, z2 = sp.symbols("z1 z2")
    sy.equal(sp.expand((z1 + z2) * (z1 - z2)), z1**2 - z2**2, "their product has mean zero")
    density = 2 * sp.integrate(y * sp.exp(-(y**2) * (1 + t**2) / 2) / (2 * sp.pi), (y, 0, sp.oo))
    sy.equal(sp.simplify(density), scale / (sp.pi * (1 + t**2)), "the density of a ratio of normals")


@cauchy.counterexample(
    "Binary rewards with p = 1/2: A is 1, -1, 0, 0 with chance 1/4 each; its variance is 1/2. The engine's "
    "update has the finite variance that these four values give it, 1/8.",
    p="1/2",
)
def binary(expected=sp.Rational(1, 2)):
    bandit = sy.SymbolicBandit(["1/2", "1/2"], [1, 0])
    weights = sy.weights_of(catalogue.get("grpo", eps=0.0))
    values = [2 * weights((a, b))[0] for a in bandit.rewards for b in bandit.rewards]
    sy.require(sorted(values) == [-1, 0, 0, 1], "the four values")
    sy.require(sum(v * v for v in values) / 4 == expected, "the variance")
    moments = sy.group_moments(bandit, 2, weights)
    sy.equal(moments.trace_cov, sp.Rational(1, 8), "the update's variance")
    sy.engines_agree(sy.engine(catalogue.get("grpo", eps=0.0), bandit, 2), moments, "the standardised pair")


cauchy.sabotage("a bound of 99/100", bounded, bound=sp.Rational(99, 100))
cauchy.sabotage("a larger second moment", variance, extra=sp.Rational(1, 10))
cauchy.sabotage("half the density", students_t, scale=sp.Rational(1, 2))
cauchy.sabotage("a variance of one", binary, expected=1)
