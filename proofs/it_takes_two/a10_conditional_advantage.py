"""A10: the mean advantage of a correct rollout: one large group against many pairs."""

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

p = sp.Symbol("p", positive=True)


def conditional(size, reward, advantage):
    """E[A_i | r_i = reward]: the other G - 1 rollouts are binomial. ``advantage(k, reward)``, k correct in
    the group."""
    return sy.over_binomial(lambda others: advantage(others + reward, reward), size - 1, p)


def standardised(size):
    def advantage(k, reward):
        share = sp.Rational(k, size)
        return 0 if k in (0, size) else (reward - share) / sp.sqrt(share * (1 - share))

    return advantage


pairs = sy.Claim(
    id="A10b",
    title="Many pairs: the mean advantage is x - p, exactly and at once",
    statement=(
        r"With pairs, $\mathrm{E}[A | r = x] = x - p$ for $x \in \{0, 1\}$; an average over many pairs "
        r"tends to it."
    ),
    hypotheses=("population standard deviation, no epsilon",),
    source=sy.Source("2510.00977", "v3", "Proposition 5.1, second part"),
    verdict="proved",
    scope=(
        "every p; the expectation is exact for one pair, the limit is the law of large numbers for the "
        "bounded, independent A"
    ),
    finding=(
        r"With the sample standard deviation it is $(x - p)/\sqrt{2}$, with an epsilon $(x - p)/(1 + 2 "
        r"\epsilon)$: the same direction. The mean-centred pair gives $(x - p)/2$."
    ),
)


@pairs.step(
    "One pair",
    route="sympy",
    shows=r"$\mathrm{E}[A | r = 1] = (1 - p) \cdot 1 + p \cdot 0$ and $\mathrm{E}[A | r = 0] = -p$",
)
def one_pair(size=2):
    for x in (0, 1):
        sy.equal(conditional(size, x, standardised(size)), x - p, f"mean advantage given {x}")


@pairs.step(
    "The shipped advantages",
    route="traced code",
    shows="the same from the traced weights at rewards (1, 1), (1, 0), (0, 1), (0, 0)",
)
def traced(ddof=0):
    weights = sy.weights_of(catalogue.get("grpo", eps=0.0, ddof=ddof))
    for x in (0, 1):
        value = sum(
            chance * 2 * weights((sp.Integer(x), sp.Integer(y)))[0] for y, chance in ((1, p), (0, 1 - p))
        )
        sy.equal(value, x - p, f"mean advantage given {x}")


pairs.sabotage("triples", one_pair, size=3)
pairs.sabotage("sample standard deviation", traced, ddof=1)


large = sy.Claim(
    id="A10a",
    title="One large group: the mean advantage tends to (x - p)/sqrt(p(1 - p))",
    statement=(
        r"As $G \to \infty$, $\mathrm{E}[A | r = x] \to (x - p)/\sqrt{p (1 - p)}$ for every $0 < p < 1$."
    ),
    source=sy.Source("2510.00977", "v3", "Proposition 5.1, first part"),
    verdict="proved",
    scope="every fixed 0 < p < 1; not uniform in p",
    finding=(
        r"At finite G the mean is smaller and bounded by $\sqrt{G - 1}$; the limit diverges as $p \to 0$."
    ),
)


@large.step(
    "Off the middle nothing is left",
    route="smt",
    shows=(
        r"given $k \ge 1$ correct, $0 \le A = \sqrt{(G - k)/k} \le \sqrt{G - 1}$; for $k/G \ge p/2$ it is "
        r"at most $\sqrt{2/p}$"
    ),
)
def dominated(slack=0):
    G, k, q = sp.symbols("G k p", positive=True)
    a = sp.Symbol("A", nonnegative=True)
    assumptions = [k >= 1, k <= G, q < 1, sp.Eq(a**2 * k, G - k)]
    sy.require(sy.smt_valid(assumptions, a**2 <= G - 1 - slack), "A^2 <= G - 1")
    sy.require(
        sy.smt_valid([*assumptions, k >= q * G / 2], a**2 * q <= 2 - slack), "A^2 <= 2/p in the middle"
    )


@large.step(
    "The tails vanish",
    route="sympy",
    shows=(
        r"Hoeffding: $P(k/G < p/2) \le e^{-(G-1) c}$ with $c > 0$ for large G, and $\sqrt{G - 1}\, "
        r"e^{-(G-1) c} \to 0$; in the middle $A$ is bounded and continuous in $k/G$, which tends to $p$"
    ),
)
def limit(power=-sp.Rational(1, 2)):
    G, c, x = sp.symbols("G c x", positive=True)
    sy.require(sp.limit(sp.sqrt(G - 1) * sp.exp(-(G - 1) * c), G, sp.oo) == 0, "the tails' share")
    right, wrong = sp.sqrt((1 - x) / x), -sp.sqrt(x / (1 - x))
    for value, reward in ((right, 1), (wrong, 0)):
        sy.equal(value, (reward - x) * (x * (1 - x)) ** power, "the limit function", where=[x < 1])


@large.step(
    "Watching it converge",
    route="enumeration",
    shows=(
        r"exact values at $G = 2^j$ and $p = 1/4$: the distance to $\sqrt{3}$ falls by almost half with "
        r"each doubling"
    ),
)
def converging(target=sp.sqrt(3)):
    rows, last = [("G", "E[A | r = 1]", "distance")], None
    for size in (16, 32, 64, 128):
        value = conditional(size, 1, standardised(size)).subs(p, sp.Rational(1, 4))
        distance = sp.N(abs(target - value), 20)
        rows.append((str(size), f"{sp.N(value, 8)}", f"{sp.N(distance, 5)}"))
        sy.require(
            last is None or distance < sp.Rational(65, 100) * last,
            f"at G = {size} the distance is {distance}, before {last}",
        )
        last = distance
    return sy.Exhibit(table=tuple(rows))


large.sabotage("a smaller bound", dominated, slack=sp.Rational(1, 100))
large.sabotage("no root", limit, power=-1)
large.sabotage("x - p as the limit of one large group", converging, target=sp.Rational(3, 4))
