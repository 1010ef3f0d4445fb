"""B22: the gradient of pass@k (a), and what the analytic advantages of pass@k training estimate (b)."""

import itertools

import numpy as np
import sympy as sp
from _binary import shipped
from _short_sequences import parallel_defect

from gradvar import catalogue
from gradvar import symbolic as sy

p = sp.Symbol("p", positive=True)
G, k, w = (sp.Symbol(name, positive=True, integer=True) for name in "Gkw")
LEVELS = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "5/2"])
TWO = [sy.SymbolicBandit(["1/2", "1/2"], [1, 0]), sy.SymbolicBandit(["1/10", "9/10"], [1, 0])]
PASS = 1 - (1 - p) ** k
weight, update, gradient, total = sp.symbols("w_k m g T", real=True)
SUM = sy.Lemma(sp.Eq(total, 1), cited="the binomial theorem")
TOTAL = sy.Quantity("T", "the sum of the chances of a binomial law")


def factorial_moment(trials, order, sets):
    """E[C(wrong, order)] / sets for wrong ~ Bin(trials, 1-p): the sum of its terms, which are again a binomial law's.

    C(trials, w) C(w, order) = C(trials, order) C(trials - order, w - order), so that the rest sums to one.
    """
    identity = (
        sp.binomial(trials, w) * sp.binomial(w, order),
        sp.binomial(trials, order) * sp.binomial(trials - order, w - order),
    )
    sy.equal(*identity, "the product of two binomials")
    rest = ((1 - p) + p) ** (trials - order)
    return sp.gammasimp(sp.combsimp(sp.binomial(trials, order) / sets)) * (1 - p) ** order * rest


grad_k = sy.Claim(
    id="B22a",
    title="The leave-one-out form over sets of k rollouts is unbiased for the gradient of pass@k",
    statement=sy.Statement(
        setting=(
            r"One prompt, on policy, scores summed over tokens; $A_i$ is k times the mean, over all sets T of "
            r"k - 1 other rollouts, of $\max(r_i, \max_T r) - \max_T r$"
        ),
        forall={G: sy.whole(2), k: sy.whole(2), p: sy.between(0, 1)},
        given={"enough rollouts": sy.Hypothesis("k is at most G", k <= G)},
        quantities={
            weight: sy.Quantity(
                "w_k",
                r"the factor of $\nabla p$ in the mean of $\frac{1}{G} \sum_i A_i s_i$ for binary rewards of rate p",
            ),
            update: sy.Quantity(r"\mathrm{E}[\hat g]", "that mean for any rewards"),
            gradient: sy.Quantity(
                r"\nabla M_k", "the gradient of the expected largest reward of k independent rollouts"
            ),
            total: TOTAL,
        },
        goals={
            "pass at k": sp.Eq(weight, sp.Derivative(PASS, p)),
            "best of k": sp.Eq(update, gradient),
        },
        lemmas={"chances sum to one": SUM},
    ),
    source=sy.Source(
        "2505.15201",
        "v4",
        "the estimators of pass@k and of max@k; 2503.19595 for k = G",
        says="the leave-one-out form over all sets of k rollouts is an unbiased estimator of the gradient",
    ),
    verdict="proved",
    scope="every G and every k up to it",
    proof=(
        r"A correct rollout with w wrong ones beside it has the advantage $k "
        r"\binom{w}{k-1}/\binom{G-1}{k-1}$, a wrong one has none, so $w_k = k "
        r"\mathrm{E}\binom{w}{k-1}/\binom{G-1}{k-1}$ with w of $\mathrm{Bin}(G-1, 1-p)$. Products of binomial "
        r"coefficients and the binomial theorem make this $k (1-p)^{k-1}$, the derivative of $1 - (1-p)^k$. "
        r"For any rewards $\max_T r$ is independent of $s_i$ and drops out, and what is left, k times the "
        r"mean of $\max(r_i, \max_T r) s_i$, is $\nabla M_k$ by the product rule, the k rollouts being alike. "
        r"The shipped estimator agrees on bandits, in rationals and in the engine."
    ),
    finding=(
        r"The estimator is a leave-one-out one: its baseline $\max_T r$ leaves out the own rollout. Only "
        r"correct rollouts get weight, $k \binom{w}{k-1}/\binom{G-1}{k-1}$ with w wrong ones beside it."
    ),
)


@grad_k.step(
    "Any G and k",
    route="sympy",
    shows=(
        r"$\mathrm{E}\binom{w}{k-1} = \binom{G-1}{k-1} (1-p)^{k-1}$; and $k\,\mathrm{E}[\max(r_i, \max_T r) "
        r"s_i] - k\,\mathrm{E}[\max_T r]\,\mathrm{E}[s_i]$"
    ),
)
def any_size(others=1, average_score=0):
    mean = k * factorial_moment(G - others, k - 1, sp.binomial(G - 1, k - 1))
    grad_k.goal("pass at k").holds(
        {weight: mean}, using={"chances sum to one": {total: ((1 - p) + p) ** (G - k)}}
    )
    largest_score, baseline = sp.symbols("X B", real=True)  # E[max(r_i, max_T) s_i] and E[max_T]
    estimate = k * largest_score - k * baseline * average_score
    by_product_rule = k * largest_score  # k rollouts, each with its own score
    grad_k.goal("best of k").holds({update: estimate, gradient: by_product_rule})


@grad_k.step(
    "The shipped weights",
    route="traced code",
    shows="G = 2 to 5 and all k, symbolic p; k = 2 with the defaults",
)
def traced(name="pass_at_k", shift=0):
    for size in range(2, 6):
        for j in range(2, size + 1):
            settings = {} if j + shift == 2 else {"k": j + shift}
            values = {weight: sy.prompt_weight(shipped(name, size + shift, **settings), size + shift, p)}
            grad_k.goal("pass at k").holds(values, at={G: size, k: j})


@grad_k.step(
    "Three reward levels",
    route="enumeration",
    shows="all groups at G = 2, 3 against all draws of k answers, in rationals",
)
def any_rewards(shift=0):
    for size, j in ((2, 2), (3, 2), (3, 3)):
        target = [sp.Integer(0)] * 3
        for picks in itertools.product(range(3), repeat=j + shift):
            chance = sp.Mul(*[LEVELS.probabilities[i] for i in picks]) * max(LEVELS.rewards[i] for i in picks)
            target = [t + chance * sum(LEVELS.scores[i][c] for i in picks) for c, t in enumerate(target)]
        mean = sy.group_moments(LEVELS, size, sy.weights_of(catalogue.get("pass_at_k", k=j))).mean
        grad_k.goal("best of k").holds({update: mean, gradient: target}, at={G: size, k: j})


@grad_k.step("The engine", route="exact engine", shows="as catalogued, k = 2, at G = 3: three reward levels")
def engines(draws=2):
    largest = sp.Integer(0)
    x = sp.symbols("x1:4", real=True)
    softmax = [sp.exp(v) / sum(map(sp.exp, x)) for v in x]
    for picks in itertools.product(range(3), repeat=draws):
        largest += sp.Mul(*[softmax[i] for i in picks]) * max(LEVELS.rewards[i] for i in picks)
    logits = {v: sp.log(c) for v, c in zip(x, LEVELS.probabilities, strict=True)}
    target = [sp.diff(largest, v).subs(logits) for v in x]
    moments = sy.engine(catalogue.get("pass_at_k"), LEVELS, 3)
    values = {update: np.asarray(moments.mean).reshape(-1), gradient: target}
    grad_k.goal("best of k").holds(values, at={G: 3, k: 2}, tolerance=1e-11)
    exact = sy.group_moments(LEVELS, 3, sy.weights_of(catalogue.get("pass_at_k")))
    sy.engines_agree(moments, exact, "pass@2")


grad_k.sabotage("the own rollout among the others", any_size, others=0)
grad_k.sabotage("scores that do not average to zero", any_size, average_score=sp.Rational(1, 4))
grad_k.sabotage("another k", traced, shift=1)
grad_k.sabotage("the standardised advantages", traced, name="pass_at_k_standardised")
grad_k.sabotage("the best of one more", any_rewards, shift=1)
grad_k.sabotage("the best of three in the engine", engines, draws=3)


first, second = sp.symbols("w1 w2", real=True)
p1, p2 = sp.symbols("p1 p2", positive=True)
largest, smallest = sp.symbols("s_max s_min", real=True)

analytic = sy.Claim(
    id="B22b",
    title="The analytic advantages of pass@k training are an unbiased estimator of grad pass@k",
    statement=sy.Statement(
        setting=(
            r"With n of G rollouts wrong and $m = 1 - \binom{n}{k}/\binom{G}{k}$, the advantages $A_1 = (1 - "
            r"m)/s$ of a correct and $A_0 = (1 - m - \binom{n-1}{k-1}/\binom{G-1}{k-1})/s$ of a wrong rollout"
        ),
        forall={G: sy.whole(2), k: sy.whole(1), p1: sy.between(0, 1), p2: sy.between(0, 1)},
        given={
            "enough rollouts": sy.Hypothesis(
                "k is at most G, as for the source's sets of k rollouts", k <= G
            ),
            "no division": sy.Hypothesis(
                r"nothing is divided, $s = 1$ for all groups (the source has $s = \sqrt{m (1 - m)}$)",
                sp.And(sp.Eq(largest, 1), sp.Eq(smallest, 1)),
                stated_by="ours",
            ),
        },
        quantities={
            first: sy.Quantity(
                "w(p_1)",
                r"the factor of $\nabla p$ in the expected update at the success rate $p_1$",
            ),
            second: sy.Quantity("w(p_2)", "that at the rate $p_2$"),
            largest: sy.Quantity(r"s_{\max}", "the largest divisor"),
            smallest: sy.Quantity(r"s_{\min}", "the smallest divisor of a mixed group"),
            total: TOTAL,
        },
        goals={
            "along the gradient": sp.Eq(first * (1 - p2) ** (k - 1), second * (1 - p1) ** (k - 1)),
            "scale": sp.Eq(first, (1 / k - 1 / G) * sp.Derivative(1 - (1 - p1) ** k, p1)),
        },
        lemmas={"chances sum to one": SUM},
    ),
    source=sy.Source(
        "2508.10751",
        "v1",
        "the analytic derivation of the advantage",
        relation="ours",
        says="the advantages are derived as the mean over all sets of k rollouts; unbiasedness is not claimed",
    ),
    verdict="conditional",
    scope="binary rewards; with the hypothesis every G and every k up to it",
    proof=(
        r"Given the own reward the number of wrong rollouts is a binomial count of the other $G - 1$, and the "
        r"factorial moments of that law give $\mathrm{E}[A_1] - \mathrm{E}[A_0] = (1 - k/G)(1-p)^{k-1}$ where "
        r"nothing is divided: a multiple of the gradient of pass@k. The same comes out of the sum over all "
        r"counts, and the shipped advantages, times their divisor, have it as well. With the division a "
        r"group's weight depends on how many are correct, and at $G = 4$, $k = 2$ the exact weights of two "
        r"prompts are not in the ratio of their gradients."
    ),
    finding=(
        r"The numerators alone have mean $(\frac{1}{k} - \frac{1}{G}) \nabla\,\text{pass@}k$: the group's "
        r"pass rate as a baseline costs $1/G$ of the gradient, as the group mean does for $k = 1$. Divided by "
        r"s the weight on a prompt is another function of p, as GRPO's is."
    ),
)
UNDIVIDED = {largest: 1, smallest: 1}


def at_rates(weights):
    """The values of a weight, a function of the success rate, at the two rates."""
    return {first: weights(p1), second: weights(p2), **UNDIVIDED}


@analytic.step(
    "Any G and k",
    route="sympy",
    shows=r"$\mathrm{E}[A_1] - \mathrm{E}[A_0]$ given the own reward, by factorial moments",
)
def analytic_at_any_size(trials=1):
    others = G - trials
    sets, without = sp.binomial(G, k), sp.binomial(G - 1, k - 1)
    fail = factorial_moment(others, k, sets)
    # Among n wrong rollouts is the own one: C(w+1, k) = C(w, k) + C(w, k-1).
    wrong = fail + factorial_moment(others, k - 1, sets) - factorial_moment(others, k - 1, without)
    factor = sp.simplify((fail - wrong) / (1 - p) ** (k - 1)) * (1 - p) ** (k - 1)
    values = at_rates(lambda rate: factor.subs(p, rate))
    using = {"chances sum to one": {total: ((1 - p) + p) ** G}}
    analytic.goal("scale").holds(values, using=using)
    analytic.goal("along the gradient").holds(values, using=using)


def centred(size, j):
    """The advantages without their division."""

    def advantages(right):
        wrong = size - right
        fail = sp.binomial(wrong, j) / sp.binomial(size, j)
        return fail, fail - (sp.binomial(wrong - 1, j - 1) / sp.binomial(size - 1, j - 1) if wrong else 0)

    return advantages


@analytic.step("By summation", route="enumeration", shows="G = 2 to 7 and all k, symbolic p")
def summed(offset=0):
    for size in range(2, 8):
        for j in range(1, size + 1):
            values = at_rates(
                lambda rate, size=size, j=j: sy.prompt_weight(centred(size + offset, j), size + offset, rate)
            )
            for name in ("scale", "along the gradient"):
                analytic.goal(name).holds(values, at={G: size, k: j})


def divisor(size, j, right):
    m = 1 - sp.binomial(size - right, j) / sp.binomial(size, j)
    return sp.sqrt(m * (1 - m))


@analytic.step(
    "The shipped advantages, times their divisor",
    route="traced code",
    shows=(
        "G = 2 to 5 and all k below G, for every count of correct rollouts; they are the mean over the "
        "sets that hold a rollout"
    ),
)
def undivided(divide=True):
    for size, j in ((s, j) for s in range(2, 6) for j in range(1, s)):
        advantages = shipped("pass_at_k_standardised", size, k=j, eps=0.0)

        def numerators(right, size=size, j=j, advantages=advantages):
            scale = divisor(size, j, right) if divide else 1
            return [scale * a for a in advantages(right)]

        for right in range(1, size):
            passes = {T: int(min(T) < right) for T in itertools.combinations(range(size), j)}
            m = sp.Rational(sum(passes.values()), len(passes))
            by_hand = []
            for i in (0, size - 1):
                sets = [x - m for T, x in passes.items() if i in T]
                by_hand.append(sp.Add(*sets) / len(sets))
            sy.equal(numerators(right), by_hand, f"G = {size}, k = {j}, {right} right")
        values = at_rates(
            lambda rate, size=size, numerators=numerators: sy.prompt_weight(numerators, size, rate)
        )
        for name in ("scale", "along the gradient"):
            analytic.goal(name).holds(values, at={G: size, k: j})


@analytic.counterexample(
    "Two prompts with p = 1/2 and 1/10, G = 4, k = 2, as shipped: the weights are not in the ratio of the gradients of "
    "pass@2. The engine agrees.",
    p="(1/2, 1/10)",
    G="4",
    k="2",
)
def divided(other=TWO[1]):
    estimator = catalogue.get("pass_at_k_standardised")
    moments = [sy.group_moments(bandit, 4, sy.weights_of(estimator)) for bandit in (TWO[0], other)]
    factors = [m.mean[0] / b.gradient[0] for m, b in zip(moments, (TWO[0], other), strict=True)]
    divisors = [divisor(4, 2, right) for right in (1, 2)]
    values = {first: factors[0], second: factors[1], largest: max(divisors), smallest: min(divisors)}
    place = {G: 4, k: 2, p1: TWO[0].value, p2: other.value}
    analytic.goal("along the gradient").fails(values, at=place, without="no division")
    target = [2 * (1 - b.value) * x for b in (TWO[0], other) for x in b.gradient]
    sy.require(
        parallel_defect([x for m in moments for x in m.mean], target) != 0, "the mean is along the gradient"
    )
    sy.engines_agree(sy.engine(estimator, other, 4), moments[1], "pass@k training")
    return sy.Exhibit(
        text=f"weights {sp.N(factors[0], 6)} and {sp.N(factors[1], 6)}; pass@2 asks for 1 and 1.8"
    )


analytic.sabotage("the own rollout among the others", analytic_at_any_size, trials=0)
analytic.sabotage("a group that is larger by one", summed, offset=1)
analytic.sabotage("with the division", undivided, divide=False)
analytic.sabotage("one prompt twice", divided, other=TWO[0])
