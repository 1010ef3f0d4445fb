"""A11: "unbiased regardless of the group size": one prompt, many prompts, more than two reward levels."""

import numpy as np
import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

p = sp.Symbol("p", positive=True)


def standardised(size):
    """Advantages of a correct and a wrong rollout with k of ``size`` correct: population std, no epsilon."""

    def advantages(k):
        if k in (0, size):
            return 0, 0
        share = sp.Rational(k, size)
        return sp.sqrt((1 - share) / share), -sp.sqrt(share / (1 - share))

    return advantages


def centred(size):
    return lambda k: (1 - sp.Rational(k, size), -sp.Rational(k, size))


def weight(size):
    return sy.prompt_weight(standardised(size), size, p)


first_claim = sy.Claim(
    id="A11a",
    title="One prompt, binary rewards: every group size points along grad J",
    statement=(
        r"For one prompt and binary rewards $\mathrm{E}[\hat g_G] = w_G(p)\, \nabla p$ with $w_G(p) > 0$ "
        r"for $0 < p < 1$: the same direction for every G."
    ),
    hypotheses=("one prompt", "binary rewards", "on policy, scores summed over tokens"),
    source=sy.Source("2510.00977", "v3", "Section 5, unbiasedness regardless of the group size"),
    verdict="proved",
    scope=(
        "every G, any advantages that depend on the group's rewards only and are positive for correct and "
        "negative for wrong rollouts"
    ),
    finding=(
        r"$w_2 = 1$ (population std): two rollouts give grad J itself, for every p. $w_3 = \sqrt{2}$ is "
        r"constant too; from $G = 4$ on the factor depends on p."
    ),
)


@first_claim.step(
    "The factor",
    route="sympy",
    shows=(
        r"$w_G(p) = \sum_k \binom{G}{k} p^k (1-p)^{G-k} \frac{1}{G} \left[\frac{k A_1}{p} - \frac{(G-k) "
        r"A_0}{1-p}\right]$; $w_2 = 1$, $w_3 = \sqrt{2}$"
    ),
)
def factors(second=1):
    sy.equal(weight(2), second, "the factor at G = 2")
    sy.equal(weight(3), sp.sqrt(2), "the factor at G = 3")
    return sy.Exhibit(
        table=(("G", "w_G(p)"), *((str(g), f"${sp.latex(sp.factor(weight(g)))}$") for g in (2, 3, 4)))
    )


@first_claim.step(
    "It is positive",
    route="smt",
    shows=r"every term is $\ge 0$ for $A_1 \ge 0 \ge A_0$, and one with a mixed group is $> 0$",
)
def positive(sign=1):
    k, G, q, right, wrong = sp.symbols("k G q right wrong", real=True)
    term = k * right / (G * q) - (G - k) * wrong / (G * (1 - q))
    assumptions = [G >= 2, q > 0, q < 1, right > 0, sign * wrong < 0]
    sy.require(
        sy.smt_valid([*assumptions, k >= 1, k <= G - 1], term > 0), "the term of a mixed group is positive"
    )


@first_claim.step(
    "A three-answer bandit",
    route="enumeration",
    shows=r"exact means at G = 2, 3, 4 are $w_G(p) \nabla p$, and the engine's",
)
def enumerated(shift=0):
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [1, 0, 0])
    for size in (2, 3, 4):
        moments = sy.group_moments(bandit, size, sy.weights_of(catalogue.get("grpo", eps=0.0)))
        w = weight(size).subs(p, bandit.value + shift)
        sy.equal(moments.mean, [w * g for g in bandit.gradient], f"the mean at G = {size}")


first_claim.sabotage("twice the factor", factors, second=2)
first_claim.sabotage("wrong rollouts pulled up too", positive, sign=-1)
first_claim.sabotage("another p", enumerated, shift=sp.Rational(1, 10))


across = sy.Claim(
    id="A11b",
    title="Across prompts of different difficulty two rollouts estimate the direction that sixteen do",
    statement=r"The expected GRPO gradient over prompts has the same direction for $G = 2$ and $G = 16$.",
    source=sy.Source("2510.00977", "v3", "Section 5, unbiasedness regardless of the group size"),
    verdict="refuted",
    scope="binary rewards, standardised advantages; with mean-centred or leave-one-out ones it is true",
    finding=(
        r"$G = 2$ is the unbiased one: $w_2 = 1$ on all prompts. $w_{16}(p)$ runs from $\sqrt{15}$ at $p = "
        r"0, 1$ down to about $1.93$ at $p = 1/2$: sixteen rollouts lean on the hardest and easiest "
        r"prompts. Without the standard deviation, $w_G = (G - 1)/G$ for all p and the claim holds."
    ),
)


@across.step(
    "w for G = 16",
    route="sympy",
    shows=r"$w_{16}(0) = \sqrt{15}$ and $w_{16}$ is not constant in p, while $w_2 = 1$ is",
)
def sixteen(size=16):
    w = weight(size)
    sy.equal(w.subs(p, 0), sp.sqrt(size - 1), "the weight of hopeless prompts")
    sy.require(sp.Poly(sp.simplify(w - w.subs(p, 0)), p).degree() > 0, "the weight depends on p")
    half = w.subs(p, sp.Rational(1, 2))
    sy.require(sp.N(half) < 3 < sp.N(w.subs(p, 0)), "less at p = 1/2")
    return sy.Exhibit(
        text=f"w at 1/2 is about {sp.N(half, 8)}, at 1/10 about {sp.N(w.subs(p, sp.Rational(1, 10)), 8)}"
    )


@across.step(
    "Mean-centred advantages keep the direction",
    route="traced code",
    shows=r"the shipped Dr. GRPO at G = 2, 3, 4 has $w_G = (G-1)/G$, no p in it",
)
def mean_centred(name="dr_grpo"):
    for size in (2, 3, 4):
        weights = sy.weights_of(catalogue.get(name))

        def advantages(k, size=size, weights=weights):
            traced = weights(tuple([sp.Integer(1)] * k + [sp.Integer(0)] * (size - k)))
            return (size * traced[0] if k else 0), (size * traced[-1] if k < size else 0)

        sy.equal(sy.prompt_weight(advantages, size, p), sp.Rational(size - 1, size), f"w at G = {size}")


@across.counterexample(
    "Two prompts with p = 1/2 and 1/10: expected directions (per prompt) at G = 2 and G = 4 are not "
    "parallel; the engine agrees with the rationals.",
    p="(1/2, 1/10)",
    G="(2, 4)",
)
def two_prompts(other="1/10", sizes=(2, 4)):
    grpo = catalogue.get("grpo", eps=0.0)
    bandits = [sy.SymbolicBandit([q, 1 - sp.Rational(q)], [1, 0]) for q in ("1/2", other)]
    means = [[sy.group_moments(b, size, sy.weights_of(grpo)).mean[0] for b in bandits] for size in sizes]
    cross = sp.simplify(means[0][0] * means[1][1] - means[0][1] * means[1][0])
    sy.require(cross != 0, "the two directions are parallel")
    for size, exact in zip(sizes, means, strict=True):
        seen = np.asarray(sy.engine(grpo, bandits, size).mean).reshape(2, 2)[
            :, 0
        ]  # the mean over two prompts
        gap = max(abs(float(m) / 2 - x) for m, x in zip(exact, seen, strict=True))
        sy.require(gap < 1e-11, f"the engine's mean at G = {size} differs by {gap}")
    return sy.Exhibit(
        text=(
            f"weights at G = {sizes[1]}: {sp.N(means[1][0] / means[0][0], 6)} and"
            f" {sp.N(means[1][1] / means[0][1], 6)} times those at G = {sizes[0]}"
        )
    )


across.sabotage("G = 3, whose weight does not depend on p", sixteen, size=3)
across.sabotage("standardised advantages in place of centred ones", mean_centred, name="grpo")
across.sabotage("two prompts of one difficulty", two_prompts, other="1/2")
across.sabotage("G = 2 against G = 3, which are parallel", two_prompts, sizes=(2, 3))


levels = sy.Claim(
    id="A11c",
    title="For one prompt and any real rewards every group size points along grad J",
    statement=(
        r"For one prompt and any real rewards, the expected standardised gradient has the direction of "
        r"$\nabla J$ for every G."
    ),
    source=sy.Source("2510.00977", "v3", "Section 5, with the extension to real rewards"),
    verdict="refuted",
    scope="standardised advantages, three or more reward levels",
    finding=(
        "The pair keeps only the order of the rewards, so G = 2 climbs the chance to beat another rollout, "
        "not the mean reward (see A16)."
    ),
)


@levels.step(
    "Two group sizes, three answers",
    route="enumeration",
    shows=r"rewards $(0, 1, 10)$: E at G = 2 is not parallel to grad J, nor to E at G = 3",
)
def three_levels(rewards=(0, 1, 10)):
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], list(rewards))
    pairs, three = (
        sp.Matrix(sy.group_moments(bandit, g, sy.weights_of(catalogue.get("grpo", eps=0.0))).mean)
        for g in (2, 3)
    )
    gradient = sp.Matrix(bandit.gradient)
    sy.require(parallel_defect(pairs, gradient) != 0, "G = 2 along grad J")
    sy.require(sp.N(parallel_defect(pairs, three)) > 1e-9, "G = 2 along G = 3")


def parallel_defect(a, b):
    """|a|^2 |b|^2 - (a.b)^2: zero iff parallel."""
    return sp.simplify(a.dot(a) * b.dot(b) - a.dot(b) ** 2)


@levels.step(
    "The pair's weights carry only the order",
    route="traced code",
    shows="rewards (0, 1) and (0, 10) give the same shipped weights at G = 2",
)
def order_only(eps=0.0):
    weights = sy.weights_of(catalogue.get("grpo", eps=eps))
    sy.equal(
        weights((sp.Integer(0), sp.Integer(1))),
        weights((sp.Integer(0), sp.Integer(10))),
        "the weights of a pair",
    )


@levels.counterexample(
    "pi = (1/2, 1/3, 1/6), rewards (0, 1, 10): the engine's mean at G = 2 has a cosine below one with grad "
    "J.",
    pi="(1/2, 1/3, 1/6)",
    rewards="(0, 1, 10)",
)
def engine_cosine(rewards=(0, 1, 10)):
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], list(rewards))
    exact = sy.group_moments(bandit, 2, sy.weights_of(catalogue.get("grpo", eps=0.0)))
    sy.engines_agree(sy.engine(catalogue.get("grpo", eps=0.0), bandit, 2), exact, "GRPO at G = 2")
    sy.require(parallel_defect(sp.Matrix(exact.mean), sp.Matrix(bandit.gradient)) > 0, "cosine below one")


levels.sabotage("two reward levels", three_levels, rewards=(0, 1, 1))
levels.sabotage("an epsilon, which lets the size in", order_only, eps=0.1)
levels.sabotage("two reward levels in the engine", engine_cosine, rewards=(0, 1, 1))
