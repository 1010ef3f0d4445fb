"""B26: the optimal control-variate coefficient (a), and estimating it from the same samples (b)."""

import sympy as sp
from _short_sequences import less

from gradvar import catalogue
from gradvar import symbolic as sy

LEVELS = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "5/2"])
NORMS = [sp.Add(*[x * x for x in s]) for s in LEVELS.scores]

beta = sp.Symbol("beta", real=True)
spread, spread_f, spread_h, joint, star_spread, correlation = sp.symbols("V V_f V_h C V_star rho2", real=True)
mean, mean_f = sp.symbols("m m_f", real=True)

best = sy.Claim(
    id="B26a",
    title="The optimal coefficient of a control variate, and what it leaves",
    statement=sy.Statement(
        setting=(
            r"$f - \beta (h - \mathrm{E}[h])$ with f and h of finite second moments, vectors with one "
            r"coefficient included (traces of the covariance matrices)"
        ),
        forall={beta: sy.real()},
        given={
            "known mean": sy.Hypothesis(r"$\mathrm{E}[h]$ is known exactly", stated_by="ours"),
            "constant": sy.Hypothesis(
                r"$\beta$ does not depend on the samples that it multiplies", stated_by="ours"
            ),
            "not constant": sy.Hypothesis(r"$\mathrm{Var}\,h > 0$", spread_h > 0, stated_by="ours"),
        },
        quantities={
            mean: sy.Quantity("m", "its mean"),
            mean_f: sy.Quantity(r"\mathrm{E}[f]", "the mean of f"),
            spread: sy.Quantity(r"V_\beta", "its variance"),
            spread_f: sy.Quantity("V_f", "the variance of f"),
            spread_h: sy.Quantity("V_h", "the variance of h"),
            joint: sy.Quantity("C", "the covariance of f and h"),
            star_spread: sy.Quantity("V_*", r"its variance at $\beta^* = C/V_h$"),
            correlation: sy.Quantity(r"\rho^2", "the squared correlation of f and h"),
        },
        goals={
            "unbiased": sp.Eq(mean, mean_f),
            "parabola": sp.Eq(spread, spread_f - 2 * beta * joint + beta**2 * spread_h),
            "least": sp.Le(star_spread, spread),
            "what is left": sp.Eq(star_spread, (1 - correlation) * spread_f),
        },
    ),
    source=sy.Source("1906.10652", "v2", "the section on control variates", relation="not read"),
    verdict="proved",
    scope="any f, h with finite second moments",
    proof=(
        r"The mean of $h - \mathrm{E}[h]$ is zero, so a constant coefficient does not move the mean. The "
        r"variance is $V_f - 2 \beta C + \beta^2 V_h$, a parabola with its vertex at $C/V_h$, where it is "
        r"$V_f - C^2/V_h = (1 - \rho^2) V_f$ with $\rho^2 = C^2/(V_f V_h)$. For vectors all components have "
        r"the same coefficient and the traces add. A baseline is the case $f = r s$, $h = s$, whose mean is "
        r"zero: all answers of a bandit and the engine have the ratio $1 - \rho^2$."
    ),
    finding=(
        r"With $f = r s$ and $h = s$, whose mean is known to be zero, $\beta^*$ is the best constant baseline "
        r"$\mathrm{E}[r\|s\|^2]/\mathrm{E}\|s\|^2$ of B17a: a baseline is a control variate."
    ),
)


@best.step(
    "The parabola",
    route="smt",
    shows=r"any moments: $V_f - 2\beta C + \beta^2 V_h \ge V_f - C^2/V_h = (1 - C^2/(V_f V_h)) V_f$",
)
def parabola(sign=-1):
    vf, vh = sp.symbols("Vf Vh", positive=True)
    c = sp.Symbol("C", real=True)
    variance = vf + 2 * sign * beta * c + beta**2 * vh
    at_star = variance.subs(beta, c / vh)
    best.goal("least").holds({spread: variance, star_spread: at_star, spread_h: vh})
    values = {star_spread: at_star, correlation: c**2 / (vf * vh), spread_f: vf, spread_h: vh}
    best.goal("what is left").holds(values)


@best.step(
    "For vectors",
    route="sympy",
    shows="three outcomes, two components, all symbols: the mean, and the trace of the covariance matrix",
)
def vectors(component_only=False, known=True):
    q = sp.symbols("q1:3", positive=True)
    chances = [*q, 1 - sum(q)]
    f, h = sp.symbols("f1:7", real=True), sp.symbols("h1:7", real=True)

    def average(values):
        return sum(p * v for p, v in zip(chances, values, strict=True))

    def cov(x, y):
        parts = []
        for j in range(2):
            a, b = x[j::2], y[j::2]
            product = average([v * w for v, w in zip(a, b, strict=True)])
            parts.append(product - average(a) * average(b))
        return parts[0] if component_only and x is not y else sum(parts)

    mixed = [x - beta * y for x, y in zip(f, h, strict=True)]
    values = {spread: cov(mixed, mixed), spread_f: cov(f, f), spread_h: cov(h, h), joint: cov(f, h)}
    best.goal("parabola").holds(values)
    centre = average(h[::2]) if known else 0
    values = {
        mean: average([x - beta * (y - centre) for x, y in zip(f[::2], h[::2], strict=True)]),
        mean_f: average(f[::2]),
    }
    best.goal("unbiased").holds(values)


def moments_of_levels():
    """For f = r s and h = s on the bandit, as traces: the variances of f and h, and their covariance."""
    rows = list(zip(LEVELS.probabilities, LEVELS.rewards, NORMS, strict=True))
    second = [sum(c * r**power * n for c, r, n in rows) for power in (2, 1, 0)]
    return {spread_f: second[0] - sum(g * g for g in LEVELS.gradient), joint: second[1], spread_h: second[2]}


@best.step(
    "A baseline is one",
    route="enumeration",
    shows=r"f = r s, h = s: all answers of a bandit, $\beta$ a symbol, in rationals",
)
def baseline(power=1):
    values = moments_of_levels()
    star = values[joint] / values[spread_h]
    exact = sy.group_moments(LEVELS, 1, less(beta))
    values[spread] = exact.trace_cov
    best.goal("parabola").holds(values)
    at_star = {
        star_spread: sy.group_moments(LEVELS, 1, less(star**power)).trace_cov,
        spread_h: values[spread_h],
    }
    best.goal("least").holds(at_star | {spread: exact.trace_cov})
    square = values[joint] ** 2 / (values[spread_f] * values[spread_h])
    best.goal("what is left").holds(at_star | {correlation: square, spread_f: values[spread_f]})
    best.goal("unbiased").holds({mean: exact.mean, mean_f: LEVELS.gradient, spread_h: values[spread_h]})
    return sy.Exhibit(text=f"b* = {star}, 1 - Corr^2 = {1 - square}")


@best.step(
    "The engine's ratio",
    route="exact engine",
    shows="the shipped estimator with the best constant against REINFORCE",
)
def engines(name="reinforce_best_constant"):
    values = moments_of_levels()
    moments = [sy.engine(catalogue.get(n), LEVELS, 1) for n in (name, "reinforce")]
    square = values[joint] ** 2 / (values[spread_f] * values[spread_h])
    at_star = {
        star_spread: float(moments[0].trace_cov),
        correlation: square,
        spread_f: float(moments[1].trace_cov),
    }
    best.goal("what is left").holds(at_star, tolerance=1e-11)


best.sabotage("the sign of the covariance", parabola, sign=1)
best.sabotage("one component's covariance for the trace", vectors, component_only=True)
best.sabotage("a mean of h that is not subtracted", vectors, known=False)
best.sabotage("the square of the coefficient", baseline, power=2)
best.sabotage("no baseline", engines, name="reinforce")


N, p = sp.Symbol("N", integer=True, positive=True), sp.Symbol("p", positive=True)
plugged, left, factor, corrected, plain, gradient = sp.symbols("m_all m_loo w c f g", real=True)
ESTIMATES = {
    plugged: sy.Quantity(
        r"m",
        (
            r"the mean of $\frac{1}{N} \sum_i (r_i - \hat b) s_i$ with $\hat b = \sum_j r_j \|s_j\|^2 / "
            r"\sum_j \|s_j\|^2$ of all samples"
        ),
    ),
    left: sy.Quantity(
        "m_{-i}",
        (
            r"the mean of $\frac{1}{N} \sum_i (r_i - \hat b_i) s_i$ with $\hat b_i = \sum_{j \ne i} r_j \|s_j\|^2 / "
            r"\sum_{j \ne i} \|s_j\|^2$"
        ),
    ),
    factor: sy.Quantity(
        "w",
        r"the factor of $\nabla J$ in the mean where no sample is left out, for two answers of chances p and 1 - p "
        r"and two samples",
    ),
    gradient: sy.Quantity(r"\nabla J", "the gradient of the expected reward"),
    corrected: sy.Quantity(
        r"\tilde f", r"$\bar f - \beta (\bar h - \bar h)$, the samples' own mean in place of $\mathrm{E}[h]$"
    ),
    plain: sy.Quantity(r"\bar f", "the mean of f without a correction"),
}
SETTING = r"f = r s with the control variate h = s of known mean zero, N independent samples"

same = sy.Claim(
    id="B26b",
    title="The coefficient may be estimated from the samples it is used on",
    statement=sy.Statement(
        setting=SETTING,
        forall={N: sy.whole(2)},
        quantities=ESTIMATES,
        goals={"unbiased": sp.Eq(plugged, gradient)},
    ),
    instead=sy.Statement(
        setting=SETTING,
        forall={N: sy.whole(2), p: sy.between(0, 1)},
        quantities=ESTIMATES,
        goals={
            "left out": sp.Eq(left, gradient),
            "two answers": sp.Eq(factor, p * (1 - p) / (p**2 + (1 - p) ** 2)),
            "own mean": sp.Eq(corrected, plain),
        },
    ),
    source=sy.Source(
        "1906.10652",
        "v2",
        "the section on control variates",
        relation="ours",
        caveat="the section was not read; it may warn of this bias itself",
    ),
    verdict="refuted",
    scope="finite samples",
    proof=(
        r"A coefficient from the other samples is independent of $s_i$, whose mean is zero, so that it drops "
        r"out of the mean at every N. A coefficient from all samples is not: with two answers and two samples "
        r"only a mixed pair has weight, and with $\|s\|^2$ in the ratio $(1-p)^2 : p^2$ the mean is "
        r"$\frac{p(1-p)}{p^2 + (1-p)^2} \nabla J$, at most half of it. All groups of a bandit with three "
        r"rewards give the same verdicts in rationals. With $\bar h$ for $\mathrm{E}[h]$ the correction is "
        r"zero."
    ),
    finding=(
        r"The coefficient and the sample it multiplies are dependent: the own sample biases it, as it does "
        r"OPO's baseline (B17c) and Dr. GRPO's $(G-1)/G$. Leave it out for each sample (as RLOO does) and the "
        r"mean is exact. With $\bar h$ for $\mathrm{E}[h]$ the correction is zero."
    ),
)


def plug_in(bandit, leave_out):
    """answers -> the weights (r_i - b_i)/N, b from all samples or from the other ones."""
    norms = [sp.Add(*[x * x for x in s]) for s in bandit.scores]

    def weights(answers):
        row = []
        for i in range(len(answers)):
            others = [k for j, k in enumerate(answers) if j != i or not leave_out]
            b = sum(bandit.rewards[k] * norms[k] for k in others) / sum(norms[k] for k in others)
            row.append((bandit.rewards[answers[i]] - b) / sp.Integer(len(answers)))
        return row

    return weights


@same.step(
    "Any number of samples, and two answers",
    route="sympy",
    shows=(
        r"$\mathrm{E}[r s] - \mathrm{E}[b_{-i}] \mathrm{E}[s]$; a mixed pair of the two answers of a "
        r"softmax; the samples' own mean"
    ),
)
def closed_forms(norm_power=2, average_score=0, known=False):
    g, b = sp.symbols("g b", real=True)
    same.goal("left out").holds({left: g - b * average_score, gradient: g})
    gap, score = sp.Symbol("gap", real=True), sp.Symbol("s", real=True)
    other = -p / (1 - p) * score  # the score averages to zero
    right, wrong = (1 - p) ** norm_power, p**norm_power  # squared norms, up to one factor
    # Only a mixed pair gets weight: r_1 - b = gap n_0/(n_1 + n_0), r_0 - b = -gap n_1/(n_1 + n_0).
    update = 2 * p * (1 - p) / 2 * gap * (wrong * score - right * other) / (right + wrong)
    same.goal("two answers").holds({factor: update / (p * gap * score)})
    total_f, total_h, coefficient, m = sp.symbols("F H beta m", real=True)  # sums over the samples
    centre = m if known else total_h / N
    same.goal("own mean").holds(
        {corrected: (total_f - coefficient * (total_h - N * centre)) / N, plain: total_f / N}
    )


@same.step(
    "All groups",
    route="enumeration",
    shows=(
        "N = 2, 3 on a bandit with three rewards; N = 2 on two answers, p in fifths; pairs of numbers "
        "and their own mean"
    ),
)
def groups(leave_out=True, shift=0):
    for size in (2, 3):
        moments = sy.group_moments(LEVELS, size, plug_in(LEVELS, leave_out), by_answer=True)
        same.goal("left out").holds({left: moments.mean, gradient: LEVELS.gradient}, at={N: size})
    for j in range(1, 5):
        bandit = sy.SymbolicBandit([sp.Rational(j, 5), 1 - sp.Rational(j, 5)], [1, 0])
        update = sy.group_moments(bandit, 2, plug_in(bandit, False), by_answer=True).mean
        same.goal("two answers").holds(
            {factor: update[0] / bandit.gradient[0]}, at={N: 2, p: sp.Rational(j, 5)}
        )
    for pair in ((1, 5), (-2, 7), (3, 3)):
        centre = sp.Rational(sum(pair), 2) + shift
        mean_of_terms = sum(f - 3 * (h - centre) for f, h in zip((2, 9), pair, strict=True)) / sp.Integer(2)
        same.goal("own mean").holds({corrected: mean_of_terms, plain: sp.Rational(11, 2)}, at={N: 2})


@same.counterexample(
    "Three answers, rewards (0, 1, 5/2), N = 2: the baseline from both rollouts, the own one included, has a "
    "mean other than grad J.",
    pi="(1/2, 1/3, 1/6)",
    rewards="(0, 1, 5/2)",
    N="2",
)
def own_sample(leave_out=False):
    moments = sy.group_moments(LEVELS, 2, plug_in(LEVELS, leave_out), by_answer=True)
    same.goal("unbiased").fails({plugged: moments.mean, gradient: LEVELS.gradient}, at={N: 2})
    return sy.Exhibit(text=f"mean {moments.mean}, grad J {LEVELS.gradient}")


same.sabotage("norms without the square", closed_forms, norm_power=1)
same.sabotage("scores that do not average to zero", closed_forms, average_score=sp.Rational(1, 3))
same.sabotage("a known mean", closed_forms, known=True)
same.sabotage("the own rollout kept", groups, leave_out=False)
same.sabotage("a mean of h that is another", groups, shift=1)
same.sabotage("the own rollout left out", own_sample, leave_out=True)
