"""B18: normalising in the group (a), why that is biased (b), and normalising over the batch (c)."""

import numpy as np
import sympy as sp
from _short_sequences import batch_moments, mean_agrees, parallel_defect, squared_sine

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import aggregate, surrogate

SOURCE = sy.Source("2501.03262", "v9", "abstract; the appendix with the argument was not at hand")
p = sp.Symbol("p", positive=True)
TWO = [sy.SymbolicBandit(["1/2", "1/2"], [1, 0]), sy.SymbolicBandit(["1/10", "9/10"], [1, 0])]
DIRECTION = [x / 2 for bandit in TWO for x in bandit.gradient]


def standardised(size):
    """Advantages of a correct and a wrong rollout, k of ``size`` correct; population std, no epsilon."""
    return lambda k: (
        (0, 0) if k in (0, size) else (sp.sqrt(sp.Rational(size - k, k)), -sp.sqrt(sp.Rational(k, size - k)))
    )


def squares(size):
    return lambda others: standardised(size)(others + 1)[0] ** 2


def given_wrong(size):
    return lambda others: standardised(size)(others)[1]


def shipped_right(weights, size):
    """The advantage of a correct rollout, from the shipped weights."""
    return lambda others: (
        size * weights((sp.Integer(1),) * (others + 1) + (sp.Integer(0),) * (size - 1 - others))[0]
    )


def given_correct(size, chance):
    """E[A | r = 1]: the other size - 1 rollouts are independent."""
    return sy.over_binomial(lambda k: standardised(size)(k + 1)[0], size - 1, chance)


advantage_bias = sy.Claim(
    id="B18a",
    title="The group-standardised advantage is a biased estimate of (r - p)/sigma",
    statement=(
        r"For binary rewards and every finite $G$ and $0 < p < 1$, $\mathrm{E}[A_i | r_i = 1] \le "
        r"\sqrt{\frac{1-p}{p} (1 - (1-p)^{G-1})} < \frac{1-p}{\sigma}$, $\sigma = \sqrt{p(1-p)}$."
    ),
    source=SOURCE,
    verdict="proved",
    scope=(
        "binary rewards, population std without epsilon, every G and p; for wrong rollouts exchange p "
        "and 1 - p"
    ),
    finding=(
        r"It is always shrunk towards zero, by the chance $(1-p)^{G-1}$ of being alone among others; "
        r"with $G = 2$ the shrinkage is the whole story: $\mathrm{E}[A|r=1] = 1 - p$."
    ),
)


@advantage_bias.step(
    "The mean square, any G",
    route="sympy",
    shows=(
        r"$\binom{G-1}{k-1} \frac{G-k}{k} = \binom{G-1}{k}$, so $\mathrm{E}[A^2 | r = 1] = "
        r"\frac{1-p}{p}(1 - (1-p)^{G-1})$; the mean squared is no larger"
    ),
)
def mean_square(shift=0):
    G, k = sp.symbols("G k", positive=True, integer=True)
    sy.equal(sp.binomial(G - 1, k - 1) * (G - k) / k, sp.binomial(G - 1, k + shift), "the binomial identity")
    for size in (2, 3, 5, 8):
        square = sy.over_binomial(squares(size), size - 1, p)
        sy.equal(square, (1 - p) / p * (1 - (1 - p) ** (size - 1)), f"the mean square at G = {size}")


@advantage_bias.step("The bound in numbers", route="enumeration", shows="G = 2..9, p = 1/12..11/12")
def bound(exponent=1):
    def holds(size, twelfths):
        q = sp.Rational(twelfths, 12)
        return (
            sp.N(given_correct(size, q))
            <= sp.N(sp.sqrt((1 - q) / q * (1 - (1 - q) ** (exponent * (size - 1))))) + 1e-12
        )

    sy.enumerate_rationals(holds, range(2, 10), range(1, 12), what="E[A | r = 1] is below the bound")


@advantage_bias.step(
    "The shipped advantages",
    route="traced code",
    shows=(
        r"E over groups of the shipped GRPO weight given $r_1 = 1$: $(1-p)$ at G = 2, below "
        r"$\sqrt{(1-p)/p}$"
    ),
)
def shipped(ddof=0):
    weights = sy.weights_of(catalogue.get("grpo", eps=0.0, ddof=ddof))
    computed = {}
    for size in (2, 3):
        value = sy.over_binomial(shipped_right(weights, size), size - 1, p)
        computed[size] = value
    sy.equal(computed[2], 1 - p, "E[A | r = 1] at G = 2")
    sy.equal(computed[3], given_correct(3, p), "E[A | r = 1] at G = 3")


@advantage_bias.step(
    "Strictly below", route="smt", shows=r"$\frac{1-p}{p} (1 - x) < \frac{1-p}{p}$ for $x = (1-p)^{G-1} > 0$"
)
def strict(least=0):
    x = sp.Symbol("x", real=True)
    sy.require(sy.smt_valid([x > least, p < 1], (1 - p) / p * (1 - x) < (1 - p) / p), "the bound is strict")


advantage_bias.sabotage("a shifted binomial", mean_square, shift=1)
advantage_bias.sabotage("a bound with a tenth of the exponent", bound, exponent=sp.Rational(1, 10))
advantage_bias.sabotage("the sample std", shipped, ddof=1)
advantage_bias.sabotage("no chance of being alone", strict, least=-1)


because = sy.Claim(
    id="B18b",
    title="The update is biased because numerator and denominator depend on each other",
    statement=(
        "Dependence between the centred reward and the group's standard deviation is what biases the "
        "expected update; an independent denominator would cure it."
    ),
    source=SOURCE,
    verdict="refuted",
    scope=(
        "binary rewards, sequence scores; both directions: dependence without bias, and bias without "
        "dependence"
    ),
    finding=(
        r"The direction is lost because prompts get different divisors, dependent or not: even the "
        r"exact $\sigma(p)$ weighs prompts by $1/\sqrt{p(1-p)}$. At $G = 2$ and $3$ the dependence is "
        r"strongest and the expected update is exactly along $\nabla J$."
    ),
)


@because.step(
    "Dependence without bias",
    route="sympy",
    shows=(
        r"$w_2(p) = 1$ and $w_3(p) = \sqrt{2}$ for all p: the dependent denominator leaves grad J, up "
        r"to a constant"
    ),
)
def no_bias(sizes=(2, 3)):
    for size in sizes:
        sy.require(
            not sp.simplify(sy.prompt_weight(standardised(size), size, p)).has(p),
            f"the weight at G = {size} does not depend on p",
        )


@because.step(
    "The same, by enumeration over two prompts",
    route="enumeration",
    shows="p = 1/2 and 1/10, G = 2: the mean of the shipped GRPO is grad J",
)
def no_bias_enumerated(name="grpo", size=2):
    means = [sy.group_moments(b, size, sy.weights_of(catalogue.get(name, eps=0.0))).mean for b in TWO]
    sy.equal([x / 2 for mean in means for x in mean], DIRECTION, "the mean over two prompts")


def oracle(power=1):
    """Rewards over the exact sigma(p). With two answers b* = 1 - p, which the engine puts in the batch."""
    return compose(
        advantage=lambda rewards, baseline: (
            (rewards - (1 - baseline)[:, None]) / (baseline * (1 - baseline))[:, None] ** (power / 2)
        ),
        surrogate=surrogate.likelihood,
        aggregate=aggregate.sequence_token_sum,
        min_group=1,
    )


@because.counterexample(
    (
        "p = 1/2 and 1/10, the denominators the exact standard deviations, independent of all "
        "rollouts: the mean is not along grad J."
    ),
    p="(1/2, 1/10)",
    G="1",
)
def bias_without_dependence(power=1):
    claimed = [x / 2 / sp.sqrt(b.value * (1 - b.value)) ** power for b in TWO for x in b.gradient]
    sy.require(parallel_defect(claimed, DIRECTION) != 0, "the direction differs from that of grad J")
    mean_agrees(sy.engine(oracle(power), TWO, 1), claimed, "exact denominators")


because.sabotage("G = 4, where the weight does depend on p", no_bias, sizes=(2, 3, 4))
because.sabotage("G = 4 over two prompts", no_bias_enumerated, size=4)
because.sabotage("no division", bias_without_dependence, power=0)


full = sy.Claim(
    id="B18c",
    title="Normalising over the batch is unbiased as the batch grows",
    statement=(
        r"With rewards standardised over the batch, $\mathrm{E}[\hat g]$ tends to $\nabla J / \sigma$, "
        r"one factor for all prompts; at a finite batch it is biased."
    ),
    source=SOURCE,
    verdict="conditional",
    scope=(
        "binary rewards, sequence scores, population std; the limit for G > 1 in exact distributions "
        "up to 64 prompts, and by the law of large numbers beyond"
    ),
    hypotheses=("prompts drawn independently", r"unbiased up to the factor $1/\sigma$ of the whole batch"),
    finding=(
        r"With one rollout per prompt there is nothing to wait for: $\mathrm{E}[\hat g] = w_N(\bar p) "
        r"\nabla J$ at every batch size N, $w_N$ the weight of a group of N. Several rollouts of one "
        r"prompt share its difficulty, and only then is the direction off, by an angle of order 1/Q in "
        r"the end (it first grows: Q = 4 is worse than Q = 2 in the example)."
    ),
)


@full.step(
    "One rollout per prompt, any batch",
    route="sympy",
    shows=(
        r"given the prompt, the other rewards are Bernoulli($\bar p$): $\mathrm{E}[A s | x] = \nabla "
        r"p_x (\mathrm{E}[A|1] - \mathrm{E}[A|0])$, and that bracket is $w_N(\bar p)$"
    ),
)
def one_each(shift=0):
    for size in range(2, 7):
        wrong = sy.over_binomial(given_wrong(size), size - 1, p)
        sy.equal(
            given_correct(size, p) - wrong,
            sy.prompt_weight(standardised(size + shift), size + shift, p),
            f"the bracket at N = {size}",
        )


@full.step(
    "Two prompts, G = 1",
    route="enumeration",
    shows=r"batches of 2 and 3: the shipped REINFORCE++ has the mean $w_N(3/10)\, \nabla J$ exactly",
)
def two_prompts(size=1, sizes=(2, 3)):
    for prompts in sizes:
        mean = batch_moments(TWO, prompts, size, catalogue.get("reinforce_pp", eps=0.0)).mean
        w = sy.prompt_weight(standardised(prompts * size), prompts * size, p).subs(p, sp.Rational(3, 10))
        sy.equal(mean, [w * x for x in DIRECTION], f"the mean of a batch of {prompts}")


@full.step("The engine, G = 1", route="exact engine", shows="batches of three prompts: the same mean")
def engine_one_each(total=3):
    w = sy.prompt_weight(standardised(total), total, p).subs(p, sp.Rational(3, 10))
    computed = sy.engine(catalogue.get("reinforce_pp", eps=0.0), TWO, 1, prompts=3)
    mean_agrees(computed, [w * x for x in DIRECTION], "REINFORCE++")


def pair_weights(prompts):
    """E[A|1, x] - E[A|0, x] for each prompt x, G = 2: the exact law of the others' sum, floats for roots."""
    chances = [float(b.value) for b in TWO]
    pair = np.mean([[(1 - c) ** 2, 2 * c * (1 - c), c * c] for c in chances], axis=0)
    rest = np.ones(1)
    for _ in range(prompts - 1):
        rest = np.convolve(rest, pair)
    total, weights = 2 * prompts, []
    for c in chances:
        others = np.convolve(rest, [1 - c, c])
        k = np.arange(len(others))
        right = np.where(k + 1 < total, np.sqrt((total - 1 - k) / (k + 1)), 0.0)
        wrong = np.where(k > 0, -np.sqrt(k / np.maximum(total - k, 1)), 0.0)
        weights.append(float(others @ (right - wrong)))
    return weights


@full.step(
    "Two rollouts per prompt: the angle closes",
    route="enumeration",
    shows=(
        r"Q = 2, 4, ..., 64: the ratio of the two prompts' weights tends to 1, its distance times Q to "
        r"a constant, and the weights to $1/\sigma$"
    ),
)
def angle_closes(rate=1):
    gaps = {q: pair_weights(q)[0] / pair_weights(q)[1] - 1 for q in (2, 4, 8, 16, 32, 64)}
    scaled = [abs(gap) * q**rate for q, gap in gaps.items()]
    sy.require(abs(scaled[-1] / scaled[-2] - 1) < 0.05, "the gap falls like 1/Q")
    sy.require(
        abs(pair_weights(64)[0] * float(sp.sqrt(sp.Rational(21, 100))) - 1) < 0.02,
        "the weight tends to 1/sigma",
    )
    return sy.Exhibit(
        table=(("Q", "w(1/2)/w(1/10) - 1"), *((str(q), f"{gap:.6f}") for q, gap in gaps.items()))
    )


@full.counterexample(
    (
        "Two prompts with p = 1/2 and 1/10, batches of two prompts with two rollouts each: the mean is "
        "not along grad J. The engine agrees."
    ),
    p="(1/2, 1/10)",
    Q="2",
    G="2",
)
def finite(size=2):
    mean = batch_moments(TWO, 2, size, catalogue.get("reinforce_pp", eps=0.0)).mean
    sy.require(sp.N(squared_sine(mean, DIRECTION)) > 1e-6, "the mean is off the direction of grad J")
    mean_agrees(sy.engine(catalogue.get("reinforce_pp", eps=0.0), TWO, size, prompts=2), mean, "REINFORCE++")
    weights = pair_weights(2)
    sy.require(
        abs(float(mean[0] / DIRECTION[0]) - weights[0]) < 1e-12
        and abs(float(mean[2] / DIRECTION[2]) - weights[1]) < 1e-12,
        "the closed form",
    )
    return sy.Exhibit(text=f"squared sine {sp.N(squared_sine(mean, DIRECTION), 6)}")


full.sabotage("the weight of a larger batch", one_each, shift=1)
full.sabotage("two rollouts per prompt", two_prompts, size=2, sizes=(2,))
full.sabotage("the weight of a batch of four", engine_one_each, total=4)
full.sabotage("a rate of 1/Q^2", angle_closes, rate=2)
full.sabotage("one rollout per prompt", finite, size=1)
