"""B28: ReMax's greedy rollout as a baseline."""

import sympy as sp
from _short_sequences import stopping, stopping_engine, token_moments

from gradvar import catalogue
from gradvar import symbolic as sy

claim = sy.Claim(
    id="B28",
    title="The greedy-rollout baseline is unbiased",
    statement=(
        r"With $A_i = r_i - r(\text{greedy})$ and sequence scores, $\mathrm{E}[\frac{1}{G} \sum_i A_i "
        r"s_i] = \nabla J$ for every $G \ge 1$."
    ),
    source=sy.Source(
        "2310.10505", "", "the ReMax estimator and its unbiasedness; the proposition's number was not at hand"
    ),
    verdict="proved",
    scope=(
        "every G (symbolic), every law of (reward, score) with E[s] = 0, any baseline that is fixed by "
        "prompt and parameters"
    ),
    hypotheses=(
        "on policy, no clip",
        "the greedy rollout is decoded apart: it is not one of the G rollouts",
        "its reward is a number (no gradient through it)",
    ),
    finding=(
        r"Any constant of the prompt would do; the greedy reward is one that costs one more rollout. "
        r"Taking the best or the most likely *sampled* rollout instead lets the baseline see the "
        r"samples, and the mean moves."
    ),
)
G = sp.Symbol("G", integer=True, positive=True)
POLICY = stopping("2/3", "3/5", [1, "1/2", "-2"])


@claim.step(
    "The mean, any G",
    route="sympy",
    shows=r"$\mathrm{E}[\frac{1}{G}\sum_i (r_i - b) s_i] = \mathrm{E}[r s] - b \mathrm{E}[s] = \nabla J$",
)
def mean(average_score=0):
    g, J, b, R, S, RS = sp.symbols("g J b R S RS")
    table = {(1, 1): g, (1, 0): J, (0, 1): sp.sympify(average_score), (0, 0): sp.Integer(1)}
    sums = {R: {"r": 1}, S: {"s": 1}, RS: {"r": 1, "s": 1}}
    computed = sy.over_rollouts((RS - b * S) / G, sums, G, lambda e: table[e.get("r", 0), e.get("s", 0)])
    sy.equal(computed, g, "the mean with a constant baseline")


@claim.step(
    "The shipped weights",
    route="traced code",
    shows=r"$w_i = \frac{1}{G}(r_i - b)$, the greedy reward b a symbol; no other reward enters",
)
def traced(name="remax"):
    b = sp.Symbol("b", real=True)
    for size in (1, 2, 3):
        rollouts = sy.symbolic_group(size, on_policy=True, greedy_rewards=[b])
        weights = rollouts.weights(catalogue.get(name)).reshape(-1)
        sy.equal(weights, [(r - b) / size for r in rollouts.rewards.reshape(-1)], f"weights at G = {size}")
    return sy.Exhibit(formula=sp.latex(weights[0]))


@claim.step(
    "Rollouts of one and two tokens",
    route="enumeration",
    shows=r"greedy is 00; E = $\nabla J$ in rationals at G = 1, 2",
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
        sy.equal(exact.mean, POLICY.bandit.gradient, f"the mean at G = {size}")


@claim.step("The engine decodes greedily itself", route="exact engine", shows="mean and covariance at G = 2")
def engines(baseline=0):
    exact = sy.group_moments(POLICY.bandit, 2, lambda r: [(x - POLICY.rewards[baseline]) / 2 for x in r])
    sy.engines_agree(stopping_engine(catalogue.get("remax"), POLICY, 2), exact, "ReMax")


@claim.step(
    "A baseline that sees the samples",
    route="enumeration",
    shows="the most likely of the sampled rollouts as the baseline moves the mean: a bandit, G = 2",
)
def seen(self_term=True):
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [1, 0, 3])
    weights = (
        (lambda k: [(bandit.rewards[i] - bandit.rewards[min(k)]) / 2 for i in k])
        if self_term
        else (lambda k: [(bandit.rewards[i] - 1) / 2 for i in k])
    )
    moments = sy.group_moments(bandit, 2, weights, by_answer=True)
    sy.require(moments.mean != bandit.gradient, "the mean moves")


claim.sabotage("off policy: scores that do not average to zero", mean, average_score=sp.Rational(1, 7))
claim.sabotage("REINFORCE, which has no baseline", traced, name="reinforce")
claim.sabotage("the best of the group as the baseline", enumerated, best_of_group=True)
claim.sabotage("another completion taken for the greedy one", engines, baseline=1)
claim.sabotage("the greedy answer of the policy", seen, self_term=False)
