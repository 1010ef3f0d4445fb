"""B19: DAPO's dynamic sampling (a) and its token-mean (b)."""

import itertools

import sympy as sp
from _short_sequences import mean_agrees, mixed_only, parallel_defect, stopping, stopping_engine

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate

p = sp.Symbol("p", positive=True)
HARD, EASY = sy.SymbolicBandit(["1/2", "1/2"], [1, 0]), sy.SymbolicBandit(["1/10", "9/10"], [1, 0])


def standardised(size):
    return lambda k: (
        (0, 0) if k in (0, size) else (sp.sqrt(sp.Rational(size - k, k)), -sp.sqrt(sp.Rational(k, size - k)))
    )


def centred(size):
    return lambda k: (1 - sp.Rational(k, size), -sp.Rational(k, size))


def mixed_chance(size, chance):
    return 1 - chance**size - (1 - chance) ** size


sampling = sy.Claim(
    id="B19a",
    title="Dynamic sampling changes only the scale of the expected update",
    statement=(
        r"Dropping groups of equal rewards and drawing new prompts in their place multiplies the "
        r"expected update by $1/\mathrm{P}(\text{mixed})$ and leaves its direction."
    ),
    source=sy.Source(
        "2503.14476",
        "v2",
        (
            "the dynamic-sampling constraint of equation (8); that it changes only the scale is the "
            "common reading, not a line of the paper"
        ),
    ),
    verdict="conditional",
    scope=(
        "every group advantage that vanishes on equal rewards, every G, any rewards; one prompt or a "
        "prompt distribution"
    ),
    hypotheses=(
        "replacements are drawn as new, independent prompts (not new rollouts of the same prompt)",
        (
            "the aggregation gives every kept group the same weight: not a token-mean over rollouts of "
            "different length"
        ),
    ),
    finding=(
        r"Redrawing the rollouts of the same prompt instead weighs each prompt by "
        r"$1/\mathrm{P}(\text{mixed}|x)$: for Dr. GRPO that is the weight $\frac{(G-1)/G}{1 - p^G - "
        r"(1-p)^G}$, which at $G = 2$ is $\frac{1}{4 p (1-p)}$ and climbs the log-odds. With DAPO's "
        r"own token-mean even new prompts tilt the direction, because dropped groups take their tokens "
        r"out of the denominator."
    ),
)


@sampling.step(
    "New prompts",
    route="sympy",
    shows=(
        r"kept prompts have the law "
        r"$\mathrm{P}(x)\mathrm{P}(\text{mixed}|x)/\mathrm{P}(\text{mixed})$, which cancels the "
        r"division by $\mathrm{P}(\text{mixed}|x)$: $\mathrm{E}[\hat g | \text{kept}] = "
        r"\mathrm{E}[\hat g]/\mathrm{P}(\text{mixed})$"
    ),
)
def new_prompts(same_prompt=False):
    p1, p2 = sp.symbols("p1 p2", positive=True)
    for size, kind in ((2, centred), (3, standardised), (4, centred)):
        law = [mixed_chance(size, x) for x in (p1, p2)]
        retained = [sp.Rational(1, 2)] * 2 if same_prompt else [m / sum(law) for m in law]
        update = [
            k * sy.prompt_weight(kind(size), size, x) / m
            for k, x, m in zip(retained, (p1, p2), law, strict=True)
        ]
        plain = [sy.prompt_weight(kind(size), size, x) / 2 for x in (p1, p2)]
        sy.equal(
            update[0] * plain[1],
            update[1] * plain[0],
            f"the two prompts' weights keep their ratio at G = {size}",
        )


@sampling.step(
    "The shipped estimators on two prompts",
    route="enumeration",
    shows=(
        r"$\mathrm{E}[\hat g\, 1_{\text{mixed}}] = \mathrm{E}[\hat g]$ for GRPO, Dr. GRPO and RLOO: a "
        r"group of equal rewards adds nothing"
    ),
)
def nothing_lost(name="rloo"):
    for estimator in ("dr_grpo", "grpo_contrastive", name):
        weights = sy.weights_of(catalogue.get(estimator))
        for bandit in (HARD, EASY):
            full = sy.group_moments(bandit, 2, weights).mean
            mixed = sy.group_moments(bandit, 2, mixed_only(weights)).mean
            sy.equal(mixed, full, f"{estimator}: equal groups add nothing")


@sampling.step(
    "Retrying on the same prompt",
    route="sympy",
    shows=r"Dr. GRPO at $G = 2$: $w = \frac{1}{4p(1-p)}$, the gradient of $\frac{1}{4} \log\frac{p}{1-p}$",
)
def same_prompt(factor=sp.Rational(1, 4)):
    w = sy.prompt_weight(centred(2), 2, p) / mixed_chance(2, p)
    sy.equal(
        w, factor * sp.diff(sp.log(p / (1 - p)), p), "the weight of a prompt that is retried until mixed"
    )


STEP = stopping("1/2", "1/4", [1, 0, 0])


def token_mean(policy, size, prompts, dynamic):
    """E of the shipped rule by hand: A_i over the tokens of all groups (kept groups only if dynamic)."""
    scores, chances, lengths = policy.bandit.scores, policy.probabilities, policy.lengths
    total = [sp.Integer(0)] * 4
    for picks in itertools.product(range(3), repeat=size * prompts):
        groups = [picks[i * size : (i + 1) * size] for i in range(prompts)]
        mixed = [g for g in groups if len({policy.rewards[k] for k in g}) > 1]
        tokens = sum(lengths[k] for g in (mixed if dynamic else groups) for k in g)
        chance = sp.Mul(*[chances[k] for k in picks])
        for g in mixed:
            mean = sum(policy.rewards[k] for k in g) / sp.Integer(size)
            spread = sp.sqrt(sum((policy.rewards[k] - mean) ** 2 for k in g) / size)
            for k in g:
                weight = chance * (policy.rewards[k] - mean) / spread / tokens
                total = [t + weight * s for t, s in zip(total, scores[k], strict=True)]
    return total


@sampling.counterexample(
    (
        "The token-mean on rollouts of one and two tokens, two groups of two per batch: with and "
        "without dynamic sampling the means are not parallel. The engine agrees with the first."
    ),
    a="1/2",
    b="1/4",
    rewards="(1, 0, 0)",
    G="2",
    Q="2",
)
def token_mean_tilts(policy=STEP):
    with_it, without = token_mean(policy, 2, 2, True), token_mean(policy, 2, 2, False)
    sy.require(parallel_defect(with_it, without) != 0, "the two means are not parallel")
    mean_agrees(stopping_engine(catalogue.get("dapo", eps=0.0), policy, 2, prompts=2), with_it, "DAPO")
    return sy.Exhibit(text=f"with {with_it}, without {without}")


@sampling.counterexample(
    (
        "Retrying on the same prompt, p = 1/2 and 1/10, Dr. GRPO at G = 2: each prompt's exact mean "
        "given a mixed group, against the mean of all groups."
    ),
    p="(1/2, 1/10)",
    G="2",
)
def retry_tilts(other=EASY):
    pair, plain = [], []
    for bandit in (HARD, other):
        mean = sy.group_moments(bandit, 2, sy.weights_of(catalogue.get("dr_grpo"))).mean
        plain += mean
        pair += [m / mixed_chance(2, bandit.value) for m in mean]
    sy.require(parallel_defect(pair, plain) != 0, "the retried mean has another direction")


sampling.sabotage("new rollouts of the same prompt", new_prompts, same_prompt=True)
sampling.sabotage("REINFORCE, which learns from equal groups too", nothing_lost, name="reinforce")
sampling.sabotage("another factor", same_prompt, factor=1)
sampling.sabotage("one prompt twice", retry_tilts, other=HARD)
sampling.sabotage("a policy that never goes on", token_mean_tilts, policy=stopping("1/2", "1", [1, 0, 0]))


tokens = sy.Claim(
    id="B19b",
    title="When the token-mean and the sequence-mean are the same",
    statement=(
        r"The mean over all tokens of a batch and the mean over rollouts of token-means give the same "
        r"gradient if and only if every rollout with a nonzero advantage has the batch's mean length."
    ),
    source=sy.Source(
        "2503.14476", "v2", "the token-level loss, equation (8), against the sample-level loss of GRPO"
    ),
    verdict="proved",
    scope=(
        "any number of rollouts, any advantages and lengths, independent scores; the token weights are "
        "compared, at any ratio off the clip's boundary"
    ),
    finding=(
        r"A token of rollout i weighs $1/\sum_j l_j$ against $1/(G l_i)$: the token-mean multiplies "
        r"the sequence's share by $l_i / \bar l$. Equal lengths are needed only where there is "
        r"something to learn."
    ),
)


@tokens.step(
    "The shares",
    route="traced code",
    shows=r"weights of the shipped rules at lengths 1, 2, 3: ratio $l_i/\bar l$",
)
def shares(lengths=(1, 2, 3)):
    rollouts = sy.symbolic_group(3, lengths=(1, 2, 3), on_policy=True)
    by_rule = [
        rollouts.weights(
            compose(advantage=advantage.group_mean, surrogate=surrogate.likelihood, aggregate=rule)
        )
        for rule in (aggregate.token_mean, aggregate.sequence_token_mean)
    ]
    for i in range(3):
        sy.equal(by_rule[0][0, i, 0], sp.Rational(lengths[i], 2) * by_rule[1][0, i, 0], f"rollout {i + 1}")


@tokens.step(
    "If and only if",
    route="smt",
    shows=r"$A_i / \sum_j l_j = A_i / (G l_i)$ for all i means $l_i = \bar l$ wherever $A_i \ne 0$",
)
def characterised(every=False):
    for size in (2, 3, 4):
        lengths = sp.symbols(f"l1:{size + 1}", positive=True)
        scores = sp.symbols(f"A1:{size + 1}", real=True)
        total = sp.Add(*lengths)
        same = sp.And(*[sp.Eq(a * size * l, a * total) for a, l in zip(scores, lengths, strict=True)])
        at_mean = sp.And(
            *[
                sp.Or(sp.Eq(size * l, total), False if every else sp.Eq(a, 0))
                for a, l in zip(scores, lengths, strict=True)
            ]
        )
        sy.require(sy.smt_valid([], sp.Equivalent(same, at_mean)), f"the characterisation at G = {size}")


@tokens.step(
    "Small lengths", route="enumeration", shows="lengths 1..4, G = 3, which advantages vanish: all 512 cases"
)
def small(mean_only=True):
    def holds(l1, l2, l3, a1, a2, a3):
        lengths, scores = (l1, l2, l3), (a1, a2, a3)
        same = all(
            sp.Rational(a, sum(lengths)) == sp.Rational(a, 3 * l)
            for a, l in zip(scores, lengths, strict=True)
        )
        return same == all(
            a == 0 or 3 * l == (sum(lengths) if mean_only else 3 * max(lengths))
            for a, l in zip(scores, lengths, strict=True)
        )

    count = sy.enumerate_rationals(
        holds, *[range(1, 5)] * 3, *[(0, 1)] * 3, what="same weights iff mean length"
    )
    return sy.Exhibit(text=f"{count} cases")


tokens.sabotage("shares of other lengths", shares, lengths=(1, 1, 1))
tokens.sabotage("every rollout must have the mean length", characterised, every=True)
tokens.sabotage("the longest length for the mean one", small, mean_only=False)
