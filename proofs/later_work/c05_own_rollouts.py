"""C5: maximum likelihood on a policy's own rollouts."""

import numpy as np
import sympy as sp
from _short_sequences import stopping, stopping_engine, token_moments

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import aggregate, surrogate

G = sp.Symbol("G", integer=True, positive=True)
N = sp.Symbol("N", integer=True, positive=True)
p = sp.Symbol("p", positive=True)
mean, weighted, gradient, fitted, diversity = sp.symbols("m u g f v", real=True)

claim = sy.Claim(
    id="C5",
    title="Likelihood on a policy's own unfiltered rollouts has zero expected gradient",
    statement=sy.Statement(
        setting=(
            "G rollouts of a policy, and the gradient of their mean log-probability; or N rollouts of success "
            "rate p that are fitted exactly"
        ),
        forall={G: sy.whole(1), N: sy.whole(1), p: sy.between(0, 1)},
        given={
            "on policy": sy.Hypothesis("the rollouts are the policy's own", stated_by="ours"),
            "whole rollouts": sy.Hypothesis(
                "the log-probability is that of the whole rollout, not divided by its length",
                stated_by="ours",
            ),
            "unfiltered": sy.Hypothesis(
                "nothing is kept or weighted by what was drawn, but in u", stated_by="ours"
            ),
        },
        quantities={
            mean: sy.Quantity("m", r"an entry of $\mathrm{E}[\frac{1}{G} \sum_i \nabla \log \pi(y_i)]$"),
            weighted: sy.Quantity("u", "the same with each rollout weighted by its reward"),
            gradient: sy.Quantity(r"\nabla J", "that entry of the gradient of the expected reward"),
            fitted: sy.Quantity(
                r"\mathrm{E}[\hat p]", r"the mean of the share $\hat p$ of correct ones among N"
            ),
            diversity: sy.Quantity(r"\mathrm{E}[\hat p (1 - \hat p)]", "the mean of its diversity"),
        },
        goals={
            "zero mean": sp.Eq(mean, 0),
            "weights reshape": sp.Eq(weighted, gradient),
            "fits lose diversity": sp.And(sp.Eq(fitted, p), sp.Eq(diversity, (1 - 1 / N) * p * (1 - p))),
        },
    ),
    source=sy.Source(
        "2604.16995",
        "v1",
        "abstract",
        relation="ours",
        says=(
            "reinforcement learning alternates with a likelihood step on rollouts of the policy; its equations "
            "were not read"
        ),
        caveat="if rollouts are filtered, and how long the stages last, is not known here",
    ),
    verdict="proved",
    scope=(
        "every policy with a differentiable law, every G, whole rollouts (log-probability summed over "
        "tokens), one step"
    ),
    proof=(
        r"$\sum_y \pi(y) \nabla \log \pi(y) = \nabla \sum_y \pi(y) = 0$ for one rollout, and the mean of G of "
        r"them has the same mean. A weight f(y) that is held gives $\nabla \mathrm{E}[f]$, so rewards reshape. "
        r"Of N rollouts the share of correct ones is binomial: its mean is p, and $\mathrm{E}[\hat p^2] = p^2 + "
        "p(1-p)/N$ costs the diversity its N-th part. Divided by its length, selected by its reward, or off "
        "policy, the likelihood does have a mean, as the numbers show."
    ),
    finding=(
        "Zero mean is not nothing: repeated exact fits of own samples lose diversity. And the mean over "
        "tokens, as trainers average it, does have a mean: it prefers the tokens of short rollouts. With "
        "unfiltered own rollouts the sign of the likelihood's term does not matter in the mean."
    ),
)


def rule(advantages, aggregation):
    return compose(advantage=advantages, surrogate=surrogate.likelihood, aggregate=aggregation, min_group=1)


LIKELIHOOD = rule(lambda rewards: 0 * rewards + 1, aggregate.sequence_token_sum)
PER_TOKEN = rule(lambda rewards: 0 * rewards + 1, aggregate.sequence_token_mean)
POLICY = stopping("2/3", "3/5", [1, 0, "5/2"])


def first_moment(mean):
    """The moments of one rollout, of which only the first power occurs."""
    return lambda exponents: mean if exponents else sp.Integer(1)


@claim.step(
    "The score's mean, any G",
    route="sympy",
    shows=(
        r"$\sum_y \pi(y) f(y) \nabla \log \pi(y)$ for three answers by each logit, with f = 1 and f the "
        "rewards; then G rollouts"
    ),
)
def score(constant=True, off=0):
    logits = sp.symbols("x1:4", real=True)
    chances = [sp.exp(x) / sum(sp.exp(y) for y in logits) for x in logits]
    rewards = sp.symbols("r1:4", real=True)
    S = sp.Symbol("S")
    for x in logits:
        slopes = [sp.diff(sp.log(c), x) for c in chances]
        held = (1, 1, 1) if constant else rewards
        one = sum((c + off) * w * s for c, w, s in zip(chances, held, slopes, strict=True))
        group = sy.over_rollouts(S / G, {S: {"s": 1}}, G, first_moment(one))
        claim.goal("zero mean").holds({mean: group})
        rewarded = sum(c * r * s for c, r, s in zip(chances, rewards, slopes, strict=True))
        value = sum(c * r for c, r in zip(chances, rewards, strict=True))
        claim.goal("weights reshape").holds({weighted: rewarded, gradient: sp.diff(value, x)})


@claim.step(
    "Rollouts of one and two tokens",
    route="enumeration",
    shows=(
        "the traced objective's exact mean at G = 1, 2, and the shipped REINFORCE with its defaults, three "
        "reward levels"
    ),
)
def exact(estimator=LIKELIHOOD, rewarded="reinforce"):
    for size in (1, 2):
        claim.goal("zero mean").holds({mean: token_moments(POLICY, size, estimator).mean}, at={G: size})
        reshaped = token_moments(POLICY, size, catalogue.get(rewarded)).mean
        claim.goal("weights reshape").holds(
            {weighted: reshaped, gradient: POLICY.bandit.gradient}, at={G: size}
        )


@claim.step("The engine", route="exact engine", shows="both at G = 2")
def engines(estimator=LIKELIHOOD):
    computed = np.asarray(stopping_engine(estimator, POLICY, 2).mean).reshape(-1)
    claim.goal("zero mean").holds({mean: computed}, at={G: 2}, tolerance=1e-11)
    computed = np.asarray(stopping_engine(catalogue.get("reinforce"), POLICY, 2).mean).reshape(-1)
    values = {weighted: computed, gradient: POLICY.bandit.gradient}
    claim.goal("weights reshape").holds(values, at={G: 2}, tolerance=1e-11)


@claim.step(
    "Fitting own samples, any N",
    route="sympy",
    shows=r"$\hat p = k/N$ with k binomial, by falling factorials, N a symbol",
)
def fitting(power=1):
    k = sp.Symbol("k")
    claim.goal("fits lose diversity").holds(
        {
            fitted: sy.over_binomial_symbolic(k / N, k, N, p),
            diversity: sy.over_binomial_symbolic(sp.expand(k / N * (1 - k / N) ** power), k, N, p),
        }
    )


@claim.step("Fitting, small N", route="enumeration", shows="the binomial sums for N = 1 to 6, p free")
def small_fits(extra=0):
    for size in range(1, 7):
        share = sp.Rational(1, size + extra)
        values = {
            fitted: sy.over_binomial([k * share for k in range(size + 1)].__getitem__, size, p),
            diversity: sy.over_binomial(
                [k * share * (1 - k * share) for k in range(size + 1)].__getitem__, size, p
            ),
        }
        claim.goal("fits lose diversity").holds(values, at={N: size})


@claim.counterexample(
    "Divided by the length (go on with chance 2/3): the mean is 1/9 towards stopping. Only the correct ones "
    "kept (p = 1/3): the mean is that of the correct answer's score. Rollouts of another policy, (1/2, 1/2) "
    "for (1/3, 2/3): not zero.",
    go="2/3",
)
def each_is_needed(estimator=PER_TOKEN, keep=(1, 0), old=("1/2", "1/2")):
    goal, place = claim.goal("zero mean"), {G: 1, N: 1, p: sp.Rational(1, 3)}
    goal.fails({mean: token_moments(POLICY, 1, estimator).mean}, at=place, without="whole rollouts")
    bandit = sy.SymbolicBandit(["1/3", "2/3"], [1, 0])
    rows = list(zip(bandit.probabilities, bandit.scores, keep, strict=True))
    kept = sum(c * k for c, _, k in rows)
    selected = [sum(c * k * s[j] for c, s, k in rows) / kept for j in (0, 1)]
    goal.fails({mean: selected}, at=place, without="unfiltered")
    drawn = [sum(sp.Rational(o) * s[j] for o, s in zip(old, bandit.scores, strict=True)) for j in (0, 1)]
    goal.fails({mean: drawn}, at=place, without="on policy")


claim.sabotage("weights that differ", score, constant=False)
claim.sabotage("off policy", score, off=sp.Rational(1, 5))
claim.sabotage("the mean over tokens", exact, estimator=PER_TOKEN)
claim.sabotage("weighted by the reward less the group's mean", exact, rewarded="dr_grpo")
claim.sabotage("weighted by the reward", engines, estimator=catalogue.get("reinforce"))
claim.sabotage("another measure of diversity", fitting, power=2)
claim.sabotage("shares of N + 1", small_fits, extra=1)
claim.sabotage("whole rollouts", each_is_needed, estimator=LIKELIHOOD)
claim.sabotage("all kept", each_is_needed, keep=(1, 1))
claim.sabotage("the same policy", each_is_needed, old=("1/3", "2/3"))
