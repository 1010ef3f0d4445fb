"""C2: LPO's target, improvement, bounds and coverage (a); improvement of what (b)."""

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

PLACE = "Theorems 1 and 2, Corollaries 1 and 2, as a public summary prints them"
SIZE = 4
W, P, Q = (sp.symbols(f"{n}1:{SIZE + 1}", positive=True) for n in ("w", "p", "q"))
R = sp.symbols(f"R1:{SIZE + 1}", real=True)
TAU = sp.Symbol("tau", positive=True)


def kl(a, b):
    return sum(x * (sp.log(x) - sp.log(y)) for x, y in zip(a, b, strict=True))


target = sy.Claim(
    id="C2a",
    title="The listwise Gibbs target and its guarantees on the group's simplex",
    statement=(
        r"$w^* = \mathrm{softmax}(R/\tau + s_t)$ is the only maximiser of $\langle w, R\rangle - "
        r"\tau \mathrm{KL}(w \| P_t)$; $\langle w^* - P_t, R \rangle = \tau [\mathrm{KL}(w^*\|P_t) "
        r"+ \mathrm{KL}(P_t\|w^*)]$; "
        r"a projection $P'$ loses at most $2 R_{\max} \epsilon$ of it, $\epsilon$ the total "
        r"variation to $w^*$; the forward coefficients $P_k - w^*_k$ lie in $[-1, 1]$ and sum to "
        r"zero; "
        r"if $w^*_k \ge \alpha$ and $\mathrm{KL}(w^*\|P) \le D$ then $P_k > \alpha \exp(-D/\alpha - 1)$."
    ),
    source=sy.Source("2605.06139", "v2", PLACE),
    verdict="proved",
    scope=(
        "any K (identities written with K = 4 symbols, each a sum over answers; coverage by two-point "
        "reduction), any real rewards, any tau > 0, any full-support P"
    ),
    finding=(
        r"Everything is about the K sampled rollouts: $\hat R(P) = \sum_k P_k R_k$ is the reward of a "
        r"resampling of the group, not of the policy (C2b)."
    ),
)


@target.step(
    "The maximiser",
    route="sympy",
    shows=(
        r"$\langle w, R \rangle - \tau \mathrm{KL}(w\|P) = \tau \log Z - \tau \mathrm{KL}(w\|w^*)$ for "
        r"every w on the simplex; KL is positive but at $w^*$"
    ),
)
def maximiser(sign=1):
    log_z = sp.Symbol("logZ", real=True)
    log_target = [sp.log(p) + sign * r / TAU - log_z for p, r in zip(P, R, strict=True)]
    objective = sum(w * r for w, r in zip(W, R, strict=True)) - TAU * kl(W, P)
    gap = TAU * sum(w * (sp.log(w) - t) for w, t in zip(W, log_target, strict=True))
    sy.equal(
        (objective + gap).subs(W[-1], 1 - sum(W[:-1])),
        TAU * log_z,
        "the objective is a constant less tau KL(w, w*)",
    )


@target.step(
    "The improvement",
    route="sympy",
    shows=(
        r"$R_k = \tau (\log w^*_k - \log P_k + \log Z)$, so $\langle w^* - P, R\rangle$ is tau times "
        r"the two KLs"
    ),
)
def improvement(only_one=False):
    log_z = sp.Symbol("logZ", real=True)
    rewards = [TAU * (sp.log(w) - sp.log(p) + log_z) for w, p in zip(W, P, strict=True)]
    gain = sum((w - p) * r for w, p, r in zip(W, P, rewards, strict=True))
    claimed = TAU * (kl(W, P) + (0 if only_one else kl(P, W)))
    last = {W[-1]: 1 - sum(W[:-1]), P[-1]: 1 - sum(P[:-1])}
    sy.equal(sp.expand(gain - claimed).coeff(log_z).subs(last), 0, "the constant drops out")
    sy.equal((gain - claimed).subs(log_z, 0), 0, "the gain")


@target.step(
    "Projection error and coefficients",
    route="smt",
    shows=(
        r"K = 3: $|\langle P' - w, R\rangle| \le R_{\max} \sum_k |P'_k - w_k|$ (twice the total "
        r"variation); $|P_k - w_k| \le 1$, sum zero"
    ),
)
def bounds(limit=1):
    w, p, r = W[:3], P[:3], R[:3]
    top = sp.Symbol("Rmax", positive=True)
    simplex = [sp.Eq(sum(w), 1), sp.Eq(sum(p), 1)]
    for x, y in zip(w, p, strict=True):
        sy.require(
            sy.smt_valid(simplex, sp.And(x - y <= limit, y - x <= limit)), "a coefficient is at most one"
        )
    d = sp.symbols("d1:4", real=True)
    within = [sp.And(x <= top, -top <= x) for x in r]
    for sign in (1, -1):
        sy.require(
            sy.smt_valid(
                within,
                sign * sum(x * y for x, y in zip(d, r, strict=True)) <= top * sum(sp.Abs(x) for x in d),
            ),
            "the error is bounded",
        )
    sy.require(
        sy.smt_valid(simplex, sp.Eq(sum(y - x for x, y in zip(w, p, strict=True)), 0)),
        "the coefficients sum to zero",
    )


@target.step(
    "Coverage",
    route="sympy",
    shows=(
        r"merging the other answers only lowers the KL: $D \ge w \log\frac{w}{P} + (1-w)\log(1-w)$, "
        r"and $(1-w)\log(1-w) > -w$; so $P > w e^{-D/w - 1}$, which grows with w"
    ),
)
def coverage(slack=1):
    w, d = sp.Symbol("w", positive=True), sp.Symbol("D", nonnegative=True)
    gap = (1 - w) * sp.log(1 - w) + slack * w
    sy.equal(gap.subs(w, 0), 0, "the gap is zero at 0")
    sy.equal(sp.diff(gap, w), -sp.log(1 - w), "and its slope is -log(1 - w) > 0")
    bound = sp.log(w) - d / w - 1
    sy.equal(sp.diff(bound, w), 1 / w + d / w**2, "the logarithm of the bound grows with w")


@target.step(
    "Coverage in numbers",
    route="enumeration",
    shows="three answers, all laws in eighths: the bound holds for every target and policy",
)
def coverage_numbers(extra=1):
    laws = [tuple(sp.Rational(n, 8) for n in (i, j, 8 - i - j)) for i in range(1, 7) for j in range(1, 8 - i)]
    logs = {x: float(sp.log(x)) for law in laws for x in law}

    def holds(w, p):
        d = sum(float(x) * (logs[x] - logs[y]) for x, y in zip(w, p, strict=True))
        return all(logs[y] > logs[x] - d / float(x) - extra for x, y in zip(w, p, strict=True))

    sy.enumerate_rationals(holds, laws, laws, what="the coverage bound")


@target.step(
    "The shipped forward form",
    route="traced code",
    shows=(
        r"off policy, two rollouts, ratios symbols: the weights are $w_k - P_k$, bounded and summing "
        r"to zero"
    ),
)
def shipped(name="lpo_forward"):
    rollouts = sy.symbolic_group(2, rewards=(1, 0))
    first, second = rollouts.rho.reshape(-1)
    weights = rollouts.weights(catalogue.get(name, temperature=1.0)).reshape(-1)
    share = first / (first + second)
    goal = sp.E / (1 + sp.E)
    sy.equal(weights, [goal - share, share - goal], "the forward weights")


target.sabotage("rewards with the wrong sign", maximiser, sign=-1)
target.sabotage("one KL for the two", improvement, only_one=True)
target.sabotage("coefficients within a half", bounds, limit=sp.Rational(1, 2))
target.sabotage("twice the slack", coverage, slack=2)
target.sabotage("the bound without the 1", coverage_numbers, extra=-1)
target.sabotage("the reverse form", shipped, name="lpo_reverse")


monotone = sy.Claim(
    id="C2b",
    title="Monotonic improvement, read as improvement of the policy",
    statement=(
        r"A step that takes $P_\theta$ to $w^*$ on a sampled group raises the expected reward "
        r"$J(\theta)$ of the policy on that prompt."
    ),
    source=sy.Source(
        "2605.06139",
        "v2",
        (
            "the abstract's 'monotonic improvement on the listwise objective', as it is easily read; "
            "the paper says listwise"
        ),
    ),
    verdict="refuted",
    scope=(
        "exact projection (no projection error), softmax policies with three answers, K = 2; what does "
        "rise is the listwise reward of the sampled group"
    ),
    finding=(
        r"The simplex of the group does not see the unsampled answers. Raising a mediocre answer "
        r"over a bad one takes mass from a good one that was not drawn. Only in expectation over "
        r"groups does a small "
        r"reverse-KL step climb J: by C1 its mean is $\frac{K-1}{K\tau} \nabla J$."
    ),
)
PI, GAINS = [sp.Rational(n, 4) for n in (2, 1, 1)], [sp.Rational(1, 10), sp.Integer(0), sp.Integer(1)]


def projected(pi, factor=2):
    """Logits of the pair (1, 2) moved by +-log(factor), as the gradient moves them: the new law."""
    raw = [pi[0] * factor, pi[1] / sp.Integer(factor), pi[2]]
    return [x / sum(raw) for x in raw]


def value(pi, gains=GAINS):
    return sum(x * r for x, r in zip(pi, gains, strict=True))


@monotone.step(
    "The direction",
    route="traced code",
    shows=(
        r"the group (answer 1, answer 2): the shipped forward and reverse weights are $\pm c$, $c > "
        r"0$, and $\langle \nabla J, s_1 - s_2 \rangle < 0$"
    ),
)
def direction(unsampled=1):
    gains = [*GAINS[:2], sp.Integer(unsampled)]
    bandit = sy.SymbolicBandit(PI, gains)
    for name in ("lpo_forward", "lpo_reverse"):
        weights = sy.weights_of(catalogue.get(name, temperature=1.0))((gains[0], gains[1]))
        sy.equal(weights[0] + weights[1], 0, f"{name}: opposite weights")
        sy.require(sp.N(weights[0]) > 0, f"{name}: towards the better of the two")
    slope = sum(
        g * (a - b) for g, a, b in zip(bandit.gradient, bandit.scores[0], bandit.scores[1], strict=True)
    )
    sy.require(slope < 0, "J falls along the update")


@monotone.step(
    "The listwise reward does rise",
    route="enumeration",
    shows=(
        r"the same step: $P$ goes from (1/2, 1/2) to (4/5, 1/5) $= w^*$ at $\tau = R_1/\log 4$; $\hat "
        r"R$ from 1/20 to 2/25"
    ),
)
def listwise(factor=2):
    new = projected(PI, factor)
    ratios = [n / o for n, o in zip(new, PI, strict=True)]
    p = [ratios[0] / (ratios[0] + ratios[1]), ratios[1] / (ratios[0] + ratios[1])]
    sy.equal(p, [sp.Rational(4, 5), sp.Rational(1, 5)], "P after the step is the target")
    sy.require(
        sum(x * r for x, r in zip(p, GAINS, strict=False)) > sp.Rational(1, 20), "the listwise reward rises"
    )


@monotone.counterexample(
    (
        "pi = (1/2, 1/4, 1/4), rewards (1/10, 0, 1), the sampled pair is (answer 1, answer 2): the "
        "exact projection takes J from 3/10 down to 14/55."
    ),
    pi="(1/2, 1/4, 1/4)",
    rewards="(1/10, 0, 1)",
    J="3/10 -> 14/55",
)
def falls(unsampled=1):
    gains = [*GAINS[:2], sp.Integer(unsampled)]
    before, after = value(PI, gains), value(projected(PI), gains)
    sy.require(after < before, "J falls")
    sy.equal(after, sp.Rational(14, 55), "J after the step")
    return sy.Exhibit(text=f"J from {before} to {after}")


@monotone.step(
    "All pairs and laws",
    route="enumeration",
    shows=(
        "laws in sixths: when the unsampled answer is the best and the sampled winner is likelier than "
        "the loser, J falls for small gains of the winner"
    ),
)
def when(best=1):
    def holds(i, j):
        pi = [sp.Rational(i, 6), sp.Rational(j, 6), sp.Rational(6 - i - j, 6)]
        if min(pi) <= 0 or pi[0] < pi[1]:
            return True
        gains = [sp.Rational(1, 1000), sp.Integer(0), sp.Integer(best)]
        return value(projected(pi), gains) < value(pi, gains)

    sy.enumerate_rationals(holds, range(1, 5), range(1, 5), what="J falls")


monotone.sabotage("an unsampled answer of no value", direction, unsampled=0)
monotone.sabotage("a longer step", listwise, factor=3)
monotone.sabotage("an unsampled answer of no value, the whole step", falls, unsampled=0)
monotone.sabotage("an unsampled answer that is the worst", when, best=-1)
