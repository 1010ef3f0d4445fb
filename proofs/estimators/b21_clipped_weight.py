"""B21: CISPO keeps a gradient on every token, PPO's clip does not."""

from functools import partial

import numpy as np
import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate

A, rho = sp.Symbol("A", real=True), sp.Symbol("rho", positive=True)
LOW, HIGH = sp.Symbol(r"\epsilon_{-}", positive=True), sp.Symbol(r"\epsilon_{+}", positive=True)
cispo, ppo, bounded, distance, gradient = sp.symbols("c w u d g", real=True)
SILENT = sp.Or(sp.And(A > 0, rho > 1 + HIGH), sp.And(A < 0, rho < 1 - LOW))

claim = sy.Claim(
    id="B21",
    title="CISPO keeps a gradient on every token, PPO's clip does not",
    statement=sy.Statement(
        setting=r"A token with advantage A and ratio $\rho$ to the sampling policy, off the clip's boundaries",
        forall={A: sy.real(), rho: sy.above(0), LOW: sy.above(0), HIGH: sy.above(0)},
        quantities={
            cispo: sy.Quantity("c", "its weight under CISPO, before the aggregation's share"),
            ppo: sy.Quantity("w", "its weight under PPO's clip, before the aggregation's share"),
            bounded: sy.Quantity(
                r"\mathrm{E}[\hat g]",
                r"CISPO's expected update where no ratio exceeds $1 + \epsilon_+$, with raw rewards",
            ),
            gradient: sy.Quantity(r"\nabla J", "the gradient of the expected reward"),
            distance: sy.Quantity(
                "d",
                r"the squared distance of CISPO's expected update from $\nabla J$ where some ratio exceeds the bound",
            ),
        },
        ranges={"exact below the bound": (), "biased above it": ()},
        goals={
            "CISPO": sp.Eq(cispo, A * sp.Min(sp.Max(rho, 1 - LOW), 1 + HIGH)),
            "never zero": sp.Implies(sp.Ne(A, 0), cispo * A > 0),
            "PPO": sp.Eq(ppo, sp.Piecewise((0, SILENT), (A * rho, True))),
            "zero where": sp.Implies(sp.Ne(A, 0), sp.Equivalent(sp.Eq(ppo, 0), SILENT)),
            "exact below the bound": sp.Eq(bounded, gradient),
            "biased above it": sp.Gt(distance, 0),
        },
    ),
    source=sy.Source(
        "2506.13585",
        "v1",
        "equations (4) and (5)",
        says="the importance weight is clipped and detached, so that no token drops out of the update",
    ),
    verdict="proved",
    scope=(
        "all real advantages and ratios off the boundaries, every range; the last two goals on a bandit "
        "of three answers"
    ),
    proof=(
        r"CISPO's surrogate is a detached clipped ratio times $A \log \pi$, so its weight is $A$ times that "
        r"ratio, which is positive. PPO's minimum is linear in $\rho$ on each region: with the slope A inside "
        r"and on the two sides that push back, constant on the other two, where the weight is zero. The "
        r"traced pieces have these weights in every region that z3 finds, and CISPO and DAPO as catalogued on "
        r"a grid of ratios. On a bandit the clipped weight is exact while no ratio exceeds the bound and "
        r"biased beyond it; the engine agrees."
    ),
    finding=(
        r"CISPO's weight is a bounded importance weight: exact up to $1 + \epsilon_+$, too small beyond, so "
        r"its expected update is that of $\mathrm{E}_{\text{old}}[\min(\rho, 1+\epsilon_+) A s]$: biased "
        r"exactly where the policy has moved most, and never blind to a token. It also keeps pushing where "
        r"PPO stops: a token that has already moved far enough in the advantage's direction is pushed on."
    ),
)


def regions(rule, **settings):
    """The open regions of a shipped surrogate: its weight there, and the conditions."""
    rollouts = sy.symbolic_group(1)
    shipped = compose(
        advantage=advantage.raw,
        surrogate=partial(rule, **settings),
        aggregate=aggregate.sequence_token_sum,
        min_group=1,
    )
    (reward,), (ratio,) = rollouts.rewards.reshape(-1), rollouts.rho.reshape(-1)
    names = {reward: A, ratio: rho}
    for region in rollouts.regions(shipped, where=[sp.Ne(reward, 0)]):
        yield region.value.reshape(-1)[0].subs(names), [c.subs(names) for c in region.conditions]


RANGES = (("1/5", "1/5"), ("1/5", "7/25"), ("1", "4"))


@claim.step(
    "Every region of both",
    route="traced code",
    shows="all open regions of (advantage, ratio) at three ranges, one by one",
)
def traced(shift=0):
    table = []
    for low, high in RANGES:
        low, high = sp.Rational(low), sp.Rational(high)
        for rule, symbol, goals in (
            (surrogate.clipped_weight, cispo, ("CISPO", "never zero")),
            (surrogate.ppo_clip, ppo, ("PPO", "zero where")),
        ):
            for value, conditions in regions(rule, low=float(low), high=float(high)):
                for name in goals:
                    claim.goal(name).holds(
                        {symbol: value}, at={LOW: low, HIGH: high + shift}, where=[*conditions, sp.Ne(A, 0)]
                    )
                table.append((rule.__name__, f"{low}, {high}", str(conditions), f"${sp.latex(value)}$"))
    return sy.Exhibit(table=(("surrogate", "range", "region", "weight"), *table))


@claim.step(
    "From the printed surrogates, every range",
    route="smt",
    shows=r"$\rho$ times the slope of the minimum's linear piece on each region; the detached ratio times $A$",
)
def printed(corner=1, detached=True):
    log_ratio, held = sp.symbols("x rho0", positive=True)
    clip = lambda ratio: sp.Min(sp.Max(ratio, 1 - LOW), 1 + HIGH)  # noqa: E731
    slope = sp.diff(clip(held) * A * log_ratio, log_ratio).subs(held, rho)
    slope = slope if detached else rho * A
    claim.goal("CISPO").holds({cispo: slope})
    claim.goal("never zero").holds({cispo: slope})
    minimum = sp.Min(rho * A, clip(rho) * A)
    pieces = (
        ([A > 0, rho <= 1 + HIGH], rho * A),
        ([A > 0, rho > 1 + HIGH], (1 + HIGH) * A),
        ([A < 0, rho >= 1 - LOW], rho * A * corner),
        ([A < 0, rho < 1 - LOW], (1 - LOW) * A),
        ([sp.Eq(A, 0)], sp.Integer(0)),
    )
    for where, piece in pieces:
        sy.require(sy.smt_valid(where, sp.Eq(minimum, piece)), f"the minimum is {piece} where {where}")
        for name in ("PPO", "zero where"):
            claim.goal(name).holds({ppo: rho * sp.diff(piece, rho)}, where=where)


@claim.step(
    "As catalogued, on a grid",
    route="enumeration",
    shows="a mixed pair of rollouts at 25 pairs of ratios: CISPO and DAPO, bare, over their advantages on policy",
)
def catalogued(names=("cispo", "dapo")):
    rollouts = sy.symbolic_group(2, rewards=(1, 0))
    ratios = rollouts.rho.reshape(-1)
    olds = {s: sp.Integer(0) for x in rollouts.logp.flat for s in x.free_symbols if s not in ratios}
    grid = [sp.Rational(n, 8) for n in (1, 7, 9, 13, 48)]
    rules = ((cispo, ("CISPO", "never zero"), (1, 4)), (ppo, ("PPO", "zero where"), ("1/5", "7/25")))
    for name, (symbol, goals, clip) in zip(names, rules, strict=True):
        estimator = catalogue.get(name)

        def weights(point, estimator=estimator):
            point = dict(zip(ratios, point, strict=True)) | olds
            return [w.subs(point) for w in rollouts.weights(estimator, assume=sy.Witness(point)).reshape(-1)]

        advantages = weights((sp.Integer(1), sp.Integer(1)))
        for pair in ((x, y) for x in grid for y in grid):
            for weight, scale, ratio in zip(weights(pair), advantages, pair, strict=True):
                place = {A: 2 * scale, rho: ratio, LOW: sp.Rational(clip[0]), HIGH: sp.Rational(clip[1])}
                for goal in goals:
                    claim.goal(goal).holds({symbol: 2 * weight}, at=place)


OLD, NEW, REWARDS = ("1/2", "1/3", "1/6"), ("1/3", "1/3", "1/3"), (1, 0, 3)


def update_of(bound):
    """E_old[min(ratio, bound) r s] on the bandit, and grad J."""
    bandit = sy.SymbolicBandit(NEW, REWARDS)
    rows = list(zip(map(sp.Rational, OLD), bandit.probabilities, bandit.rewards, bandit.scores, strict=True))
    return [sum(o * min(n / o, bound) * r * s[j] for o, n, r, s in rows) for j in range(3)], bandit


@claim.step(
    "A bounded importance weight",
    route="enumeration",
    shows=r"old (1/2, 1/3, 1/6), new (1/3, 1/3, 1/3), rewards 1, 0, 3, largest ratio 2: the bounds 2 and 3/2",
)
def truncated(bounds=(2, sp.Rational(3, 2))):
    update, bandit = update_of(bounds[0])
    claim.goal("exact below the bound").holds({bounded: update, gradient: bandit.gradient})
    update, _ = update_of(bounds[1])
    square = sum((x - y) ** 2 for x, y in zip(update, bandit.gradient, strict=True))
    claim.goal("biased above it").holds({distance: square})


@claim.step(
    "The engine off policy",
    route="exact engine",
    shows="the same bandit, the shipped clipped weight with both bounds",
)
def engine(bounds=(3, sp.Rational(3, 2))):
    bandit = sy.SymbolicBandit(NEW, REWARDS)
    updates = []
    for bound in bounds:
        shipped = compose(
            advantage=advantage.raw,
            surrogate=partial(surrogate.clipped_weight, low=1.0, high=float(bound) - 1),
            aggregate=aggregate.sequence_token_sum,
            min_group=1,
        )
        old = np.log(np.asarray([[float(sp.Rational(x)) for x in OLD]]))
        updates.append(np.asarray(sy.engine(shipped, bandit, 1, old_params=old).mean).reshape(-1))
    values = {bounded: updates[0], gradient: bandit.gradient}
    claim.goal("exact below the bound").holds(values, tolerance=1e-11)
    square = float(sum((x - float(y)) ** 2 for x, y in zip(updates[1], bandit.gradient, strict=True)))
    claim.goal("biased above it").holds({distance: square}, tolerance=1e-9)


claim.sabotage("a wider range", traced, shift=sp.Rational(1, 10))
claim.sabotage("a corner at twice its value", printed, corner=2)
claim.sabotage("a ratio that is not detached", printed, detached=False)
claim.sabotage("DAPO's clip for CISPO's weight", catalogued, names=("dapo", "dapo"))
claim.sabotage("CISPO's weight for DAPO's clip", catalogued, names=("cispo", "cispo"))
claim.sabotage("a bound below the largest ratio", truncated, bounds=(sp.Rational(7, 4), sp.Rational(3, 2)))
claim.sabotage("a bound above the largest ratio", truncated, bounds=(2, 2))
claim.sabotage("a bound below the largest ratio in the engine", engine, bounds=(sp.Rational(7, 4), 1))
