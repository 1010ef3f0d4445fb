"""A15: replacing a pair without signal: by a pair of a new prompt, or by retrying the same one."""

import itertools

import sympy as sp
from _binary import shipped
from _short_sequences import parallel_defect

from gradvar import catalogue
from gradvar import symbolic as sy

chances, keeps, mixed_means, silent_means = (
    sp.symbols("q1:4", positive=True),
    sp.symbols("k1:4", positive=True),
    sp.symbols("u1:4", real=True),
    sp.symbols("w1:4", real=True),
)
accepted, plain, kept, silent_weight = sp.symbols("A M K S", real=True)

new = sy.Claim(
    id="A15a",
    title="Replacing a silent pair by a pair of a new prompt keeps the expected direction",
    statement=sy.Statement(
        setting=(
            "A pair of rollouts is silent when its two rewards are equal; a silent pair is dropped, and a pair "
            "of a new prompt is drawn, until one is not silent"
        ),
        given={
            "independent": sy.Hypothesis(
                "the new prompts are independent draws of the same law", stated_by="ours"
            ),
        },
        quantities={
            accepted: sy.Quantity(
                r"\mathrm{E}[\hat g_{\text{kept}}]", "the mean update of the pair that is kept"
            ),
            plain: sy.Quantity(r"\mathrm{E}[\hat g]", "the mean update of one pair, silent or not"),
            kept: sy.Quantity("P", "the chance over prompts and rollouts that a pair is not silent"),
            silent_weight: sy.Quantity("w_s", "the weight of a rollout of a silent pair, or its mean update"),
        },
        goals={"same direction": sp.Eq(accepted, plain / kept)},
        lemmas={"silent pairs weigh nothing": sy.Lemma(sp.Eq(silent_weight, 0))},
    ),
    source=sy.Source(
        "2510.00977",
        "v3",
        "Section 4.3",
        relation="ours",
        says="a pair without signal is replaced by a group of a new prompt; what this does to the mean is not claimed",
    ),
    verdict="proved",
    scope=(
        "every law of three prompts in symbols; every estimator whose weights vanish on equal rewards; vectors "
        "by entry"
    ),
    proof=(
        "The weights of a silent pair are zero, as the shipped code shows for rewards and ratios in symbols, "
        r"so all of $\mathrm{E}[\hat g]$ comes from pairs that are kept. The n-th draw is the first that is "
        "kept with chance $(1 - P)^{n-1}$ times that of its own, so the mean of the kept pair is "
        r"$\mathrm{E}[\hat g] \sum_n (1 - P)^{n-1} = \mathrm{E}[\hat g]/P$, a geometric series. Two bandits "
        "with three reward levels confirm it pair by pair."
    ),
    finding=(
        r"For pairs of binary rewards the factor is $1/\mathrm{E}[2 p (1 - p)]$. The prompts that are trained "
        "on are drawn with weight $2p(1-p)$, and the direction is still that of all prompts."
    ),
)


@new.step(
    "Rejection sampling",
    route="sympy",
    shows=r"three prompts in symbols: the sum over all draws of the chance that this draw is kept, times its mean",
)
def rejection(weigh_silent=0):
    x = sp.Symbol("z", positive=True)
    n = sp.Symbol("n", integer=True, nonnegative=True)
    series, condition = sp.summation(x**n, (n, 0, sp.oo)).args[0]
    retained = sum(q * k for q, k in zip(chances, keeps, strict=True))
    sy.require(
        sy.smt_valid(
            [sp.Eq(sum(chances), 1), *[k <= 1 for k in keeps]],
            sp.And(1 - retained >= 0, 1 - retained < 1) if condition.has(x) else sp.false,
        ),
        "the series converges",
    )
    rows = list(zip(chances, keeps, mixed_means, silent_means, strict=True))
    one_draw = sum(q * k * u for q, k, u, _ in rows)
    mean = sum(q * (k * u + (1 - k) * (w + weigh_silent)) for q, k, u, w in rows)
    claimed = {accepted: series.subs(x, 1 - retained) * one_draw, plain: mean, kept: retained}
    new.goal("same direction").holds(
        claimed, using={"silent pairs weigh nothing": {silent_weight: list(silent_means)}}
    )


PROMPTS = [
    sy.SymbolicBandit(["1/2", "1/3", "1/6"], [0, 1, "-4/3"]),
    sy.SymbolicBandit(["1/10", "2/5", "1/2"], [2, 1, 0]),
]


def pairs_of(bandit, name):
    """All pairs of answers: the chance, whether it is silent, and the update by the first answer's logit."""
    weights = sy.weights_of(catalogue.get(name))
    for answers in itertools.product(range(3), repeat=2):
        rewards = tuple(bandit.rewards[k] for k in answers)
        update = sum(w * bandit.scores[k][0] for w, k in zip(weights(rewards), answers, strict=True))
        yield sp.prod([bandit.probabilities[k] for k in answers]), rewards[0] == rewards[1], update


@new.step(
    "Two prompts",
    route="enumeration",
    shows="three reward levels, all pairs listed with the shipped weights, three rounds of draws and the exact tail",
)
def two_prompts(same_prompt=False, name="grpo"):
    tables = [list(pairs_of(bandit, name)) for bandit in PROMPTS]
    keep = [sum(c for c, silent, _ in rows if not silent) for rows in tables]
    means = [sum(c * u for c, _, u in rows) for rows in tables]
    from_kept = [sum(c * u for c, silent, u in rows if not silent) for rows in tables]
    retained = sum(keep) / 2
    if same_prompt:  # every prompt is retried until its pair is not silent
        value = sum(u / k for u, k in zip(from_kept, keep, strict=True)) / 2
    else:
        again = 1 - retained
        rounds = sum(again**i for i in range(3)) + again**3 / (1 - again)
        value = sum(from_kept) / 2 * rounds
    new.goal("same direction").holds({accepted: value, plain: sum(means) / 2, kept: retained})


@new.step(
    "Silent pairs weigh nothing",
    route="traced code",
    shows="grpo, grpo_pair, dr_grpo and rloo at one reward r for both, rollouts of one and two tokens, any ratios",
)
def silent(names=("grpo", "grpo_pair", "dr_grpo", "rloo")):
    r = sp.Symbol("r", real=True)
    for name in names:
        rollouts = sy.symbolic_group(2, (1, 2), rewards=(r, r))
        weights = rollouts.weights(catalogue.get(name)).reshape(-1)
        new.goal("silent pairs weigh nothing").holds({silent_weight: weights})


new.sabotage("silent pairs that weigh something", rejection, weigh_silent=1)
new.sabotage("retrying the same prompt", two_prompts, same_prompt=True)
new.sabotage("REINFORCE over the listed pairs", two_prompts, name="reinforce")
new.sabotage("REINFORCE, whose silent pairs weigh", silent, names=("reinforce",))


p, q = sp.symbols("p q", positive=True)
defect, weight, weight_p, weight_q = sp.symbols("D w w_p w_q", real=True)

retry = sy.Claim(
    id="A15b",
    title="Retrying the same prompt until its pair is mixed keeps the expected direction",
    statement=sy.Statement(
        setting="Binary rewards; two prompts with success rates p and q, each retried until its pair is mixed",
        forall={p: sy.between(0, 1), q: sy.between(0, 1)},
        quantities={
            defect: sy.Quantity(
                r"D",
                r"$|u|^2 |v|^2 - (u \cdot v)^2$ of the mean update u and the gradient v of the expected reward",
            )
        },
        goals={"same direction": sp.Eq(defect, 0)},
    ),
    instead=sy.Statement(
        setting="Binary rewards, pairs, advantages standardised without epsilon",
        forall={p: sy.between(0, 1), q: sy.between(0, 1)},
        quantities={
            weight: sy.Quantity("w(p)", r"the factor of $\nabla p$ in the mean update of a retried prompt"),
            weight_p: sy.Quantity("w_1", "this factor at p"),
            weight_q: sy.Quantity("w_2", "this factor at q"),
        },
        ranges={"log-odds": (p,)},
        goals={
            "log-odds": sp.Eq(weight, sp.Derivative(sp.log(p / (1 - p)) / 2, p)),
            "mirrored": sp.Equivalent(sp.Eq(weight_p, weight_q), sp.Or(sp.Eq(q, p), sp.Eq(q, 1 - p))),
        },
    ),
    source=sy.Source(
        "2510.00977",
        "v3",
        "Section 4.3",
        relation="ours",
        says="a silent pair is replaced by a group of a new prompt; retrying the same prompt is not proposed",
    ),
    verdict="refuted",
    scope="binary rewards, pairs, any two difficulties other than q = p and q = 1 - p",
    proof=(
        r"One pair has the mean $\nabla p$ (its weights are $\pm 1/2$ when it is mixed) and is mixed with "
        r"chance $2 p (1-p)$. Retried until it is mixed it has the mean $\nabla p / (2 p (1-p))$, which is the "
        "gradient of half the log-odds. Two prompts then have equal factors only if $p (1-p) = q (1-q)$, that "
        "is $q = p$ or $q = 1 - p$; else the sum is tilted away from the gradient of the mean success rate, as "
        "at p = 1/2 and q = 1/10."
    ),
    finding=(
        r"Each prompt is weighed by $1/(2 p (1 - p))$: the objective becomes the mean of $\frac{1}{2} \log "
        r"\frac{p}{1-p}$, which leans on the hardest and the easiest prompts without bound; the retrying never "
        "ends on a prompt with p = 0 or 1."
    ),
)


def two_answers(rate):
    return sy.SymbolicBandit([rate, 1 - sp.Rational(rate)], [1, 0])


def silent_chance(rate, outcomes=(0, 1)):
    return sp.Add(*[rate**2 if r else (1 - rate) ** 2 for r in outcomes])


@retry.step(
    "The weight of a prompt, any p",
    route="traced code",
    shows=r"the mean of the shipped pair over the four outcomes, divided by the chance that a pair is mixed",
)
def log_odds(scale=1, name="grpo_pair"):
    mean = sy.prompt_weight(shipped(name, 2), 2, p)
    retry.goal("log-odds").holds({weight: scale * mean / (1 - silent_chance(p))})


def retried(bandit):
    """The mean update of a mixed pair, from the listed pairs and the shipped weights."""
    mean = sy.group_moments(bandit, 2, sy.weights_of(catalogue.get("grpo_pair"))).mean
    return [x / (1 - silent_chance(bandit.value)) for x in mean]


@retry.step(
    "Small cases",
    route="enumeration",
    shows="all pairs of two answers, success rates in eighths; both statements",
)
def small(condition=True):
    rates = [sp.Rational(j, 8) for j in range(1, 8)]
    factors = {}
    for rate in rates:
        bandit = two_answers(rate)
        mean = retried(bandit) if condition else [2 * x for x in bandit.gradient]
        factors[rate] = mean[0] / bandit.gradient[0]
        retry.goal("log-odds").holds({weight: factors[rate]}, at={p: rate})
    for a, b in itertools.product(rates, repeat=2):
        retry.goal("mirrored").holds({weight_p: factors[a], weight_q: factors[b]}, at={p: a, q: b})


@retry.step(
    "The same weight only at mirrored difficulties",
    route="smt",
    shows=r"$\frac{1}{2 p(1-p)} = \frac{1}{2 q(1-q)}$ if and only if $q = p$ or $q = 1 - p$",
)
def mirrored(power=1):
    factors = [1 / (2 * x * (1 - x) ** power) for x in (p, q)]
    retry.goal("mirrored").holds({weight_p: factors[0], weight_q: factors[1]})


@retry.counterexample(
    "Prompts with p = 1/2 and 1/10: plain pairs give the logits of the right answers (1/4, 9/100), parallel to the "
    "gradient; retried pairs give (1/2, 1/2).",
    p="(1/2, 1/10)",
)
def tilted(second="1/10"):
    bandits = [two_answers("1/2"), two_answers(second)]
    gradient = [b.gradient[0] for b in bandits]
    update = [retried(b)[0] for b in bandits]
    moments = sy.engine(catalogue.get("grpo_pair"), bandits, 2).mean.reshape(2, 2)[:, 0]
    sy.require(
        max(abs(float(a) / 2 - float(b)) for a, b in zip(gradient, moments, strict=True)) < 1e-12,
        "the engine's plain pairs have the mean grad J",
    )
    retry.goal("same direction").fails(
        {defect: parallel_defect(update, gradient)}, at={p: sp.Rational(1, 2), q: sp.Rational(second)}
    )
    return sy.Exhibit(text=f"gradient {gradient}, retried {update}")


retry.sabotage("twice the log-odds", log_odds, scale=2)
retry.sabotage("the mean-centred pair, which has half of it", log_odds, name="dr_grpo")
retry.sabotage("not divided by the chance of a mixed pair", small, condition=False)
retry.sabotage("another dependence on p", mirrored, power=2)
retry.sabotage("two prompts of one difficulty", tilted, second="1/2")
