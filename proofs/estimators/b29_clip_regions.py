"""B29: the token weight of PPO's clip in every region of (ratio, advantage), dual clip included."""

from functools import partial
from typing import Any

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate

claim = sy.Claim(
    id="B29",
    title="Exact token weights of the clipped surrogate",
    statement=(
        r"$\min(\rho A, \mathrm{clip}(\rho, 1-\epsilon_-, 1+\epsilon_+) A)$ has the token weight "
        r"(its derivative by $\log \pi$) $A \rho$, except zero where $A > 0, \rho > 1+\epsilon_+$ "
        r"or "
        r"$A < 0, \rho < 1-\epsilon_-$; the dual clip $\max(\cdot, c A)$ for $A < 0$ adds zero "
        r"where $A < 0, \rho > c$. At $\rho = 1$ nothing is clipped: the first on-policy step is "
        r"the plain policy gradient."
    ),
    source=sy.Source(
        "1707.06347", "v2", "equation (7); the dual clip: 1912.09729; unequal ranges: 2503.14476"
    ),
    verdict="proved",
    scope=(
        "all real advantages, all positive ratios, every range with positive epsilons and every cap "
        "above 1 (z3); ranges (0.2, 0.2) and (0.2, 0.28), cap 3, as traced"
    ),
    finding=(
        r"Two of the four outer corners keep their gradient on purpose: $A > 0, \rho < "
        r"1-\epsilon_-$ and $A < 0, \rho > 1+\epsilon_+$ (moves back). In the latter the weight "
        r"grows with $\rho$ without bound, "
        r"which is what the dual clip is for. Exactly on a boundary JAX returns half of the one-sided weight."
    ),
)
A, rho = sp.Symbol("A", real=True), sp.Symbol("rho", positive=True)
UP, DOWN, CAP = sp.symbols("up down cap", positive=True)


def weight(low, high, cap=None):
    zero = [(0, sp.And(A > 0, rho > 1 + high)), (0, sp.And(A < 0, rho < 1 - low))]
    if cap is not None:
        zero.append((0, sp.And(A < 0, rho > cap)))
    return sp.Piecewise(*zero, (A * rho, True))


def printed(low, high, cap=None):
    """The surrogate as the papers print it."""
    value = sp.Min(rho * A, sp.Min(1 + high, sp.Max(1 - low, rho)) * A)
    return value if cap is None else sp.Piecewise((sp.Max(value, cap * A), A < 0), (value, True))


@claim.step(
    "Every region, traced",
    route="traced code",
    shows="all open regions of (A, rho) of the shipped clips, each weight matched by z3",
)
def traced(shift=0, dual_cap=3):
    rows = []
    for rule, low, high, cap in (
        (surrogate.ppo_clip, 0.2, 0.2, None),
        (surrogate.ppo_clip, 0.2, 0.28, None),
        (surrogate.dual_clip, 0.2, 0.28, 3),
    ):
        settings: dict[str, Any] = {"low": low, "high": high} | ({} if cap is None else {"cap": float(cap)})
        shipped = compose(
            advantage=advantage.raw,
            surrogate=partial(rule, **settings),
            aggregate=aggregate.sequence_token_sum,
            min_group=1,
        )
        rollouts = sy.symbolic_group(1)
        (reward,), (ratio,) = rollouts.rewards.reshape(-1), rollouts.rho.reshape(-1)
        computed = rollouts.regions(shipped, where=[sp.Ne(reward, 0)])
        sy.require(len(computed) >= 4, "inside and outside, for both signs of A")
        claimed = weight(
            sp.Rational(str(low)), sp.Rational(str(high)) + shift, None if cap is None else dual_cap
        )
        for region in computed:
            names = {reward: A, ratio: rho}
            value, assumptions = (
                region.value.reshape(-1)[0].subs(names),
                [c.subs(names) for c in region.conditions],
            )
            sy.require(
                sy.smt_valid([*assumptions, sp.Ne(A, 0)], sp.Eq(value, claimed)),
                f"{rule.__name__}: {value} where {assumptions}",
            )
            rows.append(
                (rule.__name__, f"{low}, {high}", ", ".join(map(str, assumptions)), f"${sp.latex(value)}$")
            )
    return sy.Exhibit(table=(("surrogate", "range", "region", "weight"), *rows))


@claim.step(
    "From the printed surrogate, every range",
    route="smt",
    shows=(
        r"the printed minimum equals its linear piece on each region, so the weight is $\rho$ times "
        r"that piece's slope; the corners that look clipped are not"
    ),
)
def every_range(corner=1):
    assumptions = [DOWN < 1, CAP > 1 + UP]
    pieces = (
        ([A > 0, rho <= 1 + UP], rho * A, None),
        ([A > 0, rho > 1 + UP], (1 + UP) * A, None),
        ([A < 0, rho >= 1 - DOWN], rho * A, None),
        ([A < 0, rho < 1 - DOWN], (1 - DOWN) * A, None),
        ([A < 0, rho > CAP], CAP * A, CAP),
        ([A < 0, rho <= CAP, rho >= 1 - DOWN], rho * A, CAP),
        ([A > 0, rho < 1 - DOWN], rho * A * corner, CAP),
    )
    for where, linear, cap in pieces:
        sy.require(
            sy.smt_valid([*assumptions, *where], sp.Eq(printed(DOWN, UP, cap), linear), total=True),
            f"{linear} where {where}",
        )


@claim.step(
    "Slopes in rationals",
    route="enumeration",
    shows=(
        r"difference quotients of the printed surrogate, exact because it is piecewise linear: 20 "
        r"ratios, 4 advantages, with and without the cap"
    ),
)
def slopes(high=sp.Rational(7, 25)):
    low, cap, step = sp.Rational(1, 5), sp.Integer(3), sp.Rational(1, 1000)

    def value(ratio, a, bound):
        inner = min(ratio * a, min(1 + sp.Rational(7, 25), max(1 - low, ratio)) * a)
        return max(inner, bound * a) if bound and a < 0 else inner

    def holds(n, a, bound):
        ratio, a = sp.Rational(2 * n + 1, 10), sp.Rational(a)
        slope = (value(ratio + step, a, bound) - value(ratio - step, a, bound)) / (2 * step)
        zero = (
            (a > 0 and ratio > 1 + high) or (a < 0 and ratio < 1 - low) or (bound and a < 0 and ratio > bound)
        )
        return slope == (0 if zero else a)

    sy.enumerate_rationals(
        holds, range(20), ("1", "-1", "5/2", "-1/3"), (None, cap), what="the slope of the printed surrogate"
    )


@claim.step(
    "The first step is unclipped",
    route="traced code",
    shows=(
        r"at $\rho = 1$ the shipped PPO, GRPO, dual clip and DAPO clip have the weights of the "
        r"unclipped surrogate, any rewards"
    ),
)
def first_step(ratio=1):
    def on_policy(rule):
        rollouts = sy.symbolic_group(1, rewards=None, on_policy=ratio == 1)
        shipped = compose(
            advantage=advantage.raw, surrogate=rule, aggregate=aggregate.sequence_token_sum, min_group=1
        )
        (reward,) = rollouts.rewards.reshape(-1)
        computed = []
        for sign in (1, -1):
            point = {s: sp.Integer(0) for x in rollouts.logp.flat for s in x.free_symbols} | {
                reward: sp.Integer(sign)
            }
            point |= {s: sp.Integer(ratio) for s in rollouts.rho.flat if isinstance(s, sp.Symbol)}
            computed.append(rollouts.weights(shipped, assume=sy.Witness(point)).reshape(-1)[0])
        return computed

    plain = on_policy(surrogate.importance_ratio)
    for rule in (surrogate.ppo_clip, partial(surrogate.ppo_clip, low=0.2, high=0.28), surrogate.dual_clip):
        sy.equal(on_policy(rule), plain, "the first step")


@claim.step(
    "The pushed-back corner is unbounded without the dual clip",
    route="smt",
    shows=r"for $A < 0$ PPO's weight exceeds any bound; with the cap it stays within $c |A|$",
)
def unbounded(cap=True):
    bound = sp.Symbol("bound", positive=True)
    sy.require(
        sy.find_point([A < 0, rho > 1, sp.Eq(bound, 1000), -weight(DOWN, UP) > bound * -A, DOWN < 1])
        is not None,
        "beyond any bound",
    )
    limited = weight(DOWN, UP, CAP if cap else None)
    sy.require(sy.smt_valid([A < 0, CAP > 1, DOWN < 1], limited >= CAP * A), "within the cap")


@claim.step(
    "As catalogued",
    route="traced code",
    shows="ppo, ppo_dual_clip and grpo at a clipped winner and a pushed-back loser",
)
def catalogued(name="ppo_dual_clip"):
    rollouts = sy.symbolic_group(2, rewards=(1, -1), values=[[[0], [0]]])
    first, second = rollouts.rho.reshape(-1)
    point = {s: sp.Integer(0) for x in rollouts.logp.flat for s in x.free_symbols} | {
        first: sp.Rational(3, 2),
        second: sp.Integer(4),
    }
    plain, dual = (
        rollouts.weights(catalogue.get(n), assume=sy.Witness(point)).reshape(-1) for n in ("ppo", name)
    )
    sy.equal(plain, [0, -second / 2], "PPO: winner clipped, loser at its ratio")
    sy.equal(dual, [0, 0], "dual clip: both at zero")


claim.sabotage("a wider upper range", traced, shift=sp.Rational(1, 20))
claim.sabotage("another cap", traced, dual_cap=4)
claim.sabotage("a corner at twice its value", every_range, corner=2)
claim.sabotage("the upper bound at 1.5", slopes, high=sp.Rational(1, 2))
claim.sabotage("a ratio of 2", first_step, ratio=2)
claim.sabotage("no cap", unbounded, cap=False)
claim.sabotage("PPO for the dual clip", catalogued, name="ppo")
