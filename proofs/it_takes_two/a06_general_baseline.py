"""A6: a general baseline gives gbar+ - c gbar-, and the group mean is the one with c = 1."""

import itertools

import numpy as np
import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

G, k = sp.symbols("G k", integer=True, positive=True)
b = sp.Symbol("b", real=True)
update, plus, minus, ratio, balance = sp.symbols("g g_+ g_- c D", real=True)

claim = sy.Claim(
    id="A6",
    title="A baseline b gives a gradient along the positives' mean less c times the negatives'",
    statement=sy.Statement(
        setting="One prompt, binary rewards, k of G rollouts correct, the baseline b for all of them",
        forall={G: sy.whole(2), k: sy.whole(1), b: sy.real()},
        given={
            "mixed": sy.Hypothesis("some rollouts are correct and some wrong", k <= G - 1),
            "below the reward": sy.Hypothesis(r"$b \ne 1$", sp.Ne(b, 1)),
        },
        quantities={
            update: sy.Quantity(r"\hat g", r"the mean of $(r_i - b) s_i$ over the group"),
            plus: sy.Quantity(r"\bar g_+", "the mean score of the correct rollouts"),
            minus: sy.Quantity(r"\bar g_-", "the mean score of the wrong ones"),
            ratio: sy.Quantity(
                "c",
                "the total weight of the wrong scores over that of the correct ones, with the sign changed",
            ),
            balance: sy.Quantity("D", "the sum of all weights with the group mean as the baseline"),
        },
        goals={
            "two means": sp.Eq(update, k * (1 - b) / G * (plus - ratio * minus)),
            "coefficient": sp.Eq(ratio, (G - k) * b / (k * (1 - b))),
            "one at the mean": sp.Equivalent(sp.Eq(ratio, 1), sp.Eq(b, k / G)),
            "smaller below the mean": sp.Implies(sp.And(b >= 0, b < k / G), ratio < 1),
            "balance": sp.Eq(balance, 0),
        },
    ),
    source=sy.Source(
        "2510.00977",
        "v2",
        "Section 4.2",
        says="a general baseline weighs the mean over negatives with a coefficient c, and the group mean has c = 1",
    ),
    verdict="proved",
    scope="every G and k (symbolic), every real baseline but 1",
    proof=(
        r"The k correct rollouts weigh $1 - b$ each and the $G - k$ wrong ones $-b$, so $\hat g = \frac{1}{G} [k (1 "
        r"- b) \bar g_+ - (G - k) b\, \bar g_-]$; taking out the first factor leaves c. The two total weights are "
        "equal exactly if $k (1 - b) = (G - k) b$, which is $b = k/G$, and a smaller baseline that is not negative "
        "gives $c < 1$. The shipped pieces have these weights with a symbol for b, and Dr. GRPO's weights sum to "
        "zero in every group."
    ),
    finding=(
        r"In expectation the same holds with $c = \frac{(1-p) b}{p (1 - b)}$, which is 1 for $b = p$. The factor $1 "
        "- b$ changes sign at $b = 1$: beyond it the positives are pushed down."
    ),
)


@claim.step(
    "Collect the two sums",
    route="sympy",
    shows=r"$\frac{1}{G} \left[ k (1 - b) \bar g_+ - (G - k) b\, \bar g_- \right]$ with c the ratio of its two weights",
)
def collect(exponent=1):
    upper, lower = sp.symbols("gplus gminus", real=True)
    right, wrong = k * (1 - b), -(G - k) * b
    c = (-wrong / right) ** exponent
    claim.goal("two means").holds(
        {update: (right * upper + wrong * lower) / G, plus: upper, minus: lower, ratio: c}
    )
    claim.goal("coefficient").holds({ratio: c})
    claim.goal("balance").holds({balance: (right + wrong).subs(b, k / G)})


@claim.step(
    "c = 1 only at the group mean",
    route="smt",
    shows=r"$c = 1 \iff b = k/G$ for $0 < k < G$, $b \ne 1$; and $c < 1$ for $0 \le b < k/G$",
)
def only_the_mean(more=0):
    c = (G - k + more) * b / (k * (1 - b))
    claim.goal("one at the mean").holds({ratio: c})
    claim.goal("smaller below the mean").holds({ratio: c})


@claim.step(
    "The shipped weights",
    route="traced code",
    shows="the catalogued REINFORCE with a symbol for its constant; and Dr. GRPO's, whose weights sum to zero",
)
def traced(name="dr_grpo"):
    constant = sy.symbols("e", (1,))
    for size in (2, 3, 4):
        for right in range(1, size):
            rewards = [1] * (right - 1) + [0] * (size - right) + [1]
            rollouts = sy.symbolic_group(size, rewards=rewards, on_policy=True, baseline=constant)
            traced = rollouts.weights(catalogue.get("reinforce_best_constant")).reshape(-1)
            weights = [w.subs(constant[0], b) for w in traced]
            scores = sp.symbols(f"s1:{size + 1}", real=True)
            upper = sp.Add(*[s for s, r in zip(scores, rewards, strict=True) if r]) / right
            lower = sp.Add(*[s for s, r in zip(scores, rewards, strict=True) if not r]) / (size - right)
            totals = {
                r: sp.Add(*[w for w, x in zip(weights, rewards, strict=True) if x == r]) for r in (0, 1)
            }
            c = -totals[0] / totals[1]
            values = {
                update: sp.Add(*[w * s for w, s in zip(weights, scores, strict=True)]),
                plus: upper,
                minus: lower,
                ratio: c,
            }
            place = {G: size, k: right}
            claim.goal("two means").holds(values, at=place)
            for goal in ("coefficient", "one at the mean", "smaller below the mean"):
                claim.goal(goal).holds({ratio: c}, at=place)
            centred = rollouts.weights(catalogue.get(name)).reshape(-1)
            claim.goal("balance").holds({balance: sp.Add(*centred)}, at=place)


@claim.step(
    "Small groups",
    route="enumeration",
    shows="all G up to 6, all k, baselines $j/4$: weights counted rollout by rollout",
)
def small(offset=0):
    for size, level in itertools.product(range(2, 7), range(-6, 19, 3)):
        for right in range(1, size):
            base = sp.Rational(level, 12)
            if base == 1:
                continue
            weights = [r - base for r in [1] * right + [0] * (size - right)]
            c = -sum(weights[right + offset :]) / sum(weights[: right + offset])
            place = {G: size, k: right, b: base}
            for goal in ("coefficient", "one at the mean", "smaller below the mean"):
                claim.goal(goal).holds({ratio: c}, at=place)


@claim.counterexample(
    "At $b = 1$ the correct rollouts weigh nothing, and no c gives the update.", b="1", G="2", k="1"
)
def at_one(level=1):
    weights = [r - sp.sympify(level) for r in (1, 0)]
    without = "below the reward" if level == 1 else ""
    scores = np.asarray([2, 3], object)
    values = {
        update: weights @ scores / sp.Integer(2),
        plus: 2,
        minus: 3,
        ratio: -weights[1] / weights[0] if weights[0] else 0,
    }
    claim.goal("two means").fails(values, at={G: 2, k: 1, b: level}, without=without)


claim.sabotage("c squared", collect, exponent=2)
claim.sabotage("one wrong rollout too many", only_the_mean, more=1)
claim.sabotage("REINFORCE, whose weights do not balance", traced, name="reinforce")
claim.sabotage("one wrong rollout among the correct ones", small, offset=1)
claim.sabotage("a baseline of 1/2, where a coefficient exists", at_one, level=sp.Rational(1, 2))
