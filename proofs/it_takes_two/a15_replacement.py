"""A15: replacing a pair without signal: by a pair of a new prompt, or by retrying the same one."""

import sympy as sp

from gradvar import catalogue
from gradvar import symbolic as sy

new = sy.Claim(
    id="A15a",
    title="Replacing a silent pair by a pair of a new prompt keeps the expected direction",
    statement=(
        r"Drawing new prompts until the pair is mixed gives $\mathrm{E}[\hat g | \mathrm{mixed}] = "
        r"\mathrm{E}[\hat g] / P(\mathrm{mixed})$: the same direction, longer."
    ),
    hypotheses=("new prompts are drawn from the same law, independently", "silent pairs weigh nothing"),
    source=sy.Source("2510.00977", "v3", "Section 4.3"),
    verdict="proved",
    scope="every law of prompts, every G, every estimator whose advantages vanish on equal rewards",
    finding=(
        r"The factor is $1/\mathrm{E}[2 p (1 - p)]$ for pairs. The prompts that are trained on are drawn "
        r"with weight $2p(1-p)$, the direction is still that of all prompts."
    ),
)
chances, keeps, updates = (
    sp.symbols("q1:4", positive=True),
    sp.symbols("k1:4", positive=True),
    sp.symbols("u1:4", real=True),
)


@new.step(
    "Rejection sampling",
    route="sympy",
    shows=(
        r"$\sum_x q_x \mathrm{E}[\hat g | x] / \sum_x q_x P(\mathrm{mixed}|x)$, since $\mathrm{E}[\hat g "
        r"1_{\mathrm{mixed}} | x] = \mathrm{E}[\hat g | x]$; a geometric series over the draws"
    ),
)
def rejection(weigh_silent=0):
    x = sp.Symbol("z", positive=True)
    n = sp.Symbol("n", integer=True, nonnegative=True)
    geometric = sp.summation(x**n, (n, 0, sp.oo)).args[0][0]
    retained = sum(q * k for q, k in zip(chances, keeps, strict=True))
    accepted = sum(q * (u + weigh_silent * (1 - k)) for q, k, u in zip(chances, keeps, updates, strict=True))
    mean = sp.simplify(geometric.subs(x, 1 - retained)) * accepted
    sy.equal(
        mean,
        sum(q * u for q, u in zip(chances, updates, strict=True)) / retained,
        "the mean of the accepted pair",
    )


def prompts(second="1/10"):
    return [sy.SymbolicBandit([q, 1 - sp.Rational(q)], [1, 0]) for q in ("1/2", second)]


def mixed(bandit):
    p = bandit.value
    return 2 * p * (1 - p)


def pair_means(bandits):
    return [sy.group_moments(b, 2, sy.weights_of(catalogue.get("grpo", eps=0.0))).mean for b in bandits]


@new.step(
    "Two prompts",
    route="enumeration",
    shows=(
        r"$p = 1/2, 1/10$: the accepted pair's mean, listed over three rounds of draws and the tail, has "
        r"the direction of grad J"
    ),
)
def two_prompts(same_prompt=False):
    bandits = prompts()
    means = [m[0] for m in pair_means(bandits)]
    keep = [mixed(b) for b in bandits]
    if same_prompt:
        accepted = [m / k / 2 for m, k in zip(means, keep, strict=True)]
    else:
        again = 1 - sum(keep) / 2
        rounds = [sum(again**i for i in range(3)), again**3 / (1 - again)]
        accepted = [m / 2 * sum(rounds) for m in means]
    gradient = [b.gradient[0] for b in bandits]
    sy.require(
        accepted[0] * gradient[1] == accepted[1] * gradient[0],
        f"the direction of grad J: {accepted} against {gradient}",
    )


@new.step(
    "Silent pairs weigh nothing", route="traced code", shows="shipped weights at equal rewards are zero"
)
def silent(name="grpo"):
    weights = sy.weights_of(catalogue.get(name))
    for r in (0, 1):
        sy.equal(weights((sp.Integer(r),) * 2), [0, 0], f"weights of a silent pair of {r}")


new.sabotage("silent pairs that weigh something", rejection, weigh_silent=1)
new.sabotage("retrying the same prompt", two_prompts, same_prompt=True)
new.sabotage("REINFORCE, whose silent pairs weigh", silent, name="reinforce")


retry = sy.Claim(
    id="A15b",
    title="Retrying the same prompt until its pair is mixed keeps the expected direction",
    statement=(
        r"Drawing new rollouts of the same prompt until they are mixed leaves the expected direction "
        r"unchanged."
    ),
    source=sy.Source("2510.00977", "v3", "Section 4.3, the variant that retries"),
    verdict="refuted",
    scope="binary rewards, pairs; any law of prompts with two difficulties p and q other than q = p, 1 - p",
    finding=(
        r"Each prompt is then weighed by $1/(2 p (1 - p))$: the objective becomes the mean of $\frac{1}{2} "
        r"\log \frac{p}{1-p}$, the log-odds, which leans on the hardest and the easiest prompts without "
        r"bound and never ends on a prompt with p = 0 or 1."
    ),
)


@retry.step(
    "The weight of a prompt",
    route="sympy",
    shows=r"$\frac{\nabla p}{2 p (1-p)} = \nabla \frac{1}{2} \log \frac{p}{1-p}$",
)
def log_odds(scale=sp.Rational(1, 2)):
    p = sp.Symbol("p", positive=True)
    sy.equal(
        1 / (2 * p * (1 - p)), sp.diff(scale * (sp.log(p) - sp.log(1 - p)), p), "the objective of retrying"
    )


@retry.step(
    "The same weight only at mirrored difficulties",
    route="smt",
    shows=r"$p(1-p) = q(1-q) \iff q = p$ or $q = 1 - p$",
)
def mirrored(either=True):
    p, q = sp.symbols("p q", real=True)
    same = sp.Or(sp.Eq(q, p), sp.Eq(q, 1 - p)) if either else sp.Eq(q, p)
    sy.require(
        sy.smt_valid([p > 0, p < 1, q > 0, q < 1], sp.Equivalent(sp.Eq(p * (1 - p), q * (1 - q)), same)),
        "mirrored difficulties",
    )


@retry.counterexample(
    "Prompts p = 1/2 and 1/10: pairs give (1/4, 9/100), parallel to grad J; retried pairs (1/2, 1/2).",
    p="(1/2, 1/10)",
)
def tilted(second="1/10"):
    bandits = prompts(second)
    plain = [m[0] for m in pair_means(bandits)]
    retried = [m / mixed(b) for m, b in zip(plain, bandits, strict=True)]
    sy.require(plain[0] * retried[1] != plain[1] * retried[0], "the directions are the same")
    moments = sy.engine(catalogue.get("grpo", eps=0.0), bandits, 2).mean.reshape(2, 2)[:, 0]
    sy.require(
        max(abs(float(a) / 2 - float(b)) for a, b in zip(plain, moments, strict=True)) < 1e-12,
        "the engine's plain pairs",
    )
    return sy.Exhibit(text=f"plain {plain}, retried {retried}")


retry.sabotage("the whole log-odds", log_odds, scale=1)
retry.sabotage("only equal difficulties", mirrored, either=False)
retry.sabotage("two prompts of one difficulty", tilted, second="1/2")
