"""A6: a general baseline gives gbar+ - c gbar-, and the group mean is the one with c = 1."""

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate

claim = sy.Claim(
    id="A6",
    title="A baseline b gives a gradient along the positives' mean less c times the negatives'",
    statement=(
        r"For binary rewards with $k$ of $G$ correct, $0 < k < G$, a baseline $b \ne 1$ gives $\frac{k (1 - "
        r"b)}{G} \left[ \bar g_+ - c\, \bar g_- \right]$ with $c = \frac{(G - k) b}{k (1 - b)}$; and $c = "
        r"1$ if and only if $b = k/G$, the group mean."
    ),
    source=sy.Source("2510.00977", "v3", "Section 4.1, the general baseline"),
    verdict="proved",
    hypotheses=(r"$b \ne 1$ and the group is mixed",),
    scope="every G and k (symbolic), every real baseline but 1",
    finding=(
        r"In expectation the same holds with $c = \frac{(1-p) b}{p (1 - b)}$, which is 1 for $b = p$. The "
        r"factor $1 - b$ changes sign at $b = 1$: beyond it the positives are pushed down."
    ),
)
G, k = sp.symbols("G k", positive=True)
b = sp.Symbol("b", real=True)


@claim.step(
    "Collect the two sums",
    route="sympy",
    shows=(
        r"$\frac{1}{G} \left[ k (1 - b) \bar g_+ - (G - k) b\, \bar g_- \right]$, then take out the first "
        r"factor"
    ),
)
def collect(exponent=1):
    plus, minus = sp.symbols("gplus gminus", real=True)
    c = ((G - k) * b / (k * (1 - b))) ** exponent
    sy.equal(
        (k * (1 - b) * plus - (G - k) * b * minus) / G,
        k * (1 - b) / G * (plus - c * minus),
        "the general baseline",
    )


@claim.step(
    "c = 1 only at the group mean",
    route="smt",
    shows=r"$c = 1 \iff b = k/G$ for $0 < k < G$, $b \ne 1$; and $c < 1$ for $0 \le b < k/G$",
)
def only_the_mean(share=k / G):
    c = (G - k) * b / (k * (1 - b))
    sy.require(
        sy.smt_valid([k < G, sp.Ne(b, 1)], sp.Equivalent(sp.Eq(c, 1), sp.Eq(b, share))), "c = 1 iff b = k/G"
    )
    sy.require(sy.smt_valid([k < G, b >= 0, b < k / G], c < 1), "a smaller baseline leans on the positives")


@claim.step(
    "The shipped weights",
    route="traced code",
    shows=(
        r"given baseline, symbolic; and the group mean's balance: the negatives' weights sum to minus the "
        r"positives'"
    ),
)
def traced(name="dr_grpo"):
    value = sy.symbols("e", (1,))
    estimator = compose(
        advantage=advantage.given, surrogate=surrogate.likelihood, aggregate=aggregate.sequence_token_sum
    )
    for rewards in ((1, 0), (1, 1, 0), (1, 0, 0, 0)):
        size, right = len(rewards), sum(rewards)
        rollouts = sy.symbolic_group(size, rewards=rewards, on_policy=True, baseline=value)
        weights = rollouts.weights(estimator).reshape(-1)
        c = (size - right) * value[0] / (right * (1 - value[0]))
        first = sp.Rational(right, size) * (1 - value[0])
        expected = [first / right if r else -first * c / (size - right) for r in rewards]
        sy.equal(weights, expected, f"weights at {rewards}")
        balanced = sy.symbolic_group(size, rewards=rewards, on_policy=True, baseline=value).weights(
            catalogue.get(name)
        )
        sy.equal(sum(balanced.reshape(-1)), 0, "the group mean balances the two sums")


@claim.step(
    "Small groups",
    route="enumeration",
    shows="all G up to 6, all k, all baselines j/12: c = 1 at the mean and nowhere else",
)
def small(offset=0):
    def holds(size, right, level):
        if not 0 < right < size or level == 12:
            return True
        base = sp.Rational(level, 12)
        return ((size - right) * base == right * (1 - base)) == (base == sp.Rational(right + offset, size))

    sy.enumerate_rationals(holds, range(2, 7), range(1, 6), range(-6, 19), what="c = 1 iff b = k/G")


claim.sabotage("c squared", collect, exponent=2)
claim.sabotage("the group mean with one success too many", only_the_mean, share=(k + 1) / (G + 1))
claim.sabotage("REINFORCE, whose weights do not balance", traced, name="reinforce")
claim.sabotage("one more success than there is", small, offset=1)
