"""B10: every binary group scheme climbs the mean of a Bernstein polynomial of p; GRPO's limit is 2 arcsin sqrt(p)."""

import sympy as sp
from _binary import bernstein, p, shipped, standardised
from _stopping import completions, sequence_weights

from gradvar import catalogue
from gradvar import symbolic as sy

SOURCE = sy.Source(
    "2510.13651",
    "v1",
    "the Bernstein form and its table of transforms (abstract seen: the logarithm for rejection sampling, the arcsine of the root for GRPO)",
)


def heights(steps):
    """H_k = (1/M) sum_{j<k} (a_{j+1} - b_j) for k = 0 .. M, from the M steps."""
    size = len(steps)
    return [sp.Add(*steps[:count]) / size for count in range(size + 1)]


claim = sy.Claim(
    id="B10a",
    title="Every binary group scheme climbs a Bernstein polynomial of the success probability",
    statement=(
        r"Let a group of M rollouts with k correct ones give advantages $a_k$ and $b_k$. Then $\mathrm{E}\hat g = \nabla h_M(p)$ with $h_M(p) = \sum_{k=0}^{M} \binom{M}{k} p^k (1-p)^{M-k} H_k$, $H_k = \frac{1}{M} \sum_{j<k} (a_{j+1} - b_j)$; "
        r"over prompts it is the gradient of $\mathrm{E}_x[h_M(p_x)]$."
    ),
    source=SOURCE,
    verdict="conditional",
    scope="every M >= 1, all real a_k and b_k; h may rise or fall: 'climbs' means stochastic gradient ascent on it",
    hypotheses=(
        "advantages that depend on the group's rewards only, equal for equal rewards",
        "on policy, the scores of all tokens summed: no division by length",
        "binary rewards",
    ),
    finding=r"So any sequence $H_0, \ldots, H_M$ can be had by choosing advantages, and the group size is the degree to which a transform of p can be resolved. $h_2(p) = p$ for GRPO pairs, $h_3(p) = \sqrt{2}\, p$.",
)


@claim.step(
    "Term by term, any M",
    route="sympy",
    shows=r"$\frac{k}{M} \binom{M}{k} = \binom{M-1}{k-1}$ and $\frac{M-k}{M} \binom{M}{k} = \binom{M-1}{k}$ give $w = \sum_j \binom{M-1}{j} p^j (1-p)^{M-1-j} (a_{j+1} - b_j)$, which is the derivative of the Bernstein polynomial: $h' = M \sum_j \binom{M-1}{j} p^j (1-p)^{M-1-j} (H_{j+1} - H_j)$",
)
def term_by_term(lower=1):
    j, m = sp.symbols("j m", integer=True, positive=True)  # M = j + m + 1: j others right, m others wrong
    M = j + m + 1
    right = sp.gammasimp((sp.binomial(M, j + 1) * (j + 1) / M / sp.binomial(M - 1, j)).rewrite(sp.gamma))
    wrong = sp.gammasimp((sp.binomial(M, j) * (M - j) / M / sp.binomial(M - 1, j)).rewrite(sp.gamma))
    sy.equal(right, 1, "a correct rollout with j correct others")
    sy.equal(wrong, 1, "a wrong rollout with j correct others")
    # Derivative of one Bernstein polynomial B_{k,M}, against M (B_{k-1,M-1} - B_{k,M-1}), k = j, divided by p^(j-1) (1-p)^m.
    base = j * (1 - p) - (m + 1) * p
    up = sp.gammasimp((M * sp.binomial(M - 1, j - 1) / sp.binomial(M, j)).rewrite(sp.gamma))
    down = sp.gammasimp((M * sp.binomial(M - 1, j) / sp.binomial(M, j)).rewrite(sp.gamma))
    sy.equal(base, up * (1 - p) - lower * down * p, "the derivative of a Bernstein polynomial")


@claim.step(
    "All schemes up to M = 7",
    route="enumeration",
    shows=r"with symbolic $a_k, b_k$: $h_M'$ equals the weight from the sum over k, as polynomials",
)
def symbolic_schemes(sign=-1):
    for size in range(1, 8):
        right = sp.symbols(f"a1:{size + 1}")
        wrong = sp.symbols(f"b0:{size}")
        scheme = lambda count: (right[count - 1] if count else 0, wrong[count] if count < size else 0)  # noqa: B023, E731
        h = bernstein(heights([right[j] + sign * wrong[j] for j in range(size)]))
        sy.require(sp.expand(sp.diff(h, p) - sy.prompt_weight(scheme, size, p)) == 0, f"h' at M = {size}")


@claim.step(
    "Six shipped estimators",
    route="traced code",
    shows="M = 4: h from the traced advantages; its derivative is the exact bias factor of a three-answer bandit, and GRPO's the engine's",
)
def traced(names=("rloo", "dr_grpo", "grpo", "maxrl", "softmax", "pass_at_k"), shift=0):
    rows = [("estimator", "h(p) at M = 4, expanded")]
    for name in names:
        settings = {"eps": 0.0} if name == "grpo" else ({"temperature": 1.0} if name == "softmax" else {})
        scheme = shipped(name, 4, **settings)
        h = sp.expand(bernstein(heights([scheme(j + 1)[0] - scheme(j)[1] for j in range(4)])))
        sy.equal(sp.diff(h, p) + shift, sy.prompt_weight(scheme, 4, p), f"the derivative of h for {name}")
        rows.append((name, f"${sp.latex(h)}$"))
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [1, 0, 1])
    grpo = shipped("grpo", 4, eps=0.0)
    factor = sy.prompt_weight(grpo, 4, bandit.value)
    sy.require(
        abs(sy.engine(catalogue.get("grpo", eps=0.0), bandit, 4).bias_factor - float(factor)) < 1e-11,
        "the engine's factor",
    )
    return sy.Exhibit(table=tuple(rows))


@claim.counterexample(
    "With GRPO's division by length (completions of 1, 2 and 2 tokens, chances 1/2, 1/6, 1/3, rewards 1, 0, 1, G = 2) the expected update is no multiple of grad p, so it is the gradient of no function of p.",
    chances="(1/2, 1/6, 1/3)",
    G=2,
)
def with_lengths(name="grpo"):
    from _stopping import sequence_engine

    rewards = (1, 0, 1)
    settings = {"eps": 0.0} if name == "grpo" else {}
    estimator = catalogue.get(name, **settings)
    policy = completions("1/2", "1/3", rewards)
    mean = sp.Matrix(sy.group_moments(policy, 2, sequence_weights(estimator, rewards), by_answer=True).mean)
    gradient = sp.Matrix(policy.gradient)
    defect = sp.simplify(mean.dot(mean) * gradient.dot(gradient) - mean.dot(gradient) ** 2)
    sy.require(defect != 0, "parallel to grad p")
    cosine = sequence_engine(estimator, "1/2", "1/3", rewards, 2).cosine
    sy.require(cosine < 1 - 1e-6, f"the engine's cosine is {cosine}")
    return sy.Exhibit(text=f"cosine {cosine:.6f}")


claim.sabotage("the lower neighbour left out", term_by_term, lower=0)
claim.sabotage("wrong rollouts added", symbolic_schemes, sign=1)
claim.sabotage("another weight", traced, names=("rloo",), shift=1)
claim.sabotage("the same policy without the division by length", with_lengths, name="rloo")


arcsine = sy.Claim(
    id="B10b",
    title="GRPO's transform tends to 2 arcsin sqrt(p)",
    statement=r"With $h_G(0) = 0$, GRPO's $h_G(p) \to 2 \arcsin \sqrt{p}$ as $G \to \infty$ for every p in $[0, 1]$.",
    source=SOURCE,
    verdict="proved",
    scope="every p in [0, 1]; population or sample std, no epsilon; convergence of h (not only of its derivative) by domination",
    finding=r"Finite groups end lower: $h_G(1) = \sum_{k=1}^{G-1} \frac{1}{\sqrt{k(G-k)}}$ is 1, 1.41, 1.65 at $G = 2, 3, 4$ and tends to $\pi$; the arcsine overstates what a practical group climbs near the ends.",
)


@arcsine.step(
    "The derivative",
    route="sympy",
    shows=r"$\frac{d}{dp} 2 \arcsin \sqrt{p} = \frac{1}{\sqrt{p(1-p)}}$, which has the integral $\pi$ over $[0, 1]$",
)
def derivative(factor=2):
    q = sp.Symbol("q", positive=True)
    sy.equal(
        sp.diff(factor * sp.asin(sp.sqrt(q)), q), 1 / sp.sqrt(q * (1 - q)), "the derivative", where=[q < 1]
    )
    sy.equal(factor * sp.asin(1), sp.pi, "the value at 1")


@arcsine.step(
    "Dominated convergence",
    route="sympy",
    shows=r"$w_G(p) \le \sqrt{\frac{G-1}{G}} \frac{1}{\sqrt{p(1-p)}}$ (Jensen, $\mathrm{E}\hat\sigma^2 = \frac{G-1}{G} p(1-p)$), and $w_G \to \frac{1}{\sqrt{p(1-p)}}$ pointwise (B7b): the integrals converge",
)
def domination(ddof=0):

    G, k = sp.symbols("G k", positive=True)
    mean_square = sy.over_binomial_symbolic(k * (G - k) / (G * (G - ddof)), k, G, p)
    sy.equal(mean_square, (G - 1) / G * p * (1 - p), "the mean variance of a group")


@arcsine.step(
    "In numbers",
    route="enumeration",
    shows=r"$h_G(1/2)$ and $h_G(1)$ at G = 4, 16, 64 from exact coefficients: rising towards $\pi/2$ and $\pi$, the gap to $\pi$ at G = 64 below 0.4",
)
def numbers(target=sp.pi):
    rows, last = [("G", "$h_G(1/2)$", "$h_G(1)$")], sp.Integer(0)
    for size in (4, 16, 64):
        # h_G(1) = H_G: the mean of the M steps; by symmetry h_G(1/2) is half of it.
        steps = [float(standardised(size)(j + 1)[0] - standardised(size)(j)[1]) for j in range(size)]
        height = sum(steps) / size
        closed = sum(1 / float(sp.sqrt(j * (size - j))) for j in range(1, size))
        sy.require(abs(height - closed) < 1e-12, "the closed form of the height")
        sy.require(last < height < target, "rising, below the limit")
        last = height
        rows.append((str(size), f"{height / 2:.6f}", f"{height:.6f}"))
    sy.require(abs(last - float(target)) < 0.4, f"h at 1 is {last}")
    return sy.Exhibit(table=tuple(rows))


arcsine.sabotage("the arcsine without its factor 2", derivative, factor=1)
arcsine.sabotage("the sample variance", domination, ddof=1)
arcsine.sabotage("another limit", numbers, target=sp.Rational(5, 2))
