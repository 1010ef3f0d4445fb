"""B2: what dropping the standard deviation and the 1/length makes of GRPO: unbiased, up to a constant, under a sum."""

import numpy as np
import sympy as sp
from _binary import ON_POLICY, batch_weights
from _stopping import completions, sequence_engine, sequence_weights

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate

G = sp.Symbol("G", integer=True, positive=True)
length = sp.Symbol("L", positive=True)
update, gradient = sp.symbols("m g", real=True)

claim = sy.Claim(
    id="B2a",
    title="Without standard deviation and 1/length, GRPO is grad J times (G-1)/G",
    statement=sy.Statement(
        setting=(
            r"One prompt, rewards of any law, rollouts of any lengths, the advantages $r_i - \bar r$, the tokens' sum "
            "divided by a constant L (1 in the paper's formula)"
        ),
        forall={G: sy.whole(2), length: sy.above(0)},
        given={"on policy": ON_POLICY},
        quantities={
            update: sy.Quantity(
                r"\mathrm{E}[\hat g]", r"the mean of $\frac{1}{GL} \sum_i (r_i - \bar r) \sum_t s_{i,t}$"
            ),
            gradient: sy.Quantity(r"\nabla J", "the gradient of the expected reward"),
        },
        goals={"mean": sp.Eq(update, (G - 1) / (G * length) * gradient)},
    ),
    source=sy.Source(
        "2503.20783",
        "v1",
        "Section 3.2",
        relation="implies",
        says="the standard deviation and the division by a rollout's length are dropped, and the bias with them",
        caveat="its appendix, with the derivation, was not read",
    ),
    verdict="proved",
    scope="any rewards, any lengths; L is a constant, not the length of a rollout or of a batch",
    proof=(
        r"The centred update is $\frac{1}{G} \left(\sum_i r_i s_i - \frac{1}{G} \sum_i r_i \sum_j "
        r"s_j\right)$, with $s_i$ the sum "
        r"of the rollout's token scores. A rollout's term with itself has the mean $\mathrm{E}[r s] = "
        r"\nabla J$, and two different rollouts give "
        r"$\mathrm{E}[r] \mathrm{E}[s] = 0$. So the first sum has the mean $\nabla J$, of which the "
        r"second takes one G-th. "
        "The shipped estimator has these weights whatever the lengths, and its mean over all groups of a policy with "
        "rollouts of one and two tokens, and of a bandit with three reward levels, is this multiple."
    ),
    finding=(
        r"Unbiased up to the constant $(G-1)/G$, the same for all prompts: the direction is right, the step is "
        r"shorter (half at G = 2). Times $G/(G-1)$ it is leave-one-out."
    ),
)


@claim.step(
    "The mean, any G and any rewards",
    route="sympy",
    shows=r"over index patterns: $\mathrm{E}[rs]$ less one G-th of it; cross terms vanish",
)
def mean(extra=1):
    g, value = sp.symbols("g1 J", real=True)
    R, S, RS = sp.symbols("R S RS")

    def moment(exponents):
        table = {(1, 1): g, (1, 0): value, (0, 1): sp.Integer(0), (0, 0): sp.Integer(1)}
        return table[exponents.get("r", 0), exponents.get("s", 0)]

    estimator = (RS - extra * R * S / G) / (G * length)
    kinds = {R: {"r": 1}, S: {"s": 1}, RS: {"r": 1, "s": 1}}
    claim.goal("mean").holds({update: sy.over_rollouts(estimator, kinds, G, moment), gradient: g})


@claim.step(
    "The shipped estimator on rollouts of one and two tokens",
    route="traced code",
    shows=(
        "three reward levels, G = 2 and 3, as shipped and with the constant 5; two prompts in a "
        "batch keep their weights"
    ),
)
def traced(name="dr_grpo"):
    constant = compose(
        advantage=advantage.group_mean,
        surrogate=surrogate.ppo_clip,
        aggregate=lambda tokens, mask: aggregate.constant_length(tokens, mask, length=5.0),
    )
    rewards = (1, 0, sp.Rational(-7, 3))
    policy = completions("1/2", "1/3", rewards)
    for estimator, divisor in ((catalogue.get(name), 1), (constant, 5)):
        for size in (2, 3):
            weights = sequence_weights(estimator, rewards)
            computed = sy.group_moments(policy, size, weights, by_answer=True).mean
            values = {update: computed, gradient: policy.gradient}
            claim.goal("mean").holds(values, at={G: size, length: divisor})
        rows, lengths = (rewards, (2, 2, 5)), ((1, 2, 3), (3, 1, 1))
        both = batch_weights(estimator, rows, lengths)
        for q in range(2):
            for i, reward in enumerate(map(sp.sympify, rows[q])):
                share = (reward - sp.Add(*rows[q]) / 3) / (3 * divisor)
                claimed = [share if t < lengths[q][i] else sp.Integer(0) for t in range(3)]
                sy.equal(both[q, i], claimed, f"the tokens of rollout {i} of prompt {q}")


@claim.step(
    "Three reward levels", route="enumeration", shows="means over all groups of a bandit, G = 2, 3, 4"
)
def enumerated(shift=0):
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "-7/3"])
    for size in (2, 3, 4):

        def weights(rewards, size=size):
            return [(r - sp.Add(*rewards) / (size - shift)) / size for r in rewards]

        computed = sy.group_moments(bandit, size, weights).mean
        claim.goal("mean").holds({update: computed, gradient: bandit.gradient}, at={G: size, length: 1})


@claim.step("The engine agrees", route="exact engine", shows="the mean at G = 3")
def engines(name="dr_grpo"):
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "-7/3"])
    moments = sy.engine(catalogue.get(name), bandit, 3)
    values = {update: np.asarray(moments.mean).reshape(-1), gradient: bandit.gradient}
    claim.goal("mean").holds(values, at={G: 3, length: 1}, tolerance=1e-11)


claim.sabotage("no mean subtracted", mean, extra=0)
claim.sabotage("the mean over a rollout's tokens", traced, name="grpo")
claim.sabotage("the sum divided by G - 1", enumerated, shift=1)
claim.sabotage("leave-one-out called Dr. GRPO", engines, name="rloo")


REWARDS = (1, 0, 2)
RULES = {
    "sum over tokens": "sequence_token_sum",
    "mean over the batch's tokens": "token_mean",
    "mean over the prompt's tokens": "prompt_mean",
    "mean over each rollout's tokens": "sequence_token_mean",
}
MEANS = tuple(rule for rule in RULES if rule != "sum over tokens")
sine, sum_sine = sp.symbols("S S_0", nonnegative=True)
ANGLE = r"the squared sine of the angle between $\mathrm{E}[\hat g]$ and $\nabla J$"
SINE = {sine: sy.Quantity(r"\sin^2", ANGLE)}
SUM_SINE = {sum_sine: sy.Quantity(r"\sin_0^2", "the same when the tokens are summed")}
SETTING = (
    r"Rollouts of unequal lengths, on policy, G = 2, the advantages $r_i - \bar r$ with no standard deviation"
)

rules = sy.Claim(
    id="B2b",
    title="Without the per-rollout 1/|o| the length bias is gone under any aggregation, the token mean included",
    statement=sy.Statement(
        setting=f"{SETTING}, every policy and reward",
        forall={"aggregation": sy.one_of(*RULES)},
        quantities=SINE,
        goals={"same direction": sp.Eq(sine, 0)},
    ),
    instead=sy.Statement(
        setting=(
            f"{SETTING}; the policy that stops after one token with chance 1/2, and else adds a token, 0 with chance "
            "1/3; rewards 1, 0 and 2 of the three completions"
        ),
        forall={"mean": sy.one_of(*MEANS)},
        quantities=SINE | SUM_SINE,
        ranges={"the sum keeps it": ()},
        goals={
            "a mean bends the direction": sp.Gt(sine, 0),
            "the sum keeps it": sp.Eq(sum_sine, 0),
        },
    ),
    source=sy.Source(
        "2503.20783",
        "v1",
        "Section 3.2",
        relation="ours",
        says="the division by each rollout's length is dropped and the tokens are summed",
        caveat="it says nothing of other aggregations, such as the mean over all tokens of a batch",
    ),
    verdict="refuted",
    scope="the sum keeps the direction for every policy (B2a); the three means lose it for this policy",
    proof=(
        "A mean over the tokens of a batch, a prompt or a rollout divides by a length that depends on the rollouts. "
        "For a small policy with completions of 1, 2 and 2 tokens all pairs are listed, with the "
        "weights read from the shipped "
        "aggregations: the update's angle with the gradient is zero for the sum alone. "
        "The same pairs with weights written out by hand, and the exact engine, give the same."
    ),
    finding=(
        "The token mean divides by a length that depends on the same rollouts: at G = 2 and equal chances its "
        "pairs (short, long) weigh $1/3$ a token where (short, short) weigh $1/2$. It keeps the "
        "direction when all lengths are "
        "equal; in a batch of very many prompts its divisor is nearly constant."
    ),
)


def estimator_of(rule):
    """Mean-centred advantages under one of the shipped aggregations."""
    return compose(
        advantage=advantage.group_mean,
        surrogate=surrogate.ppo_clip,
        aggregate=getattr(aggregate, RULES[rule]),
    )


def squared_sine(mean, wanted):
    """One less the squared cosine of the angle between two vectors."""
    a, b = sp.Matrix(mean), sp.Matrix(wanted)
    return sp.simplify(1 - a.dot(b) ** 2 / (a.dot(a) * b.dot(b)))


@rules.step(
    "The shipped aggregations",
    route="traced code",
    shows="all pairs of completions of 1, 2 and 2 tokens, weights traced",
)
def aggregations(means=MEANS):
    policy = completions("1/2", "1/3", REWARDS)
    sines = {}
    for rule in ("sum over tokens", *means):
        weights = sequence_weights(estimator_of(rule), REWARDS)
        computed = sy.group_moments(policy, 2, weights, by_answer=True)
        sines[rule] = squared_sine(computed.mean, policy.gradient)
    rules.goal("the sum keeps it").holds({sum_sine: sines["sum over tokens"]})
    for rule in means:
        rules.goal("a mean bends the direction").holds(
            {sine: sines[rule]}, at={"mean": rule if rule in MEANS else MEANS[0]}
        )


@rules.step(
    "The same by hand",
    route="enumeration",
    shows=r"a pair's rollouts weigh $\pm \frac{1}{2} (r_1 - r_2)$, divided by $\frac{l_1 + l_2}{2}$ or by "
    r"their $l_i$ for the means",
)
def by_hand(short=1):
    policy, lengths = completions("1/2", "1/3", REWARDS), (short, 2, 2)
    divisors = {
        "sum over tokens": lambda first, second: (2, 2),
        "mean over the batch's tokens": lambda first, second: (first + second,) * 2,
        "mean over the prompt's tokens": lambda first, second: (first + second,) * 2,
        "mean over each rollout's tokens": lambda first, second: (2 * first, 2 * second),
    }
    for rule, divisor in divisors.items():

        def weights(answers, divisor=divisor):
            gap = sp.Rational(REWARDS[answers[0]] - REWARDS[answers[1]], 2)
            first, second = divisor(*(lengths[k] for k in answers))
            return [gap / first, -gap / second]

        computed = sy.group_moments(policy, 2, weights, by_answer=True)
        value = squared_sine(computed.mean, policy.gradient)
        if rule in MEANS:
            rules.goal("a mean bends the direction").holds({sine: value}, at={"mean": rule})
        else:
            rules.goal("the sum keeps it").holds({sum_sine: value})


@rules.counterexample(
    "A first token that stops with chance 1/2, else a second token, 0 with chance 1/3; rewards (1, 0, 2); "
    "G = 2: the token mean's expected update is not parallel to grad J, and the engine's is the same.",
    chances="(1/2, 1/6, 1/3)",
    G=2,
)
def engine_cosine(rule="mean over the batch's tokens"):
    policy, estimator = completions("1/2", "1/3", REWARDS), estimator_of(rule)
    exact = sy.group_moments(policy, 2, sequence_weights(estimator, REWARDS), by_answer=True)
    value = squared_sine(exact.mean, policy.gradient)
    rules.goal("same direction").fails({sine: value}, at={"aggregation": rule})
    biased = sequence_engine(estimator, "1/2", "1/3", REWARDS, 2)
    sy.engines_agree(biased, exact, rule)
    return sy.Exhibit(text=f"squared sine {value}; the engine's cosine with grad J {biased.cosine:.6f}")


rules.sabotage(
    "the sum among the means that bend the direction",
    aggregations,
    means=("sum over tokens", *MEANS),
)
rules.sabotage("equal lengths", by_hand, short=2)
rules.sabotage("the sum of tokens called biased", engine_cosine, rule="sum over tokens")
