"""A17 and A18: what a finite group does to the mean baseline: its own mean, the gradient's mean, the
variance."""

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

G = sp.Symbol("G", positive=True)
R, S, RS = sp.symbols("R S RS")
SUMS = {R: {"r": 1}, S: {"s": 1}, RS: {"r": 1, "s": 1}}


def moment(exponents, mean_score=0):
    a, b = exponents.get("r", 0), exponents.get("s", 0)
    if (a, b) == (0, 0):
        return sp.Integer(1)
    return sp.sympify(mean_score) if (a, b) == (0, 1) else sp.Symbol(f"m{a}{b}", real=True)


J, g, V = (moment(x) for x in ({"r": 1}, {"r": 1, "s": 1}, {"s": 2}))

baseline = sy.Claim(
    id="A17a",
    title="The group mean is an unbiased estimate of the value",
    statement=r"$\mathrm{E}[\bar r] = J$ for every group size, as the mean of on-policy rewards.",
    source=sy.Source("2510.00977", "", "authors' reply in the public reviews"),
    verdict="proved",
    scope="every G, every reward law with a mean",
    finding=(
        "True, and not what matters: a baseline biases the gradient through its dependence on the rollout "
        "that it is subtracted from, not through its own mean (A17b)."
    ),
)


@baseline.step("Linearity", route="sympy", shows=r"$\mathrm{E}[R/G] = J$, G symbolic")
def linear(shift=0):
    sy.equal(sy.over_rollouts(R / (G + shift), SUMS, G, moment), J, "the mean of the group mean")


@baseline.step("Small groups", route="enumeration", shows="three reward levels, G = 1..4, all groups listed")
def listed(drop=0):
    import itertools

    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, -4])
    for size in range(1, 5):
        rows = itertools.product(range(3), repeat=size)
        total = sp.Add(
            *[
                sp.prod([bandit.probabilities[k] for k in a])
                * sum(bandit.rewards[k] for k in a[drop:])
                / size
                for a in rows
            ]
        )
        sy.equal(total, bandit.value, f"G = {size}")


baseline.sabotage("division by G + 1", linear, shift=1)
baseline.sabotage("one rollout left out", listed, drop=1)


gradient = sy.Claim(
    id="A17b",
    title="The gradient with the group-mean baseline is unbiased at any finite group size",
    statement=(
        r"Because the group mean is the mean of on-policy rollouts, the group-mean baseline leaves the "
        r"gradient unbiased at any finite G."
    ),
    source=sy.Source("2510.00977", "", "authors' reply in the public reviews"),
    verdict="refuted",
    scope="every G, every law of rewards and scores with E[s] = 0",
    finding=(
        r"The own reward is in its own baseline: $\mathrm{E}[\bar r\, s_i] = \nabla J / G \ne 0$. The bias "
        r"is a constant factor, the same on all prompts: the direction is right and a learning rate absorbs "
        r"it. The division by the standard deviation is what bends the direction (A11b)."
    ),
)


@gradient.step(
    "The factor",
    route="sympy",
    shows=(
        r"$\mathrm{E}\left[\frac{1}{G} \sum_i (r_i - \bar r) s_i\right] = \frac{G - 1}{G} \nabla J$, G "
        r"symbolic"
    ),
)
def factor(expected=(G - 1) / G, mean_score=0):
    mean = sy.over_rollouts((RS - R * S / G) / G, SUMS, G, lambda e: moment(e, mean_score))
    sy.equal(mean, expected * g, "the mean of the group-mean estimator")


@gradient.step(
    "The shipped Dr. GRPO",
    route="enumeration",
    shows=r"three reward levels, $G = 2, 3, 4$: $(G-1)/G$ of grad J",
)
def enumerated(name="dr_grpo"):
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, -4])
    for size in (2, 3, 4):
        mean = sy.group_moments(bandit, size, sy.weights_of(catalogue.get(name))).mean
        sy.equal(mean, [sp.Rational(size - 1, size) * x for x in bandit.gradient], f"mean at G = {size}")


@gradient.counterexample(
    "p = 1/2, G = 2: the mean is half of grad J, (1/8, -1/8) against (1/4, -1/4); the engine agrees.",
    p="1/2",
    G=2,
)
def half(name="dr_grpo"):
    bandit = sy.SymbolicBandit(["1/2", "1/2"], [1, 0])
    moments = sy.group_moments(bandit, 2, sy.weights_of(catalogue.get(name)))
    sy.require(moments.mean != bandit.gradient, "the mean is grad J")
    sy.equal(moments.mean, [sp.Rational(1, 8), -sp.Rational(1, 8)], "half of grad J")
    sy.engines_agree(sy.engine(catalogue.get(name), bandit, 2), moments, name)


gradient.sabotage("no bias", factor, expected=1)
gradient.sabotage("off policy, where the mean score is not zero", factor, mean_score=sp.Rational(1, 7))
gradient.sabotage("leave-one-out", enumerated, name="rloo")
gradient.sabotage("leave-one-out at G = 2", half, name="rloo")


excess = sy.Claim(
    id="A18a",
    title="The price of estimating the baseline falls as 1/(n - 1)",
    statement=(
        r"Against the true mean J as baseline, the n rollouts of a group pay an excess variance of order "
        r"$1/(n-1)$ of the whole, of order one at $n = 2$."
    ),
    source=sy.Source("2510.00977", "", "a public review"),
    verdict="proved",
    scope="leave-one-out, every n >= 2, every law; per coordinate and so for the trace",
    finding=(
        r"Exactly $\frac{\Delta}{n (n - 1)}$ per group, $\Delta = \mathrm{Var}(r) \mathrm{E}\|s\|^2 + "
        r"\|\nabla J\|^2$, on top of $\mathrm{Var}((r - J) s)/n$. At $n = 2$ it is $\Delta/2$ and can "
        r"double the variance: binary rewards at $p = 1/2$ with one score size have $\sigma_o^2 = 0$, all "
        r"of it is excess."
    ),
)
var_r = moment({"r": 2}) - J**2
oracle = moment({"r": 2, "s": 2}) - 2 * J * moment({"r": 1, "s": 2}) + J**2 * V - g**2


@excess.step(
    "The excess",
    route="sympy",
    shows=r"$\mathrm{Var}_{loo} - \mathrm{Var}_{J} = \Delta/(n(n-1))$, n symbolic",
)
def price(power=1):
    loo = (RS - R * S / G) / (G - 1)
    with_value = (RS - J * S) / G
    difference = sy.over_rollouts(loo**2, SUMS, G, moment) - sy.over_rollouts(with_value**2, SUMS, G, moment)
    sy.equal(difference, (var_r * V + g**2) / (G * (G - 1) ** power), "the price of the baseline")
    sy.equal(
        sy.over_rollouts(with_value**2, SUMS, G, moment) - g**2, oracle / G, "the variance with the true mean"
    )


@excess.step(
    "On a bandit",
    route="enumeration",
    shows=r"$p = 1/2$: variance with J is $0$, leave-one-out $\frac{1}{4 n (n-1)}$, $n = 2, 3, 4$",
)
def on_bandit(name="rloo"):
    bandit = sy.SymbolicBandit(["1/2", "1/2"], [1, 0])
    for n in (2, 3, 4):
        variance = sy.group_moments(bandit, n, sy.weights_of(catalogue.get(name))).trace_cov
        centred = sy.group_moments(
            bandit, n, lambda r: [(x - bandit.value) / sp.Integer(len(r)) for x in r]
        ).trace_cov
        sy.require(centred == 0, "no variance with the true mean here")
        score = sp.Rational(1, 2)  # ||s||^2 = 1/4 + 1/4
        delta = sp.Rational(1, 4) * score + sum(x * x for x in bandit.gradient)
        sy.equal(variance, delta / (n * (n - 1)), f"the excess at n = {n}")


excess.sabotage("1/(n - 1)^2", price, power=2)
excess.sabotage("the group mean, whose own factor lowers it", on_bandit, name="dr_grpo")


altered = sy.Claim(
    id="A18b",
    title="At n = 2 the error of the baseline alters the expected gradient",
    statement=r"At $n = 2$ the baseline's error is of order one, so the gradient is altered.",
    source=sy.Source("2510.00977", "", "a public review"),
    verdict="refuted",
    scope="mean-centred and leave-one-out advantages, every reward law",
    finding=(
        "The error of the baseline is noise, not bias: the expected direction at n = 2 is exactly that of "
        "grad J, with factor 1/2 (mean-centred) or 1 (leave-one-out, or standardised binary rewards)."
    ),
)


@altered.step(
    "The mean at two rollouts",
    route="sympy",
    shows=r"$\mathrm{E}\left[\frac{1}{2}(r_1 - r_2)(s_1 - s_2)\right] = \nabla J$ for every law",
)
def at_two(factor=1):
    loo = (RS - R * S / 2) / 1
    sy.equal(sy.over_rollouts(loo, SUMS, sp.Integer(2), moment), factor * g, "the mean of a pair")


@altered.step(
    "Whatever the baseline's error",
    route="smt",
    shows=(
        r"an error e independent of the rollout adds $e\, \mathrm{E}[s] = 0$: for two answers, $p (1 - p) e "
        r"- (1 - p) p e = 0$"
    ),
)
def independent(dependent=False):
    p, e, d = sp.symbols("p e d", real=True)
    other = d if dependent else e
    sy.require(
        sy.smt_valid([p > 0, p < 1], sp.Eq(p * (1 - p) * e - (1 - p) * p * other, 0)),
        "the error adds nothing in the mean",
    )


@altered.counterexample(
    "p = 1/3, n = 2: the baseline (the other reward) has variance 2/9, as large as the reward's own; the "
    "mean gradient is grad J exactly, by the engine too.",
    p="1/3",
    n=2,
)
def exact_pair(name="rloo"):
    bandit = sy.SymbolicBandit(["1/3", "2/3"], [1, 0])
    moments = sy.group_moments(bandit, 2, sy.weights_of(catalogue.get(name)))
    sy.equal(moments.mean, bandit.gradient, "the mean of a pair")
    sy.engines_agree(sy.engine(catalogue.get(name), bandit, 2), moments, name)
    return sy.Exhibit(text=f"mean {moments.mean}")


altered.sabotage("half of grad J for leave-one-out", at_two, factor=sp.Rational(1, 2))
altered.sabotage("an error that depends on the rollout", independent, dependent=True)
altered.sabotage("the mean-centred pair against the whole of grad J", exact_pair, name="dr_grpo")
