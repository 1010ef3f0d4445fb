"""B7: does GRPO's weight on a prompt diverge as p tends to 0 or 1?"""

import numpy as np
import sympy as sp
from _binary import bernstein, coefficients, p, shipped, standardised

from gradvar import catalogue
from gradvar import symbolic as sy

SOURCE = sy.Source(
    "2602.02710",
    "v1",
    "table of weights w(p); the same column in 2608.09271 (both as the ledger has them, the tables were not at hand)",
)
G, k = sp.symbols("G k", positive=True)

finite = sy.Claim(
    id="B7a",
    title="GRPO's weight on a prompt diverges as p tends to 0 or 1",
    statement=r"GRPO's weight on a prompt is $1/\sqrt{p(1-p)}$ and diverges as $p \to 0$ or $p \to 1$.",
    source=SOURCE,
    verdict="refuted",
    scope="every finite G >= 2 (symbolic), binary rewards, no epsilon, on policy; population std (sample: times sqrt((G-1)/G))",
    finding=(
        r"$w_G$ is a polynomial of degree at most $G - 2$ with $w_G \le \sqrt{G-1}$, attained only in the limits. With 16 rollouts the hardest prompt gets 3.87, with 2 it gets 1, the weight of every other prompt. "
        r"The table's column is the limit of infinitely many rollouts."
    ),
)


@finite.step(
    "The end points, any G",
    route="sympy",
    shows=r"at $p \to 0$ only groups with one correct rollout count: $w_G(0) = a_1 - b_0 = \sqrt{G-1}$, and the same at 1",
)
def ends(power=sp.S.Half):
    right = (1 - 1 / G) / sp.sqrt((1 - 1 / G) / G)
    sy.equal(right, (G - 1) ** power, "the advantage of the only correct rollout", where=[G > 1])
    wrong = (1 - 1 / G) / sp.sqrt((1 - 1 / G) / G)  # minus the advantage of the only wrong rollout
    sy.equal(wrong, (G - 1) ** power, "the advantage of the only wrong rollout", where=[G > 1])


@finite.step(
    "The bound, any G",
    route="smt",
    shows=r"the weight is a mean of $\frac{G-1}{\sqrt{k(G-k)}}$, and $k(G-k) \ge G - 1$ because $(k-1)(G-k-1) \ge 0$; so $w_G \le \sqrt{G-1}$",
)
def bound(slack=1):
    size, count, root = sp.symbols("G k c", nonnegative=True)
    assumptions = [
        size >= 2,
        count >= 1,
        count <= size - 1,
        sp.Eq(root**2 * count * (size - count), (size - 1) ** 2),
    ]
    sy.require(
        sy.smt_valid(assumptions, root**2 <= slack * (size - 1)), "each coefficient is at most sqrt(G - 1)"
    )


@finite.step(
    "The shipped code, G = 2 to 6",
    route="traced code",
    shows=r"traced advantages: the largest Bernstein coefficient is the first, $\sqrt{G-1}$",
)
def traced(name="grpo"):
    for size in range(2, 7):
        values = [v for v in coefficients(shipped(name, size, eps=0.0), size)]
        sy.equal(bernstein(values).subs(p, 0), sp.sqrt(size - 1), f"the weight at p = 0, G = {size}")


@finite.counterexample(
    "p = 1/1000, G = 4: the weight is below sqrt(3) = 1.732..., where 1/sqrt(p(1-p)) is above 31; the engine's bias factor is the former.",
    p="1/1000",
    G=4,
)
def thousandth(wanted="finite"):
    chance = sp.Rational(1, 1000)
    exact = sy.prompt_weight(standardised(4), 4, chance)
    limit = 1 / sp.sqrt(chance * (1 - chance))
    sy.require(bool(exact < sp.sqrt(3)), "below the bound")
    sy.require(bool(limit > 31), "the limit form")
    seen = sy.engine(
        catalogue.get("grpo", eps=0.0), sy.SymbolicBandit([chance, 1 - chance], [1, 0]), 4
    ).bias_factor
    claimed = exact if wanted == "finite" else limit
    sy.require(abs(seen - float(claimed)) < 1e-9, f"the engine's bias factor is {seen}")
    return sy.Exhibit(text=f"w = {sp.N(exact, 8)}")


finite.sabotage("G - 1 without its root", ends, power=1)
finite.sabotage("a bound of half of G - 1", bound, slack=sp.S.Half)
finite.sabotage("the sample standard deviation", traced, name="grpo_sample_std")
finite.sabotage("the engine against the limit form", thousandth, wanted="limit")


limit = sy.Claim(
    id="B7b",
    title="In the limit of large groups the weight is 1/sqrt(p(1-p)); the two limits do not commute",
    statement=r"For fixed $0 < p < 1$, $w_G(p) \to 1/\sqrt{p(1-p)}$ as $G \to \infty$, which diverges at the ends; and $\lim_{p \to 0} w_G(p) = \sqrt{G-1}$ first, then infinite.",
    source=SOURCE,
    verdict="proved",
    scope="every fixed p; the distance is at most of order 1/(G p(1-p)) relative to the limit",
    finding=r"At $p = 1/G$ the weight is still below the limit form by a constant factor: the form needs $Gp(1-p) \gg 1$.",
)


@limit.step(
    "Squeezed, symbolic p and G",
    route="sympy",
    shows=r"$\frac{3\mathrm{E}u - \mathrm{E}u^2}{2} \le \sqrt{p(1-p)}\,w_G \le \sqrt{\mathrm{E}u}$, $u = \hat\sigma^2/(p(1-p))$; both sides tend to 1",
)
def squeeze(target=1):
    u = k * (G - k) / (G**2 * p * (1 - p))
    first, second = (sy.over_binomial_symbolic(sp.expand(f), k, G, p) for f in (u, u**2))
    for side in (sp.simplify((3 * first - second) / 2), sp.sqrt(sp.simplify(first))):
        sy.equal(sp.limit(side, G, sp.oo), target, "the limit of a bound")


@limit.step(
    "The root's tangent parabola",
    route="smt",
    shows=r"$\frac{3u - u^2}{2} \le \sqrt{u} \le \frac{1+u}{2}$ for all $u \ge 0$",
)
def parabola(height=3):
    t = sp.Symbol("t", nonnegative=True)
    sy.require(
        sy.smt_valid([], sp.And(height * t**2 - t**4 <= 2 * t, 2 * t <= 1 + t**2)), "the bounds of the root"
    )


@limit.step(
    "In numbers",
    route="enumeration",
    shows="G = 16 and 64 in exact arithmetic at p = 1/2, 1/4 and 1/G: the weight lies between the bounds, and at p = 1/G far below the limit form",
)
def numbers(low=1):
    for size in (16, 64):
        for chance in (sp.Rational(1, 2), sp.Rational(1, 4), sp.Rational(1, size)):
            values = [sp.Rational(size - 1) / sp.sqrt(j * (size - j)) for j in range(1, size)]
            ratio = float(np.dot(pmf(size - 2, chance), [float(v) for v in values])) * float(
                sp.sqrt(chance * (1 - chance))
            )
            u = k * (G - k) / (G**2 * p * (1 - p))
            point = {G: size, p: chance}
            first, second = (
                float(sy.over_binomial_symbolic(sp.expand(f), k, G, p).subs(point)) for f in (u, u**2)
            )
            sy.require(
                low * (3 * first - second) / 2 <= ratio <= first**0.5,
                f"the bounds at G = {size}, p = {chance}",
            )
            if chance == sp.Rational(1, size):
                sy.require(ratio < 0.8, "the limit form is far off at p = 1/G")


def pmf(n, chance):
    return [float(sp.binomial(n, j) * chance**j * (1 - chance) ** (n - j)) for j in range(n + 1)]


limit.sabotage("another limit", squeeze, target=sp.Rational(9, 10))
limit.sabotage("a parabola that crosses the root", parabola, height=4)
limit.sabotage("a lower bound raised by a tenth", numbers, low=1.1)
