"""B10: every binary group scheme climbs the mean of a Bernstein polynomial of p; GRPO's limit is 2 arcsin sqrt(p)."""

import sympy as sp
from _binary import ON_POLICY, bernstein, p, shipped, spread_moments, standardised
from _stopping import completions, sequence_weights

from gradvar import catalogue
from gradvar import symbolic as sy

PAPER = "2510.13651"
M, G = sp.symbols("M G", integer=True, positive=True)
j, n = sp.symbols("j n", integer=True, nonnegative=True)
right, wrong, slope, basis, following = sp.symbols("x y z B B_next", real=True)
weight, climb = sp.symbols("w h", real=True)
SIZES = (1, 2, 3, 4)


def heights(steps):
    """H_k = (1/M) sum_{j<k} (a_{j+1} - b_j) for k = 0 .. M, from the M steps."""
    size = len(steps)
    return [sp.Add(*steps[:count]) / size for count in range(size + 1)]


claim = sy.Claim(
    id="B10a",
    title="Every binary group scheme climbs a Bernstein polynomial of the success probability",
    statement=sy.Statement(
        setting=(
            r"One prompt of success rate p, a group of M rollouts; with k correct ones the correct "
            r"have the advantage $a_k$ and the wrong $b_k$; "
            r"$h_M(p) = \sum_k \binom{M}{k} p^k (1-p)^{M-k} H_k$ with $H_k = \frac{1}{M} \sum_{j<k} (a_{j+1} - b_j)$"
        ),
        forall={M: sy.whole(1), j: sy.whole(0), p: sy.between(0, 1), n: sy.one_of(*SIZES)},
        given={
            "on policy": ON_POLICY,
            "binary": sy.Hypothesis("rewards are binary and advantages depend on the group's rewards only"),
            "sums": sy.Hypothesis("the scores of all tokens are summed, with no division by length"),
            "index": sy.Hypothesis("$j < M$", j <= M - 1),
        },
        quantities={
            right: sy.Quantity(
                "x_j", r"the factor of $a_{j+1}$ in the update's factor $w_M(p)$ of $\nabla p$"
            ),
            wrong: sy.Quantity("y_j", "the factor of $-b_j$ in it"),
            slope: sy.Quantity("z_j", r"$\frac{1}{M}$ of the derivative of $\binom{M}{j} p^j (1-p)^{M-j}$"),
            basis: sy.Quantity("B_j", r"$\binom{M-1}{j} p^j (1-p)^{M-1-j}$"),
            following: sy.Quantity("B_{j-1}", "the same for j - 1 (zero for j = 0)"),
            weight: sy.Quantity("w_n(p)", "the update's factor for n rollouts, from its definition"),
            climb: sy.Quantity("h_n(p)", "the Bernstein polynomial for n rollouts"),
        },
        ranges={"small groups": (p, n)},
        goals={
            "correct rollouts": sp.Eq(right, basis),
            "wrong rollouts": sp.Eq(wrong, basis),
            "slope": sp.Eq(slope, following - basis),
            "small groups": sp.Eq(weight, sp.Derivative(climb, p)),
        },
    ),
    source=sy.Source(
        PAPER,
        "v1",
        "the Bernstein form and its table of transforms",
        says="binary group schemes are stochastic gradient ascent on the mean of a transform of p, in Bernstein form",
        caveat="binary rewards, weights that depend on the rewards, summed scores and on policy are its definitions",
    ),
    verdict="proved",
    scope="every M and all real $a_k$, $b_k$; h may rise or fall; over prompts it is the gradient of the "
    "mean of $h_M(p_x)$",
    proof=(
        r"A correct rollout among $j + 1$ has the mean score $\nabla p/p$, a wrong one among j "
        r"correct $-\nabla p/(1-p)$; with $\frac{j+1}{M} \binom{M}{j+1} = \frac{M-j}{M} \binom{M}{j} "
        r"= \binom{M-1}{j}$ "
        r"both $a_{j+1}$ and $-b_j$ have the factor $B_j$, so $w_M = \sum_j B_j (a_{j+1} - b_j)$. The "
        r"derivative of a Bernstein polynomial is M times the difference of two of one degree less. "
        r"Summed over "
        r"$k > j$ these differences telescope, so the factor of $a_{j+1} - b_j = M (H_{j+1} - H_j)$ "
        r"in $h_M'$ is $B_j$ too. Hence $w_M = h_M'$, and the expected update is $\nabla h_M(p)$. "
        r"With symbolic advantages "
        "the polynomials of up to four rollouts agree, and so do those of six shipped estimators."
    ),
    finding=(
        r"So any sequence $H_0, \ldots, H_M$ can be had by choosing advantages, and the group size is "
        r"the degree to which a transform of p can be resolved. $h_2(p) = p$ for GRPO pairs, "
        r"$h_3(p) = \sqrt{2}\, p$. With GRPO's division by length the expected update need not be a "
        r"multiple of $\nabla p$ at all."
    ),
)


@claim.step(
    "Term by term, any M",
    route="sympy",
    shows="the two factors from the chances of the counts, and the derivative of a Bernstein polynomial",
)
def term_by_term(lost=0):
    powers = p**j * (1 - p) ** (M - 1 - j)
    one = sp.binomial(M - 1, j) * powers
    # j + 1 of M correct: (j+1)/M of the rollouts, each with the mean score 1/p; j correct: (M-j)/M with 1/(1-p).
    values = {right: sp.binomial(M, j + 1) * powers * (j + 1 - lost) / M, basis: one}
    claim.goal("correct rollouts").holds(values)
    claim.goal("wrong rollouts").holds({wrong: sp.binomial(M, j) * powers * (M - j) / M, basis: one})
    # d/dp of p^j (1-p)^(M-j), over p^(j-1) (1-p)^(M-1-j)
    derivative = sp.binomial(M, j) * powers / p * (j * (1 - p) - (M - j) * p) / M
    before = sp.binomial(M - 1, j) * j / (M - j) * powers * (1 - p) / p  # C(M-1, j-1) = C(M-1, j) j/(M-j)
    claim.goal("slope").holds({slope: derivative, following: before, basis: one})


def polynomial(size, count):
    """A Bernstein polynomial."""
    return (
        sp.binomial(size, count) * p**count * (1 - p) ** (size - count)
        if 0 <= count <= size
        else sp.Integer(0)
    )


@claim.step(
    "All schemes up to M = 4",
    route="enumeration",
    shows=r"with symbolic $a_k, b_k$: $h_M'$ equals the weight from the sum over k, as polynomials; the "
    r"factors one by one",
)
def symbolic_schemes(sign=-1):
    for size in SIZES:
        plus = sp.symbols(f"a1:{size + 1}", real=True)
        minus = sp.symbols(f"b0:{size}", real=True)

        def scheme(count, plus=plus, minus=minus, size=size):
            return (plus[count - 1] if count else 0), (minus[count] if count < size else 0)

        value = sy.prompt_weight(scheme, size, p)
        h = bernstein(heights([plus[i] + sign * minus[i] for i in range(size)]))
        claim.goal("small groups").holds({weight: value, climb: h}, at={n: size})
        for i in range(size):
            place, one = {M: size, j: i}, polynomial(size - 1, i)
            claim.goal("correct rollouts").holds({right: sp.diff(value, plus[i]), basis: one}, at=place)
            claim.goal("wrong rollouts").holds({wrong: -sp.diff(value, minus[i]), basis: one}, at=place)
            values = {slope: sp.diff(polynomial(size, i), p) / size, following: polynomial(size - 1, i - 1)}
            claim.goal("slope").holds({**values, basis: one}, at=place)


@claim.step(
    "Six shipped estimators as they ship",
    route="traced code",
    shows="M = 2 and 3: h from the traced advantages against the exact mean over all groups of a bandit "
    "and, for those that sum tokens, of rollouts of one and two tokens",
)
def traced(summed=("rloo", "maxrl", "pass_at_k"), ratio=1):
    rows = [("estimator", "h(p) at M = 3, expanded")]
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [1, 0, 1])
    policy = completions("1/2", "1/3", (1, 0, 1))
    for name in dict.fromkeys((*summed, "rloo", "dr_grpo", "grpo", "maxrl", "softmax", "pass_at_k")):
        estimator = catalogue.get(name)
        for size in (2, 3):
            scheme = shipped(name, size)
            h = bernstein(heights([scheme(i + 1)[0] - scheme(i)[1] for i in range(size)]))
            mean = sy.group_moments(bandit, size, sy.weights_of(estimator)).mean
            values = {weight: mean[1] / bandit.gradient[1] * ratio, climb: h}
            claim.goal("small groups").holds(values, at={n: size, p: bandit.value})
        powers = reversed(sp.Poly(sp.expand(h), p).all_coeffs())
        shown = sp.Add(*[sp.N(sp.simplify(c), 5) * p**i for i, c in enumerate(powers)])
        rows.append((name, f"${sp.latex(shown)}$"))
        if name in summed:
            scheme = shipped(name, 2)
            h = bernstein(heights([scheme(i + 1)[0] - scheme(i)[1] for i in range(2)]))
            weights = sequence_weights(estimator, (1, 0, 1))
            mean = sy.group_moments(policy, 2, weights, by_answer=True).mean
            values = {weight: [x / y for x, y in zip(mean, policy.gradient, strict=True)], climb: h}
            claim.goal("small groups").holds(values, at={n: 2, p: policy.value})
    return sy.Exhibit(table=tuple(rows))


claim.sabotage("one correct rollout lost", term_by_term, lost=1)
claim.sabotage("wrong rollouts added", symbolic_schemes, sign=1)
claim.sabotage("twice the update", traced, ratio=2)
claim.sabotage("GRPO's division by length on rollouts of one and two tokens", traced, summed=("grpo",))


relative, first, square, gap, near, middle = sp.symbols("W u_1 u_2 D A C", real=True)

arcsine = sy.Claim(
    id="B10b",
    title="GRPO's transform tends to 2 arcsin sqrt(p)",
    statement=sy.Statement(
        setting=(
            r"One prompt, binary rewards, GRPO with the population standard deviation and no epsilon; "
            r"$h_G$ is its transform of p with $h_G(0) = 0$ (B10a), $0 \le p \le 1$"
        ),
        forall={G: sy.whole(2)},
        given={"on policy": ON_POLICY},
        quantities={
            gap: sy.Quantity("D", r"the distance $2 \arcsin \sqrt{p} - h_G(p)$"),
            relative: sy.Quantity(
                "W",
                r"$\sqrt{x(1-x)}\, h_G'(x) = \mathrm{E}\sqrt{u}$, $u = \frac{k(G-k)}{G^2 x(1-x)}$, k binomial (B6a)",
            ),
            first: sy.Quantity(r"\mathrm{E}u", "the mean of u"),
            square: sy.Quantity(r"\mathrm{E}u^2", "the mean of its square"),
            near: sy.Quantity("A", r"$\int_0^{1/G} \frac{dx}{\sqrt{x/2}}$"),
            middle: sy.Quantity("C", r"$\int_{1/G}^{1/2} \frac{dx}{2 G (x(1-x))^{3/2}}$"),
        },
        goals={"distance": sp.And(gap >= 0, gap <= 10 / sp.sqrt(G - 1))},
        lemmas={
            "slope": sy.Lemma(
                sp.And(relative >= 1 - 1 / (2 * G * p * (1 - p)), relative <= 1),
                forall={p: sy.between(0, 1)},
            ),
            "root": sy.Lemma(sp.And(relative >= (3 * first - square) / 2, relative <= (1 + first) / 2)),
            "pieces": sy.Lemma(
                sp.And(sp.Eq(near, 2 * sp.sqrt(2) / sp.sqrt(G)), middle <= 2 / sp.sqrt(G - 1))
            ),
        },
    ),
    source=sy.Source(
        PAPER,
        "v1",
        "abstract",
        says="GRPO's transform is the arcsine of the root",
        caveat="said of the limit of large groups",
    ),
    verdict="proved",
    scope=r"every p in $[0, 1]$, with an explicit distance; the sample standard deviation multiplies $h_G$ "
    r"by $\sqrt{(G-1)/G}$, which tends to 1",
    proof=(
        r"$2 \arcsin \sqrt{x}$ has the derivative $1/\sqrt{x(1-x)}$, and $h_G$ has W times that with "
        r"$1 - \frac{1}{2Gx(1-x)} \le W \le 1$, from the parabolas around the root and the means of u "
        r"and $u^2$ (as in B7b). So the distance D is not "
        r"negative and rises in p. Up to $p = 1/2$ it is at most the integral of $1/\sqrt{x(1-x)} \le "
        r"1/\sqrt{x/2}$ up to $1/G$, plus that of $\frac{1}{2G(x(1-x))^{3/2}}$ from there on: A + C. "
        r"By the symmetry of both derivatives about 1/2 it is at "
        r"most twice that for every p. Both integrals are closed forms of order $1/\sqrt{G}$, so D is "
        r"at most $10/\sqrt{G-1}$, which tends to zero."
    ),
    finding=(
        r"Finite groups end lower: $h_G(1) = \sum_{k=1}^{G-1} \frac{1}{\sqrt{k(G-k)}}$ is 1, 1.41, "
        r"1.65 at $G = 2, 3, 4$ and tends to $\pi$; the arcsine overstates what a practical group "
        r"climbs near the ends."
    ),
)


@arcsine.step(
    "The root between two parabolas",
    route="smt",
    shows=r"$\frac{3u - u^2}{2} \le \sqrt{u} \le \frac{1+u}{2}$, kept by means",
)
def parabola(power=2):
    t = sp.Symbol("t", nonnegative=True)  # sqrt(u)
    arcsine.goal("root").holds({relative: t, first: t**2, square: t ** (2 * power)})


@arcsine.step(
    "The slope", route="smt", shows="the means of u and its square over the binomial count, any G and p"
)
def slopes(excess=0):
    mean, mean_square = spread_moments(G)
    value = sp.Symbol("W", nonnegative=True)
    arcsine.goal("slope").holds(
        {relative: value + excess}, using={"root": {relative: value, first: mean, square: mean_square}}
    )


@arcsine.step(
    "Two integrals",
    route="sympy",
    shows=r"$\frac{2x - 1}{G \sqrt{x(1-x)}}$ is an antiderivative of the second integrand",
)
def pieces(factor=1):
    x, size = sp.Symbol("x", positive=True), sp.Symbol("G", positive=True)
    spread = x * (1 - x)
    inverse = factor * (2 * x - 1) / (size * sp.sqrt(spread))
    sy.equal(
        sp.diff(inverse, x), 1 / (2 * size * spread ** sp.Rational(3, 2)), "the antiderivative", where=[x < 1]
    )
    below = -sp.integrate(sp.sqrt(2) / sp.sqrt(x), (x, 1 / size, 0))
    # At x = 1/G the root of x(1-x) is sqrt(G-1)/G.
    above = 0 - (2 / G - 1) / (G * sp.sqrt(G - 1) / G)
    sy.equal(above, -inverse.subs(x, 1 / size).subs(size, G), "the lower end", where=[G >= 2])
    arcsine.goal("pieces").holds({near: below.subs(size, G), middle: above})


@arcsine.step("The distance", route="smt", shows=r"$0 \le D \le 2(A + C)$ is at most $10/\sqrt{G-1}$")
def distance(times=2, place=None):
    first_part, second_part = sp.symbols("A C", nonnegative=True)
    total = sp.Symbol("D", nonnegative=True)  # not negative: its derivative is not, as W is at most 1
    one = sp.Symbol("W1", real=True)
    arcsine.goal("distance").holds(
        {gap: total},
        at=place,
        where=[total <= times * (first_part + second_part)],
        using={"pieces": {near: first_part, middle: second_part}, "slope": {relative: one, p: sp.S.Half}},
    )


@arcsine.step(
    "In exact numbers",
    route="traced code",
    shows=r"p = 1/2 and 1: the shipped advantages at G = 2 to 5; the definition's at G = 4, 16, 64",
)
def numbers(limit=sp.pi):
    rows = [("G", "$h_G(1/2)$", "$h_G(1)$")]
    for size in (2, 3, 4, 5):
        scheme = shipped("grpo", size, eps=0.0)
        steps = [scheme(i + 1)[0] - scheme(i)[1] for i in range(size)]
        for x, arc in ((sp.S.Half, limit / 2), (sp.Integer(1), limit)):
            height = bernstein(heights(steps), p).subs(p, x)
            arcsine.goal("distance").holds({gap: arc - height}, at={G: size})
    for size in (4, 16, 64):
        scheme = standardised(size)
        height = sp.Add(*[scheme(i + 1)[0] - scheme(i)[1] for i in range(size)]) / size
        closed = sp.Add(*[1 / sp.sqrt(i * (size - i)) for i in range(1, size)])
        sy.equal(height, closed, "the closed form of the height")
        arcsine.goal("distance").holds({gap: limit - height}, at={G: size})
        rows.append((str(size), str(sp.N(height / 2, 7)), str(sp.N(height, 7))))
    return sy.Exhibit(table=tuple(rows))


arcsine.sabotage("a parabola that crosses the root", parabola, power=1)
arcsine.sabotage("more than the mean", slopes, excess=sp.S.Half)
arcsine.sabotage("twice the antiderivative", pieces, factor=2)
arcsine.sabotage("four times the pieces, pairs", distance, times=4, place={G: 2})
arcsine.sabotage("another limit", numbers, limit=sp.Rational(5, 2))
