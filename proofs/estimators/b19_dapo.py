"""B19: DAPO's dynamic sampling (a) and its token-mean (b)."""

import itertools

import numpy as np
import sympy as sp
from _short_sequences import mean_agrees, mixed_only, parallel_defect, stopping, stopping_engine

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate

G = sp.Symbol("G", integer=True, positive=True)
p = sp.Symbol("p", positive=True)
HARD, EASY = sy.SymbolicBandit(["1/2", "1/2"], [1, 0]), sy.SymbolicBandit(["1/10", "9/10"], [1, 0])
LEVELS = [
    sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, 3]),
    sy.SymbolicBandit(["1/6", "2/3", "1/6"], [1, 0, 2]),
]
dynamic_update, plain_update, chance, defect, redrawn = sp.symbols("m_d m M D w_r", real=True)
redraws, largest, smallest = sp.symbols("n_r w_1 w_0", real=True)

sampling = sy.Claim(
    id="B19a",
    title="Dynamic sampling changes only the scale of the expected update",
    statement=sy.Statement(
        setting=(
            "Groups with equal rewards are dropped and others drawn in their place; advantages that vanish on equal "
            "rewards, any prompts and rewards"
        ),
        forall={G: sy.whole(2)},
        given={
            "new prompts": sy.Hypothesis(
                "no replacement is a new group of the prompt that was dropped",
                sp.Eq(redraws, 0),
                stated_by="ours",
            ),
            "equal weights": sy.Hypothesis(
                "the aggregation gives every kept group the same weight",
                sp.Eq(largest, smallest),
                stated_by="ours",
            ),
        },
        quantities={
            dynamic_update: sy.Quantity("m_d", "the expected update with dynamic sampling, prompt by prompt"),
            plain_update: sy.Quantity("m", "the expected update of all groups, prompt by prompt"),
            chance: sy.Quantity("M", "the chance that a group of a random prompt has unequal rewards"),
            defect: sy.Quantity(
                "D",
                r"$\|m_d\|^2 \|m\|^2 - (m_d \cdot m)^2$ over all prompts, zero where the two are parallel",
            ),
            redraws: sy.Quantity("n_r", "the number of replacements that are groups of the dropped prompt"),
            largest: sy.Quantity("w_1", "the largest factor that a kept group gets in its batch"),
            smallest: sy.Quantity("w_0", "the smallest"),
        },
        goals={
            "scale": sp.Eq(dynamic_update, plain_update / chance),
            "direction": sp.Eq(defect, 0),
        },
    ),
    instead=sy.Statement(
        setting="The same prompt is redrawn until its two rewards differ, binary rewards",
        forall={p: sy.between(0, 1)},
        quantities={
            redrawn: sy.Quantity(
                "w_r", r"Dr. GRPO's factor of $\nabla p$ in the expected update, prompts of rate p"
            )
        },
        goals={"log-odds": sp.Eq(redrawn, sp.Derivative(sp.log(p / (1 - p)), p) / 4)},
    ),
    source=sy.Source(
        "2503.14476",
        "v2",
        "the dynamic-sampling constraint of equation (8)",
        relation="ours",
        says="batches are filled with prompts whose groups are neither all correct nor all wrong",
        caveat="that this changes only the scale is a common reading and no line of the paper",
    ),
    verdict="conditional",
    scope="every group advantage that vanishes on equal rewards, every G",
    proof=(
        r"A group of equal rewards adds nothing, so a prompt's expected update is its mixed groups' mean "
        r"times $\mathrm{P}(\text{mixed} | x)$. Kept groups come from prompts drawn in proportion to "
        r"$\mathrm{P}(x) \mathrm{P}(\text{mixed} | x)$, and that factor cancels: what is left is the update "
        r"of all groups over $\mathrm{P}(\text{mixed})$. All groups of the shipped estimators on two prompts "
        r"agree. Redrawing the same prompt does not cancel it: Dr. GRPO's pairs then climb the log-odds. And "
        r"the mean over all tokens of a batch gives a kept group a weight that depends on which others were "
        r"dropped."
    ),
    finding=(
        r"Redrawing the rollouts of the same prompt instead weighs each prompt by "
        r"$1/\mathrm{P}(\text{mixed}|x)$: for Dr. GRPO that is the weight $\frac{(G-1)/G}{1 - p^G - "
        r"(1-p)^G}$, which at $G = 2$ is $\frac{1}{4 p (1-p)}$ and climbs the log-odds. With DAPO's own "
        r"token-mean even new prompts tilt the direction, because dropped groups take their tokens out of the "
        r"denominator."
    ),
)
INSIDE = {redraws: 0, largest: 1, smallest: 1}


def mixed_chance(bandit, size):
    """The chance that a group has unequal rewards."""
    rows = list(zip(bandit.probabilities, bandit.rewards, strict=True))
    return 1 - sum(sum(c for c, r in rows if r == level) ** size for level in set(bandit.rewards))


@sampling.step(
    "New prompts, any G",
    route="sympy",
    shows=(
        r"two prompts of any chances: $\frac{\mathrm{P}(x) M_x}{M} \cdot \frac{m_x}{M_x}$ with $M = "
        r"\sum_x \mathrm{P}(x) M_x$"
    ),
)
def new_prompts(same_prompt=False):
    law, mixed = sp.symbols("q1:3", positive=True), sp.symbols("M1:3", positive=True)
    means = sp.symbols("u1:3", real=True)
    total_chance = sum(x * m for x, m in zip(law, mixed, strict=True))
    retained = list(law) if same_prompt else [x * m / total_chance for x, m in zip(law, mixed, strict=True)]
    dynamic = [x * u / m for x, u, m in zip(retained, means, mixed, strict=True)]
    every = [x * u for x, u in zip(law, means, strict=True)]
    sampling.goal("scale").holds(
        {dynamic_update: dynamic, plain_update: every, chance: total_chance, **INSIDE}
    )
    value = (dynamic[0] * every[1] - dynamic[1] * every[0]) ** 2  # |a|^2 |b|^2 - (a.b)^2 of two components
    sampling.goal("direction").holds({defect: value, **INSIDE})


@sampling.step(
    "The shipped estimators",
    route="enumeration",
    shows=(
        "GRPO, Dr. GRPO, RLOO as catalogued: all groups of two prompts, binary and three rewards; kept "
        "groups by their law"
    ),
)
def all_groups(names=("grpo", "dr_grpo", "rloo")):
    for name, prompts, size in itertools.product(names, ((HARD, EASY), LEVELS), (2, 3)):
        if size == 3 and prompts is LEVELS and name != "dr_grpo":
            continue
        weights = sy.weights_of(catalogue.get(name))
        mixed = [mixed_chance(bandit, size) for bandit in prompts]
        dynamic, every = [], []
        for bandit, share in zip(prompts, mixed, strict=True):
            given_mixed = [x / share for x in sy.group_moments(bandit, size, mixed_only(weights)).mean]
            dynamic += [share / sum(mixed) * x for x in given_mixed]
            every += [x / 2 for x in sy.group_moments(bandit, size, weights).mean]
        values = {dynamic_update: dynamic, plain_update: every, chance: sum(mixed) / 2, **INSIDE}
        sampling.goal("scale").holds(values, at={G: size})
        sampling.goal("direction").holds({defect: parallel_defect(dynamic, every), **INSIDE}, at={G: size})


@sampling.step(
    "The same prompt redrawn",
    route="sympy",
    shows=(
        r"Dr. GRPO at $G = 2$: its weight $\frac{1}{2}$ over $1 - p^2 - (1-p)^2$ is a quarter of the "
        r"log-odds' derivative"
    ),
)
def log_odds(pairs=2):
    weight = sy.prompt_weight(lambda k: (1 - sp.Rational(k, 2), -sp.Rational(k, 2)), 2, p)
    sampling.goal("log-odds").holds({redrawn: weight / (1 - p**pairs - (1 - p) ** pairs)})


@sampling.step(
    "The same prompt redrawn, as shipped",
    route="traced code",
    shows="Dr. GRPO's traced pair weights, the groups that are kept",
)
def log_odds_traced(name="dr_grpo"):
    weights = sy.weights_of(catalogue.get(name))
    right, wrong = (2 * w for w in weights((sp.Integer(1), sp.Integer(0))))
    # Of a pair one is right and one wrong; their scores average to grad p / p and -grad p / (1 - p).
    mixed = 2 * p * (1 - p) * (right / p - wrong / (1 - p)) / 2
    sampling.goal("log-odds").holds({redrawn: mixed / (2 * p * (1 - p))})


STEP = stopping("1/2", "1/4", [1, 0, 0])


def token_mean(policy, size, prompts, dynamic):
    """E of the token-mean by hand, and the factors 1/tokens that kept groups get in batches with and without a drop."""
    scores, chances, sizes = policy.bandit.scores, policy.probabilities, policy.lengths
    total, factors = [sp.Integer(0)] * 4, set()
    for picks in itertools.product(range(3), repeat=size * prompts):
        groups = [picks[i * size : (i + 1) * size] for i in range(prompts)]
        mixed = [g for g in groups if len({policy.rewards[k] for k in g}) > 1]
        tokens = sum(sizes[k] for g in (mixed if dynamic else groups) for k in g)
        weight = sp.Mul(*[chances[k] for k in picks])
        for g in mixed:
            mean = sum(policy.rewards[k] for k in g) / sp.Integer(size)
            spread = sp.sqrt(sum((policy.rewards[k] - mean) ** 2 for k in g) / size)
            factors |= {sp.Rational(len(mixed), tokens)} if weight != 0 else set()
            for k in g:
                share = weight * (policy.rewards[k] - mean) / spread / tokens
                total = [t + share * s for t, s in zip(total, scores[k], strict=True)]
    return total, factors


@sampling.counterexample(
    "The token-mean on rollouts of one and two tokens, two groups of two per batch: with and without dynamic "
    "sampling the means are not parallel. The engine agrees with the first.",
    a="1/2",
    b="1/4",
    rewards="(1, 0, 0)",
    G="2",
    Q="2",
)
def token_mean_tilts(policy=STEP):
    with_it, factors = token_mean(policy, 2, 2, True)
    without, _ = token_mean(policy, 2, 2, False)
    values = {
        defect: parallel_defect(with_it, without),
        redraws: 0,
        largest: max(factors),
        smallest: min(factors),
    }
    without_one = "equal weights" if len(factors) > 1 else ""
    sampling.goal("direction").fails(values, at={G: 2}, without=without_one)
    mean_agrees(stopping_engine(catalogue.get("dapo", eps=0.0), policy, 2, prompts=2), with_it, "DAPO")
    return sy.Exhibit(text=f"with {with_it}, without {without}")


@sampling.counterexample(
    "Retrying on the same prompt, p = 1/2 and 1/10, Dr. GRPO at G = 2: each prompt's exact mean given a "
    "mixed group, against the mean of all groups.",
    p="(1/2, 1/10)",
    G="2",
)
def retry_tilts(other=EASY):
    retried, every = [], []
    for bandit in (HARD, other):
        mean = sy.group_moments(bandit, 2, sy.weights_of(catalogue.get("dr_grpo"))).mean
        every += mean
        retried += [m / mixed_chance(bandit, 2) for m in mean]
    values = {defect: parallel_defect(retried, every), redraws: 1, largest: 1, smallest: 1}
    sampling.goal("direction").fails(values, at={G: 2}, without="new prompts")


sampling.sabotage("new rollouts of the same prompt", new_prompts, same_prompt=True)
sampling.sabotage("REINFORCE, which learns from equal groups too", all_groups, names=("reinforce",))
sampling.sabotage("the mixed chance of three rollouts", log_odds, pairs=3)
sampling.sabotage("RLOO's scale", log_odds_traced, name="rloo")
sampling.sabotage("one prompt twice", retry_tilts, other=HARD)
sampling.sabotage("a policy that never goes on", token_mean_tilts, policy=stopping("1/2", "1", [1, 0, 0]))


n = sp.Symbol("n", integer=True, positive=True)
by_token, by_sequence, size, average, value = sp.symbols("t s l lbar A", real=True)

tokens = sy.Claim(
    id="B19b",
    title="Token-mean and sequence-mean weigh a token alike only at the mean length or a zero advantage",
    statement=sy.Statement(
        setting=(
            "A batch of n rollouts, which may be of several prompts; any advantages and any lengths of "
            "one token or more"
        ),
        forall={n: sy.whole(2)},
        quantities={
            by_token: sy.Quantity(
                "t", "the weight of a token of rollout i under the mean over all tokens of the batch"
            ),
            by_sequence: sy.Quantity(
                "s", "its weight under the mean over rollouts of the means over their tokens"
            ),
            size: sy.Quantity("l_i", "the rollout's length"),
            average: sy.Quantity(r"\bar l", "the mean length in the batch"),
            value: sy.Quantity("A_i", "its advantage"),
        },
        goals={
            "share": sp.Eq(by_token * average, size * by_sequence),
            "same": sp.Equivalent(sp.Eq(by_token, by_sequence), sp.Or(sp.Eq(value, 0), sp.Eq(size, average))),
        },
    ),
    source=sy.Source(
        "2503.14476",
        "v2",
        "the token-level loss of equation (8), against the sample-level loss of GRPO",
        relation="ours",
        says=(
            "in the sample-level loss tokens of long rollouts weigh less, and the token-level loss "
            "weighs all tokens alike"
        ),
    ),
    verdict="proved",
    scope="the token weights are compared, at any ratio off the clip's boundary; any number of prompts",
    proof=(
        r"A token of rollout i weighs $A_i / \sum_j l_j$ under the token-mean and $A_i / (n l_i)$ under the "
        r"sequence-mean, so their ratio is $l_i / \bar l$. The two are equal if and only if $A_i = 0$ or $l_i "
        r"= \bar l$. The shipped rules have these weights for symbolic rewards, in one group and in a batch "
        r"of two prompts."
    ),
    finding=(
        r"A token of rollout i weighs $1/\sum_j l_j$ against $1/(n l_i)$: the token-mean multiplies the "
        r"sequence's share by $l_i / \bar l$. Equal lengths are needed only where there is something to learn."
    ),
)


@tokens.step(
    "Any number of rollouts",
    route="smt",
    shows=r"$A / \sum_j l_j$ against $A / (n l)$ with $\sum_j l_j = n \bar l$",
)
def any_number(scale=1):
    a = sp.Symbol("a", real=True)
    length, mean = sp.symbols("l m", positive=True)
    values = {
        by_token: a / (n * mean),
        by_sequence: scale * a / (n * length),
        size: length,
        average: mean,
        value: a,
    }
    tokens.goal("share").holds(values)
    tokens.goal("same").holds(values)


RULES = (aggregate.token_mean, aggregate.sequence_token_mean)


@tokens.step(
    "The shipped rules, two prompts",
    route="traced code",
    shows="two prompts with two rollouts each of the lengths 1, 2 and 2, 3, symbolic rewards",
)
def two_prompts(rules=RULES):
    lengths = [[1, 2], [2, 3]]
    mask = np.arange(3)[None, None, :] < np.asarray(lengths)[:, :, None]
    rewards = np.asarray(sp.symbols("r1:5", real=True), object).reshape(2, 2)
    zeros = np.full(mask.shape, sp.Integer(0), object)
    batch = sy.symbolic_batch(rewards, zeros, mask)
    weights = []
    for rule in rules:
        shipped = compose(advantage=advantage.group_mean, surrogate=surrogate.likelihood, aggregate=rule)
        weights.append(sy.trace(sy.gradient(shipped), zeros, batch))
    for q, i in itertools.product(range(2), repeat=2):
        deviation = rewards[q, i] - (rewards[q, 0] + rewards[q, 1]) / 2
        values = {
            by_token: weights[0][q, i, 0],
            by_sequence: weights[1][q, i, 0],
            size: lengths[q][i],
            average: 2,
            value: deviation,
        }
        tokens.goal("share").holds(values, at={n: 4})
        tokens.goal("same").holds(values, at={n: 4})


@tokens.step(
    "Small lengths",
    route="enumeration",
    shows="lengths up to 4, three rollouts, which advantages vanish: all 512 cases",
)
def small(mean_only=True):
    for row in itertools.product(range(1, 5), repeat=3):
        for scores in itertools.product((0, 1), repeat=3):
            middle = sp.Rational(sum(row), 3) if mean_only else max(row)
            for a, length in zip(scores, row, strict=True):
                values = {
                    by_token: sp.Rational(a, sum(row)),
                    by_sequence: sp.Rational(a, 3 * length),
                    size: sp.Integer(length),
                    average: middle,
                    value: sp.Integer(a),
                }
                tokens.goal("same").holds(values, at={n: 3})


tokens.sabotage("twice the weight under one rule", any_number, scale=2)
tokens.sabotage("the rules exchanged", two_prompts, rules=RULES[::-1])
tokens.sabotage("the longest length for the mean one", small, mean_only=False)
