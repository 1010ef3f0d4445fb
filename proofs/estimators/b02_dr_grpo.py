"""B2: what dropping the standard deviation and the 1/length makes of GRPO: unbiased, up to a constant, under a sum."""

import sympy as sp
from _stopping import completions, sequence_engine, sequence_weights

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate

SOURCE = sy.Source(
    "2503.20783",
    "v1",
    "Section 3.2 (abstract and the form of the objective seen; its appendix's derivation was not at hand)",
)
G = sp.Symbol("G", positive=True)

claim = sy.Claim(
    id="B2a",
    title="Without standard deviation and 1/length, GRPO is grad J times (G-1)/G",
    statement=r"With $A_i = r_i - \bar r$ and the token scores summed, $\mathrm{E}[\hat g] = \frac{G-1}{G} \nabla J$ for any rewards; divided by a constant length L it is $\frac{G-1}{GL} \nabla J$.",
    source=SOURCE,
    verdict="proved",
    scope="every G >= 2 (symbolic), any rewards, any lengths; on policy",
    hypotheses=("the sum over a rollout's tokens is divided by a constant, if at all",),
    finding=r"Unbiased up to the constant $(G-1)/G$, the same for all prompts: the direction is right, the step is shorter (half at G = 2). The paper's own $G/(G-1)$ remark makes it RLOO.",
)


@claim.step(
    "The mean, any G and any rewards",
    route="sympy",
    shows=r"own terms give $G\,\mathrm{E}[rs]$, of which the mean takes one G-th: $g - g/G$",
)
def mean(extra=1):
    gradient, value = sp.symbols("g J", real=True)
    R, S, RS = sp.symbols("R S RS")

    def moment(exponents):
        table = {(1, 1): gradient, (1, 0): value, (0, 1): sp.Integer(0), (0, 0): sp.Integer(1)}
        return table[exponents.get("r", 0), exponents.get("s", 0)]

    computed = sy.over_rollouts(
        (RS - R * S / G) / G, {R: {"r": 1}, S: {"s": 1}, RS: {"r": 1, "s": 1}}, G, moment
    )
    sy.equal(computed, (G - extra) / G * gradient, "the mean")


@claim.step(
    "The shipped weights, rollouts of unequal length",
    route="traced code",
    shows=r"every token of rollout i weighs $(r_i - \bar r)/G$, whatever the lengths; with a constant length L, $1/L$ of it",
)
def traced(rule="sum"):
    constant = compose(
        advantage=advantage.group_mean,
        surrogate=surrogate.ppo_clip,
        aggregate=lambda tokens, mask: aggregate.constant_length(tokens, mask, length=5.0),
    )
    estimators = [(catalogue.get("dr_grpo"), 1), (constant, 5)]
    if rule == "mean":
        estimators = [(catalogue.get("grpo", eps=0.0), 1)]
    for estimator, divisor in estimators:
        rollouts = sy.symbolic_group(3, lengths=(1, 2, 3), on_policy=True)
        rewards = rollouts.rewards.reshape(-1)
        for region in rollouts.regions(estimator):
            for i, reward in enumerate(rewards):
                claimed = (reward - sum(rewards) / 3) / 3 / divisor
                sy.equal(region.value[0, i, : i + 1], [claimed] * (i + 1), f"the tokens of rollout {i}")


@claim.step(
    "Three reward levels",
    route="enumeration",
    shows=r"exact means at G = 2, 3, 4 are $\frac{G-1}{G} \nabla J$; the engine has the same moments at G = 4",
)
def enumerated(name="dr_grpo"):
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "-7/3"])
    for size in (2, 3, 4):
        moments = sy.group_moments(bandit, size, sy.weights_of(catalogue.get(name)))
        sy.equal(
            moments.mean, [sp.Rational(size - 1, size) * x for x in bandit.gradient], f"mean at G = {size}"
        )
    sy.engines_agree(sy.engine(catalogue.get(name), bandit, 4), moments, "Dr. GRPO")


claim.sabotage("unbiased without a constant", mean, extra=0)
claim.sabotage("the mean over a rollout's tokens", traced, rule="mean")
claim.sabotage("leave-one-out called Dr. GRPO", enumerated, name="rloo")


rules = sy.Claim(
    id="B2b",
    title="Without the per-rollout 1/|o| the length bias is gone under any aggregation, the token mean included",
    statement=r"Removing the per-rollout $1/|o|$ removes the length bias under any aggregation that treats all tokens of a batch alike, the token mean $1/\sum_i |o_i|$ included.",
    source=sy.Source(
        "2503.20783",
        "v1",
        "Section 3.2, read for other aggregations: the ledger's question, no line of the paper",
    ),
    verdict="refuted",
    scope="mean-centred advantages on policy: sum and constant length are unbiased in direction, the mean over the batch's tokens, over the prompt's tokens and over a rollout's tokens are not",
    finding=(
        r"The token mean divides by a length that depends on the same rollouts: at G = 2 and equal chances its pairs (short, long) weigh $1/3$ a token where (short, short) weigh $1/2$. It is unbiased when all lengths are "
        r"equal, or in the limit of a batch of many prompts, where the divisor becomes a constant."
    ),
)

REWARDS = (1, 0, 2)


def estimator_of(rule):
    """Mean-centred advantages under one of the shipped aggregations."""
    return compose(
        advantage=advantage.group_mean, surrogate=surrogate.ppo_clip, aggregate=getattr(aggregate, rule)
    )


def parallel_defect(mean, gradient):
    """|a|^2 |b|^2 - (a.b)^2: zero iff parallel."""
    a, b = sp.Matrix(mean), sp.Matrix(gradient)
    return sp.simplify(a.dot(a) * b.dot(b) - a.dot(b) ** 2)


@rules.step(
    "Completions of 1, 2 and 2 tokens",
    route="enumeration",
    shows="exact expected updates at G = 2 of the shipped aggregations, weights traced: only the sum is parallel to grad J",
)
def aggregations(biased=("token_mean", "prompt_mean", "sequence_token_mean")):
    policy = completions("1/2", "1/3", REWARDS)
    for name in ("sequence_token_sum", "token_mean", "prompt_mean", "sequence_token_mean"):
        computed = sy.group_moments(policy, 2, sequence_weights(estimator_of(name), REWARDS), by_answer=True)
        off = parallel_defect(computed.mean, policy.gradient) != 0
        sy.require(off == (name in biased), f"{name} is off grad J: {off}")


@rules.step(
    "Two answers: the weights of a pair",
    route="sympy",
    shows=r"with lengths $l_1, l_2$ the token mean gives the pair the weight $1/(l_1 + l_2)$, which depends on who was drawn: $\mathrm{E}[(r_1 - r_2)(s_1 - s_2)/(l_1 + l_2)]$ is no multiple of $\nabla J$ for three answers",
)
def pair(short=1):
    x, y = sp.symbols("pi1 pi2", positive=True)
    z = 1 - x - y
    chances, lengths = (x, y, z), (short, 2, 2)
    rewards = (1, 0, 2)
    scores = [[(1 if i == j else 0) - chances[j] for j in range(3)] for i in range(3)]
    update, gradient = [], []
    for j in range(3):
        terms = [
            chances[i]
            * chances[k]
            * sp.Rational(1, 2)
            * (rewards[i] - rewards[k])
            * (scores[i][j] - scores[k][j])
            for i in range(3)
            for k in range(3)
        ]
        where = [(i, k) for i in range(3) for k in range(3)]
        update.append(
            sp.Add(*[t / (lengths[i] + lengths[k]) for t, (i, k) in zip(terms, where, strict=True)])
        )
        gradient.append(sp.Add(*[c * r * s[j] for c, r, s in zip(chances, rewards, scores, strict=True)]))
    cross = sp.factor(sp.together(update[0] * gradient[1] - update[1] * gradient[0]))
    sy.require(cross != 0, "the update is parallel to grad J")
    return sy.Exhibit(formula=sp.latex(cross))


@rules.counterexample(
    "A first token that stops with chance 1/2, else with a second token 0 of chance 1/3; rewards (1, 0, 2); G = 2: the engine's cosine with grad J is below one for the token mean, and one for the sum.",
    chances="(1/2, 1/6, 1/3)",
    G=2,
)
def engine_cosine(name="token_mean"):
    policy = completions("1/2", "1/3", REWARDS)
    total = sequence_engine(estimator_of("sequence_token_sum"), "1/2", "1/3", REWARDS, 2)
    sy.require(abs(total.cosine - 1) < 1e-12, f"the sum's cosine is {total.cosine}")
    biased = sequence_engine(estimator_of(name), "1/2", "1/3", REWARDS, 2)
    exact = sy.group_moments(policy, 2, sequence_weights(estimator_of(name), REWARDS), by_answer=True)
    sy.engines_agree(biased, exact, name)
    sy.require(biased.cosine < 1 - 1e-3, f"the cosine of {name} is {biased.cosine}")
    return sy.Exhibit(text=f"cosine with grad J: {biased.cosine:.6f}")


rules.sabotage("the token mean called unbiased", aggregations, biased=("prompt_mean", "sequence_token_mean"))
rules.sabotage("equal lengths", pair, short=2)
rules.sabotage("the sum of tokens called biased", engine_cosine, name="sequence_token_sum")
