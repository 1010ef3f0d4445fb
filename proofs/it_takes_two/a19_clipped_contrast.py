"""A19: in which sense clipping and token normalisation preserve the contrast, and in which not."""

from typing import Any

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.pieces import advantage

REVIEW = "machine-written review of 2510.00977 (pith.science), with a simulated rebuttal"
NOT_THEIRS = "a language model wrote the reply; it is neither the paper's nor its authors'"
objective, scale, better, worse = sp.symbols("L A Cw Cl", real=True)
weight_better, weight_worse = sp.symbols("w_b w_l", real=True)
BARE: dict[str, dict[str, Any]] = {"grpo": {}, "grpo_pair": {}, "dapo": {}}

preserved = sy.Claim(
    id="A19a",
    title="The clipped, token-normalised objective is still a contrast of two sums",
    statement=sy.Statement(
        setting="A pair of rollouts with rewards 1 and 0, the second of two tokens; any ratios; advantages $\\pm A$",
        quantities={
            objective: sy.Quantity(
                "L", "the clipped objective of the pair, averaged over each rollout's tokens"
            ),
            scale: sy.Quantity("A", "the size of the two advantages, above zero"),
            better: sy.Quantity(
                "C^+", r"the mean over the better rollout's tokens of $\min(\rho_t, 1 + \epsilon_+)$"
            ),
            worse: sy.Quantity(
                "C^-", r"the mean over the worse rollout's tokens of $\max(\rho_t, 1 - \epsilon_-)$"
            ),
            weight_better: sy.Quantity(
                "w_+", "the objective's derivative by a log-probability of the better rollout"
            ),
            weight_worse: sy.Quantity("w_-", "the same for a token of the worse rollout"),
        },
        goals={
            "contrast": sp.Eq(objective, scale / 2 * (better - worse)),
            "signs": sp.And(sp.Ge(weight_better, 0), sp.Le(weight_worse, 0)),
        },
    ),
    source=sy.Source(
        REVIEW,
        place="the simulated rebuttal",
        says="the contrast is kept under clipping and normalisation by length",
        caveat=NOT_THEIRS,
    ),
    verdict="proved",
    scope=(
        "all ratios, rollouts of one and two tokens (the terms are a sum over tokens), equal and unequal clip "
        "bounds; the signs also for DAPO's mean over all tokens"
    ),
    proof=(
        r"For an advantage $A > 0$ the clipped term $\min(\rho A, \mathrm{clip}(\rho) A)$ is $A \min(\rho, 1 + "
        r"\epsilon_+)$, and for $-A$ it is $-A \max(\rho, 1 - \epsilon_-)$: z3 shows both. The shipped "
        "objectives, read as formulas, are this difference. A minimum and a maximum with a constant do not "
        "fall when the ratio grows, so no token of the better rollout is pushed down and none of the worse one "
        "up; the traced weights have these signs in every region."
    ),
    finding=(
        "So the sign structure survives: no token of the better rollout is ever pushed down, none of the "
        "worse one up."
    ),
)


def pair(lengths=(1, 2), rewards=(1, 0)):
    return sy.symbolic_group(2, lengths, rewards=rewards)


def settings(name, high):
    """The defaults (high None), or no epsilon and another upper bound."""
    if high is None:
        return catalogue.get(name), {"grpo_pair": "0.2", "grpo": "0.2"}[name]
    return catalogue.get(name, eps=0.0, clip_high=float(high)), high


def size_of_advantages(eps):
    traced = sy.trace(lambda r: advantage.standardised(r, eps=eps), sp.Matrix([[1, 0]]).__array__(object))
    return traced[0, 0]


@preserved.step(
    "The shipped objective",
    route="traced code",
    shows=(
        r"$\frac{A}{2} \min(\rho_{11}, 1 + \epsilon_+) - \frac{A}{4}[\max(\rho_{21}, 1 - "
        r"\epsilon_-) + \max(\rho_{22}, 1 - \epsilon_-)]$ for grpo and grpo_pair with their defaults, and with 0.28"
    ),
)
def shipped(kind=sp.Min):
    for name, high in (("grpo", None), ("grpo_pair", None), ("grpo", "0.28")):
        rollouts = pair()
        (a, _), (b, c) = rollouts.rho[0]
        estimator, bound = settings(name, high)
        low, top = sp.Rational(4, 5), 1 + sp.Rational(bound)
        values = {
            objective: sp.expand(rollouts.value(estimator)),
            scale: size_of_advantages(1e-6 if name == "grpo" and high is None else 0.0),
            better: kind(a, top),
            worse: (sp.Max(b, low) + sp.Max(c, low)) / 2,
        }
        preserved.goal("contrast").holds(values)


def clipped_term(ratio, sign, low, top):
    """The clipped surrogate as GRPO prints it, for an advantage of this sign and size one."""
    inside = sp.Min(sp.Max(ratio, low), top)
    return sp.Min(ratio * sign, inside * sign)


@preserved.step(
    "From the printed surrogate",
    route="smt",
    shows=r"$\min(\rho A, \mathrm{clip}(\rho, 1 - \epsilon_-, 1 + \epsilon_+) A)$ for any bounds, and how it grows",
)
def from_definition(second=-1):
    a, b, c, low, top, size = sp.symbols("a b c l u A", positive=True)
    bounds = [low < 1, top > 1]
    terms = [clipped_term(x, sign, low, top) for x, sign in ((a, 1), (b, second), (c, second))]
    values = {
        objective: size / 2 * (terms[0] + (terms[1] + terms[2]) / 2),
        scale: size,
        better: sp.Min(a, top),
        worse: (sp.Max(b, low) + sp.Max(c, low)) / 2,
    }
    sy.require(
        sy.smt_valid(bounds, sp.Eq(values[objective], size / 2 * (values[better] - values[worse]))),
        "the printed surrogate is the contrast",
    )
    preserved.goal("contrast").holds(values, where=bounds)
    # The slope by the log-ratio: the ratio times the slope of a piecewise linear term.
    slopes = [x * sp.diff(t.rewrite(sp.Piecewise), x) for x, t in ((a, sp.Min(a, top)), (b, -sp.Max(b, low)))]
    for x, y in ((a, sp.Symbol("a2", positive=True)), (b, sp.Symbol("b2", positive=True))):
        term = clipped_term(x, 1 if x == a else second, low, top)
        sign = 1 if x == a else -1
        sy.require(
            sy.smt_valid([*bounds, x <= y], sign * term <= sign * term.subs(x, y)), "it moves one way only"
        )
    preserved.goal("signs").holds(
        {weight_better: size / 2 * slopes[0], weight_worse: size / 4 * slopes[1]}, where=bounds
    )


@preserved.step(
    "The signs in every region",
    route="traced code",
    shows="traced weights of grpo, grpo_pair and dapo with their defaults, in all regions of the three ratios",
)
def signs(rewards=(1, 0)):
    for name in BARE:
        for region in pair(rewards=rewards).regions(catalogue.get(name)):
            (w, _), (l1, l2) = region.value[0]
            preserved.goal("signs").holds(
                {weight_better: [w, w], weight_worse: [l1, l2]}, where=region.conditions
            )


preserved.sabotage("C+ bounded from below", shipped, kind=sp.Max)
preserved.sabotage("two rollouts of advantage +A", from_definition, second=1)
preserved.sabotage("the rewards exchanged", signs, rewards=(0, 1))


ratio_better, ratio_worse = sp.symbols("rho_b rho_l", positive=True)
length_better, length_worse = sp.symbols("n_b n_l", positive=True, integer=True)
defect = sp.Symbol("D", real=True)

lost = sy.Claim(
    id="A19b",
    title="Clipping and token normalisation leave a difference of log-probability gradients with one factor",
    statement=sy.Statement(
        setting="A pair with rewards 1 and 0 after the first update of a batch, so that the ratios differ",
        quantities={
            defect: sy.Quantity(
                "D",
                "the number of directions that the update and the difference of the two scores span, less one",
            )
        },
        goals={"one factor": sp.Eq(defect, 0)},
    ),
    instead=sy.Statement(
        setting="A pair with rewards 1 and 0, inside the clip range, a token of each rollout",
        forall={
            ratio_better: sy.between(sp.Rational(4, 5), sp.Rational(6, 5)),
            ratio_worse: sy.between(sp.Rational(4, 5), sp.Rational(6, 5)),
            length_better: sy.whole(1),
            length_worse: sy.whole(1),
        },
        quantities={
            weight_better: sy.Quantity(
                "w_+", "the weight of the better rollout's token, of ratio and length $n_b$"
            ),
            weight_worse: sy.Quantity(
                "w_-", "the weight of the worse rollout's token, of ratio and length $n_l$"
            ),
            scale: sy.Quantity("A", "the size of the two advantages, above zero"),
        },
        goals={
            "token weights": sp.And(
                sp.Eq(weight_better, scale * ratio_better / (2 * length_better)),
                sp.Eq(weight_worse, -scale * ratio_worse / (2 * length_worse)),
            ),
            "one size": sp.Equivalent(
                sp.Eq(weight_better + weight_worse, 0),
                sp.Eq(ratio_better * length_worse, ratio_worse * length_better),
            ),
        },
    ),
    source=sy.Source(
        REVIEW,
        place="the simulated rebuttal",
        relation="reading",
        says="the contrast is kept under clipping and normalisation by length",
        caveat=NOT_THEIRS,
    ),
    verdict="refuted",
    scope="any step after the first of a batch (ratios differ); or rollouts of different length",
    proof=(
        r"Inside the clip range the objective is $\frac{A}{2}$ times the difference of two means of ratios, and "
        r"a ratio's derivative by its log-probability is the ratio, so a token weighs $A \rho/(2 n)$ or minus "
        r"that. The two are of one size only if $\rho_b / n_b = \rho_l / n_l$. Beyond the range a weight is "
        "zero: with ratios 13/10 and 1 only the worse answer is pushed, which is not along the difference of "
        "the scores."
    ),
    finding=(
        r"Token weights differ for each token, are one-sided when only one rollout is clipped, and sum to "
        r"$\frac{A}{2}(\bar\rho_w - \bar\rho_l)$, not zero. On the first step after sampling they are of one size for "
        r"rollouts of equal length, and for all with a token mean (A4)."
    ),
)


@lost.step(
    "Inside the clip",
    route="traced code",
    shows="the weights of grpo and grpo_pair with their defaults, lengths (1, 1), (1, 2), (3, 2), ratios in symbols",
)
def inside(name="grpo", lengths=((1, 1), (1, 2), (3, 2))):
    for first, second in lengths:
        rollouts = pair((first, second))
        a, b = rollouts.rho[0, 0, 0], rollouts.rho[0, 1, 0]
        for estimator, eps in ((catalogue.get(name), 1e-6), (catalogue.get("grpo_pair"), 0.0)):
            witness = sy.Witness({x: sp.Integer(1) for x in rollouts.rho.flat})
            weights = rollouts.weights(estimator, assume=witness)[0]
            size = size_of_advantages(eps)
            values = {
                weight_better: weights[0, 0].subs({a: ratio_better, b: ratio_worse}),
                weight_worse: weights[1, 0].subs({a: ratio_better, b: ratio_worse}),
            }
            place = {length_better: first, length_worse: second}
            lost.goal("token weights").holds(values | {scale: size}, at=place)
            lost.goal("one size").holds(values, at=place)


@lost.step(
    "From the mean of ratios",
    route="sympy",
    shows=(
        r"$\frac{A}{2}\left[\frac{\rho_b + \ldots}{n_b} - \frac{\rho_l + \ldots}{n_l}\right]$ differentiated, "
        "any lengths"
    ),
)
def derived(power=1):
    x, y, others_better, others_worse = sp.symbols("x y u v", real=True)
    size = sp.Symbol("A", positive=True)
    start = {x: sp.log(ratio_better), y: sp.log(ratio_worse)}  # the log-ratios
    value = (
        size
        / 2
        * (
            (sp.exp(x) + others_better) / length_better**power
            - (sp.exp(y) + others_worse) / length_worse**power
        )
    )
    values = {weight_better: sp.diff(value, x).subs(start), weight_worse: sp.diff(value, y).subs(start)}
    lost.goal("token weights").holds(values | {scale: size})
    lost.goal("one size").holds(values)


@lost.counterexample(
    "A bandit with three answers, ratios 13/10 (clipped) and 1: only the worse answer is pushed, and the "
    "update is not along the difference of the two scores.",
    pi="(1/2, 1/3, 1/6)",
    rho="(13/10, 1)",
)
def one_sided(ratio="13/10"):
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [1, 0, 0])
    rollouts = sy.symbolic_group(2, rewards=(1, 0))
    a, b = rollouts.rho[0, :, 0]
    witness = sy.Witness({a: sp.Rational(ratio), b: sp.Integer(1)})
    w = [
        sp.sympify(x).subs(witness.point)
        for x in rollouts.weights(catalogue.get("grpo"), assume=witness).reshape(-1)
    ]
    s = [sp.Matrix(bandit.scores[i]) for i in (0, 1)]
    update = w[0] * s[0] + w[1] * s[1]
    lost.goal("one factor").fails({defect: update.row_join(s[0] - s[1]).rank() - 1})
    return sy.Exhibit(text=f"weights {w}")


lost.sabotage("the mean-centred objective, which sums tokens", inside, name="dr_grpo")
lost.sabotage("the square root of the length", derived, power=sp.Rational(1, 2))
lost.sabotage("equal ratios on the bandit", one_sided, ratio="1")
