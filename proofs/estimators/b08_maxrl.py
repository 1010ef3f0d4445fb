"""B8: which truncation of log p MaxRL follows: order N - 1 as its algorithm is written, order N without the zeroing."""

import sympy as sp
from _binary import ON_POLICY, OUR_ON_POLICY, bernstein, coefficients, p, shipped

from gradvar import catalogue
from gradvar import symbolic as sy

N, k = sp.symbols("N k", integer=True, positive=True)
weight, truncated, part, chance, plain, kept = sp.symbols("w tau t P w_1 w_2", real=True)
SETTING = "One prompt of success rate p, binary rewards, N rollouts, K of them correct"


def truncation(order):
    """The weight of the order-T truncation: d/dp of -sum_{k=1..T} (1-p)^k / k."""
    return sp.expand(sp.Add(*[(1 - p) ** j for j in range(order)]))


def derivative_of_truncation(order):
    """The same from the definition of the truncation, by differentiating."""
    return sp.diff(-sp.Add(*[(1 - p) ** j / j for j in range(1, order + 1)]), p)


def centred(size, zeroed=True):
    """(r - mean)/mean; with no correct rollout zero, or -1 when the group is not zeroed."""

    def advantages(count):
        if count == 0:
            return 0, (0 if zeroed else -1)
        return sp.Rational(size - count, count), -1

    return advantages


def successes_only(size):
    """r/mean: the average score of the correct rollouts; zero when there is none."""
    return lambda count: (sp.Rational(size, count) if count else 0, 0)


written = sy.Claim(
    id="B8a",
    title="With the groups without a success zeroed, MaxRL's weight is the truncation of order N - 1",
    statement=sy.Statement(
        setting=f"{SETTING}; the group is set to zero when K = 0",
        forall={N: sy.whole(2), k: sy.whole(1), p: sy.between(0, 1)},
        given={
            "on policy": OUR_ON_POLICY,
            "mixed": sy.Hypothesis("in the first formula $k < N$ (K = N adds nothing)", k <= N - 1, "ours"),
        },
        quantities={
            part: sy.Quantity("t_k", "what the groups with k correct rollouts add to $w_N$"),
            chance: sy.Quantity("P_k", "the chance of k correct rollouts"),
            weight: sy.Quantity(
                "w_N(p)",
                r"the factor of $\nabla p$ in the mean of $\frac{1}{N} \sum_i \frac{r_i - \bar r}{\bar r} s_i$",
            ),
            truncated: sy.Quantity(
                r"\tau_{N-1}(p)", r"the derivative of the truncated logarithm $-\sum_{j=1}^{N-1} (1-p)^j/j$"
            ),
        },
        goals={
            "term": sp.Eq(part * p * (1 - p), chance * (N - k) / N),
            "order N - 1": sp.Eq(weight, truncated),
        },
    ),
    source=sy.Source(
        "2602.02710",
        "v1",
        "Algorithm 1",
        relation="ours",
        says=(
            "the algorithm drops both terms when no rollout is correct, which is said openly to be "
            "simpler and better in practice"
        ),
        caveat=(
            "its theorem, of order N, is about the estimator that is not zeroed (B8b), and no "
            "unbiasedness is claimed for the algorithm; a public "
            "reading of the paper (ayushnangia/maxrl-theory) found order N - 1 independently, by simulation"
        ),
    ),
    verdict="proved",
    scope="every N from 2 on, binary rewards, on policy",
    proof=(
        r"Given k correct rollouts, the correct ones have the advantage $(N-k)/k$ and the wrong ones "
        r"$-1$; with the mean scores $\nabla p/p$ and $-\nabla p/(1-p)$ the group "
        r"adds $\frac{N-k}{N} \frac{1}{p(1-p)}$. Since $\frac{N-k}{N} \binom{N}{k} = \binom{N-1}{k}$, "
        r"the sum over $k \ge 1$ is the chance that at least one of $N - 1$ rollouts is "
        r"correct, over p. One more rollout adds to this chance $(1-p)^{N-1} p$, the first success at "
        r"the end; one more order adds $(1-p)^{N-1}$ to the "
        r"truncation; at $N = 2$ both are 1. So they agree for all N, and the shipped code has the same polynomial."
    ),
    finding=(
        r"Setting the group without a success to zero also drops its control variate, and that costs "
        r"exactly one order, $(1-p)^{N-1} \nabla p$. At $N = 2$ the "
        r"expected update is plain $\nabla p$."
    ),
)


@written.step(
    "The terms, any N", route="sympy", shows="from the advantages given k, with the conditional mean scores"
)
def terms(wrong=-1):
    right = (N - k) / k
    value = chance * (k * right / p - (N - k) * wrong / (1 - p)) / N
    written.goal("term").holds({part: value, chance: chance})
    # (N - k)/N C(N, k) = C(N - 1, k): the terms sum to the chance of a success among N - 1, over p.
    sy.equal((N - k) * sp.binomial(N, k), N * sp.binomial(N - 1, k), "the binomial coefficients")


@written.step(
    "By induction on N",
    route="sympy",
    shows=r"a success among N - 1 rollouts, over p, against one more order of the truncation",
)
def induction(order=0):
    missed = (1 - p) ** (N - 1)  # no success among the first N - 1
    written.goal("order N - 1").induction(
        N,
        start=2,
        base={weight: p / p, truncated: derivative_of_truncation(1 + order)},
        step={weight: weight + missed * p / p, truncated: truncated + missed * (1 - p) ** order},
    )


@written.step(
    "Polynomial by polynomial, N = 2 to 8", route="enumeration", shows="the sum over k from its definition"
)
def polynomials(zeroed=True):
    for size in range(2, 9):
        values = {
            weight: sy.prompt_weight(centred(size, zeroed), size, p),
            truncated: derivative_of_truncation(size - 1),
        }
        written.goal("order N - 1").holds(values, at={N: size})
    shown = ((str(n), f"${sp.latex(truncation(n - 1))}$") for n in (2, 3, 4))
    return sy.Exhibit(table=(("N", "w(p) as written"), *shown))


@written.step(
    "The shipped MaxRL as it ships, N = 2 to 6",
    route="traced code",
    shows="every k, and the weight as a polynomial; the mean over all groups of a bandit with three answers",
)
def traced(name="maxrl"):
    for size in range(2, 7):
        advantages = shipped(name, size)
        for count in range(1, size):
            right, wrong = advantages(count)
            value = chance * (count * right / p - (size - count) * wrong / (1 - p)) / size
            written.goal("term").holds({part: value, chance: chance}, at={N: size, k: count})
        values = {
            weight: bernstein(coefficients(advantages, size)),
            truncated: derivative_of_truncation(size - 1),
        }
        written.goal("order N - 1").holds(values, at={N: size})
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, 1])
    mean = sy.group_moments(bandit, 3, sy.weights_of(catalogue.get(name))).mean
    factor = truncation(2).subs(p, bandit.value)
    sy.equal(mean, [factor * x for x in bandit.gradient], "the mean over all groups")


@written.step("The engine, N = 2", route="exact engine", shows="p = 1/2: the factor 1, where order 2 has 3/2")
def pair(order=1):
    bandit = sy.SymbolicBandit(["1/2", "1/2"], [1, 0])
    seen = sy.engine(catalogue.get("maxrl"), bandit, 2).bias_factor
    values = {weight: seen, truncated: derivative_of_truncation(order).subs(p, bandit.value)}
    written.goal("order N - 1").holds(values, at={N: 2, p: sp.Rational(1, 2)}, tolerance=1e-11)


written.sabotage("wrong rollouts with advantage zero", terms, wrong=0)
written.sabotage("order N", induction, order=1)
written.sabotage("the group without a success kept", polynomials, zeroed=False)
written.sabotage("the mean-centred estimator", traced, name="dr_grpo")
written.sabotage("order 2 at N = 2", pair, order=2)


n = sp.Symbol("n", integer=True, positive=True)

averaged = sy.Claim(
    id="B8b",
    title="Averaging over the correct rollouts, with the control variate kept in every group, is order N exactly",
    statement=sy.Statement(
        setting=SETTING,
        forall={n: sy.whole(1), p: sy.between(0, 1)},
        given={"on policy": ON_POLICY},
        quantities={
            plain: sy.Quantity(
                "w_1(p)",
                r"the factor of $\nabla p$ in the mean of $\frac{1}{K} \sum_{r_i = 1} s_i$, zero when K = 0, N = n",
            ),
            kept: sy.Quantity(
                "w_2(p)", r"that of the same less $\frac{1}{N} \sum_i s_i$, which is kept when K = 0"
            ),
            truncated: sy.Quantity(
                r"\tau_n(p)", r"the derivative of the truncated logarithm $-\sum_{j=1}^{n} (1-p)^j/j$"
            ),
        },
        goals={"successes": sp.Eq(plain, truncated), "control variate": sp.Eq(kept, plain)},
    ),
    source=sy.Source(
        "2602.02710",
        "v1",
        "the estimator theorem",
        says="the average score of the correct rollouts is unbiased for the gradient of the order-N "
        "truncation of log p",
    ),
    verdict="proved",
    scope="every N from 1 on, binary rewards, on policy",
    proof=(
        r"Given k correct rollouts the average of their scores has the mean $\nabla p / p$, so the "
        r"weight is the chance of at least one success among N, over p. One more rollout adds "
        r"$(1-p)^N$, as one more order adds to the truncation; at $N = 1$ both are 1. The control "
        r"variate has mean zero, since the correct rollouts' "
        r"mean score times k and the wrong ones' times $N - k$ average to zero over the binomial "
        r"count. The polynomials from the definition agree."
    ),
    finding=(
        r"To keep both the lower variance and the order, a group without a success must push all its "
        r"rollouts down with advantage $-1$, the term that the algorithm as "
        "written throws away."
    ),
)


@averaged.step(
    "By induction, and over the binomial count",
    route="sympy",
    shows=r"one more rollout adds $(1-p)^N$; $\mathrm{E}[\frac{k}{N p} - \frac{N-k}{N(1-p)}] = 0$",
)
def any_size(order=0):
    missed = (1 - p) ** n
    averaged.goal("successes").induction(
        n,
        start=1,
        base={plain: p / p, truncated: derivative_of_truncation(1)},
        step={plain: plain + missed * p / p, truncated: truncated + missed * (1 - p) ** order},
    )
    count = sp.Symbol("k", positive=True)
    score = count / (n * p) - (n - count) / (n * (1 - p)) * (1 - order)
    value = plain - sy.over_binomial_symbolic(score, count, n, p)
    averaged.goal("control variate").holds({kept: value, plain: plain})


@averaged.step(
    "Polynomial by polynomial, N = 1 to 8",
    route="enumeration",
    shows="both forms, the sum over k from its definition",
)
def both_parts(zeroed=False):
    for size in range(1, 9):
        first = sy.prompt_weight(successes_only(size), size, p)
        averaged.goal("successes").holds(
            {plain: first, truncated: derivative_of_truncation(size)}, at={n: size}
        )
        second = sy.prompt_weight(centred(size, zeroed), size, p)
        averaged.goal("control variate").holds({kept: second, plain: first}, at={n: size})


averaged.sabotage("order N + 1", any_size, order=1)
averaged.sabotage("the control variate dropped without a success", both_parts, zeroed=True)
