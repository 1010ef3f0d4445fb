"""C3: the first DPO step after a GRPO warm-up, against a two-rollout GRPO step."""

import numpy as np
import sympy as sp
from _short_sequences import parallel_defect

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate

p = sp.Symbol("p", positive=True)
beta = sp.Symbol("beta", positive=True)
dpo_weight, pair_weight, dpo_update, pair_update, gradient = sp.symbols("d h D M g", real=True)
defect, winner, loser, moved = sp.symbols("S rho_w rho_l v", real=True)

claim = sy.Claim(
    id="C3",
    title="After a warm-up, the first DPO step is a two-rollout GRPO step",
    statement=sy.Statement(
        setting=(
            r"Binary rewards, pairs sampled from $\pi_\theta$, DPO against two-rollout GRPO with the population "
            "standard deviation and no epsilon"
        ),
        forall={beta: sy.above(0), p: sy.between(0, 1)},
        given={
            "first step": sy.Hypothesis(
                r"the reference is the policy that sampled the pairs, $\theta = \theta_{\text{ref}}$: the first step",
                stated_by="ours",
            ),
            "natural frequencies": sy.Hypothesis(
                "pairs appear as often as sampling makes them, not one pair for every prompt",
                stated_by="ours",
            ),
            "whole rollouts": sy.Hypothesis(
                "GRPO sums a rollout's tokens and does not average them", stated_by="ours"
            ),
        },
        quantities={
            dpo_weight: sy.Quantity("d", "the weight of a token in DPO's gradient"),
            pair_weight: sy.Quantity("h", "its weight in two-rollout GRPO's"),
            dpo_update: sy.Quantity("D", "the mean of DPO's step"),
            pair_update: sy.Quantity("M", "the mean of two-rollout GRPO's"),
            gradient: sy.Quantity(
                r"\nabla J", "the gradient of the expected reward, one prompt or the mean of several"
            ),
            defect: sy.Quantity(
                "S", r"$|D|^2 |\nabla J|^2 - (D \cdot \nabla J)^2$, zero if the two are parallel"
            ),
        },
        goals={
            "per pair": sp.Eq(dpo_weight, beta * pair_weight),
            "in the mean": sp.And(sp.Eq(dpo_update, beta * pair_update), sp.Eq(pair_update, gradient)),
            "one direction": sp.Eq(defect, 0),
        },
    ),
    source=sy.Source(
        "2605.21266",
        "v1",
        "the pipeline: GRPO steps, static pairs with difficulty calibration, DPO",
        relation="ours",
        says="a short GRPO phase is followed by DPO on correct and incorrect pairs; only the abstract was read",
        caveat="the equality of the steps is not a line of the paper",
    ),
    verdict="proved",
    scope=(
        "binary rewards, rollouts of one and two tokens, per pair exactly; in the mean for one prompt with any "
        "p and over two prompts"
    ),
    proof=(
        r"At the reference every log-ratio is zero, so DPO's gradient of a pair is $\beta/2$ times the "
        r"difference of the whole rollouts' scores, and the GRPO pair with summed tokens has $\pm 1/2$: the "
        r"traced weights differ by the factor $\beta$. A mixed pair has the mean $\frac{1}{2} (\nabla p/p + "
        r"\nabla p/(1-p))$ and comes with chance $2 p (1-p)$, so the mean is $\beta \nabla p$. Away from each "
        "hypothesis the directions part, as the three counterexamples show in numbers."
    ),
    finding=(
        r"One pair per mixed prompt gives every prompt the weight $\frac{1}{p(1-p)}$ (the mean "
        r"over mixed pairs is $\frac{\beta}{2} \frac{\nabla p}{p(1-p)}$): the log-odds are "
        r"climbed, not the accuracy. "
        r"From the second step on a pair's weight is $\beta \sigma(-\beta \cdot \text{margin})$ "
        r"and the pairs are stale: the directions part."
    ),
)


def pair_rule(aggregation):
    return compose(
        advantage=lambda rewards: advantage.standardised(rewards, eps=0.0),
        surrogate=surrogate.ppo_clip,
        aggregate=aggregation,
    )


PAIR = pair_rule(aggregate.sequence_token_sum)
TWO = [sy.SymbolicBandit(["1/2", "1/2"], [1, 0]), sy.SymbolicBandit(["1/10", "9/10"], [1, 0])]


def at_reference(lengths, **settings):
    """DPO's traced token weights at the reference."""
    old = sy.symbolic_group(2, lengths, rewards=(1, 0), on_policy=True).logp
    rollouts = sy.symbolic_group(2, lengths, rewards=(1, 0), on_policy=True, logp_ref=old)
    return rollouts.weights(catalogue.get("dpo", **settings))[0]


def counted(weights, lengths):
    """The weights of the tokens that are there."""
    return [weights[i, t] for i, n in enumerate(lengths) for t in range(n)]


@claim.step(
    "Per pair",
    route="traced code",
    shows="lengths (1, 2), (3, 1) and (2, 2): dpo's default beta = 1/10, and 3/10, against GRPO on whole rollouts",
)
def per_pair(aggregation=aggregate.sequence_token_sum, factor=1):
    for lengths in ((1, 2), (3, 1), (2, 2)):
        pair = sy.symbolic_group(2, lengths, rewards=(1, 0), on_policy=True).weights(pair_rule(aggregation))[
            0
        ]
        for value, settings in ((sp.Rational(1, 10), {}), (sp.Rational(3, 10), {"beta": 0.3})):
            values = {
                dpo_weight: counted(at_reference(lengths, **settings), lengths),
                pair_weight: counted(factor * pair, lengths),
            }
            claim.goal("per pair").holds(values, at={beta: value})


@claim.step(
    "By differentiation, any beta",
    route="sympy",
    shows=(
        r"$\log \sigma(\beta (h_w - h_l))$ and $\frac{1}{2}(\rho_w - \rho_l)$ by the two log-probabilities, at "
        "zero margin"
    ),
)
def differentiated(margin=0):
    h_w, h_l = sp.symbols("h_w h_l", real=True)
    preference = -sp.log(1 + sp.exp(-beta * (h_w - h_l)))
    pair = (sp.exp(h_w) - sp.exp(h_l)) / 2
    point = {h_w: margin, h_l: 0}
    values = {
        dpo_weight: [sp.diff(preference, x).subs(point) for x in (h_w, h_l)],
        pair_weight: [sp.diff(pair, x).subs({h_w: 0, h_l: 0}) for x in (h_w, h_l)],
    }
    claim.goal("per pair").holds(values)


@claim.step(
    "In expectation, any p",
    route="sympy",
    shows=(
        r"$2p(1-p)$ times $\frac{1}{2} (m_1 - m_0)$, with $m_1 = \nabla p/p$ and $m_0 = -\nabla p/(1-p)$ the "
        "mean scores of right and wrong rollouts"
    ),
)
def expected(given_mixed=False):
    g = sp.Symbol("g", real=True)
    step = (g / p + g / (1 - p)) / 2 * (1 if given_mixed else 2 * p * (1 - p))
    claim.goal("in the mean").holds({dpo_update: beta * step, pair_update: step, gradient: g})
    slopes = sp.symbols("g1:4", real=True)  # three parameters of one prompt
    claim.goal("one direction").holds(
        {defect: parallel_defect([beta * step.subs(g, x) for x in slopes], slopes)}
    )


def dpo_mean(bandit, **settings):
    weights = sy.weights_of(
        catalogue.get("dpo", **settings), logp_ref=np.full((1, 2, 1), sp.Integer(0), object)
    )
    return sy.group_moments(bandit, 2, weights)


@claim.step(
    "Over prompts, natural frequencies",
    route="enumeration",
    shows=(
        "two bandits, all pairs: dpo with its default beta = 1/10, and the GRPO pair; the direction over both "
        "prompts"
    ),
)
def natural(value="1/10"):
    value = sp.Rational(value)
    dpo, pairs, slopes = [], [], []
    for bandit in TWO:
        dpo += dpo_mean(bandit).mean
        pairs += sy.group_moments(bandit, 2, sy.weights_of(PAIR)).mean
        slopes += bandit.gradient
        values = {dpo_update: dpo[-2:], pair_update: pairs[-2:], gradient: bandit.gradient}
        claim.goal("in the mean").holds(values, at={beta: value, p: bandit.value})
    # Over prompts the rate p is each prompt's: nothing is fixed by it.
    claim.goal("in the mean").holds({dpo_update: dpo, pair_update: pairs, gradient: slopes}, at={beta: value})
    claim.goal("one direction").holds({defect: parallel_defect(dpo, slopes)}, at={beta: value})


@claim.step(
    "The engine",
    route="exact engine",
    shows="two prompts: dpo at the reference, beta = 1, and the GRPO pair",
)
def engines(value=1.0):
    dpo = np.asarray(sy.engine(catalogue.get("dpo", beta=value), TWO, 2).mean).reshape(-1)
    pairs = np.asarray(sy.engine(PAIR, TWO, 2).mean).reshape(-1)
    slopes = [x / 2 for bandit in TWO for x in bandit.gradient]
    values = {dpo_update: dpo, pair_update: pairs, gradient: slopes}
    claim.goal("in the mean").holds(values, at={beta: 1}, tolerance=1e-11)


@claim.counterexample(
    "One pair for every prompt that has a mixed pair, p = 1/2 and 1/10: the mean step is not along grad J.",
    p="(1/2, 1/10)",
)
def one_pair_each(other=TWO[1]):
    step: list[sp.Expr] = []
    slopes: list[sp.Expr] = []
    for bandit in (TWO[0], other):
        q = bandit.value
        step += [x / (2 * q * (1 - q)) for x in dpo_mean(bandit, beta=1.0).mean]
        slopes += bandit.gradient
    values = {defect: parallel_defect(step, slopes)}
    claim.goal("one direction").fails(
        values, at={beta: 1, p: sp.Rational(1, 2)}, without="natural frequencies"
    )
    return sy.Exhibit(
        text=f"per-prompt weights {[str(1 / (2 * b.value * (1 - b.value))) for b in (TWO[0], other)]}"
    )


@claim.counterexample(
    "The second step, beta = 1: sampled at (1/2, 1/4, 1/4), now at (1/2, 1/3, 1/6), the first "
    "answer right. The exact mean of the shipped DPO on the old pairs is not along grad J at the new policy.",
    old="(1/2, 1/4, 1/4)",
    new="(1/2, 1/3, 1/6)",
    rewards="(1, 0, 0)",
)
def second_step(new=("1/2", "1/3", "1/6")):
    old, now = [sp.Rational(n, 4) for n in (2, 1, 1)], sy.SymbolicBandit(list(new), [1, 0, 0])
    total = [sp.Integer(0)] * 3
    for wrong in (1, 2):
        ratios = [now.probabilities[k] / old[k] for k in (0, wrong)]
        weight = 2 * old[0] * old[wrong] * off_reference_weight(ratios)
        total = [
            t + weight * (a - b) for t, a, b in zip(total, now.scores[0], now.scores[wrong], strict=True)
        ]
    values = {defect: parallel_defect(total, now.gradient)}
    claim.goal("one direction").fails(values, at={beta: 1, p: sp.Rational(1, 2)}, without="first step")
    return sy.Exhibit(text=f"DPO {total}, grad J {now.gradient}")


def off_reference_weight(ratios):
    """The shipped DPO's weight of the better rollout at these ratios to the reference, beta = 1."""
    rollouts = sy.symbolic_group(2, rewards=(1, 0))
    reference = rollouts.logp - np.frompyfunc(sp.log, 1, 1)(rollouts.rho)
    moved = sy.symbolic_group(2, rewards=(1, 0), logp_ref=reference)
    point = {s: sp.Integer(0) for x in rollouts.logp.flat for s in x.free_symbols}
    point |= dict(zip(rollouts.rho.reshape(-1), ratios, strict=True))
    weight = moved.weights(catalogue.get("dpo", beta=1.0), assume=sy.Witness(point)).reshape(-1)[0]
    return sp.simplify(sp.sympify(weight).subs(point))


@claim.counterexample(
    "The mean over a rollout's tokens, lengths 1 and 2: GRPO's weights are (1/2; -1/4, -1/4), DPO's (1/2; "
    "-1/2, -1/2) times beta.",
    lengths="(1, 2)",
)
def averaged(aggregation=aggregate.sequence_token_mean):
    lengths = (1, 2)
    pair = sy.symbolic_group(2, lengths, rewards=(1, 0), on_policy=True).weights(pair_rule(aggregation))[0]
    values = {
        dpo_weight: counted(at_reference(lengths, beta=1.0), lengths),
        pair_weight: counted(pair, lengths),
    }
    claim.goal("per pair").fails(values, at={beta: 1, p: sp.Rational(1, 2)}, without="whole rollouts")


claim.sabotage("GRPO's mean over a rollout's tokens", per_pair, aggregation=aggregate.sequence_token_mean)
claim.sabotage("twice the pair's weight", per_pair, factor=2)
claim.sabotage("off the reference", differentiated, margin=1)
claim.sabotage("given a mixed pair", expected, given_mixed=True)
claim.sabotage("another beta", natural, value="1/5")
claim.sabotage("another beta in the engine", engines, value=0.5)
claim.sabotage("one prompt twice", one_pair_each, other=TWO[0])
claim.sabotage("at the reference", second_step, new=("1/2", "1/4", "1/4"))
claim.sabotage("summed tokens", averaged, aggregation=aggregate.sequence_token_sum)
