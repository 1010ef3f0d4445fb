"""B22: the gradient of pass@k (a), and what the analytic advantages of pass@k training estimate (b)."""

import itertools

import sympy as sp
from _short_sequences import parallel_defect

from gradvar import catalogue
from gradvar import symbolic as sy

p = sp.Symbol("p", positive=True)
G, n = sp.Symbol("G", positive=True, integer=True), sp.Symbol("n", positive=True, integer=True)
LEVELS = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "5/2"])
TWO = [sy.SymbolicBandit(["1/2", "1/2"], [1, 0]), sy.SymbolicBandit(["1/10", "9/10"], [1, 0])]


def shipped(name, size, **settings):
    """Advantages of a correct and a wrong rollout with k correct, from the shipped code."""
    weights = sy.weights_of(catalogue.get(name, **settings))

    def advantages(k):
        computed = weights((sp.Integer(1),) * k + (sp.Integer(0),) * (size - k))
        return (size * computed[0] if k else 0), (size * computed[-1] if k < size else 0)

    return advantages


gradient = sy.Claim(
    id="B22a",
    title="The gradient of pass@k, and an unbiased estimator of it",
    statement=(
        r"$\nabla [1 - (1-p)^k] = k (1-p)^{k-1} \nabla p$, and $A_i = k$ times the mean over sets of "
        r"$k-1$ other rollouts of $\max(r_i, \max_T r) - \max_T r$ is unbiased for it, and for $\nabla "
        r"\mathrm{E}[\max \text{ of } k]$ with any rewards."
    ),
    source=sy.Source("2505.15201", "v4", "with 2503.19595 for k = G"),
    verdict="proved",
    scope=(
        "binary rewards: every G (symbolic) for k up to 6; any rewards: exact bandits of three "
        "answers, G up to 3, all k"
    ),
    hypotheses=("on policy, scores summed over tokens",),
    finding=(
        r"The estimator is a leave-one-out one: its baseline $\max_T r$ leaves out the own rollout. "
        r"Only correct rollouts get weight, $k \binom{w}{k-1}/\binom{G-1}{k-1}$ with w wrong ones "
        r"beside it."
    ),
)


@gradient.step("The gradient", route="sympy", shows=r"$\frac{d}{dp}[1 - (1-p)^k] = k(1-p)^{k-1}$")
def chain_rule(lower=1):
    k, q = sp.Symbol("k", positive=True, integer=True), sp.Symbol("q", positive=True)  # q = 1 - p
    sy.equal(-sp.powsimp(sp.diff(1 - q**k, q)), k * q ** (k - lower), "the derivative of pass@k")


@gradient.step(
    "The mean, any G",
    route="sympy",
    shows=r"$\mathrm{E}\binom{w}{k-1}/\binom{G-1}{k-1} = (1-p)^{k-1}$ for $w \sim \mathrm{Bin}(G-1, 1-p)$",
)
def any_group(draws=1):
    for k in range(2, 7):
        mean = sy.over_binomial_symbolic(sp.expand(sy.falling(n, k - 1)), n, G - draws, 1 - p) / sy.falling(
            G - 1, k - 1
        )
        sy.equal(k * mean, k * (1 - p) ** (k - 1), f"the weight of a prompt at k = {k}")


@gradient.step(
    "The shipped estimator", route="traced code", shows=r"$w(p) = k(1-p)^{k-1}$ for G = 2..5 and all k"
)
def traced(name="pass_at_k"):
    for size in range(2, 6):
        for k in range(2, size + 1):
            sy.equal(
                sy.prompt_weight(shipped(name, size, k=k), size, p),
                k * (1 - p) ** (k - 1),
                f"w at G = {size}, k = {k}",
            )


@gradient.step(
    "Any rewards",
    route="enumeration",
    shows=r"three reward levels: the mean is $\nabla \mathrm{E}[\max \text{ of } k]$, in rationals",
)
def any_rewards(shift=0):
    for size, k in ((2, 2), (3, 2), (3, 3)):
        target = [sp.Integer(0)] * 3
        for picks in itertools.product(range(3), repeat=k + shift):
            chance = sp.Mul(*[LEVELS.probabilities[i] for i in picks]) * max(LEVELS.rewards[i] for i in picks)
            target = [t + chance * sum(LEVELS.scores[i][j] for i in picks) for j, t in enumerate(target)]
        mean = sy.group_moments(LEVELS, size, sy.weights_of(catalogue.get("pass_at_k", k=k))).mean
        sy.equal(mean, target, f"G = {size}, k = {k}")


@gradient.step(
    "The engine", route="exact engine", shows="G = 3, k = 2, three reward levels: mean and covariance"
)
def engines(k=2):
    exact = sy.group_moments(LEVELS, 3, sy.weights_of(catalogue.get("pass_at_k", k=k)))
    sy.engines_agree(sy.engine(catalogue.get("pass_at_k", k=2), LEVELS, 3), exact, f"pass@{k}")


gradient.sabotage("another power", chain_rule, lower=2)
gradient.sabotage("the own rollout among the others", any_group, draws=0)
gradient.sabotage("the standardised advantages", traced, name="pass_at_k_standardised")
gradient.sabotage("the best of one more", any_rewards, shift=1)
gradient.sabotage("another k in the engine", engines, k=3)


analytic = sy.Claim(
    id="B22b",
    title="The analytic advantages of pass@k training are an unbiased estimator of grad pass@k",
    statement=(
        r"With n of G rollouts wrong, $m = 1 - \binom{n}{k}/\binom{G}{k}$, $A_1 = (1-m)/s$ and $A_0 = "
        r"(1 - m - \binom{n-1}{k-1}/\binom{G-1}{k-1})/s$, $s = \sqrt{m(1-m)}$, the expected update is "
        r"$\nabla$ pass@k up to a constant."
    ),
    source=sy.Source(
        "2508.10751",
        "v1",
        (
            "the analytic derivation of the advantage; the paper does not itself claim unbiasedness, "
            "and its equation numbers were not at hand"
        ),
    ),
    verdict="conditional",
    scope="binary rewards; with the hypothesis every G (symbolic) for k up to 6",
    hypotheses=(
        "without the division by s",
        r"up to the factor $\frac{1}{k} - \frac{1}{G}$, which is zero at $k = G$",
    ),
    finding=(
        r"The numerators alone have mean $(\frac{1}{k} - \frac{1}{G}) \nabla\,\text{pass@}k$: the "
        r"group's pass rate as a baseline costs $1/G$ of the gradient, as the group mean does for $k = "
        r"1$. Divided by s the weight on a prompt is another function of p, as GRPO's is."
    ),
)


@analytic.step(
    "They are the mean over all sets",
    route="traced code",
    shows=(
        "the shipped advantages are, for every rollout, the mean over the sets of k that hold it of "
        "the standardised pass; G = 2..5"
    ),
)
def over_sets(divide=True):
    for size in range(2, 6):
        for k in range(1, size + 1):
            for right in range(1, size):
                rewards = [1] * right + [0] * (size - right)
                passes = {T: max(rewards[i] for i in T) for T in itertools.combinations(range(size), k)}
                m = sp.Rational(sum(passes.values()), len(passes))
                spread = sp.sqrt(m * (1 - m)) if divide else 1
                by_hand = []
                for i in (0, size - 1):
                    self_term = [(x - m) / spread if m < 1 else 0 for T, x in passes.items() if i in T]
                    by_hand.append(sp.Add(*self_term) / len(self_term))
                sy.equal(
                    shipped("pass_at_k_standardised", size, k=k, eps=0.0)(right),
                    by_hand,
                    f"G = {size}, k = {k}, {right} right",
                )


@analytic.step(
    "The numerators, any G",
    route="sympy",
    shows=r"$\mathrm{E}[A_1] - \mathrm{E}[A_0] = (1-p)^{k-1} (1 - k/G)$ given the own reward",
)
def numerators(factor=None):
    q = 1 - p
    for k in range(1, 7):
        sets, others = sy.falling(G, k), sy.falling(G - 1, k - 1)
        right = sy.over_binomial_symbolic(sy.falling(n, k), n, G - 1, q) / sets
        wrong = sy.over_binomial_symbolic(sp.expand(sy.falling(n + 1, k)), n, G - 1, q) / sets
        wrong -= sy.over_binomial_symbolic(sp.expand(sy.falling(n, k - 1)), n, G - 1, q) / others
        sy.equal(
            right - wrong,
            (factor or (sp.Rational(1, k) - 1 / G)) * k * q ** (k - 1),
            f"the weight at k = {k}",
        )


def centred(size, k):
    def advantages(right):
        wrong = size - right
        fail = sp.binomial(wrong, k) / sp.binomial(size, k)
        return fail, fail - (sp.binomial(wrong - 1, k - 1) / sp.binomial(size - 1, k - 1) if wrong else 0)

    return advantages


@analytic.step("The same by summation", route="enumeration", shows="G = 2..7, all k, p = 1/7..6/7")
def summed(offset=0):
    def holds(size, k, sevenths):
        q = sp.Rational(sevenths, 7)
        w = sy.prompt_weight(centred(size, min(k, size)), size, q)
        k = min(k, size)
        return w == (1 - sp.Rational(k, size + offset)) * (1 - q) ** (k - 1)

    sy.enumerate_rationals(
        holds, range(2, 8), range(1, 8), range(1, 7), what="the centred analytic advantages"
    )


@analytic.counterexample(
    (
        "Two prompts with p = 1/2 and 1/10, G = 4, k = 2, as shipped: the mean is not along the "
        "gradient of pass@2. The engine agrees."
    ),
    p="(1/2, 1/10)",
    G="4",
    k="2",
)
def divided(other=TWO[1]):
    estimator = catalogue.get("pass_at_k_standardised", k=2, eps=0.0)
    mean, target = [], []
    for bandit in (TWO[0], other):
        exact = sy.group_moments(bandit, 4, sy.weights_of(estimator))
        mean += exact.mean
        target += [2 * (1 - bandit.value) * x for x in bandit.gradient]
    sy.require(parallel_defect(mean, target) != 0, "the mean is along the gradient of pass@2")
    sy.engines_agree(sy.engine(estimator, other, 4), exact, "pass@k training")
    computed = [sp.N(mean[0] / TWO[0].gradient[0], 6), sp.N(mean[2] / other.gradient[0], 6)]
    return sy.Exhibit(text=f"weights {computed[0]} and {computed[1]}; pass@2 asks for 1 and 1.8")


analytic.sabotage("without the division", over_sets, divide=False)
analytic.sabotage("the factor 1/k", numerators, factor=1)
analytic.sabotage("the factor of a larger group", summed, offset=1)
analytic.sabotage("one prompt twice", divided, other=TWO[0])
