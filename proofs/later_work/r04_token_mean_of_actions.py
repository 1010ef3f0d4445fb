"""R4: two enumerated actions with the mean over tokens in place of the sum, as DPA-GRPO's code has it by default."""

import numpy as np
import sympy as sp
from _short_sequences import stopping, stopping_engine, token_moments

from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, penalty, surrogate

p = sp.Symbol("p", positive=True)
T1, T2 = sp.symbols("T1 T2", integer=True, positive=True)
group, pairs, term, slope, gap, sign = sp.symbols("u m T h d e", real=True)

claim = sy.Claim(
    id="R4",
    title="Two enumerated actions with the mean over tokens: the lengths enter the factor, and the penalty gets a mean",
    statement=sy.Statement(
        setting=(
            "A decision with two actions of $T_1$ and $T_2$ tokens, the first taken with chance p, rewards that "
            "differ by d; each action's log-probability is divided by its number of tokens"
        ),
        forall={p: sy.between(0, 1), T1: sy.whole(1), T2: sy.whole(1)},
        given={
            "one state": sy.Hypothesis(
                "the two texts are the only ones that the policy writes there", stated_by="ours"
            )
        },
        quantities={
            group: sy.Quantity(
                "u", "the update of the two enumerated actions with standardised advantages, an entry"
            ),
            pairs: sy.Quantity("m", "the mean update of two sampled actions with advantages less their mean"),
            term: sy.Quantity(
                "T",
                r"the mean slope of $\beta (\log \pi - \log \pi_{\text{ref}})$ over sampled actions, over $\beta$",
            ),
            slope: sy.Quantity(r"\nabla p", "the gradient of the first action's chance, that entry"),
            gap: sy.Quantity("d", "$r_1 - r_2$"),
            sign: sy.Quantity("e", "its sign"),
        },
        goals={
            "enumerated": sp.Eq(group, sign / 2 * (1 / (p * T1) + 1 / ((1 - p) * T2)) * slope),
            "sampled pairs": sp.Eq(pairs, gap / 2 * ((1 - p) / T1 + p / T2) * slope),
            "penalty": sp.Eq(term, (1 / T1 - 1 / T2) * slope),
        },
    ),
    source=sy.Source(
        "2605.08327",
        place="released code, dpa_grpo/losses.py, grpo_group_accumulate_gradients (length_normalize=True by default)",
        relation="ours",
        says=(
            "the mean over tokens takes the place of the sum, since the longer branch dominated the update "
            "otherwise; an earlier version of the file has the sum"
        ),
        caveat="the comment is about the size of the gradient in practice, and does not speak of an expected update",
    ),
    verdict="proved",
    scope="any lengths; any parametrisation, entry by entry; with equal lengths it is C4's update over the length",
    proof=(
        r"The scores of the two whole actions are $\nabla p / p$ and $-\nabla p/(1-p)$, and division by the "
        r"length divides each. With the weights $\pm 1/2$ this gives the enumerated update. A sampled pair is "
        r"mixed with chance $2p(1-p)$ and then has the weights $\pm d/4$. Averaged over the policy's actions the "
        r"scores cancel, but scores over lengths leave $\nabla p\,(1/T_1 - 1/T_2)$, so the penalty is no longer "
        "of mean zero unless the lengths agree."
    ),
    finding=(
        "In one state the update keeps the gradient's direction; over states its factor depends on lengths as "
        "well as on p. The penalty, which has no mean with sums, now pushes towards the longer of two actions, "
        "whatever the reference."
    ),
)


@claim.step(
    "From the scores", route="sympy", shows="the two actions' scores over lengths, weights and chances"
)
def from_scores(first_length=T1, mixed=2):
    first, second = slope / p / first_length, -slope / (1 - p) / T2
    d = sp.Symbol("d", real=True)
    claim.goal("enumerated").holds({group: (first - second) * sign / 2, slope: slope, sign: sign})
    claim.goal("sampled pairs").holds(
        {pairs: mixed * p * (1 - p) * d / 4 * (first - second), slope: slope, gap: d}
    )
    claim.goal("penalty").holds({term: p * first + (1 - p) * second, slope: slope})


def rule(advantage_piece, rows=aggregate.sequence_token_mean, **pieces):
    return compose(
        advantage=advantage_piece, surrogate=surrogate.likelihood, aggregate=rows, min_group=1, **pieces
    )


def standardised(rewards):
    return advantage.standardised(rewards, eps=0.0)


def totals(weights, mask, scores):
    """The sum over the rollouts of token weights times the action's score; equal weights within a rollout."""
    result = sp.Integer(0)
    for row, on, score in zip(weights, mask, scores, strict=True):
        values = [w for w, is_token in zip(row, on, strict=True) if is_token]
        sy.equal(values, [values[0]] * len(values), "one weight for all tokens of an action")
        result += values[0] * score
    return result


@claim.step(
    "The shipped pieces",
    route="traced code",
    shows="`sequence_token_mean` with standardised and centred advantages and k1, actions of 1 to 4 tokens",
)
def traced(rows=aggregate.sequence_token_mean):
    scores = {0: slope / p, 1: -slope / (1 - p)}
    for lengths in ((1, 1), (2, 1), (1, 3), (4, 2)):
        at = dict(zip((T1, T2), lengths, strict=True))
        for rewards in ((sp.Integer(1), sp.Integer(0)), (sp.Integer(-1), sp.Rational(3, 2))):
            actions = sy.symbolic_group(2, lengths, rewards=rewards, on_policy=True)
            mask = np.arange(max(lengths)) < np.asarray(lengths)[:, None]
            weights = actions.weights(rule(standardised, rows))[0]
            values = {
                group: totals(weights, mask, scores.values()),
                slope: slope,
                sign: sp.sign(rewards[0] - rewards[1]),
            }
            claim.goal("enumerated").holds(values, at=at)
        mean, pull = sp.Integer(0), sp.Integer(0)
        reference = sy.symbols("c", (1, 2, max(lengths)))
        for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):  # the sampled pair
            chance = sp.Mul(*[(p, 1 - p)[k] for k in (i, j)])
            picked = [lengths[i], lengths[j]]
            mask = np.arange(max(picked)) < np.asarray(picked)[:, None]
            r = sp.symbols("r1 r2", real=True)
            both = sy.symbolic_group(
                2, picked, rewards=(r[i], r[j]), on_policy=True, logp_ref=reference[:, :, : max(picked)]
            )
            mean += chance * totals(
                both.weights(rule(advantage.group_mean, rows))[0], mask, (scores[i], scores[j])
            )
            loss = both.weights(rule(lambda rewards: 0 * rewards, rows, penalty=penalty.k1))[0]
            pull -= chance * totals(loss, mask, (scores[i], scores[j]))
        claim.goal("sampled pairs").holds({pairs: mean, slope: slope, gap: r[0] - r[1]}, at=at)
        claim.goal("penalty").holds({term: pull, slope: slope}, at=at)


# Two texts: a token and then a second one, which is certain, or the stop.
TEXTS = (("1/3", (1, 0, 0)), ("4/5", ("1/2", 0, 2)))


@claim.step(
    "Token by token",
    route="enumeration",
    shows="texts of two tokens and of one from a table of logits: all pairs, and all actions for the penalty",
)
def by_tokens(rows=aggregate.sequence_token_mean):
    for chance, rewards in TEXTS:
        policy = stopping(chance, 1, rewards)
        at = {p: policy.a, T1: 2, T2: 1}
        slopes = [policy.a * x for x in policy.bandit.scores[0]]
        d = policy.rewards[0] - policy.rewards[2]
        mean = token_moments(policy, 2, rule(advantage.group_mean, rows)).mean
        claim.goal("sampled pairs").holds({pairs: mean, slope: slopes, gap: d}, at=at)
        lowered = rule(lambda rewards: 0 * rewards - 1, rows)  # the penalty alone
        pull = [-x for x in token_moments(policy, 1, lowered).mean]
        claim.goal("penalty").holds({term: pull, slope: slopes}, at=at)
        enumerated = [  # both actions as the group, the mean over tokens of the first token's score
            sp.sign(d) / 2 * (first / 2 - stop) for first, stop in zip(*both_scores(policy), strict=True)
        ]
        claim.goal("enumerated").holds({group: enumerated, slope: slopes, sign: sp.sign(d)}, at=at)


def both_scores(policy):
    """The scores of the text of two tokens and of the stop, by the logits."""
    scores = policy.bandit.scores
    return scores[0], scores[2]


@claim.step(
    "The engine", route="exact engine", shows="sampled pairs and the penalty, the first of the two texts"
)
def engines(rows=aggregate.sequence_token_mean):
    # the second token is certain up to a chance that floats do not see
    policy = stopping("1/3", 1 - sp.Rational(1, 10**30), (1, 0, 0))
    slopes = [policy.a * x for x in stopping("1/3", 1, (1, 0, 0)).bandit.scores[0]]
    at = {p: policy.a, T1: 2, T2: 1}
    mean = np.asarray(stopping_engine(rule(advantage.group_mean, rows), policy, 2).mean).reshape(-1)
    claim.goal("sampled pairs").holds({pairs: mean[:4], slope: slopes, gap: 1}, at=at, tolerance=1e-11)


claim.sabotage("the first length squared", from_scores, first_length=T1**2)
claim.sabotage("a mixed pair half as often", from_scores, mixed=1)
claim.sabotage("sums over tokens", traced, rows=aggregate.sequence_token_sum)
claim.sabotage("the mean over all tokens of the batch", by_tokens, rows=aggregate.token_mean)
claim.sabotage("sums in the engine", engines, rows=aggregate.sequence_token_sum)
