"""B9: SoftmaxGRPO's weight for binary rewards, and why three reward levels have no objective."""

import itertools

import sympy as sp
from _binary import bernstein, coefficients, p, shipped

from gradvar import catalogue
from gradvar import symbolic as sy

SOURCE = sy.Source(
    "2608.09271",
    "v1",
    "equations (1) and (2) and the discussion of the expected update (as the ledger has them; the paper was not at hand)",
)
G, k = sp.symbols("G k", positive=True)
e = sp.Symbol("e", positive=True)  # exp(1/tau), above 1


def advantages(size, base=e):
    """G softmax(r/tau) - 1 with k correct of ``size`` rollouts."""

    def conditional(count):
        total = count * base + size - count
        return size * base / total - 1, size / total - 1

    return conditional


weight = sy.Claim(
    id="B9a",
    title="SoftmaxGRPO's weight for binary rewards, at every group size and temperature",
    statement=(
        r"With $\epsilon = e^{1/\tau}$, $\mathrm{E}[\hat g] = w(p) \nabla p$, $w(p) = \sum_{j=0}^{G-2} \binom{G-2}{j} p^j (1-p)^{G-2-j} \frac{(G-1)(\epsilon - 1)}{G + (j+1)(\epsilon - 1)}$; "
        r"$w(0) = \frac{(G-1)(\epsilon-1)}{G-1+\epsilon}$, $w(1) = \frac{(G-1)(\epsilon-1)}{(G-1)\epsilon+1}$, and as $G \to \infty$ it tends to the derivative of $\log(1 + p(\epsilon - 1)) = \log \mathrm{E}\, e^{r/\tau}$."
    ),
    source=SOURCE,
    verdict="proved",
    scope="every G >= 2, p and temperature (symbolic); on policy, scores summed over tokens",
    finding=r"At $G = 2$ the weight is $\tanh\frac{1}{2\tau}$ for every p: a pair is plain REINFORCE with baseline, times a constant. From $G = 3$ on it falls strictly in p: hard prompts count more, by at most the factor $\frac{(G-1)\epsilon+1}{G-1+\epsilon} < \epsilon$.",
)


@weight.step(
    "Given k, any G",
    route="sympy",
    shows=r"$k a_k = -(G-k) b_k = \frac{k(G-k)(\epsilon-1)}{k\epsilon + G - k}$, and $\frac{k(G-k)}{G} \binom{G}{k} = (G-1) \binom{G-2}{k-1}$",
)
def given_k(power=1):
    total = k * e + G - k
    right, wrong = G * e / total - 1, G / total - 1
    sy.equal(k * right, k * (G - k) * (e - 1) ** power / total, "the correct rollouts together")
    sy.equal(k * right + (G - k) * wrong, 0, "the advantages sum to zero")
    m, n = sp.symbols("m n", integer=True, positive=True)
    ratio = sp.gammasimp((sp.binomial(n + m, m) / sp.binomial(n + m - 2, m - 1)).rewrite(sp.gamma))
    sy.equal(ratio * m * n, (n + m) * (n + m - 1), "the binomial coefficients")


@weight.step(
    "Polynomial by polynomial, G = 2 to 7",
    route="enumeration",
    shows="the sum over k from its definition is the Bernstein form, with e symbolic; the ends and the pair",
)
def polynomials(offset=1):
    for size in range(2, 8):
        values = [(size - 1) * (e - 1) / (size + (j + offset) * (e - 1)) for j in range(size - 1)]
        sy.equal(sy.prompt_weight(advantages(size), size, p), bernstein(values), f"the weight at G = {size}")
        sy.equal(values[0], (size - 1) * (e - 1) / (size - 1 + e), "the weight at p = 0")
        sy.equal(values[-1], (size - 1) * (e - 1) / ((size - 1) * e + 1), "the weight at p = 1")
    x = sp.Symbol("x", positive=True)
    sy.equal(((e - 1) / (e + 1)).subs(e, sp.exp(x)), sp.tanh(x / 2), "the pair's constant")


@weight.step(
    "The shipped advantages, G = 2, 3, 4",
    route="traced code",
    shows=r"temperature 1/2, exponentials kept exact: traced $a_{j+1} - b_j$ give the same polynomial",
)
def traced(temperature=0.5):
    for size in (2, 3, 4):
        computed = bernstein(coefficients(shipped("softmax", size, temperature=temperature), size))
        values = [(size - 1) * (e - 1) / (size + (j + 1) * (e - 1)) for j in range(size - 1)]
        sy.equal(computed, bernstein(values).subs(e, sp.exp(2)), f"the shipped weight at G = {size}")


@weight.step(
    "Strictly falling from G = 3 on",
    route="smt",
    shows=r"$\frac{1}{G + k(\epsilon - 1)}$ falls in k, so the coefficients are all different and w is constant only at $G = 2$",
)
def falls(least=1):
    size, count = sp.symbols("G k", real=True)
    assumptions = [size >= 3, count >= 1, count <= size - 2, e > least]
    sy.require(
        sy.smt_valid(assumptions, 1 / (size + (count + 1) * (e - 1)) < 1 / (size + count * (e - 1))),
        "the coefficients fall",
    )


@weight.step(
    "Large groups",
    route="sympy",
    shows=r"each coefficient at $k = pG$ tends to $\frac{\epsilon-1}{1 + p(\epsilon-1)}$, the derivative of $\log(1 + p(\epsilon-1))$ (law of large numbers: the coefficient is a bounded continuous function of k/G)",
)
def large(shift=0):
    coefficient = (G - 1) * (e - 1) / (G + p * G * (e - 1))
    sy.equal(sp.limit(coefficient, G, sp.oo), sp.diff(sp.log(1 + shift + p * (e - 1)), p), "the limit")


weight.sabotage("e - 1 squared", given_k, power=2)
weight.sabotage("k off by one", polynomials, offset=0)
weight.sabotage("another temperature", traced, temperature=0.25)
weight.sabotage("negative temperatures", falls, least=0)
weight.sabotage("another potential", large, shift=1)


curl = sy.Claim(
    id="B9b",
    title="With three reward levels SoftmaxGRPO's expected update is the gradient of nothing",
    statement=(
        r"For a softmax over answers with three different rewards, no function of the policy has $\mathrm{E}[\hat g]$ as its gradient, at any finite $G \ge 2$ and any temperature. With two levels, and in the limit $G \to \infty$, there is one."
    ),
    source=SOURCE,
    verdict="proved",
    scope="every G >= 2 and every three different reward levels (symbolic); a softmax over three answers, so every policy class that contains one",
    finding=(
        r"With $\alpha = e_1 - 1$, $\beta = e_2 - 1$ ($e_3 = 1$) the curl near the corner of answer 3 is $G(G-1) \frac{\alpha\beta(\beta - \alpha)}{(\alpha+\beta+G)(\alpha+G)(\beta+G)}$: zero iff two levels agree, and of order 1/G. "
        r"So the field is closer to a gradient the larger the group; a fixed point of training need not be the maximum of anything."
    ),
)


def own_share(a, others, size):
    """E-free part: G e_a over the group's total when the other G - 1 rollouts have the weights ``others``."""
    return size * a / (a + others)


@curl.step(
    "The curl at a corner, any G",
    route="sympy",
    shows=(
        r"$\mathrm{E}\hat g \cdot d\theta = \sum_a u_a\, d\pi_a$ with $u_a = \mathrm{E}[A_1 | y_1 = a]$; on the simplex it is closed iff $\partial_1(u_2 - u_3) = \partial_2(u_1 - u_3)$. To first order at $\pi_3 = 1$ at most one "
        r"other rollout differs: $\partial_b u_a = (G-1)[f_a(b) - f_a(3)]$, $f_a(b) = \frac{G e_a}{e_a + e_b + (G-2)e_3}$"
    ),
)
def corner(swap=1):
    a, b = sp.symbols("alpha beta", real=True)
    e1, e2, e3 = 1 + a, 1 + b, sp.Integer(1)
    f = {
        (i, j): own_share(x, y + (G - 2) * e3, G)
        for (i, x), (j, y) in itertools.product(enumerate((e1, e2, e3)), repeat=2)
    }
    slope = {(i, j): (G - 1) * (f[i, j] - f[i, 2]) for i in range(3) for j in range(2)}
    computed = slope[1, 0] - slope[2, 0] - swap * (slope[0, 1] - slope[2, 1])
    claimed = G * (G - 1) * a * b * (b - a) / ((a + b + G) * (a + G) * (b + G))
    sy.equal(computed, claimed, "the curl at the corner")
    return sy.Exhibit(formula=sp.latex(claimed))


@curl.step(
    "It is zero only if two levels agree",
    route="smt",
    shows=r"for $\alpha, \beta > -1$ and $G \ge 2$ the denominators are positive, so the curl vanishes iff $\alpha = 0$, $\beta = 0$ or $\alpha = \beta$",
)
def nonzero(allowed=True):
    a, b, size = sp.symbols("alpha beta G", real=True)
    assumptions = [a > -1, b > -1, size >= 2, sp.Ne(a, 0), sp.Ne(b, 0), *([sp.Ne(a, b)] if allowed else [])]
    sy.require(
        sy.smt_valid(assumptions, sp.Ne(a * b * (b - a) / ((a + b + size) * (a + size) * (b + size)), 0)),
        "the curl is not zero",
    )


@curl.step(
    "In rationals, away from the corner",
    route="enumeration",
    shows=r"$e = (1, 2, 4)$, $\pi = (x, y, 1-x-y)$: the exact polynomial field at G = 2, 3, 4 has a curl that is not zero at (1/2, 1/3, 1/6); with levels (1, 2, 2) it is zero everywhere",
)
def field(levels=(1, 2, 4)):
    x, y = sp.symbols("pi1 pi2", positive=True)
    for size in (2, 3, 4):
        for exps, integrable in ((levels, False), ((1, 2, 2), True)):
            pi = (x, y, 1 - x - y)
            u = [
                sp.Add(
                    *[
                        sp.Mul(*[pi[j] for j in others])
                        * own_share(sp.Integer(exps[a]), sum(exps[j] for j in others), size)
                        for others in itertools.product(range(3), repeat=size - 1)
                    ]
                )
                for a in range(3)
            ]
            computed = sp.expand(sp.diff(u[1] - u[2], x) - sp.diff(u[0] - u[2], y))
            point = computed.subs({x: sp.Rational(1, 2), y: sp.Rational(1, 3)})
            sy.require(
                (computed == 0) if integrable else (point != 0),
                f"G = {size}, levels {exps}: the curl is {point}",
            )


@curl.step(
    "The field is the shipped estimator's",
    route="exact engine",
    shows=r"$\mathrm{E}\hat g = \pi_a u_a$, traced weights and engine, rewards (0, 1, 2), temperature 1, G = 3",
)
def same_field(shift=0):
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, 2])
    exps = [sp.Integer(1), sp.exp(1), sp.exp(2)]
    estimator = catalogue.get("softmax", temperature=1.0)
    exact = sy.group_moments(bandit, 2, sy.weights_of(estimator))
    for a, chance in enumerate(bandit.probabilities):
        share = sp.Add(
            *[q * own_share(exps[a], x, 2) for q, x in zip(bandit.probabilities, exps, strict=True)]
        )
        gap = sp.N(exact.mean[a] - chance * (share - 1) - shift, 30)
        sy.require(abs(gap) < sp.Float("1e-25"), "the field")
    sy.engines_agree(sy.engine(estimator, bandit, 2), exact, "softmax")


curl.sabotage("the other orientation", corner, swap=-1)
curl.sabotage("two levels allowed to agree", nonzero, allowed=False)
curl.sabotage("two levels that agree", field, levels=(1, 4, 4))
curl.sabotage("another field", same_field, shift=sp.S.One / 10)
