"""B7: GRPO's weight on a prompt at finite group size, and in the limit of large groups."""

import sympy as sp
from _binary import (
    ON_POLICY,
    OUR_ON_POLICY,
    bernstein,
    coefficients,
    p,
    shipped,
    spread_moments,
    standardised,
)

from gradvar import catalogue
from gradvar import symbolic as sy

G, k = sp.symbols("G k", integer=True, positive=True)
coefficient, weight, at_zero, at_one = sp.symbols("c w w_0 w_1", positive=True)
SETTING = "One prompt, binary rewards, GRPO with the population standard deviation and no epsilon, the sum over tokens"
PARTS = {
    coefficient: sy.Quantity(
        "c_k",
        r"the coefficient of k correct rollouts in the Bernstein form of $w_G$, of degree G - 2; "
        r"$w_G(p)$ is a mean of them (B6a)",
    ),
    weight: sy.Quantity("w_G(p)", r"the factor of $\nabla p$ in the expected update"),
}

finite = sy.Claim(
    id="B7a",
    title="At every finite group size GRPO's weight on a prompt is at most the root of G - 1",
    statement=sy.Statement(
        setting=SETTING,
        forall={G: sy.whole(2), p: sy.between(0, 1)},
        given={"on policy": OUR_ON_POLICY},
        quantities={
            **PARTS,
            at_zero: sy.Quantity("w_G(0)", r"its limit for $p \to 0$"),
            at_one: sy.Quantity("w_G(1)", r"its limit for $p \to 1$"),
        },
        goals={
            "bounds": sp.And(weight >= 2 * (G - 1) / G, weight <= sp.sqrt(G - 1)),
            "ends": sp.And(sp.Eq(at_zero, sp.sqrt(G - 1)), sp.Eq(at_one, sp.sqrt(G - 1))),
        },
        lemmas={
            "each coefficient": sy.Lemma(
                sp.And(coefficient >= 2 * (G - 1) / G, coefficient <= sp.sqrt(G - 1)),
                forall={k: sy.whole(1)},
                given=(k <= G - 1,),
            )
        },
    ),
    source=sy.Source(
        "2602.02710",
        "v1",
        "table of weights; the figure of 2608.09271",
        relation="ours",
        says=r"GRPO's weight is given as $1/\sqrt{p(1-p)}$, which grows without bound at hopeless and at "
        r"solved prompts",
        caveat="both say that these are population weights, the limit of infinitely many rollouts (B7b)",
    ),
    verdict="proved",
    scope=r"every finite G from 2 on; the sample standard deviation multiplies everything by $\sqrt{(G-1)/G}$",
    proof=(
        r"$w_G(p)$ is a mean of the coefficients $\frac{G-1}{\sqrt{k(G-k)}}$, $1 \le k \le G - 1$ "
        r"(B6a). From $(k-1)(G-k-1) \ge 0$ follows "
        r"$G - 1 \le k(G-k) \le G^2/4$, so every coefficient, and with them their mean, lies between "
        r"$2(G-1)/G$ and $\sqrt{G-1}$. For $p \to 0$ "
        r"only the groups with one correct rollout count, for $p \to 1$ those with one wrong one: "
        r"$w_G = \sqrt{G-1}$ at both ends. The shipped "
        "code's polynomials, and the engine, agree."
    ),
    finding=(
        r"With 16 rollouts the hardest prompt gets 3.87, with 2 it gets 1, the weight of every other "
        r"prompt. At p = 1/1000 and G = 4 the weight "
        r"is below 1.74 where $1/\sqrt{p(1-p)}$ is above 31."
    ),
)


@finite.step(
    "Each coefficient",
    route="smt",
    shows=r"$\frac{G-1}{\sqrt{k(G-k)}}$ lies between the bounds, for all real sizes",
)
def each(power=1):
    variance = k * (G - k) / G**2
    share = (G - 1) / (G * variance)  # the outcomes with k of G correct for each with k - 1 of G - 2 (B6a)
    value = share * sp.sqrt(variance) ** power
    finite.goal("each coefficient").holds({coefficient: value})


@finite.step("Their mean", route="sympy", shows="a mean of numbers between two bounds lies between them")
def averaged(excess=0):
    mean = sp.Symbol("w", positive=True)
    finite.goal("bounds").holds(
        {weight: mean + excess}, using={"each coefficient": {coefficient: mean, k: sp.Integer(1)}}
    )


@finite.step(
    "The ends",
    route="sympy",
    shows="the advantage of the only correct rollout; minus that of the only wrong one",
)
def ends(only=1):
    share = only / G
    deviation = sp.sqrt(share * (1 - share))
    values = {at_zero: (1 - share) / deviation, at_one: (1 - 1 / G) / sp.sqrt((1 - 1 / G) / G)}
    finite.goal("ends").holds(values)


@finite.step(
    "The shipped code, G = 2 to 6",
    route="traced code",
    shows="the weight as a polynomial, at ten values of p and at the ends",
)
def traced(name="grpo"):
    for size in range(2, 7):
        polynomial = bernstein(coefficients(shipped(name, size, eps=0.0), size))
        for j in range(1, 10):
            place = {G: size, p: sp.Rational(j, 10)}
            finite.goal("bounds").holds({weight: polynomial.subs(p, place[p])}, at=place)
        values = {at_zero: polynomial.subs(p, 0), at_one: polynomial.subs(p, 1)}
        finite.goal("ends").holds(values, at={G: size})


@finite.step(
    "The engine, as shipped, on a hard prompt",
    route="exact engine",
    shows="p = 1/1000 and G = 4, eps as it ships",
)
def thousandth(factor=1):
    x = sp.Rational(1, 1000)
    seen = sy.engine(catalogue.get("grpo"), sy.SymbolicBandit([x, 1 - x], [1, 0]), 4).bias_factor
    finite.goal("bounds").holds({weight: factor * seen}, at={G: 4, p: x}, tolerance=1e-9)
    exact = sy.prompt_weight(standardised(4), 4, x)
    sy.near(seen, exact, 1e-4, "the engine's weight")
    return sy.Exhibit(text=f"w = {sp.N(exact, 8)}, 1/sqrt(p(1-p)) = {sp.N(1 / sp.sqrt(x * (1 - x)), 6)}")


finite.sabotage("the variance for its root", each, power=2)
finite.sabotage("more than the mean", averaged, excess=1)
finite.sabotage("two correct rollouts", ends, only=2)
finite.sabotage("the sample standard deviation", traced, name="grpo_sample_std")
finite.sabotage("the population weight, 18 times as large", thousandth, factor=18)


relative, first, square = sp.symbols("W u_1 u_2", nonnegative=True)

limit = sy.Claim(
    id="B7b",
    title="In the limit of large groups the weight is 1/sqrt(p(1-p))",
    statement=sy.Statement(
        setting=SETTING,
        forall={G: sy.whole(2), p: sy.between(0, 1)},
        given={"on policy": ON_POLICY},
        quantities={
            relative: sy.Quantity(
                r"\sqrt{p(1-p)}\, w_G(p)", r"the weight over its limit, that is $\mathrm{E}\sqrt{u}$ (B6a)"
            ),
            first: sy.Quantity(
                r"\mathrm{E}u",
                r"the mean of $u = \frac{k(G-k)}{G^2 p(1-p)}$, k the number of correct rollouts",
            ),
            square: sy.Quantity(r"\mathrm{E}u^2", "the mean of its square"),
        },
        goals={"rate": sp.And(relative >= 1 - 1 / (2 * G * p * (1 - p)), relative <= 1)},
        lemmas={"root": sy.Lemma(sp.And(relative >= (3 * first - square) / 2, relative <= (1 + first) / 2))},
    ),
    source=sy.Source(
        "2602.02710",
        "v1",
        "table of weights; the figure of 2608.09271",
        says=r"GRPO's weight on a prompt is $1/\sqrt{p(1-p)}$, for the population",
        caveat="population weights, as its caption says; for finite groups see B7a",
    ),
    verdict="proved",
    scope="every p between 0 and 1 with an explicit rate, so the limit for every fixed p",
    proof=(
        r"With $u = \hat\sigma^2/(p(1-p))$ the weight over its limit is $\mathrm{E}\sqrt{u}$. For "
        r"every $u \ge 0$, $\frac{3u - u^2}{2} \le \sqrt{u} \le "
        r"\frac{1+u}{2}$, and a mean keeps this order. The means of u and $u^2$ over the binomial "
        r"count are closed forms in G and p: "
        r"$\mathrm{E}u = (G-1)/G$, and $\mathrm{E}u^2$ is 1 up to terms of order 1/G. Put in, they give "
        r"$1 - \frac{1}{2Gp(1-p)} \le \sqrt{p(1-p)}\, w_G(p) \le 1$ for all G and p, and both bounds tend to 1."
    ),
    finding=(
        r"The limit diverges at the ends although no finite group's weight does (B7a): the two limits "
        r"do not commute. At $p = 1/G$ the weight "
        r"is below the limit form by a constant factor: the form needs $Gp(1-p) \gg 1$."
    ),
)


@limit.step(
    "The root between two parabolas",
    route="smt",
    shows=r"$\frac{3u - u^2}{2} \le \sqrt{u} \le \frac{1+u}{2}$ at every value of u; both sides are means "
    r"of such values",
)
def parabola(power=2):
    t = sp.Symbol("t", nonnegative=True)  # sqrt(u)
    limit.goal("root").holds({relative: t, first: t**2, square: t ** (2 * power)})


@limit.step(
    "Means over the binomial count, any G and p",
    route="sympy",
    shows=r"$\mathrm{E}u$ and $\mathrm{E}u^2$ in falling factorials; the rate follows",
)
def squeeze(excess=0):
    mean, mean_square = spread_moments(G)
    value = sp.Symbol("W", nonnegative=True)
    limit.goal("rate").holds(
        {relative: value + excess}, using={"root": {relative: value, first: mean, square: mean_square}}
    )


@limit.step(
    "The shipped code",
    route="traced code",
    shows="exact weights at G = 2 to 6 and p in tenths, and of the definition at G = 16 and p = 1/2, 1/4, 1/16",
)
def numbers(ddof=0, name="grpo"):
    for size in range(2, 7):
        polynomial = bernstein(coefficients(shipped(name, size, eps=0.0), size))
        for j in range(1, 10):
            x = sp.Rational(j, 10)
            value = sp.sqrt(x * (1 - x)) * polynomial.subs(p, x)
            limit.goal("rate").holds({relative: value}, at={G: size, p: x})
    for x in (sp.Rational(1, 2), sp.Rational(1, 4), sp.Rational(1, 16)):
        value = sp.sqrt(x * (1 - x)) * sy.prompt_weight(standardised(16, ddof), 16, x)
        limit.goal("rate").holds({relative: value}, at={G: 16, p: x})
    sy.require(sy.exact_sign(sp.Rational(4, 5) - value) > 0, "at p = 1/G the limit form is far off")


limit.sabotage("a parabola that crosses the root", parabola, power=1)
limit.sabotage("more than the mean", squeeze, excess=sp.Rational(1, 2))
limit.sabotage("a standard deviation divided by G - 4", numbers, ddof=4)
limit.sabotage("MaxRL's advantages", numbers, name="maxrl")
