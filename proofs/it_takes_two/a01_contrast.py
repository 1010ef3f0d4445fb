"""A1: the gradient of two-rollout GRPO is a contrast; A1b: what clipping does to it."""

import itertools

import jax
import numpy as np
import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate

r1, r2 = sp.symbols("r1 r2", real=True)
eps = sp.Symbol("epsilon", nonnegative=True)
kappa, gap = sp.symbols("kappa d", positive=True)
up, down, share_up, share_down, factor = sp.symbols("g_w g_l a_w a_l c", real=True)
mean_update, mean_contrast = sp.symbols("E M", real=True)


def four_tokens(tokens, mask):
    return aggregate.constant_length(tokens, mask, length=4)


# The share of a token in rollouts of 1 and 2 tokens, as each aggregation has it.
RULES = {
    "mean over each rollout's tokens": aggregate.sequence_token_mean,
    "sum over each rollout's tokens": aggregate.sequence_token_sum,
    "mean over the batch's tokens": aggregate.token_mean,
    "mean over the prompt's tokens": aggregate.prompt_mean,
    "sum divided by a constant": four_tokens,
}
SHARES = dict(
    zip(
        RULES,
        [
            (sp.Rational(1, 2), sp.Rational(1, 4)),
            (sp.Rational(1, 2), sp.Rational(1, 2)),
            (sp.Rational(1, 3), sp.Rational(1, 3)),
            (sp.Rational(1, 3), sp.Rational(1, 3)),
            (sp.Rational(1, 8), sp.Rational(1, 8)),
        ],
        strict=True,
    )
)

FEW = list(RULES)[:2]  # the rules at which the code without an epsilon is read too

CONTRAST = gap / (kappa * gap + 2 * eps)

claim = sy.Claim(
    id="A1a",
    title="Two-rollout GRPO is a contrast of log-probabilities",
    statement=sy.Statement(
        setting=(
            "A pair of rollouts of one prompt with different real rewards, on policy (all ratios one), the mean "
            "reward as baseline; every token's weight is the objective's derivative by its log-probability"
        ),
        forall={
            kappa: sy.one_of(1, sp.sqrt(2)),
            eps: sy.above(0, closed=True),
            "aggregation": sy.one_of(*RULES),
        },
        quantities={
            up: sy.Quantity("g_w", "the weight of each token of the rollout with the larger reward"),
            down: sy.Quantity("g_l", "the weight of each token of the other"),
            share_up: sy.Quantity(
                "a_w", r"the aggregation's share of the first's tokens, such as $1/(2|o_w|)$"
            ),
            share_down: sy.Quantity("a_l", "that of the other's tokens"),
            gap: sy.Quantity("d", "the difference of the two rewards"),
            factor: sy.Quantity(
                "c",
                r"the larger advantage; $\kappa = 1$ divides by the population's standard deviation plus $\epsilon$, "
                r"$\kappa = \sqrt{2}$ by the sample's",
            ),
            mean_update: sy.Quantity(
                r"\mathrm{E}[\hat g]",
                "the mean update of a logit of a policy over three answers with the rewards 0, 1 and 5/2, divided "
                r"with $\kappa = 1$, $\epsilon = 0$",
            ),
            mean_contrast: sy.Quantity(
                "M",
                "the sum over pairs of answers with different rewards of their chance as a pair, times half of the "
                "contrast of their scores",
            ),
        },
        ranges={"mean": ()},
        goals={
            "contrast": sp.And(sp.Eq(up, share_up * factor), sp.Eq(down, -share_down * factor)),
            "factor": sp.Eq(factor, CONTRAST),
            "bounded": sp.And(factor > 0, factor <= 1),
            "mean": sp.Eq(mean_update, mean_contrast),
        },
    ),
    source=sy.Source(
        "2510.00977",
        "v3",
        "Section 3 and the two-rollout case of Section 4",
        says="the gradient of GRPO is a contrast between rollouts, and with two rollouts one between two answers",
        caveat="rewards are binary there (Section 2.1)",
    ),
    verdict="proved",
    scope="all real rewards, every epsilon (a symbol in the traced code), every aggregation shown, on policy",
    proof=(
        r"The deviations of two rewards from their mean are $\pm d/2$, and their standard deviation is $d/2$ "
        r"(population) or $d/\sqrt{2}$ (sample), so the advantages are $\pm d/(\kappa d + 2 \epsilon)$. An objective "
        "that is the sum of advantage times share times ratio has at ratio one the derivative advantage times "
        "share. The code that ships has these weights for every standard deviation, epsilon and aggregation, with "
        "symbols for the rewards. The factor is positive and at most one, as $d > 0$. Averaged over all pairs of a "
        "bandit's answers the weights give the sum of the contrasts, in rationals and in the engine's floats."
    ),
    finding=(
        r"The factor is bounded but not constant: with $\epsilon = 0$ it is $1$ (population) or $1/\sqrt{2}$ "
        "(sample) for every gap, however small. Without the division by the standard deviation (Dr. GRPO) it is "
        "$d/2$. With token-means of rollouts of different length the two scores are divided by different lengths, "
        "so the contrast is one of length-normalised scores."
    ),
)


class NotZero:
    """An epsilon that is traced: whatever it is, not zero, which the shipped code asks for."""

    def __init__(self, traced):
        self.traced = traced

    def __eq__(self, other):
        return False

    __hash__ = None  # type: ignore[assignment]

    def __jax_array__(self):
        return self.traced


@claim.step(
    "By hand",
    route="sympy",
    shows=(
        r"the deviation $r_w - \bar r$ over the root of the mean squared deviation plus $\epsilon$; the derivative "
        "of $A a e^{x}$ at $x = 0$"
    ),
)
def by_hand(whole_gap=1, slope=1):
    larger, smaller, a, b = sp.symbols("rw rl aw al", positive=True)
    wins = [larger > smaller]
    x = sp.Symbol("x", real=True)
    for ddof, std in ((0, sp.Integer(1)), (1, sp.sqrt(2))):
        mean = (larger + smaller) / 2
        spread = sp.sqrt(((larger - mean) ** 2 + (smaller - mean) ** 2) / (2 - ddof))
        high, low = (whole_gap * (r - mean) / (spread + eps) for r in (larger, smaller))
        values = {factor: high, gap: larger - smaller}
        claim.goal("factor").holds(values, at={kappa: std}, where=wins)
        weights = {up: a * high * sp.exp(slope * x), down: b * low * sp.exp(slope * x)}
        weights = {name: sp.diff(value, x).subs(x, 0) for name, value in weights.items()}
        claim.goal("contrast").holds(
            {**weights, share_up: a, share_down: b, factor: high}, at={kappa: std}, where=wins
        )


@claim.step(
    "The shipped gradient for every std, epsilon and aggregation",
    route="traced code",
    shows="the token weights of rollouts of one and two tokens in both regions, symbolic rewards and epsilon",
)
def traced(ddof_in_code=None, eps_shift=0):
    rollouts = sy.symbolic_group(2, lengths=(1, 2), on_policy=True)
    positive = sp.Symbol("epsilon_", positive=True)
    for ddof, std in ((0, sp.Integer(1)), (1, sp.sqrt(2))):
        in_code = ddof if ddof_in_code is None else ddof_in_code
        for name, rule in RULES.items():

            def estimator(epsilon, ddof=in_code, rule=rule):
                return compose(
                    advantage=lambda rewards: advantage.standardised(rewards, ddof=ddof, eps=epsilon),
                    surrogate=surrogate.ppo_clip,
                    aggregate=rule,
                )

            def objective(logp, batch, epsilon, estimator=estimator):
                return estimator(NotZero(epsilon))(logp, batch)

            some = sy.explore(jax.grad(objective), rollouts.logp, rollouts.batch, positive)
            pair_factor = {kappa: std, "aggregation": name}
            is_contrast(some, [SHARES[name]], pair_factor, {positive: eps + eps_shift}, [eps > 0])
            if name in FEW:
                none = sy.explore(jax.grad(estimator(0)), rollouts.logp, rollouts.batch)
                is_contrast(none, [SHARES[name]], {**pair_factor, eps: sp.Integer(0)}, {}, [])


def is_contrast(regions, shares, place, renamed, where):
    """Decide that each prompt's token weights are the factor times the shares of its two rollouts, with signs."""
    numbers = {symbol: value for symbol, value in place.items() if symbol in (kappa, eps)}
    sy.require(len(regions) == 2 ** len(shares), "the regions are which reward is larger, prompt by prompt")
    for region in regions:
        inside = [*region.conditions, *where]
        for prompt, both in enumerate(shares):
            names = (r1, r2) if len(shares) == 1 else REWARDS[prompt]
            rows = [[w.subs(renamed) for w in row if w != 0] for row in region.value[prompt]]
            order = (0, 1) if (names[0] - names[1]).subs(region.point) > 0 else (1, 0)
            (winners, losers), (a, b) = ([pair[i] for i in order] for pair in (rows, both))
            d = names[order[0]] - names[order[1]]
            pairs = list(itertools.product(winners, losers))
            values = {up: [w for w, _ in pairs], down: [w for _, w in pairs], share_up: a, share_down: b}
            values[factor] = CONTRAST.subs({gap: d, **numbers})
            claim.goal("contrast").holds(values, at=place, where=inside)
            claim.goal("factor").holds({factor: winners[0] / a, gap: d}, at=place, where=inside)
            claim.goal("bounded").holds({factor: winners[0] / a}, at=place, where=inside)


REWARDS = sy.symbols("r", (2, 2))


def two_prompts():
    """Arguments of an objective: prompts with rollouts of 1 and 2, and of 2 and 1 tokens, on policy."""
    mask = np.asarray([[[True, False], [True, True]], [[True, True], [True, False]]])
    logp = sy.symbols("a", mask.shape)
    return logp, sy.symbolic_batch(REWARDS, logp, mask)


@claim.step(
    "As catalogued",
    route="traced code",
    shows="bare GRPO and DAPO on two prompts, the sample's std and the pair objective on one; Dr. GRPO's $a d/2$",
)
def catalogued(epsilon=sp.Rational(1, 10**6)):
    one, half, sixth = sp.Integer(1), sp.Rational(1, 2), sp.Rational(1, 6)
    per_rollout, per_batch = "mean over each rollout's tokens", "mean over the batch's tokens"
    for name, rule, shares in (
        ("grpo", per_rollout, [(half / 2, half / 4), (half / 4, half / 2)]),
        ("dapo", per_batch, [(sixth, sixth)] * 2),
    ):
        regions = sy.explore(jax.grad(catalogue.get(name)), *two_prompts())
        is_contrast(regions, shares, {kappa: one, eps: epsilon, "aggregation": rule}, {}, [])
    rollouts = sy.symbolic_group(2, lengths=(1, 2), on_policy=True)
    for name, place in (
        ("grpo_sample_std", {kappa: sp.sqrt(2), eps: epsilon}),
        ("grpo_pair", {kappa: one, eps: 0}),
    ):
        regions = rollouts.regions(catalogue.get(name))
        is_contrast(regions, [SHARES[per_rollout]], {**place, "aggregation": per_rollout}, {}, [])
    for region in rollouts.regions(catalogue.get("dr_grpo")):
        (w1, _), (w21, w22) = region.value[0]
        sy.equal([w1, w21, w22], [(r1 - r2) / 4, (r2 - r1) / 4, (r2 - r1) / 4], "Dr. GRPO's weights")


@claim.step(
    "The factor is bounded",
    route="smt",
    shows=r"$0 < d/(\kappa d + 2\epsilon) \le 1$ for $d > 0$, $\epsilon \ge 0$, $\kappa = 1$ and $\sqrt{2}$",
)
def bounded(largest=1):
    for std in (sp.Integer(1), sp.sqrt(2)):
        claim.goal("bounded").holds({factor: largest * CONTRAST.subs(kappa, std)}, at={kappa: std})


def mean_contrasts(bandit, half):
    """For each logit, half of the contrast of every two answers with different rewards times their chance as a pair."""
    rows = list(zip(bandit.probabilities, bandit.rewards, bandit.scores, strict=True))
    return [
        sp.Add(*[2 * p * q * half * (s[i] - t[i]) for p, r, s in rows for q, u, t in rows if r > u])
        for i in range(len(bandit.scores))
    ]


@claim.step(
    "The mean over all pairs",
    route="enumeration",
    shows=r"any policy $(p, q, 1 - p - q)$ over three answers with the rewards 0, 1, 5/2",
)
def expectation(half=sp.Rational(1, 2)):
    p, q = sp.symbols("p q", positive=True)
    bandit = sy.SymbolicBandit([p, q, 1 - p - q], [0, 1, "5/2"])
    moments = sy.group_moments(bandit, 2, sy.weights_of(catalogue.get("grpo", eps=0.0)))
    claim.goal("mean").holds({mean_update: moments.mean, mean_contrast: mean_contrasts(bandit, half)})


@claim.step(
    "The engine agrees", route="exact engine", shows="mean and covariance of the shipped estimator at G = 2"
)
def engine_agrees(ddof=0):
    bandit = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "5/2"])
    moments = sy.engine(catalogue.get("grpo", eps=0.0, ddof=ddof), bandit, 2)
    values = {
        mean_update: np.asarray(moments.mean).reshape(-1),
        mean_contrast: mean_contrasts(bandit, sp.Rational(1, 2)),
    }
    claim.goal("mean").holds(values, tolerance=1e-11)
    exact = sy.group_moments(bandit, 2, sy.weights_of(catalogue.get("grpo", eps=0.0)))
    sy.engines_agree(moments, exact, "two-rollout GRPO")


claim.sabotage("the deviations counted twice", by_hand, whole_gap=2)
claim.sabotage("the square of the ratio", by_hand, slope=2)
claim.sabotage("the sample std where the code divides by the population's", traced, ddof_in_code=1)
claim.sabotage("another epsilon", traced, eps_shift=sp.Rational(1, 10**6))
claim.sabotage("no epsilon where the catalogue has one", catalogued, epsilon=0)
claim.sabotage("a bound below the supremum", bounded, largest=sp.Rational(100, 99))
claim.sabotage("the sample std in the engine", engine_agrees, ddof=1)
claim.sabotage("whole contrasts in the mean", expectation, half=1)


rho_w, rho_l, above_one = sp.symbols("rho1 rho2 e_+", positive=True)
below_one = sp.Symbol("e_-", nonnegative=True)
at_bound = sp.Symbol("g_b", real=True)

clipping = sy.Claim(
    id="A1b",
    title="Each clip bound zeroes one side of the contrast",
    statement=sy.Statement(
        setting=(
            "Two rollouts of one token each, the first with the larger reward, the ratio clipped to $[1 - e_-, 1 + "
            "e_+]$"
        ),
        forall={
            rho_w: sy.above(0),
            rho_l: sy.above(0),
            above_one: sy.above(0),
            below_one: sy.between(0, 1),
        },
        given={
            "off the boundary": sy.Hypothesis(
                "no ratio lies on the boundary of the clip, where the objective has no derivative",
                sp.And(sp.Ne(rho_w, 1 + above_one), sp.Ne(rho_l, 1 - below_one)),
                stated_by="ours",
            )
        },
        quantities={
            up: sy.Quantity("g_w", "the weight of the first rollout"),
            down: sy.Quantity("g_l", "the weight of the second"),
            factor: sy.Quantity("c", "the larger advantage"),
        },
        goals={
            "winner": sp.Eq(up, sp.Piecewise((factor * rho_w / 2, rho_w < 1 + above_one), (0, True))),
            "loser": sp.Eq(down, sp.Piecewise((-factor * rho_l / 2, rho_l > 1 - below_one), (0, True))),
        },
    ),
    source=sy.Source(
        "2510.00977",
        "v3",
        "Section 3, the clipped objective, and Appendix B.3",
        says="the gradient carries an indicator of tokens that the clip leaves alone",
        caveat="the text of B.3 says of the indicator that it marks the clipped tokens; the formula needs the others",
    ),
    verdict="proved",
    scope="all real rewards, all positive ratios off the clip's boundary; there JAX gives half of the weight",
    proof=(
        r"For a positive advantage $\min(\rho A, \mathrm{clip}(\rho) A) = A \min(\rho, 1 + e_+)$, and for a negative "
        r"one it is $A \max(\rho, 1 - e_-)$: one bound binds for each sign. The derivative by the log-probability is "
        r"$A \rho$ where the ratio is inside its bound and zero beyond. The shipped objective, as catalogued and "
        "with other clips, has these weights in every region of the two ratios, and the regions fill the space. At "
        "a boundary the code takes half of the one-sided weight, which is a convention of JAX."
    ),
    finding=(
        r"A contrast with weights $\rho_w, \rho_l$ where neither is clipped, one-sided where one is, zero where both "
        r"are. The two weights are equal only when $\rho_w = \rho_l$: away from the sampling policy the gradient is "
        "no longer a difference of log-probability gradients with one factor, but of probability ratios."
    ),
)


@clipping.step(
    "Every region",
    route="traced code",
    shows="all open regions of the two ratios, found and matched one by one: as catalogued, and with a higher clip",
)
def regions(upper_shift=0, exchange=False):
    rollouts = sy.symbolic_group(2)
    for low, high, eps_, settings in (
        (sp.Rational(1, 5), sp.Rational(1, 5), sp.Rational(1, 10**6), {}),
        (
            sp.Rational(1, 5),
            sp.Rational(7, 25),
            sp.Integer(0),
            {"clip_low": 0.2, "clip_high": 0.28, "eps": 0.0},
        ),
    ):
        computed = sy.explore(
            jax.grad(catalogue.get("grpo", **settings)), rollouts.logp, rollouts.batch, where=[r1 > r2]
        )
        sy.require(len(computed) >= 4, "all four kinds of region occur")
        d = r1 - r2
        place = {above_one: high + upper_shift, below_one: low}
        for region in computed:
            inside = [r1 > r2, *region.conditions]
            first, second = region.value.reshape(-1)[:: -1 if exchange else 1]
            claimed = d / (d + 2 * eps_)
            clipping.goal("winner").holds({up: first, factor: claimed}, at=place, where=inside)
            clipping.goal("loser").holds({down: second, factor: claimed}, at=place, where=inside)
    return sy.Exhibit(
        table=(
            ("winner's ratio", "loser's ratio", "gradient"),
            ("< 1+e", "> 1-e", "contrast"),
            ("> 1+e", "> 1-e", "push the loser down only"),
            ("< 1+e", "< 1-e", "pull the winner up only"),
            ("> 1+e", "< 1-e", "zero"),
        )
    )


@clipping.step(
    "By cases",
    route="smt",
    shows=(
        r"$\min(\rho A, \mathrm{clip}(\rho) A)$ is $A \min(\rho, 1+e_+)$ for $A > 0$ and $A \max(\rho, 1-e_-)$ for "
        r"$A < 0$, whatever the range; its derivative by $\log \rho$ on either side of the bound"
    ),
)
def cases(swap=False):
    A = sp.Symbol("A", real=True)
    size = sp.Symbol("c_", positive=True)
    rho, x = sp.Symbol("rho", positive=True), sp.Symbol("x", real=True)
    clipped = sp.Min(1 + above_one, sp.Max(1 - below_one, rho))
    surrogate_value = sp.Min(rho * A, clipped * A)
    one_sided = A * sp.Min(rho, 1 + above_one), A * sp.Max(rho, 1 - below_one)
    plus, minus = reversed(one_sided) if swap else one_sided
    sy.require(
        sy.smt_valid([A > 0, below_one < 1], sp.Eq(surrogate_value, plus)),
        "positive advantage: only the upper bound binds",
    )
    sy.require(
        sy.smt_valid([A < 0, below_one < 1], sp.Eq(surrogate_value, minus)),
        "negative advantage: only the lower bound binds",
    )
    # Inside its bound min(rho, 1 + e) is rho, whose derivative by log(rho) is rho; beyond it is a constant.
    slope = sp.diff(sp.exp(x), x).subs(x, sp.log(rho))
    for inside, weight in ((rho_w < 1 + above_one, slope), (rho_w > 1 + above_one, 0)):
        value = {up: size / 2 * sp.sympify(weight).subs(rho, rho_w), factor: size}
        clipping.goal("winner").holds(value, where=[inside])
    for inside, weight in ((rho_l > 1 - below_one, slope), (rho_l < 1 - below_one, 0)):
        value = {down: -size / 2 * sp.sympify(weight).subs(rho, rho_l), factor: size}
        clipping.goal("loser").holds(value, where=[inside])


@clipping.counterexample(
    "At the boundary, ratio 6/5 and rewards (1, 0), the code halves the weight: 3/10 where either side has 3/5 or 0.",
    rho_w="6/5",
)
def boundary(ratio="6/5", traced=sp.Rational(3, 10)):
    rollouts = sy.symbolic_group(2, rewards=(1, 0))
    point = dict.fromkeys(rollouts.rho.flat, sp.Integer(1)) | {rho_w: sp.Rational(ratio)}
    value = rollouts.weights(catalogue.get("grpo", eps=0.0), assume=sy.Witness(point)).reshape(-1)
    fifth = sp.Rational(1, 5)
    place = {rho_w: sp.Rational(ratio), rho_l: 1, above_one: fifth, below_one: fifth}
    weight = value[0].subs(rho_w, sp.Rational(ratio))
    clipping.goal("winner").fails({up: weight, factor: 1}, at=place, without="off the boundary")
    sy.equal(weight, traced, "half of the one-sided weight")


clipping.sabotage("a wider clip", regions, upper_shift=sp.Rational(1, 10))
clipping.sabotage("winner and loser exchanged", regions, exchange=True)
clipping.sabotage("the full weight at the boundary", boundary, traced=sp.Rational(3, 5))
clipping.sabotage("the two bounds exchanged", cases, swap=True)
