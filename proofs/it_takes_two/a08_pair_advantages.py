"""A8 and A9: what a standardised pair can be: +1 and -1, nothing else; no Cauchy law."""

import itertools

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

r1, r2 = sp.symbols("r1 r2", real=True)
kappa = sp.Symbol("kappa", positive=True)
eps = sp.Symbol("epsilon", nonnegative=True)
larger, smaller, tied, gap = sp.symbols("A_w A_l A_0 d", real=True)
PAIR = {
    larger: sy.Quantity("A_w", "the advantage of the larger reward"),
    smaller: sy.Quantity("A_l", "that of the smaller"),
    tied: sy.Quantity("A_0", "either advantage of two equal rewards"),
}

signs = sy.Claim(
    id="A8",
    title="Advantages of a mixed pair are +1 and -1",
    statement=sy.Statement(
        setting=(
            r"Two rollouts of any real rewards, the standardised advantages; $\kappa = 1$ divides by the "
            r"population's standard deviation plus $\epsilon$, $\kappa = \sqrt{2}$ by the sample's"
        ),
        forall={kappa: sy.one_of(1, sp.sqrt(2)), eps: sy.above(0, closed=True)},
        given={
            "population": sy.Hypothesis(
                "the standard deviation is the population's, a division by G",
                sp.Eq(kappa, 1),
            ),
            "no epsilon": sy.Hypothesis("nothing is added to it", sp.Eq(eps, 0)),
        },
        quantities=PAIR,
        goals={"signs": sp.And(sp.Eq(larger, 1), sp.Eq(smaller, -1)), "tie": sp.Eq(tied, 0)},
    ),
    source=sy.Source(
        "2510.00977",
        "v3",
        "Section 4, two rollouts",
        says=(
            "with two rollouts the advantages of a mixed pair are plus and minus one; its contrastive form for binary rewards has "
            "the root of p (1 - p), which is the population's deviation with nothing added"
        ),
    ),
    verdict="proved",
    scope="all real rewards",
    proof=(
        r"The deviations of two rewards from their mean are $\pm d/2$, and the population's standard deviation is "
        "$|d|/2$: the quotient is a sign. Equal rewards have deviations 0, and the code that ships gives them 0 as "
        r"well. With the sample's standard deviation it is $\pm 1/\sqrt{2}$, with an $\epsilon$ it is smaller than "
        "one, so both conditions are needed."
    ),
    finding=(
        r"With the sample standard deviation, the default of several trainers, they are $\pm 1/\sqrt{2}$; with an "
        r"epsilon $\pm d/(d + 2\epsilon)$ for a gap $d$, so $\pm 1/(1 + 2\epsilon)$ for binary rewards."
    ),
)


def by_definition(std=1, epsilon=0, second=r2):
    """The advantages of two rewards: deviations over std times the root of their mean square, plus epsilon."""
    mean = (r1 + second) / 2
    spread = std * sp.sqrt(((r1 - mean) ** 2 + (second - mean) ** 2) / 2)
    return (r1 - mean) / (spread + epsilon), (second - mean) / (spread + epsilon)


@signs.step(
    "The shipped advantages",
    route="traced code",
    shows=(
        "twice the token weights at G = 2 in both regions, and at a tie: GRPO without epsilon, the pair objective "
        "bare"
    ),
)
def traced(name="grpo", **settings):
    for estimator in (catalogue.get(name, **{"eps": 0.0, **settings}), catalogue.get("grpo_pair")):
        rollouts = sy.symbolic_group(2, on_policy=True)
        for region in rollouts.regions(estimator):
            a, b = (2 * w for w in region.value.reshape(-1))
            values = (
                {larger: a, smaller: b} if region.point[r1] > region.point[r2] else {larger: b, smaller: a}
            )
            signs.goal("signs").holds(values, at={kappa: 1, eps: 0}, where=region.conditions)
        tie = sy.symbolic_group(2, rewards=(r1, r1), on_policy=True)
        signs.goal("tie").holds({tied: 2 * tie.weights(estimator).reshape(-1)}, at={kappa: 1, eps: 0})


@signs.step("By hand", route="smt", shows=r"deviations over the root of their mean square, for $r_1 > r_2$")
def by_hand(std=kappa, epsilon=eps):
    a, b = by_definition(std, epsilon)
    signs.goal("signs").holds({larger: a, smaller: b}, where=[r1 > r2])
    divisor = sp.Symbol("d", positive=True)  # of a deviation that is zero, whatever it is
    signs.goal("tie").holds({tied: (r1 - (r1 + r1) / 2) / divisor})


@signs.counterexample(
    "Sample standard deviation, rewards (1, 0): the advantages are 1/sqrt(2) and -1/sqrt(2); at p = 1/2 the "
    "engine's mean is 1/sqrt(2) of grad J, with +1 and -1 it would be the whole.",
    rewards="(1, 0)",
    ddof=1,
)
def sample(ddof=1):
    estimator, bandit = catalogue.get("grpo", ddof=ddof, eps=0.0), sy.SymbolicBandit(["1/2", "1/2"], [1, 0])
    weights = sy.weights_of(estimator)
    a, b = (2 * w for w in weights((sp.Integer(1), sp.Integer(0))))
    place = {kappa: sp.sqrt(2) if ddof else 1, eps: 0}
    signs.goal("signs").fails({larger: a, smaller: b}, at=place, without="population" if ddof else "")
    moments = sy.group_moments(bandit, 2, weights)
    sy.equal(moments.mean, [g / sp.sqrt(2) for g in bandit.gradient], "the mean with the sample std")
    sy.engines_agree(sy.engine(estimator, bandit, 2), moments, "the pair with the sample std")


@signs.counterexample(
    "The catalogue's epsilon of 1e-6, rewards (1, 0): the advantages are 500000/500001 and its negative.",
    rewards="(1, 0)",
    eps="1e-6",
)
def with_epsilon(**settings):
    a, b = (2 * w for w in sy.weights_of(catalogue.get("grpo", **settings))((sp.Integer(1), sp.Integer(0))))
    added = 0 if settings else sp.Rational(1, 10**6)
    without = "no epsilon" if added else ""
    signs.goal("signs").fails({larger: a, smaller: b}, at={kappa: 1, eps: added}, without=without)


signs.sabotage("sample standard deviation", traced, ddof=1)
signs.sabotage("an epsilon of 1e-6", traced, eps=1e-6)
signs.sabotage("a division by G - 1", by_hand, std=sp.sqrt(2))
signs.sabotage("an epsilon of 1/10", by_hand, epsilon=sp.Rational(1, 10))
signs.sabotage("the population std", sample, ddof=0)
signs.sabotage("no epsilon in the code", with_epsilon, eps=0.0)


t = sp.Symbol("t", positive=True)
beyond, standardised, second, different = sp.symbols("P A m u", nonnegative=True)

cauchy = sy.Claim(
    id="A9",
    title="The standardised reward at G = 2 follows a Cauchy law",
    statement=sy.Statement(
        setting=r"Two rollouts of one prompt, the standardised reward $A = (r_1 - \bar r)/\mathrm{std}(r)$",
        forall={t: sy.above(0)},
        quantities={
            beyond: sy.Quantity(
                "P(|A| > t)", "the chance of a value beyond t, positive under a Cauchy law of any scale"
            ),
            second: sy.Quantity(r"\mathrm{E}[A^2]", "its mean square"),
        },
        goals={"tail": beyond > 0, "infinite variance": second > t},
    ),
    instead=sy.Statement(
        setting="Two rollouts of one prompt, rewards of any law",
        quantities={
            standardised: sy.Quantity("|A|", "the size of the standardised reward"),
            second: sy.Quantity(r"\mathrm{E}[A^2]", "its mean square, which is its variance"),
            different: sy.Quantity(r"P(r_1 \ne r_2)", "the chance that the two rewards differ"),
        },
        goals={
            "bounded": sp.Le(standardised, 1),
            "variance": sp.And(sp.Eq(second, different), second <= 1),
        },
    ),
    source=sy.Source(
        "2510.00977",
        "v3",
        "Appendix B.2, on the failure of standardisation at two rollouts",
        says="the standardised reward of two rollouts is said to follow a Cauchy law, of infinite variance",
    ),
    verdict="refuted",
    scope="every reward law, population or sample standard deviation, any epsilon",
    proof=(
        "The square of a deviation, $(r_1 - r_2)^2/4$, is the mean square itself, so $|A|$ is 1 when the rewards "
        "differ and 0 when they do not; with the sample's standard deviation or an epsilon it is smaller. So no "
        "value is beyond 1, where a Cauchy law has half of its mass, and the mean square is the chance of two "
        "different rewards. A Cauchy law does belong to Student's t with one degree of freedom: for normal rewards "
        r"it is $(z_1 + z_2)/|z_1 - z_2|$, a quotient of two independent normals, whose density is $1/(\pi (1 + "
        "x^2))$."
    ),
    finding=(
        r"It takes three values, $\pm 1$ (or $\pm 1/\sqrt{2}$) and $0$ at a tie; its variance is the chance of no "
        "tie, at most 1. What is Cauchy is Student's $t$ with one degree of freedom, the mean of two normal rewards "
        "less the true mean over its standard error."
    ),
)


@cauchy.step(
    "It is bounded by one",
    route="smt",
    shows=(
        r"the deviation over the spread plus $\epsilon$, both standard deviations, all rewards with $r_1 > r_2$ and "
        r"$\epsilon \ge 0$"
    ),
)
def bounded(times=1):
    for std in (1, sp.sqrt(2)):
        a, _ = by_definition(std, eps)
        cauchy.goal("bounded").holds({standardised: times * a}, where=[r1 > r2])


@cauchy.step(
    "The shipped advantages",
    route="traced code",
    shows=(
        "GRPO bare, with the sample's std, without epsilon: both regions, and a law on symbolic chances of three "
        "rewards"
    ),
)
def traced_bound(times=1, name="grpo"):
    for settings in ({}, {"eps": 0.0}, {"ddof": 1}):
        for region in sy.symbolic_group(2, on_policy=True).regions(catalogue.get("grpo", **settings)):
            first = 2 * times * region.value.reshape(-1)[0]
            size = first if region.point[r1] > region.point[r2] else -first
            cauchy.goal("bounded").holds({standardised: size}, where=region.conditions)
    p, q = sp.symbols("p q", positive=True)
    weights = sy.weights_of(catalogue.get(name, **({"eps": 0.0} if name == "grpo" else {})))
    law = list(zip((p, q, 1 - p - q), (0, 1, sp.Rational(5, 2)), strict=True))
    square = sp.Add(*[x * y * (2 * times * weights((a, b))[0]) ** 2 for x, a in law for y, b in law])
    chance = 1 - sp.Add(*[x * x for x, _ in law])
    cauchy.goal("variance").holds({second: square, different: chance}, where=[p + q < 1])


@cauchy.step(
    "Its variance",
    route="enumeration",
    shows="laws on three reward levels, advantages from their definition, listed pair by pair",
)
def variance(extra=0):
    for chances in itertools.product((1, 2, 5), repeat=3):
        for rewards in ((0, 1, 5), (-7, 2, 3)):
            law = [(sp.Rational(x, sum(chances)), r) for x, r in zip(chances, rewards, strict=True)]
            a, _ = by_definition()
            square = sp.Add(*[x * y * a.subs({r1: u, r2: v}) ** 2 for x, u in law for y, v in law if u != v])
            unequal = sp.Add(*[x * y for x, u in law for y, v in law if u != v])
            cauchy.goal("variance").holds({second: square + extra, different: unequal})


@cauchy.counterexample(
    "Binary rewards with p = 1/2: A is 1, -1, 0, 0 with chance 1/4 each, so it is never beyond 1, where a Cauchy "
    "law has half of its mass; its variance is 1/2. The engine's update has the finite variance that these four "
    "values give it, 1/8.",
    p="1/2",
    t=1,
)
def binary(times=1, scale=1):
    x, y = sp.Symbol("x", real=True), sp.Symbol("y", positive=True)
    normals = (
        scale * y * sp.exp(-(y**2) * (1 + x**2) / 2) / (2 * sp.pi)
    )  # of a quotient of independent normals
    density = sp.simplify(2 * sp.integrate(normals, (y, 0, sp.oo)))
    sy.equal(density, 1 / (sp.pi * (1 + x**2)), "the density of Student's t with one degree of freedom")
    sy.equal(1 - sp.integrate(density, (x, -1, 1)), sp.Rational(1, 2), "its mass beyond 1")
    bandit = sy.SymbolicBandit(["1/2", "1/2"], [1, 0])
    weights = sy.weights_of(catalogue.get("grpo", eps=0.0))
    values = [2 * times * weights((a, b))[0] for a in bandit.rewards for b in bandit.rewards]
    outside = sp.Rational(sum(bool(abs(v) > 1) for v in values), 4)
    cauchy.goal("tail").fails({beyond: outside}, at={t: 1})
    cauchy.goal("infinite variance").fails({second: sum(v * v for v in values) / 4}, at={t: 1})
    moments = sy.group_moments(bandit, 2, weights)
    sy.equal(moments.trace_cov, sp.Rational(1, 8), "the update's variance")
    sy.engines_agree(sy.engine(catalogue.get("grpo", eps=0.0), bandit, 2), moments, "the standardised pair")


cauchy.sabotage("a hundredth more", bounded, times=sp.Rational(101, 100))
cauchy.sabotage("twice the shipped advantages", traced_bound, times=2)
cauchy.sabotage("Dr. GRPO's advantages, which keep the gap", traced_bound, name="dr_grpo")
cauchy.sabotage("a larger second moment", variance, extra=sp.Rational(1, 10))
cauchy.sabotage("half the density", binary, scale=sp.Rational(1, 2))
cauchy.sabotage("advantages twice as large, half of them beyond 1 as in a Cauchy law", binary, times=2)
