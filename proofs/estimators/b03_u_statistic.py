"""B3: the leave-one-out gradient as an average over pairs, and its projection as printed."""

import itertools

import numpy as np
import sympy as sp
from _binary import ON_POLICY

from gradvar import catalogue
from gradvar import symbolic as sy

PAPER = "2603.01162"
G = sp.Symbol("G", integer=True, positive=True)
J, g, V = sp.symbols("J g V", real=True)
BANDIT = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "-7/3"])
ROWS = list(zip(BANDIT.probabilities, BANDIT.rewards, BANDIT.scores, strict=True))

left, right, pair_sum, R, S, RS = sp.symbols("U P D R S T", real=True)

pairs = sy.Claim(
    id="B3a",
    title="RLOO's gradient is the average over all pairs of (1/2)(r_i - r_j)(s_i - s_j)",
    statement=sy.Statement(
        setting="Any numbers r and s, no expectation",
        forall={G: sy.whole(2)},
        quantities={
            left: sy.Quantity(
                r"U", r"$\frac{1}{G} \sum_i \left(r_i - \frac{1}{G-1} \sum_{j \ne i} r_j\right) s_i$"
            ),
            right: sy.Quantity(
                r"P",
                r"$\binom{G}{2}^{-1} \sum_{i<j} \frac{1}{2} (r_i - r_j)(s_i - s_j)$, a U-statistic of order two",
            ),
            pair_sum: sy.Quantity("D", r"$\sum_{i<j} (r_i - r_j)(s_i - s_j)$"),
            RS: sy.Quantity("T", r"$\sum_i r_i s_i$"),
            R: sy.Quantity("R", r"$\sum_i r_i$"),
            S: sy.Quantity("S", r"$\sum_i s_i$"),
        },
        goals={"average over pairs": sp.Eq(left, right)},
        lemmas={"pair sum": sy.Lemma(sp.Eq(pair_sum, G * RS - R * S), forall={G: sy.whole(1)})},
    ),
    source=sy.Source(
        PAPER,
        "v3",
        "abstract",
        says="the policy gradient of GRPO is called a U-statistic",
        caveat="the form without a standard deviation is meant; of the paper's text only the abstract is used here",
    ),
    verdict="proved",
    scope="an identity of numbers, so also off policy and whatever the scores' mean; vectors entry by entry",
    proof=(
        r"By induction on the group, the sum over pairs is $D = G \sum_i r_i s_i - \sum_i r_i \sum_j "
        r"s_j$: one rollout has no "
        r"pair, and one more adds $\sum_i (r_i - r)(s_i - s)$ to both sides. The leave-one-out sum "
        r"is, in the same three "
        r"sums, $D / (G(G-1))$. That is the average over pairs. "
        "The shipped weights of symbolic rewards with two to five rollouts give the same sum."
    ),
    finding=(
        "For GRPO's weights (standardised) it is not one: their kernel depends on the whole group. At G = 2 the "
        "average has one pair."
    ),
)


@pairs.step(
    "Induction over the group",
    route="sympy",
    shows=r"$D = G \sum_i r_i s_i - \sum_i r_i \sum_j s_j$, by adding one rollout",
)
def induction(self_term=1):
    r, s = sp.symbols("r s", real=True)
    added = RS - r * S - R * s + self_term * G * r * s  # sum_i (r_i - r)(s_i - s)
    pairs.goal("pair sum").induction(
        G,
        start=1,
        base={pair_sum: 0, RS: r * s, R: r, S: s},
        step={pair_sum: pair_sum + added, RS: RS + r * s, R: R + r, S: S + s},
    )


@pairs.step("Leave-one-out in the same sums", route="smt", shows=r"$U = D/(G(G-1)) = P$")
def in_sums(others=1):
    values = {
        left: (RS - (R * S - RS) / (G - others)) / G,
        right: pair_sum / (G * (G - 1)),
    }
    pairs.goal("average over pairs").holds(
        values, using={"pair sum": {pair_sum: pair_sum, RS: RS, R: R, S: S}}
    )


@pairs.step("The shipped weights, G = 2 to 5", route="traced code", shows="symbolic rewards and scores")
def traced(name="rloo"):
    for size in (2, 3, 4, 5):
        rollouts = sy.symbolic_group(size, on_policy=True)
        rewards = rollouts.rewards.reshape(-1)
        scores = sp.symbols(f"s1:{size + 1}", real=True)
        weights = rollouts.weights(catalogue.get(name)).reshape(-1)
        terms = [
            (rewards[i] - rewards[j]) * (scores[i] - scores[j]) / 2
            for i, j in itertools.combinations(range(size), 2)
        ]
        values = {left: sum(weights * np.asarray(scores)), right: sp.Add(*terms) / len(terms)}
        pairs.goal("average over pairs").holds(values, at={G: size})


pairs.sabotage("the new rollout left out of its sum", induction, self_term=0)
pairs.sabotage("the mean of all in place of the others", in_sums, others=0)
pairs.sabotage("the mean-centred estimator", traced, name="dr_grpo")


twice, reward, score, value, slope = sp.symbols("h r s J0 g0", real=True)
KERNEL = {
    twice: sy.Quantity(
        "2 h_1", r"twice the mean of the kernel $\frac{1}{2} (r - r')(s - s')$ over the partner $(r', s')$"
    ),
    reward: sy.Quantity("r", "the reward of a rollout"),
    score: sy.Quantity("s", "its score"),
    value: sy.Quantity("J", "the expected reward"),
}
SLOPE = {slope: sy.Quantity(r"\nabla J", r"its gradient, $\mathrm{E}[r s]$")}

printed = sy.Claim(
    id="B3b",
    title="Twice the projected kernel is s(r - J)",
    statement=sy.Statement(
        setting="One prompt, rewards of any law",
        given={"on policy": ON_POLICY},
        quantities=KERNEL,
        goals={"printed form": sp.Eq(twice, score * (reward - value))},
    ),
    instead=sy.Statement(
        setting="One prompt, rewards of any law",
        given={"on policy ": ON_POLICY},
        quantities=KERNEL | SLOPE,
        goals={"with the gradient": sp.Eq(twice, score * (reward - value) + slope)},
    ),
    source=sy.Source(
        PAPER,
        "v3",
        "the Hajek projection of the U-statistic",
        says="twice the projected kernel is printed as the score times the reward less its mean",
        caveat=(
            "the same item also prints the gradient as the mean of the score times a conditional mean, which is zero; "
            "what is built on the projection survives"
        ),
    ),
    verdict="refuted",
    scope=r"every law of reward and score with $\nabla J \ne 0$",
    proof=(
        r"Averaged over the partner, $(r - r')(s - s')$ is $rs - r\,\mathrm{E}s' - Js + "
        r"\mathrm{E}[r's']$. With $\mathrm{E}s' = 0$ and "
        r"$\mathrm{E}[r's'] = \nabla J$ this is $s(r - J) + \nabla J$. A bandit with three rewards "
        r"gives the same, answer by answer."
    ),
    finding=(
        r"The printed form is off by the gradient itself: its mean is $\nabla J - J\,\mathrm{E}s = "
        r"\nabla J$ where that of $2 h_1$ is "
        r"$2 \nabla J$. What is built on it survives: the projection of the whole estimator is "
        r"$\frac{1}{G} \sum_i (r_i - J) s_i$, because the constants cancel (B3c)."
    ),
)


@printed.step(
    "The partner averaged out",
    route="sympy",
    shows=r"$\mathrm{E}'[(r - r')(s - s')]$ from $\mathrm{E}s' = 0$, $\mathrm{E}r' = J$, $\mathrm{E}[r's'] = \nabla J$",
)
def projection(mean_product=1):
    r, s, r2, s2 = sp.symbols("r s r2 s2")
    partner = {(0, 0): sp.Integer(1), (1, 0): J, (0, 1): sp.Integer(0), (1, 1): mean_product * g}
    kernel = sp.Poly(sp.expand((r - r2) * (s - s2)), r2, s2)
    projected = sp.Add(*[c * partner[powers] for powers, c in kernel.terms()])
    values = {twice: projected, reward: r, score: s, value: J, slope: g}
    printed.goal("with the gradient").holds(values)


@printed.step("In rationals", route="enumeration", shows="a bandit with three rewards, answer by answer")
def answers(partners=3):
    for _, r, s in ROWS:
        projected = [sum(c * (r - r2) * (s[j] - s2[j]) for c, r2, s2 in ROWS[:partners]) for j in range(3)]
        values = {twice: projected, reward: r, score: s, value: BANDIT.value, slope: BANDIT.gradient}
        printed.goal("with the gradient").holds(values)


@printed.counterexample(
    "p = 1/4, two answers, rewards 1 and 0: for the correct answer 2 h_1 = 3/4 where s(r - J) = 9/16. The "
    "engine's mean of the pair estimator is the gradient 3/16.",
    p="1/4",
)
def quarter(rewards=(1, 0)):
    bandit = sy.SymbolicBandit(["1/4", "3/4"], rewards)
    rows = list(zip(bandit.probabilities, bandit.rewards, bandit.scores, strict=True))
    (_, r, s), *_ = rows
    projected = sp.Add(*[c * (r - r2) * (s[0] - s2[0]) for c, r2, s2 in rows])
    printed.goal("printed form").fails({twice: projected, reward: r, score: s[0], value: bandit.value})
    moments = sy.engine(catalogue.get("rloo"), bandit, 2)
    gap = abs(float(moments.mean.reshape(-1)[0]) - float(bandit.gradient[0]))
    sy.require(gap < 1e-12, f"the engine's mean differs by {gap}")


printed.sabotage("a partner whose reward and score are unrelated", projection, mean_product=0)
printed.sabotage("a partner that is never the third answer", answers, partners=2)
printed.sabotage("equal rewards, where the gradient is zero", quarter, rewards=(1, 1))


residue_mean, residue_cov, residue_var, delta = sp.symbols("e c v Delta", real=True)

oracle = sy.Claim(
    id="B3c",
    title="The projection of RLOO is the oracle that knows J; the rest is uncorrelated and of order $1/G^2$",
    statement=sy.Statement(
        setting=(
            r"One prompt, rewards of any law with finite second moments; $\rho = \hat g - \frac{1}{G} "
            r"\sum_i (r_i - J) s_i$ is what "
            "leave-one-out has beyond the oracle that knows J"
        ),
        forall={G: sy.whole(2)},
        given={"on policy": ON_POLICY},
        quantities={
            residue_mean: sy.Quantity(r"\mathrm{E}\rho", "the mean of the rest"),
            residue_cov: sy.Quantity(
                r"\mathrm{E}[\rho f_i]", r"its mean product with any function $f_i$ of one rollout i"
            ),
            residue_var: sy.Quantity(r"\mathrm{E}\|\rho\|^2", "its mean square"),
            delta: sy.Quantity(r"\Delta", r"$\mathrm{Var}(r)\,\mathrm{E}\|s\|^2 + \|\nabla J\|^2$"),
        },
        goals={
            "mean zero": sp.Eq(residue_mean, 0),
            "uncorrelated": sp.Eq(residue_cov, 0),
            "mean square": sp.Eq(residue_var, delta / (G * (G - 1))),
        },
    ),
    source=sy.Source(
        PAPER,
        "v3",
        "abstract",
        relation="implies",
        says="GRPO is asymptotically equivalent to an oracle that has access to the value function",
        caveat="that is said of the limit; the mean square of the rest at finite G is ours",
    ),
    verdict="proved",
    scope=r"vectors entry by entry; so $\frac{1}{G} \sum_i (r_i - J) s_i$ is the Hajek projection",
    proof=(
        r"In sums over the group the rest is $\rho = -\frac{1}{G(G-1)} \sum_{i \ne j} (r_j - J) s_i$. "
        r"Every term has two different rollouts, "
        r"one with the mean-zero factor $r_j - J$ and one with the mean-zero factor $s_i$. So it has "
        r"mean zero, and still mean zero "
        r"times a function of one rollout, since the other factor averages out. Squared, only the "
        r"same pair, in either order, survives: "
        r"$\mathrm{Var}(r)\,\mathrm{E}\|s\|^2$ and $\|\nabla J\|^2$, $G(G-1)$ times each. The shipped "
        r"estimator on a bandit agrees, group by group."
    ),
    finding=(
        r"The rest never vanishes (unless r or s is constant): RLOO is an oracle only in the limit; at $G = 2$ "
        r"the rest has half of $\Delta$."
    ),
)


@oracle.step(
    "By index patterns, any G",
    route="sympy",
    shows="mean, mean product with a sum of any function f over the rollouts, and mean square",
)
def moments(mean_score=0):
    A, B, AB, F = sp.symbols("A B AB F")  # sums of r, s, r s and f
    kinds = {A: {"r": 1}, B: {"s": 1}, AB: {"r": 1, "s": 1}, F: {"f": 1}}

    def moment(exponents):
        a, b, c = (exponents.get(name, 0) for name in "rsf")
        known = {(0, 0, 0): sp.Integer(1), (0, 1, 0): sp.sympify(mean_score), (1, 0, 0): J}
        known |= {(1, 1, 0): g, (0, 2, 0): V}
        return known[a, b, c] if (a, b, c) in known else sp.Symbol(f"m{a}{b}{c}", real=True)

    residue = (AB - A * B / G) / (G - 1) - (AB - J * B) / G
    spread = sp.Symbol("m200", real=True) - J**2
    oracle.goal("mean zero").holds({residue_mean: sy.over_rollouts(residue, kinds, G, moment)})
    # By symmetry each rollout's f has a G-th of the mean product with the sum.
    oracle.goal("uncorrelated").holds({residue_cov: sy.over_rollouts(residue * F, kinds, G, moment) / G})
    values = {residue_var: sy.over_rollouts(residue**2, kinds, G, moment), delta: spread * V + g**2}
    oracle.goal("mean square").holds(values)


def bandit_delta():
    """Var(r) E|s|^2 + |grad J|^2 of the bandit."""
    spread = sp.Add(*[c * (r - BANDIT.value) ** 2 for c, r, _ in ROWS])
    squares = sp.Add(*[c * x * x for c, _, s in ROWS for x in s])
    return spread * squares + sp.Add(*[x * x for x in BANDIT.gradient])


@oracle.step(
    "The shipped estimator, group by group",
    route="traced code",
    shows="all groups of a bandit with three rewards, G = 2 and 3; f tells if the first rollout is answer k",
)
def by_group(name="rloo"):
    weights = sy.weights_of(catalogue.get(name))
    for size in (2, 3):
        mean, products, square = [0] * 3, [[0] * 3 for _ in range(3)], sp.Integer(0)
        for picks in itertools.product(range(3), repeat=size):
            rows = [ROWS[k] for k in picks]
            chance = sp.prod([c for c, _, _ in rows])
            shipped = weights(tuple(r for _, r, _ in rows))
            rest = [
                sp.Add(
                    *[
                        (w - (r - BANDIT.value) / size) * s[j]
                        for w, (_, r, s) in zip(shipped, rows, strict=True)
                    ]
                )
                for j in range(3)
            ]
            mean = [m + chance * x for m, x in zip(mean, rest, strict=True)]
            products[picks[0]] = [m + chance * x for m, x in zip(products[picks[0]], rest, strict=True)]
            square += chance * sp.Add(*[x * x for x in rest])
        oracle.goal("mean zero").holds({residue_mean: mean}, at={G: size})
        oracle.goal("uncorrelated").holds({residue_cov: products}, at={G: size})
        oracle.goal("mean square").holds({residue_var: square, delta: bandit_delta()}, at={G: size})


@oracle.step("The engine's variance", route="exact engine", shows="RLOO's variance less the oracle's, G = 3")
def engine_agrees(name="rloo"):
    signal = sp.Add(*[x * x for x in BANDIT.gradient])
    alone = sp.Add(*[c * (r - BANDIT.value) ** 2 * x * x for c, r, s in ROWS for x in s]) - signal
    total = float(sy.engine(catalogue.get(name), BANDIT, 3).trace_cov)
    values = {residue_var: total - float(alone / 3), delta: bandit_delta()}
    oracle.goal("mean square").holds(values, at={G: 3}, tolerance=1e-11)


oracle.sabotage("scores with a mean", moments, mean_score=sp.Rational(1, 3))
oracle.sabotage("mean-centred in place of leave-one-out", by_group, name="dr_grpo")
oracle.sabotage("mean-centred in the engine", engine_agrees, name="dr_grpo")
