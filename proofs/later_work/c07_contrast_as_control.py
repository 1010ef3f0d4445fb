"""C7: the two-sample contrast as a control variate, and its best coefficient. (Our own question.)"""

import itertools

import numpy as np
import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate

G = sp.Symbol("G", positive=True, integer=True)
c = sp.Symbol("c", real=True)
p = sp.Symbol("p", positive=True)
update, gradient, best, value, weighted, squares, norm, square = sp.symbols(
    "m g cbest J M1 R2 V g2", real=True
)
end, shipped_end, star, pair_star, plain, contrast = sp.symbols("w u s s2 v0 v1", real=True)

claim = sy.Claim(
    id="C7",
    title="The pair contrast is a control variate for REINFORCE; leave-one-out overuses it for binary rewards",
    statement=sy.Statement(
        setting=(
            r"One prompt, G rollouts; $f = \frac{1}{G} \sum_i r_i s_i$ and $h = \frac{1}{G(G-1)} \sum_{i<j} "
            "(r_i - r_j)(s_i - s_j)$; the estimator $f - c (f - h)$ with a constant c"
        ),
        forall={G: sy.whole(2), c: sy.real(), p: sy.between(0, 1)},
        given={
            "on policy": sy.Hypothesis(
                r"the rollouts are independent draws of the policy, so that $\mathrm{E}[s] = 0$",
                stated_by="ours",
            ),
            "constant": sy.Hypothesis("c is not fitted to the rollouts that it multiplies", stated_by="ours"),
        },
        quantities={
            update: sy.Quantity(r"\mathrm{E}[f - c(f - h)]", "the mean of the estimator"),
            gradient: sy.Quantity(r"\nabla J", "the gradient of the expected reward"),
            best: sy.Quantity("c^*", "the coefficient of least variance"),
            value: sy.Quantity("J", "the expected reward"),
            weighted: sy.Quantity("M_1", r"$\mathrm{E}[r \|s\|^2]$"),
            squares: sy.Quantity("R_2", r"$\mathrm{E}[r^2]$"),
            norm: sy.Quantity("V", r"$\mathrm{E}\|s\|^2$"),
            square: sy.Quantity("g_2", r"$\|\nabla J\|^2$"),
            end: sy.Quantity("w", "a rollout's weight in the estimator at c = 0 and at c = 1"),
            shipped_end: sy.Quantity("u", "its weight in the shipped REINFORCE and leave-one-out"),
            pair_star: sy.Quantity(r"c^*_b", "the best coefficient at G = 2 with binary rewards"),
            plain: sy.Quantity(
                r"\mathrm{Var}_0",
                "the variance of such a pair at c = 0 (REINFORCE), up to a common factor and term",
            ),
            contrast: sy.Quantity(
                r"\mathrm{Var}_1", "that at c = 1 (leave-one-out), up to the same factor and term"
            ),
            star: sy.Quantity(
                r"c^*_2", "the best coefficient at G = 2 of a softmax over two answers, rewards 0 and 1"
            ),
        },
        goals={
            "unbiased": sp.Eq(update, gradient),
            "best coefficient": sp.Eq(
                best * (squares * norm + (G - 2) * value**2 * norm + square), (G - 1) * value * weighted
            ),
            "both ends": sp.Eq(end, shipped_end),
            "below one": sp.And(
                sp.Lt(pair_star, 1),
                sp.Equivalent(sp.Lt(plain, contrast), sp.Lt(pair_star, sp.Rational(1, 2))),
            ),
            "two answers": sp.And(sp.Eq(star, (1 - p) / (2 - p)), sp.Lt(star, sp.Rational(1, 2))),
        },
    ),
    source=sy.Source(
        "this project",
        relation="ours",
        says="a question about the contrast of two samples; no source claims the statement",
    ),
    verdict="proved",
    scope=(
        "every G >= 2, all laws of (reward, score) with E[s] = 0, one prompt; the sign of 1 - c* for rewards "
        "in {0, 1}, where the statement on Var_0 and Var_1 is about G = 2"
    ),
    proof=(
        r"In sums over the group $f - h = \frac{R S - \sum r_i s_i}{G(G-1)} = \frac{1}{G(G-1)} \sum_{i \ne j} "
        r"r_j s_i$, whose mean is $\mathrm{E}[r] \mathrm{E}[s] = 0$, so every constant c leaves the mean. The "
        "best c is the covariance of f and f - h over the variance of f - h, which index patterns give for "
        "every G. At c = 0 and 1 the weights are those of the shipped REINFORCE and leave-one-out. For rewards "
        r"0 and 1 at G = 2, $c^* = p^2 v_1/(p V + \|g\|^2)$ with $V \ge p v_1$, which is below one; the "
        "variance is a parabola in c, so c = 0 beats c = 1 if and only if $c^* < 1/2$."
    ),
    finding=(
        r"h itself cannot be the control variate: its mean is $\nabla J$, the unknown; only the "
        r"difference $f - h$ has a known mean. For rewards in $\{0, 1\}$ at $G = 2$, "
        r"$r_i - c\, r_j$ with some $c < 1$ has less variance than leave-one-out; for a softmax over two answers plain "
        r"REINFORCE has less at every p. Rewards that are shifted away from "
        r"zero, and larger groups, move $c^*$ up, past 1 too."
    ),
)
R, S, RS = sp.symbols("R S RS")
SUMS = {R: {"r": 1}, S: {"s": 1}, RS: {"r": 1, "s": 1}}
M = {(a, b): sp.Symbol(f"m{a}{b}", real=True) for a in range(3) for b in range(3)}
LEVELS = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "5/2"])
F, H = RS / G, (G * RS - R * S) / (G * (G - 1))


def expectation(expression, mean_score=0):
    table = M | {(0, 0): sp.Integer(1), (0, 1): sp.sympify(mean_score)}
    return sy.over_rollouts(sp.expand(expression), SUMS, G, lambda e: table[e.get("r", 0), e.get("s", 0)])


@claim.step(
    "By index patterns, any G",
    route="sympy",
    shows=r"the mean of $f - c(f - h)$, and $\mathrm{Cov}(f, f - h)/\mathrm{Var}(f - h)$, G and c symbols",
)
def by_patterns(mean_score=0, scale=1):
    difference = F - H
    claim.goal("unbiased").holds({update: expectation(F - c * difference, mean_score), gradient: M[1, 1]})
    ratio = expectation(F * difference) / expectation(difference**2)
    values = {value: M[1, 0], weighted: M[1, 2], squares: M[2, 0], norm: M[0, 2], square: M[1, 1] ** 2}
    claim.goal("best coefficient").holds({best: scale * ratio, **values})
    limit = sp.limit(ratio, G, sp.oo)
    sy.equal(limit, M[1, 2] / (M[1, 0] * M[0, 2]), "for large groups it tends to b*/J, b* the best constant")


def partial_weights(coefficient, size):
    """The weights of f - c (f - h): the reward less c times the mean of the others, over G."""

    def weights(r):
        return [(x - coefficient * (sum(r) - x) / sp.Integer(size - 1)) / size for x in r]

    return weights


def numbers(bandit):
    """The moments in the best coefficient, from the law of one rollout."""
    rows = [
        (chance, r, sum(x * x for x in s))
        for chance, r, s in zip(bandit.probabilities, bandit.rewards, bandit.scores, strict=True)
    ]
    return {
        value: sum(q * r for q, r, _ in rows),
        weighted: sum(q * r * n for q, r, n in rows),
        squares: sum(q * r * r for q, r, _ in rows),
        norm: sum(q * n for q, _, n in rows),
        square: sum(x * x for x in bandit.gradient),
    }


def least(bandit, size):
    """The c of least variance, from the parabola of the listed groups."""
    moments = sy.group_moments(bandit, size, partial_weights(c, size))
    (found,) = sp.solve(sp.diff(moments.trace_cov, c), c)
    return found, moments


@claim.step(
    "On bandits",
    route="enumeration",
    shows=(
        "three reward levels, G = 2, 3: c a symbol, the mean and the least point of the parabola; two answers "
        "with p free; binary rewards over three answers"
    ),
)
def on_bandits(shift=0):
    shown = []
    for size in (2, 3):
        found, moments = least(LEVELS, size)
        claim.goal("unbiased").holds({update: moments.mean, gradient: LEVELS.gradient}, at={G: size})
        claim.goal("best coefficient").holds({best: found + shift, **numbers(LEVELS)}, at={G: size})
        shown.append(f"G = {size}: c* = {found}")
    found, _ = least(sy.SymbolicBandit([p, 1 - p], [1, 0]), 2)
    claim.goal("two answers").holds({star: sp.factor(found)})
    for chances, rewards in ((("1/2", "1/3", "1/6"), (1, 0, 0)), (("1/10", "1/5", "7/10"), (0, 1, 1))):
        found, moments = least(sy.SymbolicBandit(chances, rewards), 2)
        ends = [moments.trace_cov.subs(c, x) for x in (0, 1)]
        claim.goal("below one").holds({pair_star: found, plain: ends[0], contrast: ends[1]})
    return sy.Exhibit(text=", ".join(shown))


@claim.step(
    "Binary rewards",
    route="smt",
    shows=(
        r"G = 2: $c^* = \frac{p^2 v_1}{p V + \|g\|^2}$, $V = p v_1 + (1-p) v_0$, and the parabola $c^2 (p V + "
        r"\|g\|^2) - 2 c p^2 v_1$ at 0 and 1; two answers"
    ),
)
def binary(shift=0):
    v1, v0, g2 = sp.symbols("v1 v0 g2", positive=True)
    V = p * v1 + (1 - p) * v0
    # Rewards r + shift: E[r^2], J and E[r |s|^2] in the four numbers.
    top = (p + shift) * (p * v1 * (1 + shift) + (1 - p) * v0 * shift)
    bottom = (p * (1 + shift) ** 2 + (1 - p) * shift**2) * V + g2

    def variance(at):
        return bottom * at**2 - 2 * top * at

    claim.goal("below one").holds({pair_star: top / bottom, plain: variance(0), contrast: variance(1)})
    # Two answers: scores (1-p, -(1-p)) and (-p, p), the gradient p (1-p) (1, -1).
    two = {v1: 2 * (1 - p) ** 2, v0: 2 * p**2, g2: 2 * (p * (1 - p)) ** 2}
    claim.goal("two answers").holds({star: (top / bottom).subs(two)})


@claim.step(
    "The ends are shipped",
    route="traced code",
    shows="c = 0 against reinforce and c = 1 against rloo, with their defaults: rewards in symbols, G = 2, 3, 4",
)
def ends(full_contrast="rloo"):
    for size in (2, 3, 4):
        rollouts = sy.symbolic_group(size, [1 + i % 2 for i in range(size)], on_policy=True)
        rewards = tuple(rollouts.rewards.reshape(-1))
        for coefficient, name in ((0, "reinforce"), (1, full_contrast)):
            shipped = rollouts.weights(catalogue.get(name))[0, :, 0]
            by_hand = partial_weights(sp.Integer(coefficient), size)(rewards)
            claim.goal("both ends").holds({end: by_hand, shipped_end: shipped}, at={G: size, c: coefficient})


@claim.step(
    "The ends, any G",
    route="sympy",
    shows=(
        r"$\frac{1}{G}(r_i - c \frac{R - r_i}{G - 1})$ at c = 0 and 1 against $\frac{r_i}{G}$ and $\frac{1}{G - "
        r"1}(r_i - \frac{R}{G})$"
    ),
)
def ends_any(denominator=1):
    r, total = sp.symbols("r1 R", real=True)
    weight = (r - c * (total - r) / (G - 1)) / G
    claim.goal("both ends").holds(
        {
            end: [weight.subs(c, 0), weight.subs(c, 1)],
            shipped_end: [r / G, (r - total / G) / (G - denominator)],
        }
    )


@claim.step(
    "Less variance than leave-one-out",
    route="exact engine",
    shows=(
        "a hard prompt, p = 1/10, G = 2: the engine on the advantage with c*: its mean, its variance below "
        "both ends and equal to the listed one"
    ),
)
def hard(rewards=(1, 0)):
    bandit = sy.SymbolicBandit(["1/10", "9/10"], list(rewards))
    found, _ = least(bandit, 2)
    level = float(found)

    def partial_leave_one_out(rewards):
        return advantage.leave_one_out(rewards) * level + (1 - level) * rewards

    estimator = compose(
        advantage=partial_leave_one_out,
        surrogate=surrogate.likelihood,
        aggregate=aggregate.sequence_token_sum,
    )
    engine = sy.engine(estimator, bandit, 2)
    exact = sy.group_moments(bandit, 2, partial_weights(found, 2))
    sy.engines_agree(engine, exact, "with c*")
    values = {update: np.asarray(engine.mean).reshape(-1), gradient: bandit.gradient}
    claim.goal("unbiased").holds(values, at={G: 2, c: found}, tolerance=1e-11)
    variances = [sy.engine(catalogue.get(name), bandit, 2).trace_cov for name in ("reinforce", "rloo")]
    claim.goal("two answers").holds({star: level}, at={p: sp.Rational(1, 10)}, tolerance=1e-12)
    for less, more in itertools.pairwise([float(engine.trace_cov), *map(float, variances)]):
        sy.below(less, more, 1e-9, "c* below REINFORCE below leave-one-out")
    return sy.Exhibit(
        text=f"c* = {found}; variances {exact.trace_cov}, {variances[0]:.5f}, {variances[1]:.5f}"
    )


claim.sabotage("off policy", by_patterns, mean_score=sp.Rational(1, 4))
claim.sabotage("twice the coefficient", by_patterns, scale=2)
claim.sabotage("another coefficient", on_bandits, shift=sp.Rational(1, 10))
claim.sabotage("rewards far from zero", binary, shift=-2)
claim.sabotage("the group mean for leave-one-out", ends, full_contrast="dr_grpo")
claim.sabotage("the group mean at any G", ends_any, denominator=0)
claim.sabotage("rewards 3 and 2", hard, rewards=(3, 2))
