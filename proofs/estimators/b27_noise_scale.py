"""B27: the two-batch-size estimators of the noise scale, and what dependent advantages do to them."""

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

claim = sy.Claim(
    id="B27",
    title="The two-batch-size estimators of the squared gradient and of tr Sigma are unbiased",
    statement=(
        r"From mean gradients of batches of b and B, $\frac{B \|g_B\|^2 - b \|g_b\|^2}{B - b}$ is "
        r"unbiased for $\|G\|^2$ and "
        r"$\frac{\|g_b\|^2 - \|g_B\|^2}{1/b - 1/B}$ for $\mathrm{tr}\,\Sigma$."
    ),
    source=sy.Source(
        "1812.06162", "v1", "appendix A.1 (recalled; public implementations that cite it use this form)"
    ),
    verdict="conditional",
    scope="any two batch sizes (symbols); for groups: leave-one-out with any rewards, every G (symbolic)",
    hypotheses=(
        (
            "a batch's gradient is the mean of b independent, equally distributed terms: prompts "
            "(whole groups), not the rollouts of a group"
        ),
        "the terms' expectation does not depend on the batch size",
    ),
    finding=(
        r"Counted in rollouts of one group, leave-one-out gives $\|g\|^2 - "
        r"\frac{\Delta}{(b-1)(B-1)}$ and $\sigma_o^2 + \Delta \frac{b + B - 1}{(b-1)(B-1)}$ in "
        r"expectation, "
        r"$\Delta = \mathrm{Var}(r)\mathrm{E}\|s\|^2 + \|g\|^2$: the signal is underestimated, by "
        r"more than itself at $b = 2$, $B = 3$ when $\Delta > 2\|g\|^2$. "
        r"Counted in prompts at a fixed group size both are unbiased, for $\|\mathrm{E}\hat g\|^2$ "
        r"and the group's variance."
    ),
)
SMALL, BIG = sp.symbols("b B", positive=True)
LEVELS = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "5/2"])


def signal(small, big, b=SMALL, B=BIG):
    return (B * big - b * small) / (B - b)


def noise(small, big, b=SMALL, B=BIG):
    return (small - big) / (1 / b - 1 / B)


@claim.step(
    "Independent terms",
    route="sympy",
    shows=(
        r"$\mathrm{E}\|g_b\|^2 = \|G\|^2 + \mathrm{tr}\,\Sigma/b$ by index patterns for a symbolic b, "
        r"and both estimators follow"
    ),
)
def independent(power=1):
    g, v, n = (
        sp.Symbol("g", real=True),
        sp.Symbol("v", positive=True),
        sp.Symbol("n", positive=True, integer=True),
    )
    X = sp.Symbol("X")
    table = {0: sp.Integer(1), 1: g, 2: v + g**2}
    second = sy.over_rollouts((X / n) ** 2, {X: {"x": 1}}, n, lambda e: table[e.get("x", 0)])
    sy.equal(second, g**2 + v / n**power, "the second moment of a mean")
    small, big = (second.subs(n, size) for size in (SMALL, BIG))
    sy.equal(signal(small, big), g**2, "the squared gradient")
    sy.equal(noise(small, big), v, "the trace")


def group_second(mean_score=0):
    """E||ghat||^2 of leave-one-out at a symbolic G (one component), in moments m_ab = E[r^a s^b]."""
    G = sp.Symbol("G", positive=True, integer=True)
    R, S, RS = sp.symbols("R S RS")
    names = {(a, b): sp.Symbol(f"m{a}{b}", real=True) for a in range(3) for b in range(3)}
    names |= {(0, 0): sp.Integer(1), (0, 1): sp.sympify(mean_score)}
    estimator = (G * RS - R * S) / (G * (G - 1))
    sums = {R: {"r": 1}, S: {"s": 1}, RS: {"r": 1, "s": 1}}
    return G, names, sy.over_rollouts(estimator**2, sums, G, lambda e: names[e.get("r", 0), e.get("s", 0)])


@claim.step(
    "Rollouts of a group",
    route="sympy",
    shows=(
        r"leave-one-out: $\mathrm{E}\|\hat g\|^2 = \|g\|^2 + \frac{\sigma_o^2}{G} + "
        r"\frac{\Delta}{G(G-1)}$, so the estimators have the biases named"
    ),
)
def dependent(mean_score=0):
    G, m, second = group_second(mean_score)
    g = m[1, 1]
    outer = m[2, 2] - 2 * m[1, 0] * m[1, 2] + m[1, 0] ** 2 * m[0, 2] - g**2
    delta = (m[2, 0] - m[1, 0] ** 2) * m[0, 2] + g**2
    sy.equal(second, g**2 + outer / G + delta / (G * (G - 1)), "the second moment of leave-one-out")
    small, big = (second.subs(G, size) for size in (SMALL, BIG))
    sy.equal(
        signal(small, big), g**2 - delta / ((SMALL - 1) * (BIG - 1)), "the squared gradient, underestimated"
    )
    sy.equal(
        noise(small, big),
        outer + delta * (SMALL + BIG - 1) / ((SMALL - 1) * (BIG - 1)),
        "the trace, overestimated",
    )


@claim.step(
    "Always too low",
    route="smt",
    shows=(
        r"$\Delta > 0$ and $b, B > 1$: the estimate's mean is below $\|g\|^2$, and negative at b = 2, "
        r"B = 3 when $\Delta > 2\|g\|^2$"
    ),
)
def too_low(least=1):
    delta, square = sp.symbols("Delta g2", positive=True)
    estimate = square - delta / ((SMALL - 1) * (BIG - 1))
    sy.require(
        sy.smt_valid([least < SMALL, least < BIG, sp.Ne(SMALL, 1), sp.Ne(BIG, 1)], estimate < square),
        "below the squared gradient",
    )
    sy.require(sy.smt_valid([sp.Eq(SMALL, 2), sp.Eq(BIG, 3), delta > 2 * square], estimate < 0), "negative")


@claim.step(
    "Prompts as the units",
    route="exact engine",
    shows=(
        r"two bandits, leave-one-out at G = 2: $\|\mathrm{E}\hat g\|^2 + \mathrm{tr}\,\mathrm{Cov}$ of "
        r"batches of one and of three prompts give back the signal and the variance of one"
    ),
)
def prompts(counted=(1, 3)):
    bandits = [LEVELS, sy.SymbolicBandit(["1/4", "1/4", "1/2"], [1, 0, 2])]
    first, three = (sy.engine(catalogue.get("rloo"), bandits, 2, prompts=q) for q in (1, 3))
    seconds = [m.signal + m.trace_cov for m in (first, three)]
    sy.require(abs(signal(*seconds, *counted) - first.true_signal) < 1e-11, "the squared gradient")
    sy.require(
        abs(noise(*seconds, *(sp.Float(c) for c in counted)) - first.trace_cov) < 1e-11,
        "the variance of one prompt",
    )


@claim.step(
    "A mean that moves with the group size",
    route="enumeration",
    shows=(
        r"Dr. GRPO's mean is $\frac{G-1}{G} g$: groups of 2 and 3 break both hypotheses; the exact "
        r"numbers on bandits"
    ),
)
def moving(name="dr_grpo"):
    weights = sy.weights_of(catalogue.get(name))
    right, three = (sy.group_moments(LEVELS, size, weights) for size in (2, 3))
    sy.require(right.mean != three.mean, "the mean depends on the group size")
    square = sum(x * x for x in LEVELS.gradient)
    sy.require(signal(right.second, three.second, 2, 3) != square, "the squared gradient is missed")


@claim.counterexample(
    (
        "Groups of 2 and 3 as batches of 2 and 3: the estimator's mean is $\\|g\\|^2 - \\Delta/2$, "
        "below zero, in rationals; the engine has the same second moments."
    ),
    pi="(1/2, 1/3, 1/6)",
    rewards="(0, 1, 5/2)",
)
def groups(name="rloo"):
    right, three = (sy.group_moments(LEVELS, size, sy.weights_of(catalogue.get(name))) for size in (2, 3))
    square = sum(x * x for x in LEVELS.gradient)
    norm = sum(p * sum(x * x for x in s) for p, s in zip(LEVELS.probabilities, LEVELS.scores, strict=True))
    spread = (
        sum(p * r * r for p, r in zip(LEVELS.probabilities, LEVELS.rewards, strict=True)) - LEVELS.value**2
    )
    computed = signal(right.second, three.second, 2, 3)
    sy.equal(computed, square - (spread * norm + square) / 2, "the estimator's mean")
    sy.require(computed < 0 < square, "a negative estimate of a squared length")
    sy.engines_agree(sy.engine(catalogue.get("rloo"), LEVELS, 3), three, "leave-one-out")
    return sy.Exhibit(text=f"estimate {computed}, squared gradient {square}")


@claim.step(
    "Independent draws, in rationals",
    route="enumeration",
    shows=(
        "b = 1, 2 and B = 2, 3 rollouts of REINFORCE, whose terms are independent: the estimators' "
        "exact means"
    ),
)
def plain(name="reinforce"):
    square = sum(x * x for x in LEVELS.gradient)
    seconds = {n: sy.group_moments(LEVELS, n, sy.weights_of(catalogue.get(name))).second for n in (2, 3)}
    single = sy.group_moments(LEVELS, 1, lambda r: r)
    seconds[1] = single.second

    def holds(b, B):
        return b >= B or (
            signal(seconds[b], seconds[B], b, B) == square
            and noise(seconds[b], seconds[B], sp.Integer(b), sp.Integer(B)) == single.trace_cov
        )

    sy.enumerate_rationals(holds, (1, 2), (2, 3), what="the estimators on independent rollouts")


claim.sabotage("a variance that falls as 1/b^2", independent, power=2)
claim.sabotage("off policy", dependent, mean_score=sp.Rational(1, 3))
claim.sabotage("groups smaller than one", too_low, least=0)
claim.sabotage("rollouts counted for prompts in one of the two", prompts, counted=(1, 6))
claim.sabotage("leave-one-out, whose mean stays", moving, name="rloo")
claim.sabotage("REINFORCE's independent terms", groups, name="reinforce")
claim.sabotage("leave-one-out's dependent ones", plain, name="rloo")
