"""B17: OPO's baseline: the best constant (a), what length weighting needs (b), and its own rollout (c)."""

import sympy as sp
from _short_sequences import less, parallel_defect, stopping, stopping_engine, token_moments

from gradvar import catalogue
from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import aggregate, surrogate

SOURCE = sy.Source("2505.23585", "v2", "the optimal reward baseline and its length-weighted form")
LADDER = sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "5/2"])

best = sy.Claim(
    id="B17a",
    title="The best constant baseline is the reward weighted by the squared score",
    statement=(
        r"Among baselines $b$ that are constants of the prompt, $\mathrm{tr}\,\mathrm{Cov}[(r - b) s]$ "
        r"is least at $b^* = \mathrm{E}[r \|s\|^2] / \mathrm{E}[\|s\|^2]$; if $\mathrm{E}[\|s\|^2 | r, "
        r"l] = \kappa l$ that is $\mathrm{E}[l r] / \mathrm{E}[l]$."
    ),
    source=SOURCE,
    verdict="proved",
    scope=(
        "the formulas as reviews of the paper print them (its equations were not at hand); every law "
        "of (reward, score, length) with finite second moments, one prompt, any G (independent "
        "rollouts divide both sides by G)"
    ),
    hypotheses=("on policy",),
    finding=r"The excess variance of another constant is exactly $\mathrm{E}[\|s\|^2] (b - b^*)^2$.",
)


@best.step(
    "The variance is a parabola",
    route="smt",
    shows=(
        r"$\mathrm{E}[r^2\|s\|^2] - 2b\,\mathrm{E}[r\|s\|^2] + b^2 \mathrm{E}[\|s\|^2]$ is nowhere "
        r"below its value at $b^*$"
    ),
)
def parabola(power=1):
    second, first, norm = (
        sp.Symbol("M2", real=True),
        sp.Symbol("M1", real=True),
        sp.Symbol("V", positive=True),
    )
    b = sp.Symbol("b", real=True)
    variance = second - 2 * b * first + b**2 * norm
    claimed = variance.subs(b, first / norm**power)
    sy.require(sy.smt_valid([], variance >= claimed), "no constant has less variance")


@best.step(
    "Proportional norms give the length-weighted mean",
    route="sympy",
    shows=r"$\kappa$ cancels: $\mathrm{E}[\kappa l r]/\mathrm{E}[\kappa l]$",
)
def proportional(offset=0):
    kappa, chances = sp.Symbol("kappa", positive=True), sp.symbols("q1:4", positive=True)
    lengths, rewards = sp.symbols("l1:4", positive=True), sp.symbols("r1:4", real=True)
    norms = [kappa * l + offset for l in lengths]
    weighted = sum(q * n * r for q, n, r in zip(chances, norms, rewards, strict=True)) / sum(
        q * n for q, n in zip(chances, norms, strict=False)
    )
    by_length = sum(q * l * r for q, l, r in zip(chances, lengths, rewards, strict=True)) / sum(
        q * l for q, l in zip(chances, lengths, strict=False)
    )
    sy.equal(weighted, by_length, "the best constant is the length-weighted mean")


@best.step(
    "On a bandit",
    route="enumeration",
    shows=r"all three answers, b a symbol: the excess is $\mathrm{E}[\|s\|^2](b - b^*)^2$",
)
def on_bandit(shift=0):
    b = sp.Symbol("b", real=True)
    moments = sy.group_moments(LADDER, 1, lambda r: (r[0] - b,))
    norms = [sp.Add(*[x * x for x in s]) for s in LADDER.scores]
    norm = sum(p * n for p, n in zip(LADDER.probabilities, norms, strict=True))
    star = (
        sum(p * n * r for p, n, r in zip(LADDER.probabilities, norms, LADDER.rewards, strict=True)) / norm
        + shift
    )
    excess = moments.trace_cov - moments.trace_cov.subs(b, star)
    sy.equal(excess, norm * (b - star) ** 2, "the excess variance")
    return sy.Exhibit(text=f"b* = {star}, the mean reward is {LADDER.value}")


@best.step(
    "The engine's own b*",
    route="exact engine",
    shows="the shipped estimator with the engine's baseline has the least variance found by hand",
)
def engines(name="reinforce_best_constant"):
    norms = [sp.Add(*[x * x for x in s]) for s in LADDER.scores]
    norm = sum(p * n for p, n in zip(LADDER.probabilities, norms, strict=True))
    star = sum(p * n * r for p, n, r in zip(LADDER.probabilities, norms, LADDER.rewards, strict=True)) / norm
    sy.engines_agree(
        sy.engine(catalogue.get(name), LADDER, 1), sy.group_moments(LADDER, 1, lambda r: (r[0] - star,)), name
    )


best.sabotage("divided by the squared mean norm", parabola, power=2)
best.sabotage("norms that are affine in the length, not proportional", proportional, offset=1)
best.sabotage("another constant", on_bandit, shift=sp.Rational(1, 5))
best.sabotage("no baseline in the engine", engines, name="reinforce")


lengths = sy.Claim(
    id="B17b",
    title="Length weighting is optimal",
    statement=(
        r"$b = \mathrm{E}[l r]/\mathrm{E}[l]$ is the variance-minimal constant baseline, better than "
        r"the mean reward."
    ),
    source=SOURCE,
    verdict="conditional",
    scope="constants of the prompt; one prompt, on policy",
    hypotheses=(
        (
            r"$\mathrm{E}[\|s\|^2 | r, l]$ is proportional to $l$ (the paper assumes it: orthogonal "
            r"token scores of equal norm)"
        ),
    ),
    finding=(
        r"Token scores are uncorrelated, so $\mathrm{E}\|s\|^2$ adds over tokens; but their norms "
        r"differ ($1 - \sum \pi^2$ for logits), and a confident token adds next to nothing. Then the "
        r"mean reward can be the better baseline."
    ),
)
SHORT = stopping("1/2", "19/20", [1, 1, 0])


def constants(policy):
    bandit, sizes = policy.bandit, policy.lengths
    norms = [sp.Add(*[x * x for x in s]) for s in bandit.scores]

    def weighted(weights):
        total = sum(p * w for p, w in zip(bandit.probabilities, weights, strict=True))
        return (
            sum(p * w * r for p, w, r in zip(bandit.probabilities, weights, bandit.rewards, strict=True))
            / total
        )

    return weighted(norms), weighted(sizes), bandit.value


@lengths.step(
    "Under the hypothesis",
    route="sympy",
    shows=(
        r"with $\|s\|^2 = \kappa l$ the excess of the mean over the length-weighted constant is "
        r"$\kappa \mathrm{E}[l] (J - b)^2 \ge 0$"
    ),
)
def better(proportional=True):
    kappa, q, r1, r2, l1, l2 = sp.symbols("kappa q r1 r2 l1 l2", positive=True)
    n1, n2 = (kappa * l1, kappa * l2) if proportional else (kappa, kappa)
    norm = q * n1 + (1 - q) * n2
    star = (q * l1 * r1 + (1 - q) * l2 * r2) / (q * l1 + (1 - q) * l2)
    mean = q * r1 + (1 - q) * r2

    def size(b):
        return q * n1 * (r1 - b) ** 2 + (1 - q) * n2 * (r2 - b) ** 2

    sy.equal(size(mean) - size(star), norm * (mean - star) ** 2, "the excess of the mean reward")


@lengths.step(
    "Independent token scores add",
    route="enumeration",
    shows=r"$\mathrm{E}\|s\|^2$ is the sum over tokens: the cross terms vanish on policy",
)
def orthogonal(weight=1):
    policy = stopping("2/3", "3/4", [1, 1, 0])
    cross = sum(
        p * sp.Add(*[x * y for x, y in zip(*tokens, strict=True)])
        for p, tokens in zip(
            [policy.probabilities[0] * weight, *policy.probabilities[1:]], policy.token_scores, strict=True
        )
        if len(tokens) == 2
    )
    full = sum(
        p * sp.Add(*[x * x for x in s])
        for p, s in zip(policy.probabilities, policy.bandit.scores, strict=True)
    )
    parts = sum(
        p * sum(x * x for token in tokens for x in token)
        for p, tokens in zip(policy.probabilities, policy.token_scores, strict=True)
    )
    sy.equal(full, parts + 2 * cross, "squares of sums")
    tilted = sum(
        p * w * token[1][2]
        for p, w, token in zip(policy.probabilities[:2], (weight, 1), policy.token_scores[:2], strict=True)
    )
    sy.equal(tilted, 0, "the second token's score averages to zero")


@lengths.counterexample(
    (
        "Go on with chance 1/2, then a nearly certain token; going on is right: the length-weighted "
        "constant has more variance than the mean reward. The engine agrees."
    ),
    a="1/2",
    b="19/20",
    rewards="(1, 1, 0)",
)
def mean_is_better(policy=SHORT):
    star, by_length, mean = constants(policy)
    moments = {b: sy.group_moments(policy.bandit, 1, less(b)) for b in (star, by_length, mean)}
    sizes = {b: computed.trace_cov for b, computed in moments.items()}
    sy.require(
        sizes[by_length] > sizes[mean] > sizes[star], "length-weighted above the mean, the mean above b*"
    )
    shipped = compose(
        advantage=lambda rewards: rewards - float(by_length),
        surrogate=surrogate.likelihood,
        aggregate=aggregate.sequence_token_sum,
        min_group=1,
    )
    sy.engines_agree(stopping_engine(shipped, policy, 1), moments[by_length], f"baseline {by_length}")
    return sy.Exhibit(
        text=(
            f"b* = {star}, length-weighted {by_length}, mean {mean}; variances {sizes[star]}, "
            f"{sizes[by_length]}, {sizes[mean]}"
        )
    )


lengths.sabotage("norms that do not grow with the length", better, proportional=False)
lengths.sabotage("a completion counted twice (not on policy)", orthogonal, weight=2)
lengths.sabotage(
    "a second token as uncertain as the first", mean_is_better, policy=stopping("1/2", "1/2", [1, 0, 0])
)


with_self = sy.Claim(
    id="B17c",
    title="OPO's group baseline, own rollout included, leaves the gradient unbiased",
    statement=(
        r"With $A_i = r_i - \sum_j l_j r_j / \sum_j l_j$ over the whole group, "
        r"$\mathrm{E}[\frac{1}{G}\sum_i A_i s_i]$ is $\nabla J$, or a multiple of it."
    ),
    source=SOURCE,
    verdict="refuted",
    scope=(
        "groups with rollouts of different length, sequence scores; for equal lengths the mean is "
        "(G-1)/G times grad J, every G"
    ),
    finding=(
        "Leaving the own rollout out of both sums (the catalogue's opo_leave_one_out) makes it "
        "unbiased, at the price of one baseline per rollout."
    ),
)


@with_self.step("Equal lengths, any G", route="sympy", shows=r"$\mathrm{E}[\hat g] = \frac{G-1}{G} \nabla J$")
def equal_lengths(factor=None):
    G = sp.Symbol("G", integer=True, positive=True)
    R, S, RS, g, J = sp.symbols("R S RS g J")
    table = {(1, 1): g, (1, 0): J, (0, 1): sp.Integer(0), (0, 0): sp.Integer(1)}
    mean = sy.over_rollouts(
        (RS - R * S / G) / G,
        {R: {"r": 1}, S: {"s": 1}, RS: {"r": 1, "s": 1}},
        G,
        lambda e: table[e.get("r", 0), e.get("s", 0)],
    )
    sy.equal(mean, (factor or (G - 1) / G) * g, "the mean with equal lengths")


@with_self.step(
    "The shipped weights",
    route="traced code",
    shows=r"lengths 1 and 2: $A_1 = \frac{2}{3}(r_1 - r_2)$, $A_2 = \frac{1}{3}(r_2 - r_1)$",
)
def traced(with_self=True):
    rollouts = sy.symbolic_group(2, lengths=(1, 2), on_policy=True)
    r1, r2 = rollouts.rewards.reshape(-1)
    weights = rollouts.weights(catalogue.get("opo", include_self=with_self))
    sy.equal(
        [2 * weights[0, 0, 0], 2 * weights[0, 1, 0]],
        [sp.Rational(2, 3) * (r1 - r2), (r2 - r1) / 3],
        "weights of OPO",
    )


@with_self.step(
    "Without the own rollout",
    route="enumeration",
    shows=r"$\mathrm{E}[\hat g] = \nabla J$ at G = 2, 3 on rollouts of one and two tokens",
)
def left_out(name="opo_leave_one_out"):
    policy = stopping("1/3", "2/5", [2, 0, 1])
    for size in (2, 3):
        sy.equal(
            token_moments(policy, size, catalogue.get(name)).mean,
            policy.bandit.gradient,
            f"{name} at G = {size}",
        )


@with_self.counterexample(
    (
        "Go on with chance 1/3, then token 0 with 2/5; rewards 2, 0, 1: the mean at G = 2 is not "
        "parallel to grad J. The engine agrees."
    ),
    a="1/3",
    b="2/5",
    rewards="(2, 0, 1)",
    G="2",
)
def with_own(name="opo"):
    policy = stopping("1/3", "2/5", [2, 0, 1])
    exact = token_moments(policy, 2, catalogue.get(name))
    sy.engines_agree(stopping_engine(catalogue.get(name), policy, 2), exact, name)
    sy.require(parallel_defect(exact.mean, policy.bandit.gradient) != 0, "the mean is not along grad J")
    return sy.Exhibit(text=f"E = {exact.mean}, grad J = {policy.bandit.gradient}")


@with_self.step(
    "Where the bias comes from",
    route="smt",
    shows=r"the two advantages of a pair sum to zero only if the lengths are equal or the rewards are",
)
def unbalanced(same_length=False):
    l1, l2 = sp.symbols("l1 l2", positive=True)
    r1, r2 = sp.symbols("r1 r2", real=True)
    base = (l1 * r1 + l2 * r2) / (l1 + l2)
    total = r1 + r2 - 2 * base
    sy.require(
        sy.smt_valid([sp.Eq(total, 0)], sp.Or(sp.Eq(l1, l2), sp.Eq(r1, r2))),
        "a zero sum needs equal lengths or rewards",
    )
    sy.require(
        sy.find_point([sp.Ne(total, 0), *([sp.Eq(l1, l2)] if same_length else [])]) is not None,
        "unequal lengths leave a remainder",
    )


with_self.sabotage("no factor for equal lengths", equal_lengths, factor=sp.Integer(1))
with_self.sabotage("the weights without the own rollout", traced, with_self=False)
with_self.sabotage("the own rollout kept", left_out, name="opo")
with_self.sabotage("the leave-one-out form", with_own, name="opo_leave_one_out")
with_self.sabotage("equal lengths", unbalanced, same_length=True)
