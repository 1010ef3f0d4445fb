"""B8: which truncation of log p MaxRL's estimator follows: order N - 1 as written in its algorithm, order N without the zeroing."""

import sympy as sp
from _binary import coefficients, p, shipped

from gradvar import catalogue
from gradvar import symbolic as sy

SOURCE = sy.Source(
    "2602.02710",
    "v1",
    "Algorithm 1 and the estimator theorem (the definition of the order-N objective from the authors' page; the algorithm as the ledger has it, its zeroing also as a trainer's port describes it)",
)
N, k = sp.symbols("N k", integer=True, positive=True)


def truncation(order):
    """The weight of the order-T truncation: d/dp of -sum_{k=1..T} (1-p)^k / k."""
    return sp.expand(sp.Add(*[(1 - p) ** j for j in range(order)]))


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
    title="MaxRL's algorithm as written follows the truncation of order N",
    statement=r"$\frac{1}{N} \sum_i \frac{r_i - \bar r}{\bar r} s_i$, set to zero when no rollout is correct, is unbiased for the gradient of the order-N truncation $-\sum_{k=1}^{N} (1-p)^k/k$ of $\log p$.",
    source=SOURCE,
    verdict="refuted",
    scope="every N >= 2 (symbolic), binary rewards, on policy",
    finding=(
        r"Its weight is $\frac{1 - (1-p)^{N-1}}{p} = \sum_{k=0}^{N-2} (1-p)^k$: order $N - 1$. Setting the group without a success to zero also drops its control variate, and that costs exactly one order, $(1-p)^{N-1} \nabla p$. "
        r"At $N = 2$ it is plain $\nabla p$."
    ),
)


@written.step(
    "Any N",
    route="sympy",
    shows=r"$k a_k = -(N-k) b_k = N - k$ for $k \ge 1$, so $w = \frac{1}{p(1-p)} \sum_{k=1}^{N} \frac{N-k}{N} \binom{N}{k} p^k (1-p)^{N-k}$, $\frac{N-k}{N} \binom{N}{k} = \binom{N-1}{k}$, and the binomial theorem gives $\frac{1 - (1-p)^{N-1}}{p}$",
)
def any_size(order=1):
    m = sp.Symbol("m", integer=True, positive=True)  # N = k + m
    ratio = sp.gammasimp((sp.binomial(k + m, k) / sp.binomial(k + m - 1, k)).rewrite(sp.gamma))
    sy.equal(ratio * m, k + m, "the binomial coefficients")
    # Induction on the sum F_n = sum_{k>=1} C(n, k) p^k q^(n-k): Pascal gives F_{n+1} = F_n + p q^n.
    n = sp.Symbol("n", integer=True, positive=True)
    closed = lambda size: 1 - (1 - p) ** size  # noqa: E731
    sy.equal(closed(n + 1) - closed(n), p * (1 - p) ** n, "the induction step")
    sy.equal(closed(sp.Integer(1)), p, "one rollout")
    # The geometric sum of order T has the closed form (1 - q^T)/p; T = N - 1.
    T = sp.Symbol("T", integer=True, positive=True)
    sy.equal((1 - (1 - p) ** (T + 1)) / p - (1 - (1 - p) ** T) / p, (1 - p) ** T, "one more order")
    sy.equal(closed(N - 1) / p, (1 - (1 - p) ** (N - order)) / p, "the order")


@written.step(
    "Polynomial by polynomial, N = 2 to 12", route="enumeration", shows="the sum over k from its definition"
)
def polynomials(order=1):
    for size in range(2, 13):
        sy.require(
            sp.expand(sy.prompt_weight(centred(size), size, p) - truncation(size - order)) == 0,
            f"the weight at N = {size}",
        )
    return sy.Exhibit(
        table=(("N", "w(p) as written"), *((str(n), f"${sp.latex(truncation(n - 1))}$") for n in (2, 3, 4)))
    )


@written.step(
    "The shipped MaxRL, N = 2 to 5",
    route="traced code",
    shows=r"traced advantages give the Bernstein coefficients of $\sum_{k<N-1} (1-p)^k$",
)
def traced(order=1):
    for size in range(2, 6):
        values = coefficients(shipped("maxrl", size), size)
        n = size - 1
        computed = sp.Add(*[sp.binomial(n, j) * p**j * (1 - p) ** (n - j) * v for j, v in enumerate(values)])
        sy.require(sp.expand(computed - truncation(size - order)) == 0, f"the shipped weight at N = {size}")


@written.counterexample(
    "p = 1/2, N = 2: the expected update is 1 times grad p, the order-2 truncation has 3/2; the engine agrees.",
    p="1/2",
    N=2,
)
def pair(order=1):
    bandit = sy.SymbolicBandit(["1/2", "1/2"], [1, 0])
    exact = sy.group_moments(bandit, 2, sy.weights_of(catalogue.get("maxrl")))
    factor = truncation(2 - order + 0).subs(p, sp.Rational(1, 2))
    sy.equal(exact.mean, [factor * x for x in bandit.gradient], "the expected update")
    sy.require(truncation(2).subs(p, sp.Rational(1, 2)) == sp.Rational(3, 2), "the order-2 weight")
    sy.engines_agree(sy.engine(catalogue.get("maxrl"), bandit, 2), exact, "MaxRL")


written.sabotage("order N", any_size, order=0)
written.sabotage("order N, polynomial by polynomial", polynomials, order=0)
written.sabotage("order N in the shipped code", traced, order=0)
written.sabotage("order 2 at N = 2", pair, order=0)


averaged = sy.Claim(
    id="B8b",
    title="Averaging over the correct rollouts, the control variate kept in every group, is order N exactly",
    statement=r"$\frac{1}{K} \sum_{r_i = 1} s_i$ (zero when $K = 0$), and also $\frac{1}{K} \sum_{r_i = 1} s_i - \frac{1}{N} \sum_i s_i$ with the second term kept when $K = 0$, are unbiased for the gradient of the order-N truncation of $\log p$.",
    source=SOURCE,
    verdict="proved",
    scope="every N >= 1 (symbolic), binary rewards, on policy",
    finding=r"To keep both the lower variance and the order, a group without a success must push all its rollouts down with advantage $-1$, the term that the algorithm as written throws away.",
)


@averaged.step(
    "Any N",
    route="sympy",
    shows=r"$w = \sum_{k \ge 1} \binom{N}{k} p^{k-1} (1-p)^{N-k} = \frac{1 - (1-p)^N}{p}$; the control variate has mean zero",
)
def plain(order=0):
    n = sp.Symbol("n", integer=True, positive=True)
    weight = lambda size: (1 - (1 - p) ** size) / p  # noqa: E731
    sy.equal(weight(n + 1) - weight(n), (1 - p) ** n, "one more rollout adds one more term")
    sy.equal(weight(N), (1 - (1 - p) ** (N - order)) / p, "the order")


@averaged.step(
    "Polynomial by polynomial, N = 2 to 12",
    route="enumeration",
    shows="both forms against the truncation of order N",
)
def both_parts(zeroed=False):
    for size in range(2, 13):
        for form in (successes_only(size), centred(size, zeroed)):
            sy.require(
                sp.expand(sy.prompt_weight(form, size, p) - truncation(size)) == 0,
                f"the weight at N = {size}",
            )


averaged.sabotage("order N - 1", plain, order=1)
averaged.sabotage("the control variate dropped without a success", both_parts, zeroed=True)
