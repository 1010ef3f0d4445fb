"""B16: the gradient on a prefix that all rollouts of a group share, under weighted aggregation."""

import itertools

import sympy as sp
from _stopping import completions, sequence_engine, sequence_weights

from gradvar import catalogue
from gradvar import symbolic as sy

G = sp.Symbol("G", integer=True, positive=True)
uniform, pair, first, second, total, balanced, short, long = sp.symbols("u d a_i a_j T b a_s a_l", real=True)

every = sy.Claim(
    id="B16a",
    title="The shared prefix's gradient vanishes for every zero-sum advantage iff the aggregation weights are uniform",
    statement=sy.Statement(
        setting=(
            r"One group on policy, where a token that all rollouts share gets $\left(\sum_k \alpha_k A_k\right) \nabla "
            r"\log \pi$ with the aggregation's weight $\alpha_k$ of rollout k"
        ),
        forall={G: sy.whole(2)},
        given={
            "zero sum": sy.Hypothesis(
                r"the advantages of the group sum to zero", sp.Eq(total, 0), stated_by="ours"
            )
        },
        quantities={
            uniform: sy.Quantity(r"u", r"the factor $\sum_k \alpha_k A_k$ where all $\alpha_k$ are equal"),
            pair: sy.Quantity("d_{ij}", r"that factor where $A_i = 1$, $A_j = -1$ and all other $A_k$ are 0"),
            first: sy.Quantity(r"\alpha_i", "the weight of a rollout i"),
            second: sy.Quantity(r"\alpha_j", "the weight of another rollout j"),
            total: sy.Quantity(r"T", "the sum of the advantages"),
            balanced: sy.Quantity(
                "b", "the factor in GRPO's group with the rewards (1, 1, 0, 0) and the lengths (2, 3, 2, 3)"
            ),
            short: sy.Quantity(r"\alpha_2", "GRPO's weight there of a rollout of length 2"),
            long: sy.Quantity(r"\alpha_3", "GRPO's weight there of a rollout of length 3"),
        },
        ranges={"one group may vanish all the same": ()},
        goals={
            "uniform weights": sp.Eq(uniform, 0),
            "no others": sp.Equivalent(sp.Eq(pair, 0), sp.Eq(first, second)),
            "one group may vanish all the same": sp.And(sp.Eq(balanced, 0), sp.Ne(short, long)),
        },
    ),
    source=sy.Source("2601.05002", "v1", "Proposition 1", relation="not read"),
    verdict="proved",
    scope="every G; on policy, where the ratio of a shared token is one and nothing is clipped",
    proof=(
        r"Equal weights come out of the sum $\sum_k \alpha_k A_k$, and a sum of zero is left. For other "
        r"weights some two rollouts have $\alpha_i \ne \alpha_j$, and the zero-sum advantages $e_i - e_j$ "
        r"leave $\alpha_i - \alpha_j \ne 0$. The traced weights of Dr. GRPO and RLOO sum to zero over the "
        r"first tokens for symbolic rewards; those of the shipped mean over tokens differ as soon as the "
        r"lengths do. For a single group the sum can vanish with weights that differ: two short and two long "
        r"rollouts, one of each correct."
    ),
    finding=(
        r"Uniform weights: Dr. GRPO, RLOO, the token mean (within one group every token weighs the same). "
        r"GRPO's $1/|o_i|$ is not: its prefix is pushed by $\frac{1}{G} \sum_i A_i/|o_i|$, that is towards "
        r"making correct answers' short prefixes likelier. For a single group it can vanish all the same."
    ),
)


@every.step(
    "Any G",
    route="sympy",
    shows=r"$\sum_k \alpha A_k = \alpha T$; and $1 \cdot \alpha_i - 1 \cdot \alpha_j + 0 = \alpha_i - \alpha_j$",
)
def any_group(shift=0, partner=-1):
    weight, advantages = sp.symbols("c S", real=True)
    every.goal("uniform weights").holds({uniform: weight * (advantages + shift), total: advantages})
    a, b = sp.symbols("x y", real=True)
    values = {pair: a + partner * b, first: a, second: b}
    every.goal("no others").holds({**values, total: 0})


@every.step(
    "As polynomials, G = 2 to 5",
    route="smt",
    shows="all weights and advantages symbols: with equal weights and a zero sum no factor is left, and for each pair",
)
def polynomials(scale=0):
    for size in (2, 3, 4, 5):
        alphas, advantages = sp.symbols(f"w1:{size + 1}", real=True), sp.symbols(f"A1:{size + 1}", real=True)

        def factor(weights, row):
            return sp.Add(*[w * a for w, a in zip(weights, row, strict=True)])

        weights = [alphas[0]] * (size - 1) + [alphas[0] * (1 + scale)]
        values = {uniform: factor(weights, advantages), total: sp.Add(*advantages)}
        every.goal("uniform weights").holds(values, at={G: size})
        for i, j in itertools.combinations(range(size), 2):
            row = [int(k == i) - int(k == j) for k in range(size)]
            values = {pair: factor(alphas, row), first: alphas[i], second: alphas[j], total: sum(row)}
            every.goal("no others").holds(values, at={G: size})


@every.step(
    "The shipped code",
    route="traced code",
    shows=(
        "G = 3, lengths 1, 2, 3, symbolic rewards: Dr. GRPO and RLOO; REINFORCE with the mean over a "
        "rollout's tokens at all lengths up to 3; GRPO's balanced group"
    ),
)
def traced(names=("dr_grpo", "rloo"), lengths=(2, 3, 2, 3)):
    rollouts = sy.symbolic_group(3, lengths=(1, 2, 3), on_policy=True)
    rewards = rollouts.rewards.reshape(-1)
    deviations = sp.Add(*[r - sp.Add(*rewards) / 3 for r in rewards])
    for name in names:
        shipped = sp.Add(*rollouts.weights(catalogue.get(name))[0, :, 0])
        every.goal("uniform weights").holds({uniform: shipped, total: deviations}, at={G: 3})
    for sizes in itertools.product((1, 2, 3), repeat=2):
        alphas = [shares((1, 0), sizes)[0], shares((0, 1), sizes)[1]]
        apart = sp.Add(*shares((1, -1), sizes))
        values = {pair: apart, first: alphas[0], second: alphas[1], total: 0}
        every.goal("no others").holds(values, at={G: 2})
    group = sy.symbolic_group(4, lengths=lengths, rewards=(1, 1, 0, 0), on_policy=True)
    weights = group.weights(catalogue.get("grpo"))[0, :, 0]
    advantage = weights[0] * lengths[0] * 4  # of a correct rollout; a wrong one has its negative
    values = {
        balanced: sp.Add(*weights),
        short: weights[0] / advantage,
        long: weights[1] / advantage,
        total: 0,
    }
    every.goal("one group may vanish all the same").holds(values)


def shares(rewards, lengths):
    """First-token weights of raw rewards under the shipped mean over each rollout's tokens."""
    from gradvar.core.compose import compose
    from gradvar.pieces import advantage, aggregate, surrogate

    shipped = compose(
        advantage=advantage.raw, surrogate=surrogate.likelihood, aggregate=aggregate.sequence_token_mean
    )
    rollouts = sy.symbolic_group(len(rewards), lengths=lengths, rewards=rewards, on_policy=True)
    return rollouts.weights(shipped)[0, :, 0]


@every.step(
    "The balanced group by hand",
    route="enumeration",
    shows=r"$\frac{1}{4} \left(\frac{1}{2} + \frac{1}{3} - \frac{1}{2} - \frac{1}{3}\right) = 0$",
)
def by_hand(lengths=(2, 3, 2, 3)):
    alphas = [sp.Rational(1, 4 * n) for n in lengths]
    weighted = sp.Add(*[(1 if i < 2 else -1) * a for i, a in enumerate(alphas)])
    values = {balanced: weighted, short: alphas[0], long: alphas[1], total: 0}
    every.goal("one group may vanish all the same").holds(values)


every.sabotage("advantages that do not sum to zero", any_group, shift=1)
every.sabotage("advantages e_i + e_j", any_group, partner=1)
every.sabotage("weights of which one is twice as large", polynomials, scale=1)
every.sabotage("GRPO's weights called uniform", traced, names=("grpo_contrastive", "grpo"))
every.sabotage("short correct, long wrong rollouts, as shipped", traced, lengths=(2, 2, 3, 3))
every.sabotage("short correct, long wrong rollouts", by_hand, lengths=(2, 2, 3, 3))


update, gradient, silent = sp.symbols("m g s", real=True)

mean = sy.Claim(
    id="B16b",
    title="With uniform weights a prefix still learns, from the groups that do not share it",
    statement=sy.Statement(
        setting="Mean-centred advantages with uniform weights, any rewards",
        forall={G: sy.whole(2)},
        given={
            "on policy": sy.Hypothesis(r"the rollouts are independent draws of the policy", stated_by="ours")
        },
        quantities={
            update: sy.Quantity(
                r"\mathrm{E}[\hat g_1]", "the expected update in the logits of a rollout's first token"
            ),
            gradient: sy.Quantity(r"\nabla_1 J", "the gradient of the expected reward in these logits"),
            silent: sy.Quantity(
                "s", "the part of the update that comes from groups which share the first token"
            ),
        },
        goals={
            "shrunk gradient": sp.Eq(update, (G - 1) / G * gradient),
            "silent where shared": sp.Eq(silent, 0),
        },
    ),
    source=sy.Source("this project", "", "after row B16a", relation="ours"),
    verdict="proved",
    scope="every G, any rewards, on policy; leave-one-out without the factor",
    proof=(
        r"In the first token's logits a group's update is $\frac{1}{G} \sum_i A_i s_i$ with $s_i$ the score "
        r"of that token. The terms of one rollout have the mean $\frac{G-1}{G} \mathrm{E}[r s]$, those of two "
        r"rollouts vanish with $\mathrm{E}[s] = 0$. Where all rollouts share the token all $s_i$ are equal, "
        r"and $\sum_i A_i = 0$ leaves nothing. All groups of an exact policy with completions of one and two "
        r"tokens, and the engine, agree."
    ),
    finding=(
        "So the vanishing on a shared prefix is the right answer and no defect: a group that never leaves "
        "the prefix says nothing about the alternatives. With weights that are not uniform the prefix gets "
        "an extra push whose mean is not zero."
    ),
)


@mean.step(
    "Any G",
    route="sympy",
    shows=r"$\mathrm{E}$ of $\frac{1}{G} \left(\sum r_i s_i - \frac{1}{G} \sum r_i \sum s_i\right)$ by index patterns",
)
def patterns(average_score=0, shared=1):
    g, J, score = sp.symbols("g J s", real=True)
    R, S, RS = sp.symbols("R S RS")
    table = {(1, 1): g, (1, 0): J, (0, 1): sp.sympify(average_score), (0, 0): sp.Integer(1)}
    group_update = (RS - R * S / G) / G
    computed = sy.over_rollouts(
        group_update,
        {R: {"r": 1}, S: {"s": 1}, RS: {"r": 1, "s": 1}},
        G,
        lambda e: table[e.get("r", 0), e.get("s", 0)],
    )
    mean.goal("shrunk gradient").holds({update: computed, gradient: g})
    # All scores are one number: sum s_i = G s, sum r_i s_i = s R.
    common = group_update.subs({S: shared * G * score, RS: score * R})
    mean.goal("silent where shared").holds({silent: common})


@mean.step(
    "All groups of an exact policy",
    route="enumeration",
    shows="completions of 1, 2, 2 tokens with rewards 1, 0, 2; Dr. GRPO's shipped weights at G = 2, 3",
)
def over_groups(name="dr_grpo"):
    rewards = (1, 0, 2)
    policy = completions("1/2", "1/3", rewards)
    weights = sequence_weights(catalogue.get(name), rewards)
    for size in (2, 3):
        total_update, shared = sp.Integer(0), sp.Integer(0)
        for answers in itertools.product(range(3), repeat=size):
            chance = sp.Mul(*[policy.probabilities[k] for k in answers])
            row = zip(weights(answers), answers, strict=True)
            group_update = sp.Add(*[w * policy.scores[k][0] for w, k in row])
            total_update += chance * group_update
            if len({k == 0 for k in answers}) == 1:
                shared += abs(group_update)
        mean.goal("shrunk gradient").holds({update: total_update, gradient: policy.gradient[0]}, at={G: size})
        mean.goal("silent where shared").holds({silent: shared}, at={G: size})


@mean.step(
    "The engine", route="exact engine", shows="the same policy, Dr. GRPO at G = 2: the first two logits"
)
def engine(name="dr_grpo"):
    rewards = (1, 0, 2)
    computed = sequence_engine(catalogue.get(name), "1/2", "1/3", rewards, 2).mean.reshape(-1)[:2]
    values = {update: computed, gradient: completions("1/2", "1/3", rewards).gradient[:2]}
    mean.goal("shrunk gradient").holds(values, at={G: 2}, tolerance=1e-12)


mean.sabotage("scores that do not average to zero", patterns, average_score=sp.Rational(1, 3))
mean.sabotage("one rollout has another first token", patterns, shared=1 - 1 / G)
mean.sabotage("GRPO's weights", over_groups, name="grpo")
mean.sabotage("RLOO's scale", engine, name="rloo")
