"""C7: the two-sample contrast as a control variate, and its best coefficient. (Our own question.)"""

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate

claim = sy.Claim(
    id="C7",
    title=(
        "The pair contrast is a control variate for REINFORCE; leave-one-out overuses it for binary rewards"
    ),
    statement=(
        r"With $f = \frac{1}{G}\sum_i r_i s_i$ and the contrast $h = \frac{1}{G(G-1)}\sum_{i<j} "
        r"(r_i - r_j)(s_i - s_j)$, $z = f - h = \frac{1}{G(G-1)}\sum_{i \ne j} r_j s_i$ has mean "
        r"zero; $f - c z$ is unbiased for every constant c "
        r"($c = 0$ REINFORCE, $c = 1$ leave-one-out) and has least variance at $c^* = \frac{(G-1) "
        r"J M_1}{\mathrm{E}[r^2] V + (G-2) J^2 V + \|g\|^2}$, $M_1 = \mathrm{E}[r\|s\|^2]$, $V = "
        r"\mathrm{E}\|s\|^2$."
    ),
    source=sy.Source("this project", "", "a question of the ledger, raised by 2510.00977"),
    verdict="proved",
    ours=True,
    scope=(
        "every G >= 2 (symbolic), all laws of (reward, score) with E[s] = 0, one prompt; the sign of 1 "
        "- c* for rewards in {0, 1}"
    ),
    hypotheses=("on policy, sequence scores", "c is a constant, not fitted to the rollouts it multiplies"),
    finding=(
        r"h itself cannot be the control variate: its mean is $\nabla J$, the unknown; only the "
        r"difference $f - h$ has a known mean. $c^* \to M_1/(J V) = b^*/J$ as $G \to \infty$. For "
        r"rewards in $\{0, 1\}$ at $G = 2$ always $c^* < 1$: "
        r"$r_i - c\, r_j$ with some $c < 1$ has less variance than leave-one-out, and below $c^* = "
        r"1/2$ plain REINFORCE has less than leave-one-out. With scores of equal size ($v_1 = "
        r"v_0$) $c^* \le p$, so that holds for every prompt with $p \le 1/2$; for a softmax over "
        r"two answers "
        r"$c^* = \frac{1-p}{2-p} < \frac{1}{2}$ at every p. Rewards that are shifted away from "
        r"zero, and larger groups, move $c^*$ up, past 1 too."
    ),
)
G = sp.Symbol("G", positive=True, integer=True)
R, S, RS = sp.symbols("R S RS")
SUMS = {R: {"r": 1}, S: {"s": 1}, RS: {"r": 1, "s": 1}}
M = {(a, b): sp.Symbol(f"m{a}{b}", real=True) for a in range(3) for b in range(3)}
LEVELS = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "5/2"])


def expectation(expression, mean_score=0):
    table = M | {(0, 0): sp.Integer(1), (0, 1): sp.sympify(mean_score)}
    return sy.over_rollouts(sp.expand(expression), SUMS, G, lambda e: table[e.get("r", 0), e.get("s", 0)])


F, Z = RS / G, (R * S - RS) / (G * (G - 1))


def best():
    """c* in moments: m10 = J, m12 = E[r s^2], m20 = E[r^2], m02 = E[s^2], m11 = g."""
    return (G - 1) * M[1, 0] * M[1, 2] / (M[2, 0] * M[0, 2] + (G - 2) * M[1, 0] ** 2 * M[0, 2] + M[1, 1] ** 2)


@claim.step(
    "The difference",
    route="sympy",
    shows=(
        r"$h = \frac{G\,RS - R\,S}{G(G-1)}$ in sums over the group, so $f - h = \frac{R S - "
        r"RS}{G(G-1)}$, whose mean is $\mathrm{E}[r]\mathrm{E}[s] = 0$"
    ),
)
def difference(mean_score=0):
    contrast = (G * RS - R * S) / (G * (G - 1))
    sy.equal(F - contrast, Z, "f - h")
    sy.equal(expectation(Z, mean_score), 0, "its mean")
    sy.equal(expectation(contrast, mean_score), M[1, 1], "the contrast's mean is the gradient")


@claim.step(
    "The coefficient, any G",
    route="sympy",
    shows=(
        r"$\mathrm{E}[f z] = J M_1/G$ and $\mathrm{E}[z^2] = \frac{\mathrm{E}[r^2]V + (G-2)J^2 V + "
        r"\|g\|^2}{G(G-1)}$ by index patterns"
    ),
)
def coefficient(scale=1):
    cov, var = expectation(F * Z), expectation(Z**2)
    sy.equal(cov, M[1, 0] * M[1, 2] / G, "the covariance")
    sy.equal(cov / var, scale * best(), "the best coefficient")
    limit = sp.limit(best(), G, sp.oo)
    sy.equal(limit, M[1, 2] / (M[1, 0] * M[0, 2]), "its limit is b*/J")


@claim.step(
    "Binary rewards: below one",
    route="smt",
    shows=(
        r"rewards in $\{0,1\}$, G = 2: $c^* = \frac{p^2 v_1}{p V + \|g\|^2}$ with $V = p v_1 + (1-p) "
        r"v_0$ is below 1; REINFORCE beats leave-one-out if and only if $c^* < 1/2$"
    ),
)
def below_one(shift=0):
    p = sp.Symbol("p", positive=True)
    v1, v0, square = sp.symbols("v1 v0 g2", positive=True)
    norm = p * v1 + (1 - p) * v0
    # Rewards r + shift: E[r^2], J and E[r |s|^2] in the four numbers.
    top = (p + shift) * (p * v1 * (1 + shift) + (1 - p) * v0 * shift)
    bottom = (p * (1 + shift) ** 2 + (1 - p) * shift**2) * norm + square
    sy.require(sy.smt_valid([p < 1], top < bottom), "c* < 1")
    change = bottom - 2 * top  # Var at c = 1 less Var at c = 0, times G(G-1)
    sy.require(
        sy.smt_valid([p < 1], sp.Equivalent(change > 0, 2 * top < bottom)),
        "REINFORCE is better below one half",
    )


def moments(c, size, bandit=LEVELS):
    def weights(r):
        total = sum(r)
        return [(x - c * (total - x) / sp.Integer(size - 1)) / size for x in r]

    return sy.group_moments(bandit, size, weights)


def numbers(bandit, size):
    norms = [sum(x * x for x in s) for s in bandit.scores]

    def mean(f):
        return sum(q * f(r, n) for q, r, n in zip(bandit.probabilities, bandit.rewards, norms, strict=True))

    values = {
        M[1, 0]: mean(lambda r, n: r),
        M[1, 2]: mean(lambda r, n: r * n),
        M[2, 0]: mean(lambda r, n: r * r),
        M[0, 2]: mean(lambda r, n: n),
    }
    top = (G - 1) * M[1, 0] * M[1, 2]
    bottom = M[2, 0] * M[0, 2] + (G - 2) * M[1, 0] ** 2 * M[0, 2] + sum(x * x for x in bandit.gradient)
    return (top / bottom).subs(values).subs(G, size)


@claim.step(
    "On a bandit",
    route="enumeration",
    shows=(
        r"three reward levels, G = 2, 3: c a symbol, the exact variance is a parabola with its least "
        r"value at $c^*$; the mean is $\nabla J$ for every c"
    ),
)
def on_bandit(shift=0):
    c = sp.Symbol("c", real=True)
    shown = []
    for size in (2, 3):
        computed = moments(c, size)
        sy.equal(computed.mean, LEVELS.gradient, "unbiased for every c")
        (least,) = sp.solve(sp.diff(computed.trace_cov, c), c)
        sy.equal(least, numbers(LEVELS, size) + shift, f"c* at G = {size}")
        shown.append(f"G = {size}: c* = {least}")
    return sy.Exhibit(text=", ".join(shown))


@claim.step(
    "The ends are the shipped estimators",
    route="traced code",
    shows="c = 0 is REINFORCE and c = 1 leave-one-out, weight by weight, G = 2..4",
)
def ends(full_contrast="rloo"):
    rewards = (sp.Integer(0), sp.Integer(1), sp.Rational(5, 2), sp.Integer(-1))
    for size in (2, 3, 4):
        r = rewards[:size]
        for c, name in ((0, "reinforce"), (1, full_contrast)):
            by_hand = [(x - sp.Rational(c, size - 1) * (sum(r) - x)) / size for x in r]
            sy.equal(list(sy.weights_of(catalogue.get(name))(r)), by_hand, f"{name} at G = {size}")


@claim.step(
    "Two kinds of prompts",
    route="sympy",
    shows=(
        r"G = 2: $v_1 = v_0$ gives $c^* = \frac{p}{1 + \|g\|^2/(pV)} \le p$; a softmax over two "
        r"answers gives $\frac{1-p}{2-p}$"
    ),
)
def two_kinds(bound=1):
    p, v, square = sp.symbols("p v g2", positive=True)
    pair = {M[1, 0]: p, M[2, 0]: p, G: 2}
    # best() has m11^2 for the squared gradient: one component stands for all.
    same = best().subs(pair | {M[1, 2]: p * v, M[0, 2]: v, M[1, 1]: sp.sqrt(square)})
    sy.equal(same, p / (1 + square / (p * v)), "scores of equal size")
    two_answers = best().subs(pair | {M[1, 2]: p * (1 - p) ** 2, M[0, 2]: p * (1 - p), M[1, 1]: p * (1 - p)})
    sy.equal(two_answers, (1 - p) / (2 - p), "two answers")
    sy.require(
        sy.smt_valid([p < 1], sp.And(same <= bound * p, 2 * two_answers < 1)), "below p, and below one half"
    )


@claim.step(
    "Less variance than leave-one-out",
    route="exact engine",
    shows=(
        "a hard prompt, p = 1/10, G = 2: the engine on the advantage with c*, against its exact value "
        "and below both ends"
    ),
)
def hard(rewards=(1, 0)):
    bandit = sy.SymbolicBandit(["1/10", "9/10"], list(rewards))
    star = numbers(bandit, 2)
    variances = [moments(c, 2, bandit).trace_cov for c in (star, 0, 1)]
    sy.require(variances[0] < variances[1] < variances[2], "c* below REINFORCE below leave-one-out")
    level = float(star)

    def partial_leave_one_out(rewards):
        return advantage.leave_one_out(rewards) * level + (1 - level) * rewards

    shipped = compose(
        advantage=partial_leave_one_out,
        surrogate=surrogate.likelihood,
        aggregate=aggregate.sequence_token_sum,
    )
    sy.engines_agree(sy.engine(shipped, bandit, 2), moments(star, 2, bandit), "with c*")
    return sy.Exhibit(text=f"c* = {star}; variances at c*, 0, 1: {', '.join(map(str, variances))}")


claim.sabotage("off policy", difference, mean_score=sp.Rational(1, 4))
claim.sabotage("twice the coefficient", coefficient, scale=2)
claim.sabotage("rewards far from zero", below_one, shift=-2)
claim.sabotage("another coefficient", on_bandit, shift=sp.Rational(1, 10))
claim.sabotage("the group mean for leave-one-out", ends, full_contrast="dr_grpo")
claim.sabotage("half of p as the bound", two_kinds, bound=sp.Rational(1, 2))
claim.sabotage("rewards 3 and 2", hard, rewards=(3, 2))
