"""B21: CISPO keeps a gradient on every token, PPO's clip does not."""

from functools import partial

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate

claim = sy.Claim(
    id="B21",
    title="CISPO keeps a gradient on every token, PPO's clip does not",
    statement=(
        r"With advantage $A \ne 0$ and ratio $\rho > 0$ a token's weight (before the aggregation's share) is "
        r"$A \min(\max(\rho, 1-\epsilon_-), 1+\epsilon_+)$ under CISPO, never zero; under PPO's clip it is "
        r"$A \rho$, and zero where $A > 0, \rho > 1+\epsilon_+$ or $A < 0, \rho < 1-\epsilon_-$."
    ),
    source=sy.Source("2506.13585", "v1", "equations (4) and (5)"),
    verdict="proved",
    scope=(
        "all real rewards and ratios off the boundaries; clip ranges (0.2, 0.2), (0.2, 0.28) and (1, "
        "4) as traced, every range by z3"
    ),
    finding=(
        r"CISPO's weight is a bounded importance weight: exact up to $1 + \epsilon_+$, too small "
        r"beyond, so its expected update is that of "
        r"$\mathrm{E}_{\text{old}}[\min(\rho, 1+\epsilon_+) A s]$: biased exactly where the policy "
        r"has moved most, and never blind to a token. "
        r"It also keeps pushing where PPO stops: a token that has already moved far enough in the "
        r"advantage's direction is pushed on."
    ),
)
r, rho = sp.Symbol("r", real=True), sp.Symbol("rho", positive=True)
UP, DOWN = sp.symbols("up down", positive=True)


def regions(rule, **settings):
    rollouts = sy.symbolic_group(1)
    shipped = compose(
        advantage=advantage.raw,
        surrogate=partial(rule, **settings),
        aggregate=aggregate.sequence_token_sum,
        min_group=1,
    )
    (reward,), (ratio,) = rollouts.rewards.reshape(-1), rollouts.rho.reshape(-1)
    computed = rollouts.regions(shipped, where=[sp.Ne(reward, 0)])
    return [
        (
            region.value.reshape(-1)[0].subs({reward: r, ratio: rho}),
            [c.subs({reward: r, ratio: rho}) for c in region.conditions],
        )
        for region in computed
    ]


def cispo_weight(low, high):
    return r * sp.Min(sp.Max(rho, 1 - low), 1 + high)


def ppo_weight(low, high):
    return sp.Piecewise(
        (0, sp.And(r > 0, rho > 1 + high)), (0, sp.And(r < 0, rho < 1 - low)), (r * rho, True)
    )


@claim.step(
    "Every region of both",
    route="traced code",
    shows="all open regions of (advantage, ratio), matched one by one",
)
def traced(shift=0):
    table = []
    for low, high in ((0.2, 0.2), (0.2, 0.28), (1.0, 4.0)):
        exact = sp.Rational(str(low)), sp.Rational(str(high)) + shift
        for rule, weight in ((surrogate.clipped_weight, cispo_weight), (surrogate.ppo_clip, ppo_weight)):
            for value, assumptions in regions(rule, low=low, high=high):
                claimed = weight(*exact)
                sy.require(
                    sy.smt_valid([*assumptions, sp.Ne(r, 0)], sp.Eq(value, claimed)),
                    f"{rule.__name__}: weight {value} where {assumptions}",
                )
                table.append((rule.__name__, f"{low}, {high}", str(assumptions), f"${sp.latex(value)}$"))
    return sy.Exhibit(table=(("surrogate", "range", "region", "weight"), *table))


@claim.step(
    "Never zero",
    route="smt",
    shows=r"for every range CISPO's weight has the sign of A; PPO's is zero on two half-lines",
)
def never_zero(weight=cispo_weight):
    assumptions = [sp.Ne(r, 0)]
    sy.require(
        sy.smt_valid(assumptions, weight(DOWN, UP) * r > 0), "CISPO's weight has the sign of the advantage"
    )
    zero = sp.Or(sp.And(r > 0, rho > 1 + UP), sp.And(r < 0, rho < 1 - DOWN))
    sy.require(
        sy.smt_valid(assumptions, sp.Equivalent(sp.Eq(ppo_weight(DOWN, UP), 0), zero)),
        "PPO's weight is zero there and only there",
    )


@claim.step(
    "Inside the range they agree",
    route="smt",
    shows=r"for $1-\epsilon_- \le \rho \le 1+\epsilon_+$ both are $A \rho$",
)
def agree_inside(wider=0):
    inside = [rho >= 1 - DOWN, rho <= 1 + UP + wider, DOWN < 1]
    sy.require(
        sy.smt_valid(inside, sp.Eq(cispo_weight(DOWN, UP), ppo_weight(DOWN, UP))),
        "the two weights agree inside the range",
    )


@claim.step(
    "The catalogued estimators, on a grid",
    route="enumeration",
    shows=(
        "a mixed pair of rollouts at 49 pairs of ratios: the shipped weights of CISPO and DAPO in "
        "exact numbers"
    ),
)
def catalogued(name="cispo"):
    rollouts = sy.symbolic_group(2, rewards=(1, 0))
    first, second = rollouts.rho.reshape(-1)
    olds = {s: sp.Integer(0) for x in rollouts.logp.flat for s in x.free_symbols if s not in (first, second)}
    values = [sp.Rational(n, 8) for n in (1, 3, 7, 9, 13, 30, 48)]

    def holds(x, y):
        point = {first: x, second: y} | olds
        computed = rollouts.weights(catalogue.get(name, eps=0.0), assume=sy.Witness(point)).reshape(-1)
        cap = [min(x, sp.Integer(5)), -min(y, sp.Integer(5))]
        return all(sp.simplify(f.subs(point) - c / 2) == 0 for f, c in zip(computed, cap, strict=True))

    sy.enumerate_rationals(holds, values, values, what="CISPO's weights")


@claim.step(
    "A bounded importance weight",
    route="enumeration",
    shows=(
        r"bandit: $\mathrm{E}_{\text{old}}[\min(\rho, c) r s]$ is $\nabla J$ if no ratio exceeds c, "
        r"and smaller on the answers that do"
    ),
)
def truncated(cap=2):
    old, new, rewards = (
        [sp.Rational(n, 6) for n in (3, 2, 1)],
        [sp.Rational(n, 6) for n in (2, 2, 2)],
        (1, 0, 3),
    )
    for bound, exact in ((cap, True), (sp.Rational(3, 2), False)):
        for j in range(3):
            scores = [(1 if i == j else 0) - new[j] for i in range(3)]
            mean = sum(
                o * min(n / o, bound) * x * s for o, n, x, s in zip(old, new, rewards, scores, strict=True)
            )
            true = sum(n * x * s for n, x, s in zip(new, rewards, scores, strict=True))
            if exact:
                sy.equal(mean, true, "no ratio above the cap")
            else:
                sy.require(mean != true, "a ratio above the cap changes the mean")


claim.sabotage("a wider range", traced, shift=sp.Rational(1, 10))
claim.sabotage("PPO's weight for CISPO's", never_zero, weight=ppo_weight)
claim.sabotage("a little outside the range", agree_inside, wider=1)
claim.sabotage("DAPO's clip for CISPO's weight", catalogued, name="dapo")
claim.sabotage("a cap below the largest ratio", truncated, cap=sp.Rational(7, 4))
