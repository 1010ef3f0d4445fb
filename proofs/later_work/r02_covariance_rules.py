"""R2 and R3: the covariance rules clip-cov and kl-cov, as they are computed: the first step, and the micro-batch."""

import math
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import sympy as sp

from gradvar import symbolic as sy
from gradvar.core.compose import compose
from gradvar.pieces import advantage, aggregate, surrogate

beta, rho = (sp.Symbol(name, positive=True) for name in ("beta", "rho"))
A, weight, plain, at_one, plain_at_one, central = sp.symbols("A w v w1 v1 d", real=True)

first = sy.Claim(
    id="R2",
    title=r"The penalty $\beta |\log \rho|$ of kl-cov has no gradient on the first on-policy step",
    statement=sy.Statement(
        setting=(
            r"A token with the advantage A and the ratio $\rho$ to the policy that drew it, the loss $-A \rho + "
            r"\beta |\log \rho|$"
        ),
        forall={beta: sy.above(0), A: sy.real(), rho: sy.above(0)},
        given={
            "PyTorch": sy.Hypothesis(
                "the derivative of the absolute value at zero is zero, as in PyTorch", stated_by="ours"
            )
        },
        quantities={
            weight: sy.Quantity("w", "the derivative of minus this loss by the token's log-probability"),
            plain: sy.Quantity("v", "the same without the penalty"),
            at_one: sy.Quantity("w_1", r"w on policy, at $\rho = 1$"),
            plain_at_one: sy.Quantity("v_1", r"v there"),
            central: sy.Quantity(
                "d", "the mean of the penalty's two one-sided derivatives by the log-ratio at zero"
            ),
        },
        goals={
            "first step": sp.Eq(at_one, plain_at_one),
            "later": sp.Eq(weight, plain - beta * sp.sign(rho - 1)),
            "centre": sp.Eq(central, 0),
        },
    ),
    source=sy.Source(
        "2505.22617",
        place="kl-cov in the released code (verl, core_algos.py, compute_policy_loss_kl_cov)",
        relation="ours",
        says=(
            "the loss of the selected tokens gets a coefficient times the absolute log-ratio of new to old "
            "probability"
        ),
        caveat="the paper itself was not read; with several updates per batch the term acts from the second on",
    ),
    verdict="proved",
    scope="one token, whether selected or not; any advantage and coefficient",
    proof=(
        r"By the log-ratio x the penalty is $\beta |x|$, with slope $\beta$ above zero and $-\beta$ below. On the "
        "first step after sampling every x is zero, where PyTorch takes the middle of the two slopes, zero; so "
        r"the selected tokens get the gradient that all others get. From the second step on the pull is $\beta$ "
        "towards the old probability, however small the ratio's distance from one."
    ),
    finding=(
        "With one update per batch kl-cov is the plain policy gradient, as with any penalty that is smooth "
        "around the sampling policy. The kink matters: JAX takes the slope one at zero, and the same line there "
        r"would push by $\beta$ on the first step."
    ),
)


def absolute(logp, logp_old):
    """The absolute value with PyTorch's derivative, the sign."""
    change = logp - logp_old
    return 0.75 * jnp.sign(change) * change


def in_jax(logp, logp_old):
    return 0.75 * jnp.abs(logp - logp_old)


def linear(logp, logp_old):
    return 0.75 * (logp - logp_old)


def rule(penalty=None):
    pieces = {"penalty": penalty} if penalty else {}
    return compose(
        advantage=advantage.raw,
        surrogate=surrogate.importance_ratio,
        aggregate=aggregate.token_mean,
        min_group=1,
        **pieces,
    )


RATIOS = (sp.Rational(1, 2), sp.Rational(999, 1000), sp.Integer(1), sp.Rational(1001, 1000), sp.Integer(3))


def tokens_at(ratio, rewards):
    """New log-probabilities and the batch of two rollouts of one token."""
    old = np.full((1, 2, 1), sp.Integer(0), object)
    return np.full((1, 2, 1), sp.log(ratio), object), sy.symbolic_batch(rewards, old)


def place_goals(weights, ratio, tolerance=0.0):
    with_penalty, without = (2 * np.asarray(x).reshape(-1) for x in weights)
    at = {beta: sp.Rational(3, 4)}
    if ratio == 1:
        first.goal("first step").holds(
            {at_one: with_penalty, plain_at_one: without}, at=at, tolerance=tolerance
        )
    first.goal("later").holds(
        {weight: with_penalty, plain: without}, at={**at, rho: ratio}, tolerance=tolerance
    )


@first.step(
    "The loss, read as a formula",
    route="traced code",
    shows=r"$\beta = 3/4$, advantages in symbols, ratios 1, on both sides of it and close to it",
)
def traced(penalty=absolute):
    for ratio in RATIOS:
        tokens = tokens_at(ratio, sy.symbols("r", (1, 2)))
        place_goals([sy.trace(sy.gradient(rule(x)), *tokens) for x in (penalty, None)], ratio)


@first.step(
    "As it runs", route="executed code", shows="compiled, in floats: the same ratios and two advantages"
)
def executed(penalty=absolute):
    for ratio in RATIOS:
        tokens = tokens_at(ratio, np.asarray([[2, -1]], object))
        place_goals([sy.executed_weights(rule(x), *tokens) for x in (penalty, None)], ratio, 1e-12)


@first.step(
    "By definition",
    route="smt",
    shows=r"the slope of $-A e^x + \beta |x|$ on both sides of zero and its middle there, any $\beta$ and A",
)
def by_definition(side=1):
    x = sp.Symbol("x", real=True)
    slopes = {s: sp.diff(beta * s * x, x) for s in (1, -1)}  # |x| is s x on the side of sign s
    middle = (slopes[1] + side * slopes[-1]) / 2
    value = sp.Piecewise(
        (A * rho - slopes[1], rho > 1), (A * rho - slopes[-1], rho < 1), (A * rho - middle, True)
    )
    sy.require(sy.smt_valid([rho > 1, beta > 0], sp.Lt(value, A * rho)), "it pulls back")
    first.goal("later").holds({weight: value, plain: A * rho})
    first.goal("first step").holds({at_one: value.subs(rho, 1), plain_at_one: A})
    first.goal("centre").holds({central: middle})


@first.step("Difference quotients", route="sympy", shows=r"$(|h| - |-h|)\beta/(2h)$ and its limit at zero")
def quotient(shift=0):
    h = sp.Symbol("h", positive=True)
    value = sp.limit(beta * (sp.Abs(h) - sp.Abs(-h) + shift * h) / (2 * h), h, 0)
    first.goal("centre").holds({central: value})


first.sabotage("JAX's slope at zero, which is one", traced, penalty=in_jax)
first.sabotage("a penalty that is not symmetric, run in floats", executed, penalty=linear)
first.sabotage("the right-hand slope at zero", by_definition, side=-1)
first.sabotage("a shifted kink", quotient, shift=1)


m = sp.Symbol("m", integer=True, positive=True)
expected = sp.Symbol("k", integer=True, nonnegative=True)
whole, split = sp.symbols("n_w n_s", integer=True, nonnegative=True)
COUNTS = {
    whole: sy.Quantity("n", "the number of tokens that the rule changes if the loss sees the batch at once"),
    split: sy.Quantity(
        "n_m",
        "the number of tokens that the rule changes if the batch is processed in m micro-batches of one size",
    ),
}

micro = sy.Claim(
    id="R3",
    title="clip-cov and kl-cov change the same tokens however a batch is cut into micro-batches",
    statement=sy.Statement(
        setting=(
            "A batch with the advantage and log-probability of each token; the rule centres both by their means "
            "over the tokens that the loss is called with, and chooses by the product"
        ),
        forall={"rule": sy.one_of("kl-cov", "clip-cov"), m: sy.whole(1)},
        quantities=COUNTS,
        goals={"same number": sp.Eq(split, whole)},
    ),
    instead=sy.Statement(
        setting=(
            "kl-cov chooses a share of the tokens of the call, those with the largest products, rounded down, and one "
            "at least; k is that share of one micro-batch, rounded down"
        ),
        forall={m: sy.whole(1), expected: sy.whole(0)},
        quantities=COUNTS,
        goals={
            "one of each": sp.Eq(split, m * sp.Max(1, expected)),
            "at least": sp.Ge(split, m),
        },
    ),
    source=sy.Source(
        "2505.22617",
        place=(
            "clip-cov and kl-cov in the released code (verl, core_algos.py; dp_actor.py calls the loss per "
            "micro-batch)"
        ),
        relation="ours",
        says=(
            "means, the share of tokens and its floor of one are taken over the tokens of the call; clip-cov "
            "draws the tokens that it drops at random among those with a product between 1 and 5"
        ),
        caveat=(
            "the paper itself was not read; its formulas are about a batch, and nothing there was found on "
            "micro-batches"
        ),
    ),
    verdict="refuted",
    scope="the shipped share 2/10000 is below one token for calls of fewer than 5000 tokens; masks leave this as it is",
    proof=(
        "kl-cov changes at least one token per call, so m micro-batches change at least m tokens where the whole "
        "batch may change one. clip-cov centres by the call's own means: micro-batches of one advantage each "
        "have all products zero and lose no token, while the whole batch has products within the bounds and "
        "loses one, chosen at random. Four tokens show both."
    ),
    finding=(
        "A setting of memory, the micro-batch, changes the objective: the penalty's share grows up to m-fold. "
        "clip-cov's result depends on the random generator, too."
    ),
)
KAPPA = Fraction(2, 10000)


def products(advantages, logps):
    """Centred advantage times centred log-probability of each token."""
    a, b = (sum(x, Fraction(0)) / len(x) for x in (advantages, logps))
    return [(x - a) * (y - b) for x, y in zip(advantages, logps, strict=True)]


def kl_cov(advantages, logps, share=KAPPA):
    """The indices that get the penalty."""
    count = max(1, math.floor(len(advantages) * share))
    values = products(advantages, logps)
    return sorted(range(len(values)), key=lambda i: -values[i])[:count]


def clip_cov(advantages, logps, share=KAPPA):
    """How many tokens are dropped, at random among those within the bounds."""
    count = max(1, math.floor(len(advantages) * share))
    return range(min(count, sum(1 < x < 5 for x in products(advantages, logps))))


def in_parts(rule_of, tokens, parts, **settings):
    """The number of tokens that the rule changes in this many calls."""
    step = len(tokens) // parts
    calls = [tokens[i * step : (i + 1) * step] for i in range(parts)]
    return sum(len(rule_of(*zip(*call, strict=True), **settings)) for call in calls)


def tokens_of(count):
    """Advantages and log-probabilities without ties."""
    return [
        (Fraction((7 * i) % 11 - 5, 3), Fraction(-((5 * i) % 13), 4) - Fraction(i, 97)) for i in range(count)
    ]


@micro.step(
    "Any number of micro-batches",
    route="smt",
    shows="by induction on m: a further call changes its k tokens, or one where k is zero",
)
def any_number(floor=1):
    one_call = sp.Piecewise((floor, expected < 1), (expected, True))
    sy.require(sy.smt_valid([expected >= 0], sp.Ge(one_call, 1)), "one at least in a call")
    for name in ("one of each", "at least"):
        micro.goal(name).induction(m, start=1, base={split: one_call}, step={split: split + one_call})


@micro.step(
    "Batches of tokens",
    route="enumeration",
    shows="kl-cov on batches of 12 and 24 tokens, shares 1/5000 to 1/2",
)
def counted(rule_of=kl_cov):
    for size, parts in ((12, 1), (12, 2), (12, 4), (24, 3), (24, 8)):
        for share in (KAPPA, Fraction(1, 10), Fraction(1, 3), Fraction(1, 2)):
            value = in_parts(rule_of, tokens_of(size), parts, share=share)
            at = {m: parts, expected: math.floor(Fraction(size, parts) * share)}
            micro.goal("one of each").holds({split: value}, at=at)
            micro.goal("at least").holds({split: value}, at=at)


FOUR = [(2, -1), (2, -1), (-2, -3), (-2, -3)]


@micro.counterexample(
    (
        "Four tokens with advantages (2, 2, -2, -2) and log-probabilities (-1, -1, -3, -3): kl-cov changes one token "
        "of the batch, two in two micro-batches; clip-cov drops one token of the batch, none in two micro-batches."
    ),
    A="(2, 2, -2, -2)",
    logp="(-1, -1, -3, -3)",
)
def four_tokens(parts=2):
    tokens = [tuple(map(Fraction, pair)) for pair in FOUR]
    numbers = {}
    for name, rule_of in (("kl-cov", kl_cov), ("clip-cov", clip_cov)):
        numbers[name] = in_parts(rule_of, tokens, 1), in_parts(rule_of, tokens, parts)
        values = dict(zip((whole, split), numbers[name], strict=True))
        micro.goal("same number").fails(values, at={"rule": name, m: parts})
    return sy.Exhibit(text=str(numbers))


micro.sabotage("no token at least", any_number, floor=0)
micro.sabotage("the random rule's count", counted, rule_of=clip_cov)
micro.sabotage("one micro-batch", four_tokens, parts=1)
