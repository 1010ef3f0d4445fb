"""A17 and A18: the group mean as a baseline: its mean, the gradient's mean, the price in variance."""

import itertools

import numpy as np
import sympy as sp
from _short_sequences import stopping, token_moments

from gradvar import catalogue
from gradvar import symbolic as sy

G = sp.Symbol("G", integer=True, positive=True)
R, S, RS = sp.symbols("R S RS")
SUMS = {R: {"r": 1}, S: {"s": 1}, RS: {"r": 1, "s": 1}}
REVIEW = "machine-written review of 2510.00977 (pith.science), with a simulated rebuttal"
NOT_THEIRS = "a language model wrote the review and the reply; neither is the paper's, its authors' or the conference's"
LEVELS = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, -4])
mean_baseline, value, update, gradient = sp.symbols("b J m g", real=True)
GRADIENT = sy.Quantity(r"\nabla J", "the gradient of the expected reward")
ON_POLICY = sy.Hypothesis(
    r"the rollouts are independent draws of the policy, so that $\mathrm{E}[s] = 0$", stated_by="ours"
)


def moment(exponents, mean_score=0):
    a, b = exponents.get("r", 0), exponents.get("s", 0)
    if (a, b) == (0, 0):
        return sp.Integer(1)
    return sp.sympify(mean_score) if (a, b) == (0, 1) else sp.Symbol(f"m{a}{b}", real=True)


J, g, V = (moment(x) for x in ({"r": 1}, {"r": 1, "s": 1}, {"s": 2}))

baseline = sy.Claim(
    id="A17a",
    title="The group mean is an unbiased estimate of the value",
    statement=sy.Statement(
        setting="One prompt, G independent rollouts of the policy, real rewards of any law with a mean",
        forall={G: sy.whole(1)},
        quantities={
            mean_baseline: sy.Quantity(r"\mathrm{E}[\bar r]", "the mean of the group's mean reward"),
            value: sy.Quantity("J", "the expected reward of one rollout"),
        },
        goals={"unbiased": sp.Eq(mean_baseline, value)},
    ),
    source=sy.Source(
        REVIEW,
        place="the simulated rebuttal",
        says="the group mean averages rollouts of the current policy, so it estimates the value without bias",
        caveat=NOT_THEIRS,
    ),
    verdict="proved",
    scope="every G, every reward law with a mean",
    proof=(
        r"The mean of a sum is the sum of the means, so $\mathrm{E}[\frac{1}{G} \sum_i r_i] = \frac{1}{G} G J = "
        "J$. The baseline that the shipped code subtracts is this mean for rewards in symbols, and listing all "
        "groups of three reward levels gives J."
    ),
    finding=(
        "True, and not what matters: a baseline biases the gradient through its dependence on the rollout "
        "that it is subtracted from, not through its mean (A17b)."
    ),
)


@baseline.step("Linearity", route="sympy", shows=r"$\mathrm{E}[R/G]$, R the group's sum, G symbolic")
def linear(shift=0):
    baseline.goal("unbiased").holds(
        {mean_baseline: sy.over_rollouts(R / (G + shift), SUMS, G, moment), value: J}
    )


@baseline.step(
    "Small groups", route="enumeration", shows="three reward levels, G = 1, 2, 3, 4, all groups listed"
)
def listed(drop=0):
    for size in range(1, 5):
        total = sp.Integer(0)
        for answers in itertools.product(range(3), repeat=size):
            chance = sp.prod([LEVELS.probabilities[k] for k in answers])
            total += chance * sum(LEVELS.rewards[k] for k in answers[drop:]) / size
        baseline.goal("unbiased").holds({mean_baseline: total, value: LEVELS.value}, at={G: size})


@baseline.step(
    "What the shipped code subtracts",
    route="traced code",
    shows="the reward less G times the weight of dr_grpo, rewards in symbols of mean J, G = 2, 3, 4",
)
def subtracted(name="dr_grpo"):
    for size in (2, 3, 4):
        rollouts = sy.symbolic_group(size, on_policy=True)
        rewards = rollouts.rewards.reshape(-1)
        weights = rollouts.weights(catalogue.get(name)).reshape(-1)
        level = dict.fromkeys(rewards, J)  # linear in the rewards, so its mean is its value at their means
        means = [sp.expand(r - size * w).subs(level) for r, w in zip(rewards, weights, strict=True)]
        baseline.goal("unbiased").holds({mean_baseline: means, value: J}, at={G: size})


baseline.sabotage("division by G + 1", linear, shift=1)
baseline.sabotage("one rollout left out", listed, drop=1)
baseline.sabotage("REINFORCE, which subtracts nothing", subtracted, name="reinforce")


biased = sy.Claim(
    id="A17b",
    title="The gradient with the group-mean baseline is unbiased at any finite group size",
    statement=sy.Statement(
        setting="One prompt, real rewards of any law, advantages $r_i - \\bar r$",
        forall={G: sy.whole(2)},
        given={"on policy": ON_POLICY},
        quantities={
            update: sy.Quantity(
                r"\mathrm{E}[\hat g]", r"the mean of $\frac{1}{G} \sum_i (r_i - \bar r) s_i$"
            ),
            gradient: GRADIENT,
        },
        goals={"unbiased": sp.Eq(update, gradient)},
    ),
    instead=sy.Statement(
        setting="One prompt, real rewards of any law, advantages $r_i - \\bar r$",
        forall={G: sy.whole(2)},
        given={"on policy": ON_POLICY},
        quantities={
            update: sy.Quantity(
                r"\mathrm{E}[\hat g]", r"the mean of $\frac{1}{G} \sum_i (r_i - \bar r) s_i$"
            ),
            gradient: GRADIENT,
        },
        goals={"factor": sp.Eq(update, (G - 1) / G * gradient)},
    ),
    source=sy.Source(
        REVIEW,
        place="the simulated rebuttal",
        relation="reading",
        says="the group mean estimates the value without bias, and so does no harm at a finite group size",
        caveat=NOT_THEIRS + "; the paper calls means over positives and negatives unbiased (Section 4.2)",
    ),
    verdict="refuted",
    scope=r"every G, every law of rewards and scores with $\mathrm{E}[s] = 0$",
    proof=(
        "A rollout's reward stands in its baseline with the weight 1/G. The terms $r_i s_i$ have the mean "
        r"$\nabla J$ each, and in $\bar r s_i$ only $r_i s_i / G$ is left, as $\mathrm{E}[r_j s_i] = 0$ for two "
        r"rollouts. So the mean is $(1 - 1/G) \nabla J$. The shipped estimator has it on a bandit with three "
        "reward levels, on rollouts of one and two tokens, and in the engine on two prompts."
    ),
    finding=(
        r"$\mathrm{E}[\bar r\, s_i] = \nabla J / G \ne 0$. The bias "
        r"is a constant factor, the same on all prompts: the direction is right and a learning rate absorbs "
        r"it. The division by the standard deviation is what bends the direction (A11b)."
    ),
)


@biased.step(
    "The factor",
    route="sympy",
    shows=r"the mean of $\frac{1}{G} \sum_i (r_i - \bar r) s_i$ over index patterns, G symbolic",
)
def factor(keep=1, mean_score=0):
    mean = sy.over_rollouts((RS - keep * R * S / G) / G, SUMS, G, lambda e: moment(e, mean_score))
    biased.goal("factor").holds({update: mean, gradient: g})


@biased.step(
    "The shipped Dr. GRPO",
    route="enumeration",
    shows="three reward levels: all groups at G = 2, 3, 4, and at G = 2 rollouts of one and two tokens",
)
def enumerated(name="dr_grpo"):
    estimator = catalogue.get(name)
    for size in (2, 3, 4):
        mean = sy.group_moments(LEVELS, size, sy.weights_of(estimator)).mean
        biased.goal("factor").holds({update: mean, gradient: LEVELS.gradient}, at={G: size})
    policy = stopping("2/3", "3/5", [1, 0, -4])
    mean = token_moments(policy, 2, estimator).mean
    biased.goal("factor").holds({update: mean, gradient: policy.bandit.gradient}, at={G: 2})


@biased.step("The engine", route="exact engine", shows="two prompts of three answers, G = 2 and 3")
def engines(name="dr_grpo"):
    prompts = [LEVELS, sy.SymbolicBandit(["1/10", "2/5", "1/2"], [2, 1, 0])]
    slopes = [x / 2 for bandit in prompts for x in bandit.gradient]
    for size in (2, 3):
        mean = np.asarray(sy.engine(catalogue.get(name), prompts, size).mean).reshape(-1)
        biased.goal("factor").holds({update: mean, gradient: slopes}, at={G: size}, tolerance=1e-11)


@biased.counterexample(
    "p = 1/2, G = 2: the mean is half of grad J, (1/8, -1/8) against (1/4, -1/4).",
    p="1/2",
    G=2,
)
def half(name="dr_grpo"):
    bandit = sy.SymbolicBandit(["1/2", "1/2"], [1, 0])
    mean = sy.group_moments(bandit, 2, sy.weights_of(catalogue.get(name))).mean
    biased.goal("unbiased").fails({update: mean, gradient: bandit.gradient}, at={G: 2})


biased.sabotage("no baseline, and so no bias", factor, keep=0)
biased.sabotage("off policy, where the mean score is not zero", factor, mean_score=sp.Rational(1, 7))
biased.sabotage("leave-one-out", enumerated, name="rloo")
biased.sabotage("GRPO's mean over a rollout's tokens", enumerated, name="grpo")
biased.sabotage("leave-one-out in the engine", engines, name="rloo")
biased.sabotage("leave-one-out at G = 2", half, name="rloo")


loo_variance, oracle_variance, sigma, delta = sp.symbols("L O sigma Delta", nonnegative=True)

excess = sy.Claim(
    id="A18a",
    title="The price of estimating the baseline falls as 1/(n - 1)",
    statement=sy.Statement(
        setting="One prompt, G rollouts, real rewards of any law, leave-one-out against the true mean J as baseline; "
        "variances by entry, and so for the trace",
        forall={G: sy.whole(2)},
        given={"on policy": ON_POLICY},
        quantities={
            loo_variance: sy.Quantity(r"V_{\text{loo}}", "the variance of the leave-one-out gradient"),
            oracle_variance: sy.Quantity("V_J", r"the variance of $\frac{1}{G} \sum_i (r_i - J) s_i$"),
            sigma: sy.Quantity(r"\sigma^2", "the variance of one term $(r - J) s$"),
            delta: sy.Quantity(
                r"\Delta",
                r"$\mathrm{Var}(r)\, \mathrm{E}[s^2] + (\nabla J)^2$, summed over entries for the trace",
            ),
        },
        goals={
            "the true mean": sp.Eq(oracle_variance, sigma / G),
            "the price": sp.Eq(loo_variance, oracle_variance + delta / (G * (G - 1))),
        },
    ),
    source=sy.Source(
        REVIEW,
        place="the referee report",
        says="the baseline of a group of n has an error whose variance falls as 1/(n - 1), of order one at n = 2",
        caveat=NOT_THEIRS,
    ),
    verdict="proved",
    scope="leave-one-out, every group size from 2 on, every law with two moments; by entry and for the trace",
    proof=(
        r"With the true mean the G terms are independent, so the variance is $\sigma^2/G$. Leave-one-out adds "
        r"$\frac{1}{G} \sum_i (J - b_i) s_i$, with $b_i$ the mean of the others; it is uncorrelated with the "
        "first part but for the pairs of rollouts that stand in each other's baseline. Counting index patterns "
        r"gives $\Delta/(G (G-1))$ for all of it, so the excess is the share 1/(G - 1) of a whole of order 1/G. "
        "The shipped estimator has it at G = 2, 3, 4."
    ),
    finding=(
        r"At $G = 2$ the excess is $\Delta/2$ and can double the variance and more: with binary rewards at $p = "
        r"1/2$ and one score size $\sigma^2 = 0$, and all of the variance is excess."
    ),
)


@excess.step("Any group size", route="sympy", shows="both second moments over index patterns, G symbolic")
def price(power=1):
    loo = (RS - R * S / G) / (G - 1) ** power
    with_value = (RS - J * S) / G
    second = {x: sy.over_rollouts(x**2, SUMS, G, moment) for x in (loo, with_value)}
    values = {
        loo_variance: second[loo] - g**2,
        oracle_variance: second[with_value] - g**2,
        sigma: moment({"r": 2, "s": 2}) - 2 * J * moment({"r": 1, "s": 2}) + J**2 * V - g**2,
        delta: (moment({"r": 2}) - J**2) * V + g**2,
    }
    excess.goal("the price").holds({x: values[x] for x in (loo_variance, oracle_variance, delta)})
    excess.goal("the true mean").holds({x: values[x] for x in (oracle_variance, sigma)})


def less(baseline):
    """The weights of rewards less a constant."""
    return lambda rewards: [(r - baseline) / len(rewards) for r in rewards]


@excess.step(
    "On two bandits",
    route="enumeration",
    shows="two and three reward levels, all groups at G = 2, 3, 4 with the shipped weights, traces of the covariance",
)
def on_bandits(name="rloo"):
    for bandit in (sy.SymbolicBandit(["1/2", "1/2"], [1, 0]), LEVELS):
        rows = list(zip(bandit.probabilities, bandit.rewards, bandit.scores, strict=True))
        square = sum(x * x for x in bandit.gradient)
        norms = [sum(x * x for x in s) for _, _, s in rows]
        variance = sum(q * (r - bandit.value) ** 2 for q, r, _ in rows)
        one = sum(q * (r - bandit.value) ** 2 * n for (q, r, _), n in zip(rows, norms, strict=True)) - square
        gap = variance * sum(q * n for (q, _, _), n in zip(rows, norms, strict=True)) + square
        for size in (2, 3, 4):
            loo = sy.group_moments(bandit, size, sy.weights_of(catalogue.get(name))).trace_cov
            centred = sy.group_moments(bandit, size, less(bandit.value)).trace_cov
            excess.goal("the price").holds(
                {loo_variance: loo, oracle_variance: centred, delta: gap}, at={G: size}
            )
            excess.goal("the true mean").holds({oracle_variance: centred, sigma: one}, at={G: size})


excess.sabotage("1/(n - 1)^2", price, power=2)
excess.sabotage("the group mean, whose factor lowers it", on_bandits, name="dr_grpo")


sine, fixed, paired, centred_pair = sp.symbols("D f u c", real=True)

altered = sy.Claim(
    id="A18b",
    title="At two rollouts the error of the baseline alters the direction of the expected gradient",
    statement=sy.Statement(
        setting="One prompt, a pair of rollouts, real rewards of any law",
        given={"on policy": ON_POLICY},
        quantities={
            sine: sy.Quantity(
                "D",
                r"$|m|^2 |v|^2 - (m \cdot v)^2$ of the pair's mean update m and the gradient v; zero if parallel",
            )
        },
        goals={"altered": sp.Gt(sine, 0)},
    ),
    instead=sy.Statement(
        setting="One prompt, a pair of rollouts, real rewards of any law",
        given={"on policy": ON_POLICY},
        quantities={
            paired: sy.Quantity(r"\mathrm{E}[\hat g_{\text{loo}}]", "the mean of the leave-one-out pair"),
            centred_pair: sy.Quantity(
                r"\mathrm{E}[\hat g_{\text{mean}}]", "the mean of the mean-centred pair"
            ),
            fixed: sy.Quantity(
                r"\mathrm{E}[(r - b) s]", "the mean with a baseline b that is independent of the rollout"
            ),
            gradient: GRADIENT,
        },
        goals={
            "leave-one-out": sp.Eq(paired, gradient),
            "mean-centred": sp.Eq(centred_pair, gradient / 2),
            "any error": sp.Eq(fixed, gradient),
        },
    ),
    source=sy.Source(
        REVIEW,
        place="the referee report",
        relation="reading",
        says="at two rollouts the baseline's error is of order one, and the gradient may be altered",
        caveat=NOT_THEIRS,
    ),
    verdict="refuted",
    scope="mean-centred and leave-one-out advantages, every reward law",
    proof=(
        r"A baseline b that is independent of the rollout contributes $\mathrm{E}[b]\,\mathrm{E}[s] = 0$, "
        "however large its error is. In a leave-one-out pair the baseline is the other reward, which is "
        "independent, so the mean is the gradient; the mean-centred pair is half of it. At p = 1/3 the "
        "baseline's variance is as large as the reward's and the mean is exactly the gradient."
    ),
    finding=(
        "The error of the baseline is noise, not bias: the expected direction at two rollouts is exactly that of "
        "grad J, with the factor 1 (leave-one-out) or 1/2 (mean-centred)."
    ),
)


@altered.step(
    "The mean at two rollouts",
    route="sympy",
    shows=(
        r"$\frac{1}{2} \sum_i (r_i - r_j) s_i$ and $\frac{1}{2} \sum_i (r_i - \bar r) s_i$ over index patterns; "
        "b free"
    ),
)
def at_two(others=1, mean_score=0):
    two = sp.Integer(2)

    def mean(expression):
        return sy.over_rollouts(expression, SUMS, two, lambda e: moment(e, mean_score))

    altered.goal("leave-one-out").holds({paired: mean((RS - others * (R * S - RS)) / 2), gradient: g})
    altered.goal("mean-centred").holds({centred_pair: mean((RS - others * R * S / 2) / 2), gradient: g})
    b = sp.Symbol("b", real=True)  # the baseline: given it, the rollout has the same law
    alone = sy.over_rollouts(RS - b * S, SUMS, sp.Integer(1), lambda e: moment(e, mean_score))
    altered.goal("any error").holds({fixed: alone, gradient: g})


@altered.step(
    "Whatever the baseline's error",
    route="smt",
    shows="two answers: baselines e after the right answer and after the wrong one, of equal mean",
)
def independent(dependent=False):
    p, e, d = sp.symbols("p e d", real=True)
    other = d if dependent else e
    values = {fixed: p * (1 - e) * (1 - p) + (1 - p) * (0 - other) * (0 - p), gradient: p * (1 - p)}
    sy.require(
        sy.smt_valid([p > 0, p < 1], sp.Eq(values[fixed], values[gradient])), "the error adds to the mean"
    )
    altered.goal("any error").holds(values, where=[p > 0, p < 1])


@altered.step(
    "The shipped pairs", route="enumeration", shows="three reward levels, all pairs, rloo and dr_grpo"
)
def shipped_pairs(names=("rloo", "dr_grpo")):
    means = [sy.group_moments(LEVELS, 2, sy.weights_of(catalogue.get(name))).mean for name in names]
    altered.goal("leave-one-out").holds({paired: means[0], gradient: LEVELS.gradient})
    altered.goal("mean-centred").holds({centred_pair: means[1], gradient: LEVELS.gradient})


@altered.counterexample(
    "p = 1/3: the baseline (the other reward) has variance 2/9, as large as the reward's; the mean of the "
    "leave-one-out pair is along grad J exactly, and with three answers of three levels too.",
    p="1/3",
    G=2,
)
def exact_pair(name="rloo"):
    for bandit in (sy.SymbolicBandit(["1/3", "2/3"], [1, 0]), LEVELS):
        moments = sy.group_moments(bandit, 2, sy.weights_of(catalogue.get(name)))
        left, right = sp.Matrix(moments.mean), sp.Matrix(bandit.gradient)
        defect = sp.simplify(left.dot(left) * right.dot(right) - left.dot(right) ** 2)
        altered.goal("altered").fails({sine: defect})
        sy.engines_agree(sy.engine(catalogue.get(name), bandit, 2), moments, name)


altered.sabotage("half of the other reward", at_two, others=sp.Rational(1, 2))
altered.sabotage("off policy", at_two, mean_score=sp.Rational(1, 7))
altered.sabotage("an error that depends on the rollout", independent, dependent=True)
altered.sabotage("the mean-centred pair for leave-one-out", shipped_pairs, names=("dr_grpo", "dr_grpo"))
altered.sabotage("standardised over three levels, which bends", exact_pair, name="grpo")
