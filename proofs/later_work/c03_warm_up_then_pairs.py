"""C3: the first DPO step after a GRPO warm-up, against a two-rollout GRPO step."""

import numpy as np
import sympy as sp
from _short_sequences import parallel_defect

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate

claim = sy.Claim(
    id="C3",
    title="After a warm-up, the first DPO step is a two-rollout GRPO step",
    statement=(
        r"At $\theta = \theta_{\text{ref}}$, on pairs sampled from $\pi_\theta$ with one correct "
        r"and one wrong answer, DPO's gradient per pair is $\frac{\beta}{2}(s_w - s_l)$, "
        r"$\beta$ times two-rollout GRPO's; so the expected steps are multiples of each other."
    ),
    source=sy.Source(
        "2605.21266",
        "v1",
        (
            "the G2D pipeline (its abstract and reviews of it); the equality is the ledger's question, "
            "not a line of the paper"
        ),
    ),
    verdict="conditional",
    scope=(
        "binary rewards, any lengths, population std without epsilon; per pair exactly, in expectation "
        "for one prompt and over prompts"
    ),
    hypotheses=(
        "the reference is the policy that sampled the pairs, and this is the first step",
        "pairs appear as often as sampling makes them: not one pair for every mixed prompt",
        (
            "GRPO sums a rollout's tokens (with its mean over tokens the two scores are divided by "
            "their lengths)"
        ),
    ),
    finding=(
        r"One pair per mixed prompt gives every prompt the weight $\frac{1}{p(1-p)}$ (the mean "
        r"over mixed pairs is $\frac{\beta}{2} \frac{\nabla p}{p(1-p)}$): the log-odds are "
        r"climbed, not the accuracy. "
        r"From the second step on a pair's weight is $\beta \sigma(-\beta \cdot \text{margin})$ "
        r"and the pairs are stale: the directions part."
    ),
)
p = sp.Symbol("p", positive=True)
PAIR = compose(
    advantage=lambda rewards: advantage.standardised(rewards, eps=0.0),
    surrogate=surrogate.ppo_clip,
    aggregate=aggregate.sequence_token_sum,
)
TWO = [sy.SymbolicBandit(["1/2", "1/2"], [1, 0]), sy.SymbolicBandit(["1/10", "9/10"], [1, 0])]


@claim.step(
    "Per pair",
    route="traced code",
    shows=(
        r"rollouts of one and two tokens, $\theta = \theta_{\text{ref}}$: every token's weight is "
        r"$\pm\beta/2$ under the shipped DPO, $\pm 1/2$ under two-rollout GRPO on whole rollouts"
    ),
)
def per_pair(aggregated=aggregate.sequence_token_sum, beta="3/10"):
    rollouts = sy.symbolic_group(2, lengths=(1, 2), rewards=(1, 0), on_policy=True)
    with_ref = sy.symbolic_group(2, lengths=(1, 2), rewards=(1, 0), on_policy=True, logp_ref=rollouts.logp)
    dpo = with_ref.weights(catalogue.get("dpo", beta=0.3))
    pair = compose(
        advantage=lambda rewards: advantage.standardised(rewards, eps=0.0),
        surrogate=surrogate.ppo_clip,
        aggregate=aggregated,
    )
    sy.equal(dpo, sp.Rational(beta) * rollouts.weights(pair), "DPO is beta times the pair")


@claim.step(
    "In expectation, any p",
    route="sympy",
    shows=(
        r"$2p(1-p) \frac{\beta}{2} (m_1 - m_0) = \beta \nabla p$, as $m_1 = \nabla p/p$ and $m_0 = "
        r"-\nabla p/(1-p)$; given a mixed pair, $\frac{\beta}{2}\frac{\nabla p}{p(1-p)}$"
    ),
)
def expected(given_mixed=False):
    g, beta = sp.Symbol("g", real=True), sp.Symbol("beta", positive=True)
    step = beta / 2 * (g / p + g / (1 - p))
    sy.equal((1 if given_mixed else 2 * p * (1 - p)) * step, beta * g, "the expected DPO step")
    sy.equal(step, beta / 2 * g / (p * (1 - p)), "given a mixed pair")


def dpo_mean(bandit, beta=1.0):
    weights = sy.weights_of(
        catalogue.get("dpo", beta=beta), logp_ref=np.full((1, 2, 1), sp.Integer(0), object)
    )
    return sy.group_moments(bandit, 2, weights)


@claim.step(
    "Over prompts, natural frequencies",
    route="enumeration",
    shows=(
        r"two bandits: the exact means of DPO at the reference and of two-rollout GRPO are $\beta "
        r"\nabla J$ and $\nabla J$"
    ),
)
def natural(beta=1):
    means = [dpo_mean(b).mean for b in TWO]
    grpo = [sy.group_moments(b, 2, sy.weights_of(PAIR)).mean for b in TWO]
    sy.equal([x for m in means for x in m], [beta * x for m in grpo for x in m], "DPO against GRPO")
    sy.equal([x for m in grpo for x in m], [x for b in TWO for x in b.gradient], "both are grad J")


@claim.step(
    "The engine",
    route="exact engine",
    shows="DPO with the reference at the current parameters: mean and covariance of pairs",
)
def engines(beta=1.0):
    sy.engines_agree(
        sy.engine(catalogue.get("dpo", beta=1.0), TWO[1], 2), dpo_mean(TWO[1], beta), "DPO at the reference"
    )


@claim.counterexample(
    "One pair for every prompt that has a mixed pair, p = 1/2 and 1/10: the mean step is not along grad J.",
    p="(1/2, 1/10)",
)
def one_pair_each(other=TWO[1]):
    step: list[sp.Expr] = []
    gradient: list[sp.Expr] = []
    for bandit in (TWO[0], other):
        q = bandit.value
        step += [x / (2 * q * (1 - q)) for x in dpo_mean(bandit).mean]
        gradient += bandit.gradient
    sy.require(parallel_defect(step, gradient) != 0, "the step is along grad J")
    return sy.Exhibit(
        text=f"per-prompt weights {[str(1 / (2 * b.value * (1 - b.value))) for b in (TWO[0], other)]}"
    )


@claim.counterexample(
    (
        "The second step, beta = 1: sampled at (1/2, 1/4, 1/4), now at (1/2, 1/3, 1/6), the first "
        "answer right. DPO's exact mean on the old pairs is not along grad J at the new policy."
    ),
    old="(1/2, 1/4, 1/4)",
    new="(1/2, 1/3, 1/6)",
    rewards="(1, 0, 0)",
)
def second_step(new=("1/2", "1/3", "1/6")):
    old, now = [sp.Rational(n, 4) for n in (2, 1, 1)], sy.SymbolicBandit(list(new), [1, 0, 0])
    total = [sp.Integer(0)] * 3
    for loser in (1, 2):
        # beta sigma(-(h_w - h_l)) = 1/(1 + ratio), h the log-ratio to the reference.
        ratio = now.probabilities[0] / old[0] / (now.probabilities[loser] / old[loser])
        weight = 2 * old[0] * old[loser] / (1 + ratio)
        total = [
            t + weight * (a - b) for t, a, b in zip(total, now.scores[0], now.scores[loser], strict=True)
        ]
    sy.require(parallel_defect(total, now.gradient) != 0, "the step is along grad J")
    return sy.Exhibit(text=f"DPO {total}, grad J {now.gradient}")


@claim.step(
    "The second step's weights",
    route="traced code",
    shows=(
        r"off the reference the shipped DPO weighs a pair $\beta \sigma(-\beta \log(\rho_w/\rho_l))$, "
        r"here $\rho_l/(\rho_w + \rho_l)$"
    ),
)
def off_reference(power=1):
    rollouts = sy.symbolic_group(2, rewards=(1, 0))
    first, second = rollouts.rho.reshape(-1)
    ref = rollouts.logp - np.frompyfunc(sp.log, 1, 1)(rollouts.rho)
    moved = sy.symbolic_group(2, rewards=(1, 0), logp_ref=ref)
    for ahead in ((2, 1), (1, 2)):  # the stable logistic function has one formula for each sign of the margin
        point = {s: sp.Integer(0) for x in rollouts.logp.flat for s in x.free_symbols}
        witness = sy.Witness(point | dict(zip((first, second), ahead, strict=True)))
        computed = moved.weights(catalogue.get("dpo", beta=1.0), assume=witness).reshape(-1)[0]
        sy.equal(computed, second**power / (first**power + second**power), "the weight of the winner")


claim.sabotage("GRPO's mean over a rollout's tokens", per_pair, aggregated=aggregate.sequence_token_mean)
claim.sabotage("half of beta", per_pair, beta="3/20")
claim.sabotage("given a mixed pair", expected, given_mixed=True)
claim.sabotage("another beta", natural, beta=2)
claim.sabotage("another beta in the engine", engines, beta=0.5)
claim.sabotage("one prompt twice", one_pair_each, other=TWO[0])
claim.sabotage("at the reference", second_step, new=("1/2", "1/4", "1/4"))
claim.sabotage("beta of two", off_reference, power=2)
