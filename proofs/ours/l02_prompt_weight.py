"""L2: with binary rewards every group estimator's mean is one number times the gradient of the success rate."""

import itertools

import sympy as sp
from _binary import OUR_ON_POLICY, bernstein, coefficients, p, shipped

from gradvar import catalogue
from gradvar import symbolic as sy

G = sp.Symbol("G", integer=True, positive=True)
k = sp.Symbol("k", integer=True, nonnegative=True)
update, difference, slope, alpha, beta = sp.symbols("u D h alpha beta", real=True)

claim = sy.Claim(
    id="L2",
    title="With binary rewards a group estimator's mean is its prompt weight times the gradient of the success rate",
    statement=sy.Statement(
        setting=(
            "One prompt, success rate p, advantages $a_k$ of a correct and $b_k$ of a wrong rollout in a group "
            "with k correct ones, otherwise arbitrary"
        ),
        forall={G: sy.whole(1), k: sy.whole(0), p: sy.between(0, 1)},
        given={
            "on policy": OUR_ON_POLICY,
            "binary": sy.Hypothesis("rewards are 0 or 1", stated_by="ours"),
        },
        quantities={
            update: sy.Quantity(r"\mathrm{E}[\hat g]", r"the mean of $\frac{1}{G} \sum_i A_i s_i$"),
            difference: sy.Quantity(
                "D", r"$\mathrm{E}[a_{j+1} - b_j]$, j the number of successes in $G - 1$ draws"
            ),
            slope: sy.Quantity(r"\nabla p", "the gradient of the success rate"),
            alpha: sy.Quantity(r"\alpha_k", r"the coefficient of $a_k$ in $\mathrm{E}[\hat g]$"),
            beta: sy.Quantity(r"\beta_k", r"the coefficient of $b_k$ in it"),
        },
        goals={
            "weight": sp.Eq(update, difference * slope),
            "correct": sp.Implies(
                sp.And(k >= 1, k <= G),
                sp.Eq(alpha, sp.binomial(G - 1, k - 1) * p ** (k - 1) * (1 - p) ** (G - k) * slope),
            ),
            "wrong": sp.Implies(
                k <= G - 1, sp.Eq(beta, -sp.binomial(G - 1, k) * p**k * (1 - p) ** (G - 1 - k) * slope)
            ),
        },
    ),
    source=sy.Source(
        "this project", "", "the tool of the claims about binary rewards, `prompt_weight`", relation="ours"
    ),
    verdict="proved",
    scope="any advantages that depend on the reward and on the number of correct rollouts alone; every G and p",
    proof=(
        r"A correct rollout's score has the mean $\nabla p / p$ and a wrong one's $-\nabla p / (1-p)$, since they "
        r"sum to zero and to $\nabla p$ with the rewards. Take one rollout: with chance $\binom{G-1}{j} p^j "
        "(1-p)^{G-1-j}$ j of the others are correct, whatever it is itself; then its advantage is $a_{j+1}$ with "
        r"chance p and $b_j$ with chance $1 - p$, and p and $1 - p$ cancel, which leaves $(a_{j+1} - b_j) \nabla "
        "p$. All rollouts have the same mean, so their average has it. Counted over the number of correct ones "
        r"instead, $\frac{k}{G} \binom{G}{k} = \binom{G-1}{k-1}$ gives the same numbers."
    ),
    finding=(
        "The weight is a polynomial in p of degree $G - 1$ with the Bernstein coefficients $a_{j+1} - b_j$. With "
        "three levels of reward there is no such number: the mean need not be along the gradient at all."
    ),
)


@claim.step(
    "Counted by correct rollouts, any G and k",
    route="sympy",
    shows=(
        r"$\frac{k}{G} \binom{G}{k} p^k (1-p)^{G-k} \frac{\nabla p}{p}$, and the wrong ones'; $a_k$ and $b_k$ of "
        "degree three"
    ),
)
def counted(own=0, wrong_scores=1):
    # the chance of k correct ones, times k/G or (G - k)/G, over the chance that the others are so
    shares = [
        sp.combsimp(part / G * sp.binomial(G, k) / others) * others
        for part, others in ((k + own, sp.binomial(G - 1, k - 1)), (G - k, sp.binomial(G - 1, k)))
    ]
    right = shares[0] * sp.powsimp(p**k / p) * (1 - p) ** (G - k) * slope
    wrong = -wrong_scores * shares[1] * p**k * sp.powsimp((1 - p) ** (G - k) / (1 - p)) * slope
    claim.goal("correct").holds({alpha: right, slope: slope})
    claim.goal("wrong").holds({beta: wrong, slope: slope})
    # advantages that are polynomials in k, from k ~ Binomial(G, p) and from j ~ Binomial(G - 1, p)
    a, b = sp.symbols("a0:4", real=True), sp.symbols("b0:4", real=True)
    advantage, other = (lambda x, c=c: sp.Add(*[c[i] * x**i for i in range(4)]) for c in (a, b))
    total = (k + own) * advantage(k) * slope / p - wrong_scores * (G - k) * other(k) * slope / (1 - p)
    mean = sy.over_binomial_symbolic(sp.expand(total / G), k, G, p)
    claim.goal("weight").holds(
        {
            update: sp.simplify(mean),
            difference: sy.over_binomial_symbolic(sp.expand(advantage(k + 1) - other(k)), k, G - 1, p),
            slope: slope,
        }
    )


def one_rollout(size, right, wrong, shift=1):
    """The mean of A_1 s_1 over the other rollouts' outcomes; ``right`` and ``wrong`` are the advantages by k."""
    total = sp.Integer(0)
    for outcomes in itertools.product((0, 1), repeat=size - 1):
        j = sum(outcomes)
        chance = p**j * (1 - p) ** (size - 1 - j)
        total += chance * (p * right[j + shift] * slope / p - (1 - p) * wrong[j] * slope / (1 - p))
    return total


@claim.step(
    "One rollout and the outcomes of the others",
    route="enumeration",
    shows="all outcomes of the other rollouts, G = 1, ..., 6, every advantage a symbol",
)
def outcomes(shift=1):
    for size in range(1, 7):
        right, wrong = (sp.symbols(f"{name}0:{size + 1}", real=True) for name in "ab")
        computed = sp.expand(one_rollout(size, right, wrong, shift))
        mean = bernstein([right[j + 1] - wrong[j] for j in range(size)])
        claim.goal("weight").holds({update: computed, difference: mean, slope: slope}, at={G: size})
        for j in range(size + 1):
            if j:
                claim.goal("correct").holds(
                    {alpha: sp.diff(computed, right[j]), slope: slope}, at={G: size, k: j}
                )
            if j < size:
                claim.goal("wrong").holds(
                    {beta: sp.diff(computed, wrong[j]), slope: slope}, at={G: size, k: j}
                )


@claim.step(
    "The library's function",
    route="sympy",
    shows="`prompt_weight` with every advantage a symbol, G = 1, ..., 8, against the mean of the differences",
)
def library(size_of_law=0):
    for size in range(1, 9):
        right, wrong = (sp.symbols(f"{name}0:{size + 1}", real=True) for name in "ab")
        computed = sy.prompt_weight(list(zip(right, wrong, strict=True)).__getitem__, size, p)
        mean = bernstein([right[j + 1] - wrong[min(j + size_of_law, size)] for j in range(size)])
        claim.goal("weight").holds({update: computed * slope, difference: mean, slope: slope}, at={G: size})


BANDIT = sy.SymbolicBandit(["1/5", "1/10", "3/10", "2/5"], [1, 1, 0, 0])  # two right and two wrong answers
OTHER = sy.SymbolicBandit(["6/7", "1/7"], [1, 0])


@claim.step(
    "All groups of a bandit",
    route="enumeration",
    shows="two right and two wrong answers, advantages in symbols, G = 1, 2, 3; each of the policy's parameters",
)
def bandits(ordered=0):
    for bandit, size in itertools.product((BANDIT, OTHER), (1, 2, 3)):
        right, wrong = (sp.symbols(f"{name}0:{size + 1}", real=True) for name in "ab")

        def weights(rewards, right=right, wrong=wrong, size=size):
            correct = int(sum(rewards))
            return [
                (right[correct] if r else wrong[correct]) * (1 + ordered * i) / size
                for i, r in enumerate(rewards)
            ]

        mean = sy.group_moments(bandit, size, weights).mean
        at = {G: size, p: bandit.value}
        law = bernstein([right[j + 1] - wrong[j] for j in range(size)], bandit.value)
        claim.goal("weight").holds({update: mean, difference: law, slope: bandit.gradient}, at=at)
        computed = sy.prompt_weight(list(zip(right, wrong, strict=True)).__getitem__, size, bandit.value)
        first = sp.Add(*[m * g for m, g in zip(mean, bandit.gradient, strict=True)])
        length = sp.Add(*[g * g for g in bandit.gradient])
        sy.equal(computed, first / length, "the library's weight is the mean's component along the gradient")


@claim.step(
    "Shipped advantages",
    route="traced code",
    shows="rloo, grpo and maxrl with their defaults at G = 2, 3: mean over all groups of two bandits",
)
def traced(size_of_advantages=0):
    for name, size in itertools.product(("rloo", "grpo", "maxrl"), (2, 3)):
        law = coefficients(shipped(name, size + size_of_advantages), size)
        for bandit in (BANDIT, OTHER):
            mean = sy.group_moments(bandit, size, sy.weights_of(catalogue.get(name))).mean
            values = {update: mean, difference: bernstein(law, bandit.value), slope: bandit.gradient}
            claim.goal("weight").holds(values, at={G: size, p: bandit.value})


@claim.counterexample(
    (
        "Three levels of reward, 0, 1 and 2, standardised groups of two: whatever factor the first parameter needs, "
        "the second needs another one."
    ),
    pi="(1/2, 1/3, 1/6)",
    r="(0, 1, 2)",
)
def three_levels(rewards=(0, 1, 2)):
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], rewards)
    mean = sy.group_moments(bandit, 2, lambda r: (sp.sign(r[0] - r[1]), 0)).mean
    factor = mean[0] / bandit.gradient[0]
    values = {update: mean, difference: factor, slope: bandit.gradient}
    claim.goal("weight").fails(values, at={G: 2, k: 1, p: sp.Rational(1, 2)}, without="binary")


claim.sabotage("one correct rollout too many", counted, own=1)
claim.sabotage("a wrong rollout's score halved", counted, wrong_scores=sp.Rational(1, 2))
claim.sabotage("its own success not counted", outcomes, shift=0)
claim.sabotage("a wrong rollout's advantage with one success more", library, size_of_law=1)
claim.sabotage("advantages that depend on the place in the group", bandits, ordered=1)
claim.sabotage("advantages of a larger group", traced, size_of_advantages=1)
claim.sabotage("two levels after all", three_levels, rewards=(0, 1, 1))
