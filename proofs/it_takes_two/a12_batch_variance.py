"""A12: the variance of a batch is not Var(g) over the number of rollouts: what G does at a fixed budget."""

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

G, B = sp.symbols("G B", integer=True, positive=True)
batch, batch_of_pairs, within, between, own, coupling = sp.symbols("V V_2 v s_b s_o Delta", nonnegative=True)

QUANTITIES = {
    batch: sy.Quantity("V_G", "the variance of the batch's gradient, B rollouts in groups of G"),
    batch_of_pairs: sy.Quantity("V_2", "that of the same number of rollouts in pairs"),
    within: sy.Quantity(
        r"\mathrm{Var}(\hat g_G | x)", "the variance of one group's gradient, given its prompt"
    ),
    between: sy.Quantity(r"\sigma_b^2", r"the variance of $\nabla J_x$ over prompts"),
    own: sy.Quantity(
        r"\sigma_o^2",
        r"the variance of $(r - J_x) s$ of one rollout, given its prompt (its mean over prompts in $V_G$)",
    ),
    coupling: sy.Quantity(r"\Delta", r"$\mathrm{Var}(r) \mathrm{E}\|s\|^2 + \|\nabla J_x\|^2$, the same way"),
}
FORMULA = (G * between + own + coupling / (G - 1)) / B

claim = sy.Claim(
    id="A12",
    title="The batch variance is Var(g)/B, B the number of rollouts, whatever the group size",
    statement=sy.Statement(
        setting="A batch of B rollouts in groups of G, random prompts, leave-one-out advantages",
        forall={G: sy.whole(2), B: sy.whole(1)},
        quantities={s: QUANTITIES[s] for s in (batch, batch_of_pairs)},
        goals={"whatever the group size": sp.Eq(batch, batch_of_pairs)},
    ),
    instead=sy.Statement(
        setting="A batch of B rollouts in groups of G, random prompts, leave-one-out advantages",
        forall={G: sy.whole(2), B: sy.whole(1)},
        quantities=QUANTITIES,
        goals={
            "one group": sp.Eq(within, own / G + coupling / (G * (G - 1))),
            "batch": sp.Eq(batch, FORMULA),
            "balance": sp.Implies(
                G > 2,
                sp.Equivalent(
                    sp.Eq(batch, batch_of_pairs), sp.Eq(between * (G - 2), coupling * (1 - 1 / (G - 1)))
                ),
            ),
            "one kind of prompt": sp.Implies(
                sp.And(G > 2, sp.Eq(between, 0), coupling > 0), batch_of_pairs > batch
            ),
        },
    ),
    source=sy.Source(
        "2510.00977",
        "v3",
        "Proposition C.3 (Lemma 5.3 in v2), as applied to Q prompts in groups of G",
        says="the variance of a batch's gradient is that of one rollout's over the number of rollouts",
    ),
    verdict="refuted",
    scope=(
        "leave-one-out (and mean-centred, up to its factor), every G >= 2, every law of rewards and scores, B = QG "
        "rollouts"
    ),
    proof=(
        "Leave-one-out is a quadratic form in the group's rewards and scores, so the mean of its square is a sum "
        r"over the ways in which four indices coincide; with $\mathrm{E}[s] = 0$ it leaves $\sigma_o^2/G + \Delta/(G "
        r"(G - 1))$ within a prompt. The law of total variance adds $\sigma_b^2$ between prompts, and a batch is a "
        "mean over $B/G$ groups. The variance at G and at 2 agree only where the two parts balance; with one kind "
        "of prompt pairs have the larger one. All groups of two bandits with the shipped weights, listed, have "
        "these variances."
    ),
    finding=(
        "The rollouts of a group are dependent through their baseline. The variance is the same for all G only if "
        r"$\sigma_b^2 = \Delta = 0$; from G to 2 the within-part grows by $\Delta (1 - 1/(G-1))/B$, the between-part "
        "falls."
    ),
)


def moment(exponents):
    """E[r^a s^b] of one rollout, one coordinate of the score: m_ab, with E[s] = 0."""
    a, b = exponents.get("r", 0), exponents.get("s", 0)
    if (a, b) == (0, 0):
        return sp.Integer(1)
    return sp.Integer(0) if (a, b) == (0, 1) else sp.Symbol(f"m{a}{b}", real=True)


def from_moments(value):
    """Own and coupling variance from moments E[r^a s^b]."""
    J, g, V = value({"r": 1}), value({"r": 1, "s": 1}), value({"s": 2})
    alone = value({"r": 2, "s": 2}) - 2 * J * value({"r": 1, "s": 2}) + J**2 * V - g**2
    return alone, (value({"r": 2}) - J**2) * V + g**2


@claim.step(
    "Within a prompt, any G",
    route="sympy",
    shows=(
        r"$\mathrm{E}[\hat g^2] - g^2$ by index patterns, one coordinate, any law; then a batch of $B/G$ independent "
        "groups"
    ),
)
def any_group(baseline=1):
    R, S, RS = sp.symbols("R S RS")
    # (1/G) sum_i (r_i - mean of the others) s_i
    estimator = (RS - baseline * R * S / G) / (G - 1)
    sums = {R: {"r": 1}, S: {"s": 1}, RS: {"r": 1, "s": 1}}
    mean, square = (sy.over_rollouts(estimator**power, sums, G, moment) for power in (1, 2))
    alone, coupled = from_moments(moment)
    variance = square - mean**2
    claim.goal("one group").holds({within: variance, own: alone, coupling: coupled})
    # Over prompts: the mean of the variances plus the variance of the means; B / G groups.
    group = own / G + coupling / (G * (G - 1)) + between
    claim.goal("batch").holds({batch: group / (B / G), between: between, own: own, coupling: coupling})


@claim.step(
    "At a fixed budget",
    route="smt",
    shows="the variance at 2 and at G from the sum of both parts over the number of groups",
)
def budget(spread=0):
    def variance(size):
        return (between + own / size + coupling / (size * (size - 1))) / (B / size) + spread * (size - 2) / B

    values = {
        batch: variance(G),
        batch_of_pairs: variance(sp.Integer(2)),
        between: between,
        coupling: coupling,
    }
    claim.goal("balance").holds(values)
    claim.goal("one kind of prompt").holds(values)


BANDITS = [
    sy.SymbolicBandit(["1/2", "1/2"], [1, 0], scores=[[sp.Rational(1, 2)], [-sp.Rational(1, 2)]]),
    sy.SymbolicBandit(
        ["1/4", "1/2", "1/4"],
        [1, 0, "1/2"],
        scores=[[sp.Rational(3, 4)], [-sp.Rational(1, 4)], [-sp.Rational(1, 4)]],
    ),
]


def parts_of(bandits):
    """The between, own and coupling variances over these prompts, equally likely, with one shared parameter."""
    n = len(bandits)

    def over(bandit):
        rows = list(zip(bandit.probabilities, bandit.rewards, bandit.scores, strict=True))
        return lambda e: sp.Add(*[c * r ** e.get("r", 0) * s[0] ** e.get("s", 0) for c, r, s in rows])

    pieces = [from_moments(over(bandit)) for bandit in bandits]
    gradients = [bandit.gradient[0] for bandit in bandits]
    spread = sp.Add(*[g * g for g in gradients]) / n - (sp.Add(*gradients) / n) ** 2
    return {
        between: spread,
        own: sp.Add(*[alone for alone, _ in pieces]) / n,
        coupling: sp.Add(*[coupled for _, coupled in pieces]) / n,
    }


@claim.step(
    "Two prompts of other composition",
    route="enumeration",
    shows="exact variances of the shipped leave-one-out at G = 2, 3, 4: one group of each prompt, and of a random one",
)
def enumerated(name="rloo"):
    weights = sy.weights_of(catalogue.get(name))
    variances = {}
    for size in (2, 3, 4):
        moments = [sy.group_moments(b, size, weights) for b in BANDITS]
        for bandit, exact in zip(BANDITS, moments, strict=True):
            alone = parts_of([bandit])
            claim.goal("one group").holds(
                {within: exact.trace_cov, own: alone[own], coupling: alone[coupling]}, at={G: size}
            )
        for bandits, exact in ((BANDITS, sy.mixture(moments)), (BANDITS[:1], moments[0])):
            parts = parts_of(bandits)
            variances[size, len(bandits)] = size * exact.trace_cov / 12  # twelve rollouts
            values = {batch: variances[size, len(bandits)], **parts}
            claim.goal("batch").holds(values, at={G: size, B: 12})
            del values[own]
            values[batch_of_pairs] = variances[2, len(bandits)]
            for goal, names in (
                ("balance", (batch, batch_of_pairs, between, coupling)),
                ("one kind of prompt", (batch, batch_of_pairs, between, coupling)),
            ):
                claim.goal(goal).holds({s: values[s] for s in names}, at={G: size, B: 12})


@claim.counterexample(
    "One prompt, p = 1/2, B = 4 rollouts: two pairs have variance 1/16, one group of four 1/48; the engine agrees.",
    p="1/2",
    B=4,
)
def four_rollouts(design=(2, 2)):
    bandit = sy.SymbolicBandit(["1/2", "1/2"], [1, 0])
    weights = sy.weights_of(catalogue.get("rloo"))
    prompts, size = design
    small = sy.group_moments(bandit, size, weights).trace_cov / prompts
    full = sy.group_moments(bandit, 4, weights).trace_cov
    claim.goal("whatever the group size").fails({batch: full, batch_of_pairs: small}, at={G: 4, B: 4})
    seen = float(sy.engine(catalogue.get("rloo"), bandit, size, prompts=prompts).trace_cov)
    sy.require(abs(seen - float(small)) < 1e-12, f"the engine has {seen}, the rationals {small}")
    return sy.Exhibit(text=f"{prompts} groups of {size}: {small}; one group of 4: {full}")


claim.sabotage("no baseline", any_group, baseline=0)
claim.sabotage("a variance that grows with the group", budget, spread=1)
claim.sabotage("Dr. GRPO without its factor", enumerated, name="dr_grpo")
claim.sabotage("one group of four against itself", four_rollouts, design=(1, 4))
