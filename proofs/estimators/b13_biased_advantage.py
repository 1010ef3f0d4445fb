"""B13: is the group-relative advantage biased on hard and easy prompts? It depends on what is conditioned on."""

import itertools

import sympy as sp
from _binary import OUR_ON_POLICY, p

from gradvar import catalogue
from gradvar import symbolic as sy

G = sp.Symbol("G", integer=True, positive=True)
bias = sp.Symbol("B", real=True)
all_right, all_wrong = sp.symbols("X Y", positive=True)
PAPER = "2601.08521"

group = sy.Claim(
    id="B13a",
    title="Given that the group is mixed, its mean overstates a hard prompt and understates an easy one",
    statement=sy.Statement(
        setting="One prompt of success rate p, binary rewards, G independent rollouts, of which k are correct",
        forall={G: sy.whole(2), p: sy.between(0, 1)},
        quantities={
            bias: sy.Quantity("B", r"$\mathrm{E}[k/G \mid 1 \le k \le G - 1] - p$"),
            all_right: sy.Quantity("X", r"the chance that G - 1 rollouts are all correct"),
            all_wrong: sy.Quantity("Y", r"the chance that G - 1 rollouts are all wrong"),
        },
        goals={
            "bias": sp.Eq(
                bias, p * (1 - p) * (all_wrong - all_right) / (1 - p * all_right - (1 - p) * all_wrong)
            ),
            "sign": sp.And(
                sp.Implies(p < sp.S.Half, bias > 0),
                sp.Implies(sp.Eq(p, sp.S.Half), sp.Eq(bias, 0)),
                sp.Implies(p > sp.S.Half, bias < 0),
            ),
        },
        lemmas={
            "order": sy.Lemma(
                sp.And(
                    sp.Implies(p < sp.S.Half, all_right < all_wrong),
                    sp.Implies(sp.Eq(p, sp.S.Half), sp.Eq(all_right, all_wrong)),
                    sp.Implies(p > sp.S.Half, all_right > all_wrong),
                    all_right > 0,
                    all_right < 1,
                    all_wrong > 0,
                    all_wrong < 1,
                )
            )
        },
    ),
    source=sy.Source(
        PAPER,
        "v1",
        "Theorem 1",
        relation="reading",
        says="given a mixed group, the advantage is underestimated on hard prompts and overestimated on easy ones",
        caveat=(
            "as printed the theorem compares the mean of the estimated advantage given a mixed "
            "group, which is zero by symmetry, with r - p; here one and "
            "the same reward is in both"
        ),
    ),
    verdict="proved",
    scope=r"the mean is over mixed groups with nothing else known; with $A = r - p$ and $\hat A = r - k/G$, "
    r"$\hat A - A$ is minus B on average",
    proof=(
        r"Of $\mathrm{E}[k/G] = p$ the mixed groups have $p - p^G$, and their chance is $1 - p^G - "
        r"(1-p)^G$. The quotient less p factors into the closed form. Its sign is that of "
        r"$(1-p)^{G-1} - p^{G-1}$, "
        r"and multiplying by one more factor keeps the order of the two powers, from $G = 2$ on. So "
        r"the bias is positive for $p < 1/2$, negative for $p > 1/2$, and the "
        "conditional means listed from the definition agree."
    ),
    finding=(
        r"The bias falls like $p^{G}$-terms: at $G = 2$ it is $1/2 - p$, at $G = 16$ and $p = 1/4$ it "
        r"is below 0.003. Without the conditioning $\mathrm{E}[k/G] = p$, no bias."
    ),
)


@group.step(
    "Any G",
    route="sympy",
    shows=r"$\mathrm{E}[k/G; \mathrm{mixed}] = p - p^G$, over the chance of a mixed group",
)
def any_group(lost=1):
    x, y = sp.symbols("X Y", positive=True)
    value = (p - lost * p * x) / (1 - p * x - (1 - p) * y) - p  # p^G = p X
    group.goal("bias").holds({bias: value, all_right: x, all_wrong: y})


@group.step("The order of the powers", route="smt", shows="by induction: one more factor keeps it")
def order(start=1):
    group.goal("order").induction(
        G,
        start=2,
        base={all_right: p, all_wrong: start * (1 - p)},
        step={all_right: all_right * p, all_wrong: all_wrong * (1 - p)},
        where=[p < 1],
    )


@group.step("Its sign", route="smt", shows=r"of $\frac{p(1-p)(Y - X)}{1 - pX - (1-p)Y}$")
def sign(power=1):
    x, y = sp.symbols("X Y", positive=True)
    value = p * (1 - p) * (y - x) ** power / (1 - p * x - (1 - p) * y)
    # pX + (1-p)Y is a mean of X and Y, which are below 1.
    group.goal("sign").holds(
        {bias: value},
        where=[x < 1, y < 1, p * x + (1 - p) * y < 1],
        using={"order": {all_right: x, all_wrong: y}},
    )


def powers(size):
    """The chances that the other rollouts are all correct, and all wrong."""
    return {all_right: p ** (size - 1), all_wrong: (1 - p) ** (size - 1)}


def mixed(size, value, chance=p):
    """E[value(k) | 1 <= k <= size - 1] for k correct rollouts of ``size``."""
    share = 1 - chance**size - (1 - chance) ** size
    return sy.over_binomial(lambda k: value(k) if 0 < k < size else 0, size, chance) / share


@group.step(
    "The conditional mean from its definition",
    route="enumeration",
    shows="G = 2 to 8, any p; the sign for p in tenths",
)
def polynomials(shift=0):
    for size in range(2, 9):

        def share(k, size=size):
            return sp.Rational(k, size + shift)

        values = {bias: mixed(size, share) - p, **powers(size)}
        group.goal("bias").holds(values, at={G: size})
        for x in (sp.Rational(j, 10) for j in range(1, 10)):
            group.goal("sign").holds({bias: mixed(size, share, x) - x}, at={G: size, p: x})


@group.step(
    "The shipped advantages",
    route="traced code",
    shows="k/G = r less the traced mean-centred advantage; all groups, G = 2 to 4",
)
def traced(name="dr_grpo"):
    weights = sy.weights_of(catalogue.get(name))
    for size in (2, 3, 4):
        total = mass = sp.Integer(0)
        for rewards in itertools.product((1, 0), repeat=size):
            if 0 < sum(rewards) < size:
                chance = p ** sum(rewards) * (1 - p) ** (size - sum(rewards))
                mean = rewards[0] - size * weights(tuple(map(sp.Integer, rewards)))[0]
                mass, total = mass + chance, total + chance * mean
        group.goal("bias").holds({bias: total / mass - p, **powers(size)}, at={G: size})


group.sabotage("all-correct groups kept", any_group, lost=0)
group.sabotage("an order that is not there at first", order, start=2)
group.sabotage("a difference without a sign", sign, power=2)
group.sabotage("a share out of G + 1", polynomials, shift=1)
group.sabotage("rewards not centred", traced, name="reinforce")


right, wrong, everyone, factor = sp.symbols("a b m w", real=True)
HALF = sp.S.Half
n = sp.Symbol("n", integer=True, positive=True)
FOLLOWED = {
    right: sy.Quantity(
        "a",
        r"the mean advantage of a correct rollout given a mixed group, $\mathrm{E}[1 - k/G \mid r_1 = 1]$",
    ),
    wrong: sy.Quantity("b", r"that of a wrong one, $\mathrm{E}[-k/G \mid r_1 = 0]$"),
}

self_claim = sy.Claim(
    id="B13b",
    title="Given the rollout's reward as well, the turning point is still p = 1/2",
    statement=sy.Statement(
        setting="One prompt of success rate p, binary rewards, the advantages $r - k/G$, given a mixed group",
        forall={G: sy.whole(2), p: sy.between(0, 1)},
        quantities=FOLLOWED,
        goals={
            "correct rollouts": sp.Implies(p > HALF, right >= 1 - p),
            "wrong rollouts": sp.Implies(p < HALF, wrong <= -p),
        },
    ),
    instead=sy.Statement(
        setting=("One prompt of success rate p, binary rewards, the advantages $r - k/G$; a and b for G = 3"),
        forall={p: sy.between(0, 1), n: sy.whole(2)},
        given={"on policy": OUR_ON_POLICY},
        quantities={
            **FOLLOWED,
            everyone: sy.Quantity("m", "the mean advantage over a mixed group of n"),
            factor: sy.Quantity("w", r"the factor of $\nabla p$ in the expected update over all groups of n"),
        },
        goals={
            "a correct rollout": sp.Eq(right - (1 - p), (3 * p**2 - 1) / (3 * (1 + p))),
            "a wrong rollout": sp.Eq(wrong + p, -(3 * (1 - p) ** 2 - 1) / (3 * (2 - p))),
            "average": sp.Eq(everyone, 0),
            "no bias of the gradient": sp.Eq(factor, (n - 1) / n),
        },
    ),
    source=sy.Source(
        PAPER,
        "v1",
        "Theorem 1",
        relation="reading",
        says="given a mixed group, the advantage is underestimated on hard prompts and overestimated on easy ones",
        caveat="as printed the theorem compares the mean advantage given a mixed group, which is zero by "
        "symmetry, with r - p",
    ),
    verdict="refuted",
    scope="the reading in which a rollout of known reward is followed; binary rewards, G from 3 on (at G = "
    "2 it is right)",
    proof=(
        r"At $G = 3$ two other rollouts are drawn, and leaving out the all-equal groups gives both "
        r"conditional means in closed form: a correct rollout is understated up to $p = 1/\sqrt{3}$, "
        r"not 1/2, and a wrong one overstated from $1 - 1/\sqrt{3}$ on. "
        r"The advantages of every group sum to zero, so their average given a mixed group is 0 for "
        r"every p. And over all groups the expected update is $\frac{G-1}{G} \nabla p$, for every p: "
        r"none of this biases the gradient's direction. "
        "All groups listed with the shipped estimator give the same."
    ),
    finding=(
        r"Between 0.42 and 0.58 both kinds are shrunk towards zero, which is the finite-group factor "
        r"$(G-1)/G$ and no matter of difficulty. The statement as printed is stronger still: the mean "
        r"advantage given a mixed group is zero by symmetry, whatever p is."
    ),
)


def followed(size, reward, chance=p):
    """E[r - k/G | r_1 = reward, mixed], from the others' count."""

    def allowed(j):
        return 0 < j + reward < size

    share = sy.over_binomial(lambda j: int(allowed(j)), size - 1, chance)
    mean = sy.over_binomial(lambda j: sp.Rational(j + reward, size) if allowed(j) else 0, size - 1, chance)
    return reward - mean / share


@self_claim.step(
    "From the others' count",
    route="sympy",
    shows="G = 3 in closed form; index patterns for the update, any n",
)
def triples(size=3):
    self_claim.goal("a correct rollout").holds({right: followed(size, 1)})
    self_claim.goal("a wrong rollout").holds({wrong: followed(size, 0)})
    count = sp.Symbol("k", positive=True)
    # The k correct rollouts have 1 - k/n, the n - k wrong ones -k/n.
    self_claim.goal("average").holds({everyone: (count * (1 - count / n) - (n - count) * count / n) / n})
    pulled = count * (1 - count / n) / p + (n - count) * count / n / (1 - p)
    self_claim.goal("no bias of the gradient").holds(
        {factor: sy.over_binomial_symbolic(pulled, count, n, p) / n}
    )


def listed(size, chance, name):
    """The two conditional means and the average, from all groups with traced weights."""
    weights = sy.weights_of(catalogue.get(name))
    totals, masses, average = [sp.Integer(0)] * 2, [sp.Integer(0)] * 2, sp.Integer(0)
    for rewards in itertools.product((1, 0), repeat=size):
        if 0 < sum(rewards) < size:
            share = chance ** sum(rewards) * (1 - chance) ** (size - sum(rewards))
            row = weights(tuple(map(sp.Integer, rewards)))
            totals[rewards[0]] += share * size * row[0]
            masses[rewards[0]] += share
            average += share * sp.Add(*row)
    means = [t / m for t, m in zip(totals, masses, strict=True)]
    return {wrong: means[0], right: means[1], everyone: average / sp.Add(*masses)}


@self_claim.step(
    "The shipped estimator",
    route="traced code",
    shows="all groups of three, any p; the update of a bandit with three answers, G = 2 to 4",
)
def by_group(name="dr_grpo"):
    found = listed(3, p, name)
    self_claim.goal("a correct rollout").holds({right: found[right]})
    self_claim.goal("a wrong rollout").holds({wrong: found[wrong]})
    self_claim.goal("average").holds({everyone: found[everyone]}, at={n: 3})
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, 1])
    for size in (2, 3, 4):
        mean = sy.group_moments(bandit, size, sy.weights_of(catalogue.get(name))).mean
        values = {factor: [x / y for x, y in zip(mean, bandit.gradient, strict=True)]}
        self_claim.goal("no bias of the gradient").holds(values, at={n: size, p: bandit.value})


@self_claim.step("The engine", route="exact engine", shows="the factor 2/3 at p = 1/10 and 11/20, G = 3")
def unbiased(name="dr_grpo"):
    for chance in (sp.Rational(1, 10), sp.Rational(11, 20)):
        seen = sy.engine(catalogue.get(name), sy.SymbolicBandit([chance, 1 - chance], [1, 0]), 3).bias_factor
        self_claim.goal("no bias of the gradient").holds(
            {factor: seen}, at={n: 3, p: chance}, tolerance=1e-11
        )


@self_claim.counterexample(
    "p = 11/20 (an easy prompt), G = 3: a correct rollout of a mixed group has the mean advantage "
    "40/93, less than 1 - p = 9/20; at p = 9/20 a wrong one has -40/93, above -p; from all "
    "groups, with the shipped weights.",
    p="11/20",
    G=3,
)
def eleven(chance="11/20", size=3):
    chance = sp.Rational(chance)
    value = listed(size, chance, "dr_grpo")[right]
    self_claim.goal("correct rollouts").fails({right: value}, at={G: size, p: chance})
    mirrored = listed(size, 1 - chance, "dr_grpo")[wrong]
    self_claim.goal("wrong rollouts").fails({wrong: mirrored}, at={G: size, p: 1 - chance})
    for larger in range(3, 9):
        below = followed(larger, 1, chance) - (1 - chance)
        sy.require(sy.exact_sign(below) < 0, f"not understated at G = {larger}")
    return sy.Exhibit(text=f"mean advantage {value}, true advantage {1 - chance}")


self_claim.sabotage("pairs, where the reading is right", triples, size=2)
self_claim.sabotage("leave-one-out in the code", by_group, name="rloo")
self_claim.sabotage("another scale", unbiased, name="grpo")
self_claim.sabotage("p = 7/10 on the policy", eleven, chance="7/10")
self_claim.sabotage("pairs on the policy", eleven, size=2)
