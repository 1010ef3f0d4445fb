"""R10: PPO's two clips with rewards that know nothing of the action: what they do to the entropy of two actions."""

import itertools
from functools import partial

import numpy as np
import sympy as sp

from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate

p, q, low, high = (sp.Symbol(name, positive=True) for name in ("p", "q", "l", "h"))
neither, by_low, by_high, log_odds = sp.symbols("n a b L", real=True)
HALF = sp.Rational(1, 2)

claim = sy.Claim(
    id="R10",
    title=(
        "Clipping below raises the entropy and clipping above lowers it, even with random rewards: two actions, "
        "the rarer one clipped"
    ),
    statement=sy.Statement(
        setting=(
            "Two actions, drawn with chance q and 1 - q by the old policy, now taken with chance p and 1 - p; "
            "advantages of plus or minus one by a fair coin; the slope of the entropy along the mean update of "
            "PPO's surrogate, by the log-odds"
        ),
        forall={
            p: sy.between(HALF, 1),
            q: sy.between(0, 1),
            low: sy.between(0, 1),
            high: sy.above(0),
        },
        given={
            "the rarer one": sy.Hypothesis(
                "the likelier action is not the clipped one, $1 - l \\le p/q \\le 1 + h$",
                sp.And(p >= (1 - low) * q, p <= (1 + high) * q),
                stated_by="ours",
            )
        },
        quantities={
            neither: sy.Quantity("n", "the slope without clips"),
            by_low: sy.Quantity("a", "the slope with the clip at $1 - l$ alone"),
            by_high: sy.Quantity("b", "the slope with the clip at $1 + h$ alone"),
            log_odds: sy.Quantity("L", r"$\log \frac{p}{1-p}$"),
        },
        lemmas={
            "log-odds": sy.Lemma(sp.Gt(log_odds, 0), cited="the logarithm is positive above one, and p > 1/2")
        },
        goals={
            "no clips": sp.Eq(neither, 0),
            "clip below": sp.And(by_low >= 0, sp.Implies(1 - p < (1 - low) * (1 - q), by_low > 0)),
            "clip above": sp.And(by_high <= 0, sp.Implies(1 - p > (1 + high) * (1 - q), by_high < 0)),
        },
    ),
    source=sy.Source(
        "2509.26114",
        relation="not read",
    ),
    verdict="proved",
    scope="two actions, a coin for the advantage; the first-order change of the entropy at any point off policy",
    proof=(
        r"A token of ratio $\rho$ has the weight $\rho A$, or zero where it is clipped, so without clips both "
        "signs cancel. The clip above takes away the positive half of an action that has become much likelier, "
        "and what is left pushes it down; the clip below takes away the negative half of one that has become "
        "much rarer, and pushes it up. Where that action is the rarer of the two, down lowers the entropy and up "
        "raises it, since the entropy's slope by the log-odds is $-p(1-p)L$."
    ),
    finding=(
        "Both clips pull back to the old policy. That this raises or lowers the entropy depends on which action "
        "is clipped: if the likelier one has outgrown the upper clip, the upper clip raises the entropy."
    ),
)


def slope(p, q, weights, logarithm):
    """The entropy's slope along the mean update; ``weights(ratio, sign)`` is a token's weight per unit of advantage."""
    update = sp.Integer(0)
    for drawn, now, score in ((q, p, 1 - p), (1 - q, 1 - p, -p)):
        for sign in (1, -1):
            update += HALF * drawn * weights(now / drawn, sign) * score
    return -p * (1 - p) * logarithm * update


def clipped(low=None, high=None):
    """PPO's weight of a ratio, an advantage of this sign; a clip that is None is left out."""

    def weights(ratio, sign):
        if sign > 0:
            return ratio if high is None else sp.Piecewise((ratio, ratio <= 1 + high), (0, True))
        return -ratio if low is None else sp.Piecewise((-ratio, ratio >= 1 - low), (0, True))

    return weights


@claim.step(
    "Any chances and clips", route="smt", shows="the mean over the two actions and the coin, in symbols"
)
def in_symbols(swap=False, power=0):
    value = sp.Symbol("x", real=True)
    using = {"log-odds": {log_odds: value}}
    below, above = clipped(low=low), clipped(high=high)
    if swap:
        below, above = above, below
    plain = clipped()
    claim.goal("no clips").holds(
        {neither: slope(p, q, lambda r, s: plain(r, s) * (r**power if s > 0 else 1), value)}
    )
    claim.goal("clip below").holds({by_low: slope(p, q, below, value)}, using=using)
    claim.goal("clip above").holds({by_high: slope(p, q, above, value)}, using=using)


QUARTER = sp.Rational(1, 4)
CHANCES = [sp.Rational(n, 20) for n in (1, 4, 8, 11, 13, 15, 18, 19)]


def shipped(low, high):
    """The weight of a ratio by the shipped surrogate."""
    estimator = compose(
        advantage=advantage.raw,
        surrogate=partial(surrogate.ppo_clip, low=low, high=high),
        aggregate=aggregate.sequence_token_sum,
        min_group=1,
    )
    derivative = sy.gradient(estimator)

    def weights(ratio, sign):
        new, old = (np.asarray([[[x]]], object) for x in (sp.log(ratio), sp.Integer(0)))
        return sy.trace(derivative, new, sy.symbolic_batch(np.asarray([[sign]], object), old))[0, 0, 0]

    return weights


def discharge(plain, below, above):
    for now, drawn in itertools.product(CHANCES, repeat=2):
        inside = (1 - QUARTER) * drawn <= now <= (1 + QUARTER) * drawn
        if now <= HALF or not inside:
            continue
        at = {p: now, q: drawn, low: QUARTER, high: QUARTER}
        logarithm = sp.log(now / (1 - now))
        claim.goal("no clips").holds({neither: slope(now, drawn, plain, logarithm)}, at=at)
        claim.goal("clip below").holds({by_low: slope(now, drawn, below, logarithm)}, at=at)
        claim.goal("clip above").holds({by_high: slope(now, drawn, above, logarithm)}, at=at)


@claim.step(
    "The shipped clip",
    route="traced code",
    shows="`ppo_clip` with each bound out of reach, chances in twentieths",
)
def traced(low=0.25, high=0.25):
    discharge(shipped(1.0, 1e9), shipped(low, 1e9), shipped(1.0, high))


@claim.step(
    "Derivative of the entropy", route="enumeration", shows="the same chances, the weights by definition"
)
def in_numbers(flip=1):
    odds = sp.Symbol("t", real=True)
    chance = 1 / (1 + sp.exp(-odds))
    entropy = -chance * sp.log(chance) - (1 - chance) * sp.log(1 - chance)
    for now in CHANCES:
        found = sp.diff(entropy, odds).subs(odds, sp.log(now / (1 - now)))
        sy.equal(
            found, -flip * now * (1 - now) * sp.log(now / (1 - now)), "the entropy's slope by the log-odds"
        )
    discharge(clipped(), clipped(low=QUARTER), clipped(high=QUARTER))


@claim.counterexample(
    (
        "q = 1/2, p = 4/5, clips at 1/4: the likelier action has outgrown the upper clip, which pushes it down, and "
        "raises the entropy."
    ),
    q="1/2",
    p="4/5",
)
def likelier_clipped(now=sp.Rational(4, 5)):
    value = slope(now, HALF, clipped(high=QUARTER), sp.log(now / (1 - now)))
    at = {p: now, q: HALF, low: QUARTER, high: QUARTER}
    without = "the rarer one" if now > (1 + QUARTER) * HALF else ""
    claim.goal("clip above").fails({by_high: value}, at=at, without=without)


claim.sabotage("the two clips exchanged", in_symbols, swap=True)
claim.sabotage("the ratio squared for a plus", in_symbols, power=1)
claim.sabotage("a lower clip that is out of reach", traced, low=1.0)
claim.sabotage("the other sign of the entropy", in_numbers, flip=-1)
claim.sabotage("within the clips", likelier_clipped, now=sp.Rational(3, 5))
