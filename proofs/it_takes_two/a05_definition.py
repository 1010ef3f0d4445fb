"""A5: the definition of a contrastive loss does not separate GRPO from plain REINFORCE with a constant
baseline."""

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate

claim = sy.Claim(
    id="A5",
    title="The definition of a contrastive loss sets GRPO and DPO apart from other policy gradients",
    statement=(
        r"Call a loss contrastive when its gradient pulls up the log-probability of positive samples and "
        r"pushes down that of negative ones, $\mathrm{E}_{+}[a \nabla \log \pi] - \mathrm{E}_{-}[b \nabla "
        r"\log \pi]$ with $a, b > 0$. Claimed use: the definition marks GRPO and DPO off from other policy "
        r"gradients."
    ),
    source=sy.Source("2510.00977", "v3", "Section 3, the definition of a contrastive loss (in our reading)"),
    verdict="refuted",
    scope=r"binary rewards; every constant baseline $0 < b < 1$, any G, G = 1 included",
    finding=(
        r"REINFORCE with any constant between the two reward levels meets it rollout by rollout, without "
        r"groups: weights $1 - b$ and $-b$. So does PPO with any critic that stays between 0 and 1. What "
        r"sets the group mean apart is the balance of the two sums ($c = 1$, claim A6), and that all-equal "
        r"groups weigh nothing."
    ),
)
baseline = sy.symbols("e", (1,))


def constant_baseline():
    return compose(
        advantage=advantage.given, surrogate=surrogate.likelihood, aggregate=aggregate.sequence_token_sum
    )


@claim.step(
    "REINFORCE's weights",
    route="traced code",
    shows=r"$(1 - b)/G$ for correct rollouts, $-b/G$ for wrong ones, G = 1, 2, 3",
)
def traced(shift=0):
    b = baseline[0] + shift
    for rewards in ((1,), (0,), (1, 0), (1, 1), (0, 1, 1)):
        rollouts = sy.symbolic_group(len(rewards), rewards=rewards, baseline=baseline)
        weights = rollouts.weights(constant_baseline()).reshape(-1)
        sy.equal(
            weights,
            [((1 - b) if r else -b) / sp.Integer(len(rewards)) for r in rewards],
            f"weights at rewards {rewards}",
        )


@claim.step(
    "They meet the definition",
    route="smt",
    shows=r"$1 - b > 0$ and $b > 0$ for $0 < b < 1$: both pulls have their sign",
)
def meets(largest=1):
    b = sp.Symbol("b", real=True)
    sy.require(sy.smt_valid([b > 0, b < largest], sp.And(1 - b > 0, b > 0)), "both coefficients are positive")


@claim.counterexample(
    "A loss that meets the definition and is no group method: constant baseline 1/2, one rollout.",
    pi="(1/3, 1/4, 5/12)",
    rewards="(1, 0, 1)",
    b="1/2",
)
def one_rollout(b=sp.Rational(1, 2), factor=1):
    bandit = sy.SymbolicBandit(["1/3", "1/4", "5/12"], [1, 0, 1])
    rows = list(zip(bandit.probabilities, bandit.rewards, bandit.scores, strict=True))
    for i in range(3):
        up = sp.Add(*[p * (1 - b) * s[i] for p, r, s in rows if r == 1])
        down = sp.Add(*[p * b * s[i] for p, r, s in rows if r == 0])
        sy.equal(up - down, factor * bandit.gradient[i], "the contrast is the exact policy gradient")
    mean = (
        sy.engine(catalogue.get("reinforce"), bandit, 1).mean
        if catalogue.get("reinforce").min_group == 1
        else None
    )
    if mean is not None:
        gap = max(abs(float(a) - float(g)) for a, g in zip(mean.reshape(-1), bandit.gradient, strict=True))
        sy.require(gap < 1e-12, "the engine's REINFORCE has the same mean")


claim.sabotage("another baseline than the one given", traced, shift=sp.Rational(1, 10))
claim.sabotage("a baseline above the largest reward", meets, largest=2)
claim.sabotage("half of the policy gradient", one_rollout, factor=sp.Rational(1, 2))
