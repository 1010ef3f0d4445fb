"""B28: ReMax's greedy rollout as a baseline."""

import numpy as np
import sympy as sp
from _short_sequences import stopping, stopping_engine, token_moments

from gradvar import catalogue
from gradvar import symbolic as sy

G = sp.Symbol("G", integer=True, positive=True)
weight, reward, baseline, update, gradient, dependence = sp.symbols("A r b m g c", real=True)
POLICY = stopping("2/3", "3/5", [1, "1/2", "-2"])

claim = sy.Claim(
    id="B28",
    title="The greedy-rollout baseline is unbiased",
    statement=sy.Statement(
        setting="One prompt, on policy, nothing clipped, sequence scores",
        forall={G: sy.whole(1)},
        given={
            "decoded apart": sy.Hypothesis(
                "the baseline is fixed by prompt and parameters: the greedy rollout is none of the G, and no "
                "gradient runs through its reward",
                sp.Eq(dependence, 0),
                stated_by="ours",
            )
        },
        quantities={
            weight: sy.Quantity("A_i", "the advantage of rollout i"),
            reward: sy.Quantity("r_i", "its reward"),
            baseline: sy.Quantity("b", "the reward of the greedy rollout"),
            update: sy.Quantity(r"\mathrm{E}[\hat g]", r"the mean of $\frac{1}{G} \sum_i A_i s_i$"),
            gradient: sy.Quantity(r"\nabla J", "the gradient of the expected reward"),
            dependence: sy.Quantity("c", r"the largest entry of $|\mathrm{E}[b s_i]|$"),
        },
        goals={"advantage": sp.Eq(weight, reward - baseline), "unbiased": sp.Eq(update, gradient)},
    ),
    source=sy.Source("2310.10505", "v4", "the ReMax estimator", relation="not read"),
    verdict="proved",
    scope="every G, every law of (reward, score) with E[s] = 0, any baseline that is fixed by prompt and parameters",
    proof=(
        r"The greedy reward b is a number for a given prompt and policy, so $\mathrm{E}[(r_i - b) s_i] = "
        r"\mathrm{E}[r s] - b\, \mathrm{E}[s] = \nabla J$ for each rollout, hence for their mean. The shipped "
        r"weights are $(r_i - b)/G$ for symbolic rewards. All groups of a policy with rollouts of one and two "
        r"tokens, and the engine, which decodes greedily itself, have the mean of the gradient. A baseline "
        r"that is chosen among the sampled rollouts depends on the scores, and the mean moves."
    ),
    finding=(
        "Any constant of the prompt would do; the greedy reward is one that costs one more rollout. Taking "
        "the best or the most likely sampled rollout instead lets the baseline see the samples, and the "
        "mean moves."
    ),
)


@claim.step(
    "The mean, any G", route="sympy", shows=r"$\mathrm{E}[\frac{1}{G}\sum_i (r_i - b) s_i]$ by index patterns"
)
def mean(average_score=0):
    g, J, b, R, S, RS = sp.symbols("g J b R S RS", real=True)
    table = {(1, 1): g, (1, 0): J, (0, 1): sp.sympify(average_score), (0, 0): sp.Integer(1)}
    sums = {R: {"r": 1}, S: {"s": 1}, RS: {"r": 1, "s": 1}}
    computed = sy.over_rollouts((RS - b * S) / G, sums, G, lambda e: table[e.get("r", 0), e.get("s", 0)])
    claim.goal("unbiased").holds({update: computed, gradient: g, dependence: 0})
    reward_symbol = sp.Symbol("r1", real=True)
    claim.goal("advantage").holds(
        {weight: G * ((reward_symbol - b) / G), reward: reward_symbol, baseline: b, dependence: 0}
    )


@claim.step(
    "The shipped weights",
    route="traced code",
    shows=r"G = 1, 2, 3 and 5 with symbolic rewards: G times the weights; b a symbol",
)
def traced(name="remax"):
    b = sp.Symbol("b", real=True)
    for size in (1, 2, 3, 5):
        rollouts = sy.symbolic_group(size, on_policy=True, greedy_rewards=[b])
        weights = rollouts.weights(catalogue.get(name)).reshape(-1)
        values = {weight: size * weights, reward: rollouts.rewards.reshape(-1), baseline: b, dependence: 0}
        claim.goal("advantage").holds(values, at={G: size})
    return sy.Exhibit(formula=sp.latex(weights[0]))


@claim.step(
    "Rollouts of one and two tokens",
    route="enumeration",
    shows="the greedy rollout is 00; all groups at G = 1, 2 in rationals",
)
def enumerated(best_of_group=False):
    for size in (1, 2):
        exact = token_moments(
            POLICY,
            size,
            catalogue.get("remax"),
            greedy_rewards=lambda picks: (
                max(POLICY.rewards[k] for k in picks) if best_of_group else POLICY.rewards[0]
            ),
        )
        values = {update: exact.mean, gradient: POLICY.bandit.gradient, dependence: 0}
        claim.goal("unbiased").holds(values, at={G: size})


@claim.step("The engine decodes greedily itself", route="exact engine", shows="mean and covariance at G = 2")
def engines(greedy=0, name="remax"):
    moments = stopping_engine(catalogue.get(name), POLICY, 2)
    values = {update: np.asarray(moments.mean).reshape(-1), gradient: POLICY.bandit.gradient, dependence: 0}
    claim.goal("unbiased").holds(values, at={G: 2}, tolerance=1e-11)
    exact = sy.group_moments(POLICY.bandit, 2, lambda r: [(x - POLICY.rewards[greedy]) / 2 for x in r])
    sy.engines_agree(moments, exact, "ReMax")


@claim.counterexample(
    "The most likely of the sampled rollouts as the baseline: a bandit, G = 2, in rationals.",
    pi="(1/2, 1/3, 1/6)",
    rewards="(1, 0, 3)",
)
def sampled(of_group=True):
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [1, 0, 3])
    base = lambda k: bandit.rewards[min(k)] if of_group else bandit.rewards[0]  # noqa: E731
    weights = lambda k: [(bandit.rewards[i] - base(k)) / sp.Integer(2) for i in k]  # noqa: E731
    moments = sy.group_moments(bandit, 2, weights, by_answer=True)
    pull = sy.group_moments(bandit, 2, lambda k: [base(k), 0], by_answer=True)  # E[b s_1]
    values = {update: moments.mean, gradient: bandit.gradient, dependence: max(map(abs, pull.mean))}
    claim.goal("unbiased").fails(
        values, at={G: 2}, without="decoded apart" if values[dependence] != 0 else ""
    )


claim.sabotage("off policy: scores that do not average to zero", mean, average_score=sp.Rational(1, 7))
claim.sabotage("REINFORCE, which has no baseline", traced, name="reinforce")
claim.sabotage("the best of the group as the baseline", enumerated, best_of_group=True)
claim.sabotage("another completion taken for the greedy one", engines, greedy=1)
claim.sabotage("the group mean, its own rollout included", engines, name="dr_grpo")
claim.sabotage("the greedy answer of the policy", sampled, of_group=False)
