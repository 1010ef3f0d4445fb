"""C2: LPO's target, improvement, bounds and coverage (a); improvement of what (b)."""

import itertools

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

K = sp.Symbol("K", integer=True, positive=True)
tau = sp.Symbol("tau", positive=True)
gap, divergence, gain, both = sp.symbols("M D I B", real=True)
error = sp.Symbol("E", real=True)
variation, top = sp.symbols("V Rmax", nonnegative=True)
coefficient, total = sp.symbols("c C", real=True)
target_chance, level, bound = sp.symbols("w alpha D_w", positive=True)
log_chance, log_target, log_level, log_rest = sp.symbols("lp lw la lr", real=True)

target = sy.Claim(
    id="C2a",
    title="The listwise Gibbs target and its guarantees on the group's simplex",
    statement=sy.Statement(
        setting=(
            "One group of K rollouts with rewards R, $P$ their shares at the current policy, all positive, and "
            r"$w^* = \mathrm{softmax}(R/\tau + \log P)$"
        ),
        forall={K: sy.whole(2), tau: sy.above(0)},
        quantities={
            gap: sy.Quantity(
                "M(w)",
                r"$\langle w, R \rangle - \tau \mathrm{KL}(w \| P)$ at $w^*$ less its value at any w of the simplex",
            ),
            divergence: sy.Quantity("D(w)", r"$\mathrm{KL}(w \| w^*)$"),
            gain: sy.Quantity("I", r"$\langle w^* - P, R \rangle$, the gain in the listwise reward"),
            both: sy.Quantity("B", r"$\mathrm{KL}(w^* \| P) + \mathrm{KL}(P \| w^*)$"),
            error: sy.Quantity(
                r"\delta", r"$\langle P' - w^*, R \rangle$ for a projection $P'$ that misses the target"
            ),
            variation: sy.Quantity("V", r"$\sum_k |P'_k - w^*_k|$, twice the total variation"),
            top: sy.Quantity(r"R_{\max}", "a bound of all $|R_k|$"),
            coefficient: sy.Quantity("c_k", r"a coefficient $P_k - w^*_k$ of the forward gradient"),
            total: sy.Quantity("C", "the sum of these coefficients"),
            target_chance: sy.Quantity("w^*_k", "the target's share of rollout k, below one"),
            level: sy.Quantity(r"\alpha", "a level that $w^*_k$ reaches"),
            bound: sy.Quantity("d", r"a bound of $\mathrm{KL}(w^* \| P)$"),
            log_chance: sy.Quantity(r"\log P_k", "the logarithm of the policy's share of rollout k"),
            log_target: sy.Quantity(r"\log w^*_k", "that of the target's share"),
            log_level: sy.Quantity(r"\log \alpha", "that of the level"),
            log_rest: sy.Quantity(r"\log(1 - w^*_k)", "that of the target's other shares together"),
        },
        goals={
            "only maximiser": sp.And(sp.Eq(gap, tau * divergence), sp.Ge(gap, 0)),
            "improvement": sp.Eq(gain, tau * both),
            "projection error": sp.Le(sp.Abs(error), top * variation),
            "coefficients": sp.And(sp.Le(coefficient, 1), sp.Ge(coefficient, -1), sp.Eq(total, 0)),
            "coverage": sp.Gt(log_chance, log_level - bound / level - 1),
        },
        lemmas={
            "Gibbs": sy.Lemma(
                sp.Ge(divergence, 0), cited="Gibbs' inequality: KL is not negative, and zero only at w = w*"
            ),
            "log-sum": sy.Lemma(
                sp.Ge(
                    bound,
                    target_chance * (log_target - log_chance) + (1 - target_chance) * log_rest,
                ),
                cited="the log-sum inequality: merging the other rollouts lowers the KL, and 1 - P is at most one",
            ),
            "logarithm": sy.Lemma(
                sp.And(sp.Gt(log_rest, 1 - 1 / (1 - target_chance)), sp.Ge(log_target, log_level)),
                cited="log x > 1 - 1/x for x > 0 other than 1; the logarithm grows",
            ),
        },
    ),
    source=sy.Source(
        "2605.06139",
        "v2",
        "Theorems 1 and 2, Corollaries 1 and 2",
        says=(
            "the target is softmax of rewards over the temperature plus the current log-ratios; the step improves the "
            "listwise objective, with bounds on the projection's error, on the coefficients and on the mass kept"
        ),
        caveat="all of it is about the sampled group; the paper says so",
    ),
    verdict="proved",
    scope="any K, any real rewards, any tau > 0, any positive shares P",
    proof=(
        r"Since $\log w^*_k = R_k/\tau + \log P_k - \log Z$, the objective at w is $\tau \log Z - \tau "
        r"\mathrm{KL}(w \| w^*)$ term by term, so $w^*$ is the only maximiser by Gibbs' inequality, and "
        r"$\langle w^* - P, R \rangle$ is $\tau$ times the two divergences. A sum $\sum_k d_k R_k$ is at most "
        r"$R_{\max} \sum_k |d_k|$, by induction on K. Shares between zero and one that sum to one give the "
        r"coefficients' bounds. For coverage, $d \ge w \log\frac{w}{P} + (1-w)\log(1-w)$ by the log-sum "
        r"inequality and $(1-w)\log(1-w) > -w$, so $\log P > \log w - d/w - 1$, which grows with w."
    ),
    finding=(
        r"Everything is about the K sampled rollouts: $\hat R(P) = \sum_k P_k R_k$ is the reward of a "
        r"resampling of the group, not of the policy (C2b)."
    ),
)

# Sums over the K rollouts as symbols; the definition of w* makes one of them a combination of the others.
reward_sum, entropy_sum, policy_sum, log_z = sp.symbols("wR wlogw wlogP logZ", real=True)


@target.step(
    "Term by term, any K",
    route="sympy",
    shows=(
        r"sums over k as symbols: $\sum_k w_k \log w^*_k = \sum_k w_k (R_k/\tau + \log P_k) - \log Z$, for w, "
        "$w^*$ and P"
    ),
)
def term_by_term(sign=1, only_one=False):
    def target_sum(rewards, logs):
        return sign * rewards / tau + logs - log_z

    objective = reward_sum - tau * (entropy_sum - policy_sum)
    distance = entropy_sum - target_sum(reward_sum, policy_sum)
    values = {gap: tau * log_z - objective, divergence: distance}
    target.goal("only maximiser").holds(values, using={"Gibbs": {divergence: distance}})
    # <w*, R>, <P, R> and the sums of log P under both.
    r_w, r_p, p_w, p_p = sp.symbols("R_w R_p logP_w logP_p", real=True)
    forward = target_sum(r_w, p_w) - p_w
    backward = 0 if only_one else p_p - target_sum(r_p, p_p)
    target.goal("improvement").holds({gain: r_w - r_p, both: forward + backward})


def laws(parts):
    return [
        tuple(sp.Rational(n, parts) for n in (i, j, parts - i - j))
        for i in range(1, parts - 1)
        for j in range(1, parts - i)
    ]


def kl(a, b):
    return sum(x * sp.log(x / y) for x, y in zip(a, b, strict=True))


@target.step(
    "Three rollouts in numbers",
    route="enumeration",
    shows=(
        r"shares in fifths, rewards $\tau \log m$ with whole m, so that $w^*$ is rational: maximiser, "
        "improvement, error, coverage"
    ),
)
def in_numbers(extra=1, temperature=2, slack=1):
    temperature, multiples = sp.Integer(temperature), (1, 3, 2)
    rewards = [2 * sp.log(m) for m in multiples]
    highest = rewards[1]
    for shares in laws(5):
        weights = [p * m for p, m in zip(shares, multiples, strict=True)]
        best = [w / sum(weights) for w in weights]

        def objective(w, shares=shares):
            return sum(x * r for x, r in zip(w, rewards, strict=True)) - temperature * kl(w, shares)

        for w in [*laws(4), best]:
            values = {gap: objective(best) - objective(w), divergence: kl(w, best)}
            target.goal("only maximiser").holds(values, at={K: 3, tau: temperature})
            error_size = sum((x - y) * r for x, y, r in zip(w, best, rewards, strict=True))
            distance = sum(abs(x - y) for x, y in zip(w, best, strict=True))
            target.goal("projection error").holds(
                {error: error_size, variation: slack * distance, top: highest}, at={K: 3}
            )
        change = sum((x - y) * r for x, y, r in zip(best, shares, rewards, strict=True))
        target.goal("improvement").holds(
            {gain: change, both: kl(best, shares) + kl(shares, best)}, at={K: 3, tau: temperature}
        )
        for w, p in zip(best, shares, strict=True):
            values = {
                log_chance: sp.log(p) + 1 - extra,
                log_level: sp.log(w),
                level: w,
                bound: kl(best, shares),
            }
            target.goal("coverage").holds(values, at={K: 3})


@target.step(
    "Bounds, any K",
    route="smt",
    shows=r"the error by induction on K; coefficients from shares in $[0, 1]$; coverage with the cited inequalities",
)
def bounds(limit=1, slack=1):
    d, r = sp.symbols("d r", real=True)
    inside = [sp.Abs(r) <= top]
    first, second = sp.symbols("d1 d2", real=True), sp.symbols("r1 r2", real=True)
    target.goal("projection error").induction(
        K,
        start=2,
        base={
            error: sum(x * y for x, y in zip(first, second, strict=True)),
            variation: sum(sp.Abs(x) for x in first),
            top: top,
        },
        step={error: error + d * r, variation: variation + sp.Abs(d), top: top},
        where=[*inside, *[sp.Abs(x) <= top for x in second]],
    )
    p, w, others_p, others_w = sp.symbols("x y X Y", nonnegative=True)
    shares = [sp.Eq(p + others_p, 1), sp.Eq(w + others_w, 1)]
    target.goal("coefficients").holds(
        {coefficient: limit * (p - w), total: p - w + others_p - others_w}, where=shares
    )
    values = {target_chance: target_chance, log_rest: log_rest, log_target: log_target, log_level: log_level}
    chance = {bound: bound, log_chance: log_chance}
    target.goal("coverage").holds(
        {log_chance: log_chance, log_level: log_level, bound: bound, level: slack * level},
        where=[target_chance < 1, target_chance >= level],
        using={"log-sum": values | chance, "logarithm": values},
    )


@target.step(
    "The shipped forward form",
    route="traced code",
    shows=r"off policy, K = 2 and 3, ratios in symbols, temperature 1 and the default: the weights are $w^*_k - P_k$",
)
def shipped(name="lpo_forward", temperature=1.0):
    cases = [
        # rewards over the temperature, up to a constant; the default divides by the standard deviation
        ((1, 0), {"temperature": temperature}, (1, 0)),
        ((0, 1, 3), {"temperature": temperature}, (0, 1, 3)),
        ((3, -2), {}, (1, -1)),
    ]
    for rewards, settings, scaled in cases:
        size = len(rewards)
        lengths = [1 + i % 2 for i in range(size)]
        rollouts = sy.symbolic_group(size, lengths, rewards=rewards)
        ratios = [sp.prod(rollouts.rho[0, i, :n]) for i, n in enumerate(lengths)]
        goals = [sp.exp(r) / sum(sp.exp(x) for x in scaled) for r in scaled]
        # The softmax subtracts the largest log-ratio first: each ratio is the largest once.
        for largest in range(size):
            point = {x: sp.Integer(0) for a in rollouts.logp.flat for x in a.free_symbols}
            point |= {x: sp.Integer(1) for x in rollouts.rho.flat}
            point[rollouts.rho[0, largest, 0]] = sp.Integer(3)
            traced = rollouts.weights(catalogue.get(name, **settings), assume=sy.Witness(point))
            weights = [sp.simplify(w) for w in traced[0, :, 0]]
            sy.equal(
                weights,
                [w - x / sum(ratios) for w, x in zip(goals, ratios, strict=True)],
                "the forward weights",
            )
            base = sp.Symbol("e", positive=True)  # for Euler's number: the bounds hold whatever it is
            values = [-sp.together(w.subs(sp.E, base)) for w in weights]
            target.goal("coefficients").holds({coefficient: values, total: sum(values)}, at={K: size})
    return sy.Exhibit(formula=sp.latex(sp.factor(weights[0])))


target.sabotage("rewards with the wrong sign", term_by_term, sign=-1)
target.sabotage("one KL for the two", term_by_term, only_one=True)
target.sabotage("the bound without the 1", in_numbers, extra=3)
target.sabotage("another temperature", in_numbers, temperature=1)
target.sabotage("the total variation itself, not twice it", in_numbers, slack=sp.Rational(1, 4))
target.sabotage("coefficients within a half", bounds, limit=2)
target.sabotage("twice the level", bounds, slack=2)
target.sabotage("the reverse form", shipped, name="lpo_reverse")
target.sabotage("another temperature in the code", shipped, temperature=2.0)


before, after, list_before, list_after, slope = sp.symbols("J0 J1 R0 R1 h", real=True)
LISTWISE = {
    list_before: sy.Quantity(r"\hat R_0", "the listwise reward of the sampled pair before the step"),
    list_after: sy.Quantity(r"\hat R_1", "the same after it"),
}

monotone = sy.Claim(
    id="C2b",
    title="A step to the listwise target raises the policy's expected reward",
    statement=sy.Statement(
        setting=(
            "A softmax policy over three answers, a sampled pair of two of them, a step that takes the pair's "
            "shares exactly to $w^*$"
        ),
        quantities={
            before: sy.Quantity("J_0", "the expected reward of the policy before the step"),
            after: sy.Quantity("J_1", "the same after it"),
        },
        goals={"the policy improves": sp.Gt(after, before)},
    ),
    instead=sy.Statement(
        setting=(
            "The same step; J falls first where the third answer, not sampled, has reward 1, the pair has "
            "rewards 1/10 and 0, and the chances are (1/2, 1/4, 1/4)"
        ),
        quantities=LISTWISE
        | {
            slope: sy.Quantity(
                "h", "the slope of J along the update of the sampled pair by the shipped weights"
            )
        },
        goals={"the listwise reward rises": sp.Gt(list_after, list_before), "J falls": sp.Lt(slope, 0)},
    ),
    source=sy.Source(
        "2605.06139",
        "v2",
        "abstract and Theorem 2",
        relation="reading",
        says="monotonic improvement on the listwise objective",
        caveat=(
            "the paper says listwise, which C2a proves; to read it as improvement of the policy is a "
            "misreading to avoid"
        ),
    ),
    verdict="refuted",
    scope=(
        "exact projection (no projection error), softmax policies with three answers, K = 2; what does "
        "rise is the listwise reward of the sampled group"
    ),
    proof=(
        r"The step moves the two sampled logits by $\pm \log 2$, which takes the pair's shares from (1/2, 1/2) "
        "to (4/5, 1/5): the listwise reward rises whenever the better of the two gains. But the better one "
        "gains at the cost of all others, and of the third answer too, which was not sampled and is the best: "
        "J goes from 3/10 to 14/55. Along the shipped weights J falls from the start."
    ),
    finding=(
        r"The simplex of the group does not see the unsampled answers. Raising a mediocre answer "
        r"over a bad one takes mass from a good one that was not drawn. Only in expectation over groups does a small "
        r"reverse-KL step climb J: by C1 its mean is $\frac{K-1}{K\tau} \nabla J$."
    ),
)
PI, GAINS = [sp.Rational(n, 4) for n in (2, 1, 1)], [sp.Rational(1, 10), sp.Integer(0), sp.Integer(1)]


def projected(pi, factor=2):
    """Logits of the pair (1, 2) moved by +-log(factor), as the gradient moves them: the new law."""
    raw = [pi[0] * factor, pi[1] / sp.sympify(factor), pi[2]]
    return [x / sum(raw) for x in raw]


def value(pi, gains=GAINS):
    return sum(x * r for x, r in zip(pi, gains, strict=True))


def listwise(pi, old, gains):
    """The listwise reward: shares are softmax of the log-ratios to the policy that sampled."""
    ratios = [pi[k] / old[k] for k in (0, 1)]
    return (ratios[0] * gains[0] + ratios[1] * gains[1]) / (ratios[0] + ratios[1])


@monotone.step(
    "The listwise reward does rise",
    route="enumeration",
    shows=(
        r"all laws in sixths: the shares go from (1/2, 1/2) to (4/5, 1/5) $= w^*$ at $\tau = (R_1 - R_2)/\log 4$"
    ),
)
def rises(factor=2):
    for i, j in itertools.product(range(1, 5), repeat=2):
        if i + j < 6:
            old = [sp.Rational(n, 6) for n in (i, j, 6 - i - j)]
            new = projected(old, factor)
            ratios = [new[k] / old[k] for k in (0, 1)]
            sy.equal(ratios[0] / sum(ratios), sp.Rational(4, 5), "the share after the step is the target's")
            values = {list_before: listwise(old, old, GAINS), list_after: listwise(new, old, GAINS)}
            monotone.goal("the listwise reward rises").holds(values)


@monotone.step(
    "For any chances and rewards",
    route="smt",
    shows=r"logits moved by $\pm \log f$, $f > 1$, towards the better of the two: the listwise reward rises",
)
def any_rise(towards_better=True):
    pi, gains = sp.symbols("pi1:4", positive=True), sp.symbols("r1:4", real=True)
    f = sp.Symbol("f", positive=True)
    values = {
        list_before: listwise(pi, pi, gains),
        list_after: sp.simplify(listwise(projected(pi, f), pi, gains)),
    }
    better = gains[0] > gains[1] if towards_better else gains[0] < gains[1]
    monotone.goal("the listwise reward rises").holds(values, where=[f > 1, better])


@monotone.step(
    "Along the shipped weights",
    route="traced code",
    shows="lpo_forward and lpo_reverse with their defaults and at temperature 1, the pair (answer 1, answer 2)",
)
def direction(unsampled=1):
    gains = [*GAINS[:2], sp.Integer(unsampled)]
    bandit = sy.SymbolicBandit(PI, gains)
    scores = list(zip(bandit.gradient, bandit.scores[0], bandit.scores[1], strict=True))
    for name, settings in itertools.product(("lpo_forward", "lpo_reverse"), ({}, {"temperature": 1.0})):
        weights = sy.weights_of(catalogue.get(name, **settings))((gains[0], gains[1]))
        monotone.goal("J falls").holds(
            {slope: sum(g * (weights[0] * a + weights[1] * b) for g, a, b in scores)}
        )


@monotone.step(
    "By a small step",
    route="sympy",
    shows=r"$\frac{d}{dt} J$ at $t = 0$ with the two logits moved by $\pm t$",
)
def small_step(unsampled=1):
    t = sp.Symbol("t", real=True)
    moved = value(projected(PI, sp.exp(t)), [*GAINS[:2], sp.Integer(unsampled)])
    monotone.goal("J falls").holds({slope: sp.diff(moved, t).subs(t, 0)})


@monotone.counterexample(
    "Chances (1/2, 1/4, 1/4), rewards (1/10, 0, 1), the sampled pair is (answer 1, answer 2): the exact "
    "projection takes J from 3/10 down to 14/55.",
    pi="(1/2, 1/4, 1/4)",
    rewards="(1/10, 0, 1)",
    J="3/10 -> 14/55",
)
def falls(unsampled=1):
    gains = [*GAINS[:2], sp.Integer(unsampled)]
    values = {before: value(PI, gains), after: value(projected(PI), gains)}
    monotone.goal("the policy improves").fails(values)
    return sy.Exhibit(text=f"J from {values[before]} to {values[after]}")


monotone.sabotage("an unsampled answer of no value", direction, unsampled=0)
monotone.sabotage("the same by a small step", small_step, unsampled=0)
monotone.sabotage("a longer step", rises, factor=3)
monotone.sabotage("towards the worse of the two", any_rise, towards_better=False)
monotone.sabotage("an unsampled answer of no value, the whole step", falls, unsampled=0)
