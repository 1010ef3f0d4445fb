"""B17: OPO's baseline: the best constant (a), length weighting (b), and its own rollout (c)."""

from typing import Any

import numpy as np
import sympy as sp
from _short_sequences import Stopping, less, parallel_defect, stopping, stopping_engine, token_moments

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import aggregate, surrogate

PLACE = ("2505.23585", "v2", "the optimal reward baseline and its length-weighted form")
LADDER = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "5/2"])
# Three answers and their mirror images, lengths 1, 2, 3, squared norms twice the length, scores of mean zero.
ROOTS = ([1, 1, 0, 0], [2, 0, 0, 0], [1, 1, 2, 0])
PROPORTIONAL = sy.SymbolicBandit(
    ["1/4", "1/4", "1/6", "1/6", "1/12", "1/12"],
    [0, 0, 1, 1, "5/2", "5/2"],
    [[sign * x for x in row] for row in ROOTS for sign in (1, -1)],
)
SIZES = (1, 1, 2, 2, 3, 3)

b = sp.Symbol("b", real=True)
variance, least, norm, star = sp.symbols("V V_star N b_star", real=True)
proportional_star, by_length = sp.symbols("b_kappa b_l", real=True)


def norms_of(bandit):
    return [sp.Add(*[x * x for x in s]) for s in bandit.scores]


def weighted_mean(bandit, weights):
    """The mean reward, answers weighted by their chance and ``weights``."""
    chances = [p * w for p, w in zip(bandit.probabilities, weights, strict=True)]
    return sum(c * r for c, r in zip(chances, bandit.rewards, strict=True)) / sum(chances)


def mean_norm(bandit):
    return sum(p * n for p, n in zip(bandit.probabilities, norms_of(bandit), strict=True))


best = sy.Claim(
    id="B17a",
    title="The best constant baseline is the reward weighted by the squared score",
    statement=sy.Statement(
        setting="One prompt, on policy, any law of reward, score and length with finite second moments",
        forall={b: sy.real()},
        quantities={
            variance: sy.Quantity(
                r"V(b)", r"$\mathrm{tr}\,\mathrm{Cov}[(r - b) s]$ with the constant baseline b"
            ),
            least: sy.Quantity(r"V(b^*)", r"this variance with the baseline $b^*$"),
            norm: sy.Quantity(r"N", r"the mean squared norm $\mathrm{E}\|s\|^2$"),
            star: sy.Quantity(r"b^*", r"$\mathrm{E}[r \|s\|^2] / \mathrm{E}\|s\|^2$"),
            proportional_star: sy.Quantity(
                r"b^*_\kappa", r"$b^*$ where $\mathrm{E}[\|s\|^2 | r, l] = \kappa l$ with the length l"
            ),
            by_length: sy.Quantity(r"b_l", r"$\mathrm{E}[l r]/\mathrm{E}[l]$"),
        },
        goals={
            "excess": sp.Eq(variance - least, norm * (b - star) ** 2),
            "least": sp.Le(least, variance),
            "by length": sp.Eq(proportional_star, by_length),
        },
    ),
    source=sy.Source(
        *PLACE,
        says=(
            "the baseline of least variance is the reward weighted by the squared norm of the score; where that grows "
            "in proportion to the length it is the reward weighted by length"
        ),
        caveat=(
            "the proportional norms are stated as an assumption: token scores nearly orthogonal and of similar size"
        ),
    ),
    verdict="proved",
    scope="one prompt, any G (independent rollouts divide both sides by G)",
    proof=(
        r"The baseline does not move the mean, so the variance is $\mathrm{E}[(r - b)^2 \|s\|^2]$ less a "
        r"constant: a parabola in b with the curvature $\mathrm{E}\|s\|^2$ and its vertex at $b^*$. So the "
        r"excess is $\mathrm{E}\|s\|^2 (b - b^*)^2 \ge 0$. With $\|s\|^2 = \kappa l$ the factor $\kappa$ "
        r"cancels in $b^*$. The same parabola comes out of all answers of a bandit and out of the engine."
    ),
    finding=r"The excess variance of another constant is exactly $\mathrm{E}[\|s\|^2] (b - b^*)^2$.",
)


@best.step(
    "The variance is a parabola",
    route="smt",
    shows=r"$\mathrm{E}[r^2\|s\|^2] - 2b\,\mathrm{E}[r\|s\|^2] + b^2 \mathrm{E}[\|s\|^2]$, any moments",
)
def parabola(power=1):
    second, first, square = (
        sp.Symbol("M2", real=True),
        sp.Symbol("M1", real=True),
        sp.Symbol("V", positive=True),
    )
    parabola_at_b = second - 2 * b * first + b**2 * square  # less the squared mean, which b does not move
    vertex = first / square**power
    values = {variance: parabola_at_b, least: parabola_at_b.subs(b, vertex), norm: square, star: vertex}
    best.goal("excess").holds(values)
    best.goal("least").holds(values)


@best.step(
    "Proportional norms",
    route="sympy",
    shows=r"three values of reward and length: $\kappa$ cancels in $\mathrm{E}[\kappa l r]/\mathrm{E}[\kappa l]$",
)
def proportional(offset=0):
    kappa, chances = sp.Symbol("kappa", positive=True), sp.symbols("q1:4", positive=True)
    lengths, rewards = sp.symbols("l1:4", positive=True), sp.symbols("r1:4", real=True)

    def mean(weights):
        weighted = [q * w for q, w in zip(chances, weights, strict=True)]
        return sum(w * r for w, r in zip(weighted, rewards, strict=True)) / sum(weighted)

    values = {proportional_star: mean([kappa * l + offset for l in lengths]), by_length: mean(lengths)}
    best.goal("by length").holds(values)


@best.step(
    "On bandits",
    route="enumeration",
    shows="all answers, b a symbol; in a bandit with norms of twice the length the vertex of the variance",
)
def on_bandit(shift=0, sizes=SIZES):
    moments = sy.group_moments(LADDER, 1, lambda r: (r[0] - b,))
    vertex = weighted_mean(LADDER, norms_of(LADDER)) + shift
    values = {
        variance: moments.trace_cov,
        least: moments.trace_cov.subs(b, vertex),
        norm: mean_norm(LADDER),
        star: vertex,
    }
    best.goal("excess").holds(values)
    best.goal("least").holds(values)
    spread = sy.group_moments(PROPORTIONAL, 1, lambda r: (r[0] - b,)).trace_cov
    (lowest,) = sp.solve(sp.diff(spread, b), b)
    best.goal("by length").holds({proportional_star: lowest, by_length: weighted_mean(PROPORTIONAL, sizes)})
    return sy.Exhibit(text=f"b* = {vertex}, the mean reward is {LADDER.value}")


@best.step(
    "The engine",
    route="exact engine",
    shows="REINFORCE (b = 0) against the shipped estimator with the engine's best constant",
)
def engines(name="reinforce_best_constant"):
    plain, best_constant = (sy.engine(catalogue.get(n), LADDER, 1).trace_cov for n in ("reinforce", name))
    values = {
        variance: float(plain),
        least: float(best_constant),
        norm: mean_norm(LADDER),
        star: weighted_mean(LADDER, norms_of(LADDER)),
    }
    best.goal("excess").holds(values, at={b: 0}, tolerance=1e-11)


best.sabotage("divided by the squared mean norm", parabola, power=2)
best.sabotage("norms that are affine in the length, not proportional", proportional, offset=1)
best.sabotage("another constant", on_bandit, shift=sp.Rational(1, 5))
best.sabotage("other lengths", on_bandit, sizes=(1, 1, 2, 2, 4, 4))
best.sabotage("no baseline in the engine", engines, name="reinforce")


largest, smallest, rollout_norm, token_norms = sp.symbols("k_1 k_0 W P", real=True)

lengths = sy.Claim(
    id="B17b",
    title="Length weighting is optimal",
    statement=sy.Statement(
        setting="One prompt, on policy, constant baselines",
        forall={b: sy.real()},
        given={
            "proportional norms": sy.Hypothesis(
                (
                    r"$\mathrm{E}[\|s\|^2 | r, l]$ is proportional to the length l (token scores "
                    r"orthogonal and of equal norm)"
                ),
                sp.Eq(largest, smallest),
            )
        },
        quantities={
            least: sy.Quantity(
                r"V(b_l)", r"the variance with the baseline $b_l = \mathrm{E}[l r]/\mathrm{E}[l]$"
            ),
            variance: sy.Quantity("V(b)", "the variance with any constant b, such as the mean reward"),
            largest: sy.Quantity(r"\kappa_1", r"the largest value of $\mathrm{E}[\|s\|^2 | r, l] / l$"),
            smallest: sy.Quantity(r"\kappa_0", "the smallest value of it"),
            rollout_norm: sy.Quantity(r"\mathrm{E}\|s\|^2", "the mean squared norm of a rollout's score"),
            token_norms: sy.Quantity(
                r"\mathrm{E} \sum_t \|s_t\|^2", "the mean of the sum of its tokens' squared norms"
            ),
        },
        goals={"optimal": sp.Le(least, variance), "norms add over tokens": sp.Eq(rollout_norm, token_norms)},
    ),
    source=sy.Source(
        *PLACE,
        says="under the assumption on token scores the length-weighted reward is the baseline of least variance",
        caveat="the assumption is stated: token scores nearly orthogonal and of similar size",
    ),
    verdict="proved",
    scope="constants of the prompt; one prompt, on policy",
    proof=(
        r"With $\mathrm{E}[\|s\|^2 | r, l] = \kappa l$ the best constant of B17a is $\mathrm{E}[l "
        r"r]/\mathrm{E}[l]$, and the variance of another exceeds its by $\kappa \mathrm{E}[l] (b - b_l)^2$. "
        r"Half of the assumption always holds: given what came before, a token's score averages to zero, so "
        r"the products of different tokens' scores vanish in the mean and $\mathrm{E}\|s\|^2$ adds over "
        r"tokens. The other half need not: where the second token is nearly certain its score is small, and "
        r"the mean reward has less variance than the length-weighted one."
    ),
    finding=(
        r"Token scores are uncorrelated, so $\mathrm{E}\|s\|^2$ adds over tokens; but their norms differ ($1 "
        r"- \sum \pi^2$ for logits), and a confident token adds next to nothing. Then the mean reward can be "
        r"the better baseline."
    ),
)
SHORT = stopping("1/2", "19/20", [1, 1, 0])


@lengths.step(
    "Under the hypothesis",
    route="smt",
    shows=(
        r"$\mathrm{E}[r \|s\|^2] = \kappa \mathrm{E}[l r]$, $\mathrm{E}\|s\|^2 = \kappa \mathrm{E}[l]$, "
        r"any law: no constant does better"
    ),
)
def better(power=1):
    kappa, length = sp.symbols("kappa L", positive=True)
    second, product = sp.symbols("M2 LR", real=True)
    spread = second - 2 * b * kappa * product + b**2 * kappa * length**power  # less the squared mean
    values = {variance: spread, least: spread.subs(b, product / length), largest: kappa, smallest: kappa}
    lengths.goal("optimal").holds(values)


@lengths.step(
    "A law with proportional norms",
    route="enumeration",
    shows="three rewards and lengths, norms of twice the length; b a symbol",
)
def proportional_law(sizes=SIZES):
    spread = sy.group_moments(PROPORTIONAL, 1, lambda r: (r[0] - b,)).trace_cov
    ratios = [n / sp.Integer(l) for n, l in zip(norms_of(PROPORTIONAL), SIZES, strict=True)]
    values = {
        variance: spread,
        least: spread.subs(b, weighted_mean(PROPORTIONAL, sizes)),
        largest: max(ratios),
        smallest: min(ratios),
    }
    lengths.goal("optimal").holds(values)


def norm_sums(policy, chances):
    """E of the squared norm of the summed score, and of the sum of the tokens' squared norms."""
    rows = list(zip(chances, policy.bandit.scores, policy.token_scores, strict=True))
    return {
        rollout_norm: sum(c * sum(x * x for x in score) for c, score, _ in rows),
        token_norms: sum(c * sum(x * x for token in tokens for x in token) for c, _, tokens in rows),
        largest: 1,
        smallest: 1,
    }


@lengths.step(
    "Norms add, any chances",
    route="sympy",
    shows="a policy that goes on with chance a, then takes token 0 with chance b, both symbols",
)
def norms_add(weight=1):
    policy = tied(*sp.symbols("p q", positive=True))
    chances = [policy.probabilities[0] * weight, *policy.probabilities[1:]]
    lengths.goal("norms add over tokens").holds(norm_sums(policy, chances))


@lengths.step("Norms add, in numbers", route="enumeration", shows="go on with 2/3, then token 0 with 3/4")
def norms_add_in_numbers(weight=1):
    policy = tied(sp.Rational(2, 3), sp.Rational(3, 4))
    chances = [policy.probabilities[0] * weight, *policy.probabilities[1:]]
    lengths.goal("norms add over tokens").holds(norm_sums(policy, chances))


class Tied(Stopping):
    """Both tokens share their two logits, so that the products of their scores do not vanish by themselves."""

    @property
    def token_scores(self):
        separate = super().token_scores
        return [[[x[0] + x[2], x[1] + x[3]] for x in tokens] for tokens in separate]

    @property
    def bandit(self):
        sums = [[sp.Add(*column) for column in zip(*tokens, strict=True)] for tokens in self.token_scores]
        return sy.SymbolicBandit(self.probabilities, self.rewards, sums)


def tied(a, second):
    return Tied(a, second, (sp.Integer(1), sp.Integer(1), sp.Integer(0)))


@lengths.counterexample(
    "Go on with chance 1/2, then a nearly certain token; going on is right: the length-weighted constant has more "
    "variance than the mean reward. The engine agrees.",
    a="1/2",
    b="19/20",
    rewards="(1, 1, 0)",
)
def mean_is_better(policy=SHORT):
    bandit = policy.bandit
    constants = [weighted_mean(bandit, policy.lengths), bandit.value]
    moments = [sy.group_moments(bandit, 1, less(constant)) for constant in constants]
    groups: dict[
        tuple[sp.Expr, Any], tuple[sp.Expr, sp.Expr]
    ] = {}  # (reward, length): chance and mean squared norm
    for chance, reward, size, square in zip(
        bandit.probabilities, bandit.rewards, policy.lengths, norms_of(bandit), strict=True
    ):
        mass, total = groups.get((reward, size), (0, 0))
        groups[reward, size] = mass + chance, total + chance * square
    ratios = [total / mass / size for (_, size), (mass, total) in groups.items()]
    values = {
        least: moments[0].trace_cov,
        variance: moments[1].trace_cov,
        largest: max(ratios),
        smallest: min(ratios),
    }
    lengths.goal("optimal").fails(values, at={b: constants[1]}, without="proportional norms")
    shipped = compose(
        advantage=lambda rewards: rewards - float(constants[0]),
        surrogate=surrogate.likelihood,
        aggregate=aggregate.sequence_token_sum,
        min_group=1,
    )
    sy.engines_agree(stopping_engine(shipped, policy, 1), moments[0], f"baseline {constants[0]}")
    return sy.Exhibit(
        text=f"length-weighted {constants[0]}, mean {constants[1]}: {values[least]}, {values[variance]}"
    )


lengths.sabotage("norms that grow with the square of the length", better, power=2)
lengths.sabotage("other lengths in the baseline", proportional_law, sizes=(1, 1, 1, 1, 3, 3))
lengths.sabotage("a completion counted twice (not on policy)", norms_add, weight=2)
lengths.sabotage("a completion counted twice, in numbers", norms_add_in_numbers, weight=2)
lengths.sabotage(
    "a second token as uncertain as the first", mean_is_better, policy=stopping("1/2", "2/5", [1, 0, 0])
)


G = sp.Symbol("G", integer=True, positive=True)
defect, equal_update, loo_update, gradient = sp.symbols("D m_eq m_loo g", real=True)
first, second, r1, r2 = sp.symbols("A_1 A_2 r_1 r_2", real=True)
l1, l2 = sp.symbols("l_1 l_2", positive=True)
UPDATES = {
    defect: sy.Quantity(
        r"D",
        (
            r"$\|m\|^2 \|\nabla J\|^2 - (m \cdot \nabla J)^2$ with OPO's expected update m, zero where m "
            r"is along $\nabla J$"
        ),
    ),
    equal_update: sy.Quantity("m_{=}", "OPO's expected update where all rollouts have one length"),
    loo_update: sy.Quantity(
        "m_{-i}", "the expected update where each rollout is left out of its own baseline"
    ),
    gradient: sy.Quantity(r"\nabla J", "the gradient of the expected reward"),
    first: sy.Quantity("A_1", "the advantage of the first rollout of a pair under OPO"),
    second: sy.Quantity("A_2", "that of the second"),
    r1: sy.Quantity("r_1", "the first reward"),
    r2: sy.Quantity("r_2", "the second reward"),
    l1: sy.Quantity("l_1", "the first rollout's length"),
    l2: sy.Quantity("l_2", "the second's"),
}
SETTING = r"$A_i = r_i - \sum_j l_j r_j / \sum_j l_j$ over a group of G rollouts, on policy, sequence scores"

with_self = sy.Claim(
    id="B17c",
    title="OPO's group baseline, its own rollout included, leaves the update along the gradient",
    statement=sy.Statement(
        setting=SETTING,
        forall={G: sy.whole(2)},
        quantities=UPDATES,
        goals={"along the gradient": sp.Eq(defect, 0)},
    ),
    instead=sy.Statement(
        setting=SETTING,
        forall={G: sy.whole(2)},
        quantities=UPDATES,
        goals={
            "equal lengths": sp.Eq(equal_update, (G - 1) / G * gradient),
            "left out": sp.Eq(loo_update, gradient),
            "a pair": sp.And(
                sp.Eq(first, l2 * (r1 - r2) / (l1 + l2)), sp.Eq(second, l1 * (r2 - r1) / (l1 + l2))
            ),
            "zero sum": sp.Equivalent(sp.Eq(first + second, 0), sp.Or(sp.Eq(l1, l2), sp.Eq(r1, r2))),
        },
    ),
    source=sy.Source(
        *PLACE,
        relation="ours",
        says="the baseline is estimated from the group; no sentence about the bias of this estimate was found",
    ),
    verdict="refuted",
    scope="groups with rollouts of different length, sequence scores; for equal lengths every G",
    proof=(
        r"For equal lengths the baseline is the group mean, and the index patterns give $\frac{G-1}{G} \nabla "
        r"J$. With the own rollout left out the baseline is independent of the score, and its term averages "
        r"to zero: the update is $\nabla J$ at every G. With it a pair's advantages are $\frac{l_2}{l_1 + "
        r"l_2}(r_1 - r_2)$ and $\frac{l_1}{l_1 + l_2}(r_2 - r_1)$, which sum to zero only for equal lengths "
        r"or rewards. On a policy with rollouts of one and two tokens the exact mean of the shipped estimator "
        r"is then off the direction of $\nabla J$."
    ),
    finding=(
        "Leaving the own rollout out of both sums (the catalogue's opo_leave_one_out) makes it unbiased, at "
        "the price of one baseline per rollout."
    ),
)
MIXED = stopping("1/3", "2/5", [2, 0, 1])


@with_self.step(
    "Any G",
    route="sympy",
    shows=(
        r"equal lengths by index patterns; left out: $\mathrm{E}[r s] - \mathrm{E}[b_{-i}] "
        r"\mathrm{E}[s]$; a pair by algebra"
    ),
)
def any_group(average_score=0, own_length=1):
    g, J, baseline = sp.symbols("g J B", real=True)
    R, S, RS = sp.symbols("R S RS")
    table = {(1, 1): g, (1, 0): J, (0, 1): sp.sympify(average_score), (0, 0): sp.Integer(1)}
    sums = {R: {"r": 1}, S: {"s": 1}, RS: {"r": 1, "s": 1}}

    def mean(estimator):
        return sy.over_rollouts(estimator, sums, G, lambda e: table[e.get("r", 0), e.get("s", 0)])

    with_self.goal("equal lengths").holds({equal_update: mean((RS - R * S / G) / G), gradient: g})
    # b_{-i} is independent of s_i, so that only its mean enters.
    with_self.goal("left out").holds({loo_update: mean((RS - baseline * S) / G), gradient: g})
    x, y = sp.symbols("x y", real=True)
    m, n = sp.symbols("m n", positive=True)
    base = (own_length * m * x + n * y) / (m + n)
    values = {first: x - base, second: y - base, r1: x, r2: y, l1: m, l2: n}
    with_self.goal("a pair").holds(values)
    with_self.goal("zero sum").holds(values)


@with_self.step(
    "The shipped weights of a pair",
    route="traced code",
    shows="symbolic rewards, all lengths up to 4: OPO's advantages",
)
def traced(name="opo"):
    for m in range(1, 5):
        for n in range(1, 5):
            rollouts = sy.symbolic_group(2, lengths=(m, n), on_policy=True)
            weights = rollouts.weights(catalogue.get(name))[0, :, 0]
            x, y = rollouts.rewards.reshape(-1)
            values = {first: 2 * weights[0], second: 2 * weights[1], r1: x, r2: y, l1: m, l2: n}
            with_self.goal("a pair").holds(values, at={G: 2})
            with_self.goal("zero sum").holds(values, at={G: 2})


@with_self.step(
    "All groups",
    route="enumeration",
    shows="shipped weights: equal lengths on a bandit with three rewards, left out on one and two tokens; G = 2, 3",
)
def enumerated(left_out="opo_leave_one_out", equal="opo"):
    for size in (2, 3):
        moments = sy.group_moments(LADDER, size, sy.weights_of(catalogue.get(equal)))
        values = {equal_update: moments.mean, gradient: LADDER.gradient}
        with_self.goal("equal lengths").holds(values, at={G: size})
        moments = token_moments(MIXED, size, catalogue.get(left_out))
        values = {loo_update: moments.mean, gradient: MIXED.bandit.gradient}
        with_self.goal("left out").holds(values, at={G: size})


@with_self.step("The engine", route="exact engine", shows="left out, G = 2, rollouts of one and two tokens")
def engine(name="opo_leave_one_out"):
    computed = np.asarray(stopping_engine(catalogue.get(name), MIXED, 2).mean).reshape(-1)
    values = {loo_update: computed, gradient: MIXED.bandit.gradient}
    with_self.goal("left out").holds(values, at={G: 2}, tolerance=1e-11)


@with_self.counterexample(
    "Go on with chance 1/3, then token 0 with 2/5; rewards 2, 0, 1: the mean at G = 2 is not parallel to grad J. The "
    "engine agrees.",
    a="1/3",
    b="2/5",
    rewards="(2, 0, 1)",
    G="2",
)
def with_own(name="opo"):
    exact = token_moments(MIXED, 2, catalogue.get(name))
    value = parallel_defect(exact.mean, MIXED.bandit.gradient)
    with_self.goal("along the gradient").fails({defect: value}, at={G: 2})
    sy.engines_agree(stopping_engine(catalogue.get(name), MIXED, 2), exact, name)
    return sy.Exhibit(text=f"E = {exact.mean}, grad J = {MIXED.bandit.gradient}")


with_self.sabotage("scores that do not average to zero", any_group, average_score=sp.Rational(1, 5))
with_self.sabotage("another length for the own rollout", any_group, own_length=2)
with_self.sabotage("the weights without the own rollout", traced, name="opo_leave_one_out")
with_self.sabotage("the own rollout kept", enumerated, left_out="opo")
with_self.sabotage("left out where it should be kept", enumerated, equal="opo_leave_one_out")
with_self.sabotage("the own rollout kept in the engine", engine, name="opo")
with_self.sabotage("the leave-one-out form", with_own, name="opo_leave_one_out")
