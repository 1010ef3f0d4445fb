"""A12: the variance of a batch is not Var(g) over the number of rollouts: what G does at a fixed budget."""

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

claim = sy.Claim(
    id="A12",
    title="The batch variance is Var(g)/B, B the number of rollouts, whatever the group size",
    statement=(
        r"The variance of a batch's gradient is $\mathrm{Var}(g)/B$ with B the number of rollouts, whatever "
        r"the group size."
    ),
    source=sy.Source("2510.00977", "v3", "Lemma 5.3 as applied to Q prompts in groups of G"),
    verdict="refuted",
    scope=(
        "leave-one-out (and mean-centred, up to its factor), every G >= 2, every law of rewards and scores, "
        "B = QG rollouts"
    ),
    finding=(
        r"The rollouts of a group are dependent through their baseline. At B rollouts, $\mathrm{Var} = "
        r"\frac{1}{B}\left[G \sigma_b^2 + \sigma_o^2 + \frac{\Delta}{G - 1}\right]$ with $\sigma_b^2$ the "
        r"variance of $\nabla J_x$ over prompts, $\sigma_o^2 = \mathrm{Var}((r - J)s)$ within one, $\Delta "
        r"= \mathrm{Var}(r) \mathrm{E}\|s\|^2 + \|\nabla J_x\|^2$. It is the same for all G only if "
        r"$\sigma_b^2 = \Delta = 0$; from G to 2 the within-part grows by $\Delta (1 - 1/(G-1))/B$, the "
        r"between-part falls."
    ),
)
G, Q = sp.symbols("G Q", positive=True)


def moment(exponents):
    """E[r^a s^b] of one rollout, one coordinate of the score: m_ab, with E[s] = 0."""
    a, b = exponents.get("r", 0), exponents.get("s", 0)
    if (a, b) == (0, 0):
        return sp.Integer(1)
    return sp.Integer(0) if (a, b) == (0, 1) else sp.Symbol(f"m{a}{b}", real=True)


J, g, V = (moment(x) for x in ({"r": 1}, {"r": 1, "s": 1}, {"s": 2}))
var_r = moment({"r": 2}) - J**2
sigma_o = moment({"r": 2, "s": 2}) - 2 * J * moment({"r": 1, "s": 2}) + J**2 * V - g**2
delta = var_r * V + g**2


@claim.step(
    "Within a prompt, any G",
    route="sympy",
    shows=(
        r"$\mathrm{E}[\hat g^2] - g^2 = \frac{\sigma_o^2}{G} + \frac{\Delta}{G (G - 1)}$ by index patterns, "
        r"coordinate by coordinate"
    ),
)
def within(extra=1):
    R, S, RS = sp.symbols("R S RS")
    estimator = (RS - R * S / G) / (G - 1)
    second = sy.over_rollouts(estimator**2, {R: {"r": 1}, S: {"s": 1}, RS: {"r": 1, "s": 1}}, G, moment)
    sy.equal(second - g**2, sigma_o / G + extra * delta / (G * (G - 1)), "the variance within a prompt")
    return sy.Exhibit(formula=r"\mathrm{Var} = \frac{\sigma_o^2}{G} + \frac{\Delta}{G (G-1)}")


@claim.step(
    "At a fixed budget",
    route="smt",
    shows=(
        r"with $B = QG$ fixed, $\frac{1}{B} [G \sigma_b^2 + \sigma_o^2 + \Delta/(G-1)]$ is the same at 2 "
        r"and at G if and only if $\sigma_b^2 (G - 2) = \Delta (1 - 1/(G-1))$; with one kind of prompt two "
        r"rollouts are worst"
    ),
)
def budget(between=0):
    sb, so, d, size, total = sp.symbols("sigma_b sigma_o Delta G B", real=True)
    variance = lambda n: (n * sb + so + d / (n - 1)) / total  # noqa: E731
    sizes = [size > 2, total > 0, so >= 0, d > 0]
    same = sp.Eq(variance(sp.Integer(2)), variance(size))
    balance = sp.Eq(sb * (size - 2), d * (1 - 1 / (size - 1)))
    sy.require(
        sy.smt_valid(sizes, sp.Equivalent(same, balance)), "the same variance iff the two parts balance"
    )
    assumptions = [*sizes, sp.Eq(sb, between)]
    sy.require(
        sy.smt_valid(assumptions, variance(sp.Integer(2)) > variance(size)),
        "two rollouts have the larger variance",
    )


@claim.step(
    "A mixture of two prompts",
    route="enumeration",
    shows="exact variances at G = 2, 3, 4 with shared parameters match the formula",
)
def enumerated(name="rloo"):
    bandits = [
        sy.SymbolicBandit(["1/2", "1/2"], [1, 0], scores=[[sp.Rational(1, 2)], [-sp.Rational(1, 2)]]),
        sy.SymbolicBandit(["1/4", "3/4"], [1, 0], scores=[[sp.Rational(3, 4)], [-sp.Rational(1, 4)]]),
    ]
    for size in (2, 3, 4):
        parts = [sy.group_moments(b, size, sy.weights_of(catalogue.get(name))) for b in bandits]
        values = [within_prompt(b, size) for b in bandits]
        gradients = [b.gradient[0] for b in bandits]
        between = (gradients[0] - gradients[1]) ** 2 / 4
        sy.equal(
            sy.mixture(parts).trace_cov, sum(values) / 2 + between, f"the variance of one group at G = {size}"
        )


def within_prompt(bandit, size):
    def mean(f):
        return sp.Add(
            *[
                c * f(r, s)
                for c, r, (s,) in zip(bandit.probabilities, bandit.rewards, bandit.scores, strict=True)
            ]
        )

    value, gradient = bandit.value, bandit.gradient[0]
    centred = mean(lambda r, s: (r - value) ** 2 * s**2) - gradient**2
    coupling = mean(lambda r, s: (r - value) ** 2) * mean(lambda r, s: s**2) + gradient**2
    return centred / size + coupling / (size * (size - 1))


@claim.counterexample(
    "One prompt, p = 1/2, B = 4 rollouts: two pairs have variance 1/16, one group of four 1/48; the engine "
    "agrees.",
    p="1/2",
    B=4,
)
def four_rollouts(design=(2, 2)):
    bandit = sy.SymbolicBandit(["1/2", "1/2"], [1, 0])
    weights = sy.weights_of(catalogue.get("rloo"))
    prompts, size = design
    small = sy.group_moments(bandit, size, weights).trace_cov / prompts
    full = sy.group_moments(bandit, 4, weights).trace_cov
    sy.require(small != full, f"both designs have the variance {full}")
    seen = float(sy.engine(catalogue.get("rloo"), bandit, size, prompts=prompts).trace_cov)
    sy.require(abs(seen - float(small)) < 1e-12, f"the engine has {seen}, the rationals {small}")
    return sy.Exhibit(text=f"{prompts} groups of {size}: {small}; one group of 4: {full}")


claim.sabotage("no coupling term", within, extra=0)
claim.sabotage("prompts that differ enough, where pairs win", budget, between=10**6)
claim.sabotage("Dr. GRPO without its factor", enumerated, name="dr_grpo")
claim.sabotage("one group of four against itself", four_rollouts, design=(1, 4))
