"""B6: the weight that GRPO gives a prompt, at every group size; and when it is the same for all prompts."""

import numpy as np
import sympy as sp
from _binary import bernstein, coefficients, p, shipped, standardised

from gradvar import catalogue
from gradvar import symbolic as sy

G, k = sp.symbols("G k", positive=True)
SIZES = range(2, 17)
QUARTER = sp.Rational(1, 4)


def c(size, j, ddof=0):
    """The Bernstein coefficient of degree G-2 with k = j + 1 correct rollouts: (G-1)/sqrt(k (G-k)), scaled for the sample std."""
    scale = sp.sqrt(sp.Rational(size - ddof, size))
    return scale * sp.Rational(size - 1) / sp.sqrt(sp.Integer((j + 1) * (size - 1 - j)))


form = sy.Claim(
    id="B6a",
    title="GRPO's weight on a prompt, in closed form, at every group size",
    statement=(
        r"For binary rewards $\mathrm{E}[\hat g] = w_G(p) \nabla p$ with $w_G(p) = \frac{\mathrm{E}[\hat\sigma]}{p(1-p)} = "
        r"\sum_{j=0}^{G-2} \binom{G-2}{j} p^j (1-p)^{G-2-j} \frac{G-1}{\sqrt{(j+1)(G-1-j)}}$, $\hat\sigma$ the group's population standard "
        r"deviation. $w_G(0) = w_G(1) = \sqrt{G-1}$; $w_G(p) \to 1/\sqrt{p(1-p)}$ as $G \to \infty$ for every fixed $0 < p < 1$. With the sample "
        r"standard deviation everything is multiplied by $\sqrt{(G-1)/G}$."
    ),
    source=sy.Source("2402.03300", "v3", "equation (3), with the ledger's question"),
    verdict="proved",
    scope="every G >= 2 and p (symbolic); on policy, scores summed over tokens, no epsilon; traced for G = 2 to 6, polynomial by polynomial for G = 2 to 16",
    finding=(
        r"The weight is a polynomial, so it is finite everywhere: $\frac{2(G-1)}{G} \le w_G(p) \le \sqrt{G-1}$, and $w_G(p) \le \sqrt{(G-1)/G} / \sqrt{p(1-p)}$ always. "
        r"It is largest on hopeless and on solved prompts. The limit $1/\sqrt{p(1-p)}$ is approached from below, not uniformly."
    ),
)


@form.step(
    "Term by term, any G",
    route="sympy",
    shows=(
        r"given k, $k A_1 = -(G-k) A_0 = G \hat\sigma$ with $\hat\sigma = \sqrt{k(G-k)}/G$, so $w_G = \mathrm{E}[\hat\sigma]/(p(1-p))$; and "
        r"$\binom{G}{k} \frac{\sqrt{k(G-k)}}{G} = \binom{G-2}{k-1} \frac{G-1}{\sqrt{k(G-k)}}$"
    ),
)
def any_group(ddof=0):
    share = k / G
    sigma = sp.sqrt(share * (1 - share))
    divisor = sigma if ddof == 0 else sigma * sp.sqrt(G / (G - 1))
    right, wrong = (1 - share) / divisor, -share / divisor
    where = [k < G, k >= 1, G >= 2]
    given_k = (k * right / p - (G - k) * wrong / (1 - p)) / G
    sy.equal(given_k, sigma / (p * (1 - p)), "the weight given k", where=[*where, p < 1])
    n, m = sp.symbols("n m", integer=True, positive=True)  # G = n + m, k = m, both at least 1
    ratio = sp.gammasimp((sp.binomial(n + m, m) / sp.binomial(n + m - 2, m - 1)).rewrite(sp.gamma))
    sy.equal(ratio * m * n, (n + m) * (n + m - 1), "the binomial coefficients")


@form.step(
    "Polynomial by polynomial, G = 2 to 16",
    route="enumeration",
    shows=r"the sum over k from its definition equals the Bernstein form, for both standard deviations; the table has $w_G$ exactly",
)
def table(ddof=0):
    rows = [("G", r"$w_G(0) = w_G(1)$", r"$w_G(1/2)$", "the Bernstein coefficients")]
    for size in SIZES:
        values = [c(size, j) for j in range(size - 1)]
        claimed = bernstein(values)
        computed = sy.prompt_weight(standardised(size, ddof), size, p)
        sy.require(sp.expand(computed - claimed) == 0, f"the weight at G = {size}")
        for end in (0, 1):
            sy.equal(claimed.subs(p, end), sp.sqrt(size - 1), f"the weight at p = {end}, G = {size}")
        sample = sy.prompt_weight(standardised(size, 1), size, p)
        sy.require(
            sp.expand(sample - sp.sqrt(sp.Rational(size - 1, size)) * claimed) == 0,
            f"sample std at G = {size}",
        )
        half = claimed.subs(p, sp.Rational(1, 2))
        shown = ", ".join(f"${sp.latex(v)}$" for v in values[: size // 2])
        rows.append((str(size), f"${sp.latex(sp.sqrt(size - 1))}$", str(sp.N(half, 7)), shown))
    return sy.Exhibit(table=tuple(rows), text="The coefficients are symmetric; the first half is shown.")


@form.step(
    "The shipped advantages, G = 2 to 6",
    route="traced code",
    shows=r"traced $a_k, b_k$ give $a_{j+1} - b_j$ as the coefficients of degree $G - 1$, the same polynomial",
)
def traced(name="grpo"):
    for size in range(2, 7):
        computed = bernstein(coefficients(shipped(name, size, eps=0.0), size))
        sy.equal(
            computed, bernstein([c(size, j) for j in range(size - 1)]), f"the shipped weight at G = {size}"
        )


@form.step(
    "Bounds, any G",
    route="smt",
    shows=r"$G - 1 \le k(G-k) \le G^2/4$ for $1 \le k \le G-1$, so every coefficient lies in $[2(G-1)/G, \sqrt{G-1}]$",
)
def bounds(low=1, high=QUARTER):
    size, count = sp.symbols("G k", real=True)
    assumptions = [size >= 2, count >= 1, count <= size - 1]
    sy.require(
        sy.smt_valid(assumptions, count * (size - count) >= low * (size - 1)), "the lower bound of k(G-k)"
    )
    sy.require(
        sy.smt_valid(assumptions, count * (size - count) <= high * size**2), "the upper bound of k(G-k)"
    )


@form.step(
    "Large groups",
    route="sympy",
    shows=(
        r"with $u = \hat\sigma^2/(p(1-p))$: $\frac{3u - u^2}{2} \le \sqrt{u}$, and $\mathrm{E}\sqrt{u} \le \sqrt{\mathrm{E} u}$; "
        r"$\mathrm{E}u = (G-1)/G$ and $\mathrm{E}u^2 \to 1$, so $\sqrt{p(1-p)}\, w_G(p) = \mathrm{E}\sqrt{u} \to 1$"
    ),
)
def limit(cubic=3):
    t, q = sp.Symbol("t", nonnegative=True), p * (1 - p)
    sy.require(sy.smt_valid([], t - (cubic * t**2 - t**4) / 2 >= 0), "the lower bound of the root")
    u = k * (G - k) / (G**2 * q)
    first, second = (sy.over_binomial_symbolic(sp.expand(f), k, G, p) for f in (u, u**2))
    sy.equal(first, (G - 1) / G, "E u")
    lower = (3 * first - second) / 2
    sy.equal(sp.limit(sp.simplify(lower), G, sp.oo), 1, "the limit of the lower bound")
    sy.equal(sp.limit(sp.sqrt(first), G, sp.oo), 1, "the limit of the upper bound")
    return sy.Exhibit(
        formula=rf"{sp.latex(sp.factor(sp.simplify(lower)))} \le \sqrt{{p (1-p)}}\, w_G(p) \le \sqrt{{\frac{{G-1}}{{G}}}}"
    )


form.sabotage("the sample standard deviation in the weight given k", any_group, ddof=1)
form.sabotage("the sample standard deviation in the table", table, ddof=1)
form.sabotage("the shipped estimator with the sample standard deviation", traced, name="grpo_sample_std")
form.sabotage("twice the lower bound", bounds, low=2)
form.sabotage("a quadratic bound that crosses the root", limit, cubic=sp.Rational(7, 2))


direction = sy.Claim(
    id="B6b",
    title="Only with two or three rollouts does GRPO keep the direction of grad J across prompts",
    statement=(
        r"$w_G(p)$ does not depend on p if and only if $G \in \{2, 3\}$: $w_2 = 1$, $w_3 = \sqrt{2}$ (sample standard deviation: $1/\sqrt{2}$ and $2/\sqrt{3}$). So for $G \ge 4$ "
        r"there are prompts whose expected update together is not parallel to $\nabla J$."
    ),
    source=sy.Source("2402.03300", "v3", "equation (3), with the ledger's question"),
    verdict="proved",
    ours=True,
    scope="every G >= 2, binary rewards, every epsilon >= 0, population and sample std, on policy, scores summed over tokens",
    finding=(
        r"For $G \le 3$ every mixed group has one and the same spread, so dividing by it is dividing by a constant: the standard deviation, its epsilon and the choice of divisor "
        r"then do nothing but scale the learning rate. From $G = 4$ on hard and easy prompts are lifted against middling ones."
    ),
)


@direction.step(
    "All G: the coefficients are equal iff G is 2 or 3",
    route="smt",
    shows=r"$c_k \propto 1/(\hat\sigma_k + \epsilon)$ with $\hat\sigma_k^2 = k(G-k)/G^2$; $k = 1$ and $k = 2$ agree iff $G - 1 = 2(G-2)$, that is $G = 3$; for $G = 2$ there is one coefficient",
)
def all_groups(first_free=4):
    size = sp.Symbol("G", real=True)
    eps, s1, s2 = sp.symbols("epsilon sigma1 sigma2", nonnegative=True)
    spread = [sp.Eq(s1**2 * size**2, size - 1), sp.Eq(s2**2 * size**2, 2 * (size - 2)), s1 > 0, s2 > 0]
    sy.require(
        sy.smt_valid([size >= first_free, *spread], sp.Ne(1 / (s1 + eps), 1 / (s2 + eps))),
        f"different coefficients from G = {first_free}",
    )
    sy.require(
        sy.smt_valid([sp.Eq(size, 3), *spread], sp.Eq(1 / (s1 + eps), 1 / (s2 + eps))),
        "equal coefficients at G = 3",
    )


@direction.step(
    "As polynomials, G = 2 to 16",
    route="enumeration",
    shows=r"the degree of $w_G$ in p is 0 for $G = 2, 3$ and at least 2 above",
)
def degrees(constant=(2, 3)):
    for size in SIZES:
        for ddof in (0, 1):
            degree = sp.Poly(sp.expand(bernstein([c(size, j, ddof) for j in range(size - 1)])), p).degree()
            sy.require((degree <= 0) == (size in constant), f"G = {size} is constant: {degree <= 0}")
    for ddof, values in ((0, (1, sp.sqrt(2))), (1, (1 / sp.sqrt(2), 2 / sp.sqrt(3)))):
        for size, value in zip((2, 3), values, strict=True):
            sy.equal(
                bernstein([c(size, j, ddof) for j in range(size - 1)]),
                value,
                f"the constant at G = {size}, ddof {ddof}",
            )


@direction.step(
    "The shipped code with its epsilon, G = 2, 3, 4",
    route="traced code",
    shows=r"$w_2, w_3$ are constants also for $\epsilon = 10^{-6}$ and $1$; $w_4$ is not",
)
def with_epsilon(last=3):
    for eps in (1e-6, 1.0):
        for size in (2, 3, 4):
            values = coefficients(shipped("grpo", size, eps=eps), size)
            constant = sp.Poly(sp.expand(bernstein(values)), p).degree() <= 0
            sy.require(constant == (size <= last), f"w at G = {size}, epsilon {eps} is constant: {constant}")


@direction.counterexample(
    "Two prompts with p = 1/2 and 1/10, one logit each (two answers): at G = 3 the expected update is parallel to grad J, at G = 4 it is not; the engine has the same numbers.",
    p="(1/2, 1/10)",
    G="(3, 4)",
)
def two_prompts(sizes=(3, 4)):
    bandits = [sy.SymbolicBandit([x, 1 - sp.Rational(x)], [1, 0]) for x in ("1/2", "1/10")]
    estimator, ratios = catalogue.get("grpo", eps=0.0), []
    for size in sizes:
        parts = [sy.group_moments(b, size, sy.weights_of(estimator)) for b in bandits]
        ratios.append([sp.simplify(m.mean[0] / b.gradient[0]) for m, b in zip(parts, bandits, strict=True)])
    sy.equal(ratios[0][0], ratios[0][1], f"equal weights at G = {sizes[0]}")
    sy.require(sp.simplify(ratios[1][0] - ratios[1][1]) != 0, f"different weights at G = {sizes[1]}")
    seen = np.asarray(sy.engine(estimator, bandits, sizes[1]).mean).reshape(2, 2)
    for row, part in zip(seen, parts, strict=True):
        gap = max(abs(2 * x - float(m)) for x, m in zip(row, part.mean, strict=True))
        sy.require(gap < 1e-11, f"the engine's mean differs by {gap}")
    return sy.Exhibit(text=f"weights at G = {sizes[1]}: {ratios[1][0]} and {ratios[1][1]}")


direction.sabotage("G = 3 among the group sizes that bend the direction", all_groups, first_free=3)
direction.sabotage("G = 4 called constant", degrees, constant=(2, 3, 4))
direction.sabotage("G = 4 called constant in the code", with_epsilon, last=4)
direction.sabotage("G = 4 called parallel", two_prompts, sizes=(4, 5))
