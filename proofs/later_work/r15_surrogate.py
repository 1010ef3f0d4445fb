"""R15: shaped advantages for binary rewards follow the gradient of a surrogate of the number of correct rollouts."""

import sympy as sp
from _binary import ON_POLICY, bernstein, coefficients, p, shipped

from gradvar import symbolic as sy

SIZES = (2, 3, 4, 5, 6)
G = sp.Symbol("G", integer=True, positive=True)
weight, slope = sp.symbols("w d", real=True)

claim = sy.Claim(
    id="R15",
    title="With binary rewards, shaped advantages ascend a surrogate reward of the number of correct rollouts",
    statement=sy.Statement(
        setting=(
            "One prompt of success rate p, advantages $a_k$ of a correct and $b_k$ of a wrong rollout in a group with k correct "
            r"ones, otherwise arbitrary; $f(0) = 0$ and $f(j+1) = f(j) + (a_{j+1} - b_j)/G$"
        ),
        forall={G: sy.one_of(*SIZES), p: sy.between(0, 1)},
        given={"on policy": ON_POLICY},
        quantities={
            weight: sy.Quantity("w", r"the factor of $\nabla p$ in the mean of $\frac{1}{G} \sum_i A_i s_i$"),
            slope: sy.Quantity(
                "F'(p)", r"the derivative of $F(p) = \mathrm{E}[f(k)]$, k the number of successes in G draws"
            ),
        },
        goals={"surrogate": sp.Eq(weight, slope)},
    ),
    source=sy.Source(
        "2510.23049",
        "v3",
        "abstract",
        relation="implies",
        says=(
            "existing ways of shaping advantages implicitly optimise surrogate rewards, and a surrogate gives a way of shaping; "
            "2605.30154's abstract: a family of finite-rollout surrogates with exactly unbiased estimators"
        ),
        caveat="binary rewards of a verifier are its setting; this form of the surrogate at a finite group size is ours",
    ),
    verdict="proved",
    scope="advantages that depend on the reward and the number of correct rollouts alone; the catalogue's at G = 2, 3, 4",
    proof=(
        r"By L2 the factor is $\mathrm{E}[a_{j+1} - b_j]$ over $G - 1$ draws. The derivative of the mean of f over G draws is "
        r"$G\, \mathrm{E}[f(j+1) - f(j)]$ over $G - 1$ draws. The steps of f are chosen so that the two agree. With symbols for all "
        "advantages both are written out as polynomials in p; the advantages of shipped estimators are read from their code."
    ),
    finding=(
        "A pair of the shipped kind, $a_1 = 1/2$ and $b_1 = -1/2$ up to a scale, has $f = (0, 1/4, 1/2)$: a line, the success rate. "
        "GRPO at G = 4 has a concave f. For one prompt and binary rewards there is always such an f; for three levels of reward there is "
        "none (A16)."
    ),
)


def surrogate(advantages, size, step=1):
    """F, the mean of f over the counts of G draws."""
    values = [sp.Integer(0)]
    for j in range(size):
        values.append(values[-1] + (advantages(j + 1)[0] - advantages(j)[1]) * step / size)
    return sp.Add(*[sp.binomial(size, k) * p**k * (1 - p) ** (size - k) * f for k, f in enumerate(values)])


@claim.step("Any advantages", route="sympy", shows="symbols for all $a_k$ and $b_k$, polynomials in p")
def any_advantages(step=1):
    for size in SIZES:
        a, b = sp.symbols(f"a0:{size + 1}", real=True), sp.symbols(f"b0:{size + 1}", real=True)
        table = lambda k, a=a, b=b: (a[k], b[k])  # noqa: E731
        values = {
            weight: sy.prompt_weight(table, size, p),
            slope: sp.diff(surrogate(table, size, step), p),
        }
        claim.goal("surrogate").holds(values, at={G: size})


NAMES = ("grpo", "dr_grpo", "rloo", "maxrl", "softmax")


@claim.step(
    "Shipped advantages",
    route="traced code",
    shows="the factor as a mean over $G - 1$ draws, for five estimators with their default settings",
)
def shipped_advantages(step=1):
    for name in NAMES:
        for size in (2, 3, 4):
            table = shipped(name, size)
            values = {
                weight: bernstein(coefficients(table, size)),
                slope: sp.diff(surrogate(table, size, step), p),
            }
            claim.goal("surrogate").holds(values, at={G: size})


claim.sabotage("steps of f that are not divided by G", any_advantages, step=2)
claim.sabotage("the same for shipped code", shipped_advantages, step=2)
