"""B1: the leave-one-out advantage, its factor and its unbiasedness."""

import numpy as np
import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

G = sp.Symbol("G", integer=True, positive=True)
r, mean_reward, advantage, update, gradient = sp.symbols("r rbar A m g", real=True)

claim = sy.Claim(
    id="B1",
    title="Leave-one-out is unbiased, and G/(G-1) times mean-centring",
    statement=sy.Statement(
        setting="One prompt, real rewards of any law",
        forall={G: sy.whole(2)},
        given={
            "on policy": sy.Hypothesis(
                r"the rollouts are independent draws of the policy, so that $\mathrm{E}[s] = 0$"
            )
        },
        quantities={
            advantage: sy.Quantity(
                "A_i", r"the leave-one-out advantage $r_i - \frac{1}{G-1} \sum_{j \ne i} r_j$"
            ),
            r: sy.Quantity("r_i", "the reward of rollout i"),
            mean_reward: sy.Quantity(r"\bar r", "the mean reward of its group"),
            update: sy.Quantity(r"\mathrm{E}[\hat g]", r"the mean of $\frac{1}{G} \sum_i A_i s_i$"),
            gradient: sy.Quantity(r"\nabla J", "the gradient of the expected reward"),
        },
        goals={
            "factor": sp.Eq(advantage, G / (G - 1) * (r - mean_reward)),
            "unbiased": sp.Eq(update, gradient),
        },
    ),
    source=sy.Source(
        "2402.14740",
        "v2",
        "equation (8); Kool, van Hoof, Welling (2019)",
        says="each rollout's baseline is the mean reward of the others, and the estimator is called unbiased",
    ),
    verdict="proved",
    scope=r"every law of (reward, score) with a finite $\mathrm{E}[r s]$; vectors entry by entry",
    proof=(
        r"The sum of the group's rewards R contains $r_i$, so the mean of the others is $(R - r_i)/(G-1)$, and the factor "
        r"is algebra. In $\frac{1}{G} \sum_i A_i s_i$ the terms $r_i s_i$ of one rollout have the mean $\mathrm{E}[r s] = "
        r"\nabla J$, and the products $r_j s_i$ of two different rollouts have the mean $\mathrm{E}[r] \mathrm{E}[s] = 0$. "
        r"The shipped estimator has these advantages, and its mean over all groups of a bandit with three reward levels "
        r"is the gradient in rationals, and in the engine's floats."
    ),
)


@claim.step(
    "The factor",
    route="sympy",
    shows=r"$r - \frac{R - r}{G-1} = \frac{G}{G-1} \left(r - \frac{R}{G}\right)$, $R$ the group's sum",
)
def factor(others_share=1):
    mine, total = sp.symbols("r1 R", real=True)
    leave_one_out = mine - others_share * (total - mine) / (G - 1)
    claim.goal("factor").holds({advantage: leave_one_out, r: mine, mean_reward: total / G})


@claim.step(
    "The mean, any G and any rewards",
    route="sympy",
    shows=(
        r"over index patterns: terms of one rollout give $G\,\mathrm{E}[rs]$, cross terms "
        r"$G(G-1)\,\mathrm{E}[r]\mathrm{E}[s] = 0$"
    ),
)
def unbiased(self_term=0, mean_score=0):
    g, level = sp.symbols("g1 J", real=True)
    R, S, RS = sp.symbols("R S RS")

    def moment(exponents):
        table = {(1, 1): g, (1, 0): level, (0, 1): sp.sympify(mean_score), (0, 0): sp.Integer(1)}
        return table[exponents.get("r", 0), exponents.get("s", 0)]

    # (1/G) sum_i (r_i - (R - r_i)/(G - 1)) s_i in sums over the group; self_term = 1 leaves r_i in its baseline.
    estimator = (RS - (R * S - (1 - self_term) * RS) / (G - 1)) / G
    mean = sy.over_rollouts(estimator, {R: {"r": 1}, S: {"s": 1}, RS: {"r": 1, "s": 1}}, G, moment)
    claim.goal("unbiased").holds({update: mean, gradient: g})


@claim.step(
    "The shipped weights, G = 2, 3, 4", route="traced code", shows="G times the weights of symbolic rewards"
)
def traced(per_rollout=0):
    for group in (2, 3, 4):
        rollouts = sy.symbolic_group(group, on_policy=True)
        rewards = rollouts.rewards.reshape(-1)
        weights = rollouts.weights(catalogue.get("rloo")).reshape(-1)
        values = {advantage: (group + per_rollout) * weights, r: rewards, mean_reward: sum(rewards) / group}
        claim.goal("factor").holds(values, at={G: group})


@claim.step(
    "A bandit with three reward levels", route="enumeration", shows="the mean over all groups, G = 2, 3, 4"
)
def enumerated(name="rloo"):
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "-7/3"])
    for group in (2, 3, 4):
        moments = sy.group_moments(bandit, group, sy.weights_of(catalogue.get(name)))
        claim.goal("unbiased").holds({update: moments.mean, gradient: bandit.gradient}, at={G: group})


@claim.step("The engine agrees", route="exact engine", shows="mean and covariance at G = 3")
def engines():
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "-7/3"])
    moments = sy.engine(catalogue.get("rloo"), bandit, 3)
    values = {update: np.asarray(moments.mean).reshape(-1), gradient: bandit.gradient}
    claim.goal("unbiased").holds(values, at={G: 3}, tolerance=1e-11)
    exact = sy.group_moments(bandit, 3, sy.weights_of(catalogue.get("rloo")))
    sy.engines_agree(moments, exact, "RLOO")


claim.sabotage("no baseline", factor, others_share=0)
claim.sabotage("its reward kept in its baseline", unbiased, self_term=1)
claim.sabotage("scores that do not average to zero (off policy)", unbiased, mean_score=sp.Rational(1, 3))
claim.sabotage("weights divided by G + 1", traced, per_rollout=1)
claim.sabotage("the group mean with its reward", enumerated, name="dr_grpo")
