"""B29: the token weight of PPO's clip in every region of (ratio, advantage), dual clip included."""

import itertools
from functools import partial

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate

A, rho, M = sp.Symbol("A", real=True), sp.Symbol("rho", positive=True), sp.Symbol("M", positive=True)
LOW, HIGH = sp.Symbol(r"\epsilon_{-}", positive=True), sp.Symbol(r"\epsilon_{+}", positive=True)
CAP = sp.Symbol("c", positive=True)
single, dual = sp.symbols("w v", real=True)
CLIPPED = sp.Or(sp.And(A > 0, rho > 1 + HIGH), sp.And(A < 0, rho < 1 - LOW))

claim = sy.Claim(
    id="B29",
    title="Exact token weights of the clipped surrogate",
    statement=sy.Statement(
        setting=(
            r"A token with advantage A and ratio $\rho$ to the sampling policy, off the clip's boundaries; "
            r"its weight is the surrogate's derivative by $\log \pi$"
        ),
        forall={
            A: sy.real(),
            rho: sy.above(0),
            LOW: sy.above(0),
            HIGH: sy.above(0),
            CAP: sy.above(1),
            M: sy.above(1),
        },
        quantities={
            single: sy.Quantity(
                "w", r"the weight under $\min(\rho A, \mathrm{clip}(\rho, 1-\epsilon_-, 1+\epsilon_+) A)$"
            ),
            dual: sy.Quantity(
                "v", r"the weight under the dual clip, the maximum of that and $c A$ where $A < 0$"
            ),
        },
        goals={
            "clip": sp.Eq(single, sp.Piecewise((0, CLIPPED), (A * rho, True))),
            "dual clip": sp.Eq(
                dual, sp.Piecewise((0, sp.Or(CLIPPED, sp.And(A < 0, rho > CAP))), (A * rho, True))
            ),
            "beyond any bound": sp.Implies(sp.And(A < 0, rho > M), single < M * A),
            "within the cap": sp.Implies(A < 0, dual >= CAP * A),
            "first step": sp.Implies(sp.Eq(rho, 1), sp.And(sp.Eq(single, A), sp.Eq(dual, A))),
        },
    ),
    source=sy.Source(
        "1707.06347",
        "v2",
        "equation (7); the dual clip: 1912.09729; unequal ranges: 2503.14476",
        relation="implies",
        says="the surrogate is the minimum of the plain and the clipped ratio times the advantage",
    ),
    verdict="proved",
    scope="all real advantages, all positive ratios, every range and every cap above 1",
    proof=(
        r"On each region the printed minimum (and the maximum of the dual clip) equals one linear piece in "
        r"$\rho$, which z3 decides; the weight is $\rho$ times that piece's slope: $A \rho$ or zero. The "
        r"traced weights of the shipped pieces agree in every open region, and PPO and its dual clip as "
        r"catalogued at a grid of ratios. For $A < 0$ and large $\rho$ the plain clip's weight passes any "
        r"bound, the dual clip's stays above $c A$. At $\rho = 1$ no region clips, so the first step on "
        r"policy is the plain policy gradient."
    ),
    finding=(
        r"Two of the four outer corners keep their gradient on purpose: $A > 0, \rho < 1-\epsilon_-$ and $A < "
        r"0, \rho > 1+\epsilon_+$ (moves back). In the latter the weight grows with $\rho$ without bound, "
        r"which is what the dual clip is for. Exactly on a boundary JAX returns half of the one-sided weight."
    ),
)
GOALS = {single: ("clip", "beyond any bound"), dual: ("dual clip", "within the cap")}
RULES = (
    (surrogate.ppo_clip, single, "1/5", "7/25", None),
    (surrogate.dual_clip, dual, "1/5", "7/25", "3"),
)


def raw(rule, **settings):
    return compose(
        advantage=advantage.raw,
        surrogate=partial(rule, **settings),
        aggregate=aggregate.sequence_token_sum,
        min_group=1,
    )


@claim.step(
    "Every region, traced",
    route="traced code",
    shows="all open regions of (A, rho) of the shipped clips, each weight decided there; on policy all weights are A",
)
def traced(shift=0, cap=3, ratio=1):
    rows = []
    for rule, symbol, low, high, limit in RULES:
        low, high = sp.Rational(low), sp.Rational(high)
        settings = {"low": float(low), "high": float(high)} | ({} if limit is None else {"cap": float(limit)})
        rollouts = sy.symbolic_group(1)
        names = {rollouts.rewards[0, 0]: A, rollouts.rho[0, 0, 0]: rho}
        regions = rollouts.regions(raw(rule, **settings), where=[sp.Ne(rollouts.rewards[0, 0], 0)])
        sy.require(len(regions) >= 4, "inside and outside, for both signs of A")
        place = {LOW: low, HIGH: high + shift} | ({} if limit is None else {CAP: sp.Integer(cap)})
        for region in regions:
            value = region.value.reshape(-1)[0].subs(names)
            conditions = [c.subs(names) for c in region.conditions]
            for goal in GOALS[symbol]:
                claim.goal(goal).holds({symbol: value}, at=place, where=[*conditions, sp.Ne(A, 0)])
            rows.append(
                (rule.__name__, f"{low}, {high}", ", ".join(map(str, conditions)), f"${sp.latex(value)}$")
            )
    for sign in (1, -1):
        rollouts = sy.symbolic_group(1, on_policy=ratio == 1)
        (reward,) = rollouts.rewards.reshape(-1)
        point = {s: sp.Integer(0) for x in rollouts.logp.flat for s in x.free_symbols} | {
            reward: sp.Integer(sign)
        }
        point |= {s: sp.Integer(ratio) for s in rollouts.rho.flat if isinstance(s, sp.Symbol)}
        weights_on_policy = {
            symbol: rollouts.weights(raw(rule), assume=sy.Witness(point))
            .reshape(-1)[0]
            .subs(point)
            .subs(reward, A)
            for rule, symbol in ((surrogate.ppo_clip, single), (surrogate.dual_clip, dual))
        }
        claim.goal("first step").holds(weights_on_policy, at={A: sign, rho: 1})
    return sy.Exhibit(table=(("surrogate", "range", "region", "weight"), *rows))


@claim.step(
    "From the printed surrogate, every range",
    route="smt",
    shows=(
        "the printed minimum equals its linear piece on each region, and the weight is the ratio times "
        "the piece's slope"
    ),
)
def every_range(corner=1, cap=True):
    clip = sp.Min(1 + HIGH, sp.Max(1 - LOW, rho))
    minimum = sp.Min(rho * A, clip * A)
    pieces = (
        ([A > 0, rho <= 1 + HIGH], rho * A * corner, rho * A),
        ([A > 0, rho > 1 + HIGH], (1 + HIGH) * A, (1 + HIGH) * A),
        ([A < 0, rho < 1 - LOW], (1 - LOW) * A, (1 - LOW) * A),
        ([A < 0, rho >= 1 - LOW, rho <= CAP], rho * A, rho * A),
        ([A < 0, rho >= 1 - LOW, rho > CAP], rho * A, CAP * A),
        ([sp.Eq(A, 0)], sp.Integer(0), sp.Integer(0)),
    )
    for where, piece, dual_piece in pieces:
        dual_piece = dual_piece if cap else piece
        sy.require(sy.smt_valid(where, sp.Eq(minimum, piece)), f"the minimum is {piece} where {where}")
        capped = sp.Piecewise((sp.Max(minimum, CAP * A), A < 0), (minimum, True)) if cap else minimum
        above = [*where, CAP > 1]
        sy.require(
            sy.smt_valid(above, sp.Eq(capped, dual_piece)), f"the dual clip is {dual_piece} where {where}"
        )
        values = {single: rho * sp.diff(piece, rho), dual: rho * sp.diff(dual_piece, rho)}
        for goal in ("clip", "dual clip", "beyond any bound", "within the cap", "first step"):
            needed = {s: v for s, v in values.items() if s in claim.statement.goals[goal].free_symbols}
            claim.goal(goal).holds(needed, where=where)


@claim.step(
    "Slopes in rationals",
    route="enumeration",
    shows=(
        "difference quotients of the printed surrogate, which is piecewise linear: 10 ratios, 4 "
        "advantages, with and without cap"
    ),
)
def slopes(high=sp.Rational(7, 25)):
    low, cap, step = sp.Rational(1, 5), sp.Integer(3), sp.Rational(1, 1000)

    def value(ratio, a, bound):
        inner = min(ratio * a, min(1 + sp.Rational(7, 25), max(1 - low, ratio)) * a)
        return max(inner, bound * a) if bound and a < 0 else inner

    for j, a in itertools.product(range(1, 20, 2), map(sp.Rational, ("1", "-1", "5/2", "-1/3"))):
        ratio = sp.Rational(2 * j + 1, 10)
        values = {
            symbol: ratio * (value(ratio + step, a, bound) - value(ratio - step, a, bound)) / (2 * step)
            for symbol, bound in ((single, None), (dual, cap))
        }
        place = {A: a, rho: ratio, LOW: low, HIGH: high}
        claim.goal("clip").holds({single: values[single]}, at=place)
        claim.goal("dual clip").holds({dual: values[dual]}, at={**place, CAP: cap})


@claim.step(
    "As catalogued",
    route="traced code",
    shows=(
        "ppo and ppo_dual_clip, bare, on a pair with the rewards 1 and -1 and no values: clipped, inside "
        "and pushed back"
    ),
)
def catalogued(names=("ppo", "ppo_dual_clip")):
    rollouts = sy.symbolic_group(2, rewards=(1, -1), values=[[[0], [0]]])
    ratios = rollouts.rho.reshape(-1)
    olds = {s: sp.Integer(0) for x in rollouts.logp.flat for s in x.free_symbols if s not in ratios}
    for pair in (("3/2", "4"), ("9/8", "9/8"), ("1/2", "1/2"), ("1/2", "2")):
        point = dict(zip(ratios, map(sp.Rational, pair), strict=True)) | olds
        for name, symbol, goal in zip(names, (single, dual), ("clip", "dual clip"), strict=True):
            weights = rollouts.weights(catalogue.get(name), assume=sy.Witness(point)).reshape(-1)
            for weight, sign, ratio in zip(weights, (1, -1), pair, strict=True):
                place = {
                    A: sign,
                    rho: sp.Rational(ratio),
                    LOW: sp.Rational(1, 5),
                    HIGH: sp.Rational(1, 5),
                    CAP: 3,
                }
                claim.goal(goal).holds({symbol: 2 * weight.subs(point)}, at=place)


claim.sabotage("a wider upper range", traced, shift=sp.Rational(1, 20))
claim.sabotage("another cap", traced, cap=4)
claim.sabotage("a ratio of 2 for the first step", traced, ratio=2)
claim.sabotage("a corner at twice its value", every_range, corner=2)
claim.sabotage("no cap", every_range, cap=False)
claim.sabotage("the upper bound at 1.5", slopes, high=sp.Rational(1, 2))
claim.sabotage("PPO for the dual clip", catalogued, names=("ppo", "ppo"))
claim.sabotage("the dual clip for PPO", catalogued, names=("ppo_dual_clip", "ppo_dual_clip"))
