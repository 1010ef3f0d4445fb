"""B13: is the group-relative advantage biased on hard and easy prompts? It depends on what is conditioned on."""

import sympy as sp
from _binary import p

from gradvar import catalogue
from gradvar import symbolic as sy

SOURCE = sy.Source(
    "2601.08521",
    "v1",
    "Theorem 1 (definitions and statement from a published summary; the proof was not at hand)",
)
G = sp.Symbol("G", positive=True)


def mixed(size, value):
    """E[value(k) | 1 <= k <= size - 1] for k correct rollouts of ``size``."""
    chance = 1 - p**size - (1 - p) ** size
    return sy.over_binomial(lambda k: value(k) if 0 < k < size else 0, size, p) / chance


group = sy.Claim(
    id="B13a",
    title="Given that the group is mixed, its mean overstates a hard prompt and understates an easy one",
    statement=(
        r"Given $1 \le k \le G - 1$, $\mathrm{E}[\hat p] - p = \frac{p(1-p)\left[(1-p)^{G-1} - p^{G-1}\right]}{1 - p^G - (1-p)^G}$: positive for $p < 1/2$, negative for $p > 1/2$. So with $A = r - p$ and $\hat A = r - \hat p$ for one and the same r, "
        r"$\mathrm{E}[\hat A - A]$ is negative on hard prompts, positive on easy ones, zero at 1/2."
    ),
    source=SOURCE,
    verdict="proved",
    scope="every G >= 2 and p (symbolic), binary rewards",
    hypotheses=(
        "the mean is over mixed groups with nothing else known, not over mixed groups in which this rollout had this reward",
    ),
    finding=r"The bias falls like $p^{G}$-terms: at $G = 2$ it is $p - 1/2$, at $G = 16$ and $p = 1/4$ it is below 0.003. Without the conditioning $\mathrm{E}\hat p = p$, no bias.",
)


@group.step(
    "Any G",
    route="sympy",
    shows=r"$\mathrm{E}[\hat p; \mathrm{mixed}] = p - p^G$, over $1 - p^G - (1-p)^G$; the difference to p factors",
)
def any_group(lost=1):
    n = sp.Symbol("n", positive=True)  # G = n + 1
    q = sp.Symbol("q", positive=True)  # 1 - p
    x, y = p * p**n, q * q**n  # p^G, q^G
    difference = (p - lost * x) - p * (1 - x - y)
    sy.equal(
        difference.subs(q, 1 - p), (p * (1 - p) * ((1 - p) ** n - p**n)), "the numerator of the difference"
    )


@group.step(
    "Its sign",
    route="smt",
    shows=r"$0 < a < b$ gives $a^n < b^n$ (multiplying up, one factor at a time), so the sign is that of $1 - 2p$",
)
def sign(start=1):
    a, b, x, y = sp.symbols("a b x y", positive=True)
    sy.require(sy.smt_valid([a < b, start * x < y], a * x < b * y), "one more factor keeps the order")


@group.step("Polynomials, G = 2 to 12", route="enumeration", shows="the conditional mean from its definition")
def polynomials(shift=0):
    for size in range(2, 13):
        computed = mixed(size, lambda k, size=size: sp.Rational(k, size)) - p
        claimed = (
            p
            * (1 - p)
            * ((1 - p) ** (size - 1 + shift) - p ** (size - 1 + shift))
            / (1 - p**size - (1 - p) ** size)
        )
        sy.equal(sp.cancel(computed - claimed), 0, f"the bias at G = {size}")


group.sabotage("all-correct groups kept", any_group, lost=0)
group.sabotage("an order that the factor does not keep", sign, start=sp.S.Half)
group.sabotage("the power G", polynomials, shift=1)


self_claim = sy.Claim(
    id="B13b",
    title="Given the rollout's own reward as well, the turning point is still p = 1/2",
    statement=r"Given a mixed group, the mean advantage of a correct rollout is below $1 - p$ iff $p < 1/2$, and that of a wrong one below $-p$ iff $p < 1/2$.",
    source=SOURCE,
    verdict="refuted",
    scope="the reading in which a rollout of known reward is followed; binary rewards, G >= 3 (at G = 2 the reading is right)",
    finding=(
        r"At $G = 3$ a correct rollout is understated up to $p = 1/\sqrt{3}$, a wrong one is below $-p$ only up to $p = 1 - 1/\sqrt{3}$: between 0.42 and 0.58 both are shrunk towards zero, which is the finite-group factor $(G-1)/G$ and no matter of difficulty. "
        r"And none of it biases the gradient: over all groups $\mathrm{E}\hat g = \frac{G-1}{G} \nabla p$ for every p."
    ),
)


def followed(size, reward):
    """E[r - phat | r_1 = reward, mixed]."""
    others = lambda j: sp.Rational(j + reward, size)  # noqa: E731
    allowed = lambda j: 0 < j + reward < size  # noqa: E731
    chance = sy.over_binomial(lambda j: 1 if allowed(j) else 0, size - 1, p)
    return reward - sy.over_binomial(lambda j: others(j) if allowed(j) else 0, size - 1, p) / chance


@self_claim.step(
    "G = 3, closed form",
    route="sympy",
    shows=r"a correct rollout's mean advantage is $\frac{2}{3(1+p)}$; less $1 - p$ it is $\frac{3p^2 - 1}{3(1+p)}$. Mirrored for a wrong one",
)
def triples(size=3):
    right, wrong = followed(size, 1), followed(size, 0)
    sy.equal(sp.cancel(right - (1 - p)), (3 * p**2 - 1) / (3 * (1 + p)), "a correct rollout")
    sy.equal(sp.cancel(wrong + p), -(3 * (1 - p) ** 2 - 1) / (3 * (2 - p)), "a wrong rollout")


@self_claim.step(
    "The turning point moves",
    route="enumeration",
    shows=r"exact signs at p = 11/20: understated for a correct rollout at G = 3 to 8, on an easy prompt",
)
def easy(chance="11/20"):
    for size in range(3, 9):
        gap = (followed(size, 1) - (1 - p)).subs(p, sp.Rational(chance))
        sy.require(gap < 0, f"G = {size}: the gap is {gap}")


@self_claim.step(
    "The gradient has no such bias",
    route="exact engine",
    shows=r"mean-centred advantages at p = 1/10 and 11/20, G = 3: the bias factor is 2/3 on both",
)
def unbiased(name="dr_grpo"):
    estimator = catalogue.get(name, **({"eps": 0.1} if name == "grpo" else {}))
    for chance in ("1/10", "11/20"):
        bandit = sy.SymbolicBandit([chance, 1 - sp.Rational(chance)], [1, 0])
        factor = sy.engine(estimator, bandit, 3).bias_factor
        sy.require(abs(factor - 2 / 3) < 1e-12, f"p = {chance}: {factor}")


@self_claim.counterexample(
    "p = 11/20 (an easy prompt), G = 3: a correct rollout of a mixed group has the mean advantage 40/93, less than 1 - p = 9/20; from all groups of an exact policy.",
    p="11/20",
    G=3,
)
def eleven(chance="11/20", size=3):
    import itertools

    chance = sp.Rational(chance)
    bandit = sy.SymbolicBandit([chance, 1 - chance], [1, 0])
    weights = sy.weights_of(catalogue.get("dr_grpo"))
    total = mass = sp.Integer(0)
    for rewards in itertools.product((1, 0), repeat=size):
        if rewards[0] == 1 and 0 in rewards:
            weight = sp.Mul(*[chance if r else 1 - chance for r in rewards])
            mass += weight
            total += weight * size * weights(tuple(sp.Integer(r) for r in rewards))[0]
    computed = total / mass
    sy.require(computed < 1 - chance, f"the mean advantage is {computed}, the true one {1 - chance}")
    sy.equal(computed, sp.Rational(40, 93), "the mean advantage")
    exact = sy.group_moments(bandit, size, weights)
    seen = sy.engine(catalogue.get("dr_grpo"), bandit, size).mean.reshape(-1)[0]
    sy.require(abs(seen - float(exact.mean[0])) < 1e-12, "the engine's mean on this policy")
    return sy.Exhibit(text=f"mean advantage {computed}, true advantage {1 - chance}")


self_claim.sabotage("pairs, where the reading is right", triples, size=2)
self_claim.sabotage("p = 7/10, where it is overstated", easy, chance="7/10")
self_claim.sabotage("another scale", unbiased, name="grpo")
self_claim.sabotage("p = 7/10 on the policy", eleven, chance="7/10")
