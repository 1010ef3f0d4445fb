"""B26: the optimal control-variate coefficient (a), and estimating it from the same samples (b)."""

import sympy as sp
from _short_sequences import less

from gradvar import catalogue
from gradvar import symbolic as sy

LEVELS = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "5/2"])
NORMS = [sp.Add(*[x * x for x in s]) for s in LEVELS.scores]

best = sy.Claim(
    id="B26a",
    title="The optimal coefficient of a control variate, and what it leaves",
    statement=(
        r"$\tilde f = f - \beta (h - \mathrm{E}[h])$ has mean $\mathrm{E}[f]$ for every constant "
        r"$\beta$; $\mathrm{Var}\,\tilde f$ is least at $\beta^* = \mathrm{Cov}(f,h)/\mathrm{Var}(h)$ "
        r"and is then $(1 - \mathrm{Corr}^2) \mathrm{Var}\,f$. For vectors with one coefficient: "
        r"traces of the covariance matrices."
    ),
    source=sy.Source(
        "1906.10652",
        "v2",
        "section on control variates (recalled: section 7.4.1; its equations were not at hand)",
    ),
    verdict="proved",
    scope="any f, h with finite second moments (vectors with one shared coefficient included)",
    hypotheses=(
        r"$\mathrm{E}[h]$ is known exactly",
        r"$\beta$ does not depend on the samples it multiplies",
        r"$\mathrm{Var}\,h > 0$",
    ),
    finding=(
        r"With $f = r s$ and $h = s$, whose mean is known to be zero, $\beta^*$ is the best constant "
        r"baseline $\mathrm{E}[r\|s\|^2]/\mathrm{E}\|s\|^2$ of B17a: a baseline is a control variate."
    ),
)


@best.step(
    "The parabola",
    route="smt",
    shows=(
        r"$V_f - 2\beta C + \beta^2 V_h \ge V_f - C^2/V_h$, and the right-hand side is $(1 - C^2/(V_f "
        r"V_h)) V_f$"
    ),
)
def parabola(sign=-1):
    vf, vh = sp.symbols("Vf Vh", positive=True)
    c, beta = sp.symbols("C beta", real=True)
    variance = vf + 2 * sign * beta * c + beta**2 * vh
    sy.require(sy.smt_valid([], variance >= variance.subs(beta, c / vh)), "no coefficient does better")
    sy.require(
        sy.smt_valid([], sp.Eq(variance.subs(beta, c / vh), (1 - c**2 / (vf * vh)) * vf)), "what is left"
    )


@best.step(
    "For vectors",
    route="sympy",
    shows=(
        r"$\mathrm{tr}\,\mathrm{Var}(f - \beta h)$ is the same parabola in the traces; three outcomes, "
        r"two components, symbols"
    ),
)
def vectors(component_only=False):
    q = sp.symbols("q1:3", positive=True)
    chances = [*q, 1 - sum(q)]
    f, h = sp.symbols("f1:7", real=True), sp.symbols("h1:7", real=True)
    beta = sp.Symbol("beta", real=True)

    def cov(x, y):
        parts = []
        for j in range(2):
            a, b = x[j::2], y[j::2]
            mean = [sum(p * v for p, v in zip(chances, w, strict=True)) for w in (a, b)]
            parts.append(sum(p * v * w for p, v, w in zip(chances, a, b, strict=True)) - mean[0] * mean[1])
        return parts[0] if component_only else sum(parts)

    mixed = [x - beta * y for x, y in zip(f, h, strict=True)]
    total = sum(
        sum(p * v**2 for p, v in zip(chances, mixed[j::2], strict=True))
        - sum(p * v for p, v in zip(chances, mixed[j::2], strict=True)) ** 2
        for j in range(2)
    )
    sy.equal(total, cov(f, f) - 2 * beta * cov(f, h) + beta**2 * cov(h, h), "the trace of the variance")


def ratio():
    """(b*, 1 - Corr^2) for f = r s, h = s on the bandit, from traces."""
    chances, rewards = LEVELS.probabilities, LEVELS.rewards
    norm = sum(p * n for p, n in zip(chances, NORMS, strict=True))
    cross = sum(p * n * r for p, n, r in zip(chances, NORMS, rewards, strict=True))
    self_term = sum(p * n * r * r for p, n, r in zip(chances, NORMS, rewards, strict=True)) - sum(
        g * g for g in LEVELS.gradient
    )
    return cross / norm, 1 - cross**2 / (norm * self_term)


@best.step(
    "A baseline is one",
    route="enumeration",
    shows=(
        r"f = r s, h = s on a bandit: the variance with $b^*$ over the one without is $1 - "
        r"\mathrm{Corr}^2$, in rationals"
    ),
)
def baseline(power=1):
    star, left = ratio()
    with_it, without = (sy.group_moments(LEVELS, 1, less(b)).trace_cov for b in (star, 0))
    sy.require(with_it == left**power * without, "the share of the variance that is left")
    return sy.Exhibit(text=f"b* = {star}, 1 - Corr^2 = {left}")


@best.step(
    "The engine's ratio",
    route="exact engine",
    shows="trace_cov of the shipped reinforce_best_constant over that of reinforce",
)
def engines(name="reinforce_best_constant"):
    _, left = ratio()
    moments = [sy.engine(catalogue.get(n), LEVELS, 1).trace_cov for n in (name, "reinforce")]
    sy.require(abs(moments[0] / moments[1] - float(left)) < 1e-11, "the engine's ratio")


best.sabotage("the sign of the covariance", parabola, sign=1)
best.sabotage("one component's covariance for the trace", vectors, component_only=True)
best.sabotage("1 - Corr^2 squared", baseline, power=2)
best.sabotage("no baseline", engines, name="reinforce")


same = sy.Claim(
    id="B26b",
    title="The coefficient may be estimated from the samples it is used on",
    statement=(
        r"With $\hat\beta$ computed from the same samples, $\bar f - \hat\beta (\bar h - "
        r"\mathrm{E}[h])$ stays unbiased and optimal; and $\mathrm{E}[h]$ may be replaced by the mean "
        r"of the same samples."
    ),
    source=sy.Source(
        "1906.10652",
        "v2",
        "common practice beside the text's known-coefficient formula; how the text words it was not at hand",
    ),
    verdict="refuted",
    scope="finite samples; the bias is of order 1/N",
    finding=(
        r"The coefficient and the sample it multiplies are dependent: the own sample biases it, as it "
        r"does OPO's baseline (B17c) and Dr. GRPO's $(G-1)/G$. Leave it out for each sample (as RLOO "
        r"does) and the mean is exact. With $\bar h$ for $\mathrm{E}[h]$ the correction is zero."
    ),
)


def plug_in(answers, leave_out):
    """Weights (r_i - b_i)/G, b the sample version of E[r |s|^2]/E|s|^2, of all rollouts or of the others."""
    weights = []
    for i in range(len(answers)):
        others = [k for j, k in enumerate(answers) if j != i or not leave_out]
        b = sum(LEVELS.rewards[k] * NORMS[k] for k in others) / sum(NORMS[k] for k in others)
        weights.append((LEVELS.rewards[answers[i]] - b) / sp.Integer(len(answers)))
    return weights


@same.step(
    "Leaving the own sample out",
    route="enumeration",
    shows=(
        r"f = r s, h = s, $\hat\beta_i$ from the other rollouts: the mean is $\nabla J$ at N = 2, 3, "
        r"in rationals"
    ),
)
def left_out(leave_out=True):
    for size in (2, 3):
        moments = sy.group_moments(LEVELS, size, lambda k: plug_in(k, leave_out), by_answer=True)
        sy.equal(moments.mean, LEVELS.gradient, f"the mean at N = {size}")


@same.step(
    "Two answers in closed form",
    route="sympy",
    shows=(
        r"two rollouts, two answers, $\|s\|^2$ from the softmax: the mean is $\frac{p(1-p)}{p^2 + "
        r"(1-p)^2} \nabla J$, at most half of it"
    ),
)
def two_answers(norm_power=2):
    p, gap, score = sp.Symbol("p", positive=True), sp.Symbol("gap", real=True), sp.Symbol("s", real=True)
    other = -p / (1 - p) * score  # the score averages to zero
    right, wrong = (1 - p) ** norm_power, p**norm_power  # squared norms, up to one factor
    # Only a mixed pair gets weight: r_1 - b = gap n_0/(n_1 + n_0), r_0 - b = -gap n_1/(n_1 + n_0).
    mean = 2 * p * (1 - p) / 2 * gap * (wrong * score - right * other) / (right + wrong)
    sy.equal(mean, p * (1 - p) / (p**2 + (1 - p) ** 2) * p * gap * score, "the mean of the plug-in baseline")


@same.step(
    "With the samples' own mean of h",
    route="sympy",
    shows=r"$\bar f - \beta(\bar h - \bar h) = \bar f$: nothing is gained",
)
def own_mean(known=False):
    f, h = sp.symbols("f1:4", real=True), sp.symbols("h1:4", real=True)
    beta, m = sp.symbols("beta m", real=True)
    mean = sum(h) / 3
    sy.equal(
        sum(x - beta * (y - (m if known else mean)) for x, y in zip(f, h, strict=True)) / 3,
        sum(f) / 3,
        "no correction is left",
    )


@same.counterexample(
    (
        "Three answers, rewards (0, 1, 5/2), N = 2: the baseline from both rollouts, the own one "
        "included, has a mean other than grad J."
    ),
    pi="(1/2, 1/3, 1/6)",
    rewards="(0, 1, 5/2)",
    N="2",
)
def own_sample(leave_out=False):
    moments = sy.group_moments(LEVELS, 2, lambda k: plug_in(k, leave_out), by_answer=True)
    sy.require(moments.mean != LEVELS.gradient, "the mean is off")
    return sy.Exhibit(text=f"mean {moments.mean}, grad J {LEVELS.gradient}")


same.sabotage("the own rollout kept", left_out, leave_out=False)
same.sabotage("norms without the square", two_answers, norm_power=1)
same.sabotage("a known mean", own_mean, known=True)
same.sabotage("the own rollout left out", own_sample, leave_out=True)
