"""A4: where two-rollout GRPO and DPO pull in the same direction, exactly, and by which factor."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate

x, y1, y2 = sp.symbols("rho11 rho21 rho22", positive=True)
beta, c = sp.symbols("beta c", positive=True)
m = sp.Symbol("m", real=True)
up, down1, down2, share_up, share_down = sp.symbols("g_w g_1 g_2 a_w a_l", real=True)
weight, dpo_weight, ratio, share, clipped, quotient = sp.symbols("g D rho a g_0 R", real=True)
grpo1, grpo2, dpo1, dpo2, odds1, odds2 = sp.symbols("u_1 u_2 v_1 v_2 E_1 E_2", real=True)
UPPER, LOWER = sp.Rational(6, 5), sp.Rational(4, 5)

RULES = {  # each with the shares of a token in rollouts of one and two tokens
    "mean over each rollout's tokens": (
        aggregate.sequence_token_mean,
        (sp.Rational(1, 2), sp.Rational(1, 4)),
    ),
    "mean over the batch's tokens": (aggregate.token_mean, (sp.Rational(1, 3), sp.Rational(1, 3))),
}
INSIDE = sp.And(x < UPPER, y1 > LOWER, y2 > LOWER)
COMMON = sp.And(INSIDE, sp.Eq(x * share_up, y1 * share_down), sp.Eq(y1, y2))
NOTHING = sp.And(x > UPPER, y1 < LOWER, y2 < LOWER)

claim = sy.Claim(
    id="A4",
    title="On policy, pair by pair, GRPO's gradient is a multiple of DPO's that grows with the margin",
    statement=sy.Statement(
        setting=(
            "A pair of rollouts, the preferred one of one token, the other of two, which stand for any lengths; "
            "GRPO clips ratios to $[4/5, 6/5]$; $m$ is the margin of the whole answers over the reference"
        ),
        forall={
            x: sy.above(0),
            y1: sy.above(0),
            y2: sy.above(0),
            beta: sy.above(0),
            m: sy.real(),
            "aggregation": sy.one_of(*RULES),
        },
        given={
            "off the boundary": sy.Hypothesis(
                "no ratio lies on a boundary of the clip, where the objective has no derivative",
                sp.And(sp.Ne(x, UPPER), sp.Ne(y1, LOWER), sp.Ne(y2, LOWER)),
                stated_by="ours",
            )
        },
        quantities={
            up: sy.Quantity("g_w", "GRPO's weight of the preferred answer's token"),
            down1: sy.Quantity("g_1", "its weight of the other answer's first token"),
            down2: sy.Quantity("g_2", "that of the second token"),
            share_up: sy.Quantity("a_w", "the aggregation's share of a token of the preferred answer"),
            share_down: sy.Quantity("a_l", "that of a token of the other"),
            weight: sy.Quantity("g", "GRPO's weight of any token that is not clipped"),
            dpo_weight: sy.Quantity("D", "DPO's weight of the same token"),
            ratio: sy.Quantity(r"\rho", "the token's ratio"),
            share: sy.Quantity("a", "its share"),
            c: sy.Quantity("c", "the larger of the pair's advantages"),
            clipped: sy.Quantity("g_0", "GRPO's weight of a clipped token"),
            quotient: sy.Quantity("R", r"$g/(D \rho a c)$, the factor of a token at $\beta$ and $m$"),
            grpo1: sy.Quantity(
                "u_1", "GRPO's mean update on a first prompt with two answers of different reward, on policy"
            ),
            grpo2: sy.Quantity("u_2", "GRPO's on a second prompt"),
            dpo1: sy.Quantity("v_1", r"DPO's at $\beta = 1$ on the first"),
            dpo2: sy.Quantity("v_2", "DPO's on the second"),
            odds1: sy.Quantity("E_1", "the exponential of the margin of the first prompt's pair"),
            odds2: sy.Quantity("E_2", "that of the second's"),
        },
        goals={
            # DPO's weights are D, -D, -D with D > 0 (claim A3).
            "same direction": sp.Equivalent(
                sp.And(sp.Eq(up, -down1), sp.Eq(up, -down2)), sp.Or(COMMON, NOTHING)
            ),
            "token by token": sp.Eq(weight, ratio * share * c * (1 + sp.exp(beta * m)) / beta * dpo_weight),
            "clipped tokens": sp.Eq(clipped, 0),
            "grows": sp.And(sp.Derivative(quotient, m) > 0, sp.Eq(sp.Limit(1 / quotient, m, sp.oo), 0)),
            "two prompts": sp.Equivalent(sp.Eq(grpo1 * dpo2, grpo2 * dpo1), sp.Eq(odds1, odds2)),
        },
    ),
    source=sy.Source(
        "2510.00977",
        "v3",
        "title and Section 3",
        relation="ours",
        says="the title calls GRPO secretly DPO; both are shown to be contrasts with a coefficient each",
        caveat="nothing more precise is claimed there; how far the title carries is our question",
    ),
    verdict="proved",
    scope=(
        "all ratios off the clip's boundary, all margins and shares; as vectors of token weights. The gradients in "
        "parameters are then parallel too, for any policy, and only then when the tokens' scores are linearly "
        "independent"
    ),
    proof=(
        r"DPO weighs every token of the preferred answer by $D = \beta \sigma(-\beta m)$ and of the other by $-D$ "
        r"(claim A3), GRPO a token that is not clipped by $\pm c \rho a$ and a clipped one by zero. The quotient is "
        r"$\frac{c \rho a}{\beta} (1 + e^{\beta m})$, so the two vectors are parallel exactly if $\rho a$ is the "
        "same for all tokens and none is clipped, or all are. The shipped objectives have these weights in every "
        "region of the ratios. The factor grows with the margin without bound. On two prompts GRPO weighs the "
        "contrasts alike and DPO by $1/(1 + E)$, so the sum keeps its direction only at equal margins."
    ),
    finding=(
        r"On policy ($\theta = \theta_{old}$) with equal shares the pair's gradients are parallel, for every "
        r"$\theta_{ref}$; with token sums GRPO's is $c/\beta$ times DPO's at $m = 0$. A batch of pairs with "
        r"different margins already breaks it: DPO weighs them by $\sigma(-\beta m)$, GRPO all the same."
    ),
)


def grpo_like(rule):
    return compose(
        advantage=lambda rewards: advantage.standardised(rewards, eps=0.0),
        surrogate=surrogate.ppo_clip,
        aggregate=rule,
    )


@claim.step(
    "Exactly when the weights are parallel",
    route="traced code",
    shows="in every region of the ratios, for two aggregations; with the catalogue's pair objective bare",
)
def exact_set(with_shares=True):
    cases = [(name, grpo_like(rule), shares) for name, (rule, shares) in RULES.items()]
    first, (_, shares) = next(iter(RULES.items()))
    cases.append((first, catalogue.get("grpo_pair"), shares))
    for name, objective, (a, b) in cases:
        rollouts = sy.symbolic_group(2, (1, 2), rewards=(1, 0))
        for region in sy.explore(jax.grad(objective), rollouts.logp, rollouts.batch):
            (w, _), (l1, l2) = region.value[0]
            shared = {share_up: a, share_down: b} if with_shares else {share_up: 1, share_down: 1}
            values = {up: w, down1: l1, down2: l2, **shared}
            claim.goal("same direction").holds(values, at={"aggregation": name}, where=region.conditions)


@claim.step(
    "From the objective",
    route="smt",
    shows=r"$c \rho a$ inside the clip and zero outside: for all shares and advantages",
)
def by_cases(weigh_loser=1):
    a, b, size = sp.symbols("a_ b_ c_", positive=True)
    values = {
        up: sp.Piecewise((size * a * x, x < UPPER), (0, True)),
        down1: sp.Piecewise((-weigh_loser * size * b * y1, y1 > LOWER), (0, True)),
        down2: sp.Piecewise((-weigh_loser * size * b * y2, y2 > LOWER), (0, True)),
        share_up: a,
        share_down: b,
    }
    claim.goal("same direction").holds(values)


@claim.step(
    "The factor of a token",
    route="sympy",
    shows=r"$c \rho a$ over the slope of $\log \sigma(\beta m)$; increasing in $m$, its inverse tends to 0",
)
def factor(sign=1):
    a, rho, size = sp.symbols("a_ rho_ c_", positive=True)
    slope = sp.diff(sp.log(1 / (1 + sp.exp(-sign * beta * m))), m)
    log_ratio = sp.Symbol("l", real=True)
    bounds = {1: sp.Min(sp.exp(log_ratio), UPPER), -1: sp.Max(sp.exp(log_ratio), LOWER)}
    for side, bound in bounds.items():  # of the preferred answer's tokens and of the other's
        inside = sp.Rational(1, 10)
        sy.equal(bound.subs(log_ratio, inside), sp.exp(inside), "inside its bound the ratio itself")
        objective = side * size * a * sp.exp(log_ratio)
        derivative = sp.diff(objective, log_ratio).subs(log_ratio, sp.log(rho))
        values = {weight: derivative, dpo_weight: side * slope, ratio: rho, share: a, c: size}
        claim.goal("token by token").holds(values)
        constant = side * size * a * bound.subs(log_ratio, sp.Integer(side))
        claim.goal("clipped tokens").holds({clipped: sp.diff(constant, log_ratio)})
        token_factor = sp.expand(sp.simplify(derivative / (side * slope * rho * a * size)))
        claim.goal("grows").holds({quotient: token_factor})


@claim.step(
    "Both shipped gradients, token by token",
    route="traced code",
    shows=r"in every region of the ratios, symbols for all log-probabilities, $\beta = 1$ and bare; and on policy",
)
def token_by_token(power=1):
    for settings, b in (({"beta": 1.0}, sp.Integer(1)), ({}, sp.Rational(1, 10))):
        reference = sy.symbols("c", (1, 2, 2))
        rollouts = sy.symbolic_group(2, (1, 2), rewards=(1, 0), logp_ref=reference)
        h = rollouts.logp - reference
        at_margin = {reference[0, 0, 0]: rollouts.logp[0, 0, 0] - h[0, 1, 0] - h[0, 1, 1] - m}
        # A reference off the tie, so that what DPO's logarithm decides holds around the point and not in it alone.
        off = [*np.asarray(rollouts.batch.logp_old, object).flat, *reference.flat]
        start = {symbol: sp.Rational(i * i + 1, 7) for i, symbol in enumerate(off)}
        regions = sy.explore(jax.grad(catalogue.get("grpo", eps=0.0)), rollouts.logp, rollouts.batch)
        for region in regions if b == 1 else regions[:2]:
            point = start | {rho: region.point[rho] for rho in rollouts.rho.flat}
            dpo = rollouts.weights(catalogue.get("dpo", **settings), assume=sy.Witness(point))[0]
            for (i, t), of_token in {(0, 0): 2, (1, 0): 4, (1, 1): 4}.items():
                rho = rollouts.rho[0, i, t]
                traced = region.value[0, i, t]
                if not (point[rho] < UPPER if i == 0 else point[rho] > LOWER):
                    claim.goal("clipped tokens").holds({clipped: traced}, at={beta: b})
                    continue
                slope = sp.simplify(sp.expand_log(dpo[i, t].subs(at_margin)))
                one = sp.Integer(1)
                values = {weight: traced, dpo_weight: slope, ratio: rho**power, share: one / of_token, c: one}
                claim.goal("token by token").holds(values, at={beta: b})
                claim.goal("grows").holds(
                    {quotient: sp.simplify(traced * of_token / (slope * rho))}, at={beta: b}
                )


def updates(rates):
    """Mean updates of a logit on two prompts with two answers, by listing pairs: GRPO's, DPO's, and the odds."""
    values = {}
    for (u, v, e), rate in zip(((grpo1, dpo1, odds1), (grpo2, dpo2, odds2)), rates, strict=True):
        bandit = sy.SymbolicBandit([rate, 1 - rate], [1, 0])
        values[u] = sy.group_moments(bandit, 2, sy.weights_of(catalogue.get("grpo", eps=0.0))).mean[0]
        values[e] = rate / (1 - rate)  # the reference is uniform

        def contrast(answers, odds=values[e]):
            size = 1 / (1 + odds) if answers[0] != answers[1] else 0
            return (size, -size) if answers[0] == 0 else (-size, size)

        values[v] = sy.group_moments(bandit, 2, contrast, by_answer=True).mean[0]
    return values


@claim.step(
    "Two prompts",
    route="enumeration",
    shows="all success rates in sixths against a uniform reference, pair by pair",
)
def two_prompts(power=1):
    for rates in itertools.product(range(1, 6), repeat=2):
        values = updates([sp.Rational(j, 6) for j in rates])
        values[dpo2] *= values[odds2] ** (power - 1)
        claim.goal("two prompts").holds(values)


@claim.step(
    "Two prompts, any margins",
    route="smt",
    shows=r"chances $q_1, q_2$ of a mixed pair: $u_i = q_i/2$ and $v_i = q_i/(1 + E_i)$",
)
def any_margins(power=1):
    q1, q2, e1, e2 = sp.symbols("q1 q2 e1 e2", positive=True)
    values = {grpo1: q1 / 2, grpo2: q2 / 2, dpo1: q1 / (1 + e1), dpo2: q2 * e2 ** (power - 1) / (1 + e2)}
    claim.goal("two prompts").holds({**values, odds1: e1, odds2: e2})


@claim.counterexample(
    "Three answers, one pair, off policy: ratios 11/10 and 9/10 inside the clip. In the logits' space the two "
    "gradients are not parallel.",
    pi="(1/2, 1/3, 1/6)",
    rho_w="11/10",
    rho_l="9/10",
)
def off_policy(rho_w=sp.Rational(11, 10), rho_l=sp.Rational(9, 10)):
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [1, 0, 0])
    s_w, s_l = (sp.Matrix(bandit.scores[i]) for i in (0, 1))
    grpo, dpo = (rho_w * s_w - rho_l * s_l) / 2, s_w - s_l
    sy.require(grpo.row_join(dpo).rank() == 2, "the gradients are not parallel")
    half = sp.Rational(1, 2)
    values = {up: rho_w * half, down1: -rho_l * half, down2: -rho_l * half, share_up: half, share_down: half}
    claim.goal("same direction").holds(values, at={x: rho_w, y1: rho_l, y2: rho_l})


@claim.counterexample(
    "On policy, rollouts of one and two tokens, GRPO's mean over tokens: token weights (1/2; -1/4, -1/4) against "
    "DPO's (1; -1, -1).",
    lengths="(1, 2)",
)
def unequal_lengths(lengths=(1, 2)):
    rollouts = sy.symbolic_group(2, lengths, rewards=(1, 0), on_policy=True)
    weights = rollouts.weights(catalogue.get("grpo", eps=0.0))[0]
    retained = [w for row, n in zip(weights, lengths, strict=True) for w in row[:n]]
    sy.require(len({abs(w) for w in retained}) > 1, "the token weights do not have one common size")
    shares = {share_up: sp.Rational(1, 2 * lengths[0]), share_down: sp.Rational(1, 2 * lengths[1])}
    values = {up: weights[0, 0], down1: weights[1, 0], down2: weights[1, 1], **shares}
    claim.goal("same direction").holds(values, at={x: 1, y1: 1, y2: 1})


@claim.counterexample(
    "Two prompts with two answers and one parameter each, on policy, at different distances from a uniform "
    "reference, beta = 1: expected GRPO (1/8, 3/32) and DPO (1/8, 9/64) have different directions; verified by the "
    "engine.",
    p="(1/2, 1/4)",
    reference="uniform",
)
def batch_of_pairs(second="1/4"):
    rates = [sp.Rational(1, 2), sp.Rational(second)]
    values = updates(rates)
    claim.goal("two prompts").holds(values)
    sy.require(
        values[grpo1] * values[dpo2] != values[grpo2] * values[dpo1], "the batch gradients are not parallel"
    )
    bandits = [sy.SymbolicBandit([rate, 1 - rate], [1, 0]) for rate in rates]
    for name, options, pair in (("grpo", {"eps": 0.0}, (grpo1, grpo2)), ("dpo", {"beta": 1.0}, (dpo1, dpo2))):
        moments = sy.engine(catalogue.get(name, **options), bandits, 2, ref_params=jnp.zeros((2, 2)))
        seen = np.asarray(moments.mean).reshape(2, 2)[:, 0]
        gap = max(abs(a - float(values[s]) / 2) for a, s in zip(seen, pair, strict=True))
        sy.require(gap < 1e-12, f"engine and closed form of {name} differ by {gap}")


claim.sabotage("shares ignored", exact_set, with_shares=False)
claim.sabotage("the other answer's tokens weighed twice", by_cases, weigh_loser=2)
claim.sabotage("a margin of the other sign", factor, sign=-1)
claim.sabotage("the same ratio for all tokens off policy", token_by_token, power=0)
claim.sabotage("DPO's weights times the odds", two_prompts, power=2)
claim.sabotage("DPO's weights times the odds, any margins", any_margins, power=2)
claim.sabotage("equal ratios, where the gradients are parallel", off_policy, rho_l=sp.Rational(11, 10))
claim.sabotage("equal lengths, where they are", unequal_lengths, lengths=(2, 2))
claim.sabotage("equal margins, where they are", batch_of_pairs, second="1/2")
