"""A20: the length-normalised score does not average to zero."""

import numpy as np
import sympy as sp
from _short_sequences import stopping, stopping_engine, token_moments

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate

mean_score, slope = sp.symbols("m h", real=True)
q = sp.Symbol("q", positive=True)
QUANTITIES = {
    mean_score: sy.Quantity("m", r"an entry of $\mathrm{E}\left[\frac{1}{|o|} \nabla \log \pi(o)\right]$")
}

claim = sy.Claim(
    id="A20",
    title="The length-normalised score has mean zero",
    statement=sy.Statement(
        setting="A policy whose completions o may differ in length, rollouts of the policy",
        quantities=QUANTITIES,
        goals={"mean zero": sp.Eq(mean_score, 0)},
    ),
    instead=sy.Statement(
        setting="A policy that stops after the first token with chance q, by the logit of stopping, else after the second",
        forall={q: sy.between(0, 1)},
        quantities=QUANTITIES | {slope: sy.Quantity("h", r"the same entry of $\nabla \mathrm{E}[1/|o|]$")},
        goals={"identity": sp.Eq(mean_score, slope), "never zero": sp.Gt(mean_score, 0)},
    ),
    source=sy.Source(
        "2510.00977",
        "v3",
        "the appendix's lemma on scores, used with length normalisation",
        says="the mean of the score is set to zero where each score is divided by its rollout's length",
        caveat="for completions of one length it is zero",
    ),
    verdict="refuted",
    scope=(
        "the identity holds for every policy with a differentiable law; shown here with q free, and on a policy of four "
        "logits; zero when all completions have one length"
    ),
    proof=(
        r"$\pi(o) \nabla \log \pi(o) = \nabla \pi(o)$, so the mean is $\sum_o \frac{1}{|o|} \nabla \pi(o) = \nabla "
        r"\mathrm{E}[1/|o|]$. With one decision to stop after the first or the second token it is $q (1 - q)/2$, above zero "
        "for every q. The shipped mean over a rollout's tokens, with all rewards one, has exactly this mean update, though "
        "the expected reward is constant."
    ),
    finding=(
        r"With token means a constant b in the baseline adds "
        r"$-b\, \nabla \mathrm{E}[1/|o|]$: it is no longer free, and rewards that are all equal but for a "
        r"shift push the length."
    ),
)
# One decision in the logit of stopping: length 1 with chance q, else 2. dq/dt = q (1 - q).
CHANCES, SCORES = {1: q, 2: 1 - q}, {1: 1 - q, 2: -q}


def rule(aggregation):
    return compose(
        advantage=advantage.raw, surrogate=surrogate.likelihood, aggregate=aggregation, min_group=1
    )


def inverse_length_slope():
    return sp.diff(sum(CHANCES[n] / sp.Integer(n) for n in (1, 2)), q) * q * (1 - q)


@claim.step(
    "The identity",
    route="sympy",
    shows=r"both sides from the law of one decision: $q (1-q) - (1-q) q / 2$ and $\frac{d}{dt} (q + (1 - q)/2)$",
)
def identity(power=1):
    left = sum(CHANCES[n] * SCORES[n] / sp.Integer(n) ** power for n in (1, 2))
    claim.goal("identity").holds({mean_score: left, slope: inverse_length_slope()})
    sy.equal(sum(CHANCES[n] * SCORES[n] for n in (1, 2)), 0, "the plain score averages to zero")


@claim.step(
    "It is never zero there",
    route="smt",
    shows=r"$q (1 - q)/1 - (1 - q) q/n > 0$ for $0 < q < 1$, n = 2",
)
def never(later=(2,)):
    for n in later:
        claim.goal("never zero").holds({mean_score: q * (1 - q) - (1 - q) * q / sp.Integer(n)})


@claim.step(
    "The shipped mean over tokens",
    route="traced code",
    shows="the weights of single rollouts of one and two tokens with reward 1, times their scores, q free",
)
def traced(aggregation=aggregate.sequence_token_mean):
    mean = sp.Integer(0)
    for n in (1, 2):
        weights = sy.symbolic_group(1, (n,), rewards=(1,), on_policy=True).weights(rule(aggregation))
        # The second token ends the rollout whatever it is: its score has no part in the logit of stopping.
        mean += CHANCES[n] * weights[0, 0, 0] * SCORES[n]
    claim.goal("identity").holds({mean_score: mean, slope: inverse_length_slope()})
    claim.goal("never zero").holds({mean_score: mean})


@claim.step(
    "GRPO averages so",
    route="traced code",
    shows="grpo's defaults, rollouts of one, two and three tokens, three reward levels: a token weighs the advantage "
    r"over $G |o|$; so the weighted scores of one decision obey the identity",
)
def grpo_averages(name="grpo"):
    lengths, rewards = (1, 2, 3), (sp.Integer(0), sp.Integer(1), sp.Rational(5, 2))
    rollouts = sy.symbolic_group(3, lengths, rewards=rewards, on_policy=True)
    weights = rollouts.weights(catalogue.get(name))[0]
    plain = sy.trace(lambda r: advantage.standardised(r), np.asarray([rewards], object))[0]
    per_token = {n: sp.simplify(3 * weights[i, 0] / plain[i]) for i, n in enumerate(lengths)}
    for i, n in enumerate(lengths):
        sy.equal(weights[i, :n], weights[i, 0], "one weight for all tokens of a rollout")
    left = sum(CHANCES[n] * per_token[n] * SCORES[n] for n in (1, 2))
    claim.goal("identity").holds({mean_score: left, slope: inverse_length_slope()})


@claim.step(
    "A policy of four logits",
    route="enumeration",
    shows="completions of one and two tokens: the exact mean update with all rewards 1, against the slope entry by entry",
)
def four_logits(aggregation=aggregate.sequence_token_mean):
    for go, second in (("1/2", "1/3"), ("2/3", "3/5")):
        policy = stopping(go, second, [1, 1, 1])
        chance = 1 - policy.a  # of stopping, whose logit is the second
        computed = token_moments(policy, 1, rule(aggregation)).mean
        inverse = [-chance * (1 - chance) / 2, chance * (1 - chance) / 2, 0, 0]
        claim.goal("identity").holds({mean_score: computed, slope: inverse}, at={q: chance})


@claim.counterexample(
    "Stop with chance 1/2 after the first token, else after the second; all rewards 1. The mean update of "
    "the stop logit is 1/8 though the expected reward is constant; the engine agrees.",
    q="1/2",
    rewards="(1, 1)",
)
def constant_rewards(aggregation=aggregate.sequence_token_mean):
    policy = stopping("1/2", "1/3", [1, 1, 1])
    exact = token_moments(policy, 1, rule(aggregation))
    sy.engines_agree(stopping_engine(rule(aggregation), policy, 1), exact, "token means")
    claim.goal("mean zero").fails({mean_score: exact.mean[1]})
    return sy.Exhibit(text=f"the mean update of the stop logit is {exact.mean[1]}")


claim.sabotage("1/|o|^2 for 1/|o|", identity, power=2)
claim.sabotage("equal lengths", never, later=(1,))
claim.sabotage("token sums", traced, aggregation=aggregate.sequence_token_sum)
claim.sabotage("Dr. GRPO, which sums tokens", grpo_averages, name="dr_grpo")
claim.sabotage("token sums on four logits", four_logits, aggregation=aggregate.sequence_token_sum)
claim.sabotage("token sums with constant rewards", constant_rewards, aggregation=aggregate.sequence_token_sum)
