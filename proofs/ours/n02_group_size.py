"""N2 to N4: the variance of leave-one-out at every group size, the best group size, and when two rollouts are best."""

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

OURS = sy.Source("this project", "", "the four numbers and the group size; ledger row B5")
G = sp.Symbol("G", positive=True)


def moment(exponents):
    """E[r^a s^b] of one rollout, one coordinate: a symbol m_ab, with E[s] = 0."""
    x, y = exponents.get("r", 0), exponents.get("s", 0)
    if (x, y) == (0, 0):
        return sp.Integer(1)
    return sp.Integer(0) if (x, y) == (0, 1) else sp.Symbol(f"m{x}{y}", real=True)


J, g, V = (moment(x) for x in ({"r": 1}, {"r": 1, "s": 1}, {"s": 2}))
var_r = moment({"r": 2}) - J**2
sigma_o = moment({"r": 2, "s": 2}) - 2 * J * moment({"r": 1, "s": 2}) + J**2 * V - g**2
delta = var_r * V + g**2


def numbers(bandit):
    """(sigma_o^2, Delta, grad J) of an exact bandit, summed over the parameters."""
    rows = list(zip(bandit.probabilities, bandit.rewards, bandit.scores, strict=True))
    value, gradient = bandit.value, bandit.gradient
    norms = [sp.Add(*[x * x for x in s]) for _, _, s in rows]
    signal = sp.Add(*[x * x for x in gradient])
    spread = sp.Add(*[c * (r - value) ** 2 for c, r, _ in rows])
    self_term = sp.Add(*[c * (r - value) ** 2 * n for (c, r, _), n in zip(rows, norms, strict=True)]) - signal
    coupling = spread * sp.Add(*[c * n for (c, _, _), n in zip(rows, norms, strict=True)]) + signal
    return self_term, coupling, gradient


law = sy.Claim(
    id="N2",
    title="The variance of leave-one-out at every group size, for any rewards",
    statement=(
        r"For one prompt, $\mathrm{tr\,Cov}\,\hat g = \frac{4(G-2)\zeta_1 + 2\zeta_2}{G(G-1)} = \frac{\sigma_o^2}{G} + \frac{\Delta}{G(G-1)}$, with $\zeta_1, \zeta_2$ the variances of the projected and the "
        r"full pair kernel $h = \frac{1}{2}(r_1 - r_2)(s_1 - s_2)$, $\sigma_o^2 = \mathrm{tr\,Cov}[(r - J)s] = 4\zeta_1$ and $\Delta = \mathrm{Var}(r) \mathrm{E}\|s\|^2 + \|g\|^2 = 2\zeta_2 - 4\zeta_1$."
    ),
    source=OURS,
    verdict="proved",
    ours=True,
    scope="every G >= 2 (symbolic), every law of (reward, score) with E[s] = 0 and finite fourth moments, any number of parameters (coordinates add)",
    hypotheses=("on policy: the rollouts are independent and $\\mathrm{E}[s] = 0$",),
    finding=r"The first term is an oracle's that knows J; the second is the price of estimating the baseline from the group. It falls like $1/G^2$, while at $G = 2$ it is $\Delta/2$, as large as the oracle's own $\sigma_o^2/2$ or larger unless $\Delta < \sigma_o^2$.",
)


@law.step(
    "By index patterns, G symbolic",
    route="sympy",
    shows=r"$\mathrm{E}[\hat g^2] - g^2$ for one coordinate of $\hat g = (\sum r_i s_i - \frac{1}{G} \sum r_i \sum s_j)/(G-1)$",
)
def by_patterns(extra=1):
    R, S, RS = sp.symbols("R S RS")
    estimator = (RS - R * S / G) / (G - 1)
    second = sy.over_rollouts(estimator**2, {R: {"r": 1}, S: {"s": 1}, RS: {"r": 1, "s": 1}}, G, moment)
    sy.equal(second - g**2, sigma_o / G + extra * delta / (G * (G - 1)), "the variance of leave-one-out")


@law.step(
    "By Hoeffding's counting",
    route="sympy",
    shows=r"of two random pairs of a group, the kernels share 0, 1 or 2 rollouts: $\frac{4(G-2)\zeta_1 + 2\zeta_2}{G(G-1)}$; $4\zeta_1 = \sigma_o^2$, $2\zeta_2 = \sigma_o^2 + \Delta$ from the kernel's own moments",
)
def by_counting(printed=0):
    r, s = sp.symbols("r s")
    # E over the partner of h = (1/2)(r s - r s' - r' s + r' s'): linear in the partner's moments.
    projected = (r * s - r * 0 - J * s + g) / 2 - printed * g / 2

    def expand(e):
        return sp.Add(*[c * moment({"r": i, "s": j}) for (i, j), c in sp.Poly(sp.expand(e), r, s).terms()])

    zeta1 = expand(projected**2) - g**2
    R, S, RS = sp.symbols("R S RS")
    kernel = RS - R * S / 2  # both rollouts of a pair: (1/2)(r1 - r2)(s1 - s2) = sum r s - (1/2) sum r sum s
    zeta2 = (
        sy.over_rollouts(kernel**2, {R: {"r": 1}, S: {"s": 1}, RS: {"r": 1, "s": 1}}, sp.Integer(2), moment)
        - g**2
    )
    sy.equal(4 * zeta1, sigma_o, "four times zeta1")
    sy.equal(2 * zeta2, sigma_o + delta, "twice zeta2")
    sy.equal(
        (4 * (G - 2) * zeta1 + 2 * zeta2) / (G * (G - 1)),
        sigma_o / G + delta / (G * (G - 1)),
        "the two forms",
    )


THREE = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "-7/3"])


@law.step(
    "Three reward levels",
    route="enumeration",
    shows="all groups of the shipped RLOO at G = 2, 3, 4 in rationals",
)
def enumerated(name="rloo"):
    self_term, coupling, _ = numbers(THREE)
    for size in (2, 3, 4):
        computed = sy.group_moments(THREE, size, sy.weights_of(catalogue.get(name))).trace_cov
        sy.equal(computed, self_term / size + coupling / (size * (size - 1)), f"the variance at G = {size}")


@law.step("The engine, G = 7", route="exact engine", shows="the same law at a larger group")
def engine_agrees(size=7):
    self_term, coupling, _ = numbers(THREE)
    computed = float(sy.engine(catalogue.get("rloo"), THREE, size).trace_cov)
    sy.require(
        abs(computed - float(self_term / 7 + coupling / 42)) < 1e-11, "the engine's trace of the covariance"
    )


law.sabotage("no price for the baseline", by_patterns, extra=0)
law.sabotage("the projection without its constant g/2", by_counting, printed=1)
law.sabotage("the group mean in place of the others' mean", enumerated, name="dr_grpo")
law.sabotage("another group size", engine_agrees, size=6)


best = sy.Claim(
    id="N3",
    title="The best group size at a fixed number of rollouts, to the integer",
    statement=(
        r"With N = QG rollouts of Q independent prompts, $\mathrm{tr\,Cov} = \frac{1}{N}\left[G \sigma_b^2 + \sigma_o^2 + \frac{\Delta}{G-1}\right]$ ($\sigma_b^2$ the variance of $\nabla J_x$ between prompts, the others averaged "
        r"over prompts). Over the reals it is least at $G^* = 1 + \sqrt{\Delta/\sigma_b^2}$, over the integers at the least $G \ge 2$ with $G(G-1) \ge \Delta/\sigma_b^2$, which is $\lfloor G^* \rfloor$ or $\lceil G^* \rceil$. "
        r"Two rollouts are as good as any iff $\Delta \le 2\sigma_b^2$, and better than G iff $\Delta < (G-1)\sigma_b^2$."
    ),
    source=OURS,
    verdict="proved",
    ours=True,
    scope="every prompt law and policy, any rewards, leave-one-out (and mean-centred up to its factor); every N that the group size divides",
    hypotheses=(
        "on policy",
        r"$\sigma_b^2 > 0$; with $\sigma_b^2 = 0$ the variance falls for ever and $G = N$ is best",
    ),
    finding=r"No N in it: more budget means more prompts, never larger groups. The threshold for the step from G to G+1 is $\Delta/\sigma_b^2 = G(G-1)$: 2, 6, 12, 20, ...",
)
sb, so, d = sp.symbols("sigma_b sigma_o Delta", positive=True)


def variance(size):
    """N times the trace of the covariance."""
    return size * sb + so + d / (size - 1)


@best.step(
    "From prompts and groups",
    route="sympy",
    shows=r"law of total variance: $\frac{1}{Q}\left[\sigma_b^2 + \frac{\sigma_o^2}{G} + \frac{\Delta}{G(G-1)}\right]$ with $Q = N/G$",
)
def total(between=1):
    N = sp.Symbol("N", positive=True)
    batch = (between * sb + so / G + d / (G * (G - 1))) * G / N
    sy.equal(batch, variance(G) / N, "the variance of a batch")


@best.step(
    "Over the reals",
    route="smt",
    shows=r"$V(G) - V(G^*) \ge 0$ for all real $G > 1$, with $G^* - 1 = x$, $x^2 \sigma_b^2 = \Delta$; equality only there",
)
def over_reals(power=2):
    x, size = sp.symbols("x G", positive=True)
    assumptions = [size > 1, sp.Eq(d, sb * x**power)]
    sy.require(
        sy.smt_valid([*assumptions, sp.Ne(size, 1 + x)], variance(size) > variance(1 + x)),
        "the minimum over the reals",
    )


@best.step(
    "Over the integers",
    route="smt",
    shows=r"$V(G+1) - V(G) = \sigma_b^2 - \frac{\Delta}{G(G-1)}$: V falls while $G(G-1) < \Delta/\sigma_b^2$ and rises after; the best integer lies within one of $G^*$",
)
def over_integers(shift=0):
    size, n = sp.symbols("G n", real=True)
    sy.equal(variance(G + 1) - variance(G), sb - d / (G * (G - 1 + shift)), "one more rollout per prompt")
    assumptions = [size >= 2, n >= 2]
    sy.require(
        sy.smt_valid([*assumptions, size * (size - 1) * sb >= d, n >= size], variance(n + 1) >= variance(n)),
        "V rises from the threshold on",
    )
    sy.require(
        sy.smt_valid([*assumptions, n * (n - 1) * sb < d], variance(n + 1) < variance(n)),
        "V falls before the threshold",
    )
    x = sp.Symbol("x", positive=True)
    chosen = [sp.Eq(d, sb * x**2), n * (n - 1) * sb >= d, n >= 3, (n - 1) * (n - 2) * sb < d]
    sy.require(sy.smt_valid(chosen, sp.And(n < 1 + x + 1, n > x)), "the best integer is within one of G*")


@best.step(
    "Two rollouts", route="smt", shows=r"$V(G) - V(2) = (G-2)\left[\sigma_b^2 - \frac{\Delta}{G-1}\right]$"
)
def two_levels():
    sy.equal(variance(G) - variance(sp.Integer(2)), (G - 2) * (sb - d / (G - 1)), "two against G")
    size = sp.Symbol("G", real=True)
    sy.require(
        sy.smt_valid([size > 2, d < (size - 1) * sb], variance(size) > variance(sp.Integer(2))), "two beat G"
    )
    sy.require(
        sy.smt_valid([size >= 3, d <= 2 * sb], variance(size) >= variance(sp.Integer(2))),
        "two are as good as any",
    )


PROMPTS = [
    sy.SymbolicBandit(["1/2", "1/2"], [1, 0], scores=[[sp.Rational(1, 2)], [-sp.Rational(1, 2)]]),
    sy.SymbolicBandit(["1/4", "3/4"], [0, 1], scores=[[sp.Rational(3, 4)], [-sp.Rational(1, 4)]]),
]


@best.step(
    "Two prompts with a shared parameter",
    route="enumeration",
    shows=r"the shipped RLOO at G = 2 to 5: exact variances match $V(G)$, and the best size is the one that the rule names",
)
def two_prompts(rule=0):
    self_term, coupling = sp.Rational(0), sp.Rational(0)
    gradients: list[sp.Expr] = []
    for prompt in PROMPTS:
        o, c, gradient = numbers(prompt)
        self_term, coupling, gradients = self_term + o / 2, coupling + c / 2, [*gradients, gradient[0]]
    between = (gradients[0] - gradients[1]) ** 2 / 4
    values = {}
    for size in (2, 3, 4, 5):
        parts = [sy.group_moments(prompt, size, sy.weights_of(catalogue.get("rloo"))) for prompt in PROMPTS]
        values[size] = size * sy.mixture(parts).trace_cov
        sy.equal(values[size], size * between + self_term + coupling / (size - 1), f"V at G = {size}")
    named = next(n for n in range(2 + rule, 100) if n * (n - 1) >= coupling / between)
    least = min(values, key=lambda n: values[n])
    sy.require(least == named, f"the least variance is at G = {least}, the rule says {named}")
    return sy.Exhibit(text=f"Delta/sigma_b^2 = {coupling / between}; N times the variance: {values}")


best.sabotage("prompts that do not differ", total, between=0)
best.sabotage("no root", over_reals, power=1)
best.sabotage("a threshold off by one", over_integers, shift=1)
best.sabotage("the rule started above the best size", two_prompts, rule=2)


never = sy.Claim(
    id="N4",
    title="Two rollouts are never better than three",
    statement=(
        r"$\Delta \ge 2 \mathrm{E}\|\nabla J_x\|^2 \ge 2\sigma_b^2$ for every task, policy and reward. So at an equal number of rollouts the variance of leave-one-out at $G = 3$ is never above that at $G = 2$, "
        r"and equal only if $r - J_x$ is a fixed multiple of the score along one direction on every prompt and $\nabla J = 0$."
    ),
    source=OURS,
    verdict="proved",
    ours=True,
    scope="every prompt law, policy, reward and number of parameters; leave-one-out and mean-centred advantages, and for binary rewards also the standardised ones (at G = 2 and 3 they are multiples, B6b)",
    hypotheses=(
        "on policy",
        "a prompt costs nothing beside its rollouts (a cost per prompt only favours larger groups)",
    ),
    finding=(
        r"Two beat sixteen iff $\Delta < 15\sigma_b^2$: possible, when prompts pull in different directions. Two beat three: never. The pair's case is one of wall clock or of large groups being wasteful, "
        r"not of two being the best size."
    ),
)


@never.step(
    "Cauchy and Schwarz, as squares",
    route="sympy",
    shows=(
        r"for independent copies, $\mathrm{E}[((r - J)s' - (r' - J)s)^2] = 2(\mathrm{Var}(r)\mathrm{E}s^2 - g^2) \ge 0$ in every coordinate, zero only if $s$ is a multiple of $r - J$; so $\mathrm{Var}(r)\mathrm{E}\|s\|^2 \ge \|g\|^2$ and "
        r"$\Delta \ge 2\|\nabla J_x\|^2$; over prompts $\mathrm{E}\|\nabla J_x\|^2 = \sigma_b^2 + \|\nabla J\|^2$"
    ),
)
def squares(sign=-1):
    r, s, r2, s2 = sp.symbols("r s r2 s2")
    square = ((r - J) * s2 + sign * (r2 - J) * s) ** 2
    total_mean = sp.Integer(0)
    for (i, j, m, n), c in sp.Poly(sp.expand(square), r, s, r2, s2).terms():
        total_mean += c * moment({"r": i, "s": j}) * moment({"r": m, "s": n})
    sy.equal(total_mean, 2 * (var_r * V - g**2), "the mean square")


@never.step(
    "Hence the step from two to three",
    route="smt",
    shows=r"$V(3) - V(2) = \sigma_b^2 - \Delta/2 \le 0$ when $\Delta \ge 2(\sigma_b^2 + \|\nabla J\|^2)$, with equality only if $\nabla J = 0$",
)
def step_down(factor=2):
    total_signal = sp.Symbol("signal", nonnegative=True)
    assumptions = [d >= factor * (sb + total_signal)]
    sy.require(
        sy.smt_valid(assumptions, variance(sp.Integer(3)) <= variance(sp.Integer(2))),
        "three are no worse than two",
    )
    sy.require(
        sy.smt_valid([*assumptions, total_signal > 0], variance(sp.Integer(3)) < variance(sp.Integer(2))),
        "three are better",
    )


@never.step(
    "Two can beat four and more",
    route="smt",
    shows=r"the bound leaves room: there are $\sigma_b^2, \Delta$ with $\Delta \ge 2\sigma_b^2$ and $V(2) < V(G)$ iff $G \ge 4$",
)
def room(size=4):
    assumptions = [d >= 2 * sb, variance(sp.Integer(2)) < variance(sp.Integer(size))]
    sy.require(sy.find_point(assumptions) is not None, f"two can beat {size}")


@never.step(
    "The equality case",
    route="enumeration",
    shows="two mirrored prompts of two answers (rewards (1, 0) and (0, 1), one shared logit): groups of 2 and 3 have exactly equal variance, 4 and 5 more; with p = 1/2 and 1/4 three are strictly better",
)
def equality(mirrored=True):
    first = PROMPTS[0]
    second = (
        sy.SymbolicBandit(["1/2", "1/2"], [0, 1], scores=[list(s) for s in first.scores])
        if mirrored
        else PROMPTS[1]
    )
    rloo = sy.weights_of(catalogue.get("rloo"))
    values = [
        size * sy.mixture([sy.group_moments(x, size, rloo) for x in (first, second)]).trace_cov
        for size in (2, 3, 4, 5)
    ]
    sy.require(values[0] == values[1], f"G = 2 and 3 have the variances {values[0]} and {values[1]}")
    sy.require(values[1] < values[2] < values[3], "larger groups are worse here")
    others = [
        size * sy.mixture([sy.group_moments(x, size, rloo) for x in PROMPTS]).trace_cov for size in (2, 3)
    ]
    sy.require(others[1] < others[0], "three are better on the other pair of prompts")
    return sy.Exhibit(text=f"N times the variance at G = 2, 3, 4, 5: {', '.join(map(str, values))}")


@never.step(
    "The engine",
    route="exact engine",
    shows="three prompts with their own logits: N times the engine's variance at G = 3 is below that at G = 2",
)
def three_prompts(sizes=(2, 3)):
    prompts = [sy.SymbolicBandit([x, 1 - sp.Rational(x)], [1, 0]) for x in ("1/2", "1/4", "1/10")]
    values = [size * float(sy.engine(catalogue.get("rloo"), prompts, size).trace_cov) for size in sizes]
    sy.require(values[1] < values[0] - 1e-12, f"{values[1]} at G = {sizes[1]}, {values[0]} at G = {sizes[0]}")


never.sabotage("the other sign in the square", squares, sign=1)
never.sabotage("the bound without its factor 2", step_down, factor=1)
never.sabotage("two can beat three", room, size=3)
never.sabotage("prompts that are no mirror images", equality, mirrored=False)
never.sabotage("two called better than three", three_prompts, sizes=(3, 2))
