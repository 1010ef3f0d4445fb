"""A1: the gradient of two-rollout GRPO is a contrast; A1b: what clipping does to it."""

import jax
import numpy as np
import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate

r1, r2 = sp.symbols("r1 r2", real=True)
gap = sp.Abs(r1 - r2)
GROUP = sp.Integer(2)


def four_tokens(tokens, mask):
    return aggregate.constant_length(tokens, mask, length=4)


# 1/|o_1| and so on for rollouts of 1 and 2 tokens, as each aggregation has it.
SHARES = {
    aggregate.sequence_token_mean: (sp.Rational(1, 2), sp.Rational(1, 4)),
    aggregate.sequence_token_sum: (sp.Rational(1, 2), sp.Rational(1, 2)),
    aggregate.token_mean: (sp.Rational(1, 3), sp.Rational(1, 3)),
    aggregate.prompt_mean: (sp.Rational(1, 3), sp.Rational(1, 3)),
    four_tokens: (sp.Rational(1, 8), sp.Rational(1, 8)),
}


class NotZero:
    """An epsilon that is traced: whatever it is, not zero, which the shipped code asks for."""

    def __init__(self, traced):
        self.traced = traced

    def __eq__(self, other):
        return False

    __hash__ = None  # type: ignore[assignment]

    def __jax_array__(self):
        return self.traced


def coefficient(ddof, eps, gap=gap):
    """|A| of a pair with this reward gap: the std of two numbers is gap/2 (population) or gap/sqrt(2)
    (sample)."""
    spread = gap / 2 if ddof == 0 else gap / sp.sqrt(2)
    return gap / 2 / (spread + eps)


claim = sy.Claim(
    id="A1a",
    title="Two-rollout GRPO is a contrast of log-probabilities",
    statement=(
        r"For $G = 2$ and any real rewards, with the mean as baseline, the advantages are $\pm (r_1 - "
        r"r_2)/2$. On policy the gradient is $c(|r_1 - r_2|) \left[ a_w \sum_t \nabla \log \pi(o_{w,t}) - "
        r"a_l \sum_t \nabla \log \pi(o_{l,t}) \right]$, $w$ the rollout with the larger reward, $a$ the "
        r"aggregation's share of a token, and $c(d) = d/2$; with the division by the standard deviation, "
        r"$c(d) = d/(d + 2\epsilon)$ (population) or $d/(\sqrt{2} d + 2\epsilon)$ (sample), both bounded."
    ),
    source=sy.Source("2510.00977", "v3", "Section 3 and the two-rollout case of Section 4"),
    verdict="proved",
    scope=(
        "all real rewards, every epsilon >= 0 (a symbol in the traced code), every aggregation shown, on "
        "policy (ratios 1)"
    ),
    finding=(
        r"The factor is bounded but not constant: with $\epsilon = 0$ it is $1$ (population) or "
        r"$1/\sqrt{2}$ (sample) for every gap, however small. With token-means of rollouts of different "
        r"length the two scores are divided by different lengths, so the contrast is one of "
        r"length-normalised scores."
    ),
)


@claim.step(
    "The advantages of a pair",
    route="traced code",
    shows=r"$A_{1,2} = \pm (r_1 - r_2)/2$ from the shipped Dr. GRPO",
)
def advantages(factor=sp.Rational(1, 2)):
    rollouts = sy.symbolic_group(2, on_policy=True)
    dr_grpo = catalogue.get("dr_grpo")
    computed = []
    for region in rollouts.regions(dr_grpo):
        weights = [GROUP * w for w in region.value.reshape(-1)]
        sy.equal(weights, [factor * (r1 - r2), factor * (r2 - r1)], "advantages of a pair")
        computed.append(weights)
    return sy.Exhibit(
        formula=sp.latex(sp.factor(computed[0][0])),
        code=sy.jaxpr_text(jax.grad(dr_grpo), rollouts.logp, rollouts.batch),
    )


@claim.step(
    "The gradient for every std, epsilon and aggregation",
    route="traced code",
    shows=r"each token's weight is $\pm c(|r_1 - r_2|)$ times the aggregation's share",
)
def contrast(ddof_in_code=None, eps_shift=0):
    rollouts = sy.symbolic_group(2, lengths=(1, 2), on_policy=True)
    epsilon = sp.Symbol("epsilon", positive=True)
    for ddof in (0, 1):
        for rule, shares in SHARES.items():

            def estimator(eps, ddof=ddof, rule=rule):
                return compose(
                    advantage=lambda rewards: advantage.standardised(rewards, ddof=ddof, eps=eps),
                    surrogate=surrogate.ppo_clip,
                    aggregate=rule,
                )

            def objective(logp, batch, eps, estimator=estimator):
                return estimator(NotZero(eps))(logp, batch)

            claimed = ddof if ddof_in_code is None else ddof_in_code
            assumptions = sy.explore(jax.grad(objective), rollouts.logp, rollouts.batch, epsilon)
            none = sy.explore(jax.grad(estimator(0)), rollouts.logp, rollouts.batch)
            for eps, regions in ((epsilon, assumptions), (sp.Integer(0), none)):
                what = f"{rule.__name__}, ddof {ddof}, epsilon {eps}"
                is_contrast(
                    regions, shares, lambda d, n=claimed, e=eps: coefficient(n, e + eps_shift, d), what
                )


def is_contrast(regions, shares, factor, what):
    """The weights of rollouts of one and two tokens, in both regions, are +-factor(gap) times the shares."""
    first, second = shares
    sy.require(len(regions) == 2, f"{what}: two regions, which reward is larger")
    for region in regions:
        larger = bool((r1 - r2).subs(region.point) > 0)
        c = factor(r1 - r2) if larger else -factor(r2 - r1)
        (w1, pad), (w21, w22) = region.value[0]
        sy.require(pad == 0, f"{what}: padding has weight zero")
        sy.equal([w1, w21, w22], [c * first, -c * second, -c * second], what, where=region.conditions)


@claim.step(
    "As catalogued",
    route="traced code",
    shows="GRPO with either standard deviation, Dr. GRPO, DAPO's token mean and the pair objective, as named",
)
def catalogued(epsilon=sp.Rational(1, 10**6)):
    rollouts = sy.symbolic_group(2, lengths=(1, 2), on_policy=True)
    mean = SHARES[aggregate.sequence_token_mean]
    cases = {
        "grpo": (mean, lambda d: coefficient(0, epsilon, d)),
        "grpo_sample_std": (mean, lambda d: coefficient(1, epsilon, d)),
        "dr_grpo": (SHARES[aggregate.sequence_token_sum], lambda d: d / 2),
        "dapo": (SHARES[aggregate.token_mean], lambda d: coefficient(0, epsilon, d)),
        "grpo_pair": (mean, lambda d: coefficient(0, 0, d)),
    }
    for name, (shares, factor) in cases.items():
        is_contrast(rollouts.regions(catalogue.get(name)), shares, factor, name)


@claim.step(
    "The factor is bounded",
    route="smt",
    shows=(
        r"$0 \le d/(d + 2\epsilon) \le 1$ and $0 \le d/(\sqrt{2} d + 2\epsilon) < 1$ for $d > 0$, $\epsilon "
        r"\ge 0$"
    ),
)
def bounded(bound=1):
    d, eps = sp.Symbol("d", positive=True), sp.Symbol("epsilon", nonnegative=True)
    for c in (d / (d + 2 * eps), d / (sp.sqrt(2) * d + 2 * eps)):
        sy.require(sy.smt_valid([], sp.And(c >= 0, c <= bound)), f"0 <= {c} <= {bound}")


@claim.step(
    "The expected update is the contrast's expectation",
    route="enumeration",
    shows=(
        r"over all pairs of answers, $\mathrm{E}[\hat g] = \sum_{j<k} \pi_j \pi_k\, c_{jk} (s_j - s_k)$, in "
        r"rationals"
    ),
)
def expectation(factor=sp.Rational(1, 2)):
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "5/2"])
    moments = sy.group_moments(bandit, 2, sy.weights_of(catalogue.get("grpo", eps=0.0)))
    size = range(3)
    for i in size:
        pairs = [(j, k) for j in size for k in size if bandit.rewards[j] > bandit.rewards[k]]
        claimed = sp.Add(
            *[
                2
                * bandit.probabilities[j]
                * bandit.probabilities[k]
                * factor
                * (bandit.scores[j][i] - bandit.scores[k][i])
                for j, k in pairs
            ]
        )
        sy.equal(moments.mean[i], claimed, "expected contrast")


@claim.step(
    "The engine agrees", route="exact engine", shows="mean and covariance of the shipped estimator at G = 2"
)
def engine_agrees(ddof=0):
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "5/2"])
    exact = sy.group_moments(bandit, 2, sy.weights_of(catalogue.get("grpo", eps=0.0, ddof=ddof)))
    sy.engines_agree(sy.engine(catalogue.get("grpo", eps=0.0), bandit, 2), exact, "two-rollout GRPO")


claim.sabotage("the whole gap for half of it", advantages, factor=1)
claim.sabotage("the sample std where the code divides by the population's", contrast, ddof_in_code=1)
claim.sabotage("another epsilon", contrast, eps_shift=sp.Rational(1, 10**6))
claim.sabotage("no epsilon where the catalogue has one", catalogued, epsilon=0)
claim.sabotage("a bound below the supremum", bounded, bound=sp.Rational(99, 100))
claim.sabotage("sample std against the engine's population std", engine_agrees, ddof=1)
claim.sabotage("a factor 1 on the expected contrast", expectation, factor=1)


clipping = sy.Claim(
    id="A1b",
    title="What clipping leaves of the contrast",
    statement=(
        r"With the clip range $[1-\epsilon_-, 1+\epsilon_+]$ the two-rollout gradient is $\frac{c}{2} "
        r"\left[ \rho_w 1[\rho_w < 1+\epsilon_+]\, s_w - \rho_l 1[\rho_l > 1-\epsilon_-]\, s_l \right]$, "
        r"one token each: a contrast with weights $\rho_w, \rho_l$ where neither is clipped, one-sided "
        r"where one is, zero where both are."
    ),
    source=sy.Source("2510.00977", "v3", "Section 3, the clipped objective"),
    verdict="proved",
    scope=(
        "all real rewards, all positive ratios off the clip's boundary, clip ranges (0.2, 0.2) and (0.2, "
        "0.28), eps 0 and 1e-6; at the boundary JAX gives half of the one-sided weight"
    ),
    finding=(
        r"The weights of the two scores are equal only when $\rho_w = \rho_l$: away from the sampling "
        r"policy the gradient is no longer a difference of log-probability gradients with one factor, but "
        r"of probability ratios."
    ),
)
rho_w, rho_l = sp.symbols("rho1 rho2", positive=True)


def clipped_regions(low, high, eps):
    rollouts = sy.symbolic_group(2)
    return rollouts, sy.explore(
        jax.grad(catalogue.get("grpo", clip_low=low, clip_high=high, eps=eps)),
        rollouts.logp,
        rollouts.batch,
        where=[r1 > r2],
    )


@clipping.step(
    "Every region",
    route="traced code",
    shows="all open regions of the two ratios, found and matched one by one",
)
def regions(upper_shift=0, lower_side=1):
    for low, high, eps in ((0.2, 0.2, 1e-6), (0.2, 0.28, 0.0)):
        top, bottom = sp.Rational(str(1 + high)) + upper_shift, sp.Rational(str(1 - low))
        d = r1 - r2
        c = d / (d + 2 * sp.Rational(str(eps)))
        up = sp.Piecewise((c * rho_w / 2, rho_w < top), (0, True))
        down = sp.Piecewise((-c * rho_l / 2, lower_side * (rho_l - bottom) > 0), (0, True))
        _, computed = clipped_regions(low, high, eps)
        for region in computed:
            assumptions = [r1 > r2, *region.conditions]
            for weight, claimed in zip(region.value.reshape(-1), (up, down), strict=True):
                sy.require(
                    sy.smt_valid(assumptions, sp.Eq(weight, claimed), total=True),
                    f"weight {weight} is {claimed} where {assumptions}",
                )
        sy.require(len(computed) >= 4, "all four kinds of region occur")
    return sy.Exhibit(
        table=(
            ("winner's ratio", "loser's ratio", "gradient"),
            ("< 1+e", "> 1-e", "contrast"),
            (">= 1+e", "> 1-e", "push the loser down only"),
            ("< 1+e", "<= 1-e", "pull the winner up only"),
            (">= 1+e", "<= 1-e", "zero"),
        )
    )


@clipping.step(
    "The regions follow from the objective by cases",
    route="smt",
    shows=(
        r"$\min(\rho A, \mathrm{clip}(\rho) A)$ equals $A \min(\rho, 1+\epsilon_+)$ for $A > 0$ and $A "
        r"\max(\rho, 1-\epsilon_-)$ for $A < 0$, for all ranges"
    ),
)
def cases(swap=False):
    rho, up, down = sp.symbols("rho up down", positive=True)
    A = sp.Symbol("A", real=True)
    clipped = sp.Min(1 + up, sp.Max(1 - down, rho))
    surrogate_value = sp.Min(rho * A, clipped * A)
    one_sided = A * sp.Min(rho, 1 + up), A * sp.Max(rho, 1 - down)
    plus, minus = reversed(one_sided) if swap else one_sided
    sy.require(
        sy.smt_valid([A > 0, down < 1], sp.Eq(surrogate_value, plus)),
        "positive advantage: only the upper bound binds",
    )
    sy.require(
        sy.smt_valid([A < 0, down < 1], sp.Eq(surrogate_value, minus)),
        "negative advantage: only the lower bound binds",
    )


@clipping.step(
    "At the boundary",
    route="traced code",
    shows=r"at $\rho_w = 1 + \epsilon_+$ exactly JAX halves the weight",
)
def boundary(share=sp.Rational(1, 2)):

    rollouts = sy.symbolic_group(2, rewards=(1, 0))
    point = dict.fromkeys(rollouts.rho.flat, sp.Integer(1)) | {rho_w: sp.Rational(6, 5)}
    value = rollouts.weights(catalogue.get("grpo", eps=0.0), assume=sy.Witness(point)).reshape(-1)
    sy.equal(value, np.asarray([share * rho_w / 2, -rho_l / 2]), "weight at the upper boundary")


clipping.sabotage("a wider clip", regions, upper_shift=sp.Rational(1, 10))
clipping.sabotage("the loser clipped above instead of below", regions, lower_side=-1)
clipping.sabotage("the two bounds exchanged", cases, swap=True)
clipping.sabotage("the full weight at the boundary", boundary, share=1)
